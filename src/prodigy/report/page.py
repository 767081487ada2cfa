"""The report as one page: a file that asks for nothing, holds no script, and is readable in light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from prodigy.report import plots
from prodigy.report.metrics import Metrics, Spread, StepStats
from prodigy.report.words import dollars, duration, pace, percent

_MOST_GROUPS = 12
_PARTS = (
    ("agents", "agents"),
    ("shell", "shell steps"),
    ("checks", "checks"),
    ("around", "around steps"),
    ("idle", "idle"),
)
_PART_COLOURS = {"agents": "#3d8fd1", "shell": "#2a9d6f", "checks": "#b07cc6", "around": "#e0a030", "idle": "#8d99ae"}

_CSS = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5a6675; --paper: #fff; --card: #f4f6f9; --line: #dfe4ea;
  --bad: #b3202f; --good: #1b7f56 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #9aa7b5; --paper: #14181e; --card: #1d232b;
  --line: #2d3641; --bad: #ff8591; --good: #66d3a4 } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 70rem; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 1.5rem; margin: 0; overflow-wrap: anywhere } h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem }
p { margin: .3rem 0; color: var(--soft) } .bad { color: var(--bad) } .good { color: var(--good) }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); gap: .7rem; margin: 1.2rem 0 0 }
.card { background: var(--card); border-radius: .5rem; padding: .7rem .9rem }
.card b { display: block; font-size: 1.35rem; line-height: 1.25; font-variant-numeric: tabular-nums }
.card span { color: var(--soft); font-size: .82rem }
.bar { display: block; width: 100%; height: 1.3rem; border-radius: .35rem; background: var(--card) }
.key { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: .5rem 0 0; padding: 0; list-style: none;
  font-size: .85rem; color: var(--soft) }
svg.swatch { display: inline-block; width: .8em; height: .8em; border-radius: .2em; margin-right: .35em }
.scroll { overflow-x: auto }
.scroll > svg { width: 100%; height: auto; display: block; min-width: 34rem }
.two .scroll > svg { min-width: 20rem; max-width: 36rem }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 0 1.5rem }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: .3rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap }
th { color: var(--soft); font-weight: 500 } th.text { text-align: left }
th:first-child, td:first-child { text-align: left; white-space: normal;
  overflow-wrap: anywhere; min-width: 12rem } td.text { text-align: left; white-space: normal; overflow-wrap: anywhere }
footer { margin-top: 3rem; color: var(--soft); font-size: .85rem }
"""


def page(
    summary: dict[str, Any], metrics: Metrics, groups: Sequence[dict[str, Any]], models: Sequence[dict[str, Any]]
) -> str:
    """The whole page. summary: of `engine.summary`. groups: dead letters that failed alike, see `letter_analysis`.
    models: see `store.spending.by_model`. Raises UsageError when the library for pictures is not there."""
    plots.require()
    name = escape(str(summary["workflow"]))
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            f"<title>{name}: report of run {escape(str(summary['run_id']))}</title>",
            f"<style>{_CSS}</style></head><body>",
            *_head(summary, metrics, name),
            *body(metrics, groups, models),
            "<footer>What each figure means: the page “Metrics” of Prodigy’s documentation.</footer>",
            "</body></html>\n",
        )
    )


def body(
    metrics: Metrics, groups: Sequence[dict[str, Any]], models: Sequence[dict[str, Any]], *, pictures: bool = True
) -> Iterable[str]:
    """What comes below the head, as lines of HTML: sections with pictures and tables, without script and without
    styles of their own. pictures: those that need the library for them."""
    yield from _time(metrics)
    if pictures:
        yield from _pictures(metrics)
    yield from _failures(metrics, groups)
    yield from _steps(metrics)
    yield from _money(metrics, models)
    yield from _items(metrics)
    yield from _merges(metrics)


