"""What users of similar tools complain of, each turned into a test that our tool must pass."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from agent_support import script, stand_in_path
from recovery_support import (
    assert_every_attempt_has_ended,
    assert_free,
    attempts,
    events,
    flow,
    history,
    interrupt,
    items,
    kill,
    kill_when,
    letters,
    put,
    run_directory,
    take,
    terminate,
    times,
    wait_for_lines,
)
from support import Project, Running, git, processes_of, wait_until

Stop = Callable[[Running], None]


pytestmark = pytest.mark.usefixtures("let_go")


def subjects(project: Project) -> set[str]:
    """The subject of every commit that some ref reaches."""
    return set(git(project.repo, "log", "--all", "--format=%s").splitlines())


# "Resume ran my finished items again" ----------------------------------------------------------------------


@pytest.mark.parametrize("now", ["reversed", pytest.param("more", marks=pytest.mark.chaos), "fewer", "fails"])
def test_resume_runs_no_finished_item_again_whatever_the_input_has_become(project: Project, now: str) -> None:
    """Items are fixed once they are planned."""
    put(project, "hold-c")
    kill_when(project, project.start("run", flow(project, items("abcdef")), "--yes"), "c 2")
    file = project.folder / "items.json"
    match now:
        case "reversed":
            file.write_text(json.dumps(items("fedcba")))
        case "more":
            file.write_text(json.dumps(items("xaybzcdefg")))
        case "fewer":
            file.write_text(json.dumps(items("f")))
        case "fails":
            file.unlink()
    put(project, "go")
    done = project.prodigy("resume", "latest", "--json")
    assert done.code == 0, done.err
    assert times(project, 1) == times(project, 2) == dict.fromkeys("abcdef", 1)
    assert done.json["items"]["total"] == 6
    assert len(events(project, "items_planned")) == 1


def test_resume_runs_no_finished_item_again_because_others_failed(project: Project) -> None:
    """102 items: 96 succeeded, 2 failed, 4 did not come to their end. Of the 98, none is run again."""
    workflow = project.workflow("""
map:
  input: seq -f '{"id":"n%g"}' 1 102
  max_parallel: 4
  agent_template:
    - shell: |
        echo "$PRODIGY_ITEM_ID" >> "$TALLY"
        case "$PRODIGY_ITEM_ID" in
          n20|n70) exit 1 ;;
          n99|n100|n101|n102) until [ -e "$SHARED/go" ]; do sleep 0.05; done ;;
        esac
""")
    kill_when(project, project.start("run", workflow), "n99", "n100", "n101", "n102")
    before = project.tally()
    status = project.prodigy("status", "latest", "--json").json
    assert (status["items"]["successful"], status["items"]["failed"], status["items"]["running"]) == (96, 2, 4)
    put(project, "go")
    done = project.prodigy("resume", "latest", "--json")
    assert done.code == 3, done.err
    assert (done.json["items"]["successful"], done.json["items"]["failed"]) == (100, 2)
    assert project.tally() - before == Counter(), "nothing ran again, not even what was in flight"
    again = project.prodigy("resume", "latest", "--include-dlq", "--json")
    assert again.code == 3, again.err
    assert project.tally() - before == Counter({"n20": 1, "n70": 1}), "and then the failed ones alone"


# "A stopped run forgets its journal" -----------------------------------------------------------------------


@pytest.mark.parametrize("stop", [interrupt, pytest.param(terminate, marks=pytest.mark.chaos), kill])
def test_what_a_stopped_run_has_said_and_found_out_is_all_there(project: Project, stop: Stop) -> None:
    workflow = project.workflow("""
setup:
  - shell: echo setup >> "$TALLY"; echo "found out by setup"
    id: prepared
map:
  input: printf '{"id":"a"}\\n{"id":"b"}\\n'
  max_parallel: 1
  agent_template:
    - shell: echo "$PRODIGY_ITEM_ID 1" >> "$TALLY"; echo "found out of $PRODIGY_ITEM_ID"
      id: looked
    - shell: |
        echo "$PRODIGY_ITEM_ID 2" >> "$TALLY"
        until [ -e "$SHARED/go" ]; do sleep 0.05; done
    - shell: echo ${prepared.output} / ${looked.output} > ${item.id}.txt
