"""What other installed packages add to Prodigy, found by their entry points, and what becomes of it when it fails."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from prodigy.errors import EnvironmentProblem, ProdigyError, UsageError

AGENTS = "prodigy.agents"
ITEM_SOURCES = "prodigy.item_sources"
EXECUTORS = "prodigy.executors"
# The group of entry points -> what each of them adds.
WORDS = {AGENTS: "agent kind", ITEM_SOURCES: "item source", EXECUTORS: "executor"}

# The version of the protocols that plugins implement. It goes up when a plugin that was made for it would not work any
# more; a plugin says by an attribute `interface` which one it was made for, without one this one.
INTERFACE = 1


@dataclass(frozen=True)
class Plugin:
    """Something that another package adds. package, version: of that package, `?` when they are not known."""

    group: str
    name: str
    package: str
    version: str
    value: str

    def __str__(self) -> str:
        return f"the {WORDS[self.group]} {self.name!r} of the package {self.package} {self.version}"


@cache
def _found(group: str) -> tuple[tuple[Plugin, EntryPoint], ...]:
    found: dict[tuple[str, str], tuple[Plugin, EntryPoint]] = {}
    for point in entry_points(group=group):
        package, version = (point.dist.name, point.dist.version) if point.dist else ("?", "?")
        plugin = Plugin(group, point.name, package, version, point.value)
        found.setdefault((point.name, point.value), (plugin, point))
    return tuple(found[key] for key in sorted(found))


def installed(group: str) -> list[Plugin]:
    """The plugins of one group, by name; none of them is loaded."""
    return [plugin for plugin, _ in _found(group)]


def names(group: str) -> tuple[str, ...]:
    """The names of the plugins of one group, sorted."""
    return tuple(dict.fromkeys(plugin.name for plugin in installed(group)))


def load(group: str, name: str) -> tuple[Plugin, Any]:
    """A plugin, and the object that its entry point names; of a class an instance.

    Raises UsageError when there is none of that name, EnvironmentProblem when it does not load, was made for another
    version of Prodigy, or when two packages have the name.
    """
    found = [each for each in _found(group) if each[0].name == name]
    if not found:
        known = ", ".join(names(group)) or "none is installed"
        hint = f"Install the package that has it in the environment of `prodigy`; known: {known}."
        raise UsageError(f"there is no {WORDS[group]} {name!r}", hint=hint)
    if len(found) > 1:
        packages = " and ".join(plugin.package for plugin, _ in found)
        hint = "Remove one of the packages."
        raise EnvironmentProblem(f"the {WORDS[group]} {name!r} is there twice: in {packages}", hint=hint)
    plugin, point = found[0]
    try:
        loaded = point.load()
        made = loaded() if isinstance(loaded, type) else loaded
        interface = getattr(made, "interface", INTERFACE)
    except (Exception, SystemExit) as error:
        what = f"{plugin} does not load: {_told(error)}"
        raise EnvironmentProblem(what, hint="Update or remove that package.") from error
    if interface != INTERFACE:
        which = "a newer" if isinstance(interface, int) and interface > INTERFACE else "another"
        what = f"{plugin} was made for {which} version of Prodigy: for interface {interface!r}, and this is {INTERFACE}"
        raise EnvironmentProblem(what, hint="Install versions of the two that fit together.")
    return plugin, made


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def failure(plugin: Plugin, where: str, error: Exception) -> EnvironmentProblem:
    """What to raise in place of what a plugin raised."""
    hint = f"This is a fault of that package ({plugin.value}), not of Prodigy: update it, or do without it."
    return EnvironmentProblem(f"{plugin} failed in `{where}`: {_told(error)}", hint=hint)


class Guarded:
    """A plugin's object, whose methods raise nothing but ProdigyErrors and OSErrors, so that nobody takes a fault of
    theirs for one of Prodigy's. through: methods whose results are guarded too."""

    def __init__(self, plugin: Plugin, inner: object, through: frozenset[str] = frozenset()) -> None:
        self._plugin = plugin
        self._inner = inner
        self._through = through

    def __getattr__(self, name: str) -> Any:
        try:
            found = getattr(self._inner, name)
        except (ProdigyError, OSError):
            raise
        except Exception as error:
            raise failure(self._plugin, name, error) from error
        return self._method(name, found) if callable(found) else found

    def _method(self, name: str, method: Callable[..., object]) -> Callable[..., object]:
        @functools.wraps(method)
        def guarded(*args: object, **named: object) -> object:
            try:
                result = method(*args, **named)
            except (ProdigyError, OSError):
                raise
            except Exception as error:
                raise failure(self._plugin, name, error) from error
            if inspect.isawaitable(result):
                return self._awaited(name, result)
            return self._result(name, result)

        return guarded

    async def _awaited(self, name: str, result: Awaitable[object]) -> object:
        try:
            return self._result(name, await result)
        except (ProdigyError, OSError):
            raise
        except Exception as error:
            raise failure(self._plugin, name, error) from error

    def _result(self, name: str, result: object) -> object:
        return Guarded(self._plugin, result) if name in self._through and result is not None else result


def guarded(plugin: Plugin, inner: Any, *through: str) -> Any:
    """`inner`, guarded: see `Guarded`."""
    return Guarded(plugin, inner, frozenset(through))
