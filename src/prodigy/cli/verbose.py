"""A display that tells more: every step that starts and ends, and with `-vv` what the steps print."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from prodigy.cli.chatter import Chatter
from prodigy.cli.telling import OUTPUT
from prodigy.report.view import RunView, owner_of
from prodigy.state import events as ev
from prodigy.state.step_path import attempt_path, is_of_the_run, split_try

if TYPE_CHECKING:  # it makes these
    from collections.abc import Mapping

    from prodigy.cli.display import Display
    from prodigy.cli.tail import Describe


class Verbose:
    """inner: the display that tells the rest. level: how often -v was given. view: what is known of the run."""

    def __init__(
        self, inner: Display, directory: Path, describers: Mapping[str, Describe], level: int, view: RunView
    ) -> None:
        self._inner = inner
        self._items = {path: line.label for path, line in view.lines.items() if line.attempt}
        self._labels: dict[str, str] = {}
        self._chatter = Chatter(directory / "steps", describers, inner.say) if level >= OUTPUT else None
        for line in view.lines.values():
            if line.step is not None:
                self._labels[line.step.path] = line.step.label
                if self._chatter is not None:
                    self._chatter.follow(line.step.path, line.label, line.step.adapter, from_now=True)

    def __enter__(self) -> Verbose:
        self._inner.__enter__()
        if self._chatter is not None:
            self._chatter.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._chatter is not None:
            self._chatter.stop()
        self._inner.__exit__(kind, error, trace)

    def say(self, text: str) -> None:
        self._inner.say(text)

    def suspend(self) -> AbstractContextManager[None]:
        return self._inner.suspend()

    def drains_by(self, drain: Callable[[], None]) -> None:
        self._inner.drains_by(drain)

    def event(self, event: ev.Event) -> None:
        match event:
            case ev.AgentStarted():
                self._items[attempt_path(event.fanout, event.ordinal, event.attempt)] = event.label
            case ev.StepStarted(path=path, label=label, agent=agent, adapter=adapter):
                self._labels[path] = label
                self._inner.say(f"step   {self._name(path)}")
                if self._chatter is not None:
                    self._chatter.follow(path, self._whose(path), adapter or agent)
            case ev.StepAdopted(path=path) if self._chatter is not None:
                self._chatter.follow(path, self._whose(path), None, from_now=True)
            case ev.StepFinished(path=path) | ev.StepLost(path=path):
                if self._chatter is not None:
                    self._chatter.finish(path)
                self._inner.say(self._end(event))
                self._labels.pop(path, None)
            case ev.AgentCompleted() | ev.AgentFailed() | ev.AgentInterrupted():
                self._items.pop(attempt_path(event.fanout, event.ordinal, event.attempt), None)
        self._inner.event(event)

    def _end(self, event: ev.StepFinished | ev.StepLost) -> str:
        name = self._name(event.path)
        if isinstance(event, ev.StepLost):
            return f"ended  {name}: {event.reason.replace('_', ' ')}, will run again"
        cost = "" if event.cost_usd is None else f", ${event.cost_usd:.2f}"
        how = "ok" if event.kind is None else event.message or event.kind
        return f"ended  {name}: {how} ({event.duration_s:.1f} s{cost})"

    def _name(self, path: str) -> str:
        label = self._labels.get(path) or split_try(path)[0]
        return f"{self._whose(path)}: {label}"

    def _whose(self, path: str) -> str:
        """The item that a step belongs to; what belongs to none is the run's."""
        owner = owner_of(path)
        return self._items.get(owner) or ("run" if is_of_the_run(path) else owner)