""")
    running = project.start("run", workflow, "--yes")
    wait_for_lines(project, "a 2")
    before = events(project)
    look = ("logs", "latest", "--step", "it1/2/i0001/a1/1")
    printed = project.prodigy(*look).out
    assert "found out of a\n" in printed
    stop(running)
    stopped = events(project)
    assert stopped[: len(before)] == before
    assert {"job_started", "items_planned", "agent_started", "step_finished"} <= {e["event_type"] for e in stopped}
    assert project.prodigy(*look).out == printed
    put(project, "go")
    done = project.prodigy("resume", "latest", "--json")
    assert done.code == 0, done.err
    assert events(project)[: len(stopped)] == stopped, "the journal is only added to"
    assert project.prodigy(*look).out == printed
    files = project.files("main")
    assert files["a.txt"] == "found out by setup / found out of a"
    assert files["b.txt"] == "found out by setup / found out of b"
    assert (project.tally()["setup"], times(project, 1)) == (1, {"a": 1, "b": 1})


# "It reports success with most agents dead" ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("fails", "failed"),
    [
        ('[ "$PRODIGY_ITEM_ID" = n7 ]', 9),
        ("exit 1", 10),
        ("kill -9 $$", 10),
        ("kill -9 $PPID; sleep 60", 10),  # whoever looks after the step
    ],
    ids=["nine of ten", "all", "all killed", "all killed with their wardens"],
)
def test_a_run_whose_agents_died_does_not_call_itself_a_success(project: Project, fails: str, failed: int) -> None:
    workflow = project.workflow(f"""
map:
  input: seq -f '{{"id":"n%g"}}' 1 10
  max_parallel: 3
  agent_template:
    - shell: |
        echo x > "$PRODIGY_ITEM_ID.txt"
        {fails}
reduce:
  - shell: echo "${{map.successful}} of ${{map.total}}, ${{map.failed}} failed" > report.txt
""")
    done = project.prodigy("run", workflow, "--yes", "--json")
    assert (done.code, done.json["status"]) == (3, "completed_with_failures"), done.err
    assert done.json["items"] == {
        "total": 10, "successful": 10 - failed, "failed": failed, "skipped": 0, "running": 0, "pending": 0,
    }  # fmt: skip
    assert done.json["dead_letters"] == failed == len(letters(project))
    assert project.files("main")["report.txt"] == f"{10 - failed} of 10, {failed} failed"
    shown = project.prodigy("status", "latest")
    assert f"{failed} failed" in shown.out
    assert project.prodigy("resume", "latest").code == 3, "and it does not become one later"
    assert_free(project)


# "It starts blank and repeats what was finished" -----------------------------------------------------------


@pytest.mark.parametrize("reboot", [False, True])
def test_resume_in_the_middle_of_an_item_repeats_no_finished_step(project: Project, reboot: bool) -> None:
    """reboot: the running step is gone as well, so that it runs again; the first step never does."""
    put(project, "hold-a")
    kill_when(project, project.start("run", flow(project, items("a")), "--yes"), "a 2")
    if reboot:
        end_every_process(project)
    put(project, "go")
    done = project.prodigy("resume", "latest", "--json")
    assert done.code == 0, done.err
    assert (times(project, 1), times(project, 2)) == ({"a": 1}, {"a": 2 if reboot else 1})
    assert project.files("main")["a.txt"] == "one\ntwo"
    assert attempts(project) == {"a": [1]}


def end_every_process(project: Project) -> None:
    """What a power cut does: the steps and those who look after them are gone at once."""
    needle = os.fsencode(project.folder)

    def end() -> bool:
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    if needle in (entry / "environ").read_bytes():
                        os.kill(int(entry.name), signal.SIGKILL)
                except OSError:
                    continue  # it ended while we looked
        return not processes_of(project.folder)

    wait_until(end, "every process of the run has gone")


def test_a_retry_from_the_failed_step_has_the_work_of_the_steps_before_it(project: Project) -> None:
    put(project, "fail-a")
    assert project.prodigy("run", flow(project, items("ab")), "--yes").code == 3
    take(project, "fail-a")
    done = project.prodigy("dlq", "retry", "latest", "--from-failed-step", "--json")
    assert done.code == 0, done.err
    assert (times(project, 1), times(project, 2)) == ({"a": 1, "b": 1}, {"a": 2, "b": 1})
    assert project.files("main")["a.txt"] == "one\ntwo"
    assert {"one of a", "two of a"} <= set(git(project.repo, "log", "--format=%s", "main").splitlines())


def test_resume_of_a_failed_reduce_repeats_neither_items_nor_finished_steps_of_it(project: Project) -> None:
    workflow = project.workflow("""
