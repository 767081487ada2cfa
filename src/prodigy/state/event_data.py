"""Events as they are stored, and back."""

from __future__ import annotations

import dataclasses

from prodigy.secrets import mask
from prodigy.state.events import TYPES, Event

# Fields that say something to people, in which whatever a step printed may stand. Others are keys of something.
_TOLD = ("message", "error", "last_output", "reason", "problem")


def from_data(event_type: str, data: dict[str, object]) -> Event:
    """The event that `data()` came from. Unknown fields of a newer version are ignored."""
    cls = TYPES[event_type]
    known = {field.name for field in dataclasses.fields(cls)}
    return cls(**{key: value for key, value in data.items() if key in known})


def storable(event: Event) -> Event:
    """The event with texts that a database can hold: half a character, as in file names of another encoding, is
    spelled out (`\\udcff`)."""
    changed = {
        field.name: value.encode(errors="backslashreplace").decode()
        for field in dataclasses.fields(event)
        if isinstance(value := getattr(event, field.name), str) and not value.isascii()
    }
    return dataclasses.replace(event, **changed) if changed else event


def masked(event: Event) -> Event:
    """The event without secrets in what it tells."""
    changed = {
        name: hidden
        for name in _TOLD
        if isinstance(value := getattr(event, name, None), str) and (hidden := mask(value)) != value
    }
    return dataclasses.replace(event, **changed) if changed else event
