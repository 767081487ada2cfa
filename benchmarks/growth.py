"""Whether an item costs the same however many came before it, in time and in the coordinator's memory.

A run of many items rests at its checkpoints. There it goes on in turn with young runs, each in a repository of its
own, stretch by stretch, so that a noisy machine is noisy to both.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.common import ITEMS_FOR_MEMORY, Result, make_repository, median, scratch
from benchmarks.coordinator import FILES, WARM_UP, Coordinator, prepare

STRETCH = WARM_UP + 50  # items
YOUNG_ITEMS = 2 * STRETCH
MEMORY_FROM = 500  # items; before, the process has not yet seen everything once


def _coordinator(folder: Path, items: int, slots: int) -> Coordinator:
    repo = make_repository(folder, FILES)
    return Coordinator(folder, prepare(folder, repo, items, slots))


def _young_ms(folder: Path, slots: int) -> float:
    coordinator = _coordinator(folder, YOUNG_ITEMS, slots)
    try:
        return coordinator.go(STRETCH).ms_an_item()
    finally:
        coordinator.close()


def growth(*, items: int, checkpoints: Sequence[int], rounds: int, slots: int = 4) -> list[Result]:
    """checkpoints: after so many items, the old run is compared with young ones; ascending, the last below `items`."""
    results = []
    with scratch() as folder:
        old = _coordinator(folder / "old", items, slots)
        done, spent_s = 0, 0.0
        for checkpoint in checkpoints:
            stretch = old.go(checkpoint - done)
            spent_s += stretch.ended[-1] - stretch.ended[0]
            done += len(stretch.ended)
            olds, youngs = [], []
            for round_ in range(rounds):
                youngs.append(_young_ms(folder / f"young-{checkpoint}-{round_}", slots))
                stretch = old.go(STRETCH)
                olds.append(stretch.ms_an_item())
                done += len(stretch.ended)
            ratios = [at / young for at, young in zip(olds, youngs, strict=True)]
            details = (
                f"{median(olds):.1f} ms an item, {median(youngs):.1f} ms in a young run, {slots} slots;"
                f" ratios {', '.join(f'{ratio:.2f}' for ratio in sorted(ratios))}"
            )
            results.append(Result(f"item {checkpoint:,} beside item 50", median(ratios), 1.2, "x", details))
        stretch = old.go(items - done)
        spent_s += stretch.ended[-1] - stretch.ended[0]
        done += len(stretch.ended)
        old.close()
        measured = done - rounds * STRETCH * len(checkpoints)
        if items >= ITEMS_FOR_MEMORY:
            results.append(_memory(stretch.memory, f"{done:,} items executed, {measured / spent_s:.1f} a second"))
    return results


def _memory(samples: dict[str, float], note: str) -> Result:
    """KB an item, from the least sample early on to the last one."""
    found = sorted((int(items), kb) for items, kb in samples.items() if int(items) >= MEMORY_FROM)
    (first, before), (last, after) = found[0], found[-1]
    grown = (after - before) / max(1, last - first)
    details = f"{before / 1024:.1f} MB after {first:,} items, {after / 1024:.1f} MB after {last:,}; {note}"
    return Result("coordinator's memory", grown, 0.5, "KB an item", details)