map:
  input: printf '{"id":"a"}\\n{"id":"b"}\\n'
  agent_template:
    - shell: echo "$PRODIGY_ITEM_ID" >> "$TALLY"; echo x > ${item.id}.txt
reduce:
  - shell: echo first >> "$TALLY"; cat a.txt b.txt; echo draft > report.txt
    id: gathered
  - shell: |
      echo second >> "$TALLY"
      test -e "$SHARED/mended"
      echo ${gathered.output} >> report.txt
""")
    done = project.prodigy("run", workflow, "--yes", "--json")
    assert (done.code, done.json["status"]) == (1, "failed")
    put(project, "mended")
    again = project.prodigy("resume", "latest", "--json")
    assert again.code == 0, again.err
    assert project.tally() == Counter({"a": 1, "b": 1, "first": 1, "second": 2})
    assert project.files("main")["report.txt"] == "draft\nx\nx"


# "Clean-up deleted a worktree with commits that were nowhere else" -----------------------------------------


@pytest.mark.parametrize("stop", [None, interrupt, kill])
def test_clean_up_loses_no_commit_and_no_edit(project: Project, stop: Stop | None) -> None:
    """Of dead letters, of a result that is not merged, and of what is in the middle of a step."""
    workflow = project.workflow("""
map:
  input: printf '{"id":"good"}\\n{"id":"bad"}\\n{"id":"last"}\\n'
  max_parallel: 1
  agent_template:
    - shell: |
        echo "$PRODIGY_ITEM_ID 1" >> "$TALLY"
        echo work > ${item.id}.txt
        git add -A
        git commit -q -m "first of $PRODIGY_ITEM_ID"
    - shell: |
        echo "$PRODIGY_ITEM_ID 2" >> "$TALLY"
        echo more >> ${item.id}.txt
        git commit -q -a -m "second of $PRODIGY_ITEM_ID"
        echo edited >> ${item.id}.txt
        if [ "$PRODIGY_ITEM_ID" = last ] && [ -e "$SHARED/hold" ]; then
          touch "$SHARED/committed"
          until [ -e "$SHARED/go" ]; do sleep 0.05; done
        fi
        [ "$PRODIGY_ITEM_ID" != bad ] || [ -e "$SHARED/mended" ]
""")
    if stop is None:
        assert project.prodigy("run", workflow, "--no-merge").code == 3
    else:
        put(project, "hold")
        running = project.start("run", workflow, "--no-merge")
        wait_until(lambda: (project.folder / "committed").exists(), "the last item is in the middle of a step")
        stop(running)
    end_every_process(project)
    cleaned = project.prodigy("worktree", "clean", "--all", "--force")
    assert cleaned.code == 0, cleaned.out + cleaned.err
    assert not [line for line in cleaned.out.splitlines() if line.startswith("kept")]
    assert len(git(project.repo, "worktree", "list", "--porcelain").split("\n\n")) == 1
    assert {f"{step} of {item}" for step in ("first", "second") for item in ("good", "bad", "last")} <= (
        subjects(project)
    )
    branch = letters(project)["bad"]["worktree_artifacts"]["branch_name"]
    assert project.files(branch)["bad.txt"] == "work\nmore\nedited"

    put(project, "mended", "go")
    done = project.prodigy("resume", "latest", "--include-dlq", "--yes", "--json")
    assert (done.code, done.json["merged"]) == (0, True), done.err
    assert project.files("main") | {f"{item}.txt": "work\nmore\nedited" for item in ("good", "bad", "last")} == (
        project.files("main")
    )
    assert times(project, 1) == {"good": 1, "bad": 2, "last": 1}
    assert_free(project)


def test_purging_a_dead_letter_whose_work_is_nowhere_else_has_to_be_confirmed(project: Project) -> None:
    put(project, "fail-a")
    assert project.prodigy("run", flow(project, items("ab")), "--yes").code == 3
    branch = letters(project)["a"]["worktree_artifacts"]["branch_name"]
    refused = project.prodigy("dlq", "purge", "latest", "--older-than-days", "0")
    assert refused.code == 2
    assert branch in refused.out + refused.err, "it says what would be lost"
    assert set(letters(project)) == {"a"}
    assert "one of a" in subjects(project)


# "Two items wrote the same file, and one of them won silently" ---------------------------------------------


def test_two_items_that_compute_the_same_path_conflict_and_both_works_are_kept(project: Project) -> None:
    workflow = project.workflow("""
