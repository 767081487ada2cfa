"""Reading refs without a process: the loose file first, then packed-refs, which is the order in which git
moves them.
"""

from __future__ import annotations

import functools
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from prodigy.git.command import GitError
from prodigy.git.files import read_small

_OID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_REF = re.compile(r"refs(?:/(?!\.)[^/\x00-\x20~^:?*\[\\\x7f]+(?<!\.lock))+")
_PER_WORKTREE = ("refs/worktree/", "refs/bisect/", "refs/rewritten/")
_SYMREF_DEPTH = 5
_LARGEST_PACKED_REFS = 256 << 20  # bytes


@dataclass(frozen=True)
class Head:
    """Where a HEAD points.

    ref: the branch's full name, None when detached; oid: None when that branch has no commits.
    """

    ref: str | None
    oid: str | None


def is_oid(text: str) -> bool:
    """Whether `text` is a full object id (SHA-1 or SHA-256)."""
    return _OID.fullmatch(text) is not None


def full_oid(text: str, where: str | None = None) -> str:
    """`text`, which must be a full object id; raises GitError naming `where` it was met."""
    if not is_oid(text):
        raise GitError(f"not a full object id: {text!r}", where=where)
    return text


def is_ref_name(name: str) -> bool:
    """Whether `name` is a full ref name that stays inside refs/."""
    return _REF.fullmatch(name) is not None and ".." not in name and "@{" not in name


def read_ref(common_dir: Path, name: str, git_dir: Path | None = None) -> str | None:
    """The object id that the ref `name` holds, symbolic refs followed; None when there is no such ref.

    git_dir: the worktree whose own refs (refs/bisect and the like) count. Raises GitError for a damaged ref.
    """
    for _ in range(_SYMREF_DEPTH):
        if not is_ref_name(name):
            raise GitError("not a ref name", where=repr(name))
        own = git_dir is not None and name.startswith(_PER_WORKTREE)
        text = _loose(git_dir if own and git_dir is not None else common_dir, name)
        if text is None:
            packed = packed_refs(common_dir).get(name)
            return None if packed is None else _checked_oid(packed, name)
        if not text.startswith("ref: "):
            return _checked_oid(text, name)
        name = text[len("ref: ") :].strip()
    raise GitError("symbolic refs point at each other", where=name)


def read_head(git_dir: Path, common_dir: Path) -> Head:
    """Where the HEAD of a checkout points. Raises GitError when it is missing or damaged."""
    data = read_small(git_dir / "HEAD")
    if data is None:
        raise GitError("HEAD is missing or no regular file", where=str(git_dir / "HEAD"))
    text = os.fsdecode(data).strip()
    if text.startswith("ref: "):
        ref = text[len("ref: ") :].strip()
        return Head(ref, read_ref(common_dir, ref, git_dir))
    return Head(None, _checked_oid(text, str(git_dir / "HEAD")))


def _loose(directory: Path, name: str) -> str | None:
    data = read_small(directory / name)
    return None if data is None else os.fsdecode(data).strip()


def _checked_oid(text: str, where: str) -> str:
    if not is_oid(text):
        raise GitError("the ref holds no object id", where=where)
    return text


def packed_refs(common_dir: Path) -> dict[str, str]:
    """All packed refs, name -> object id. Parsed anew only when the file has changed. Raises GitError."""
    path = common_dir / "packed-refs"
    try:
        status = path.stat()
    except FileNotFoundError:
        return {}
    if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST_PACKED_REFS:  # a pipe would hold us for ever
        raise GitError("packed-refs is no regular file, or far too large", where=str(path))
    return _parse_packed(path, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@functools.lru_cache(maxsize=8)
def _parse_packed(path: Path, *_identity: int) -> dict[str, str]:
    refs = {}
    for line in (read_small(path, _LARGEST_PACKED_REFS) or b"").splitlines():
        if not line.startswith((b"#", b"^")):
            oid, _, name = line.partition(b" ")
            refs[os.fsdecode(name)] = oid.decode("ascii", errors="replace")
    return refs
