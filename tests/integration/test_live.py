"""The live view as a terminal sees it."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import pty
import select
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from prodigy.cli import live as live_module
from prodigy.cli.canvas import Canvas, amount, duration, money
from prodigy.cli.frame import frame
from prodigy.cli.live import LiveView, announcement, fits
from prodigy.cli.looks import Looks
from prodigy.cli.rows import Seen, visible_steps
from prodigy.cli.screen import Area, Screen
from prodigy.report.view import RunView, StepNow
from prodigy.state import events as ev
from support import wait_until

FANOUT = "it1/1"
HIDE_CURSOR, SHOW_CURSOR, WIPE = "\x1b[?25l", "\x1b[?25h", "\x1b[2J"


def started(ordinal: int, label: str, attempt: int = 1) -> ev.AgentStarted:
    return ev.AgentStarted(
        fanout=FANOUT, ordinal=ordinal, attempt=attempt, item_id=str(ordinal), label=label,
        agent_id="a", worktree="slot-1", base="b", workflow=1, continues=None,
    )  # fmt: skip


def failed(ordinal: int, label: str, error: str) -> ev.AgentFailed:
    return ev.AgentFailed(
        fanout=FANOUT, ordinal=ordinal, attempt=1, item_id=str(ordinal), label=label,
        kind="exit", error=error, retry_eligible=True, duration_s=10.0,
    )  # fmt: skip


def completed(ordinal: int, label: str) -> ev.AgentCompleted:
    return ev.AgentCompleted(
        fanout=FANOUT, ordinal=ordinal, attempt=1, item_id=str(ordinal), label=label,
        duration_s=60.0, commits=(), merged=None,
    )  # fmt: skip


def step_path(ordinal: int) -> str:
    return f"{FANOUT}/i{ordinal:04d}/a1/1/t1"


def step_started(ordinal: int, label: str, agent: str | None = None) -> ev.StepStarted:
    return ev.StepStarted(path=step_path(ordinal), fingerprint="f", label=label, agent=agent)


def busy_view(running: int, label: str = "item") -> RunView:
    """1,000 items: 2 done, 1 failed, `running` more at work, $1.50 spent."""
    view = RunView("r-123")
    past: list[ev.Event] = [
        ev.JobStarted(workflow="migrate", base="b", branch="x", target=None),
        ev.PhaseStarted(phase="map", path="it1"),
        ev.ItemsPlanned(fanout=FANOUT, total=1000, duplicates=0),
    ]
    past += [started(n, label) for n in (1, 2, 3)]
    past += [
        completed(1, label),
        completed(2, label),
        failed(3, "item 3", "exited with code 3: " + "no such file; " * 30),
        ev.StepFinished(
            path=step_path(1), kind=None, message=None, exit_code=0, duration_s=1.0, head="h", snapshot=None,
            cost_usd=1.5, tokens=12_345,
        ),
    ]  # fmt: skip
    for n in range(4, 4 + running):
        past += [started(n, f"{label} {n}"), step_started(n, "claude: /fix the tests")]
    for event in past:
        view.apply(event, 100.0)
    return view


def seen(tails: dict[str, str]) -> dict[str, Seen]:
    return {path: Seen(text) for path, text in tails.items()}


def drawn(view: RunView, canvas: Canvas, tails: dict[str, str] | None = None, now: float = 142.0) -> list[str]:
    """The frame's lines as a terminal of that size gets them from rich."""
    lines = frame(view, canvas, now, seen(tails or {}))
    out = io.StringIO()
    console = Console(file=out, width=canvas.width, height=canvas.height, force_terminal=True, _environ={})
    console.print(Text("\n").join(lines))
    printed = [Text.from_ansi(line).plain for line in out.getvalue().removesuffix("\n").split("\n")]
    assert printed == [line.plain for line in lines], "nothing is wrapped or cut"
    return printed


# Frames ----------------------------------------------------------------------------------------------------


def test_a_frame_tells_everything_about_a_run() -> None:
    lines = drawn(busy_view(2), Canvas(120, 24), {step_path(4): "reading a.py"})
    assert lines[0] == "migrate  r-123  map  42s"
    assert "3/1000  1 failed  2 running  ETA 3h59m" in lines[1]
    assert "$1.50  12.3k tokens" in lines[1]
    assert lines[2] == "  item 4     42s  claude: /fix the tests         reading a.py"
    assert lines[3] == "  item 5     42s  claude: /fix the tests"
    assert lines[4].startswith("✗ item 3: exited with code 3: no such file;")
    assert lines[4].endswith("…")


