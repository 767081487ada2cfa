"""Changes of single places in a YAML text, by the offsets of its nodes.

Each function gives None where the change can't be made without losing a comment or guessing at the layout.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

# What `test: {on_failure: {claude: ...}}` meant without saying it.
_TEST_FAILED = {"max_attempts": "3", "commit_required": "true"}


@dataclass(frozen=True)
class Edit:
    """Put `text` in place of what stands from `start` to `end`. what: for people, with the line."""

    start: int
    end: int
    text: str
    what: str


def renamed(key: ScalarNode, new: str) -> Edit:
    """The key under another name."""
    return Edit(key.start_mark.index, key.end_mark.index, new, f"{_line(key)}: `{key.value}` is now `{new}`")


def without_entry(text: str, key: ScalarNode, value: Node) -> Edit | None:
    """The block mapping without this entry, which stands on a line of its own; a comment behind it stays."""
    start, end = key.start_mark.index, value.end_mark.index
    line = _line_start(text, start)
    if text[line:start].strip() or "\n" in text[start:end] or not isinstance(value, ScalarNode):
        return None
    rest = re.compile(r"[ \t]*(\r?\n|\Z)?").match(text, end)
    assert rest is not None
    if rest[1] is not None:
        return Edit(line, rest.end(), "", f"{_line(key)}: `{key.value}` is gone")
    if not text[rest.end() :].startswith("#"):
        return None
    return Edit(start, rest.end(), "", f"{_line(key)}: `{key.value}` is gone")


def unwrapped(text: str, outer: ScalarNode, value: MappingNode) -> Edit | None:
    """`setup: {commands: [...]}` as `setup: [...]`."""
    if len(value.value) != 1:
        return None
    key, inner = value.value[0]
    if (
        not isinstance(key, ScalarNode)
        or key.value != "commands"
        or (isinstance(inner, ScalarNode) and not inner.value)
    ):
        return None
    what = f"{_line(key)}: `commands` under `{outer.value}` is gone"
    start, end = inner.start_mark.index, _end(inner)
    if value.flow_style:
        left, right = text[value.start_mark.index : start], text[end : value.end_mark.index]
        if "#" in left + right:
            return None
        return Edit(value.start_mark.index, value.end_mark.index, text[start:end], what)
    line = _line_start(text, key.start_mark.index)
    if text[line : key.start_mark.index].strip():
        return None
    between = text[key.end_mark.index : start]
    if "\n" not in between:
        # A list in brackets, or a text, on the same line.
        alone = isinstance(inner, ScalarNode) or inner.flow_style
        before = text[outer.end_mark.index : key.start_mark.index]
        behind = before.strip() == ":"  # no comment stands between
        at = outer.end_mark.index if behind else key.start_mark.index
        return Edit(at, start, ": " if behind else "", what) if alone else None
    colon, _, rest = between.partition("\n")
    comment = colon.strip().removeprefix(":").strip()
    if comment and not comment.startswith("#"):
        return None
    head = f"{text[line : key.start_mark.index]}{comment}{_eol(text)}" if comment else ""
    less = inner.start_mark.column - key.start_mark.column
    return Edit(line, end, head + _dedented(rest + text[start:end], less), what)


def without_test(text: str, step: MappingNode, key: ScalarNode, body: MappingNode) -> Edit | None:
    """`test: {command: X, on_failure: Y}` as `shell: X` with `on_failure: Y`, which says what it meant there."""
    parts = {part.value: (part, value) for part, value in body.value}
    others = {part.value for part, _ in step.value}
    if "command" not in parts or not parts.keys() <= {"command", "on_failure"} or others & {"shell", "on_failure"}:
        return None
    start, end = body.start_mark.index, _end(body)
    inner = [_shell_key(parts["command"][0])]
    if "on_failure" in parts and (extra := _said(text, parts["on_failure"][1])):
        inner.append(extra)
    what = f"{_line(key)}: `test` is now `shell`"
    between = text[key.end_mark.index : start]
    if body.flow_style:
        return _test_in_braces(text, step, key, body, inner, what)
    if between.strip() != ":" or "\n" not in between:
        return None
    less = body.start_mark.column - key.start_mark.column
    first, newline, rest = _changed(text, start, end, inner).partition("\n")
    return Edit(key.start_mark.index, end, first + newline + _dedented(rest, less), what)


def _test_in_braces(
    text: str, step: MappingNode, key: ScalarNode, body: MappingNode, inner: list[Edit], what: str
) -> Edit | None:
    spans = [(part.start_mark.index, _end(value)) for part, value in body.value]
    edges = [body.start_mark.index, *(at for span in spans for at in span), body.end_mark.index]
    outside = [text[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True)]
    if "#" in "".join(outside) or text[key.end_mark.index : body.start_mark.index].strip() != ":":
        return None
    entries = [_changed(text, *span, [edit for edit in inner if span[0] <= edit.start <= span[1]]) for span in spans]
    glue = ", " if step.flow_style else f"{_eol(text)}{' ' * key.start_mark.column}"
    return Edit(key.start_mark.index, body.end_mark.index, glue.join(entries), what)


def _shell_key(key: ScalarNode) -> Edit:
    return Edit(key.start_mark.index, key.end_mark.index, "shell", "")


def _said(text: str, node: Node) -> Edit | None:
    """What the handler of a `test` has to say now."""
    if not isinstance(node, MappingNode):
        return None
    there = {key.value for key, _ in node.value}
    if "claude" not in there:
        return None
    there |= {"max_attempts"} if "max_retries" in there else set()
    extra = [f"{name}: {value}" for name, value in _TEST_FAILED.items() if name not in there]
    if not extra:
        return None
    at = node.value[0][0].start_mark
    glue = ", " if node.flow_style else f"{_eol(text)}{' ' * at.column}"
    return Edit(at.index, at.index, "".join(part + glue for part in extra), "")


def _changed(text: str, start: int, end: int, edits: list[Edit]) -> str:
    """The part of the text with these changes."""
    for edit in sorted(edits, key=lambda edit: edit.start, reverse=True):
        text = f"{text[: edit.start]}{edit.text}{text[edit.end :]}"
        end += len(edit.text) - (edit.end - edit.start)
    return text[start:end]


def _dedented(text: str, less: int) -> str:
    """Every line with up to `less` spaces fewer before it."""
    return re.sub(rf"^ {{0,{less}}}", "", text, flags=re.MULTILINE) if less > 0 else text


def _end(node: Node) -> int:
    """Where the node ends, without the comments and empty lines behind a block."""
    if not isinstance(node, MappingNode | SequenceNode) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    if isinstance(node, SequenceNode):
        return _end(last)
    key, value = last
    return max(int(key.end_mark.index) + 1, _end(value))


def _eol(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _line_start(text: str, offset: int) -> int:
    return text.rfind("\n", 0, offset) + 1


def _line(node: Node) -> str:
    return f"line {node.start_mark.line + 1}"
