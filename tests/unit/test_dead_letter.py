"""What a failure becomes: kinds, what a retry and a person have to do with it, and signatures."""

from __future__ import annotations

import itertools
import json
import re
import sqlite3
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from prodigy.agents import claude_verdict
from prodigy.plan.identity import Item, identify
from prodigy.state.dead_letter import (
    KINDS,
    DeadLetter,
    ErrorKind,
    Failure,
    classify,
    dead_letter,
)
from prodigy.state.items import NOT_A_TRY
from prodigy.state.retry import CONDITIONS, NEVER
from prodigy.state.signature import MAX_MESSAGE, signature
from prodigy.workflow import keys

ITEM = Item(3, "it", {"id": "it"})


def letter_of(failure: Failure, item: Item = ITEM, attempt: int = 1) -> DeadLetter:
    letter = dead_letter(failure, item, attempt)
    assert letter is not None
    return letter


def test_success_leaves_no_dead_letter() -> None:
    assert dead_letter(None, ITEM, 1) is None


def test_a_dead_letter_says_whose_it_is_and_of_which_attempt() -> None:
    letter = letter_of(Failure("exited with code 7: boom", kind="command_failed", exit_code=7), Item(9, "a-7", {}), 4)
    assert (letter.item_id, letter.attempt_number) == ("a-7", 4)
    assert (letter.kind, letter.exit_code, letter.message) == ("command_failed", 7, "exited with code 7: boom")


def test_a_dead_letter_is_the_same_each_time() -> None:
    failure = Failure("src/a.py:1: bad")
    assert dead_letter(failure, ITEM, 2) == dead_letter(failure, ITEM, 2)


# Kinds -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(KINDS - {"unknown"}))
def test_a_kind_that_is_told_stands_whatever_the_exit_status_and_the_text_say(kind: ErrorKind) -> None:
    assert classify(Failure("invalid merge, exit code: 5", kind=kind, exit_code=3)) == (kind, 3)


@pytest.mark.parametrize("kind", [None, "unknown", "no such kind"])
def test_where_no_kind_is_told_the_exit_status_comes_before_the_text(kind: str | None) -> None:
    assert classify(Failure("merge conflict timed out: out of memory", kind=kind, exit_code=3)) == ("command_failed", 3)


@pytest.mark.parametrize("kind", [None, "unknown", "no such kind"])
@pytest.mark.parametrize("status", [None, 0])
def test_where_neither_is_told_the_text_decides(kind: str | None, status: int | None) -> None:
    assert classify(Failure("the worktree is gone", kind=kind, exit_code=status)) == ("worktree_error", status)


def test_a_killed_process_is_a_failed_command_even_when_its_text_speaks_of_memory() -> None:
    assert classify(Failure("Killed: out of memory", exit_code=137)) == ("command_failed", 137)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Commit required but none was made", "commit_validation_failed"),
        ("commit validation said no", "commit_validation_failed"),
        ("Timeout waiting for the lock", "timeout"),
        ("the step TIMED OUT", "timeout"),
        ("Merge failed", "merge_conflict"),
        ("CONFLICT (content)", "merge_conflict"),
        ("Worktree is gone", "worktree_error"),
        ("Validation said no", "validation_failed"),
        ("Invalid answer", "validation_failed"),
        ("Resource temporarily unavailable", "resource_exhausted"),
        ("JavaScript heap out of memory", "resource_exhausted"),
        ("OSError: [Errno 28] No space left on device", "resource_exhausted"),
        ("Disk quota exceeded", "resource_exhausted"),
        ("EMFILE: too many open files", "resource_exhausted"),
        ("fork: Cannot allocate memory", "resource_exhausted"),
        ("open: Permission denied", "permission"),
        ("Access denied", "permission"),
        ("something odd", "unknown"),
        ("", "unknown"),
    ],
)
def test_texts_that_tell_a_kind(text: str, kind: str) -> None:
    assert classify(Failure(text)) == (kind, None)


ORDER = [
    ("commit required", "commit_validation_failed"),
    ("timeout", "timeout"),
    ("conflict", "merge_conflict"),
    ("worktree", "worktree_error"),
    ("validation", "validation_failed"),
    ("resource", "resource_exhausted"),
    ("exit code 5", "command_failed"),
    ("no space left on device", "resource_exhausted"),
    ("permission denied", "permission"),
]


