"""The first page: all runs."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from prodigy.home import home
from prodigy.web import pages
from prodigy.web.runs_list import STATES, RunList


def routes(known: RunList) -> list[Route]:
    """The page, and its table alone."""

    def whole(request: Request) -> Response:
        return pages.page(request, "runs.html", **_values(request, known))

    def table(request: Request) -> Response:
        return pages.fragment(request, "runs_table.html", **_values(request, known))

    return [Route("/", whole), Route("/list", table)]


def _values(request: Request, known: RunList) -> dict[str, Any]:
    asked = request.query_params
    state = asked.get("state", "")
    number = asked.get("page", "1")
    found = known.page(
        search=asked.get("search", ""),
        state=state if state in STATES else "",
        number=int(number) if number.isdecimal() else 1,
    )
    query = {name: asked[name] for name in ("search", "state") if asked.get(name)}
    return {"found": found, "search": asked.get("search", ""), "state": state, "states": STATES, "query": query,
            "home": str(home())}  # fmt: skip
