"""From bytes to values: what a JSON file and what a command's output stand for, and what both refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodigy.plan.sources import InputError, items_of_file, items_of_output, locate, read_items


def file_values(text: str, json_path: str | None = None) -> list[object]:
    return list(read_items("file", text.encode(), json_path, where="x.json").values)


def output_values(text: str, json_path: str | None = None) -> list[object]:
    return list(items_of_output(text.encode(), json_path).values)


def file_error(data: bytes | str, json_path: str | None = None) -> InputError:
    with pytest.raises(InputError) as caught:
        read_items("file", data.encode() if isinstance(data, str) else data, json_path, where="x.json")
    return caught.value


def output_error(data: bytes | str) -> InputError:
    with pytest.raises(InputError) as caught:
        items_of_output(data.encode() if isinstance(data, str) else data)
    return caught.value


# Documents -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("[1, 2]", [1, 2]),
        ("[[1], {}]", [[1], {}]),
        ('{"items": [1]}', [{"items": [1]}]),
        ('"text"', ["text"]),
        ("7", [7]),
        ("null", [None]),
        ("[]", []),
        (" \r\n[1]\n", [1]),
        ("\ufeff[1]", [1]),
        ('["ä", "\\u00e4", "\\ud83d\\ude00"]', ["ä", "ä", "😀"]),
    ],
)
def test_a_list_is_its_elements_and_anything_else_is_one_item(text: str, values: list[object]) -> None:
    assert file_values(text) == values


@pytest.mark.parametrize(
    ("json_path", "values"),
    [
        ("$.items[*]", [{"n": 1}, {"n": 2, "tags": ["a", "b"]}]),
        ("items[*]", [{"n": 1}, {"n": 2, "tags": ["a", "b"]}]),
        (".items[*].n", [1, 2]),
        ("$.items[?@.n > 1].n", [2]),
        ("$.items[-1:].tags[*]", ["a", "b"]),
        ("$..n", [1, 2]),
        # A path to one place: the list there stands for its elements, as a whole document does.
        ("$.items", [{"n": 1}, {"n": 2, "tags": ["a", "b"]}]),
        ("$.items[1].tags", ["a", "b"]),
        ("$.items[0]", [{"n": 1}]),
        # A path to many places: each is one item, also when there is but one.
        ("$.items[*].tags", [["a", "b"]]),
        ("$", [{"items": [{"n": 1}, {"n": 2, "tags": ["a", "b"]}]}]),
    ],
)
def test_a_json_path_selects_the_items(json_path: str, values: list[object]) -> None:
    assert file_values('{"items": [{"n": 1}, {"n": 2, "tags": ["a", "b"]}]}', json_path) == values


def test_an_empty_selection_is_an_empty_input_with_a_warning() -> None:
    found = read_items("file", b'{"items": []}', "$.itmes[*]", where="x.json")
    assert (found.values, found.warnings) == ((), ("x.json: $.itmes[*] selects nothing",))
    found = read_items("file", b"[]", None, where="x.json")
    assert (found.values, found.warnings) == ((), ("x.json: no items",))
    assert items_of_output(b"\n \n").warnings == ("output of the input command: no items",)


def test_a_file_is_read_from_disk(tmp_path: Path) -> None:
    file = tmp_path / "items.json"
    file.write_text('{"a": [1]}', encoding="utf-8")
    assert items_of_file(file).values == ({"a": [1]},)
    assert items_of_file(file, "$.a").values == (1,)
    with pytest.raises(InputError) as caught:
        items_of_file(tmp_path / "no.json")
    assert str(caught.value) == f"{tmp_path}/no.json: the input cannot be read: No such file or directory"


# Output --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("[1, 2]\n", [1, 2]),
        ('\n\n[\n  {"a": 1},\n  {"a": 2}\n]\n\n', [{"a": 1}, {"a": 2}]),
        ('{\n  "a": 1\n}\n', [{"a": 1}]),
        ('{"a": 1}\n{"a": 2}\n', [{"a": 1}, {"a": 2}]),
        ('[1]\n[2, 3]\n', [[1], [2, 3]]),
        ('"x y"\n"z"\n', ["x y", "z"]),
        ("src/a.js\nsrc/b.js\n", ["src/a.js", "src/b.js"]),
        ("  a b  \n\n\t\nc\r\n", ["a b", "c"]),
        ('a\n{"b": 1}\n[2]\n', ["a", {"b": 1}, [2]]),
        ("", []),
        ("\n  \n", []),
        ("one", ["one"]),
        ("[WARN] x\n[INFO] y\n", ["[WARN] x", "[INFO] y"]),
        ("\"unbalanced\nx", ['"unbalanced', "x"]),
        ("a\u2028b\x0cc\n", ["a\u2028b\x0cc"]),
    ],
)  # fmt: skip
def test_an_output_is_one_document_or_a_value_on_each_line(text: str, values: list[object]) -> None:
    assert output_values(text) == values


@pytest.mark.parametrize("word", ["123", "007", "true", "null", "1.0", "12e4567", "-5", "NaN", "1_000"])
def test_a_bare_word_is_text_even_when_json_could_read_it(word: str) -> None:
    # `git log --format=%h` prints 12e4567 and 1234567; both are commits, and both must arrive as printed.
    assert output_values(f"{word}\n") == [word]
    assert output_values(f"x\n{word}\n") == ["x", word]


def test_a_line_that_begins_like_an_object_but_is_none_is_text_with_a_warning() -> None:
    found = items_of_output(b'\n\na\n{"x": 1,}\n')
    assert found.values == ("a", '{"x": 1,}')
    assert found.warnings == ("output of the input command:4: this line is not valid JSON and is taken as text",)


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ('{\n  "a": 1\n"b": 2}\n', 3, 1),
        ('\n\n  {\n  "a": 1\n"b": 2}\n', 5, 1),
        ('[\n  {"a": 1}\n  {"a": 2}\n]\n', 3, 3),
        ('{\n  "a": 1\n}\n{\n  "a": 2\n}\n', 4, 1),
    ],
)
def test_a_broken_document_is_refused_instead_of_run_line_by_line(text: str, line: int, column: int) -> None:
    error = output_error(text)
    assert error.where == f"output of the input command:{line}:{column}"
    assert error.what.startswith("this output looks like JSON but is not: ")
    assert error.hint == "print one JSON array, or one value on each line (jq -c)"


@pytest.mark.parametrize(
    ("text", "json_path", "values"),
    [
        ('{"items": [1, 2]}', "items[*]", [1, 2]),
        ('[{"n": 1}, {"n": 2}]', "$[*].n", [1, 2]),
        ('{"n": 1}\n{"n": 2}\n', "$[*].n", [1, 2]),
        ("a\nb\n", "$[1:]", ["b"]),
        ("a\nb\n", "$.items[*]", []),
    ],
)
def test_a_json_path_applies_to_the_document_or_to_the_list_of_lines(
    text: str, json_path: str, values: list[object]
) -> None:
    assert output_values(text, json_path) == values


# Refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("", "x.json", "this file is empty, which is not JSON"),
        (" \n", "x.json", "this file is empty, which is not JSON"),
        ('{"a": 1,\n "b" 2}', "x.json:2:6", "not JSON: expecting ':' delimiter"),
        ("[1, 2", "x.json:1:6", "not JSON: expecting ',' delimiter"),
        ("[1] x", "x.json:1:5", "not JSON: extra data"),
        ("items:\n- a\n", "x.json:1:1", "not JSON: expecting value"),
        ('{"a": NaN}', "x.json", "unusable JSON: NaN is not a JSON value"),
        ("[-Infinity]", "x.json", "unusable JSON: -Infinity is not a JSON value"),
        ("[1e999]", "x.json", "unusable JSON: the number 1e999 is too large"),
        (f"[{'9' * 5000}]", "x.json", "unusable JSON: a whole number has thousands of digits"),
        (
            '[{"id": 1}, {"id": 2, "n": 1, "id": 3}]',
            "x.json",
            "unusable JSON: the key 'id' stands twice in the object with the keys 'id', 'n'",
        ),
        ('["\\ud800"]', "x.json", "unusable JSON: a text has half of a surrogate pair in it, which is no character"),
        ('{"\\udc00": 1}', "x.json", "unusable JSON: a text has half of a surrogate pair in it, which is no character"),
        ("[" * 101 + "]" * 101, "x.json", "unusable JSON: values are nested more than 100 levels deep"),
        ("[" * 100_000, "x.json", "unusable JSON: values are nested more than 100 levels deep"),
        ('{"a":' * 50_000, "x.json", "unusable JSON: values are nested more than 100 levels deep"),
    ],
)
def test_json_that_has_no_clear_value_is_refused(text: str, where: str, what: str) -> None:
    error = file_error(text)
    assert (error.where, error.what) == (where, what)


def test_nesting_up_to_the_limit_is_fine() -> None:
    assert file_values("[" * 100 + "]" * 100) == json.loads("[" * 100 + "]" * 100)


def test_text_that_is_not_utf_8_is_refused_with_its_place() -> None:
    assert file_error(b'["a",\n "\xff"]').where == "x.json:2:3"
    assert output_error(b"a\nb\xe9\n").where == "output of the input command:2:2"
    assert output_error(b"a\nb\xe9\n").what == "this is not UTF-8 text (byte 0xe9)"


def test_a_refused_value_on_a_line_names_the_line() -> None:
    error = output_error('{"a": 1}\n{"a": 1, "a": 2}\n')
    assert error.where == "output of the input command:2"
    assert error.what == "unusable JSON: the key 'a' stands twice in the object with the keys 'a'"


def test_items_separated_by_nul_are_refused() -> None:
    error = output_error("a\0b\0")
    assert error.where == "output of the input command:1"
    assert error.hint == "print one item on each line, without -print0 or -0"


def test_a_script_named_as_a_file_is_explained() -> None:
    assert file_error("#!/bin/sh\nls\n").hint == "an input file holds items; to run a script, write `bash FILE`"
    assert file_error("{").hint is None


# Places --------------------------------------------------------------------------------------------------


@pytest.fixture
def worktree(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


@pytest.fixture
def user_dir(tmp_path: Path) -> Path:
    (tmp_path / "user").mkdir()
    return tmp_path / "user"


def test_a_file_of_the_run_worktree_comes_before_one_where_the_user_stands(worktree: Path, user_dir: Path) -> None:
    (user_dir / "items.json").touch()
    assert locate("items.json", worktree, user_dir) == user_dir / "items.json"
    (worktree / "items.json").touch()
    assert locate("items.json", worktree, user_dir) == worktree / "items.json"


def test_a_missing_file_names_the_places_looked_at(worktree: Path, user_dir: Path) -> None:
    with pytest.raises(InputError) as caught:
        locate("no/items.json", worktree, user_dir)
    assert caught.value.what == "the input file no/items.json does not exist"
    assert caught.value.hint == (
        f"looked at {worktree}/no/items.json and {user_dir}/no/items.json;"
        " an `input` of several words runs as a command"
    )


def test_a_place_is_named_once_when_the_user_stands_in_the_worktree(worktree: Path) -> None:
    with pytest.raises(InputError) as caught:
        locate("x.json", worktree, worktree)
    assert str(caught.value).count("x.json") == 2


def test_a_directory_is_not_an_input_but_does_not_hide_a_file(worktree: Path, user_dir: Path) -> None:
    (worktree / "items.json").mkdir()
    with pytest.raises(InputError, match=r"the input items\.json is not a file"):
        locate("items.json", worktree, user_dir)
    (user_dir / "items.json").touch()
    assert locate("items.json", worktree, user_dir) == user_dir / "items.json"


def test_the_user_may_name_any_file_of_theirs(
    worktree: Path, user_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outside.json").touch()
    (worktree / "link.json").symlink_to(tmp_path / "outside.json")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (f"{tmp_path}/outside.json", "../outside.json", "link.json", "~/outside.json"):
        assert locate(name, worktree, user_dir).samefile(tmp_path / "outside.json")


@pytest.mark.parametrize("name", ["a\0/b.json", "~nobody-of-this-name/x.json", "x" * 5000 + "/y.json"])
def test_a_name_that_cannot_be_a_path_is_an_input_error(name: str, worktree: Path, user_dir: Path) -> None:
    with pytest.raises(InputError):
        locate(name, worktree, user_dir)


# Properties ----------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(st.lists(json_values, max_size=5), st.booleans())
def test_a_json_list_arrives_whole_by_file_and_by_output(values: list[object], ascii_only: bool) -> None:
    text = json.dumps(values, ensure_ascii=ascii_only)
    assert file_values(text) == values
    assert output_values(text) == values


@given(st.lists(st.dictionaries(st.text(), json_values, max_size=3), min_size=1, max_size=5))
def test_json_lines_arrive_whole(values: list[dict[str, object]]) -> None:
    expected = list(values)
    assert output_values("\n".join(json.dumps(value) for value in values)) == expected


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)))
def test_plain_lines_arrive_byte_for_byte(lines: list[str]) -> None:
    lines = [line for line in lines if line.strip(" ") and line[:1] not in '{["\ufeff']
    assert output_values("\n".join(lines)) == [line.strip(" ") for line in lines]


@given(st.binary(max_size=60) | st.text(st.sampled_from('{}[]",:\\u1eNaIdf8 \n'), max_size=40).map(str.encode))
def test_any_bytes_are_values_or_an_input_error(data: bytes) -> None:
    for read in (items_of_output, lambda raw: read_items("file", raw, None, where="x")):
        try:
            values = read(data).values
        except InputError:
            continue
        json.dumps(values, ensure_ascii=False, allow_nan=False).encode()
