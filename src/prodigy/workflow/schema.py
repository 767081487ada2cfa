"""The JSON Schema of the language, draft 2020-12, for editors.

It says everything that a schema can say: no expressions, placeholders or shell syntax, and nothing about ids that
stand twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from prodigy.workflow.key_texts import BY_NAME
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
)
from prodigy.workflow.substitute import FIXED
from prodigy.workflow.values import LONGEST_DURATION_S

Schema = dict[str, object]

# A name, not a place: editors are given a file.
SCHEMA_ID = "urn:prodigy:schema:workflow"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TIME = r"(?:\s*\d+(?:\.\d+)?\s*(?:ms|s|m|h|d))+\s*|\d+(?:\.\d+)?"
_TEXT: Schema = {"type": ["string", "number", "boolean"], "pattern": r"\S"}
_PLACEHOLDER: Schema = {"type": "string", "pattern": r"\$"}
# A text as a step is a command of Claude Code; in a handler or check it is one of the shell, unless it begins with `/`.
_PROMPT: Schema = {"type": "string", "pattern": r"\S", "description": "A command of Claude Code."}
_COMMAND: Schema = {"type": ["string", "number"], "pattern": r"\S", "description": "A shell command, or `/command`."}


def workflow_schema() -> Schema:
    """The schema of a workflow file. The same in every call, keys in a fixed order."""
    root: Schema = {
        "$schema": DIALECT,
        "$id": SCHEMA_ID,
        "title": "Prodigy workflow",
        "description": "A list of steps, or a mapping with `map` or `steps`.",
        "anyOf": [_list_of(_EVERYWHERE, 1), _ref("workflow")],
    }
    return {**root, "$defs": dict(sorted(_definitions(root).items()))}


def _definitions(root: object) -> dict[str, Schema]:
    """What `root` refers to, and what that refers to."""
    found: dict[str, Schema] = {}
    waiting = [*_references(root)]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = _definition(name)
            waiting += _references(found[name])
    return found


def _references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"].removeprefix("#/$defs/").replace("~1", "/")
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name.replace(' ', '_')}"}


# Lists of steps ----------------------------------------------------------------------------------------------

_PLAIN = ("step", "use step", "workflow step")
_WORKTREES = (*_PLAIN, "worktree step")
_EVERYWHERE = (*_WORKTREES, "fan-out step")


def _list_of(kinds: Iterable[str], least: int) -> Schema:
    """A list of steps; `on_failure` alone belongs to the one before it."""
    steps = [_PROMPT, *map(_ref, kinds)]
    return {
        "type": "array",
        "prefixItems": [{"anyOf": steps}],
        "items": {"anyOf": [*steps, _ref("handler")]},
        "minItems": least,
    }


def _steps(kinds: Iterable[str], least: int, nested: str | None) -> Schema:
    alone = [kind for kind in kinds if kind != "worktree step"]
    around = [_ref(nested)] if nested else []
    return {"anyOf": [_list_of(kinds, least), _PROMPT, *map(_ref, alone), *around]}


def _command_list() -> Schema:
    return {"type": "array", "minItems": 1, "items": {"anyOf": [_TEXT, *map(_ref, _PLAIN)]}}


def _answer_list() -> Schema:
    return {
        "type": "array",
        "minItems": 1,
        "items": {"anyOf": [_TEXT, _ref("answer"), _ref("answering step")]},
    }


def _handler() -> Schema:
    """`on_failure` as an entry of a list."""
    return {
        "type": "object",
        "description": "Belongs to the step before it.",
        "properties": {"on_failure": _value(BY_NAME["step"].keys["on_failure"])},
        "required": ["on_failure"],
        "additionalProperties": False,
    }


def _lists() -> dict[str, Schema]:
    return {
        "all steps": _steps(_EVERYWHERE, 1, "steps nested"),
        "setup": _steps(_EVERYWHERE, 0, "setup nested"),
        "reduce": _steps(_WORKTREES, 0, "reduce nested"),
        "merge": _steps(_PLAIN, 0, "merge nested"),
        "steps": _steps(_PLAIN, 1, "steps nested"),
        "steps of a map": _steps(_PLAIN, 1, "steps nested"),
        "all inner": _steps(_EVERYWHERE, 0, None),
        "worktree inner": _steps(_WORKTREES, 0, None),
        "inner": _steps(_PLAIN, 0, None),
        "command list": _command_list(),
        "command or list": {"anyOf": [_COMMAND, _command_list()]},
        "commands": {"anyOf": [_COMMAND, _command_list(), *map(_ref, _PLAIN), _ref("steps nested")]},
        "answers": {"anyOf": [_TEXT, _answer_list(), _ref("answer"), _ref("answering step")]},
        "answer list": _answer_list(),
        "handler": _handler(),
    }


# Mappings ----------------------------------------------------------------------------------------------------


def _definition(written: str) -> Schema:
    lists = _lists()
    names = {name.replace(" ", "_"): name for name in (*lists, *BY_NAME)}
    name = names[written]
    if name in lists:
        return lists[name]
    place = BY_NAME[name]
    return _beside_a_step(place) if place.beside else _mapping(place)


def _mapping(place: Place) -> Schema:
    wanted, rules = _required(place, () if place.name == "map" else place.required), dict(place.rules)
    both = [*_items(wanted.pop("allOf", [])), *_items(rules.pop("allOf", [])), *_whole_map(place)]
    return {
        "type": "object",
        "properties": _properties(place),
        "additionalProperties": False,
        **wanted,
        **rules,
        **({"allOf": both} if both else {}),
    }


def _whole_map(place: Place) -> list[Schema]:
    """What a `map` below this place needs: a workflow that is made out of another one may have a part of it."""
    whole: Schema = {"properties": {"map": _required(BY_NAME["map"], BY_NAME["map"].required)}}
    if place.name == "mapreduce":
        return [whole]
    made: Schema = {"anyOf": [{"required": ["extends"]}, {"required": ["template"]}]}
    return [{"if": {"not": made}, "then": whole}] if place.name == "workflow" else []


def _items(value: object) -> list[object]:
    assert isinstance(value, list)
    return value


def _required(place: Place, names: Iterable[str]) -> Schema:
    """Each of `names`, under one of its names, and no key under two of them."""
    wanted: list[Schema] = []
    for name in names:
        others = [other for other, meant in place.synonyms.items() if meant == name]
        any_of: list[Schema] = [{"required": [each]} for each in (name, *others)]
        wanted.append({"anyOf": any_of} if others else any_of[0])
    twice = [
        {"not": {"required": sorted((name, other))}}
        for other, name in sorted(place.synonyms.items())
        if name in place.runs
    ]
    plain = [str(name) for part in wanted for name in part.get("required", [])]  # type: ignore[attr-defined]
    rest = [*(part for part in wanted if "anyOf" in part), *twice]
    return {**({"required": plain} if plain else {}), **({"allOf": rest} if rest else {})}


def _properties(place: Place) -> Schema:
    found: Schema = {
        name: _filled(name, _value(key)) for name, key in place.keys.items() if name in place.runs - place.elsewhere
    }
    for other, name in sorted(place.synonyms.items()):
        if name in found:
            found[other] = {
                **_filled(other, _value(place.keys[name])),
                "description": f"Read as `{name}`.",
                "deprecated": True,
            }
    if place.name == "step":
        found["analyze"] = {"description": "Does nothing any more and is skipped.", "deprecated": True}
    return found


def _beside_a_step(place: Place) -> Schema:
    """Keys of its own with those of one step, or with `commands`."""
    step = BY_NAME["step"]
    own, inner = _properties(place), _properties(step)
    mixed = {**own, **inner} if place.name == "on_failure" else {**inner, **own}
    mixed.pop("commands", None)
    with_step: Schema = {
        "type": "object",
        "properties": mixed,
        "additionalProperties": False,
        **_required(place, ()),
        **step.rules,
    }
    if place.name == "answering step":
        return with_step
    # `shell` and `claude` in a handler are two steps.
    others = {name: rule for name, rule in step.rules.items() if name != "oneOf"}
    with_both: Schema = {**with_step, **others, "required": ["claude", "shell"]}
    with_both.pop("oneOf")
    if place.name == "two steps":
        return with_both
    alone: Schema = {"type": "object", "properties": own, "additionalProperties": False, **_required(place, ())}
    if place.name == "validate":
        alone["anyOf"] = [{"required": ["commands"]}, {"required": ["result_file"]}]
    elif place.name == "on_failure":
        # A time limit and a capture belong to the commands.
        alone |= {"minProperties": 1, "dependentRequired": {"timeout": ["commands"], "capture": ["commands"]}}
    else:
        alone["minProperties"] = 1
    return {"anyOf": [alone, with_step, *([with_both] if place.name == "on_failure" else [])]}


# Values ------------------------------------------------------------------------------------------------------


def _filled(name: str, value: Schema) -> Schema:
    """With a placeholder in place of the value, where one is filled when the workflow is loaded."""
    if name not in FIXED:
        return value
    about: Schema = {key: value[key] for key in ("description", "deprecated") if key in value}
    return {**about, "anyOf": [{key: part for key, part in value.items() if key not in about}, _PLACEHOLDER]}


def _value(key: Key) -> Schema:
    default = "" if key.default in ("none", "") else f" Default: {key.default}."
    if key.default.startswith(("required", "one of")):
        default = ""
    instead = {"deprecated": True} if key.deprecated else {}
    return {"description": f"{key.what}{default}", **instead, **_shape(key.shape)}


def _shape(shape: Shape) -> Schema:
    match shape:
        case Text():
            return _text(shape)
        case AnyText(nothing=nothing):
            return {"type": ["string", "number", "boolean", *(["null"] if nothing else [])]}
        case Nothing():
            return {"type": "null"}
        case Whole(least=least, most=most):
            return {"type": "integer", "minimum": least, "maximum": most}
        case Number(least=least, most=most):
            return {"type": "number", "minimum": least, **({} if most is None else {"maximum": most})}
        case Flag(only=only):
            return {"type": "boolean"} if only is None else {"const": only}
        case Time(zero=zero):
            return _time(zero=zero)
        case Choice(words=words):
            return {"enum": list(words)}
        case Part(place=place):
            return _ref(place)
        case Each():
            return _each(shape)
        case Many(value=value, or_one=or_one, least=least):
            items = {"type": "array", "items": _shape(value), **({"minItems": least} if least else {})}
            return {"anyOf": [_shape(value), items]} if or_one else items
        case Either(shapes=shapes):
            return {"anyOf": [_shape(inner) for inner in shapes]}
        case Anything():
            return {}


def _text(shape: Text) -> Schema:
    if shape.pattern is None:
        return dict(_TEXT)
    types = ["string"]
    types += ["number"] if re.search(shape.pattern, "5") else []
    types += ["boolean"] if re.search(shape.pattern, "true") else []
    blank: Schema = {} if not re.search(shape.pattern, " ") else {"allOf": [{"pattern": r"\S"}]}
    return {"type": types if len(types) > 1 else "string", "pattern": shape.pattern, **blank}


def _time(*, zero: bool) -> Schema:
    least: Schema = {"minimum": 0} if zero else {"exclusiveMinimum": 0}
    pattern = f"^(?:{_TIME})$" if zero else f"^(?=.*[1-9])(?:{_TIME})$"
    parts: Schema = {
        "type": "object",
        "properties": {name: {"type": "integer", "minimum": 0} for name in ("secs", "nanos")},
        "additionalProperties": False,
        "minProperties": 1,
    }
    return {
        "anyOf": [
            {"type": "number", **least, "maximum": LONGEST_DURATION_S},
            {"type": "string", "pattern": pattern},
            parts,
        ]
    }


def _each(shape: Each) -> Schema:
    names: Schema = {}
    if shape.names:
        pattern = shape.names if not shape.apart else f"{shape.names}|^(?:{'|'.join(shape.apart)})$"
        names = {"propertyNames": {"pattern": pattern}}
    apart: Mapping[str, Schema] = {name: _value(key) for name, key in shape.apart.items()}
    return {
        "type": "object",
        **names,
        **({"properties": apart} if apart else {}),
        "additionalProperties": _shape(shape.value),
    }
