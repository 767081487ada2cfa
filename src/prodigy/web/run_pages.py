"""The pages of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from prodigy.report.item_table import NAMES
from prodigy.web import pages
from prodigy.web.item_tables import Query, Tables
from prodigy.web.performance import Performance, pictures_problem
from prodigy.web.watching import Watch


class RunPages:
    """The pages of all runs; see `routes` for their addresses."""

    def __init__(self, watch: Watch, performance: Performance, tables: Tables) -> None:
        self._watch = watch
        self._performance = performance
        self._tables = tables

    def routes(self) -> list[Route]:
        return [
            Route("/runs/{run_id}", self.overview),
            Route("/runs/{run_id}/items", self.items),
            Route("/runs/{run_id}/merges", self.merges),
            Route("/runs/{run_id}/performance", self.performance),
            Route("/runs/{run_id}/performance/figures", self.figures),
        ]

    async def overview(self, request: Request) -> Response:
        """How it stands, what each slot does, its items."""
        names = ("head", "slots", "running", "failures", "activity")
        values = {
            "table": await self._table(request),
            "query": Query.of(request.query_params),
            "names_known": ", ".join(NAMES),
        }
        return await self._page(request, "run.html", names, values)

    async def items(self, request: Request) -> Response:
        """The table of items alone."""
        return HTMLResponse(pages.for_session(request, await self._table(request)))

    async def _table(self, request: Request) -> str:
        query = Query.of(request.query_params)
        return await run_in_threadpool(self._tables.html, request.path_params["run_id"], query)

    async def merges(self, request: Request) -> Response:
        """What waits to be merged, and what was checked."""
        return await self._page(request, "merges.html", ("head", "queue"))

    async def performance(self, request: Request) -> Response:
        """Where time and money went, and how that compares."""
        return await self._page(request, "performance.html", ("head",))

    def figures(self, request: Request) -> Response:
        """The same without the page around it: it may take a moment to make."""
        run_id = request.path_params["run_id"]
        return pages.fragment(
            request, "performance_figures.html",
            run_id=run_id, report=self._performance.report(run_id), compared=self._performance.compared(run_id),
            problem=pictures_problem(),
        )  # fmt: skip

    async def _page(
        self, request: Request, template: str, names: tuple[str, ...], values: Mapping[str, Any] | None = None
    ) -> Response:
        run_id = request.path_params["run_id"]
        watched = self._watch.run(run_id)
        parts = await watched.parts(names)
        workflow = await watched.ask(lambda store: store.run().workflow)
        return pages.page(
            request, template, run_id=run_id, workflow=workflow, parts=parts, names=",".join(names), **(values or {})
        )
