"""A shell text ready for values, and how values travel to it: in the environment, large ones by file."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from prodigy.errors import ProdigyError
from prodigy.workflow.interpolate import Unresolved, resolve
from prodigy.workflow.lookup import find
from prodigy.workflow.shell.checks import (
    MAX_TOTAL_BYTES,
    MAX_VALUE_BYTES,
    UTF8_MAX,
    Check,
    complaint,
    exceeds,
    unusable,
)
from prodigy.workflow.shell.operators import apply, take_apart
from prodigy.workflow.shell.source import RAW_WORD, VARIABLE_PREFIX, spell_all

_SHOWN_CHARACTERS = 60
_TOO_LARGE = "store it in a file and let the script read that"
# A value that is not read to its end must not be used: the script ends. All on the first line, so that the lines
# that bash reports are those of the author.
_READ = "IFS= read -r -d '' {name} < {path} || {{ echo \"prodigy: cannot read the value of {name}\" >&2; exit 1; }}; "

CURES: Mapping[str, str] = {
    "integer": "use a field that holds a number such as 7 or -7 (008 and 1.5 are none), or do not calculate with it",
    "leading_dash": "write -- before it, or bind it to its option: --name=${...}",
    "leading_parenthesis": "declare the variable first, then assign it alone: x=${...}",
    "write_target": "write to a path inside the worktree that does not leave it",
    "perl_file": "give it to perl on standard input: perl -ne '...' < ${...}",
}


class BindError(ProdigyError):
    """A value does not fit its place, or there is none.

    placeholder: as it is written. value: its beginning, quoted; None when it does not resolve.
    """

    def __init__(self, placeholder: str, value: str | None, what: str, hint: str | None) -> None:
        self.placeholder = placeholder
        self.value = value
        super().__init__(what, hint=hint)


@dataclass(frozen=True)
class Variable:
    """What carries the value of a placeholder into the script.

    name: of the environment variable, or the word of the text that raw text replaces.
    operator: `%.js` and its kin, modifiers and filters, `:file`, `raw:`, or None.
    """

    name: str
    path: str
    default: str | None = None
    operator: str | None = None

    @property
    def written(self) -> str:
        """The placeholder, without its default."""
        return spell_all(self.path, self.operator)

    @property
    def number(self) -> str:
        """What tells the files of different variables apart."""
        return self.name.removeprefix(VARIABLE_PREFIX)


class Bound(NamedTuple):
    """A script with its values.

    env: to be added to the environment of the script. files: name -> content of the files that must be in the
    directory that was given, before the script starts.
    """

    script: bytes
    env: dict[str, str]
    files: dict[str, bytes]


@dataclass(frozen=True)
class ShellScript:
    """A shell text ready to be bound.

    text: what bash runs. variables: what must be in its environment. checks: what their values must pass.
    raw: what becomes part of the text without any protection; empty in nearly all scripts.
    """

    text: str
    variables: tuple[Variable, ...] = ()
    checks: tuple[Check, ...] = ()
    raw: tuple[Variable, ...] = ()

    def bind(self, scope: Mapping[str, object], directory: str | None = None) -> Bound:
        """The script, its environment variables and its files. Starts no process and writes nothing.

        directory: absolute path where the caller will put `files`; None: values that need a file are refused.
        Raises BindError.
        """
        values = {variable.name: _value(variable, scope) for variable in self.variables}
        files = self._files_asked_for(values, directory)
        for check in self.checks:
            reason = complaint(check, values)
            if reason:
                raise self._refusal(check, values, reason)
        head = ""
        for variable in self._too_large(values):
            name = f"value-{variable.number}"
            path = shlex.quote(_path(variable, values[variable.name], directory, name))
            head += _READ.format(name=variable.name, path=path)
            files[name] = values.pop(variable.name).encode() + b"\0"
        return Bound(os.fsencode(head) + self._spliced(scope).encode(), values, files)

    def _files_asked_for(self, values: dict[str, str], directory: str | None) -> dict[str, bytes]:
        """The files of `${...:file}`, whose paths take the place of the values."""
        files: dict[str, bytes] = {}
        for variable in self.variables:
            if take_apart(variable.operator).is_file:
                name = f"file-{variable.number}"
                files[name] = values[variable.name].encode()
                values[variable.name] = _path(variable, values[variable.name], directory, name)
        return files

    def _too_large(self, values: Mapping[str, str]) -> list[Variable]:
        """The variables that do not fit into the environment, the largest first when all together do not."""
        large = [variable for variable in self.variables if exceeds(values[variable.name], MAX_VALUE_BYTES)]
        if not large and sum(map(len, values.values())) * UTF8_MAX <= MAX_TOTAL_BYTES:
            return []
        sizes = {name: len(value.encode("utf-8", "surrogateescape")) for name, value in values.items()}
        total = sum(sizes.values()) - sum(sizes[variable.name] for variable in large)
        rest = sorted((v for v in self.variables if v not in large), key=lambda v: sizes[v.name])
        while total > MAX_TOTAL_BYTES:
            large.append(rest.pop())
            total -= sizes[large[-1].name]
        return large

    def _spliced(self, scope: Mapping[str, object]) -> str:
        if not self.raw:
            return self.text
        texts = {variable.name: _value(variable, scope) for variable in self.raw}
        return RAW_WORD.sub(lambda match: texts[match[0]], self.text)

    def _refusal(self, check: Check, values: Mapping[str, str], reason: str) -> BindError:
        name = next(piece.text for piece in check.pieces if piece.kind == "value")
        variable = next(variable for variable in self.variables if variable.name == name)
        return _bind_error(variable, values[name], reason, CURES.get(check.kind))


def _path(variable: Variable, value: str, directory: str | None, name: str) -> str:
    if directory is None:
        reason = f"needs a file to travel, being over {MAX_VALUE_BYTES // 1024} KiB alone or too much together"
        if take_apart(variable.operator).is_file:
            reason = "needs a file, and there is no directory for it"
        raise _bind_error(variable, value, reason, _TOO_LARGE)
    path = Path(directory)
    if not path.is_absolute():
        raise ValueError(f"not an absolute path: {directory}")
    return str(path / name)


def _value(variable: Variable, scope: Mapping[str, object]) -> str:
    parts = take_apart(variable.operator)
    try:
        value = resolve(scope, variable.path, variable.default, parts.formats)
    except Unresolved as error:
        raise BindError(variable.written, None, error.what, error.hint) from error
    if exceeds(value, MAX_VALUE_BYTES) and not parts.is_file:
        instead = getattr(find(scope, variable.path), "instead", None)
        if instead is not None:
            what = f"has more than {MAX_VALUE_BYTES // 1024} KiB, too much for a script"
            raise _bind_error(variable, value, what, f"read it from the file {instead}")
    reason = unusable(value)
    if reason:
        raise _bind_error(variable, value, reason, _TOO_LARGE if len(value) > _SHOWN_CHARACTERS else None)
    return apply(parts.trim, value)


def _bind_error(variable: Variable, value: str, reason: str, cure: str | None) -> BindError:
    more = "..." if len(value) > _SHOWN_CHARACTERS else ""
    shown = json.dumps(value[:_SHOWN_CHARACTERS] + more, ensure_ascii=False)
    return BindError(variable.written, shown, f"{variable.written} is {shown}, which {reason}", cure)
