"""What the tools answer with; agents are told these fields and what they mean."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


class Problem(BaseModel):
    """A mistake in a workflow file, or something that should be changed."""

    file: str
    line: int = Field(description="Counts from 1.")
    column: int = Field(description="Counts from 1.")
    message: str
    hint: str | None = Field(default=None, description="What to do about it.")


class Validated(BaseModel):
    """What was found in a workflow."""

    valid: bool
    name: str | None = Field(default=None, description="The workflow's name, when it is valid.")
    problems: list[Problem] = Field(default_factory=list, description="What must be mended; all there is.")
    warnings: list[Problem] = Field(default_factory=list, description="What works but should be changed.")


class Counts(BaseModel):
    """How many items are in each state; the five add up to the total."""

    total: int
    successful: int
    failed: int = Field(description="Dead letters among them.")
    skipped: int
    running: int
    pending: int


class RunStatus(BaseModel):
    """How a run stands."""

    run_id: str
    summary: str = Field(description="All of it in one or two sentences.")
    workflow: str
    status: str = Field(
        description="new, running, completed, completed_with_failures, failed, interrupted, cancelled or paused."
    )
    is_driven: bool = Field(description="Whether a process works on it now. If not, nothing changes by itself.")
    stop_reason: str | None = Field(
        default=None, description="Why it paused: budget, rate_limit, max_failures, breaker, ..."
    )
    phase: str = ""
    items: Counts
    running_items: list[str] = Field(default_factory=list, description="Items that run now, at most ten.")
    dead_letters: int = Field(description="Items that failed for good: see list_dead_letters.")
    cost_usd: float | None = Field(
        default=None, description="Dollars that agents have cost; null when none could tell."
    )
    tokens: int = 0
    branch: str = Field(description="The git branch with everything that was merged so far.")
    target: str | None = Field(default=None, description="The branch that it is for.")
    merged: bool = Field(description="Whether the run's branch is merged into the target.")
    merge_problem: str | None = None
    error: str | None = Field(default=None, description="What stopped it.")
    last_event: int = Field(description="Give it to wait_for_run as after_event, to hear only of what comes then.")
    next_steps: list[str] = Field(default_factory=list, description="Tools that make sense now, and why.")


class Happened(BaseModel):
    """Something that happened in a run."""

    number: int
    time: str
    type: str
    text: str


class Waited(BaseModel):
    """What happened while we waited."""

    ended: bool = Field(description="Whether no process works on the run any more.")
    timed_out: bool = Field(description="Whether the time was over before anything happened: call again.")
    events: list[Happened] = Field(description="What happened, oldest first; of very many only the newest.")
    status: RunStatus


class RunLine(BaseModel):
    """One run in a list."""

    run_id: str
    workflow: str
    status: str
    created_at: str
    successful: int
    total: int
    dead_letters: int
    cost_usd: float | None = None


class RunList(BaseModel):
    """Runs, newest first."""

    runs: list[RunLine]
    more: int = Field(default=0, description="How many older ones are not shown.")
    unreadable: list[str] = Field(default_factory=list, description="Runs that can't be read, and why.")


class Letter(BaseModel):
    """An item that failed for good, in short."""

    item_id: str = Field(description="Names it in other tools.")
    label: str
    kind: str = Field(description="Of its last failure: timeout, command_failed, check_rejected, merge_conflict, ...")
    message: str
    tries: int
    eligible: bool = Field(description="Whether a retry can help by itself.")
    needs_review: bool


class LetterList(BaseModel):
    """Dead letters, the newest failure first."""

    run_id: str
    total: int
    letters: list[Letter]
    advice: list[str] = Field(default_factory=list, description="What the failures have in common, and what to do.")


class Attempt(BaseModel):
    """One failed attempt."""

    attempt: int
    time: str
    kind: str
    message: str
    step: str | None = None
    exit_code: int | None = None
    output: str = Field(description="The end of what the step printed.")


class LetterWhole(BaseModel):
    """Everything that is known of a dead letter."""

    run_id: str
    item_id: str
    label: str
    item: Any = Field(description="The item itself.")
    attempts: list[Attempt] = Field(description="Oldest first.")
    eligible: bool
    needs_review: bool
    branch: str | None = Field(
        default=None, description="A git branch with what its last attempt did; look at its diff."
    )
    cost_usd: float | None = None
    tokens: int = 0


class StepOutput(BaseModel):
    """What one step printed."""

    path: str
    label: str
    state: Literal["ok", "failed", "skipped", "running", "lost", "retired", "interrupted"]
    message: str | None = None
    exit_code: int | None = None
    duration_s: float | None = None
    output: str = Field(description="Its end, both streams; an agent's in words.")


class Logs(BaseModel):
    """Step by step, what was printed."""

    run_id: str
    item: str | None = None
    steps: list[StepOutput]


class Cost(BaseModel):
    """One row of a report."""

    name: str
    cost_usd: float | None = None
    tokens: int = 0


class Report(BaseModel):
    """What a run has cost, and on what."""

    run_id: str
    summary: str
    cost_usd: float | None = None
    tokens: int = 0
    wasted_usd: float = Field(description="Of that, on work that failed or was repeated.")
    by_model: list[Cost]
    dearest_items: list[Cost] = Field(description="At most ten.")
    failures: dict[str, int] = Field(description="Dead letters by kind.")


class Acted(BaseModel):
    """What was done."""

    run_id: str
    done: str = Field(description="In a sentence.")
    warnings: list[str] = Field(default_factory=list)
    status: RunStatus
