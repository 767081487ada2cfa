"""One process works on a run, and nothing of a dead one still acts."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from prodigy.errors import EnvironmentProblem, RunLocked
from prodigy.store import lock
from prodigy.store.lock import RECORD_LIMIT, RunLock, holder, is_held, read_holder
from support import Project, Running, wait_until

SLOW = """
name: slow
steps:
  - shell: |
      touch "$SHARED/started"
      until [ -e "$SHARED/go" ]; do sleep 0.05; done
"""


def started(project: Project) -> Running:
    process = project.start("run", project.workflow(SLOW))
    wait_until(lambda: (project.folder / "started").exists(), "the step starts")
    return process


def test_a_second_process_is_refused_and_told_who_works(project: Project) -> None:
    first = started(project)
    try:
        done = project.prodigy("resume", "latest")
        assert done.code == 4
        assert f"process {first.pid}" in done.err
    finally:
        (project.folder / "go").touch()
        first.communicate()
    assert first.returncode == 0


def test_the_lock_is_free_as_soon_as_its_holder_is_killed(project: Project) -> None:
    first = started(project)
    directory = project.home / "runs" / project.run_id()
    assert is_held(directory)
    first.kill()
    first.communicate()
    assert not is_held(directory)
    (project.folder / "go").touch()
    assert project.prodigy("resume", "latest").code == 0


def test_a_step_cannot_resume_its_own_run(project: Project) -> None:
    workflow = project.workflow(f"""
steps:
  - shell: |
      set +e
      {sys.executable} -m prodigy.cli.main resume "$PRODIGY_RUN_ID" > "$SHARED/said" 2>&1
      echo $? > "$SHARED/code"
""")
    assert project.prodigy("run", workflow).code == 0
    assert (project.folder / "code").read_text().strip() == "4"
    assert "from inside one of its own steps" in (project.folder / "said").read_text()


def test_a_run_inside_a_step_is_a_run_of_its_own_with_a_warning(project: Project) -> None:
    inner = project.workflow("name: inner\nsteps:\n  - shell: 'true'\n", "inner.yml")
    outer = project.workflow(f"""
name: outer
steps:
  - shell: {sys.executable} -m prodigy.cli.main run "{inner}" 2> "$SHARED/said"
