from __future__ import annotations

import datetime
import json
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodigy.workflow.catalogue import FREE
from prodigy.workflow.formats import Names, parse_parts
from prodigy.workflow.interpolate import (
    Placeholder,
    TextProblem,
    Unresolved,
    UnsupportedPlaceholder,
    check_text,
    interpolate_text,
    lookup,
    parse_placeholders,
    render,
    spell,
)

SCOPE = {
    "item": {"path": "a b.js", "n": 7, "tags": ["x", {"k": "v"}], "none": None, "a.b": 1, "größe": 2, "file-name": "f"},
    "item_id": "i-1",
    "fix": "out",
    "fix.exit_code": 0,
    "scan.stderr": "oops",
    "map.results": [{"item_id": "one"}],
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("text", "path", "default"),
    [
        ("${item}", "item", None),
        ("${item.path}", "item.path", None),
        ("${item.tags[0]}", "item.tags[0]", None),
        ('${item["a.b"]}', 'item["a.b"]', None),
        ("${item['a b'].c[12]}", "item['a b'].c[12]", None),
        ("${item.file-name}", "item.file-name", None),
        ("${item.größe}", "item.größe", None),
        ("${item.x:-}", "item.x", ""),
        ('${item.x:-it\'s "literal" $HOME}', "item.x", 'it\'s "literal" $HOME'),
        ("${map.total}", "map.total", None),
        ("${workflow.name}", "workflow.name", None),
        ("${run.id}", "run.id", None),
        ("${item_index}", "item_index", None),
        ("${my-step.output}", "my-step.output", None),
    ],
)
def test_a_placeholder_of_ours_is_found(text: str, path: str, default: str | None) -> None:
    found = parse_placeholders(f"é {text}!", {"my-step"})
    assert found == [Placeholder(2, 2 + len(text), path, default, None)]


@pytest.mark.parametrize(
    "text",
    [
        "$item",
        "${HOME}",
        "${items}",
        "${itemx.y}",
        "$${item}",
        "$$${x}",
        "{item}",
        "${x:-y}",
        "${1}",
        "${#items}",
        "${}",
        "$",
    ],
)
def test_what_is_not_ours_is_left_alone(text: str) -> None:
    assert parse_placeholders(text) == []
    assert interpolate_text(text, SCOPE) == text


def test_two_dollars_belong_together_but_not_after_a_backslash() -> None:
    assert [p.start for p in parse_placeholders("$$${item}")] == [2]
    assert [p.start for p in parse_placeholders(r"\$${item}")] == [2]
    assert parse_placeholders(r"\\$${item}") == []


def test_of_a_dotted_scope_key_only_the_first_name_is_ours() -> None:
    assert [p.path for p in parse_placeholders("${fix.exit_code} ${exit_code}", ["fix.exit_code"])] == ["fix.exit_code"]


def test_a_placeholder_inside_one_of_the_shell_is_found() -> None:
    assert [p.path for p in parse_placeholders("${HOME:-${item.x}}")] == ["item.x"]


@pytest.mark.parametrize(
    ("text", "operator"),
    [
        ("${item.x:yaml}", ":yaml"),
        ("${item.x|upper}", "|upper"),
        ("${item.x|length:json}", "|length:json"),
        ("${item.x%.js}", "%.js"),
        ("${item.x##*/}", "##*/"),
        ("${item.x-y z}", " z"),
        ("${item-x}", "-x"),
        ("${#item}", "#"),
        ("${!item}", "!"),
        ("${raw:item.x}", "raw:"),
        ("${item[*]}", "[*]"),
        ("${item[-1]}", "[-1]"),
        ("${item.}", "."),
        ("${item x}", " x"),
        ("${item.x:-${item.y}}", ":-${item.y"),
        ("${raw:item.x.y}", "raw:"),
        ("${item@P}", "@P"),
        ("${item:=x}", ":=x"),
    ],
)
def test_what_we_do_not_support_on_our_names_is_refused_and_says_what_is(text: str, operator: str) -> None:
    problems = check_text(f"first\n  {text} tail")
    assert [problem.offset for problem in problems] == [8]
    assert (problems[0].line, problems[0].column) == (2, 3)
    assert operator in problems[0].message
    assert "not supported" in problems[0].message
    assert "${name.path:-default}" in problems[0].cure
    with pytest.raises(UnsupportedPlaceholder, match="not supported"):
        interpolate_text(text, SCOPE)


