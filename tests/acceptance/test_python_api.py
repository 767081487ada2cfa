"""The Python interface: what a program sees that drives runs itself."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import prodigy
from prodigy import Event, Result, Workflow
from support import IDENTITY, Project, clean_environment, git, wait_until

ONE_FAILS = {
    "name": "letters",
    "map": {
        "input": "printf 'a\\nb\\nc\\n'",
        "agent_template": [{"shell": "echo ${item} >> $TALLY; test ${item} != b -o -e $SHARED/go"}],
    },
}
WAITS: dict[str, Any] = {
    "steps": [{"shell": "touch $SHARED/runs; while ! test -e $SHARED/go; do sleep 0.05; done; echo one >> $TALLY"}]
}


@pytest.fixture(autouse=True)
def here(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process is the program: it stands in the project, with its environment."""
    clean = clean_environment(project.folder)
    for name in os.environ.keys() - clean.keys():
        monkeypatch.delenv(name)
    own = {"PRODIGY_HOME": str(project.home), "TALLY": str(project.tally_file), "SHARED": str(project.folder)}
    for name, value in {**clean, **IDENTITY, **own}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(project.repo)
    yield
    (project.folder / "go").touch()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """In a folder without a blank in its name, because these workflows are Python and quote little."""
    project = Project(tmp_path / "project")
    project.repo.mkdir(parents=True)
    git(project.repo, "init", "-q")
    project.write("README.md", "hello\n")
    project.commit("start")
    return project


def script(project: Project, text: str) -> subprocess.Popen[bytes]:
    """A program of a user's, in a process of its own."""
    file = project.folder / "program.py"
    file.write_text(text)
    return subprocess.Popen(
        [sys.executable, file], cwd=project.repo, env=project.environment(), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


# Workflows ---------------------------------------------------------------------------------------------------


def test_a_workflow_is_read_from_a_file_a_text_or_a_mapping(project: Project) -> None:
    parameter = "{name: who, type: string, description: d}"
    text = f"name: mine\nparameters: {{required: [{parameter}]}}\nsteps: [{{shell: 'echo ${{who}}'}}]\n"
    path = project.workflow(text)
    loaded = Workflow.load(path, params={"who": "Ada"})
    assert (loaded.name, loaded.file, loaded.parameters, loaded.warnings) == ("mine", path, {"who": "Ada"}, ())
    assert Workflow.parse(text, params={"who": "Ada"}).parameters == {"who": "Ada"}
    assert Workflow.from_dict({"name": "mine", "steps": [{"shell": "ls"}]}).name == "mine"


def test_every_mistake_of_a_workflow_is_listed_with_its_place() -> None:
    with pytest.raises(prodigy.WorkflowError) as caught:
        Workflow.parse("steps:\n  - shel: ls\n  - {shell: ls, timout: 3}\n", "mine.yml")
    assert [(problem.line, problem.column) for problem in caught.value.problems] == [(2, 5), (3, 17)]
    assert "mine.yml:2:5: unknown key `shel`" in str(caught.value)


@pytest.mark.parametrize("wrong", [{"steps": [object()]}, {"steps": [float("nan")]}])
def test_what_json_can_not_say_is_no_workflow(wrong: dict[str, Any]) -> None:
    with pytest.raises(prodigy.UsageError, match="can't be written as JSON"):
        Workflow.from_dict(wrong)


# Runs --------------------------------------------------------------------------------------------------------


def test_a_run_tells_how_it_ended_and_what_happened(project: Project) -> None:
    heard: list[Event] = []
    result = prodigy.run(ONE_FAILS, on_event=heard.append, merge="yes")
    assert (result.status, result.ok, result.exit_code) == ("completed_with_failures", False, 3)
    assert (result.items.total, result.items.successful, result.items.failed, result.dead_letters) == (3, 2, 1, 1)
    assert (heard[0].type, heard[-1].type) == ("job_started", "job_completed")
    assert {event.item_id for event in heard if event.type == "agent_started"} == {i.id for i in run_of(result).items()}
    with pytest.raises(prodigy.RunFailed, match="has 1 dead letter") as caught:
        result.check()
    assert caught.value.result is result


def run_of(result: Result) -> prodigy.Run:
    return prodigy.find(result.run_id)


def test_the_result_is_the_summary_of_the_command_line(project: Project) -> None:
    result = prodigy.run(ONE_FAILS)
    shown = project.prodigy("status", "latest", "--json").json
    of_the_call = ("duration_s", "steps_run", "steps_reused")
    told = {name: value for name, value in result.as_dict().items() if name not in of_the_call}
    assert told == {name: value for name, value in shown.items() if name not in of_the_call}


def test_dead_letters_are_looked_at_and_retried(project: Project) -> None:
    run = run_of(prodigy.run(ONE_FAILS))
    (letter,) = run.dead_letters()
    assert (letter.item, letter.eligible, letter.last_failure.kind) == ("b", True, "command_failed")
    assert [item.data for item in run.items("dead")] == ["b"]
    with pytest.raises(prodigy.UsageError, match="has no dead letter for nobody"):
        prodigy.retry_dead_letters(run, items=["nobody"])
    (project.folder / "go").touch()
    left = prodigy.retry_dead_letters(run, filter="error_type == 'timeout'")
    assert left.dead_letters == 1
    result = prodigy.retry_dead_letters(run, items=[letter.item_id]).check()
    assert (result.items.successful, run.dead_letters()) == (3, [])
    assert project.tally() == {"a": 1, "b": 2, "c": 1}


def test_the_checkout_is_left_alone_unless_a_merge_is_asked_for(project: Project) -> None:
    before = git(project.repo, "rev-parse", "main")
    result = prodigy.run({"steps": [{"shell": "date > new.txt"}]})
    assert (result.ok, result.merged, git(project.repo, "rev-parse", "main")) == (True, False, before)
    assert prodigy.resume(result.run_id, merge="yes").merged
    assert (project.repo / "new.txt").exists()


def test_a_step_that_fails_is_told_by_the_result_and_resumed(project: Project) -> None:
    flow = {"steps": [{"shell": "echo first >> $TALLY"}, {"shell": "test -e $SHARED/go"}]}
    result = prodigy.run(flow)
    assert (result.status, result.exit_code) == ("failed", 1)
    with pytest.raises(prodigy.RunFailed, match="exited with code 1") as caught:
        result.check()
    assert "prodigy resume" in (caught.value.hint or "")
    (project.folder / "go").touch()
    assert prodigy.resume(result.run_id).ok
    assert project.tally() == {"first": 1}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"merge": "ask"}, "merge='ask' means nothing"),
        ({"max_parallel": 0}, "max_parallel=0 is not more than 0"),
        ({"paralel": 3}, "there is no option 'paralel'"),
        ({"args": "one"}, "args is one text"),
        ({"agent": "nobody"}, "there is no agent nobody"),
        ({"executor": "nowhere"}, "there is no executor 'nowhere'"),
    ],
)
def test_options_that_mean_nothing_are_refused_before_anything_starts(
    project: Project, options: Mapping[str, Any], said: str
) -> None:
    with pytest.raises(prodigy.UsageError) as caught:
        prodigy.run(ONE_FAILS, **options)
    assert said in str(caught.value)
    assert prodigy.runs() == []


