"""Every fact a run can record: appended in the transaction that moves the tables, never changed.

Names and fields follow what people's tools already read (job, agent, worktree, dlq); paths are step paths.
Times are RFC 3339 in UTC, durations are seconds.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of all events. `type` is the class name in snake case."""

    type: ClassVar[str] = "event"

    def __init_subclass__(cls) -> None:
        cls.type = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        TYPES[cls.type] = cls

    def data(self) -> dict[str, object]:
        """The fields as JSON values: scalars, and tuples of them."""
        if self.type not in _FIELDS:
            _FIELDS[self.type] = tuple(field.name for field in dataclasses.fields(self))
        return {name: getattr(self, name) for name in _FIELDS[self.type]}


TYPES: dict[str, type[Event]] = {}  # by the name that is stored
_FIELDS: dict[str, tuple[str, ...]] = {}  # by type: an event is written for every little thing


@dataclass(frozen=True, kw_only=True)
class ItemEvent(Event):
    """A fact about one attempt of one item. `fanout` is the fan-out's step path, `ordinal` counts from 1,
    `label` is the item's name for people."""

    fanout: str
    ordinal: int
    attempt: int
    item_id: str
    label: str


# The run ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class JobStarted(Event):
    workflow: str
    base: str
    branch: str
    target: str | None
    host: str = ""
    pid: int = 0
    user: str = ""


@dataclass(frozen=True, kw_only=True)
class JobResumed(Event):
    """`options` are the run's choices from here on, as JSON. So many of its items (`total`) have ended (`done`), some
    of those as dead (`failed`) and not to be retried now. still_held: if it is held, it stays so. `user` drives it, by
    the process `pid` on `host`."""

    command: str
    options: str
    total: int
    done: int
    failed: int = 0
    host: str = ""
    pid: int = 0
    user: str = ""
    still_held: bool = False


@dataclass(frozen=True, kw_only=True)
class JobHeld(Event):
    """Nothing new starts until the run is released; what runs may finish. by: who wanted it, and from where."""

    by: str


@dataclass(frozen=True, kw_only=True)
class JobReleased(Event):
    by: str


@dataclass(frozen=True, kw_only=True)
class JobSteered(Event):
    """`options` are the run's choices from here on, as JSON; `what` of them is new, in words."""

    options: str
    what: str
    by: str


@dataclass(frozen=True, kw_only=True)
class PhaseStarted(Event):
    """A phase begins. `head`, if given, is where the run's worktree stands now; `snapshot` holds what is
    uncommitted there."""

    phase: str
    path: str
    head: str | None = None
    snapshot: str | None = None


@dataclass(frozen=True, kw_only=True)
class JobCompleted(Event):
    status: str  # completed | completed_with_failures


@dataclass(frozen=True, kw_only=True)
class JobFailed(Event):
    """`path` is the step that failed the run, None when no step did."""

    error: str
    path: str | None


@dataclass(frozen=True, kw_only=True)
class JobPaused(Event):
    """by: who cancelled it, and from where, when that came by a request."""

    status: str  # interrupted | cancelled | paused
    stop_reason: str | None
    error: str | None = None
    by: str = ""


@dataclass(frozen=True, kw_only=True)
class WorkflowChanged(Event):
    """The user gave an edited workflow: what has not begun runs by `version`, what has goes on by its own."""

    version: int
    file: str


@dataclass(frozen=True, kw_only=True)
class JobExported(Event):
    """The run was written to `file`, to go on elsewhere."""

    file: str


@dataclass(frozen=True, kw_only=True)
class JobImported(Event):
    """The run came from another place, `host` by name, and belongs to this repository now."""

    repo: str
    common_dir: str
    host: str


@dataclass(frozen=True, kw_only=True)
class RunCleaned(Event):
    """`prodigy clean` took away what a run that is over does not need: its `part` is `logs` (what its steps printed,
    and all else in their directories) or `events` (most of those before this one). number: how many."""

    part: str
    number: int


@dataclass(frozen=True, kw_only=True)
class Warned(Event):
    message: str


# Steps -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class StepStarted(Event):
    """`path` ends with the try (`.../t1`). `label` names the step for people; `agent` is the agent it runs, `adapter`
    that agent's kind (None: the same). head, snapshot: the workspace's boundary then. reserved_usd, reserved_tokens:
    what is set aside of the budgets for it."""

    path: str
    fingerprint: str
    label: str = ""
    agent: str | None = None
    head: str | None = None
    snapshot: str | None = None
    adapter: str | None = None
    reserved_usd: float | None = None
    reserved_tokens: int | None = None


