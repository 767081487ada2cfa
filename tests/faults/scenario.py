"""The run that the crash tests disturb: setup with a retry, a skipped step and a handler, eight items of which two
fail and two conflict, reduce, a second fan-out, final merge.

The outcome does not hang on timing. `first-N` waits until `second-N` has started, and `second-N` until `first-N`
was merged: so the second always began on the base without the first, and always conflicts.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from prodigy.engine.summary import summarise
from prodigy.state.event_data import from_data
from prodigy.state.items import Folded, ItemState, fold
from prodigy.store.store import Store
from support import Project, make_project

WORKFLOW = r"""
name: crash
steps:
  - shell: |
      echo setup >> "$TALLY"
      printf '{"id": "%s"}\n' first-1 second-1 first-2 second-2 bad-1 good-1 bad-2 good-2 > items.txt
      echo prepared > prepared.txt
      git add prepared.txt
      git commit -q -m prepare
      echo edited >> shared.txt
  - shell: |
      echo x >> flaky.txt
      echo "flaky $(wc -l < flaky.txt)" >> "$TALLY"
      test "$(wc -l < flaky.txt)" -ge 2
    retry: {attempts: 3, backoff: fixed, initial_delay: 0}
    id: flaky
  - shell: echo never >> "$TALLY"
    when: "${flaky.success} == false"
  - shell: echo failing >> "$TALLY"; echo half > half.txt; git add half.txt; exit 3
    on_failure: {commands: ['echo "handler ${error.exit_code}" >> "$TALLY"']}
  - mapreduce:
     map:
      input: cat items.txt; echo input >> "$TALLY"
      max_parallel: 4
      agent_template:
      - shell: |
          echo "$PRODIGY_ITEM_ID 1" >> "$TALLY"
          touch "$SHARED/started-$PRODIGY_ITEM_ID"
          number=${PRODIGY_ITEM_ID#*-}
          case $PRODIGY_ITEM_ID in
            first-*)
              until [ -e "$SHARED/started-second-$number" ]; do sleep 0.05; done ;;
            second-*)
              branch=prodigy/$PRODIGY_RUN_ID/run
              until git log --format=%s "$branch" | grep -q "^Merge first-$number "; do
                sleep 0.1
              done ;;
          esac
          test -e prepared.txt
          grep -q edited shared.txt
          test ! -e items.txt
          case $PRODIGY_ITEM_ID in
            first-*|second-*) echo "$PRODIGY_ITEM_ID" > "fought-over-$number.txt" ;;
            *) echo draft > "$PRODIGY_ITEM_ID.txt" ;;
          esac
        validate: echo "$PRODIGY_ITEM_ID check" >> "$TALLY"
      - shell: |
          echo "$PRODIGY_ITEM_ID 2" >> "$TALLY"
          case $PRODIGY_ITEM_ID in
            bad-*) echo half-done > "half-$PRODIGY_ITEM_ID.txt"; echo "this went wrong" >&2; exit 7 ;;
            good-1) echo left uncommitted >> good-1.txt ;;
            *) git add -A; git commit -q -m "work on $PRODIGY_ITEM_ID" ;;
          esac
     reduce:
       - shell: |
           echo reduce >> "$TALLY"
           test -e items.txt
           echo "${map.successful} of ${map.total}, ${map.failed} failed" > report.txt
           git add report.txt
           git commit -q -m report
           echo loose > loose.txt
         validate: test -e loose.txt
  - id: second
    mapreduce:
      map:
        input: glob:good-*.txt
        agent_template:
          - shell: echo "second $(basename ${item})" >> "$TALLY"; echo seen >> ${item}
"""


@dataclass(frozen=True)
class Result:
    """Everything about a finished run that a crash must not change."""

    summary: dict[str, Any]
    tally: Counter[str]
    main: dict[str, str]
    branch: dict[str, str]
    dead: dict[str, Any]
    items: dict[str, int]


def new_project(folder: Path) -> tuple[Project, Path]:
    project = make_project(folder)
    return project, project.workflow(WORKFLOW)


def result_of(project: Project) -> Result:
    """Read a finished run, and check that nothing is left of it."""
    project.assert_nothing_left()
    assert_events_give_the_tables(project.home / "runs" / project.run_id())
    with closing(Store.open(project.home / "runs" / project.run_id())) as store:
        summary = summarise(store)
        letters: list[dict[str, Any]] = store.dead_letters()
        events: list[dict[str, Any]] = [dict(cast("dict[str, Any]", record["event"])) for record in store.events()]
    steady = ("status", "items", "dead_letters", "duplicates", "merged", "merge_problem")
    return Result(
        summary={key: summary[key] for key in steady},
        tally=project.tally(),
        main=project.files("main"),
        branch=project.files(project.run_branch()),
        dead={letter["item_id"]: _steady(letter) for letter in letters},
        items=dict(Counter(event["item_id"] for event in events if event["event_type"] == "agent_started")),
    )


def assert_events_give_the_tables(directory: Path) -> None:
    """The events alone say what the tables of the run in `directory` say."""
    with closing(Store.open(directory)) as store:
        folded = Folded()
        for record in store.events():
            data = dict(cast("dict[str, Any]", record["event"]))
            fold(folded, from_data(data.pop("event_type"), data))
        row = store.run()
    with closing(sqlite3.connect(directory / "run.db")) as db:
        items = {
            (fanout, ordinal): (ItemState(state), attempt, tries)
            for fanout, ordinal, state, attempt, tries in db.execute(
                "SELECT fanout, ordinal, state, attempt, tries FROM item"
            )
        }
        steps = {f"{path}/t{number}": state for path, number, state in db.execute("SELECT path, try, state FROM step")}
        dead = set(db.execute("SELECT fanout, ordinal FROM dead_letter"))
        queued = set(db.execute("SELECT fanout, ordinal FROM attempt WHERE queued IS NOT NULL"))
        checks = {
            (fanout, n): state for fanout, n, state in db.execute("SELECT fanout, number, state FROM merge_check")
        }
        intents = db.execute("SELECT count(*) FROM merge_intent").fetchone()[0]
    assert folded.items == items
    assert folded.steps == steps
    assert folded.dead == dead
    assert folded.queued == queued
    assert folded.checks == checks
    assert folded.status == row.status
    assert folded.merged == (row.merged is not None)
    assert (folded.merging is None) == (intents == 0)


def _steady(letter: dict[str, Any]) -> dict[str, Any]:
    """A dead letter without what depends on the clock."""
    history = [
        {key: failure[key] for key in ("attempt_number", "error_type", "error_message", "exit_code", "step_failed")}
        for failure in letter["failure_history"]
    ]
    branch = letter["worktree_artifacts"]["branch_name"].split("/", 2)[2]
    return {"history": history, "signature": letter["error_signature"], "branch": branch}
