"""A private git directory of a run: the repository's objects without its configuration, hooks and attributes.

An agent can write to the shared repository, so git that reads it may run what the agent put there. Git that
starts from here reads settings taken over before the first agent ran, and only objects, named by their ids,
from the shared one.
"""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from prodigy.git import config, files
from prodigy.git import objects as loose
from prodigy.git.command import DEFAULT_TIMEOUT_S, Completed, GitError, run_git, start_git
from prodigy.git.config_text import parse
from prodigy.git.identity import identity_env
from prodigy.git.long_running import LongRunning, NoAnswer
from prodigy.git.private_layout import lay_out, write_attributes
from prodigy.git.refs import full_oid
from prodigy.git.repo import Repo
from prodigy.secrets import mask

# Longer histories are left to git to walk, and larger changes to compare. Commits; paths.
_SHORT_HISTORY = 100
_FEW_CHANGES = 500
# Settings by which git changes names or contents on their way from a work tree into a commit.
_CONVERTING = frozenset({"core.autocrlf", "core.eol", "core.ignorecase", "core.precomposeunicode", "core.symlinks"})
_SHA1_LENGTH, _SHA256_LENGTH = 20, 32  # bytes


@dataclass(frozen=True)
class Change:
    """One path that two commits disagree on.

    status: A (added), D (deleted), M (modified) or T (another type). Modes are octal text, 000000 on the side
    without it.
    """

    path: str
    status: str
    old_mode: str
    old_oid: str
    new_mode: str
    new_oid: str


@dataclass(frozen=True)
class _Header:
    """What a commit says of itself."""

    tree: str
    parents: tuple[str, ...]


