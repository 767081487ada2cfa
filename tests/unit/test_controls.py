"""What keys do, as a pure function; and which keys bytes are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodigy.cli.controls import Controls, Mode, Wish, press
from prodigy.cli.keyboard import DOWN, ENTER, ESCAPE, UP, keys
from prodigy.report.view import Line, RunView

KEYED = Controls(keys=True)


def view_of(running: int) -> RunView:
    view = RunView("r")
    view.lines = {f"it1/1/i{n:04d}/a1": Line(f"item {n}", 1, 0.0) for n in range(1, running + 1)}
    return view


def pressed(text: list[str], view: RunView, controls: Controls = KEYED) -> tuple[Controls, list[Wish]]:
    wishes = []
    for key in text:
        controls, wish = press(controls, key, view)
        wishes += [wish] if wish else []
    return controls, wishes


@pytest.mark.parametrize(
    ("typed", "wishes"),
    [
        (["p"], [Wish.PAUSE]),
        (["r"], [Wish.RETRY]),
        (["+"], [Wish.MORE]),
        (["="], [Wish.MORE]),
        (["-"], [Wish.FEWER]),
        (["q", "d"], [Wish.DETACH]),
        (["q", "s"], [Wish.DRAIN]),
        (["q", "c"], [Wish.CANCEL]),
        (["q", "x"], []),
        (["q", "q"], []),
        (["d"], []),
        (["c"], []),
        (["?", "p"], []),
        (["l", "c"], []),
    ],
)
def test_what_is_wished_for(typed: list[str], wishes: list[Wish]) -> None:
    controls, found = pressed(typed, view_of(2))
    assert found == wishes
    assert controls.mode is Mode.RUN


def test_p_lets_a_paused_run_go_on() -> None:
    view = view_of(1)
    view.held_by = "ada"
    assert pressed(["p"], view)[1] == [Wish.GO_ON]


def test_who_only_watches_leaves_without_a_question() -> None:
    assert pressed(["q"], view_of(1), Controls(keys=True, attached=True)) == (
        Controls(keys=True, attached=True),
        [Wish.LEAVE],
    )


@pytest.mark.parametrize(
    ("typed", "selected"),
    [
        ([DOWN], 1),
        ([UP], 3),
        ([DOWN, DOWN], 2),
        ([DOWN] * 9, 3),
        ([DOWN, UP, UP], 1),
        (["j", "j", "k"], 1),
        (["3"], 3),
        (["4"], None),
        (["0"], None),
        (["²"], None),
    ],
)
def test_lines_are_selected(typed: list[str], selected: int | None) -> None:
    controls, _ = pressed(typed, view_of(3))
    assert controls.selected == (f"it1/1/i{selected:04d}/a1" if selected else "")


def test_the_log_of_nothing_is_not_shown() -> None:
    controls, _ = pressed(["l"], view_of(0))
    assert (controls.mode, controls.note) == (Mode.RUN, "nothing runs now")


def test_a_selected_item_that_has_ended_makes_room_for_the_first() -> None:
    view = view_of(3)
    controls, _ = pressed(["3"], view)
    del view.lines[controls.selected]
    assert pressed([ENTER], view, controls)[0].selected == "it1/1/i0001/a1"


@given(st.lists(st.text(min_size=1, max_size=1) | st.sampled_from([UP, DOWN, ENTER, ESCAPE])), st.integers(0, 3))
def test_any_keys_are_taken(typed: list[str], running: int) -> None:
    pressed(typed, view_of(running))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"p", ["p"]),
        (b"\x1b[A\x1b[B", [UP, DOWN]),
        (b"\x1bOA\x1bOB", [UP, DOWN]),
        (b"\r\n", [ENTER, ENTER]),
        (b"\x1b", [ESCAPE]),
        (b"\x1b[15~p", ["p"]),
        (b"\x1b[1;5Cq", ["q"]),
        (b"\x1b[", []),
        (b"\x00\x7f\x03", []),
        (b"", []),
    ],
)
def test_bytes_are_keys(data: bytes, found: list[str]) -> None:
    assert list(keys(data)) == found


@given(st.binary(max_size=80))
def test_any_bytes_are_read_to_their_end(data: bytes) -> None:
    assert all(key in (UP, DOWN, ENTER, ESCAPE) or key.isprintable() for key in keys(data))
