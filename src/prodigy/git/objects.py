"""Git objects read and written without a process: commits and trees, whose form is fixed and which no filter touches.

Whoever meets something unusual here falls back on git itself. The forms are described in git's
Documentation/gitformat-loose-object.txt and in the manual pages of `git mktree` and `git commit-tree`.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

TREE = "40000"
FILE = "100644"
PROGRAM = "100755"
LINK = "120000"

_SHA1_LENGTH = 20

# Git takes these off both ends of a name, and leaves the rest alone.
_CRUD = re.compile(r"[\x00-\x20.,:;<>\"\\']")
_NO_LINE = re.compile(r"[\x00\n<>]")


@dataclass(frozen=True)
class Entry:
    """One entry of a tree. mode: octal text as trees have it."""

    mode: str
    oid: str


def parse_tree(content: bytes, oid_length: int) -> dict[bytes, Entry]:
    """The entries of a tree by name. Raises ValueError for what is no tree. oid_length: in bytes."""
    entries = {}
    position = 0
    while position < len(content):
        blank = content.index(b" ", position)
        end = content.index(b"\0", blank)
        oid = content[end + 1 : end + 1 + oid_length]
        entries[content[blank + 1 : end]] = Entry(content[position:blank].decode("ascii"), oid.hex())
        position = end + 1 + oid_length
    return entries


def tree_content(entries: Mapping[bytes, Entry]) -> bytes:
    """The content of a tree; git sorts directories as if their names ended with a slash."""
    ordered = sorted(entries.items(), key=lambda item: item[0] + b"/" if item[1].mode == TREE else item[0])
    return b"".join(entry.mode.encode() + b" " + name + b"\0" + bytes.fromhex(entry.oid) for name, entry in ordered)


def object_id(kind: str, content: bytes, oid_length: int) -> str:
    """The id of an object; ids of 20 bytes are SHA-1, longer ones SHA-256."""
    return _hashed(_with_header(kind, content), oid_length)


def write(store: Path, kind: str, content: bytes, oid_length: int) -> str:
    """Write a loose object so that it is on disk when its id is returned. Raises OSError."""
    data = _with_header(kind, content)
    oid = _hashed(data, oid_length)
    target = store / oid[:2] / oid[2:]
    try:
        os.utime(target)  # it is there: as git does, keep it from being pruned as an old one
    except FileNotFoundError:
        target.parent.mkdir(exist_ok=True)
    else:
        return oid
    descriptor, temporary = tempfile.mkstemp(prefix="tmp_obj_", dir=target.parent)  # git prunes these
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(zlib.compress(data, 1))
            file.flush()
            os.fchmod(descriptor, 0o444)
            os.fsync(descriptor)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return oid


def commit_content(tree: str, parents: tuple[str, ...], message: str, identity: Mapping[str, str]) -> bytes | None:
    """The content of a commit as `git commit-tree` makes it at this moment; None when only git knows how.

    identity: GIT_AUTHOR_* and GIT_COMMITTER_*.
    """
    now = int(time.time())
    when = f"{now} {time.strftime('%z', time.localtime(now))}"
    lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents)]
    for role in ("author", "committer"):
        name, email = (identity.get(f"GIT_{role.upper()}_{part}", "") for part in ("NAME", "EMAIL"))
        if f"GIT_{role.upper()}_DATE" in identity or not (_is_plain(name) and _is_plain(email)):
            return None
        lines.append(f"{role} {name} <{email}> {when}")
    if "\0" in message or len(set(parents)) != len(parents):
        return None
    try:
        return ("\n".join(lines) + f"\n\n{message}").encode()
    except UnicodeEncodeError:
        return None


def _is_plain(text: str) -> bool:
    """Whether git takes this name or address as it is."""
    return bool(text) and not _NO_LINE.search(text) and not _CRUD.match(text[0]) and not _CRUD.match(text[-1])


def _with_header(kind: str, content: bytes) -> bytes:
    return f"{kind} {len(content)}\0".encode() + content


def _hashed(data: bytes, oid_length: int) -> str:
    if oid_length == _SHA1_LENGTH:
        return hashlib.sha1(data, usedforsecurity=False).hexdigest()
    return hashlib.sha256(data).hexdigest()