map:
  input: printf '{"id":"one","path":"north/report.md"}\\n{"id":"two","path":"south/report.md"}\\n'
  max_parallel: 2
  agent_template:
    - shell: |
        touch "$SHARED/begun-$PRODIGY_ITEM_ID"
        until [ -e "$SHARED/begun-one" ] && [ -e "$SHARED/begun-two" ]; do sleep 0.05; done
        mkdir -p out
        echo "$PRODIGY_ITEM_ID" > "out/$(basename ${item.path})"
""")
    done = project.prodigy("run", workflow, "--yes", "--json")
    assert (done.code, done.json["items"]["successful"], done.json["items"]["failed"]) == (3, 1, 1), done.err
    ((loser, letter),) = letters(project).items()
    (failure,) = letter["failure_history"]
    assert failure["error_type"] == "merge_conflict"
    assert "out/report.md" in failure["error_message"]
    (winner,) = {"one", "two"} - {loser}
    assert project.files("main")["out/report.md"] == winner
    assert project.files(letter["worktree_artifacts"]["branch_name"])["out/report.md"] == loser


ALIKE = ["Readme", "readme", "README", "a/b", "a b", "a?b", "a:b", "a..b", "..", ".", "-x", "a.lock", "@{1}", "é", "e",
         "x" * 200, "x" * 200 + "y", "con", "~", "*"]  # fmt: skip


def test_items_whose_names_a_path_can_not_tell_apart_have_places_of_their_own(project: Project) -> None:
    (project.folder / "items.json").write_text(json.dumps([{"id": name, "data": ""} for name in ALIKE]))
    workflow = project.workflow("""
map:
  input: cat "$SHARED/items.json"
  max_parallel: 4
  agent_template:
    - shell: |
        printf %s "$PRODIGY_ITEM_ID" > work.txt
        printf %s "$PRODIGY_ITEM_ID"
        exit 1
""")
    done = project.prodigy("run", workflow, "--json")
    assert (done.code, done.json["items"]["failed"], done.json["duplicates"]) == (3, len(ALIKE), 0), done.err
    found = letters(project)
    assert set(found) == set(ALIKE)
    branches = [letter["worktree_artifacts"]["branch_name"] for letter in found.values()]
    assert len({branch.casefold() for branch in branches}) == len(ALIKE), "also on a disk that knows no case"
    logs = [letter["failure_history"][0]["log"] for letter in found.values()]
    assert len({log.casefold() for log in logs}) == len(ALIKE)
    for name, letter in found.items():
        assert git(project.repo, "show", f"{letter['worktree_artifacts']['branch_name']}:work.txt") == name.strip()
        log = Path(letter["failure_history"][0]["log"])
        assert log.is_relative_to(run_directory(project))
        assert (log / "stdout").read_text() == name
    assert_free(project)


# "An item that can't land is chosen for ever, and paid for each time" --------------------------------------


def test_an_item_whose_commit_never_lands_is_tried_and_paid_a_bounded_number_of_times(project: Project) -> None:
    """Each attempt of `loser` lets another item change the same line first, so that its merge always conflicts."""
    project.env["PATH"] = f"{stand_in_path(project.folder)}:{os.environ['PATH']}"
    calls = project.folder / "calls"
    project.env["CLAUDE_STAND_IN_LOG"] = str(calls)
    workflow = project.workflow(f"""
