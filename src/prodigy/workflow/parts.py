"""What a workflow that is a part of another one has: names, variables, fan-outs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prodigy.workflow.environment import Environment
from prodigy.workflow.model import Group, MapReduce, Step
from prodigy.workflow.policies import takes_no_data
from prodigy.workflow.yaml_nodes import Mapping, Node, Scalar, Sequence

if TYPE_CHECKING:
    from prodigy.workflow.steps import StepReader


def take_env(reader: StepReader, environment: Environment, parameters: Iterable[str], directory: str | None) -> None:
    """What every step of a part has: the part's parameters and its own plain variables."""
    simple = simple_env(environment)
    fit = [name for name in sorted(parameters) if name.isidentifier() and not takes_no_data(name)]
    reader.env = (*((name, f"${{{name}}}") for name in fit), *simple.items())
    reader.fixed |= simple.keys()
    reader.directory = directory


def complain_of_env(reader: StepReader, root: Node | None, environment: Environment) -> None:
    """Warn of variables that a part of a workflow can't have."""
    if not isinstance(root, Mapping) or "env" not in root.entries:
        return
    node = root.entries["env"].value
    simple = simple_env(environment)
    for name, entry in node.entries.items() if isinstance(node, Mapping) else ():
        if name not in simple:
            hint = "only texts without placeholders can; write it in the workflow that it is a part of"
            reader.findings.warn(entry.key.at, f"`{name}` does nothing in a part of another workflow", hint)


def simple_env(environment: Environment) -> dict[str, str]:
    """The variables that are plain texts."""
    return {
        variable.name: variable.value
        for variable in environment.variables
        if variable.value is not None
        and variable.condition is None
        and not variable.secret
        and "${" not in variable.value
    }


def captured(steps: Iterable[Step]) -> Iterator[str]:
    """The names that steps give to those behind them."""
    for step in steps:
        if step.id:
            yield step.id
        if step.capture:
            yield from (*step.capture.names, *(name for name, _ in step.capture.files))
            yield from (extract.name for extract in step.capture.extracts)
        match step.action:
            case Group(outputs=outputs):
                yield from outputs
            case MapReduce(reduce=reduce):
                yield "map"
                yield from captured(reduce)


def fans_out(step: Step) -> bool:
    """Whether it is a fan-out, or has one among its steps."""
    waiting = [step]
    while waiting:
        match waiting.pop().action:
            case MapReduce():
                return True
            case Group(do=do):
                waiting += do
    return False


def placed(root: Mapping) -> Iterator[str]:
    """The names behind `workflow` in any step."""
    nodes: list[Node] = [entry.value for name, entry in root.entries.items() if name != "workflows"]
    while nodes:
        node = nodes.pop()
        if isinstance(node, Sequence):
            nodes += node.items
        elif isinstance(node, Mapping):
            nodes += [entry.value for entry in node.entries.values()]
            named = node.entries.get("workflow")
            if named is not None and isinstance(named.value, Scalar):
                yield named.value.value
