"""What the store answers with: frozen rows, named as the columns they come from."""

from __future__ import annotations

from dataclasses import dataclass

from prodigy.state.step_path import execution_path

# The statuses of a run of which nothing is left to run.
FINISHED = frozenset({"completed", "completed_with_failures", "failed"})


@dataclass(frozen=True)
class RunRow:
    """The run itself; the columns of the table `run`."""

    id: str
    workflow: str
    file: str | None
    repo: str
    common_dir: str
    base: str
    branch: str
    target: str | None
    options: str
    created_at: str
    tip: str
    status: str = "new"
    stop_reason: str | None = None
    phase: str = ""
    error: str | None = None
    merged: str | None = None
    merge_problem: str | None = None
    slot: str | None = None
    head: str | None = None
    snapshot: str | None = None
    failed_path: str | None = None
    held_by: str | None = None
    held_at: str | None = None


@dataclass(frozen=True)
class Request:
    """What another process asks the coordinator for."""

    id: int
    kind: str
    data: dict[str, object]


@dataclass(frozen=True)
class StepRow:
    """One execution of a step: the columns of the table `step` that the engine reads."""

    path: str
    number: int
    state: str
    kind: str | None
    message: str | None
    exit_code: int | None
    duration_s: float | None
    head: str | None
    snapshot: str | None
    finished_at: str | None = None
    fingerprint: str = ""
    skipped: bool = False
    settled: bool = False
    agent: str | None = None
    reused_from: str | None = None
    unfinished: str | None = None
    before_head: str | None = None
    before_snapshot: str | None = None
    adapter: str | None = None
    reserved_usd: float | None = None
    reserved_tokens: int | None = None
    cost_usd: float | None = None
    tokens: int | None = None
    session: str | None = None

    @property
    def kind_of_agent(self) -> str | None:
        """The adapter that reads its output; None where no agent ran."""
        return self.adapter or self.agent

    @property
    def execution(self) -> str:
        """The path with its try: the name of its directory."""
        return execution_path(self.path, self.number)

    @property
    def log(self) -> str:
        """The path whose directory has its output: an earlier attempt's, when it was taken over from there."""
        return self.reused_from or self.execution


@dataclass(frozen=True)
class AttemptRow:
    """One attempt. start_head, start_snapshot: where it began when that is not its base. kind: of its failure.
    retry_delay_s: the pause, from its end on, before the item's next attempt; None when none was decided. queued: the
    commit of an attempt in flight whose steps are done and whose merge waits; it has no worktree ("") then."""

    number: int
    state: str
    base: str
    worktree: str
    workflow: int
    started_at: str
    ended_at: str | None
    start_head: str | None
    start_snapshot: str | None
    kind: str | None
    error: str | None
    head: str | None
    retry_delay_s: float | None
    queued: str | None = None


@dataclass(frozen=True)
class GateRow:
    """An account of which no agent starts before `until` (UNIX time, seconds); see the event AgentGateClosed."""

    account: str
    agent: str
    cause: str
    until: float
    told: bool
    hits: int
    message: str
    since: str


@dataclass(frozen=True)
class Intent:
    """A merge that was announced and not yet recorded as done."""

    path: str
    old: str
    new: str


@dataclass(frozen=True)
class FinalIntent:
    target: str
    old: str
    new: str
    checkout: str | None