@dataclass(frozen=True, kw_only=True)
class StepAdopted(Event):
    path: str


@dataclass(frozen=True, kw_only=True)
class StepLost(Event):
    """The step ended without a result of its own; it runs again as the next try.

    reason: `lost` (warden or host went down), `interrupted` (the user ended it), `rate_limited`, `budget_exceeded` (of
    the run) or `agent_down` (another agent is to do it). cost_usd, tokens, usage, estimated: what its agent had used
    until then, as far as it can be told; see StepFinished.
    """

    path: str
    reason: str
    cost_usd: float | None = None
    tokens: int | None = None
    usage: str | None = None
    estimated: bool = False
    session: str | None = None


@dataclass(frozen=True, kw_only=True)
class StepRetired(Event):
    """The step failed the run, which is resumed: its result no longer counts, it runs again as the next try."""

    path: str


@dataclass(frozen=True, kw_only=True)
class StepSkipped(Event):
    """The step's `when` did not hold: it counts as done and did nothing."""

    path: str
    fingerprint: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class StepRetrying(Event):
    """The execution `path` failed; its step runs again as the next try after `delay_s` seconds."""

    path: str
    delay_s: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class StepFinished(Event):
    """`kind` is None for success, else the error kind. `head` and `snapshot` are the workspace's boundary, `unfinished`
    the git operation that the step left half done.

    settles: whether a success is the step's; not so while checks or handlers still decide about it. moves_run: whether
    it is then the run's boundary too; not so for the steps of checks and handlers.
    cost_usd and tokens (input, output and cache together) are None where no agent ran or it could not tell; session
    is the agent's own name for its conversation. usage: the same by model, as JSON: a list of [model, input, output,
    cache_read, cache_write, dollars]. estimated: whether the cost is not the agent's own word.
    """

    path: str
    kind: str | None
    message: str | None
    exit_code: int | None
    duration_s: float
    head: str
    snapshot: str | None
    left_out: tuple[str, ...] = ()
    unfinished: str | None = None
    settles: bool = True
    moves_run: bool = True
    cost_usd: float | None = None
    tokens: int | None = None
    session: str | None = None
    usage: str | None = None
    estimated: bool = False


@dataclass(frozen=True, kw_only=True)
class StepSettled(Event):
    """What came after the action of the execution `path`, checks or handlers, makes its step count as done.

    head and snapshot are the workspace's boundary then. recovered: the action had failed. moves_run: as above.
    """

    path: str
    head: str
    snapshot: str | None
    recovered: bool
    moves_run: bool = True


@dataclass(frozen=True, kw_only=True)
class WorktreeCreated(Event):
    """The run's own worktree stands at its last boundary, in the slot `worktree`; what a failed step left is gone."""

    worktree: str


@dataclass(frozen=True, kw_only=True)
class WorkspaceLost(Event):
    """The directory of `path` was gone. An attempt goes on in the slot `worktree`, where its last boundary has been
    restored; the run's own worktree (None) is made again next."""

    path: str
    worktree: str | None


# Items -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ItemsPlanned(Event):
    fanout: str
    total: int
    duplicates: int


@dataclass(frozen=True, kw_only=True)
class AgentStarted(ItemEvent):
    """An attempt begins. `continues` is the earlier attempt of which it takes over the steps `taken`, by number, and
    `inside`, the executions in a loop that has not ended, by their paths in the attempt; it then begins at `head`, with
    the uncommitted edits of `snapshot`."""

    agent_id: str
    worktree: str
    base: str
    workflow: int  # version of the workflow it runs, to its end
    continues: int | None
    taken: tuple[int, ...] = ()
    inside: tuple[str, ...] = ()
    head: str | None = None
    snapshot: str | None = None


@dataclass(frozen=True, kw_only=True)
class AgentCompleted(ItemEvent):
    """An attempt succeeded; `merged` is the commit on the run branch, None without anything to merge."""

    duration_s: float
    commits: tuple[str, ...]
    merged: str | None
    json_log_location: str | None = None


@dataclass(frozen=True, kw_only=True)
class AgentQueued(ItemEvent):
    """The attempt's work is done and waits to be checked and merged; it has no worktree any more. head: its commit."""

    head: str


@dataclass(frozen=True, kw_only=True)
class AgentRequeued(ItemEvent):
    """The attempt's work does not merge any more: it goes on in `worktree`, to resolve that."""

    worktree: str


@dataclass(frozen=True, kw_only=True)
class AgentFailed(ItemEvent):
    """An attempt failed. `log` is the failing step's directory, relative to the run's. collected: the error is told
    together with those of others, by a later ErrorsCollected."""

    kind: str
    error: str
    retry_eligible: bool
    exit_code: int | None = None
    step: str | None = None
    log: str | None = None
    last_output: str = ""
    duration_s: float = 0.0
    head: str | None = None
    collected: bool = False


