"""Modifiers and filters of placeholders: what they mean, in which order, and that nothing is lost on the way."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodigy.errors import ProdigyError
from prodigy.workflow.formats import Names, apply_part, parse_parts, render
from prodigy.workflow.interpolate import interpolate_text

NAMES = Names(("docs/a.md", "b c.py", "é.md"))
LIST = ["x", 5, None, {"k": [1]}]


def rendered(text: str, **scope: object) -> str:
    return interpolate_text(text, scope)


@pytest.mark.parametrize(
    ("written", "names", "items"),
    [
        ("", "docs/a.md b c.py é.md", '["x",5,null,{"k":[1]}]'),
        (":json", '["docs/a.md","b c.py","é.md"]', '["x",5,null,{"k":[1]}]'),
        (":lines", "docs/a.md\nb c.py\né.md", 'x\n5\nnull\n{"k":[1]}'),
        (":newline", "docs/a.md\nb c.py\né.md", 'x\n5\nnull\n{"k":[1]}'),
        (":csv", "docs/a.md,b c.py,é.md", 'x,5,null,"{""k"":[1]}"'),
        (":comma", "docs/a.md,b c.py,é.md", 'x,5,null,"{""k"":[1]}"'),
        (":*.md", "docs/a.md é.md", "[]"),
        (":?", "", '["x",5]'),
        (":*.md:json", '["docs/a.md","é.md"]', "[]"),
        (":json:*.md", '["docs/a.md","é.md"]', "[]"),
        (":docs/*:*.md:csv", "docs/a.md", ""),
        ("|length", "3", "4"),
        (":*.md|length", "2", "0"),
        (":csv|length:4", "docs", "x,5,"),
        (":lines | length : 3 ", "doc", "x\n5"),
        ("|default:none|length:4", "docs", '["x"'),
    ],
)
def test_lists_and_names(written: str, names: str, items: str) -> None:
    assert rendered(f"${{item{written}}}", item=NAMES) == names
    assert rendered(f"${{item{written}}}", item=LIST) == items


@pytest.mark.parametrize(
    ("written", "value", "text"),
    [
        (":json", 'a "b"\n', '"a \\"b\\"\\n"'), (":lines", "a\nb\n", "a\nb"), (":csv", "a\nb,c", 'a,"b,c"'),
        (":*.py:csv", "a.py\nb.js\nc.py\n", "a.py,c.py"), (":csv", None, ""), (":json", None, "null"),
        (":json", {"a": 1}, '{"a":1}'), (":lines", 7, "7"), (":csv", True, "true"), ("|length", "é\n", "2"),
        ("|length", None, "0"), ("|length", {"a": 1}, "1"), ("|length", 1234, "4"), ("|length:2", 1234, "12"),
        ("|length:0", "abc", ""), ("|length:9", "abc", "abc"), ("|default:x", None, "null"), ("|default:x", "", ""),
    ],
)  # fmt: skip
def test_values_that_are_no_list(written: str, value: object, text: str) -> None:
    assert rendered(f"${{item{written}}}", item=value) == text


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("|default:y", "y"), ("|default:", ""), ("| default: a b ", "a b"), ('|default:" a | b "', " a | b "),
        ("|default:'it'", "it"), ("|default:'a", "'a"), (":json:-none", "none"), (":*.md:json|length:2:-none", "none"),
        ("|length:3|default:long", "long"), ("|default:long|length:3", "lon"), ("|default:a:b", "a:b"),
        ("|default:-a", "-a"),
        ("|default:-a:-b", "-a"), ("|length:3:-b", "b"), (":-a|b", "a|b"),
        ("|default:first|default:second", "first"), (":-${x}", None), ("|length:2", None), (":json", None),
    ],
)  # fmt: skip
def test_what_takes_the_place_of_what_does_not_resolve(written: str, text: str | None) -> None:
    if text is None:
        with pytest.raises(ProdigyError, match=r"does not resolve|not supported"):
            rendered(f"${{item.none{written}}}", item={})
    else:
        assert rendered(f"${{item.none{written}}}", item={}) == text


@pytest.mark.parametrize(
    "operator",
    [
        "|upper", "|default", "|length:", "|length:x", "|length:-1", "|length:٣", "|", "||length", ":", ":yaml",
        ":json:csv",
        ":json:lines", ": json", ":*.md%.md", ":*|*", "|length:json", "|length:3:json", "|Default:x", ":json|", " x",
    ],
)  # fmt: skip
def test_what_is_none_of_them_is_told_from_them(operator: str) -> None:
    assert parse_parts(operator) is None


@given(st.text(alphabet=":|jsonlicvdefauth*.? '\"0%-") | st.text())
def test_any_text_is_parsed_and_applied(operator: str) -> None:
    for part in parse_parts(operator) or ():
        for value in ("a\nb", NAMES, LIST, None, 1.5, dict[str, int]()):
            apply_part(part, value)


def parts_of(operator: str, value: Any) -> Any:
    for part in parse_parts(operator) or ():
        value = apply_part(part, value)
    return value


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_json_and_csv_give_back_the_list(values: list[str]) -> None:
    for found in (values, Names(values)):
        assert json.loads(render(parts_of(":json", found))) == values
        line = io.StringIO(render(parts_of(":csv", found)), newline="")
        assert next(csv.reader(line), []) == values


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), min_size=1), min_size=1))
def test_lines_give_back_the_list(values: list[str]) -> None:
    assert render(parts_of(":lines", values)).split("\n") == values


@given(st.lists(st.from_regex(r"[a-z/]{0,4}(\.md)?", fullmatch=True)))
def test_a_glob_keeps_what_matches_in_order_wherever_it_stands(values: list[str]) -> None:
    kept = [value for value in values if value.endswith(".md")]
    assert render(parts_of(":*.md", Names(values))) == " ".join(kept)
    assert parts_of(":lines:*.md", values) == parts_of(":*.md:lines", values) == "\n".join(kept)


@given(st.text(), st.integers(0, 20))
def test_length_cuts_characters(text: str, number: int) -> None:
    assert parts_of(f"|length:{number}", text) == text[:number]