""")
    assert project.prodigy("run", outer).code == 0
    assert "a run of its own" in (project.folder / "said").read_text()
    names = {row["workflow"] for row in project.prodigy("status", "--json").json}
    assert names == {"inner", "outer"}


def test_a_lock_that_was_removed_under_the_waiting_does_not_count(tmp_path: Path) -> None:
    first, second, third = RunLock(tmp_path), RunLock(tmp_path), RunLock(tmp_path)
    first.acquire()
    with pytest.raises(RunLocked):
        second.acquire()
    first.release()
    assert not (tmp_path / "lock").exists()
    second.acquire()
    with pytest.raises(RunLocked):
        third.acquire()
    second.release()


def test_resume_waits_for_a_git_call_that_a_killed_coordinator_left(project: Project) -> None:
    """A helper of a dead coordinator is stood in for by a process that holds the helpers' lock, as git does."""
    first = started(project)
    first.kill()
    first.communicate()
    helpers = project.home / "runs" / project.run_id() / "helpers"
    descriptor = os.open(helpers, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    holder = subprocess.Popen(["sleep", "100"], pass_fds=[descriptor])
    os.close(descriptor)
    (project.folder / "go").touch()
    resumed = project.start("resume", "latest")
    with pytest.raises(subprocess.TimeoutExpired):
        resumed.wait(1.5)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    out, err = resumed.communicate()
    assert resumed.returncode == 0, (out, err)


# Says "ready", waits for a line, tries to take the lock of the directory, says what came of it; who has it holds it
# until its input ends.
CONTENDER = """
import sys
from pathlib import Path
from prodigy.errors import ProdigyError
from prodigy.store.lock import RunLock
print("ready", flush=True)
sys.stdin.readline()
try:
    with RunLock(Path(sys.argv[1]), force="--force" in sys.argv):
        print("got it", flush=True)
        sys.stdin.read()
except ProdigyError as error:
    print(type(error).__name__, error, flush=True)
"""
# Takes the lock again and again. Inside, a file that must not be there yet shows that nobody else is inside.
VISITOR = """
import os, sys
from pathlib import Path
from prodigy.errors import RunLocked
from prodigy.store.lock import RunLock
directory, visits = Path(sys.argv[1]), 0
while visits < 40:
    try:
        with RunLock(directory):
            os.close(os.open(directory / "inside", os.O_CREAT | os.O_EXCL))
            os.unlink(directory / "inside")
            visits += 1
    except RunLocked:
        pass
"""
# Holds the lock, and has a child that inherits whatever can be inherited.
PARENT = """
import subprocess, sys
from pathlib import Path
from prodigy.store.lock import RunLock
with RunLock(Path(sys.argv[1])):
    child = subprocess.Popen(["sleep", "100"], stdout=subprocess.DEVNULL, close_fds=False)
    print(child.pid, flush=True)
    child.wait()
"""
# Opens everything as somebody who may not write what belongs to the one who started it.
STRANGER = """
import os, sys
from pathlib import Path
from prodigy.errors import EnvironmentProblem
from prodigy.store.lock import RunLock, is_held
os.chdir(sys.argv[1])
if os.geteuid() == 0:
    RunLock(Path("warm-up")).acquire()  # everything that is imported late has to be read before
    os.seteuid(65534)
for attempt in (RunLock(Path("run")).acquire, lambda: is_held(Path("run"))):
    try:
        attempt()
    except EnvironmentProblem as problem:
        print(problem.exit_code, problem)
"""


def start_contender(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    """A process that is ready to try."""
    process = subprocess.Popen(
        [sys.executable, "-c", CONTENDER, str(directory), *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert heard(process) == "ready"
    return process


def heard(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def let_try(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()


def end(*processes: subprocess.Popen[str]) -> list[str]:
    """What the processes said last; none of them is left."""
    return [process.communicate()[0].strip() for process in processes]


@contextlib.contextmanager
def held_by_another_process(directory: Path) -> Iterator[subprocess.Popen[str]]:
    process = start_contender(directory)
    try:
        let_try(process)
        assert heard(process) == "got it"
        yield process
    finally:
        end(process)


def write_record(directory: Path, **changed: object) -> Path:
    """What a process of this host that was killed left behind, but for what is changed."""
    record = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "acquired_at": "2026-03-14T10:15:00+00:00",
        "command": "prodigy run flow.yml",
        "started_at": "2026-03-14T10:14:59+00:00",
    }
    path = directory / "lock"
    path.write_text(json.dumps({**record, **changed}))
    return path


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """For records that never become readable: nobody waits for them for long."""
    monkeypatch.setattr(lock, "RECORD_PATIENCE_S", 0.3)


def refusal(directory: Path, *, force: bool = False) -> str:
    with pytest.raises(RunLocked) as caught, RunLock(directory, force=force):
        pass
    return str(caught.value)


def test_the_record_says_who_holds_the_run_since_when_with_which_command(tmp_path: Path) -> None:
    before = dt.datetime.now(dt.UTC).replace(microsecond=0)
    with held_by_another_process(tmp_path) as process:
        record = holder(tmp_path)
        assert record is not None
        assert (record.pid, record.host) == (process.pid, socket.gethostname())
        assert record.command == f"-c {tmp_path}"
        assert before <= dt.datetime.fromisoformat(record.acquired_at) <= dt.datetime.now(dt.UTC)
        assert record.started_at is not None
        assert dt.datetime.fromisoformat(record.started_at) <= dt.datetime.fromisoformat(record.acquired_at)


def test_the_refusal_says_who_since_when_with_which_command_and_what_to_do(tmp_path: Path) -> None:
    with held_by_another_process(tmp_path) as process:
        record = holder(tmp_path)
        assert record is not None
        said = refusal(tmp_path)
    run = tmp_path.name
    assert f"process {process.pid} on {socket.gethostname()} since {record.acquired_at} (`{record.command}`)" in said
    assert "record says" not in said, "nothing casts a doubt on it"
    assert f"prodigy attach {run}" in said
    assert "wait for it to end" in said
    assert f"prodigy cancel {run}" in said
    assert "--force" not in said


def test_force_does_not_take_a_run_from_a_live_process_of_this_host(tmp_path: Path) -> None:
    with held_by_another_process(tmp_path) as process:
        said = refusal(tmp_path, force=True)
        assert "--force does not take a run from a process that lives" in said
        assert f"prodigy cancel {tmp_path.name}" in said
        assert f"`kill {process.pid}`" in said
        assert is_held(tmp_path)
        record = holder(tmp_path)
        assert record is not None
        assert record.pid == process.pid


@pytest.mark.parametrize("rounds", range(3))
def test_of_five_processes_at_once_exactly_one_gets_the_run(tmp_path: Path, rounds: int) -> None:
    contenders = [start_contender(tmp_path) for _ in range(5)]
    let_try(*contenders)
    said = {process.pid: heard(process) for process in contenders}
    record = holder(tmp_path)
    end(*contenders)
    (winner,) = (pid for pid, text in said.items() if text == "got it")
    assert record is not None
    assert record.pid == winner
    refused = [text for text in said.values() if text != "got it"]
    assert len(refused) == 4
    assert all(text.startswith("RunLocked") and f"process {winner} on" in text for text in refused)
    assert not (tmp_path / "lock").exists()


def test_processes_that_come_and_go_are_never_inside_together(tmp_path: Path) -> None:
    visitors = [
        subprocess.Popen([sys.executable, "-c", VISITOR, str(tmp_path)], stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    ended = [(process.communicate()[1], process.returncode) for process in visitors]
    assert ended == [("", 0)] * 4
    assert not is_held(tmp_path)


def test_a_lock_on_a_file_that_its_holder_removed_meanwhile_does_not_count(tmp_path: Path) -> None:
    first = RunLock(tmp_path)
    first.acquire()

    class Late(RunLock):
        """Has the file open already when the first one gives the lock back and removes the file."""

        def _open(self) -> int:
            descriptor = super()._open()
            first.release()
            return descriptor

    with Late(tmp_path):
        assert is_held(tmp_path)
        refusal(tmp_path)


def test_a_killed_holder_is_followed_silently(tmp_path: Path) -> None:
    with held_by_another_process(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        left = read_holder(tmp_path / "lock")
        assert left is not None
        assert left.pid == process.pid, "its record is still there"
        with RunLock(tmp_path) as taken:
            assert taken.broken is None
            record = holder(tmp_path)
            assert record is not None
            assert record.pid == os.getpid()


def test_a_run_can_be_taken_again_and_again(tmp_path: Path) -> None:
    for _ in range(3):
        with RunLock(tmp_path):
            assert is_held(tmp_path)
        assert not is_held(tmp_path)
        assert holder(tmp_path) is None
        assert not (tmp_path / "lock").exists()


def test_an_exception_inside_gives_the_run_back(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), RunLock(tmp_path):
        raise ZeroDivisionError
    assert not is_held(tmp_path)
    with held_by_another_process(tmp_path):
        assert is_held(tmp_path)


def test_one_run_does_not_block_another(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for directory in (one, two):
        directory.mkdir()
    with held_by_another_process(one), held_by_another_process(two), pytest.raises(RunLocked), RunLock(one):
        pass


def test_a_child_that_outlives_a_killed_holder_does_not_keep_the_run(tmp_path: Path) -> None:
    holding = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    child = int(heard(holding))
    try:
        assert is_held(tmp_path)
        holding.kill()
        end(holding)
        os.kill(child, 0)  # it lives
        with RunLock(tmp_path):
            assert is_held(tmp_path)
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_pid_that_was_given_to_another_process_does_not_matter(tmp_path: Path) -> None:
    foreign = subprocess.Popen(["sleep", "100"])
    try:
        write_record(tmp_path, pid=foreign.pid, started_at="2020-01-01T00:00:00+00:00")
        assert not is_held(tmp_path)
        with RunLock(tmp_path) as taken:
            assert taken.broken is None
        assert foreign.poll() is None
    finally:
        foreign.kill()
        foreign.wait()


@pytest.mark.usefixtures("impatient")
def test_a_record_beside_a_held_lock_is_doubted_when_its_pid_is_another_process_by_now(tmp_path: Path) -> None:
    foreign = subprocess.Popen(["sleep", "100"])
    try:
        with held_by_another_process(tmp_path):
            write_record(tmp_path, pid=foreign.pid, started_at="2020-01-01T00:00:00+00:00")
            said = refusal(tmp_path, force=True)
        assert f"process {foreign.pid} is another one by now" in said
        assert f"kill {foreign.pid}" not in said, "nobody is told to end a process that has nothing to do with it"
        assert "lsof" in said
    finally:
        foreign.kill()
        foreign.wait()


@pytest.mark.usefixtures("impatient")
def test_a_record_beside_a_held_lock_is_doubted_when_there_is_no_such_process(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    with held_by_another_process(tmp_path):
        write_record(tmp_path, pid=ended.pid)
        said = refusal(tmp_path, force=True)
    assert "there is no such process" in said
    assert f"kill {ended.pid}" not in said


def test_a_record_of_another_host_is_never_taken_over_silently(tmp_path: Path) -> None:
    path = write_record(tmp_path, pid=77, host="elsewhere")
    before = path.read_bytes()
    said = refusal(tmp_path)
    assert "process 77 on elsewhere since 2026-03-14T10:15:00+00:00 (`prodigy run flow.yml`)" in said
    assert f"`prodigy resume {tmp_path.name} --force`" in said
    assert "--force takes the run over" in said
    assert "if the process still lives, both work on the run, and steps may run twice" in said
    assert path.read_bytes() == before, "the record is there for whoever asks next"
    assert not is_held(tmp_path)
    assert refusal(tmp_path) == said


def test_force_takes_a_run_from_another_host_and_tells_from_whom(tmp_path: Path) -> None:
    write_record(tmp_path, pid=77, host="elsewhere")
    with RunLock(tmp_path, force=True) as taken:
        assert taken.broken is not None
        assert (taken.broken.pid, taken.broken.host) == (77, "elsewhere")
        record = holder(tmp_path)
        assert record is not None
        assert (record.pid, record.host) == (os.getpid(), socket.gethostname())
    with RunLock(tmp_path) as again:
        assert again.broken is None


def test_force_breaks_nothing_where_there_is_nothing_to_break(tmp_path: Path) -> None:
    with RunLock(tmp_path, force=True) as taken:
        assert taken.broken is None


def test_a_process_on_another_host_that_holds_the_kernels_lock_is_not_broken_by_force(tmp_path: Path) -> None:
    """Some network file systems pass locks on: then the kernel knows of a process whose record is of another host."""
    with held_by_another_process(tmp_path):
        write_record(tmp_path, pid=77, host="elsewhere")
        said = refusal(tmp_path, force=True)
    assert "process 77 on elsewhere" in said
    assert "--force does not take a run from a process that lives" in said
    assert "`kill 77` on elsewhere" in said


def test_the_record_of_another_host_outlives_a_disk_on_which_nothing_can_be_written(tmp_path: Path) -> None:
    import resource

    path = write_record(tmp_path, host="elsewhere")
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(EnvironmentProblem, match="can't be written"):
            RunLock(tmp_path, force=True).acquire()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == before
    assert not is_held(tmp_path)


def test_records_of_before_the_start_time_and_of_newer_versions_are_read(tmp_path: Path) -> None:
    path = write_record(tmp_path, host="elsewhere", written_by="a newer version")
    record = json.loads(path.read_text())
    del record["started_at"]
    path.write_text(json.dumps(record))
    found = read_holder(path)
    assert found is not None
    assert found.started_at is None
    assert "elsewhere" in refusal(tmp_path)


def test_an_old_record_beside_a_held_lock_is_believed(tmp_path: Path) -> None:
    with held_by_another_process(tmp_path) as process:
        write_record(tmp_path, pid=process.pid, started_at=None)
        said = refusal(tmp_path)
    assert f"process {process.pid} on {socket.gethostname()}" in said
    assert "record says" not in said


WHOLE = {"pid": 7, "host": "elsewhere", "acquired_at": "2026-03-14T10:15:00+00:00", "command": "prodigy run x.yml"}
CORRUPT = {
    "empty": b"",
    "cut off": b'{"pid": 7, "host": "elsew',
    "not UTF-8": b'{"pid": 7, "host": "\xff\xfe"}',
    "zero bytes": bytes(4096),
    "a list": b"[1, 2]",
    "a number": b"7",
    "no pid": json.dumps({key: WHOLE[key] for key in WHOLE if key != "pid"}).encode(),
    "pid as text": json.dumps({**WHOLE, "pid": "7"}).encode(),
    "pid true": json.dumps({**WHOLE, "pid": True}).encode(),
    "pid below zero": json.dumps({**WHOLE, "pid": -1}).encode(),
    "pid too large": json.dumps({**WHOLE, "pid": 10**30}).encode(),
    "pid with too many digits": b'{"pid": ' + b"9" * 10_000 + b"}",
    "host null": json.dumps({**WHOLE, "host": None}).encode(),
    "host empty": json.dumps({**WHOLE, "host": ""}).encode(),
    "command a list": json.dumps({**WHOLE, "command": ["x"]}).encode(),
    "nested deeply": b"[" * 100_000,
    "huge": json.dumps({**WHOLE, "command": "x" * RECORD_LIMIT}).encode(),
}


@pytest.mark.parametrize("text", CORRUPT.values(), ids=CORRUPT.keys())
def test_a_corrupt_record_beside_a_free_lock_is_taken_over(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "lock").write_bytes(text)
    assert read_holder(tmp_path / "lock") is None
    with RunLock(tmp_path) as taken:
        assert taken.broken is None
        record = holder(tmp_path)
        assert record is not None
        assert record.pid == os.getpid()


@pytest.mark.parametrize("name", ["empty", "not UTF-8", "huge"])
@pytest.mark.usefixtures("impatient")
def test_a_corrupt_record_beside_a_held_lock_makes_a_clear_refusal(tmp_path: Path, name: str) -> None:
    with held_by_another_process(tmp_path):
        (tmp_path / "lock").write_bytes(CORRUPT[name])
        said = refusal(tmp_path)
        assert holder(tmp_path) is None
    assert "a process that left no readable record" in said
    assert f"prodigy cancel {tmp_path.name}" in said


def test_a_record_cannot_move_the_cursor_forge_a_line_or_fill_the_screen(tmp_path: Path) -> None:
    write_record(tmp_path, host="a\x1b[2Jb\nError: forged", command="\udcff" + "x" * 100_000, acquired_at="\r")
    said = refusal(tmp_path)
    assert "\x1b" not in said
    assert "\r" not in said
    assert "\nError: forged" not in said
    assert len(said.encode()) < 3000


def test_a_times_text_of_a_record_that_is_no_time_does_not_matter(tmp_path: Path) -> None:
    with held_by_another_process(tmp_path) as process:
        for odd in ("yesterday", "0001-01-01T00:00:00", ""):
            write_record(tmp_path, pid=process.pid, started_at=odd, acquired_at=odd)
            assert f"process {process.pid} on" in refusal(tmp_path)


def test_a_directory_in_the_place_of_the_lock_is_told(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(EnvironmentProblem, match="can't be opened: Is a directory") as caught:
        RunLock(tmp_path).acquire()
    assert str(tmp_path / "lock") in str(caught.value)
    assert not is_held(tmp_path)
    assert holder(tmp_path) is None


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (tmp_path / "lock").symlink_to(precious)
    with pytest.raises(EnvironmentProblem, match="can't be opened"):
        RunLock(tmp_path).acquire()
    with pytest.raises(EnvironmentProblem, match="can't be looked at"):
        is_held(tmp_path)
    assert precious.read_text() == "mine"


def test_a_pipe_in_the_place_of_the_lock_makes_nobody_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lock")
    assert not is_held(tmp_path)
    with pytest.raises(EnvironmentProblem):
        RunLock(tmp_path).acquire()


def test_a_run_directory_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="No such file or directory"):
        RunLock(tmp_path / "gone").acquire()
    assert not is_held(tmp_path / "gone")


def test_a_lock_that_belongs_to_somebody_else_is_told(tmp_path: Path) -> None:
    for name in ("run", "warm-up"):
        (tmp_path / name).mkdir(mode=0o755)
    path = tmp_path / "run" / "lock"
    path.touch()
    path.chmod(0)
    done = subprocess.run([sys.executable, "-c", STRANGER, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.count("5 run/lock: the run's lock can't be") == 2
    assert done.stdout.count("Permission denied") == 2


def test_a_lock_that_was_removed_by_hand_and_taken_by_another_is_not_removed_again(tmp_path: Path) -> None:
    first = RunLock(tmp_path)
    first.acquire()
    (tmp_path / "lock").unlink()
    with held_by_another_process(tmp_path):
        first.release()
        assert is_held(tmp_path)