@pytest.mark.parametrize("text", ["${item.x%.js}", "${item.x##*/}", "${raw:item.x}", "${item.x:file}"])
def test_what_is_for_shell_text_says_so_elsewhere(text: str) -> None:
    (problem,) = check_text(text)
    assert "not supported outside of shell text" in problem.message
    with pytest.raises(UnsupportedPlaceholder, match="outside of shell text"):
        interpolate_text(text, SCOPE)


@pytest.mark.parametrize(
    ("text", "prefix", "operator"),
    [("${#item.x%a}", "#", "#%a"), ("${!item}", "!", "!"), ("${raw:item.x}", "raw:", "raw:"), ("${item#}", "", "#")],
)
def test_what_stands_before_the_path_is_told_from_what_stands_behind(text: str, prefix: str, operator: str) -> None:
    (placeholder,) = parse_placeholders(text)
    assert (placeholder.prefix, placeholder.operator) == (prefix, operator)


@pytest.mark.parametrize("text", ["${item.x", "${item.x:-a\nb}", "${item.x |\n}", "${item"])
def test_a_placeholder_ends_on_its_line(text: str) -> None:
    (problem,) = check_text(text)
    assert "no closing brace" in problem.message


def test_all_problems_of_a_text_are_listed() -> None:
    problems = check_text("${item|a} ok ${item.x} \n${item%b}")
    assert [(p.line, p.column) for p in problems] == [(1, 1), (2, 1)]
    assert problems == sorted(problems)
    assert isinstance(problems[0], TextProblem)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("item.path", "a b.js"),
        ("item.tags[1].k", "v"),
        ('item["tags"][0]', "x"),
        ("item.tags.0", "x"),
        ("item['a.b']", 1),
        ("item.none", None),
        ("fix", "out"),
        ("fix.exit_code", 0),
        ("map.results[0].item_id", "one"),
    ],
)
def test_lookup(path: str, value: object) -> None:
    assert lookup(SCOPE, path) == value
    assert lookup(MappingProxyType(SCOPE), path) == value


def test_a_dotted_key_wins_over_a_walk() -> None:
    assert lookup({"item": {"path": "walked"}, "item.path": "key"}, "item.path") == "key"


@pytest.mark.parametrize(
    ("path", "what", "hint"),
    [
        ("item.pth", "item has no pth", "did you mean path? available: a.b, file-name, größe, n, none, path, tags"),
        ("itm.path", "there is no itm", "did you mean item?"),
        ("item.n.x", "item.n is a number and has no x", "nothing is available there"),
        ("item.path.x", "item.path is text and has no x", "nothing"),
        ("item.none.x", "item.none is null", "nothing"),
        ("item.tags[2]", "item.tags is a list of 2 and has no 2", "nothing"),
        ("item.tags.k", "item.tags is a list of 2 and has no k", "nothing"),
        ("item[0]", "item has no 0", "available"),
        ("scan", "scan itself has no value", "available: stderr"),
        ("scan.stder", "scan has no stder", "did you mean stderr?"),
    ],
)
def test_unresolved_says_what_is_available(path: str, what: str, hint: str) -> None:
    with pytest.raises(Unresolved) as caught:
        lookup(SCOPE, path)
    assert what in caught.value.what
    assert hint in str(caught.value.hint)
    assert caught.value.path == path


