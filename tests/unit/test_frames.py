"""Frames of the live view as text: what stands where, at several sizes."""

from __future__ import annotations

import dataclasses
import json

from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from prodigy.cli.canvas import Canvas
from prodigy.cli.controls import Controls, Mode
from prodigy.cli.frame import frame, log_frame
from prodigy.cli.rows import Seen, visible_steps
from prodigy.report.history import limits
from prodigy.report.view import RunView
from prodigy.state import events as ev

FANOUT = "it1/1"
KEYED = Controls(keys=True)
WIDE = Canvas(130, 24)
OPTIONS = json.dumps({"budget_usd": 20.0, "max_parallel": 4})


def path_of(ordinal: int) -> str:
    return f"{FANOUT}/i{ordinal:04d}/a1/1/t1"


def key(ordinal: int, label: str) -> dict[str, object]:
    return {"fanout": FANOUT, "ordinal": ordinal, "attempt": 1, "item_id": f"id-{ordinal}", "label": label}


def started(ordinal: int, label: str) -> list[ev.Event]:
    begins = ev.AgentStarted(**key(ordinal, label), agent_id="a", worktree="s1", base="b", workflow=1, continues=None)  # type: ignore[arg-type]
    step = ev.StepStarted(path=path_of(ordinal), fingerprint="f", label="claude: /fix", agent="claude")
    return [begins, step]


def view_of(running: int, *, spent: float = 1.5) -> RunView:
    """100 items, of which one has failed and `running` are at work."""
    view = RunView("r-1")
    past: list[ev.Event] = [
        ev.JobStarted(workflow="migrate", base="b", branch="x", target=None),
        ev.JobSteered(options=OPTIONS, what="", by="ada"),
        ev.PhaseStarted(phase="setup", path="it1"),
        ev.PhaseStarted(phase="map", path="it1"),
        ev.ItemsPlanned(fanout=FANOUT, total=100, duplicates=0),
        *started(1, "bad one"),
        ev.StepFinished(
            path=path_of(1), kind="exit", message="no", exit_code=1, duration_s=1.0, head="h", snapshot=None,
            cost_usd=spent, tokens=12_000,
        ),
        ev.AgentFailed(**key(1, "bad one"), kind="exit", error="tests fail", retry_eligible=True, duration_s=5.0),  # type: ignore[arg-type]
    ]  # fmt: skip
    for ordinal in range(2, 2 + running):
        past += started(ordinal, f"item {ordinal}")
    for event in past:
        view.apply(event, 100.0)
    return view


def text(lines: list[Text]) -> str:
    return "\n".join(line.plain.rstrip() for line in lines)


SEEN = {path_of(2): Seen("reading a.py", 90.0, 4_200, 0.31), path_of(3): Seen("writing b.py", 1.0)}


def test_a_wide_frame() -> None:
    assert (
        text(frame(view_of(3), Canvas(130, 24), 130.0, SEEN, KEYED))
        == """\
migrate  r-1  setup › map  30s
────────────────────────────── 1/100  1 failed  3 running  $1.50 of $20.00  12.0k tokens
  item 2     30s  4.2k tokens  $0.31  claude: /fix                      idle 1m30s  reading a.py
  item 3     30s                      claude: /fix                      writing b.py
  item 4     30s                      claude: /fix
✗ bad one: tests fail
  prodigy logs r-1 --item 'bad one'
  p pause  q quit  l log  r retry  +/- at a time (4)  ? help"""
    )


def test_a_narrow_frame_leaves_out_what_does_not_fit() -> None:
    assert (
        text(frame(view_of(3), Canvas(40, 12), 130.0, SEEN, KEYED))
        == """\
migrate  r-1  map  30s
────── 1/100  1 failed  3 running
  item 2     30s  claude: /fix
  item 3     30s  claude: /fix
  item 4     30s  claude: /fix
✗ bad one: tests fail
  p pause  q quit  l log  ? help"""
    )


def test_a_paused_run_near_its_budget_with_an_item_far_down_selected() -> None:
    view = view_of(60, spent=19.0)
    view.held_by = "ada@host via terminal"
    chosen = dataclasses.replace(KEYED, selected=f"{FANOUT}/i0040/a1")
    assert (
        text(frame(view, Canvas(80, 14), 130.0, SEEN, chosen))
        == """\
migrate  r-1  map  30s
──────────────── 1/100  1 failed  60 running  $19.00 of $20.00  12.0k tokens
  paused by ada@host via terminal: what runs may finish; p: go on
  $1.00 of the budget are left
  item 36     30s  claude: /fix
  item 37     30s  claude: /fix
  item 38     30s  claude: /fix
  item 39     30s  claude: /fix
› item 40     30s  claude: /fix
  … and 55 more
✗ bad one: tests fail
  p go on  q quit  l log  r retry  +/- at a time (4)  ? help"""
    )


