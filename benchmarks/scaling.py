"""How much of the ideal throughput is left when agents take a second each."""

from __future__ import annotations

import time

from benchmarks.common import Result, drive, make_repository, make_run, scratch
from prodigy.state import events as ev

AGENT_S = 1.0
FILES = 1000
WAVES = 8
WORKFLOW = """
name: scaling
map:
  input: seq -f 'n%g' 1 {items}
  max_parallel: {slots}
  agent_template:
    - shell: sleep {seconds}
"""


def throughput(slots: int, waves: int = WAVES) -> Result:
    """Measured from the end of the first wave, so that making the worktrees does not count."""
    ended: list[float] = []

    def on_event(event: ev.Event) -> None:
        if isinstance(event, ev.AgentCompleted):
            ended.append(time.perf_counter())

    items = slots * waves
    with scratch() as folder:
        repo = make_repository(folder, FILES)
        run_id = make_run(folder, repo, WORKFLOW.format(items=items, slots=slots, seconds=AGENT_S))
        started = time.perf_counter()
        drive(run_id, on_event)
    steady = (items - slots) / (ended[-1] - ended[slots - 1])
    whole = items / (ended[-1] - started)
    ideal = slots / AGENT_S
    details = f"{steady:.2f} items a second of {ideal:g}; {whole:.2f} with the start"
    name = f"agents of {AGENT_S:g} s, {slots} slots"
    return Result(name, steady / ideal, 0.9, "of the ideal", details, at_least=True)
