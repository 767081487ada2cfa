"""Durable processes, with real ones: what they do, how they end, and what survives whose death."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from process_support import (
    COORDINATOR,
    PATH,
    PATIENCE_S,
    WAIT_FOR_GO,
    asynchronous,
    coordinator,
    finished,
    number_in,
    until,
)
from prodigy.errors import CorruptState, EnvironmentProblem
from prodigy.executors import processes as processes_module
from prodigy.executors.base import Exit, ProcessSpec, ProcessState
from prodigy.executors.processes import Processes
from prodigy.executors.warden import parents

# A loop that only SIGKILL ends. It says where it is before the file named by $1 appears.
STUBBORN = "trap '' INT TERM HUP; echo $$ > $1.part; mv $1.part $1; while :; do sleep 0.1; done"


def program(cwd: Path, *argv: str, **settings: Any) -> ProcessSpec:
    """What to start. It ends by itself within a minute, whatever becomes of the test."""
    defaults: dict[str, Any] = {"env": {"PATH": os.environ["PATH"]}, "timeout_s": 60.0, "grace_s": 1.0}
    return ProcessSpec(argv=argv, cwd=str(cwd), **{**defaults, **settings})


def script(cwd: Path, text: str, *args: str, **settings: Any) -> ProcessSpec:
    return program(cwd, "bash", "-c", text, "script", *args, **settings)


async def run(processes: Processes, spec: ProcessSpec, path: str = PATH) -> Exit:
    assert await processes.start(path, spec)
    return await finished(processes, path)


def output(processes: Processes, path: str = PATH) -> bytes:
    return processes.read_output(path, "stdout", 0, 1 << 20)


def lives(pid: int) -> bool:
    status = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, check=False).stdout
    return bool(status) and not status.startswith(b"Z")


def is_locked(file: Path) -> bool:
    with file.open("rb") as probe:
        try:
            fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def launcher_pid(processes: Processes) -> int:
    assert processes._launcher is not None
    return processes._launcher._process.pid


# What a step gets, and what it leaves


@asynchronous
async def test_output_and_status_are_kept(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as processes:
        before = time.time()
        ended = await run(processes, script(tmp_path, "echo out; echo err >&2; exit 3"))
        assert (ended.code, ended.reason, ended.message, ended.ok) == (3, "exited", None, False)
        assert before <= ended.started_at <= time.time()
        assert 0 < ended.duration_s <= time.time() - before
        assert output(processes) == b"out\n"
        assert processes.read_output(PATH, "stderr", 0, 100) == b"err\n"
        assert processes.state(PATH) is ProcessState.FINISHED


@asynchronous
async def test_a_finished_step_leaves_these_files(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as processes:
        await run(processes, program(tmp_path, "true", files={"script": b"x"}))
        names = sorted(file.name for file in processes.directory(PATH).iterdir())
        assert names == ["alive", "command.json", "exit", "script", "stderr", "stdin", "stdout"]
        assert (processes.directory(PATH) / "exit").read_bytes().endswith(b"}\n")


@asynchronous
async def test_output_is_appended_whoever_opens_it(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as processes:
        await run(processes, script(tmp_path, "echo one; echo two >> /dev/stdout; echo three"))
        assert output(processes) == b"one\ntwo\nthree\n"


@asynchronous
async def test_status_zero_is_ok(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as processes:
        assert (await run(processes, program(tmp_path, "true"))).ok


@asynchronous
async def test_a_signal_shows_as_128_and_its_number(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as processes:
        ended = await run(processes, script(tmp_path, "kill -ALRM $$"))
        assert (ended.code, ended.reason) == (128 + signal.SIGALRM, "exited")


@asynchronous
async def test_output_is_read_in_pieces(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as processes:
        await run(processes, script(tmp_path, "printf 0123456789"))
        assert processes.read_output(PATH, "stdout", 3, 4) == b"3456"
        assert processes.read_output(PATH, "stdout", 10, 4) == b""


@asynchronous
async def test_output_is_readable_while_the_process_runs(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as processes:
        await processes.start(PATH, script(tmp_path, f"echo early; {WAIT_FOR_GO} echo late"))
        await until(lambda: output(processes) == b"early\n")
        assert processes.state(PATH) is ProcessState.RUNNING
        (tmp_path / "go").touch()
        await finished(processes)
        assert output(processes) == b"early\nlate\n"


@asynchronous
async def test_stdin_is_given_and_empty_by_default(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as processes:
        content = bytes(range(256)) * 1000
        await run(processes, program(tmp_path, "cat", stdin=content), "given/t1")
        await run(processes, program(tmp_path, "cat"), "empty/t1")
        assert output(processes, "given/t1") == content
        assert output(processes, "empty/t1") == b""


@asynchronous
async def test_files_are_in_the_directory_of_the_step(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as processes:
        place = processes.directory(PATH) / "step.sh"
        await run(processes, program(tmp_path, "bash", str(place), files={"step.sh": b"echo from a file"}))
        assert output(processes) == b"from a file\n"


@pytest.mark.parametrize("name", ["stdout", "exit", "../x", "", ".."])
@asynchronous
async def test_a_file_cannot_take_the_place_of_another(tmp_path: Path, name: str) -> None:
    async with coordinator(tmp_path) as processes:
        with pytest.raises(ValueError, match="not a name"):
            await processes.start(PATH, program(tmp_path, "true", files={name: b""}))
        assert processes.state(PATH) is ProcessState.ABSENT


@asynchronous
async def test_nothing_cannot_be_started(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as processes:
        with pytest.raises(ValueError, match="no program"):
            await processes.start(PATH, program(tmp_path))


@asynchronous
async def test_bytes_that_are_no_text_arrive_unchanged(tmp_path: Path) -> None:
    raw = bytes(range(1, 256))
    async with coordinator(tmp_path) as processes:
        folder = tmp_path / os.fsdecode(b"\xff folder\n")
        folder.mkdir()
        env = {"PATH": os.environ["PATH"], "RAW": os.fsdecode(raw)}
        spec = script(folder, 'printf %s "$RAW$1"; pwd', os.fsdecode(raw[::-1]), env=env)
        await run(processes, spec)
        assert output(processes) == raw + raw[::-1] + os.fsencode(folder) + b"\n"


@asynchronous
async def test_the_environment_is_the_given_one_and_a_marker(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as processes:
        await run(processes, program(tmp_path, "/usr/bin/env", env={"ONLY": "this"}))
        names = [line.split(b"=")[0] for line in output(processes).splitlines()]
        assert sorted(names) == [b"ONLY", b"PRODIGY_TOKEN"]


@asynchronous
async def test_values_of_the_environment_are_not_on_disk(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as processes:
        env = {"PATH": os.environ["PATH"], "KEY": "hunter2-hunter2"}
        await processes.start(PATH, script(tmp_path, f'[ "$KEY" ] || exit 1\n{WAIT_FOR_GO}', env=env))
        assert files_that_hold(tmp_path, b"hunter2") == []
        (tmp_path / "go").touch()
        assert (await finished(processes)).ok
        assert files_that_hold(tmp_path, b"hunter2") == []
        command = json.loads((processes.directory(PATH) / "command.json").read_text())
        assert command["env_names"] == ["KEY", "PATH"]
        assert command["argv"][:2] == ["bash", "-c"]
        assert command["cwd"] == str(tmp_path)


def files_that_hold(folder: Path, needle: bytes) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and needle in file.read_bytes()]


@asynchronous
async def test_everything_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as processes:
        await processes.start(PATH, script(tmp_path, WAIT_FOR_GO, files={"script": b"x"}))
        assert modes(tmp_path / "steps") == {0o700, 0o600}
        (tmp_path / "go").touch()
        await finished(processes)
        assert modes(tmp_path / "steps") == {0o700, 0o600}


def modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(entry.lstat().st_mode) for entry in [folder, *folder.rglob("*")]}


@asynchronous
async def test_a_step_inherits_no_descriptor_but_its_three(tmp_path: Path) -> None:
    list_descriptors = (
        "import os\n"
        "for number in range(256):\n"
        "    try: os.fstat(number)\n"
        "    except OSError: continue\n"
        "    print(number, end=' ')\n"
    )
    leak = os.open(tmp_path, os.O_RDONLY)
    try:
        os.set_inheritable(leak, True)
        async with coordinator(tmp_path, helpers_fd=leak) as processes:
            await run(processes, program(tmp_path, sys.executable, "-I", "-S", "-c", list_descriptors))
            assert output(processes) == b"0 1 2 "
    finally:
        os.close(leak)


@asynchronous
async def test_a_step_leads_a_session_of_its_own(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as processes:
        show = "import os; print(os.getpid() == os.getsid(0) == os.getpgid(0))"
        await run(processes, program(tmp_path, sys.executable, "-I", "-S", "-c", show))
        assert output(processes) == b"True\n"


@asynchronous
async def test_a_step_ignores_no_signal(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as processes:
        show = "import signal; print([n for n in range(1, 65) if signal.getsignal(n) == signal.SIG_IGN])"
        await run(processes, program(tmp_path, sys.executable, "-I", "-S", "-c", show))
        # The two that Python itself ignores at its start.
        assert output(processes).decode().strip() == f"[{signal.SIGPIPE:d}, {signal.SIGXFSZ:d}]"


# What cannot be started


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("no-such-program",), "cannot run no-such-program: No such file or directory"),
        (("./no-such-program",), "cannot run ./no-such-program: No such file or directory"),
        (("./plain",), "cannot run ./plain: Permission denied"),
        (("plain",), "cannot run plain: Permission denied"),
        (("./garbage",), "cannot run ./garbage: Exec format error"),
        (("true", "zero\0byte"), "cannot run true: embedded null byte"),
    ],
)
@asynchronous
async def test_what_cannot_be_run_is_not_started(tmp_path: Path, argv: tuple[str, ...], message: str) -> None:
    (tmp_path / "plain").write_text("not executable")
    (tmp_path / "garbage").write_text("no program")
    (tmp_path / "garbage").chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    async with coordinator(tmp_path) as processes:
        ended = await run(processes, program(tmp_path, *argv, env=env))
        assert (ended.code, ended.reason, ended.message) == (None, "not_started", message)
        assert not ended.ok


@asynchronous
async def test_a_missing_working_directory_is_not_started(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as processes:
        ended = await run(processes, program(tmp_path / "gone", "true"))
        assert (ended.code, ended.reason) == (None, "not_started")
        assert ended.message == f"cannot work in {tmp_path}/gone: No such file or directory"


@asynchronous
async def test_a_program_is_looked_up_on_the_given_path(tmp_path: Path) -> None:
    (tmp_path / "first" / "tool").mkdir(parents=True)
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "tool").write_text("#!/bin/sh\necho found")
    (tmp_path / "second" / "tool").chmod(0o755)
    env = {"PATH": f"{tmp_path}/none:{tmp_path}/first:{tmp_path}/second"}
    async with coordinator(tmp_path) as processes:
        assert (await run(processes, program(tmp_path, "tool", env=env))).ok
        assert output(processes) == b"found\n"


@asynchronous
async def test_without_an_interpreter_there_is_no_launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    async with coordinator(tmp_path) as processes:
        with pytest.raises(EnvironmentProblem, match="launcher of steps cannot be started"):
            await processes.start(PATH, program(tmp_path, "true"))


@asynchronous
async def test_a_launcher_that_always_dies_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.py").write_text("raise SystemExit('why it broke')")
    monkeypatch.setattr(processes_module, "LAUNCHER", tmp_path / "broken.py")
    async with coordinator(tmp_path) as processes:
        with pytest.raises(EnvironmentProblem, match="the launcher died twice") as caught:
            await processes.start(PATH, program(tmp_path, "true"))
        log = tmp_path / "steps" / ".launcher.log"
        assert str(log) in str(caught.value)
        assert log.read_text() == "why it broke\nwhy it broke\n"


@asynchronous
async def test_a_path_that_something_else_takes_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "steps" / "taken" / "t1").mkdir(parents=True)
    (tmp_path / "steps" / "taken" / "t1" / "file").touch()
    (tmp_path / "steps" / "file").touch()
    async with coordinator(tmp_path) as processes:
        with pytest.raises(CorruptState):
            await processes.start("taken/t1", program(tmp_path, "true"))
        with pytest.raises(EnvironmentProblem, match="cannot be prepared"):
            await processes.start("file/t1", program(tmp_path, "true"))
        assert list((tmp_path / "steps" / ".staging").iterdir()) == []


@pytest.mark.parametrize("path", ["", "/etc", "a//b", "../a", "a/..", ".staging"])
def test_a_path_stays_below_the_steps(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="not a step path"):
        Processes(tmp_path).directory(path)


# How a step is ended


@asynchronous
async def test_the_total_time_is_limited(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as processes:
        ended = await run(processes, program(tmp_path, "sleep", "300", timeout_s=0.3))
        assert (ended.code, ended.reason) == (128 + signal.SIGINT, "timeout")


@asynchronous
async def test_the_time_without_output_is_limited(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as processes:
        ended = await run(processes, script(tmp_path, "echo once; exec sleep 300", idle_timeout_s=0.3))
        assert (ended.code, ended.reason) == (128 + signal.SIGINT, "idle")
        assert output(processes) == b"once\n"


@pytest.mark.parametrize("stream", [1, 2])
@asynchronous
async def test_output_on_either_stream_is_no_idleness(tmp_path: Path, stream: int) -> None:
    chatter = f"for i in {{1..20}}; do echo $i >&{stream}; sleep 0.2; done"
    async with coordinator(tmp_path) as processes:
        assert (await run(processes, script(tmp_path, chatter, idle_timeout_s=3.0))).ok


@asynchronous
async def test_a_stop_interrupts_then_terminates_then_kills(tmp_path: Path) -> None:
    ignoring = "trap 'echo int' INT; trap 'echo term' TERM; echo ready; while :; do sleep 0.05; done"
    async with coordinator(tmp_path) as processes:
        await processes.start(PATH, script(tmp_path, ignoring))
        await until(lambda: output(processes) == b"ready\n")
        await processes.stop(PATH, 3.0)
        ended = await finished(processes)
        assert (ended.code, ended.reason) == (128 + signal.SIGKILL, "stopped")
        assert output(processes) == b"ready\nint\nterm\n"


@asynchronous
async def test_an_interrupted_process_may_end_in_its_own_way(tmp_path: Path) -> None:
    tidy = "trap 'echo tidied; exit 7' INT; echo ready; while :; do sleep 0.05; done"
    async with coordinator(tmp_path) as processes:
        await processes.start(PATH, script(tmp_path, tidy))
        await until(lambda: output(processes) == b"ready\n")
        await processes.stop(PATH, 60.0)
        ended = await finished(processes)
        assert (ended.code, ended.reason) == (7, "stopped")
        assert output(processes) == b"ready\ntidied\n"


@asynchronous
async def test_a_second_stop_shortens_the_grace(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as processes:
        await processes.start(PATH, script(tmp_path, STUBBORN, "pid"))
        await number_in(tmp_path / "pid")
        await processes.stop(PATH, 3600.0)
        await processes.stop(PATH, 0.0)
        assert (await finished(processes)).reason == "stopped"


@asynchronous
async def test_nonsense_in_the_control_file_is_ignored(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as processes:
        await processes.start(PATH, script(tmp_path, WAIT_FOR_GO))
        with (processes.directory(PATH) / "control").open("wb", buffering=0) as control:
            control.write(b"stop\nstop soon\n\xff\xfe\nstart 1\n\n")
        (tmp_path / "go").touch()
        assert (await finished(processes)).ok


@asynchronous
async def test_a_stop_reaches_descendants_in_sessions_of_their_own(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "STUBBORN": STUBBORN}
    tree = """setsid bash -c 'setsid bash -c "$STUBBORN" - inner & eval "$STUBBORN"' - outer & wait"""
    async with coordinator(tmp_path) as processes:
        await processes.start(PATH, script(tmp_path, tree, env=env))
        pids = [await number_in(tmp_path / "inner"), await number_in(tmp_path / "outer")]
        await processes.stop(PATH, 0.4)
        assert (await finished(processes)).reason == "stopped"
        assert [pid for pid in pids if lives(pid)] == []


@asynchronous
async def test_stopping_what_does_not_run_does_nothing(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as processes:
        await processes.stop(PATH)
        assert processes.state(PATH) is ProcessState.ABSENT
        ended = await run(processes, program(tmp_path, "true"))
        await processes.stop(PATH)
        assert await processes.wait(PATH) == ended


@asynchronous
async def test_a_server_left_behind_ends_with_the_step(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as processes:
        leave = "setsid sleep 300 & echo $! > pid"
        assert (await run(processes, script(tmp_path, leave))).ok
        assert not lives(await number_in(tmp_path / "pid"))


@asynchronous
async def test_a_daemon_without_marker_that_ignores_signals_ends_with_the_step(tmp_path: Path) -> None:
    daemonise = '(env -i PATH="$PATH" setsid bash -c "$1" - pid &)\nuntil [ -e pid ]; do sleep 0.05; done; exit 3'
    async with coordinator(tmp_path) as processes:
        ended = await run(processes, script(tmp_path, daemonise, STUBBORN))
        assert (ended.code, ended.reason) == (3, "exited")
        assert not lives(await number_in(tmp_path / "pid"))


# Exactly once


@asynchronous
async def test_a_path_is_started_once(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as processes:
        tally = script(tmp_path, "echo ran >> tally")
        await run(processes, tally)
        assert not await processes.start(PATH, tally)
        assert (tmp_path / "tally").read_text() == "ran\n"


@asynchronous
async def test_of_many_concurrent_starts_one_wins(tmp_path: Path) -> None:
    tally = script(tmp_path, f"echo ran >> tally\n{WAIT_FOR_GO}")
    async with coordinator(tmp_path) as one, coordinator(tmp_path) as other:
        starts = [one.start(PATH, tally) for _ in range(8)] + [other.start(PATH, tally) for _ in range(8)]
        assert sorted(await asyncio.gather(*starts)) == [False] * 15 + [True]
        assert one.state(PATH) is other.state(PATH) is ProcessState.RUNNING
        assert list((tmp_path / "steps" / ".staging").iterdir()) == []
        (tmp_path / "go").touch()
        assert await finished(one) == await finished(other)
        assert (tmp_path / "tally").read_text() == "ran\n"


@asynchronous
async def test_a_cancelled_start_has_happened_or_not(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as processes:
        starting = asyncio.create_task(processes.start(PATH, script(tmp_path, WAIT_FOR_GO)))
        await asyncio.sleep(0)  # let it begin
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert processes.state(PATH) is ProcessState.RUNNING
        await processes.stop(PATH, 0)
        await finished(processes)


@asynchronous
async def test_64_steps_at_once_never_look_lost(tmp_path: Path) -> None:
    paths = [f"1/i{number:04}/a1/t1" for number in range(64)]
    seen: set[ProcessState] = set()

    async def watch(processes: Processes) -> None:
        while True:
            seen.update(processes.state(path) for path in paths)
            await asyncio.sleep(0)

    async with coordinator(tmp_path) as processes:
        watching = asyncio.create_task(watch(processes))
        ends = await asyncio.gather(*(run(processes, script(tmp_path, 'echo "$1"', path), path) for path in paths))
        watching.cancel()
        assert all(ended.ok for ended in ends)
        assert [output(processes, path).decode().strip() for path in paths] == paths
        assert ProcessState.LOST not in seen


@asynchronous
async def test_two_may_look_at_once(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as processes:
        await run(processes, program(tmp_path, "true"))
        with (processes.directory(PATH) / "alive").open("rb") as other:
            fcntl.flock(other, fcntl.LOCK_SH)
            assert processes.state(PATH) is ProcessState.FINISHED


@asynchronous
async def test_the_launcher_tells_of_an_end_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes_module, "FIRST_LOOK_S", 3600.0)
    async with coordinator(tmp_path) as processes:
        await processes.start(PATH, script(tmp_path, WAIT_FOR_GO))
        waiting = asyncio.create_task(finished(processes))
        await asyncio.sleep(0)  # let it look for the first time
        (tmp_path / "go").touch()
        assert (await waiting).ok


@asynchronous
async def test_looking_creates_nothing(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as processes:
        assert processes.state(PATH) is ProcessState.ABSENT
        with pytest.raises(CorruptState):
            await processes.wait(PATH)
        await processes.kill_leftovers(PATH)
    assert list(tmp_path.iterdir()) == []


# Deaths


def start_and_die(tmp_path: Path, text: str) -> None:
    """Start the step PATH in another coordinator, and kill that one."""
    argv = [sys.executable, "-c", COORDINATOR, str(tmp_path / "steps"), PATH, str(tmp_path), text]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"started\n"
        first.kill()


@asynchronous
async def test_a_step_survives_kill_9_of_its_coordinator_and_is_adopted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes_module, "LAST_LOOK_S", 0.05)
    start_and_die(tmp_path, f"echo ran >> tally\n{WAIT_FOR_GO} echo done; exit 7")
    async with coordinator(tmp_path) as processes:
        assert processes.state(PATH) is ProcessState.RUNNING
        assert not await processes.start(PATH, script(tmp_path, "echo ran >> tally"))
        waiting = asyncio.create_task(finished(processes))
        await asyncio.sleep(3 * processes_module.LAST_LOOK_S)  # let it look more than once
        (tmp_path / "go").touch()
        ended = await waiting
        assert (ended.code, ended.reason) == (7, "exited")
        assert output(processes) == b"done\n"
        assert (tmp_path / "tally").read_text() == "ran\n"


@asynchronous
async def test_an_adopted_step_can_be_stopped(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as first:
        await first.start(PATH, program(tmp_path, "sleep", "300"))
    async with coordinator(tmp_path) as second:
        await second.stop(PATH)
        assert (await finished(second)).reason == "stopped"


@asynchronous
async def test_a_step_survives_kill_9_of_the_launchers_group_and_the_next_one_starts(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as processes:
        await processes.start(PATH, script(tmp_path, f"{WAIT_FOR_GO} echo done"))
        os.killpg(launcher_pid(processes), signal.SIGKILL)
        waiting = asyncio.create_task(finished(processes))
        assert (await run(processes, program(tmp_path, "true"), "next/t1")).ok
        (tmp_path / "go").touch()
        assert (await waiting).ok
        assert output(processes) == b"done\n"


@asynchronous
async def test_a_step_that_lost_its_warden_is_lost_and_its_processes_can_be_ended(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as processes:
        tree = 'env -i PATH="$PATH" setsid bash -c "$1" - inner & exec bash -c "$1" - outer'
        await processes.start(PATH, script(tmp_path, tree, STUBBORN))
        pids = [await number_in(tmp_path / "inner"), await number_in(tmp_path / "outer")]
        os.kill(parents()[pids[1]], signal.SIGKILL)
        assert await processes.wait(PATH) is None
        assert processes.state(PATH) is ProcessState.LOST
        assert [pid for pid in pids if not lives(pid)] == []
        await processes.stop(PATH)
        await processes.kill_leftovers(PATH)
        assert [pid for pid in pids if lives(pid)] == []


@asynchronous
async def test_only_lost_steps_have_leftovers(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as processes:
        await processes.start(PATH, script(tmp_path, f"echo ready\n{WAIT_FOR_GO}"))
        await until(lambda: output(processes) == b"ready\n")
        await processes.kill_leftovers(PATH)
        (tmp_path / "go").touch()
        assert (await finished(processes)).ok


@asynchronous
async def test_signals_to_a_warden_end_nothing(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as processes:
        await processes.start(PATH, script(tmp_path, f"echo $$ > part; mv part pid\n{WAIT_FOR_GO}"))
        pid = await number_in(tmp_path / "pid")
        warden = parents()[pid]
        assert os.getsid(launcher_pid(processes)) == launcher_pid(processes)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            os.kill(warden, number)
            os.kill(launcher_pid(processes), number)
        (tmp_path / "go").touch()
        assert (await finished(processes)).ok
        assert (await run(processes, program(tmp_path, "true"), "next/t1")).ok


@asynchronous
async def test_the_helpers_lock_is_held_until_the_launcher_is_gone(tmp_path: Path) -> None:
    lock = tmp_path / "helpers.lock"
    with lock.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        processes = Processes(tmp_path / "steps", held.fileno())
        await processes.start(PATH, script(tmp_path, WAIT_FOR_GO))
    assert is_locked(lock)
    await processes.close()
    await until(lambda: not is_locked(lock))
    assert processes.state(PATH) is ProcessState.RUNNING
    (tmp_path / "go").touch()
    assert (await finished(processes)).ok


def test_a_launcher_without_a_coordinator_starts_nothing_of_what_it_was_sent(tmp_path: Path) -> None:
    (tmp_path / "staging").mkdir()
    request = {
        "token": "0",
        "staging": str(tmp_path / "staging"),
        "final": str(tmp_path / "final"),
        "argv": ["true"],
        "env": {},
        "cwd": "/",
        "timeout_s": 1.0,
        "idle_timeout_s": 1.0,
        "grace_s": 1.0,
    }
    reader, writer = os.pipe()
    os.write(writer, json.dumps(request).encode() + b"\n")
    os.close(writer)
    argv = [sys.executable, "-I", "-S", str(processes_module.LAUNCHER)]
    ended = subprocess.run(argv, stdin=reader, capture_output=True, timeout=PATIENCE_S, check=False)
    os.close(reader)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
    assert list((tmp_path / "staging").iterdir()) == []


@asynchronous
async def test_what_was_prepared_and_never_started_can_be_discarded(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as processes:
        await run(processes, program(tmp_path, "true"))
        (tmp_path / "steps" / ".staging" / "token").mkdir()
        processes.discard_staging()
        assert not (tmp_path / "steps" / ".staging").exists()
        assert (await run(processes, program(tmp_path, "true"), "next/t1")).ok


@asynchronous
async def test_a_damaged_exit_record_is_an_error(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as processes:
        await run(processes, program(tmp_path, "true"))
        (processes.directory(PATH) / "exit").write_text("{}")
        with pytest.raises(CorruptState):
            await processes.wait(PATH)
