"""The user's own checkout during a final merge: is it ready, what is where in it, and its index."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from prodigy.git import files
from prodigy.git.command import TREE_TIMEOUT_S, Completed, GitError
from prodigy.git.private import Change, PrivateGit

ABSENT = "000000"  # the mode on a side that does not have the path
GITLINK = "160000"
_LINK = "120000"

_LOCK_TEXT = b"held by prodigy for a final merge\n"
_OPERATIONS = {
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase or `git am`",
}


class CheckoutNotReady(GitError):
    """The user's checkout is in a state in which nothing can be merged into it."""


@dataclass(frozen=True)
class Checkout:
    """A checkout of the user. path: its directory. git_dir: where its HEAD and index are."""

    path: Path
    git_dir: Path


@dataclass(frozen=True)
class Side:
    """A path as one of two commits has it. mode: octal text; ABSENT when the commit has no such path."""

    path: str
    mode: str
    oid: str


def old_sides(changes: Sequence[Change]) -> list[Side]:
    """The changed paths as they were."""
    return [Side(change.path, change.old_mode, change.old_oid) for change in changes]


def new_sides(changes: Sequence[Change]) -> list[Side]:
    """The changed paths as they become."""
    return [Side(change.path, change.new_mode, change.new_oid) for change in changes]


def operation_in_progress(git_dir: Path) -> str | None:
    """What somebody has begun in a checkout and not finished, e.g. `a merge`; None when there is nothing."""
    return next((said for name, said in _OPERATIONS.items() if files.lexists(git_dir / name)), None)


def left_half_done(git_dir: Path, has_conflicts: Callable[[], bool]) -> str | None:
    """The operation that whoever worked in a worktree did not finish; None when there is none."""
    found = operation_in_progress(git_dir)
    if found == _OPERATIONS["REVERT_HEAD"] and not (git_dir / "sequencer").exists() and not has_conflicts():
        return None  # `git revert --no-commit` leaves its mark when it is done
    return found


def require_ready(private: PrivateGit, checkout: Checkout) -> None:
    """Raise CheckoutNotReady, with what to do, when the checkout is in the middle of something, sparse, or
    split.
    """
    where = str(checkout.path)
    if operation := operation_in_progress(checkout.git_dir):
        raise CheckoutNotReady(f"{operation} is in progress", where=where, hint="finish or abort it (see git status)")
    if any(checkout.git_dir.glob("sharedindex.*")):
        raise CheckoutNotReady("the index is split", where=where, hint="git update-index --no-split-index")
    if files.lexists(checkout.git_dir / "info" / "sparse-checkout"):
        listing = private.run("ls-files", "-t", "-z", work_tree=checkout.path, index=checkout.git_dir / "index")
        if any(record.startswith("S ") for record in listing.records()):
            raise CheckoutNotReady("the checkout is sparse", where=where, hint="git sparse-checkout disable")


