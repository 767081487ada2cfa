"""A collector that speaks OTLP over HTTP and remembers what it was sent."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Got:
    """A span as it came."""

    trace: str
    id: str
    parent: str
    name: str
    start_ns: int
    end_ns: int
    status: int  # 0 unset, 1 ok, 2 error
    message: str
    attributes: dict[str, Any]
    events: tuple[tuple[str, dict[str, Any]], ...] = field(hash=False)

    @property
    def of(self) -> str:
        return str(self.attributes["prodigy.span.of"])


class Collector:
    """bodies: of every request, as they came."""

    def __init__(self, url: str) -> None:
        self.env = {"OTEL_EXPORTER_OTLP_ENDPOINT": url}
        self.live = {**self.env, "PRODIGY_OTEL": "1"}
        self.bodies: list[tuple[str, bytes]] = []

    def forget(self) -> None:
        self.bodies.clear()

    def spans(self) -> list[Got]:
        return [span for path, body in self.bodies if path == "/v1/traces" for span in _spans(body)]

    def resources(self) -> list[dict[str, Any]]:
        requests = [ExportTraceServiceRequest.FromString(body) for path, body in self.bodies if path == "/v1/traces"]
        return [_values(about.resource.attributes) for request in requests for about in request.resource_spans]

    def metrics(self) -> dict[str, list[Any]]:
        """The data points of each metric, as they were last."""
        found = {}
        for path, body in self.bodies:
            if path == "/v1/metrics":
                for about in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                    for scope in about.scope_metrics:
                        for metric in scope.metrics:
                            found[metric.name] = list(getattr(metric, str(metric.WhichOneof("data"))).data_points)
        return found


@contextlib.contextmanager
def collector(status: int = 200) -> Iterator[Collector]:
    """One that listens on a port of its own. status: of its answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.bodies.append((self.path, body))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nobody wants to know."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Collector(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


def _spans(body: bytes) -> Iterator[Got]:
    for about in ExportTraceServiceRequest.FromString(body).resource_spans:
        for scope in about.scope_spans:
            for span in scope.spans:
                yield Got(
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.name,
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    span.status.code,
                    span.status.message,
                    _values(span.attributes),
                    tuple((event.name, _values(event.attributes)) for event in span.events),
                )


def _values(attributes: Any) -> dict[str, Any]:
    return {entry.key: getattr(entry.value, str(entry.value.WhichOneof("value"))) for entry in attributes}
