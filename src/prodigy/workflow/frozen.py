"""The base of every value of a normalised workflow."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Value(BaseModel):
    """A frozen value that takes its own types only, and no other fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    # Fields that may change without changing what a finished step has done; see `model.fingerprint`.
    not_what_it_does: ClassVar[frozenset[str]] = frozenset()
