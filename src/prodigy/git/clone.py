"""A working copy with a git directory of its own, as `git clone --shared` makes one: it reads the repository's objects
and shares nothing else with it, neither configuration nor hooks, refs or stash. What is committed there is collected by
a fetch.

Its git directory belongs to whoever works in it. We never start git in there: the side of the fetch that sends runs in
a directory of ours that reads its objects, and nothing else of it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prodigy.git import alternates, config, files, refs
from prodigy.git.abandoned import abandoned, made_there
from prodigy.git.command import GitError
from prodigy.git.config import Entry
from prodigy.git.private import PrivateGit
from prodigy.git.private_layout import NO_HEAD, settings_of
from prodigy.git.tree import NEEDED, OF_THE_ATTEMPT, PrivateTree

# What every clone of a run begins with: a directory of the run's private git directory.
_PATTERN = "clone"
_MARK = "is-clone"  # beside the private index of one
# What of a clone stays while the same attempt goes on; other things are marks of half-done operations.
_OF_A_CLONE = OF_THE_ATTEMPT | {
    "objects",
    "config",
    "hooks",
    "packed-refs",
    "shallow",
    "lfs",
    "description",
    "branches",
}
# In whose name the user makes commits; agents make them in the same.
_IDENTITY = frozenset(f"{who}.{what}" for who in ("user", "author", "committer") for what in ("name", "email"))
_REMOTE = re.compile(r"remote\..+\.(url|fetch)")
_CREDENTIALS = re.compile(r"(?<=://)[^/@]*@")
# With fsckObjects each fetch would leave a pack of its own, and each pack slows every later look at an object. Names
# that are dangerous to check out are refused by the checkout, as those in commits from worktrees are.
_FETCH_SETTINGS = ("fetch.fsckObjects=false", "fetch.unpackLimit=1000", "core.fsync=loose-object,pack,reference")
_FETCH_TIMEOUT_S = 300.0
_LARGEST_LFS_FILE = 4 << 30  # bytes
_LFS_NAME = re.compile(r"[0-9a-f]{64}")
_MOST_TIPS = 1000
_STASH = "logs/refs/stash"
_SHOWN_REFS = ("refs/heads", "refs/tags", "refs/remotes")


@dataclass(frozen=True)
class PrivateClone(PrivateTree):
    """A clone as seen through the private git directory. git_dir: its `.git`."""

    def head(self) -> str:
        """The commit that its HEAD names, which is in the repository when this returns.

        Raises GitError when HEAD is damaged, the git directory was replaced, or the commit can't be had.
        """
        if not is_whole(self.git_dir):
            raise GitError("its git directory was replaced", where=str(self.git_dir))
        head = refs.read_head(self.git_dir, self.git_dir)
        if head.oid is None:
            raise GitError(f"HEAD names {head.ref}, which has no commits", where=str(self.work_tree))
        self._collect([head.oid])
        return head.oid

    def _abandoned(self, head: str) -> tuple[str, ...]:
        """Also what other branches, tags, the stash and worktrees of the clone hold: with it that would be gone."""
        made = [*made_there(self.git_dir, head), *tips(self.git_dir, self._known_refs())]
        self._collect_what_is_there(list(dict.fromkeys(made)))
        return abandoned(self.private, self._commits(made), head)

    def _known_refs(self) -> Mapping[str, str]:
        return refs.packed_refs(self.private.directory / _PATTERN)

    def _commits(self, objects: Sequence[str]) -> list[str]:
        """The commits that these are, or that these tags name; what is none, or is not there, is left out."""
        if not objects:
            return []
        asked = "".join(f"{oid}^{{commit}}\n" for oid in objects).encode()
        answers = self.private.run("cat-file", "--batch-check", stdin=asked).text.splitlines()
        return list(dict.fromkeys(line.split()[0] for line in answers if line.split()[1:2] == ["commit"]))

    def _collect_what_is_there(self, commits: Sequence[str]) -> None:
        """Bring these commits into the repository, but those whose objects were taken away meanwhile."""
        try:
            self._collect(commits)
        except GitError:
            if len(commits) > 1:
                for commit in commits:
                    self._collect_what_is_there([commit])

    def _collect(self, commits: Sequence[str]) -> None:
        """Bring commits of the clone, with all that they need, into the repository's objects. Raises GitError."""
        missing = [commit for commit in commits if not self.private.has(commit)]
        if not missing:
            return
        if not (self.directory / "HEAD").exists():
            self._mark(None)
        clear_objects(self.private, self.git_dir / "objects")
        sender = _lay_out_sender(self.private, self.directory / "sender", self.git_dir)
        standing = self._standing()
        known = () if standing is None else (f"--negotiation-tip={standing}",)
        self.private.run(
            *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance"),
            *("--no-recurse-submodules", *known, "--", str(sender), *map(refs.full_oid, missing)),
            git_dir=self.directory,  # what its HEAD contains is known to be whole, and is not walked again
            settings=_FETCH_SETTINGS,
            timeout_s=_FETCH_TIMEOUT_S,
        )
        _collect_lfs(self.git_dir / "lfs" / "objects", self.private.repo.common_dir / "lfs" / "objects")

    def _prepare(self) -> None:
        self._make_room()
        if not is_whole(self.git_dir):
            lay_out(self.private, self.git_dir)

    def _publish(self, commit: str, keep: Collection[str]) -> None:
        if keep is NEEDED:  # of what was there before, nothing is
            lay_out(self.private, self.git_dir)
        super()._publish(commit, _OF_A_CLONE)


