"""The configuration of a repository: reading what git says it is, and the few settings that a private git
directory takes over.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prodigy.git.repo import Repo

# They say how this file system and this user's files behave. Nothing here can name a program.
_TAKEN_OVER = frozenset(
    {
        "core.autocrlf",
        "core.eol",
        "core.filemode",
        "core.symlinks",
        "core.ignorecase",
        "core.precomposeunicode",
        "extensions.objectformat",
    }
)
# A filter does run a program: only the one that nearly everybody has, and only as the user or the system set
# it up.
_LFS = "filter.lfs."
_PERSONAL_SCOPES = frozenset({"system", "global"})


@dataclass(frozen=True)
class Entry:
    """One setting.

    scope: system, global, local, worktree or command. key: lower case but for its subsection. value: None for
    a bare key.
    """

    scope: str
    key: str
    value: str | None


def read(repo: Repo) -> list[Entry]:
    """All settings that git sees in the user's checkout, in order of precedence, weakest first."""
    parts = repo.run("config", "--list", "--show-scope", "-z", "--includes", user_config=True).records()
    entries = []
    for scope, setting in zip(parts[::2], parts[1::2], strict=True):
        key, newline, value = setting.partition("\n")
        if scope != "command":  # our own hardening
            entries.append(Entry(scope, key, value if newline else None))
    return entries


def value(entries: Sequence[Entry], key: str) -> str | None:
    """The value in force for `key` (lower case); None when it is not set. A bare key is "true"."""
    found = [entry for entry in entries if entry.key == key]
    if not found:
        return None
    return "true" if found[-1].value is None else found[-1].value


def is_true(entries: Sequence[Entry], key: str) -> bool:
    """Whether the setting `key` is on, by git's rules for booleans; off when it is not set."""
    text = value(entries, key)
    return text is not None and text.lower() not in {"", "0", "no", "off", "false"}


def taken_over(entries: Sequence[Entry]) -> list[Entry]:
    """The settings that a private git directory takes over."""
    return [
        entry
        for entry in entries
        if entry.key in _TAKEN_OVER or (entry.key.startswith(_LFS) and entry.scope in _PERSONAL_SCOPES)
    ]


def unused_filters(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Names of filter drivers that are set up but that we do not run, e.g. git-crypt."""
    names = {
        entry.key.removeprefix("filter.").rpartition(".")[0]
        for entry in entries
        if entry.key.startswith("filter.") and entry not in taken_over(entries)
    }
    has_lfs = any(entry.key.startswith(_LFS) for entry in taken_over(entries))
    return tuple(sorted(names - ({"lfs"} if has_lfs else set())))


def serialised(entries: Sequence[Entry]) -> str:
    """The settings as the text of a configuration file."""
    lines = []
    for entry in entries:
        section, _, name = entry.key.rpartition(".")
        section, dot, subsection = section.partition(".")
        lines.append(f"[{section} {_quoted(subsection)}]" if dot else f"[{section}]")
        lines.append(f"\t{name}" if entry.value is None else f"\t{name} = {_quoted(entry.value)}")
    return "".join(f"{line}\n" for line in lines)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def personal_file(entries: Sequence[Entry], key: str, default_name: str) -> Path:
    """The file that `key` names (core.excludesfile, core.attributesfile), or git's default place for it."""
    name = value(entries, key)
    if name:
        return Path(os.path.expanduser(name))  # noqa: PTH111 - Path.expanduser raises for an unknown user
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111
    return Path(base, "git", default_name)
