"""Whose descendant a process is."""

from __future__ import annotations

from prodigy.executors import warden


def test_descendants_come_after_their_parents() -> None:
    tree = {1: 0, 10: 1, 20: 10, 15: 20, 21: 10, 30: 1}
    assert warden.descendants(tree, {10}) == [20, 21, 15]
    assert warden.descendants(tree, {30}) == []


def test_a_root_below_another_is_not_its_descendant() -> None:
    assert warden.descendants({2: 1, 3: 2, 4: 3}, {1, 3}) == [2, 4]


def test_a_process_number_that_is_its_own_parent_ends_the_search() -> None:
    assert warden.descendants({0: 0, 1: 0}, {0}) == [1]
