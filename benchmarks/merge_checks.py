"""What merges that are checked first cost in checks, and how many an hour there are: one at a time, and eight together.

`python -m benchmarks.merge_checks [--items N] [--seeds N] [--check-seconds S] [--at-once N]`

Every item commits a file; in that of a bad one is a mark, and the check fails while the mark is anywhere in the tree.
Agents are much faster than checks, so the queue is full until it runs dry. The checks are counted by their events, and
every commit that the run branch has ever been is looked at: no mark in any, and every good item in the last.

The same is simulated over the pure rules with hundreds of choices of the bad ones: what is expected, and its spread.
Runs side by side share the processor, of which checks that sleep need little.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from benchmarks.common import Result, make_repository, scratch, set_identity
from prodigy.state.merge_queue import Check, Evict, Examine, Findings, Member, after, found, next_move

SHARES = (0.0, 0.05, 0.2)  # of bad items
BATCHES = (1, 8)
JUDGED = 0.05
LIMIT = 3.2
SIMULATED = 400  # choices of the bad items
LONG = 2000  # items of a queue whose ends hardly count
MARK = "this one is bad"
FILES = 100
WORKFLOW = """
name: merge-checks
map:
  input: {listed}
  max_parallel: 4
  merge:
    check:
      - shell: |
          sleep {seconds}
          ! grep -rqx '{mark}' items
    batch: {batch}
    on_reject: dlq
  agent_template:
    - shell: |
        mkdir -p items && echo ${{item.says}} > items/${{item.id}}.txt && git add -A && git commit -qm ${{item.id}}
