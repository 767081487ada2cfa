"""Reads a workflow file. Everything wrong with it is reported at once, with file:line:column."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from prodigy.errors import Problem, WorkflowError
from prodigy.workflow.files import MAX_BYTES, parse_document, printable, read_document
from prodigy.workflow.load_options import NOTHING_GIVEN, LoadOptions, Written
from prodigy.workflow.model import Workflow
from prodigy.workflow.reading import read_workflow
from prodigy.workflow.scripts import KnownScripts, NothingKnown
from prodigy.workflow.values import Findings
from prodigy.workflow.yaml_compose import Document

__all__ = ["MAX_BYTES", "LoadOptions", "Loaded", "Written", "as_before", "load", "parse", "problem_text"]


@dataclass(frozen=True)
class Loaded:
    """A workflow and what is to be said of its file, in file order. remarks: what only a strict reader minds."""

    workflow: Workflow
    warnings: tuple[Problem, ...] = ()
    remarks: tuple[Problem, ...] = ()


def load(path: Path, known: KnownScripts | None = None, given: LoadOptions = NOTHING_GIVEN) -> Loaded:
    """The workflow in the file `path` and in those that it names. known: shell texts that need not be checked again;
    None: check all. given: values for its parameters, and its profile.

    Raises UsageError when the file cannot be read or takes no such values, and WorkflowError when what is in it is
    wrong.
    """
    return _loaded(read_document(path), printable(str(path)), known, given)


def parse(text: str, file: str, known: KnownScripts | None = None, given: LoadOptions = NOTHING_GIVEN) -> Loaded:
    """The workflow in `text`; `file` is its name for messages. known, given: as in `load`. Raises as `load` does."""
    return _loaded(parse_document(text, file), file, known, given)


def _loaded(document: Document, file: str, known: KnownScripts | None, given: LoadOptions) -> Loaded:
    findings = Findings()
    workflow = read_workflow(document, file, findings, known or NothingKnown(), given)
    problems = document.problems + findings.problems
    if problems or workflow is None:
        raise WorkflowError(file, problems)
    return Loaded(workflow, _in_order(findings.warnings), _in_order(findings.remarks))


def as_before(workflow: Workflow, given: LoadOptions = NOTHING_GIVEN) -> LoadOptions:
    """To load another version of `workflow`: with its parameters and its profile, unless they are given anew."""
    before = {name: json.loads(text) for name, text in workflow.parameters}
    profile = given.profile or workflow.environment.profile
    return LoadOptions(given.parameters, profile, before, agents=workflow.agents, configured=workflow.configured)


def _in_order(problems: list[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(set(problems), key=lambda problem: (problem.file, problem.line, problem.column)))


def problem_text(file: str, problem: Problem) -> str:
    """One line for a person: file:line:column and what is wrong. file: the main one."""
    hint = f" ({problem.hint})" if problem.hint else ""
    return f"{problem.file or file}:{problem.line}:{problem.column}: {problem.message}{hint}"
