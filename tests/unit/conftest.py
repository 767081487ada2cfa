"""Fixtures for pure tests."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable

import pytest

from prodigy.state import events as ev

_SAMPLES: dict[object, object] = {str: "text", int: 3, float: 1.5, bool: True, "optional": None}


def _sample(kind: object) -> object:
    if typing.get_origin(kind) is tuple:
        return []
    return _SAMPLES.get(kind)


@pytest.fixture
def every_event() -> Callable[[], list[ev.Event]]:
    """One event of every type, with some value in every field."""

    def make() -> list[ev.Event]:
        made = []
        for cls in vars(ev).values():
            if not (isinstance(cls, type) and issubclass(cls, ev.Event)) or cls in (ev.Event, ev.ItemEvent):
                continue
            kinds = typing.get_type_hints(cls)
            made.append(cls(**{field.name: _sample(kinds[field.name]) for field in dataclasses.fields(cls)}))
        assert len(made) > 20
        return made

    return make
