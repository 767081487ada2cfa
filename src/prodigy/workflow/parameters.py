"""`parameters` and `defaults`: what a workflow or a template takes, and the values it gets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass
from difflib import get_close_matches

from prodigy.errors import UsageError
from prodigy.workflow import keys
from prodigy.workflow.catalogue import RESERVED
from prodigy.workflow.interpolate import NAMESPACES
from prodigy.workflow.parameter_values import TYPES, NoValue, Type, plain_value, short, typed
from prodigy.workflow.values import Findings, read_bool, read_choice, read_keys, read_text, shown
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Position, Scalar, Sequence, visible

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:-[A-Za-z0-9_]+)*")
# The earlier system's `matches('^a')`, which is about the value.
_OF_ONE = re.compile(r"^\s*(matches|contains|starts_with|ends_with)\(\s*('[^']*'|\"[^\"]*\")\s*\)\s*$")
_DESCRIBES = frozenset({"type", "description", "default", "validation", "required"})
_HOW = "give it with `--param {name}=VALUE`, in a `--param-file`, or a `default` here"


@dataclass(frozen=True)
class Given:
    """A value and where it stands; None: on the command line."""

    value: object
    at: Position | None = None


@dataclass(frozen=True)
class Parameter:
    """One declaration. default: None when it has none. validation: the text of an expression that must hold."""

    name: str
    at: Position
    type: Type = "any"
    required: bool = True
    default: Given | None = None
    validation: str | None = None
    description: str = ""


# Declarations ----------------------------------------------------------------------------------------------


def read_parameters(node: Node, findings: Findings) -> dict[str, Parameter]:
    """Every form: `{required: [...], optional: [...]}`, a list, and a mapping of names."""
    found: dict[str, Parameter] = {}
    for parameter in _declarations(node, findings):
        if parameter.name in found:
            line = found[parameter.name].at.line
            findings.problem(parameter.at, f"the parameter `{parameter.name}` stands on line {line} already")
        found.setdefault(parameter.name, parameter)
    return found


def _declarations(node: Node, findings: Findings) -> Iterator[Parameter]:
    if isinstance(node, Sequence):
        yield from _listed(node, findings, required=True)
    elif isinstance(node, Mapping) and _is_two_lists(node):
        for name, (_, value) in node.entries.items():
            if isinstance(value, Sequence):
                yield from _listed(value, findings, required=name == "required")
    elif isinstance(node, Mapping):
        for key, value in node.entries.values():
            if (parameter := _mapped(key, value, findings)) is not None:
                yield parameter
    elif not (isinstance(node, Scalar) and node.kind == "null"):
        findings.problem(node.at, f"`parameters` must be a mapping or a list, got {shown(node)}")


def _is_two_lists(node: Mapping) -> bool:
    return bool(node.entries) and all(
        name in ("required", "optional") and (isinstance(value, Sequence) or _is_null(value))
        for name, (_, value) in node.entries.items()
    )


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.kind == "null"


def _listed(node: Sequence, findings: Findings, *, required: bool) -> Iterator[Parameter]:
    for item in node.items:
        if isinstance(item, Scalar) and item.kind != "null":
            if _is_name(item, findings):
                yield Parameter(item.value, item.at, required=required)
        elif isinstance(item, Mapping) and "name" in item.entries:
            name = item.entries["name"].value
            body = Mapping({key: entry for key, entry in item.entries.items() if key != "name"}, item.at)
            if isinstance(name, Scalar) and _is_name(name, findings):
                yield _described(name, body, findings, required=required)
            elif not isinstance(name, Scalar):
                findings.problem(name.at, f"`name` must be text, got {shown(name)}")
        else:
            findings.problem(item.at, f"a parameter must be a name, or a mapping with `name`, got {shown(item)}")


def _mapped(key: Scalar, node: Node, findings: Findings) -> Parameter | None:
    """`name: default`, `name: {type, default, ...}`, or `name:` for one that must be given."""
    if not _is_name(key, findings):
        return None
    if isinstance(node, Mapping) and not _DESCRIBES.isdisjoint(node.entries):
        return _described(key, node, findings, required=True)
    if _is_null(node):
        return Parameter(key.value, key.at)
    if isinstance(node, Scalar) and node.value in TYPES:
        message = f"`{key.value}: {node.value}` gives it the text {node.value} as default"
        findings.warn(node.at, message, f"for the type, write `{key.value}: {{type: {node.value}}}`")
    return Parameter(key.value, key.at, required=False, default=_value(node, findings))


def _is_name(node: Scalar, findings: Findings) -> bool:
    if not _NAME.fullmatch(node.value) or len(node.value) > 100:
        findings.problem(
            node.at, f"a parameter's name has letters, digits, `_` and single `-`, got {visible(node.value)}"
        )
        return False
    if node.value in RESERVED | NAMESPACES or node.value.startswith("PRODIGY_"):
        findings.problem(node.at, f"`{node.value}` cannot be a parameter: it is the name of built-in variables")
        return False
    return True


def _described(name: Scalar, body: Mapping, findings: Findings, *, required: bool) -> Parameter:
    entries = read_keys(body, keys.PARAMETER, f"under the parameter `{name.value}`", findings)
    kind = read_choice(entries["type"].value, "type", TYPES, findings) if "type" in entries else "any"
    about = read_text(entries["description"].value, "description", findings) if "description" in entries else None
    if "required" in entries:
        required = bool(read_bool(entries["required"].value, "required", findings))
    default = _value(entries["default"].value, findings) if "default" in entries else None
    validation = _expression(entries["validation"].value, findings) if "validation" in entries else None
    return Parameter(name.value, name.at, kind or "any", required, default, validation, about or "")


def _expression(node: Node, findings: Findings) -> str | None:
    from prodigy.workflow.expression import ExpressionError, compile_expression

    text = read_text(node, "validation", findings)
    if text is None:
        return None
    text = _OF_ONE.sub(r"\1(value, \2)", text)
    try:
        compile_expression(text)
    except ExpressionError as error:
        findings.problem(node.at, f"`validation` can't be read: {error.message}", error.hint)
        return None
    return text


# Values out of files ---------------------------------------------------------------------------------------


def read_values(node: Node, key: str, findings: Findings) -> dict[str, Given]:
    """A mapping of names and values, such as `defaults` and `with`."""
    if not isinstance(node, Mapping):
        if not _is_null(node):
            findings.problem(node.at, f"`{key}` must be a mapping of names and values, got {shown(node)}")
        return {}
    found = {name: _value(entry.value, findings) for name, entry in node.entries.items()}
    return {name: given for name, given in found.items() if given is not None}


def _value(node: Node, findings: Findings) -> Given | None:
    try:
        return Given(plain_value(node), node.at)
    except NoValue as error:
        findings.problem(node.at, str(error))
        return None


# Which value counts ----------------------------------------------------------------------------------------


def resolve(
    declared: AbstractMapping[str, Parameter],
    sources: list[AbstractMapping[str, Given]],
    findings: Findings,
    whose: str = "the workflow",
    how: str = _HOW,
) -> dict[str, object]:
    """The values of all parameters. sources: later ones win; what only `declared` knows takes its default.

    whose, how: words for messages. Raises UsageError for what is wrong with a value of the command line.
    """
    given: dict[str, Given] = {}
    for source in sources:
        for name, value in source.items():
            if name in declared:
                given[name] = value
            else:
                _unknown(name, value, declared, findings, whose)
    values: dict[str, object] = {}
    for name, parameter in declared.items():
        found = given.get(name) or parameter.default
        if found is None:
            if parameter.required:
                findings.problem(parameter.at, f"Required parameter '{name}' not provided", how.format(name=name))
            values[name] = None
            continue
        try:
            values[name] = typed(found.value, parameter.type)
        except NoValue as error:
            values[name] = None
            _complain(name, found, f"the parameter `{name}`: {error}", None, findings)
    _validate(declared, given, values, findings)
    return values


def still_fitting(declared: AbstractMapping[str, Parameter], before: AbstractMapping[str, object]) -> dict[str, Given]:
    """Those of the values of an earlier version that this one can take."""
    found = {}
    for name, value in before.items():
        try:
            if name in declared and (value is not None or not declared[name].required):
                typed(value, declared[name].type)
                found[name] = Given(value, declared[name].at)
        except NoValue:
            continue
    return found


def _validate(
    declared: AbstractMapping[str, Parameter],
    given: AbstractMapping[str, Given],
    values: AbstractMapping[str, object],
    findings: Findings,
) -> None:
    for name, parameter in declared.items():
        found = given.get(name) or parameter.default
        if parameter.validation is None or found is None or values[name] is None:
            continue
        from prodigy.workflow.expression import compile_expression, scope_finder

        if not compile_expression(parameter.validation).holds(scope_finder({**values, "value": values[name]})):
            shown_ = f"the parameter `{name}` is {short(values[name])}"
            message = f"{shown_}, for which `{parameter.validation}` is not true"
            _complain(name, found, message, None, findings)


def _unknown(
    name: str, given: Given, declared: AbstractMapping[str, Parameter], findings: Findings, whose: str
) -> None:
    nearest = get_close_matches(name[:100], declared, 1)
    there_are = f"there are {', '.join(declared)}" if declared else "it has none; `parameters` declares them"
    hint = f"did you mean `{nearest[0]}`?" if nearest else there_are
    _complain(name, given, f"{whose} has no parameter `{visible(name)}`", hint, findings)


def _complain(name: str, given: Given, message: str, hint: str | None, findings: Findings) -> None:
    if given.at is None:
        raise UsageError(message, where=f"--param {visible(name)}", hint=hint)
    findings.problem(given.at, message, hint)


def named_values(entries: dict[str, Entry], key: str, findings: Findings) -> dict[str, Given]:
    """`read_values` of a key that may be missing."""
    return read_values(entries[key].value, key, findings) if key in entries else {}