def is_whole(git_dir: Path) -> bool:
    """Whether there is a git directory of its own, and no link or file that leads elsewhere."""
    parts = (git_dir, git_dir / "objects", git_dir / "refs")
    return all(not part.is_symlink() and part.is_dir() for part in parts) and not files.lexists(git_dir / "commondir")


def git_dir_of(work_tree: Path) -> Path:
    """Where the git directory of a clone is."""
    return work_tree / ".git"


def head_of(work_tree: Path) -> tuple[Path | None, str | None]:
    """(git directory, commit at which it stands) of a clone; None for what is not there, or can't be read."""
    git_dir = git_dir_of(work_tree)
    if not is_whole(git_dir):
        return None, None
    try:
        return git_dir, refs.read_head(git_dir, git_dir).oid
    except GitError:
        return git_dir, None


def is_marked(directory: Path) -> bool:
    """Whether what is beside the private index belongs to a clone."""
    return (directory / _MARK).exists()


def mark(directory: Path, *, is_clone: bool) -> None:
    """Note, beside the private index, whether it belongs to a clone."""
    if is_clone:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / _MARK).touch()
    else:
        (directory / _MARK).unlink(missing_ok=True)


def tips(git_dir: Path, known: Mapping[str, str]) -> list[str]:
    """What the refs, the stash and the further worktrees of a clone hold, but what it began with: object ids.

    known: the refs that it began with. Nothing is followed out of it. Raises GitError for a damaged packed-refs.
    """
    found = {name: oid for name, oid in refs.packed_refs(git_dir).items() if refs.is_oid(oid)}
    for name, path in _regular_files(git_dir, "refs"):
        text = os.fsdecode(files.read_small(path) or b"").strip()
        if refs.is_oid(text):
            found[name] = text
    held = [oid for name, oid in found.items() if known.get(name) != oid]
    logs = [git_dir / _STASH]
    for name, path in _regular_files(git_dir, "worktrees"):
        if name.endswith("/HEAD"):
            text = os.fsdecode(files.read_small(path) or b"").strip()
            held += [text] if refs.is_oid(text) else []
            logs += [path] if "/logs/" in name else []
    for log in logs:
        words = (line.split(" ", 2) for line in os.fsdecode(files.read_small(log, 1 << 20) or b"").splitlines())
        held += [entry[1] for entry in words if len(entry) == 3 and refs.is_oid(entry[1])]
    return [oid for oid in dict.fromkeys(held) if set(oid) != {"0"}][:_MOST_TIPS]


def _regular_files(root: Path, name: str) -> Iterator[tuple[str, Path]]:
    """(path relative to `root`, path) of the files below a directory; no link is followed."""
    if (root / name).is_symlink():
        return
    for folder, _, leaves in os.walk(root / name):
        for leaf in leaves:
            path = Path(folder, leaf)
            if not path.is_symlink():
                yield path.relative_to(root).as_posix(), path


def clear_objects(private: PrivateGit, objects: Path) -> None:
    """Take away what is not the clone's own objects: links and pipes, which git would follow or wait for, and what says
    that objects are elsewhere too."""
    for folder, names, leaves in os.walk(objects):
        for name in (*names, *leaves):
            path = Path(folder, name)
            mode = path.lstat().st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                path.unlink()
    files.remove(objects / "info")
    alternates.write(objects, private.objects)


