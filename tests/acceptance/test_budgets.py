"""Budgets hold: for the run, the map, each item, a step and the day; what is left waits for a larger one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from agent_support import script, stand_in_path
from support import Project, processes_of

MEET = "agents: {claude: {pass_env: [MEET]}}\n"
COMMIT = {"sh": "echo $PRODIGY_ITEM_ID > $PRODIGY_ITEM_ID && git add -A && git commit -qm $PRODIGY_ITEM_ID"}


@pytest.fixture
def paid(project: Project) -> Project:
    """Agents are the stand-in; each costs 0.0125 USD and 2,100 tokens unless its script says otherwise."""
    project.env = {
        "PATH": f"{stand_in_path(project.folder)}:{project.environment()['PATH']}",
        "CLAUDE_STAND_IN_LOG": str(project.folder / "calls"),
    }
    return project


def costs(usd: float, **more: Any) -> dict[str, Any]:
    return {"result": {"total_cost_usd": usd, **more}}


def workflow(items: int, parallel: int, *steps: dict[str, Any], top: str = "", in_map: str = "", step: str = "") -> str:
    return f"""
{top}
map:
  input: seq 1 {items}
  max_parallel: {parallel}
  {in_map}
  agent_template:
    - claude: '${{item}} {script(*steps)}'
      {step}
"""


def calls(project: Project) -> list[dict[str, Any]]:
    path = project.folder / "calls"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def flags(call: dict[str, Any]) -> Iterator[float]:
    """The cap that the agent was given."""
    words = call["argv"]
    yield from (float(words[place + 1]) for place, word in enumerate(words) if word == "--max-budget-usd")


@pytest.mark.parametrize("place", ["top", "in_map"])
def test_a_run_pauses_at_its_budget_and_goes_on_with_a_larger_one(paid: Project, place: str) -> None:
    text = workflow(12, 4, COMMIT, costs(1.0), **{place: "budget: {max_cost_usd: 5}"})
    done = paid.prodigy("run", paid.workflow(text), "--yes", "--json")
    assert done.code == 6, done.err
    assert (done.json["status"], done.json["stop_reason"]) == ("paused", "budget")
    assert done.json["cost_usd"] <= 5
    assert done.json["items"]["successful"] == len(calls(paid)) == 5
    assert done.json["items"]["failed"] == 0
    assert "5 USD" in done.json["error"]
    same = paid.prodigy("resume", "--yes", "--json")
    assert (same.code, len(calls(paid))) == (6, 5)  # nothing has changed, so nothing starts
    if place == "in_map":
        return
    more = paid.prodigy("resume", "--yes", "--json", "--budget", "20")
    assert more.code == 0, more.err
    assert (more.json["cost_usd"], len(calls(paid))) == (12.0, 12)
    assert more.json["merged"] is True
    paid.assert_nothing_left()


def test_what_is_passed_is_what_agents_exceed_their_reservations_by(paid: Project) -> None:
    meet = "touch $MEET/in-$PRODIGY_ITEM_ID; until [ $(ls $MEET | grep -c ^in-) -ge 4 ]; do sleep 0.05; done"
    text = workflow(10, 4, {"text": "begun"}, {"sh": meet}, costs(1.5), top=f"{MEET}budget: {{max_cost_usd: 4}}")
    paid.env["MEET"] = str(paid.folder.parent / "meet")  # without spaces
    (paid.folder.parent / "meet").mkdir()
    done = paid.prodigy("run", paid.workflow(text), "--json")
    assert done.code == 6
    # Four started with an even share of 1 each, and exceeded it by 0.5 each; then nothing more fits.
    assert (done.json["cost_usd"], len(calls(paid))) == (6.0, 4)


def test_each_item_has_its_cap_over_all_its_attempts(paid: Project) -> None:
    over = {"subtype": "error_max_budget_usd", "is_error": True, "errors": ["Reached maximum budget"]}
    text = workflow(2, 1, costs(2.0, **over), top="budget: {max_cost_usd_per_item: 1.5}\non_item_failure: retry")
    done = paid.prodigy("run", paid.workflow(text), "--json")
    assert done.code == 3, done.err
    assert [list(flags(call)) for call in calls(paid)] == [[1.5], [1.5]]
    letters = paid.prodigy("dlq", "list", "--json").json
    assert [letter["failure_history"][-1]["error_type"] for letter in letters] == ["budget_exceeded"] * 2
    again = paid.prodigy("dlq", "retry", "latest", "--json")
    assert (again.code, len(calls(paid))) == (3, 2)  # nothing is left for them
    assert "each item" in paid.prodigy("dlq", "list", "--json").json[0]["failure_history"][-1]["error_message"]


def test_a_step_has_its_own_cap_and_tokens_count_too(paid: Project) -> None:
    text = workflow(2, 2, COMMIT, costs(0.1), step="budget: {max_cost_usd: 0.25}")
    assert paid.prodigy("run", paid.workflow(text), "--json").code == 0
    assert [list(flags(call)) for call in calls(paid)] == [[0.25], [0.25]]
    text = workflow(8, 2, COMMIT, costs(0.1), top="budget: {max_tokens: 5000}")
    done = paid.prodigy("run", paid.workflow(text), "--json")
    assert done.code == 6
    assert (done.json["stop_reason"], done.json["tokens"]) == ("budget", 4200)


def test_running_agents_are_ended_where_the_workflow_says_so_and_no_try_is_counted(paid: Project) -> None:
    waits = [{"text": "begun"}, {"sh": "touch $MEET/begun; sleep 600"}]
    paid.env["MEET"] = str(paid.folder.parent)
    text = f"""
{MEET}budget: {{max_cost_usd: 2, on_exceeded: kill}}
map:
  input: printf 'waits\\nspends\\nasks\\n'
  max_parallel: 3
  agent_template:
    - claude: '{script(*waits)}'
      when: "${{item}} == 'waits'"
    - shell: until [ -e "$MEET/begun" ]; do sleep 0.05; done
    - claude: '{script(costs(2.0))}'
      when: "${{item}} == 'spends'"
    - shell: touch "$MEET/spent"
      when: "${{item}} == 'spends'"
    - shell: until [ -e "$MEET/spent" ]; do sleep 0.05; done
    - claude: '{script(costs(0.1))}'