@pytest.mark.parametrize(("first", "second"), list(itertools.pairwise(ORDER)))
def test_of_two_texts_the_order_of_the_list_decides_not_that_of_the_message(
    first: tuple[str, str], second: tuple[str, str]
) -> None:
    for text in (f"{first[0]}; {second[0]}", f"{second[0]}; {first[0]}"):
        assert classify(Failure(text))[0] == first[1]


@pytest.mark.parametrize("text", ["rate limit reached", "429 too many requests", "interrupted", "lost", "budget", "x"])
def test_no_text_makes_a_failure_one_that_is_not_counted(text: str) -> None:
    """A program that only prints such a text would be run for ever."""
    assert classify(Failure(text))[0] not in NOT_A_TRY


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("exit code: 3", 3),
        ("exit code 3", 3),
        ("exit code:3", 3),
        ("EXIT CODE: 3", 3),
        ("process exited with code 3", 3),
        ("Exited With Code 3", 3),
        ("exited with status 3", 3),
        ("exited with exit code 3", 3),
        ("status code: 3", 3),
        ("status code 3", 3),
        ("returned non-zero exit status 3.", 3),
        ("exit status: 101", 101),
        ("exit code 007", 7),
        ("exit status -9", -9),
        ("exit code 3221225786", 3221225786),
        ("exit code 0", 0),
        # Who failed speaks first, and what did not fail does not count.
        ("exited with code 1: child failed, exit code: 127", 1),
        ("exit status 4 (status code 5)", 4),
        ("hook had exit code 0, script had exit code 6", 6),
        # No exit codes, though a command failed.
        ("exit code 99999999999", None),
        ("exit code " + "9" * 3000, None),
        ("exit code 4294967296", None),
        ("exit code 99999999999, exit code 2", 2),
    ],
)
def test_an_exit_code_is_found_in_every_form_of_text(text: str, code: int | None) -> None:
    assert classify(Failure(text)) == ("command_failed", code)
    assert classify(Failure(f"it failed: {text}!", kind="command_failed")) == ("command_failed", code)


@pytest.mark.parametrize("text", ["exit code unknown", "code 3", "exit 3", "exited", "exit code: x3"])
def test_what_is_no_exit_code(text: str) -> None:
    assert classify(Failure(text)) == ("unknown", None)


@given(st.text(), st.none() | st.text() | st.sampled_from(sorted(KINDS)), st.none() | st.integers(-300, 300))
def test_every_failure_has_one_of_the_kinds(text: str, kind: str | None, code: int | None) -> None:
    assert classify(Failure(text, kind=kind, exit_code=code))[0] in KINDS


def test_every_kind_that_others_name_is_one_of_the_list() -> None:
    assert len(get_args(ErrorKind)) == len(KINDS) == 18
    named = {*NOT_A_TRY, *NEVER, *(set(keys.RETRY_ON) - set(CONDITIONS))}
    tables = (claude_verdict._BY_ERROR, claude_verdict._BY_STATUS, claude_verdict._BY_SUBTYPE)
    named |= {kind for table in tables for kind in table.values()}
    engine = Path(claude_verdict.__file__).parents[1] / "engine"
    for source in engine.glob("*.py"):
        text = source.read_text()
        named |= set(re.findall(r'Failure\([^\n]*?(?:\n[^\n]*?){0,5}?kind="(\w+)"', text))
        named |= set(re.findall(r'return "(\w+_\w+|timeout|lost)", ', text))
    assert {"tampered", "agent_hung", "merge_conflict"} <= named, "the search finds nothing any more"
    assert named <= KINDS


# What a retry and a person have to do with it --------------------------------------------------------------

