"""What is configured changes what runs do, and can be asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support import Project, git

TWO = """
map:
  input: printf 'a\\nb\\n'
  agent_template:
    - shell: |
        echo ${item} > ${item}.txt
        git add -A; git commit -qm "one of ${item}"
        git commit -q --allow-empty -m "two of ${item}"
        test ! -e "$SHARED/fails-${item}"
"""


def configured(project: Project, home: str = "", repository: str = "") -> None:
    project.home.mkdir(exist_ok=True)
    (project.home / "config.yml").write_text(home)
    if repository:
        project.write(".prodigy/config.yml", repository)
        project.commit("configure")


def test_runs_of_another_branch_prefix_live_and_are_cleaned_as_others(project: Project) -> None:
    configured(project, repository="git: {branch_prefix: bots/pro, merge_strategy: squash}\n")
    git(project.repo, "branch", "prodigy")  # would be in the way of the usual names
    (finding,) = (one for one in project.prodigy("doctor", "--json").json["findings"] if one["name"] == "repository")
    assert finding["level"] == "ok"
    (project.folder / "fails-b").touch()
    done = project.prodigy("run", project.workflow(TWO), "--no-merge", "--json")
    assert done.code == 3, done.err
    assert "was created" not in done.err, "our own branches are no news"
    branch = done.json["branch"]
    assert branch == f"bots/pro/{project.run_id()}/run"
    subjects = git(project.repo, "log", "--format=%s", f"main..{branch}").splitlines()
    assert len(subjects) == 1, "squashed"
    assert git(project.repo, "branch", "--list", "bots/pro/*/items/*").strip().endswith("0002-b")
    (project.folder / "fails-b").unlink()
    assert project.prodigy("dlq", "retry", "latest", "--yes").code == 0
    assert (project.repo / "b.txt").exists()
    assert project.prodigy("clean", "state", "--force").code == 0
    assert git(project.repo, "branch", "--list", "bots/*") == ""
    project.assert_nothing_left()


def test_work_of_a_run_with_another_prefix_is_not_taken_for_the_users(project: Project) -> None:
    """Its branches would not keep each other's work when the run is cleaned."""
    configured(project, repository="git: {branch_prefix: bots}\n")
    assert project.prodigy("run", project.workflow(TWO), "--no-merge").code == 0
    kept = project.prodigy("clean", "state", "--yes")
    assert "it has work that no branch of yours has" in kept.out
    assert git(project.repo, "branch", "--list", "bots/*") != ""


def test_a_run_with_another_prefix_moves_to_another_clone(project: Project, tmp_path: Path) -> None:
    configured(project, repository="git: {branch_prefix: bots}\n")
    (project.folder / "fails-b").touch()
    assert project.prodigy("run", project.workflow(TWO), "--no-merge").code == 3
    archive = tmp_path / "run.tar"
    assert project.prodigy("export", "latest", archive).code == 0
    other = Project(tmp_path / "other", {"SHARED": str(tmp_path)})
    other.folder.mkdir()
    git(tmp_path, "clone", "-q", str(project.repo), str(other.repo))
    done = other.prodigy("import", archive)
    assert done.code == 0, done.err
    retried = other.prodigy("dlq", "retry", "latest", "--no-merge", "--json")
    assert (retried.code, retried.json["branch"]) == (0, f"bots/{other.run_id()}/run"), retried.err


def test_defaults_of_time_and_tries_hold_where_the_workflow_says_nothing(project: Project) -> None:
    configured(project, "defaults: {timeout: 1s, retry_attempts: 2, retry_backoff: fixed, parallel_worktrees: 1}\n")
    done = project.prodigy("run", project.workflow('- shell: echo try >> "$TALLY"; exec sleep 60\n'), "--json")
    assert done.code == 1
    assert "ran longer than 1 s" in done.json["error"]
    assert project.tally()["try"] == 2
    own = project.prodigy("run", project.workflow("- {shell: sleep 1.2, timeout: 60, retry: 1}\n"), "--json")
    assert own.code == 0, own.err


def test_a_resume_keeps_what_the_run_began_with_and_warns_of_nothing(project: Project) -> None:
    configured(project, "defaults: {timeout: 50s, parallel_worktrees: 1}\n")
    (project.folder / "fails-a").touch()
    stop = TWO.replace("map:", "map:\n  on_item_failure: stop")
    assert project.prodigy("run", project.workflow(stop), "--no-merge").code == 6
    configured(project, "defaults: {timeout: 40s}\n")
    (project.folder / "fails-a").unlink()
    done = project.prodigy("resume", "--include-dlq", "--no-merge")
    assert done.code == 0, done.err
    assert "has changed" not in done.err


def test_worktrees_stay_without_auto_cleanup(project: Project) -> None:
    configured(project, "git: {auto_cleanup: false}\n")
    assert project.prodigy("run", project.workflow(TWO), "--yes").code == 0
    assert project.prodigy("worktree", "ls", "--json").json != []


def test_the_workspace_of_the_configuration_is_that_of_its_runs(project: Project) -> None:
    configured(
        project,
        repository="workspace: {include: [.env], setup: [echo made > made.txt], keep_ignored: [made.txt]}\n",
    )
    (project.repo / ".git" / "info" / "exclude").write_text(".env\nmade.txt\n")
    (project.repo / ".env").write_text("A=1\n")
    text = "map: {input: printf 'a', agent_template: [{shell: cat .env made.txt >> \"$TALLY\"}]}\n"
    assert project.prodigy("run", project.workflow(text)).code == 0
    assert project.tally() == {"A=1": 1, "made": 1}


