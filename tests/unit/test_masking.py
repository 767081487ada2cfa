"""Secrets are not shown: known values wherever they stand, and what is a secret by its form or its name."""

from __future__ import annotations

import json
import random
import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prodigy.secrets import FILE, MASK, MaskedStream, Masks, is_secret_name

TEXT = st.text(st.characters(exclude_categories=()), max_size=60)
VALUE = st.text(st.characters(exclude_categories=()), min_size=4, max_size=40)


def knowing(folder: Path, *values: str) -> Masks:
    masks = Masks()
    masks.remember(folder, values)
    return masks


@given(values=st.lists(VALUE, min_size=1, max_size=4), pieces=st.lists(TEXT, min_size=1, max_size=5), data=st.data())
@settings(max_examples=200, deadline=None)
def test_no_known_value_is_left_in_any_text(
    tmp_path_factory: pytest.TempPathFactory, values: list[str], pieces: list[str], data: st.DataObject
) -> None:
    masks = knowing(tmp_path_factory.mktemp("run"), *values)
    text = "".join(piece + data.draw(st.sampled_from([*values, ""])) for piece in pieces)
    masked = masks.text(text)
    assert not any(value in masked for value in values)


@given(st.text(max_size=400))
@settings(max_examples=200, deadline=None)
def test_a_text_without_secrets_stays_as_it_is(text: str) -> None:
    masked = Masks().text(text)
    assert masked == text or MASK in masked


@given(value=VALUE, before=TEXT, after=TEXT, data=st.data())
@settings(max_examples=200, deadline=None)
def test_a_value_is_found_however_the_output_is_cut(
    tmp_path_factory: pytest.TempPathFactory, value: str, before: str, after: str, data: st.DataObject
) -> None:
    masks = knowing(tmp_path_factory.mktemp("run"), value)
    raw = (before + value + after).encode("utf-8", "surrogatepass")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=4)))
    stream, out = MaskedStream(masks), b""
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        out += stream.feed(raw[start:end])
    out += stream.flush()
    assert value.encode("utf-8", "surrogatepass") not in out


@pytest.mark.parametrize("value", ['quo"te\\and\nnew line', "ümläut-päss", "sp ace&amp=1", "it's", "tab\tseparated"])
def test_a_value_is_found_in_the_forms_that_programs_write(tmp_path: Path, value: str) -> None:
    masks = knowing(tmp_path, value)
    for text in (value, json.dumps({"x": value}), json.dumps({"x": value}, ensure_ascii=False), repr(value)):
        assert MASK in masks.text(text), text
        assert value[:4] not in masks.text(text)


def test_each_line_of_a_secret_with_several_is_masked(tmp_path: Path) -> None:
    masks = knowing(tmp_path, "-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQ\n-----END KEY-----\n")
    assert masks.text("  line 2: MIIEvQIBADANBg!") == f"  line 2: {MASK}!"


def test_a_json_document_stays_one(tmp_path: Path) -> None:
    masks = knowing(tmp_path, "true", "1234", "failed")
    document = {"merged": True, "tokens": 12345, "error": "failed with 1234", "list": [None, 1.5]}
    masked = json.loads(masks.text(json.dumps(document, indent=2)))
    assert masked == {"merged": MASK, "tokens": MASK, "error": f"{MASK} with {MASK}", "list": [None, 1.5]}


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("pushed with ghp_0123456789abcdefABCDEF0123456789abcd now", "ghp_0123456789abcdefABCDEF0123456789abcd"),
        ("glpat-abcDEF1234567890-_xy", "glpat-abcDEF1234567890-_xy"),
        ("id AKIAIOSFODNN7EXAMPLE.", "AKIAIOSFODNN7EXAMPLE"),
        ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl", "eyJzdWIiOiIxMjM0In0"),
        ("Authorization: Bearer abc123def456", "abc123def456"),
        ("authorization: basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("DB_PASSWORD=hunter22", "hunter22"),
        ('export API_KEY="k-1234"', "k-1234"),
        ('{"client_secret": "zyxw\\"v"}', "zyxw"),
        ("MYSQL_PWD=opensesame", "opensesame"),
    ],
)
def test_a_secret_is_known_by_its_form_or_its_name(text: str, secret: str) -> None:
    masked = Masks().text(text)
    assert secret not in masked
    assert MASK in masked


