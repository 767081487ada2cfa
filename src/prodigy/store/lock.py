"""One process works on a run at a time: an advisory lock of the operating system, and a record for people."""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

from prodigy.errors import EnvironmentProblem, RunLocked


@dataclass(frozen=True)
class Holder:
    """Who holds a run. Times are RFC 3339 in UTC. started_at: when the process began, if that is known."""

    pid: int
    host: str
    acquired_at: str
    command: str
    started_at: str | None = None


# Whoever asks `is_held` has a shared lock for a moment, which is not to be taken for a holder's.
LOOK_PATIENCE_S = 0.2
# A holder writes its record just after it took the lock; a refusal waits a little for it, to say who it is.
RECORD_PATIENCE_S = 3.0
RECORD_LIMIT = 1 << 20  # bytes that are read; no record of ours is longer
COMMAND_LIMIT = 500  # characters
LARGEST_PID = 2**31 - 1
# Start times are told from a clock that may be set: what is nearer than this is the same process.
SAME_START_S = 5.0


class RunLock:
    """The lock of one run's directory, held until `release` or the process's death.

    The kernel frees it when the process ends, however it ends: what a dead process of this host recorded does not
    count, and no comparison of pids decides. The kernel of this host may know nothing of another host, though (a
    home on a network file system, a container): a record of another host is taken over with `force` only.
    The descriptor is not inherited, so that no child keeps the lock alive.

    broken: after `acquire`, the holder on another host from whom the run was taken with `force`, None if nobody.
    """

    def __init__(self, directory: Path, *, force: bool = False) -> None:
        self._path = directory / "lock"
        self._force = force
        self._descriptor: int | None = None
        self.broken: Holder | None = None

    def acquire(self) -> None:
        """Take the lock; raises RunLocked naming the holder, EnvironmentProblem when the file can't be used."""
        started_at = _started_at(os.getpid())
        descriptor = self._open_locked()
        try:
            self.broken = self._holder_elsewhere(descriptor)
            now = dt.datetime.now(dt.UTC)
            record = Holder(os.getpid(), socket.gethostname(), _timestamp(now), _command(), started_at)
            with _explained("written", self._path, "Make room there, then start it again."):
                _write(descriptor, record)
        except BaseException:
            os.close(descriptor)  # the file stays: it may be the record of another host
            raise
        self._descriptor = descriptor

    def _open_locked(self) -> int:
        began = time.monotonic()
        while True:
            descriptor = self._open()
            ours = False
            try:
                if not _try_lock(descriptor, fcntl.LOCK_EX, self._path):
                    self._refuse_after(time.monotonic() - began)
                    time.sleep(LOOK_PATIENCE_S / 20)
                # The last holder removes the file: the lock counts only on the file that is still there.
                elif _lies_at(descriptor, self._path):
                    ours = True
                    return descriptor
            finally:
                if not ours:
                    os.close(descriptor)

    def _open(self) -> int:
        hint = f"It has to be a plain file that you may write; `ls -la {self._path.parent}` shows what is there."
        with _explained("opened", self._path, hint):
            # No link is followed: what it leads to would be overwritten.
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            return os.open(self._path, flags, 0o600)

    def _refuse_after(self, waited_s: float) -> None:
        if waited_s < LOOK_PATIENCE_S:
            return
        found = read_holder(self._path)
        told = found is not None and _whereabouts(found) in ("here", "elsewhere")
        if told or waited_s > RECORD_PATIENCE_S:
            raise self._locked(found)

    def _holder_elsewhere(self, descriptor: int) -> Holder | None:
        """Whom a record beside the free lock names on another host. Raises RunLocked unless that may be broken."""
        with _explained("read", self._path, "Look at the disk, then start it again."):
            found = _parsed(os.pread(descriptor, RECORD_LIMIT, 0))
        if found is None or found.host == socket.gethostname():
            return None  # the kernel says that nobody of this host holds it
        if not self._force:
            raise self._locked_elsewhere(found)
        return found

    def release(self) -> None:
        """Give the lock back, and remove its file; nothing happens when it is not held."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        try:
            if _lies_at(descriptor, self._path):
                self._path.unlink()
        except OSError:
            pass  # a record of this host beside a free lock does no harm, and the next holder removes it
        finally:
            os.close(descriptor)

    def _locked(self, found: Holder | None) -> RunLocked:
        run = self._path.parent.name
        if os.environ.get("PRODIGY_RUN_ID") == run:
            return RunLocked(
                f"run {run} can't be driven from inside one of its own steps",
                hint="Start it from a terminal of your own, when the step has ended.",
            )
        hint = f"Watch it: `prodigy attach {run}`. Or wait for it to end, or end it: `prodigy cancel {run}`."
        if self._force:
            by_number = _by_number(found, self._path)
            hint += (
                "\n  --force does not take a run from a process that lives: two would work on one database, and steps"
                f" would be paid for twice.\n  If `prodigy cancel {run}` does not end it: {by_number}."
            )
        who = "a process that left no readable record" if found is None else _named(found) + _doubt(found)
        return RunLocked(f"run {run} is being worked on by {who}", hint=hint)

    def _locked_elsewhere(self, found: Holder) -> RunLocked:
        run, here = self._path.parent.name, socket.gethostname()
        return RunLocked(
            f"run {run} is held by {_named(found)}, as its record says;"
            f" this host ({_printable(here)}) can't see whether that process still lives",
            hint=f"If it lives, watch it there with `prodigy attach {run}`, wait, or end it: `prodigy cancel {run}`.\n"
            "  If it is gone for sure, or this host had that name then: --force takes the run over, as in"
            f" `prodigy resume {run} --force`.\n"
            "  What that breaks: if the process still lives, both work on the run, and steps may run twice.",
        )

    def __enter__(self) -> RunLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _try_lock(descriptor: int, kind: int, path: Path) -> bool:
    """Whether the lock was to be had. Raises EnvironmentProblem when the file system has none."""
    hint = "Keep PRODIGY_HOME on a file system that has locks; `prodigy doctor` looks at it."
    with _explained("locked", path, hint):
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _lies_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one that has the name now."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


@contextmanager
def _explained(what: str, path: Path, hint: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _problem(what, path, hint, error) from error


def _problem(what: str, path: Path, hint: str, error: OSError) -> EnvironmentProblem:
    return EnvironmentProblem(f"the run's lock can't be {what}: {error.strerror or error}", where=str(path), hint=hint)


# The record.


def _write(descriptor: int, record: Holder) -> None:
    text = json.dumps(asdict(record), indent=2).encode()
    os.pwrite(descriptor, text, 0)  # before the old one is cut off: a full disk must not cost that
    os.ftruncate(descriptor, len(text))
    os.fsync(descriptor)  # so that other hosts of a network file system see it


def _command() -> str:
    """The command line of this process as one would type it."""
    name = Path(sys.argv[0]).name
    typed = shlex.join(["prodigy" if name == "main.py" else name, *sys.argv[1:]])
    return typed if len(typed) <= COMMAND_LIMIT else typed[: COMMAND_LIMIT - 1] + "…"


def _timestamp(at: dt.datetime) -> str:
    return at.isoformat(timespec="seconds")


def read_holder(path: Path) -> Holder | None:
    """The record beside a held lock, None when there is none to read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None  # only the message is poorer without it
    try:
        return _parsed(os.pread(descriptor, RECORD_LIMIT, 0))
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _parsed(text: bytes) -> Holder | None:
    """None for what no version has written. Fields of newer versions are passed over, `started_at` may be missing."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    match data:
        case {"pid": int(pid), "host": str(host), "acquired_at": str(acquired_at), "command": str(command)}:
            started_at = data.get("started_at")
            if isinstance(pid, bool) or not 0 < pid <= LARGEST_PID or not host:
                return None
            return Holder(pid, host, acquired_at, command, started_at if isinstance(started_at, str) else None)
        case _:
            return None


# What messages say of it.


def _named(found: Holder) -> str:
    where = f"process {found.pid} on {_printable(found.host)} since {_printable(found.acquired_at)}"
    return f"{where} (`{_printable(found.command)}`)"


def _printable(text: str) -> str:
    """A record may come from anybody: nothing of it moves the cursor, forges a line or can't be encoded."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:COMMAND_LIMIT])
    return shown if len(text) <= COMMAND_LIMIT else shown + "…"