def test_nothing_is_said_about_a_spend_that_nobody_told() -> None:
    view = RunView("r-123")
    for event in (ev.ItemsPlanned(fanout=FANOUT, total=2, duplicates=0), started(1, "one")):
        view.apply(event, 100.0)
    text = "\n".join(drawn(view, Canvas(120, 24)))
    assert "$" not in text
    assert "tokens" not in text
    assert "ETA" not in text


def test_a_later_attempt_and_a_waiting_retry_are_told() -> None:
    view = RunView("r-123")
    view.apply(started(1, "one", attempt=3), 100.0)
    view.apply(ev.StepRetrying(path=f"{FANOUT}/i0001/a3/1/t1", delay_s=4.0, reason="rate limited"), 101.0)
    assert drawn(view, Canvas(80, 24), now=102.4)[-1] == "  one (attempt 3)      2s  retry in 3 s: rate limited"


def test_how_many_items_wait_for_a_retry_is_a_line_below_the_bar() -> None:
    view = busy_view(30)
    for ordinal, delay_s in ((900, 62.0), (901, 300.0)):
        view.apply(failed(ordinal, f"item {ordinal}", "no"), 120.0)
        view.apply(
            ev.AgentRetrying(
                fanout=FANOUT, ordinal=ordinal, attempt=1, item_id=str(ordinal), label=str(ordinal), delay_s=delay_s
            ),
            120.0,
        )
    lines = drawn(view, Canvas(80, 24), now=142.0)
    assert "3/1000  1 failed" in lines[1]
    assert lines[2] == "  2 wait for their next attempt, the next in 40 s"
    assert lines[3].startswith("  item 4 ")
    assert len(lines) <= Canvas(80, 24).rows
    assert max(map(len, lines)) < 80
    assert drawn(view, Canvas(80, 24), now=200.0)[2] == "  1 waits for its next attempt, in 3m40s"


def test_a_resume_tells_failed_items_from_those_that_are_done() -> None:
    event = ev.JobResumed(command="resume", options="{}", total=16, done=16, failed=6)
    assert announcement(event) == ("10 of 16 items were done, 6 failed", "")
    assert announcement(dataclasses.replace(event, done=10, failed=0)) == ("10 of 16 items were done", "")


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 50), (40, 12), (40, 24), (20, 6), (8, 3), (1, 1)])
def test_256_running_items_fit_every_terminal(width: int, height: int) -> None:
    view, canvas = busy_view(256, "日本語 label"), Canvas(width, height)
    tails = {step.path: "出力 " * 50 for step in visible_steps(view, canvas)}
    lines = drawn(view, canvas, tails)
    assert len(lines) <= max(1, height - 1)
    assert max(cell_len(line) for line in lines) < max(width, 2)
    if height >= 12:
        shown = sum("label " in line or "日本語 l…" in line or "claude" in line for line in lines)
        assert f"  … and {256 - shown} more" in lines


def test_a_terminal_without_unicode_gets_ascii() -> None:
    view = busy_view(50, "日本")
    lines = frame(view, Canvas(80, 24, "ascii"), 142.0, seen({step_path(4): "Größe"}))
    text = "\n".join(line.plain for line in lines)
    assert text.isascii()
    assert "Gr\\xf6\\xdfe" in text
    assert max(line.cell_len for line in lines) < 80


@given(
    st.text(max_size=60),
    st.text(max_size=60),
    st.integers(1, 250),
    st.integers(1, 60),
    st.sampled_from(["utf-8", "ascii"]),
)
@settings(max_examples=150, deadline=None)
def test_any_text_fits_and_stays_on_its_line(label: str, output: str, width: int, height: int, encoding: str) -> None:
    view = busy_view(3, label)
    view.apply(ev.JobStarted(workflow=output, base="b", branch="x", target=None), 100.0)
    canvas = Canvas(width, height, encoding)
    lines = frame(view, canvas, 142.0, seen({step_path(4): output, step_path(5): label}))
    assert len(lines) <= canvas.rows
    assert all(line.cell_len <= canvas.cells for line in lines)
    assert all(line.plain.isprintable() for line in lines)


def test_numbers_are_told_for_people() -> None:
    assert [duration(s) for s in (-1, 0.9, 59, 61, 3600, 90_000)] == ["0s", "0s", "59s", "1m01s", "1h00m", "1d01h"]
    assert [money(d) for d in (0.0, 0.001, 0.125, 1234.5)] == ["$0.00", "<$0.01", "$0.12", "$1,234.50"]
    assert [amount(n) for n in (0, 999, 1000, 12_345_678)] == ["0", "999", "1.0k", "12.3M"]


