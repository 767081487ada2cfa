"""YAML as positioned nodes: syntax errors in plain words, merge keys, bounded aliases, places inside scalars."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodigy.errors import Problem, WorkflowError
from prodigy.workflow.load import parse
from prodigy.workflow.yaml_compose import MAX_DEPTH, compose
from prodigy.workflow.yaml_nodes import (
    Mapping,
    Node,
    Position,
    Scalar,
    ScalarKind,
    Sequence,
    Text,
    scalar_kind,
)


def root_of(text: str) -> Node:
    document = compose(Text(text))
    assert document.problems == []
    assert document.root is not None
    return document.root


def value_of(text: str) -> object:
    """The document as plain data, scalars as their text."""

    def plain(node: Node) -> object:
        if isinstance(node, Mapping):
            return {name: plain(entry.value) for name, entry in node.entries.items()}
        return [plain(item) for item in node.items] if isinstance(node, Sequence) else node.value

    return plain(root_of(text))


def scalar(node: Node) -> Scalar:
    assert isinstance(node, Scalar)
    return node


def entry(text: str, name: str = "a") -> Scalar:
    root = root_of(text)
    assert isinstance(root, Mapping)
    return scalar(root.entries[name].value)


def only_problem(text: str) -> Problem:
    """The one problem of a text that is no workflow because it is no YAML."""
    with pytest.raises(WorkflowError) as caught:
        parse(text, "w.yml")
    (problem,) = caught.value.problems
    return problem


QUOTES = "put the value in quotes"
INDENT = "lines that belong together begin in the same column"


@pytest.mark.parametrize(
    ("text", "line", "column", "message", "hint"),
    [
        ("a:\n\tb: 1\n", 2, 1, "there is a tab here; YAML indents with spaces", "replace each tab"),
        ("- shell: a\n \t timeout: 5\n", 2, 2, "there is a tab here; YAML indents with spaces", "replace each tab"),
        ("-\tshell: a\n", 1, 2, "there is a tab here; YAML indents with spaces", "replace each tab"),
        ("\tfoo: 1", 1, 1, "there is a tab here; YAML indents with spaces", "replace each tab"),
        ("a: b: c\n", 1, 5, "a `: ` or an indented key cannot stand here", QUOTES),
        ("a: 1\n  b: 2\n", 2, 4, "a `: ` or an indented key cannot stand here", QUOTES),
        ("a: 'x\nb: 1\n", 1, 4, "this quote is never closed", "add the closing quote"),
        ('a: "x\nb: 1\n', 1, 4, "this quote is never closed", "add the closing quote"),
        ('a: "\\q"\n', 1, 6, "an unknown `\\` escape in a double-quoted value", "in single quotes"),
        ('a: "\\xZZ"\n', 1, 7, "an incomplete `\\` escape in a double-quoted value", "in single quotes"),
        ("- a\nb: c\n", 2, 1, "this line does not fit the list that it stands in", INDENT),
        ("a: 1\n- b\n", 2, 1, "this line does not fit the mapping that it stands in", INDENT),
        ("a:\n  - b\n c: 1\n", 3, 2, "this line does not fit the mapping that it stands in", INDENT),
        ("a: - b\n", 1, 4, "a `- ` cannot stand here", INDENT),
        ("a: [1, 2\nb: 3\n", 1, 4, "the `[` that begins here is not closed", "`]` at the end"),
        ("a: {x: 1\nb: 3\n", 1, 4, "the `{` that begins here is not closed", "`}` at the end"),
        ("a: {s: foo ${item.x}}\n", 1, 13, "a `{` cannot stand here, inside `{ }`", "a value with `${...}`"),
        ("a: [${x}]\n", 1, 6, "a `{` cannot stand here, inside `[ ]`", "a value with `${...}`"),
        ("a: @foo\n", 1, 4, "a value cannot begin with '@'", QUOTES),
        ("a: `ls`\n", 1, 4, "a value cannot begin with '`'", QUOTES),
        ("a: %x\n", 1, 4, "a value cannot begin with '%'", QUOTES),
        ("a: *\n", 1, 5, "`*` at the beginning of a value means an alias", QUOTES),
        ("a: *.txt\n", 1, 4, "the alias `*.txt` has no anchor `&.txt` before it", "in quotes"),
        ("a: b\tc\n", 1, 5, "a tab cannot stand here", "replace it by a space, or put the value in quotes"),
        ("a: & b\n", 1, 5, "`&` at the beginning of a value means an anchor", QUOTES),
        ("a: !<x\n", 1, 7, "`!` at the beginning of a value means a tag", QUOTES),
        ("a: !x!y z\n", 1, 4, "`!` at the beginning of a value means a tag", QUOTES),
        ("a: |0\n  x\n", 1, 5, "after `|` or `>` the text begins on the next line", QUOTES),
        ("a: | foo\n  x\n", 1, 6, "after `|` or `>` the text begins on the next line", QUOTES),
        ("x\ny: 1\n", 2, 2, "a `: ` or an indented key cannot stand here", QUOTES),
        ("a\nb\n: c\n", 3, 1, "", None),
        ("--- a\n--- b\n", 2, 1, "a second document begins here", "a file holds one workflow"),
        ("a: 1\n...\nb: 1\n", 3, 1, "a second document begins here", "a file holds one workflow"),
        ("%YAML 2.0\n---\na: 1\n", 1, 1, "only YAML 1.2 is understood", "remove the `%YAML` line"),
        ("a: \x1b[0m\n", 1, 4, "the control character U+001B cannot stand in YAML", "escape in double quotes"),
        ("a: *x\n", 1, 4, "the alias `*x` has no anchor `&x` before it", "in quotes"),
        ("a: &x [*x]\n", 1, 8, "the alias `*x` stands inside the value that it names", None),
        ("&x a: {b: *x}\nc: &y {<<: *y}\n", 2, 12, "the alias `*y` stands inside the value that it names", None),
        ('a: "\\UFFFFFFFF"', 1, 1, "this is not YAML: ", None),
    ],
)  # fmt: skip
def test_a_syntax_error_says_what_to_change(text: str, line: int, column: int, message: str, hint: str | None) -> None:
    problem = only_problem(text)
    assert message in problem.message
    assert (problem.line, problem.column) == (line, column)
    assert (hint or "") in (problem.hint or "")


def test_tabs_inside_of_values_are_text() -> None:
    assert value_of("a: 'b\tc'\nd: |\n  \te\n  f\tg\n") == {"a": "b\tc", "d": "\te\nf\tg\n"}


def test_deep_nesting_is_refused_where_it_goes_too_deep() -> None:
    problem = only_problem("[" * 100_000)
    assert (problem.line, problem.column) == (1, MAX_DEPTH + 1)
    assert problem.message == "this is nested more than 64 levels deep"
    root_of("[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1))


def test_an_alias_bomb_is_refused_before_it_expands() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    problem = only_problem("\n".join(lines))
    assert problem.message == "with its aliases expanded, the file has more than 100,000 values"
    assert problem.line == 5


def test_an_alias_repeats_the_last_value_with_its_name() -> None:
    assert value_of("- &x 1\n- *x\n- &x [2]\n- *x\n") == ["1", "1", ["2"], ["2"]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}", {"b": "3", "a": "1"}),
        ("x: &x {a: 1, b: 2}\ny: {b: 3, <<: *x}", {"b": "3", "a": "1"}),
        ("x: [&p {a: 1}, &q {a: 2, c: 3}]\ny: {<<: [*p, *q]}", {"a": "1", "c": "3"}),
        ("x: &x {a: 1}\nz: &z {<<: *x, b: 2}\ny: {<<: *z}", {"a": "1", "b": "2"}),
        ("x: 1\ny: {<<: {a: 1}, b: 2}", {"a": "1", "b": "2"}),
        ("x: 1\ny: {<<: [], b: 2}", {"b": "2"}),
        ("x: 1\ny: {'<<': 1}", {"<<": "1"}),
    ],
)
def test_merge_keys_fill_in_what_the_mapping_does_not_say_itself(text: str, expected: object) -> None:
    root = value_of(text)
    assert isinstance(root, dict)
    assert root["y"] == expected


def test_merged_entries_keep_the_place_where_they_are_written() -> None:
    root = root_of("x: &x\n  a: 1\ny:\n  <<: *x\n")
    assert isinstance(root, Mapping)
    merged = root.entries["y"].value
    assert isinstance(merged, Mapping)
    assert merged.entries["a"].key.at == Position(2, 3)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: !!int x", Problem(1, 4, "the value does not fit its tag `!!int`")),
        ("a: !!bool yes", Problem(1, 4, "the value does not fit its tag `!!bool`")),
        ("a: !!float 1.5.2", Problem(1, 4, "the value does not fit its tag `!!float`")),
        ("{<<: 1}", Problem(1, 6, "`<<` takes a mapping, or a list of mappings")),
        ("{<<: [{}, x]}", Problem(1, 6, "`<<` takes a mapping, or a list of mappings")),
        ("<<: {}\n<<: {}", Problem(2, 1, "`<<` stands twice in this mapping, first on line 1")),
        ("a: 1\nb: 2\na: 3", Problem(3, 1, "`a` stands twice in this mapping, first on line 1")),
        (
            "a: !include x.yml",
            Problem(1, 4, "the tag `!include` means nothing here", "put text that begins with `!` in quotes"),
        ),
        (
            "a: !!binary x",
            Problem(1, 4, "the tag `!!binary` means nothing here", "put text that begins with `!` in quotes"),
        ),
        (
            "a: !!set {x}",
            Problem(1, 4, "the tag `!!set` means nothing here", "put text that begins with `!` in quotes"),
        ),
        (
            'a: "\\ud800"',
            Problem(1, 4, "this text has half of a surrogate pair in it, which is no character"),
        ),
    ],
)
def test_mistakes_that_do_not_stop_the_reading_are_collected(text: str, problem: Problem) -> None:
    assert compose(Text(text)).problems == [problem]


def test_three_uses_of_one_key_are_two_problems() -> None:
    assert [problem.line for problem in compose(Text("a: 1\na: 2\na: 3")).problems] == [2, 3]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "null"), ("~", "null"), ("null", "null"), ("nil", "str"),
        ("true", "bool"), ("FALSE", "bool"), ("yes", "str"), ("on", "str"), ("y", "str"), ("tRUE", "str"),
        ("0", "int"), ("-7", "int"), ("+7", "int"), ("010", "int"), ("0o17", "int"), ("0xFf", "int"),
        ("0b1", "str"), ("1_000", "str"), ("1:30", "str"), ("12e4567", "float"), ("1.", "float"), (".5", "float"),
        ("-.inf", "float"), (".NaN", "float"), ("1.2.3", "str"), (".", "str"), ("2024-05-01", "str"),
    ],
)  # fmt: skip
def test_plain_scalars_follow_the_core_schema_of_yaml_1_2(text: str, kind: ScalarKind) -> None:
    assert scalar_kind(text) == kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [("'5'", "str"), ('"true"', "str"), ("|\n  5", "str"), ("!!str 5", "str"), ("! 5", "str"), ("!!int '5'", "int"),
     ("!!float 5", "float")],
)  # fmt: skip
def test_quotes_and_tags_decide_before_the_schema(text: str, kind: ScalarKind) -> None:
    assert entry(f"a: {text}\n").kind == kind


# Places inside scalars -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "a: one two MARK\n",
        "a: 'one two MARK'\n",
        'a: "one two MARK"\n',
        "b: {a: one MARK}\n",
        "a: |\n  one\n  two MARK three\n  four\n",
        "a: |\n\n  one\n\n\n  two\n    MARK\n",
        "a: |-  # comment\n      one\n      MARK\n",
        "a: |2\n    one\n   MARK\n",
        "a: |\n  one\n  \tMARK\n",
        "a: |\n  one  \n  one  \n  one MARK  \n\n\n# comment\nb: 1\n",
        "a: >\n  one\n  two MARK three\n  four\n\n  five\n",
        "a: >-\n  one\n\n  MARK\n",
        "a: >\n  one\n    two\n    MARK\n  three\n",
        "a: one\n  two\n  three MARK\n",
        "a: 'one\n  two\n\n  three MARK'\n",
        'a: "one\n  two MARK"\n',
        "a: |\n  ünïcödé 😀 MARK\n",
        "a: one one one MARK one\n",
        "a: |\n  MARK",
        "- x\n- a: |\n    one\n    MARK\n",
    ],
)
def test_a_place_in_a_value_is_found_in_the_file(text: str) -> None:
    node = find_marked(root_of(text))
    line = node.value.count("\n", 0, node.value.index("MARK")) + 1
    column = node.value.index("MARK") - (node.value.rfind("\n", 0, node.value.index("MARK")) + 1) + 1
    expected_line = text.count("\n", 0, text.index("MARK")) + 1
    expected_column = text.index("MARK") - (text.rfind("\n", 0, text.index("MARK")) + 1) + 1
    assert Text(text).inside(node, line, column) == Position(expected_line, expected_column)


def find_marked(node: Node) -> Scalar:
    if isinstance(node, Scalar):
        return node
    parts = node.items if isinstance(node, Sequence) else [part.value for part in node.entries.values()]
    return next(found for part in parts if "MARK" in (found := find_marked(part)).value)


@pytest.mark.parametrize("text", ['a: "one\\ttwo MARK"\n', "a: 'it''s MARK'\n", 'a: "one\\\n  MARK"\n'])
def test_with_escapes_the_place_is_where_the_value_begins(text: str) -> None:
    node = entry(text)
    assert Text(text).inside(node, 1, node.value.index("MARK") + 1) == Position(1, 4)


@given(
    lines=st.lists(st.text(st.sampled_from("ab${} \t'\"#:-|"), max_size=12), min_size=1, max_size=8),
    indent=st.integers(1, 6),
    data=st.data(),
)
def test_every_place_of_a_block_is_exact(lines: list[str], indent: int, data: st.DataObject) -> None:
    visible = [number for number, line in enumerate(lines) if line.strip()]
    text = f"a: |{indent}\n" + "".join(f"{' ' * indent}{line}\n" for line in lines) + "b: 1\n"
    if not visible:
        return
    number = data.draw(st.sampled_from(visible))
    first, last = len(lines[number]) - len(lines[number].lstrip()), len(lines[number].rstrip()) - 1
    column = data.draw(st.integers(first, last))
    node = entry(text)
    assert node.value.split("\n")[number] == lines[number]
    assert Text(text).inside(node, number + 1, column + 1) == Position(number + 2, indent + column + 1)


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n"), max_size=40),
    st.integers(-3, 50),
    st.integers(-3, 50),
)
def test_any_place_of_any_value_is_some_place_of_the_file(value: str, line: int, column: int) -> None:
    text = Text("a: " + json.dumps(value, ensure_ascii=False) + "\n")
    at = text.inside(entry(text.text), line, column)
    assert at.line == 1
    assert 1 <= at.column <= len(text.text)