def test_generated_workflows_are_configured_too(project: Project) -> None:
    configured(project, "git: {branch_prefix: bots}\ndefaults: {timeout: 1s}\n")
    done = project.prodigy("exec", "shell: exec sleep 60", "--json")
    assert (done.code, done.json["branch"].startswith("bots/")) == (1, True)
    assert "ran longer than 1 s" in done.json["error"]


# Retention and the log -------------------------------------------------------------------------------------


def backdated(project: Project, run_id: str) -> None:
    """As if nothing had happened to the run for a year."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(project.home / "runs" / run_id / "run.db")) as db:
        db.execute("UPDATE event SET at = '2020' || substr(at, 5)")
        db.commit()


def test_retention_takes_what_is_old_and_over_says_so_and_nothing_else(project: Project) -> None:
    over = project.prodigy("run", project.workflow(TWO), "--yes", "--json").json["run_id"]
    unmerged = project.prodigy("run", project.workflow(TWO.replace("txt", "md")), "--no-merge", "--json").json["run_id"]
    fresh = project.prodigy("run", project.workflow("- shell: 'true'\n"), "--json").json["run_id"]
    for run_id in (over, unmerged):
        backdated(project, run_id)
    configured(project, "retention: {runs: 30d}\n")
    done = project.prodigy("run", project.workflow("- shell: 'true'\n"), "--json")
    assert done.code == 0, done.err
    assert f"retention: removed 1 run of run {over}, older than 30d" in done.err
    assert "removed" not in done.err.replace(f"retention: removed 1 run of run {over}", "")
    assert {row["run_id"] for row in project.prodigy("status", "--json").json} == {
        unmerged,
        fresh,
        done.json["run_id"],
    }


def test_the_log_of_all_runs_has_a_line_an_event_from_its_level_on_and_no_secrets(project: Project) -> None:
    configured(project, "logging: {file: logs/all.log, level: warning}\n")
    (project.folder / "fails-a").touch()
    text = TWO.replace("test !", "echo token=ghp_abcdefghijklmnopqrstuvwxyz0123456789AB; test !")
    assert project.prodigy("run", project.workflow(text), "--no-merge").code == 3
    lines = (project.home / "logs" / "all.log").read_text().splitlines()
    assert {line.split()[1] for line in lines} == {"WARNING", "ERROR"}
    assert any(f"{project.run_id()} agent_failed" in line for line in lines)
    assert "ghp_" not in "".join(lines)


def test_a_log_that_cannot_be_written_stops_nothing(project: Project) -> None:
    configured(project, f"logging: {{file: {project.repo}/README.md/x.log}}\n")
    done = project.prodigy("run", project.workflow("- shell: 'true'\n"))
    assert done.code == 0
    assert "Warning: the log" in done.err


# Asked for -------------------------------------------------------------------------------------------------


def test_show_tells_what_counts_and_trace_where_it_comes_from(project: Project) -> None:
    configured(project, "budget: {per_day_usd: 2}\nagents: {x: {kind: codex, env: {API_KEY: hush, A: b}}}\n",
               "budget: {per_day_usd: 1}\n")  # fmt: skip
    env = {"PRODIGY__BUDGET__PER_DAY_USD": "3"}
    shown = project.prodigy("config", "show", "--json", env=env).json
    assert shown["budget"] == {"per_day_usd": 3}
    assert project.prodigy("config", "show", "git.branch_prefix").out == "git.branch_prefix: prodigy\n"
    assert (shown["defaults"]["parallel_worktrees"], shown["git"]["branch_prefix"]) == (10, "prodigy")
    (value,) = project.prodigy("config", "trace", "budget", "--json", env=env).json["values"]
    assert (value["key"], value["value"], value["source"]) == ("budget.per_day_usd", 3, "PRODIGY__BUDGET__PER_DAY_USD")
    assert [one["value"] for one in value["covers"]] == [2, 1]
    assert value["covers"][1] == {"value": 1, "source": f"{project.repo}/.prodigy/config.yml", "line": 1}
    told = project.prodigy("config", "trace", "--overrides", env=env)
    assert told.out.splitlines()[0] == "budget.per_day_usd: 3  (PRODIGY__BUDGET__PER_DAY_USD)"
    assert "agents" not in told.out
    everything = project.prodigy("config", "trace", "--all").out + project.prodigy("config", "show").out
    assert "hush" not in everything


def test_diagnose_tells_mistakes_and_what_has_no_effect(project: Project) -> None:
    configured(project, "defaults: {retry_backoff: fixed}\nlogging: {level: debug}\n")
    env = {"PRODIGY_CLAUDE_STREAMING": "false", "PRODIGY_MAX_CONCURENT": "3"}
    told = project.prodigy("config", "trace", "--diagnose", env=env)
    assert told.code == 0
    assert "defaults.retry_backoff does nothing without defaults.retry_attempts" in told.out
    assert "the variable PRODIGY_CLAUDE_STREAMING has no meaning here" in told.out
    assert "PRODIGY_MAX_CONCURENT is not known; did you mean PRODIGY_MAX_CONCURRENT?" in told.out
    (project.home / "config.yml").write_text("budgit: {}\n")
    broken = project.prodigy("config", "trace", "--diagnose", "--json")
    assert (broken.code, broken.json["problems"][0]["line"]) == (2, 1)
    doctor = json.loads(project.prodigy("doctor", "--json").out)
    assert [one["level"] for one in doctor["findings"] if one["name"] == "configuration"] == ["problem"]


@pytest.mark.parametrize("key", ["budgit", "budget.per_day", "nonsense"])
def test_a_key_that_there_is_not_is_answered_with_those_there_are(project: Project, key: str) -> None:
    done = project.prodigy("config", "trace", key)
    assert done.code == 2
    assert "budget" in done.err
