"""Metrics as pictures: from numbers to the text of an SVG, by matplotlib (the extra `report`).

The pictures take the colour of the text around them, so that they fit light and dark pages, hold no script, ask for
nothing, and are the same for the same numbers. What a bar says when the pointer rests on it is in its `title`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, cast

from prodigy.errors import UsageError
from prodigy.report.metrics import Segment
from prodigy.report.words import duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_IN = 9.6
MOST_BARS = 1500  # in a timeline; of more, those that touch are drawn as one
# Told apart by people who see colours differently, on white and on black (after Okabe and Ito).
COLOURS = {"succeeded": "#2a9d6f", "failed": "#d1495b", "interrupted": "#8d99ae", "running": "#3d8fd1"}
_INK = "#010203"  # stands for the colour of the text until the picture is in its page
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "prodigy",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": _INK,
    "text.parse_math": False,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": _INK,
    "grid.alpha": 0.12,
    "grid.linewidth": 0.6,
    "axes.linewidth": 0.6,
}


def require() -> None:
    """Raise UsageError when the library for pictures is not installed."""
    try:
        import matplotlib  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise UsageError(
            "pictures need matplotlib, which is not installed",
            hint="Install it: pip install 'prodigy-agents[report]', or pipx inject prodigy-agents matplotlib.",
        ) from error


def timeline(lanes: Sequence[Sequence[Segment]], total_s: float) -> str:
    """What each slot did when: a row for each, a bar for each attempt, in the colour of its outcome."""
    bars = thinned(lanes, total_s)
    height = min(9.0, 0.7 + 0.22 * max(1, len(lanes)))
    titles: dict[str, str] = {}

    def draw(axes: Axes) -> None:
        from matplotlib.patches import Rectangle

        for row, lane in enumerate(bars):
            for segment in lane:
                name = f"bar{len(titles)}"
                titles[name] = _title(segment)
                width = max(segment.end - segment.start, total_s / 2000)
                colour = COLOURS.get(segment.state, COLOURS["interrupted"])
                bar = Rectangle((segment.start, row - 0.4), width, 0.8, facecolor=colour, linewidth=0)
                bar.set_gid(name)
                axes.add_patch(bar)
        axes.set_xlim(0, total_s or 1)
        axes.set_ylim(max(len(lanes), 1) - 0.5, -0.5)
        axes.set_ylabel("slot")
        rows = range(len(lanes)) if len(lanes) <= 16 else range(0, len(lanes), -(-len(lanes) // 16))
        axes.set_yticks(list(rows), [str(row + 1) for row in rows])
        axes.grid(visible=False, axis="y")
        _time_axis(axes, total_s)

    return _svg(draw, height, "What each slot did when", titles)


def throughput(points: Sequence[tuple[float, int]], total_s: float) -> str:
    """How many items had succeeded by when."""

    def draw(axes: Axes) -> None:
        chosen = _every(points, 400)
        xs = [0.0, *(x for x, _ in chosen), total_s]
        ys = [0, *(y for _, y in chosen), chosen[-1][1] if chosen else 0]
        axes.step(xs, ys, where="post", color=COLOURS["succeeded"], linewidth=1.6)
        axes.fill_between(xs, ys, step="post", color=COLOURS["succeeded"], alpha=0.15, linewidth=0)
        axes.set_xlim(0, total_s or 1)
        axes.set_ylim(0, None)
        axes.set_ylabel("items")
        _whole_numbers(axes)
        _time_axis(axes, total_s)

    return _svg(draw, 2.6, "Items that had succeeded, over time")


def distribution(numbers: Sequence[float], what: str, *, seconds: bool) -> str:
    """How many items took so long, or cost so much. seconds: whether the numbers are times; else dollars."""

    def draw(axes: Axes) -> None:
        axes.hist(numbers, bins=min(30, max(5, len(numbers) // 3)), color=COLOURS["running"], alpha=0.85, linewidth=0)
        axes.set_ylabel("items")
        _whole_numbers(axes)
        axes.set_xlim(0, max(numbers, default=0.0) * 1.04 or 1)
        if seconds:
            _time_axis(axes, max(numbers, default=1.0))
        else:
            most = max(numbers, default=0.0)
            digits = 3 if most < 0.1 else 2 if most < 10 else 0
            axes.xaxis.set_major_formatter(lambda value, _: f"${value:,.{digits}f}")
        axes.grid(visible=False, axis="x")

    return _svg(draw, 2.4, what, width_in=WIDTH_IN / 2)


def thinned(lanes: Sequence[Sequence[Segment]], total_s: float) -> list[list[Segment]]:
    """The lanes with at most about MOST_BARS segments: of more, those of one state that touch become one."""
    if sum(map(len, lanes)) <= MOST_BARS:
        return [list(lane) for lane in lanes]
    gap = total_s * max(1, len(lanes)) / MOST_BARS
    found: list[list[Segment]] = []
    for lane in lanes:
        joined: list[tuple[Segment, int]] = []
        for segment in lane:
            if joined and segment.state == joined[-1][0].state and segment.end - joined[-1][0].start < gap:
                first, count = joined[-1]
                joined[-1] = (Segment(first.start, segment.end, first.label, first.attempt, first.state), count + 1)
            else:
                joined.append((segment, 1))
        found.append([_named(segment, count) for segment, count in joined])
    return found


def _named(segment: Segment, count: int) -> Segment:
    label = segment.label if count == 1 else f"{count} attempts"
    return Segment(segment.start, segment.end, label, segment.attempt, segment.state)


def _title(segment: Segment) -> str:
    again = f", attempt {segment.attempt}" if segment.attempt > 1 else ""
    return f"{segment.label}{again}: {segment.state}, {duration(segment.end - segment.start)}"


def _every(points: Sequence[tuple[float, int]], most: int) -> list[tuple[float, int]]:
    """At most so many of the points, the last one among them."""
    step = max(1, -(-len(points) // most))
    return [*points[::step], *points[-1:]] if points else []


def _whole_numbers(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))


def _time_axis(axes: Axes, total_s: float) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

    steps = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
    step = next((step for step in steps if total_s / step <= 8), None)
    locator = MultipleLocator(step) if step is not None and total_s >= 4 else MaxNLocator(6)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: duration(value)))


def _svg(
    draw: Callable[[Axes], None],
    height_in: float,
    what: str,
    titles: dict[str, str] | None = None,
    width_in: float = WIDTH_IN,
) -> str:
    require()
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(cast("Any", _STYLE)):
        figure: Figure = Figure(figsize=(width_in, height_in), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0)
        draw(axes)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return _in_a_page(text.getvalue(), what, titles or {})


def _in_a_page(svg: str, what: str, titles: dict[str, str]) -> str:
    """The picture as a part of a page: without its head, with its titles, in the colour of the text."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>|<!--.*?-->", "", svg, flags=re.DOTALL)
    box = re.search(r'viewBox="[^"]+"', svg)
    assert box is not None
    head = f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" {box[0]} role="img" aria-label="{escape(what)}">'
    svg = head + svg[svg.index(">") + 1 :]
    prefix = re.sub(r"\W+", "-", what.lower())
    svg = re.sub(r'<g id="(bar\d+)">', lambda found: f"<g><title>{escape(titles.get(found[1], ''))}</title>", svg)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    svg = re.sub(r' style="([^"]*)"', lambda found: _as_attributes(found[1]), svg)
    svg = re.sub(r"\n\s*", "\n", svg)
    return svg.replace(_INK, "currentColor").strip()


_FONT = re.compile(r"(?P<size>[\d.]+px) .+")


def _as_attributes(style: str) -> str:
    """Declarations of a style as attributes of a picture, which a page needs no leave for."""
    found = []
    for declaration in style.split(";"):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        if name == "font" and (font := _FONT.fullmatch(value)):
            found.append(("font-size", font["size"]))  # the family is the page's
        elif name:
            found.append((name, value))
    return "".join(f' {name}="{value}"' for name, value in found)


def legend(states: Iterable[str]) -> list[tuple[str, str]]:
    """(state, colour) of what a timeline shows."""
    shown = set(states)
    return [(state, colour) for state, colour in COLOURS.items() if state in shown]
