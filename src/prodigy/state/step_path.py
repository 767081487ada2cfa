"""Step paths: the name of every execution, e.g. `it1/3/i0042/a2/1/t1`.

Segments: `it1` the iteration; a number, the step's place in its list (0: a fan-out's input command); `i0042` the
item's ordinal in its fan-out; `a2` the item's attempt; `check/r2`, `repair/r2`, `on_failure/r1`, `on_success/r1`,
`exit7/r1` the steps that belong to another one, and their round; `do/r1/it3` the third pass of a loop, in its step's
first try (`do/r1/0`: the command that tells its values); `do` the steps of another workflow; `merge` those before the
final merge; `conflict/r1` those that resolve an item's conflicts; last `t1`, the step's own try. The checks of a
fan-out's merge queue have paths of their own: `merges/it1/3/c0007/1/t1`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

INPUT = 0  # the number of a fan-out's input command among its steps

_ATTEMPT = re.compile(r"(?P<fanout>.+)/i(?P<ordinal>\d+)/a(?P<attempt>\d+)")
_IN_A_LIST = re.compile(r"(?:it\d+/.*/i\d+/a\d+/|it\d+/(?:merge/)?)\d+(?:(?:/do(?:/r\d+(?:/it\d+)?)?)?/\d+)*(?=/|$)")
_IN_AN_ITEM = re.compile(r"/i\d+/")
_MERGES = "merges"
_CHECK = re.compile(rf"{_MERGES}/(?P<fanout>.+)/c(?P<number>\d+)")


class AttemptOf(NamedTuple):
    """What an attempt's path names."""

    fanout: str
    ordinal: int
    attempt: int


def iteration_path(number: int) -> str:
    return f"it{number}"


def attempt_path(fanout: str, ordinal: int, attempt: int) -> str:
    return f"{fanout}/i{ordinal:04d}/a{attempt}"


def parse_attempt(path: str) -> AttemptOf | None:
    """What the path of an attempt names; None for any other path."""
    found = _ATTEMPT.fullmatch(path)
    return AttemptOf(found["fanout"], int(found["ordinal"]), int(found["attempt"])) if found else None


def is_in_an_item(path: str) -> bool:
    """Whether the step belongs to an item, not to the run itself."""
    return _IN_AN_ITEM.search(path) is not None


def merges_path(fanout: str) -> str:
    """What the paths of all that the merge queue of a fan-out runs begin with."""
    return f"{_MERGES}/{fanout}"


def check_path(fanout: str, number: int) -> str:
    """The path of a check of the merge queue."""
    return f"{merges_path(fanout)}/c{number:04d}"


def parse_check(path: str) -> tuple[str, int] | None:
    """(fan-out, number) of the path of a check; None for any other path."""
    found = _CHECK.fullmatch(path)
    return (found["fanout"], int(found["number"])) if found else None


def is_of_the_run(path: str) -> bool:
    """Whether the step runs in the run's own worktree: neither for an item nor for the merge queue."""
    return not is_in_an_item(path) and not path.startswith(f"{_MERGES}/")


def step_in_list(path: str) -> str | None:
    """The innermost step that stands in a list of steps, not among the checks and handlers of another one, and that
    `path` is or belongs to; None for any other path."""
    found = _IN_A_LIST.match(path)
    return found[0] if found else None


def execution_path(step: str, number: int) -> str:
    return f"{step}/t{number}"


def split_try(path: str) -> tuple[str, int]:
    """("it1/2", 3) of "it1/2/t3"."""
    step, _, number = path.rpartition("/t")
    return step, int(number)