# Output ----------------------------------------------------------------------------------------------------


def texts(looks: Looks, steps: list[StepNow], now: float) -> dict[str, str]:
    return {path: one.text for path, one in looks.at(steps, now).items()}


def test_output_is_looked_at_once_a_second_and_forgotten_with_its_step(tmp_path: Path) -> None:
    looks = Looks(tmp_path, {})
    one = StepNow(step_path(1), "shell", None, 0.0)
    directory = tmp_path / one.path
    directory.mkdir(parents=True)
    (directory / "stdout").write_text("first\n")
    assert texts(looks, [one], 10.0) == {one.path: "first"}
    (directory / "stdout").write_text("first\nsecond\n")
    assert texts(looks, [one], 10.9) == {one.path: "first"}
    assert texts(looks, [one], 11.0) == {one.path: "second"}
    assert texts(looks, [], 11.1) == {}
    assert looks._known == {}


def test_an_agents_stream_is_described_by_its_own_describer(tmp_path: Path) -> None:
    directory = tmp_path / step_path(1)
    directory.mkdir(parents=True)
    (directory / "stdout").write_bytes(b'{"text": "hello"}\n')
    looks = Looks(tmp_path, {"claude": lambda line: f"claude says {len(line)}"})
    steps = [StepNow(step_path(1), "agent", "fast", 0.0, "claude")]
    assert texts(looks, steps, 0.0) == {step_path(1): "claude says 17"}


# On a terminal ---------------------------------------------------------------------------------------------


