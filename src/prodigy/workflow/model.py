"""The normalised workflow: a tree of frozen values that every file shape is turned into.

Only this form is stored and executed. `model_dump_json` and `model_validate_json` are each other's inverse.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from prodigy.workflow.agent_settings import CLAUDE, Agents, Budget
from prodigy.workflow.capture_values import Capture
from prodigy.workflow.environment import Environment
from prodigy.workflow.failures import ErrorPolicy, Retry
from prodigy.workflow.frozen import Value
from prodigy.workflow.item_limits import ItemLimits
from prodigy.workflow.selection import Selection

Phase = Literal["setup", "map", "reduce", "merge", ""]
Uncommitted = Literal["commit", "discard", "fail"]


class Shell(Value):
    """Run `text` as a bash script; placeholders in it are data (see `shell_words`).

    options: bash's own, in place of the built-in `-e -o pipefail`; None: those.
    """

    kind: Literal["shell"] = "shell"
    text: str
    options: tuple[str, ...] | None = None


class Agent(Value):
    """Give `prompt`, with its placeholders replaced, to the agent `use`.

    named: whether the workflow names that agent itself; otherwise its default ones do the step. fresh: whether a later
    attempt is told nothing of how the last one failed.
    """

    not_what_it_does = frozenset({"fresh"})

    kind: Literal["agent"] = "agent"
    use: str = CLAUDE
    prompt: str
    named: bool | None = None
    fresh: bool | None = None

    @property
    def wanted(self) -> str | None:
        """The agent that must do it, None for the workflow's default."""
        return self.use if self.named or self.use != CLAUDE else None


class WriteFile(Value):
    """Write `content` to `path`, below the worktree; both may hold placeholders.

    format: `json` and `yaml` are checked and laid out; None: text. mode: of the file; None: 0644. structured: whether
    `content` is a JSON text, in whose strings the placeholders are.
    """

    kind: Literal["write_file"] = "write_file"
    path: str
    content: str
    format: Literal["json", "yaml"] | None = None
    mode: int | None = Field(default=None, ge=0, le=0o777)
    create_dirs: bool | None = None
    structured: bool | None = None


class Input(Value):
    """Where work items come from: a file, the output of a shell command, the files that match a pattern, `values`,
    which may hold placeholders, or the source `text` of another package, whose options are the one of `values`.

    options: of the command's bash, as in `Shell`. structured: whether the values are JSON texts, in whose strings the
    placeholders are.
    """

    kind: Literal["file", "command", "glob", "values", "source"]
    text: str = ""
    values: tuple[str, ...] = ()
    structured: bool | None = None
    options: tuple[str, ...] | None = None


class Foreach(Value):
    """Run `do` once per value of `input`, one after another in the same worktree.

    continue_on_error: a value whose steps failed does not stop the others, and the step holds all the same.
    """

    kind: Literal["foreach"] = "foreach"
    input: Input
    do: tuple[Step, ...] = Field(min_length=1)
    max_items: int | None = Field(default=None, ge=0)
    continue_on_error: bool | None = None


class Group(Value):
    """The steps of another workflow, with names of their own.

    given: names that they have, with JSON texts for values. inputs: (name inside, path outside) of values that are
    handed in. outputs: names of theirs that the steps behind see too.
    """

    kind: Literal["group"] = "group"
    do: tuple[Step, ...] = Field(min_length=1)
    given: tuple[tuple[str, str], ...] = ()
    inputs: tuple[tuple[str, str], ...] = ()
    outputs: tuple[str, ...] = ()


class Workspace(Value):
    """How worktrees are had, and what they need beside the files of their commit.

    include: paths below the user's checkout that are copied into each worktree. setup: steps that run once in each
    worktree before its first use. keep_ignored: ignored paths that stay when a worktree is made fresh.
    isolation: `clone`: each has a git directory of its own; `worktree`: they share the repository's; None: clones where
    an agent has a sandbox, else worktrees. reuse: `fresh`: every attempt gets a new worktree; None: they are reused
    (pooled). name: of a worktree that stays
    for other runs. teardown: steps that run in a worktree before it is given up.
    keep_failed: of so many failed items, the newest, the worktrees stay. keep: so do all when the run has completed.
    max_age_s: worktrees of ended runs that are older go when a run begins, in seconds.
    per_run, total: how many worktrees for items a run may have, and all runs of this home together (None: 200).
    max_disk_mb, max_memory_mb: what the run's worktrees and its items at work may take together.
    min_free_disk_mb: what must be free where a worktree is made, and in home and repository for an item to start.
    memory_per_item_mb: what an item at work takes (None: an estimate).
    """

    include: tuple[str, ...] = ()
    setup: tuple[Step, ...] = ()
    keep_ignored: tuple[str, ...] = ()
    isolation: Literal["worktree", "clone"] | None = None
    reuse: Literal["fresh"] | None = None
    name: str | None = None
    teardown: tuple[Step, ...] = ()
    keep_failed: int | None = Field(default=None, ge=0)
    keep: bool | None = None
    max_age_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    per_run: int | None = Field(default=None, ge=1)
    total: int | None = Field(default=None, ge=1)
    max_disk_mb: int | None = Field(default=None, ge=1)
    min_free_disk_mb: int | None = Field(default=None, ge=1)
    max_memory_mb: int | None = Field(default=None, ge=1)
    memory_per_item_mb: int | None = Field(default=None, ge=1)


