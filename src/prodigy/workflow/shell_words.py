"""Placeholders in shell text: the shell never parses a value.

`compile_script` runs when a workflow is loaded. It finds the context of each placeholder with a real parser, puts
the expansion of an environment variable there, and refuses what it does not understand. `ShellScript.bind` runs per
step: it looks the values up, checks those that need it, and starts no process.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

from pydantic import BaseModel, ConfigDict

from prodigy.errors import ProdigyError, UsageError
from prodigy.workflow.interpolate import TextProblem, Unresolved, resolve
from prodigy.workflow.shell.arguments import Reader
from prodigy.workflow.shell.checks import MAX_TOTAL_BYTES, Check, complaint, unusable
from prodigy.workflow.shell.findings import Findings
from prodigy.workflow.shell.flow import trace
from prodigy.workflow.shell.source import MarkedText, check_source, mark
from prodigy.workflow.shell.statements import Statements
from prodigy.workflow.shell.syntax import Node, ShellSyntaxError, check_with_bash, parse
from prodigy.workflow.shell.verify import count_quoted

_SHOWN_CHARACTERS = 60
_UTF8_MAX = 4  # bytes of a character
_SYNTAX = "correct or simplify the text"
_TOO_LARGE = "store it in a file and let the script read that"


class ShellTextError(UsageError):
    """A shell text cannot be used as it stands; `problems` lists all that is wrong, in order, with positions in it."""

    def __init__(self, problems: Collection[TextProblem]) -> None:
        self.problems = tuple(sorted(problems))
        lines = (f"line {p.line}, column {p.column}: {p.message}\n  {p.cure}" for p in self.problems)
        super().__init__("\n".join(lines))


class BindError(ProdigyError):
    """A value does not fit its place, or there is none.

    placeholder: as it is written. value: its beginning, quoted; None when it does not resolve.
    """

    def __init__(self, placeholder: str, value: str | None, what: str, hint: str | None) -> None:
        self.placeholder = placeholder
        self.value = value
        super().__init__(what, hint=hint)


class Variable(BaseModel):
    """The environment variable that carries the value of a placeholder into the script."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    path: str
    default: str | None = None


class ShellScript(BaseModel):
    """A shell text ready to be bound, frozen; it survives a round trip through JSON.

    text: what bash runs. variables: what must be in its environment. checks: what their values must pass.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    variables: tuple[Variable, ...] = ()
    checks: tuple[Check, ...] = ()

    def bind(self, scope: Mapping[str, object]) -> tuple[bytes, dict[str, str]]:
        """The script and the environment variables it needs. Raises BindError."""
        values = {variable.name: _value(variable, scope) for variable in self.variables}
        for check in self.checks:
            reason = complaint(check, values)
            if reason:
                raise self._refusal(check, values, reason)
        if sum(map(len, values.values())) * _UTF8_MAX > MAX_TOTAL_BYTES:
            self._limit(values)
        return self.text.encode(), values

    def _limit(self, values: Mapping[str, str]) -> None:
        total = sum(len(value.encode()) for value in values.values())
        if total > MAX_TOTAL_BYTES:
            largest = max(self.variables, key=lambda variable: len(values[variable.name]))
            reason = f"is the largest of values that are {total // 1024} KiB together, more than a script can take"
            raise _bind_error(largest, values[largest.name], reason, _TOO_LARGE)

    def _refusal(self, check: Check, values: Mapping[str, str], reason: str) -> BindError:
        name = next(piece.text for piece in check.pieces if piece.kind == "value")
        variable = next(variable for variable in self.variables if variable.name == name)
        return _bind_error(variable, values[name], reason, CURES.get(check.kind))


CURES: Mapping[str, str] = {
    "integer": "use a field that holds a number such as 7 or -7 (008 and 1.5 are none), or do not calculate with it",
    "leading_dash": "write -- before it, or bind it to its option: --name=${...}",
    "leading_parenthesis": "declare the variable first, then assign it alone: x=${...}",
    "write_target": "write to a path inside the worktree that does not leave it",
    "perl_file": "give it to perl on standard input: perl -ne '...' < ${...}",
}


def _value(variable: Variable, scope: Mapping[str, object]) -> str:
    try:
        value = resolve(scope, variable.path, variable.default)
    except Unresolved as error:
        raise BindError(f"${{{variable.path}}}", None, error.what, error.hint) from error
    reason = unusable(value)
    if reason:
        raise _bind_error(variable, value, reason, _TOO_LARGE if len(value) > _SHOWN_CHARACTERS else None)
    return value


def _bind_error(variable: Variable, value: str, reason: str, cure: str | None) -> BindError:
    placeholder = f"${{{variable.path}}}"
    more = "..." if len(value) > _SHOWN_CHARACTERS else ""
    shown = json.dumps(value[:_SHOWN_CHARACTERS] + more, ensure_ascii=False)
    return BindError(placeholder, shown, f"{placeholder} is {shown}, which {reason}", cure)


def compile_script(text: str, namespaces: Collection[str] = ()) -> ShellScript:
    """Make a script of a step's shell text; `namespaces` are the names of ours besides the built-in ones.

    A text without placeholders is taken as it is. Raises ShellTextError, and EnvironmentProblem when shfmt or bash
    is missing. Starts three short processes, about 10 ms together.
    """
    problems = check_source(text, namespaces)
    if problems:
        raise ShellTextError(problems)
    source = mark(text, namespaces)
    if not source.markers:
        return ShellScript(text=text)
    tree = _parsed(source)
    flows = trace(tree, source)
    findings = Findings(source, Reader(source, flows))
    Statements(findings, flows).walk(tree)
    findings.refuse_rest()
    if findings.problems:
        raise ShellTextError(findings.problems)
    return _finished(source, findings)


def _parsed(source: MarkedText) -> Node:
    try:
        return parse(source.data)
    except ShellSyntaxError as error:
        raise _syntax_problem(source, error) from error


def _syntax_problem(source: MarkedText, error: ShellSyntaxError) -> ShellTextError:
    message = f"bash cannot read this: {error.message}"
    return ShellTextError([source.problem(source.offset(error.line, error.column), message, _SYNTAX)])


def _finished(source: MarkedText, findings: Findings) -> ShellScript:
    """The script of the edited text, after it was read again by both parsers."""
    variables = {
        marker.variable: Variable(
            name=marker.variable, path=marker.placeholder.path, default=marker.placeholder.default
        )
        for marker in source.markers
        if marker.number not in findings.commented
    }
    # On the same line as the text, so that the lines that bash reports are those of the author.
    head = f"export -n {' '.join(variables)}; " if variables else ""
    script = head.encode() + findings.rewritten()
    try:
        quoted = count_quoted(parse(script))
        check_with_bash(script)
    except ShellSyntaxError as error:
        # Columns have moved with the edits, lines have not.
        raise _syntax_problem(source, ShellSyntaxError(error.line, 1, error.message)) from error
    if quoted != len(source.markers) - len(findings.commented):
        message = "the quotes around placeholders are beyond this version"
        raise ShellTextError([source.problem(source.markers[0].start, message, _SYNTAX)])
    return ShellScript(text=script.decode(), variables=tuple(variables.values()), checks=tuple(findings.checks))
