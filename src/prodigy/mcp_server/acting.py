"""The tools that start, steer and end runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from prodigy.api.background import resume_in_background, retry_in_background
from prodigy.api.driving import RunOptions, start
from prodigy.api.workflows import Workflow
from prodigy.errors import UsageError
from prodigy.mcp_server import outputs as out
from prodigy.mcp_server.access import Access, answering
from prodigy.mcp_server.looking import Params, RunName, status_of

Merge = Annotated[
    bool,
    Field(
        description="Whether the result is merged into the branch that is checked out, if nothing is lost by it."
        " Without it, it stays on the run's branch for a person to look at."
    ),
]
Parallel = Annotated[int | None, Field(ge=1, description="Items at a time, in place of the workflow's number.")]
Budget = Annotated[float | None, Field(gt=0, description="Dollars that the whole run may cost; it pauses there.")]


@dataclass(frozen=True)
class Acting:
    """The tools; what an agent reads of each is its docstring."""

    access: Access

    def tools(self) -> list[tuple[Callable[..., Any], bool]]:
        """In the order in which they are listed, and whether each may take something away or end it."""
        return [
            (self.start_run, False),
            (self.resume_run, False),
            (self.retry_dead_letters, False),
            (self.pause_run, False),
            (self.steer_run, False),
            (self.cancel_run, True),
        ]

    @answering
    def start_run(
        self,
        workflow: Annotated[str, Field(description="A workflow file, relative to the repository.")],
        params: Params = None,
        merge: Merge = False,
        max_parallel: Parallel = None,
        budget_usd: Budget = None,
        agent: Annotated[str | None, Field(description="What runs the steps that name no agent.")] = None,
        profile: Annotated[str | None, Field(description="Which of the workflow's profiles counts.")] = None,
    ) -> out.Acted:
        """Start a workflow in the background and return its run id at once. The run goes on when you stop.

        It starts from the last commit: uncommitted changes are not part of it. Agents in it cost money: set budget_usd.
        Check the file with validate_workflow first; follow the run with wait_for_run.
        """
        loaded = Workflow.load(self.access.workflow(workflow), params=params, profile=profile, repo=self.access.root)
        options: RunOptions = {"merge": "yes" if merge else "no"}
        given = {"max_parallel": max_parallel, "budget_usd": budget_usd, "agent": agent}
        options.update({name: value for name, value in given.items() if value is not None})  # type: ignore[typeddict-item]
        run = start(loaded, self.access.root, **options)
        warnings = [str(event.data["message"]) for event in run.events(types=("warned",))]
        done = "It has been started; wait_for_run tells how it goes."
        return out.Acted(run_id=run.id, done=done, warnings=warnings, status=status_of(run))

    @answering
    def resume_run(
        self,
        run: RunName = "latest",
        include_dead_letters: Annotated[bool, Field(description="Dead letters run again too, at the end.")] = False,
        merge: Annotated[
            bool | None, Field(description="Merge the result at the end; null keeps what the run was started with.")
        ] = None,
        max_parallel: Parallel = None,
        budget_usd: Budget = None,
    ) -> out.Acted:
        """Go on with a run that is interrupted, paused, cancelled or failed, in the background. What is finished does
        not run again and is not paid again. A run that pause_run paused starts things again. With merge=true, a
        completed run is merged into its target branch.

        budget_usd is the new total, for a run that paused at its budget.
        """
        known = self.access.run(run)
        if known.is_driven and known.status().held:
            known.go_on()
            known.steer(max_parallel=max_parallel, budget_usd=budget_usd)
            return out.Acted(run_id=known.id, done="It starts things again.", status=status_of(known))
        resume_in_background(
            known, include_dead_letters=include_dead_letters, yes=merge is True, no_merge=merge is False,
            max_parallel=max_parallel, budget=budget_usd,
        )  # fmt: skip
        return out.Acted(run_id=known.id, done="It goes on; wait_for_run tells how.", status=status_of(known))

    @answering
    def retry_dead_letters(
        self,
        run: RunName = "latest",
        items: Annotated[list[str] | None, Field(description="Only these item_ids; null for all.")] = None,
        filter: Annotated[  # noqa: A002 - as the command line calls it
            str | None, Field(description="Only those for which it holds, e.g. `error_type == 'timeout'`.")
        ] = None,
        every: Annotated[bool, Field(description="Also those that can't succeed by themselves.")] = False,
        merge: Annotated[bool | None, Field(description="As for resume_run.")] = None,
        max_parallel: Parallel = None,
    ) -> out.Acted:
        """Run dead items of a run that has ended once more, in the background; what succeeds is merged into the run's
        branch and leaves the queue. See list_dead_letters first, and mend what made them fail."""
        known = self.access.run(run)
        ids = [self._letter_id(known.id, item) for item in items or ()]
        retry_in_background(
            known, items=ids, filter=filter, all=every, yes=merge is True, no_merge=merge is False,
            max_parallel=max_parallel,
        )  # fmt: skip
        return out.Acted(run_id=known.id, done="They run; wait_for_run tells how.", status=status_of(known))

    @answering
    def pause_run(self, run: RunName = "latest") -> out.Acted:
        """Let nothing new start in a run that goes on; what runs may finish. resume_run lets it start things again."""
        known = self.access.run(run)
        known.pause()
        return out.Acted(run_id=known.id, done="Nothing new starts; resume_run goes on.", status=status_of(known))

    @answering
    def steer_run(
        self,
        run: RunName = "latest",
        max_parallel: Parallel = None,
        budget_usd: Budget = None,
        retry_items: Annotated[
            list[str] | None, Field(description="item_ids of dead letters to run again while the map still goes on.")
        ] = None,
    ) -> out.Acted:
        """Change how a run goes on without stopping it: items at a time, the budget in all, or dead items to run again
        now. For a run that no process drives use resume_run or retry_dead_letters."""
        if not (max_parallel or budget_usd or retry_items):
            raise UsageError("this changes nothing", hint="Give max_parallel, budget_usd or retry_items.")
        known = self.access.run(run)
        known.steer(max_parallel=max_parallel, budget_usd=budget_usd, retry=retry_items or ())
        return out.Acted(run_id=known.id, done="It goes on so.", status=status_of(known))

    @answering
    def cancel_run(
        self, run: Annotated[str, Field(description="Which run; `latest` is not enough here.")]
    ) -> out.Acted:
        """End what runs of a run, at once. Items that were running are tried again when it is resumed; nothing that was
        finished is lost."""
        if run == "latest":
            raise UsageError("a run is cancelled by its id", hint="list_runs has the ids.")
        known = self.access.run(run)
        result = known.cancel()
        return out.Acted(run_id=known.id, done=f"It is {result.status}.", status=status_of(known))

    def _letter_id(self, run_id: str, name: str) -> str:
        """Raises UsageError for an item that has no dead letter."""
        letters = self.access.run(run_id).dead_letters()
        if name not in {known for letter in letters for known in (letter.item_id, letter.label)}:
            raise UsageError(f"run {run_id} has no dead letter for {name}", hint="list_dead_letters has their ids.")
        return name
