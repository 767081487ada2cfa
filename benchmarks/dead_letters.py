"""What a dead letter costs: its rules alone, the whole of it as the engine records it, and finding what is left.

An item that fails is set beside one that succeeds without commits: both make a worktree fresh and run one shell step,
so that what differs is the branch that keeps the work, the verdict, and the transaction with both.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise

from benchmarks.common import Result, drive, make_repository, make_run, median, scratch
from prodigy.plan.identity import Item
from prodigy.state import events as ev
from prodigy.state.dead_letter import Failure, dead_letter
from prodigy.state.items import ItemRow, ItemState, remaining_work

FILES = 100
FIRST = 10  # items of a run that are not measured
ROWS = 100_000
WORKFLOW = """
name: dead-letters
map:
  input: seq -f 'n%g' 1 {items}
  max_parallel: 1
  agent_template:
    - shell: exit {code}
"""
ITEM = Item(42, "billing-42", {"id": "billing-42", "file": "src/billing/My Invoices/tax.py", "tags": ["tax", "eu"]})
TYPICAL = (
    "exited with code 1: AssertionError: expected 3, got 4",
    "src/billing/My Invoices/tax.py:12:5: error TS2345: Argument of type 'string' is not assignable (after 1.2s)",
    "its commits conflict with what was merged before, in src/a.py, src/b.py, lib/c.py and 3 more",
    "2026-11-26T10:11:12Z connection from 10.0.0.7:51234 refused, request req_011CSHoEeqs5C35K2UUqR7Fy",
)
# What the patterns take longest for; several megabytes, of which only the ends are looked at.
WORST = ("1,", "' ", "a:", "\x1b[", "9", ".", "1.1", "Mon Jan ", "x", "/a b")
WORST_LENGTH = 4_000_000


def rules(rounds: int) -> list[Result]:
    """Microseconds of the pure function; the shortest of the rounds, which others on the machine change least."""
    typical = [_shortest_us(message, rounds) for message in TYPICAL]
    worst = {part: _shortest_us(part * (WORST_LENGTH // len(part)), rounds) for part in WORST}
    slowest = max(worst, key=lambda part: worst[part])
    each = ", ".join(f"{spent:.0f}" for spent in typical)
    return [
        Result("rules of a dead letter, typical", median(typical), 500, "us", f"{each} us"),
        Result(
            "rules of a dead letter, worst", worst[slowest], 10_000, "us",
            f"{WORST_LENGTH / 1e6:g} MB of {slowest!r}; the others from {min(worst.values()):.0f} us",
        ),
    ]  # fmt: skip


def _shortest_us(message: str, rounds: int) -> float:
    failure = Failure(message)
    return _shortest_s(lambda: dead_letter(failure, ITEM, 1), rounds) * 1e6


def _shortest_s(work: Callable[[], object], rounds: int) -> float:
    spent = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        spent.append(time.perf_counter() - started)
    return min(spent)


def recorded(rounds: int, items: int) -> list[Result]:
    """Runs that fail and runs that succeed in turn, the one that begins changing from round to round."""
    failing: list[_Cost] = []
    succeeding: list[_Cost] = []
    for round_ in range(rounds):
        for fails in (False, True) if round_ % 2 else (True, False):
            (failing if fails else succeeding).append(_run(items, fails=fails))
    more = [bad.item_ms - good.item_ms for bad, good in zip(failing, succeeding, strict=True)]
    ends = [bad.end_ms - good.end_ms for bad, good in zip(failing, succeeding, strict=True)]
    details = (
        f"{median([cost.item_ms for cost in failing]):.1f} ms an item that fails,"
        f" {median([cost.item_ms for cost in succeeding]):.1f} ms one that succeeds;"
        f" differences {', '.join(f'{ms:.2f}' for ms in sorted(more))};\n{'':<6}"
        f"from the end of its last step {median([cost.end_ms for cost in failing]):.2f} ms and"
        f" {median([cost.end_ms for cost in succeeding]):.2f} ms, difference {median(ends):.2f} ms"
    )
    return [Result("a dead letter, branch and transaction", median(more), 5, "ms", details)]


class _Cost:
    """Milliseconds of the median item of a run: item_ms from the end of the last one, end_ms from that of its step."""

    def __init__(self) -> None:
        self._ended: list[float] = []
        self._after_step: list[float] = []
        self._step_ended = 0.0

    def __call__(self, event: ev.Event) -> None:
        match event:
            case ev.StepFinished():
                self._step_ended = time.perf_counter()
            case ev.AgentCompleted() | ev.DlqItemAdded():
                self._ended.append(time.perf_counter())
                self._after_step.append(self._ended[-1] - self._step_ended)

    @property
    def count(self) -> int:
        return len(self._ended)

    @property
    def item_ms(self) -> float:
        return median([after - before for before, after in pairwise(self._ended[FIRST:])]) * 1000

    @property
    def end_ms(self) -> float:
        return median(self._after_step[FIRST:]) * 1000


def _run(items: int, *, fails: bool) -> _Cost:
    cost = _Cost()
    with scratch() as folder:
        repo = make_repository(folder, FILES)
        drive(make_run(folder, repo, WORKFLOW.format(items=items, code=int(fails))), cost)
    assert cost.count == items, cost.count
    return cost


def remaining(rounds: int) -> list[Result]:
    """Every tenth row has the id of an earlier one in the same state; all states occur."""
    states = list(ItemState)
    named = [ordinal - len(states) if ordinal % 10 == 9 else ordinal for ordinal in range(ROWS)]
    rows = [
        ItemRow(ordinal, f"item-{name}", states[ordinal % len(states)], attempt=1, tries=1)
        for ordinal, name in enumerate(named)
    ]
    work = remaining_work(rows, include_dead=True, max_tries=3)
    seconds = _shortest_s(lambda: remaining_work(rows, include_dead=True, max_tries=3), rounds)
    details = f"{len(work.rows):,} rows are left, {len(work.duplicates):,} others name an item again"
    return [Result(f"what is left of {ROWS:,} items", seconds, 0.3, "s", details)]


def dead_letters(*, rounds: int, items: int) -> list[Result]:
    """rounds: of pairs of runs. items: of each run."""
    return [*rules(50), *recorded(rounds, items), *remaining(5)]
