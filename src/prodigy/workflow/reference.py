"""The page of the reference about workflow files, made from the data in `key_texts`."""

from __future__ import annotations

from collections.abc import Iterator

from prodigy.workflow import keys
from prodigy.workflow.key_texts import BY_NAME, PLACES
from prodigy.workflow.key_texts.shapes import (
    AnyText,
    Anything,
    Choice,
    Each,
    Either,
    Flag,
    Key,
    Many,
    Nothing,
    Number,
    Part,
    Place,
    Shape,
    Text,
    Time,
    Whole,
    shapes_in,
)

_HEAD = """\
<!-- Written by `make docs` from src/prodigy/workflow/key_texts; change the texts there. -->

# Workflow keys

Every key that this version runs. How they play together: [Workflows](../workflows.md). A *time* is a number of seconds
or a text such as `30s`, `5m`, `1h30m`. *Steps* is a list of steps, or one step; a *command* is a text for the shell, or
for Claude Code when it begins with `/`. Where a number, a time, a flag or a choice stands, `${NAME}` may stand for it:
a parameter, a variable of `env` or of your environment. What `${...}` may name elsewhere: [Variables](variables.md).
`prodigy schema` prints the same for editors, as a JSON Schema.
"""
_OTHER_NAMES = """\
## Other names

Read as if the other name stood there. `commands` around a nested list of steps is accepted too, with a warning;
`prodigy migrate-yaml` rewrites it, and the deprecated keys with it.
"""
_REFUSED = """\
## Refused in this version

These keys belong to the language, and are refused by name until they run. Nothing of them is ignored.
"""


def workflow_page() -> str:
    """The whole page, as Markdown."""
    sections = [_HEAD, *(_section(place) for place in reachable() if not place.hidden)]
    sections += [f"{_OTHER_NAMES}\n{other_names()}\n"]
    if refused := refused_keys():
        sections.append(f"{_REFUSED}\n{refused}\n")
    return "\n".join(sections)


def reachable() -> list[Place]:
    """The places that something in a workflow leads to, in the order of the page."""
    found: set[str] = set()
    waiting = ["workflow", "step", "fan-out step", "worktree step", "use step", *_around_steps()]
    while waiting:
        name = waiting.pop()
        if name in found or name not in BY_NAME:
            continue
        found.add(name)
        place = BY_NAME[name]
        for key in place.runs:
            shapes = shapes_in(place.keys[key].shape)
            waiting += [shape.place for shape in shapes if isinstance(shape, Part)]
    return [place for place in PLACES if place.name in found]


def _around_steps() -> Iterator[str]:
    """Places that only lists of steps lead to."""
    for place in PLACES:
        if place.name.endswith(" nested") or place.name in ("answer", "answering step"):
            yield place.name


def _section(place: Place) -> str:
    lines = [f"## {place.heading}", ""]
    lines += [place.intro, ""] if place.intro else []
    lines += ["| key | value | default | example | what it does |", "| --- | --- | --- | --- | --- |"]
    lines += [_row(name, key) for name, key in place.keys.items() if name in place.runs]
    return "\n".join(lines) + "\n"


def _row(name: str, key: Key) -> str:
    what = f"Deprecated, write {key.deprecated}: {_lower(key.what)}" if key.deprecated else key.what
    cells = (f"`{name}`", words(key.shape), key.default or "none", f"`{key.example}`", what)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]


def words(shape: Shape) -> str:
    """What may stand there, for a cell of a table."""
    match shape:
        case Text(words=text) | Anything(words=text) | Part(words=text):
            return text
        case AnyText():
            return "text"
        case Nothing():
            return "nothing"
        case Whole(least=least):
            return "whole number" if least else "whole number, or 0"
        case Number(least=least, most=most):
            return f"number from {least:g}" + (f" to {most:g}" if most is not None else "")
        case Flag(only=only):
            return "true, false" if only is None else str(only).lower()
        case Time():
            return "time"
        case Choice(words=choices):
            return ", ".join(f"`{word}`" for word in choices)
        case Each(value=value, words=text):
            return text or f"mapping of names to {words(value)}"
        case Many(value=value, or_one=or_one):
            inner = words(value)
            return f"list of {inner}" + (", or one" if or_one else "")
        case Either(shapes=shapes):
            return ", or ".join(dict.fromkeys(words(inner) for inner in shapes))


# Tables that other pages have as well --------------------------------------------------------------------------


def other_names() -> str:
    """A table of the other names that keys may be written with."""
    rows = dict.fromkeys(
        f"| `{written}` | `{name}` | {place.where} |"
        for place in reachable()
        if not place.hidden
        for written, name in sorted(place.synonyms.items())
        if name in place.keys
    )
    return "\n".join(["| written | read as | where |", "| --- | --- | --- |", *rows])


def refused_keys() -> str:
    """A table of the keys that are known but do not run in this version; nothing when there are none."""
    rows = [
        f"| {place.where} | {', '.join(f'`{name}`' for name in sorted(place.later))} |"
        for place in reachable()
        if place.later and not place.hidden and not place.beside
    ]
    return "\n".join(["| where | keys |", "| --- | --- |", *rows]) if rows else ""


def given_up_keys() -> str:
    """A table of the keys of the earlier system that are not carried over."""
    rows = [f"| `{name}` | {instead} |" for name, instead in keys.GIVEN_UP.items()]
    return "\n".join(["| key | instead |", "| --- | --- |", *rows])
