"""Writes several new files, all of them or none, and none over what is there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from prodigy.cli.words import printable
from prodigy.errors import EnvironmentProblem, UsageError


def write_new(files: Mapping[Path, str], *, force: bool, ours: Callable[[Path], bool] = lambda _: False) -> list[Path]:
    """Write each text to its file; the files that were not as they are to be already.

    force: replace what is there. ours: whether a file that is there may be replaced all the same.
    Raises UsageError when something is in the way, EnvironmentProblem when one can't be written; then all is as before.
    """
    changed = {path: text for path, text in files.items() if not _is_same(path, text)}
    in_the_way = [path for path in changed if os.path.lexists(path) and not (force or ours(path))]
    if directories := [path for path in changed if path.is_dir()]:
        raise UsageError("this is a directory", where=_shown(directories[0]), hint="Name a file with --output.")
    if in_the_way:
        names = ", ".join(map(_shown, in_the_way))
        raise UsageError(
            f"{names} {'is' if len(in_the_way) == 1 else 'are'} there already, and nothing was written",
            hint="Use --force to replace what is there, or name another file with --output.",
        )
    with ExitStack() as undo:
        for path, text in changed.items():
            try:
                _make_directories(path.parent, undo)
                _write(path, text, undo)
            except OSError as error:
                raise EnvironmentProblem(
                    f"{_shown(path)} can't be written: {error.strerror}; nothing was written",
                    hint="Make room for it, or name another file with --output.",
                ) from error
        undo.pop_all()
    return list(changed)


def _is_same(path: Path, text: str) -> bool:
    try:
        return path.read_bytes() == text.encode()
    except (OSError, ValueError):
        return False


def _make_directories(directory: Path, undo: ExitStack) -> None:
    for each in reversed([directory, *directory.parents]):
        if not each.is_dir():
            each.mkdir()
            undo.callback(_quietly, each.rmdir)


def _write(path: Path, text: str, undo: ExitStack) -> None:
    """By a rename, so that nobody sees half of it."""
    before = path.read_bytes() if path.is_file() else None
    mode = path.stat().st_mode & 0o777 if before is not None else 0o666 & ~_umask()
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".prodigy-")
    undo.callback(_quietly, Path(name).unlink)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(text.encode())
    Path(name).chmod(mode)
    Path(name).replace(path)
    undo.callback(_quietly, path.unlink if before is None else lambda: path.write_bytes(before))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _quietly(act: Callable[[], object]) -> None:
    with suppress(OSError):
        act()


def _shown(path: Path) -> str:
    return printable(os.path.relpath(path))
