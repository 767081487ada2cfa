"""What the end of a step's process means: success, or a failure with its kind. Pure but for reading output."""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path

from prodigy.agents import agent
from prodigy.agents.base import Agent as AgentAdapter
from prodigy.agents.base import Verdict
from prodigy.agents.transcript import read_transcript
from prodigy.engine.captures import CaptureError, extracted, formed, output_of
from prodigy.executors.base import DEFAULT_IDLE_TIMEOUT_S, DEFAULT_TIMEOUT_S, Exit, Snapshot
from prodigy.executors.warden import STDOUT
from prodigy.secrets import MASKS, mask
from prodigy.state import events as ev
from prodigy.store.rows import StepRow
from prodigy.workflow.agent_settings import AgentSettings
from prodigy.workflow.model import Step

TAIL_BYTES = 4096
NEVER_STARTED = ("not_started", "unfit")
TAIL_LINES = 20
MAX_STATEMENT = 500  # characters of a message


@dataclass(frozen=True)
class Output:
    """What an execution has left beside its worktree. told: what its agent says of itself, None without one. settings:
    how the workflow wants that agent. usual_timeout_s: the limit of steps without their own."""

    directory: Path
    row: StepRow
    told: Verdict | None = None
    settings: AgentSettings | None = None
    usual_timeout_s: float = DEFAULT_TIMEOUT_S


def agent_verdict(adapter: AgentAdapter, directory: Path, exit_: Exit, model: str | None = None) -> Verdict | None:
    """What an agent says of itself; None before it has said anything. The exit code of one that we have ended is ours,
    and says nothing. model: the one it was started with."""
    if not (directory / STDOUT).is_file():
        return None
    code = exit_.code if exit_.reason == "exited" else None
    stderr = output_tail(directory, stdout=False)
    return read_transcript(adapter, directory / STDOUT, code, stderr=stderr, model=model)


def written_at(directory: Path) -> float:
    """When an execution printed last (UNIX time, seconds); now, when it printed nothing."""
    try:
        return (directory / STDOUT).stat().st_mtime
    except OSError:
        return time.time()


def lost(
    execution: str,
    reason: str,
    kind: str | None,
    directory: Path,
    reserved_usd: float | None = None,
    model: str | None = None,
) -> ev.StepLost:
    """The event of an execution that has no result of its own. kind: its agent's, whose work until then is paid
    for."""
    if kind is None or not (directory / STDOUT).is_file():
        return ev.StepLost(path=execution, reason=reason)
    told = read_transcript(agent(kind), directory / STDOUT, None, model=model)
    usd, estimated = cost(told, reserved_usd)
    return ev.StepLost(
        path=execution, reason=reason, cost_usd=usd, tokens=told.tokens, usage=usage_text(told), estimated=estimated,
        session=told.session,
    )  # fmt: skip


def cost(told: Verdict | None, reserved_usd: float | None) -> tuple[float | None, bool]:
    """(dollars, whether that is not the agent's own word). What an agent does not tell is never 0: with a budget, it
    is what was set aside for it."""
    if told is None:
        return None, False
    if told.cost_usd is None and reserved_usd is not None:
        return reserved_usd, True
    return told.cost_usd, told.estimated


def usage_text(told: Verdict | None) -> str | None:
    """What was used by model, as the events hold it."""
    if told is None or not told.used:
        return None
    used = [one for one in told.used if one.tokens.total or one.cost_usd]
    return json.dumps([[one.model, *dataclasses.astuple(one.tokens), one.cost_usd] for one in used])


def judge(step: Step, output: Output, since: Snapshot, after: Snapshot, exit_: Exit) -> tuple[str, str] | None:
    """(error kind, message) of a step that failed, None for success: by how the process ended, then by what its agent
    says, then by what the step must have done.

    since: the boundary before the step's first try.
    """
    directory, told = output.directory, output.told
    verdict = _judge(step, since, after, exit_, output) or _bad_capture(step, output, exit_)
    if verdict is None or verdict[0] != "command_failed" or told is not None or exit_.reason in NEVER_STARTED:
        return verdict
    statement = _last_statement(output_tail(directory))[:MAX_STATEMENT]
    because = "; ".join(text for text in (statement, exit_.message) if text)
    return (verdict[0], f"{verdict[1]}: {because}") if because else verdict


def last_output(directory: Path, row: StepRow) -> str:
    """The end of what an execution printed, for people and for `retry_on`; of an agent, its last answer."""
    if row.kind_of_agent is None or not (directory / STDOUT).is_file():
        return output_tail(directory)
    told = read_transcript(agent(row.kind_of_agent), directory / STDOUT, row.exit_code)
    return output_tail(directory, stdout=False) or mask(told.text)[-TAIL_BYTES:]


def _judge(step: Step, since: Snapshot, after: Snapshot, exit_: Exit, output: Output) -> tuple[str, str] | None:
    """(error kind, message) of a step that failed, None for success."""
    told, settings = output.told, output.settings
    done = told is not None and told.kind is None  # whatever ended it then, what it did is done and paid for
    match exit_.reason:
        case "timeout" if not done:
            limit = step.policy.timeout_s or (settings.timeout_s if settings else None) or output.usual_timeout_s
            return "timeout", f"the step ran longer than {limit:g} s"
        case "idle" if not done:
            limit = (
                step.policy.idle_timeout_s or (settings.idle_timeout_s if settings else None) or DEFAULT_IDLE_TIMEOUT_S
            )
            return "agent_hung", f"the step printed nothing for {limit:g} s"
        case "not_started":
            return "command_failed", f"the step could not be started: {exit_.message}"
        case "unfit":
            return "invalid_item", f"the step could not be started: {exit_.message}"
        case "lost" if not done:
            return "lost", "the process that looks after the step was killed"
    if told is not None and told.kind is not None:
        return told.kind, told.message
    if told is None and exit_.code != 0:
        return "command_failed", f"exited with code {exit_.code}"
    if any(check.expect == "commit" for check in step.checks) and after.head == since.head:
        return "commit_validation_failed", "the step made no commit, and commit_required is set"
    return None


def _bad_capture(step: Step, output: Output, exit_: Exit) -> tuple[str, str] | None:
    """A step whose output has not the form it promises has failed."""
    capture = step.capture
    if capture is not None and exit_.message:
        return "resource_exhausted", exit_.message  # what was cut must not pass for the whole
    if capture is None:
        return None
    try:
        if capture.format in ("json", "number"):
            formed(capture, output_of(step, output.directory, output.row), succeeded=True)
        for extract in capture.extracts:
            extracted(extract, output.directory)
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
