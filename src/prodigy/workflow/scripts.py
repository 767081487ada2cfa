"""Checks the shell texts of a workflow when it is loaded, and says where in the file they are wrong."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import NamedTuple, Protocol

from prodigy import __version__
from prodigy.workflow import catalogue
from prodigy.workflow.interpolate import Placeholder, fault, parse_placeholders, spell
from prodigy.workflow.shell_words import ShellScript, ShellTextError, compile_scripts
from prodigy.workflow.single_quotes import left_alone
from prodigy.workflow.values import Findings
from prodigy.workflow.yaml_nodes import Scalar, Text


@dataclass(frozen=True)
class Names:
    """What may be named in a text.

    available: the names that have values where it runs: those at the top, or single ones such as `map.key` where not
    all below the top have one. declared: the ids and captures of the whole file.
    """

    available: frozenset[str]
    declared: frozenset[str] = frozenset()


_PART = re.compile(r"""\.([\w-]+)|\[["']([^"']*)["']\]""")
_USE_DOUBLE = 'use double quotes: "...", with \\" for those in it'
_NOT_OURS = "if another program is to read it, put a space behind the `{`"


class KnownScripts(Protocol):
    """Keys of shell texts that were found to be in order."""

    def __contains__(self, key: str) -> bool: ...
    def add(self, keys: Iterable[str]) -> None: ...


class NothingKnown:
    """Every text is checked."""

    def __contains__(self, key: str) -> bool:
        return False

    def add(self, keys: Iterable[str]) -> None:
        """Remember nothing."""


class _Remark(NamedTuple):
    """offset: the character of the text that it is about, from 0. lenient: the text can be filled all the same."""

    offset: int
    message: str
    hint: str | None = None
    lenient: bool = False


class ScriptChecks:
    """Collects the shell texts of a file, so that all of them are compiled together."""

    def __init__(self) -> None:
        self._scripts: list[tuple[Scalar, Names]] = []

    def add(self, node: Scalar, names: Names) -> None:
        self._scripts.append((node, names))

    def finish(self, text: Text, findings: Findings, known: KnownScripts, variables: frozenset[str]) -> None:
        """Note every problem of the collected texts, and warn of those that put values into their code.

        known: texts that were in order before; those of this file are added. variables: those that the file, and a call
        of it, give to the environment.
        """
        # An aliased step is the same node in many places.
        scripts = list({(id(node), names): (node, names) for node, names in self._scripts}.values())
        for node, names in scripts:
            for offset, written in left_alone(node.value, variables - names.available):
                message = f"{written} stands in single quotes, where the shell leaves it as it is"
                findings.warn(text.inside(node, *_line_and_column(node.value, offset)), message, _USE_DOUBLE)
        # bash can't check extended patterns, which a script may switch on by itself.
        checked = [(node, names) for node, names in scripts if "extglob" not in node.value]
        others = [(node, names) for node, names in scripts if "extglob" in node.value]
        for group, check_plain in ((checked, True), (others, False)):
            keys_ = [_key(node.value, names.available, check_plain) for node, names in group]
            new = [(pair, key) for pair, key in zip(group, keys_, strict=True) if key not in known]
            named = [(node.value, names.available) for (node, names), _ in new]
            results = compile_scripts(named, check_plain=check_plain)
            for (node, names), result in zip((pair for pair, _ in new), results, strict=True):
                _note(node, names, result, text, findings)
            for node, names in (pair for pair, key in zip(group, keys_, strict=True) if key in known):
                _note(node, names, None, text, findings)
            known.add(key for (_, key), result in zip(new, results, strict=True) if _is_fine(result))


def _key(text: str, names: frozenset[str], check_plain: bool) -> str:
    parts = (__version__, str(check_plain), *sorted(names), "", text)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _line_and_column(text: str, offset: int) -> tuple[int, int]:
    """The place of a character, both from 1."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def _is_fine(result: ShellScript | ShellTextError) -> bool:
    """Whether there is nothing to say of the text by itself."""
    return isinstance(result, ShellScript) and not result.raw