@dataclass(frozen=True)
class Scratch:
    """A copy of the checkout's index to work on; the files are the user's."""

    private: PrivateGit
    checkout: Checkout
    directory: Path

    @property
    def index(self) -> Path:
        """The copy."""
        return self.directory / "index"

    def run(
        self, *args: str, index: Path | None = None, stdin: bytes | None = None, ok: Sequence[int] = (0,)
    ) -> Completed:
        """Run git on the user's files and the copy (or another index), without the repository's settings."""
        return self.private.run(
            *args,
            work_tree=self.checkout.path,
            index=index or self.index,
            stdin=stdin,
            ok=ok,
            timeout_s=TREE_TIMEOUT_S,
        )

    def differing(self, sides: Sequence[Side]) -> set[str]:
        """Paths whose file is another one, or missing; for an absent side, paths where there is a file."""
        index = self.directory / "compared-index"
        files.remove(index)
        self.set_entries([side for side in sides if side.mode not in (ABSENT, GITLINK)], index)
        # These entries know nothing of the files yet, and `diff-files` would take that for a difference.
        self.run("update-index", "-q", "--refresh", index=index, ok=(0, 1))
        changed = set(self.run("diff-files", "-z", "--name-only", index=index).records())
        return changed | {side.path for side in sides if side.mode == ABSENT and self.has_file(side.path)}

    def staged_unlike(self, sides: Sequence[Side]) -> set[str]:
        """Paths whose entry in the copied index is another one."""
        entries = {}
        for record in self.run("ls-files", "--stage", "-z").records():
            facts, _, path = record.partition("\t")
            mode, oid, _ = facts.split(" ")
            entries[path] = (mode, oid)
        wanted = {side.path: None if side.mode == ABSENT else (side.mode, side.oid) for side in sides}
        return {path for path, entry in wanted.items() if entries.get(path) != entry}

    def set_entries(self, sides: Sequence[Side], index: Path | None = None) -> None:
        """Make the copied index (or another one) hold these entries."""
        ordered = sorted(sides, key=lambda side: side.mode != ABSENT)  # a removed file may make room for a directory
        lines = (f"{side.mode} {side.oid}\t".encode() + os.fsencode(side.path) + b"\0" for side in ordered)
        self.run("update-index", "-z", "--index-info", index=index, stdin=b"".join(lines))

    def checkout_files(self, paths: Sequence[str]) -> None:
        """Write these files as the copied index has them."""
        names = b"".join(os.fsencode(path) + b"\0" for path in paths)
        self.run("checkout-index", "-f", "-u", "-q", "-z", "--stdin", stdin=names)

    def install(self) -> None:
        """Make the copy the checkout's index."""
        files.copy(self.index, self.checkout.git_dir / "index")

    def has_file(self, path: str) -> bool:
        """Whether there is a file or link at `path` itself, not through a link on the way there."""
        parent = self.checkout.path
        for part in path.split("/")[:-1]:
            parent /= part
            if parent.is_symlink() or not parent.is_dir():
                return False
        target = self.checkout.path / path
        return files.lexists(target) and (target.is_symlink() or not target.is_dir())

    def is_written_in_part(self, side: Side) -> bool:
        """Whether the file is missing, or only the beginning of `side`, as when git is killed while it
        writes.
        """
        path = self.checkout.path / side.path
        if not files.lexists(path):
            return True
        if not self.has_file(side.path) or path.is_symlink() or side.mode in (ABSENT, _LINK, GITLINK):
            return False
        content = self.run("cat-file", "--filters", f"--path={side.path}", side.oid).stdout
        return content.startswith(path.read_bytes())

    def remove_file(self, path: str) -> None:
        """Remove a file and the directories that it leaves empty, as git does."""
        if not self.has_file(path):
            return
        (self.checkout.path / path).unlink()
        for parent in Path(path).parents:
            if parent == Path():
                return
            try:
                (self.checkout.path / parent).rmdir()
            except OSError:
                return  # not empty


@contextlib.contextmanager
def scratch_index(private: PrivateGit, checkout: Checkout) -> Iterator[Scratch]:
    """A copy of the checkout's index, gone afterwards."""
    directory = private.directory / "final-merge"
    files.remove(directory)
    directory.mkdir()
    scratch = Scratch(private, checkout, directory)
    files.copy(checkout.git_dir / "index", scratch.index)
    try:
        yield scratch
    finally:
        files.remove(directory)


@contextlib.contextmanager
def locked_index(checkout: Checkout) -> Iterator[None]:
    """Keep the user's own git from changing the index meanwhile, with the lock that git itself uses.

    Git works on our copy, so a lock left by a crash still holds our text, and only such a one is ever taken
    away.
    """
    lock = checkout.git_dir / "index.lock"
    if files.read_small(lock) == _LOCK_TEXT:
        lock.unlink()
    try:
        descriptor = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError as error:
        raise CheckoutNotReady(
            "another git command is at work in the checkout",
            where=str(lock),
            hint="when none is, delete this file",
        ) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(_LOCK_TEXT)
        yield
    finally:
        lock.unlink(missing_ok=True)
