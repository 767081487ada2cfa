"""The disk fills up: the run stops with a clear error, and goes on as if nothing had been when there is room again.

The disks are small file systems in memory that the test fills with one file. The steps run one at a time, and none
runs at the moment when the engine finds the disk full; steps that write on a full disk have tests of their own.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from faults.scenario import Result, result_of
from prodigy.errors import EnvironmentProblem
from prodigy.executors.base import ProcessSpec, ProcessState
from prodigy.executors.processes import Processes
from prodigy.store.rows import RunRow
from prodigy.store.store import Store
from support import Done, Project, git, make_project, processes_of, wait_until

ENVIRONMENT = 5
WITH_FAILURES = 3
PAUSED = 6
DISK_MB = 64
INODES = 4000
NO_MOUNT = "needs the right to mount a file system"
RUN = RunRow(
    id="r", workflow="w", file=None, repo="/r", common_dir="/r/.git", base="b", branch="refs/heads/x",
    target=None, options="{}", created_at="2026-01-01T00:00:00Z", tip="b",
)  # fmt: skip

WORKFLOW = r"""
name: disk
steps:
  - shell: |
      echo setup >> "$TALLY"
      echo prepared > prepared.txt
      git add prepared.txt
      git commit -q -m prepare
      echo edited >> shared.txt
  - shell: |
      echo x >> flaky.txt
      echo "flaky $(wc -l < flaky.txt)" >> "$TALLY"
      test "$(wc -l < flaky.txt)" -ge 2
    retry: {attempts: 3, backoff: fixed, initial_delay: 0}
    id: flaky
  - shell: echo never >> "$TALLY"
    when: "${flaky.success} == false"
  - shell: echo failing >> "$TALLY"; exit 3
    on_failure: {commands: ['echo "handler ${error.exit_code}" >> "$TALLY"']}
  - mapreduce:
     map:
      input: printf '{"id":"%s"}\n' good-1 bad-1 good-2 good-3
      max_parallel: 1
      agent_template:
      - shell: |
          echo "$PRODIGY_ITEM_ID 1" >> "$TALLY"
          echo draft > "$PRODIGY_ITEM_ID.txt"
      - shell: |
          echo "$PRODIGY_ITEM_ID 2" >> "$TALLY"
          case $PRODIGY_ITEM_ID in
            bad-*) echo half-done > "half-$PRODIGY_ITEM_ID.txt"; echo "this went wrong" >&2; exit 7 ;;
            good-1) echo left uncommitted >> good-1.txt ;;
            *) git add -A; git commit -q -m "work on $PRODIGY_ITEM_ID" ;;
          esac
     reduce:
       - shell: |
           echo reduce >> "$TALLY"
           echo "${map.successful} of ${map.total}" > report.txt
