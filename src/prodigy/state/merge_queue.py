"""What the merge queue does next. Pure: merging, checking and the clock are the engine's.

Several items are merged one after another and checked together. When that does not pass, the first bad one is found by
halving; those before it are merged, it is evicted, those behind it go back to the queue: with what was merged
meanwhile, they are checked anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Member:
    """An item in the queue: the attempt of it whose work is to be merged."""

    ordinal: int
    attempt: int


@dataclass(frozen=True)
class Check:
    """A check that was made: of these members, merged in this order into `base`. commits: what each merge makes of
    the branch. passed: None while it runs."""

    number: int
    base: str
    members: tuple[Member, ...]
    commits: tuple[str, ...]
    passed: bool | None

    @property
    def commit(self) -> str:
        """What is checked."""
        return self.commits[-1] if self.commits else self.base


@dataclass(frozen=True)
class Findings:
    """What checks have found. suspects: members that do not pass together, in the order of their merges into the commit
    `base`. commits: what their merges make of it. good: the commit that was found to pass last. broken: that `base`
    itself does not pass."""

    suspects: tuple[Member, ...] = ()
    commits: tuple[str, ...] = ()
    base: str | None = None
    good: str | None = None
    broken: bool = False


@dataclass(frozen=True)
class Examine:
    """Check the members, merged in this order; without members: the run branch itself. commits: what their merges make
    of the branch, where that is known."""

    members: tuple[Member, ...]
    commits: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evict:
    """This one is why it does not pass."""

    member: Member


@dataclass(frozen=True)
class Stop:
    """The run branch does not pass by itself: no item is to blame."""


def found(checks: Iterable[Check], waiting: Sequence[Member]) -> Findings:
    """What the checks of earlier processes have found, given who still waits. Checks in the order in which they were
    made, and only those that did the same as today's."""
    findings = Findings()
    for check in checks:
        findings = after(findings, check)
    if findings.broken:
        return Findings()  # whatever was wrong may have been mended since
    if not set(findings.suspects) <= set(waiting):
        return Findings(good=findings.good)  # the bad one among them is out
    return findings


def after(findings: Findings, check: Check) -> Findings:
    """What is known after a check, whose members are merged when it has passed."""
    size = len(check.members)
    if check.passed is None:
        return findings
    if not size:
        return replace(findings, good=check.base if check.passed else findings.good, broken=not check.passed)
    if not check.passed:
        return Findings(check.members, check.commits, check.base, findings.good)
    if findings.suspects[:size] != check.members:
        return Findings(good=check.commit)
    return Findings(findings.suspects[size:], findings.commits[size:], check.commit, good=check.commit)


def next_move(waiting: Sequence[Member], findings: Findings, batch: int, tip: str) -> Examine | Evict | Stop | None:
    """What to do now; None: nobody waits. batch: how many are checked together at most. tip: the run branch."""
    suspects = findings.suspects if findings.base == tip else ()
    if len(suspects) > 1:
        half = len(suspects) // 2
        return Examine(suspects[:half], findings.commits[:half])
    if suspects and findings.broken:
        return Stop()
    if suspects:
        return Evict(suspects[0]) if findings.good == tip else Examine(())
    return Examine(tuple(waiting[:batch])) if waiting else None


def second_chance(kinds: Sequence[str | None]) -> bool:
    """Whether an item whose merge was rejected is tried once more, told why. kinds: of the failures of its attempts so
    far, this one's last; None for an attempt that did not fail."""
    return list(kinds[-2:]) != ["check_rejected", "check_rejected"]