"""


@dataclass(frozen=True)
class Case:
    """A run: this share of the items is bad, chosen by `seed`."""

    share: float
    batch: int
    seed: int

    def bad(self, items: int) -> frozenset[int]:
        return frozenset(random.Random(f"{self.share} {self.seed}").sample(range(items), round(items * self.share)))


@dataclass(frozen=True)
class Measured:
    """checks: finished. seconds: from the start of the first to the end of the last."""

    case: Case
    items: int
    merged: int
    checks: int
    seconds: float

    @property
    def checks_each(self) -> float:
        return self.checks / self.merged

    @property
    def an_hour(self) -> float:
        return self.merged / self.seconds * 3600


# With real processes ------------------------------------------------------------------------------------------


def measure(case: Case, items: int, check_seconds: float) -> Measured:
    """A real run, whose run branch is looked at. Raises AssertionError when anything bad has ever been in it."""
    bad = case.bad(items)
    with scratch() as folder:
        repo = make_repository(folder, FILES)
        lines = [{"id": f"n{number}", "says": MARK if number in bad else "fine"} for number in range(items)]
        (folder / "items.json").write_text(json.dumps(lines))
        flow = folder / "flow.yml"
        flow.write_text(
            WORKFLOW.format(listed=folder / "items.json", seconds=check_seconds, batch=case.batch, mark=MARK)
        )
        done = _prodigy(folder, "run", str(flow), "--no-merge", "--json", code=3 if bad else 0)
        summary = json.loads(done)
        assert summary["items"]["successful"] == items - len(bad), summary
        _look_at_branch(repo, f"prodigy/{summary['run_id']}/run", {f"n{n}" for n in range(items) if n not in bad})
        events = [json.loads(line) for line in _prodigy(folder, "events", "ls", "--json").splitlines()]
    begun = [_when(one) for one in events if one["event"]["event_type"] == "merge_check_started"]
    ended = [_when(one) for one in events if one["event"]["event_type"] == "merge_check_finished"]
    assert len(begun) == len(ended), "every check has ended"
    return Measured(case, items, items - len(bad), len(ended), (max(ended) - min(begun)).total_seconds())


def _prodigy(folder: Path, *args: str, code: int = 0) -> str:
    command = [sys.executable, "-m", "prodigy.cli.main", *args]
    env = {**os.environ, "PRODIGY_HOME": str(folder / "home")}
    done = subprocess.run(command, cwd=folder / "repo", env=env, capture_output=True, text=True, check=False)
    assert done.returncode == code, f"prodigy {args[0]} exited with {done.returncode}: {done.stderr}"
    return done.stdout


def _when(line: dict[str, str]) -> datetime:
    return datetime.fromisoformat(line["timestamp"])


def _look_at_branch(repo: Path, branch: str, good: set[str]) -> None:
    """Every commit that the branch has been, from its base on."""
    commits = _git(repo, "rev-list", "--first-parent", f"main..{branch}").split()
    assert len(commits) == len(good), "one merge an item"
    for commit in commits:
        marked = _git(repo, "grep", "-lF", MARK, commit, "--", "items", codes=(0, 1))
        assert not marked, f"the run branch was {commit}, with {marked}"
    names = _git(repo, "ls-tree", "--name-only", branch, "items/").split()
    assert {Path(name).stem for name in names} == good, "exactly the good ones are merged"


def _git(repo: Path, *args: str, codes: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run(["git", *args], cwd=repo, capture_output=True, text=True, check=False)
    assert done.returncode in codes, done.stderr
    return done.stdout


# Simulated ----------------------------------------------------------------------------------------------------


def simulate(case: Case, items: int) -> float:
    """Checks per merged item by the rules of the queue. One item is there when the first check begins, then all."""
    bad = case.bad(items)
    behind = [Member(number, 1) for number in range(items)]
    waiting, behind = behind[:1], behind[1:]
    findings, tip, merged = Findings(), "base", 0
    checks: list[Check] = []
    while (move := next_move(waiting, findings, case.batch, tip)) is not None:
        if isinstance(move, Evict):
            waiting.remove(move.member)
            findings = found(checks[-64:], waiting)
            continue
        assert isinstance(move, Examine), "the branch itself passes"
        commits = move.commits or tuple(f"{tip[:12]} {merged} {member.ordinal}" for member in move.members)
        check = Check(len(checks) + 1, tip, move.members, commits, not any(one.ordinal in bad for one in move.members))
        checks.append(check)
        findings = after(findings, check)
        if check.passed:
            tip, merged = check.commit, merged + len(move.members)
            waiting = waiting[len(move.members) :]
        waiting, behind = waiting + behind, []
    assert merged == items - len(bad)
    return len(checks) / merged


def ratios(share: float, items: int, choices: int, seeds: int = 1) -> list[float]:
    """Checks per merged item at the smaller batch, by those at the larger one. seeds: choices that are pooled."""
    small = simulate(Case(share, BATCHES[0], 0), items)
    large = [simulate(Case(share, BATCHES[1], seed), items) for seed in range(choices * seeds)]
    return [small / statistics.mean(large[start : start + seeds]) for start in range(0, len(large), seeds)]


# The report ---------------------------------------------------------------------------------------------------


def merge_checks(
    *,
    items: int,
    seeds: int,
    shares: Sequence[float] = SHARES,
    check_seconds: float = 2.0,
    at_once: int = 6,
) -> list[Result]:
    """items: of each run. seeds: choices of the bad ones at the larger batch; at batch 1 each item costs one check,
    whichever are bad."""
    cases = [Case(share, BATCHES[0], 0) for share in shares]
    cases += [Case(share, BATCHES[1], seed) for share in reversed(shares) for seed in range(seeds if share else 1)]
    with ThreadPoolExecutor(at_once) as pool:
        measured = list(pool.map(lambda case: measure(case, items, check_seconds), cases))
    long = ratios(JUDGED, LONG, 40)
    expected = Result(
        f"checks a merged item, batch {BATCHES[0]} / {BATCHES[1]}, rules",
        statistics.mean(long),
        LIMIT,
        "x",
        f"simulated, {LONG} items, {JUDGED:.0%} bad; {min(long):.2f} to {max(long):.2f} in {len(long)} choices",
        at_least=True,
    )
    return [expected, _judge(measured, items, seeds, check_seconds)]


def _judge(measured: Sequence[Measured], items: int, seeds: int, check_seconds: float) -> Result:
    """What the real runs say. A short queue is for the greater part its ends, in which batches are not full, so it is
    held against what the rules give for its length."""
    expected = ratios(JUDGED, items, SIMULATED // seeds, seeds)
    mean, spread = statistics.mean(expected), statistics.stdev(expected)
    limit = LIMIT if mean - 2 * spread > LIMIT - 0.05 else round(mean - 2 * spread, 2)
    table = [f"{'bad':>6}{'batch':>7}{'items':>7}{'merged':>8}{'checks':>8}{'checks/merged':>15}{'merges/h':>10}"]
    sides: dict[tuple[float, int], list[Measured]] = {}
    for one in measured:
        sides.setdefault((one.case.share, one.case.batch), []).append(one)
    for (share, batch), runs in sorted(sides.items()):
        each, an_hour = _mean(run.checks_each for run in runs), _mean(run.an_hour for run in runs)
        checks = _mean(run.checks for run in runs)
        table.append(f"{share:>6.0%}{batch:>7}{items:>7}{runs[0].merged:>8}{checks:>8.1f}{each:>15.3f}{an_hour:>10.0f}")
    shares = sorted({share for share, _ in sides})
    table += [f"{share:.0%} bad: {_ratio(sides, share):.2f} x fewer checks a merged item" for share in shares]
    table.append(f"a check takes {check_seconds:g} s; expected at {JUDGED:.0%}: {mean:.2f}, s.d. {spread:.2f}")
    name = f"checks a merged item, batch {BATCHES[0]} / {BATCHES[1]}, measured"
    return Result(name, _ratio(sides, JUDGED), limit, "x", f"\n{'':<6}".join(table), at_least=True)


def _ratio(sides: dict[tuple[float, int], list[Measured]], share: float) -> float:
    small, large = (_mean(run.checks_each for run in sides[share, batch]) for batch in BATCHES)
    return small / large


def _mean(values: Iterable[float]) -> float:
    return statistics.mean(values)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.merge_checks", description=__doc__)
    parser.add_argument("--items", type=int, default=160, help="of each run (160)")
    parser.add_argument("--seeds", type=int, default=3, help="choices of the bad items, each a run (3)")
    parser.add_argument("--check-seconds", type=float, default=2.0, help="what a check takes (2)")
    parser.add_argument("--at-once", type=int, default=6, help="runs side by side (6)")
    chosen = parser.parse_args()
    set_identity()
    for result in merge_checks(
        items=chosen.items, seeds=chosen.seeds, check_seconds=chosen.check_seconds, at_once=chosen.at_once
    ):
        print(result, flush=True)


if __name__ == "__main__":
    main()
