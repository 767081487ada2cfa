"""`workspace`: its keys, the earlier system's words for them, and what a map says in place of the workflow."""

from __future__ import annotations

import pytest

from prodigy.errors import WorkflowError
from prodigy.workflow.load import Loaded, parse
from prodigy.workflow.model import MapReduce, Workflow, Workspace
from prodigy.workflow.walk import every_step
from prodigy.workflow.workspaces import ALL_FAILED


def loaded(workspace: str, of_map: str = "") -> Loaded:
    own = f"workspace: {of_map}, " if of_map else ""
    return parse(f"workspace: {workspace}\nmap: {{input: x.json, {own}agent_template: [{{shell: a}}]}}\n", "w.yml")


def fan_out(workflow: Workflow) -> MapReduce:
    action = workflow.steps[-1].action
    assert isinstance(action, MapReduce)
    return action


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("{}", Workspace()),
        ("{isolation: worktree, reuse: pooled}", Workspace(isolation="worktree")),
        ("{isolation: clone}", Workspace(isolation="clone")),
        ("{reuse: fresh}", Workspace(reuse="fresh")),
        ("{name: warm}", Workspace(name="warm")),
        ("{strategy: on_demand}", Workspace(reuse="fresh")),
        ("{allocation_strategy: OnDemand}", Workspace(reuse="fresh")),
        ("{strategy: pooled}", Workspace()),
        ("{strategy: {pooled: {size: 3}}}", Workspace(per_run=3)),
        ("{strategy: {pooled: {size: 3}}, limits: {per_run: 2}}", Workspace(per_run=2)),
        ("{strategy: reuse, name: warm}", Workspace(name="warm")),
        ("{strategy: {dedicated: warm}}", Workspace(name="warm")),
        ("{strategy: {dedicated: {name: warm}}}", Workspace(name="warm")),
        ("{parallel_worktrees: 5}", Workspace(per_run=5)),
        ("{keep_failed: 3, max_age: 2d}", Workspace(keep_failed=3, max_age_s=172_800.0)),
        ("{keep_failed: 0}", Workspace()),
        (
            "{cleanup_policy: {keep_failed: true, max_age_secs: 60, cleanup_on_complete: false}}",
            Workspace(keep_failed=ALL_FAILED, max_age_s=60.0, keep=True),
        ),
        ("{auto_cleanup: true}", Workspace()),
        (
            "{limits: {per_run: 1, total: 2, max_disk_mb: 3, min_free_disk_mb: 4, max_memory_mb: 5}}",
            Workspace(per_run=1, total=2, max_disk_mb=3, min_free_disk_mb=4, max_memory_mb=5),
        ),
        ("{limits: {memory_per_item_mb: 6}}", Workspace(memory_per_item_mb=6)),
        ("{resource_limits: {max_total: 9, max_worktrees_per_job: 8}}", Workspace(total=9, per_run=8)),
    ],
)
def test_keys_and_the_earlier_words_for_them(written: str, read: Workspace) -> None:
    done = loaded(written)
    assert done.workflow.workspace == read
    assert not done.warnings


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("{isolation: cloned}", "`isolation` must be one of worktree, clone"),
        ("{reuse: sometimes}", "`reuse` must be one of pooled, fresh"),
        ("{name: a/b}", "`name` must be a plain word"),
        ("{name: ..}", "`name` must be a plain word"),
        ("{name: 20261124-231502-k3f9-s1}", "`name` looks like the worktree of a run"),
        ("{name: warm, reuse: fresh}", "`name` is a worktree that stays, `reuse: fresh` one that goes"),
        ("{name: warm, keep_failed: 1}", "a worktree with a `name` goes to the next item"),
        ("{strategy: dedicated}", "`strategy: dedicated` needs the name"),
        ("{strategy: {pooled: 3}}", "`pooled` must be a mapping with `size`"),
        ("{strategy: pool}", "`strategy` must be one of pooled, on_demand, reuse, dedicated"),
        ("{strategy: pooled, reuse: fresh}", "`strategy` and `reuse` are two names of one thing"),
        ("{keep_failed: 1.5}", "`keep_failed` must be a whole number"),
        ("{keep_failed: -1}", "`keep_failed` must be a number from 0"),
        ("{max_age: soon}", "`max_age` must be a time"),
        ("{limits: 3}", "`limits` must be a mapping"),
        ("{limits: {per_rum: 3}}", "did you mean `per_run`?"),
        ("{limits: {total: 0}}", "`total` must be a whole number of at least 1"),
        ("{teardown: []}", "teardown"),
    ],
)
def test_what_can_not_be_is_told(written: str, told: str) -> None:
    with pytest.raises(WorkflowError) as error:
        loaded(written)
    assert told in str(error.value)