def test_outside_of_a_repository_nothing_starts(tmp_path: Path) -> None:
    with pytest.raises(prodigy.EnvironmentProblem, match="not a git repository"):
        prodigy.run(ONE_FAILS, tmp_path)


def test_a_callback_that_raises_stops_the_run_where_it_can_go_on(project: Project) -> None:
    def hear(event: Event) -> None:
        if event.type == "step_finished":
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        prodigy.run({"steps": [{"shell": "echo 1 >> $TALLY"}, {"shell": "echo 2 >> $TALLY"}]}, on_event=hear)
    assert prodigy.status().status == "interrupted"
    assert prodigy.resume().ok
    assert project.tally() == {"1": 1, "2": 1}


# Other places to run -----------------------------------------------------------------------------------------


def test_two_runs_side_by_side_in_one_event_loop(project: Project) -> None:
    """Each waits for the other, so neither could end alone."""

    def flow(own: str, other: str) -> dict[str, Any]:
        return {"steps": [{"shell": f"touch $SHARED/{own}; while ! test -e $SHARED/{other}; do sleep 0.05; done"}]}

    loop_thread: set[int] = set()

    def hear(_: Event) -> None:
        loop_thread.add(threading.get_ident())

    async def both() -> tuple[Result, Result]:
        first = prodigy.run_async(flow("one", "two"), on_event=hear)
        return await asyncio.gather(first, prodigy.run_async(flow("two", "one"), on_event=hear))

    assert [result.status for result in asyncio.run(both())] == ["completed", "completed"]
    assert loop_thread == {threading.get_ident()}  # events are told where the caller's loop is


