"""The commands of the dead letter queue, on real runs with failures of several kinds."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agent_support import script, stand_in_path
from prodigy.state import events as ev
from prodigy.store.lock import RunLock
from prodigy.store.rows import RunRow
from prodigy.store.store import Store
from support import Done, Project, git, make_project

# clash-1 and clash-2 begin on the same commit and change the same line: one of them can't be merged.
KINDS = """
map:
  input: cat "$SHARED/items.json"
  max_parallel: 4
  agent_template:
    - shell: |
        echo "begin "${item.id}
        case ${item.do} in
          fail) echo mine > ${item.id}.txt; echo "no such host "${item.id} >&2; exit 3 ;;
          clash)
            touch "$SHARED/begun-"${item.id}
            until [ -e "$SHARED/begun-clash-1" ] && [ -e "$SHARED/begun-clash-2" ]; do sleep 0.05; done
            echo ${item.id} > shared.txt ;;
          half)
            echo whole > ${item.id}.txt; git add ${item.id}.txt; git commit -qm whole
            echo half > half.txt; echo more >> shared.txt ;;
        esac
    - shell: sleep 60
      when: item.do == 'sleep'
      timeout: 1s
    - shell: echo $(( ${item.port} + 1 ))
      when: item.do == 'port'
    - claude: "${item.script}"
      when: item.do == 'half'
"""

OVERLOADED = {"result": {"is_error": True, "api_error_status": 500, "result": "API Error: 500 overloaded"}}
ITEMS: list[dict[str, Any]] = [
    {"id": "clash-1", "do": "clash", "priority": 1},
    {"id": "clash-2", "do": "clash", "priority": 2},
    {"id": "good", "do": "nothing", "priority": 3},
    {"id": "net-1", "do": "fail", "priority": 4},
    {"id": "net-2", "do": "fail", "priority": 9},
    {"id": "slow", "do": "sleep", "priority": 5},
    {"id": "port", "do": "port", "port": "none", "priority": 6},
    {"id": "paid", "do": "half", "priority": 7, "script": script({"sh": "pwd"}, OVERLOADED)},
]


def new_run(folder: Path, items: list[dict[str, Any]]) -> Project:
    project = make_project(folder)
    project.env["PATH"] = f"{stand_in_path(project.folder)}:{os.environ['PATH']}"
    (project.folder / "items.json").write_text(json.dumps(items))
    done = project.prodigy("run", project.workflow(KINDS), "--yes")
    assert done.code == 3, done.err
    return project


def all_failing(folder: Path, items: list[dict[str, Any]]) -> Project:
    """A run whose items all failed, whatever they are."""
    project = make_project(folder)
    (project.folder / "items.json").write_text(json.dumps(items))
    flow = 'map:\n  input: cat "$SHARED/items.json"\n  agent_template: [{shell: exit 3}]\n'
    assert project.prodigy("run", project.workflow(flow), "--no-merge").code == 3
    return project


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A run with failures of many kinds, the agent's item retried once; tests only look at it."""
    project = new_run(tmp_path_factory.mktemp("kinds"), ITEMS)
    again = project.prodigy("dlq", "retry", "latest", "--item", "paid")
    assert again.code == 3, again.err
    return project


@pytest.fixture
def two(tmp_path: Path) -> Project:
    """A run with two dead letters, which a test may take away."""
    return new_run(tmp_path, [item for item in ITEMS if item["do"] in ("fail", "nothing")])


def letters(project: Project, *options: str) -> dict[str, Any]:
    done = project.prodigy("dlq", "list", "--json", *options)
    assert done.code == 0, done.err
    return {letter["item_id"]: letter for letter in done.json}


def own_refs(project: Project) -> list[str]:
    """Every ref that keeps an item's work."""
    names = git(project.repo, "for-each-ref", "--format=%(refname)", "refs/heads/prodigy", "refs/prodigy").splitlines()
    return [name for name in names if not name.endswith("/run")]


# Records ---------------------------------------------------------------------------------------------------


def test_a_record_says_how_often_where_and_at_what_cost_an_agent_failed(failed: Project) -> None:
    letter = letters(failed)["paid"]
    history = letter["failure_history"]
    assert [failure["attempt_number"] for failure in history] == [1, 2]
    assert (letter["failure_count"], letter["attempts"], letter["tries"], letter["state"]) == (2, 2, 2, "dead")
    for failure in history:
        attempt = failure["attempt_number"]
        assert failure["step_failed"] == f"it1/1/i0008/a{attempt}/4/t1"
        assert (failure["error_type"], failure["exit_code"]) == ("command_failed", 1)
        assert "API Error: 500" in failure["error_message"]
        assert failure["agent_id"] == "agent-paid"
        assert failure["stack_trace"] is None
        assert failure["duration_ms"] > 0
        assert failure["cost_usd"] == pytest.approx(0.0125)
        assert failure["tokens"] > 0
        said = [json.loads(line) for line in Path(failure["json_log_location"]).read_text().splitlines()]
        assert said[-1]["type"] == "result"
        assert Path(failure["log"]) == Path(failure["json_log_location"]).parent
        assert failure["step_failed"] in failure["log"]
    assert letter["first_attempt"] < history[0]["timestamp"] < history[1]["timestamp"] == letter["last_attempt"]
    assert letter["cost_usd"] == pytest.approx(0.025)
    assert letter["tokens"] == sum(failure["tokens"] for failure in history)
    assert letter["item_data"] == ITEMS[-1]
    assert letter["run_id"] == failed.run_id()