@pytest.mark.parametrize(
    "written",
    [
        "{enable_cache: true}",
        "{limits: {max_cpu_percent: 50}}",
        "{cleanup_policy: {idle_timeout_secs: 300}}",
    ],
)
def test_what_has_no_meaning_here_is_warned_of(written: str) -> None:
    done = loaded(written)
    assert [warning.message for warning in done.warnings if "does nothing here" in warning.message]
    assert done.workflow.workspace == Workspace()


def test_a_map_says_key_by_key_what_differs_from_the_workflow() -> None:
    workflow = loaded(
        "{include: [.env], setup: [{shell: s}], reuse: fresh, keep_failed: 2}",
        "{include: [.other], keep_failed: 0, teardown: [{shell: t}], limits: {per_run: 2}}",
    ).workflow
    own = fan_out(workflow).workspace
    assert own == workflow.workspace.model_copy(
        update={"include": (".other",), "keep_failed": None, "teardown": own.teardown if own else (), "per_run": 2}
    )
    assert own is not None
    assert own.reuse == "fresh"
    labels = sorted(step.label for step in every_step(workflow))
    assert labels == ["a", "map", "s", "t"]


@pytest.mark.parametrize(
    ("base", "own", "reuse", "name"),
    [
        ("{name: warm}", "{reuse: fresh}", "fresh", None),
        ("{name: warm}", "{reuse: pooled}", None, None),
        ("{reuse: fresh}", "{name: warm}", None, "warm"),
        ("{name: warm}", "{include: [.env]}", None, "warm"),
    ],
)
def test_the_maps_way_to_have_worktrees_takes_the_place_of_the_workflows(
    base: str, own: str, reuse: str | None, name: str | None
) -> None:
    found = fan_out(loaded(base, own).workflow).workspace
    assert found is not None
    assert (found.reuse, found.name) == (reuse, name)


def test_a_worktree_with_a_name_has_one_item_at_a_time_unless_more_are_asked_for() -> None:
    assert fan_out(loaded("{name: warm}").workflow).max_parallel == 1
    text = "workspace: {name: warm}\nmap: {input: x.json, max_parallel: 3, agent_template: [{shell: a}]}\n"
    assert fan_out(parse(text, "w.yml").workflow).max_parallel == 3


def test_several_fan_outs_have_their_own() -> None:
    text = """
steps:
  - mapreduce: {map: {input: x.json, workspace: {reuse: fresh}, agent_template: [{shell: a}]}}
  - mapreduce: {map: {input: x.json, workspace: {name: warm}, agent_template: [{shell: a}]}}
  - mapreduce: {map: {input: x.json, agent_template: [{shell: a}]}}
  - mapreduce: {workspace: {name: cold}, map: {input: x.json, agent_template: [{shell: a}]}}
  - mapreduce:
      workspace: {name: cold}
      map: {input: x.json, workspace: {keep_ignored: [built]}, agent_template: [{shell: a}]}
"""
    workflow = parse(text, "w.yml").workflow
    found = [step.action.workspace for step in workflow.steps if isinstance(step.action, MapReduce)]
    cold = Workspace(name="cold")
    both = Workspace(name="cold", keep_ignored=("built",))
    assert found == [Workspace(reuse="fresh"), Workspace(name="warm"), None, cold, both]
    assert workflow.workspace == Workspace()
