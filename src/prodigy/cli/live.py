"""The live view of a run on a terminal: what runs now, drawn in place; what happened, printed above it.

A thread of its own draws, so that neither a busy engine starves the view nor a stuck terminal the engine.
Importing this module does not import rich; making a view does.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from prodigy.cli.controls import Controls, Mode, press
from prodigy.cli.keyboard import Keyboard, in_foreground, terminal_of
from prodigy.cli.looks import Looks
from prodigy.cli.progress import steered_words
from prodigy.cli.tail import Describe, last_lines
from prodigy.cli.wishes import Wishes
from prodigy.cli.words import BREAKER_CLOSED, breaker_opened, counted, were_done
from prodigy.report.view import RunView, StepNow
from prodigy.secrets import mask
from prodigy.state import events as ev
from prodigy.state.step_path import is_of_the_run

if TYPE_CHECKING:  # they bring rich, which a terminal alone needs
    from rich.text import Text

    from prodigy.cli.canvas import Canvas

REDRAW_S = 0.25
LONGEST_MESSAGE = 2000  # characters of one printed line
KEPT_MESSAGES = 1000  # that wait for a terminal which takes nothing
LEAVE_S = 2.0  # how long the end waits for such a terminal
STOP_PATIENCE_S = 0.5  # how long Ctrl-Z waits for it


_STEERED = (ev.JobHeld, ev.JobReleased, ev.JobSteered, ev.DlqItemsReprocessed)

# One line to print, and its style.
Message = tuple[str, str]


def fits(stream: TextIO) -> bool:
    """Whether a live view can be drawn there: on a terminal that can move its cursor, outside of CI."""
    try:
        on_terminal = stream.isatty()
    except (OSError, ValueError):
        return False  # it is closed
    term = os.environ.get("TERM", "").lower()
    in_ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
    return on_terminal and term not in ("", "dumb", "unknown") and not in_ci


def keyboard() -> int | None:
    """The descriptor to read keys from; None where nobody sits at one."""
    try:
        descriptor = sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):
        return None  # there is no standard input
    return descriptor if terminal_of(descriptor) else None


class LiveView:
    """Takes events like `Progress` and shows them in place. Nothing that the terminal does raises into the run.

    directory: the run's, for what its steps print. view: what is known already of a run that goes on. describers:
    agent program -> what a line of its stdout says. keyboard: the descriptor to read keys from, if any. attached:
    whether another process drives the run.
    """

    def __init__(
        self,
        run_id: str,
        stream: TextIO,
        directory: Path,
        *,
        view: RunView | None = None,
        describers: Mapping[str, Describe] | None = None,
        keyboard: int | None = None,
        attached: bool = False,
    ) -> None:
        from prodigy.cli.screen import Screen  # brings rich

        self.view = view or RunView(run_id)
        self._screen = Screen(stream)
        self._steps = directory / "steps"
        self._describers = describers or {}
        self._looks = Looks(self._steps, self._describers)
        self._terminal = stream
        self._wishes = Wishes(directory)
        self._controls = Controls(keys=keyboard is not None, attached=attached)
        self._keyboard: Keyboard | None = None
        if keyboard is not None:
            self._keyboard = Keyboard(keyboard, self._pressed, stops=self._stops, goes_on=self._goes_on)
        self._stopped = False
        self._shown: tuple[str, StepNow] | None = None  # whose output was shown last
        self._started = time.monotonic()
        self._messages: deque[Message] = deque(maxlen=KEPT_MESSAGES)
        self._known = threading.Lock()  # guards the view; held for moments
        self._drawing = threading.RLock()  # guards the screen; held as long as the terminal takes to take it
        self._end = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._draw_on, name="live view", daemon=True)

    def __enter__(self) -> LiveView:
        self.say(f"run {self.view.run_id}")
        self._thread.start()
        if self._keyboard is not None:
            self._keyboard.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keyboard is not None:
            self._keyboard.__exit__(kind, error, trace)
        self._end.set()
        self._wake.set()
        self._thread.join(LEAVE_S)

    def drains_by(self, drain: Callable[[], None]) -> None:
        """Let a key make the run drain. drain: may be called from any thread."""
        self._wishes.drain = drain

    def say(self, text: str) -> None:
        """Print one line above the live area, within a moment."""
        self._announce(text, "")

    def event(self, event: ev.Event) -> None:
        """Take in one event that happened now."""
        with self._known:
            self.view.apply(event, time.monotonic())
            if isinstance(event, _STEERED):  # what was asked for is done
                self._controls = replace(self._controls, note="")
        if isinstance(event, ev.JobSteered):
            self._wishes.heard(self.view.max_parallel)
        if isinstance(event, ev.ErrorsCollected):
            for line in event.message.split("\n"):
                self._announce(line, "red")
        elif (message := announcement(event)) is not None:
            self._announce(*message)

    @contextmanager
    def suspend(self) -> Iterator[None]:
        """The terminal is the caller's meanwhile, to ask a question; what happens then is shown afterwards."""
        with self._drawing, self._keyboard.lent() if self._keyboard else nullcontext():
            self._guarded(self._clear)
            yield

    def _announce(self, text: str, style: str) -> None:
        elapsed = time.monotonic() - self._started
        self._messages.append((f"[{elapsed:7.1f}s] {mask(text)[:LONGEST_MESSAGE]}", style))

    # Keys --------------------------------------------------------------------------------------------------

    def _pressed(self, key: str) -> None:
        """In the thread that reads them."""
        with self._known:
            self._controls, wish = press(self._controls, key, self.view)
        self._wake.set()
        if wish is not None:
            note = self._wishes.grant(wish, self.view)
            with self._known:
                self._controls = replace(self._controls, note=note)
            self._wake.set()

    def _stops(self) -> None:
        """Ctrl-Z: nothing of ours stays in the shell's way."""
        self._stopped = True
        if self._drawing.acquire(timeout=STOP_PATIENCE_S):
            try:
                self._guarded(self._clear)
            finally:
                self._drawing.release()

    def _goes_on(self) -> None:
        self._stopped = False
        self._wake.set()

    def _has_terminal(self) -> bool:
        """Whether it is us to draw there: in the background the shell and others write to it."""
        if self._stopped:
            return False
        try:
            return in_foreground(self._terminal.fileno())
        except (OSError, ValueError):
            return True  # it is gone, as the next write will show

    # In the drawing thread ---------------------------------------------------------------------------------

    def _draw_on(self) -> None:
        while not self._end.is_set():
            with self._drawing:
                self._guarded(self._draw)
            self._wake.wait(REDRAW_S)
            self._wake.clear()
        with self._drawing:
            self._guarded(self._clear)

    def _guarded(self, act: Callable[[], None]) -> None:
        """Whatever is wrong with the view, the run goes on, and its messages are shown."""
        try:
            act()
        except Exception as error:  # noqa: BLE001 - a bug of the view is told, and ends the view alone
            self._screen.give_up()
            self._announce(f"the live view ended by a bug of ours, {type(error).__name__}: {error}", "yellow")
            self._screen.show(self._new_messages(), None)

    def _draw(self) -> None:
        if self._screen.draws and not self._has_terminal():
            self._screen.clear()
            self._screen.show(self._new_messages(), None)
            return
        if not self._screen.draws:
            self._screen.show(self._new_messages(), None)
            return
        from prodigy.cli.screen import Area

        canvas = self._screen.canvas()
        lines = self._log(canvas) if self._controls.mode is Mode.LOG else self._run(canvas)
        self._screen.show(self._new_messages(), Area(canvas, lines))

    def _run(self, canvas: Canvas) -> list[Text]:
        from prodigy.cli.frame import frame
        from prodigy.cli.rows import visible_steps

        now = time.monotonic()
        with self._known:
            steps = visible_steps(self.view, canvas, self._controls.selected)
        seen = self._looks.at(steps, now)  # not under the lock: a slow disk must not stop the engine
        with self._known:
            return frame(self.view, canvas, now, seen, self._controls)

    def _log(self, canvas: Canvas) -> list[Text]:
        """What the selected item prints; of one that has ended, what it printed last."""
        from prodigy.cli.frame import log_frame

        with self._known:
            line = self.view.lines.get(self._controls.selected)
            step = line.step if line is not None else None
            if step is not None and line is not None:
                self._shown = line.label, step
        if self._shown is None:
            return log_frame("", "", [], canvas)
        label, step = self._shown
        describe = self._describers.get(step.adapter) if step.adapter else None
        printed = last_lines(self._steps / step.path, step.agent, describe, canvas.rows)
        return log_frame(label, step.label, printed, canvas)

    def _clear(self) -> None:
        self._screen.show(self._new_messages(), None)
        self._screen.clear()

    def _new_messages(self) -> list[Message]:
        return [self._messages.popleft() for _ in range(len(self._messages))]


