"""What the API answers with: the names and types of its JSON, from which its schema is made."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Answer(BaseModel):
    model_config = ConfigDict(from_attributes=True, frozen=True)


class Items(Answer):
    """How many items are in each state; the five add up to the total. failed: dead ones too."""

    total: int
    successful: int
    failed: int
    skipped: int
    running: int
    pending: int


class Gate(Answer):
    """An account of which no agent starts before `until` (RFC 3339). told: whether that is the agent's word."""

    account: str
    agent: str
    cause: str
    until: str
    told: bool
    message: str


class Run(Answer):
    """How a run stands; the same names as `prodigy status RUN --json`."""

    run_id: str
    workflow: str
    status: str
    stop_reason: str | None
    held: dict[str, str] | None = Field(description="Who paused it, and since when.")
    phase: str
    items: Items
    dead_letters: int
    cost_usd: float | None = Field(description="Dollars; null when agents ran and none could tell.")
    tokens: int
    gates: list[Gate]
    branch: str
    target: str | None
    merged: bool
    merge_problem: str | None
    error: str | None
    created_at: str


class Problem(Answer):
    """A run that can't be read."""

    run_id: str
    workflow: str
    problem: str


class Runs(Answer):
    """A page of runs, newest first."""

    runs: list[Run]
    unreadable: list[Problem]
    total: int
    page: int
    pages: int


class RunNow(Answer):
    """A run, and how it goes on. eta_s: seconds until the last item ends, as far as can be told."""

    run: Run
    is_driven: bool
    phases: list[str]
    eta_s: float | None
    budget_usd: float | None
    max_parallel: int | None


class Item(Answer):
    """One item. started, ended: of its newest attempt, seconds since the epoch. kind, error: of its last failure.
    eligible: whether a retry can help; null without a dead letter."""

    fanout: str
    ordinal: int
    item_id: str
    label: str
    state: str
    queued: bool
    attempts: int
    tries: int
    priority: float
    started: float | None
    ended: float | None
    duration_s: float | None
    cost_usd: float | None
    tokens: int
    agent: str | None
    kind: str | None
    error: str
    eligible: bool | None


class ItemsPage(Answer):
    """A page of items. counts: state -> items of the run."""

    items: list[Item]
    total: int
    page: int
    pages: int
    counts: dict[str, int]


class Step(Answer):
    """One execution of a step. taken: the result of an earlier attempt was used, and not paid again."""

    path: str
    label: str
    role: str
    agent: str | None
    state: str
    kind: str | None
    message: str | None
    exit_code: int | None
    started: float
    ended: float | None
    duration_s: float | None
    cost_usd: float | None
    tokens: int | None
    session: str | None
    taken: bool


class Attempt(Answer):
    """One attempt. merged: the commit of its merge."""

    number: int
    state: str
    kind: str | None
    error: str | None
    started: float
    queued: float | None
    ended: float | None
    base: str
    head: str | None
    merged: str | None
    cost_usd: float | None
    tokens: int
    steps: list[Step]


class NextTry(Answer):
    """What the next attempt gets. when: `at` a moment, with the `next` free slot, on `retry`, on `resume`, or if the
    present one `fails`. taken: the steps that are not paid again. told: what its agent is told of the failure."""

    when: Literal["at", "next", "retry", "resume", "fails"]
    number: int
    at: float | None
    continues: int | None
    taken: list[int]
    base: str
    told: str | None
    tries: int
    limit: int | None


class ItemWhole(Answer):
    """Everything about one item. data: its JSON value, without secrets."""

    item: Item
    data: Any
    attempts: list[Attempt]
    next: NextTry | None


class FailureGroup(Answer):
    """Dead letters that failed alike."""

    signature: str
    count: int
    eligible: int
    kind: str
    message: str
    first: str
    last: str
    samples: list[str]
    advice: str


class Failures(Answer):
    groups: list[FailureGroup]


class Waiting(Answer):
    """An item that waits to be merged."""

    item_id: str
    since: str
    state: Literal["checking", "suspected", "waiting"]
    why: str


class Check(Answer):
    """A check of merges. passed: null while it runs, and when it says nothing. members: ordinals of the items."""

    fanout: str
    number: int
    members: list[int]
    passed: bool | None
    started_at: str
    ended_at: str | None
    message: str | None


class MergeQueue(Answer):
    waiting: int
    checking: int
    items: list[Waiting]
    checks: list[Check]


class Event(Answer):
    """Something that happened. data: what there is to say of it, by name."""

    number: int
    time: str
    type: str
    data: dict[str, Any]


class Events(Answer):
    """Events in order. last: ask for those after it next."""

    events: list[Event]
    last: int


class Done(Answer):
    """What was done, in words."""

    done: str


class Refusal(Answer):
    """What is in the way, and what to do."""

    error: str
    hint: str | None
