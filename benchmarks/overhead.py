"""What one item costs beside a shell script that does the same git work.

Both make one commit an item in two steps and merge it. The script adds and removes a worktree for every item;
Prodigy reuses worktrees, records every step, and could be killed at any moment. Rounds alternate, so that a noisy
machine is noisy to both; the ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import resource
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common import Result, drive, ignore, make_repository, make_run, median, scratch
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

# $1: where worktrees go, $2: how many items.
LOOP = """
set -e
git switch -q -c loop
for i in $(seq 1 "$2"); do
  git worktree add -q --detach "$1/w$i"
  (cd "$1/w$i" && sh -c "echo $i > out-$i" && sh -c "git add -A && git commit -qm work")
  git merge -q --no-ff -m "merge $i" "$(git -C "$1/w$i" rev-parse HEAD)"
  git worktree remove --force "$1/w$i"
done
"""

# $3: how many at a time. Worktrees are added under the lock too: git fails at random when two are added at once.
XARGS = """
set -e
git switch -q -c loop
export W=$1
item() {
  set -e
  flock "$W/lock" git worktree add -q --detach "$W/w$1"
  (cd "$W/w$1" && sh -c "echo $1 > out-$1" && sh -c "git add -A && git commit -qm work")
  head=$(git -C "$W/w$1" rev-parse HEAD)
  flock "$W/lock" git merge -q --no-ff -m "merge $1" "$head"
  git worktree remove --force "$W/w$1"
}
export -f item
seq 1 "$2" | xargs -P "$3" -I{} bash -c 'item {}'
"""


@dataclass(frozen=True)
class Cost:
    """Per item: wall time and processor time in ms; git processes, other processes (wardens and shells), SQLite
    transactions, as far as we can count them.
    """

    ms: float
    cpu_ms: float
    git_calls: float = 0.0
    processes: float = 0.0
    transactions: float = 0.0


def _cpu_s() -> float:
    """Processor time of this process and of all that have ended below it, in seconds."""
    used = (resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def script(folder: Path, files: int, items: int, slots: int) -> Cost:
    """The bash loop, or xargs when there are several slots."""
    repo = make_repository(folder, files)
    trees = folder / "trees"
    trees.mkdir()
    argv = ["bash", "-c", LOOP if slots == 1 else XARGS, "script", str(trees), str(items), str(slots)]
    started, cpu = time.perf_counter(), _cpu_s()
    subprocess.run(argv, cwd=repo, check=True)
    return Cost((time.perf_counter() - started) / items * 1000, (_cpu_s() - cpu) / items * 1000)


def prodigy(folder: Path, files: int, items: int, slots: int) -> Cost:
    repo = make_repository(folder, files)
    run_id = make_run(folder, repo, WORKFLOW.format(items=items, slots=slots))
    calls, commits = git.calls(), database.commits()
    started, cpu = time.perf_counter(), _cpu_s()
    ended = drive(run_id, ignore)
    elapsed = time.perf_counter() - started
    assert ended["status"] == "completed", ended
    steps = int(str(ended["steps_run"]))
    return Cost(
        ms=elapsed / items * 1000,
        cpu_ms=(_cpu_s() - cpu) / items * 1000,
        git_calls=(git.calls() - calls) / items,
        processes=2 * steps / items,
        transactions=(database.commits() - commits) / items,
    )


def compare(name: str, *, files: int, items: int, slots: int, rounds: int, limit: float) -> Result:
    """Script and Prodigy in turn, the one that begins changing from round to round."""
    scripts, costs = [], []
    for round_ in range(rounds):
        for ours in (False, True) if round_ % 2 else (True, False):
            with scratch() as folder:
                if ours:
                    costs.append(prodigy(folder, files, items, slots))
                else:
                    scripts.append(script(folder, files, items, slots))
    ratios = [ours.ms / theirs.ms for ours, theirs in zip(costs, scripts, strict=True)]
    cpu_ratios = [ours.cpu_ms / theirs.cpu_ms for ours, theirs in zip(costs, scripts, strict=True)]
    last = costs[-1]
    ours_ms, theirs_ms = (median([cost.ms for cost in side]) for side in (costs, scripts))
    details = (
        f"{ours_ms:.1f} ms an item, the script {theirs_ms:.1f} ms;"
        f" ratios {', '.join(f'{ratio:.2f}' for ratio in sorted(ratios))};"
        f" of processor time {median(cpu_ratios):.2f};\n{'':<6}{last.git_calls:.1f} git calls,"
        f" {last.processes:.1f} other processes, {last.transactions:.1f} transactions an item"
    )
    return Result(name, median(ratios), limit, "x the script", details)


def one_slot(rounds: int, items: int = 200) -> Result:
    return compare("1,000 files, 1 slot, bash loop", files=1000, items=items, slots=1, rounds=rounds, limit=0.6)


def eight_slots(rounds: int, items: int = 200) -> Result:
    return compare("1,000 files, 8 slots, xargs -P 8", files=1000, items=items, slots=8, rounds=rounds, limit=0.65)


def many_files(rounds: int, items: int = 200) -> Result:
    return compare("20,000 files, 1 slot, bash loop", files=20000, items=items, slots=1, rounds=rounds, limit=0.3)
