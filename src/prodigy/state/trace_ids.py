"""The ids under which a run is known to OpenTelemetry: made of the run's id and of what a span is of, so that a resume
goes on with the same trace and whoever exports a run twice says the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

# The variable by which the user wants telemetry. Its name says nothing of where to: the OTEL_* variables do.
SWITCH = "PRODIGY_OTEL"
_ON = frozenset({"1", "true", "yes", "on"})


def is_wanted(env: Mapping[str, str]) -> bool:
    """Whether the user has switched telemetry on."""
    return env.get(SWITCH, "").strip().lower() in _ON


def trace_id(run_id: str) -> int:
    """128 bits, never 0."""
    return _number(f"prodigy run {run_id}", 16)


def span_id(run_id: str, key: str) -> int:
    """64 bits, never 0. key: what the span is of, by its path; an execution's is its step path with the try."""
    return _number(f"prodigy span {run_id} {key}", 8)


def traceparent(run_id: str, execution: str) -> str:
    """The W3C trace context of what an execution starts: its parent is the span of the execution."""
    return f"00-{trace_id(run_id):032x}-{span_id(run_id, execution):016x}-01"


def _number(text: str, size: int) -> int:
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:size], "big") or 1
