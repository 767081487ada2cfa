"""The time that is left for several steps, from what is on record of those before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from prodigy.engine.time_limits import TimeLimit, ended_by, is_used_up, item_limit, overrun, phase_limit, within
from prodigy.executors.base import DEFAULT_GRACE_S, DEFAULT_TIMEOUT_S, Exit, ProcessSpec
from prodigy.state import events as ev
from prodigy.state.dead_letter import Failure
from prodigy.store.rows import RunRow
from prodigy.store.store import Store
from prodigy.workflow.item_limits import ItemLimits
from prodigy.workflow.load import parse
from prodigy.workflow.model import Agent, MapReduce, Policy, Shell, Step, Workflow

ATTEMPT = "it1/2/i0001/a1"
SHELL = Step(action=Shell(text="make"), line=1)
AGENT = Step(action=Agent(prompt="/fix"), line=2)
SPEC = ProcessSpec(argv=("true",), env={}, cwd="/", timeout_s=DEFAULT_TIMEOUT_S)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    row = RunRow(
        id="r", workflow="w", file=None, repo="/r", common_dir="/r/.git", base="b", branch="refs/heads/x",
        target=None, options="{}", created_at="2026-01-01T00:00:00Z", tip="b",
    )  # fmt: skip
    with closing(Store.create(tmp_path / "r", row, "{}")) as made:
        yield made


def ran(store: Store, path: str, seconds: float, *, kind: str | None = None, agent: str | None = None) -> None:
    store.record(
        ev.StepStarted(path=path, fingerprint="f", agent=agent),
        ev.StepFinished(path=path, kind=kind, message=kind, exit_code=0, duration_s=seconds, head="h", snapshot=None),
    )


def limit_of(limits: ItemLimits) -> TimeLimit:
    found = item_limit(limits, (SHELL, AGENT, SHELL), ATTEMPT)
    assert found is not None
    return found


def left_s(store: Store, limit: TimeLimit) -> float | None:
    left = limit.left_s(store)
    return None if left is None else round(left, 6)


def test_everything_that_ran_for_an_attempt_counts_once(store: Store) -> None:
    limit = limit_of(ItemLimits(item_s=60))
    ran(store, f"{ATTEMPT}/1/t1", 10, kind="command_failed")
    ran(store, f"{ATTEMPT}/1/t2", 5)
    ran(store, f"{ATTEMPT}/1/check/r1/1/t1", 2)
    ran(store, f"{ATTEMPT}/2/do/r1/it1/1/t1", 3)
    ran(store, f"{ATTEMPT}/2/t1", 3)  # a loop takes as long as its steps
    assert left_s(store, limit) == 40
    ran(store, f"{ATTEMPT}/workspace1/1/t1", 30)
    ran(store, "it1/2/i0001/a2/1/t1", 30)
    ran(store, "it1/2/i0001/a10/1/t1", 30)
    assert left_s(store, limit) == 40
    store.record(
        ev.StepStarted(path=f"{ATTEMPT}/3/t1", fingerprint="f"), ev.StepLost(path=f"{ATTEMPT}/3/t1", reason="lost")
    )
    assert left_s(store, limit) == 40
    ran(store, f"{ATTEMPT}/3/t2", 41)
    assert is_used_up(store, limit)


def test_a_process_gets_the_least_of_its_limits(store: Store) -> None:
    limits = ItemLimits(item_s=60, commands=(("claude", 20), ("cmd_2", 8)), policy="hybrid")
    limit = limit_of(limits)
    assert within(store, limit, SHELL, f"{ATTEMPT}/1/t1", SPEC).timeout_s == 60
    assert within(store, limit, AGENT, f"{ATTEMPT}/2/t1", SPEC).timeout_s == 20
    assert within(store, limit, SHELL, f"{ATTEMPT}/3/t1", SPEC).timeout_s == 8
    assert within(store, limit, AGENT, f"{ATTEMPT}/3/on_failure/r1/1/t1", SPEC).timeout_s == 20
    ran(store, f"{ATTEMPT}/1/t1", 45)
    assert within(store, limit, AGENT, f"{ATTEMPT}/2/t1", SPEC).timeout_s == 15
    longer = limit_of(ItemLimits(item_s=600))
    limited = SHELL.model_copy(update={"policy": Policy(timeout_s=70)})
    own = replace(SPEC, timeout_s=70)
    assert within(store, longer, SHELL, f"{ATTEMPT}/1/t1", SPEC).timeout_s == 555, "the built-in limit does not count"
    assert within(store, longer, limited, f"{ATTEMPT}/1/t1", own).timeout_s == 70
    assert within(store, None, SHELL, f"{ATTEMPT}/1/t1", SPEC) is SPEC


@pytest.mark.parametrize(
    ("policy", "seconds"), [("per_agent", (50, 50)), ("per_command", (60, 8)), ("hybrid", (50, 8))]
)  # fmt: skip
def test_the_policy_says_which_limits_count(store: Store, policy: str, seconds: tuple[float, float]) -> None:
    limits = ItemLimits.model_validate({"item_s": 60, "commands": (("cmd_2", 8),), "policy": policy})
    ran(store, f"{ATTEMPT}/1/t1", 10)
    limit = limit_of(limits)
    found = tuple(within(store, limit, SHELL, f"{ATTEMPT}/{number}/t2", SPEC).timeout_s for number in (1, 3))
    assert found == seconds


@pytest.mark.parametrize(
    ("limits", "grace_s"),
    [
        (ItemLimits(item_s=9), DEFAULT_GRACE_S),
        (ItemLimits(item_s=9, grace_s=2), 2),
        (ItemLimits(item_s=9, action="graceful_terminate"), 30),
        (ItemLimits(item_s=9, action="graceful_terminate", grace_s=2), 2),
    ],
)
def test_the_grace_before_a_forced_end(store: Store, limits: ItemLimits, grace_s: float) -> None:
    assert within(store, limit_of(limits), SHELL, f"{ATTEMPT}/1/t1", SPEC).grace_s == grace_s


def test_whose_limit_ended_a_step_is_told(store: Store) -> None:
    limit = limit_of(ItemLimits(item_s=60, commands=(("cmd_0", 8),), policy="hybrid"))
    path = f"{ATTEMPT}/1/t1"
    assert overrun(store, limit, SHELL, path, Exit(0, "exited", 0.0, 99.0)) is None
    assert overrun(store, limit, SHELL, path, Exit(143, "timeout", 0.0, 5.0)) is None, "by a limit of its own"
    assert overrun(store, limit, SHELL, path, Exit(143, "timeout", 0.0, 8.1)) == (
        "timeout", "the step ran longer than 8 s (timeout_config)",
    )  # fmt: skip
    ran(store, f"{ATTEMPT}/1/t1", 55, kind="timeout")
    told = "timeout", "the item ran longer than 60 s (agent_timeout_secs)"
    assert overrun(store, limit, SHELL, f"{ATTEMPT}/3/t1", Exit(143, "timeout", 0.0, 5.2)) == told
    ran(store, f"{ATTEMPT}/2/t1", 5.2)
    assert overrun(store, limit, SHELL, f"{ATTEMPT}/3/t1", Exit(None, "not_started", 0.0, 0.0)) == told


def test_only_a_failure_by_these_limits_has_their_consequence(store: Store) -> None:
    limit = limit_of(ItemLimits(item_s=60, commands=(("claude", 8),), policy="hybrid"))
    ran(store, f"{ATTEMPT}/1/t1", 5, kind="timeout")
    ran(store, f"{ATTEMPT}/2/t1", 9, kind="timeout", agent="claude")
    own = Failure("x", kind="timeout", step=f"{ATTEMPT}/1/t1")
    command = Failure("x", kind="timeout", step=f"{ATTEMPT}/2/t1")
    assert not ended_by(store, limit, own)
    assert ended_by(store, limit, command)
    assert not ended_by(store, limit, Failure("x", kind="command_failed", step=f"{ATTEMPT}/2/t1"))
    assert not ended_by(store, None, command)
    ran(store, f"{ATTEMPT}/3/t1", 47, kind="timeout")
    assert ended_by(store, limit, Failure("x", kind="timeout", step=f"{ATTEMPT}/3/t1"))
    assert ended_by(store, limit, Failure("check: x", kind="validation_failed", step=f"{ATTEMPT}/3/check/r1/1/t1"))


def workflow() -> Workflow:
    text = (
        "setup: {commands: [{shell: a}, {shell: b}], timeout: 30}\n"
        "map: {input: x.json, agent_template: [{shell: c}]}\n"
        "reduce: {commands: [{shell: d}, {shell: e}], timeout: 20}\n"
        "merge: {commands: [{shell: f}], timeout: 10}\n"
    )
    return parse(text, "w.yml").workflow


def test_a_phase_has_its_steps_and_no_others(store: Store) -> None:
    flow = workflow()
    fan_out = flow.steps[2].action
    assert isinstance(fan_out, MapReduce)
    for path in ("it1/1", "it1/2", "it1/3/i0001/a1/1", "it1/3/1", "it1/3/2", "it1/merge/1", "it2/1"):
        ran(store, f"{path}/t1", 4)
    setup = phase_limit(flow, flow.steps[0], "it1")
    reduce = phase_limit(flow, fan_out.reduce[0], "it1/3")
    merge = phase_limit(flow, flow.merge[0], "it1/merge")
    assert setup is not None
    assert reduce is not None
    assert merge is not None
    assert [left_s(store, limit) for limit in (setup, reduce, merge)] == [22, 12, 6]
    assert phase_limit(flow, fan_out.template[0], "it1/3") is None
