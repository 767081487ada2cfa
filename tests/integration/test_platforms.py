"""Hosts without /proc and a subreaper: the essential promises about processes hold there too, with real processes."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from process_support import (
    COORDINATOR,
    PATH,
    WAIT_FOR_GO,
    asynchronous,
    coordinator,
    finished,
    number_in,
    until,
)
from prodigy.errors import EnvironmentProblem
from prodigy.executors import launcher, system
from prodigy.executors.base import ProcessSpec, ProcessState

PLATFORMS = [system.Portable(), *([] if system.HERE.name == system.PORTABLE else [system.HERE])]
# For a minute, only SIGKILL ends it. It says where it is before the file named by $1 appears.
STUBBORN = "trap '' INT TERM HUP; echo $$ > $1.part; mv $1.part $1; for i in {1..600}; do sleep 0.1; done"
# As the program setsid, which macOS does not have.
SETSID = f"{sys.executable} -I -S -c 'import os, sys; os.setsid(); os.execvp(sys.argv[1], sys.argv[1:])'"

needs_ps = pytest.mark.skipif(shutil.which("ps") is None, reason="ps is missing")
each_platform = pytest.mark.parametrize("platform", PLATFORMS, ids=lambda platform: platform.name)


@pytest.fixture
def portable(monkeypatch: pytest.MonkeyPatch) -> None:
    """No /proc and no subreaper: here, in the launcher, and in other coordinators."""
    if shutil.which("ps") is None:
        pytest.skip("ps is missing")
    monkeypatch.setenv(system.PLATFORM_VARIABLE, system.PORTABLE)
    monkeypatch.setattr(system, "HERE", system.Portable())


def script(cwd: Path, text: str, **settings: Any) -> ProcessSpec:
    """What to start; STUBBORN and SETSID are in its environment."""
    env = {"PATH": os.environ["PATH"], "STUBBORN": STUBBORN, "SETSID": SETSID}
    defaults: dict[str, Any] = {"env": env, "timeout_s": 60.0, "grace_s": 0.5}
    return ProcessSpec(argv=("bash", "-c", text), cwd=str(cwd), **{**defaults, **settings})


def living(pids: list[int]) -> list[int]:
    return [pid for pid in pids if pid in system.Portable().parents()]


@contextlib.contextmanager
def child(*argv: str, **settings: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives as long as the block."""
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **settings) as process:
        try:
            yield process
        finally:
            process.kill()


# What is chosen, and when it is refused


def test_a_host_gets_the_best_way_it_has() -> None:
    assert system.choose("linux", True, None).name == "linux"
    assert system.choose("linux", True, "").name == "linux"
    assert system.choose("linux", False, None).name == "portable"
    assert system.choose("darwin", False, None).name == "macos"
    assert system.choose("freebsd14", True, None).name == "portable"


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_the_portable_way_can_be_forced(platform: str) -> None:
    assert system.choose(platform, True, "portable").name == "portable"


@asynchronous
async def test_an_unknown_way_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(system.PLATFORM_VARIABLE, "macos")
    async with coordinator(tmp_path) as processes:
        with pytest.raises(EnvironmentProblem, match="PRODIGY_PLATFORM is 'macos'"):
            await processes.start(PATH, script(tmp_path, "true"))
    assert list(tmp_path.iterdir()) == []


@asynchronous
async def test_without_ps_no_step_is_started(tmp_path: Path, portable: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    async with coordinator(tmp_path) as processes:
        with pytest.raises(EnvironmentProblem, match=r"`ps` is not on the PATH(.|\n)*install `ps`"):
            await processes.start(PATH, script(tmp_path, "true"))
    assert list(tmp_path.iterdir()) == []


def test_no_module_beside_the_launcher_has_a_name_of_the_standard_library() -> None:
    beside = {file.stem for file in Path(launcher.__file__).parent.glob("*.py")} - {"__init__"}
    assert beside & sys.stdlib_module_names == set()


# The facts, each platform's way


@needs_ps
@each_platform
def test_parents_are_known(platform: system.Portable) -> None:
    with child("cat") as process:
        assert platform.parents()[process.pid] == os.getpid()
        assert platform.parents()[os.getpid()] == os.getppid()


@needs_ps
@each_platform
def test_what_has_ended_and_is_not_reaped_does_not_count(platform: system.Portable) -> None:
    with child("true") as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert process.pid not in platform.parents()


@needs_ps
@each_platform
def test_marked_processes_are_known_by_their_environment(platform: system.Portable) -> None:
    def env(token: str) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "PRODIGY_TOKEN": token, "LAST": "x y"}

    with child("cat", env=env("one")) as one, child("cat", env=env("two")):
        assert platform.marked("one") == [one.pid]
        assert platform.marked("three") == []


@each_platform
def test_the_members_of_a_session_are_known(platform: system.Portable) -> None:
    with child("cat", start_new_session=True) as process:
        assert platform.in_session(process.pid, [os.getpid(), process.pid, 1 << 30]) == [process.pid]


