"""Runs every step by `nice`, so that the machine stays usable: how another package adds an executor.

The words of any program that runs another one can stand in front of a step's, such as those of a container.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

from prodigy.errors import EnvironmentProblem
from prodigy.executors.base import Executor, ProcessSpec, Workspace
from prodigy.executors.registry import Site
from prodigy.executors.wrapping import WrappedExecutor


class Nice:
    """Makes the executor of a run: this host's, with other words in front of every command."""

    # The version of Prodigy's protocols that this was written for.
    interface = 1

    def open(self, site: Site) -> Executor:
        program = shutil.which("nice")
        if program is None:
            raise EnvironmentProblem("nice was not found", hint="It is part of the coreutils.")
        level = os.environ.get("NICE_LEVEL", "10")

        def nicer(spec: ProcessSpec, _: Workspace) -> ProcessSpec:
            return replace(spec, argv=(program, "-n", level, *spec.argv))

        return WrappedExecutor(site.local(), nicer)