NOT_BY_ITSELF = {"invalid_item", "permission"}
FOR_A_PERSON = NOT_BY_ITSELF | {
    "history_rewritten", "tampered", "validation_failed", "commit_validation_failed", "check_rejected",
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_only_what_cannot_change_by_itself_is_not_eligible(kind: ErrorKind) -> None:
    assert letter_of(Failure("x", kind=kind)).reprocess_eligible is (kind not in NOT_BY_ITSELF)


def test_a_permission_that_only_the_text_tells_is_not_eligible_either() -> None:
    assert not letter_of(Failure("permission denied")).reprocess_eligible
    assert letter_of(Failure("permission denied", exit_code=1)).reprocess_eligible


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_some_kinds_are_for_a_person_to_look_at(kind: ErrorKind) -> None:
    assert letter_of(Failure("x", kind=kind)).manual_review_required is (kind in FOR_A_PERSON)


@pytest.mark.parametrize(
    "text",
    ["permission", "access denied", "critical", "fatal", "corrupted", "validation", "commit required",
     "commit validation"],
)  # fmt: skip
def test_some_texts_are_for_a_person_to_look_at_whatever_the_kind(text: str) -> None:
    assert letter_of(Failure(f"it is {text.upper()}", kind="command_failed", exit_code=1)).manual_review_required


@pytest.mark.parametrize("text", ["timeout", "network is unreachable", "conflict", "invalid", ""])
def test_other_texts_are_not(text: str) -> None:
    assert not letter_of(Failure(text, kind="command_failed", exit_code=1)).manual_review_required


# Signatures: one for the same failure of two items ---------------------------------------------------------

names = st.text("abcxyzKQéüß漢字_", min_size=1, max_size=8)
endings = st.sampled_from(["py", "ts", "rs", "go", "json", "yaml", "md", "txt", "test.tsx"])
files = st.builds(lambda name, ending: f"{name}.{ending}", names, endings)
below = st.builds(lambda parents, name: "/".join([*parents, name]), st.lists(names, min_size=1, max_size=4), files)
windows = st.builds(lambda drive, path: f"{drive}:\\{path}".replace("/", "\\"), st.sampled_from("CDz"), below)
paths = st.one_of(
    files,
    below,
    windows,
    below.map("./{}".format),
    below.map("../{}".format),
    below.map("~/{}".format),
    below.map("/{}".format),
    st.builds("/{}/{}".format, names, names),
)
spaced = st.one_of(
    files.map("my {}".format),
    below.map("/home/My Own Files/{}".format),
    below.map("../up there/{}".format),
    windows.map(lambda path: path.replace(":\\", ":\\Program Files\\")),
)
quoted = st.builds("{1}{0}{1}".format, paths | spaced, st.sampled_from("'\"`")) | spaced.map("‘{}’".format) | paths
numbers = st.integers(0, 10**12).map(str) | st.floats(0, 1e6).map("{:.2f}".format) | st.integers().map("{:,}".format)
hashes = st.text("0123456789abcdef", min_size=7, max_size=64) | st.uuids().map(str)
clocks = st.datetimes()
times = st.one_of(
    clocks.map(lambda at: at.isoformat()),
    clocks.map(lambda at: f"{at:%Y-%m-%d} {at:%H:%M:%S},{at.microsecond // 1000:03}"),
    clocks.map(lambda at: f"{at.year:04}-{at:%m-%dT%H:%M:%S}Z"),
    clocks.map(lambda at: f"{at:%d}/{at:%b}/{at.year:04}:{at:%H:%M:%S} +0200"),
    clocks.map(lambda at: f"{at:%a %b %d %H:%M:%S} UTC {at.year:04}"),
    clocks.map(lambda at: f"{at:%A}, {at:%B} {at.day}, {at.year:04} {at:%I:%M} PM"),
    clocks.map(lambda at: f"{at:%d %b} {at.year:04}"),
    clocks.map(lambda at: f"{at:%m/%d}/{at.year:04} {at:%H:%M}"),
    clocks.map(lambda at: f"{at:%d.%m}.{at.year:04}"),
    clocks.map(lambda at: f"{at:%H:%M:%S}.{at.microsecond:06}"),
    st.builds("{}{}".format, st.integers(1, 12), st.sampled_from(["am", "pm", ":30pm", " AM"])),
)
durations = st.one_of(
    st.builds("{}{}".format, st.integers(0, 10**6) | st.floats(0, 100).map("{:.1f}".format),
              st.sampled_from(["ms", "s", " s", "m", " min", "h", " seconds", " minutes", "µs", " hours", "d"])),
    st.builds("{}m{}s".format, st.integers(0, 60), st.integers(0, 60)),
    st.builds("{}h {}m {}s".format, st.integers(0, 60), st.integers(0, 60), st.integers(0, 60)),
)  # fmt: skip
sizes = st.builds("{} {}".format, st.integers(0, 2000), st.sampled_from(["B", "KB", "MiB", "GB", "bytes"]))
addresses = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.builds("{}:{}".format, st.ip_addresses(v=4), st.integers(1, 65535)),
    st.builds("[{}]:{}".format, st.ip_addresses(v=6), st.integers(1, 65535)),
    st.builds("{}.example.{}:{}".format, st.text("abcxyz", min_size=1), st.sampled_from(["com", "org"]), numbers),
)
urls = st.builds(
    "{}://{}.example/{}?q={}".format,
    st.sampled_from(["http", "https", "ssh"]),
    st.text("ab-c", min_size=1),
    below,
    numbers,
)
requests = st.sampled_from(
    ["req_011CSHoEeqs5C35K2UUqR7Fy", "req_01AbCdEf9hIjKlMn2pQr4tUv", "req_8f14e45fceea167a5a36dedd4bea2543"]
)
PARTS = {
    "path": paths, "quoted": quoted, "n": numbers, "hash": hashes, "hex": st.integers(0, 2**64).map("{:x}".format),
    "time": times, "duration": durations, "size": sizes, "address": addresses, "url": urls, "request": requests,
}  # fmt: skip

