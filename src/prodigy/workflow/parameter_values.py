"""JSON values of parameters, out of YAML nodes and out of the characters of a command line."""

from __future__ import annotations

import json
import math
from typing import Literal, NoReturn

from prodigy.workflow.load_options import Written
from prodigy.workflow.yaml_nodes import Mapping, Node, Scalar, Sequence, scalar_kind, visible

Type = Literal["string", "number", "integer", "boolean", "array", "object", "any"]
TYPES: tuple[Type, ...] = ("string", "number", "integer", "boolean", "array", "object", "any")
_MAX_DEPTH = 32
_LONGEST_NUMBER = 300


class NoValue(Exception):
    """Something is no value for a parameter; the text says why."""


def plain_value(node: Node) -> object:
    """The JSON value of a node; a plain number or boolean at the top is `Written`. Raises NoValue."""
    if isinstance(node, Scalar) and node.kind in ("int", "float", "bool"):
        _of_scalar(node)
        return Written(node.value)
    return _json(node)


def _json(node: Node) -> object:
    if isinstance(node, Sequence):
        return [_json(item) for item in node.items]
    if isinstance(node, Mapping):
        return {name: _json(entry.value) for name, entry in node.entries.items()}
    return _of_scalar(node)


def _of_scalar(node: Scalar) -> object:
    match node.kind:
        case "null":
            return None
        case "bool":
            return node.value.lower() == "true"
        case "int" | "float":
            return _number(node.value)
    return node.value


def _number(text: str) -> int | float:
    """A number as YAML and JSON write it. Raises NoValue."""
    if len(text) > _LONGEST_NUMBER:
        raise NoValue("this number has too many digits")
    if scalar_kind(text) == "int":
        return int(text, 0) if text.startswith(("0x", "0o")) else int(text)
    number = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    if not math.isfinite(number):
        raise NoValue("a value must be a number that JSON has")
    return number


def typed(value: object, kind: Type) -> object:
    """The value as a parameter of that type has it, a JSON value. Raises NoValue, with what it should be."""
    found = _written(str(value), kind) if isinstance(value, Written) else value
    if found is None:
        return None
    if not _fits(found, kind):
        raise NoValue(f"it must be {_WORDS[kind]}, got {short(found)}")
    _check(found, 0)
    return found


_WORDS: dict[Type, str] = {
    "string": "a text", "number": "a number", "integer": "a whole number", "boolean": "true or false",
    "array": "a list", "object": "a mapping", "any": "a value",
}  # fmt: skip


def _fits(value: object, kind: Type) -> bool:
    match kind:
        case "string":
            return isinstance(value, str)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
        case "array":
            return isinstance(value, list)
        case "object":
            return isinstance(value, dict)
    return True


def _written(text: str, kind: Type) -> object:
    """What the characters mean where a value of this type is wanted; for `any`, what they look like."""
    if kind == "string":
        return text
    if kind == "any":
        try:
            return _read(text, scalar_kind(text))
        except NoValue:
            return text
    if kind in ("array", "object"):
        return _read(text, "json")
    wanted = scalar_kind(text)
    return _read(text, wanted) if wanted != "null" else text


def _read(text: str, kind: str) -> object:
    match kind:
        case "bool":
            return text.lower() == "true"
        case "int" | "float":
            return _number(text)
        case "json":
            return _from_json(text)
    return _from_json(text) if text[:1] in '[{"' else text


def _from_json(text: str) -> object:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise NoValue(f"it must be JSON, got {visible(text)!r}") from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _check(value: object, depth: int) -> None:
    """Raises NoValue for what no text, variable or file can hold."""
    if depth > _MAX_DEPTH:
        raise NoValue(f"it is nested more than {_MAX_DEPTH} levels deep")
    match value:
        case str():
            if "\0" in value:
                raise NoValue("it has a NUL character in it, which no program accepts")
            if any("\ud800" <= char <= "\udfff" for char in value):
                raise NoValue("it has a character in it that is no Unicode")
        case float():
            if not math.isfinite(value):
                raise NoValue("a value must be a number that JSON has")
        case list():
            for part in value:
                _check(part, depth + 1)
        case dict():
            for name, part in value.items():
                _check(name, depth + 1)
                _check(part, depth + 1)


def short(value: object) -> str:
    """A value for a message."""
    return visible(json.dumps(value, ensure_ascii=False))
