"""Placeholders in shell text: the shell never parses a value.

`compile_script` runs when a workflow is loaded. It finds the context of each placeholder with a real parser, puts
the expansion of an environment variable there, and refuses what it does not understand. `ShellScript.bind` runs per
step: it looks the values up, checks those that need it, and starts no process.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass

from prodigy.errors import UsageError
from prodigy.workflow.interpolate import TextProblem
from prodigy.workflow.shell.arguments import Reader
from prodigy.workflow.shell.batch import can_share, parse_together, read_by_bash
from prodigy.workflow.shell.findings import Findings
from prodigy.workflow.shell.flow import trace
from prodigy.workflow.shell.heredocs import misread
from prodigy.workflow.shell.script import BindError, Bound, ShellScript, Variable
from prodigy.workflow.shell.source import RAW_WORD, MarkedText, Marker, check_source, mark
from prodigy.workflow.shell.statements import Statements
from prodigy.workflow.shell.syntax import Node, ShellSyntaxError, check_with_bash, parse
from prodigy.workflow.shell.verify import count_quoted

__all__ = [
    "BindError",
    "Bound",
    "NamedText",
    "ShellScript",
    "ShellTextError",
    "Variable",
    "compile_script",
    "compile_scripts",
    "forget",
]

_SYNTAX = "correct or simplify the text"


class ShellTextError(UsageError):
    """A shell text cannot be used as it stands; `problems` lists all that is wrong, in order, with positions in it."""

    def __init__(self, problems: Collection[TextProblem]) -> None:
        self.problems = tuple(sorted(problems))
        lines = (f"line {p.line}, column {p.column}: {p.message}\n  {p.cure}" for p in self.problems)
        super().__init__("\n".join(lines))


def compile_script(text: str, namespaces: Collection[str] = (), *, check_plain: bool = False) -> ShellScript:
    """Make a script of a step's shell text; `namespaces` are the names of ours besides the built-in ones.

    A text without placeholders is taken as it is; with `check_plain` bash must be able to read it. Raises
    ShellTextError, and EnvironmentProblem when shfmt or bash is missing. Starts three short processes, about 10 ms
    together; texts that were seen before cost nothing.
    """
    key = _key(text, namespaces, check_plain)
    found = _compiled.get(key)
    if found is None:
        try:
            found = _compile(text, namespaces, check_plain)
        except ShellTextError as error:
            found = ShellTextError(error.problems)  # without the frames that the other one holds
        _remember(key, found)
    if isinstance(found, ShellTextError):
        raise ShellTextError(found.problems)
    return found


def compile_scripts(texts: Sequence[NamedText], *, check_plain: bool = False) -> list[ShellScript | ShellTextError]:
    """`compile_script` for all shell texts of a workflow, each with its namespaces: the same results and errors, in
    order.

    Starts three processes together when the texts are in order, whatever their number.
    """
    new = [text for text in dict.fromkeys(texts) if (*text, check_plain) not in _compiled]
    for (text, namespaces), script in _together(new, check_plain).items():
        _remember((text, namespaces, check_plain), script)
    return [_result(text, namespaces, check_plain) for text, namespaces in texts]


# A shell text and the names that are ours in it besides the built-in ones.
NamedText = tuple[str, frozenset[str]]
_Key = tuple[str, frozenset[str], bool]
_MAX_REMEMBERED = 4096
_compiled: dict[_Key, ShellScript | ShellTextError] = {}


def forget() -> None:
    """Compile everything anew, for when the parsers changed."""
    _compiled.clear()


def _key(text: str, namespaces: Collection[str], check_plain: bool) -> _Key:
    return text, frozenset(namespaces), check_plain


def _remember(key: _Key, result: ShellScript | ShellTextError) -> None:
    if len(_compiled) >= _MAX_REMEMBERED:
        _compiled.clear()
    _compiled[key] = result


def _result(text: str, namespaces: Collection[str], check_plain: bool) -> ShellScript | ShellTextError:
    try:
        return compile_script(text, namespaces, check_plain=check_plain)
    except ShellTextError as error:
        return error


@dataclass(frozen=True)
class _Draft:
    """A script before its second reading."""

    source: MarkedText
    findings: Findings
    script: bytes


def _compile(text: str, namespaces: Collection[str], check_plain: bool) -> ShellScript:
    source = _marked(text, namespaces)
    if not _has_places(source):
        if check_plain:
            _check_plain(source)
        return ShellScript(text=text)
    draft = _draft(source, _parsed(source))
    try:
        tree = parse(draft.script)
        check_with_bash(draft.script)
    except ShellSyntaxError as error:
        # Columns have moved with the edits, lines have not.
        raise _syntax_problem(source, ShellSyntaxError(error.line, 1, error.message)) from error
    return _finished(draft, tree)


def _together(texts: Sequence[NamedText], check_plain: bool) -> dict[NamedText, ShellScript]:
    """The scripts of those texts that are certainly fine; what is said about the others needs a look at each."""
    sources = [(named, mark(*named)) for named in texts if not check_source(*named)]
    plain = [(named, s) for named, s in sources if check_plain and not _has_places(s) and can_share(s.data)]
    drafts = _drafts([(named, s) for named, s in sources if _has_places(s) and can_share(s.data)])
    trees = parse_together([draft.script for _, draft in drafts])
    if trees is None:
        drafts, trees = [], []
    readable = read_by_bash([draft.script for _, draft in drafts] + [source.data for _, source in plain])
    done: dict[NamedText, ShellScript] = {}
    for (named, source), is_readable in zip(plain, readable[len(drafts) :], strict=True):
        if is_readable:
            done[named] = ShellScript(text=source.original)
    for (named, draft), tree, is_readable in zip(drafts, trees, readable, strict=False):
        with suppress(ShellTextError):
            if is_readable:
                done[named] = _finished(draft, tree)
    return done


def _drafts(sources: Sequence[tuple[NamedText, MarkedText]]) -> list[tuple[NamedText, _Draft]]:
    drafts: list[tuple[NamedText, _Draft]] = []
    trees = parse_together([source.data for _, source in sources]) or ()
    for (named, source), tree in zip(sources, trees, strict=False):
        with suppress(ShellTextError):  # it will be found again, with the individual text
            drafts.append((named, _draft(source, tree)))
    return drafts


def _marked(text: str, namespaces: Collection[str]) -> MarkedText:
    problems = check_source(text, namespaces)
    if problems:
        raise ShellTextError(problems)
    return mark(text, namespaces)


def _has_places(source: MarkedText) -> bool:
    return bool(source.markers or source.raws)


def _parsed(source: MarkedText) -> Node:
    try:
        return parse(source.data)
    except ShellSyntaxError as error:
        raise _syntax_problem(source, error) from error


def _check_plain(source: MarkedText) -> None:
    try:
        check_with_bash(source.data, allow_warnings=True)
    except ShellSyntaxError as error:
        raise _syntax_problem(source, error) from error


def _syntax_problem(source: MarkedText, error: ShellSyntaxError) -> ShellTextError:
    message = f"bash cannot read this: {error.message}"
    return ShellTextError([source.problem(source.offset(error.line, error.column), message, _SYNTAX)])


def _draft(source: MarkedText, tree: Node) -> _Draft:
    """The edited text. Raises ShellTextError for what is refused."""
    flows = trace(tree, source)
    findings = Findings(source, Reader(source, flows))
    Statements(findings, flows).walk(tree)
    findings.refuse_rest()
    if findings.problems:
        raise ShellTextError(findings.problems)
    names = dict.fromkeys(m.variable for m in source.markers if m.number not in findings.commented)
    # On the same line as the text, so that the lines that bash reports are those of the author.
    head = f"export -n {' '.join(names)}; " if names else ""
    return _Draft(source, findings, head.encode() + findings.rewritten())


def _finished(draft: _Draft, tree: Node) -> ShellScript:
    """The script, after the tree of the edited text was compared with what was meant."""
    source, findings = draft.source, draft.findings
    live = [marker for marker in source.markers if marker.number not in findings.commented]
    if count_quoted(tree) != len(live) or any(misread(tree, draft.script)):
        message = "the quotes around placeholders are beyond this version"
        raise ShellTextError([source.problem((*source.markers, *source.raws)[0].start, message, _SYNTAX)])
    text = draft.script.decode()
    spliced = set(RAW_WORD.findall(text))
    return ShellScript(
        text=text,
        variables=_variables(live),
        checks=tuple(findings.checks),
        raw=_variables([raw for raw in source.raws if raw.variable in spliced]),
    )


def _variables(markers: Sequence[Marker]) -> tuple[Variable, ...]:
    return tuple(
        Variable(name=name, path=placeholder.path, default=placeholder.default, operator=placeholder.operator)
        for name, placeholder in {marker.variable: marker.placeholder for marker in markers}.items()
    )
