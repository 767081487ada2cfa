"""The engine's own cost of an item, and whether it stays flat: many items on workspaces that do nothing."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from array import array
from dataclasses import fields
from pathlib import Path

import psutil

from benchmarks.common import ITEMS_FOR_MEMORY, Result, make_repository, make_run, scratch
from benchmarks.null_executor import NullExecutor, NullPrivate, NullRepo
from prodigy.engine.admission import Admissions
from prodigy.engine.agent_budgets import AgentBudgets
from prodigy.engine.agent_gates import AgentGates
from prodigy.engine.control import Control
from prodigy.engine.environment import RunEnvironment
from prodigy.engine.environment_sources import Places
from prodigy.engine.fanout import run_items
from prodigy.engine.fanout_place import FanoutPlace
from prodigy.engine.merge_queue import MergeQueue
from prodigy.engine.run import Options, Run
from prodigy.engine.steps import StepRunner
from prodigy.git.context import discover
from prodigy.state import events as ev
from prodigy.store.paths import run_directory
from prodigy.store.store import Store
from prodigy.workflow.model import MapReduce, Workflow

FANOUT = "it1/1"
FIRST = 50  # items that are not measured
WORKFLOW = """
name: engine
map:
  input: items.json
  json_path: $[*]
  max_parallel: {slots}
  agent_template:
    - shell: echo "${{item.id}}"
    - shell: "true"
"""


class _Watch:
    def __init__(self) -> None:
        self.ended = array("d")
        self.cpu = array("d")
        self.memory: list[tuple[int, float]] = []
        self._own = psutil.Process()

    def __call__(self, event: ev.Event) -> None:
        if not isinstance(event, ev.AgentCompleted):
            return
        self.ended.append(time.perf_counter())
        self.cpu.append(time.process_time())
        if len(self.ended) % 500 == 0:
            gc.collect()
            self.memory.append((len(self.ended), self._own.memory_full_info().uss / 1024))


def engine_only(*, items: int, slots: int = 4) -> list[Result]:
    """Windows of a twentieth of the items; judged by processor time, which others on the machine change least."""
    watch = _Watch()
    with scratch() as folder:
        asyncio.run(_run(folder, items, slots, watch))
    window = max(200, items // 20)
    early = _cost(watch.cpu, FIRST, FIRST + window)
    late = _cost(watch.cpu, len(watch.cpu) - 1 - window, len(watch.cpu) - 1)
    (first, before), (last, after) = watch.memory[0], watch.memory[-1]
    details = (
        f"{early:.2f} ms of processor an item at first, {late:.2f} ms at the end;"
        f" {_cost(watch.ended, FIRST, len(watch.ended) - 1):.2f} ms an item in all, {slots} slots"
    )
    grown = (after - before) / max(1, last - first)
    results = [
        Result(f"engine alone, the last of {items:,} beside the first", late / early, 1.2, "x", details),
        Result(
            "engine alone, memory", grown, 0.5, "KB an item",
            f"{before / 1024:.1f} MB after {first:,} items, {after / 1024:.1f} MB after {last:,}",
        ),
    ]  # fmt: skip
    return results if items >= ITEMS_FOR_MEMORY else results[:1]


def _cost(marks: array[float], first: int, last: int) -> float:
    return (marks[last] - marks[first]) / (last - first) * 1000


async def _run(folder: Path, items: int, slots: int, watch: _Watch) -> None:
    repository = make_repository(folder, 10)
    (folder / "items.json").write_text("[]")
    store = Store.open(run_directory(make_run(folder, repository, WORKFLOW.format(slots=slots))))
    store.migrate()
    real = discover(repository).repo
    repo = NullRepo(**{field.name: getattr(real, field.name) for field in fields(real)})
    private = NullPrivate(folder, repo)
    row, (version, workflow_json) = store.run(), store.workflow()
    workflow = Workflow.model_validate_json(workflow_json)
    control = Control()
    environment = RunEnvironment(
        directory=store.directory, places=Places(None, folder, folder), base={}, own=frozenset(), no_push={},
        facts={}, shell="/bin/bash", warn=lambda message: store.record(ev.Warned(message=message)),
    )  # fmt: skip
    run = Run(
        id=row.id, store=store, workflow=workflow, workflow_version=version, options=Options.from_json(row.options),
        repo=repo, private=private, executor=NullExecutor(folder),
        merges=MergeQueue(store, repo, private, row.branch),
        steps=StepRunner(
            store, control, "/bin/bash", private, environment=environment,
            admissions=Admissions(control, AgentGates(store), AgentBudgets(store, workflow), workflow.agents),
        ),
        control=control,
        env={}, environment=environment,
    )  # fmt: skip
    rows = [
        (number, f"n{number}", f"n{number}", json.dumps({"id": f"n{number}"}), 0.0) for number in range(1, items + 1)
    ]
    store.plan_items(FANOUT, rows, ev.ItemsPlanned(fanout=FANOUT, total=items, duplicates=0))
    del rows
    mapping = workflow.steps[0].action
    assert isinstance(mapping, MapReduce)
    store.listener = watch
    await run_items(run, FanoutPlace(FANOUT, mapping, run.names(1, {}), {}, {}, {}))
    store.close()