class Named(Value):
    """Steps of a parallel experiment, in a worktree of their own. merge: whether their commits are merged."""

    name: str
    do: tuple[Step, ...] = Field(min_length=1)
    merge: bool | None = None


class Merging(Value):
    """How what items commit gets into the run branch.

    check: steps that a merge has to pass before the branch moves. batch: how many items are checked together at most
    (None: one). on_reject: what becomes of an item whose merge does not pass; `retry`: one more attempt that is told
    why. strategy: the commits as they are behind a merge commit, on top of the branch, or all in one.
    """

    check: tuple[Step, ...] = ()
    batch: int | None = Field(default=None, ge=1)
    on_reject: Literal["retry", "dlq"] = "retry"
    strategy: Literal["merge", "rebase", "squash"] = "merge"


class MapReduce(Value):
    """Run `template` once per work item, at most `max_parallel` items at a time, then `reduce` once.

    json_path: an RFC 9535 query on the input, beginning with `$`. select: which of its values become items.
    on_uncommitted: what becomes of changes that an item's steps did not commit; None: they are committed.
    limits: on the time of an item. variables: (name, expression over the results) for the steps behind.
    named: the items are these, each with steps of its own, in place of `template`. workspace: of the items' worktrees;
    None: the workflow's. on_conflict: steps that resolve what conflicts when an item is merged. priority: an expression
    over an item; those with the higher value start and merge first.
    """

    not_what_it_does = frozenset(
        {"max_parallel", "errors", "limits", "workspace", "budget", "on_conflict", "merge", "priority"}
    )

    kind: Literal["mapreduce"] = "mapreduce"
    input: Input
    json_path: str | None = None
    select: Selection | None = None
    max_parallel: int = Field(default=10, ge=1)
    on_uncommitted: Uncommitted | None = None
    errors: ErrorPolicy = ErrorPolicy()
    limits: ItemLimits | None = None
    variables: tuple[tuple[str, str], ...] = ()
    template: tuple[Step, ...] = ()
    reduce: tuple[Step, ...] = ()
    named: tuple[Named, ...] = ()
    workspace: Workspace | None = None
    budget: Budget | None = None
    on_conflict: tuple[Step, ...] = ()
    merge: Merging = Field(default_factory=Merging)
    priority: str | None = None

    def steps_of(self, ordinal: int) -> tuple[Step, ...]:
        """The steps of the item with this ordinal, from 1."""
        return self.named[ordinal - 1].do if self.named else self.template


Action = Annotated[
    Shell | Agent | WriteFile | Foreach | Group | MapReduce,
    Field(discriminator="kind"),
]


class Commit(Value):
    """How what a step changed is committed when it has succeeded.

    auto: what it left uncommitted is. message: of that commit, with placeholders; None: one that names the step.
    pattern: every message of the step's commits must match it. author: `Name <mail>`. include, exclude: patterns of
    the files that are committed. squash: the step's commits become one.
    """

    auto: bool = False
    message: str | None = None
    pattern: str | None = None
    author: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    squash: bool | None = None


class Policy(Value):
    """How the action runs.

    timeout_s, idle_timeout_s: limits on the whole time and on the time without output, in seconds; None: the built-in
    limit. env: names and values, which may hold placeholders. inherit: whether the step gets all of the user's
    environment; None: as the workflow says. clear_env: it gets neither that nor the workflow's variables, but what it
    takes to run. working_dir: below the worktree.
    """

    not_what_it_does = frozenset({"timeout_s", "idle_timeout_s", "retry", "budget"})

    timeout_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    idle_timeout_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    retry: Retry | None = None
    env: tuple[tuple[str, str], ...] = ()
    inherit: bool | None = None
    clear_env: bool | None = None
    working_dir: str | None = None
    commit: Commit | None = None
    budget: Budget | None = None


