"""What the end of a step's process means: success, or a failure with its kind. Pure but for reading output."""

from __future__ import annotations

from pathlib import Path

from prodigy.agents import agent
from prodigy.agents.base import Verdict, read_transcript
from prodigy.engine.captures import CaptureError, extracted, formed, output_of
from prodigy.executors.base import DEFAULT_IDLE_TIMEOUT_S, DEFAULT_TIMEOUT_S, Exit, Snapshot
from prodigy.secrets import MASKS, mask
from prodigy.state import events as ev
from prodigy.workflow.model import Agent, Step

TAIL_BYTES = 4096
NEVER_STARTED = ("not_started", "unfit")
TAIL_LINES = 20
MAX_STATEMENT = 500  # characters of a message


def agent_verdict(step: Step, directory: Path, exit_code: int | None) -> Verdict | None:
    """What the step's agent says of itself; None without an agent, or before it has said anything."""
    if not isinstance(step.action, Agent) or not (directory / "stdout").is_file():
        return None
    stderr = output_tail(directory, stdout=False)
    return read_transcript(agent(step.action.use), directory / "stdout", exit_code, stderr=stderr)


def lost(execution: str, reason: str, uses: str | None, directory: Path) -> ev.StepLost:
    """The event of an execution that has no result of its own. uses: its agent, whose work until then is paid for."""
    if uses is None or not (directory / "stdout").is_file():
        return ev.StepLost(path=execution, reason=reason)
    told = read_transcript(agent(uses), directory / "stdout", None)
    return ev.StepLost(path=execution, reason=reason, cost_usd=told.cost_usd, tokens=told.tokens)


def judge(
    step: Step, directory: Path, since: Snapshot, after: Snapshot, exit_: Exit, told: Verdict | None
) -> tuple[str, str] | None:
    """(error kind, message) of a step that failed, None for success: by how the process ended, then by what its agent
    says (`told`), then by what the step must have done.

    since: the boundary before the step's first try.
    """
    verdict = _judge(step, since, after, exit_, told) or _bad_capture(step, directory, exit_)
    if verdict is None or verdict[0] != "command_failed" or told is not None or exit_.reason in NEVER_STARTED:
        return verdict
    statement = _last_statement(output_tail(directory))[:MAX_STATEMENT]
    because = "; ".join(text for text in (statement, exit_.message) if text)
    return (verdict[0], f"{verdict[1]}: {because}") if because else verdict


def last_output(step: Step, directory: Path, exit_code: int | None) -> str:
    """The end of what a step printed, for people and for `retry_on`; of an agent, its last answer."""
    told = agent_verdict(step, directory, exit_code)
    if told is None:
        return output_tail(directory)
    return output_tail(directory, stdout=False) or mask(told.text)[-TAIL_BYTES:]


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
        case "unfit":
            return "invalid_item", f"the step could not be started: {exit_.message}"
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
    if capture is not None and exit_.message:
        return "resource_exhausted", exit_.message  # what was cut must not pass for the whole
    if capture is None:
        return None
    try:
        if capture.format in ("json", "number"):
            formed(capture, output_of(step, directory, exit_.code), succeeded=True)
        for extract in capture.extracts:
            extracted(extract, directory)
    except CaptureError as error:
        return "validation_failed", error.what
    return None


def _last_statement(text: str) -> str:
    """The last line that says something of its own: programs put hints and details behind white space."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    own = [line for line in lines if not line[0].isspace()]
    return (own or lines or [""])[-1].strip()


def output_tail(directory: Path, *, stdout: bool = True) -> str:
    """The last lines that a step printed, standard error when there is any, else standard output.

    stdout: whether that is text for people; an agent's is not.
    """
    for stream in ("stderr", "stdout") if stdout else ("stderr",):
        path = directory / stream
        if path.is_file() and (size := path.stat().st_size):
            with path.open("rb") as file:
                file.seek(max(0, size - TAIL_BYTES - MASKS.longest))  # no secret may be cut before it is masked
                lines = MASKS.data(file.read())[-TAIL_BYTES:].decode(errors="replace").splitlines()
            return "\n".join(lines[-TAIL_LINES:])
    return ""
