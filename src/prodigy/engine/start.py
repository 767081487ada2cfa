"""Begin a run: look at everything that could stop it, then store it whole."""

from __future__ import annotations

import os
from dataclasses import dataclass
from glob import glob
from pathlib import Path

from prodigy.engine import refs
from prodigy.engine.environment_sources import Places, look_over
from prodigy.engine.lodging import workspaces
from prodigy.engine.opening import find_agents, find_shell, new_run_id
from prodigy.engine.run import Options
from prodigy.errors import UsageError
from prodigy.executors.registry import known_executor
from prodigy.git.context import Context, discover
from prodigy.plan.identity import Plan, identify
from prodigy.plan.sources import Found, items_of_file, items_of_glob, locate, read_items
from prodigy.store import index
from prodigy.store.checked import CheckedScripts
from prodigy.store.database import now
from prodigy.store.paths import ensure_home, run_directory
from prodigy.store.rows import RunRow
from prodigy.store.store import Store
from prodigy.workflow.load import Loaded, as_before, load, problem_text
from prodigy.workflow.model import MapReduce, Workflow

# Files that git ignores, so that no worktree has them, and that steps often need.
OFTEN_NEEDED = (".env", ".env.local", ".envrc", "node_modules", ".venv", "venv", ".claude/settings.local.json")


@dataclass(frozen=True)
class Created:
    """A run that is stored and not yet driven. warnings: what the user should know before it starts."""

    run_id: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Checked:
    """What a run would start from. items: those of the first fan-out, None while a step may still change them."""

    context: Context
    items: Plan | None
    warnings: tuple[str, ...]


def check_run(loaded: Loaded, where: Path, options: Options) -> Checked:
    """Look at everything that could stop a run of the workflow on the repository around `where`.

    Raises UsageError for the call and the input, EnvironmentProblem for the rest.
    """
    context = discover(where, options.branch_prefix or refs.BRANCH_PREFIX)
    if context.branch is None and options.merge == "yes":
        raise UsageError(
            "HEAD is detached: there is no branch to merge into",
            where=str(context.repo.root),
            hint="Switch to a branch first, or leave --yes out and take the run's branch afterwards.",
        )
    find_shell()
    known_executor(options.executor)
    _check_included(loaded.workflow, context)
    beside = Path(loaded.workflow.source).parent
    look_over(loaded.workflow.environment, Places(beside, Path(options.started_in), context.repo.root))
    find_agents(loaded.workflow, options.agent)
    found = _first_input(loaded.workflow, context, Path(options.started_in))
    items = identify(found.values) if found else None
    remarks = [problem_text(loaded.workflow.source, problem) for problem in loaded.warnings]
    return Checked(context, items, (*remarks, *_warnings(context, loaded.workflow)))


def create_run(loaded: Loaded, file: Path | None, where: Path, options: Options) -> Created:
    """Store a new run. Nothing is left behind when it fails. file: where the workflow came from, for people.

    Raises as `check_run` does.
    """
    checked = check_run(loaded, where, options)
    context = checked.context
    ensure_home()
    run_id = new_run_id()
    row = RunRow(
        id=run_id,
        workflow=loaded.workflow.name,
        file=str(file.absolute()) if file else None,
        repo=str(context.repo.root),
        common_dir=str(context.repo.common_dir),
        base=context.head,
        branch=refs.run_branch(run_id, options.branch_prefix),
        target=context.branch,
        options=options.to_json(),
        created_at=now(),
        tip=context.head,
    )
    Store.create(run_directory(run_id), row, loaded.workflow.model_dump_json()).close()
    index.note(row)
    return Created(run_id, checked.warnings)


def changed_since(store: Store) -> str | None:
    """What to tell when the workflow file is not any more what the run was made of; None when it is, or is gone."""
    file = store.run().file
    if file is None or not Path(file).is_file():
        return None
    try:
        stored = Workflow.model_validate_json(store.workflow()[1])
        now_there = load(Path(file), CheckedScripts(), as_before(stored)).workflow
    except UsageError:
        return f"{file} has problems now; the run goes on with the workflow it was started with"
    same = now_there.model_copy(update={"source": ""}) == stored.model_copy(update={"source": ""})
    return None if same else f"{file} has changed; the run goes on with the workflow it was started with"


def files_matching(pattern: str, where: Path) -> tuple[str, ...]:
    """The files below `where` that match, sorted. Raises UsageError when none does."""
    found = sorted(name for name in glob(pattern, root_dir=where, recursive=True) if (where / name).is_file())  # noqa: PTH207
    if not found:
        raise UsageError(f"no file matches {pattern}", where=str(where.absolute()), hint="`**` goes down directories.")
    return tuple(found)


def _first_input(workflow: Workflow, context: Context, user_dir: Path) -> Found | None:
    """The first fan-out's input, if no step can still write it: then it can be refused before anything is made."""
    action = workflow.steps[0].action
    may_be_skipped = workflow.steps[0].when is not None
    if not isinstance(action, MapReduce) or action.input.kind in ("command", "values", "source") or may_be_skipped:
        return None
    name = action.input.text
    if action.input.kind == "glob":
        return items_of_glob(name, context.repo.root, action.select) if context.dirty == 0 else None
    blob = context.repo.run("cat-file", "blob", f"{context.head}:{name}", ok=(0, 128))
    if blob.code == 0:
        return read_items("file", blob.stdout, action.json_path, where=name, selection=action.select)
    return items_of_file(locate(name, context.repo.root, user_dir), action.json_path, action.select)


def _warnings(context: Context, workflow: Workflow) -> list[str]:
    warnings = []
    if context.dirty:
        files = "file in your checkout is" if context.dirty == 1 else "files in your checkout are"
        warnings.append(
            f"{context.dirty} changed or untracked {files} not part of the run: it starts from the commit"
            f" {context.head[:12]}"
        )
    if missing := _ignored_and_needed(context, workflow):
        warnings.append(
            f"git ignores {', '.join(missing)}, so no worktree has them; if steps need them, copy them with"
            " `workspace: {include: [...]}` or make them with `workspace: {setup: [...], keep_ignored: [...]}`"
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


def _check_included(workflow: Workflow, context: Context) -> None:
    included = dict.fromkeys(name for wanted in workspaces(workflow) for name in wanted.include)
    missing = [name for name in included if not (context.repo.root / name).exists()]
    if missing:
        raise UsageError(
            f"`workspace.include` names {', '.join(missing)}, which your checkout does not have",
            where=str(context.repo.root),
            hint="Create it, or take it out of the list.",
        )


def _ignored_and_needed(context: Context, workflow: Workflow) -> list[str]:
    """Ignored files in the checkout that look needed and that the workflow does not provide for."""
    provided = {name for wanted in workspaces(workflow) for name in (*wanted.include, *wanted.keep_ignored)}
    there = [name for name in OFTEN_NEEDED if name not in provided and (context.repo.root / name).exists()]
    if not there:
        return []
    # From the common directory git can't see what is a directory there, so we say it.
    names = [f"{name}/" if (context.repo.root / name).is_dir() else name for name in there]
    ignored = context.repo.run("check-ignore", "--", *names, ok=(0, 1))
    return [line.rstrip("/") for line in ignored.stdout.decode().splitlines()]
