"""The coordinator's side of durable processes: start, watch, stop, adopt.

What a step's process does is known from its directory alone (`Processes.state`), never from a pid or from
memory, so a coordinator that starts later sees what the one before it saw. The launcher's messages only save
time.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from typing import Literal

from prodigy.errors import CorruptState, EnvironmentProblem
from prodigy.executors import system, warden
from prodigy.executors.base import DEFAULT_GRACE_S, Exit, ProcessSpec, ProcessState

LAUNCHER = Path(__file__).with_name("launcher.py")
STAGING = ".staging"
LAUNCHER_LOG = ".launcher.log"
# Between two looks at a running step whose launcher is another one's, or gone. Seconds.
FIRST_LOOK_S = 0.05
LAST_LOOK_S = 0.25
LEFTOVERS_LOOK_S = 0.02
_AGAIN = "Mend that, then resume the run; nothing is lost."
_PLATFORM_HINT = f"Unset {system.PLATFORM_VARIABLE}, or install `ps` (on many systems the package is named procps)."

_OURS = {
    warden.ALIVE,
    warden.COMMAND,
    warden.CONTROL,
    warden.EXIT,
    warden.EXIT_PART,
    warden.STDIN,
    warden.STDOUT,
    warden.STDERR,
}


class Processes:
    """The processes of one run, each in its own directory below `steps_dir`.

    steps_dir: created when the first process starts; everything in it is readable by its owner only.
    helpers_fd: a descriptor with a shared lock that the launcher is to hold as well; see launcher.py.
    """

    def __init__(self, steps_dir: Path, helpers_fd: int | None = None) -> None:
        self._steps_dir = steps_dir.absolute()
        self._helpers_fd = helpers_fd
        self._launcher: _Launcher | None = None
        self._launching = asyncio.Lock()
        self._endings: dict[str, asyncio.Event] = {}  # by path, for those who wait
        self._closed = False

    async def start(self, path: str, spec: ProcessSpec) -> bool:
        """Start a process; False when `path` was started before, by whomever.

        Returns when the process is sure to be looked after, whatever happens to us. A program that cannot be
        run is no error here: it has an exit with the reason not_started. Whoever cancels this call finds the
        process either started or not, never about to be. Raises EnvironmentProblem, CorruptState when `path`
        is taken by something else, and ValueError for a `path`, a name in `spec.files` or an empty argv that
        make no sense.
        """
        if self.state(path) is not ProcessState.ABSENT:
            return False
        starting = asyncio.create_task(self._start(path, spec))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            await asyncio.wait([starting])
            raise

    def state(self, path: str) -> ProcessState:
        """What the step's directory says."""
        directory = self.directory(path)
        try:
            alive = os.open(directory / warden.ALIVE, os.O_RDONLY)
        except (FileNotFoundError, NotADirectoryError):
            return ProcessState.ABSENT
        try:
            # Shared, so that two who look at once do not see each other. The warden had its lock before the
            # directory was there to look into, so we can never be in its way.
            fcntl.flock(alive, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return ProcessState.RUNNING
        finally:
            os.close(alive)
        return ProcessState.FINISHED if (directory / warden.EXIT).exists() else ProcessState.LOST

    async def wait(self, path: str) -> Exit | None:
        """Wait until the process has ended; None when it was lost.

        One loop for our own processes and for adopted ones. Raises CorruptState when nothing was started
        here.
        """
        pause = FIRST_LOOK_S
        ending = self._endings.setdefault(path, asyncio.Event())
        while True:
            ending.clear()
            state = self.state(path)
            if state is not ProcessState.RUNNING:
                break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await ending.wait()
            pause = min(pause * 1.5, LAST_LOOK_S)
        self._endings.pop(path, None)
        if state is ProcessState.ABSENT:
            raise CorruptState(
                "No process was started here, or its directory was deleted", where=str(self.directory(path)),
                hint="Resume the run: the step is started again.",
            )  # fmt: skip
        return self._exit(path) if state is ProcessState.FINISHED else None

    async def stop(self, path: str, grace_s: float = DEFAULT_GRACE_S) -> None:
        """Ask the warden to end the process within `grace_s` seconds, if it still runs. Returns at once."""
        try:
            control = os.open(self.directory(path) / warden.CONTROL, os.O_WRONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            return  # never started, or ended
        except OSError as error:
            if error.errno == errno.ENXIO:
                return  # the warden is gone
            raise
        try:
            # Full means that it has thousands of such requests to read, broken that it has just ended.
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                os.write(control, f"stop {grace_s}\n".encode())
        finally:
            os.close(control)

    def read_output(self, path: str, stream: Literal["stdout", "stderr"], offset: int, limit: int) -> bytes:
        """At most `limit` bytes of what was printed, from the byte `offset` on; empty at the present end."""
        with (self.directory(path) / stream).open("rb", buffering=0) as file:
            file.seek(offset)
            return file.read(limit)

    @property
    def steps_dir(self) -> Path:
        """The directory of all steps, which may not be there yet."""
        return self._steps_dir

    def directory(self, path: str) -> Path:
        """Where everything about the step execution `path` is, whether it was started or not."""
        if any(not segment or segment.startswith(".") for segment in path.split("/")):
            raise ValueError(f"not a step path: {path!r}")
        return self._steps_dir / path

    async def kill_leftovers(self, path: str) -> None:
        """End what a lost step left running; does nothing for other steps, whose warden does it.

        It is known by the marker in its environment. Raises EnvironmentProblem when some of it cannot be
        killed.
        """
        if self.state(path) is not ProcessState.LOST:
            return
        token = self._token(path)
        give_up = time.monotonic() + warden.KILL_PATIENCE_S
        while token and (carriers := set(system.HERE.marked(token))):
            if time.monotonic() > give_up:
                raise EnvironmentProblem(
                    f"Processes of a lost step cannot be killed: {sorted(carriers)}",
                    where=str(self.directory(path)),
                    hint="End them, then resume.",
                )
            found = [*carriers, *warden.descendants(system.HERE.parents(), carriers)]
            warden.signal_all(found, SIGKILL)
            await asyncio.sleep(LEFTOVERS_LOOK_S)

    def discard_staging(self) -> None:
        """Remove what was prepared by coordinators that died before it was started.

        Only for the one who holds the helpers' lock exclusively: nobody may be about to start anything.
        """
        shutil.rmtree(self._steps_dir / STAGING, ignore_errors=True)

    async def close(self) -> None:
        """Let the launcher go. Running processes live on."""
        self._closed = True
        async with self._launching:
            if self._launcher is not None:
                await self._launcher.close()

    async def _start(self, path: str, spec: ProcessSpec) -> bool:
        final = self.directory(path)
        token = secrets.token_hex(16)
        staging = self._steps_dir / STAGING / token
        await self._running_launcher()  # before anything is written
        try:
            _make_private_directory(final.parent)
            _prepare(staging, path, token, spec)
        except OSError as error:
            shutil.rmtree(staging, ignore_errors=True)
            raise EnvironmentProblem(f"A step cannot be prepared: {error}", where=str(final), hint=_AGAIN) from error
        reply = await self._ask(token, path, _request(staging, final, token, spec))
        if reply.event == "started":
            return True
        shutil.rmtree(staging, ignore_errors=True)
        if reply.event != "refused":
            raise EnvironmentProblem(f"A step cannot be started: {reply.message}", where=str(final), hint=_AGAIN)
        if self.state(path) is ProcessState.ABSENT:
            raise CorruptState("This directory is a step's, but holds something else", where=str(final))
        return False

    async def _ask(self, token: str, path: str, request: bytes) -> _Reply:
        """Hand a request to the launcher; once more to a new one if it dies before it answers.

        That cannot start anything twice: the dead launcher's output ends only when each of its wardens has
        answered or died, and the staging directory can be moved into place only once.
        """
        for _ in range(2):
            current = await self._running_launcher()
            reply = await current.ask(token, path, request)
            if reply is not None:
                return reply
        return _Reply("failed", f"the launcher died twice, see {self._steps_dir / LAUNCHER_LOG}")

    async def _running_launcher(self) -> _Launcher:
        async with self._launching:
            if self._closed:
                raise RuntimeError("start after close")
            if self._launcher is None or self._launcher.gone:
                if (problem := system.problem()) is not None:
                    raise EnvironmentProblem(f"No step can be started here: {problem}", hint=_PLATFORM_HINT)
                log = self._steps_dir / LAUNCHER_LOG
                self._launcher = await _Launcher.open(log, self._helpers_fd, self._wake)
            return self._launcher

    def _wake(self, path: str) -> None:
        if path in self._endings:
            self._endings[path].set()

    def _exit(self, path: str) -> Exit:
        record = self.directory(path) / warden.EXIT
        try:
            return Exit(**json.loads(record.read_bytes()))
        except (ValueError, TypeError) as error:
            raise CorruptState(f"This is no exit record: {error}", where=str(record)) from error

    def _token(self, path: str) -> str | None:
        try:
            return str(json.loads((self.directory(path) / warden.COMMAND).read_bytes())["token"])
        except (FileNotFoundError, ValueError):
            return None  # unwritten because the host went down, and no process survived that


@dataclass(frozen=True)
class _Reply:
    event: str
    message: str


class _Launcher:
    """A launcher process, and the requests it has not answered yet."""

    def __init__(self, process: asyncio.subprocess.Process, on_ended: Callable[[str], None]) -> None:
        self._process = process
        self._on_ended = on_ended
        self._unanswered: dict[str, asyncio.Future[_Reply | None]] = {}  # by token
        self._paths: dict[str, str] = {}  # by token, of those that have not ended
        self._following = asyncio.create_task(self._follow())

    @classmethod
    async def open(cls, log: Path, helpers_fd: int | None, on_ended: Callable[[str], None]) -> _Launcher:
        """Start a launcher. Raises EnvironmentProblem."""
        passed = () if helpers_fd is None else (helpers_fd,)
        try:
            _make_private_directory(log.parent)
            stderr = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-I", "-S", str(LAUNCHER), *map(str, passed)),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=stderr,
                    cwd="/",  # it must not keep a directory busy
                    start_new_session=True,  # no Ctrl-C and no hangup of our terminal
                    pass_fds=passed,
                )
            finally:
                os.close(stderr)
        except OSError as error:
            raise EnvironmentProblem(f"The launcher of steps cannot be started: {error}", hint=_AGAIN) from error
        return cls(process, on_ended)

    @property
    def gone(self) -> bool:
        return self._following.done()

    async def ask(self, token: str, path: str, request: bytes) -> _Reply | None:
        """Send a request; None when the launcher died without an answer."""
        if self.gone:
            return None
        stdin = self._process.stdin
        assert stdin is not None
        reply: asyncio.Future[_Reply | None] = asyncio.get_running_loop().create_future()
        self._unanswered[token] = reply
        self._paths[token] = path
        stdin.write(request)
        # When it is dead, its output ends too, and that is what answers.
        with contextlib.suppress(ConnectionError):
            await stdin.drain()
        try:
            return await reply
        finally:
            self._unanswered.pop(token, None)

    async def close(self) -> None:
        """End it, which it does at once when its input ends."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._following

    async def _follow(self) -> None:
        """Take its messages until it is gone."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            event, token, message = line.decode().rstrip("\n").split(" ", 2)
            reply = _Reply(event, message)
            if event == "ended":
                self._on_ended(self._paths.pop(token))
                reply = _Reply("failed", "its warden was killed")  # to one who still waits for an answer
            if token in self._unanswered:
                self._unanswered.pop(token).set_result(reply)
        await self._process.wait()
        for unanswered in self._unanswered.values():
            unanswered.set_result(None)


def _make_private_directory(directory: Path) -> None:
    """Create a directory and its parents, each for its owner only."""
    try:
        directory.mkdir(0o700, exist_ok=True)
    except FileNotFoundError:
        _make_private_directory(directory.parent)
        directory.mkdir(0o700, exist_ok=True)


def _prepare(staging: Path, path: str, token: str, spec: ProcessSpec) -> None:
    """Write everything the warden needs, and everything that tells later what was run."""
    if not spec.argv:
        raise ValueError("no program to start")
    for name in spec.files:
        if "/" in name or name in {"", ".", "..", *_OURS}:
            raise ValueError(f"not a name for a step's file: {name!r}")
    command = {
        "path": path,
        "argv": spec.argv,
        "cwd": spec.cwd,
        "env_names": sorted(spec.env),
        "timeout_s": spec.timeout_s,
        "idle_timeout_s": spec.idle_timeout_s,
        "grace_s": spec.grace_s,
        "token": token,
    }
    files = {
        **spec.files,
        warden.COMMAND: json.dumps(command).encode() + b"\n",
        warden.STDIN: spec.stdin,
        warden.STDOUT: b"",
        warden.STDERR: b"",
    }
    _make_private_directory(staging)
    for name, content in files.items():
        with os.fdopen(os.open(staging / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)


def _request(staging: Path, final: Path, token: str, spec: ProcessSpec) -> bytes:
    """One line as `warden.Request` reads it."""
    env = {_octets(name): _octets(value) for name, value in spec.env.items()}
    fields = {
        "token": token,
        "staging": _octets(staging),
        "final": _octets(final),
        "argv": [_octets(word) for word in spec.argv],
        "env": env | {system.TOKEN_VARIABLE: token},
        "cwd": _octets(spec.cwd),
        "timeout_s": spec.timeout_s,
        "idle_timeout_s": spec.idle_timeout_s,
        "grace_s": spec.grace_s,
    }
    return json.dumps(fields).encode() + b"\n"


def _octets(text: str | Path) -> str:
    """The bytes the kernel is to get, one character each."""
    return os.fsencode(text).decode("latin-1")
