"""The page of one item: its attempts and steps, what they print, what they changed, what comes next."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from prodigy.engine.next_try import next_try
from prodigy.errors import UsageError
from prodigy.report import item_table
from prodigy.report.item_diff import attempt_diff
from prodigy.report.item_story import AttemptStory, StepStory, command_of, merge_checks, story
from prodigy.report.letter_advice import advice
from prodigy.report.step_output import StepOutput
from prodigy.secrets import mask
from prodigy.store.lock import is_held
from prodigy.store.paths import run_directory
from prodigy.store.store import Store
from prodigy.web import pages
from prodigy.web.parts import FORM_TOKEN
from prodigy.web.rendering import render

POLL_S = 0.5
PING_S = 15
_PLACE = re.compile(r"(?P<fanout>.+)/i(?P<ordinal>\d+)")
_DATA_SHOWN = 20_000  # characters of an item
_MOST_PARTS = 400  # of a conversation that are shown at first


@dataclass(frozen=True)
class _Item:
    """Which one. step: the execution that is shown, empty for the newest. attempt: whose changes are shown, 0 for the
    newest."""

    run_id: str
    fanout: str
    ordinal: int
    step: str
    attempt: int

    @classmethod
    def of(cls, request: Request) -> _Item:
        place = _PLACE.fullmatch(request.path_params["place"])
        if place is None:
            raise UsageError("there is no such item", hint="Find it in the table of its run.")
        attempt = request.query_params.get("attempt", "")
        return cls(
            request.path_params["run_id"], place["fanout"], int(place["ordinal"]), request.query_params.get("step", ""),
            int(attempt) if attempt.isdecimal() else 0,
        )  # fmt: skip


def routes() -> list[Route]:
    return [
        Route("/runs/{run_id}/items/{place:path}/live", live),
        Route("/runs/{run_id}/items/{place:path}/now", now),
        Route("/runs/{run_id}/items/{place:path}/diff", diff),
        Route("/runs/{run_id}/items/{place:path}", page),
    ]


async def page(request: Request) -> Response:
    """The whole page."""
    item = _Item.of(request)
    values = await run_in_threadpool(_everything, item)
    return pages.page(request, "item.html", **values)


async def diff(request: Request) -> Response:
    """What an attempt has changed."""
    item = _Item.of(request)

    def found() -> Any:
        with closing(Store.open(run_directory(item.run_id))) as store:
            number = item.attempt or store.item(item.fanout, item.ordinal).attempt
            return attempt_diff(store, item.fanout, item.ordinal, number), number

    changes, number = await run_in_threadpool(found)
    return pages.fragment(request, "item_diff.html", diff=changes, number=number)


async def live(request: Request) -> Response:
    """A stream: how the item stands when that changes, and what its step prints as it comes."""
    item = _Item.of(request)
    watching = _Watching(item)
    await run_in_threadpool(watching.look)  # one that can't be read is told now

    async def changes() -> AsyncIterator[ServerSentEvent]:
        try:
            while True:
                if message := watching.take():
                    yield ServerSentEvent(pages.for_session(request, message))
                await asyncio.sleep(POLL_S)
                await run_in_threadpool(watching.look)
        finally:
            await run_in_threadpool(watching.close)

    return EventSourceResponse(changes(), ping=PING_S)


async def now(request: Request) -> Response:
    """The same, once, for who has no stream."""
    watching = _Watching(_Item.of(request))

    def once() -> str:
        watching.look()
        watching.close()
        return watching.take()

    return HTMLResponse(pages.for_session(request, await run_in_threadpool(once)))


class _Watching:
    """One page that is open. The threads that look for it take turns, each with the run's database newly opened."""

    def __init__(self, item: _Item) -> None:
        self._item = item
        self._version: tuple[object, ...] = ()
        self._story_html = ""
        self._shown: StepStory | None = None
        self._output: StepOutput | None = None
        self._messages: list[str] = []

    def take(self) -> str:
        """What there is to send."""
        found, self._messages = "".join(self._messages), []
        return found

    def close(self) -> None:
        self._output = None

    def look(self) -> None:
        item = self._item
        with closing(Store.open(run_directory(item.run_id))) as store:
            driven = is_held(store.directory)
            version = (*_version(store, item), driven)
            if version != self._version:
                self._version = version
                attempts = story(store, item.fanout, item.ordinal)
                html = _story(store, item, attempts, driven=driven)
                if html != self._story_html:
                    self._story_html = html
                    self._send("story", "innerMorph", html)
                step = _chosen(attempts, item.step)
                if step is not None and (self._shown is None or step.path != self._shown.path):
                    self._output = StepOutput(store.directory / "steps" / step.log, step.adapter)
                    self._send(
                        "output", "innerHTML", render("item_output.html", **_of_output(store, step, self._output))
                    )
                self._shown = step
        if self._output is not None and self._shown is not None:
            parts = self._output.more(ended=self._shown.state != "running")
            if parts:
                self._send("said", "beforeend", render("conversation.html", parts=parts))

    def _send(self, target: str, how: str, html: str) -> None:
        self._messages.append(f'<hx-partial hx-target="#{target}" hx-swap="{how}">{html}</hx-partial>')