name: land
on_item_failure: retry
retry_config: {{max_attempts: 3, backoff: fixed, initial_delay: 0}}
map:
  input: printf '{{"id":"%s"}}\\n' loser w1 w2 w3
  max_parallel: 4
  agent_template:
    - claude: {json.dumps(script({"text": "done"}))}
      when: item.id == 'loser'
    - shell: |
        if [ "$PRODIGY_ITEM_ID" = loser ]; then
          echo loser >> "$TALLY"
          number=$(grep -c loser "$TALLY")
          touch "$SHARED/go-w$number"
          until git log --format=%s "prodigy/$PRODIGY_RUN_ID/run" | grep -q "^Merge w$number "; do sleep 0.05; done
        else
          until [ -e "$SHARED/go-$PRODIGY_ITEM_ID" ]; do sleep 0.05; done
        fi
        echo "$PRODIGY_ITEM_ID" > shared.txt
""")
    done = project.prodigy("run", workflow, "--yes", "--json")
    assert (done.code, done.json["items"]["successful"]) == (3, 3), done.err
    letter = letters(project)["loser"]
    assert history(letter) == [1, 2, 3]
    assert {failure["error_type"] for failure in letter["failure_history"]} == {"merge_conflict"}
    assert attempts(project)["loser"] == [1, 2, 3]
    assert len(calls.read_text().splitlines()) == 3
    assert done.json["cost_usd"] == pytest.approx(3 * 0.0125)
    for _ in range(2):
        again = project.prodigy("resume", "latest", "--json")
        assert (again.code, again.json["steps_run"]) == (3, 0), again.err
        assert again.json["cost_usd"] == pytest.approx(3 * 0.0125)
    assert project.tally() == Counter({"loser": 3})
    assert project.files("main")["shared.txt"] == "w3"
    assert project.files(letter["worktree_artifacts"]["branch_name"])["shared.txt"] == "loser"


# "Attempts that were started have no end on record" --------------------------------------------------------


def test_every_attempt_ever_started_has_one_end_on_record(project: Project) -> None:
    """Through kills, an interruption by the user, a lost worktree, retries by policy and by command."""
    policy = "on_item_failure: retry\nretry_config: {max_attempts: 2, backoff: fixed, initial_delay: 0}"
    put(project, "fail-b", "hold-c")
    workflow = flow(project, items("abcd"), policy, parallel=2)
    killed = project.prodigy("run", workflow, "--yes", env={"PRODIGY_FAULT": "after:agent_started#2"})
    assert killed.code == -signal.SIGKILL
    killed = project.prodigy("resume", "latest", env={"PRODIGY_FAULT": "before:agent_failed#1"})
    assert killed.code == -signal.SIGKILL

    running = project.start("resume", "latest")
    wait_for_lines(project, "c 2", "d 2")  # the first step of each has ended, and may not run again
    interrupt(running)

    running = project.start("resume", "latest")
    wait_until(lambda: project.tally()["c 2"] == 2, "the interrupted step runs again")
    kill(running)
    end_every_process(project)
    for worktree in (project.home / "worktrees").glob("*/*-s[0-9]"):
        shutil.rmtree(worktree)

    put(project, "go")
    done = project.prodigy("resume", "latest", "--json")
    assert (done.code, done.json["items"]["running"]) == (3, 0), done.err
    assert project.prodigy("dlq", "retry", "latest", env={"PRODIGY_FAULT": "before:dlq_item_added"}).code < 0
    assert project.prodigy("resume", "latest").code == 3
    assert_every_attempt_has_ended(project)
    kinds = Counter(event["event_type"] for event in events(project))
    assert kinds["agent_interrupted"] >= 1
    assert kinds["workspace_lost"] >= 1
    for numbers in attempts(project).values():
        assert numbers == list(range(1, len(numbers) + 1))
    assert times(project, 1) | {"a": 1, "d": 1} == times(project, 1)
    assert_free(project)


def test_what_a_cancelled_run_had_started_has_ended_on_record(project: Project) -> None:
    put(project, "hold-a", "hold-b")
    kill_when(project, project.start("run", flow(project, items("abc"), parallel=2), "--yes"), "a 2", "b 2")
    cancelled = project.prodigy("cancel", "latest")
    assert cancelled.code in (0, 130), cancelled.err
    assert processes_of(project.folder) == []
    assert project.prodigy("status", "latest", "--json").json["status"] == "cancelled"
    put(project, "go")
    done = project.prodigy("resume", "latest", "--json")
    assert done.code == 0, done.err
    assert times(project, 1) == dict.fromkeys("abc", 1)
    assert_every_attempt_has_ended(project)
