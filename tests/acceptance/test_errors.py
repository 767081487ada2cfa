"""What the user reads of each class of errors: what happened, where, and what to do next.

Each test names the classes that it shows; the last one knows whether any is missing.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import prodigy
from prodigy import errors
from prodigy.api.results import Result, RunFailed
from prodigy.engine.captures import CaptureError
from prodigy.engine.fanout import InputUnusable
from prodigy.engine.run_steps import StepFailed
from prodigy.engine.specials import NoSuchValue
from prodigy.errors import ProdigyError
from prodigy.git.checkout import CheckoutNotReady
from prodigy.git.command import GitError, GitTimeout
from prodigy.git.context import NoRepository
from prodigy.git.merge import UnrelatedHistories
from prodigy.git.obstacles import PathsInTheWay
from prodigy.git.repo import RefLocked, RefMoved
from prodigy.git.snapshot import Snapshot, UnreadableTree
from prodigy.plan.formats import InputError
from prodigy.plan.identity import InvalidItemsError
from prodigy.workflow.aggregate import AggregateError
from prodigy.workflow.expression_ast import ExpressionError
from prodigy.workflow.interpolate import UnsupportedPlaceholder
from prodigy.workflow.lookup import Unresolved
from prodigy.workflow.shell.script import BindError
from prodigy.workflow.shell_words import ShellTextError
from support import Project, git, wait_until

SHOWN: set[type[ProdigyError]] = set()
Test = Callable[..., None]


def shows(*classes: type[ProdigyError]) -> Callable[[Test], Test]:
    SHOWN.update(classes)
    return lambda test: test


def read(project: Project, *args: str | Path, code: int, where: Path | None = None) -> str:
    """What a command says that ends with `code`, on stderr and after its summary."""
    done = project.prodigy(*args, where=where)
    assert done.code == code
    assert "Traceback" not in done.err
    return done.out + done.err


def dead_letter(project: Project, text: str) -> str:
    """Why the one item of a workflow failed, as `dlq inspect` tells it."""
    read(project, "run", project.workflow(text), "--no-merge", code=3)
    (letter,) = project.prodigy("dlq", "list", "--json").json
    return read(project, "dlq", "inspect", letter["item_id"], code=0)


# The calls, files and values that are wrong ------------------------------------------------------------------


@shows(errors.UsageError)
def test_a_call_that_contradicts_itself(project: Project) -> None:
    text = read(project, "run", project.workflow("- shell: 'true'\n"), "--yes", "--no-merge", code=2)
    assert text == "Error: --yes and --no-merge exclude each other\n  Give one of them.\n"


@shows(errors.WorkflowError)
def test_a_workflow_with_two_mistakes(project: Project) -> None:
    flow = project.workflow("- shel: 'true'\n- shell: echo ${item.x}\n  timeout: soon\n")
    text = read(project, "run", flow, code=2)
    assert "flow.yml:1:3: unknown key `shel` in a step; did you mean `shell`?" in text
    assert "flow.yml:3:12: `timeout` must be a time of more than 0" in text


@shows(ExpressionError)
def test_a_filter_that_is_wrong(project: Project) -> None:
    flow = project.workflow("map:\n  input: printf 1\n  filter: item.a ==\n  agent_template: [{shell: 'true'}]\n")
    text = read(project, "run", flow, code=2)
    assert "flow.yml:3:20: `filter` can't be read: the text ends too early" in text
    assert "a value is expected" in text


@shows(ShellTextError)
def test_a_value_where_no_value_can_stand(project: Project) -> None:
    flow = project.workflow("map:\n  input: printf 1\n  agent_template: [{shell: 'eval ${item}'}]\n")
    text = read(project, "run", flow, code=2)
    assert "flow.yml:3:" in text
    assert "pass it as an argument" in text


@shows(UnsupportedPlaceholder)
def test_a_placeholder_that_is_not_known(project: Project) -> None:
    flow = project.workflow("map:\n  input: printf 1\n  agent_template: [{shell: 'echo ${item^^}'}]\n")
    text = read(project, "run", flow, code=2)
    assert "flow.yml:3:34: `${item}`: `^^` is not supported on our names" in text
    assert "supported are" in text


@shows(InputError, InputUnusable)
def test_an_input_that_is_no_json(project: Project) -> None:
    project.write("items.json", '[{"id": 1},]')
    project.commit()
    flow = project.workflow("map:\n  input: items.json\n  agent_template: [{shell: 'true'}]\n")
    text = read(project, "run", flow, code=2)
    assert "items.json:1:12: not JSON" in text
    assert "Mend the input" in text


@shows(InvalidItemsError)
def test_items_that_are_none(project: Project) -> None:
    project.write("items.json", '[{"id": 1}, null]')
    project.commit()
    flow = project.workflow("map:\n  input: items.json\n  agent_template: [{shell: 'true'}]\n")
    text = read(project, "run", flow, code=2)
    assert "1 item cannot be used\n  item 2: it is null" in text


@shows(Unresolved, BindError)
def test_a_value_that_is_not_there(project: Project) -> None:
    project.write("one.json", '[{"path": "a"}]')
    project.commit()
    text = dead_letter(project, "map:\n  input: one.json\n  agent_template: [{shell: 'echo ${item.pth}'}]\n")
    assert "did you mean path" in text


@shows(NoSuchValue)
def test_a_file_that_is_not_in_the_worktree(project: Project) -> None:
    text = dead_letter(
        project, "map:\n  input: printf a\n  agent_template: [{shell: 'echo ${file:/etc/../nothing}'}]\n"
    )
    assert "can't be read" in text


@shows(CaptureError)
def test_an_output_that_is_not_what_was_said(project: Project) -> None:
    text = dead_letter(
        project, "map:\n  input: printf a\n  agent_template: [{shell: echo no, capture: x, capture_format: number}]\n"
    )
    assert "capture_format is number, but the output is 'no'" in text


@shows(AggregateError)
def test_an_aggregate_of_values_that_do_not_go_together(project: Project) -> None:
    project.write("items.json", '[{"n": 1}, {"n": "b"}]')
    project.commit()
    flow = project.workflow("""