# Git directories ---------------------------------------------------------------------------------------------


def prepare(private: PrivateGit, is_of_a_run: Callable[[str], bool]) -> None:
    """Note what every clone begins with, before any agent has run: branches, tags, remotes, whose commits they are.

    is_of_a_run: whether a ref is one of ours, which no clone has.
    """
    target = private.directory / _PATTERN
    if target.is_dir():
        return
    part = Path(tempfile.mkdtemp(prefix=f".{_PATTERN}.", dir=private.directory))
    try:
        entries = config.read(private.repo)
        settings = config.serialised([*settings_of(entries), *_passed_on(entries)])
        (part / "config").write_text(settings, "utf-8", "surrogateescape")
        listed = private.repo.run("for-each-ref", "--format=%(objectname) %(refname)", *_SHOWN_REFS).stdout
        lines = [line for line in listed.splitlines() if not is_of_a_run(os.fsdecode(line.partition(b" ")[2]))]
        (part / "packed-refs").write_bytes(b"".join(b"%s\n" % line for line in (b"# pack-refs with: sorted ", *lines)))
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)  # moved away, unless something failed


def _passed_on(entries: Iterable[Entry]) -> list[Entry]:
    """Whose commits they are, and where the project comes from, without the words that open it."""
    local = [entry for entry in entries if entry.scope == "local" and entry.value is not None]
    return [
        Entry(entry.scope, entry.key, _CREDENTIALS.sub("", entry.value or ""))
        for entry in local
        if entry.key in _IDENTITY or _REMOTE.fullmatch(entry.key)
    ]


def lay_out(private: PrivateGit, git_dir: Path) -> None:
    """Make a git directory that reads the repository's objects. It appears whole: whoever finds none makes one."""
    files.remove(git_dir)
    part = Path(tempfile.mkdtemp(prefix=".git.", dir=git_dir.parent))
    try:
        for name in ("objects/pack", "refs/heads", "refs/tags", "info", "hooks"):
            (part / name).mkdir(parents=True)
        alternates.write(part / "objects", private.objects)
        for name in ("info/exclude", "info/attributes", "shallow"):
            if (private.directory / name).is_file():
                shutil.copyfile(private.directory / name, part / name)
        for name in ("config", "packed-refs"):
            shutil.copyfile(private.directory / _PATTERN / name, part / name)
        (part / "HEAD").write_text(NO_HEAD)
        part.chmod(0o755)
        part.rename(git_dir)
    finally:
        shutil.rmtree(part, ignore_errors=True)  # moved away, unless something failed


def _lay_out_sender(private: PrivateGit, sender: Path, git_dir: Path) -> Path:
    """A git directory of ours with a clone's objects and nothing else of it, for the other side of a fetch."""
    if sender.is_dir():
        return sender
    part = Path(tempfile.mkdtemp(prefix=".sender.", dir=sender.parent))
    try:
        (part / "refs").mkdir()
        alternates.write(part / "objects", git_dir / "objects", private.objects)
        any_commit = config.serialised([Entry("local", "uploadpack.allowanysha1inwant", "true")])
        (part / "config").write_bytes((private.directory / "config").read_bytes() + any_commit.encode())
        (part / "HEAD").write_text(NO_HEAD)
        if (private.directory / "shallow").is_file():
            shutil.copyfile(private.directory / "shallow", part / "shallow")
        part.rename(sender)
    finally:
        shutil.rmtree(part, ignore_errors=True)  # moved away, unless something failed
    return sender


def _collect_lfs(store: Path, target: Path) -> None:
    """Bring the large files that were committed there into the repository's store, each under the hash that it has."""
    if not store.is_dir() or store.is_symlink() or store.parent.is_symlink():
        return
    for folder, _, names in os.walk(store):
        for name in names:
            source, place = Path(folder, name), target / name[:2] / name[2:4] / name
            if not _LFS_NAME.fullmatch(name) or source.is_symlink() or not source.is_file() or place.exists():
                continue
            if source.stat().st_size > _LARGEST_LFS_FILE:
                continue
            with source.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != name:
                    continue  # not what its name says
            place.parent.mkdir(parents=True, exist_ok=True)
            files.copy(source, place)
