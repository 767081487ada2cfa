"""Noticing that an agent changed what it shares with the user and with other agents: settings, hooks and
refs.

Pure reading, no process. Refs under our own prefixes are not walked, so that the cost stays the same however
many items a run has.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from prodigy.git import files, refs
from prodigy.git.command import GitError
from prodigy.git.config_text import parse
from prodigy.git.repo import Repo

_READ_LIMIT = 1 << 20  # bytes; of a larger file, these and its size count
_OWN_REFS = "refs/prodigy"
# An agent may well name itself or track a branch; nothing of this runs a program.
_HARMLESS = ("branch.", "user.")
_WALKED = ("info", "hooks")
_ABSENT = "absent"
_UNREADABLE = ""


@dataclass(frozen=True)
class Fingerprint:
    """What was there at one moment.

    guarded: path or ref -> digest, of what nobody may change. settings: of the configuration files, key ->
    values. movable: ref -> value, of what the user may move at any time.
    """

    guarded: Mapping[str, str]
    settings: Mapping[str, Mapping[str, tuple[str, ...]]]
    movable: Mapping[str, str]


@dataclass(frozen=True)
class Differences:
    """What changed between two fingerprints, in words.

    tampered: nobody may change this; moved: the user may have done it.
    """

    tampered: tuple[str, ...]
    moved: tuple[str, ...]


def observe(
    repo: Repo,
    worktree_git_dirs: Collection[Path],
    ledger: Collection[str] = (),
    branch_prefix: str = "prodigy",
) -> Fingerprint:
    """Take the fingerprint of the shared repository.

    worktree_git_dirs: of the worktrees to guard. ledger: our own refs that matter now.
    """
    common = repo.common_dir
    guarded: dict[str, str] = {}
    for directory in _WALKED:
        guarded |= _directory(common, directory)
    for name in ("objects/info/alternates", "shallow"):
        guarded[name] = _digest(common / name)
    settings = {"config": _settings(common / "config")}
    for git_dir in {common, repo.git_dir, *worktree_git_dirs}:
        name = os.path.relpath(git_dir / "config.worktree", common)
        settings[name] = _settings(git_dir / "config.worktree")
        if git_dir != common:
            for link in ("gitdir", "commondir"):
                guarded[os.path.relpath(git_dir / link, common)] = _digest(git_dir / link)
    for name in ledger:
        guarded[name] = _ref(repo, name)
    return Fingerprint(guarded, settings, _movable(repo, branch_prefix))


def differences(before: Fingerprint, after: Fingerprint, ledger: Mapping[str, str] | None = None) -> Differences:
    """What changed from `before` to `after`.

    Refs and worktrees that only one of them was asked for are no news.

    ledger: what our own refs must hold in `after`; by default what they held in `before`.
    """
    expected = {**before.guarded, **(ledger or {})}
    tampered = [
        _said(name, expected.get(name, _ABSENT), after.guarded.get(name, _ABSENT))
        for name in sorted(expected.keys() | after.guarded.keys())
        if _is_walked(name) or (name in expected and name in after.guarded)
        if expected.get(name, _ABSENT) != after.guarded.get(name, _ABSENT)
    ]
    for file in sorted(before.settings.keys() & after.settings.keys()):
        tampered += _changed_settings(file, before.settings[file], after.settings[file])
    moved = [
        _said(name, before.movable.get(name, _ABSENT), after.movable.get(name, _ABSENT))
        for name in sorted(before.movable.keys() | after.movable.keys())
        if before.movable.get(name, _ABSENT) != after.movable.get(name, _ABSENT)
    ]
    return Differences(tuple(tampered), tuple(moved))


def stashes(repo: Repo) -> frozenset[str]:
    """The commits of all entries of the stash, which all worktrees share. No process."""
    log = files.read_small(repo.common_dir / "logs" / "refs" / "stash", _READ_LIMIT) or b""
    words = (line.split(" ", 2) for line in os.fsdecode(log).splitlines())
    return frozenset(entry[1] for entry in words if len(entry) == 3 and refs.is_oid(entry[1]))


def _is_walked(name: str) -> bool:
    return name.partition("/")[0] in _WALKED


def _said(name: str, before: str, after: str) -> str:
    if before == _ABSENT:
        return f"{name} was created"
    if after == _ABSENT:
        return f"{name} was removed"
    if name.startswith("refs/") or name == "HEAD":
        return f"{name} moved from {_short(before)} to {_short(after)}"
    return f"{name} was changed"


def _short(value: str) -> str:
    return value[:12] if refs.is_oid(value) else value


def _changed_settings(
    file: str, before: Mapping[str, tuple[str, ...]], after: Mapping[str, tuple[str, ...]]
) -> Iterator[str]:
    if before != after and (_UNREADABLE in before or _UNREADABLE in after):
        yield f"{file} was changed"
        return
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            values = after.get(key)
            yield (f"{file}: {key} was removed" if values is None else f"{file}: {key} is now {', '.join(values)!r}")


def _settings(path: Path) -> Mapping[str, tuple[str, ...]]:
    """The settings that matter.

    Of a file that we cannot tell apart, though git perhaps can, any change at all counts.
    """
    data = files.read_small(path, _READ_LIMIT)
    parsed = {} if data is None else parse(os.fsdecode(data))
    if parsed is None or (data is None and files.lexists(path)) or len(data or b"") == _READ_LIMIT:
        return {_UNREADABLE: (_digest(path),)}
    return {key: tuple(values) for key, values in parsed.items() if not key.startswith(_HARMLESS)}


def _directory(common: Path, name: str) -> dict[str, str]:
    """Digests of everything below a directory; a link is not followed."""
    root = common / name
    if root.is_symlink():
        return {name: _digest(root)}
    found = {}
    for directory, names, leaves in os.walk(root):
        links = [entry for entry in names if Path(directory, entry).is_symlink()]
        for entry in (*leaves, *links):
            path = Path(directory, entry)
            relative = str(path.relative_to(common))
            # git runs no samples, and writes info/refs itself when it repacks
            if not entry.endswith(".sample") and relative != "info/refs":
                found[relative] = _digest(path)
    return found


def _digest(path: Path) -> str:
    """Content and mode of a file, target of a link."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return _ABSENT
    if stat.S_ISLNK(status.st_mode):
        content = os.fsencode(path.readlink())
    else:
        content = files.read_small(path, _READ_LIMIT) or b""
    return f"{status.st_mode:o} {status.st_size} {hashlib.sha256(content).hexdigest()}"