def test_of_a_long_path_the_end_is_shown() -> None:
    """Files of one directory are told apart at 80 columns, also on a later attempt."""
    view = view_of(0)
    for ordinal, name in ((2, "filesize"), (3, "number")):
        where = key(ordinal, f"src/humanize/of/long/names/{name}.py") | {"attempt": 2}
        view.apply(ev.AgentStarted(**where, agent_id="a", worktree="s1", base="b", workflow=1, continues=None), 100.0)  # type: ignore[arg-type]
    shown = text(frame(view, Canvas(80, 24), 130.0, {}))
    assert "filesize.py (attempt 2)" in shown
    assert "number.py (attempt 2)" in shown


def test_a_budget_that_is_spent_says_so() -> None:
    assert "the budget is spent: no agent starts any more" in text(frame(view_of(1, spent=20.0), WIDE, 130.0, {}))


def test_a_closed_gate_says_until_when_and_why() -> None:
    view = view_of(1)
    closed = ev.AgentGateClosed(
        account="claude", agent="claude", cause="rate_limit", until=2e9, told=True, hits=1, message="session limit"
    )
    view.apply(closed, 120.0)
    lines = text(frame(view, WIDE, 130.0, {})).split("\n")
    assert lines[2].startswith("  claude is at its limit until ")
    assert lines[2].endswith(": session limit")


def test_nothing_is_said_of_the_time_left_while_nothing_starts() -> None:
    view = view_of(3)
    for ordinal in (50, 51):
        view.apply(started(ordinal, "x")[0], 110.0)
        done = ev.AgentCompleted(**key(ordinal, "x"), duration_s=10.0, commits=(), merged=None)  # type: ignore[arg-type]
        view.apply(done, 120.0)
    assert "ETA" in text(frame(view, WIDE, 130.0, {}))
    view.held_by = "ada"
    assert "ETA" not in text(frame(view, WIDE, 130.0, {}))


def test_how_to_quit_is_asked_below_the_run() -> None:
    asked = text(frame(view_of(1), WIDE, 130.0, {}, dataclasses.replace(KEYED, mode=Mode.QUIT)))
    assert asked.endswith("""\
quit (any other key: back)
  d  detach: the run goes on in the background
  s  stop: what runs may finish, nothing new starts
  c  cancel: end what runs; it can be resumed""")


def test_what_came_of_a_key_takes_the_place_of_the_keys() -> None:
    noted = dataclasses.replace(KEYED, note="asked to pause")
    assert text(frame(view_of(1), WIDE, 130.0, {}, noted)).endswith("\n  asked to pause")


def test_without_a_keyboard_no_keys_are_told() -> None:
    assert "quit" not in text(frame(view_of(1), WIDE, 130.0, {}))


def test_a_log_shows_the_newest_lines() -> None:
    printed = [f"line {number}" for number in range(30)]
    assert (
        text(log_frame("item 2", "claude: /fix", printed, Canvas(40, 6)))
        == """\
item 2  claude: /fix  any key: back
line 26
line 27
line 28
line 29"""
    )


@given(
    st.text(max_size=50), st.integers(1, 200), st.integers(1, 50), st.sampled_from(list(Mode)), st.integers(0, 70),
    st.sampled_from(["utf-8", "ascii"]),
)  # fmt: skip
def test_every_frame_fits(label: str, width: int, height: int, mode: Mode, selected: int, encoding: str) -> None:
    view, canvas = view_of(60, spent=19.9), Canvas(width, height, encoding)
    view.held_by = label
    for line in view.lines.values():
        line.label = label
    controls = Controls(keys=True, mode=mode, selected=f"{FANOUT}/i{selected:04d}/a1", note=label)
    seen = {step.path: Seen(label, 1e6, 10**9, 1e6) for step in visible_steps(view, canvas, controls.selected)}
    for lines in (frame(view, canvas, 1e7, seen, controls), log_frame(label, label, [label] * 60, canvas)):
        assert len(lines) <= canvas.rows
        assert all(line.cell_len <= canvas.cells for line in lines)
        assert all(line.plain.isprintable() for line in lines)
        assert encoding == "utf-8" or text(lines).isascii()


def test_the_selected_line_is_in_sight() -> None:
    view = view_of(60)
    for ordinal in range(2, 62):
        shown = frame(view, Canvas(80, 20), 130.0, {}, Controls(keys=True, selected=f"{FANOUT}/i{ordinal:04d}/a1"))
        assert sum(line.plain.startswith(f"› item {ordinal} ") for line in shown) == 1


def test_a_run_is_limited_by_its_user_before_its_workflow() -> None:
    workflow = json.dumps({"budget": {"usd": 5.0}, "steps": [{"action": {}}, {"action": {"max_parallel": 8}}]})
    assert limits("{}", workflow) == (5.0, 8)
    assert limits(OPTIONS, workflow) == (20.0, 4)
    assert limits('{"budget_usd": null}', '{"budget": null, "steps": []}') == (None, None)
