"""Which of a fan-out's values become items, and in which order."""

from __future__ import annotations

from pydantic import Field

from prodigy.workflow.frozen import Value


class Selection(Value):
    """Applied in this order: filter, sort_by, distinct, offset, max_items. None: nothing of the kind."""

    filter: str | None = None
    sort_by: str | None = None
    distinct: str | None = None
    offset: int | None = Field(default=None, ge=0)
    max_items: int | None = Field(default=None, ge=0)