@dataclass(frozen=True, kw_only=True)
class AgentInterrupted(ItemEvent):
    """The user ended the attempt. It is not a try; the next attempt continues where this one stood."""


@dataclass(frozen=True, kw_only=True)
class AgentRetrying(ItemEvent):
    """The attempt failed and has tries left: the item runs again after `delay_s` seconds."""

    delay_s: float


@dataclass(frozen=True, kw_only=True)
class AgentSkipped(ItemEvent):
    """The attempt failed, and the workflow's rule is to leave such an item out. `branch` keeps its work."""

    reason: str
    branch: str | None


@dataclass(frozen=True, kw_only=True)
class DlqItemAdded(ItemEvent):
    """`branch` holds the failed work, uncommitted edits included; `snapshot` is the commit with those edits."""

    error_signature: str
    reprocess_eligible: bool
    manual_review_required: bool
    branch: str | None
    worktree_path: str | None
    snapshot: str | None = None


@dataclass(frozen=True, kw_only=True)
class DlqItemRemoved(Event):
    """A dead letter left the queue. reason: `succeeded`, or `purged` by the user; the item stays dead then."""

    fanout: str
    ordinal: int
    item_id: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ItemsDeduplicated(Event):
    """These items have the id of one that comes before them in the order of work: they are left out."""

    fanout: str
    ordinals: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class DlqItemsReprocessed(Event):
    """These dead items are pending again; their dead letters stay until they succeed. by: who wants it, when that was
    while the run was going on."""

    fanout: str
    ordinals: tuple[int, ...]
    by: str = ""


@dataclass(frozen=True, kw_only=True)
class ErrorsCollected(Event):
    """The errors of items that failed since the last such event, together. message: lines of text."""

    fanout: str
    message: str


@dataclass(frozen=True, kw_only=True)
class BreakerOpened(Event):
    """So many attempts failed one after another: nothing of the fan-out starts for `pause_s` seconds."""

    fanout: str
    failures: int
    pause_s: float


@dataclass(frozen=True, kw_only=True)
class BreakerClosed(Event):
    """What was tried after the pause succeeded: the fan-out goes on as before."""

    fanout: str


@dataclass(frozen=True, kw_only=True)
class FanoutFinished(Event):
    fanout: str


# Agents ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class AgentGateClosed(Event):
    """No step of the agents of `account` starts before `until` (UNIX time, seconds).

    cause: `rate_limit` or `down`. told: whether the time is the agent's word; otherwise it is the pause number `hits`.
    message: what the agent said.
    """

    account: str
    agent: str
    cause: str
    until: float
    told: bool
    hits: int
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class AgentGateOpened(Event):
    """The account answers again."""

    account: str


# Branches --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Merging(Event):
    """Intent: the run branch moves from `old` to `new` on behalf of `path` (an attempt, a step, a sync)."""

    path: str
    old: str
    new: str


@dataclass(frozen=True, kw_only=True)
class MergeCheckStarted(Event):
    """The fan-out's check number `number` begins: of the commits of the items `ordinals`, in this order, merged one
    after another into `base`. attempts: theirs. commits: what each merge makes of the branch. Without items it is the
    run branch itself that is checked. fingerprint: of the steps that check."""

    fanout: str
    number: int
    base: str
    fingerprint: str = ""
    ordinals: tuple[int, ...] = ()
    attempts: tuple[int, ...] = ()
    commits: tuple[str, ...] = ()


# How a check is said to have ended, by `passed`.
CHECKED = {True: "passed", False: "failed", None: "void"}


@dataclass(frozen=True, kw_only=True)
class MergeCheckFinished(Event):
    """passed: None when it says nothing of the items. message: why it did not pass; step: the execution that failed,
    if one did."""

    fanout: str
    number: int
    passed: bool | None
    message: str | None = None
    step: str | None = None


@dataclass(frozen=True, kw_only=True)
class WorktreeMerged(Event):
    path: str
    old: str
    new: str


@dataclass(frozen=True, kw_only=True)
class FinalMergeStarted(Event):
    """Intent: `target` moves from `old` to `new`; `checkout` is the work tree that follows it, if any."""

    target: str
    old: str
    new: str
    checkout: str | None


@dataclass(frozen=True, kw_only=True)
class FinalMergeFinished(Event):
    target: str
    new: str


@dataclass(frozen=True, kw_only=True)
class FinalMergeRefused(Event):
    problem: str