"""

# The moments worth a test each time; `make chaos` takes every moment that the workflow has.
MOMENTS = [
    ("home", "before:step_finished#8"), ("home", "after:agent_started#2"), ("home", "before:dlq_item_added#1"),
    (".git", "after:step_started#12"), (".git", "after:merging#1"), (".git", "after:final_merge_started#1"),
]  # fmt: skip


def _may_mount(folder: Path) -> bool:
    if sys.platform != "linux" or shutil.which("mount") is None:
        return False
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], capture_output=True, check=False)
    if done.returncode == 0:
        subprocess.run(["umount", folder], check=True)
    return done.returncode == 0


@dataclass(frozen=True)
class Disk:
    """A small file system at `place`."""

    place: Path

    @property
    def filler(self) -> Path:
        return self.place / "filler"

    def fill_command(self) -> str:
        """Shell text that leaves no byte, not even of a block that is half full elsewhere."""
        return f"head -c {2 * DISK_MB}M /dev/zero > '{self.filler}' 2>/dev/null || true"

    def fill(self) -> None:
        subprocess.run(["sh", "-c", self.fill_command()], check=True)

    def use_up_files_command(self) -> str:
        """Shell text that leaves no file to be made."""
        return f"mkdir -p '{self.filler}' && cd '{self.filler}' && seq 1 {2 * INODES} | xargs touch 2>/dev/null || true"

    def use_up_files(self) -> None:
        subprocess.run(["sh", "-c", self.use_up_files_command()], check=True)

    def empty(self) -> None:
        if self.filler.is_dir():
            shutil.rmtree(self.filler)
        else:
            self.filler.unlink()


@contextmanager
def small_disk(place: Path, *, megabytes: int = DISK_MB, files: int = INODES) -> Iterator[Disk]:
    """A small file system at `place`, with what is there already; gone afterwards."""
    before = place.with_name(f"{place.name} before")
    if place.exists():
        place.rename(before)
    place.mkdir(mode=0o700)
    options = f"size={megabytes}m,nr_inodes={files},mode=700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", place], check=True)
    try:
        if before.exists():
            shutil.copytree(before, place, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(before)
        yield Disk(place)
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


Mounted = Callable[[Project, str], Disk]


@pytest.fixture
def on_disk(tmp_path: Path) -> Iterator[Mounted]:
    """Puts `home` or `.git` of a project on a small disk."""
    if not _may_mount(tmp_path):
        pytest.skip(NO_MOUNT)
    with ExitStack() as stack:

        def mounted(project: Project, what: str) -> Disk:
            place = project.home if what == "home" else project.repo / ".git"
            return stack.enter_context(small_disk(place))

        yield mounted


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Counter[str]]:
    """The undisturbed run, and how often it reaches each fault point."""
    project = make_project(tmp_path_factory.mktemp("reference"))
    trace = project.folder / "trace"
    done = project.prodigy("run", project.workflow(WORKFLOW), "--yes", env={"PRODIGY_FAULT_TRACE": str(trace)})
    assert done.code == WITH_FAILURES, done.err
    return result_of(project), Counter(trace.read_text().splitlines())


def assert_says_what_to_do(done: Done) -> None:
    """What is wrong, and that a resume goes on."""
    assert done.code == ENVIRONMENT, done.out + done.err
    assert "Traceback" not in done.err
    assert "bug" not in done.err
    assert re.search("No space left|is full", done.err), done.err
    assert "resume" in done.out + done.err or "start it again" in done.err, done.err


def resumed_is_undisturbed(project: Project, expected: Result) -> None:
    done = project.prodigy("resume", "latest", "--yes")
    assert done.code == WITH_FAILURES, done.out + done.err
    result = result_of(project)
    assert result.tally == expected.tally
    assert result == expected


@pytest.mark.parametrize(("what", "moment"), MOMENTS)
def test_a_disk_that_is_full_at_this_moment_costs_nothing(
    project: Project, on_disk: Mounted, reference: tuple[Result, Counter[str]], moment: str, what: str
) -> None:
    disk = on_disk(project, what)
    disturb_and_compare(project, disk, moment, disk.fill_command(), reference[0])


@pytest.mark.parametrize(
    ("what", "moment"),
    [("home", "after:agent_started#2"), (".git", "after:merging#1")],
)
def test_a_disk_without_room_for_another_file_costs_nothing(
    project: Project, on_disk: Mounted, reference: tuple[Result, Counter[str]], moment: str, what: str
) -> None:
    disk = on_disk(project, what)
    disturb_and_compare(project, disk, moment, disk.use_up_files_command(), reference[0])


@pytest.mark.chaos
@pytest.mark.parametrize("how", ["bytes", "files"])
@pytest.mark.parametrize("what", ["home", ".git"])
def test_a_disk_that_is_full_at_any_moment_costs_nothing(
    tmp_path: Path, reference: tuple[Result, Counter[str]], what: str, how: str
) -> None:
    if not _may_mount(tmp_path):
        pytest.skip(NO_MOUNT)
    result, reached = reference
    for name, count in reached.items():
        for number in sorted({1, count}):
            project = make_project(tmp_path / f"{name.replace(':', '-')}-{number}")
            place = project.home if what == "home" else project.repo / ".git"
            with small_disk(place) as disk:
                command = disk.fill_command() if how == "bytes" else disk.use_up_files_command()
                disturb_and_compare(project, disk, f"{name}#{number}", command, result)


def disturb_and_compare(project: Project, disk: Disk, moment: str, command: str, expected: Result) -> None:
    """Run until the disk is full, try to resume on the full disk, make room, resume, and compare."""
    done = project.prodigy(
        "run", project.workflow(WORKFLOW), "--yes",
        env={"PRODIGY_FAULT": moment, "PRODIGY_FAULT_COMMAND": command},
    )  # fmt: skip
    assert disk.filler.exists(), f"{moment} was not reached: {done.err}"
    if done.code != WITH_FAILURES:  # what is left to do may fit into what is there
        assert_says_what_to_do(done)
        again = project.prodigy("resume", "latest", "--yes")
        if again.code != WITH_FAILURES:
            assert_says_what_to_do(again)
    disk.empty()
    resumed = project.prodigy("resume", "latest", "--yes")
    assert resumed.code == WITH_FAILURES, resumed.out + resumed.err
    result = result_of(project)
    assert result.tally == expected.tally, moment
    assert result == expected, moment


# Steps that run while the disk is full ------------------------------------------------------------------------


FILLING = r"""
name: filling
steps:
  - mapreduce:
      map:
        input: printf '{"id":"%s"}\n' one two
        max_parallel: 1
        agent_template:
          - shell: |
              echo "$PRODIGY_ITEM_ID" >> "$TALLY"
              echo work > "$PRODIGY_ITEM_ID.txt"
              git add -A
              git commit -q -m "$PRODIGY_ITEM_ID"
              [ $PRODIGY_ITEM_ID = two ] || { eval "$FILL"; exit $STATUS; }