class Terminal:
    """A pseudo terminal that keeps all that is written to it."""

    def __init__(self, columns: int, rows: int) -> None:
        self.master, slave = pty.openpty()
        self.resize(columns, rows)
        self.stream: TextIO = os.fdopen(slave, "w", encoding="utf-8")
        self.output = ""
        self._told_to_end, self._end = os.pipe()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def resize(self, columns: int, rows: int) -> None:
        termios.tcsetwinsize(self.master, (rows, columns))

    def _read(self) -> None:
        while True:
            ready, _, _ = select.select([self.master, self._told_to_end], [], [])
            if self._told_to_end in ready:
                return
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return  # the other side is closed
            self.output += data.decode(errors="replace")

    def expect(self, text: str) -> None:
        wait_until(lambda: text in self.output, f"{text!r} is on the terminal")

    def go_away(self) -> None:
        """As when its window is closed: every write fails with EIO."""
        os.close(self._end)
        self._reader.join()  # the terminal is open for as long as someone reads from it
        os.close(self.master)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(live_module, "REDRAW_S", 0.01)
    terminal = Terminal(80, 24)
    yield terminal
    with contextlib.suppress(OSError):  # what is still in its buffer can't be written to a terminal that went away
        terminal.stream.close()


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, True),
        ({"TERM": "dumb"}, False),
        ({"TERM": ""}, False),
        ({"CI": "true"}, False),
        ({"CI": "false"}, True),
        ({"NO_COLOR": "1"}, True),
    ],
)
def test_a_view_fits_a_terminal_that_can_draw(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: bool
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert fits(terminal.stream) is expected


def test_no_view_fits_a_pipe_or_a_closed_stream(terminal: Terminal, tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        assert not fits(file)
    assert not fits(file)


def test_the_area_is_drawn_and_what_matters_stays_above_it(terminal: Terminal, tmp_path: Path) -> None:
    with LiveView("r-123", terminal.stream, tmp_path, view=busy_view(2)) as live:
        terminal.expect("claude: /fix the tests")
        live.event(failed(4, "item 4", "the tests fail"))
        live.event(ev.Warned(message="odd\x1b[2Jthing"))
        live.event(ev.PhaseStarted(phase="reduce", path="it1"))
        terminal.expect("FAILED item 4: the tests fail")
        terminal.expect("warning: odd\\x1b[2Jthing")
        terminal.expect("reduce")
        live.say("stopping")
    terminal.expect(SHOW_CURSOR)
    assert HIDE_CURSOR in terminal.output
    assert "s] stopping" in terminal.output, "what was said last is not lost"
    assert WIPE not in terminal.output


def test_the_view_is_drawn_while_the_engine_is_busy(terminal: Terminal, tmp_path: Path) -> None:
    with LiveView("r-123", terminal.stream, tmp_path) as live:
        live.event(started(1, "one"))
        deadline = time.monotonic() + 60
        while "starting" not in terminal.output:  # no sleep, no wait: the interpreter is ours
            assert time.monotonic() < deadline


def test_colours_are_left_out_when_the_user_wants_none(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with LiveView("r-123", terminal.stream, tmp_path, view=busy_view(2)):
        terminal.expect("1 failed")
    terminal.expect(SHOW_CURSOR)
    assert not [code for code in range(30, 38) if f"\x1b[{code}m" in terminal.output]


@pytest.mark.parametrize(("columns", "rows"), [(40, 24), (80, 12)])
def test_a_terminal_that_shrinks_is_wiped_and_drawn_anew(
    terminal: Terminal, tmp_path: Path, columns: int, rows: int
) -> None:
    with LiveView("r-123", terminal.stream, tmp_path, view=busy_view(30)) as live:
        live.say("said before")
        terminal.expect("said before")
        terminal.expect("claude")
        terminal.resize(columns, rows)
        terminal.expect(WIPE)
        wait_until(lambda: terminal.output.rpartition(WIPE)[2].count("claude") >= 3, "the area is there again")
    after = terminal.output.rpartition(WIPE)[2]
    assert "said before" in after
    assert "more" in after


def test_what_was_said_is_kept_when_a_terminal_shrinks_after_a_frame_was_made(terminal: Terminal) -> None:
    screen, view = Screen(terminal.stream), busy_view(30)

    def show(canvas: Canvas) -> None:
        screen.show([], Area(canvas, frame(view, canvas, 142.0, {})))

    screen.show([("said before", "")], None)
    show(screen.canvas())
    made_for = screen.canvas()
    terminal.resize(80, 12)
    show(made_for)
    show(screen.canvas())
    screen.clear()
    wait_until(lambda: terminal.output.count(SHOW_CURSOR) == 2, "all is drawn")
    assert terminal.output.count(WIPE) == 1
    assert "said before" in terminal.output.partition(WIPE)[2]


def test_the_terminal_is_the_callers_while_the_view_is_suspended(terminal: Terminal, tmp_path: Path) -> None:
    with LiveView("r-123", terminal.stream, tmp_path, view=busy_view(2)) as live:
        terminal.expect("claude")
        with live.suspend():
            terminal.stream.write("<question>")
            terminal.stream.flush()
            live.say("meanwhile")
            live.event(failed(4, "item 4", "later"))
            chances = iter(range(20))
            wait_until(lambda: next(chances) == 19, "the view had many chances to draw")
            terminal.stream.write("<answer>")
            terminal.stream.flush()
        terminal.expect("FAILED item 4: later")
    assert "<question><answer>" in terminal.output
    assert terminal.output.partition("<question>")[0].count(SHOW_CURSOR) == 1


def test_a_terminal_that_goes_away_does_not_touch_the_run(terminal: Terminal, tmp_path: Path) -> None:
    with LiveView("r-123", terminal.stream, tmp_path, view=busy_view(2)) as live:
        terminal.expect("claude")
        terminal.go_away()
        for ordinal in range(50, 60):
            live.event(started(ordinal, "more"))
            live.event(failed(ordinal, "more", "nobody sees this"))
        wait_until(lambda: not live._screen.draws, "the view has noticed")
        with live.suspend():
            live.say("nobody hears this")
        assert live.view.failure_count == 11
    assert not live._thread.is_alive()


def test_a_closed_stream_does_not_touch_the_run(terminal: Terminal, tmp_path: Path) -> None:
    with LiveView("r-123", terminal.stream, tmp_path) as live:
        terminal.expect("r-123")
        terminal.stream.close()
        live.say("nobody hears this")
    assert not live._thread.is_alive()


def test_a_bug_of_the_view_is_told_and_ends_the_view_alone(terminal: Terminal, tmp_path: Path) -> None:
    def broken(line: bytes) -> str | None:
        raise RuntimeError(f"can't read {line!r}")

    directory = tmp_path / "steps" / step_path(1)
    directory.mkdir(parents=True)
    (directory / "stdout").write_bytes(b"{}\n")
    with LiveView("r-123", terminal.stream, tmp_path, describers={"claude": broken}) as live:
        live.event(started(1, "one"))
        terminal.expect("starting")
        live.event(step_started(1, "agent", "claude"))
        terminal.expect("the live view ended by a bug of ours, RuntimeError: can't read b'{}'")
        live.event(failed(1, "one", "told all the same"))
        terminal.expect("FAILED one: told all the same")
    assert terminal.output.count("bug of ours") == 1
    assert terminal.output.count(HIDE_CURSOR) == terminal.output.count(SHOW_CURSOR)
