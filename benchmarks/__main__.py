"""Run the benchmarks: `python -m benchmarks [--full] [NAME ...]`; every line says what was wanted and measured."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from benchmarks import (
    agents,
    dashboard,
    dead_letters,
    engine_only,
    growth,
    merge_checks,
    overhead,
    planning,
    scaling,
    startup,
)
from benchmarks.common import Result, set_identity

# name -> the quick set, then the full one.
BENCHMARKS: dict[str, tuple[Callable[[], list[Result]], Callable[[], list[Result]]]] = {
    "one-slot": (lambda: [overhead.one_slot(3, 100)], lambda: [overhead.one_slot(7)]),
    "eight-slots": (lambda: [overhead.eight_slots(3, 100)], lambda: [overhead.eight_slots(7)]),
    "many-files": (lambda: [overhead.many_files(1, 60)], lambda: [overhead.many_files(3)]),
    "growth": (
        lambda: growth.growth(items=800, checkpoints=(500,), rounds=2),
        lambda: growth.growth(items=10_000, checkpoints=(4_950, 9_500), rounds=5),
    ),
    "scaling": (
        lambda: [scaling.throughput(slots, waves=4) for slots in (4, 16)],
        lambda: [scaling.throughput(slots) for slots in (1, 4, 16, 64)],
    ),
    "engine": (lambda: engine_only.engine_only(items=3_000), lambda: engine_only.engine_only(items=100_000)),
    "dead-letters": (
        lambda: dead_letters.dead_letters(rounds=5, items=60),
        lambda: dead_letters.dead_letters(rounds=7, items=200),
    ),
    "planning": (
        lambda: planning.planning(items=20_000, rounds=2),
        lambda: planning.planning(items=100_000, rounds=5),
    ),
    "merge-checks": (
        lambda: merge_checks.merge_checks(items=40, seeds=2, shares=(merge_checks.JUDGED,)),
        lambda: merge_checks.merge_checks(items=160, seeds=3),
    ),
    "agents": (agents.agents, agents.agents),
    "dashboard": (lambda: dashboard.watching(15.0), dashboard.watching),
    "items-table": (
        lambda: dashboard.items_table((1_000, 10_000)),
        lambda: dashboard.items_table((1_000, 10_000, 100_000)),
    ),
    "startup": (lambda: startup.startup(5), lambda: startup.startup(15)),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these: {', '.join(BENCHMARKS)}")
    parser.add_argument("--full", action="store_true", help="more items and rounds, an hour instead of five minutes")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(BENCHMARKS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    set_identity()
    for name, (quick, full) in BENCHMARKS.items():
        if not arguments.names or name in arguments.names:
            for result in (full if arguments.full else quick)():
                print(result, flush=True)


if __name__ == "__main__":
    main()