Whereabouts = Literal["here", "elsewhere", "gone", "replaced"]


def _whereabouts(found: Holder) -> Whereabouts:
    """What became of the process of a record. "replaced": its number belongs to a process that began later."""
    if found.host != socket.gethostname():
        return "elsewhere"
    now = _moment(_started_at(found.pid))
    if now is None:
        return "here" if _exists(found.pid) else "gone"
    then = _moment(found.started_at)
    return "here" if then is None or abs(now - then) <= SAME_START_S else "replaced"


def _doubt(found: Holder) -> str:
    match _whereabouts(found):
        case "gone":
            return ", as its record says; but there is no such process: it works in a container, or the record is old"
        case "replaced":
            return (
                f", as its record says; but process {found.pid} is another one by now (begun {_started_at(found.pid)}):"
                " the record is old, or its process works in a container"
            )
        case _:
            return ""


def _by_number(found: Holder | None, path: Path) -> str:
    where = None if found is None else _whereabouts(found)
    if found is not None and where == "here":
        return f"`kill {found.pid}`"
    if found is not None and where == "elsewhere":
        return f"`kill {found.pid}` on {_printable(found.host)}"
    return f"`lsof {path}` shows its number"


def _exists(pid: int) -> bool:
    import psutil  # only who is refused needs it

    return psutil.pid_exists(pid)