@pytest.mark.parametrize(
    "text",
    [
        "Basic authentication is required",
        "Bearer of bad news",
        "SyntaxError: unexpected token: foo",
        "PWD=/home/ada/project OLDPWD=/tmp/x",
        "TOKEN=$TOKEN ./deploy.sh",
        "author=ada tokens: 12",
        '{"tokens": 12345, "steps_run": 3}',
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert Masks().text(text) == text


def test_names_of_secrets() -> None:
    assert all(map(is_secret_name, ["GITHUB_TOKEN", "DB_PASSWORD", "api_key", "APIKEY", "CLIENT_SECRET", "SSH_KEY"]))
    assert not any(map(is_secret_name, ["PWD", "AUTHOR", "TOKENS", "SSH_AUTH_SOCK", "KEYBOARD", "OAUTHOR"]))


def test_the_file_of_a_run_has_no_value_in_it_and_is_private(tmp_path: Path) -> None:
    knowing(tmp_path, "correct-horse-battery")
    text = (tmp_path / FILE).read_text()
    assert not any(part in text for part in ("correct", "horse", "battery"))
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_another_process_recognises_them_also_those_learned_later_and_earlier(tmp_path: Path) -> None:
    masks = knowing(tmp_path, "first-value")
    watching = Masks()
    watching.learn(tmp_path)
    assert watching.text("first-value second-value") == f"{MASK} second-value"
    masks.remember(tmp_path, ["second-value"])
    watching._looked_at = 0.0
    assert watching.text("first-value second-value") == f"{MASK} {MASK}"


def test_a_damaged_file_is_no_error_and_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"salt": 3}')
    watching = Masks()
    watching.learn(tmp_path)
    assert knowing(tmp_path, "some-value").text("some-value") == MASK


def test_a_value_with_fewer_than_four_characters_is_left(tmp_path: Path) -> None:
    assert knowing(tmp_path, "abc").text("abcdef") == "abcdef"


def test_a_value_is_found_in_a_megabyte_of_noise(tmp_path: Path) -> None:
    dice = random.Random(7)
    values = ["".join(dice.choices(string.ascii_letters + string.digits, k=40)) for _ in range(10)]
    masks = knowing(tmp_path, *values)
    text = "".join(dice.choices(string.printable, k=1_000_000))
    masked = masks.text(text[:500_000] + values[3] + text[500_000:])
    assert values[3] not in masked


def test_what_is_learned_one_by_one_is_known_to_others_also_behind_a_line_that_is_cut_off(tmp_path: Path) -> None:
    driving = Masks()
    driving.remember(tmp_path, ["first-value"])
    with (tmp_path / FILE).open("a") as file:
        file.write("[11, 2")  # here a process died
    for value in ("second-value", "third-value", "second-value"):
        driving.remember(tmp_path, [value])
    kept = (tmp_path / FILE).read_bytes()
    watching = Masks()
    watching.learn(tmp_path)
    assert watching.text("first-value second-value third-value fourth") == "*** *** *** fourth"
    resumed = Masks()
    resumed.remember(tmp_path, ["third-value", "first-value"])
    assert (tmp_path / FILE).read_bytes() == kept
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("left", ["", "nonsense", '{"salt": 5}'])
def test_a_file_that_is_not_whole_is_written_anew(tmp_path: Path, left: str) -> None:
    (tmp_path / FILE).write_text(left)
    Masks().remember(tmp_path, ["first-value"])
    watching = Masks()
    watching.learn(tmp_path)
    assert watching.text("first-value") == "***"
