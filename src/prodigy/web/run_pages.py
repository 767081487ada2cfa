"""The pages of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from prodigy.web import pages
from prodigy.web.watching import Watch


class RunPages:
    """The pages of all runs; see `routes` for their addresses."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def routes(self) -> list[Route]:
        return [
            Route("/runs/{run_id}", self.overview),
            Route("/runs/{run_id}/merges", self.merges),
        ]

    async def overview(self, request: Request) -> Response:
        """How it stands, what each slot does, its items."""
        return await self._page(request, "run.html", ("head", "slots", "running", "failures", "activity"))

    async def merges(self, request: Request) -> Response:
        """What waits to be merged, and what was checked."""
        return await self._page(request, "merges.html", ("head", "queue"))

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
