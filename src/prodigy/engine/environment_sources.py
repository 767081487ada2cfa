"""Where values of variables come from: `.env` files, the user's environment, files of secrets, commands."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from prodigy.errors import EnvironmentProblem, ProdigyError, UsageError
from prodigy.secrets import mask
from prodigy.workflow.env_file import parse_env_file
from prodigy.workflow.environment import Environment, Secret
from prodigy.workflow.shell.checks import MAX_VALUE_BYTES, exceeds, unusable

COMMAND_TIMEOUT_S = 60.0
_MAX_FILE_BYTES = 1 << 20
_MAX_OUTPUT_BYTES = 1 << 20
_SHOWN = 300  # characters of what a failed command said


@dataclass(frozen=True)
class Places:
    """Where the files that a workflow names are looked for, in this order: beside the workflow, where the user stood,
    in the checkout (`root`)."""

    workflow: Path | None
    started_in: Path
    root: Path

    def find(self, name: str) -> Path | None:
        """The first file of that name, None when there is none."""
        below = [place for place in (self.workflow, self.started_in, self.root) if place is not None]
        paths = [Path(name).expanduser()] if name.startswith("~") else [place / name for place in below]
        return next((path for path in paths if path.is_file()), None)


def read_files(names: Sequence[str], places: Places) -> tuple[dict[str, str], list[str]]:
    """The variables of `.env` files, those of later ones over those of earlier ones, and what to tell the user.

    A file that is not there is left out. Raises UsageError for one that can't be read or has a malformed line.
    """
    found: dict[str, str] = {}
    notes = []
    for name in names:
        path = places.find(name)
        if path is None:
            notes.append(f"env_files: there is no {name}; it is left out")
            continue
        ours = []
        for variable, value in parse_env_file(_text_of(path), str(path)).items():
            if variable.startswith("PRODIGY_"):
                ours.append(variable)
                continue
            if problem := too_large(value):
                raise UsageError(
                    f"the variable {variable}: {problem}", where=str(path), hint="Pass large values by a file."
                )
            found[variable] = value
        if ours:
            notes.append(f"{path}: names that begin with PRODIGY_ are ours; left out: {', '.join(ours)}")
    return found, notes


def look_over(environment: Environment, places: Places) -> list[str]:
    """What the user should know before a run starts; nothing is run. Raises as `read_files` does, and
    EnvironmentProblem for a secret that is not there."""
    _, notes = read_files(environment.files, places)
    for secret in environment.secrets:
        if secret.provider != "command":
            _stored_secret(secret, places, os.environ)
    return notes


async def read_secret(secret: Secret, places: Places, env: Mapping[str, str], shell: str) -> str:
    """The value of a secret. env: the environment that variables are looked up in. Raises EnvironmentProblem."""
    if secret.provider != "command":
        value = _stored_secret(secret, places, env)
    else:
        try:
            value = await command_output(secret.key, env, places.root, shell)
        except ProdigyError as error:
            raise EnvironmentProblem(f"the secret {secret.name}: {error.what}", hint=error.hint) from error
        if not value:
            raise EnvironmentProblem(
                f"the secret {secret.name}: its command printed nothing",
                hint="Run the command by hand: its output is the secret.",
            )
    if problem := too_large(value):
        raise EnvironmentProblem(
            f"the secret {secret.name}: {problem}", hint="A secret goes into one variable of the environment."
        )
    return value


def _stored_secret(secret: Secret, places: Places, env: Mapping[str, str]) -> str:
    if secret.provider == "env":
        value = env.get(secret.key) or os.environ.get(secret.key)
        if not value:
            raise EnvironmentProblem(
                f"the secret {secret.name}: the environment variable {secret.key} is not set",
                hint=f"Set it: export {secret.key}=...",
            )
        return value
    path = places.find(secret.key)
    if path is None:
        raise EnvironmentProblem(
            f"the secret {secret.name}: there is no file {secret.key}",
            where=str(places.root),
            hint="Create it, or mend the path under `secrets`.",
        )
    value = _text_of(path).rstrip("\r\n")
    if not value:
        raise EnvironmentProblem(
            f"the secret {secret.name}: the file is empty",
            where=str(path),
            hint="Write the secret into it, as one line.",
        )
    return value


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
        if len(data) > _MAX_FILE_BYTES:
            raise UsageError(
                f"it is larger than {_MAX_FILE_BYTES >> 20} MiB",
                where=str(path),
                hint="Name a file of `NAME=value` lines, or of one secret.",
            )
        return data.decode()
    except UnicodeDecodeError as error:
        raise UsageError("it is not UTF-8 text", where=str(path), hint="Save the file as UTF-8.") from error
    except OSError as error:
        raise UsageError(
            f"it can't be read: {error.strerror}", where=str(path), hint="Make it readable for you."
        ) from error


def too_large(value: str) -> str | None:
    """Why no variable can hold the value, or None."""
    if reason := unusable(value):
        return f"its value {reason}"
    if exceeds(value, MAX_VALUE_BYTES):
        return f"its value is larger than {MAX_VALUE_BYTES >> 10} KiB, more than a variable can hold"
    return None


async def command_output(text: str, env: Mapping[str, str], where: Path, shell: str) -> str:
    """What a shell text prints, without the line ends at its end. Raises ProdigyError when it fails or takes too long;
    whatever it started is ended."""
    process = await asyncio.create_subprocess_exec(
        *(shell, "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", text),
        cwd=where,
        env=dict(env),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(COMMAND_TIMEOUT_S):
            printed, said = await asyncio.gather(_limited(process.stdout), _limited(process.stderr))
            code = await process.wait()
    except TimeoutError:
        raise ProdigyError(f"its command did not end within {COMMAND_TIMEOUT_S:g} s") from None
    finally:
        with suppress(ProcessLookupError, PermissionError):  # the whole group is gone already
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    if code != 0:
        lines = said.decode(errors="replace").strip().splitlines()
        because = f": {mask(lines[-1])[:_SHOWN]}" if lines else ""
        raise ProdigyError(f"its command exited with code {code}{because}")
    value = printed.decode("utf-8", "surrogateescape").rstrip("\r\n")
    if problem := too_large(value):
        raise ProdigyError(problem)
    return value


async def _limited(stream: asyncio.StreamReader) -> bytes:
    """What a command prints, to its end; what is more than a variable can hold by far is read and dropped."""
    kept = b""
    while data := await stream.read(1 << 16):
        if len(kept) <= _MAX_OUTPUT_BYTES:
            kept += data
    return kept
