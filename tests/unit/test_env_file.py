"""`.env` files: what is read, and that whatever else stands there is an error with its line."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prodigy.errors import ProdigyError, UsageError
from prodigy.workflow.env_file import parse_env_file

LINES = st.text(st.sampled_from("AB_ =#'\"\\\n\r\t$xnt1 export\0é"), max_size=80)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A=1\nB=two words\n", {"A": "1", "B": "two words"}),
        ("# a comment\n\n  \nA=1 # and one behind\nB=a#b", {"A": "1", "B": "a#b"}),
        ("export A=1\n  export  B = 2  ", {"A": "1", "B": "2"}),
        ('A=\'$x \\n "q"\'\nB="a\\nb\\t\\"c\\" \\$d \\\\ \\q"', {"A": '$x \\n "q"', "B": 'a\nb\t"c" $d \\ \\q'}),
        ("A='one\ntwo' # more\nB=3", {"A": "one\ntwo", "B": "3"}),
        ('A="one\\\ntwo"', {"A": "onetwo"}),
        ("A=\nB=''\nC=#x", {"A": "", "B": "", "C": ""}),
        ("\ufeffA=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("A=1\nA=2", {"A": "2"}),
        ("A=a=b", {"A": "a=b"}),
        ("", {}),
    ],
)
def test_what_a_file_says(text: str, found: dict[str, str]) -> None:
    assert parse_env_file(text, ".env") == found


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("A=1\nhello\n", 2),
        ("export A", 1),
        ("1A=x", 1),
        ("\n\nA='open", 3),
        ('A="open\n\n', 1),
        ("A='x' y", 1),
        ("A='one\ntwo'\nB", 3),
        ("A=\0", 1),
    ],
)
def test_a_malformed_line_is_named_and_not_shown(text: str, line: int) -> None:
    with pytest.raises(UsageError) as caught:
        parse_env_file(text, "conf/.env")
    assert str(caught.value).startswith(f"conf/.env:{line}: ")


@given(st.one_of(st.text(max_size=200), LINES))
@settings(max_examples=200, deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse_env_file(text, ".env")
    except ProdigyError:
        return
    assert all(name.isidentifier() and name.isascii() and "\0" not in value for name, value in found.items())


@given(
    st.dictionaries(st.from_regex(r"[A-Z_]{1,8}", fullmatch=True), st.text(st.characters(exclude_characters="\0\r")))
)
@settings(max_examples=100, deadline=None)
def test_every_value_can_be_written(values: dict[str, str]) -> None:
    quoted = {name: value.replace("\\", "\\\\").replace('"', '\\"') for name, value in values.items()}
    text = "".join(f'{name}="{value}"\n' for name, value in quoted.items())
    assert parse_env_file(text, ".env") == values
