"""A coordinator in a process of its own that goes so many items further whenever it is told to.

Its parent can so let a run rest in the middle and measure something else beside it, and its memory is its own.
Standard input brings the number of items; each is answered by a line of JSON, see `Stretch`.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from array import array
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from benchmarks.common import drive, make_run, set_identity
from prodigy.engine.control import Control
from prodigy.state import events as ev

WARM_UP = 10  # items at the beginning of a stretch that are not measured
MEMORY_EVERY = 250  # items
FILES = 100
WORKFLOW = """
name: growth
map:
  input: items.json
  json_path: $[*]
  max_parallel: {slots}
  agent_template:
    - shell: echo "$PRODIGY_ITEM_ID" > "${{item.file}}" && git commit -qam work
"""


@dataclass(frozen=True)
class Stretch:
    """ended: seconds of the monotonic clock at which each item was merged. memory: items merged -> KB of its own."""

    ended: list[float]
    memory: dict[str, float]

    def ms_an_item(self) -> float:
        measured = self.ended[WARM_UP:]
        return (measured[-1] - measured[0]) / (len(measured) - 1) * 1000


def prepare(folder: Path, repo: Path, items: int, slots: int) -> str:
    """Store a run of `items` items, each of which rewrites one of `FILES` files, so that the tree does not grow."""
    rows = [{"id": f"n{number}", "file": f"dir{number % FILES}/file{number % FILES}.txt"} for number in range(items)]
    (folder / "items.json").write_text(json.dumps(rows))
    return make_run(folder, repo, WORKFLOW.format(slots=slots))


class Coordinator:
    """The parent's side."""

    def __init__(self, folder: Path, run_id: str) -> None:
        # Modules are compiled once for all processes that follow, as they are when installed.
        env = os.environ | {"PRODIGY_HOME": str(folder / "home"), "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.coordinator", run_id],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env, cwd=Path(__file__).parents[1],
        )  # fmt: skip

    def go(self, items: int) -> Stretch:
        """Let it run until so many more items are merged. Raises EOFError when it died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{items}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise EOFError("the coordinator died")
        return Stretch(**json.loads(line))

    def close(self) -> None:
        self._process.communicate()


class _Watch:
    """Counts merged items and drains the run at the wanted one."""

    def __init__(self) -> None:
        self.merged = 0
        self.memory: dict[str, float] = {}
        self._own = psutil.Process()

    def stretch(self, run_id: str, items: int) -> Stretch:
        ended, control = array("d"), Control()

        def on_event(event: ev.Event) -> None:
            if not isinstance(event, ev.AgentCompleted):
                return
            self.merged += 1
            ended.append(time.perf_counter())
            if self.merged % MEMORY_EVERY == 0:
                gc.collect()
                self.memory[str(self.merged)] = self._own.memory_full_info().uss / 1024
            if len(ended) >= items:
                control.drain()

        drive(run_id, on_event, control=control, anew=self.merged == 0)
        return Stretch(ended.tolist(), self.memory)


def main() -> None:
    set_identity()
    watch = _Watch()
    for line in sys.stdin:
        print(json.dumps(asdict(watch.stretch(sys.argv[1], int(line)))), flush=True)


if __name__ == "__main__":
    main()
