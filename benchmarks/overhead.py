"""What one item costs beside a bash loop that does the same git work.

Both make one commit an item in two steps and merge it. The loop adds and removes a worktree for every item; Prodigy
reuses worktrees, records every step, and could be killed at any moment. Rounds alternate, so that a noisy machine
is noisy to both; the ratio is the median of the rounds' ratios.

    python benchmarks/overhead.py [--items 200] [--files 1000 20000] [--rounds 3]

Measured in memory (/dev/shm) where there is such a place: disks differ too much to compare programs by them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prodigy.engine.control import Control
from prodigy.engine.run import Options
from prodigy.engine.session import Caller, run
from prodigy.engine.start import create_run
from prodigy.git import command as git
from prodigy.store import database

WORKFLOW = """
name: overhead
map:
  input: seq -f 'n%g' 1 {items}
  max_parallel: {slots}
  agent_template:
    - shell: echo "$PRODIGY_ITEM_ID" > "out-$PRODIGY_ITEM_ID"
    - shell: git add -A && git commit -qm work
"""

LOOP = """
set -e
git switch -q -c loop
for i in $(seq 1 {items}); do
  git worktree add -q --detach "$1/w$i"
  (cd "$1/w$i" && sh -c "echo $i > out-$i" && sh -c "git add -A && git commit -qm work")
  git merge -q --no-ff -m "merge $i" "$(git -C "$1/w$i" rev-parse HEAD)"
  git worktree remove --force "$1/w$i"
done
"""


@dataclass(frozen=True)
class Cost:
    """Per item: wall time in ms, git processes, other processes (wardens and shells), SQLite transactions."""

    ms: float
    git_calls: float
    processes: float
    transactions: float


def make_repository(folder: Path, files: int) -> Path:
    repo = folder / "repo"
    repo.mkdir(parents=True)
    for number in range(files):
        path = repo / f"dir{number % 100}" / f"file{number}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"line {number}\n" * 20)
    for args in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "start"]):
        subprocess.run(["git", *args], cwd=repo, check=True)
    return repo


def bash_loop(folder: Path, files: int, items: int) -> float:
    """ms an item."""
    repo = make_repository(folder, files)
    (folder / "trees").mkdir()
    started = time.perf_counter()
    subprocess.run(["bash", "-c", LOOP.format(items=items), "loop", str(folder / "trees")], cwd=repo, check=True)
    return (time.perf_counter() - started) / items * 1000


def prodigy(folder: Path, files: int, items: int, slots: int) -> Cost:
    repo = make_repository(folder, files)
    os.environ["PRODIGY_HOME"] = str(folder / "home")
    workflow = folder / "overhead.yml"
    workflow.write_text(WORKFLOW.format(items=items, slots=slots))
    created = create_run(workflow, repo, Options(merge="no", started_in=str(repo)))
    calls, commits = git.calls(), database.commits()
    started = time.perf_counter()
    ended = asyncio.run(_drive(created.run_id))
    elapsed = time.perf_counter() - started
    assert ended["status"] == "completed", ended
    steps = int(str(ended["steps_run"]))
    return Cost(
        ms=elapsed / items * 1000,
        git_calls=(git.calls() - calls) / items,
        processes=2 * steps / items,
        transactions=(database.commits() - commits) / items,
    )


async def _drive(run_id: str) -> dict[str, object]:
    caller = Caller(lambda _: None, lambda _target, _stat: False, Control(), "benchmark")
    return (await run(run_id, caller)).summary


@contextmanager
def scratch() -> Iterator[Path]:
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="prodigy-bench-", dir=memory if os.access(memory, os.W_OK) else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(files: int, items: int, rounds: int) -> None:
    loops, ones, fours = [], [], []
    for _ in range(rounds):
        with scratch() as folder:
            loops.append(bash_loop(folder / "loop", files, items))
            ones.append(prodigy(folder / "one", files, items, 1))
            fours.append(prodigy(folder / "four", files, items, 4))
    print(f"\n{items} items, {files:,} files, median of {rounds} rounds")
    print(f"  bash loop, one at a time   {statistics.median(loops):8.1f} ms an item")
    for name, costs in (("prodigy, one slot  ", ones), ("prodigy, four slots", fours)):
        ratio = statistics.median(loop / cost.ms for loop, cost in zip(loops, costs, strict=True))
        last = costs[-1]
        print(
            f"  {name}        {statistics.median(cost.ms for cost in costs):8.1f} ms an item"
            f"   {ratio:5.2f}x as fast   {last.git_calls:.1f} git calls, {last.processes:.1f} other processes,"
            f" {last.transactions:.1f} transactions an item"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--files", type=int, nargs="+", default=[1000, 20000])
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    identity = {"NAME": "Bench", "EMAIL": "bench@localhost"}
    os.environ |= {f"GIT_{role}_{part}": value for role in ("AUTHOR", "COMMITTER") for part, value in identity.items()}
    for files in arguments.files:
        measure(files, arguments.items, arguments.rounds)


if __name__ == "__main__":
    main()
