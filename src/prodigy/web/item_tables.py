"""The table of a run's items as a part of a page: what is asked of it, and its HTML, made once for all who ask so."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from prodigy.errors import UsageError
from prodigy.report.item_table import SORTS, ItemCache, ItemFilter, ItemPage, page
from prodigy.state.items import ItemState
from prodigy.store.paths import run_directory
from prodigy.store.store import Store
from prodigy.web.parts import FORM_TOKEN
from prodigy.web.rendering import render
from prodigy.web.runs_list import mark

SHARE = 20.0  # what took a second to make is not made again within so many
LEAST_S = 2.0
AGAIN_S = 2.5  # a run that goes on changing is told of before that
_NUMBERS = itertools.count()  # an element with a new name is a new element
KEPT = 64

_COLUMNS = (
    ("label", "Item", False), ("state", "State", False), ("attempts", "Attempts", True), ("duration", "Took", True),
    ("cost", "Spent", True), ("tokens", "Tokens", True), ("started", "Begun", True), ("kind", "Last failure", False),
)  # fmt: skip


@dataclass(frozen=True)
class Query:
    """What is asked of a table. state: one, or empty for all. filter: an expression; search: a part of the name."""

    state: str = ""
    filter: str = ""
    search: str = ""
    sort: str = "order"
    descending: bool = False
    number: int = 1

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Query:
        """Out of the parameters of an address; what makes no sense is left out."""
        state, sort, number = given.get("state", ""), given.get("sort", "order"), given.get("page", "1")
        return cls(
            state if state in {one.value for one in ItemState} else "",
            given.get("filter", "").strip(),
            given.get("search", "").strip(),
            sort if sort in SORTS else "order",
            given.get("down") == "1",
            int(number) if number.isdecimal() and len(number) < 10 else 1,
        )

    def parameters(self, **changes: object) -> str:
        """As parameters of an address, with changes."""
        query = replace(self, **changes)  # type: ignore[arg-type]
        named = {
            "state": query.state, "filter": query.filter, "search": query.search,
            "sort": "" if query.sort == "order" else query.sort, "down": "1" if query.descending else "",
            "page": str(query.number) if query.number > 1 else "",
        }  # fmt: skip
        return urlencode({name: value for name, value in named.items() if value})

    def sorted_by(self, column: str) -> str:
        """The address for a click on a column: up, down, as planned."""
        if self.sort != column:
            return self.parameters(sort=column, descending=column not in ("label", "state", "kind"), number=1)
        first = column not in ("label", "state", "kind")
        if self.descending == first:
            return self.parameters(descending=not self.descending, number=1)
        return self.parameters(sort="order", descending=False, number=1)


@dataclass(frozen=True)
class _Made:
    html: str
    mark: tuple[object, ...]
    due: float


class Tables:
    """The tables of all runs that are looked at, for several threads."""

    def __init__(self) -> None:
        self._caches: dict[str, ItemCache] = {}
        self._made: dict[tuple[str, Query], _Made] = {}
        self._lock = threading.Lock()

    def html(self, run_id: str, query: Query) -> str:
        """The table. A filter that is none is told in its place. Raises as `Store.open` does."""
        started, known, marked = time.monotonic(), self._made.get((run_id, query)), mark(run_id)
        if known is not None and known.mark == marked:
            return known.html
        if known is not None and started < known.due:
            return known.html + _again(run_id, query, known.due - started)
        with closing(Store.open(run_directory(run_id))) as store:
            html = self._render(store, run_id, query)
        ended = time.monotonic()
        with self._lock:
            self._made.pop((run_id, query), None)
            self._made[run_id, query] = _Made(html, marked, ended + max(LEAST_S, SHARE * (ended - started)))
            while len(self._made) > KEPT:
                del self._made[next(iter(self._made))]
        return html

    def _render(self, store: Store, run_id: str, query: Query) -> str:
        found: ItemPage | None = None
        problem: str | None = None
        hint: str | None = None
        try:
            wanted = ItemFilter(query.filter) if query.filter else None
            found = self.found(store, run_id, query, wanted)
            if wanted and not found.total and (names := wanted.unknown(store)):
                hint = f"No item has {', '.join(names)}. Texts are written in quotes."
        except UsageError as error:
            problem, hint = str(error), error.hint
        return render(
            "items_table.html", found=found, problem=problem, hint=hint, query=query, run_id=run_id, columns=_COLUMNS,
            form_token=FORM_TOKEN, now=time.time(),
        )  # fmt: skip

    def found(self, store: Store, run_id: str, query: Query, wanted: ItemFilter | None, size: int = 50) -> ItemPage:
        """A page of items as values."""
        with self._lock:
            cache = self._caches.setdefault(run_id, ItemCache())
        return page(
            store, wanted=wanted, states=[query.state] if query.state else [], search=query.search, sort=query.sort,
            descending=query.descending, number=query.number, size=size, cache=cache,
        )  # fmt: skip


def _again(run_id: str, query: Query, after_s: float) -> str:
    """What lets a page ask again, when it was given a table that is older than the run is."""
    return render(
        "again.html",
        address=f"/runs/{run_id}/items?{query.parameters()}",
        number=next(_NUMBERS),
        after_ms=int(max(AGAIN_S, after_s + 0.05) * 1000),
    )