TEMPLATES = [
    "FileNotFoundError: [Errno 2] No such file or directory: {quoted}",
    "File {quoted}, line {n}, in load: ValueError: too many values to unpack (expected {n})",
    "json.decoder.JSONDecodeError: Expecting value: line {n} column {n} (char {n})",
    "subprocess.CalledProcessError: Command failed in {path} after {duration}",
    "RuntimeError: <Worker object at 0x{hex}> is closed",
    "SyntaxError: invalid syntax ({path}, line {n})",
    "UnicodeDecodeError: 'utf-8' codec can't decode byte 0x{hex} in position {n}",
    "npm error A complete log of this run can be found in: {path}",
    "npm error enoent ENOENT: no such file or directory, open {quoted}",
    "npm error code E404 - GET {url} - Not found",
    "{path}({n},{n}): error TS2345: Argument of type string is not assignable",
    "error[E0382]: borrow of moved value --> {path}:{n}:{n}",
    "thread main panicked at {path}:{n}:{n}: index out of bounds: the len is {n} but the index is {n}",
    "error: could not compile due to {n} previous errors; {n} warnings emitted",
    "===== {n} failed, {n} passed, {n} skipped in {duration} =====",
    "FAILED {path}::test_total - assert {n} == {n}",
    "{path}:{n}: AssertionError",
    "panic: runtime error: index out of range [{n}] with length {n} at {path}:{n} +0x{hex}",
    "fatal: pathspec {quoted} did not match any files",
    "CONFLICT (content): Merge conflict in {path}",
    "its commits conflict with what was merged before, in {path}",
    "fatal: unable to access {url}: Failed to connect to {address} after {duration}",
    "error: object file {path} is empty, loose object {hash} is corrupt",
    "fatal: bad object {hash}",
    "the head {hash} does not descend from the commit the item began at ({hash}): history was rewritten",
    "API Error: {n} overloaded_error, request_id: {request}",
    "You've hit your limit · resets {time}",
    "Claude AI usage limit reached|{n}",
    "the step printed nothing for {duration}",
    "the step ran longer than {duration}",
    "{time} ERROR connection from {address} refused after {n} tries",
    "{time}: worker {n} of job {hash} died",
    "exited with code {n}: make: *** [{path}:{n}: all] Error {n}",
    "the agent was ended by SIGTERM (exit code {n}) without a result",
    "curl: (7) Failed to connect to {address}",
    "JavaScript heap out of memory: {size} of {size} used at {time}",
    "No space left on device: {quoted} needs {size}",
    "Cannot find module {path} imported from {path}",
]


def filled(template: str, draw: st.DrawFn) -> str:
    return re.sub(r"\{(\w+)\}", lambda part: draw(PARTS[part[1]]), template)


