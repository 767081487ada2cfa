"""What only the operating system knows, asked in one way per platform; the way is chosen once, at import.

Linux has all of it: /proc tells who is whose parent and which environment a process was started with, and a
subreaper is given its orphans by the kernel. On macOS both questions go to `ps`, and nobody but init is given
orphans. `PRODIGY_PLATFORM=portable` asks `ps` and forks by hand everywhere: it is for tests, and for hosts whose
/proc or posix_spawn misbehaves.

What degrades without /proc and a subreaper:

- What a step leaves running is no longer given to its warden. It is looked for: below the step's processes, in the
  step's session, and by the marker in its environment.
- So a process escapes that dropped the marker, left the session and lost its parent, all three, before the warden
  looked: it looks when the step ends, or is about to be ended. On Linux with a subreaper nothing escapes.
- macOS may hide the environment of the programs it protects (those in /bin and /usr/bin): as if the marker were
  dropped.
- When a warden was killed, the marker alone tells what its step left running, and who descends from that. So it is
  on Linux too, but there no environment is hidden.
- The end of an orphan wakes nobody: it is noticed a tenth of a second later.
- Each step costs two runs of `ps` at its end, and two for each tenth of a second that something of it lives on.
- Without `ps` no step is started.

The launcher runs this file by path, so it imports the standard library only, and little of it.
"""
# Pathlib would cost every warden memory and start time.
# ruff: noqa: PTH112, PTH123, PTH208

from __future__ import annotations

import errno
import os
import signal
import sys

TYPE_CHECKING = False  # type checkers know the name; typing is too dear to import here
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PLATFORM_VARIABLE = "PRODIGY_PLATFORM"
PORTABLE = "portable"

# Every process of a step carries this variable, unless it was given an environment of its own.
TOKEN_VARIABLE = "PRODIGY_TOKEN"  # noqa: S105 - the name of a marker, no secret

EVERY_SIGNAL = tuple(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})

_PR_SET_CHILD_SUBREAPER = 36


class Portable:
    """POSIX and `ps`, nothing else. Each method is one fact or one act; a platform overrides what it does better."""

    name = PORTABLE

    def lacking(self) -> str | None:
        """What this way needs and the host does not have."""
        if any(os.access(os.path.join(folder, "ps"), os.X_OK) for folder in os.get_exec_path()):  # noqa: PTH118
            return None
        return "`ps` is not on the PATH, and nothing else tells which processes a step has left running"

    def has_subreaper(self) -> bool:
        """Whether `become_subreaper` can succeed. Loads what it needs, so that later forks share that."""
        return False

    def become_subreaper(self) -> bool:
        """Let the kernel give us the orphans among our descendants; False where it cannot."""
        return False

    def parents(self) -> dict[int, int]:
        """The parent of every process we can see, without those that have ended and only wait to be reaped."""
        rows = [(pid, rest.split()) for pid, rest in _ps("-axo", "pid=,ppid=,stat=")]
        return {pid: int(rest[0]) for pid, rest in rows if len(rest) == 2 and not rest[1].startswith(b"Z")}

    def marked(self, token: str) -> list[int]:
        """The processes whose environment carries `token`, of those we may look into."""
        marker = f"{TOKEN_VARIABLE}={token}".encode()
        # For macOS -e means every process, for everybody else e without a dash means the environment.
        environment = "-axEww" if sys.platform == "darwin" else "axeww"
        return [pid for pid, rest in _ps(environment, "-o", "pid=,command=") if marker in rest]

    def in_session(self, leader: int, pids: Iterable[int]) -> list[int]:
        """Those of `pids` that are in the session which `leader` began, itself included."""
        return [pid for pid in pids if _session(pid) == leader]

    def start(self, program: bytes, argv: list[bytes], env: dict[bytes, bytes]) -> int:
        """Start a program in a session of its own, with every signal as it is by default.

        Raises OSError, and ValueError for what no program can be given, such as a zero byte.
        """
        if any(b"\0" in text for text in (program, *argv, *env, *env.values())):
            raise ValueError("embedded null byte")
        if any(not name or b"=" in name for name in env):
            raise ValueError("illegal environment variable name")
        told, tell = os.pipe()  # both close on exec: an end without a word is a program that runs
        pid = os.fork()
        if pid == 0:
            _become(program, argv, env, tell)
        os.close(tell)
        with open(told, "rb", buffering=0) as reader:
            number = reader.read(16)
        if number:
            os.waitpid(pid, 0)
            raise OSError(int(number), os.strerror(int(number)))
        return pid


