"""Steps that consist of other steps: `foreach`, and the steps of another workflow.

They start no process of their own; what they did is what their steps did, each under a path of its own, so that a
resume goes on inside of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from prodigy.engine.captures import Scope
from prodigy.engine.keeping import write_whole
from prodigy.engine.site import Outcome, RunList, Site
from prodigy.engine.specials import Specials
from prodigy.engine.time_limits import is_used_up, part_limit
from prodigy.errors import ProdigyError
from prodigy.executors.base import Snapshot
from prodigy.plan.identity import Item, item_scope
from prodigy.plan.sources import InputError, items_of_glob, items_of_output, values_of
from prodigy.state import events as ev
from prodigy.state.dead_letter import Failure
from prodigy.state.step_path import INPUT, execution_path
from prodigy.store.store import Store
from prodigy.workflow.interpolate import Unresolved, interpolate_text, lookup
from prodigy.workflow.model import Foreach, Group, Input, Shell, Step
from prodigy.workflow.walk import fingerprint

_VALUES = "values.json"


def is_composite(step: Step) -> bool:
    return isinstance(step.action, Foreach | Group)


def inner_path(step: Step, path: str, number: int) -> str:
    """Below which the steps of a composite stand. number: of its executions that count, from 0."""
    return f"{path}/do/r{number + 1}" if isinstance(step.action, Foreach) else f"{path}/do"


@dataclass
class Composites:
    """Runs the steps of composite steps; `run_list` is the step executor's."""

    store: Store
    run_list: RunList

    async def run(self, step: Step, path: str, number: int, site: Site, before: Snapshot) -> Outcome:
        """Run what is left of the composite's execution `number`, from 0."""
        prefix = inner_path(step, path, number)
        site = replace(site, limit=part_limit(step, prefix, site.limit))
        if isinstance(step.action, Foreach):
            return await self._foreach(step, step.action, prefix, site, before)
        assert isinstance(step.action, Group)
        try:
            scope = group_scope(step.action, site.scope, site.base)
        except ProdigyError as error:
            return Outcome(before, Failure(str(error), kind="command_failed"))
        return await self.run_list(step.action.do, replace(site.within(prefix, {}), scope=scope), before)

    async def _foreach(self, step: Step, action: Foreach, prefix: str, site: Site, before: Snapshot) -> Outcome:
        values, outcome = await self._values(step, action, prefix, site, before)
        failures = 0
        for number, value in enumerate(values, 1):
            item = Item(number, str(number), value)
            names = {**item_scope(item, len(values)), "index": number - 1, "total": len(values)}
            here = replace(site.within(f"{prefix}/it{number}", names), item=value)
            outcome = await self.run_list(action.do, here, outcome.boundary)
            if outcome.failure is None:
                continue
            has_gone_on = self.store.has_steps_below(f"{prefix}/it{number + 1}")
            if not action.continue_on_error or (is_used_up(self.store, site.limit) and not has_gone_on):
                what = f"value {number} of {len(values)}: {outcome.failure.message}"
                return Outcome(outcome.boundary, replace(outcome.failure, message=what))
            failures += 1
        if failures and not self.store.executions(prefix.rpartition("/do/")[0])[-1].settled:
            what = f"{step.label}: the steps failed for {failures} of {len(values)} values"
            self.store.record(ev.Warned(message=f"{what}; the workflow goes on (continue_on_error)"))
        return Outcome(outcome.boundary)

    async def _values(
        self, step: Step, action: Foreach, prefix: str, site: Site, before: Snapshot
    ) -> tuple[tuple[object, ...], Outcome]:
        """The values, and the outcome of the command that tells them, if it is one. They are the same on a resume,
        whatever has become of the files: what a command printed is kept, and so are values that were found once."""
        outcome, source = Outcome(before), action.input
        try:
            if source.kind == "command":
                command = Step(action=Shell(text=source.text, options=source.options), line=step.line)
                outcome = await self.run_list((command,), site.within(prefix, {}), before, INPUT)
                if outcome.failure is not None:
                    what = f"the command of `foreach` failed: {outcome.failure.message}"
                    return (), Outcome(outcome.boundary, replace(outcome.failure, message=what))
                row = self.store.executions(f"{prefix}/{INPUT}")[-1]
                output = (self.store.directory / "steps" / row.log / "stdout").read_bytes()
                values = items_of_output(output, None).values
            else:
                values = self._kept_values(step, source, prefix, site, before)
        except (InputError, Unresolved) as error:
            return (), Outcome(outcome.boundary, Failure(str(error), kind="invalid_item", step=f"{prefix}/{INPUT}"))
        return values[: action.max_items], outcome

    def _kept_values(self, step: Step, source: Input, prefix: str, site: Site, before: Snapshot) -> tuple[object, ...]:
        """Values that no command tells, from the record of their finding; it is made now when there is none."""
        path = f"{prefix}/{INPUT}"
        if rows := self.store.executions(path):
            return tuple(json.loads((self.store.directory / "steps" / rows[-1].log / _VALUES).read_bytes()))
        if source.kind == "values":
            scope = site.scope.with_specials(Specials(site.workspace.path))
            values = tuple(values_of(source, lambda text: interpolate_text(text, scope)))
        else:
            values = items_of_glob(source.text, site.workspace.path).values
        execution = execution_path(path, self.store.next_try(path))
        write_whole(self.store.directory / "steps" / execution / _VALUES, json.dumps(values).encode())
        self.store.record(
            ev.StepStarted(path=execution, fingerprint=fingerprint(step), label=f"values of {step.label}"),
            ev.StepFinished(
                path=execution, kind=None, message=None, exit_code=0, duration_s=0.0,
                head=before.head, snapshot=before.commit, moves_run=False,
            ),
        )  # fmt: skip
        return values


def group_scope(group: Group, outside: Scope, base: Mapping[str, object]) -> Scope:
    """What the steps of another workflow may name: what every step may (`base`), what they were given, and what was
    handed in. Raises Unresolved."""
    given = {name: json.loads(text) for name, text in group.given}
    return Scope({**base, **given, **{name: lookup(outside, path) for name, path in group.inputs}})
