"""One frame of the live view: a `RunView` as lines that fit a terminal. Pure; `live.py` puts it on the screen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from prodigy.cli.agent_words import gate_words
from prodigy.cli.view import RUNNING, Batch, FailureNote, Line, RunView, StepNow
from prodigy.cli.words import printable

BAR_CELLS = 30
MOST_FAILURES = 5
_IN_SECONDS = 120  # what is nearer is told in seconds
NARROW = 60  # columns; below, a line shows no output and the bar is short


@dataclass(frozen=True)
class Canvas:
    """The space and the characters there are. width and height in cells; `encoding` is the terminal's."""

    width: int
    height: int
    encoding: str = "utf-8"

    @property
    def rows(self) -> int:
        """How many rows a frame may take: lines that were printed before stay in sight."""
        return max(1, self.height - max(1, self.height // 6))

    @property
    def cells(self) -> int:
        """How wide a line may be: the last column stays free, for terminals that wrap there or count otherwise."""
        return max(1, self.width - 1)

    @property
    def rich_characters(self) -> bool:
        return self.encoding.lower().replace("-", "").startswith("utf")

    def plain(self, text: str) -> str:
        """Text that moves nothing on the terminal and that its encoding can tell."""
        shown = printable(text)
        if self.rich_characters:
            return shown
        return shown.encode(self.encoding, errors="backslashreplace").decode(self.encoding)

    def crop(self, text: str, cells: int) -> str:
        """Text in at most so many cells, with an ellipsis where something is missing."""
        if cells <= 0:
            return ""
        if cell_len(text) <= cells:
            return text
        return set_cell_size(text, cells - 1).rstrip() + ("…" if self.rich_characters else "~")

    def pad(self, text: str, cells: int) -> str:
        """Text in exactly so many cells."""
        return set_cell_size(self.crop(text, cells), max(0, cells))


def frame(view: RunView, canvas: Canvas, now: float, tails: Mapping[str, str]) -> list[Text]:
    """The lines to draw, at most `canvas.rows` of them, each at most `canvas.cells` wide.

    tails: the last line of output of each step, by the path of its execution.
    """
    lines = [_header(view, canvas, now)]
    if view.batch and view.batch.total:
        lines.append(_bar(view, view.batch, canvas, now))
    elif spend := _spend(view):
        lines.append(Text(canvas.crop("  " + "  ".join(spend), canvas.cells)))
    lines += _gates(view, canvas)
    lines += _merge_queue(view, canvas)
    lines += _waiting(view, canvas, now)
    left = max(0, canvas.rows - len(lines))
    failures = list(view.failures)[len(view.failures) - _failure_rows(left, len(view.failures)) :]
    lines += _running(view, canvas, now, tails, left - len(failures))
    lines += [_failure(note, canvas) for note in failures]
    return lines[: canvas.rows]


def visible_steps(view: RunView, canvas: Canvas) -> list[StepNow]:
    """The steps whose output a frame may show."""
    if canvas.width < NARROW:
        return []
    return [line.step for line in islice(view.lines.values(), canvas.rows) if line.step is not None]


def duration(seconds: float) -> str:
    """A duration for people, in two parts at most: `42s`, `3m05s`, `2h07m`, `3d04h`."""
    whole = max(0, int(seconds))
    for unit, part, size, part_size in (("d", "h", 86400, 3600), ("h", "m", 3600, 60), ("m", "s", 60, 1)):
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // part_size:02d}{part}"
    return f"{whole}s"


def money(dollars: float) -> str:
    return "<$0.01" if 0 < dollars < 0.01 else f"${dollars:,.2f}"


def amount(number: int) -> str:
    """A count in three digits or so: `950`, `12.3k`, `4.1M`."""
    for limit, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if number >= limit:
            return f"{number / limit:.1f}{unit}"
    return str(number)


# The parts -------------------------------------------------------------------------------------------------


def _header(view: RunView, canvas: Canvas, now: float) -> Text:
    elapsed = duration(now - view.started_at) if view.started_at is not None else "0s"
    status = view.phase if view.state == RUNNING else view.state.replace("_", " ")
    tail = "  ".join(part for part in (canvas.plain(view.run_id), canvas.plain(status), elapsed) if part)
    name = canvas.crop(canvas.plain(view.workflow), max(8, canvas.cells - cell_len(tail) - 2))
    text = Text(name, style="bold", no_wrap=True)
    text.append(canvas.crop(f"  {tail}" if name else tail, canvas.cells - cell_len(name)), style="not bold cyan")
    text.truncate(canvas.cells)
    return text


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
    if running := sum(1 for line in view.lines.values() if line.attempt):
        text.append(f"  {running} running", style="cyan")
    facts = [f"ETA {duration(eta)}"] if (eta := view.eta_s(now)) is not None else []
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


def _waiting(view: RunView, canvas: Canvas, now: float) -> list[Text]:
    count, next_s = view.waiting(now)
    if not count:
        return []
    seconds = math.ceil(next_s)
    when = f"{seconds} s" if seconds < _IN_SECONDS else duration(seconds)
    text = f"1 waits for its next attempt, in {when}"
    if count > 1:
        text = f"{count} wait for their next attempt, the next in {when}"
    return [Text(canvas.crop(f"  {text}", canvas.cells), style="yellow", no_wrap=True)]


def _gates(view: RunView, canvas: Canvas) -> list[Text]:
    if view.state != RUNNING:
        return []
    lines = [gate_words(gate.agent, gate.cause, gate.until, gate.message) for gate in view.gates.values()]
    return [Text(canvas.crop(f"  {canvas.plain(line)}", canvas.cells), style="yellow", no_wrap=True) for line in lines]


def _merge_queue(view: RunView, canvas: Canvas) -> list[Text]:
    if not view.queued or view.state != RUNNING:
        return []
    count, names = len(view.queued), ", ".join(canvas.plain(label) for label in view.checking)
    text = f"merge queue: {count} {'wait' if count > 1 else 'waits'}{f', checking {names}' if names else ''}"
    return [Text(canvas.crop(f"  {text}", canvas.cells), style="cyan", no_wrap=True)]


def _spend(view: RunView) -> list[str]:
    facts = [] if view.cost_usd is None else [money(view.cost_usd)]
    return facts + ([] if view.tokens is None else [f"{amount(view.tokens)} tokens"])


def _failure_rows(rows: int, failures: int) -> int:
    """How many of the rows below the bar go to failures: a quarter."""
    return min(failures, MOST_FAILURES, rows // 4)


def _running(view: RunView, canvas: Canvas, now: float, tails: Mapping[str, str], rows: int) -> list[Text]:
    if rows <= 0 or not view.lines:
        return []
    count = len(view.lines)
    shown = list(islice(view.lines.values(), count if count <= rows else rows - 1))
    label_cells = max(cell_len(_label(line, canvas)) for line in shown) if shown else 0
    lines = [_row(line, canvas, now, tails, label_cells) for line in shown]
    if len(shown) < count:
        dots = "…" if canvas.rich_characters else "..."
        lines.append(Text(canvas.crop(f"  {dots} and {count - len(shown)} more", canvas.cells), style="dim"))
    return lines


def _row(line: Line, canvas: Canvas, now: float, tails: Mapping[str, str], label_cells: int) -> Text:
    text = Text("  ", no_wrap=True)
    text.append(canvas.pad(_label(line, canvas), label_cells))
    text.append("  ").append(duration(now - (line.step.since if line.step else line.since)).rjust(6), style="cyan")
    rest = canvas.cells - text.cell_len - 2
    doing = _doing(line, canvas, now)
    output = "" if line.step is None or canvas.width < NARROW else canvas.plain(tails.get(line.step.path, ""))
    if output:
        cells = min(rest, max(12, canvas.cells // 4))
        text.append("  ").append(canvas.pad(doing, cells))
        text.append("  ").append(canvas.crop(output, rest - cells - 2), style="dim")
    else:
        text.append("  ").append(canvas.crop(doing, rest), style="yellow" if line.retry else "")
    text.rstrip()
    text.truncate(canvas.cells)
    return text


def _label(line: Line, canvas: Canvas) -> str:
    again = f" (attempt {line.attempt})" if line.attempt > 1 else ""
    label = canvas.plain(line.label)
    limit = max(8, canvas.cells // 3) - len(again)
    return canvas.crop(label, max(4, limit)) + again


def _doing(line: Line, canvas: Canvas, now: float) -> str:
    if line.retry:
        seconds = max(0, round(line.retry.at - now))
        return canvas.plain(f"retry in {seconds} s: {line.retry.reason}")
    if line.step:
        return canvas.plain(line.step.label)
    if line.waiting:
        return "waits for its agent"
    return "merging" if line.merging else "finishing" if line.begun else "starting"


def _failure(note: FailureNote, canvas: Canvas) -> Text:
    mark = "✗" if canvas.rich_characters else "x"
    text = canvas.plain(f"{note.label}: {note.message or note.kind}")
    return Text(canvas.crop(f"{mark} {text}", canvas.cells), style="red", no_wrap=True)