"""


@pytest.mark.parametrize("status", [0, 7])
def test_a_step_that_ends_on_a_full_disk_is_judged_by_its_own_status_and_not_run_again(
    project: Project, on_disk: Mounted, status: int
) -> None:
    disk = on_disk(project, "home")
    project.env |= {"FILL": disk.fill_command(), "STATUS": str(status)}
    done = project.prodigy("run", project.workflow(FILLING), "--yes")
    assert_says_what_to_do(done)
    disk.empty()
    resumed = project.prodigy("resume", "latest", "--yes")
    assert resumed.code == (WITH_FAILURES if status else 0), resumed.out + resumed.err
    project.assert_nothing_left()
    assert project.tally() == Counter(["one", "two"])
    letters = project.prodigy("dlq", "list", "latest", "--json").json
    failures = [letter["failure_history"][0]["exit_code"] for letter in letters]
    assert failures == ([status] if status else [])
    branch = project.run_branch() if status == 0 else letters[0]["worktree_artifacts"]["branch_name"]
    assert project.files(branch)["one.txt"] == "work", "the work of the step is kept"


UNSAVED = r"""
name: unsaved
map:
  input: printf '{"id":"one"}\n'
  agent_template:
    - shell: |
        echo "$PRODIGY_ITEM_ID" >> "$TALLY"
        eval "$FILL"
        for n in $(seq "$FILES"); do echo "work $n" > "$n.txt"; done
"""


@pytest.mark.parametrize("files", [1, 300], ids=["kept by us", "kept by git"])
def test_a_step_is_not_to_blame_when_there_is_no_room_to_keep_its_work(
    project: Project, on_disk: Mounted, files: int
) -> None:
    disk = on_disk(project, ".git")
    project.env |= {"FILL": disk.fill_command(), "FILES": str(files)}
    done = project.prodigy("run", project.workflow(UNSAVED), "--yes")
    assert_says_what_to_do(done)
    assert "Make room" in done.err
    disk.empty()
    resumed = project.prodigy("resume", "latest", "--yes")
    assert resumed.code == 0, resumed.out + resumed.err
    assert project.tally() == Counter(["one"])
    assert git(project.repo, "show", f"main:{files}.txt") == f"work {files}"
    project.assert_nothing_left()


CUT = r"""
name: cut
steps:
  - shell: |
      echo loud >> "$TALLY"
      head -c 200000000 /dev/zero || true
    id: loud
    capture: loud
  - shell: echo after >> "$TALLY"
"""


def test_output_that_the_disk_had_no_room_for_does_not_pass_for_the_whole(project: Project, on_disk: Mounted) -> None:
    disk = on_disk(project, "home")
    ballast = disk.place / "ballast"
    ballast.write_bytes(b"\0" * (24 << 20))
    done = project.prodigy("run", project.workflow(CUT))
    assert_says_what_to_do(done)
    ballast.unlink()
    resumed = project.prodigy("resume", "latest")
    assert resumed.code == 1, resumed.out + resumed.err
    assert "the disk was full when it ended" in resumed.err
    assert project.tally() == Counter(["loud"])
    assert processes_of(project.folder) == []


SPEC = ProcessSpec(("/bin/sh", "-c", "echo done"), {}, "/")


@pytest.mark.parametrize("how", ["bytes", "files"])
def test_a_step_that_a_full_disk_keeps_from_starting_starts_when_there_is_room(
    project: Project, on_disk: Mounted, how: str
) -> None:
    disk = on_disk(project, "home")
    steps = disk.place / "steps"

    async def start_twice() -> None:
        processes = Processes(steps)
        await asyncio.to_thread(disk.fill if how == "bytes" else disk.use_up_files)
        with pytest.raises(EnvironmentProblem, match="No space left"):
            await processes.start("1/t1", SPEC)
        assert processes.state("1/t1") is ProcessState.ABSENT
        disk.empty()
        assert await processes.start("1/t1", SPEC)
        exit_ = await processes.wait("1/t1")
        assert exit_ is not None
        assert exit_.ok
        assert exit_.message is None
        await processes.close()

    asyncio.run(start_twice())
    assert list((steps / ".staging").iterdir()) == []


# Starting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["bytes", "files"])
def test_nothing_is_started_on_a_disk_that_is_nearly_full(project: Project, on_disk: Mounted, how: str) -> None:
    disk = on_disk(project, "home")
    if how == "bytes":
        disk.filler.write_bytes(b"\0" * ((DISK_MB - 8) << 20))
    else:
        disk.use_up_files()
    done = project.prodigy("run", project.workflow(WORKFLOW))
    assert done.code == ENVIRONMENT, done.err
    assert str(disk.place) in done.err
    assert "the disk is full" in done.err
    assert "PRODIGY_HOME" in done.err
    assert [path.name for path in disk.place.glob("runs/*")] == []
    assert git(project.repo, "branch", "--list", "prodigy/*") == ""
    disk.empty()
    assert project.prodigy("run", project.workflow(WORKFLOW), "--yes").code == WITH_FAILURES


def test_no_agent_is_started_without_room_for_its_commits(project: Project, on_disk: Mounted) -> None:
    disk = on_disk(project, ".git")
    disk.filler.write_bytes(b"\0" * ((DISK_MB - 8) << 20))
    done = project.prodigy("run", project.workflow(WORKFLOW), "--yes")
    assert_says_what_to_do(done)
    assert project.tally() == Counter()
    disk.empty()
    assert project.prodigy("resume", "latest", "--yes").code == WITH_FAILURES


@pytest.mark.parametrize("what", ["home", ".git"])
def test_a_run_pauses_between_items_when_less_is_free_than_it_wants(
    project: Project, on_disk: Mounted, what: str
) -> None:
    disk = on_disk(project, what)
    workflow = project.workflow(f"""
