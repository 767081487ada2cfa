"""Input files of every format: what their rows stand for, and where a mistake is said to be."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from prodigy.plan.formats_yaml import MAX_VALUES
from prodigy.plan.sources import InputError, items_of_file, items_of_values, read_items
from prodigy.workflow.selection import Selection


def values(name: str, text: str | bytes, json_path: str | None = None) -> list[object]:
    data = text.encode() if isinstance(text, str) else text
    return list(read_items("file", data, json_path, where=name).values)


def error(name: str, text: str | bytes, json_path: str | None = None) -> tuple[str | None, str]:
    with pytest.raises(InputError) as caught:
        values(name, text, json_path)
    return caught.value.where, caught.value.what


# JSON Lines ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.jsonl", "x.ndjson", "dir/X.JSONL"])
def test_each_line_of_json_lines_is_a_value(name: str) -> None:
    assert values(name, '\ufeff{"a": 1}\r\n\n7\ntrue\n[1, 2]\n"x"') == [{"a": 1}, 7, True, [1, 2], "x"]
    assert values(name, "") == []


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ('{"a": 1}\n\n{"a" 2}\n', "x.jsonl:3:6", "not JSON: expecting ':' delimiter"),
        ("1\nabc\n", "x.jsonl:2:1", "not JSON: expecting value"),
        ('1\n{"a": 1, "a": 2}\n', "x.jsonl:2", "unusable JSON: the key 'a' stands twice"),
        (b"1\n2\n\xff\n", "x.jsonl:3:1", "this is not UTF-8 text (byte 0xff)"),
        ("1\n\0\n", "x.jsonl:2", "this line has a NUL byte in it"),
    ],
)  # fmt: skip
def test_a_mistake_in_json_lines_has_a_line(text: str | bytes, where: str, what: str) -> None:
    found_where, found_what = error("x.jsonl", text)
    assert found_where == where
    assert found_what.startswith(what)


# Tables --------------------------------------------------------------------------------------------------


def test_the_first_row_of_a_table_names_the_texts_below() -> None:
    text = '\ufeffid, name ,note\r\n1,Ada,"say ""hi"", then\nleave"\r\n\r\n007,, x \r\n'
    assert values("x.csv", text) == [
        {"id": "1", "name": "Ada", "note": 'say "hi", then\nleave'},
        {"id": "007", "name": "", "note": " x "},
    ]
    assert values("x.tsv", "a\tb\n1,5\tx y\n") == [{"a": "1,5", "b": "x y"}]
    assert values("x.csv", "a,b\n") == []
    assert values("x.csv", "") == []


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("a,b\n1,2\n\n1\n", "x.csv:4", "this row has 1 field, and there are 2 columns"),
        ("a,b\n1,2,3\n", "x.csv:2", "this row has 3 fields, and there are 2 columns"),
        ('a,b\n"x\ny",2\n1,2,3\n', "x.csv:4", "this row has 3 fields, and there are 2 columns"),
        ("a,a\n1,2\n", "x.csv:1", "two columns are called 'a'"),
        ("\na,\n1,2\n", "x.csv:2", "column 2 has no name"),
        ('a,b\n1,2\n3,"x\ny\n', "x.csv:3", "the row that begins here has a quote that does not end"),
        ('a,b\n"x"y,2\n', "x.csv:2", "something stands behind a closing quote"),
        ("a,b\r1,2\r", "x.csv:1", "lines end with a carriage return alone"),
        ("a,b\n1,\0\n", "x.csv:2", "this line has a NUL byte in it"),
    ],
)
def test_a_mistake_in_a_table_has_the_line_of_its_row(text: str, where: str, what: str) -> None:
    assert error("x.csv", text) == (where, what)


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=6)


@given(st.lists(st.tuples(cells, cells), max_size=4), st.sampled_from(["\n", "\r\n"]))
@settings(max_examples=100, deadline=None)
def test_any_table_that_the_csv_module_writes_arrives_whole(rows: list[tuple[str, str]], line_end: str) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator=line_end).writerows([("a", "b"), *rows])
    assert values("x.csv", out.getvalue()) == [{"a": a, "b": b} for a, b in rows]


# YAML ----------------------------------------------------------------------------------------------------


def test_yaml_is_data_whose_dates_are_texts() -> None:
    text = """
- id: 1
  when: 2024-05-01
  yes: no
  hex: 0x1F
  half: .5
  nothing: ~
  quoted: '1'
  tagged: !!str 5
- &base {a: 1, b: 2}
- {<<: *base, b: 3}
- *base
- |
  two
  lines
