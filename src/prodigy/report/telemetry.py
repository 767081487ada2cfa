"""Telemetry of a run while it goes on: a thread that reads what was recorded and hands it to OpenTelemetry.

The run never waits for it, but for END_PATIENCE_S at its end, and never fails by it. The thread has a connection of its
own to the database, in which an event is before anybody is told of it: so the spans are those that `report --otel`
makes, with the same times.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from prodigy.errors import ProdigyError
from prodigy.report import otlp
from prodigy.report.spans import SpanFold
from prodigy.state import events as ev
from prodigy.state.trace_ids import SWITCH
from prodigy.store.store import Store

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from prodigy.report.otlp_metrics import Instruments

END_PATIENCE_S = 3.0  # at the end of a run, for what has not been sent
_POLL_S = 1.0

Listener = Callable[[ev.Event], None]


@contextmanager
def telemetry(directory: Path, listener: Listener, warn: Callable[[str], None]) -> Iterator[Listener]:
    """What to tell of events in place of `listener`, which is told too, while a process drives the run in `directory`.

    warn: is told, before anything runs, why there will be none.
    """
    if (problem := otlp.obstacle(os.environ)) is not None:
        warn(f"{SWITCH} is set, but {problem.what}. {problem.hint}")
        yield listener
        return
    follower = _Follower(directory)

    def both(event: ev.Event) -> None:
        listener(event)
        follower.wake()

    try:
        yield both
    finally:
        follower.finish()


class _Follower:
    """Reads the events of a run behind the one that was the last, and exports what ends with them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with closing(Store.open(directory)) as store:
            (row,) = store.ask("SELECT coalesce(max(seq), 0) AS seq FROM event")
        self._before = int(row["seq"])
        self._news, self._over = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Something was recorded. The thread begins with the first of it: by then the database has today's form."""
        self._news.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="telemetry", daemon=True)
            self._thread.start()

    def finish(self) -> None:
        """Send what is left, as far as it can be sent soon."""
        self._over.set()
        self._news.set()
        if self._thread is not None:
            self._thread.join(END_PATIENCE_S)

    def _work(self) -> None:
        try:
            with closing(Store.open(self._directory)) as store:
                run = store.run()
                fold = SpanFold(run.id)
                with _exporters(run.id, run.workflow, fold) as export:
                    self._follow(store, export)
        except (ProdigyError, OSError, sqlite3.Error, ValueError):
            return  # the run is what counts; `report --otel` sends its spans afterwards, or says what is wrong

    def _follow(self, store: Store, export: Callable[[ev.Event, int, bool], None]) -> None:
        seen, over = 0, False
        while not over:
            over = self._over.is_set()  # asked first: what was written before the end is still read
            self._news.clear()
            for seen, event, at_ns in otlp.events_of(store, seen):  # noqa: B020 - the generator has the old one
                export(event, at_ns, seen > self._before)
            if not over:
                self._news.wait(_POLL_S)


@contextmanager
def _exporters(run_id: str, workflow: str, fold: SpanFold) -> Iterator[Callable[[ev.Event, int, bool], None]]:
    """Takes events, with their times and whether this process has recorded them: what ended before is known already."""
    otlp.be_quiet()
    about = otlp.resource()
    processor = _span_processor()
    reader, instruments = _metrics(fold, workflow, about)

    def export(event: ev.Event, at_ns: int, is_new: bool) -> None:
        ended = fold.apply(event, at_ns)
        if not is_new:
            return
        if instruments is not None:
            for span in ended:
                instruments.record(span)
        if processor is not None:
            for readable in otlp.readable(run_id, ended, about):
                processor.on_end(readable)

    yield export
    if otlp.answers(otlp.endpoint(os.environ)):  # else it is in vain, and the run's process waits for it
        if processor is not None:
            processor.shutdown()  # type: ignore[no-untyped-call]
        if reader is not None:
            reader.shutdown(END_PATIENCE_S * 1000)


def _span_processor() -> BatchSpanProcessor | None:
    """It keeps 2,048 spans and drops what comes while a collector does not take them (OTEL_BSP_*)."""
    if os.environ.get("OTEL_TRACES_EXPORTER") == "none":
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    return BatchSpanProcessor(OTLPSpanExporter())


def _metrics(
    fold: SpanFold, workflow: str, about: Resource
) -> tuple[PeriodicExportingMetricReader | None, Instruments | None]:
    named = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    if os.environ.get("OTEL_METRICS_EXPORTER") == "none" or not any(os.environ.get(name) for name in named):
        return None, None
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    from prodigy.report.otlp_metrics import Instruments

    reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    provider = MeterProvider([reader], about, shutdown_on_exit=False)
    return reader, Instruments(provider, fold, workflow)
