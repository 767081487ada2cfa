"""A worktree that an agent works in, read and written without trusting anything in it but file contents."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from prodigy.git import contents, files, refs, worktrees
from prodigy.git.abandoned import abandoned, made_there
from prodigy.git.checkout import left_half_done
from prodigy.git.command import TREE_TIMEOUT_S, Completed, GitError, GitTimeout
from prodigy.git.leftovers import Leftovers, to_keep
from prodigy.git.obstacles import PathsInTheWay, untracked_in_the_way
from prodigy.git.private import PrivateGit
from prodigy.git.private_layout import NO_HEAD
from prodigy.git.snapshot import LastLook, Snapshot, UnreadableTree
from prodigy.git.sweep import sweep

# Up to so many files a snapshot is made without git.
FEW_FILES = 50

_SNAPSHOT_MESSAGE = "prodigy: uncommitted work at the end of a step"

# What a worktree's directory in the repository needs; anything else there was left by the item before.
NEEDED = frozenset({"HEAD", "index", "commondir", "gitdir", "locked"})
# What may stay while the same attempt goes on.
OF_THE_ATTEMPT = NEEDED | {"logs", "refs", "info", "config.worktree", "modules"}


@dataclass(frozen=True)
class PrivateTree:
    """One worktree as seen through the private git directory. One thread at a time may use it.

    work_tree: where the files are. git_dir: the worktree's directory in the shared repository, as
    `worktrees.add` returned it. directory: ours, outside the work tree: the private index, and a HEAD that
    names the commit this index stands at.
    """

    private: PrivateGit
    work_tree: Path
    git_dir: Path
    directory: Path
    timeout_s: float = TREE_TIMEOUT_S
    last_look: LastLook = field(default_factory=LastLook, compare=False, repr=False)

    @property
    def index(self) -> Path:
        """The private index.

        It always holds exactly one commit's tree, with what the files looked like when they were written.
        """
        return self.directory / "index"

    def head(self) -> str:
        """The commit that the worktree's HEAD names, also when an agent has switched to a branch. No process.

        Raises GitError when HEAD is damaged or names a branch without commits.
        """
        head = refs.read_head(self.git_dir, self.private.repo.common_dir)
        if head.oid is None:
            raise GitError(f"HEAD names {head.ref}, which has no commits", where=str(self.work_tree))
        return head.oid

    def fresh(self, commit: str, keep_ignored: Sequence[str] = (), *, keep_all: bool = False) -> None:
        """Make the worktree exactly `commit`, detached, with nothing left of what was there before.

        keep_ignored: patterns as in .gitignore of what may stay, e.g. a build cache. keep_all: so may all that git
        ignores.
        """
        refs.full_oid(commit)
        clean = ("clean", "-ffdq" if keep_all else "-ffdxq", *(f"--exclude={pattern}" for pattern in keep_ignored))
        self._populate(commit, clean, purge=True)
        self._publish(commit, NEEDED)

    def tidy(self, likely: str, keep_ignored: Sequence[str] = ()) -> bool:
        """What `fresh` can do before its commit is known, when nobody has worked here since the last `snapshot`.

        Takes away what is not tracked. False when `catch_up` could not do the rest, and `fresh` is needed; likely: a
        commit that is contained in the one to come.
        """
        found = self.last_look.differing
        if found is None or not self._superseded(likely):
            return False
        self._prepare()
        self.last_look.differing = None
        self._run("clean", "-ffdxq", *(f"--exclude={pattern}" for pattern in keep_ignored))
        if not self._sweep(purge=True):
            return False
        self.last_look.differing = {path: state for path, state in found.items() if state != "??"}
        return True

    def catch_up(self, commit: str) -> bool:
        """Make the worktree exactly `commit`; nobody has used it since `tidy`. False when `fresh` is needed."""
        standing = self._standing()
        if standing is None or not self._superseded(commit):
            return False
        try:
            if standing != commit:
                with self._standing_at(commit):
                    self._run("read-tree", "--reset", "-u", standing, commit)
        except GitError:
            return False
        self._publish(commit, NEEDED)
        return True

    def step_forward(self, old: str, new: str) -> None:
        """Make the worktree exactly `new`. Nobody has used it since `fresh` made it exactly `old`.

        So neither files nor leftovers have to be looked for, which is most of the work of `fresh`.
        """
        refs.full_oid(new)
        with self._standing_at(new):
            self._run("read-tree", "-m", "-u", old, new)
        self._publish(new, NEEDED)

    def snapshot(self) -> Snapshot:
        """Record the state of the worktree, which stays as it is. Nobody works in it any more.

        Raises UnreadableTree.
        """
        worktrees.remove_locks(self.git_dir)
        head = self.head()
        half_done = left_half_done(self.git_dir, lambda: bool(self._run("ls-files", "-u").stdout))
        bare = Snapshot(head, None, (), self._abandoned(head), half_done)
        try:
            return self._snapshot(bare)
        except GitError as error:
            raise UnreadableTree(error, bare) from error

    def _abandoned(self, head: str) -> tuple[str, ...]:
        return abandoned(self.private, made_there(self.git_dir, head), head)

    def _snapshot(self, bare: Snapshot) -> Snapshot:
        head = bare.head
        if self._is_all_committed(head):
            return bare
        leftovers = self._leftovers(head)
        bare = replace(bare, left_out=leftovers.left_out)
        if not leftovers.written and not leftovers.deleted:
            return bare
        tree = self._tree_without_git(head, leftovers)
        if tree is None:
            with self._scratch_index() as scratch:
                tree = self._write_tree(scratch, leftovers)
        return replace(bare, commit=self.private.commit(tree, [head], _SNAPSHOT_MESSAGE))

    def restore(self, snapshot: Snapshot) -> None:
        """Bring the worktree back to `snapshot`.

        Ignored files and submodules stay as they are, and so does what the snapshot left out.
        """
        clean = ("clean", "-ffdq", *(f"--exclude={files.exact_pattern(path)}" for path in snapshot.left_out))
        self._populate(snapshot.commit or snapshot.head, clean, purge=False)
        if snapshot.commit is not None:
            with self._standing_at(snapshot.head):
                self._run("read-tree", "--reset", snapshot.head)
        self._publish(snapshot.head, OF_THE_ATTEMPT)

    def untracked(self) -> list[str]:
        """Untracked paths that are not ignored; a repository of its own ends with a slash."""
        return [path for state, path in self._status(self.head()) if state == "??"]

    def commit_all(
        self,
        message: str,
        *,
        tracked_only: bool = False,
        leave: Collection[str] = (),
        only: Callable[[str], bool] | None = None,
        identity: Mapping[str, str] | None = None,
    ) -> str | None:
        """Commit what is uncommitted on top of HEAD, which is detached by that.

        None, and nothing moves, without such.

        tracked_only: leave all untracked files where they are. leave: untracked files to leave. only: the paths that
        are wanted. identity: variables of git that say whose commit it is. What a snapshot leaves out stays
        uncommitted here too.
        """
        head = self.head()
        leftovers = self._leftovers(head, tracked_only=tracked_only, leave=leave)
        if only is not None:
            written, deleted = (tuple(filter(only, paths)) for paths in (leftovers.written, leftovers.deleted))
            leftovers = Leftovers(written, deleted, leftovers.left_out)
        if not leftovers.written and not leftovers.deleted:
            return None
        with self._scratch_index() as scratch:
            tree = self._write_tree(scratch, leftovers)
            commit = self.private.commit(tree, [head], message, identity)
            with self._standing_at(commit):
                scratch.replace(self.index)
        self._publish(commit, OF_THE_ATTEMPT)
        return commit

    def squash(self, base: str, message: str, identity: Mapping[str, str] | None = None) -> str:
        """Make one commit on top of `base` of all that HEAD has beyond it; the files do not change."""
        head = self.head()
        self._index_at(head)
        commit = self.private.commit(self.private.tree_of(head), [base], message, identity)
        with self._standing_at(commit):
            pass  # the index fits it already
        self._publish(commit, OF_THE_ATTEMPT)
        return commit

    def advance(self, old: str, new: str) -> None:
        """Move the worktree, whose HEAD is `old`, to `new`.

        Untracked files stay, and so do edits of files that `new` leaves alone.

        Raises PathsInTheWay, with nothing touched, when a file of `new` would overwrite something.
        """
        refs.full_oid(new)
        if self.head() != old:
            raise GitError(f"HEAD is not at {old}", where=str(self.work_tree))
        changes = self.private.changed_paths(old, new)
        blockers = untracked_in_the_way(self.work_tree, changes)
        if blockers:
            raise PathsInTheWay(blockers, self.work_tree)
        self._index_at(old)
        try:
            with self._standing_at(new):
                self._run("read-tree", "-m", "-u", old, new)
        except GitError:
            # Files that were only touched, or really edited: `status` finds out, and notes the touched ones
            # in the index.
            dirty = {path for _, path in self._status(old)} & {change.path for change in changes}
            if dirty:
                raise PathsInTheWay(dirty, self.work_tree) from None
            with self._standing_at(new):
                self._run("read-tree", "-m", "-u", old, new)
        self._publish(new, OF_THE_ATTEMPT)

    def _run(self, *args: str, scratch: Path | None = None, stdin: bytes | None = None) -> Completed:
        return self.private.run(
            *args,
            git_dir=self.directory,
            work_tree=self.work_tree,
            index=scratch,
            env={"GIT_OPTIONAL_LOCKS": "1"},  # nobody else uses this index, so it may be kept up to date
            stdin=stdin,
            timeout_s=self.timeout_s,
        )

    def _prepare(self) -> None:
        """Make sure that we work in a directory that is where it should be, and that no lock of a killed git
        is in our way.
        """
        self._make_room()
        worktrees.repair_links(self.work_tree, self.git_dir)

    def _make_room(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        files.remove(self.directory / "index.lock")
        if self.work_tree.is_symlink() or not self.work_tree.is_dir():
            files.remove(self.work_tree)
            self.work_tree.mkdir(parents=True)

    def _superseded(self, commit: str) -> bool:
        """Whether nobody has worked here since the last look, and `commit` rewrites every tracked file that differs."""
        found, standing = self.last_look.differing, self._standing()
        changes = None if found is None or standing is None else self.private.few_changes(standing, commit)
        return (
            changes is not None and {path for path, state in (found or {}).items() if state != "??"} <= changes.keys()
        )

    def _populate(self, commit: str, clean: Sequence[str], *, purge: bool) -> None:
        """Make the files those of `commit`, and run `clean`. purge: see `_sweep`."""
        self._prepare()
        try:
            self._write_files(commit, clean, purge=purge)
        except GitError:
            # A damaged private index, write-protected directories, a pipe that git waits for: once more, from
            # nothing.
            files.make_writable(self.work_tree)
            files.remove_special(self.work_tree)
            self.index.unlink(missing_ok=True)
            self._prepare()
            self._write_files(commit, clean, purge=purge)

    def _write_files(self, commit: str, clean: Sequence[str], *, purge: bool) -> None:
        with self._standing_at(commit):
            self._run("read-tree", "--reset", "-u", commit)
            self._run(*clean)
            if not self._sweep(purge=purge):
                self._run("read-tree", "--reset", "-u", commit)

    def _sweep(self, *, purge: bool) -> bool:
        return sweep(self.work_tree, self.index.read_bytes(), self.private.oid_length, purge=purge)

    def _publish(self, commit: str, keep: Collection[str]) -> None:
        """Give the worktree's own git the index and the detached HEAD that fit its files."""
        for entry in list(os.scandir(self.git_dir)):
            if entry.name not in keep:
                files.remove(Path(entry.path))
        files.copy(self.index, self.git_dir / "index")
        files.replace(self.git_dir / "HEAD", f"{commit}\n".encode())

    @contextlib.contextmanager
    def _standing_at(self, commit: str) -> Iterator[None]:
        """While the index changes its mark says that it stands nowhere, so that a crash does not leave a
        wrong one.
        """
        self.last_look.differing = None
        self._mark(None)
        yield
        self._mark(commit)

    def _mark(self, commit: str | None) -> None:
        files.replace(self.directory / "HEAD", (NO_HEAD if commit is None else f"{commit}\n").encode())

    def _index_at(self, commit: str) -> None:
        """Move the private index, not the files, to `commit`; what it knows of unchanged files stays."""
        files.remove(self.directory / "index.lock")
        if self._standing() != commit:
            with self._standing_at(commit):
                self._run("read-tree", "--reset", commit)

    def _standing(self) -> str | None:
        """The commit that the private index stands at, None when it is not known."""
        mark = os.fsdecode(files.read_small(self.directory / "HEAD") or b"").removesuffix("\n")
        return mark if refs.is_oid(mark) and self.index.exists() else None

    def _is_all_committed(self, head: str) -> bool:
        """Whether all that was done since the index was moved is in the commit `head`, and the files are as there.

        To find that out the index stays where it is: moving it takes as long as looking at all files again.
        """
        self.last_look.differing = None
        standing = self._standing()
        changes = None if standing in (None, head) else self.private.few_changes(standing, head)
        if standing is None or changes is None:
            return False
        differing = {path: state for state, path in self._status(standing)}
        if differing.keys() != changes.keys():
            return False
        length = self.private.oid_length
        if not all(contents.holds(self.work_tree / path, entry, length) for path, entry in changes.items()):
            return False
        self.last_look.differing = differing
        return True

    def _tree_without_git(self, head: str, leftovers: Leftovers) -> str | None:
        """The tree of `head` with the leftovers; None when they are many, or may be another thing in a commit."""
        written, deleted = leftovers.written, leftovers.deleted
        if len(written) + len(deleted) > FEW_FILES or b".gitattributes" in self.index.read_bytes():
            return None
        return contents.tree_of(self.private, self.work_tree, head, written, deleted)

    def _status(self, head: str) -> list[tuple[str, str]]:
        """What differs from `head`: two letters and the path, untracked files one by one, directories with a
        slash at the end.
        """
        self._index_at(head)
        self.last_look.differing = None
        what = ("status", "--porcelain", "-z", "--untracked-files=all", "--ignore-submodules=all", "--no-renames")
        try:
            records = self._run(*what).records()
        except GitTimeout:
            # Git waits for a writer when .gitignore or .gitattributes is a pipe.
            files.remove_special(self.work_tree)
            files.remove(self.directory / "index.lock")
            records = self._run(*what).records()
        self.last_look.differing = {record[3:]: record[:2] for record in records}
        return [(record[:2], record[3:]) for record in records]

    def _leftovers(self, head: str, *, tracked_only: bool = False, leave: Collection[str] = ()) -> Leftovers:
        differing = [
            (state, path)
            for state, path in self._status(head)
            if not (state == "??" and (tracked_only or path in leave))
        ]
        return to_keep(self.work_tree, differing)

    @contextlib.contextmanager
    def _scratch_index(self) -> Iterator[Path]:
        """A copy of the private index to build a commit in."""
        scratch = self.directory / "scratch-index"
        files.remove(self.directory / "scratch-index.lock")
        files.copy(self.index, scratch)
        try:
            yield scratch
        finally:
            scratch.unlink(missing_ok=True)

    def _write_tree(self, scratch: Path, leftovers: Leftovers) -> str:
        for paths, how in (
            (leftovers.deleted, ("--force-remove",)),
            (leftovers.written, ("--add", "--remove", "--replace")),
        ):
            if paths:
                names = b"".join(os.fsencode(path) + b"\0" for path in paths)
                self._run("update-index", *how, "-z", "--stdin", scratch=scratch, stdin=names)
        return self._run("write-tree", scratch=scratch).line
