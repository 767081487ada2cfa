"""The environment of a workflow's steps: variables, files of them, profiles, secrets."""

from __future__ import annotations

from typing import Literal

from prodigy.workflow.frozen import Value


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
    """Later wins: the user's own environment (unless `inherit` is False), files, variables, the profile, secrets.

    profile: the one that is chosen. files: `.env` files, by their paths from the workflow file.
    """

    inherit: bool | None = None
    files: tuple[str, ...] = ()
    variables: tuple[Variable, ...] = ()
    profiles: tuple[Profile, ...] = ()
    profile: str | None = None
    secrets: tuple[Secret, ...] = ()
