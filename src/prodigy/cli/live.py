"""The live view of a run on a terminal: what runs now, drawn in place; what happened, printed above it.

A thread of its own draws, so that neither a busy engine starves the view nor a stuck terminal the engine.
Importing this module does not import rich; making a view does.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TextIO

from prodigy.cli.progress import steered_words
from prodigy.cli.tail import Describe, last_line, signature
from prodigy.cli.view import RunView, StepNow
from prodigy.cli.words import BREAKER_CLOSED, breaker_opened, counted, were_done
from prodigy.secrets import mask
from prodigy.state import events as ev
from prodigy.state.step_path import is_of_the_run

REDRAW_S = 0.25
TAIL_S = 1.0  # between two looks at one step's output
LONGEST_MESSAGE = 2000  # characters of one printed line
KEPT_MESSAGES = 1000  # that wait for a terminal which takes nothing
LEAVE_S = 2.0  # how long the end waits for such a terminal


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


class LiveView:
    """Takes events like `Progress` and shows them in place. Nothing that the terminal does raises into the run.

    directory: the run's, for what its steps print. view: what is known already of a run that goes on. describers:
    agent program -> what a line of its stdout says.
    """

    def __init__(
        self,
        run_id: str,
        stream: TextIO,
        directory: Path,
        *,
        view: RunView | None = None,
        describers: Mapping[str, Describe] | None = None,
    ) -> None:
        from prodigy.cli.screen import Screen  # brings rich

        self.view = view or RunView(run_id)
        self._screen = Screen(stream)
        self._tails = Tails(directory, describers or {})
        self._started = time.monotonic()
        self._messages: deque[Message] = deque(maxlen=KEPT_MESSAGES)
        self._known = threading.Lock()  # guards the view; held for moments
        self._drawing = threading.RLock()  # guards the screen; held as long as the terminal takes to take it
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._draw_on, name="live view", daemon=True)

    def __enter__(self) -> LiveView:
        self.say(f"run {self.view.run_id}")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join(LEAVE_S)

    def say(self, text: str) -> None:
        """Print one line above the live area, within a moment."""
        self._announce(text, "")

    def event(self, event: ev.Event) -> None:
        """Take in one event that happened now."""
        with self._known:
            self.view.apply(event, time.monotonic())
        if isinstance(event, ev.ErrorsCollected):
            for line in event.message.split("\n"):
                self._announce(line, "red")
        elif (message := announcement(event)) is not None:
            self._announce(*message)

    @contextmanager
    def suspend(self) -> Iterator[None]:
        """The terminal is the caller's meanwhile, to ask a question; what happens then is shown afterwards."""
        with self._drawing:
            self._guarded(self._clear)
            yield

    def _announce(self, text: str, style: str) -> None:
        elapsed = time.monotonic() - self._started
        self._messages.append((f"[{elapsed:7.1f}s] {mask(text)[:LONGEST_MESSAGE]}", style))

    # In the drawing thread ---------------------------------------------------------------------------------

    def _draw_on(self) -> None:
        while True:
            with self._drawing:
                self._guarded(self._draw)
            if self._end.wait(REDRAW_S):
                break
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
        if not self._screen.draws:
            self._screen.show(self._new_messages(), None)
            return
        from prodigy.cli.frame import frame, visible_steps
        from prodigy.cli.screen import Area

        canvas, now = self._screen.canvas(), time.monotonic()
        with self._known:
            steps = visible_steps(self.view, canvas)
        tails = self._tails.read(steps, now)  # not under the lock: a slow disk must not stop the engine
        with self._known:
            lines = frame(self.view, canvas, now, tails)
        self._screen.show(self._new_messages(), Area(canvas, lines))

    def _clear(self) -> None:
        self._screen.show(self._new_messages(), None)
        self._screen.clear()

    def _new_messages(self) -> list[Message]:
        return [self._messages.popleft() for _ in range(len(self._messages))]


class Tails:
    """The last lines of output, read again at most once a second and only when the step has printed."""

    def __init__(self, directory: Path, describers: Mapping[str, Describe]) -> None:
        self._steps = directory / "steps"
        self._describers = describers
        self._read: dict[str, _Tail] = {}

    def read(self, steps: Sequence[StepNow], now: float) -> dict[str, str]:
        """path of the execution -> its last line, for these steps; those of other steps are forgotten."""
        self._read = {step.path: self._tail(step, now) for step in steps}
        return {path: tail.text for path, tail in self._read.items()}

    def _tail(self, step: StepNow, now: float) -> _Tail:
        known = self._read.get(step.path)
        if known is not None and now - known.looked_at < TAIL_S:
            return known
        directory = self._steps / step.path
        written = signature(directory)
        if known is not None and known.written == written:
            return _Tail(now, written, known.text)
        describe = self._describers.get(step.adapter) if step.adapter else None
        return _Tail(now, written, last_line(directory, step.agent, describe))


@dataclass(frozen=True)
class _Tail:
    looked_at: float
    written: tuple[tuple[int, int], ...]
    text: str


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
