"""How fast items are found, selected and stored; each time beside what `json` alone needs to read and write the same.

A plan is made in a process of its own, so that the memory is its own. Judged by processor time, which others on the
machine change least; the wall clock is among the details.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.common import Result, make_repository, make_run, median, scratch
from prodigy.engine.fanout import store_items
from prodigy.plan.bulk import bulk
from prodigy.plan.sources import Found, items_of_file, items_of_output
from prodigy.store.paths import run_directory
from prodigy.store.store import Store
from prodigy.workflow.expression import compile_expression, item_finder
from prodigy.workflow.selection import Selection

FORMATS = ("json", "jsonl", "csv", "command")
MAX_SECONDS, MAX_MB, MAX_FILTER_SECONDS = 5.0, 400.0, 1.0
CONDITION = "score >= 50 && status in ['open', 'new'] || path matches '^src/[a-m]' && !is_null(owner.name)"
SELECTION = Selection(filter="!is_null(path)", sort_by="-status, path", distinct="id")
WORKFLOW = 'name: planning\nmap: {input: items.json, agent_template: [{shell: "true"}]}\n'


def make_items(number: int) -> list[dict[str, object]]:
    """Items of about 200 bytes."""
    return [
        {
            "id": f"n{n}",
            "path": f"src/{'abcxyz'[n % 6]}/module_{n % 977}/file_{n}.py",
            "score": n % 101,
            "status": ("open", "done", "new")[n % 3],
            "owner": {"name": f"person {n % 31}", "team": n % 7},
            "note": "a line of text for the agent to read " * 2,
        }
        for n in range(number)
    ]


def planning(*, items: int, rounds: int) -> list[Result]:
    """The whole plan for each format: reading, selection, identity, rows in SQLite."""
    results = []
    with scratch() as folder:
        repository = make_repository(folder, 1)
        (folder / "items.json").write_text("[]")
        values = make_items(items)
        for form in FORMATS:
            file = folder / f"items.{form}"
            file.write_text(_text(form, values))
            plain = median([_plain(file, form) for _ in range(rounds)])
            found = [_measured(make_run(folder, repository, WORKFLOW), file, form) for _ in range(rounds)]
            seconds, wall, mb = median([one[0] for one in found]), median([one[1] for one in found]), found[0][2]
            details = (
                f"{seconds:.2f} s of processor, {wall:.2f} s in all, {mb:.0f} MB;"
                f" {seconds / plain:.1f} x reading and writing it ({plain:.2f} s)"
            )
            name = f"plan of {items:,} items from {form}"
            results += [
                Result(name, seconds * 100_000 / items, MAX_SECONDS, "s for 100,000", details),
                Result(f"{name}, memory", mb, MAX_MB, "MB", "the whole process"),
            ]
    return [*results, filtering(values, rounds)]


def filtering(values: list[dict[str, object]], rounds: int) -> Result:
    """A compiled filter over all items, beside the same condition written in Python."""
    condition = compile_expression(CONDITION)
    compiled, written = [], []
    for _ in range(rounds):
        started = time.process_time()
        kept = sum(condition.holds(item_finder(value)) for value in values)
        compiled.append(time.process_time() - started)
        started = time.process_time()
        same = sum(_by_hand(value) for value in values)
        written.append(time.process_time() - started)
        assert kept == same
    seconds = median(compiled) * 100_000 / len(values)
    details = f"{median(compiled):.2f} s for {len(values):,}, {median(compiled) / median(written):.1f} x plain Python"
    return Result("filter", seconds, MAX_FILTER_SECONDS, "s for 100,000", details)


def _by_hand(item: dict[str, object]) -> bool:
    score, owner = item["score"], item["owner"]
    assert isinstance(score, int)
    assert isinstance(owner, dict)
    if score >= 50 and item["status"] in ("open", "new"):
        return True
    path = str(item["path"])
    return path.startswith("src/") and "a" <= path[4] <= "m" and owner["name"] is not None


def _text(form: str, values: list[dict[str, object]]) -> str:
    if form == "json":
        return json.dumps(values)
    if form == "csv":
        rows = [[str(value[name]).replace('"', "'") for name in values[0]] for value in values]
        return "\n".join(",".join(f'"{field}"' for field in row) for row in [list(values[0]), *rows])
    return "\n".join(json.dumps(value) for value in values)


def _plain(file: Path, form: str) -> float:
    """Seconds that any program needs which reads the file and writes every item as JSON."""
    started = time.process_time()
    lines = file.read_text().split("\n")
    values = json.loads(lines[0]) if form == "json" else lines if form == "csv" else map(json.loads, lines)
    file.with_suffix(".out").write_text("\n".join(map(json.dumps, values)))
    return time.process_time() - started


def _measured(run_id: str, file: Path, form: str) -> tuple[float, float, float]:
    """(seconds of processor, seconds, MB) of a plan."""
    argv = [sys.executable, "-m", "benchmarks.planning", run_id, str(file), form]
    seconds, wall, mb = json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout)
    return seconds, wall, mb


def _found(file: Path, form: str) -> Found:
    if form == "command":
        return items_of_output(file.read_bytes(), None, SELECTION)
    return items_of_file(file, None, SELECTION)


def main() -> None:
    """In a process of its own: plan, and print [seconds of processor, seconds, MB]."""
    run_id, file, form = sys.argv[1:]
    store = Store.open(run_directory(run_id))
    started, began = time.process_time(), time.perf_counter()
    with bulk():
        store_items(store, "it1/1", _found(Path(file), form))
    seconds, wall = time.process_time() - started, time.perf_counter() - began
    store.close()
    print(json.dumps([seconds, wall, _peak_mb()]))


def _peak_mb() -> float:
    """The most memory that this process had. On Linux getrusage begins with what its parent had."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / 1024


if __name__ == "__main__":
    main()
