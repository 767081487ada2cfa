"""The page about the Python interface, written from signatures and docstrings."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Any, get_type_hints

import prodigy
from prodigy.api.driving import AgainOptions, RunOptions

_HEAD = """\
<!-- Written by `make docs` from the docstrings of the code; change those instead. -->

# Python

How it is used: [From Python](../python-api.md). Everything here is a name of the module `prodigy`.
"""
_GROUPS = {
    "Workflows": ("Workflow",),
    "Running": (
        "run", "run_async", "resume", "resume_async", "retry_dead_letters", "retry_dead_letters_async", "start",
    ),
    "Looking": ("runs", "find", "status", "Run"),
    "What they tell": (
        "Result", "ItemCounts", "Item", "DeadLetter", "Failure", "StepLog", "Event", "Problem",
    ),
    "Errors": (
        "ProdigyError", "UsageError", "WorkflowError", "EnvironmentProblem", "RunLocked", "CorruptState", "RunFailed",
    ),
}  # fmt: skip
_OPTIONS: dict[str, Any] = {"RunOptions": RunOptions, "AgainOptions": AgainOptions}


def python_page() -> str:
    """The page as Markdown. Raises AssertionError when a public name is in no group."""
    grouped = {name for names in _GROUPS.values() for name in names}
    assert grouped == set(prodigy.__all__) - {"__version__"}, grouped ^ set(prodigy.__all__)
    lines = [_HEAD]
    for heading, names in _GROUPS.items():
        lines += [f"## {heading}", ""]
        for name in names:
            lines += _entry(name, getattr(prodigy, name))
        if heading == "Running":
            for name, options in _OPTIONS.items():
                lines += _options(name, options)
    return "\n".join(lines).rstrip() + "\n"


def _entry(name: str, found: Any) -> Iterator[str]:
    yield f"### {name}"
    yield ""
    if not inspect.isclass(found):
        yield from _function(name, found)
        return
    fields = _fields(found)
    yield from _text(found, ["what", "where", "hint"] if name == "ProdigyError" else [field.name for field in fields])
    if fields:
        yield from _code([f"{field.name}: {_type(field.type)}" for field in fields])
    for method_name, method in vars(found).items():
        if method_name.startswith("_") or method_name in ("of", "live", "stored", "told"):
            continue
        if isinstance(method, property):
            yield f"`{name}.{method_name}`: {_sentence(method.fget)}"
            yield ""
        elif isinstance(method, classmethod) or inspect.isfunction(method):
            yield from _function(f"{name}.{method_name}", getattr(found, method_name))


def _fields(found: Any) -> list[dataclasses.Field[Any]]:
    """Of a class whose values have some, those that are for everybody."""
    own = dataclasses.fields(found) if dataclasses.is_dataclass(found) else ()
    return [field for field in own if field.repr or field.name == "record"]


def _function(name: str, function: Any) -> Iterator[str]:
    signature = inspect.signature(function)
    parameters = [each for each in signature.parameters.values() if each.name not in ("self", "cls")]
    words = [_parameter(each) for each in parameters]
    first = next((n for n, each in enumerate(parameters) if each.kind is each.KEYWORD_ONLY), None)
    if first is not None:
        words.insert(first, "*")
    star = "async " if inspect.iscoroutinefunction(function) else ""
    whole = f"{star}{name}({', '.join(words)}) -> {_type(signature.return_annotation)}"
    if len(whole) > 100:
        whole = (
            f"{star}{name}(\n"
            + "".join(f"    {word},\n" for word in words)
            + f") -> {_type(signature.return_annotation)}"
        )
    yield from _code([whole])
    yield from _text(function, [each.name for each in parameters])


def _parameter(parameter: inspect.Parameter) -> str:
    star = (
        "**" if parameter.kind is parameter.VAR_KEYWORD else "*" if parameter.kind is parameter.VAR_POSITIONAL else ""
    )
    default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
    return f"{star}{parameter.name}: {_type(parameter.annotation)}{default}"


def _options(name: str, options: Any) -> Iterator[str]:
    yield f"### {name}"
    yield ""
    hints = get_type_hints(options)
    yield from _text(options, hints)
    yield from _code([f"{key}: {_type(options.__annotations__[key])}" for key in hints])


def _type(annotation: object) -> str:
    text = getattr(annotation, "__forward_arg__", None) or str(annotation)
    return "None" if annotation is inspect.Signature.empty else str(text)


def _code(lines: list[str]) -> list[str]:
    return ["```text", *lines, "```", ""]


def _sentence(found: Any) -> str:
    return " ".join((inspect.getdoc(found) or "").split())


def _text(found: Any, names: Iterable[str] = ()) -> Iterator[str]:
    """A docstring as paragraphs; what it says of `names`, as in `name, other: what they mean.`, as a list."""
    name = "|".join(map(re.escape, names)) or "(?!)"
    # At the beginning or behind the end of a sentence.
    said = re.compile(rf"(?:^|(?<=[.;,] ))((?:{name})(?:, (?:{name}))*(?: \([^)]*\))?): ")
    for paragraph in re.split(r"\n\s*\n", inspect.getdoc(found) or ""):
        parts = said.split(" ".join(paragraph.split()))
        if parts[0].strip():
            yield parts[0].strip()
            yield ""
        for of, meaning in zip(parts[1::2], parts[2::2], strict=True):
            yield f"- {re.sub(name, lambda word: f'`{word[0]}`', of)}: {meaning.strip().rstrip(';,')}"
        if len(parts) > 1:
            yield ""
