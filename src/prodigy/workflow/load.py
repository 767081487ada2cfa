"""Reads a workflow file. Everything wrong with it is reported at once, with file:line:column."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from ruamel.yaml.error import YAMLError

from prodigy.errors import Problem, UsageError, WorkflowError
from prodigy.workflow.model import Workflow
from prodigy.workflow.normalise import normalise
from prodigy.workflow.scripts import KnownScripts, NothingKnown
from prodigy.workflow.values import Findings
from prodigy.workflow.yaml_compose import Document, compose
from prodigy.workflow.yaml_errors import explain
from prodigy.workflow.yaml_nodes import Text, YamlSyntaxError

# A workflow is some kilobytes; a file of another kind, named by mistake, should not be read for minutes.
MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Loaded:
    """A workflow and what is to be said of its file, in file order. remarks: what only a strict reader minds."""

    workflow: Workflow
    warnings: tuple[Problem, ...] = ()
    remarks: tuple[Problem, ...] = ()


def load(path: Path, known: KnownScripts | None = None) -> Loaded:
    """The workflow in the file `path`. known: shell texts that need not be checked again; None: check all.

    Raises UsageError when the file cannot be read and WorkflowError when what is in it is wrong.
    """
    shown = _printable(str(path))
    return parse(_decode(_read(path, shown), shown), shown, known)


def parse(text: str, file: str, known: KnownScripts | None = None) -> Loaded:
    """The workflow in `text`; `file` is its name for messages. known: as in `load`. Raises WorkflowError."""
    source = Text(text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n"))
    document = _compose(source, file)
    findings = Findings()
    workflow = normalise(document, file, _default_name(file), findings, known or NothingKnown())
    problems = document.problems + findings.problems
    if problems or workflow is None:
        raise WorkflowError(file, problems)
    return Loaded(workflow, _in_order(findings.warnings), _in_order(findings.remarks))


def _in_order(problems: list[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(set(problems), key=lambda problem: (problem.line, problem.column)))


def problem_text(file: str, problem: Problem) -> str:
    """One line for a person: file:line:column and what is wrong."""
    hint = f" ({problem.hint})" if problem.hint else ""
    return f"{file}:{problem.line}:{problem.column}: {problem.message}{hint}"


def _default_name(file: str) -> str:
    return "".join(char if char.isprintable() else "_" for char in Path(file).stem) or "workflow"


def _compose(source: Text, file: str) -> Document:
    try:
        return compose(source)
    except YamlSyntaxError as error:
        raise WorkflowError(file, [error.problem]) from None
    except (YAMLError, ValueError, OverflowError) as error:
        raise WorkflowError(file, [explain(error, source).problem]) from error


def _read(path: Path, shown: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UsageError("there is no such workflow file", where=shown, hint=_did_you_mean(path)) from None
    except IsADirectoryError:
        raise UsageError("this is a directory, not a workflow file", where=shown, hint=_files_in(path)) from None
    except ValueError:
        raise UsageError("this is not a file name", where=shown) from None
    except OSError as error:
        raise UsageError(f"the workflow file cannot be read: {error.strerror}", where=shown) from error
    if len(data) > MAX_BYTES:
        raise UsageError(f"a file of more than {MAX_BYTES >> 20} MiB is not a workflow", where=shown)
    return data


def _did_you_mean(path: Path) -> str | None:
    nearest = get_close_matches(path.name, _yaml_files(path.parent), 1)
    return f"did you mean {_printable(str(path.with_name(nearest[0])))}?" if nearest else None


def _files_in(path: Path) -> str | None:
    names = _yaml_files(path)
    return f"workflow files in it: {', '.join(map(_printable, names[:5]))}" if names else None


def _yaml_files(directory: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in directory.iterdir() if entry.suffix in (".yml", ".yaml", ".json"))
    except OSError:
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


def _printable(name: str) -> str:
    """A file name that can be printed and stored: bytes that are no UTF-8 reach us as surrogates."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
