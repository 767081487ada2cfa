"""What a failure becomes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodigy.state.dead_letter import Failure, classify, dead_letter, signature


def test_success_leaves_no_dead_letter() -> None:
    assert dead_letter(None) is None


@pytest.mark.parametrize(
    ("failure", "kind", "exit_code"),
    [
        (Failure("exited with code 7", kind="command_failed", exit_code=7), "command_failed", 7),
        (Failure("merge conflict timed out", exit_code=3), "command_failed", 3),
        (Failure("the step timed out"), "timeout", None),
        (Failure("Merge failed"), "merge_conflict", None),
        (Failure("commit required"), "commit_validation_failed", None),
        (Failure("the worktree is gone"), "worktree_error", None),
        (Failure("invalid answer"), "validation_failed", None),
        (Failure("out of memory"), "resource_exhausted", None),
        (Failure("exit code: 12"), "command_failed", 12),
        (Failure("process exited with code 9"), "command_failed", 9),
        (Failure("status code 4"), "command_failed", 4),
        (Failure("something odd"), "unknown", None),
        (Failure("timeout", kind="tampered"), "tampered", None),
    ],
)
def test_what_the_engine_and_the_exit_status_say_comes_before_the_text(
    failure: Failure, kind: str, exit_code: int | None
) -> None:
    assert classify(failure) == (kind, exit_code)


def test_only_what_cannot_change_by_itself_is_not_eligible() -> None:
    def eligible(kind: str) -> bool:
        letter = dead_letter(Failure("x", kind=kind))
        assert letter is not None
        return letter.reprocess_eligible

    assert eligible("command_failed")
    assert eligible("merge_conflict")
    assert eligible("lost")
    assert not eligible("permission")
    assert not eligible("invalid_item")


@pytest.mark.parametrize(
    ("message", "kind", "manual"),
    [
        ("x", "command_failed", False),
        ("x", "history_rewritten", True),
        ("x", "tampered", True),
        ("Permission denied", "command_failed", True),
        ("fatal: not a git repository", "command_failed", True),
    ],
)
def test_a_person_should_look_at_some(message: str, kind: str, manual: bool) -> None:
    letter = dead_letter(Failure(message, kind=kind))
    assert letter is not None
    assert letter.manual_review_required is manual


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/tmp/a/x.py:12: bad", "/home/u/y.py:7: bad"),
        ("src/a.py failed after 3.5 s", "lib/deep/b.py failed after 12 s"),
        ("commit 3f2a9c1d failed", "commit 00ab12cd34ef failed"),
        ("at 2026-01-02T03:04:05Z: no", "at 2025-11-12 13:14:15: no"),
        ("id 6f1c1b0e-8a8e-4a54-9a55-3b1f6f0a1c11", "id 00000000-0000-4000-8000-000000000000"),
    ],
)
def test_the_same_failure_of_two_items_has_one_signature(one: str, other: str) -> None:
    assert signature(one) == signature(other)


def test_different_failures_have_different_signatures() -> None:
    messages = ["no such file", "permission denied", "exited with code 1: boom", "the step timed out"]
    assert len({signature(message) for message in messages}) == len(messages)


@given(st.text())
def test_a_signature_is_16_hex_digits(message: str) -> None:
    value = signature(message)
    assert len(value) == 16
    assert int(value, 16) >= 0
