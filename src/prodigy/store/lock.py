"""One process works on a run at a time: an advisory lock of the operating system, and a record for people."""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import os
import socket
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from prodigy.errors import EnvironmentProblem, RunLocked


@dataclass(frozen=True)
class Holder:
    """Who holds a run. Times are RFC 3339 in UTC."""

    pid: int
    host: str
    acquired_at: str
    command: str


# Whoever asks `is_held` has a shared lock for a moment, which is not to be taken for a holder's.
LOOK_PATIENCE_S = 0.2


class RunLock:
    """The lock of one run's directory, held until `release` or the process's death.

    The kernel frees it when the process ends, however it ends: no stale lock, no comparison of pids.
    The descriptor is not inherited, so that no child keeps the lock alive.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "lock"
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock; raises RunLocked naming the holder."""
        descriptor = self._open_locked()
        record = Holder(
            os.getpid(), socket.gethostname(), dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            " ".join(sys.argv),
        )  # fmt: skip
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(asdict(record), indent=2).encode(), 0)
        self._descriptor = descriptor

    def _open_locked(self) -> int:
        give_up = time.monotonic() + LOOK_PATIENCE_S
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                if time.monotonic() > give_up:
                    raise self._locked() from None
                time.sleep(LOOK_PATIENCE_S / 20)
                continue
            # The last holder removes the file: the lock counts only on the file that is still there.
            if self._path.exists() and os.path.samestat(os.fstat(descriptor), self._path.stat()):
                return descriptor
            os.close(descriptor)

    def release(self) -> None:
        if self._descriptor is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None

    def _locked(self) -> RunLocked:
        run = self._path.parent.name
        found = read_holder(self._path)
        if os.environ.get("PRODIGY_RUN_ID") == run:
            return RunLocked(
                f"run {run} can't be driven from inside one of its own steps",
                hint="Start it from a terminal of your own, when the step has ended.",
            )
        who = f"process {found.pid} on {found.host} since {found.acquired_at}" if found else "a process"
        return RunLocked(
            f"run {run} is being worked on by {who}",
            hint=f"Watch it with `prodigy status {run}`, or wait for it to end.",
        )

    def __enter__(self) -> RunLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def read_holder(path: Path) -> Holder | None:
    """The record beside a held lock, None when there is none to read."""
    try:
        return Holder(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None  # only the message is poorer without it


def is_held(directory: Path) -> bool:
    """Whether a process works on the run in `directory`. Changes nothing."""
    try:
        descriptor = os.open(directory / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
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