def _head(summary: dict[str, Any], metrics: Metrics, name: str) -> Iterable[str]:
    status, begun = str(summary["status"]), str(summary["created_at"])[:16].replace("T", " ")
    tone = "good" if status == "completed" else "" if status == "running" else "bad"
    yield f"<h1>{name}</h1>"
    yield (
        f"<p>run {escape(str(summary['run_id']))}, begun {escape(begun)} UTC:"
        f' <strong class="{tone}">{escape(status.replace("_", " "))}</strong></p>'
    )
    items = summary["items"]
    yield '<div class="cards">'
    yield _card(f"{items['successful']:,} of {items['total']:,}", "items succeeded")
    yield _card(f"{items['failed']:,}", "failed", bad=items["failed"] > 0)
    yield _card(dollars(summary["cost_usd"]), f"spent, {summary['tokens']:,} tokens")
    yield _card(duration(metrics.driven_s), f"in {_counted(metrics.sessions, 'session')}")
    yield _card("–" if metrics.items_an_hour is None else pace(metrics.items_an_hour), "items an hour")
    yield _card(percent(metrics.efficiency), f"of {_counted(metrics.slots, 'slot')} used")
    yield _card(dollars(metrics.waste.failed_usd + metrics.waste.repeated_usd), "on work that came to nothing")
    yield "</div>"


def _time(metrics: Metrics) -> Iterable[str]:
    total = sum(getattr(metrics.time, part) for part, _ in _PARTS)
    if not total:
        return
    yield "<h2>Where the slots’ time went</h2>"
    shares = [(part, words, getattr(metrics.time, part)) for part, words in _PARTS]
    x, bars, keys = 0.0, [], []
    for part, words, value in shares:
        width = value / total * 100
        bars.append(
            f'<rect x="{x:.2f}" width="{width:.2f}" height="8" fill="{_PART_COLOURS[part]}">'
            f"<title>{words}</title></rect>"
        )
        keys.append(f"<li>{_swatch(_PART_COLOURS[part])}{words} {width:.0f} % ({duration(value)})</li>")
        x += width
    shape = 'class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" role="img"'
    yield f'<svg {shape} aria-label="Where the slots’ time went">{"".join(bars)}</svg><ul class="key">{"".join(keys)}'
    yield "</ul>"
    if metrics.gate_closed_s:
        yield f"<p>For {duration(metrics.gate_closed_s)} the limit of an account let no agent start.</p>"


def _pictures(metrics: Metrics) -> Iterable[str]:
    if not metrics.lanes:
        return
    yield "<h2>What each slot did when</h2>"
    yield f'<div class="scroll">{plots.timeline(metrics.lanes, metrics.driven_s)}</div><ul class="key">'
    for state, colour in plots.legend(segment.state for lane in metrics.lanes for segment in lane):
        yield f"<li>{_swatch(colour)}{state}</li>"
    yield "</ul>"
    yield "<h2>Items that had succeeded, over time</h2>"
    yield f'<div class="scroll">{plots.throughput(metrics.throughput, metrics.driven_s)}</div>'
    yield '<div class="two"><div><h2>How long items took</h2>'
    work = plots.distribution(metrics.item_work, "How long items took", seconds=True)
    yield f'<div class="scroll">{work}</div></div>'
    if metrics.item_cost:
        cost = plots.distribution(metrics.item_cost, "What items cost", seconds=False)
        yield f'<div><h2>What items cost</h2><div class="scroll">{cost}</div></div>'
    yield "</div>"


def _swatch(colour: str) -> str:
    return (
        f'<svg class="swatch" viewBox="0 0 1 1" aria-hidden="true"><rect width="1" height="1" fill="{colour}"/></svg>'
    )


def _failures(metrics: Metrics, groups: Sequence[dict[str, Any]]) -> Iterable[str]:
    if not metrics.failures and not groups:
        return
    yield "<h2>Failures</h2>"
    kinds = ", ".join(f"{count} {escape(kind.replace('_', ' '))}" for kind, count in metrics.failures.items())
    yield f"<p>{_counted(sum(metrics.failures.values()), 'attempt')} failed: {kinds or 'none'}.</p>"
    if groups:
        rows = (
            (
                escape(str(group["example_message"]).splitlines()[0][:200]),
                str(group["count"]),
                ("text", escape(", ".join(group["sample_items"]))),
            )
            for group in groups[:_MOST_GROUPS]
        )
        yield _table(("dead letters that say the same", "items", ("text", "such as")), rows)