def test_the_branch_and_the_snapshot_hold_the_work_uncommitted_edits_included(failed: Project) -> None:
    letter = letters(failed)["paid"]
    work = letter["worktree_artifacts"]
    for commit in (work["branch_name"], work["snapshot"]):
        files = failed.files(commit)
        assert (files["paid.txt"], files["half.txt"]) == ("whole", "half")
        assert files["shared.txt"].endswith("more")
    assert "half.txt" not in failed.files(work["head"])
    assert git(failed.repo, "log", "--format=%s", f"{work['base']}..{work['head']}") == "whole"
    assert work["uncommitted_changes"] == work["snapshot"]
    assert work["error_logs"] == letter["failure_history"][-1]["log"]


def test_a_shell_step_has_its_output_and_no_agent(failed: Project) -> None:
    found = letters(failed)
    (failure,) = found["net-1"]["failure_history"]
    assert failure["error_context"][-1] == "no such host net-1"
    assert (failure["exit_code"], failure["step_failed"]) == (3, "it1/1/i0004/a1/1/t1")
    assert (failure["json_log_location"], failure["cost_usd"], failure["tokens"]) == (None, 0, 0)
    assert (Path(failure["log"]) / "stdout").read_text() == "begin net-1\n"
    assert found["net-1"]["error_signature"] == found["net-2"]["error_signature"]
    assert failed.files(found["net-1"]["worktree_artifacts"]["branch_name"])["net-1.txt"] == "mine"


def test_every_kind_of_failure_is_told(failed: Project) -> None:
    found = letters(failed)
    kinds = {name: letter["failure_history"][-1]["error_type"] for name, letter in found.items()}
    (clash,) = {"clash-1", "clash-2"} & set(kinds)
    assert kinds == {
        clash: "merge_conflict", "net-1": "command_failed", "net-2": "command_failed", "slow": "timeout",
        "port": "invalid_item", "paid": "command_failed",
    }  # fmt: skip
    assert found[clash]["failure_history"][0]["step_failed"] is None
    assert not found["port"]["reprocess_eligible"]
    assert found["port"]["manual_review_required"]
    assert next(iter(found)) == "paid", "the newest failure comes first"


def recorded(store: Store, ordinal: int, number: int, *steps: ev.Event, **more: Any) -> None:
    """An attempt that failed after `steps`. more: fields of its beginning."""
    key: Any = {
        "fanout": "it1/1", "ordinal": ordinal, "attempt": number, "item_id": f"x{ordinal}", "label": f"x{ordinal}",
    }  # fmt: skip
    begin = {"agent_id": "agent-x", "worktree": "s1", "base": "b", "workflow": 1, "continues": None, **more}
    store.record(ev.AgentStarted(**key, **begin), *steps)
    store.record(ev.AgentFailed(**key, kind="timeout", error="no", retry_eligible=True, log="steps/l", head="h"))
    parked: Any = {"error_signature": "s", "reprocess_eligible": True, "manual_review_required": False}
    store.record(ev.DlqItemAdded(**key, **parked, branch="prodigy/r/items/x", worktree_path=None))
    store.record(ev.DlqItemsReprocessed(fanout="it1/1", ordinals=(ordinal,)))


def agent_ran(path: str, cost_usd: float | None) -> tuple[ev.Event, ev.Event]:
    finished: Any = {"kind": None, "message": None, "exit_code": 0, "duration_s": 1.0, "head": "h", "snapshot": None}
    return (
        ev.StepStarted(path=path, fingerprint="f", agent="claude"),
        ev.StepFinished(path=path, cost_usd=cost_usd, tokens=100, **finished),
    )


