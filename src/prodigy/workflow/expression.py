"""The one language of `filter`, `when`, `dlq --filter` and `sort_by`: compile a text once, ask it many times.

Pure: what a path means is the business of the `find` that the caller passes, usually `item_finder` or
`scope_finder`. Compiling tells every mistake with its column; evaluating never raises and always ends.

Canonical texts (`str`) compile to an equal expression, in which `and` reads `&&` and `starts_with(a, 'b')` reads
`a starts_with 'b'`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, TypeVar

from prodigy.workflow import expression_ast as ast
from prodigy.workflow.aggregate import RULES, How
from prodigy.workflow.expression_ast import ExpressionError, Node, show
from prodigy.workflow.expression_compile import Test, Value, test_of, value_of
from prodigy.workflow.expression_parse import SortKey, parse_expression, parse_sort
from prodigy.workflow.expression_paths import MISSING, Find, item_finder, scope_finder
from prodigy.workflow.expression_values import elements, sort_key, sort_marks

__all__ = [
    "MISSING",
    "Expression",
    "ExpressionError",
    "Find",
    "Place",
    "Sort",
    "compile_expression",
    "compile_sort",
    "item_finder",
    "scope_finder",
    "with_texts",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """A path that an expression reads, and where it stands.

    path: without `${}`, e.g. `fix.successful`; `x` for `${x.exists}`. column: from 1, over the whole text.
    use: `presence` when only its being there is asked; `word` when it is one bare word on the right of a
    comparison, as in `status == open`. It is read as a path there too, so if it names nothing anywhere, the
    author probably meant the text 'open'. Otherwise `value`.
    """

    path: str
    column: int
    use: Literal["value", "presence", "word"] = "value"


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression. Equal to another when both have the same nodes; `text` is as it was written."""

    text: str = field(compare=False)
    node: Node
    places: tuple[Place, ...] = field(compare=False, repr=False)
    _value: Value = field(compare=False, repr=False)
    _test: Test = field(compare=False, repr=False)

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path it reads, each once, in the order of the text; see `places` for positions."""
        return tuple(dict.fromkeys(place.path for place in self.places))

    def value(self, find: Find) -> object:
        """What it computes, a JSON value; None where a path is missing. Never raises."""
        return self._value(find)

    def holds(self, find: Find) -> bool:
        """Whether it holds: false for null, missing and false, true for everything else. Never raises."""
        return self._test(find)

    def aggregate(self, find: Find) -> tuple[How, list[object]] | None:
        """Of what the expression is an aggregate, if it is one as a whole: how it is computed, and the values."""
        match self.node:
            case ast.Call(name, (argument, *options)) if name in RULES:
                option = options[0].value if options and isinstance(options[0], ast.Literal) else None
                how = How(name, None if option is None else str(option))
                return how, list(elements(value_of(argument)(find)))
        return None

    def __str__(self) -> str:
        return show(self.node)


@dataclass(frozen=True, slots=True)
class Sort:
    """A compiled `sort_by`: a stable, total order over items of any kind, nulls where each key says."""

    text: str = field(compare=False)
    keys: tuple[SortKey, ...]
    _values: tuple[Value, ...] = field(compare=False, repr=False)

    @property
    def places(self) -> tuple[Place, ...]:
        """The paths it reads, and where they stand."""
        return tuple(place for key in self.keys for place in _places(key.path))

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path it reads, each once, in the order of the text."""
        return tuple(dict.fromkeys(place.path for place in self.places))

    def key(self, item: object) -> tuple[Any, ...]:
        """A key for `sorted` and `min`: comparable with the key of any other item."""
        find = item_finder(item)
        return tuple(
            sort_key(value(find), descending=key.descending, nulls_first=key.nulls_first)
            for key, value in zip(self.keys, self._values, strict=True)
        )

    def sorted(self, items: Iterable[T]) -> list[T]:
        """The items in order; those with equal keys stay as they were."""
        found = list(items)
        order = list(range(len(found)))
        # Sorting is stable, so the keys can take their turns, the last first.
        for key, value in zip(reversed(self.keys), reversed(self._values), strict=True):
            marks = sort_marks(
                [value(item_finder(item)) for item in found], nulls_first=key.nulls_first != key.descending
            )
            order.sort(key=marks.__getitem__, reverse=key.descending)
        return [found[index] for index in order]

    def __str__(self) -> str:
        return ", ".join(map(_show_key, self.keys))


@lru_cache(maxsize=256)
def compile_expression(text: str) -> Expression:
    """The compiled form of a condition or value. Raises ExpressionError."""
    node = parse_expression(text)
    return Expression(text, node, tuple(_places(node)), value_of(node), test_of(node))


def with_texts(expression: Expression, words: Collection[str]) -> Expression:
    """The expression with the texts 'open' in the place of words such as `open` that are compared with (see
    `Place`). Its text is the canonical one."""
    return compile_expression(show(_with_texts(expression.node, words)))


def _with_texts(node: Node, words: Collection[str], *, right: bool = False) -> Node:
    match node:
        case ast.Path(text, False, column) if right and text in words:
            return ast.Literal(text, column)
        case ast.Listing(parts):
            return ast.Listing(tuple(_with_texts(part, words, right=right) for part in parts))
        case ast.Compare(operator, left, other):
            compared = operator not in ("in", "not in") or isinstance(other, ast.Listing)
            return ast.Compare(operator, _with_texts(left, words), _with_texts(other, words, right=compared))
        case ast.Call(name, parts):
            return ast.Call(name, tuple(_with_texts(part, words) for part in parts))
        case ast.And(parts):
            return ast.And(tuple(_with_texts(part, words) for part in parts))
        case ast.Or(parts):
            return ast.Or(tuple(_with_texts(part, words) for part in parts))
        case ast.Not(part):
            return ast.Not(_with_texts(part, words))
    return node


@lru_cache(maxsize=64)
def compile_sort(text: str) -> Sort:
    """The compiled form of `path [ASC|DESC] [NULLS FIRST|LAST], -path, ...`. Raises ExpressionError."""
    keys = parse_sort(text)
    return Sort(text, keys, tuple(value_of(key.path) for key in keys))


def _show_key(key: SortKey) -> str:
    direction = " DESC" if key.descending else ""
    return f"{show(key.path)}{direction}{' NULLS FIRST' if key.nulls_first else ''}"


def _places(node: Node, *, right: bool = False) -> Iterator[Place]:
    """The paths below a node, in order; `right`: it is what something is compared with."""
    match node:
        case ast.Path(text, braces, column):
            head = node.presence_of
            word = right and not braces and text.replace("-", "_").isidentifier()
            yield Place(head or text, column, "presence" if head else "word" if word else "value")
        case ast.Call("exists", (ast.Path() as path,)):
            yield Place(path.presence_of or path.text, path.column, "presence")
        case ast.Compare(operator, left, other):
            yield from _places(left)
            # What is looked for `in` is looked for in a list: a bare word there is meant as a path.
            yield from _places(other, right=operator not in ("in", "not in") or isinstance(other, ast.Listing))
        case ast.Listing(parts):
            for part in parts:
                yield from _places(part, right=right)
        case ast.Call(_, parts) | ast.And(parts) | ast.Or(parts):
            for part in parts:
                yield from _places(part)
        case ast.Not(part):
            yield from _places(part)
