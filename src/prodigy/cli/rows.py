"""The lines of the live view about what runs: one for each item, or step of the run itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from rich.cells import cell_len
from rich.text import Text

from prodigy.cli.canvas import NARROW, Canvas, amount, duration, money
from prodigy.report.view import Line, RunView, StepNow

WIDE = 110  # columns; below, a line tells either what was used or what was printed last
IDLE_S = 20.0  # a step that prints nothing for longer is said to be idle


@dataclass(frozen=True)
class Seen:
    """What a running step has shown. idle_s: seconds since it printed last, None before it did. tokens, cost_usd: what
    its agent has used so far, None when it tells none."""

    text: str = ""
    idle_s: float | None = None
    tokens: int | None = None
    cost_usd: float | None = None


NOTHING_SEEN = Seen()


def first_shown(view: RunView, rows: int, selected: str) -> int:
    """The number of the first line that is shown of those that run: the oldest, unless the marked one is further on."""
    if rows <= 0 or len(view.lines) <= rows or selected not in view.lines:
        return 0
    at = list(view.lines).index(selected)
    return max(0, at - rows + 2)  # the last row says how many more there are


def visible_steps(view: RunView, canvas: Canvas, selected: str = "") -> list[StepNow]:
    """The steps whose output a frame may show."""
    if canvas.width < NARROW:
        return []
    first = first_shown(view, canvas.rows, selected)
    shown = islice(view.lines.values(), max(0, first - canvas.rows), first + canvas.rows)
    return [line.step for line in shown if line.step is not None]


def running(
    view: RunView, canvas: Canvas, now: float, seen: Mapping[str, Seen], rows: int, selected: str = ""
) -> list[Text]:
    """At most `rows` lines, the oldest first; how many more there are is the last of them."""
    if rows <= 0 or not view.lines:
        return []
    count = len(view.lines)
    first = first_shown(view, rows, selected)
    shown = list(islice(view.lines.items(), first, count if count <= rows else first + rows - 1))
    labels = max((cell_len(_label(line, canvas)) for _, line in shown), default=0)
    uses = [_use(line, seen) for _, line in shown] if canvas.width >= NARROW else [""] * len(shown)
    use_cells = max(map(cell_len, uses), default=0)
    lines = [
        _row(line, canvas, now, seen, (labels, use_cells), use, marked=path == selected)
        for (path, line), use in zip(shown, uses, strict=True)
    ]
    if len(shown) < count:
        dots = "…" if canvas.rich_characters else "..."
        lines.append(Text(canvas.crop(f"  {dots} and {count - len(shown)} more", canvas.cells), style="dim"))
    return lines


def _row(
    line: Line, canvas: Canvas, now: float, seen: Mapping[str, Seen], cells: tuple[int, int], use: str, *, marked: bool
) -> Text:
    labels, use_cells = cells
    mark = ("›" if canvas.rich_characters else ">") if marked else " "
    text = Text(f"{mark} ", no_wrap=True, style="reverse" if marked else "")
    text.append(canvas.pad(_label(line, canvas), labels))
    text.append("  ").append(duration(now - (line.step.since if line.step else line.since)).rjust(6), style="cyan")
    doing = _doing(line, canvas, now)
    output, idle = _said(line, canvas, seen)
    if use_cells:
        text.append("  ").append(canvas.pad(use.rjust(use_cells), use_cells), style="green")
    rest = canvas.cells - text.cell_len - 2
    if output and rest > 0:
        doing_cells = min(rest, max(12, canvas.cells // 4))
        text.append("  ").append(canvas.pad(doing, doing_cells))
        if idle:
            text.append("  ").append(canvas.crop(idle, rest - doing_cells - 2), style="yellow")
        text.append("  ").append(canvas.crop(output, canvas.cells - text.cell_len - 2), style="dim")
    else:
        text.append("  ").append(canvas.crop(doing, rest), style="yellow" if line.retry else "")
    text.rstrip()
    text.truncate(canvas.cells)
    return text


def _label(line: Line, canvas: Canvas) -> str:
    again = f" (attempt {line.attempt})" if line.attempt > 1 else ""
    label = canvas.plain(line.label)
    limit = max(8, canvas.cells // 3) - len(again)
    is_path = "/" in label and " " not in label
    crop = canvas.crop_path if is_path else canvas.crop
    return crop(label, max(4, limit)) + again


def _use(line: Line, seen: Mapping[str, Seen]) -> str:
    """What its agents have used so far, those of steps that have ended included."""
    found = seen.get(line.step.path, NOTHING_SEEN) if line.step else NOTHING_SEEN
    tokens = [known for known in (line.tokens, found.tokens) if known is not None]
    dollars = [known for known in (line.cost_usd, found.cost_usd) if known is not None]
    parts = [f"{amount(sum(tokens))} tokens"] if sum(tokens) else []
    return "  ".join([*parts, *([money(sum(dollars))] if sum(dollars) else [])])


def _said(line: Line, canvas: Canvas, seen: Mapping[str, Seen]) -> tuple[str, str]:
    """(the last line it printed, for how long it has been silent where that is long)."""
    if line.step is None or canvas.width < NARROW:
        return "", ""
    found = seen.get(line.step.path, NOTHING_SEEN)
    silent = found.idle_s is not None and found.idle_s >= IDLE_S
    return canvas.plain(found.text), f"idle {duration(found.idle_s or 0.0)}" if silent else ""


def _doing(line: Line, canvas: Canvas, now: float) -> str:
    if line.retry:
        seconds = max(0, round(line.retry.at - now))
        return canvas.plain(f"retry in {seconds} s: {line.retry.reason}")
    if line.step:
        agent, label = line.step.agent, line.step.label
        return canvas.plain(label if agent is None or label.startswith(f"{agent}:") else f"{agent}: {label}")
    if line.waiting:
        return "waits for its agent"
    return "merging" if line.merging else "finishing" if line.begun else "starting"
