"""The dashboard's JSON, for programs: one table of what can be asked, of which the routes and the schema are made."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from prodigy import __version__
from prodigy.engine.next_try import next_try
from prodigy.engine.queue_told import queue_told
from prodigy.errors import ProdigyError, UsageError
from prodigy.report import item_table
from prodigy.report.failures import failure_groups
from prodigy.report.history import history
from prodigy.report.item_story import story
from prodigy.secrets import mask
from prodigy.state.items import ItemState
from prodigy.store import merges
from prodigy.store.lock import is_held
from prodigy.store.paths import run_directory
from prodigy.store.store import Store
from prodigy.web import answers as out
from prodigy.web import pages
from prodigy.web.acting import ACTS
from prodigy.web.item_tables import Query, Tables
from prodigy.web.runs_list import STATES, RunList

MOST_ITEMS = 500
MOST_EVENTS = 1000
_LARGEST_BODY = 1 << 20  # bytes


@dataclass(frozen=True)
class Parameter:
    """One of the address. kind: of JSON Schema."""

    name: str
    kind: str
    text: str


@dataclass(frozen=True)
class Question:
    """One address. path: with `{names}`. ask: from the request, and what came in its body, to the answer."""

    path: str
    text: str
    answer: type[BaseModel]
    ask: Callable[[Request, Mapping[str, Any]], BaseModel]
    parameters: tuple[Parameter, ...] = ()
    method: str = "get"
    body: Mapping[str, Any] | None = None


_PAGE = Parameter("page", "integer", "From 1.")
_FIELDS: dict[str, dict[str, Any]] = {
    "pause": {},
    "go-on": {
        "budget": {"type": "number", "description": "Dollars in all, of a run that nobody drives."},
        "width": {"type": "integer", "description": "Items at a time, of a run that nobody drives."},
        "include_dead": {"type": "string", "enum": ["yes", "no"]},
        "merge": {"type": "string", "enum": ["yes", "no"]},
    },
    "cancel": {},
    "retry": {
        "item": {"type": "array", "items": {"type": "string"}, "description": "Ids of dead items."},
        "which": {"type": "string", "enum": ["selected", "all"]},
        "merge": {"type": "string", "enum": ["yes", "no"]},
    },
    "budget": {"budget": {"type": "number", "description": "Dollars in all."}},
    "width": {"width": {"type": "integer", "description": "Items at a time."}},
}
_TEXTS = {
    "pause": "Start nothing new; what runs may finish.",
    "go-on": "Let a paused run start things again, or go on in the background with one that nobody drives.",
    "cancel": "End what runs, at once.",
    "retry": "Run dead items again.",
    "budget": "Change what the run may cost in all.",
    "width": "Change how many items run at a time.",
}


class Api:
    """All of it; see `questions`."""

    def __init__(self, known: RunList, tables: Tables) -> None:
        self._known, self._tables = known, tables

    def questions(self) -> list[Question]:
        run = "/api/runs/{run_id}"
        return [
            Question(
                "/api/runs", "All runs, newest first.", out.Runs, self._runs,
                (
                    Parameter("search", "string", "A part of the workflow's name, the run's id or the repository."),
                    Parameter("state", "string", f"One of {', '.join(STATES)}."), _PAGE,
                ),
            ),
            Question(run, "How a run stands.", out.RunNow, self._run),
            Question(
                f"{run}/items", "Its items.", out.ItemsPage, self._items,
                (
                    Parameter("state", "string", f"One of {', '.join(state.value for state in ItemState)}."),
                    Parameter("filter", "string", "An expression, e.g. `cost_usd > 0.5 && state == 'dead'`."),
                    Parameter("search", "string", "A part of the name."),
                    Parameter("sort", "string", f"One of {', '.join(item_table.SORTS)}."),
                    Parameter("down", "string", "`1`: the largest first."), _PAGE,
                    Parameter("size", "integer", f"Items on a page, {MOST_ITEMS} at the most."),
                ),
            ),
            Question(f"{run}/items/{{place}}", "One item whole, by `FANOUT/iORDINAL`.", out.ItemWhole, self._item),
            Question(f"{run}/failures", "Dead letters that failed alike.", out.Failures, self._failures),
            Question(f"{run}/merge-queue", "What waits to be merged, what was checked.", out.MergeQueue, self._queue),
            Question(
                f"{run}/events", "What happened.", out.Events, self._events,
                (
                    Parameter("after", "integer", "Only events with a higher number; without it the newest."),
                    Parameter("limit", "integer", f"{MOST_EVENTS} at the most."),
                ),
            ),
            *(
                Question(
                    f"{run}/{act}", _TEXTS[act], out.Done, self._act(act), method="post",
                    body={"type": "object", "properties": _FIELDS[act], "additionalProperties": False},
                )
                for act in ACTS
            ),
        ]  # fmt: skip

    def routes(self) -> list[Route]:
        """Of all questions, and of the schema."""
        schema = openapi(self.questions())
        questions = sorted(self.questions(), key=lambda one: "{place}" in one.path)
        return [
            Route("/api", lambda _: JSONResponse(schema)),
            Route("/api/openapi.json", lambda _: JSONResponse(schema)),
            *(
                Route(one.path.replace("{place}", "{place:path}"), _answering(one), methods=[one.method.upper()])
                for one in questions
            ),
        ]

    # Looking -----------------------------------------------------------------------------------------------

    def _runs(self, request: Request, _: Mapping[str, Any]) -> out.Runs:
        asked = request.query_params
        found = self._known.page(
            search=asked.get("search", ""), state=asked.get("state", ""), number=_integer(request, "page", 1)
        )
        return out.Runs(
            runs=[out.Run.model_validate(line.summary) for line in found.lines if line.summary],
            unreadable=[
                out.Problem(run_id=line.id, workflow=line.workflow, problem=line.problem)
                for line in found.lines if line.problem
            ],
            total=found.total, page=found.number, pages=found.pages,
        )  # fmt: skip

    def _run(self, request: Request, _: Mapping[str, Any]) -> out.RunNow:
        run_id = request.path_params["run_id"]
        with _store(run_id) as store:
            driven = is_held(store.directory)
            view, _seen = history(store)
        summary = self._known.summary(run_id)
        return out.RunNow(
            run=out.Run.model_validate(summary), is_driven=driven, phases=list(view.phases),
            eta_s=view.eta_s(time.monotonic()) if driven else None, budget_usd=view.budget_usd,
            max_parallel=view.max_parallel,
        )  # fmt: skip

    def _items(self, request: Request, _: Mapping[str, Any]) -> out.ItemsPage:
        run_id, query = request.path_params["run_id"], Query.of(request.query_params)
        size = min(MOST_ITEMS, max(1, _integer(request, "size", item_table.SIZE)))
        wanted = item_table.ItemFilter(query.filter) if query.filter else None
        with _store(run_id) as store:
            found = self._tables.found(store, run_id, query, wanted, size)
        return out.ItemsPage(
            items=[out.Item.model_validate(line) for line in found.lines], total=found.total, page=found.number,
            pages=found.pages, counts=dict(found.counts),
        )  # fmt: skip

    def _item(self, request: Request, _: Mapping[str, Any]) -> out.ItemWhole:
        fanout, _slash, ordinal = request.path_params["place"].rpartition("/i")
        with _store(request.path_params["run_id"]) as store:
            line = item_table.find(store, (fanout, int(ordinal))) if ordinal.isdecimal() else None
            if line is None:
                raise UsageError("there is no such item", hint="GET items has the fanout and ordinal of each.")
            following = next_try(store, fanout, line.ordinal, is_driven=is_held(store.directory))
            return out.ItemWhole(
                item=out.Item.model_validate(line),
                data=json.loads(mask(json.dumps(store.item_data(fanout, line.ordinal), ensure_ascii=False))),
                attempts=[out.Attempt.model_validate(one) for one in story(store, fanout, line.ordinal)],
                next=out.NextTry.model_validate(following) if following else None,
            )

    def _failures(self, request: Request, _: Mapping[str, Any]) -> out.Failures:
        with _store(request.path_params["run_id"]) as store:
            return out.Failures(groups=[out.FailureGroup.model_validate(one) for one in failure_groups(store)])

    def _queue(self, request: Request, _: Mapping[str, Any]) -> out.MergeQueue:
        with _store(request.path_params["run_id"]) as store:
            checks = [
                out.Check(
                    fanout=one.fanout, number=one.check.number, passed=one.check.passed, started_at=one.started_at,
                    members=[member.ordinal for member in one.check.members], ended_at=one.ended_at,
                    message=one.message,
                )
                for one in merges.checks(store)
            ]  # fmt: skip
            return out.MergeQueue.model_validate({**queue_told(store), "checks": checks})

    def _events(self, request: Request, _: Mapping[str, Any]) -> out.Events:
        after, limit = _integer(request, "after", -1), min(MOST_EVENTS, _integer(request, "limit", 100))
        found: list[out.Event] = []
        with _store(request.path_params["run_id"]) as store:
            records = store.events(max(0, after)) if after >= 0 else store.events(0, limit=limit)
            for record in records:
                data: dict[str, Any] = dict(record["event"])  # type: ignore[call-overload]
                kind = str(data.pop("event_type"))
                found.append(
                    out.Event(number=record["seq"], time=str(record["timestamp"]), type=kind, data=data)  # type: ignore[arg-type]
                )
                if len(found) >= limit:
                    break
        return out.Events(events=found, last=found[-1].number if found else max(0, after))

    # Steering ----------------------------------------------------------------------------------------------

    def _act(self, name: str) -> Callable[[Request, Mapping[str, Any]], out.Done]:
        def act(request: Request, body: Mapping[str, Any]) -> out.Done:
            if unknown := sorted(body.keys() - _FIELDS[name].keys()):
                known = ", ".join(_FIELDS[name]) or "nothing"
                raise UsageError(f"{unknown[0]} is not known here", hint=f"It takes {known}.")
            items = body.get("item", [])
            form = {key: str(value) for key, value in body.items() if key != "item"}
            named = [str(item) for item in items] if isinstance(items, list) else [str(items)]
            return out.Done(done=ACTS[name](request.path_params["run_id"], form, named))

        return act


def _answering(question: Question) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        try:
            body = await _body(request) if question.method == "post" else {}
            found = await run_in_threadpool(question.ask, request, body)
        except ProdigyError as error:
            what, hint, status = pages.told(error)
            return JSONResponse(out.Refusal(error=what, hint=hint).model_dump(), status)
        return Response(found.model_dump_json(), media_type="application/json")

    return answer


async def _body(request: Request) -> Mapping[str, Any]:
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > _LARGEST_BODY:
            raise UsageError("the body is too large", hint="It takes a small JSON object.")
    try:
        found = json.loads(data) if data.strip() else {}
    except ValueError as error:
        raise UsageError(f"the body is no JSON: {error}", hint="Send a JSON object.") from error
    if not isinstance(found, dict):
        raise UsageError("the body is no JSON object", hint='Send an object, e.g. {"width": 8}.')
    return found


def openapi(questions: list[Question]) -> dict[str, Any]:
    """The schema of the API, as OpenAPI 3.1."""
    kinds: list[type[BaseModel]] = list(dict.fromkeys([*(one.answer for one in questions), out.Refusal]))
    modes: list[tuple[type[BaseModel], Literal["serialization"]]] = [(kind, "serialization") for kind in kinds]
    named, definitions = models_json_schema(modes, ref_template="#/components/schemas/{model}")
    paths: dict[str, dict[str, Any]] = {}
    for one in questions:
        names = [part[1:-1] for part in one.path.split("/") if part.startswith("{")]
        operation: dict[str, Any] = {
            "summary": one.text,
            "operationId": re.sub(r"[^a-z]+", "_", f"{one.method}{one.path.removeprefix('/api')}").strip("_"),
            "parameters": [
                *({"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names),
                *(
                    {"name": each.name, "in": "query", "description": each.text, "schema": {"type": each.kind}}
                    for each in one.parameters
                ),
            ],
            "responses": {
                "200": _described("What was asked for.", named[one.answer, "serialization"]),
                "default": _described("Why not.", named[out.Refusal, "serialization"]),
            },
        }
        if one.body is not None:
            operation["requestBody"] = {"content": {"application/json": {"schema": dict(one.body)}}}
        paths.setdefault(one.path, {})[one.method] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Prodigy",
            "version": __version__,
            "description": "Runs of coding agents, watched and steered. Send the dashboard's key as a bearer token.",
        },
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}],
    }


def _described(text: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": dict(schema)}}}


def _integer(request: Request, name: str, default: int) -> int:
    """A number of the address. Raises UsageError."""
    text = request.query_params.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or len(text) > 12:
        raise UsageError(f"{name}={text} is no number", hint="Write digits only.")
    return int(text)


def _store(run_id: str) -> closing[Store]:
    return closing(Store.open(run_directory(run_id)))
