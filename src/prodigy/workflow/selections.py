"""`filter`, `sort_by`, `distinct`, `offset`, `max_items`, `priority` and `variables` of a `map`, from YAML nodes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from prodigy.workflow.captures import NAME
from prodigy.workflow.catalogue import below
from prodigy.workflow.keys import KeyTable
from prodigy.workflow.selection import Selection
from prodigy.workflow.values import Findings, read_choice, read_keys, read_text, shown
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Scalar, Text

if TYPE_CHECKING:
    from collections.abc import Callable

SELECTION = ("filter", "sort_by", "distinct", "offset", "max_items")

# What `map` names behind a fan-out by itself.
MAP_NAMES = below("map") or frozenset()

# The mapping form of one of the `variables`.
AGGREGATE = KeyTable(
    runs=frozenset({"aggregate", "path", "filter", "separator", "order", "key"}),
    later=frozenset(),
    synonyms={"type": "aggregate", "field": "path", "of": "path"},
)
_KINDS = (
    "count", "sum", "avg", "average", "min", "max", "collect", "median", "stddev", "variance", "unique", "concat",
    "merge", "flatten", "sort", "group_by",
)  # fmt: skip
# Which of the keys belongs to which kind.
_OPTIONS = {"separator": "concat", "order": "sort", "key": "group_by"}


def read_selection(entries: dict[str, Entry], text: Text, findings: Findings) -> Selection | None:
    """The selection that the keys of a `map` ask for; None when there are none of them."""
    from prodigy.workflow.expression import compile_expression, compile_sort  # few workflows need them

    if not any(name in entries for name in SELECTION):
        return None
    found: dict[str, object] = {}
    readers: dict[str, Callable[[str], object]] = {
        "filter": compile_expression,
        "sort_by": compile_sort,
        "distinct": _check_path,
    }
    for name, compiled in readers.items():
        if name in entries:
            found[name] = _expression(entries[name].value, name, compiled, text, findings)
    for name in ("offset", "max_items"):
        if name in entries:
            found[name] = _count(entries[name].value, name, findings)
    return Selection.model_validate(found)


def read_priority(entry: Entry, text: Text, findings: Findings) -> str | None:
    """`priority`: an expression over the item, of which the number counts."""
    from prodigy.workflow.expression import compile_expression

    return _expression(entry.value, "priority", compile_expression, text, findings)


def read_variables(entry: Entry, text: Text, findings: Findings) -> tuple[tuple[str, str], ...]:
    """`variables: {NAME: "expression"}` or `{NAME: {aggregate: sum, path: output.score}}`, as (name, expression)."""
    if not isinstance(entry.value, Mapping):
        what = f"`variables` must be a mapping of names to expressions, got {shown(entry.value)}"
        findings.problem(entry.value.at, what, 'write e.g. `mean: "avg(map.results[*].output.score)"`')
        return ()
    found = []
    for name, (key, value) in entry.value.entries.items():
        if _is_name(key, findings) and (expression := _variable(value, name, text, findings)) is not None:
            found.append((name, expression))
            if isinstance(value, Scalar):
                _warn_of_unknown(value, text, findings)
    return tuple(found)


def _warn_of_unknown(node: Scalar, text: Text, findings: Findings) -> None:
    """An expression sees what its fan-out names by itself, with `map.` before it or without."""
    from prodigy.workflow.expression import compile_expression

    for place in compile_expression(node.value).places:
        name = re.split(r"[.\[]", place.path.removeprefix("map."), maxsplit=1)[0]
        if name not in MAP_NAMES:
            hint = f"there are {', '.join(f'map.{one}' for one in sorted(MAP_NAMES))}"
            at = text.inside(node, 1, place.column)
            findings.warn(at, f"`variables`: there is no {place.path}, so it counts as null", hint)


def _is_name(key: Scalar, findings: Findings) -> bool:
    if not NAME.fullmatch(key.value):
        what = f"the name of a variable is made of letters, digits, `_` and `-`, got {shown(key)}"
        findings.problem(key.at, what)
        return False
    if key.value in MAP_NAMES:
        findings.problem(key.at, f"`map.{key.value}` has a meaning of its own", "choose another name")
        return False
    return True


def _variable(node: Node, name: str, text: Text, findings: Findings) -> str | None:
    from prodigy.workflow.expression import compile_expression

    if not isinstance(node, Mapping):
        return _expression(node, name, compile_expression, text, findings)
    entries = read_keys(node, AGGREGATE, f"under `variables.{name}`", findings)
    if "aggregate" not in entries:
        findings.problem(node.at, f"`{name}` has no `aggregate`", f"choose one of {', '.join(_KINDS)}")
        return None
    kind = read_choice(entries["aggregate"].value, "aggregate", _KINDS, findings)
    before = len(findings.problems)
    path, condition, option = _aggregate_parts(entries, kind, text, findings)
    if kind is None or len(findings.problems) > before:
        return None
    if path is None and kind not in ("count", "collect", "group_by"):
        findings.problem(node.at, f"`{name}` has no `path`", "it says of what, e.g. `path: output.score`")
        return None
    if kind == "group_by" and option is None:
        findings.problem(node.at, f"`{name}` has no `key`", "it says by what to group, e.g. `key: item.kind`")
        return None
    return aggregate_text(kind, path, condition, option)


def _aggregate_parts(
    entries: dict[str, Entry], kind: str | None, text: Text, findings: Findings
) -> tuple[str | None, str | None, str | None]:
    """(path, condition, option) of a mapping form, as texts that were found to be in order."""
    from prodigy.workflow.expression import compile_expression

    path = condition = option = None
    if "path" in entries:
        path = _expression(entries["path"].value, "path", _check_path, text, findings)
    if "filter" in entries:
        condition = _expression(entries["filter"].value, "filter", compile_expression, text, findings)
    for key, owner in _OPTIONS.items():
        if key not in entries:
            continue
        if kind is not None and kind != owner:
            findings.problem(entries[key].key.at, f"`{key}` goes with `aggregate: {owner}` only")
        value = entries[key].value
        if key == "order":
            option = read_choice(value, key, ("asc", "desc"), findings)
        elif key == "key":
            option = _expression(value, key, _check_path, text, findings)
        elif isinstance(value, Scalar):
            option = value.value  # also one of spaces alone
        else:
            findings.problem(value.at, f"`{key}` must be text, got {shown(value)}")
    return path, condition, option


def aggregate_text(kind: str, path: str | None, condition: str | None, option: str | None) -> str:
    """The expression for an aggregate over the results of a `map`."""
    from prodigy.workflow import expression_ast as ast

    results: ast.Node = ast.Path("map.results")
    if condition is not None:
        results = ast.Call("where", (results, ast.Literal(condition)))
    if path is not None:
        results = ast.Call("each", (results, ast.Literal(path)))
    options = () if option is None else (ast.Literal(option),)
    return ast.show(ast.Call(ast.SYNONYMS.get(kind, kind), (results, *options)))


def _expression(node: Node, key: str, compiled: Callable[[str], object], text: Text, findings: Findings) -> str | None:
    """The text of an expression that can be read, or None; mistakes are noted where they stand."""
    from prodigy.workflow.expression import ExpressionError

    source = read_text(node, key, findings)
    if source is None or not isinstance(node, Scalar):
        return None
    try:
        compiled(source)
    except ExpressionError as error:
        # Columns count over the whole text, line breaks too.
        findings.problem(text.inside(node, 1, error.column), f"`{key}` can't be read: {error.message}", error.hint)
        return None
    return source


def _check_path(source: str) -> None:
    from prodigy.workflow.expression import ExpressionError, compile_expression
    from prodigy.workflow.expression_ast import Path

    if not isinstance(compile_expression(source).node, Path):
        raise ExpressionError("this is not a path", 1, "write the name of a field, such as `file.name`")


def _count(node: Node, key: str, findings: Findings) -> int | None:
    """A whole number of at least 0, or None."""
    if isinstance(node, Scalar) and node.kind == "int" and node.value.isdecimal() and len(node.value) <= 12:
        return int(node.value)
    quoted = isinstance(node, Scalar) and node.kind == "str" and node.value.isdecimal()
    hint = "write the number without quotes" if quoted else None
    findings.problem(node.at, f"`{key}` must be a whole number of at least 0, got {shown(node)}", hint)
    return None