def test_each_failure_has_the_cost_of_its_own_steps_and_the_log_of_its_newest_agent(tmp_path: Path) -> None:
    row = RunRow(
        id="r", workflow="w", file=None, repo="/r", common_dir="/r/.git", base="b", branch="refs/heads/x", target=None,
        options="{}", created_at="2026-01-01T00:00:00Z", tip="b",
    )  # fmt: skip
    with closing(Store.create(tmp_path / "r", row, "{}")) as store:
        items = [(n, f"x{n}", f"x{n}", "{}", 0.0) for n in (1, 2, 12345)]
        store.plan_items("it1/1", items, ev.ItemsPlanned(fanout="it1/1", total=3, duplicates=0))
        recorded(
            store, 1, 1,
            *agent_ran("it1/1/i0001/a1/1/t1", 0.25),
            ev.StepStarted(path="it1/1/i0001/a1/2/t1", fingerprint="f", agent="claude"),
            ev.StepLost(path="it1/1/i0001/a1/2/t1", reason="lost", cost_usd=0.5, tokens=7),
        )  # fmt: skip
        recorded(store, 1, 2, continues=1, taken=(1,))
        recorded(
            store, 1, 3, *agent_ran("it1/1/i0001/a3/1/t1", None), *agent_ran("it1/1/i0001/a3/1/check/r1/1/t1", 2.0)
        )
        recorded(store, 2, 1, *agent_ran("it1/1/i0002/a1/1/t1", None))
        recorded(store, 12345, 1, *agent_ran("it1/1/i12345/a1/1/t1", 4.0), *agent_ran("it1/1/i12345/a1/2/t1", None))
        found = {letter["ordinal"]: letter for letter in store.dead_letters()}
    facts = [(f["cost_usd"], f["tokens"], f["json_log_location"]) for f in found[1]["failure_history"]]
    steps = f"{tmp_path}/r/steps/it1/1"
    assert facts == [
        (0.75, 107, f"{steps}/i0001/a1/2/t1/stdout"),
        (0.0, 0, f"{steps}/i0001/a1/1/t1/stdout"),
        (2.0, 200, f"{steps}/i0001/a3/1/check/r1/1/t1/stdout"),
    ]
    assert (found[1]["cost_usd"], found[1]["tokens"], found[1]["state"]) == (2.75, 307, "pending")
    assert (found[2]["cost_usd"], found[2]["tokens"]) == (None, 100)
    assert found[12345]["cost_usd"] == 4.0
    assert found[2]["failure_history"][0]["log"] == f"{tmp_path}/r/steps/l"


# list ------------------------------------------------------------------------------------------------------


def test_list_says_what_failed_why_and_what_to_do(failed: Project) -> None:
    done = failed.prodigy("dlq", "list")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0] == "paid: command_failed, attempt 2"
    assert "port: invalid_item, attempt 1  (not eligible for retry, look at it first)" in lines
    at = lines.index("net-1: command_failed, attempt 1")
    assert "no such host net-1" in lines[at + 1]
    branch = f"prodigy/{failed.run_id()}/items/0004-net-1"
    assert lines[at + 2] == f"    branch {branch}, step it1/1/i0004/a1/1/t1"
    assert lines[-1] == f"6 in run {failed.run_id()}. Retry them with: prodigy dlq retry {failed.run_id()}"


@pytest.mark.parametrize(
    ("options", "items"),
    [
        (("--kind", "timeout"), {"slow"}),
        (("--kind", "timeout", "--kind", "invalid_item"), {"slow", "port"}),
        (("--filter", "item.priority > 5 && error_type == 'command_failed'"), {"net-2", "paid"}),
        (("--filter", "attempts > 1 and cost_usd > 0.01"), {"paid"}),
        (("--eligible", "--filter", "priority >= 6", "--limit", "1"), {"paid"}),
    ],
)
def test_list_shows_the_letters_that_are_asked_for(failed: Project, options: tuple[str, ...], items: set[str]) -> None:
    assert set(letters(failed, *options)) == items


@pytest.mark.parametrize(
    ("options", "retry"),
    [
        (("--kind", "timeout"), """--filter "error_type == 'timeout'\""""),
        (("--kind", "invalid_item"), """--all --filter "error_type == 'invalid_item'\""""),
        (("--filter", "priority > 5"), "--filter 'priority > 5'"),
        (
            ("--filter", "priority > 4", "--kind", "timeout", "--kind", "command_failed"),
            """--filter "(priority > 4) && (error_type == 'timeout' || error_type == 'command_failed')\"""",
        ),
    ],
)
def test_the_printed_retry_means_the_letters_that_are_listed(
    failed: Project, options: tuple[str, ...], retry: str
) -> None:
    last = failed.prodigy("dlq", "list", *options).out.splitlines()[-1]
    assert last.endswith(f"Retry them with: prodigy dlq retry {failed.run_id()} {retry}")
    assert letters(failed, "--filter", shlex.split(retry)[-1]) == letters(failed, *options)


def test_what_is_printed_for_a_run_that_has_not_ended_can_be_run(two: Project) -> None:
    run_id = two.run_id()
    retried = two.prodigy("dlq", "retry", "latest", "--item", "net-1", env={"PRODIGY_FAULT": "after:agent_started"})
    assert retried.code == -signal.SIGKILL
    resume = f"prodigy resume {run_id} --include-dlq"
    assert f"Retry them with: {resume}\n" in two.prodigy("dlq", "list").out
    for command in (("inspect", "net-2"), ("analyze",)):
        shown = two.prodigy("dlq", *command).out
        assert (f"    {resume}\n" in shown or command[0] == "analyze", "dlq retry" in shown) == (True, False)
    (group,) = two.prodigy("dlq", "analyze", "--json").json["pattern_groups"]
    assert group["command"] == resume
    with RunLock(two.home / "runs" / run_id):
        for command in (("list",), ("inspect", "net-2"), ("analyze",)):
            shown = two.prodigy("dlq", *command).out
            assert "prodigy resume" not in shown.replace("Go on with: prodigy resume", "")
            assert "dlq retry" not in shown
        (group,) = two.prodigy("dlq", "analyze", "--json").json["pattern_groups"]
        assert group["command"] is None
    assert two.prodigy(*resume.split()[1:]).code == 3
    assert {letter["attempts"] for letter in letters(two).values()} == {2}


def test_list_is_shortened_for_people_and_says_so(failed: Project) -> None:
    lines = failed.prodigy("dlq", "list", "--limit", "2", "--job-id", failed.run_id()).out.splitlines()
    assert "2 of 6" in lines[-1]
    assert "--limit 0" in lines[-1]
    none = failed.prodigy("dlq", "list", "--kind", "time-out")
    assert "none of the 6 dead letters" in none.out
    assert "there are: command_failed, invalid_item, merge_conflict, timeout" in none.err


def test_a_filter_with_a_mistake_is_refused_with_its_place(failed: Project) -> None:
    done = failed.prodigy("dlq", "list", "--filter", "priority >> 5")
    assert done.code == 2
    _, text, caret = done.err.splitlines()[:3]
    assert "--filter, column 11" in done.err
    assert text[caret.index("^")] == ">"
    assert caret.index("^") - text.index("priority") == 10
    unquoted = failed.prodigy("dlq", "list", "--filter", "error_type == timeout")
    assert (unquoted.code, "has a field timeout" in unquoted.err) == (0, True)


def test_list_of_all_runs_names_the_run_of_each(tmp_path: Path) -> None:
    project = new_run(tmp_path, [ITEMS[3]])
    first = project.run_id()
    assert project.prodigy("run", project.folder / "flow.yml", "--no-merge").code == 3
    found = project.prodigy("dlq", "list", "--all-runs", "--json").json
    runs = [letter["run_id"] for letter in found]
    assert len(set(runs)) == 2
    assert runs[1] == first
    assert len(project.prodigy("dlq", "list", "--json").json) == 1
    assert f"attempt 1 of run {runs[1]}" in project.prodigy("dlq", "list", "--all-runs").out
    both = project.prodigy("dlq", "list", runs[0], "--all-runs")
    assert (both.code, "exclude each other" in both.err) == (2, True)


def test_a_run_without_dead_letters_is_no_error(project: Project) -> None:
    flow = project.workflow("steps:\n  - shell: 'true'\n")
    assert project.prodigy("run", flow, "--no-merge").code == 0
    for command in (("list",), ("stats",), ("analyze",), ("clear", "latest")):
        done = project.prodigy("dlq", *command)
        assert (done.code, "no dead letters" in done.out) == (0, True), (command, done)
    assert project.prodigy("dlq", "list", "--json").json == []


# inspect ---------------------------------------------------------------------------------------------------


def test_inspect_shows_each_failure_the_work_and_the_next_command(failed: Project) -> None:
    run_id = failed.run_id()
    done = failed.prodigy("dlq", "inspect", "paid", run_id)
    assert done.code == 0, done.err
    letter = letters(failed)["paid"]
    work, history = letter["worktree_artifacts"], letter["failure_history"]
    for failure in history:
        assert f"attempt {failure['attempt_number']}, {failure['timestamp']}: command_failed, exit 1" in done.out
        assert failure["log"] in done.out
        assert failure["json_log_location"] in done.out
    assert "$0.0125" in done.out
    assert "API Error: 500 overloaded" in done.out
    assert f"git log -p {work['base'][:12]}..{work['branch_name']}" in done.out
    assert "A half.txt" in done.out
    assert "M shared.txt" in done.out
    assert f"prodigy logs {run_id} --item paid" in done.out
    assert f"prodigy dlq retry {run_id} --item paid" in done.out
    for line in (line.strip() for line in done.out.splitlines() if line.strip().startswith("git ")):
        assert git(failed.repo, *line.split()[1:]), line


def test_inspect_as_json_is_the_one_record_with_the_uncommitted_files(failed: Project) -> None:
    record = failed.prodigy("dlq", "inspect", "paid", "--job-id", failed.run_id(), "--json").json
    assert record["worktree_artifacts"].pop("uncommitted_changes") == "A half.txt\nM shared.txt"
    listed = letters(failed)["paid"]
    del listed["worktree_artifacts"]["uncommitted_changes"]
    assert record == listed


def test_inspect_says_why_a_retry_can_not_help(failed: Project) -> None:
    done = failed.prodigy("dlq", "inspect", "port")
    assert "not eligible for retry: invalid_item does not change by itself" in done.out
    assert f"prodigy dlq retry {failed.run_id()} --item port --all" in done.out


@pytest.mark.parametrize(
    ("name", "answer"),
    [("nett-1", "Did you mean net-1"), ("good", "has no dead letter: it is succeeded"), ("???", "There are: ")],
)
def test_inspect_of_something_else_says_what_there_is(failed: Project, name: str, answer: str) -> None:
    done = failed.prodigy("dlq", "inspect", name)
    assert (done.code, done.out) == (2, "")
    assert answer in done.err


# analyze and stats -----------------------------------------------------------------------------------------


def test_analyze_groups_the_same_failure_and_says_what_to_do(failed: Project) -> None:
    export = failed.folder / "analysis.json"
    done = failed.prodigy("dlq", "analyze", "--json", "--export", export)
    assert done.code == 0, done.err
    assert json.loads(export.read_text()) == done.json
    analysis = done.json
    assert (analysis["total_items"], analysis["total_failures"]) == (6, 7)
    first = analysis["pattern_groups"][0]
    assert (first["count"], sorted(first["sample_items"]), first["kinds"]) == (
        2, ["net-1", "net-2"], {"command_failed": 2},
    )  # fmt: skip
    assert "no such host" in first["example_message"]
    assert analysis["error_distribution"] == {
        "command_failed": 4, "invalid_item": 1, "merge_conflict": 1, "timeout": 1,
    }  # fmt: skip
    assert sum(analysis["temporal_distribution"].values()) == 7
    advice = {one["kind"]: one for one in analysis["recommendations"]}
    assert "timeout:" in advice["timeout"]["text"]
    of_the_kind = "--filter \"letter.error_type == 'invalid_item'\""
    assert advice["invalid_item"]["command"] == f"prodigy dlq retry {failed.run_id()} --all {of_the_kind}"
    looked = failed.prodigy(*advice["command_failed"]["command"].split()[1:])
    assert looked.code == 0, looked.err
    for group in analysis["pattern_groups"]:
        expression = shlex.split(group["command"])[-1]
        meant = letters(failed, "--filter", expression)
        assert len(meant) == group["count"]
        assert set(group["sample_items"]) <= set(meant)


def test_an_analysis_can_be_sent_to_stdout(failed: Project) -> None:
    done = failed.prodigy("dlq", "analyze", "--export", "-", where=failed.folder / "repo")
    assert (done.code, done.json) == (0, failed.prodigy("dlq", "analyze", "--json").json), done.err
    assert not (failed.repo / "-").exists()


def test_analyze_draws_the_hours_and_names_the_commands(failed: Project) -> None:
    out = failed.prodigy("dlq", "analyze", failed.run_id()).out
    assert out.startswith(f"6 dead letters in run {failed.run_id()}, 7 failures in all\n")
    assert "█" in out
    assert "timeout (1): Time ran out" in out
    assert f"    prodigy dlq retry {failed.run_id()} --all" in out


def test_looking_changes_nothing(failed: Project) -> None:
    def seen() -> list[dict[str, object]]:
        with closing(Store.open(failed.home / "runs" / failed.run_id())) as store:
            return list(store.events())

    before = seen()
    for command in (("inspect", "slow"), ("analyze",), ("export", "-")):
        assert failed.prodigy("dlq", *command).code == 0
    assert seen() == before


def test_stats_count_by_signature_and_by_kind(failed: Project) -> None:
    numbers = failed.prodigy("dlq", "stats", "--workflow-id", failed.run_id(), "--json").json
    found = letters(failed)
    assert (numbers["total_items"], numbers["eligible_for_reprocess"], numbers["requiring_manual_review"]) == (6, 5, 1)
    assert numbers["oldest_item"] == min(letter["first_attempt"] for letter in found.values())
    assert numbers["newest_item"] == found["paid"]["last_attempt"]
    assert numbers["error_categories"][found["net-1"]["error_signature"]] == 2
    assert numbers["kinds"] == {"command_failed": 3, "invalid_item": 1, "merge_conflict": 1, "timeout": 1}
    assert "eligible for retry: 5" in failed.prodigy("dlq", "stats").out


# export ----------------------------------------------------------------------------------------------------


def test_export_writes_the_records_whole_and_for_the_owner_only(failed: Project) -> None:
    target = failed.folder / "letters.json"
    target.write_text("before")
    done = failed.prodigy("dlq", "export", target)
    assert (done.code, done.out) == (0, f"wrote 6 dead letters to {target}\n"), done.err
    assert json.loads(target.read_text()) == failed.prodigy("dlq", "list", "--json").json
    assert target.stat().st_mode & 0o777 == 0o600
    assert failed.prodigy("dlq", "export", "-").json == json.loads(target.read_text())


def test_export_as_csv_has_a_row_for_each_letter(failed: Project) -> None:
    target = failed.folder / "letters.csv"
    assert failed.prodigy("dlq", "export", target, failed.run_id()).code == 0
    rows = {row["item_id"]: row for row in csv.DictReader(io.StringIO(target.read_text()))}
    assert set(rows) == set(letters(failed))
    assert (rows["net-1"]["exit_code"], rows["net-1"]["reprocess_eligible"]) == ("3", "true")
    assert json.loads(rows["net-1"]["item_data"]) == ITEMS[3]
    assert failed.prodigy("dlq", "export", "-", "--format", "csv").out == target.read_bytes().decode()
    chosen = failed.prodigy("dlq", "export", "-", "--format", "csv", "--kind", "timeout").out
    assert [row["item_id"] for row in csv.DictReader(io.StringIO(chosen))] == ["slow"]


def test_an_export_that_can_not_be_written_leaves_what_was_there(failed: Project) -> None:
    missing = failed.prodigy("dlq", "export", failed.folder / "nowhere" / "letters.json")
    assert (missing.code, "No such file or directory" in missing.err) == (5, True)
    directory = failed.prodigy("dlq", "export", failed.repo)
    assert (directory.code, "no file that could be replaced" in directory.err) == (2, True)
    assert git(failed.repo, "status", "--porcelain") == ""


def test_what_a_terminal_is_sent_moves_nothing_on_it(two: Project) -> None:
    evil = "\x1b[2J\x9b31m"
    (two.folder / "items.json").write_text(json.dumps([{"id": "net-1", "do": "fail", "text": evil}]))
    assert two.prodigy("run", two.folder / "flow.yml", "--no-merge").code == 3
    assert "\x9b" in two.prodigy("dlq", "export", "-", "--format", "csv").out, "a pipe gets it as it is"
    ours, theirs = pty.openpty()
    done = subprocess.Popen(
        [sys.executable, "-m", "prodigy.cli.main", "dlq", "export", "-", "--format", "csv"], cwd=two.repo,
        env=two.environment(), stdin=subprocess.DEVNULL, stdout=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while b"run_id" not in shown or shown.count(b"\n") < 2:
        shown += os.read(ours, 65536)
    assert done.wait(timeout=60) == 0
    os.close(ours)
    assert "\\x9b31m" in shown.decode()
    assert [c for c in shown.decode() if not c.isprintable() and c not in "\r\n"] == []


# retry -----------------------------------------------------------------------------------------------------


def test_a_retry_names_items_as_inspect_does(tmp_path: Path) -> None:
    items = [{"name": "the north", "do": "fail"}, {"name": "the south", "do": "fail"}]
    project = all_failing(tmp_path, items)
    wrong = project.prodigy("dlq", "retry", "latest", "--item", "the nort")
    assert (wrong.code, "Did you mean the north" in wrong.err) == (2, True), wrong
    assert project.prodigy("dlq", "retry", "latest", "--item", "the north").code == 3
    found = {letter["label"]: letter["attempts"] for letter in letters(project).values()}
    assert found == {"the north": 2, "the south": 1}


def test_an_item_whose_id_looks_like_an_option_can_be_named(tmp_path: Path) -> None:
    project = all_failing(tmp_path, [{"id": "-x"}])
    (advice,) = project.prodigy("dlq", "analyze", "--json").json["recommendations"]
    looked = project.prodigy(*shlex.split(advice["command"])[1:])
    assert looked.code == 0, looked.err
    for command in ("prodigy logs", "prodigy dlq retry"):
        (line,) = [line for line in looked.out.splitlines() if line.strip().startswith(command)]
        done = project.prodigy(*shlex.split(line)[1:])
        assert done.code in (0, 3), done.err


def test_a_retry_that_leaves_everything_out_says_why(two: Project) -> None:
    tired = two.prodigy("dlq", "retry", "latest", "--max-retries", "1")
    assert tired.code == 3
    assert "left out by --max-retries 1, with as many tries or more: 2" in tired.err
    assert "that is all of them; nothing is retried" in tired.err
    resumed = two.prodigy("resume", "--include-dlq", "--max-retries", "1")
    assert "left out by --max-retries 1, with as many tries or more: 2" in resumed.err
    assert "1 of 3 items were done, 2 failed" in resumed.err
    misspelt = two.prodigy("dlq", "retry", "latest", "--filter", "prioritty > 3")
    assert "has a field prioritty" in misspelt.err
    assert "no dead letter of run" in misspelt.err
    assert {letter["attempts"] for letter in letters(two).values()} == {1}
    assert two.prodigy("dlq", "clear", "latest", "--yes").code == 0
    for call in (("dlq", "retry", "latest"), ("resume", "--include-dlq")):
        assert f"no dead letters in run {two.run_id()}" in two.prodigy(*call).err


def test_only_what_is_meant_is_counted_as_not_eligible(tmp_path: Path) -> None:
    project = new_run(tmp_path, [ITEMS[3], ITEMS[6]])
    other = project.prodigy("dlq", "retry", "latest", "--filter", "item_id == 'net-1'")
    assert (other.code, "not eligible" in other.err) == (3, False), other.err
    done = project.prodigy("dlq", "retry", "latest", "--filter", "item_id == 'port'")
    assert "not eligible, left alone: 1; --all runs them too" in done.err
    assert "that is all of them; nothing is retried" in done.err
    assert {item: letter["attempts"] for item, letter in letters(project).items()} == {"net-1": 2, "port": 1}


# purge and clear -------------------------------------------------------------------------------------------


def test_clear_asks_first_and_off_a_terminal_refuses(two: Project) -> None:
    before = own_refs(two)
    done = two.prodigy("dlq", "clear", "latest")
    assert done.code == 2
    assert f"2 dead letters of run {two.run_id()} would go for good" in done.err
    assert f"prodigy/{two.run_id()}/items/0002-net-1" in done.err
    assert "--yes" in done.err
    assert len(letters(two)) == 2
    assert own_refs(two) == before


@pytest.mark.parametrize(("answer", "left"), [("n", 2), ("y", 0)])
def test_clear_does_what_is_answered_on_a_terminal(two: Project, answer: str, left: int) -> None:
    ours, theirs = pty.openpty()
    asked = subprocess.Popen(
        [sys.executable, "-m", "prodigy.cli.main", "dlq", "clear", two.run_id()], cwd=two.repo,
        env=two.environment(), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while b"Remove them?" not in shown:
        shown += os.read(ours, 4096)
    os.write(ours, answer.encode() + b"\n")
    assert asked.wait(timeout=60) == 0
    os.close(ours)
    assert len(letters(two)) == left


def test_clear_removes_letters_branches_and_refs_and_the_items_stay_failed(two: Project) -> None:
    branches = {letter["worktree_artifacts"]["branch_name"] for letter in letters(two).values()}
    assert {f"refs/heads/{branch}" for branch in branches} <= set(own_refs(two))
    done = two.prodigy("dlq", "clear", two.run_id(), "--yes", "--json")
    assert done.code == 0, done.err
    assert sorted(done.json["item_ids"]) == ["net-1", "net-2"]
    assert set(done.json["branches"]) == branches
    assert letters(two) == {}
    assert own_refs(two) == []
    status = two.prodigy("status", two.run_id(), "--json").json
    assert (status["items"]["failed"], status["items"]["successful"], status["dead_letters"]) == (2, 1, 0)
    types = ("--event-type", "dlq_item_removed")
    removed = [json.loads(line) for line in two.prodigy("events", "ls", "--json", *types).out.splitlines()]
    assert [record["event"]["reason"] for record in removed] == ["purged", "purged"]
    assert "its dead letter was purged" in two.prodigy("dlq", "inspect", "net-1").err
    again = two.prodigy("dlq", "clear", "latest", "--yes")
    assert (again.code, again.out) == (0, f"removed no dead letters of run {two.run_id()}\n")
    two.assert_nothing_left()


def test_purge_takes_only_what_is_old_enough(two: Project) -> None:
    young = two.prodigy("dlq", "purge", "--older-than-days", "1")
    assert (young.code, "removed no dead letters" in young.out) == (0, True), young.err
    assert len(letters(two)) == 2
    old = two.prodigy("dlq", "purge", "--older-than-days", "0", "--job-id", two.run_id(), "--yes")
    assert (old.code, "removed 2 dead letters and 2 branches" in old.out) == (0, True), old.err
    assert letters(two) == {}


def test_purge_of_all_runs_goes_through_each(two: Project) -> None:
    first = two.run_id()
    assert two.prodigy("run", two.folder / "flow.yml", "--no-merge").code == 3
    assert two.prodigy("dlq", "clear", "latest", "--yes").code == 0
    asked = two.prodigy("dlq", "purge", "--older-than-days", "0", "--all-runs")
    assert f"2 dead letters of run {first} would go" in asked.err, "a run without letters is not counted"
    assert two.prodigy("run", two.folder / "flow.yml", "--no-merge").code == 3
    with RunLock(two.home / "runs" / first):
        locked = two.prodigy("dlq", "purge", "--older-than-days", "0", "--all-runs", "--yes")
    assert (locked.code, f"run {first} is being worked on" in locked.err) == (4, True)
    assert {letter["run_id"] for letter in two.prodigy("dlq", "list", "--all-runs", "--json").json} == {first}
    assert two.prodigy("dlq", "purge", "--older-than-days", "0", "--all-runs", "--yes").code == 0
    assert own_refs(two) == []


def test_clear_is_refused_while_a_process_works_on_the_run(two: Project) -> None:
    with RunLock(two.home / "runs" / two.run_id()):
        done = two.prodigy("dlq", "clear", "latest", "--yes")
    assert (done.code, "is being worked on by process" in done.err) == (4, True)
    assert len(letters(two)) == 2


def test_a_branch_that_somebody_uses_keeps_its_letter(two: Project) -> None:
    used, moved = (letters(two)[name]["worktree_artifacts"]["branch_name"] for name in ("net-1", "net-2"))
    git(two.repo, "worktree", "add", "-q", str(two.folder / "look"), used)
    two.write("more.txt", "the user goes on")
    two.commit()
    git(two.repo, "branch", "-f", moved, "main")
    done = two.prodigy("dlq", "clear", "latest", "--yes")
    assert done.code == 1
    assert "kept net-1: its branch" in done.out
    assert "is checked out in" in done.out
    assert "kept net-2: its branch" in done.out
    assert "was moved since" in done.out
    assert set(letters(two)) == {"net-1", "net-2"}
    assert git(two.folder / "look", "rev-parse", "HEAD")


def test_items_of_the_same_name_in_two_fan_outs_are_told_apart(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    (project.folder / "items.json").write_text(json.dumps([ITEMS[3]]))
    flow = project.workflow(KINDS.partition("    - claude")[0])
    assert project.prodigy("run", flow, "-n", "2", "--no-merge").code == 3
    both = project.prodigy("dlq", "inspect", "net-1")
    assert (both.code, "by its path: it2/1/i0001, it1/1/i0001" in both.err) == (2, True), both
    first = project.prodigy("dlq", "inspect", "it1/1/i0001", "--json").json["worktree_artifacts"]["branch_name"]
    git(project.repo, "worktree", "add", "-q", str(project.folder / "look"), first)
    assert project.prodigy("dlq", "clear", "latest", "--yes").code == 1
    (left,) = project.prodigy("dlq", "list", "--json").json
    assert left["fanout"] == "it1/1"
    own = f"refs/prodigy/{project.run_id()}/snapshots/0001/a1"
    assert own_refs(project) == [f"refs/heads/{first}", own]


def test_a_letter_whose_item_is_being_retried_stays(two: Project) -> None:
    retried = two.prodigy("dlq", "retry", "latest", "--item", "net-1", env={"PRODIGY_FAULT": "after:agent_started"})
    assert retried.code == -signal.SIGKILL
    assert "being retried" in two.prodigy("dlq", "list").out
    done = two.prodigy("dlq", "clear", "latest", "--yes", "--json")
    assert (done.code, done.json["item_ids"]) == (1, ["net-2"]), done.err
    (kept,) = done.json["kept"]
    assert (kept["item_id"], "prodigy resume" in kept["reason"]) == ("net-1", True)
    assert set(letters(two)) == {"net-1"}
    resumed = two.prodigy("resume", "latest")
    assert resumed.code == 3, resumed.err
    assert letters(two)["net-1"]["attempts"] == 2


def test_refs_that_a_killed_clear_left_go_with_the_next_one(two: Project) -> None:
    killed = two.prodigy("dlq", "clear", "latest", "--yes", env={"PRODIGY_FAULT": "after:dlq_item_removed"})
    assert killed.code == -signal.SIGKILL
    assert letters(two) == {}
    left = own_refs(two)
    assert left, "it was killed before it came to the refs"
    done = two.prodigy("dlq", "clear", "latest", "--yes", "--json")
    assert (done.code, done.json["item_ids"], sorted(done.json["refs"])) == (0, [], sorted(left)), done.err
    assert own_refs(two) == []


def test_a_clear_that_is_killed_before_it_is_recorded_changes_nothing(two: Project) -> None:
    before = own_refs(two)
    killed = two.prodigy("dlq", "clear", "latest", "--yes", env={"PRODIGY_FAULT": "before:dlq_item_removed"})
    assert killed.code == -signal.SIGKILL
    assert (len(letters(two)), own_refs(two)) == (2, before)


def test_letters_of_a_repository_that_is_gone_can_still_be_seen_and_stay(two: Project) -> None:
    run_id = two.run_id()
    shutil.rmtree(two.repo)
    where = two.folder

    def prodigy(*args: str) -> Done:
        return two.prodigy("dlq", *args, where=where)

    assert "is gone" in prodigy("inspect", "net-1", run_id).out
    for call in (("clear", run_id, "--yes"), ("purge", run_id, "--older-than-days", "0", "--yes")):
        done = prodigy(*call)
        assert (done.code, str(two.repo / ".git") in done.err, "branches" in done.err) == (5, True, True), done
    assert len(prodigy("list", run_id, "--json").json) == 2
