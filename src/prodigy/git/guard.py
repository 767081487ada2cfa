"""Noticing that an agent changed what it shares with the user and with other agents: settings, hooks and
refs.

Pure reading, no process. Refs under our own prefixes are not walked, so that the cost stays the same however
many items a run has.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from prodigy.git import files, refs
from prodigy.git.command import GitError
from prodigy.git.config_text import parse, with_sections
from prodigy.git.guarded import ABSENT, LIMIT, Kept, look
from prodigy.git.repo import Repo

_OWN_REFS = "refs/prodigy"
_USUAL_PREFIX = "prodigy"  # of branches of runs
# An agent may well name itself or track a branch; nothing of this runs a program.
_HARMLESS = ("branch.", "user.")
_HARMLESS_SECTIONS = frozenset({"branch", "user"})
_WALKED = ("info", "hooks")
_UNREADABLE = ""
_HEAD = re.compile(rb"ref: refs/[^\x00-\x20~^:?*\[\\\x7f]+\n?|[0-9a-f]{40}(?:[0-9a-f]{24})?\n?")
_ANY_HEAD = "a head"


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

    tampered: nobody may change this; moved: the user may have done it. files: the paths that were tampered with, from
    the shared git directory on.
    """

    tampered: tuple[str, ...]
    moved: tuple[str, ...]
    files: tuple[str, ...] = field(default=(), compare=False)


def observe(
    repo: Repo,
    worktree_git_dirs: Collection[Path],
    ledger: Collection[str] = (),
    branch_prefix: str = _USUAL_PREFIX,
) -> Fingerprint:
    """Take the fingerprint of the shared repository.

    worktree_git_dirs: of the worktrees to guard. ledger: our own refs that matter now.
    branch_prefix: of branches that are ours too.
    """
    common = repo.common_dir
    guarded: dict[str, str] = {}
    for directory in _WALKED:
        guarded |= _directory(common, directory)
    for name in ("objects/info/alternates", "shallow"):
        guarded[name] = look(common / name).digest
    head = os.path.relpath(repo.git_dir / "HEAD", common)
    guarded[head] = digest_of(head, look(common / head))
    settings = {"config": _settings(common / "config")}
    for git_dir in {common, repo.git_dir, *worktree_git_dirs}:
        name = os.path.relpath(git_dir / "config.worktree", common)
        settings[name] = _settings(git_dir / "config.worktree")
        if git_dir != common:
            for link in ("gitdir", "commondir"):
                guarded[os.path.relpath(git_dir / link, common)] = look(git_dir / link).digest
    for name in ledger:
        guarded[name] = _ref(repo, name)
    return Fingerprint(guarded, settings, _movable(repo, branch_prefix))


def differences(before: Fingerprint, after: Fingerprint, ledger: Mapping[str, str] | None = None) -> Differences:
    """What changed from `before` to `after`.

    Refs and worktrees that only one of them was asked for are no news.

    ledger: what our own refs must hold in `after`; by default what they held in `before`.
    """
    expected = {**before.guarded, **(ledger or {})}
    names = [
        name
        for name in sorted(expected.keys() | after.guarded.keys())
        if _is_walked(name) or (name in expected and name in after.guarded)
        if expected.get(name, ABSENT) != after.guarded.get(name, ABSENT)
    ]
    tampered = [_said(name, expected.get(name, ABSENT), after.guarded.get(name, ABSENT)) for name in names]
    names = [name for name in names if not name.startswith("refs/")]
    for file in sorted(before.settings.keys() & after.settings.keys()):
        if changed := list(_changed_settings(file, before.settings[file], after.settings[file])):
            tampered += changed
            names.append(file)
    moved = [
        _said(name, before.movable.get(name, ABSENT), after.movable.get(name, ABSENT))
        for name in sorted(before.movable.keys() | after.movable.keys())
        if before.movable.get(name, ABSENT) != after.movable.get(name, ABSENT)
    ]
    return Differences(tuple(tampered), tuple(moved), tuple(names))


def keep(repo: Repo, seen: Fingerprint) -> dict[str, Kept]:
    """The guarded files of a fingerprint with their contents: path -> what is there. Links on the way to them too."""
    names = [name for name in (*seen.guarded, *seen.settings) if not name.startswith("refs/")]
    kept = {name: look(repo.common_dir / name) for name in names}
    parents = {str(part) for name in names for part in Path(name).parents}
    return kept | {name: look(repo.common_dir / name) for name in parents if (repo.common_dir / name).is_symlink()}


