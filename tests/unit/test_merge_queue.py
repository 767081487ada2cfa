"""What the merge queue decides, against checks that tell the truth."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from prodigy.state.merge_queue import (
    Check,
    Evict,
    Examine,
    Findings,
    Member,
    Stop,
    after,
    found,
    next_move,
    second_chance,
)


class World:
    """A queue whose checks pass when none of their members is bad; every commit is named by what is merged in it."""

    def __init__(self, waiting: int, bad: set[int], batch: int, *, broken: bool = False) -> None:
        self.waiting = [Member(number, 1) for number in range(1, waiting + 1)]
        self.bad = bad
        self.batch = batch
        self.broken = broken
        self.merged: list[Member] = []
        self.evicted: list[Member] = []
        self.checks: list[Check] = []
        self.stopped = False

    @property
    def tip(self) -> str:
        return self.commit(())

    def commit(self, more: tuple[Member, ...]) -> str:
        return "+".join(str(member.ordinal) for member in (*self.merged, *more)) or "base"

    def step(self, findings: Findings) -> Findings | None:
        match next_move(self.waiting, findings, self.batch, self.tip):
            case None:
                return None
            case Stop():
                self.stopped = True
                return None
            case Evict(member=member):
                self.evicted.append(member)
                self.waiting.remove(member)
                return found(self.checks, self.waiting)
            case Examine(members=members, commits=commits):
                return self.examine(findings, members, commits)

    def examine(self, findings: Findings, members: tuple[Member, ...], commits: tuple[str, ...]) -> Findings:
        made = tuple(self.commit(members[: size + 1]) for size in range(len(members)))
        assert commits in ((), made), "what is known of the merges is what they give"
        passed = not self.broken and not any(member.ordinal in self.bad for member in members)
        check = Check(len(self.checks) + 1, self.tip, members, made, passed)
        self.checks.append(check)
        findings = after(findings, check)
        if passed:
            self.merged += members
            self.waiting = [member for member in self.waiting if member not in members]
        return findings

    def run(self) -> None:
        findings: Findings | None = Findings()
        while findings is not None:
            findings = self.step(findings)


QUEUES = st.integers(1, 30).flatmap(
    lambda size: st.tuples(st.just(size), st.sets(st.integers(1, size)), st.integers(1, 12))
)


@given(QUEUES)
def test_exactly_the_good_ones_are_merged_in_their_order(queue: tuple[int, set[int], int]) -> None:
    size, bad, batch = queue
    world = World(size, bad, batch)
    world.run()
    assert not world.stopped
    assert [member.ordinal for member in world.merged] == [n for n in range(1, size + 1) if n not in bad]
    assert [member.ordinal for member in world.evicted] == sorted(bad)


@given(QUEUES)
def test_a_later_process_knows_what_an_earlier_one_has_found(queue: tuple[int, set[int], int]) -> None:
    """The findings are a function of what is on record."""
    size, bad, batch = queue
    world = World(size, bad, batch)
    findings: Findings | None = Findings()
    while findings is not None:
        again = found(world.checks, world.waiting)
        assert next_move(world.waiting, again, batch, world.tip) == next_move(world.waiting, findings, batch, world.tip)
        findings = world.step(again)


@given(QUEUES)
def test_a_bad_one_costs_no_more_checks_than_halving_takes(queue: tuple[int, set[int], int]) -> None:
    size, bad, batch = queue
    world = World(size, bad, batch)
    world.run()
    halvings = max(0, batch - 1).bit_length()
    assert len(world.checks) <= 1 + size + len(bad) * (halvings + 1)


def test_eight_good_ones_cost_one_check() -> None:
    world = World(8, set(), 8)
    world.run()
    assert len(world.checks) == 1


def test_the_first_bad_one_of_eight_is_found_by_halving_and_those_behind_it_go_back_to_the_queue() -> None:
    world = World(16, {6}, 8)
    world.run()
    assert [[member.ordinal for member in check.members] for check in world.checks] == [
        [1, 2, 3, 4, 5, 6, 7, 8],
        [1, 2, 3, 4],
        [5, 6],
        [5],
        [7, 8, 9, 10, 11, 12, 13, 14],
        [15, 16],
    ]


def test_nobody_is_evicted_before_the_branch_itself_is_known_to_pass() -> None:
    world = World(2, {1}, 1)
    world.run()
    assert [check.members for check in world.checks][:2] == [(Member(1, 1),), ()]
    assert world.evicted == [Member(1, 1)]


def test_when_the_branch_itself_does_not_pass_nobody_is_evicted() -> None:
    world = World(5, set(), 4, broken=True)
    world.run()
    assert world.stopped
    assert world.evicted == []
    assert world.merged == []


def test_a_branch_that_did_not_pass_is_looked_at_again_by_a_later_process() -> None:
    world = World(1, set(), 4, broken=True)
    world.run()
    findings = found(world.checks, world.waiting)
    assert next_move(world.waiting, findings, 4, world.tip) == Examine((Member(1, 1),))


def test_what_was_found_on_another_branch_does_not_count() -> None:
    failed = Check(1, "base", (Member(1, 1), Member(2, 1)), ("a", "b"), passed=False)
    findings = found([failed], failed.members)
    assert next_move(failed.members, findings, 8, "moved") == Examine(failed.members)


def test_a_check_that_says_nothing_changes_nothing() -> None:
    check = Check(1, "base", (Member(1, 1),), ("a",), passed=None)
    known = replace(Findings(), good="base")
    assert after(known, check) == known


def test_a_rejected_item_gets_one_more_attempt_in_a_row() -> None:
    assert second_chance(["check_rejected"])
    assert second_chance(["command_failed", "check_rejected"])
    assert not second_chance(["check_rejected", "check_rejected"])
    assert second_chance(["check_rejected", "timeout", "check_rejected"])
