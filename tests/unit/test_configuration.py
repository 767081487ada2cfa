"""Configuration from its places: what counts, what is refused, and what a workflow makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from prodigy.cli.config_variables import WITHOUT_MEANING, remark
from prodigy.errors import WorkflowError
from prodigy.workflow.configuration import Configuration, read_configuration
from prodigy.workflow.load import LoadOptions, as_before, parse
from prodigy.workflow.model import Configured, MapReduce, Workflow

MAP = "map: {input: a.json, agent_template: [{shell: a}]}\n"


class Places:
    """A repository and a home, each with a configuration."""

    def __init__(self, folder: Path) -> None:
        self.repo, self.home = folder / "repo", folder / "home"
        (self.repo / ".prodigy").mkdir(parents=True)
        self.home.mkdir()

    def read(self, repo: str = "", home: str = "", environment: Mapping[str, str] | None = None) -> Configuration:
        (self.repo / ".prodigy" / "config.yml").write_text(repo)
        (self.home / "config.yml").write_text(home)
        return read_configuration(self.repo, environment or {})

    def problems(self, repo: str = "", home: str = "", environment: Mapping[str, str] | None = None) -> str:
        with pytest.raises(WorkflowError) as caught:
            self.read(repo, home, environment)
        return str(caught.value)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    found = Places(tmp_path)
    monkeypatch.setenv("PRODIGY_HOME", str(found.home))
    return found


def loaded(text: str, configured: Configured) -> Workflow:
    return parse(text, "w.yml", None, LoadOptions(configured=configured)).workflow


def the_map(workflow: Workflow) -> MapReduce:
    (action,) = [step.action for step in workflow.steps]
    assert isinstance(action, MapReduce)
    return action


def test_layers_are_put_over_one_another_key_by_key(places: Places) -> None:
    found = places.read(
        "agents: {claude: {sandbox: bwrap, model: a}}\ndefaults: {timeout: 5m, parallel_worktrees: 2}\n",
        "claude: {model: b}\nworkspace: {limits: {per_run: 2}}\ndefaults: {timeout: 10m}\n",
        {"PRODIGY__AGENTS__CLAUDE__MODEL": "c", "PRODIGY__WORKSPACE__LIMITS__MAX_TOTAL": "7"},
    )
    claude = found.agents.settings("claude")
    assert claude.model == "c"
    assert claude.sandbox is not None, "a stronger layer that says less takes nothing away"
    assert (found.configured.timeout_s, found.configured.max_parallel) == (600, 2)
    assert (found.configured.workspace.per_run, found.configured.workspace.total) == (2, 7)


def test_all_mistakes_of_all_places_are_told_also_those_that_are_covered(places: Places) -> None:
    said = places.problems(
        "defaults: {timeout: soon}\nagnets: {}\n",
        "defaults: {timeout: later}\nlogging: {level: loud}\n",
        {"PRODIGY__DEFAULTS__TIMEOUT": "5m", "PRODIGY__BUDGET__PER_DAY": "3", "PRODIGY_MAX_CONCURRENT": "many"},
    )
    assert f"{places.repo}/.prodigy/config.yml:1:21: `timeout` must be a time" in said
    assert f"{places.repo}/.prodigy/config.yml:2:1: unknown key `agnets` in a configuration; did you mean" in said
    assert f"{places.home}/config.yml:1:21: `timeout` must be a time" in said
    assert f"{places.home}/config.yml:2:18: `level` must be one of debug, info, warning, error" in said
    assert "PRODIGY__BUDGET__PER_DAY: unknown key `per_day`" in said
    assert "did you mean `per_day_usd`?" in said
    assert "PRODIGY_MAX_CONCURRENT: `parallel_worktrees` must be a whole number" in said


def test_an_agent_of_one_place_may_be_named_in_another(places: Places) -> None:
    found = places.read("agents: {default: cheap}\n", "agents: {cheap: {kind: codex}}\n")
    assert found.agents.default == ("cheap",)
    assert "there is no agent `chep`" in places.problems(
        "agents: {default: chep}\n", "agents: {cheap: {kind: codex}}\n"
    )


@pytest.mark.parametrize("text", ["retention: {runs: 1d}", "logging: {file: /tmp/x}", "logging: {file: ../x}"])
def test_a_repository_may_not_say_what_removes_or_writes_files_of_its_users(places: Places, text: str) -> None:
    assert "is not a repository's to say" in places.problems(text)
    assert places.read("", text)


@pytest.mark.parametrize("prefix", ["a b", "-x", "a//b", "/a", "a/", "a..b", "a.lock", "a" * 61, "refs:x", "a~1"])
def test_a_branch_prefix_that_git_would_not_take_is_refused(places: Places, prefix: str) -> None:
    assert "`branch_prefix`" in places.problems(f"git: {{branch_prefix: '{prefix}'}}")


def test_variables_of_the_earlier_system_are_read_as_the_keys_they_mean(places: Places) -> None:
    found = places.read(
        "",
        "",
        {
            "PRODIGY_MAX_CONCURRENT": "3",
            "PRODIGY_COMMAND_TIMEOUT": "90",
            "PRODIGY_LOG_LEVEL": "debug",
            "PRODIGY_RETENTION_DAYS": "30",
            "PRODIGY_AUTO_CLEANUP": "false",
        },
    )
    assert (found.configured.max_parallel, found.configured.timeout_s, found.logging.level) == (3, 90, "debug")
    assert found.retention == (("runs", 30 * 86400.0),)
    assert found.configured.workspace.keep is True
    assert places.read("", "", {"PRODIGY_MAX_CONCURRENT": "3", "PRODIGY__DEFAULTS__PARALLEL_WORKTREES": "4"}) == (
        places.read("defaults: {parallel_worktrees: 4}")
    )


def test_every_other_variable_of_ours_is_explained() -> None:
    assert all("has no meaning here" in (remark(name) or "") for name in WITHOUT_MEANING)
    assert remark("PRODIGY_HOM") == "is not known; did you mean PRODIGY_HOME?"
    for name in ("PRODIGY_HOME", "PRODIGY_RUN_ID", "PRODIGY__BUDGET__PER_DAY_USD", "PRODIGY_LOG_LEVEL", "PATH"):
        assert remark(name) is None


# What workflows make of it ---------------------------------------------------------------------------------


def test_what_a_workflow_says_itself_wins(places: Places) -> None:
    configured = places.read(
        "defaults: {parallel_worktrees: 3, retry_attempts: 4, retry_backoff: fixed}\n"
        "git: {merge_strategy: squash}\nworkspace: {keep_failed: 2, include: [.env]}\n"
    ).configured
    silent = loaded(MAP, configured)
    mapping = the_map(silent)
    retry = mapping.template[0].policy.retry
    assert retry is not None
    assert (mapping.max_parallel, mapping.merge.strategy, retry.attempts, retry.backoff) == (3, "squash", 4, "fixed")
    assert (silent.workspace.keep_failed, silent.workspace.include) == (2, (".env",))
    speaking = loaded(
        "workspace: {keep_failed: 5}\nretry_defaults: {attempts: 2}\n"
        "map: {input: a.json, max_parallel: 8, merge: {strategy: rebase}, agent_template: [{shell: a}]}\n",
        configured,
    )
    mapping = the_map(speaking)
    retry = mapping.template[0].policy.retry
    assert retry is not None
    assert (mapping.max_parallel, mapping.merge.strategy, retry.attempts) == (8, "rebase", 2)
    assert (speaking.workspace.keep_failed, speaking.workspace.include) == (5, (".env",)), "key by key"


def test_a_loop_over_worktrees_and_parts_of_a_workflow_follow_the_configuration_too() -> None:
    configured = Configured(max_parallel=3, merge_strategy="squash")
    loop = the_map(loaded("- {foreach: [1, 2], parallel: true, do: [{shell: a}]}\n", configured))
    assert (loop.max_parallel, loop.merge.strategy) == (3, "squash")
    named = the_map(loaded("- {worktree: a, merge: true, do: [{shell: a}]}\n", configured))
    assert named.merge.strategy == "squash"


def test_a_file_that_is_read_again_for_a_run_is_the_same_whatever_is_configured_now() -> None:
    """Else a resume would warn that a workflow has changed which has not."""
    begun = loaded(MAP, Configured(max_parallel=3, timeout_s=60))
    assert parse(MAP, "w.yml", None, as_before(begun)).workflow == begun


def test_steps_of_the_workspace_are_checked_where_they_stand(places: Places) -> None:
    said = places.problems("workspace:\n  setup:\n    - shell: 'if'\n")
    assert f"{places.repo}/.prodigy/config.yml:3:" in said
    (step,) = places.read("workspace: {setup: [npm ci]}").configured.workspace.setup
    assert step.label == "npm ci"
