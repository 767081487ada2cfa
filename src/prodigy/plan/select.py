"""Which values become items, and in which order: filter, sort_by, distinct, offset, max_items, one after another.

Without `sort_by` values pass one by one: what a filter drops is never held, and behind `max_items` nothing is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from prodigy.workflow.canonical import canonical_json
from prodigy.workflow.expression import (
    MISSING,
    Expression,
    Find,
    compile_expression,
    compile_sort,
    item_finder,
    with_texts,
)
from prodigy.workflow.selection import Selection

# Names that stand for the value itself and its place, for values that have no field of that name.
_SPECIAL = ("_index", "_key", "_value")


def select(values: Iterable[object], selection: Selection | None, warnings: list[str]) -> Iterable[object]:
    """The values that become items, in order. Raises ExpressionError for what the loader would have refused."""
    if selection is None:
        return values
    if selection.filter is not None:
        values = _filtered(values, selection.filter, warnings)
    if selection.sort_by is not None:
        values = compile_sort(selection.sort_by).sorted(values)
    if selection.distinct is not None:
        values = _distinct(values, compile_expression(selection.distinct))
    if selection.offset or selection.max_items is not None:
        first = selection.offset or 0
        values = islice(values, first, None if selection.max_items is None else first + selection.max_items)
    return values


def _filtered(values: Iterable[object], text: str, warnings: list[str]) -> Iterator[object]:
    condition = compile_expression(text)
    words = frozenset(place.path for place in condition.places if place.use == "word")
    if words:
        values = list(values)
        condition = _with_texts(condition, words, values, warnings)
    finder = _finder(condition)
    return (value for index, value in enumerate(values) if condition.holds(finder(value, index)))


def _with_texts(condition: Expression, words: frozenset[str], values: list[object], warnings: list[str]) -> Expression:
    """In `status == open` the word is a field of the item. Where no item has it, the text 'open' is meant, as the
    earlier system read it."""
    unknown = set(words)
    for value in values:
        if not unknown:
            return condition
        find = item_finder(value)
        unknown = {word for word in unknown if find(word) is MISSING}
    if not (unknown and values):
        return condition
    warnings.extend(
        f"`filter`: no item has {word}, so it is read as a text; write '{word}'" for word in sorted(unknown)
    )
    return with_texts(condition, frozenset(unknown))


def _finder(condition: Expression) -> Callable[[object, int], Find]:
    if not any(path.startswith(_SPECIAL) for path in condition.paths):
        return lambda value, _index: item_finder(value)

    def finder(value: object, index: int) -> Find:
        own = item_finder(value)
        special = item_finder({"_index": index, "_key": None, "_value": value})

        def find(path: str) -> object:
            found = own(path)
            return special(path) if found is MISSING else found

        return find

    return finder


def _distinct(values: Iterable[object], path: Expression) -> Iterator[object]:
    seen: set[str] = set()
    for value in values:
        found = path.value(item_finder(value))
        # No JSON begins with an apostrophe.
        key = f"'{found}" if type(found) is str else canonical_json(found)
        if key not in seen:
            seen.add(key)
            yield value