def _note(
    node: Scalar, names: Names, result: ShellScript | ShellTextError | None, text: Text, findings: Findings
) -> None:
    problems: dict[tuple[int, int], tuple[str, str | None]] = {}
    if isinstance(result, ShellTextError):
        problems = {(problem.line, problem.column): (problem.message, problem.cure) for problem in result.problems}
    # A name without a value is the first thing to say about a place, so it takes the place's one message.
    for offset, message, hint, lenient in remarks(node.value, names):
        if lenient:
            findings.warn(text.inside(node, *_line_and_column(node.value, offset)), message, hint)
        else:
            problems[_line_and_column(node.value, offset)] = message, hint
    for (line, column), (message, hint) in problems.items():
        findings.problem(text.inside(node, line, column), message, hint)
    if isinstance(result, ShellScript) and result.raw:
        paths = ", ".join(sorted({f"${{raw:{variable.path}}}" for variable in result.raw}))
        findings.strict(node.at, f"{paths} puts a value into the script as code", "without `raw:` it is one safe word")


def remarks(text: str, names: Names) -> Iterator[_Remark]:
    """Every placeholder of `text` that names what has no value there."""
    for placeholder in parse_placeholders(text, names.declared | names.available):
        for offset, path in _paths(placeholder):
            written = spell(placeholder) if placeholder.form is None else path
            name = re.split(r"[.\[]", path, maxsplit=1)[0]
            if name not in catalogue.heads(names.available):
                yield _Remark(offset, *_not_here(written, name, names))
            elif name not in names.declared and (wrong := _wrong_name(written, name, path, names)):
                message, hint = wrong
                if placeholder.default is None and "|default:" not in (placeholder.operator or ""):
                    yield _Remark(offset, message, hint)
                else:
                    yield _Remark(offset, f"{message}; its default is always taken", hint, lenient=True)


def _paths(placeholder: Placeholder) -> Iterator[tuple[int, str]]:
    """The paths that a placeholder reads, each with the character of the text to point at."""
    form = placeholder.form
    if form is None:
        yield placeholder.start, placeholder.path
    elif form.kind == "json":
        yield placeholder.start, form.source
    elif form.kind == "call" and fault(placeholder) is None:
        from prodigy.workflow.expression import compile_expression  # few texts have a call

        for place in compile_expression(form.argument).places:
            if place.use == "value":
                yield placeholder.start + len("${") + place.column - 1, place.path


def _not_here(written: str, name: str, names: Names) -> tuple[str, str | None]:
    """(message, hint) for a name that has no value in this place."""
    if name in names.declared:
        message = f"`{written}` has no value here; the step that sets it runs later or in another list"
    elif name in catalogue.DOTTED:
        return f"`{written}` has a value only {catalogue.where(name)}", _NOT_OURS
    else:
        message = f"`{written}` has no value here"
    return message, f"here there are {', '.join(catalogue.notable(names.available))}"


def _wrong_name(written: str, head: str, path: str, names: Names) -> tuple[str, str | None] | None:
    """(message, hint) for what is wrong with the name behind a head of ours that has a value here."""
    rest = path.removeprefix(head)
    part = _PART.match(rest)
    name = (part[1] or part[2]) if part else ""
    known = catalogue.below(head)
    if head == "setup" and name not in names.declared:
        return f"no step of `setup` captures `{name}`", "give it a `capture`, or look for a misspelt name"
    if known is None:
        return None
    if not known:
        return (f"`{written}`: {head} is one value without parts", None) if rest else None
    dotted = frozenset(one.removeprefix(f"{head}.") for one in names.available if one.startswith(f"{head}."))
    here = (known if head in names.available else frozenset()) | dotted
    if name in known - here:
        return f"`{written}` has no value here", f"here there are {', '.join(catalogue.notable(names.available))}"
    if not part or name not in here:
        nearest = get_close_matches(name, sorted(here), 1)
        meant = f"; did you mean `${{{head}.{nearest[0]}}}`?" if nearest else ""
        choice = "there are " + ", ".join(f"`${{{head}.{one}}}`" for one in sorted(here))
        return f"`{written}` is no variable{meant}", choice
    if part.end() != len(rest) and name in known and not catalogue.has_parts(f"{head}.{name}"):
        return f"`{written}`: {head}.{name} is one value without parts", None
    return None
