"""The normalised model: frozen, closed, stored as JSON without loss; fingerprints say what a step does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from prodigy.workflow.capture_values import Capture
from prodigy.workflow.model import Check, Handler, Input, MapReduce, Policy, Shell, Step, Workflow
from prodigy.workflow.walk import fingerprint


def shell(text: str = "make", line: int = 1) -> Step:
    return Step(action=Shell(text=text), line=line)


def fan_out(**changes: object) -> Step:
    parts: dict[str, object] = {
        "input": Input(kind="file", text="items.json"),
        "template": (shell("fix"),),
        "reduce": (shell("test"),),
    }
    return Step(action=MapReduce.model_validate(parts | changes), line=1)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
seconds = st.none() | st.floats(min_value=0.001, max_value=1e7)
shells = st.builds(
    Step,
    action=st.builds(Shell, text=texts),
    when=st.none() | texts,
    policy=st.builds(Policy, timeout_s=seconds, idle_timeout_s=seconds),
    checks=st.sampled_from([(), (Check(expect="commit"),)]),
    handlers=st.sampled_from([(), (Handler(on="failure", do=(shell(),)),)]),
    capture=st.none() | st.builds(Capture, names=st.lists(texts, min_size=1, max_size=2).map(tuple)),
    id=st.none() | texts,
    name=st.none() | texts,
    phase=st.sampled_from(["setup", "map", "reduce", ""]),
    line=st.integers(1, 10_000),
)
fan_outs = st.builds(
    Step,
    action=st.builds(
        MapReduce,
        input=st.builds(Input, kind=st.sampled_from(["file", "command"]), text=texts),
        json_path=st.none() | texts,
        max_parallel=st.integers(1, 1000),
        template=st.lists(shells, min_size=1, max_size=3).map(tuple),
        reduce=st.lists(shells, max_size=2).map(tuple),
    ),
    line=st.integers(1, 10_000),
)
workflows = st.builds(
    Workflow, name=texts, source=texts, steps=st.lists(shells | fan_outs, min_size=1, max_size=4).map(tuple)
)


@given(workflows)
def test_a_workflow_survives_the_way_through_json(workflow: Workflow) -> None:
    assert Workflow.model_validate_json(workflow.model_dump_json()) == workflow


def test_steps_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        shell().line = 2


@pytest.mark.parametrize(
    "broken",
    [
        '{"action":{"kind":"shell","text":"x"},"line":1,"colour":"red"}',
        '{"action":{"kind":"shell","text":"x","shell":"zsh"},"line":1}',
        '{"action":{"kind":"dance","text":"x"},"line":1}',
        '{"action":{"kind":"shell"},"line":1}',
        '{"action":{"kind":"shell","text":"x"},"line":0}',
        '{"action":{"kind":"shell","text":"x"},"line":1,"policy":{"timeout_s":0}}',
        '{"action":{"kind":"shell","text":"x"},"line":1,"policy":{"timeout_s":"5"}}',
        '{"action":{"kind":"shell","text":"x"},"line":1,"phase":"dance"}',
        '{"action":{"kind":"mapreduce","input":{"kind":"file","text":"x"},"max_parallel":0},"line":1}',
    ],
)
def test_what_is_not_in_the_model_is_refused(broken: str) -> None:
    with pytest.raises(ValidationError):
        Step.model_validate_json(broken)


def test_max_parallel_is_10_unless_given_and_at_least_1() -> None:
    action = fan_out().action
    assert isinstance(action, MapReduce)
    assert action.max_parallel == 10
    with pytest.raises(ValidationError):
        fan_out(max_parallel=0)


def test_a_fingerprint_is_16_hexadecimal_digits_that_never_change_between_versions() -> None:
    # Stored with every finished step: a change here makes each of them run again on resume.
    assert fingerprint(shell("make")) == "e13e5c7e0898cb58"
    assert fingerprint(fan_out()) == "8611408cc0d400c9"


@pytest.mark.parametrize(
    "same",
    [
        Step(action=Shell(text="make"), line=7),
        Step(action=Shell(text="make"), line=1, name="build", id="build", phase="setup"),
        Step(action=Shell(text="make"), line=1, policy=Policy(timeout_s=5, idle_timeout_s=5)),
    ],
)
def test_labels_position_and_limits_do_not_change_the_fingerprint(same: Step) -> None:
    assert fingerprint(same) == fingerprint(shell("make"))


@pytest.mark.parametrize(
    "other",
    [
        Step(action=Shell(text="make all"), line=1),
        Step(action=Shell(text="make"), line=1, checks=(Check(expect="commit"),)),
        Step(action=Shell(text="make"), line=1, when="false"),
        Step(action=Shell(text="make"), line=1, capture=Capture(names=("x",))),
        Step(action=Shell(text="make"), line=1, handlers=(Handler(on="failure", do=(shell(),)),)),
    ],
)
def test_everything_that_a_step_does_changes_its_fingerprint(other: Step) -> None:
    assert fingerprint(other) != fingerprint(shell("make"))


@pytest.mark.parametrize(
    "change",
    [
        {"input": Input(kind="file", text="other.json")},
        {"input": Input(kind="command", text="items.json")},
        {"json_path": "$.items[*]"},
        {"template": (shell("other"),)},
        {"template": (shell("fix"), shell("fix"))},
        {"reduce": ()},
        {"reduce": (shell("other"),)},
    ],
)
def test_every_part_of_a_fan_out_changes_its_fingerprint(change: dict[str, object]) -> None:
    assert fingerprint(fan_out(**change)) != fingerprint(fan_out())


def test_lines_inside_and_the_number_of_slots_do_not_change_the_fingerprint_of_a_fan_out() -> None:
    assert fingerprint(fan_out(template=(shell("fix", line=9),), max_parallel=3)) == fingerprint(fan_out())


def test_an_empty_text_is_not_the_same_as_none() -> None:
    assert fingerprint(Step(action=Shell(text="x"), when="", line=1)) != fingerprint(shell("x"))
