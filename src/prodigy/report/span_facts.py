"""What the spans of a run say: their attributes, after OpenTelemetry's conventions for agents where these have a word
(`gen_ai.*`, `error.type`, `exception.*`), else `prodigy.*`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from prodigy.state import events as ev

Value = str | int | float | bool

# Who is behind an agent of this kind, as the conventions name it. Others work with models of several providers.
PROVIDERS = {"claude": "anthropic", "codex": "openai", "gemini": "gcp.gemini"}


class Usage(NamedTuple):
    """What an execution used of one model: tokens by kind, and dollars."""

    model: str
    input: int
    output: int
    cache_read: int
    cache_write: int
    cost_usd: float | None


@dataclass(frozen=True)
class Moment:
    """Something that happened within a span. at_ns: UNIX time."""

    name: str
    at_ns: int
    attributes: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Span:
    """Something of a run that has ended. Times are UNIX times in nanoseconds.

    key: what its id is made of; parent: the same of the span it is in, None for the run. of: `run`, `session`, `phase`,
    `item`, `attempt`, `step`, `check`, `queue`, `merge`, `gate` or `final_merge`. ok: None where neither success nor
    failure is the word. usage: of an agent's step, by model.
    """

    key: str
    parent: str | None
    of: str
    name: str
    start_ns: int
    end_ns: int
    ok: bool | None
    message: str
    attributes: Mapping[str, Value]
    moments: tuple[Moment, ...] = ()
    usage: tuple[Usage, ...] = ()


def known(**attributes: Value | None) -> dict[str, Value]:
    """The attributes that have a value; a double underscore in a name stands for a dot."""
    return {name.replace("__", "."): value for name, value in attributes.items() if value is not None}


def of_step(event: ev.StepStarted) -> dict[str, Value]:
    facts = known(prodigy__step__path=event.path, prodigy__step__label=event.label or None)
    if event.agent is None:
        return facts
    kind = event.adapter or event.agent
    return facts | known(
        gen_ai__operation__name="invoke_agent",
        gen_ai__agent__name=event.agent,
        gen_ai__provider__name=PROVIDERS.get(kind, kind),
        prodigy__agent__kind=kind,
    )


def usage_of(event: ev.StepFinished | ev.StepLost) -> tuple[Usage, ...]:
    """By model, the dearest first."""
    rows = [Usage(row[0] or "", *row[1:]) for row in json.loads(event.usage or "[]")]
    return tuple(sorted(rows, key=lambda row: (-(row.cost_usd or 0.0), -row.output, row.model)))


def of_use(event: ev.StepFinished | ev.StepLost, usage: tuple[Usage, ...]) -> dict[str, Value]:
    """What an agent used. Input tokens count those of the cache, as the conventions want it."""
    facts = known(
        prodigy__cost_usd=event.cost_usd,
        prodigy__cost__estimated=event.estimated or None,
        prodigy__tokens=event.tokens,
        gen_ai__conversation__id=event.session,
    )
    if not usage:
        return facts
    read, write = sum(row.cache_read for row in usage), sum(row.cache_write for row in usage)
    return facts | known(
        gen_ai__response__model=usage[0].model or None,
        gen_ai__usage__input_tokens=sum(row.input for row in usage) + read + write,
        gen_ai__usage__output_tokens=sum(row.output for row in usage),
        gen_ai__usage__cache_read__input_tokens=read,
        gen_ai__usage__cache_creation__input_tokens=write,
    )


def exception(at_ns: int, kind: str, message: str | None) -> Moment:
    return Moment("exception", at_ns, known(exception__type=kind, exception__message=message or kind))
