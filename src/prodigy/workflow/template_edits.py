"""Puts values into the text of a workflow, with everything around them as it was."""

from __future__ import annotations

import json
import re

from prodigy.workflow.files import parse_document
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Scalar, Sequence, scalar_kind

_COMMENT_BEHIND = re.compile(r" +(?=#)")
_PLAIN = re.compile(r"[A-Za-z][\w./-]*(?: [\w./-]+)*")


def yaml_value(value: object) -> str:
    """A JSON value as it is written in YAML, on one line."""
    if not isinstance(value, str):
        return _escaped(json.dumps(value, ensure_ascii=False))
    if _PLAIN.fullmatch(value) and scalar_kind(value) == "str":
        return value
    if ('"' in value or "\\" in value) and value.isprintable():
        quoted = value.replace("'", "''")
        return f"'{quoted}'"
    return _escaped(json.dumps(value, ensure_ascii=False))


def _escaped(quoted: str) -> str:
    """YAML allows fewer characters as they are than JSON, and knows no surrogate pairs."""
    return "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in quoted)


def scalar_at(text: str, path: tuple[str, ...]) -> str | None:
    """What stands at `path`, names of keys from the top; None when there is no scalar."""
    found = _scalar(parse_document(text, "").root, path)
    return found.value if found else None


def with_value(text: str, path: tuple[str, ...], value: object) -> str | None:
    """The workflow with the scalar at `path` replaced; None when there is none."""
    document = parse_document(text, "")
    found = _scalar(document.root, path)
    return _replaced(document.text.text, found, yaml_value(value)) if found else None


def _scalar(node: Node | None, path: tuple[str, ...]) -> Scalar | None:
    for name in path:
        node = node.entries[name].value if isinstance(node, Mapping) and name in node.entries else None
    return node if isinstance(node, Scalar) else None


def with_default(text: str, name: str, value: object) -> str:
    """The workflow with `value` as the default of its parameter `name`. Raises KeyError when it has no such."""
    document = parse_document(text, "")
    root, text = document.root, document.text.text
    if not isinstance(root, Mapping) or "parameters" not in root.entries:
        raise KeyError(name)
    written = yaml_value(value)
    found = _declaration(root.entries["parameters"].value, name)
    match found:
        case Entry(key, Mapping() as body) if "default" in body.entries or not _is_value(body):
            return _with_default_in(text, key, body, written)
        case Entry(key, Scalar(value="") as empty) if empty.start == empty.end:
            return _inserted(text, key.end + 1, f" {written}")
        case Entry(_, Scalar() as old):
            return _replaced(text, old, written)
        case Scalar() as bare:
            return _replaced(text, bare, f"{{name: {bare.value}, default: {written}}}")
        case Mapping() as body:
            return _with_default_in(text, None, body, written)
    raise KeyError(name)


def _is_value(body: Mapping) -> bool:
    return body.entries.keys().isdisjoint({"type", "description", "default", "validation", "required"})


def _declaration(node: Node, name: str) -> Entry | Node | None:
    """An entry of a mapping of names, or an element of a list of parameters."""
    if isinstance(node, Sequence):
        return next((item for item in node.items if _named(item) == name), None)
    if not isinstance(node, Mapping):
        return None
    parts = [node.entries[part].value for part in ("required", "optional") if part in node.entries]
    lists = [part for part in parts if isinstance(part, Sequence)]
    if name in node.entries and node.entries[name].value not in lists:
        return node.entries[name]
    return next((found for part in lists if (found := _declaration(part, name))), None)


def _named(item: Node) -> str | None:
    if isinstance(item, Mapping) and "name" in item.entries:
        item = item.entries["name"].value
    return item.value if isinstance(item, Scalar) else None


def _with_default_in(text: str, key: Scalar | None, body: Mapping, written: str) -> str:
    if "default" in body.entries:
        value = body.entries["default"].value
        if isinstance(value, Scalar) and value.start != value.end:
            return _replaced(text, value, written)
        raise KeyError(key.value if key else "default")
    first, last = next(iter(body.entries.values())).key, list(body.entries.values())[-1].value
    column = _column(text, first.start)
    if text[: first.start].rstrip().endswith("{"):
        return _inserted(text, first.start, f"default: {written}, ")
    if isinstance(last, Scalar) and not last.is_block and last.end > last.start:
        line_end = text.find("\n", last.end)
        return _inserted(text, len(text) if line_end < 0 else line_end, f"\n{' ' * column}default: {written}")
    return _inserted(text, first.start, f"default: {written}\n{' ' * column}")


def _column(text: str, offset: int) -> int:
    return offset - (text.rfind("\n", 0, offset) + 1)


def _inserted(text: str, offset: int, new: str) -> str:
    return text[:offset] + new + text[offset:]


def _replaced(text: str, old: Scalar, new: str) -> str:
    """A block text leaves its place with the line ends behind it; a comment behind the value stays in its column."""
    end = old.start + len(text[old.start : old.end].rstrip())
    gap = _COMMENT_BEHIND.match(text, end)
    if gap:
        spaces = max(1, len(gap[0]) + end - old.start - len(new))
        return text[: old.start] + new + " " * spaces + text[end + len(gap[0]) :]
    return text[: old.start] + new + text[end:]