@st.composite
def twice_filled(draw: st.DrawFn, template: str) -> tuple[str, str]:
    return filled(template, draw), filled(template, draw)


@pytest.mark.parametrize("template", TEMPLATES)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_the_same_failure_has_one_signature_whatever_varies_in_it(template: str, data: st.DataObject) -> None:
    one, other = data.draw(twice_filled(template))
    assert signature(one) == signature(other)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_different_failures_differ_whatever_varies_in_them(data: st.DataObject) -> None:
    messages = [data.draw(st.composite(lambda draw, text=text: filled(text, draw))()) for text in TEMPLATES]
    assert len({signature(message) for message in messages}) == len(messages)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("in a.py", "in a.py, lib/b.py, c.py, d.py, e.py and 3 more"),
        ("in a.py", "in a.py and 'b c.py'"),
        ("1 error", "2 errors"),
        ("1 test failed", "12 tests failed"),
        ("a.py:3: bad", "a.py:3:7: bad"),
        ("==== FAILURES ====", "======== FAILURES ========"),
        ("\x1b[31mbad\x1b[0m thing", "bad thing"),
        ("bad  thing\n\n", "bad thing"),
        ("prodigy/r1/items/0001-a is gone", "prodigy/other/items/0420-some-name is gone"),
    ],
)
def test_lists_plurals_widths_and_colours_do_not_count(one: str, other: str) -> None:
    assert signature(one) == signature(other)


def test_exit_codes_are_numbers_like_any_other() -> None:
    assert signature("exited with code 1") == signature("exited with code 2")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("KeyError: 'name'", "KeyError: 'age'"),
        ("TypeError: bad operand", "ValueError: bad operand"),
        ("json.decoder.JSONDecodeError: x", "json.decoder.OtherError: x"),
        ("java.lang.NullPointerException", "java.lang.IllegalStateException"),
        ("ModuleNotFoundError: No module named 'yaml'", "ModuleNotFoundError: No module named 'lxml'"),
        ("error TS2345: wrong", "error TS2304: wrong"),
        ("error[E0382]: wrong", "error[E0499]: wrong"),
        ("npm error code E404", "npm error code E401"),
        ("the agent was ended by SIGTERM (exit code 143)", "the agent was ended by SIGKILL (exit code 137)"),
        ("FAILED tests/a.py::test_one", "FAILED tests/a.py::test_two"),
        ("fatal: not a git repository", "fatal: bad revision"),
        ("ENOENT: no such file", "EACCES: permission denied"),
        ("1 failed, 2 passed", "1 error, 2 passed"),
        ("the agent said: 'cannot compile the file src/a.rs'", "the agent said: 'cannot find the file src/a.rs'"),
        ('{"message":"bad thing\\nat foo"}', '{"message":"other thing\\nat foo"}'),
        ("exited with code 1", "exited with code 1: boom"),
        ("std::io::Error", "std::fmt::Error"),
        ("Base64DecoderError", "Base32EncoderError"),
        ("a network error", "a disk error"),
        ("", "x"),
    ],
)
def test_different_failures_have_different_signatures(one: str, other: str) -> None:
    assert signature(one) != signature(other)


# ... also where they name the item itself ------------------------------------------------------------------

item_ids = st.one_of(
    st.text("abcdeghijkmopqz", min_size=6, max_size=12),
    st.integers(1, 9999).map("n{}".format),
    st.integers(1, 9999).map("PROJ-{}".format),
    files.map("src/My Docs/{}".format),
    st.uuids().map(str),
    st.text("äöü漢字", min_size=4, max_size=8),
    files,
)
OF_ITEMS = [
    "no plan for {item}: gave up",
    "{item}: gave up",
    "could not finish '{item}' in 3.5 s",
    "cannot read /w/slot1/{item}/data.json: gave up",
    "module {item}.core has no member run",
]


@pytest.mark.parametrize("template", OF_ITEMS)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(one=item_ids, other=item_ids)
def test_what_an_item_is_called_does_not_count(template: str, one: str, other: str) -> None:
    signatures = {
        signature(template.format(item=name), item)
        for name in (one, other)
        for item in (Item(1, name, {"id": name}), *identify([name]).items)
    }
    assert len(signatures) == 1