@each_platform
def test_a_program_is_started_in_a_session_of_its_own_with_signals_as_by_default(
    platform: system.Portable, tmp_path: Path
) -> None:
    text = (
        "import os, signal, sys\n"
        "ignored = [n for n in (2, 15, 17) if signal.getsignal(n) == signal.SIG_IGN]\n"
        "blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())\n"
        "print(os.getsid(0) == os.getpid(), ignored, blocked, file=open(sys.argv[1], 'w'))"
    )
    argv = [os.fsencode(word) for word in (sys.executable, "-I", "-S", "-c", text, str(tmp_path / "told"))]
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        pid = platform.start(argv[0], argv, {})
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
        signal.signal(signal.SIGTERM, before)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert (tmp_path / "told").read_text() == "True [] set()\n"


@each_platform
def test_what_cannot_be_started_is_an_error_and_leaves_no_process(platform: system.Portable, tmp_path: Path) -> None:
    missing = os.fsencode(tmp_path / "missing")
    before = {child.pid for child in psutil.Process().children()}
    with pytest.raises(FileNotFoundError) as caught:
        platform.start(missing, [missing], {})
    assert caught.value.errno == errno.ENOENT
    with pytest.raises(ValueError, match="null byte"):
        platform.start(b"/bin/sh", [b"sh", b"zero\0byte"], {})
    with pytest.raises(ValueError, match="environment variable name"):
        platform.start(b"/bin/sh", [b"sh"], {b"": b"x"})
    assert {child.pid for child in psutil.Process().children()} <= before


# A step's life without /proc and a subreaper


@asynchronous
async def test_a_step_is_started_watched_and_ends(tmp_path: Path, portable: None) -> None:
    async with coordinator(tmp_path) as processes:
        assert await processes.start(PATH, script(tmp_path, f"cat; {WAIT_FOR_GO} exit 3", stdin=b"given"))
        await until(lambda: processes.read_output(PATH, "stdout", 0, 9) == b"given")
        assert processes.state(PATH) is ProcessState.RUNNING
        (tmp_path / "go").touch()
        ended = await finished(processes)
        assert (ended.code, ended.reason, ended.message) == (3, "exited", None)


@asynchronous
async def test_a_program_that_is_missing_is_not_started(tmp_path: Path, portable: None) -> None:
    async with coordinator(tmp_path) as processes:
        spec = ProcessSpec(argv=("no-such-program",), cwd=str(tmp_path), env={})
        assert await processes.start(PATH, spec)
        ended = await finished(processes)
        assert ended.message == "cannot run no-such-program: No such file or directory"


@asynchronous
async def test_an_orphan_is_not_given_to_its_warden(tmp_path: Path, portable: None) -> None:
    """What the other tests rest on: that nothing here has a subreaper after all."""
    text = f"(eval exec $SETSID bash -c '\"$STUBBORN\"' - pid &)\necho $$ > main.part; mv main.part main\n{WAIT_FOR_GO}"
    async with coordinator(tmp_path) as processes:
        await processes.start(PATH, script(tmp_path, text))
        orphan, main = await number_in(tmp_path / "pid"), await number_in(tmp_path / "main")
        tree = system.HERE.parents()
        assert tree[orphan] not in (main, tree[main])
        (tmp_path / "go").touch()
        assert (await finished(processes)).ok
        assert living([orphan]) == []


@asynchronous
async def test_an_orphan_without_marker_is_found_by_its_session(tmp_path: Path, portable: None) -> None:
    text = '(env -i PATH="$PATH" bash -c "$STUBBORN" - pid &)\nuntil [ -e pid ]; do sleep 0.05; done; exit 3'
    async with coordinator(tmp_path) as processes:
        await processes.start(PATH, script(tmp_path, text))
        ended = await finished(processes)
        assert (ended.code, ended.reason, ended.message) == (3, "exited", None)
        assert living([await number_in(tmp_path / "pid")]) == []


@asynchronous
async def test_what_an_orphan_started_without_marker_ends_with_it(tmp_path: Path, portable: None) -> None:
    # There is a subshell between the two. It ends first, when asked to.
    daemon = """eval $SETSID env -i PATH='"$PATH"' bash -c '"$STUBBORN"' - inner & set -- outer; eval "$STUBBORN" """
    (tmp_path / "daemon").write_text(daemon)
    text = "(eval exec $SETSID bash daemon &)\nuntil [ -e inner ] && [ -e outer ]; do sleep 0.05; done"
    async with coordinator(tmp_path) as processes:
        await processes.start(PATH, script(tmp_path, text))
        assert (await finished(processes)).ok
        assert living([await number_in(tmp_path / "inner"), await number_in(tmp_path / "outer")]) == []