map:
  input: printf 'a\\nb\\nc\\n'
  max_parallel: 1
  workspace: {{limits: {{min_free_disk_mb: 40}}}}
  agent_template:
    - shell: |
        echo ${{item}} >> "$TALLY"; echo x > ${{item}}.txt
        if [ ${{item}} = b ]; then head -c 30M /dev/zero > '{disk.filler}'; fi
""")
    done = project.prodigy("run", workflow, "--yes")
    assert done.code == PAUSED, done.err
    assert "nothing more starts: " in done.err
    assert "min_free_disk_mb, 40" in done.err
    assert ("/home/" if what == "home" else "/.git: ") in done.err
    (summary,) = project.prodigy("status", "--json").json
    assert (summary["items"]["successful"], summary["items"]["pending"], summary["dead_letters"]) == (2, 1, 0)
    assert project.prodigy("resume", "latest", "--yes").code == PAUSED
    disk.empty()
    assert project.prodigy("resume", "latest", "--yes").code == 0
    assert project.tally() == {"a": 1, "b": 1, "c": 1}
    assert {"a.txt", "b.txt", "c.txt"} <= project.files("main").keys()


def test_a_run_that_cannot_be_stored_leaves_nothing(tmp_path: Path) -> None:
    if not _may_mount(tmp_path):
        pytest.skip(NO_MOUNT)
    with small_disk(tmp_path / "disk") as disk:
        disk.fill()
        with pytest.raises(EnvironmentProblem, match="can't be stored"):
            Store.create(disk.place / "run", RUN, "{}")
        assert list(disk.place.iterdir()) == [disk.filler]


def test_runs_are_listed_on_a_full_disk(project: Project, on_disk: Mounted) -> None:
    disk = on_disk(project, "home")
    assert project.prodigy("run", project.workflow(WORKFLOW), "--yes").code == WITH_FAILURES
    run_id = project.run_id()
    for file in disk.place.glob("prodigy.db*"):
        file.unlink()
    disk.fill()
    done = project.prodigy("status", run_id[:-1])
    assert done.code in (0, ENVIRONMENT), done.err
    assert run_id in done.out + done.err
    assert "bug" not in done.err


def test_a_home_that_became_read_only_stops_every_start_until_it_is_writable_again(
    project: Project, on_disk: Mounted, reference: tuple[Result, Counter[str]]
) -> None:
    disk = on_disk(project, "home")
    killed = project.prodigy(
        "run", project.workflow(WORKFLOW), "--yes", env={"PRODIGY_FAULT": "before:agent_started#2"}
    )
    assert killed.code == -signal.SIGKILL, killed.err
    wait_until(lambda: not processes_of(project.folder), "its processes end")
    subprocess.run(["mount", "-o", "remount,ro", disk.place], check=True)
    for refused in (project.prodigy("resume", "latest"), project.prodigy("run", project.workflow(WORKFLOW))):
        assert refused.code == ENVIRONMENT, refused.out + refused.err
        assert re.search("(?i)read-?only|not writable", refused.err), refused.err
        assert "bug" not in refused.err
    assert project.prodigy("status", "latest").code in (0, ENVIRONMENT)
    subprocess.run(["mount", "-o", "remount,rw", disk.place], check=True)
    resumed = project.prodigy("resume", "latest", "--yes")
    assert resumed.code == WITH_FAILURES, resumed.out + resumed.err
    assert result_of(project) == reference[0]
