"""What the end of a step's process means: success, or a failure with its kind. Pure but for reading output."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prodigy.agents import agent
from prodigy.agents.base import Verdict, read_transcript
from prodigy.engine.captures import CaptureError, formed, output_of
from prodigy.executors.base import DEFAULT_IDLE_TIMEOUT_S, DEFAULT_TIMEOUT_S, Exit, Snapshot
from prodigy.state.dead_letter import Failure
from prodigy.workflow.model import Agent, Step

TAIL_BYTES = 4096
TAIL_LINES = 20


@dataclass(frozen=True)
class Judged:
    """The failure of an execution, None for success, and what its agent reported, None without one."""

    failure: Failure | None
    agent: Verdict | None = None


def judge_execution(
    step: Step, execution: str, directory: Path, since: Snapshot, after: Snapshot, exit_: Exit
) -> Judged:
    """Judge by how the process ended, then by what the agent says, then by what the step must have done.

    since: the boundary before the step's first try.
    """
    told = _agent_verdict(step, directory, exit_)
    verdict = _judge(step, since, after, exit_, told) or _bad_capture(step, directory, exit_)
    if verdict is None:
        return Judged(None, told)
    kind, message = verdict
    started = exit_.reason != "not_started"
    tail = output_tail(directory, stdout=told is None) if started else ""
    if told is not None and told.text and not tail:
        tail = told.text[-TAIL_BYTES:]
    last_line = tail.splitlines()[-1] if tail and kind == "command_failed" and told is None else ""
    failure = Failure(
        message=f"{message}: {last_line}" if last_line else message,
        kind=kind,
        exit_code=exit_.code,
        step=execution,
        last_output=tail,
        log=f"steps/{execution}",
        duration_s=exit_.duration_s,
    )
    return Judged(failure, told)


def _agent_verdict(step: Step, directory: Path, exit_: Exit) -> Verdict | None:
    if not isinstance(step.action, Agent) or exit_.reason == "not_started":
        return None
    stderr = output_tail(directory, stdout=False)
    return read_transcript(agent(step.action.use), directory / "stdout", exit_.code, stderr=stderr)


def _judge(step: Step, since: Snapshot, after: Snapshot, exit_: Exit, told: Verdict | None) -> tuple[str, str] | None:
    """(error kind, message) of a step that failed, None for success."""
    match exit_.reason:
        case "timeout":
            return "timeout", f"the step ran longer than {step.policy.timeout_s or DEFAULT_TIMEOUT_S:g} s"
        case "idle":
            limit = step.policy.idle_timeout_s or DEFAULT_IDLE_TIMEOUT_S
            return "agent_hung", f"the step printed nothing for {limit:g} s"
        case "not_started":
            return "command_failed", f"the step could not be started: {exit_.message}"
        case "lost":
            return "lost", "the process that looks after the step was killed"
    if told is not None and told.kind is not None:
        return told.kind, told.message
    if told is None and exit_.code != 0:
        return "command_failed", f"exited with code {exit_.code}"
    if any(check.expect == "commit" for check in step.checks) and after.head == since.head:
        return "commit_validation_failed", "the step made no commit, and commit_required is set"
    return None


def _bad_capture(step: Step, directory: Path, exit_: Exit) -> tuple[str, str] | None:
    """A step whose output has not the form it promises has failed."""
    capture = step.capture
    if capture is None or capture.format not in ("json", "number"):
        return None
    try:
        formed(capture, output_of(step, directory, exit_.code), succeeded=True)
    except CaptureError as error:
        return "validation_failed", error.what
    return None


def output_tail(directory: Path, *, stdout: bool = True) -> str:
    """The last lines that a step printed, standard error when there is any, else standard output.

    stdout: whether that is text for people; an agent's is not.
    """
    for stream in ("stderr", "stdout") if stdout else ("stderr",):
        path = directory / stream
        if path.is_file() and (size := path.stat().st_size):
            with path.open("rb") as file:
                file.seek(max(0, size - TAIL_BYTES))
                lines = file.read().decode(errors="replace").splitlines()
            return "\n".join(lines[-TAIL_LINES:])
    return ""