def test_values_of_the_item_that_look_like_names_do_not_count() -> None:
    def signed(ticket: str, file: str) -> str:
        item = Item(1, "7", {"id": 7, "refs": [{"ticket": ticket}], "file": file})
        return signature(f"{ticket} is closed; {file.rpartition('/')[2]} stays as it was", item)

    assert signed("feat_login", "src/a b.py") == signed("fix-it.now", "lib/deep/c d e.py")


def test_values_that_are_plain_words_do_count() -> None:
    def signed(language: str) -> str:
        return signature(f"{language}: command not found", Item(1, "7", {"id": 7, "language": language}))

    assert signed("python") != signed("ruby")


@pytest.mark.parametrize("own", ["a", "in", "the", "0", "12", "3.5", "error", "File", "timeout", "-", "."])
def test_an_id_that_is_a_short_or_a_common_word_changes_nothing(own: str) -> None:
    message = "File a.py, line 12: the error 0 in step - timeout after 3.5 s."
    for item in (Item(1, own, {"id": own}), Item(1, own, own)):
        assert signature(message, item) == signature(message)


def test_an_id_counts_as_a_word_only_not_inside_of_others() -> None:
    for message in ("billings failed", "rebilling failed"):
        assert signature(message, Item(1, "billing", {})) == signature(message)


# Any text --------------------------------------------------------------------------------------------------

anything = st.text(st.characters() | st.sampled_from("\ud800\udfff\0'"))  # half surrogate pairs too


@given(anything, anything.filter(str.strip))
def test_a_signature_is_16_hex_digits_of_any_text(message: str, item_id: str) -> None:
    assert re.fullmatch("[0-9a-f]{16}", signature(message, Item(1, item_id, {"x": message})))


@example("half a pair \ud800")
@given(anything | anything.map(lambda text: f"{text} " * 1000))
def test_a_dead_letter_can_be_stored_and_signed_again(message: str) -> None:
    letter = letter_of(Failure(message))
    assert len(letter.message) <= MAX_MESSAGE
    json.dumps(letter.message).encode()
    (stored,) = sqlite3.connect(":memory:").execute("SELECT ?", (letter.message,)).fetchone()
    assert signature(stored, ITEM) == letter.signature
    assert letter_of(Failure(stored)).message == letter.message


def test_a_long_message_keeps_its_beginning_and_its_end() -> None:
    letter = letter_of(Failure(f"exit code 7 {'x' * 5_000_000} Permission denied"))
    assert letter.message.startswith("exit code 7 x")
    assert letter.message.endswith("x Permission denied")
    assert (letter.kind, letter.exit_code, letter.manual_review_required) == ("command_failed", 7, True)


def test_only_the_ends_of_a_long_message_are_signed() -> None:
    message = f"bad {'1' * MAX_MESSAGE} thing"
    assert signature(message, ITEM) == letter_of(Failure(message)).signature != signature("bad 1 thing", ITEM)


def test_a_long_message_has_one_signature_however_long_its_paths_are() -> None:
    def signed(path: str) -> str:
        return signature("".join(f"cannot read the file {path} and so on\n" for _ in range(400)))

    assert signed("a/b.py") == signed("/home/somebody/a/rather/long/path.py")


WORST = [
    "9", "1.", "1,", "1e", "a1", "a.", "aA1", ".", "/", "\\", "\\\\a", "'", "' ", "'a", "\"x' ", ":", "a:", "::", "-",
    "\0 ", "\0 and ", "\x1b[", "exit code ", "a://", "Mon Jan ", "1s ", "1 s", "and ", "\ud800", " ", "=", "12:34:",
    "1 errors ",
]  # fmt: skip


@pytest.mark.timeout(20)
@pytest.mark.parametrize("part", WORST)
def test_no_megabytes_of_anything_make_it_slow(part: str) -> None:
    """A pattern that goes back and forth would take hours for each of these."""
    for end in ("", "!", "x"):
        letter_of(Failure(part * (4_000_000 // len(part)) + end), Item(1, part * 9, {"values": [part * 20] * 1000}))
        letter_of(Failure((part * MAX_MESSAGE)[: MAX_MESSAGE - 1] + end))