def _ref(repo: Repo, name: str) -> str:
    try:
        return repo.read_ref(name) or _ABSENT
    except GitError:
        return "damaged"


def _movable(repo: Repo, branch_prefix: str) -> dict[str, str]:
    own = (_OWN_REFS, f"refs/heads/{branch_prefix}")
    found = {name: oid for name, oid in refs.packed_refs(repo.common_dir).items() if not _is_below(name, own)}
    for name, path in _loose(repo.common_dir, "refs", own):
        data = files.read_small(path)
        if data is not None or files.lexists(path):  # not deleted since we listed it
            found[name] = "damaged" if data is None else os.fsdecode(data).strip()
    head = files.read_small(repo.git_dir / "HEAD")
    found["HEAD"] = _ABSENT if head is None else os.fsdecode(head).strip().removeprefix("ref: ")
    found["the log of refs/stash"] = _digest(repo.common_dir / "logs" / "refs" / "stash")
    return found


def _loose(common: Path, name: str, own: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    try:
        entries = list(os.scandir(common / name))
    except FileNotFoundError:
        return  # git removes a directory with its last ref
    for entry in entries:
        inner = f"{name}/{entry.name}"
        if inner in own:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _loose(common, inner, own)
        elif not entry.name.endswith(".lock"):
            yield inner, Path(entry.path)


def _is_below(name: str, roots: tuple[str, ...]) -> bool:
    return name.startswith(tuple(f"{root}/" for root in roots))
