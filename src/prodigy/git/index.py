"""What the index of a work tree names, read from its file: a process less for every workspace that is made fresh.

The format is described in git's Documentation/gitformat-index.txt.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from prodigy.git.command import GitError

# With this setting git notes where the entries end, so that directories can be had without reading all of them.
END_OF_ENTRIES_SETTING = "index.recordendofindexentries"

_HEADER = 12
_STAT = 40  # bytes of an entry before its object id
_MODE_AT = 24
_EXTENDED = 0x4000
_NAME_LENGTH = 0x0FFF
_GITLINK = (0o160000).to_bytes(4, "big")


def directories(data: bytes, oid_length: int) -> list[str]:
    """Every directory that holds tracked files, parents before children. oid_length: of the object ids, in bytes.

    Raises GitError for a damaged file and for the compressed format (version 4), which a private index never has.
    """
    found = _from_cached_trees(data, oid_length)
    if found is None:
        found = _from_entries(data, oid_length)
    return [os.fsdecode(directory) for directory in sorted(found)]


def gitlinks(data: bytes, oid_length: int) -> list[str]:
    """Paths of submodules. Raises GitError as `directories` does."""
    if _GITLINK not in data:
        return []
    return [os.fsdecode(name) for mode, name in _entries(data, oid_length) if mode == _GITLINK]


def _from_cached_trees(data: bytes, oid_length: int) -> set[bytes] | None:
    """From the tree of directories in an index that git has just read from a commit; None without a whole one."""
    for signature, content in _extensions(data, oid_length):
        if signature == b"TREE":
            return _tree_names(content, oid_length)
    return None


def _extensions(data: bytes, oid_length: int) -> Iterator[tuple[bytes, bytes]]:
    last = len(data) - oid_length - (8 + 4 + oid_length)  # before the checksum: name, size, offset, hash
    if last < _HEADER or data[last : last + 4] != b"EOIE":
        return
    position = int.from_bytes(data[last + 8 : last + 12], "big")
    while position + 8 <= last:
        size = int.from_bytes(data[position + 4 : position + 8], "big")
        yield data[position : position + 4], data[position + 8 : position + 8 + size]
        position += 8 + size


def _tree_names(content: bytes, oid_length: int) -> set[bytes] | None:
    found = set()
    parents: list[tuple[bytes, int]] = []  # path with a slash at the end, subtrees still to come
    position = 0
    while position < len(content):
        name_end = content.index(b"\0", position)
        facts_end = content.index(b"\n", name_end)
        entries, subtrees = content[name_end + 1 : facts_end].split(b" ")
        if entries == b"-1":
            return None  # not known any more
        path = b""
        if parents:
            prefix, left = parents.pop()
            path = prefix + content[position:name_end]
            found.add(path)
            if left > 1:
                parents.append((prefix, left - 1))
        if int(subtrees):
            parents.append((path + b"/" if path else b"", int(subtrees)))
        position = facts_end + 1 + oid_length
    return found


def _from_entries(data: bytes, oid_length: int) -> set[bytes]:
    found: set[bytes] = set()
    last = b""
    for _, name in _entries(data, oid_length):
        directory = name.rpartition(b"/")[0]
        if directory != last:
            last = directory
            while directory and directory not in found:
                found.add(directory)
                directory = directory.rpartition(b"/")[0]
    return found


def _entries(data: bytes, oid_length: int) -> Iterator[tuple[bytes, bytes]]:
    """Mode (four bytes) and name of every entry."""
    version, count = int.from_bytes(data[4:8], "big"), int.from_bytes(data[8:12], "big")
    if data[:4] != b"DIRC" or version not in (2, 3):
        raise GitError(f"not an index of version 2 or 3 (but {version})")
    offset = _HEADER
    try:
        for _ in range(count):
            flags_at = offset + _STAT + oid_length
            flags = data[flags_at] << 8 | data[flags_at + 1]
            name_at = flags_at + (4 if flags & _EXTENDED else 2)
            length = flags & _NAME_LENGTH
            end = name_at + length if length < _NAME_LENGTH else data.index(b"\0", name_at)
            yield data[offset + _MODE_AT : offset + _MODE_AT + 4], data[name_at:end]
            offset += (end - offset + 8) & ~7
    except (IndexError, ValueError) as error:
        raise GitError("the index ends in the middle of an entry") from error