@asynchronous
async def test_a_tool_without_marker_whose_parent_ends_first_is_not_forgotten(tmp_path: Path, portable: None) -> None:
    text = """trap 'exit 9' INT; eval exec $SETSID env -i PATH='"$PATH"' bash -c '"$STUBBORN"' - tool & wait"""
    async with coordinator(tmp_path) as processes:
        await processes.start(PATH, script(tmp_path, text))
        pid = await number_in(tmp_path / "tool")
        await processes.stop(PATH, 0.4)
        ended = await finished(processes)
        assert (ended.code, ended.reason) == (9, "stopped")
        assert living([pid]) == []


@pytest.mark.parametrize("reason", ["timeout", "idle", "stopped"])
@asynchronous
async def test_an_end_reaches_tools_in_sessions_of_their_own(tmp_path: Path, portable: None, reason: str) -> None:
    limits = {"timeout": {"timeout_s": 4.0}, "idle": {"idle_timeout_s": 4.0}, "stopped": {}}[reason]
    apart = """eval exec $SETSID bash -c '"$STUBBORN"' -"""
    text = f"{apart} tool & ({apart} orphan &)\nwait"
    async with coordinator(tmp_path) as processes:
        await processes.start(PATH, script(tmp_path, text, **limits))
        pids = [await number_in(tmp_path / "tool"), await number_in(tmp_path / "orphan")]
        if reason == "stopped":
            await processes.stop(PATH, 0.4)
        ended = await finished(processes)
        assert (ended.code, ended.reason, ended.message) == (128 + signal.SIGINT, reason, None)
        assert living(pids) == []


@asynchronous
async def test_a_step_that_ignores_signals_is_killed(tmp_path: Path, portable: None) -> None:
    async with coordinator(tmp_path) as processes:
        await processes.start(PATH, script(tmp_path, 'set -- pid; eval "$STUBBORN"'))
        pid = await number_in(tmp_path / "pid")
        await processes.stop(PATH, 0.2)
        ended = await finished(processes)
        assert (ended.code, ended.reason, ended.message) == (128 + signal.SIGKILL, "stopped", None)
        assert living([pid]) == []


# Deaths without /proc and a subreaper


@asynchronous
async def test_a_step_survives_kill_9_of_its_coordinator_and_is_adopted(tmp_path: Path, portable: None) -> None:
    text = f"echo ran >> tally\n{WAIT_FOR_GO} exit 7"
    with child(sys.executable, "-c", COORDINATOR, str(tmp_path / "steps"), PATH, str(tmp_path), text) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"started\n"
        first.send_signal(signal.SIGKILL)
    async with coordinator(tmp_path) as processes:
        assert processes.state(PATH) is ProcessState.RUNNING
        assert not await processes.start(PATH, script(tmp_path, text))
        (tmp_path / "go").touch()
        ended = await finished(processes)
        assert (ended.code, ended.reason) == (7, "exited")
        assert (tmp_path / "tally").read_text() == "ran\n"


@asynchronous
async def test_what_a_lost_warden_left_running_is_found_and_ended(tmp_path: Path, portable: None) -> None:
    text = (
        "(eval exec $SETSID bash -c '\"$STUBBORN\"' - orphan &)\n"
        'env -i PATH="$PATH" bash -c "$STUBBORN" - inner &\n'
        'exec bash -c "$STUBBORN" - outer'
    )
    async with coordinator(tmp_path) as processes:
        await processes.start(PATH, script(tmp_path, text))
        pids = [await number_in(tmp_path / name) for name in ("orphan", "inner", "outer")]
        os.kill(system.HERE.parents()[pids[2]], signal.SIGKILL)
        assert await processes.wait(PATH) is None
        assert processes.state(PATH) is ProcessState.LOST
        assert living(pids) == pids
        await processes.kill_leftovers(PATH)
        assert living(pids) == []


# Windows

REFUSED = """
import sys
posix_only = ("fcntl", "grp", "pwd", "resource", "termios", "tty", "pty", "syslog")
sys.modules.update(dict.fromkeys(posix_only))  # to import one of them raises ImportError
import os
{before}
import prodigy
from prodigy.cli.main import main
{after}
sys.argv[1:] = {arguments}
main()
"""


@pytest.mark.parametrize("arguments", [[], ["--version"], ["run", "workflow.yml"], ["doctor"]])
@pytest.mark.parametrize(
    ("before", "after"),
    # The standard library and click import what only Windows has, hence it is faked after them.
    [
        ("import click, tempfile; os.name = 'nt'", "sys.platform = 'win32'"),
        ("", "os.name = 'nt'; sys.platform = 'win32'"),
    ],
    ids=["from the start", "once imported"],
)
def test_windows_is_refused_before_anything_that_it_lacks_is_imported(
    arguments: list[str], before: str, after: str
) -> None:
    text = REFUSED.format(arguments=arguments, before=before, after=after)
    ended = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (5, "")
    assert ended.stderr == (
        "Error: Prodigy runs on Linux and macOS, not on Windows itself\n"
        "  Use it inside WSL: `wsl --install`, then install Prodigy and your agents in the Linux there.\n"
    )
