"""One frame of the live view: a `RunView` as lines that fit a terminal. Pure; `live.py` puts it on the screen.

`rows.py` has the lines of what runs, `canvas.py` the space there is, `controls.py` what keys do.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence

from rich.cells import cell_len
from rich.text import Text

from prodigy.cli.agent_words import gate_words
from prodigy.cli.canvas import NARROW, Canvas, amount, duration, money
from prodigy.cli.controls import HELP, HELP_ATTACHED, QUIT, Controls, Mode
from prodigy.cli.rows import Seen, running
from prodigy.report.view import RUNNING, Batch, FailureNote, RunView

BAR_CELLS = 30
MOST_FAILURES = 5
KEYS_FROM_ROWS = 8  # a shorter area has no line about keys
LONGEST_NAME = 40  # characters of an item's name in a command to type
NEARLY_SPENT = 0.9  # of a budget
_IN_SECONDS = 120  # what is nearer is told in seconds
_NO_CONTROLS = Controls()


def frame(
    view: RunView, canvas: Canvas, now: float, seen: Mapping[str, Seen], controls: Controls = _NO_CONTROLS
) -> list[Text]:
    """The lines to draw, at most `canvas.rows` of them, each at most `canvas.cells` wide.

    seen: what each step has shown, by the path of its execution.
    """
    if controls.mode is Mode.HELP:
        return _menu("keys (any key: back)", HELP_ATTACHED if controls.attached else HELP, canvas)
    lines = [_header(view, canvas, now)]
    if view.batch and view.batch.total:
        lines.append(_bar(view, view.batch, canvas, now))
    elif spend := _spend(view):
        lines.append(Text(canvas.crop("  " + "  ".join(spend), canvas.cells)))
    lines += _held(view, canvas, controls)
    lines += _budget(view, canvas)
    lines += _gates(view, canvas)
    lines += _merge_queue(view, canvas)
    lines += _waiting(view, canvas, now)
    below = _foot(view, canvas, controls)
    left = max(0, canvas.rows - len(lines) - len(below))
    failures = _failures(view, canvas, left)
    lines += running(view, canvas, now, seen, left - len(failures), controls.selected)
    return [*lines, *failures, *below][: canvas.rows]


def log_frame(label: str, step: str, printed: Sequence[str], canvas: Canvas) -> list[Text]:
    """What one item has printed, its newest lines, below a line that says whose they are."""
    title = canvas.plain(f"{label}  {step}".rstrip())
    how = "  any key: back"
    head = Text(canvas.crop(title, max(8, canvas.cells - len(how))), style="bold", no_wrap=True)
    head.append(how, style="not bold dim")
    head.truncate(canvas.cells)
    space = max(0, canvas.rows - 1)
    lines = [Text(canvas.crop(canvas.plain(line), canvas.cells), no_wrap=True) for line in printed]
    shown = lines[len(lines) - min(space, len(lines)) :] or [Text("  nothing yet", style="dim")][:space]
    return [head, *shown][: canvas.rows]


# The parts -------------------------------------------------------------------------------------------------


def _header(view: RunView, canvas: Canvas, now: float) -> Text:
    elapsed = duration(now - view.started_at) if view.started_at is not None else "0s"
    status = _phases(view, canvas) if view.state == RUNNING else view.state.replace("_", " ")
    tail = "  ".join(part for part in (canvas.plain(view.run_id), canvas.plain(status), elapsed) if part)
    name = canvas.crop(canvas.plain(view.workflow), max(8, canvas.cells - cell_len(tail) - 2))
    text = Text(name, style="bold", no_wrap=True)
    text.append(canvas.crop(f"  {tail}" if name else tail, canvas.cells - cell_len(name)), style="not bold cyan")
    text.truncate(canvas.cells)
    return text


def _phases(view: RunView, canvas: Canvas) -> str:
    """The phase the run is in, behind those it has been through where there is room for them."""
    if canvas.width < 2 * NARROW or len(view.phases) < 2 or view.phases[-1] != view.phase:
        return view.phase
    return (" › " if canvas.rich_characters else " > ").join(list(view.phases)[-4:])


def _bar(view: RunView, batch: Batch, canvas: Canvas, now: float) -> Text:
    cells = BAR_CELLS if canvas.width >= 2 * NARROW else 16 if canvas.width >= NARROW else 6
    full, empty = ("━", "─") if canvas.rich_characters else ("#", "-")
    done = cells * batch.done // batch.total
    failed = min(done, -(-cells * batch.failed // batch.total))
    text = Text(no_wrap=True)
    text.append(full * (done - failed), style="green").append(full * failed, style="red")
    text.append(empty * (cells - done), style="dim")
    text.append(f" {batch.done}/{batch.total}", style="bold")
    if batch.failed:
        text.append(f"  {batch.failed} failed", style="red")
    if running_now := sum(1 for line in view.lines.values() if line.attempt):
        text.append(f"  {running_now} running", style="cyan")
    eta = None if view.held_by is not None or view.gates else view.eta_s(now)  # nobody knows how long they wait
    facts = [] if eta is None else [f"ETA {duration(eta)}"]
    facts += _spend(view)
    if view.retries:
        facts.append(f"{view.retries} retries" if view.retries > 1 else "1 retry")
    if view.merges:
        facts.append(f"{view.merges} merged")
    if view.warning_count:
        facts.append(f"{view.warning_count} warnings" if view.warning_count > 1 else "1 warning")
    for fact in facts:
        if text.cell_len + 2 + len(fact) <= canvas.cells:
            text.append(f"  {fact}")
    text.truncate(canvas.cells)
    return text


def _line(text: str, canvas: Canvas, style: str) -> Text:
    return Text(canvas.crop(f"  {canvas.plain(text)}", canvas.cells), style=style, no_wrap=True)


def _held(view: RunView, canvas: Canvas, controls: Controls) -> list[Text]:
    if view.held_by is None or view.state != RUNNING:
        return []
    how = "; p: go on" if controls.keys else ""
    return [_line(f"paused by {view.held_by}: what runs may finish{how}", canvas, "bold yellow")]


def _budget(view: RunView, canvas: Canvas) -> list[Text]:
    """Only when little of it is left: what is spent stands in the bar."""
    if view.budget_usd is None or (view.cost_usd or 0.0) < NEARLY_SPENT * view.budget_usd:
        return []
    left = view.budget_usd - (view.cost_usd or 0.0)
    text = f"{money(left)} of the budget are left" if left > 0 else "the budget is spent: no agent starts any more"
    return [_line(text, canvas, "yellow")]


def _waiting(view: RunView, canvas: Canvas, now: float) -> list[Text]:
    count, next_s = view.waiting(now)
    if not count:
        return []
    seconds = math.ceil(next_s)
    when = f"{seconds} s" if seconds < _IN_SECONDS else duration(seconds)
    text = f"1 waits for its next attempt, in {when}"
    if count > 1:
        text = f"{count} wait for their next attempt, the next in {when}"
    return [_line(text, canvas, "yellow")]


def _gates(view: RunView, canvas: Canvas) -> list[Text]:
    if view.state != RUNNING:
        return []
    lines = [gate_words(gate.agent, gate.cause, gate.until, gate.message) for gate in view.gates.values()]
    return [_line(line, canvas, "yellow") for line in lines]


def _merge_queue(view: RunView, canvas: Canvas) -> list[Text]:
    if not view.queued or view.state != RUNNING:
        return []
    count, names = len(view.queued), ", ".join(view.checking)
    text = f"merge queue: {count} {'wait' if count > 1 else 'waits'}{f', checking {names}' if names else ''}"
    return [_line(text, canvas, "cyan")]


def _spend(view: RunView) -> list[str]:
    of = "" if view.budget_usd is None else f" of {money(view.budget_usd)}"
    facts = [f"{money(view.cost_usd or 0.0)}{of}"] if view.cost_usd is not None or of else []
    return facts + ([] if view.tokens is None else [f"{amount(view.tokens)} tokens"])


def _failures(view: RunView, canvas: Canvas, rows: int) -> list[Text]:
    """The newest of them, in a quarter of the rows, and how to look at the last one where there is room for it."""
    count = min(len(view.failures), MOST_FAILURES, rows // 4)
    if not count:
        return []
    lines = [_failure(note, canvas) for note in list(view.failures)[-count:]]
    newest = view.failures[-1]
    if newest.item_id and rows // 4 > count:
        name = newest.label if newest.label.isprintable() and len(newest.label) <= LONGEST_NAME else newest.item_id
        look = f"prodigy logs {view.run_id} --item {shlex.quote(name)}"
        lines.append(_line(look, canvas, "dim"))
    return lines


def _failure(note: FailureNote, canvas: Canvas) -> Text:
    mark = "✗" if canvas.rich_characters else "x"
    text = canvas.plain(f"{note.label}: {note.message or note.kind}")
    return Text(canvas.crop(f"{mark} {text}", canvas.cells), style="red", no_wrap=True)


def _foot(view: RunView, canvas: Canvas, controls: Controls) -> list[Text]:
    """What keys there are, or what came of the last one."""
    if not controls.keys:
        return []
    if controls.mode is Mode.QUIT:
        return _menu("quit (any other key: back)", QUIT, canvas)
    if controls.note:
        return [_line(controls.note, canvas, "bold")]
    if canvas.rows < KEYS_FROM_ROWS:
        return []
    width = f" ({view.max_parallel})" if view.max_parallel else ""
    pause = "go on" if view.held_by is not None else "pause"
    line, last = f"p {pause}", "  ? help"
    for key in ("q quit", "l log", "r retry", f"+/- at a time{width}"):
        if 2 + len(line) + 2 + len(key) + len(last) <= canvas.cells:
            line += f"  {key}"
    return [_line(line + last, canvas, "dim")]


def _menu(title: str, entries: Sequence[tuple[str, str]], canvas: Canvas) -> list[Text]:
    cells = max(len(key) for key, _ in entries)
    lines = [Text(canvas.crop(title, canvas.cells), style="bold", no_wrap=True)]
    return [*lines, *(_line(f"{key:{cells}}  {what}", canvas, "") for key, what in entries)][: canvas.rows]