"""
    assert values("x.yaml", text) == [
        {
            "id": 1, "when": "2024-05-01", "yes": "no", "hex": 31, "half": 0.5, "nothing": None, "quoted": "1",
            "tagged": "5",
        },
        {"a": 1, "b": 2},
        {"a": 1, "b": 3},
        {"a": 1, "b": 2},
        "two\nlines\n",
    ]  # fmt: skip
    assert values("x.yml", "items: [a, b]", "$.items[*]") == ["a", "b"]


BOMB = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("- a\n- {b: 1\n- c\n", "x.yaml:4:1", "not YAML: "),
        ("- a: 1\n  b: 2\n  a: 3\n", "x.yaml:3:3", "the key 'a' stands twice in this mapping"),
        ("a: .nan\n", "x.yaml:1:4", ".nan is not a JSON value"),
        ("a: 1\n--- \nb: 2\n", "x.yaml:2:1", "a second document begins here"),
        ("", "x.yaml", "this file is empty"),
        ("a: !!python/object:os.system x\n", "x.yaml:1:4", "the tag `!!python/object:os.system` means nothing here"),
        ("a: *b\n", "x.yaml:1:4", "the alias `*b` has no anchor `&b` before it"),
        ("a: &b [*b]\n", "x.yaml:1:8", "the alias `*b` stands inside the value that it names"),
        ("? [a]\n: b\n", "x.yaml:1:3", "a key must be one word, not a list, a mapping or an alias"),
        ("a: !!int x\n", "x.yaml:1:4", "the value does not fit its tag `!!int`"),
        ("[" * 200 + "]" * 200, "x.yaml:1:101", "values are nested more than 100 levels deep"),
        (BOMB, "x.yaml:8:15", f"with its aliases expanded, the file has more than {MAX_VALUES:,} values"),
        ("a: \x07\n", "x.yaml", "not YAML: "),
    ],
)
def test_yaml_that_has_no_clear_value_is_refused_with_its_place(text: str, where: str, what: str) -> None:
    found_where, found_what = error("x.yaml", text)
    assert found_what.startswith(what)
    assert (found_where or "").startswith(where)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text("ab :-#{}[]'\"é\n1~", max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab1 ", min_size=1, max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.lists(json_values, max_size=3))
@settings(max_examples=100, deadline=None)
def test_what_a_yaml_library_writes_arrives_whole(written: list[object]) -> None:
    out = io.StringIO()
    YAML(typ="safe", pure=True).dump(written, out)
    assert values("x.yaml", out.getvalue()) == written
    assert values("x.yaml", json.dumps(written)) == written


# Names that say nothing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["list.txt", "dir/list", "x.log"])
def test_a_file_of_another_name_is_json_if_it_looks_like_it_else_lines(name: str) -> None:
    assert values(name, "a b\r\n\n  c\n12\n") == ["a b", "c", "12"]
    assert values(name, '[{"a": 1}, 2]') == [{"a": 1}, 2]
    assert values(name, '{"a": [1]}', "$.a") == [1]
    assert values(name, '{"a": 1}\n{"a": 2}\n') == [{"a": 1}, {"a": 2}]


def test_a_script_is_no_list_of_its_lines() -> None:
    assert error("./list.sh", "#!/bin/sh\nls\n") == ("./list.sh", "this is a script, not a list of items")


# All of them ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [("x.jsonl", '{"n": 1}\n{"n": 2}\n'), ("x.yaml", "- n: 1\n- n: 2\n"), ("x.txt", '{"n":1}\n{"n":2}')],
)
def test_a_json_path_applies_to_the_list_of_all(name: str, text: str) -> None:
    assert values(name, text, "$[?@.n > 1].n") == [2]
    assert values("x.csv", "n,m\n1,a\n2,b\n", "$[1:].m") == ["b"]


def test_texts_are_items_as_they_are() -> None:
    assert items_of_values(["7", " a ", "{}"]).values == ("7", " a ", "{}")
    assert items_of_values(["a", "b"], Selection(filter="item != 'a'")).values == ("b",)


def test_behind_the_last_item_of_a_large_file_nothing_is_read(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text('{"n": 1}\n{"n": 2}\n{"n": 3}\nthis is not read\n')
    assert items_of_file(file, None, Selection(filter="n > 1", max_items=2)).values == ({"n": 2}, {"n": 3})


@given(
    st.sampled_from(["x.json", "x.jsonl", "x.yaml", "x.csv", "x.tsv", "x.txt"]),
    st.binary(max_size=40) | st.text(st.sampled_from("{}[]\",:&*-?!'#\\u1ed a\n\r\t\0é"), max_size=30).map(str.encode),
)
@settings(max_examples=200, deadline=None)
def test_any_bytes_in_any_format_are_values_or_an_input_error(name: str, data: bytes) -> None:
    try:
        found = values(name, data)
    except InputError:
        return
    json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
