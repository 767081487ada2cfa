"""How the limits on the time of items and phases are written."""

from __future__ import annotations

import pytest

from prodigy.workflow.item_limits import ItemLimits
from prodigy.workflow.load import parse
from prodigy.workflow.model import MapReduce
from prodigy.workflow.timeouts import places_of
from unit.workflow_texts import TEMPLATE, mapping, problems_of


def action(lines: str) -> MapReduce:
    (step,) = parse(mapping(f"input: x.json\n{lines}\n{TEMPLATE}"), "w.yml").workflow.steps
    assert isinstance(step.action, MapReduce)
    return step.action


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("max_parallel: 2", None),
        ("agent_timeout_secs: 600", ItemLimits(item_s=600)),
        ("agent_timeout_secs: 10m", ItemLimits(item_s=600)),
        ("timeout: 90", ItemLimits(item_s=90)),
        ("timeout_config: {agent_timeout_secs: 5}", ItemLimits(item_s=5)),
        ("agent_timeout_secs: 5\ntimeout_config: {agent_timeout_secs: 5, timeout_action: Skip}",
         ItemLimits(item_s=5, action="skip")),
        ("timeout_config: {timeout_action: GracefulTerminate, cleanup_grace_period_secs: 7}",
         ItemLimits(action="graceful_terminate", grace_s=7)),
        ("timeout_config: {timeout_action: graceful_terminate}", ItemLimits(action="graceful_terminate")),
        ("timeout_config: {timeout_policy: PerCommand, agent_timeout_secs: 5, enable_monitoring: true}",
         ItemLimits(policy="per_command", item_s=5)),
        ("timeout_config: {timeout_policy: per_agent, agent_timeout_secs: 5}", ItemLimits(item_s=5)),
        ("timeout_config: {command_timeouts: {claude: 5m, shell: 1, cmd_0: 3}}",
         ItemLimits(policy="hybrid", commands=(("claude", 300), ("shell", 1), ("cmd_0", 3)))),
    ],
)  # fmt: skip
def test_the_limits_in_their_forms(lines: str, expected: ItemLimits | None) -> None:
    assert action(lines).limits == expected


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("agent_timeout_secs: 0", "`agent_timeout_secs` must be a time of more than 0"),
        ("timeout: soon", "`timeout` must be a time"),
        ("timeout_config: 5", "`timeout_config` must be a mapping"),
        ("timeout_config: {timeout_policy: PerStep}", "`timeout_policy` must be one of per_agent, per_command, hybrid"),
        ("timeout_config: {timeout_action: Retry}", "`timeout_action` must be one of dlq, skip, fail"),
        ("timeout_config: {command_timeouts: {shel: 5}}", "`shel` is no command"),
        ("timeout_config: {command_timeouts: 5}", "`command_timeouts` must be a mapping"),
        ("timeout_config: {agent_timeout: 5}", "unknown key `agent_timeout`"),
        ("agent_timeout_secs: 5\ntimeout_config: {agent_timeout_secs: 6}", "with another value"),
    ],
)
def test_limits_that_cannot_be_meant_are_refused(lines: str, message: str) -> None:
    (problem,) = problems_of(mapping(f"input: x.json\n{lines}\n{TEMPLATE}"))
    assert message in problem.message


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{timeout_policy: per_agent, command_timeouts: {shell: 5}}", "does nothing under `timeout_policy: per_agent`"),
        ("{command_timeouts: {cmd_1: 5}}", "names cmd_1, and there is one step"),
        ("{command_timeouts: {claude_0: 5}}", "names claude_0"),
        ("{agent_timeout_secs: 5, enable_monitoring: false}", "`enable_monitoring: false` changes nothing"),
    ],
)
def test_limits_without_effect_are_warned_of(config: str, message: str) -> None:
    loaded = parse(mapping(f"input: x.json\ntimeout_config: {config}\n{TEMPLATE}"), "w.yml")
    assert [message in warning.message for warning in loaded.warnings] == [True]


def test_a_limit_names_a_step_by_its_place_or_its_kind() -> None:
    text = mapping('input: x.json\nagent_template: [{shell: a}, {claude: "/b"}, {shell: c}]')
    (step,) = parse(text, "w.yml").workflow.steps
    assert isinstance(step.action, MapReduce)
    assert [places_of(step.action.template, number) for number in (1, 2, 3)] == [
        ("cmd_0", "shell_0", "shell"),
        ("cmd_1", "claude_0", "claude"),
        ("cmd_2", "shell_1", "shell"),
    ]


def test_phases_have_limits_of_their_own() -> None:
    text = "setup: {commands: [{shell: a}], timeout: 30}\nmap: {input: x.json, agent_template: [{shell: b}]}\n"
    workflow = parse(f"{text}reduce: {{commands: [{{shell: c}}], timeout: 2m}}\n", "w.yml").workflow
    assert workflow.limits == (("setup", 30), ("reduce", 120))