map: {input: items.json, agent_template: [{shell: 'true'}], variables: {all: {aggregate: sum, path: item.n}}}
reduce: [{shell: "echo ${map.all}"}]
""")
    text = read(project, "run", flow, code=1)
    assert "values of different kinds do not go together" in text
    assert "all: value 2 is a text, sum takes a number" in text


@shows(StepFailed)
def test_a_step_that_fails_outside_of_the_items(project: Project) -> None:
    text = read(project, "run", project.workflow("- shell: 'echo oh >&2; exit 3'\n"), code=1)
    assert "flow.yml:1: step: exited with code 3: oh\n  See its output: prodigy logs " in text
    assert "oh" in read(project, "logs", "latest", "--step", "it1/1", code=0)


# The machine, and git ----------------------------------------------------------------------------------------


@shows(errors.EnvironmentProblem)
def test_a_repository_without_commits(project: Project, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "-q")
    text = read(project, "run", project.workflow("- shell: 'true'\n"), code=5, where=empty)
    assert "git commit" in text


@shows(NoRepository)
def test_no_repository(project: Project, tmp_path: Path) -> None:
    text = read(project, "run", project.workflow("- shell: 'true'\n"), code=5, where=tmp_path)
    assert "git init" in text


@shows(errors.RunLocked)
def test_a_run_that_another_process_works_on(project: Project, let_go: None) -> None:
    flow = project.workflow('- shell: touch "$SHARED/began"; until [ -e "$SHARED/go" ]; do sleep 0.05; done\n')
    running = project.start("run", flow, "--no-merge")
    wait_until((project.folder / "began").exists, "the step")
    text = read(project, "resume", "latest", code=4)
    assert "Watch it: `prodigy attach " in text
    (project.folder / "go").touch()
    running.communicate()


@shows(errors.CorruptState)
def test_a_database_that_is_damaged(project: Project) -> None:
    read(project, "run", project.workflow("- shell: 'true'\n"), code=0)
    (database,) = project.home.glob("runs/*/run.db")
    database.write_bytes(b"nothing")
    text = read(project, "status", "latest", code=5)
    assert "To go on" in text


def test_a_commit_that_is_gone(project: Project) -> None:
    project.write("new.txt", "new")
    commit = project.commit()
    (project.repo / ".git" / "objects" / commit[:2] / commit[2:]).unlink()
    text = read(project, "run", project.workflow("- shell: 'true'\n"), code=5)
    assert "the commit of HEAD cannot be read\n  `git fsck` says what is missing" in text


@shows(RefLocked)
def test_a_lock_file_that_a_killed_git_left(project: Project) -> None:
    lock = "$(git rev-parse --git-common-dir)/$(git for-each-ref --format='%(refname)' 'refs/heads/prodigy/*/run').lock"
    flow = project.workflow(f'- shell: date > new && git add new && git commit -qm new && touch "{lock}"\n')
    text = read(project, "run", flow, code=5)
    assert "delete the file, then resume the run" in text


@shows(CheckoutNotReady)
def test_a_checkout_in_the_middle_of_a_merge(project: Project) -> None:
    (project.repo / ".git" / "MERGE_HEAD").write_text(git(project.repo, "rev-parse", "HEAD"))
    flow = project.workflow("- shell: date > new && git add new && git commit -qm new\n")
    text = read(project, "run", flow, "--yes", code=3)
    assert "finish or abort it (see git status)" in text


def test_a_file_of_the_user_that_is_in_the_way(project: Project) -> None:
    (project.repo / "new").write_text("mine")
    flow = project.workflow("- shell: date > new && git add new && git commit -qm new\n")
    text = read(project, "run", flow, "--yes", code=3)
    assert "your checkout has changes in new, which the merge would overwrite: commit, move or delete them" in text


@shows(RunFailed)
def test_a_run_that_failed_and_that_a_program_checks(project: Project) -> None:
    read(project, "run", project.workflow("- shell: exit 7\n"), code=1)
    with pytest.raises(RunFailed) as caught:
        Result.of(project.prodigy("status", "latest", "--json").json).check()
    assert ": exited with code 7" in str(caught.value)
    assert "prodigy resume" in str(caught.value)


@shows(GitError, GitTimeout, PathsInTheWay, RefMoved, UnreadableTree, UnrelatedHistories)
@pytest.mark.parametrize(
    "error",
    [
        GitError("`git merge-tree` failed: fatal: bad object"),
        GitTimeout("git status took longer than 600 seconds and was ended"),
        PathsInTheWay(["a.txt"], Path("tree")),
        RefMoved({"refs/heads/prodigy/r/run": None}),
        UnreadableTree(GitError("the tree can't be read"), Snapshot("", "")),
        UnrelatedHistories("`git merge-tree` failed: refusing to merge unrelated histories"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_git_may_say_at_any_time_comes_with_a_next_step(error: ProdigyError) -> None:
    """No workflow brings these about at will; where a run meets them they are told as here, or in words of its own."""
    what, _, next_step = error.told().partition("\n  ")
    assert what
    assert next_step
    assert error.exit_code in (2, 5)


def test_each_error_that_names_nothing_to_do_belongs_to_a_class_that_does() -> None:
    """In the sources: whoever raises a general error says what the user can do about it."""
    without = []
    for file in sorted(Path(prodigy.__path__[0]).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                hinted = any(word.arg in ("hint", None) for word in node.keywords)
                if node.func.id in ("UsageError", "EnvironmentProblem", "RunLocked") and not hinted:
                    without.append(f"{file.name}:{node.lineno}")
    assert without == []


def _all_classes(base: type[ProdigyError]) -> Iterator[type[ProdigyError]]:
    for found in base.__subclasses__():
        yield found
        yield from _all_classes(found)


def test_every_class_is_shown() -> None:
    for module in pkgutil.walk_packages(prodigy.__path__, "prodigy."):
        if ".starters." not in module.name:
            importlib.import_module(module.name)
    ours = {found for found in _all_classes(ProdigyError) if found.__module__.startswith("prodigy.")}
    assert ours - SHOWN == set()
