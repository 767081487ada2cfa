"""Progress for people: one plain line an event that matters, on stderr."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TextIO

from prodigy.cli.agent_words import gate_words
from prodigy.cli.words import BREAKER_CLOSED, breaker_opened, counted, printable, were_done
from prodigy.state import events as ev
from prodigy.state.step_path import is_of_the_run


def steered_words(event: ev.JobHeld | ev.JobReleased | ev.JobSteered) -> str:
    """What is said when a user steers the run."""
    match event:
        case ev.JobHeld(by=by):
            return f"paused by {by}: nothing new starts until `prodigy resume`"
        case ev.JobReleased(by=by):
            return f"{by} lets it go on"
        case ev.JobSteered(what=what, by=by):
            return f"from now on {what}, says {by}"


class Progress:
    """Turns events into lines with the time of day, as logs of others have it, and the time since the command began."""

    def __init__(self, run_id: str, stream: TextIO) -> None:
        self._stream = stream
        self._run_id = run_id
        self._started = time.monotonic()
        self._total = 0
        self._done = 0
        self._phase = ""

    def __enter__(self) -> Progress:
        self.say(f"run {self._run_id}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.flush()

    def say(self, text: str) -> None:
        """Print one line; a terminal that went away does not stop the run."""
        elapsed = time.monotonic() - self._started
        try:
            self._stream.write(f"{time.strftime('%H:%M:%S')} [{elapsed:7.1f}s] {printable(text)}\n")
            self._stream.flush()
        except (OSError, ValueError):
            return  # the run matters more than its audience

    def drains_by(self, drain: Callable[[], None]) -> None:
        """There are no keys here."""

    @contextmanager
    def suspend(self) -> Iterator[None]:
        """Nothing is drawn here that would be in the way of a question."""
        yield

    def event(self, event: ev.Event) -> None:
        text = self._text(event)
        if isinstance(event, ev.ErrorsCollected):
            for line in event.message.split("\n"):
                self.say(line)
        elif text is not None:
            self.say(text)

    def _text(self, event: ev.Event) -> str | None:
        match event:
            case ev.JobResumed(total=total, done=done, failed=failed) if total:
                self._total, self._done = total, done
                return were_done(total, done, failed)
            case ev.PhaseStarted(phase=phase):
                is_new, self._phase = phase != self._phase, phase
                return phase if is_new else None
            case ev.ItemsPlanned(total=total, duplicates=duplicates):
                self._total, self._done = total, 0
                return counted(total, "item") + (f", {counted(duplicates, 'duplicate')} left out" if duplicates else "")
            case ev.AgentStarted(label=item, attempt=attempt):
                again = f" (attempt {attempt})" if attempt > 1 else ""
                return f"start  {item}{again}"
            case ev.AgentCompleted(label=item, merged=merged):
                self._done += 1
                return f"done   {item}{'' if merged else ', nothing to merge'}{self._count()}"
            case ev.AgentQueued(label=item):
                return f"ready  {item}, waits for its merge to be checked"
            case ev.AgentRequeued(label=item):
                return f"again  {item}: it conflicts with what was merged meanwhile"
            case ev.MergeCheckFinished(passed=False, message=message):
                return f"a check of merges failed: {message}"
            case ev.AgentFailed(label=item, error=error, collected=collected):
                self._done += 1
                return f"FAILED {item}{'' if collected else f': {error}'}{self._count()}"
            case ev.AgentRetrying(label=item, delay_s=delay_s):
                self._done -= 1
                return f"again  {item} in {delay_s:g} s"
            case ev.AgentSkipped(label=item):
                return f"skipped {item}: the workflow leaves out items that fail"
            case ev.JobHeld() | ev.JobReleased() | ev.JobSteered():
                return steered_words(event)
            case ev.DlqItemsReprocessed(ordinals=ordinals, by=by) if by:
                self._done -= len(ordinals)
                return f"{counted(len(ordinals), 'item')} run again, says {by}"
            case ev.AgentInterrupted(label=item):
                return f"ended  {item}"
            case ev.StepRetrying(path=path, delay_s=delay_s, reason=reason):
                return f"again  {path} in {delay_s:g} s: {reason}"
            case ev.StepSkipped(path=path, reason=reason) if is_of_the_run(path):
                return f"skipped {path}: {reason} does not hold"
            case ev.StepAdopted(path=path):
                return f"still running, watching it again: {path}"
            case ev.StepLost(path=path, reason="lost"):
                return f"lost, will run again: {path}"
            case ev.StepLost(path=path, reason="rate_limited" | "agent_down" as reason):
                return f"{reason.replace('_', ' ')}, will run again: {path}"
            case ev.AgentGateClosed(agent=agent, cause=cause, until=until, message=message):
                return gate_words(agent, cause, until, message)
            case ev.AgentGateOpened(account=account):
                return f"{account} answers again"
            case ev.StepFinished(path=path, kind=kind, message=message) if kind and is_of_the_run(path):
                return f"step {path} failed: {message}"
            case ev.BreakerOpened(failures=failures, pause_s=pause_s):
                return breaker_opened(failures, pause_s)
            case ev.BreakerClosed():
                return BREAKER_CLOSED
            case ev.Warned(message=message) | ev.FinalMergeRefused(problem=message):
                return f"warning: {message}"
            case ev.FinalMergeFinished(target=target):
                return f"merged into {target.removeprefix('refs/heads/')}"
        return None

    def _count(self) -> str:
        return f"  [{self._done}/{self._total}]" if self._total else ""


class Quiet(Progress):
    """Only what went wrong."""

    def __enter__(self) -> Quiet:
        return self

    def say(self, text: str) -> None:
        """What is neither a result nor an error is not said."""

    def event(self, event: ev.Event) -> None:
        text = self._text(event)
        lines = event.message.split("\n") if isinstance(event, ev.ErrorsCollected) else [text or ""]
        told = isinstance(event, ev.AgentFailed | ev.StepFinished | ev.ErrorsCollected | ev.FinalMergeRefused)
        for line in lines if told else ():
            if line:
                super().say(line)
