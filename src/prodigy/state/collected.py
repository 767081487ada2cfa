"""The errors of items that have not been told to people yet, and how several of them are told at once. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from prodigy.state import events as ev
from prodigy.state.signature import signature

MAX_LINES = 20
_MAX_NAMES = 3


@dataclass
class Collected:
    """By ordinal, (item's name, error). ended: of those that ended for good, each once, also when it was tried again
    after that. open: the newest error of each item that may run again."""

    ended: dict[int, tuple[str, str]] = field(default_factory=dict)
    open: dict[int, tuple[str, str]] = field(default_factory=dict)

    @property
    def errors(self) -> list[tuple[str, str]]:
        return list(self.ended.values())


def collect(collected: Collected, event: ev.Event) -> Collected:
    """Take in one event of the fan-out; changes and returns `collected`."""
    match event:
        case ev.AgentFailed(ordinal=ordinal, label=label, error=error):
            collected.open[ordinal] = (label, error)
        case ev.DlqItemAdded(ordinal=ordinal) | ev.AgentSkipped(ordinal=ordinal):
            if (told := collected.open.pop(ordinal, None)) is not None:
                collected.ended[ordinal] = told
        case ev.AgentCompleted(ordinal=ordinal):
            collected.open.pop(ordinal, None)
            collected.ended.pop(ordinal, None)
        case ev.ErrorsCollected():
            collected.ended.clear()
    return collected


def report(errors: list[tuple[str, str]]) -> str:
    """The errors, a line for each way to fail, behind a line that counts them."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, error in errors:
        groups.setdefault(signature(error), []).append((name, error))
    lines = [_line(group) for group in sorted(groups.values(), key=len, reverse=True)]
    left = len(lines) - MAX_LINES
    more = [f"  and {left} other errors; see `prodigy dlq list`"] if left > 0 else []
    head = "1 item failed:" if len(errors) == 1 else f"{len(errors)} items failed:"
    return "\n".join([head, *lines[:MAX_LINES], *more])


def _line(group: list[tuple[str, str]]) -> str:
    names = [name for name, _ in group]
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    errors = {" ".join(error.split()): None for _, error in group}
    such_as = "errors such as " if len(errors) > 1 else ""
    return f"  {', '.join(names[:_MAX_NAMES])}{more}: {such_as}{next(iter(errors))}"