def _started_at(pid: int) -> str | None:
    """When the process began; None when there is none, or that can't be told."""
    import psutil  # looking whether a run is held does without it

    try:
        return _timestamp(dt.datetime.fromtimestamp(psutil.Process(pid).create_time(), dt.UTC))
    except (psutil.Error, OSError):
        return None


def _moment(timestamp: str | None) -> float | None:
    """Seconds since the epoch."""
    try:
        return None if timestamp is None else dt.datetime.fromisoformat(timestamp).timestamp()
    except (ValueError, OverflowError):
        return None


# Looking, without holding.


def require_free(directory: Path, *, force: bool = False) -> None:
    """Raise RunLocked, as `RunLock(directory, force=force)` would, when the run can't be taken now."""
    if force and not is_held(directory):
        return  # a record of another host stays for the one who breaks it
    with RunLock(directory, force=force):
        return


def is_held(directory: Path) -> bool:
    """Whether a process works on the run in `directory`. Changes nothing.

    Raises EnvironmentProblem when the lock can't be looked at. Sees the processes of this host only.
    """
    path = directory / "lock"
    while True:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _problem("looked at", path, f"`ls -la {directory}` shows whose it is.", error) from error
        try:
            if not _try_lock(descriptor, fcntl.LOCK_SH, path):
                return True
            if _lies_at(descriptor, path) or not os.path.lexists(path):
                return False
            # One holder has gone and another has come while we looked.
        finally:
            os.close(descriptor)


def holder(directory: Path) -> Holder | None:
    """Who works on the run in `directory`; None when nobody does, or has just begun."""
    return read_holder(directory / "lock") if is_held(directory) else None


HELPERS_WAIT_S = 60.0


def take_helpers_lock(directory: Path) -> int:
    """A descriptor that short-lived helpers (git calls, the launcher) inherit, with a shared lock on it.

    A coordinator that was killed may leave a git call behind that still moves a ref. Whoever comes next waits
    here until the last such helper is gone, and so finds a world that holds still. Raises EnvironmentProblem
    when one does not end within a minute.
    """
    descriptor = os.open(directory / "helpers", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + HELPERS_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise EnvironmentProblem(
                    "a git process of an earlier, killed coordinator is still running",
                    where=str(directory),
                    hint="Look for it with `ps`, end it, and resume again.",
                ) from None
            time.sleep(0.01)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor
