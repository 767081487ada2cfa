"""`events search`, `stats`, `export`, `clean`; `sessions`: what happened, and who drove it."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import signal
import socket
import sqlite3
from contextlib import closing

import pytest

from support import Project, wait_until

TWO = """
map:
  input: printf '{"id":"good"}\\n{"id":"bad"}\\n'
  max_parallel: 1
  agent_template:
    - shell: echo ${item.id} > ${item.id}.txt; test ! -e "$SHARED/fails-${item.id}"
"""
ENDLESS = 'map: {input: printf a, agent_template: [{shell: "touch \\"$SHARED/runs\\"; exec sleep 600"}]}\n'


@pytest.fixture
def ran(project: Project) -> Project:
    """With one run that is over and merged."""
    assert project.prodigy("run", project.workflow(TWO), "--yes").code == 0
    return project


def test_search_looks_into_every_field_or_into_those_that_are_named(ran: Project) -> None:
    found = [json.loads(line) for line in ran.prodigy("events", "search", "^ba.$", "--json").out.splitlines()]
    assert {one["event"]["item_id"] for one in found if "item_id" in one["event"]} == {"bad"}
    nothing = ran.prodigy("events", "search", "^bad$", "--fields", "error,kind")
    assert (nothing.code, nothing.out, nothing.err) == (0, "", "no event matches\n")
    started = ran.prodigy("events", "search", "^(?i)AGENT_START", "--fields", "event_type", "--limit", "1")
    assert len(started.out.splitlines()) == 1
    refused = ran.prodigy("events", "search", "(")
    assert (refused.code, "can't be read" in refused.err) == (2, True)


def test_stats_count_by_type_item_and_time(ran: Project) -> None:
    events = [json.loads(line) for line in ran.prodigy("events", "ls", "--json").out.splitlines()]
    stats = ran.prodigy("events", "stats", "--json").json
    assert stats["total"] == len(events) == sum(group["count"] for group in stats["groups"])
    assert {"agent_completed": 2}.items() <= {g["group"]: g["count"] for g in stats["groups"]}.items()
    items = ran.prodigy("events", "stats", "--group-by", "item", "--json").json["groups"]
    assert {"good", "bad", "(none)"} == {group["group"] for group in items}
    (day,) = ran.prodigy("events", "stats", "--group-by", "day", "--json").json["groups"]
    assert (day["first"], day["last"]) == (events[0]["timestamp"], events[-1]["timestamp"])


def test_export_writes_what_ls_prints_in_three_forms(ran: Project) -> None:
    events = [json.loads(line) for line in ran.prodigy("events", "ls", "--json").out.splitlines()]
    assert json.loads(ran.prodigy("events", "export").out) == events
    path = ran.folder / "events.csv"
    assert ran.prodigy("events", "export", "--output", path).code == 0
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert [row["event_type"] for row in rows] == [one["event"]["event_type"] for one in events]
    assert json.loads(rows[0]["data"])["workflow"] == "flow"
    assert path.stat().st_mode & 0o777 == 0o600
    table = ran.prodigy("events", "export", "--format", "markdown", "--event-type", "agent_completed").out.splitlines()
    assert (len(table), table[0]) == (4, "| time | event | facts |")


def test_a_hostile_id_ends_no_cell_of_a_table_and_is_no_formula(project: Project) -> None:
    text = "map: {input: \"printf '%s' '{\\\"id\\\": \\\"=1|<b>x</b>\\\"}'\", agent_template: [{shell: 'true'}]}\n"
    assert project.prodigy("run", project.workflow(text), "--no-merge").code == 0
    table = project.prodigy("events", "export", "--format", "markdown", "--event-type", "agent_started").out
    assert "item\\_id==1\\|\\<b\\>x" in table
    rows = csv.DictReader(io.StringIO(project.prodigy("events", "export", "--format", "csv").out))
    assert {row["item_id"] for row in rows} == {"", "'=1|<b>x</b>"}


def test_a_file_of_events_is_answered_with_what_takes_its_place(ran: Project) -> None:
    for command in ("ls", "stats", "follow", "export"):
        done = ran.prodigy("events", command, "--file", "events.jsonl")
        assert (done.code, "they are in the run's database" in done.err) == (2, True), command


# Cleaning --------------------------------------------------------------------------------------------------


def trail(project: Project, run_id: str) -> list[str]:
    lines = project.prodigy("events", "ls", run_id, "--json").out.splitlines()
    return [json.loads(line)["event"]["event_type"] for line in lines]


def test_a_trail_is_archived_whole_and_then_goes_and_the_run_stands_as_before(ran: Project) -> None:
    run_id = ran.run_id()
    before, summary = trail(ran, run_id), ran.prodigy("status", run_id, "--json").json
    done = ran.prodigy("events", "clean", run_id, "--archive", "--yes", "--json")
    assert done.code == 0, done.err
    (finding,) = done.json
    with gzip.open(finding["archived"], "rt") as file:
        assert [json.loads(line)["event"]["event_type"] for line in file] == before
    assert len(trail(ran, run_id)) < len(before)
    assert trail(ran, run_id)[-1] == "run_cleaned"
    assert ran.prodigy("status", run_id, "--json").json == summary
    again = ran.prodigy("events", "clean", run_id, "--archive", "--yes")
    assert "nothing to remove" in again.out


def test_nothing_goes_of_a_run_that_could_go_on_and_nothing_without_asking(project: Project) -> None:
    (project.folder / "fails-bad").touch()
    assert project.prodigy("run", project.workflow(TWO), "--yes").code == 3
    before = trail(project, project.run_id())
    kept = project.prodigy("events", "clean", "latest", "--yes")
    assert "it has a dead letter, and goes on with: prodigy dlq retry" in kept.out
    (project.folder / "fails-bad").unlink()
    assert project.prodigy("dlq", "retry", "latest", "--yes").code == 0
    asked = project.prodigy("events", "clean", "latest")
    assert (asked.code, "--yes removes it" in asked.err) == (2, True)
    assert trail(project, project.run_id())[: len(before)] == before


def test_limits_take_the_oldest_trails_until_the_rest_fits(project: Project) -> None:
    runs = [project.prodigy("run", project.workflow(TWO), "--yes", "--json").json["run_id"] for _ in range(3)]
    # Ids of one second sort by their random part; the order counts that the command itself gives.
    rows = project.prodigy("events", "clean", "--all-jobs", "--dry-run", "--json").json
    assert {row["run_id"] for row in rows} == set(runs)
    limit = rows[2]["count"]
    chosen = project.prodigy("events", "clean", "--all-jobs", "--max-events", str(limit), "--dry-run", "--json").json
    assert [row["run_id"] for row in chosen] == [row["run_id"] for row in rows[:2]]
    assert project.prodigy("events", "clean", "--all-jobs", "--max-size", "10MB", "--dry-run", "--json").json == []
    assert project.prodigy("events", "clean", "--all-jobs", "--older-than", "1d", "--dry-run", "--json").json == []
    refused = project.prodigy("events", "clean", "--all-jobs", "--max-size", "many")
    assert (refused.code, "is no size" in refused.err) == (2, True)
    assert project.prodigy("events", "clean").code == 2, "whose events?"


# Sessions --------------------------------------------------------------------------------------------------


def test_each_process_that_drove_a_run_is_told_also_one_that_was_killed(project: Project) -> None:
    killed = project.start("run", project.workflow(ENDLESS), "--no-merge")
    wait_until((project.folder / "runs").exists, "the step runs")
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert project.prodigy("resume", "--no-merge", "--detach").code == 0
    assert project.prodigy("cancel", "latest").code == 0
    shown = project.prodigy("sessions", "show", "--json").json
    first, second = shown["sessions"]
    assert (first["command"], first["how"], first["ended_at"]) == ("run", "ended without a word", None)
    assert (second["command"], second["how"]) == ("resume", "cancelled")
    assert {first["host"], second["host"]} == {socket.gethostname()}
    assert second["duration_s"] >= 0
    assert shown["status"] == "cancelled"
    told = project.prodigy("sessions", "show", "latest").out
    assert "2 sessions:" in told
    assert "ended without a word" in told


def test_sessions_are_runs(ran: Project) -> None:
    listed = ran.prodigy("sessions", "list", "--json").json
    assert listed == ran.prodigy("status", "--json").json
    assert ran.prodigy("sessions", "clean", "--yes").code == 0
    assert ran.prodigy("sessions", "ls", "--json").json == []


def test_a_run_of_before_drivers_were_noted_is_told_all_the_same(ran: Project) -> None:
    with closing(sqlite3.connect(ran.home / "runs" / ran.run_id() / "run.db")) as db:
        db.execute("UPDATE event SET data = json_remove(data, '$.host', '$.pid', '$.user')")
        db.commit()
    (session,) = ran.prodigy("sessions", "show", "--json").json["sessions"]
    assert (session["host"], session["how"]) == ("", "completed")
