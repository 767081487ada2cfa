"""Reads the files that a workflow is made of."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from ruamel.yaml.error import YAMLError

from prodigy.errors import Problem, UsageError, WorkflowError
from prodigy.workflow.yaml_compose import Document, compose
from prodigy.workflow.yaml_errors import explain
from prodigy.workflow.yaml_nodes import Text, YamlSyntaxError

# A workflow is some kilobytes; a file of another kind, named by mistake, should not be read for minutes.
MAX_BYTES = 4 * 1024 * 1024
SUFFIXES = (".yml", ".yaml", ".json")


def read_document(path: Path, file: str = "") -> Document:
    """The nodes of the file `path`. file: as in `Text`.

    Raises UsageError when the file cannot be read and WorkflowError when it is no YAML.
    """
    return parse_document(read_text_of(path), printable(str(path)), file)


def read_text_of(path: Path) -> str:
    """What stands in a workflow file. Raises UsageError when it cannot be read, WorkflowError when it is no UTF-8."""
    shown = printable(str(path))
    return _decode(_read(path, shown), shown)


def parse_document(text: str, shown: str, file: str = "") -> Document:
    """The nodes of a text. shown: its name for messages. file: as in `Text`. Raises WorkflowError."""
    source = Text(text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n"), file)
    try:
        return compose(source)
    except YamlSyntaxError as error:
        raise WorkflowError(shown, [error.problem]) from None
    except (YAMLError, ValueError, OverflowError) as error:
        raise WorkflowError(shown, [explain(error, source).problem]) from error


def _read(path: Path, shown: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UsageError("there is no such workflow file", where=shown, hint=_did_you_mean(path)) from None
    except IsADirectoryError:
        raise UsageError("this is a directory, not a workflow file", where=shown, hint=_files_in(path)) from None
    except ValueError:
        raise UsageError(
            "this is not a file name", where=shown, hint="Name a workflow file, such as flow.yml."
        ) from None
    except OSError as error:
        raise UsageError(
            f"the workflow file cannot be read: {error.strerror}", where=shown, hint="Make it readable for you."
        ) from error
    if len(data) > MAX_BYTES:
        raise UsageError(
            f"a file of more than {MAX_BYTES >> 20} MiB is not a workflow",
            where=shown,
            hint="Keep the items in a file of their own, and name it under `input`.",
        )
    return data


def _did_you_mean(path: Path) -> str | None:
    here = path.parent
    if not here.exists():  # it may be the directory that is misspelt, or left out
        here = here.with_name((get_close_matches(here.name, _directories(here.parent), 1) or [here.name])[0])
    nearest = get_close_matches(path.name, yaml_files(here), 1)
    if nearest:
        return f"did you mean {printable(str(here / nearest[0]))}?"
    usual = [name for name in ("workflows", ".prodigy/workflows") if path.name in yaml_files(path.parent / name)]
    return f"did you mean {printable(str(path.parent / usual[0] / path.name))}?" if usual else None


def _directories(directory: Path) -> list[str]:
    try:
        return [entry.name for entry in directory.iterdir() if entry.is_dir()]
    except (OSError, ValueError):
        return []


def _files_in(path: Path) -> str | None:
    names = yaml_files(path)
    return f"workflow files in it: {', '.join(map(printable, names[:5]))}" if names else None


def yaml_files(directory: Path) -> list[str]:
    """The names of files in `directory` that may be workflows, sorted."""
    try:
        return sorted(entry.name for entry in directory.iterdir() if entry.suffix in SUFFIXES)
    except (OSError, ValueError):
        return []


def _decode(data: bytes, file: str) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise WorkflowError(file, [Problem(1, 1, "this file is UTF-16", "save it as UTF-8")])
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8").removeprefix("\ufeff")
        at = Text(before).at(len(before))
        message = f"this is not UTF-8 text (byte 0x{data[error.start]:02x})"
        raise WorkflowError(file, [Problem(at.line, at.column, message, "save the file as UTF-8")]) from None


def printable(name: str) -> str:
    """A file name that can be printed and stored: bytes that are no UTF-8 reach us as surrogates."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
