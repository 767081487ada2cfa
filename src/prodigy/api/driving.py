"""Starting runs and going on with them, from a program: in the foreground, in an event loop, or in the background."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar, Unpack

from prodigy.api.audience import OnEvent, drive, drive_async
from prodigy.api.results import Result
from prodigy.api.runs import Run, as_run
from prodigy.api.workflows import Workflow, as_workflow, configured
from prodigy.engine.choices import Choices
from prodigy.engine.opening import known_agent
from prodigy.engine.run import BY_OUTCOME, Options
from prodigy.engine.session import Caller, Chosen, Ended
from prodigy.engine.session import cancel as cancel_run
from prodigy.engine.session import resume as resume_run
from prodigy.engine.session import retry as retry_run
from prodigy.engine.session import run as begin_run
from prodigy.engine.start import create_run
from prodigy.engine.versions import Edited
from prodigy.errors import UsageError
from prodigy.report.letter_filter import letter_filter
from prodigy.state.items import ItemRow

AnyWorkflow = Workflow | str | Path | Mapping[str, Any]
Merge = Literal["yes", "no"]
Act = Callable[[Caller], Awaitable[Ended]]


class RunOptions(TypedDict, total=False):
    """How a workflow is run.

    merge: `yes` merges the run branch into the branch you are on at the end, if nothing is lost by it; `no` (the
        default) leaves it. max_parallel: items at a time. budget_usd: what agents may cost in all.
    agent: runs the steps that name none. executor: what provides the places where steps run, of another package.
    max_iterations: how often the workflow is run; args, files: once for each, as $ARG and $FILE. fail_fast: nothing
        more starts once an item has failed for good.
    """

    merge: Merge
    max_parallel: int
    budget_usd: float
    agent: str
    executor: str
    max_iterations: int
    args: Sequence[str]
    files: Sequence[str]
    fail_fast: bool


class AgainOptions(TypedDict, total=False):
    """How a run goes on; what is left out is as before.

    merge, max_parallel, agent, executor: as for `run`. budget_usd: the new total. max_retries: leave out items with so
        many tries or more. workflow: an edited one, for everything that has not begun.
    items_from: items that run again begin at their `start` or at the `failed_step`. force: take the run from a process
        on another host that is gone.
    """

    merge: Merge
    max_parallel: int
    budget_usd: float
    agent: str
    executor: str
    max_retries: int
    workflow: AnyWorkflow
    items_from: Literal["start", "failed_step"]
    force: bool


# Starting ----------------------------------------------------------------------------------------------------


def run(
    workflow: AnyWorkflow, repo: str | Path = ".", *, on_event: OnEvent | None = None, **options: Unpack[RunOptions]
) -> Result:
    """Run a workflow on the repository around `repo`, to its end.

    workflow: a `Workflow`, the path of a file, or a mapping. on_event: called with each event as it happens; when it
    raises, the run is left as it is and the error comes out of here.

    The result tells how the run ended, also when it failed; `.check()` raises then. An error that is raised means that
    nothing was started: UsageError, WorkflowError, EnvironmentProblem. Ctrl-C lets what runs finish, a second one ends
    it; KeyboardInterrupt is raised when the run is at rest, and `resume` goes on with it.
    """
    return drive(lambda: _new(workflow, repo, options), on_event)


async def run_async(
    workflow: AnyWorkflow, repo: str | Path = ".", *, on_event: OnEvent | None = None, **options: Unpack[RunOptions]
) -> Result:
    """As `run`, for a program with an event loop, which is not kept waiting: the run has a thread of its own.

    on_event is called in the loop. When the task is cancelled, nothing new starts, what runs has five seconds, and then
    goes on by itself; `resume` finds it. Several may run side by side.
    """
    return await drive_async(lambda: _new(workflow, repo, options), on_event)


def start(workflow: AnyWorkflow, repo: str | Path = ".", **options: Unpack[RunOptions]) -> Run:
    """Start a workflow in the background, as `prodigy run --detach` does, and return when it has begun. It goes on when
    this process ends. Raises as `run` does."""
    from prodigy.engine.background import begin_in_background

    run_id = _create(workflow, repo, options)
    begin_in_background(run_id).require_accepted()
    return Run(run_id)


def _new(workflow: AnyWorkflow, repo: str | Path, options: RunOptions) -> tuple[str, Act]:
    run_id = _create(workflow, repo, options)
    return run_id, lambda caller: begin_run(run_id, caller)


def _create(workflow: AnyWorkflow, repo: str | Path, options: RunOptions) -> str:
    chosen = _checked(_RunOptions, options)
    known = as_workflow(workflow, repo)
    found = configured(repo)
    stored = Options(
        merge=chosen.merge or "no",
        max_parallel=chosen.max_parallel,
        started_in=str(Path(repo).absolute()),
        max_iterations=chosen.max_iterations or known.loaded.workflow.max_iterations or 1,
        args=tuple(chosen.args),
        files=tuple(map(str, chosen.files)),
        budget_usd=chosen.budget_usd,
        day_usd=found.per_day_usd,
        branch_prefix=found.branch_prefix,
        fail_fast=chosen.fail_fast,
        agent=known_agent(chosen.agent, known.loaded.workflow.agents),
        executor=chosen.executor,
    )
    return create_run(known.loaded, known.file, Path(repo), stored).run_id


# Going on ----------------------------------------------------------------------------------------------------


def resume(
    run: Run | str = "latest",
    repo: str | Path = ".",
    *,
    include_dead_letters: bool = False,
    include_failed: bool = False,
    on_event: OnEvent | None = None,
    **options: Unpack[AgainOptions],
) -> Result:
    """Go on with a run where it stands; nothing that is finished runs again. A run that has ended is offered its merge.

    run: a `Run`, or what `find` takes, in the repository around `repo`. include_dead_letters: they run again too, after
    everything else; include_failed: also those that are past their limit of tries.

    The rest is as for `run`. Raises RunLocked when another process works on it.
    """
    return drive(lambda: _resumed(run, repo, options, include_dead_letters, include_failed), on_event)


async def resume_async(
    run: Run | str = "latest",
    repo: str | Path = ".",
    *,
    include_dead_letters: bool = False,
    include_failed: bool = False,
    on_event: OnEvent | None = None,
    **options: Unpack[AgainOptions],
) -> Result:
    """As `resume`, for a program with an event loop: see `run_async`."""
    return await drive_async(lambda: _resumed(run, repo, options, include_dead_letters, include_failed), on_event)


def retry_dead_letters(
    run: Run | str = "latest",
    repo: str | Path = ".",
    *,
    items: Collection[str] = (),
    filter: str | None = None,  # noqa: A002 - the name that the command line has for it
    every: bool = False,
    reduce: bool = False,
    on_event: OnEvent | None = None,
    **options: Unpack[AgainOptions],
) -> Result:
    """Run the dead items of a run that has ended once more; what succeeds is merged and leaves the queue.

    items: only those with these ids. filter: only those for which the expression holds, e.g.
    "error_type == 'timeout'". every: also those that can't succeed by themselves. reduce: run the reduce steps again
    afterwards.

    The rest is as for `resume`. Raises UsageError when an item has no dead letter.
    """
    return drive(lambda: _retried(run, repo, options, items, filter, every, reduce), on_event)


async def retry_dead_letters_async(
    run: Run | str = "latest",
    repo: str | Path = ".",
    *,
    items: Collection[str] = (),
    filter: str | None = None,  # noqa: A002
    every: bool = False,
    reduce: bool = False,
    on_event: OnEvent | None = None,
    **options: Unpack[AgainOptions],
) -> Result:
    """As `retry_dead_letters`, for a program with an event loop: see `run_async`."""
    return await drive_async(lambda: _retried(run, repo, options, items, filter, every, reduce), on_event)


def cancel(run_id: str) -> Result:
    """End what still runs of a run that nobody drives."""
    return drive(lambda: (run_id, lambda caller: cancel_run(run_id, caller)), None)


def _resumed(
    run: Run | str,
    repo: str | Path,
    options: AgainOptions,
    dead: bool,
    failed: bool,
) -> tuple[str, Act]:
    known = as_run(run, repo)
    choices = replace(_choices(options, known), past_limit=failed)
    return known.id, lambda caller: resume_run(known.id, caller, choices, include_dead=dead or failed)


def _retried(
    run: Run | str,
    repo: str | Path,
    options: AgainOptions,
    items: Collection[str],
    expression: str | None,
    every: bool,
    reduce: bool,
) -> tuple[str, Act]:
    known = as_run(run, repo)
    choices = _choices(options, known)
    choices = replace(choices, items_from=choices.items_from or BY_OUTCOME, reduce=reduce)
    chosen = _chosen(known, items, expression)
    return known.id, lambda caller: retry_run(known.id, caller, choices, chosen=chosen, every=every)


def _chosen(run: Run, items: Collection[str], expression: str | None) -> Chosen:
    records = [letter.record for letter in run.dead_letters()]
    if missing := sorted(set(items) - {record["item_id"] for record in records}):
        known = ", ".join(record["item_id"] for record in records[:8]) or "none"
        hint = f"There are: {known}."
        raise UsageError(f"run {run.id} has no dead letter for {', '.join(missing[:8])}", hint=hint)
    meant = letter_filter(expression) if expression is not None else None
    keys = {
        (record["fanout"], record["ordinal"])
        for record in records
        if (not items or record["item_id"] in items) and (meant is None or meant(record))
    }

    def chosen(fanout: str, row: ItemRow) -> bool:
        return (fanout, row.ordinal) in keys

    return chosen


def _choices(options: AgainOptions, run: Run) -> Choices:
    repo = run.repository
    chosen = _checked(_AgainOptions, options)
    edited = None
    if chosen.workflow is not None:
        known = as_workflow(chosen.workflow, repo)
        edited = Edited(known.loaded.workflow, known.file or Path(known.loaded.workflow.source))
    return Choices(
        merge=chosen.merge,
        max_parallel=chosen.max_parallel,
        budget_usd=chosen.budget_usd,
        agent=chosen.agent,
        executor=chosen.executor,
        configured=configured(repo),
        items_from=chosen.items_from,
        max_tries=chosen.max_retries,
        edited=edited,
        force=chosen.force,
    )


# Options -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Common:
    merge: str | None = None
    max_parallel: int | None = None
    budget_usd: float | None = None
    agent: str | None = None
    executor: str | None = None


@dataclass(frozen=True)
class _RunOptions(_Common):
    max_iterations: int | None = None
    args: Sequence[str] = ()
    files: Sequence[str] = ()
    fail_fast: bool = False


@dataclass(frozen=True)
class _AgainOptions(_Common):
    max_retries: int | None = None
    workflow: AnyWorkflow | None = None
    items_from: str | None = None
    force: bool = False


_T = TypeVar("_T", bound=_Common)


def _checked(kind: type[_T], options: Mapping[str, Any]) -> _T:
    """The options as a value. Raises UsageError for one that there is not, or that has no such value."""
    known = [each.name for each in fields(kind)]
    if unknown := sorted(set(options) - set(known)):
        raise UsageError(f"there is no option {unknown[0]!r}", hint=f"There are: {', '.join(known)}.")
    words = {"merge": ("yes", "no"), "items_from": ("start", "failed_step")}
    for name, allowed in words.items():
        if (value := options.get(name)) is not None and value not in allowed:
            raise UsageError(f"{name}={value!r} means nothing", hint=f"It is one of {', '.join(map(repr, allowed))}.")
    for name in ("max_parallel", "budget_usd", "max_iterations", "max_retries"):
        if (value := options.get(name)) is not None and not (isinstance(value, int | float) and value > 0):
            raise UsageError(f"{name}={value!r} is not more than 0", hint="Leave it out, or give a number.")
    for name in ("args", "files"):
        if isinstance(options.get(name), str):
            raise UsageError(f"{name} is one text", hint="Give a list of texts.")
    return kind(**options)