def _version(store: Store, item: _Item) -> tuple[object, ...]:
    """Changes when something happens to the item: what others do is nothing to its page."""
    path = f"{item.fanout}/i{item.ordinal:04d}"
    (row,) = store.ask(
        "SELECT state, attempt, tries, EXISTS (SELECT 1 FROM dead_letter AS letter WHERE letter.fanout = item.fanout"
        " AND letter.ordinal = item.ordinal) AS letter FROM item WHERE fanout = ? AND ordinal = ?",
        item.fanout, item.ordinal,
    )  # fmt: skip
    (steps,) = store.ask(
        "SELECT count(*) AS n, max(ended) AS ended, sum(state = 'started') AS started FROM step"
        " WHERE path >= ? AND path < ?",
        f"{path}/", f"{path}0",
    )  # fmt: skip
    (attempts,) = store.ask(
        "SELECT max(ended_at) AS ended, max(queued) AS queued FROM attempt WHERE fanout = ? AND ordinal = ?",
        item.fanout, item.ordinal,
    )  # fmt: skip
    return (*row, *steps, *attempts)


def _everything(item: _Item) -> dict[str, Any]:
    with closing(Store.open(run_directory(item.run_id))) as store:
        line = item_table.find(store, (item.fanout, item.ordinal))
        if line is None:
            raise UsageError("there is no such item", hint="Find it in the table of its run.")
        driven = is_held(store.directory)
        attempts = story(store, item.fanout, item.ordinal)
        step = _chosen(attempts, item.step)
        output = StepOutput(store.directory / "steps" / step.log, step.adapter) if step else None
        before, after = item_table.neighbours(store, (item.fanout, item.ordinal))
        return {
            "run_id": item.run_id, "workflow": store.run().workflow, "line": line, "item": item,
            "before": before, "after": after,
            "story": Markup(_story(store, item, attempts, driven=driven)),  # noqa: S704 - a template has escaped it
            "output": _of_output(store, step, output) if step and output else None,
            "has_changes": any(one.head for one in attempts) or any(one.steps for one in attempts),
        }  # fmt: skip


def _chosen(attempts: list[AttemptStory], wanted: str) -> StepStory | None:
    """The execution that is shown: the one that is asked for, else one that runs, else the newest that did anything."""
    steps = [step for attempt in attempts for step in attempt.steps]
    if wanted:
        return next((step for step in steps if step.path == wanted), None)
    if running := [step for step in steps if step.state == "running"]:
        return running[-1]
    own = [step for step in (attempts[0].steps if attempts else ()) if step.state != "skipped"]
    failed = [step for step in own if step.state == "failed"]
    agents = [step for step in own if step.agent and not step.taken]
    candidates = failed or agents or own
    return candidates[-1] if candidates else None


def _story(store: Store, item: _Item, attempts: list[AttemptStory], *, driven: bool) -> str:
    line = item_table.find(store, (item.fanout, item.ordinal))
    assert line is not None
    data = mask(json.dumps(store.item_data(item.fanout, item.ordinal), indent=2, ensure_ascii=False))
    shown = _chosen(attempts, item.step)
    return render(
        "item_story.html",
        line=line, item=item, run_id=item.run_id, attempts=attempts, shown=shown.path if shown else "",
        data=data if len(data) <= _DATA_SHOWN else f"{data[:_DATA_SHOWN]}\n…",
        next=next_try(store, item.fanout, item.ordinal, is_driven=driven), advice=advice,
        checks=merge_checks(store, item.fanout, item.ordinal), is_driven=driven, form_token=FORM_TOKEN, now=time.time(),
    )  # fmt: skip


def _of_output(store: Store, step: StepStory, output: StepOutput) -> dict[str, Any]:
    parts = output.more(ended=step.state != "running")
    return {
        "step": step, "parts": parts[-_MOST_PARTS:], "is_cut": output.is_cut or len(parts) > _MOST_PARTS,
        "command": command_of(store.directory / "steps" / step.log),
    }  # fmt: skip