def fingerprint(kept: Mapping[str, Kept], settings: Iterable[str], movable: Mapping[str, str]) -> Fingerprint:
    """The fingerprint of files as they were kept. settings: which of them are configuration."""
    files = set(settings)
    configured = {name: _settings_of(kept[name]) for name in files if kept[name].kind != "link"}
    guarded = {name: digest_of(name, one) for name, one in kept.items() if name not in files}
    return Fingerprint(guarded, configured, movable)


def as_it_was(was: Kept, found: Kept) -> Kept:
    """A configuration file to put back: as it was, with the harmless settings that it has now."""
    if was.kind != "file" or found.kind != "file" or not (was.is_whole and found.is_whole):
        return was
    before, now = os.fsdecode(was.data), os.fsdecode(found.data)
    known, new = parse(before), parse(now)
    if known is None or new is None or _harmless(known) == _harmless(new):
        return was
    data = os.fsencode(with_sections(before, now, _HARMLESS_SECTIONS))
    return Kept("file", was.mode, len(data), data, "")


def _harmless(settings: Mapping[str, list[str]]) -> dict[str, list[str]]:
    return {key: values for key, values in settings.items() if key.startswith(_HARMLESS)}


def stashes(repo: Repo) -> frozenset[str]:
    """The commits of all entries of the stash, which all worktrees share. No process."""
    log = files.read_small(repo.common_dir / "logs" / "refs" / "stash", LIMIT) or b""
    words = (line.split(" ", 2) for line in os.fsdecode(log).splitlines())
    return frozenset(entry[1] for entry in words if len(entry) == 3 and refs.is_oid(entry[1]))


def _is_walked(name: str) -> bool:
    return name.partition("/")[0] in _WALKED


def _said(name: str, before: str, after: str) -> str:
    if before == ABSENT:
        return f"{name} was created"
    if after == ABSENT:
        return f"{name} was removed"
    if name.startswith("refs/") or (name == "HEAD" and before != _ANY_HEAD):
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
    found = look(path)
    if found.kind == "link" and (data := files.read_small(path, LIMIT)) is not None:
        return _parsed(data, found.digest)  # a user may keep the file elsewhere
    return _settings_of(found)


def _settings_of(found: Kept) -> Mapping[str, tuple[str, ...]]:
    """The settings that matter.

    Of a file that we cannot tell apart, though git perhaps can, any change at all counts.
    """
    if found.kind == "absent":
        return {}
    return {_UNREADABLE: (found.digest,)} if found.kind != "file" else _parsed(found.data, found.digest)


def _parsed(data: bytes, digest: str) -> Mapping[str, tuple[str, ...]]:
    parsed = parse(os.fsdecode(data))
    if parsed is None or len(data) == LIMIT:
        return {_UNREADABLE: (digest,)}
    return {key: tuple(values) for key, values in parsed.items() if not key.startswith(_HARMLESS)}


def _directory(common: Path, name: str) -> dict[str, str]:
    """Digests of everything below a directory; a link is not followed."""
    root = common / name
    if root.is_symlink():
        return {name: look(root).digest}
    found = {}
    for directory, names, leaves in os.walk(root):
        links = [entry for entry in names if Path(directory, entry).is_symlink()]
        for entry in (*leaves, *links):
            path = Path(directory, entry)
            relative = str(path.relative_to(common))
            # git runs no samples, and writes info/refs itself when it repacks
            if not entry.endswith(".sample") and relative != "info/refs":
                found[relative] = look(path).digest
    return found


def digest_of(name: str, found: Kept) -> str:
    """What of a guarded file is compared: of HEAD, which the user may move, only that it is one."""
    if name.rpartition("/")[2] == "HEAD" and found.kind == "file" and _HEAD.fullmatch(found.data):
        return _ANY_HEAD
    return found.digest


def _ref(repo: Repo, name: str) -> str:
    try:
        return repo.read_ref(name) or ABSENT
    except GitError:
        return "damaged"


def _movable(repo: Repo, branch_prefix: str) -> dict[str, str]:
    own = (_OWN_REFS, f"refs/heads/{_USUAL_PREFIX}", f"refs/heads/{branch_prefix}")
    found = {name: oid for name, oid in refs.packed_refs(repo.common_dir).items() if not _is_below(name, own)}
    for name, path in _loose(repo.common_dir, "refs", own):
        data = files.read_small(path)
        if data is not None or files.lexists(path):  # not deleted since we listed it
            found[name] = "damaged" if data is None else os.fsdecode(data).strip()
    head = files.read_small(repo.git_dir / "HEAD")
    found["HEAD"] = ABSENT if head is None else os.fsdecode(head).strip().removeprefix("ref: ")
    found["the log of refs/stash"] = look(repo.common_dir / "logs" / "refs" / "stash").digest
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