"""
    done = paid.prodigy("run", paid.workflow(text), "--json")
    assert done.code == 6, done.err
    assert (done.json["stop_reason"], done.json["items"]["failed"], done.json["dead_letters"]) == ("budget", 0, 0)
    assert len(calls(paid)) == 2
    assert processes_of(paid.folder) == []


def test_the_day_has_a_budget_over_all_runs(paid: Project) -> None:
    (paid.home).mkdir(exist_ok=True)
    (paid.home / "config.yml").write_text("budget:\n  per_day_usd: 3\n")
    text = workflow(2, 1, COMMIT, costs(1.0))
    first = paid.prodigy("run", paid.workflow(text), "--json")
    assert first.code == 0, first.err
    second = paid.prodigy("run", paid.workflow(text), "--json")
    assert (second.code, second.json["stop_reason"], second.json["cost_usd"]) == (6, "budget", 1.0)
    assert "a day" in second.json["error"]
    raised = paid.prodigy("resume", "--json", env={"PRODIGY__BUDGET__PER_DAY_USD": "10"})
    assert raised.code == 0, raised.err


def test_an_unknown_key_of_a_configuration_is_told_with_the_nearest(paid: Project) -> None:
    path = paid.write(".prodigy/config.yml", "budget: {per_dya_usd: 3}\nagnets: {}\n")
    done = paid.prodigy("run", paid.workflow("- shell: 'true'\n"))
    assert done.code == 2
    assert f"{path}:1:10" in done.err
    assert "did you mean `per_day_usd`?" in done.err
    assert "did you mean `agents`?" in done.err


def test_a_time_limit_of_the_run_pauses_it(paid: Project) -> None:
    text = workflow(1, 1, {"sh": "sleep 600"}, top="budget: {max_duration: 3s, on_exceeded: kill}")
    done = paid.prodigy("run", paid.workflow(text), "--json")
    assert done.code == 6, done.err
    assert (done.json["stop_reason"], done.json["items"]["failed"]) == ("budget", 0)
    assert "max_duration" in done.json["error"]
    assert processes_of(paid.folder) == []


def test_spending_is_told_by_item_step_and_model_with_waste_and_cache(paid: Project) -> None:
    usage = {
        "modelUsage": {
            "claude-opus-4-8": {"inputTokens": 100, "outputTokens": 20, "cacheReadInputTokens": 900, "costUSD": 0.75},
            "claude-haiku-4-5": {"inputTokens": 10, "outputTokens": 2, "costUSD": 0.25},
        }
    }
    text = f"""
map:
  input: printf 'good\\nbad\\n'
  agent_template:
    - claude: '{script(COMMIT, costs(1.0, **usage))}'
    - shell: test ${{item}} = good
"""
    done = paid.prodigy("run", paid.workflow(text), "--json")
    assert done.code == 3, done.err
    assert done.json["spend"] | {} == {
        "wasted_usd": 1.0, "estimated_usd": 0, "of_unknown_cost": 0, "input_tokens": 220, "output_tokens": 44,
        "cache_read_tokens": 1800, "cache_write_tokens": 0,
    }  # fmt: skip
    report = paid.prodigy("report", "latest", "--json").json
    assert [(row["model"], row["cost_usd"]) for row in report["by_model"]] == [
        ("claude-opus-4-8", 1.5), ("claude-haiku-4-5", 0.5)
    ]  # fmt: skip
    assert sorted((row["label"], row["cost_usd"]) for row in report["by_item"]) == [("bad", 1.0), ("good", 1.0)]
    assert len(report["by_step"]) == 2
    shown = paid.prodigy("report").out
    assert "wasted" in shown
    assert "claude-opus-4-8" in shown