def _steps(metrics: Metrics) -> Iterable[str]:
    if not metrics.steps:
        return
    yield "<h2>Steps</h2>"
    yield _table(
        ("step", "runs", "failed", "p50", "p90", "p99", "longest", "in all", "cost"),
        (_step_row(f"{one.doer}: {_one_line(one.name)}", one) for one in metrics.steps[:40]),
    )
    yield "<h2>By agent</h2>"
    yield _table(
        ("agent", "runs", "failed", "p50", "p90", "p99", "longest", "in all", "cost"),
        (_step_row(one.doer, one) for one in metrics.doers),
    )


def _step_row(name: str, one: StepStats) -> tuple[str, ...]:
    return (escape(name), f"{one.executions:,}", f"{one.failed:,}" if one.failed else "–", *_spread(one.duration),
            dollars(one.cost.total) if one.cost else "–")  # fmt: skip


def _spread(found: Spread | None) -> tuple[str, ...]:
    if found is None:
        return ("–",) * 5
    return tuple(duration(value) for value in (found.p50, found.p90, found.p99, found.most, found.total))


def _money(metrics: Metrics, models: Sequence[dict[str, Any]]) -> Iterable[str]:
    if not models:
        return
    yield "<h2>Cost</h2>"
    waste = metrics.waste
    yield (
        f"<p>{dollars(waste.failed_usd)} and {duration(waste.failed_s)} went into work that failed,"
        f" {dollars(waste.repeated_usd)} and {duration(waste.repeated_s)} into work that was ended and repeated.</p>"
    )
    yield _table(
        ("model", "input", "output", "from cache", "to cache", "cost"),
        (
            (
                escape(f"{row['agent']} {row['model'] or '(model not told)'}"),
                *(f"{row[kind]:,}" for kind in ("input", "output", "cache_read", "cache_write")),
                dollars(row["cost_usd"]),
            )
            for row in models
        ),
    )


def _items(metrics: Metrics) -> Iterable[str]:
    if metrics.slowest:
        yield '<div class="two"><div><h2>Slowest items</h2>'
        yield _table(
            ("item", "in a slot", "attempts", "end"),
            ((escape(i.label), duration(i.work_s), str(i.attempts), i.state) for i in metrics.slowest),
        )
        yield "</div>"
        if metrics.dearest:
            yield "<div><h2>Dearest items</h2>"
            yield _table(
                ("item", "cost", "attempts", "end"),
                ((escape(i.label), dollars(i.cost_usd), str(i.attempts), i.state) for i in metrics.dearest),
            )
            yield "</div>"
        yield "</div>"


def _merges(metrics: Metrics) -> Iterable[str]:
    merges = metrics.merges
    if not merges.checks:
        return
    yield "<h2>Merge queue</h2>"
    wait = f"half of them at most {duration(merges.wait.p50)}, 90 % {duration(merges.wait.p90)}" if merges.wait else "–"
    each = f", {merges.checks_an_item:.2f} for each merged item" if merges.checks_an_item else ""
    yield (
        f"<p>{_counted(merges.queued, 'item')} waited to be merged ({wait}). {_counted(merges.checks, 'check')} took"
        f" {duration(merges.check_s)}, {merges.failed_checks} failed{each}; at most {merges.largest_batch} items were"
        " looked at together.</p>"
    )


def _card(number: str, words: str, *, bad: bool = False) -> str:
    return f'<div class="card"><b{" class=bad" if bad else ""}>{number}</b><span>{words}</span></div>'


Cell = str | tuple[str, str]  # a text, or a class and a text


def _table(heads: Iterable[Cell], rows: Iterable[Sequence[Cell]]) -> str:
    def cells(tag: str, row: Iterable[Cell]) -> str:
        found = (("", one) if isinstance(one, str) else (f' class="{one[0]}"', one[1]) for one in row)
        return "".join(f"<{tag}{kind}>{text}</{tag}>" for kind, text in found)

    body = "".join(f"<tr>{cells('td', row)}</tr>\n" for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{cells("th", heads)}</tr></thead><tbody>\n{body}</tbody></table></div>'
    )


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 120 else f"{line[:119]}…"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
