"""Which executors there are: ours, and those of other packages."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Protocol

from prodigy import plugins
from prodigy.errors import EnvironmentProblem, UsageError
from prodigy.executors.base import Executor
from prodigy.executors.furnishing import Lodging
from prodigy.executors.local import LocalExecutor
from prodigy.executors.processes import Processes
from prodigy.git.private import PrivateGit
from prodigy.git.repo import Repo

LOCAL = "local"


@dataclass(frozen=True)
class Site:
    """What an executor of one run is made from.

    repo: the user's repository. private: the run's own git directory. processes: how processes are started and found
    again on this host. folder: where the run's worktrees are. in_use: slots that attempts of an earlier coordinator
    still own. lodging: how the run's own worktree is had. retired: slots that are not used again.
    """

    run_id: str
    repo: Repo
    private: PrivateGit
    processes: Processes
    folder: Path
    in_use: Collection[str]
    lodging: Lodging
    retired: Collection[str]

    def local(self) -> LocalExecutor:
        """The executor that uses this host."""
        return LocalExecutor(
            self.repo, self.private, self.processes, self.folder, self.run_id, self.in_use, self.lodging, self.retired
        )


class ExecutorProvider(Protocol):
    """What an entry point of the group `prodigy.executors` names: an object, or a class without arguments.

    It may have `interface`, the version of these protocols it was made for.
    """

    def open(self, site: Site) -> Executor:
        """The executor of one run. Raises EnvironmentProblem when it can't work here."""
        ...


def known_executor(name: str | None) -> str | None:
    """The name as it was given; raises UsageError when there is none of that name, EnvironmentProblem when it does not
    load. None: the workflow's user names none."""
    if name is not None and name != LOCAL:
        _load(name)
    return name


def executor(name: str | None, site: Site) -> Executor:
    """The executor of this name for a run. Raises as `known_executor` does."""
    if name is None or name == LOCAL:
        return site.local()
    plugin, provider = _load(name)
    made: Executor = plugins.guarded(plugin, plugins.guarded(plugin, provider).open(site), "open", "attach")
    return made


def _load(name: str) -> tuple[plugins.Plugin, Any]:
    known = (LOCAL, *plugins.names(plugins.EXECUTORS))
    if name not in known:
        nearest = get_close_matches(name[:100], known, 1)
        others = f"Did you mean {nearest[0]}?" if nearest else f"There are: {', '.join(known)}."
        hint = f"{others} Others come with packages, installed where `prodigy` is."
        raise UsageError(f"there is no executor {name!r}", hint=hint)
    plugin, provider = plugins.load(plugins.EXECUTORS, name)
    if not callable(getattr(provider, "open", None)):
        raise EnvironmentProblem(f"{plugin} has no method `open`", hint="Update or remove that package.")
    return plugin, provider
