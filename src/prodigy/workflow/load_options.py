"""What the user says of a workflow when it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prodigy.workflow.agent_settings import NO_AGENTS, Agents
from prodigy.workflow.yaml_nodes import Position

if TYPE_CHECKING:  # it takes longer than all else here
    from prodigy.workflow.model import Configured


class Written(str):
    """A parameter's value as characters of a command line or a file: the declared type says what it is."""

    __slots__ = ()


@dataclass(frozen=True)
class LoadOptions:
    """parameters: values by name, JSON values or `Written`. profile: the one of the workflow's that counts; None: none.

    before: values that a run was started with, for parameters that are not given anew; those that do not fit the
    workflow any more are left out. places: where values stand in a file, for messages; others are the command line's.
    agents: beside the workflow's own, which win. configured: what else counts where the workflow says nothing.
    """

    parameters: Mapping[str, object] = field(default_factory=dict)
    profile: str | None = None
    before: Mapping[str, object] = field(default_factory=dict)
    places: Mapping[str, Position] = field(default_factory=dict)
    agents: Agents = NO_AGENTS
    configured: Configured | None = None


NOTHING_GIVEN = LoadOptions()
