"""Values into HTML. Every value is escaped where it is put in; characters that could disguise it are shown as such."""

from __future__ import annotations

import datetime as dt
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from prodigy import __version__
from prodigy.report import words


@cache
def environment() -> Environment:
    """The templates of this package."""
    made = Environment(
        loader=PackageLoader("prodigy.web", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "duration": words.duration, "dollars": words.dollars, "percent": words.percent, "pace": words.pace,
        "number": lambda value: f"{value:,}", "words": lambda text: str(text).replace("_", " "), "moment": moment,
        "tone": tone, "lines": lines, "raw": Raw, "since": since, "share": share,
    }  # fmt: skip
    made.globals |= {"version": __version__}
    return made


def render(template: str, **values: Any) -> str:
    """The text of a template with these values."""
    return environment().get_template(template).render(**values)


def _shown(value: object) -> object:
    """What is put into a page in place of a value."""
    return words.printable(value) if isinstance(value, str) and not isinstance(value, Markup | Raw) else value


class Raw(str):
    """A value that a form sends back: escaped like all, but as it is."""


def lines(text: str) -> Markup:
    """Text of several lines, for an element that keeps them."""
    return Markup("\n").join(
        escape("".join(c if c == "\t" else words.printable(c) for c in line)) for line in text.split("\n")
    )


def moment(at: float | str | None) -> Markup:
    """A time that the browser shows in its own zone. at: seconds since the epoch, or RFC 3339."""
    if at is None:
        return Markup("–")
    when = dt.datetime.fromisoformat(at) if isinstance(at, str) else dt.datetime.fromtimestamp(at, dt.UTC)
    return Markup('<time datetime="{}" data-moment>{}</time>').format(
        when.isoformat(timespec="seconds"), when.strftime("%Y-%m-%d %H:%M UTC")
    )


def since(at: float | None, now: float) -> Markup:
    """How long ago, which the browser counts on."""
    if at is None:
        return Markup("–")
    return Markup('<time data-since="{:.0f}">{}</time>').format(at, words.duration(max(0.0, round(now - at))))


_TONES = {
    "completed": "good", "succeeded": "good", "ok": "good", "passed": "good", "finished": "good", "merged": "good",
    "failed": "bad", "dead": "bad", "completed_with_failures": "bad", "lost": "bad",
    "running": "live", "new": "live", "started": "live", "checking": "live",
    "paused": "wait", "interrupted": "wait", "cancelled": "wait", "waiting": "wait", "queued": "wait",
}  # fmt: skip


def tone(state: str) -> str:
    """The class of a state's badge."""
    return _TONES.get(state, "calm")


def share(part: float, whole: float) -> str:
    """A part as the width or place of something drawn, in percent."""
    return f"{100 * part / whole:.3f}" if whole else "0"
