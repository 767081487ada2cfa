"""What all attempts of a fan-out share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from prodigy.workflow.model import MapReduce


@dataclass(frozen=True)
class FanoutPlace:
    """What all attempts of a fan-out share: its path and action, the names and the environment of its steps.

    inputs: what the iteration adds to the environment of every step. base: what every step of the run may name.
    """

    path: str
    mapping: MapReduce
    names: Mapping[str, object]
    env: Mapping[str, str]
    inputs: Mapping[str, str]
    base: Mapping[str, object]
