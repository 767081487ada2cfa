"""Reading and writing files in directories that an agent may have rearranged: nothing here follows a link out
of them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from pathlib import Path


def read_small(path: Path, limit: int = 4096) -> bytes | None:
    """Up to `limit` bytes of a regular file; None when there is none.

    A pipe put in its place does not block us.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        parts = []
        while limit > 0 and (part := os.read(descriptor, limit)):
            parts.append(part)
            limit -= len(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove whatever is at `path`, write-protected directories too; a link is removed, not what it points
    to.
    """
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if not stat.S_ISDIR(mode):
        path.unlink()
        return
    try:
        shutil.rmtree(path)
    except PermissionError:
        make_writable(path)
        shutil.rmtree(path)


def make_writable(root: Path) -> None:
    """Give the owner all rights on every directory under `root`. Package caches are often write-protected."""
    with contextlib.suppress(FileNotFoundError):
        root.chmod(root.stat().st_mode | stat.S_IRWXU)
        for directory, names, _ in os.walk(root):
            for name in names:
                path = Path(directory, name)
                if not path.is_symlink():
                    path.chmod(path.stat().st_mode | stat.S_IRWXU)


def remove_special(root: Path) -> None:
    """Remove pipes, sockets and devices under `root`: git would wait for a pipe that is called .gitignore."""
    for directory, _, names in os.walk(root):
        for name in names:
            path = Path(directory, name)
            mode = path.lstat().st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
                path.unlink()


def replace(path: Path, data: bytes, *, mtime_ns: int | None = None) -> None:
    """Write `path` so that readers see the old or the new content, whatever was there before."""
    temporary = path.with_name(f".{path.name}.new")
    remove(temporary)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    if mtime_ns is not None:
        os.utime(temporary, ns=(mtime_ns, mtime_ns))
    try:
        temporary.replace(path)
    except IsADirectoryError:
        remove(path)
        temporary.replace(path)


def copy(source: Path, target: Path) -> None:
    """Copy a file with its modification time.

    An index needs it: git takes a file that was changed in the second it was written in for changed only if
    the index is not younger.
    """
    replace(target, source.read_bytes(), mtime_ns=source.stat().st_mtime_ns)


def lexists(path: Path) -> bool:
    """Whether there is anything at `path`, a dangling link included."""
    return os.path.lexists(path)


def write_below(root: Path, path: str, data: bytes) -> None:
    """Write the file `path` below `root`, making its directories. Raises OSError when a link stands in the way: what
    is written never lands outside."""
    *parents, name = [part for part in path.split("/") if part not in ("", ".")]
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parents:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, dir_fd=directory)
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            os.close(directory)
            directory = below
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(name, flags, 0o666, dir_fd=directory), "wb") as file:
            file.write(data)
    finally:
        os.close(directory)


def exact_pattern(path: str) -> str:
    """A pattern of .gitignore that matches exactly `path`, counted from the root of the work tree."""
    return "/" + "".join(f"\\{character}" if character in "\\*?[ !#" else character for character in path)
