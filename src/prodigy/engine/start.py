"""Begin a run: look at everything that could stop it, then store it whole."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from prodigy.engine import refs
from prodigy.engine.opening import find_shell, new_run_id
from prodigy.engine.run import Options
from prodigy.errors import Problem, UsageError
from prodigy.git.context import Context, discover
from prodigy.plan.identity import identify
from prodigy.plan.sources import items_of_file, locate, read_items
from prodigy.store import index
from prodigy.store.database import now
from prodigy.store.paths import ensure_home, run_directory
from prodigy.store.rows import RunRow
from prodigy.store.store import Store
from prodigy.workflow.load import load
from prodigy.workflow.model import MapReduce, Workflow


@dataclass(frozen=True)
class Created:
    """A run that is stored and not yet driven. warnings: what the user should know before it starts."""

    run_id: str
    warnings: tuple[str, ...]


def create_run(workflow_file: Path, where: Path, options: Options) -> Created:
    """Store a new run of the workflow on the repository around `where`. Nothing is left behind when it fails.

    Raises WorkflowError or UsageError for the workflow and the call, EnvironmentProblem for the rest.
    """
    loaded = load(workflow_file)
    context = discover(where)
    if context.branch is None and options.merge == "yes":
        raise UsageError(
            "HEAD is detached: there is no branch to merge into",
            where=str(context.repo.root),
            hint="Switch to a branch first, or leave --yes out and take the run's branch afterwards.",
        )
    find_shell()
    _check_first_input(loaded.workflow, context, Path(options.started_in))
    ensure_home()
    run_id = new_run_id()
    row = RunRow(
        id=run_id,
        workflow=loaded.workflow.name,
        file=str(workflow_file.absolute()),
        repo=str(context.repo.root),
        common_dir=str(context.repo.common_dir),
        base=context.head,
        branch=refs.run_branch(run_id),
        target=context.branch,
        options=options.to_json(),
        created_at=now(),
        tip=context.head,
    )
    Store.create(run_directory(run_id), row, loaded.workflow.model_dump_json()).close()
    index.note(row)
    remarks = [problem_text(loaded.workflow.source, problem) for problem in loaded.warnings]
    return Created(run_id, (*remarks, *_warnings(context)))


def _check_first_input(workflow: Workflow, context: Context, user_dir: Path) -> None:
    """Refuse an input file that is missing or wrong before anything is made, if no step can still write it."""
    action = workflow.steps[0].action
    if not isinstance(action, MapReduce) or action.input.kind != "file":
        return
    name = action.input.text
    blob = context.repo.run("cat-file", "blob", f"{context.head}:{name}", ok=(0, 128))
    if blob.code == 0:
        found = read_items("file", blob.stdout, action.json_path, where=name)
    else:
        found = items_of_file(locate(name, context.repo.root, user_dir), action.json_path)
    identify(found.values)


def problem_text(file: str, problem: Problem) -> str:
    """One line for a person: file:line:column and what is wrong."""
    hint = f" ({problem.hint})" if problem.hint else ""
    return f"{file}:{problem.line}:{problem.column}: {problem.message}{hint}"


def _warnings(context: Context) -> list[str]:
    warnings = []
    if context.dirty:
        files = "file" if context.dirty == 1 else "files"
        warnings.append(
            f"{context.dirty} changed or untracked {files} in your checkout are not part of the run: it starts"
            f" from the commit {context.head[:12]}"
        )
    if context.unused_filters:
        names = ", ".join(context.unused_filters)
        warnings.append(f"the filter drivers {names} are not run in worktrees: files are as they are in the commits")
    if context.repo.run("cat-file", "-e", f"{context.head}:.gitmodules", ok=(0, 128)).code == 0:
        warnings.append("submodules are left empty in worktrees: let a step run `git submodule update --init`")
    if context.branch is None:
        warnings.append("HEAD is detached: the result stays on the run's branch")
    if outer := os.environ.get("PRODIGY_RUN_ID"):
        warnings.append(f"this is a step of run {outer}: what starts here is a run of its own")
    return warnings
