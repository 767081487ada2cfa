"""What the live view knows after any sequence of events."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prodigy.cli.tail import LONGEST_LINE, last_line
from prodigy.report.view import KEPT_FAILURES, LONGEST_TEXT, RunView
from prodigy.state import events as ev

FANOUT = "it1/1"


def started(ordinal: int, attempt: int = 1) -> ev.AgentStarted:
    return ev.AgentStarted(
        fanout=FANOUT, ordinal=ordinal, attempt=attempt, item_id=f"n{ordinal}", label=f"item n{ordinal}",
        agent_id="a", worktree="slot-1", base="b", workflow=1, continues=None,
    )  # fmt: skip


def completed(ordinal: int, attempt: int = 1, duration_s: float = 10.0) -> ev.AgentCompleted:
    return ev.AgentCompleted(
        fanout=FANOUT, ordinal=ordinal, attempt=attempt, item_id=f"n{ordinal}", label=f"item n{ordinal}",
        duration_s=duration_s, commits=(), merged=None,
    )  # fmt: skip


def failed(ordinal: int, attempt: int = 1, error: str = "exited with code 3") -> ev.AgentFailed:
    return ev.AgentFailed(
        fanout=FANOUT, ordinal=ordinal, attempt=attempt, item_id=f"n{ordinal}", label=f"item n{ordinal}",
        kind="exit", error=error, retry_eligible=True, duration_s=10.0,
    )  # fmt: skip


def interrupted(ordinal: int, attempt: int = 1) -> ev.AgentInterrupted:
    return ev.AgentInterrupted(
        fanout=FANOUT, ordinal=ordinal, attempt=attempt, item_id=f"n{ordinal}", label=f"item n{ordinal}"
    )


def buried(ordinal: int, attempt: int = 1) -> ev.DlqItemAdded:
    return ev.DlqItemAdded(
        fanout=FANOUT, ordinal=ordinal, attempt=attempt, item_id=f"n{ordinal}", label=f"item n{ordinal}",
        error_signature="s", reprocess_eligible=True, manual_review_required=False, branch=None, worktree_path=None,
    )  # fmt: skip


def step(ordinal: int, number: int = 1, attempt: int = 1, this_try: int = 1) -> str:
    return f"{FANOUT}/i{ordinal:04d}/a{attempt}/{number}/t{this_try}"


def step_started(path: str, label: str = "", agent: str | None = None) -> ev.StepStarted:
    return ev.StepStarted(path=path, fingerprint="f", label=label, agent=agent)


def step_finished(
    path: str, kind: str | None = None, cost_usd: float | None = None, tokens: int | None = None
) -> ev.StepFinished:
    return ev.StepFinished(
        path=path, kind=kind, message="it broke" if kind else None, exit_code=0, duration_s=1.0, head="h",
        snapshot=None, cost_usd=cost_usd, tokens=tokens,
    )  # fmt: skip


def planned(total: int, fanout: str = FANOUT) -> ev.ItemsPlanned:
    return ev.ItemsPlanned(fanout=fanout, total=total, duplicates=0)


def retrying(ordinal: int, attempt: int = 1, delay_s: float = 30.0) -> ev.AgentRetrying:
    return ev.AgentRetrying(
        fanout=FANOUT, ordinal=ordinal, attempt=attempt, item_id=f"n{ordinal}", label=f"item n{ordinal}",
        delay_s=delay_s,
    )  # fmt: skip


def resumed(total: int, done: int, failed: int = 0) -> ev.JobResumed:
    return ev.JobResumed(command="resume", options="{}", total=total, done=done, failed=failed)


def view_after(*events: ev.Event) -> RunView:
    """A view to which one event came each second, from second 0 on."""
    view = RunView("r1")
    for at, event in enumerate(events):
        view.apply(event, float(at))
    return view


def counts(view: RunView) -> tuple[int, int, int]:
    """(total, done, failed)."""
    assert view.batch is not None
    return view.batch.total, view.batch.done, view.batch.failed


# Items -----------------------------------------------------------------------------------------------------


def test_items_are_counted_and_running_ones_listed() -> None:
    view = view_after(planned(5), started(1), started(2), started(3), completed(1), failed(2), buried(2))
    assert counts(view) == (5, 2, 1)
    assert [(line.label, line.attempt) for line in view.lines.values()] == [("item n3", 1)]
    assert [(note.label, note.kind, note.message) for note in view.failures] == [
        ("item n2", "exit", "exited with code 3")
    ]


def test_an_item_that_failed_and_runs_again_is_counted_once() -> None:
    view = view_after(planned(2), started(1), failed(1), started(1, 2))
    assert counts(view) == (2, 0, 0)
    view.apply(completed(1, 2), 9.0)
    assert counts(view) == (2, 1, 0)


def test_an_item_that_waits_for_its_retry_is_neither_done_nor_failed() -> None:
    view = view_after(planned(4), started(1), failed(1), retrying(1, delay_s=30.0), started(2), failed(2), buried(2))
    assert counts(view) == (4, 1, 1)
    assert view.waiting(9.0) == (1, 24.0)
    for event in (started(1, 2), completed(1, 2)):
        view.apply(event, 40.0)
    assert (counts(view), view.waiting(40.0)) == ((4, 2, 1), (0, 0.0))


def test_how_many_wait_and_when_the_next_begins_is_known_also_after_a_resume() -> None:
    view = view_after(planned(3), failed(1), retrying(1, delay_s=60.0), failed(2), retrying(2, delay_s=20.0))
    assert view.waiting(10.0) == (2, 14.0)
    assert view.waiting(30.0) == (1, 32.0), "one whose time has come is in line"
    view.apply(ev.JobPaused(status="interrupted", stop_reason=None), 30.0)
    assert view.waiting(30.0) == (0, 0.0), "nobody drives it"
    view.apply(resumed(3, 0), 40.0)
    assert (counts(view), view.waiting(40.0)) == ((3, 0, 0), (1, 22.0))
    view.apply(started(1, 2), 41.0)
    assert counts(view) == (3, 0, 0), "it was not counted as done"


def test_an_item_that_is_given_up_while_it_waits_is_a_failure() -> None:
    view = view_after(planned(2), failed(1), retrying(1), resumed(2, 0), buried(1))
    assert (counts(view), view.waiting(5.0)) == ((2, 1, 1), (0, 0.0))


def test_an_item_whose_second_try_is_interrupted_is_taken_back_once() -> None:
    view = view_after(planned(3), failed(2), buried(2), failed(1), started(1, 2), interrupted(1, 2), started(1, 3))
    assert counts(view) == (3, 1, 1)


def test_an_interrupted_item_is_neither_running_nor_done() -> None:
    view = view_after(planned(2), started(1), interrupted(1))
    assert counts(view) == (2, 0, 0)
    assert not view.lines


def test_the_next_fanout_is_counted_anew() -> None:
    view = view_after(planned(1), started(1), completed(1), planned(7, "it1/2"))
    assert counts(view) == (7, 0, 0)


def test_a_resume_tells_what_was_done_before() -> None:
    assert counts(view_after(resumed(10, 4, 3))) == (10, 4, 3)
    assert counts(view_after(planned(4), failed(1), resumed(4, 2, 2), started(3), failed(3))) == (4, 3, 3)
    assert view_after(resumed(0, 0)).batch is None


def test_an_item_in_flight_on_resume_is_listed_by_its_number() -> None:
    view = view_after(resumed(10, 4), ev.StepAdopted(path=step(7, attempt=2)))
    (line,) = view.lines.values()
    assert (line.label, line.attempt) == ("item 7", 2)
    assert line.step is not None
    assert line.step.label == "step 1"


def test_retried_dead_letters_are_no_failures_any_more() -> None:
    before = (planned(2), started(1), failed(1), buried(1), started(2), completed(2))
    retried = (resumed(2, 1), ev.DlqItemsReprocessed(fanout=FANOUT, ordinals=(1,)))
    view = view_after(*before, *retried)
    assert counts(view) == (2, 1, 0)
    for event in (started(1, 2), completed(1, 2)):
        view.apply(event, 20.0)
    assert counts(view) == (2, 2, 0)


def test_an_adopted_step_keeps_what_is_known_of_it() -> None:
    view = view_after(
        started(1), step_started(step(1), "claude: /fix", "claude"), resumed(1, 0), ev.StepAdopted(path=step(1))
    )
    (line,) = view.lines.values()
    assert line.step is not None
    assert (line.step.label, line.step.agent, line.step.since) == ("claude: /fix", "claude", 1.0)


# Steps -----------------------------------------------------------------------------------------------------


def test_a_running_step_is_named_with_its_place_and_its_agent() -> None:
    view = view_after(planned(1), started(1), step_started(step(1), "claude: /fix", "claude"))
    (line,) = view.lines.values()
    assert line.step is not None
    assert (line.step.path, line.step.label, line.step.agent, line.step.since) == (
        f"{FANOUT}/i0001/a1/1/t1", "claude: /fix", "claude", 2.0,
    )  # fmt: skip
    view.apply(step_finished(step(1)), 5.0)
    assert line.step is None
    assert list(view.lines) == [f"{FANOUT}/i0001/a1"], "the item runs on"


def test_a_step_of_the_run_is_a_line_while_it_runs() -> None:
    view = view_after(ev.PhaseStarted(phase="setup", path="it1"), step_started("it1/1/t1", "shell: make"), started(1))
    assert [(line.label, line.attempt) for line in view.lines.values()] == [("setup", 0), ("item n1", 1)]
    view.apply(step_finished("it1/1/t1"), 3.0)
    assert [line.label for line in view.lines.values()] == ["item n1"]


def test_the_end_of_an_older_try_does_not_end_the_newer_one() -> None:
    view = view_after(started(1), step_started(step(1)), step_started(step(1, this_try=2)), step_finished(step(1)))
    (line,) = view.lines.values()
    assert line.step is not None


def test_a_retry_is_told_until_the_next_try_begins() -> None:
    retrying = ev.StepRetrying(path=step(1), delay_s=4.0, reason="rate limited")
    view = view_after(started(1), step_started(step(1)), step_finished(step(1), "exit"), retrying)
    (line,) = view.lines.values()
    assert line.retry is not None
    assert (line.retry.at, line.retry.reason, view.retries) == (7.0, "rate limited", 1)
    view.apply(step_started(step(1, this_try=2)), 7.0)
    assert line.retry is None


def test_spend_is_unknown_until_a_step_tells_it() -> None:
    view = view_after(step_started(step(1)), step_finished(step(1)))
    assert (view.cost_usd, view.tokens) == (None, None)
    view.apply(step_finished(step(2), cost_usd=0.0), 3.0)
    assert (view.cost_usd, view.tokens) == (0.0, None)
    view.apply(step_finished(step(3), cost_usd=0.5, tokens=100), 4.0)
    view.apply(step_finished(step(4), cost_usd=0.25, tokens=11), 5.0)
    assert (view.cost_usd, view.tokens) == (0.75, 111)


def test_a_failed_step_of_the_run_is_a_failure() -> None:
    view = view_after(step_started("it1/1/t1"), step_finished("it1/1/t1", "exit"))
    assert [(note.label, note.message) for note in view.failures] == [("step it1/1/t1", "it broke")]


# The run ---------------------------------------------------------------------------------------------------


def test_phases_are_told_in_order_once_each() -> None:
    view = view_after(*(ev.PhaseStarted(phase=phase, path="it1") for phase in ("setup", "map", "setup", "reduce")))
    assert (list(view.phases), view.phase) == (["setup", "map", "reduce"], "reduce")


@pytest.mark.parametrize(
    ("event", "state", "error"),
    [
        (ev.JobCompleted(status="completed_with_failures"), "completed_with_failures", None),
        (ev.JobFailed(error="no input", path=None), "failed", "no input"),
        (ev.JobPaused(status="cancelled", stop_reason="user"), "cancelled", None),
    ],
)
def test_the_end_of_the_run_is_its_state(event: ev.Event, state: str, error: str | None) -> None:
    view = view_after(ev.JobStarted(workflow="w", base="b", branch="x", target=None), event)
    assert (view.workflow, view.state, view.error) == ("w", state, error)
    view.apply(resumed(3, 1), 60.0)
    assert (view.state, view.error, view.started_at) == ("running", None, 60.0)


def test_merges_and_the_final_one_are_told() -> None:
    path = f"{FANOUT}/i0001/a1"
    view = view_after(started(1), ev.Merging(path=path, old="a", new="b"))
    assert view.lines[path].merging
    view.apply(ev.WorktreeMerged(path=path, old="a", new="b"), 2.0)
    view.apply(ev.FinalMergeFinished(target="refs/heads/main", new="b"), 3.0)
    assert (view.merges, view.merged_into, view.lines[path].merging) == (1, "main", False)


def test_the_time_left_follows_from_the_mean_and_the_slots() -> None:
    """Ten items of 10 s, two at a time: two done, two begun just now, so four more rounds of two."""
    view = view_after(planned(10), started(1), started(2), completed(1))
    assert view.eta_s(3.0) is None, "one item tells nothing"
    for event in (completed(2), started(3), started(4)):
        view.apply(event, 10.0)
    assert view.eta_s(10.0) == pytest.approx(40.0)
    assert view.eta_s(15.0) == pytest.approx(35.0)
    assert view.eta_s(500.0) == pytest.approx(30.0), "late items do not make time run backwards"


def test_the_last_item_alone_tells_the_time_left_at_the_end() -> None:
    view = view_after(planned(3), started(1), started(2), completed(1), completed(2), started(3))
    assert view.eta_s(9.0) == pytest.approx(6.0)
    view.apply(completed(3), 15.0)
    assert view.eta_s(16.0) is None


def test_memory_is_bounded_by_what_runs() -> None:
    view = view_after(planned(3000))
    for ordinal in range(1, 3001):
        for event in (started(ordinal), step_started(step(ordinal)), step_finished(step(ordinal), "exit")):
            view.apply(event, 1.0)
        view.apply(failed(ordinal, error="x" * 10_000), 2.0)
        view.apply(buried(ordinal), 2.0)
        view.apply(ev.Warned(message="w" * 10_000), 2.0)
    assert counts(view) == (3000, 3000, 3000)
    assert (len(view.lines), len(view._open_failures)) == (0, 0)
    assert len(view.failures) == KEPT_FAILURES
    assert (view.failure_count, view.warning_count) == (3000, 3000)
    assert max(len(note.message) for note in view.failures) == LONGEST_TEXT
    assert max(len(text) for text in view.warnings) == LONGEST_TEXT


ordinals = st.integers(1, 3)
attempts = st.integers(1, 2)
paths = st.one_of(
    st.builds(step, ordinals, st.integers(1, 2), attempts, st.integers(1, 2)),
    st.sampled_from(["it1/1/t1", "it1/2/t1", "it1/1/0/t1", "run", "sync", ""]),
)
money = st.none() | st.floats(0, 5)
plausible = st.one_of(
    st.builds(started, ordinals, attempts),
    st.builds(completed, ordinals, attempts, st.floats(0, 100)),
    st.builds(failed, ordinals, attempts),
    st.builds(buried, ordinals, attempts),
    st.builds(interrupted, ordinals, attempts),
    st.builds(retrying, ordinals, attempts, st.floats(0, 60)),
    st.builds(planned, st.integers(0, 4), st.sampled_from([FANOUT, "it1/2"])),
    st.builds(resumed, st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)),
    st.builds(step_started, paths),
    st.builds(step_finished, paths, st.none() | st.just("exit"), money, st.none() | st.integers(0, 9)),
    st.builds(ev.StepAdopted, path=paths),
    st.builds(ev.StepLost, path=paths, reason=st.sampled_from(["lost", "interrupted"])),
    st.builds(ev.StepRetired, path=paths),
    st.builds(ev.StepSkipped, path=paths, fingerprint=st.just("f"), reason=st.just("when")),
    st.builds(ev.StepRetrying, path=paths, delay_s=st.floats(0, 60), reason=st.text(max_size=5)),
    st.builds(ev.PhaseStarted, phase=st.sampled_from(["setup", "map", "reduce"]), path=st.just("it1")),
    st.builds(ev.FanoutFinished, fanout=st.just(FANOUT)),
    st.builds(ev.DlqItemsReprocessed, fanout=st.just(FANOUT), ordinals=st.just((1, 2))),
    st.builds(ev.WorktreeMerged, path=paths, old=st.just("a"), new=st.just("b")),
    st.builds(ev.Merging, path=paths, old=st.just("a"), new=st.just("b")),
    st.builds(ev.JobCompleted, status=st.just("completed")),
    st.builds(ev.JobFailed, error=st.text(max_size=5), path=st.none()),
    st.builds(ev.JobPaused, status=st.just("interrupted"), stop_reason=st.none()),
    st.builds(ev.Warned, message=st.text(max_size=5)),
    st.builds(ev.FinalMergeRefused, problem=st.text(max_size=5)),
)


@given(st.lists(plausible, max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_events_in_any_order_leave_a_sound_view(events: list[ev.Event]) -> None:
    view = RunView("r1")
    for at, event in enumerate(events):
        view.apply(event, float(at))
        if view.batch:
            assert 0 <= view.batch.failed <= view.batch.done <= view.batch.total
        eta = view.eta_s(float(at))
        assert eta is None or eta >= 0
        assert view.cost_usd is None or view.cost_usd >= 0


# What a step printed ---------------------------------------------------------------------------------------


def write(path: Path, content: bytes, age_s: float = 0.0) -> None:
    path.write_bytes(content)
    os.utime(path, (1_000_000 - age_s, 1_000_000 - age_s))


@pytest.mark.parametrize(
    ("output", "line"),
    [
        (b"one\ntwo\n", "two"),
        (b"one\n\n  \n", "one"),
        (b"no newline yet", "no newline yet"),
        (b" 10%\r 20%\r", "20%"),
        (b"\x1b[1;32mgreen\x1b[0m\n\x1b[0m\n", "green"),
        (b"\x1b]0;a title\x07text\x1b]8;;http://x\x1b\\link\n", "textlink"),
        (b"\x1b(Bplain\x1bM\n", "plain"),
        (b"bell\x07 and \x9b\n", "bell\\x07 and \N{REPLACEMENT CHARACTER}"),
        ("a\tb \u202eright to left\n".encode(), "a b \\u202eright to left"),
        ("日本\n".encode(), "日本"),
        (b"", ""),
    ],
)
def test_the_last_line_with_something_to_see_is_shown_as_plain_text(tmp_path: Path, output: bytes, line: str) -> None:
    write(tmp_path / "stdout", output)
    assert last_line(tmp_path, None) == line


def test_the_file_written_later_speaks(tmp_path: Path) -> None:
    write(tmp_path / "stdout", b"out\n", age_s=5)
    write(tmp_path / "stderr", b"err\n")
    assert last_line(tmp_path, None) == "err"
    write(tmp_path / "stderr", b"err\n", age_s=9)
    assert last_line(tmp_path, None) == "out"
    write(tmp_path / "stdout", b"\n\n")
    assert last_line(tmp_path, None) == "err", "a file with nothing to see does not speak"


def test_a_step_without_files_has_printed_nothing(tmp_path: Path) -> None:
    assert last_line(tmp_path / "not-there", None) == ""


def test_only_the_end_of_a_long_output_is_read(tmp_path: Path) -> None:
    write(tmp_path / "stdout", b"early\n" + b"\n" * (64 * 1024))
    assert last_line(tmp_path, None) == ""
    write(tmp_path / "stdout", b"x" * 1_000_000)
    assert last_line(tmp_path, None) == "x" * LONGEST_LINE


def describe(line: bytes) -> str | None:
    return line.removeprefix(b"say ").decode() if line.startswith(b"say ") else None


def test_an_agents_stream_is_described_and_what_says_nothing_is_skipped(tmp_path: Path) -> None:
    write(tmp_path / "stdout", b"say early\nsay late\x1b[0m\n{noise}\nsay \n")
    assert last_line(tmp_path, "claude", describe) == "late"
    assert last_line(tmp_path, None, describe) == "say", "a step without an agent prints plain text"
    write(tmp_path / "stderr", b"a warning\n", age_s=-5)
    assert last_line(tmp_path, "claude", describe) == "a warning"


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_no_output_can_move_the_cursor(tmp_path_factory: pytest.TempPathFactory, output: bytes) -> None:
    directory = tmp_path_factory.mktemp("step")
    (directory / "stdout").write_bytes(output)
    assert last_line(directory, None).isprintable()


def test_a_closed_gate_is_shown_with_its_reason_until_it_opens() -> None:
    view = RunView("run")
    closed = ev.AgentGateClosed(
        account="claude", agent="claude", cause="rate_limit", until=2_000_000_000.0, told=True, hits=1, message="slow"
    )  # fmt: skip
    view.apply(closed, 1.0)
    view.apply(dataclasses.replace(closed, until=2_000_000_100.0, message=""), 2.0)
    assert (view.gates["claude"].until, view.gates["claude"].message) == (2_000_000_100.0, "slow")
    view.apply(ev.AgentGateOpened(account="claude"), 3.0)
    assert view.gates == {}