def test_a_run_in_a_thread(project: Project) -> None:
    results: list[Result] = []
    thread = threading.Thread(target=lambda: results.append(prodigy.run(ONE_FAILS)))
    thread.start()
    thread.join()
    assert results[0].items.total == 3


def test_where_a_loop_runs_the_other_function_is_named() -> None:
    async def wrong() -> None:
        prodigy.run(ONE_FAILS)

    with pytest.raises(prodigy.UsageError, match=r"await prodigy\.run_async"):
        asyncio.run(wrong())


def test_a_task_that_is_cancelled_leaves_its_steps_and_they_are_not_run_twice(project: Project) -> None:
    async def cancelled() -> None:
        task = asyncio.create_task(prodigy.run_async(WAITS))
        await asyncio.to_thread(wait_until, (project.folder / "runs").exists, "the step runs")
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()

    asyncio.run(cancelled())
    assert prodigy.status().status == "interrupted"
    (project.folder / "go").touch()
    assert prodigy.resume().ok
    assert project.tally() == {"one": 1}


def test_a_loop_learns_of_errors_and_of_what_its_callback_raises(project: Project) -> None:
    def hear(_: Event) -> None:
        raise KeyError("mine")

    async def both() -> None:
        with pytest.raises(prodigy.WorkflowError):
            await prodigy.run_async({"steps": [{"shel": "ls"}]})
        with pytest.raises(KeyError, match="mine"):
            await prodigy.run_async({"steps": [{"shell": "ls"}]}, on_event=hear)

    asyncio.run(both())


def test_ctrl_c_in_a_program_lets_the_step_finish_and_ends_the_program(project: Project) -> None:
    flow = {"steps": [*WAITS["steps"], {"shell": "echo two >> $TALLY"}]}
    program = script(project, f"import prodigy\nprodigy.run({flow!r})\nprint('not here')\n")
    wait_until((project.folder / "runs").exists, "the step runs")
    program.send_signal(signal.SIGINT)
    assert program.stderr is not None
    assert b"stopping: what runs may finish" in program.stderr.readline()
    (project.folder / "go").touch()
    out, err = program.communicate(timeout=60)
    assert (program.returncode, out) == (-signal.SIGINT, b"")
    assert b"KeyboardInterrupt: run" in err
    assert project.tally() == {"one": 1}
    assert prodigy.resume().ok
    assert project.tally() == {"one": 1, "two": 1}


# In the background -------------------------------------------------------------------------------------------


def test_a_run_in_the_background_is_watched_and_cancelled(project: Project) -> None:
    run = prodigy.start(WAITS)
    assert run.is_driven
    assert run.wait(timeout_s=0).status == "running"
    with pytest.raises(prodigy.RunLocked):
        prodigy.resume(run)
    wait_until((project.folder / "runs").exists, "the step runs")
    assert run.pause().held is not None
    assert run.steer(max_parallel=2, budget_usd=3).status == "paused"
    assert run.go_on().status == "running"
    with pytest.raises(prodigy.UsageError, match="nobody has no dead letter"):
        run.steer(retry=["nobody"])
    assert run.cancel().status == "cancelled"
    with pytest.raises(prodigy.UsageError, match="no process drives run"):
        run.pause()
    assert [found.id for found in prodigy.runs(".")] == [run.id]
    assert [event.type for event in run.events(types=["job_paused"])] == ["job_paused"]
    with pytest.raises(prodigy.UsageError, match="nothing of run"):
        run.cancel()
    (project.folder / "go").touch()
    assert prodigy.resume(run).ok


def test_what_a_program_left_is_cancelled_when_nobody_drives_it(project: Project) -> None:
    program = script(project, f"import prodigy\nprodigy.run({WAITS!r})\n")
    wait_until((project.folder / "runs").exists, "the step runs")
    program.kill()
    program.communicate()
    run = prodigy.find()
    assert run.cancel().status == "cancelled"


# The module --------------------------------------------------------------------------------------------------


def test_importing_prodigy_imports_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import prodigy; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert set(done.stdout.decode().split()) <= {"__future__", "prodigy"}


def test_every_public_name_is_there_and_documented() -> None:
    for name in prodigy.__all__:
        found = getattr(prodigy, name)
        assert name == "__version__" or found.__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = prodigy.nothing
