"""Metrics of a run that goes on, for OpenTelemetry. They are made of the spans that end and of what is open."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from prodigy import __version__
from prodigy.report.span_facts import Span
from prodigy.report.spans import SpanFold
from prodigy.secrets import mask

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Observation
    from opentelemetry.sdk.metrics import MeterProvider

# Seconds: a shell step takes milliseconds, an agent an hour.
_SECONDS = (0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200)
# The conventions' own boundaries for tokens.
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)


class Instruments:
    """The run's instruments. They count from when this process began to drive the run."""

    def __init__(self, provider: MeterProvider, fold: SpanFold, workflow: str) -> None:
        meter = provider.get_meter("prodigy", __version__)
        self._common = {"prodigy.workflow": mask(workflow)}
        self._items = meter.create_counter("prodigy.items", "{item}", "Items that ended, by outcome")
        self._cost = meter.create_counter("prodigy.cost", "USD", "What agents cost, by agent and model")
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            "{token}",
            "Tokens of a step, by kind",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )
        self._duration = meter.create_histogram(
            "prodigy.step.duration", "s", "How long steps took", explicit_bucket_boundaries_advisory=_SECONDS
        )
        running = self._observed(lambda: [(fold.running_items, {})])
        meter.create_observable_gauge("prodigy.items.running", [running], "{item}", "Items with an attempt under way")
        gates = self._observed(lambda: [(1, {"gen_ai.agent.name": name}) for name in [*fold.closed_gates.values()]])
        meter.create_observable_gauge("prodigy.gate.closed", [gates], "1", "Agents that a limit keeps from starting")

    def record(self, span: Span) -> None:
        """Count a span that has ended."""
        match span.of:
            case "item":
                self._items.add(1, {**self._common, "prodigy.item.state": str(span.attributes["prodigy.item.state"])})
            case "step":
                self._step(span)

    def _step(self, span: Span) -> None:
        names = ("gen_ai.agent.name", "gen_ai.provider.name", "gen_ai.operation.name", "error.type")
        facts = {**self._common, **{name: span.attributes[name] for name in names if name in span.attributes}}
        self._duration.record((span.end_ns - span.start_ns) / 1e9, facts)
        facts.pop("error.type", None)
        for row in span.usage:
            by_model = {**facts, "gen_ai.response.model": row.model}
            if row.cost_usd is not None:
                self._cost.add(row.cost_usd, by_model)
            read = row.input + row.cache_read + row.cache_write
            self._tokens.record(read, {**by_model, "gen_ai.token.type": "input"})
            self._tokens.record(row.output, {**by_model, "gen_ai.token.type": "output"})
        cost_usd = span.attributes.get("prodigy.cost_usd")
        if not span.usage and isinstance(cost_usd, float):
            self._cost.add(cost_usd, facts)

    def _observed(
        self, values: Callable[[], list[tuple[int, dict[str, str]]]]
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        from opentelemetry.metrics import Observation

        return lambda _: [Observation(value, {**self._common, **more}) for value, more in values()]
