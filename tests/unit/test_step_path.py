"""Which step an execution belongs to, by its path alone."""

from __future__ import annotations

import pytest

from prodigy.state.step_path import is_in_an_item, step_in_list


@pytest.mark.parametrize(
    ("path", "step"),
    [
        ("it1/3", "it1/3"),
        ("it1/3/check/r1/1", "it1/3"),
        ("it1/3/on_failure/r1/2/do/r1/it4/1", "it1/3"),
        ("it1/3/2", "it1/3/2"),
        ("it1/3/2/exit7/r1/1", "it1/3/2"),
        ("it1/3/0", "it1/3/0"),
        ("it1/3/do/r1/0", "it1/3/do/r1/0"),
        ("it1/3/do/r2/it10/1/repair/r3/1", "it1/3/do/r2/it10/1"),
        ("it1/3/do/2", "it1/3/do/2"),
        ("it1/3/do/2/4/check/r1/1", "it1/3/do/2/4"),
        ("it2/merge/1", "it2/merge/1"),
        ("it2/merge/1/do/r1/it1/2", "it2/merge/1/do/r1/it1/2"),
        ("it1/3/i0042/a2/1", "it1/3/i0042/a2/1"),
        ("it1/3/i0042/a2/1/do/r1/it3/2/check/r1/1", "it1/3/i0042/a2/1/do/r1/it3/2"),
        ("run/workspace1/1", None),
        ("it1", None),
    ],
)
def test_a_path_names_the_step_in_a_list_that_it_belongs_to(path: str, step: str | None) -> None:
    assert step_in_list(path) == step


def test_what_is_below_an_item_is_in_it() -> None:
    assert is_in_an_item("it1/3/i0042/a2/1/do/r1/it3/2")
    assert not is_in_an_item("it1/3/do/r1/it3/2")
