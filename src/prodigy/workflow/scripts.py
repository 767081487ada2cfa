"""Checks the shell texts of a workflow when it is loaded, and says where in the file they are wrong."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import NamedTuple, Protocol

from prodigy import __version__
from prodigy.workflow import keys
from prodigy.workflow.interpolate import Placeholder, parse_placeholders, spell
from prodigy.workflow.shell_words import ShellScript, ShellTextError, compile_scripts
from prodigy.workflow.values import Findings, later
from prodigy.workflow.yaml_nodes import Scalar, Text


@dataclass(frozen=True)
class Names:
    """What may be named in a text.

    available: the names at the top that have values where it runs. declared: the ids and captures of the whole file.
    """

    available: frozenset[str]
    declared: frozenset[str] = frozenset()


_PART = re.compile(r"""\.([\w-]+)|\[["']([^"']*)["']\]""")
_LATER = re.compile(r"(?<![$\\])\$\{(?:([a-z_]+)\.[\w.-]*|env:[A-Za-z_]\w*)")
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
    """offset: the character of the text that it is about, from 0."""

    offset: int
    message: str
    hint: str | None = None


class ScriptChecks:
    """Collects the shell texts of a file, so that all of them are compiled together."""

    def __init__(self) -> None:
        self._scripts: list[tuple[Scalar, Names]] = []

    def add(self, node: Scalar, names: Names) -> None:
        self._scripts.append((node, names))

    def finish(self, text: Text, findings: Findings, known: KnownScripts) -> None:
        """Note every problem of the collected texts, and warn of those that put values into their code.

        known: texts that were in order before; those of this file are added.
        """
        # An aliased step is the same node in many places.
        scripts = list({(id(node), names): (node, names) for node, names in self._scripts}.values())
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
    for offset, message, hint in remarks(node.value, names):
        line_start = node.value.rfind("\n", 0, offset) + 1
        problems[node.value.count("\n", 0, offset) + 1, offset - line_start + 1] = message, hint
    for (line, column), (message, hint) in problems.items():
        findings.problem(text.inside(node, line, column), message, hint)
    if isinstance(result, ShellScript) and result.raw:
        paths = ", ".join(sorted({f"${{raw:{variable.path}}}" for variable in result.raw}))
        findings.strict(node.at, f"{paths} puts a value into the script as code", "without `raw:` it is one safe word")


def remarks(text: str, names: Names) -> Iterator[_Remark]:
    """Every placeholder of `text` that has no value there or is not filled in by this version."""
    for placeholder in parse_placeholders(text, names.declared | names.available):
        name = re.split(r"[.\[]", placeholder.path, maxsplit=1)[0]
        if name not in names.available:
            hint = f"here there are {', '.join(sorted(names.available))}"
            early = "; the step that sets it runs later or in another list" if name in names.declared else ""
            yield _Remark(placeholder.start, f"`{spell(placeholder)}` has no value here{early}", hint)
        elif name not in names.declared:
            yield from _wrong_name(placeholder, name)
    for match in _LATER.finditer(text):
        if match[1] == "error" and "error" not in names.available | names.declared:
            message = f"`{match[0]}}}` has a value only in `on_failure` and `on_exit_code`"
            yield _Remark(match.start(), message, _NOT_OURS)
        if match[1] is None or match[1] in keys.NAMESPACES_LATER - names.declared - names.available:
            yield _Remark(match.start(), later(match[0] + "}"), _NOT_OURS)


def _wrong_name(placeholder: Placeholder, namespace: str) -> Iterator[_Remark]:
    """What is wrong with the names behind a namespace of ours that has values here."""
    written, rest = spell(placeholder), placeholder.path.removeprefix(namespace)
    if namespace in keys.PLAIN_VARIABLES and rest:
        yield _Remark(placeholder.start, f"`{written}`: {namespace} is one value without parts")
    names = keys.VARIABLES.get(namespace)
    if names is None:
        return
    choice = "there are " + ", ".join(f"`${{{namespace}.{name}}}`" for name in sorted(names.runs))
    part = _PART.match(rest)
    name = (part[1] or part[2]) if part else ""
    if name in names.later:
        yield _Remark(placeholder.start, later(written))
    elif not part or name not in names.runs:
        nearest = get_close_matches(name, sorted(names.runs | names.later), 1)
        meant = f"; did you mean `${{{namespace}.{nearest[0]}}}`?" if nearest else ""
        yield _Remark(placeholder.start, f"`{written}` is no variable{meant}", choice)
    elif part.end() != len(rest):
        yield _Remark(placeholder.start, f"`{written}`: {namespace}.{name} is one value without parts")
