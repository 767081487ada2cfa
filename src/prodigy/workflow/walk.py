"""Looking through the steps of a workflow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prodigy.workflow.canonical import canonical_json, short_hash
from prodigy.workflow.frozen import Value
from prodigy.workflow.model import Foreach, Group, MapReduce, Step, Workflow, Workspace


def fingerprint(step: Step) -> str:
    """16 hexadecimal digits that are equal for two steps that do the same.

    Labels, line numbers, time limits and the number of parallel items do not count: a step that finished has
    done the same work under other ones. Parts that are empty do not count either, so that a later version of
    the model, with more parts, gives the same fingerprint to the same step.
    """
    return short_hash(canonical_json(_what_it_does(step)), 16)


def _what_it_does(value: object) -> object:
    if isinstance(value, Value):
        counted = [name for name in type(value).model_fields if name not in value.not_what_it_does]
        parts = {name: _what_it_does(getattr(value, name)) for name in counted}
        return {name: part for name, part in parts.items() if part not in (None, [], {})}
    if isinstance(value, tuple):
        return [_what_it_does(part) for part in value]
    return value


def every_step(workflow: Workflow) -> Iterator[Step]:
    """Every step of a workflow, those inside of others too."""
    own = workflow.workspace
    return walk([*workflow.steps, *own.setup, *own.teardown, *workflow.merge], own)


def walk(steps: Iterable[Step], around: Workspace | None = None) -> Iterator[Step]:
    """These steps and those inside of them. around: the workspace whose steps are among them already."""
    waiting = list(steps)
    while waiting:
        step = waiting.pop(0)
        yield step
        match step.action:
            case MapReduce(template=template, reduce=reduce, named=named, workspace=workspace):
                waiting += [*template, *reduce, *(inner for part in named for inner in part.do)]
                waiting += [*step.action.merge.check, *step.action.on_conflict]
                if workspace is not None:
                    waiting += workspace.setup if around is None or workspace.setup != around.setup else ()
                    waiting += workspace.teardown if around is None or workspace.teardown != around.teardown else ()
            case Foreach(do=do) | Group(do=do):
                waiting += do
        for check in step.checks:
            waiting += [*check.run, *check.repair]
        for handler in step.handlers:
            waiting += handler.do
