"""The tools that only look."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from prodigy.api.records import Event
from prodigy.api.results import Result
from prodigy.api.runs import Run, readable, runs
from prodigy.api.workflows import Workflow
from prodigy.errors import Problem as Mistake
from prodigy.errors import ProdigyError, UsageError, WorkflowError
from prodigy.mcp_server import outputs as out
from prodigy.mcp_server.access import Access, answering, cleaned, told
from prodigy.report.letter_advice import advice
from prodigy.report.letter_analysis import kind_of
from prodigy.report.letter_filter import letter_filter
from prodigy.store.spending import by_item, by_model
from prodigy.store.store import Store

RunName = Annotated[
    str,
    Field(description="A run id, the beginning of one, a workflow's name or file (its latest run), or `latest`."),
]
Params = Annotated[dict[str, Any] | None, Field(description="Values for the workflow's parameters, by name.")]

POLL_S = 0.3
LONGEST_WAIT_S = 600.0
_MOST_EVENTS = 50
_SHOWN = 10
# What is worth waking an agent for.
TELLING = (
    "agent_completed", "agent_failed", "dlq_item_added", "phase_started", "warned", "merge_check_finished",
    "agent_gate_closed", "agent_gate_opened", "breaker_opened", "final_merge_refused", "final_merge_finished",
    "job_held", "job_released", "job_steered", "dlq_items_reprocessed", "job_started", "job_resumed",
    "job_paused", "job_failed", "job_completed",
)  # fmt: skip


@dataclass(frozen=True)
class Looking:
    """The tools; what an agent reads of each is its docstring."""

    access: Access

    def tools(self) -> list[Callable[..., Any]]:
        """In the order in which they are listed."""
        return [
            self.validate_workflow, self.list_runs, self.run_status, self.wait_for_run, self.list_dead_letters,
            self.inspect_dead_letter, self.item_log, self.run_report,
        ]  # fmt: skip

    @answering
    def validate_workflow(
        self,
        file: Annotated[str | None, Field(description="A workflow file, relative to the repository.")] = None,
        text: Annotated[str | None, Field(description="Or the YAML of a workflow itself.")] = None,
        params: Params = None,
    ) -> out.Validated:
        """Check a Prodigy workflow and list every problem with its line, without running anything.

        Use it after writing or editing a workflow, before start_run. Give either `file` or `text`.
        """
        if (file is None) == (text is None):
            raise UsageError("give either file or text", hint="`file` names one in the repository.")
        try:
            if file is not None:
                found = Workflow.load(self.access.workflow(file), params=params, repo=self.access.root)
            else:
                found = Workflow.parse(text or "", params=params, repo=self.access.root)
        except WorkflowError as error:
            return out.Validated(valid=False, problems=_problems(error.file, error.problems))
        return out.Validated(valid=True, name=found.name, warnings=_problems(file or "workflow.yml", found.warnings))

    @answering
    def list_runs(
        self,
        limit: Annotated[int, Field(ge=1, le=200, description="The most to show.")] = 20,
    ) -> out.RunList:
        """List the runs of this repository, newest first. Use run_status for one of them."""
        found = runs(self.access.root)
        lines, unreadable = [], []
        for run, known in readable(found[:limit]):
            if isinstance(known, ProdigyError):
                unreadable.append(f"{run.id}: {known}")
            else:
                lines.append(_line(known))
        return out.RunList(runs=lines, more=max(0, len(found) - limit), unreadable=unreadable)

    @answering
    def run_status(self, run: RunName = "latest") -> out.RunStatus:
        """Tell how a run stands: its items, cost, branch, what stopped it, and which tools make sense next.

        To wait for something to happen use wait_for_run, not this in a loop.
        """
        return status_of(self.access.run(run))

    async def wait_for_run(
        self,
        run: RunName = "latest",
        until: Annotated[
            str, Field(pattern="^(change|end)$", description="`change`: anything worth telling; `end`: the run's end.")
        ] = "change",
        timeout_s: Annotated[float, Field(ge=0, le=LONGEST_WAIT_S, description="Seconds to wait at most.")] = 60,
        after_event: Annotated[
            int | None, Field(description="The last_event of an earlier answer; without it, from now on.")
        ] = None,
    ) -> out.Waited:
        """Wait until something happens in a run (an item done or failed, a phase, a warning, the end), or the time is
        over; then tell what happened and how the run stands.

        Call it again with after_event set to the last_event it told, so that nothing is missed. Runs may take hours.
        """
        try:
            return cleaned(await _waited(self.access.run(run), until, timeout_s, after_event))
        except ProdigyError as error:
            raise told(error) from error

    @answering
    def list_dead_letters(
        self,
        run: RunName = "latest",
        filter: Annotated[  # noqa: A002 - as the command line calls it
            str | None,
            Field(description="An expression over item and letter, e.g. `error_type == 'timeout' && tries < 3`."),
        ] = None,
        limit: Annotated[int, Field(ge=1, le=500)] = 50,
    ) -> out.LetterList:
        """List the items of a run that failed for good, in short, with what to do about their kinds of failure.

        inspect_dead_letter tells one in full; retry_dead_letters runs them again.
        """
        known = self.access.run(run)
        meant = letter_filter(filter) if filter else None
        records = [letter.record for letter in known.dead_letters() if meant is None or meant(letter.record)]
        kinds = dict.fromkeys(kind_of(record) for record in records)
        return out.LetterList(
            run_id=known.id,
            total=len(records),
            letters=[_letter(record) for record in records[:limit]],
            advice=[f"{kind}: {advice(kind).text}" for kind in kinds],
        )

    @answering
    def inspect_dead_letter(
        self,
        item: Annotated[str, Field(description="The item_id that list_dead_letters tells, or the label.")],
        run: RunName = "latest",
    ) -> out.LetterWhole:
        """Tell everything about one dead letter: the item, each failed attempt with what its step printed, the branch
        that has its work. item_log has the whole output."""
        known = self.access.run(run)
        found = [letter for letter in known.dead_letters() if item in (letter.item_id, letter.label)]
        if not found:
            hint = "list_dead_letters has their ids."
            raise UsageError(f"run {known.id} has no dead letter for {item}", hint=hint)
        letter = found[0]
        return out.LetterWhole(
            run_id=known.id, item_id=letter.item_id, label=letter.label, item=letter.item,
            attempts=[
                out.Attempt(
                    attempt=one.attempt, time=one.time, kind=one.kind, message=one.message, step=one.step,
                    exit_code=one.exit_code, output="\n".join(one.output),
                )
                for one in letter.failures
            ],
            eligible=letter.eligible, needs_review=letter.needs_review, branch=letter.branch,
            cost_usd=letter.cost_usd, tokens=letter.tokens,
        )  # fmt: skip

    @answering
    def item_log(
        self,
        item: Annotated[
            str | None, Field(description="An item's id or label; without it, the steps outside of the items.")
        ] = None,
        run: RunName = "latest",
        characters: Annotated[int, Field(ge=100, le=100_000, description="Of the end of each step's output.")] = 4000,
    ) -> out.Logs:
        """Show what the steps of an item's newest attempt printed, step by step; an agent's output in words."""
        known = self.access.run(run)
        labels = {one.label: one.id for one in known.items()} if item is not None else {}
        steps = known.logs(labels.get(item, item) if item is not None else None, characters)
        shown = [
            out.StepOutput.model_validate({name: getattr(step, name) for name in out.StepOutput.model_fields})
            for step in steps
        ]
        return out.Logs(run_id=known.id, item=item, steps=shown)

    @answering
    def run_report(self, run: RunName = "latest") -> out.Report:
        """Tell what a run has cost: in all, by model, by its dearest items, and how its items failed."""
        known = self.access.run(run)
        result = known.status()
        with closing(Store.open(known.directory)) as store:
            models, items = by_model(store), by_item(store)
        failures: dict[str, int] = {}
        for letter in known.dead_letters():
            failures[kind_of(letter.record)] = failures.get(kind_of(letter.record), 0) + 1
        return out.Report(
            run_id=known.id, summary=sentence(result), cost_usd=result.cost_usd, tokens=result.tokens,
            wasted_usd=float(result.spend.get("wasted_usd") or 0.0),
            by_model=_costs(models, "model"), dearest_items=_costs(items, "label")[:_SHOWN], failures=failures,
        )  # fmt: skip


# Runs --------------------------------------------------------------------------------------------------------


def status_of(run: Run) -> out.RunStatus:
    """How a run stands."""
    is_driven = run.is_driven  # asked first: what it did before it ended is in the status
    result = run.status()
    newest = next(iter(run.events(limit=1)), None)
    return out.RunStatus(
        run_id=run.id, summary=sentence(result), workflow=result.workflow, status=result.status, is_driven=is_driven,
        stop_reason=result.stop_reason, phase=result.phase,
        items=out.Counts.model_validate(result.as_dict()["items"]),
        running_items=[item.label for item in run.items("running")[:_SHOWN]] if result.items.running else [],
        dead_letters=result.dead_letters, cost_usd=result.cost_usd, tokens=result.tokens, branch=result.branch,
        target=result.target, merged=result.merged, merge_problem=result.merge_problem, error=result.error,
        last_event=newest.number or 0 if newest else 0,
        next_steps=list(_next(result, is_driven=is_driven)),
    )  # fmt: skip


def sentence(result: Result) -> str:
    """How a run stands, in words."""
    words = [f"{result.workflow} ({result.run_id}): {result.status.replace('_', ' ')}"]
    if result.stop_reason not in (None, "user"):
        words.append(f"stopped by {result.stop_reason}")
    if result.phase and result.status in ("new", "running"):
        words.append(f"in phase {result.phase}")
    counts = result.items
    if counts.total:
        parts = [f"{counts.successful} of {counts.total} items done"]
        parts += [f"{getattr(counts, name)} {name}" for name in ("failed", "running", "pending", "skipped")
                  if getattr(counts, name)]  # fmt: skip
        words.append(", ".join(parts))
    if result.cost_usd:
        words.append(f"cost ${result.cost_usd:.2f}")
    if result.merged:
        words.append(f"merged into {result.target}")
    return "; ".join(words) + "."


def _next(result: Result, *, is_driven: bool) -> Iterable[str]:
    if is_driven:
        yield "resume_run: it was paused" if result.held else "wait_for_run: it goes on"
        return
    if result.status in ("interrupted", "cancelled", "paused", "failed", "new", "running"):
        yield "resume_run: nothing that is finished runs again"
    if result.dead_letters:
        yield "list_dead_letters: see why items failed"
        if result.status.startswith("completed") or result.status == "failed":
            yield "retry_dead_letters: run them again once the cause is mended"
    if result.status.startswith("completed") and result.changed and not result.merged and result.target:
        yield f"resume_run with merge=true: merge {result.branch} into {result.target}"


def _line(result: Result) -> out.RunLine:
    return out.RunLine(
        run_id=result.run_id, workflow=result.workflow, status=result.status, created_at=result.created_at,
        successful=result.items.successful, total=result.items.total, dead_letters=result.dead_letters,
        cost_usd=result.cost_usd,
    )  # fmt: skip


async def _waited(run: Run, until: str, timeout_s: float, after: int | None) -> out.Waited:
    give_up = time.monotonic() + timeout_s
    if after is None:
        newest = await asyncio.to_thread(lambda: next(iter(run.events(limit=1)), None))
        after = newest.number or 0 if newest else 0
    while True:
        ended = not run.is_driven
        heard = await asyncio.to_thread(lambda: list(run.events(after, types=TELLING, limit=_MOST_EVENTS)))
        over = time.monotonic() >= give_up
        if ended or over or (heard and until == "change"):
            status = await asyncio.to_thread(status_of, run)
            events = [out.Happened(number=one.number or 0, time=one.time.isoformat(), type=one.type, text=_words(one))
                      for one in heard]  # fmt: skip
            return out.Waited(ended=ended, timed_out=over and not heard and not ended, events=events, status=status)
        await asyncio.sleep(POLL_S)


def _words(event: Event) -> str:
    data = event.data
    whose = next((str(data[name]) for name in ("label", "phase", "agent", "target") if data.get(name)), "")
    why = next(
        (str(data[name]) for name in ("error", "message", "problem", "what", "status", "by") if data.get(name)), ""
    )
    return ": ".join(part for part in (event.type.replace("_", " "), whose, why) if part)


# Parts -------------------------------------------------------------------------------------------------------


def _problems(file: str, found: Iterable[Mistake]) -> list[out.Problem]:
    return [
        out.Problem(file=one.file or file, line=one.line, column=one.column, message=one.message, hint=one.hint)
        for one in found
    ]


def _letter(record: Any) -> out.Letter:
    last = record["failure_history"][-1]
    return out.Letter(
        item_id=record["item_id"], label=record["label"], kind=last["error_type"], message=last["error_message"],
        tries=record["tries"], eligible=record["reprocess_eligible"], needs_review=record["manual_review_required"],
    )  # fmt: skip


def _costs(rows: list[dict[str, object]], name: str) -> list[out.Cost]:
    return [
        out.Cost.model_validate({"name": str(row[name] or "?"), "cost_usd": row["cost_usd"], "tokens": _tokens(row)})
        for row in rows
    ]


def _tokens(row: dict[str, Any]) -> int:
    kinds = ("input", "output", "cache_read", "cache_write")
    return int(row["tokens"] or 0) if "tokens" in row else sum(int(row[kind] or 0) for kind in kinds)