class MacOS(Portable):
    """As portable, with posix_spawn, which copies no memory."""

    name = "macos"

    def start(self, program: bytes, argv: list[bytes], env: dict[bytes, bytes]) -> int:
        """As `Portable.start`."""
        try:
            return _posix_spawn(program, argv, env)
        except NotImplementedError:  # a Python that was built for a macOS before 10.15
            return super().start(program, argv, env)


class Linux(Portable):
    """/proc, a subreaper, posix_spawn."""

    name = "linux"
    _prctl: Callable[..., int] | None = None

    def lacking(self) -> str | None:
        """Nothing: `choose` has seen /proc."""
        return None

    def has_subreaper(self) -> bool:
        """Whether prctl can be called; a Python without ctypes looks orphans up, as other systems do."""
        if self._prctl is None:
            try:
                import ctypes
            except ImportError:
                return False
            self._prctl = ctypes.CDLL(None).prctl
        return True

    def become_subreaper(self) -> bool:
        """As `Portable.become_subreaper`."""
        return (
            self.has_subreaper() and self._prctl is not None and self._prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
        )

    def parents(self) -> dict[int, int]:
        """As `Portable.parents`."""
        found = {}
        for pid in _pids():
            # pid (name) state parent ...; the name may hold anything, brackets and spaces too.
            fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
            if fields and fields[0] != b"Z":
                found[pid] = int(fields[1])
        return found

    def marked(self, token: str) -> list[int]:
        """As `Portable.marked`."""
        marker = f"{TOKEN_VARIABLE}={token}".encode()
        return [pid for pid in _pids() if marker in _read(f"/proc/{pid}/environ").split(b"\0")]

    def start(self, program: bytes, argv: list[bytes], env: dict[bytes, bytes]) -> int:
        """As `Portable.start`."""
        return _posix_spawn(program, argv, env)


def choose(platform: str, has_proc: bool, wanted: str | None) -> Portable:
    """The way for a host. platform: as in sys.platform. wanted: the value of PRODIGY_PLATFORM."""
    if wanted == PORTABLE:
        return Portable()
    if platform == "linux" and has_proc:
        return Linux()
    return MacOS() if platform == "darwin" else Portable()


def problem() -> str | None:
    """Why no step can be started on this host, for people; None when it can."""
    wanted = os.environ.get(PLATFORM_VARIABLE)
    if wanted not in (None, "", PORTABLE):
        return f"{PLATFORM_VARIABLE} is {wanted!r}, but {PORTABLE!r} is the only value it can have"
    return HERE.lacking()


def _posix_spawn(program: bytes, argv: list[bytes], env: dict[bytes, bytes]) -> int:
    # What we and Python ignore must not be ignored in the process, hence setsigdef.
    return os.posix_spawn(program, argv, env, setsid=True, setsigmask=(), setsigdef=EVERY_SIGNAL)


def _become(program: bytes, argv: list[bytes], env: dict[bytes, bytes], tell: int) -> None:
    """In a fork: become the program, or tell the number of the error and exit."""
    try:
        os.setsid()
        for number in EVERY_SIGNAL:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.execve(program, argv, env)  # noqa: S606 - no shell is what we want
    except OSError as error:
        os.write(tell, str(error.errno or errno.EIO).encode())
    finally:
        os._exit(127)


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None  # gone, or none of ours


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _read(path: str) -> bytes:
    """A file of /proc; empty when the process is gone or not ours to look into."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.readall()
    except OSError:
        return b""


def _ps(*options: str) -> list[tuple[int, bytes]]:
    """Number and second column of every process but ps itself."""
    import subprocess  # only there

    devnull = subprocess.DEVNULL
    with subprocess.Popen(["ps", *options], stdin=devnull, stdout=subprocess.PIPE, stderr=devnull) as ps:
        rows = [line.split(None, 1) for line in ps.communicate()[0].splitlines()]
    return [(int(row[0]), row[1]) for row in rows if len(row) == 2 and row[0].isdigit() and int(row[0]) != ps.pid]


HERE = choose(sys.platform, os.path.isdir("/proc/self"), os.environ.get(PLATFORM_VARIABLE))