@dataclass(frozen=True)
class PrivateGit:
    """A private git directory.

    directory: ours, outside every work tree. identity: GIT_AUTHOR_* and GIT_COMMITTER_* of the commits made
    through it.
    """

    directory: Path
    repo: Repo
    identity: Mapping[str, str] = field(default_factory=dict, compare=False)
    reader: LongRunning | None = field(default=None, compare=False)

    def with_reader(self) -> PrivateGit:
        """The same, whose commits are read by one process; `reader.close()` ends it."""
        tree = self.directory / "attributes"
        env = self._location(self.directory, tree, self.directory / "index")
        reader = LongRunning(lambda: start_git(("cat-file", "--batch"), cwd=tree, env=env, fds=self.repo.fds))
        return replace(self, reader=reader)

    @classmethod
    def create(cls, directory: Path, repo: Repo, base: str) -> PrivateGit:
        """Make the private git directory of a run, once; when it is there already, open it.

        base: the commit the run starts from, whose .gitattributes say how files are merged.
        """
        if not directory.exists():
            directory.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
            try:
                lay_out(temporary, repo, config.read(repo))
                write_attributes(cls(temporary, repo), base)
                temporary.rename(directory)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)  # moved away, unless something failed
        return cls.open(directory, repo)

    @classmethod
    def open(cls, directory: Path, repo: Repo) -> PrivateGit:
        """The private git directory that `create` made. Raises GitError when it is not there."""
        if not (directory / "config").is_file():
            raise GitError("not a private git directory", where=str(directory))
        return cls(directory, repo, identity_env(repo))

    @property
    def excludes(self) -> Path:
        """The rules for what is ignored beside the .gitignore files of a tree: the user's own and ours."""
        return self.directory / "info" / "exclude"

    def exclude(self, paths: Sequence[str]) -> None:
        """From now on take these paths below a work tree as ignored, whatever the repository's rules say."""
        file = self.excludes
        known = file.read_bytes()
        lines = [os.fsencode(files.exact_pattern(path)) for path in paths]
        if missing := [line for line in lines if line not in known.splitlines()]:
            files.replace(file, b"\n".join([known.rstrip(b"\n"), *missing, b""]))

    @functools.cached_property
    def converts_nothing(self) -> bool:
        """Whether files are in commits as they are in a work tree, as far as settings tell: names, modes, content."""
        settings = parse((self.directory / "config").read_text("utf-8", "surrogateescape"))
        kept = (self.directory / "info" / name for name in ("attributes", "user-attributes"))
        if settings is None or any(path.read_bytes().strip() for path in kept):
            return False
        kept_modes = settings.get("core.filemode", ["true"])[-1].strip('"') == "true"
        return kept_modes and all(settings[key][-1].strip('"') == "false" for key in settings.keys() & _CONVERTING)

    @property
    def objects(self) -> Path:
        """The object store, shared with the repository."""
        return self.repo.common_dir / "objects"

    @functools.cached_property
    def oid_length(self) -> int:
        """Length of the repository's object ids, in bytes."""
        is_sha256 = b"sha256" in (self.directory / "config").read_bytes().lower()
        return _SHA256_LENGTH if is_sha256 else _SHA1_LENGTH

    def run(
        self,
        *args: str,
        git_dir: Path | None = None,
        work_tree: Path | None = None,
        index: Path | None = None,
        env: Mapping[str, str] | None = None,
        settings: Sequence[str] = (),
        stdin: bytes | None = None,
        ok: Sequence[int] = (0,),
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> Completed:
        """Run git on the shared objects with nothing else of the shared repository.

        git_dir: holds HEAD and index, the private directory itself by default. work_tree: by default one that
        holds nothing but the base's .gitattributes.
        """
        tree = work_tree or self.directory / "attributes"
        home = git_dir or self.directory
        location = self._location(home, tree, index or home / "index")
        return run_git(
            args,
            cwd=tree,
            env=location | dict(self.identity) | dict(env or {}),
            config=(f"core.attributesFile={self.directory / 'info' / 'user-attributes'}", *settings),
            stdin=stdin,
            ok=ok,
            timeout_s=timeout_s,
            fds=self.repo.fds,
        )

    def _location(self, git_dir: Path, work_tree: Path, index: Path) -> dict[str, str]:
        return {
            "GIT_DIR": str(git_dir),
            "GIT_COMMON_DIR": str(self.directory),
            "GIT_OBJECT_DIRECTORY": str(self.objects),
            "GIT_WORK_TREE": str(work_tree),
            "GIT_INDEX_FILE": str(index),
        }

    def _header(self, commit: str) -> _Header | None:
        """Tree and parents of a commit as the reader sees them, None when it can't tell."""
        if self.reader is None:
            return None
        try:
            lines = (
                self.reader.read_object(full_oid(commit)).partition(b"\n\n")[0].decode(errors="replace").splitlines()
            )
        except NoAnswer:
            return None
        facts = [line.split(" ", 1) for line in lines if line.startswith(("tree ", "parent "))]
        if not facts or facts[0][0] != "tree":
            return None
        return _Header(facts[0][1], tuple(value for name, value in facts[1:] if name == "parent"))

    def _chain(self, old: str, new: str) -> tuple[str, ...] | None:
        """The commits from `new` down to `old`, which is left out, newest first: an agent's usual work.

        None when it is not that simple (a merge, a long or a rewritten history): then git has to walk.
        """
        chain: list[str] = []
        commit = new
        while commit != old:
            header = self._header(commit) if len(chain) < _SHORT_HISTORY else None
            if header is None or len(header.parents) != 1:
                return None
            chain.append(commit)
            commit = header.parents[0]
        return tuple(chain)

    def is_ancestor(self, ancestor: str, descendant: str) -> bool:
        """Whether `descendant` is `ancestor` or contains it. Both are full object ids."""
        if full_oid(ancestor) == full_oid(descendant) or self._chain(ancestor, descendant) is not None:
            return True
        return self.run("merge-base", "--is-ancestor", ancestor, descendant, ok=(0, 1)).code == 0

    def has_parent(self, commit: str, parent: str) -> bool:
        """Whether `parent` is one of the commit's parents, as far as that can be told without a process."""
        header = self._header(commit)
        return header is not None and parent in header.parents

    def has(self, commit: str) -> bool:
        """Whether the commit is among the repository's objects."""
        known = self._header(commit) is not None
        return known or self.run("cat-file", "-e", f"{full_oid(commit)}^{{commit}}", ok=(0, 1, 128)).code == 0

    def tree_of(self, commit: str) -> str:
        """The tree of a commit."""
        if header := self._header(commit):
            return header.tree
        return self.run("rev-parse", "--verify", "--quiet", f"{full_oid(commit)}^{{tree}}").line

    def commit(self, tree: str, parents: Sequence[str], message: str, identity: Mapping[str, str] | None = None) -> str:
        """Make a commit object and return its id; no ref moves and no hook runs."""
        text = mask(message if message.endswith("\n") else f"{message}\n")
        if all(self._header(parent) for parent in parents):
            whose = {**self.identity, **(identity or {})}
            content = loose.commit_content(full_oid(tree), tuple(parents), text, whose)
            if content is not None:
                return loose.write(self.objects, "commit", content, self.oid_length)
        flags = [part for parent in parents for part in ("-p", full_oid(parent))]
        return self.run("commit-tree", *flags, full_oid(tree), stdin=os.fsencode(text), env=identity).line

    def message(self, commit: str) -> str:
        """What a commit says, subject and body."""
        return self.run("cat-file", "commit", full_oid(commit)).text.partition("\n\n")[2]

    def few_changes(self, old: str, new: str) -> dict[str, loose.Entry | None] | None:
        """What two commits disagree on: path -> entry in `new`, None where it has none. No process.

        None when they are not that easy to compare, or differ in many paths.
        """
        before, after = self._header(old), self._header(new)
        if before is None or after is None:
            return None
        found: dict[str, loose.Entry | None] = {}
        try:
            for path, entry in self._differences(b"", before.tree, after.tree):
                found[os.fsdecode(path)] = entry
                if len(found) > _FEW_CHANGES:
                    return None
        except (NoAnswer, ValueError):
            return None
        return found

    def _differences(self, prefix: bytes, old: str, new: str) -> Iterator[tuple[bytes, loose.Entry | None]]:
        """Paths of files on which two trees disagree; "" is the empty tree."""
        if old == new:
            return
        before, after = self._tree(old), self._tree(new)
        for name in before.keys() | after.keys():
            was, is_ = before.get(name), after.get(name)
            if was == is_:
                continue
            path = prefix + name
            old_tree = was.oid if was and was.mode == loose.TREE else ""
            new_tree = is_.oid if is_ and is_.mode == loose.TREE else ""
            yield from self._differences(path + b"/", old_tree, new_tree)
            if is_ and not new_tree:
                yield path, is_
            elif was and not old_tree:
                yield path, None

    def _tree(self, oid: str) -> dict[bytes, loose.Entry]:
        if not oid:
            return {}
        if self.reader is None:
            raise NoAnswer
        return loose.parse_tree(self.reader.read_object(oid), self.oid_length)

    def tree_with(self, commit: str, changes: Mapping[str, loose.Entry | None]) -> str | None:
        """The tree of `commit` with these paths set, None taking one away; it is written. No process.

        None when it is not that easy.
        """
        header = self._header(commit)
        if header is None:
            return None
        try:
            ordered = sorted(changes.items(), key=lambda change: change[1] is not None)  # what goes makes room
            tree = self._edited(header.tree, [(os.fsencode(path).split(b"/"), entry) for path, entry in ordered])
        except (NoAnswer, ValueError):
            return None
        return tree or loose.write(self.objects, "tree", b"", self.oid_length)

    def _edited(self, oid: str, changes: Sequence[tuple[list[bytes], loose.Entry | None]]) -> str:
        """A tree with paths set or taken away; "" when nothing is left. Raises NoAnswer, ValueError, OSError."""
        entries = self._tree(oid)
        below: dict[bytes, list[tuple[list[bytes], loose.Entry | None]]] = {}
        for (name, *rest), entry in changes:
            if rest:
                below.setdefault(name, []).append((rest, entry))
            elif entry is None:
                entries.pop(name, None)
            else:
                entries[name] = entry
        for name, inner in below.items():
            there = entries.get(name)
            if there is not None and there.mode != loose.TREE:
                raise ValueError("a file where a directory should be")
            if tree := self._edited(there.oid if there else "", inner):
                entries[name] = loose.Entry(loose.TREE, tree)
            else:
                entries.pop(name, None)
        return loose.write(self.objects, "tree", loose.tree_content(entries), self.oid_length) if entries else ""

    def changed_paths(self, old: str, new: str) -> list[Change]:
        """What two commits or trees disagree on, renames shown as a deletion and an addition."""
        records = self.run(
            *(
                "diff-tree",
                "-r",
                "-z",
                "--raw",
                "--no-abbrev",
                "--no-renames",
                "--no-ext-diff",
                "--no-textconv",
            ),
            *("--ignore-submodules=none", full_oid(old), full_oid(new)),
        ).records()
        changes = []
        for facts, path in zip(records[::2], records[1::2], strict=True):
            old_mode, new_mode, old_oid, new_oid, status = facts.removeprefix(":").split(" ")
            changes.append(Change(path, status, old_mode, old_oid, new_mode, new_oid))
        return changes

    def commits_between(self, old: str, new: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The commits that only `old` contains, and those that only `new` contains, oldest first.

        The first are none when `new` descends from `old`.
        """
        spec = f"{full_oid(old)}...{full_oid(new)}"
        if (chain := self._chain(old, new)) is not None:
            return (), chain[::-1]
        marked = self.run("rev-list", "--left-right", "--topo-order", "--reverse", spec).line.split()
        lost = tuple(commit[1:] for commit in marked if commit.startswith("<"))
        return lost, tuple(commit[1:] for commit in marked if commit.startswith(">"))

    def changed_lines(self, old: str, new: str) -> tuple[int, int]:
        """How many lines of text were added and how many removed; files that are no text count nothing."""
        records = self.run(
            *("diff-tree", "-r", "-z", "--numstat", "--no-renames", "--no-ext-diff", "--no-textconv"),
            *(full_oid(old), full_oid(new)),
        ).records()
        counts = [record.split("\t")[:2] for record in records]
        numbers = [(int(added), int(removed)) for added, removed in counts if added != "-"]
        return sum(added for added, _ in numbers), sum(removed for _, removed in numbers)

    def diffstat(self, old: str, new: str) -> str:
        """What `git diff --stat` shows a person, possibly many lines."""
        return self.run("diff-tree", "--stat", "--no-ext-diff", "--no-textconv", full_oid(old), full_oid(new)).text