def announcement(event: ev.Event) -> Message | None:
    """What is printed for good about an event, and its style: phases, failures, warnings, ends. None: nothing."""
    match event:
        case ev.JobResumed(total=total, done=done, failed=failed) if total:
            return were_done(total, done, failed), ""
        case ev.PhaseStarted(phase=phase):
            return phase, "bold"
        case ev.ItemsPlanned(total=total, duplicates=duplicates):
            return counted(total, "item") + (f", {counted(duplicates, 'duplicate')} left out" if duplicates else ""), ""
        case ev.AgentFailed(label=label, error=error, collected=collected):
            return f"FAILED {label}{'' if collected else f': {error}'}", "red"
        case ev.BreakerOpened(failures=failures, pause_s=pause_s):
            return breaker_opened(failures, pause_s), "yellow"
        case ev.BreakerClosed():
            return BREAKER_CLOSED, "yellow"
        case ev.JobHeld() | ev.JobReleased() | ev.JobSteered():
            return steered_words(event), "yellow"
        case ev.AgentInterrupted(label=label):
            return f"ended  {label}", ""
        case ev.StepLost(path=path, reason="lost"):
            return f"lost, will run again: {path}", "yellow"
        case ev.StepFinished(path=path, kind=kind, message=message) if kind and is_of_the_run(path):
            return f"step {path} failed: {message}", "red"
        case ev.Warned(message=message) | ev.FinalMergeRefused(problem=message):
            return f"warning: {message}", "yellow"
        case ev.FinalMergeFinished(target=target):
            return f"merged into {target.removeprefix('refs/heads/')}", "green"
    return None