class Want(Value):
    """What one command of a check is expected to do. output: a regular expression that its output must match."""

    exit_code: int | None = None
    output: str | None = None


class Check(Value):
    """What must hold after the action.

    expect: `commit`: it has added at least one commit. `success`: the steps of `run` succeed. `result`: they tell, as
    JSON in `result_file` or in the output of the last of them, that the work is at least `threshold` percent complete
    (None: 100) and fits `json_schema` (a JSON text). `answers`: at least `needed` of the steps of `run` (None: all) do
    what their place in `wants` says.
    timeout_s: of each step of `run` that has no limit of its own. repair: steps that run when it does not hold, after
    which it is looked at again, at most `rounds` times; without repair, it is looked at `rounds` times more, each
    after `delay_s` seconds. lenient: what does not hold in the end is warned of, and fails nothing.
    """

    not_what_it_does = frozenset({"timeout_s", "delay_s"})

    expect: Literal["commit", "success", "result", "answers"]
    run: tuple[Step, ...] = ()
    wants: tuple[Want, ...] = ()
    needed: int | None = Field(default=None, ge=0)
    threshold: float | None = Field(default=None, ge=0, le=100)
    result_file: str | None = None
    json_schema: str | None = None
    timeout_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    repair: tuple[Step, ...] = ()
    rounds: int | None = Field(default=None, ge=0)
    delay_s: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    lenient: bool | None = None


class Handler(Value):
    """Steps to run when the action ended in a certain way.

    on: `failure`, `success`, or one exit status. again: how often, after `do`, a failed action runs once more.
    fatal: the failure stands, whatever `do` did.
    """

    on: Literal["failure", "success"] | int
    do: tuple[Step, ...] = ()
    again: int = Field(default=0, ge=0)
    fatal: bool = False


class Step(Value):
    """One step, in six parts: action, when, policy, checks, handlers, capture.

    id, name and phase are labels for people. line: where the step begins in the workflow file, from 1. file: the name
    of that file when it is another one.
    """

    not_what_it_does = frozenset({"id", "name", "phase", "line", "file"})

    action: Action
    when: str | None = None
    policy: Policy = Policy()
    checks: tuple[Check, ...] = ()
    handlers: tuple[Handler, ...] = ()
    capture: Capture | None = None
    id: str | None = None
    name: str | None = None
    phase: Phase = ""
    line: int = Field(ge=1)
    file: str | None = None

    @property
    def label(self) -> str:
        """The step in a few words."""
        if self.name or self.id:
            return self.name or self.id or ""
        match self.action:
            case Shell(text=text) | Agent(prompt=text):
                first = next((line.strip() for line in text.splitlines() if line.strip()), "")
                return first if len(first) <= 60 else f"{first[:59]}…"
            case WriteFile(path=path):
                return f"write {path}"
            case Foreach():
                return "foreach"
            case MapReduce(named=named) if named:
                return "worktrees"
        return "map"


class Configured(Value):
    """What the configuration says for workflows that do not say it themselves.

    max_parallel: of every map. retry: of every step. timeout_s: of every step whose agent has no limit either, in
    seconds. merge_strategy: of items. workspace: what the workflow's own is put over.
    """

    max_parallel: int | None = Field(default=None, ge=1)
    retry: Retry | None = None
    timeout_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    merge_strategy: Literal["merge", "rebase", "squash"] | None = None
    workspace: Workspace = Workspace()


NOTHING_CONFIGURED = Configured()


class Workflow(Value):
    """A whole workflow. A step's number, the key of everything it does, is its place in its list, from 1.

    source: the file's name as the user gave it, for messages. parameters: (name, JSON text of the value).
    merge: steps that run once before the final merge. max_iterations: how often the steps run, unless the user says it
    (None: once). limits: (phase, seconds that its steps may take together). configured: what it was read with.
    """

    name: str
    steps: tuple[Step, ...] = Field(min_length=1)
    agents: Agents = Agents()
    budget: Budget | None = None
    workspace: Workspace = Workspace()
    environment: Environment = Environment()
    parameters: tuple[tuple[str, str], ...] = ()
    merge: tuple[Step, ...] = ()
    max_iterations: int | None = Field(default=None, ge=1)
    limits: tuple[tuple[Phase, float], ...] = ()
    configured: Configured = NOTHING_CONFIGURED
    source: str
