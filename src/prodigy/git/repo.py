"""The user's repository: where it lies, reading its refs, and the few hardened writes to it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Final, Literal

from prodigy.git import refs
from prodigy.git.command import DEFAULT_TIMEOUT_S, Completed, GitError, run_git, start_git
from prodigy.git.long_running import LongRunning, NoAnswer
from prodigy.git.ref_ledger import RefLedger

_LOCK_TIMEOUT_S = 120.0
_LOCK_POLL_S = 0.01

_REFLOG_MESSAGE = "prodigy"

_LOCKED = re.compile(r"Unable to create '(.+\.lock)': File exists")


class _Any(Enum):
    ANY = "any"


ANY: Final = _Any.ANY


@dataclass(frozen=True)
class RefChange:
    """One ref of a compare-and-swap.

    old: the object id it must hold now, None when it must not exist, ANY when that does not matter.
    new: the object id it shall hold, None to delete it.
    """

    name: str
    old: str | Literal[_Any.ANY] | None
    new: str | None


class RefMoved(GitError):
    """A ref no longer holds the expected value, so nothing was written.

    refs: their names; found: what they hold now.
    """

    def __init__(self, found: Mapping[str, str | None], *, stderr: str = "") -> None:
        names = ", ".join(found)
        super().__init__(f"moved meanwhile, so nothing was changed: {names}", stderr=stderr)
        self.found = dict(found)


class RefLocked(GitError):
    """A lock file keeps refs as they are, so nothing was written. where: the file.

    Git removes its lock files; one that stays was left by a git that was killed.
    """

    def __init__(self, lock: str, error: GitError) -> None:
        super().__init__(
            "this lock file keeps git from moving a branch, so nothing was changed",
            argv=error.argv,
            code=error.code,
            stderr=error.stderr,
            where=lock,
            hint="if no git command is at work there, one was killed: delete the file, then resume the run",
        )


@dataclass(frozen=True)
class Repo:
    """One checkout of a repository.

    root: toplevel of the checkout. git_dir: of that checkout. common_dir: shared by all worktrees.
    helpers_fd: a locked descriptor that every git process inherits, so that a later process can see that they
    still run. ledger: is told of every ref that we write.
    """

    root: Path
    git_dir: Path
    common_dir: Path
    helpers_fd: int | None = None
    ref_writer: LongRunning | None = field(default=None, compare=False)
    ledger: RefLedger | None = field(default=None, compare=False)

    def with_ref_writer(self) -> Repo:
        """The same repository, whose refs are written by one process; `ref_writer.close()` ends it."""
        args = ("update-ref", "--no-deref", "-m", _REFLOG_MESSAGE, "-z", "--stdin")
        writer = LongRunning(lambda: start_git(args, cwd=self.common_dir, env=self._location(), fds=self.fds))
        return replace(self, ref_writer=writer)

    @property
    def fds(self) -> tuple[int, ...]:
        """Descriptors that every git process of this repository inherits."""
        return () if self.helpers_fd is None else (self.helpers_fd,)

    def run(
        self,
        *args: str,
        stdin: bytes | None = None,
        ok: Sequence[int] = (0,),
        env: Mapping[str, str] | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        fds: Sequence[int] = (),
        user_config: bool = False,
    ) -> Completed:
        """Run git on the shared repository. Only for commands that read no filter, merge or diff driver."""
        return run_git(
            args,
            cwd=self.common_dir,
            env=self._location() | dict(env or {}),
            stdin=stdin,
            ok=ok,
            timeout_s=timeout_s,
            fds=(*self.fds, *fds),
            user_config=user_config,
        )

    def _location(self) -> dict[str, str]:
        return {
            "GIT_DIR": str(self.git_dir),
            "GIT_COMMON_DIR": str(self.common_dir),
            "GIT_WORK_TREE": str(self.root),
        }

    def read_ref(self, name: str) -> str | None:
        """The object id of the ref `name`, or None. No process."""
        return refs.read_ref(self.common_dir, name, self.git_dir)

    def head(self) -> refs.Head:
        """Where the HEAD of this checkout points. No process."""
        return refs.read_head(self.git_dir, self.common_dir)

    def resolve(self, revision: str) -> str | None:
        """The commit that `revision` names, or None when it names none."""
        spec = f"{revision}^{{commit}}"
        done = self.run("rev-parse", "--verify", "--quiet", "--end-of-options", spec, ok=(0, 1))
        return done.line if done.code == 0 else None

    def update_refs(
        self,
        changes: Sequence[RefChange],
        message: str = _REFLOG_MESSAGE,
        identity: Mapping[str, str] | None = None,
    ) -> None:
        """Change all refs or none. Raises RefMoved when one does not hold its old value, RefLocked when another git,
        dead or alive, does not let us.

        message: for the reflogs. identity: GIT_COMMITTER_* for the reflogs.
        """
        if not changes:
            return
        for change in changes:
            _check(change)
        with self._noting(changes):
            self._update_refs(changes, message, identity)

    def _noting(self, changes: Sequence[RefChange]) -> contextlib.AbstractContextManager[None]:
        if self.ledger is None:
            return contextlib.nullcontext()
        return self.ledger.writing({change.name: change.new for change in changes})

    def _update_refs(self, changes: Sequence[RefChange], message: str, identity: Mapping[str, str] | None) -> None:
        instructions = [_instruction(change) for change in changes]
        if self.ref_writer is not None and message == _REFLOG_MESSAGE and identity is None:
            with contextlib.suppress(NoAnswer):  # then the call below says why
                self.ref_writer.update_refs(instructions)
                return
        self._write_refs(changes, b"".join(instructions), message, identity)

    def check_refs(self, changes: Sequence[RefChange]) -> None:
        """Whether `update_refs` could be done now; nothing is written. Raises as it does."""
        instructions = b"".join(_instruction(change) for change in changes)
        self._write_refs(changes, b"start\0" + instructions + b"prepare\0abort\0")

    def _write_refs(
        self,
        changes: Sequence[RefChange],
        stdin: bytes,
        message: str = _REFLOG_MESSAGE,
        identity: Mapping[str, str] | None = None,
    ) -> None:
        try:
            self.run("update-ref", "--no-deref", "-m", message, "-z", "--stdin", stdin=stdin, env=identity)
        except GitError as error:
            found = {
                change.name: now for change in changes if (now := self.read_ref(change.name)) != _expected(change, now)
            }
            if found:
                raise RefMoved(found, stderr=error.stderr) from error
            if lock := _LOCKED.search(error.stderr):
                raise RefLocked(lock.group(1), error) from error
            raise

    @contextlib.contextmanager
    def lock(self) -> Iterator[int]:
        """Hold the repository's lock for adding worktrees, across processes and runs.

        Yields the locked descriptor.

        Adding worktrees at the same time fails at random, so whoever does not get the lock waits; GitError
        after two minutes.
        """
        path = self.common_dir  # the directory itself, so that no file of ours is left in it
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            deadline = time.monotonic() + _LOCK_TIMEOUT_S
            while not _try_lock(descriptor):
                if time.monotonic() > deadline:
                    raise GitError("another process has held the lock for two minutes", where=str(path))
                time.sleep(_LOCK_POLL_S)
            yield descriptor
        finally:
            os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _check(change: RefChange) -> None:
    if not refs.is_ref_name(change.name):
        raise GitError("not a full ref name", where=repr(change.name))
    for oid in (change.old, change.new):
        if isinstance(oid, str):
            refs.full_oid(oid, change.name)


def _expected(change: RefChange, now: str | None) -> str | None:
    return now if isinstance(change.old, _Any) else change.old


def _instruction(change: RefChange) -> bytes:
    name = os.fsencode(change.name)
    new = (change.new or "").encode()
    if change.old is None:
        return b"create %b\0%b\0" % (name, new) if change.new else b"verify %b\0\0" % name
    old = b"" if isinstance(change.old, _Any) else change.old.encode()
    return b"update %b\0%b\0%b\0" % (name, new, old) if change.new else b"delete %b\0%b\0" % (name, old)
