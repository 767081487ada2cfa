"""The environment of a workflow's steps: variables, files of them, profiles, secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Literal

from prodigy.errors import UsageError
from prodigy.workflow.frozen import Value

# A name that may be a variable's, in a value or a condition: `${NAME`, or a bare word of a condition.
_REFERENCE = re.compile(r"\$\{(?:env[.:])?([A-Za-z_]\w*)")
_WORD = re.compile(r"[A-Za-z_]\w*")


class Variable(Value):
    """One variable, of one of three kinds.

    static: `value`, which may hold placeholders. dynamic: what the shell text `command` prints, once a run when
    `cached`, else once a step. conditional: `value` when `condition` holds, else `otherwise`.
    secret: its value is masked wherever something is shown.
    """

    name: str
    value: str | None = None
    command: str | None = None
    cached: bool | None = None
    condition: str | None = None
    otherwise: str | None = None
    secret: bool | None = None


class Secret(Value):
    """A variable whose value is taken anew at each start, never stored, and masked wherever something is shown.

    key: the name of an environment variable, a file, or a shell command, as `provider` says.
    """

    name: str
    provider: Literal["env", "file", "command"]
    key: str


class Profile(Value):
    """Variables that count when the user chooses the profile."""

    name: str
    variables: tuple[Variable, ...] = ()


class Environment(Value):
    """Later wins: the user's own environment, files, variables, the profile, secrets.

    inherit: False: of the user's environment, steps get only what it takes to run unless they say otherwise.
    profile: the one that is chosen. files: `.env` files, by their paths from the workflow file.
    """

    inherit: bool | None = None
    files: tuple[str, ...] = ()
    variables: tuple[Variable, ...] = ()
    profiles: tuple[Profile, ...] = ()
    profile: str | None = None
    secrets: tuple[Secret, ...] = ()


NOTHING = Environment()


def with_profile(environment: Environment, name: str) -> Environment:
    """The environment with the profile `name` chosen. Raises UsageError when the workflow has none of that name."""
    known = [profile.name for profile in environment.profiles]
    if name in known:
        return environment.model_copy(update={"profile": name})
    if not known:
        raise UsageError(
            f"there is no profile {name}: the workflow has none",
            hint="Profiles stand under `profiles:` in the workflow.",
        )
    near = get_close_matches(name, known, n=1)
    there_are = f"there are {', '.join(known)}" if len(known) > 1 else f"there is {known[0]}"
    hint = f"did you mean {near[0]}? {there_are}" if near else there_are
    raise UsageError(f"the workflow has no profile {name}", hint=hint)


def variables(environment: Environment) -> tuple[Variable, ...]:
    """The variables that count, in the order in which they get their values. One that the profile has another value
    for keeps its place, so that what stands behind it is made of that value."""
    chosen = [profile.variables for profile in environment.profiles if profile.name == environment.profile]
    found = {variable.name: variable for variable in environment.variables}
    for variable in (variable for part in chosen for variable in part):
        found[variable.name] = variable
    return tuple(found.values())


def references(variable: Variable) -> frozenset[str]:
    """Names of variables that the value of this one may be made of."""
    texts = (variable.value, variable.otherwise)
    found = {name for text in texts if text for name in _REFERENCE.findall(text)}
    return frozenset(found | set(_WORD.findall(variable.condition or "")))


def hidden(environment: Environment) -> frozenset[str]:
    """Names of variables whose values are secret: they are in the environment of steps, and in no text."""
    found = {secret.name for secret in environment.secrets}
    for variable in variables(environment):
        if variable.secret or references(variable) & found:
            found.add(variable.name)
    return frozenset(found)


def changing(environment: Environment) -> frozenset[str]:
    """Names of variables that get a value of their own for each execution of a step."""
    found: set[str] = set()
    for variable in variables(environment):
        if (variable.command is not None and not variable.cached) or references(variable) & found:
            found.add(variable.name)
    return frozenset(found)


def names(environment: Environment) -> frozenset[str]:
    """Names that texts such as prompts may use: variables of every profile, but no secret.

    In shell text they are no placeholders: there the shell finds them in its environment.
    """
    return _all_names(environment) - hidden(environment)


def _all_names(environment: Environment) -> frozenset[str]:
    every: Iterable[Variable] = (
        *environment.variables,
        *(variable for profile in environment.profiles for variable in profile.variables),
    )
    return frozenset(variable.name for variable in every)
