"""Spans as OpenTelemetry has them, and the way to a collector. Only this module and `otlp_metrics` import its SDK."""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit, urlunsplit
from urllib.request import getproxies

from prodigy import __version__
from prodigy.errors import EnvironmentProblem, UsageError
from prodigy.report.span_facts import Span, Value
from prodigy.report.spans import SpanFold, nanoseconds
from prodigy.secrets import mask
from prodigy.state import events as ev
from prodigy.state.event_data import from_data
from prodigy.state.trace_ids import span_id, trace_id
from prodigy.store.store import Store

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

INSTALL = 'Install it: pip install "prodigy-agents[otel]"'
_BATCH = 512
_ANSWER_S = 0.5
_LOGGERS = ("opentelemetry", "urllib3")


@dataclass(frozen=True)
class Sent:
    """spans: how many were sent. still_open: how many have not ended, and were not."""

    endpoint: str
    trace: str
    spans: int
    still_open: int


def obstacle(env: Mapping[str, str]) -> UsageError | EnvironmentProblem | None:
    """Why no spans can be sent, None when they can."""
    if env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return UsageError("OTEL_SDK_DISABLED is true: nothing is sent", hint="Unset it.")
    if not endpoint(env):
        what = "no collector is named: OTEL_EXPORTER_OTLP_ENDPOINT is not set"
        return UsageError(what, hint="Set it to where one listens, e.g. http://localhost:4318")
    signal = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
    protocol = env.get(signal) or env.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "http/protobuf"
    if protocol != "http/protobuf":
        what = f"the protocol {protocol} is not spoken, only http/protobuf"
        return UsageError(what, hint="Set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf; its port is mostly 4318.")
    if not _is_installed():
        return EnvironmentProblem("OpenTelemetry is not installed", hint=INSTALL)
    return None


def endpoint(env: Mapping[str, str]) -> str:
    """Where spans go, by the standard variables; "" when these do not say."""
    return env.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or env.get("OTEL_EXPORTER_OTLP_ENDPOINT") or ""


def be_quiet() -> None:
    """What the SDK logs of a collector that is not there is no business of a run's."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.propagate = False
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())


def resource() -> Resource:
    """Who sends; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win."""
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource

    ours = Resource({"service.name": "prodigy", "service.version": __version__})
    return Resource.create().merge(ours).merge(OTELResourceDetector().detect())


def readable(run_id: str, spans: Iterable[Span], about: Resource) -> list[ReadableSpan]:
    """The spans as the SDK's exporters take them, without secrets."""
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

    def context(key: str) -> SpanContext:
        return SpanContext(trace_id(run_id), span_id(run_id, key), False, TraceFlags(TraceFlags.SAMPLED))

    codes = {True: StatusCode.OK, False: StatusCode.ERROR, None: StatusCode.UNSET}
    scope = InstrumentationScope("prodigy", __version__)
    return [
        ReadableSpan(
            name=_shown(span.name),
            context=context(span.key),
            parent=context(span.parent) if span.parent is not None else None,
            resource=about,
            attributes={**_masked(span.attributes), "prodigy.span.of": span.of},
            events=[Event(moment.name, _masked(moment.attributes), moment.at_ns) for moment in span.moments],
            kind=SpanKind.INTERNAL,
            status=Status(codes[span.ok], _shown(span.message) if span.ok is False and span.message else None),
            start_time=span.start_ns,
            end_time=span.end_ns,
            instrumentation_scope=scope,
        )
        for span in spans
    ]


def events_of(store: Store, after: int = 0) -> Iterator[tuple[int, ev.Event, int]]:
    """(number, event, UNIX time in nanoseconds) of what is on record behind that number. What only a newer version
    knows is left out."""
    for record in store.events(after):
        data = dict(cast("dict[str, object]", record["event"]))
        event_type = str(data.pop("event_type"))
        if event_type in ev.TYPES:
            number, at = cast("int", record["seq"]), str(record["timestamp"])
            yield number, from_data(event_type, data), nanoseconds(at)


def send(store: Store) -> Sent:
    """Send the spans of a run to the collector that the standard variables name.

    Raises UsageError when they name none, or the run's events are gone; EnvironmentProblem when it does not take them,
    or OpenTelemetry is not installed.
    """
    if (problem := obstacle(os.environ)) is not None:
        raise problem
    run_id = store.run().id
    if any(True for _ in store.ask("SELECT 1 FROM event WHERE type = 'run_cleaned' AND data LIKE '%\"events\"%'")):
        what = "the events of this run were cleaned away: of its steps nothing is known any more"
        raise UsageError(what, hint="Send the spans of a run before `prodigy clean` takes its events.")
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import SpanExportResult

    be_quiet()
    place, about, fold, sent = shown_endpoint(endpoint(os.environ)), resource(), SpanFold(run_id), 0
    ended = (span for _, event, at_ns in events_of(store) for span in fold.apply(event, at_ns))
    hint = "Look whether the collector listens there and takes OTLP over HTTP, then send them again: ids stay the same."
    exporter = OTLPSpanExporter()
    try:
        while batch := list(islice(ended, _BATCH)):
            if exporter.export(readable(run_id, batch, about)) is not SpanExportResult.SUCCESS:
                raise EnvironmentProblem(
                    f"the collector did not take the spans ({sent} were sent)", where=place, hint=hint
                )
            sent += len(batch)
    finally:
        exporter.shutdown()  # type: ignore[no-untyped-call]
    return Sent(place, f"{trace_id(run_id):032x}", sent, len(fold.open))


def shown_endpoint(url: str) -> str:
    """The address without a password that may stand in it."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def answers(url: str) -> bool:
    """Whether something listens there now; also when that can't be seen, behind a proxy for example."""
    parts = urlsplit(url)
    if getproxies() or parts.hostname is None:
        return True
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        with socket.create_connection((parts.hostname, port), timeout=_ANSWER_S):
            return True
    except OSError:
        return False


def _masked(attributes: Mapping[str, Value]) -> dict[str, Value]:
    return {name: _shown(value) if isinstance(value, str) else value for name, value in attributes.items()}


def _shown(text: str) -> str:
    return mask(text).encode(errors="backslashreplace").decode()


def _is_installed() -> bool:
    try:
        names = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")
        return all(importlib.util.find_spec(name) is not None for name in names)
    except ModuleNotFoundError:
        return False
