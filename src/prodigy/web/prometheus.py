"""`/metrics`: how the runs stand, for Prometheus. Only runs that go on have numbers of their own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from prodigy.store.spending import DayBook
from prodigy.web.runs_list import STATES, RunList

MOST_RUNS = 200
_RUN = ("run", "workflow")


class Runs(Collector):
    """Asks anew at each scrape."""

    def __init__(self, known: RunList) -> None:
        self._known = known

    def collect(self) -> Iterator[GaugeMetricFamily]:
        found = self._known.page()
        runs = GaugeMetricFamily("prodigy_runs", "Runs in this state.", labels=["state"])
        for state in STATES:
            runs.add_metric([state], found.states.get(state, 0))
        yield runs
        items = GaugeMetricFamily("prodigy_run_items", "Items of a run that goes on.", labels=[*_RUN, "state"])
        cost = GaugeMetricFamily("prodigy_run_cost_usd", "Dollars that its agents have cost.", labels=_RUN)
        tokens = GaugeMetricFamily("prodigy_run_tokens", "Tokens that its agents have used.", labels=_RUN)
        letters = GaugeMetricFamily("prodigy_run_dead_letters", "Items that failed for good.", labels=_RUN)
        waiting = GaugeMetricFamily("prodigy_run_merge_queue", "Items that wait to be merged.", labels=_RUN)
        held = GaugeMetricFamily("prodigy_run_paused", "1 when a user has paused it.", labels=_RUN)
        gates = GaugeMetricFamily("prodigy_run_gates_closed", "Accounts that let no agent start.", labels=_RUN)
        for summary in self._known.going(MOST_RUNS):
            names = [summary["run_id"], summary["workflow"]]
            for state in ("successful", "failed", "skipped", "running", "pending"):
                items.add_metric([*names, state], summary["items"][state])
            if summary["cost_usd"] is not None:
                cost.add_metric(names, summary["cost_usd"])
            tokens.add_metric(names, summary["tokens"])
            letters.add_metric(names, summary["dead_letters"])
            waiting.add_metric(names, summary["merge_queue"]["waiting"])
            held.add_metric(names, summary["held"] is not None)
            gates.add_metric(names, len(summary["gates"]))
        yield from (items, cost, tokens, letters, waiting, held, gates)
        try:
            spent, _ = DayBook("").today()
        except sqlite3.Error:
            return  # the index is locked or damaged; the next scrape may find it
        yield GaugeMetricFamily("prodigy_spent_today_usd", "Dollars that all runs have cost today.", value=spent)


def metrics(known: RunList) -> bytes:
    """The text of a scrape."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Runs(known))
    return generate_latest(registry)