def test_a_long_list_of_names_is_cut() -> None:
    with pytest.raises(Unresolved, match="5 more") as caught:
        lookup({"item": {f"k{number:02}": 0 for number in range(25)}}, "item.x")
    assert len(caught.value.available) == 25


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is\n", "as it is\n"), (True, "true"), (False, "false"), (None, "null"), (5, "5"), (1.5, "1.5"),
        (["a", {"é": None}], '["a",{"é":null}]'), ((1, 2), "[1,2]"), (MappingProxyType({"a": 1}), '{"a":1}'),
        (datetime.date(2024, 1, 2), '"2024-01-02"'), ("", ""), (Names(("a b", "c")), "a b c"), (Names(()), ""),
        ([Names(("a", "b"))], '[["a","b"]]'),
    ],
)  # fmt: skip
def test_render(value: object, text: str) -> None:
    assert render(value) == text


def test_text_is_interpolated() -> None:
    text = "Fix ${item.path} (${item.tags}) as ${item_id} $HOME ${HOME} $${item.n} ${fix}:${fix.exit_code}"
    assert interpolate_text(text, SCOPE) == 'Fix a b.js (["x",{"k":"v"}]) as i-1 $HOME ${HOME} $${item.n} out:0'


def test_a_default_is_for_what_does_not_resolve_and_null_resolves() -> None:
    assert interpolate_text("${item.x:-d}|${item.x:-}|${item.none:-d}|${item.n:-d}", SCOPE) == "d||null|7"


def test_a_name_of_ours_that_does_not_resolve_is_an_error() -> None:
    with pytest.raises(Unresolved, match=r"\$\{later\.output\} does not resolve"):
        interpolate_text("${later.output}", SCOPE, {"later"})
    assert interpolate_text("${later.output}", SCOPE) == "${later.output}"


def test_values_are_not_interpolated_again() -> None:
    assert interpolate_text("${item.a}", {"item": {"a": "${item.b}", "b": "no"}}) == "${item.b}"


@given(st.text(alphabet="${}itemx.:-[]'\"0a \\\n|%#!é") | st.text())
def test_any_text_is_parsed_into_disjoint_spans(text: str) -> None:
    end = 0
    for placeholder in parse_placeholders(text):
        assert end <= placeholder.start < placeholder.end <= len(text)
        assert text.startswith("${", placeholder.start)
        assert placeholder.path.startswith(("item", "map", "run", "workflow"))
        assert placeholder.operator or text[placeholder.end - 1] == "}"
        end = placeholder.end
    wrong = [p.start for p in parse_placeholders(text) if p.prefix or (p.operator and parse_parts(p.operator) is None)]
    assert [p.offset for p in check_text(text)] == wrong


@given(st.text(alphabet=st.characters(exclude_characters="{")) | st.text(alphabet="$$}item.:-\\ \n"))
def test_text_without_placeholders_stays_as_it_is(text: str) -> None:
    assert interpolate_text(text, SCOPE) == text


@pytest.mark.parametrize("name", ["step", "last", "result", "test", "error", "merge", "setup", "worktrees"])
def test_names_that_only_have_parts_are_ours_with_a_dot_alone(name: str) -> None:
    text = f"${{{name}}} ${{{name}[0]}} ${{{name}%x}} ${{{name}:-y}} ${{#{name}}} ${{{name}.a}}"
    given = {f"{name}.a"} if name in FREE else {name, f"{name}.a"}
    assert [p.path for p in parse_placeholders(text, given)] == [f"{name}.a"]


@given(st.text(alphabet=st.characters(exclude_characters='"]\n', exclude_categories=["Cs"]), min_size=1), JSON)
def test_any_key_can_be_reached_in_brackets(key: str, value: object) -> None:
    (placeholder,) = parse_placeholders(f'${{item["{key}"]}}')
    assert placeholder.operator is None
    assert lookup({"item": {key: value}}, placeholder.path) == value
    assert spell(placeholder) == f'${{item["{key}"]}}'


@given(JSON)
def test_rendered_values_other_than_text_are_json(value: object) -> None:
    text = render(value)
    assert text == value if isinstance(value, str) else json.loads(text) == value
