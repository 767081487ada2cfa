"""The dashboard as an ASGI application: its addresses, and what is behind each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from prometheus_client.exposition import CONTENT_TYPE_LATEST
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from prodigy.errors import ProdigyError
from prodigy.web import item_pages, pages, runs_page
from prodigy.web.access import Access
from prodigy.web.acting import act
from prodigy.web.api import Api
from prodigy.web.guard import Guard, enter, own_names
from prodigy.web.item_tables import Tables
from prodigy.web.parts import PARTS
from prodigy.web.performance import Performance
from prodigy.web.prometheus import metrics
from prodigy.web.run_pages import RunPages
from prodigy.web.runs_list import RunList
from prodigy.web.watching import Watch

CHANGED = b"event: changed\ndata:\n\n"  # for what a page asks for itself: its table, its figures
PING_S = 15  # a stream says so often that it is still there


@dataclass(frozen=True)
class Settings:
    """cookie: its name, of this server among others on the machine. names: the machine's, beside its own. read_only:
    nothing can be steered."""

    cookie: str
    names: frozenset[str] = frozenset()
    read_only: bool = False


def application(access: Access, settings: Settings) -> ASGIApp:
    """The whole dashboard, guarded."""
    watch, known = Watch(PARTS), RunList()
    tables = Tables()
    run_pages = RunPages(watch, Performance(known), tables)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await watch.close()

    async def live(request: Request) -> Response:
        """A stream of what changes in a run."""
        names = _wanted(request)
        watched = watch.run(request.path_params["run_id"])
        await watched.parts(())  # one that can't be read is told now

        async def changes() -> AsyncIterator[bytes]:
            async for found, changed in watched.changes(names):
                if message := pages.streamed(request, found) + (CHANGED if changed else b""):
                    yield message

        return EventSourceResponse(changes(), ping=PING_S)

    async def parts(request: Request) -> Response:
        """The same, once, for who has no stream."""
        found = await watch.run(request.path_params["run_id"]).parts(_wanted(request))
        return HTMLResponse(pages.partials(request, found))

    routes = [
        Route("/enter/{token}", lambda request: enter(access, settings.cookie, request)),
        Route("/healthz", lambda _: PlainTextResponse("ok\n")),
        Route("/metrics", lambda _: Response(metrics(known), media_type=CONTENT_TYPE_LATEST)),
        *Api(known, tables).routes(),
        Mount("/static", StaticFiles(packages=[("prodigy.web", "static")])),
        *runs_page.routes(known),
        Route("/runs/{run_id}/live", live),
        Route("/runs/{run_id}/parts", parts),
        *item_pages.routes(),
        *run_pages.routes(),
        Route("/runs/{run_id}/{act}", act, methods=["POST"]),
    ]
    inner = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={ProdigyError: _of_error, HTTPException: _of_http, Exception: _of_bug},
    )
    return Guard(inner, access, settings.cookie, settings.names | own_names(), settings.read_only)


def _wanted(request: Request) -> list[str]:
    return [name for name in request.query_params.get("parts", "").split(",") if name in PARTS]


def _of_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProdigyError)
    return pages.of_error(request, error)


def _of_bug(request: Request, error: Exception) -> Response:  # noqa: ARG001 - its traceback goes to standard error
    what = "The dashboard has made a mistake; the run is not touched by it."
    return pages.problem_page(
        request, 500, what, "What went wrong stands in the terminal that serves it: please report it."
    )


def _of_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what = "There is no such page." if error.status_code == 404 else str(error.detail)
    return pages.problem_page(request, error.status_code, what, "Go to the list of runs.")
