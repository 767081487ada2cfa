"""Whose name commits carry, and what the environment of a step adds for git.

Never written to any configuration.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from prodigy.git import config
from prodigy.git.repo import Repo

FALLBACK_NAME = "Prodigy"
FALLBACK_EMAIL = "prodigy@localhost"

# A step's git finds the repository by its working directory. These would send it elsewhere, e.g. when we run
# inside a hook.
AGENT_UNSET = (
    "GIT_DIR",
    "GIT_COMMON_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_CONFIG",
    "GIT_REFLOG_ACTION",
)

_AGENT_ENVIRONMENT = {
    "GIT_EDITOR": "true",
    "GIT_SEQUENCE_EDITOR": "true",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_PAGER": "cat",
}
_AGENT_SETTINGS = (
    ("commit.gpgsign", "false"),
    ("core.logAllRefUpdates", "true"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("core.fsync", "loose-object,reference"),
    ("core.fsyncMethod", "batch"),
)


# No key of the user's is offered, no agent that holds one is asked, and no connection that is open already is used.
_NO_KEYS = (
    "BatchMode=yes", "IdentitiesOnly=yes", "IdentityFile=/dev/null", "IdentityAgent=none", "PubkeyAuthentication=no",
    "HostbasedAuthentication=no", "GSSAPIAuthentication=no", "ControlMaster=no", "ControlPath=none",
)  # fmt: skip
_NO_PUSH_ENVIRONMENT = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "/bin/true",
    "SSH_ASKPASS": "/bin/true",
    "GIT_SSH_COMMAND": " ".join(["ssh", *(f"-o {option}" for option in _NO_KEYS)]),
}
# An empty value ends the list that stands before it, those for single addresses too; only headers are kept apart.
_NO_PUSH_SETTINGS = (("credential.helper", ""), ("core.askPass", ""), ("http.extraHeader", ""))


def identity_env(repo: Repo) -> dict[str, str]:
    """GIT_AUTHOR_* and GIT_COMMITTER_* as the user has set them, else Prodigy's own."""
    return _identity(repo, fallback_only=False)


def agent_env(repo: Repo, environment: Mapping[str, str] | None = None, excludes: Path | None = None) -> dict[str, str]:
    """What to add to a step's environment so that its git asks nothing, signs nothing and keeps what it
    wrote.

    environment: the step's so far (ours by default); its GIT_CONFIG_* entries stay in force. Take AGENT_UNSET
    out of it. excludes: a file of ignore rules in place of the user's own.
    """
    base = os.environ if environment is None else environment
    settings = [*_AGENT_SETTINGS, *([("core.excludesFile", str(excludes))] if excludes else [])]
    return _AGENT_ENVIRONMENT | _with_settings(base, settings) | _identity(repo, fallback_only=True)


def no_push_env(repo: Repo, environment: Mapping[str, str]) -> dict[str, str]:
    """What to add to the environment of a step so that its git does not push as the user: it asks no credential helper,
    sends no header of the configuration's, and offers no key.

    environment: the step's so far; its other GIT_CONFIG_* entries stay in force. What a program reads from files by
    itself, ~/.netrc and the addresses of remotes among them, is not stopped.
    """
    given = (environment.get(f"GIT_CONFIG_KEY_{number}", "") for number in range(_count(environment)))
    keys = {entry.key for entry in config.read(repo)} | set(given)
    headers = sorted(key for key in keys if re.fullmatch(r"http\..+\.extraheader", key, re.IGNORECASE | re.DOTALL))
    return _NO_PUSH_ENVIRONMENT | _with_settings(environment, [*_NO_PUSH_SETTINGS, *((key, "") for key in headers)])


def _count(environment: Mapping[str, str]) -> int:
    """How many settings an environment gives git."""
    text = environment.get("GIT_CONFIG_COUNT", "")
    return int(text) if text.isdecimal() else 0


def _with_settings(environment: Mapping[str, str], settings: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The GIT_CONFIG_* entries that stand behind those of an environment."""
    first = _count(environment)
    result = {"GIT_CONFIG_COUNT": str(first + len(settings))}
    for number, (key, value) in enumerate(settings, first):
        result[f"GIT_CONFIG_KEY_{number}"] = key
        result[f"GIT_CONFIG_VALUE_{number}"] = value
    return result


def _identity(repo: Repo, *, fallback_only: bool) -> dict[str, str]:
    entries = config.read(repo)
    result = {}
    for role in ("author", "committer"):
        for part, fallback in (("name", FALLBACK_NAME), ("email", FALLBACK_EMAIL)):
            variable = f"GIT_{role.upper()}_{part.upper()}"
            chosen = (
                os.environ.get(variable)
                or config.value(entries, f"{role}.{part}")
                or config.value(entries, f"user.{part}")
                or (os.environ.get("EMAIL") if part == "email" else None)
            )
            if not chosen:
                result[variable] = fallback
            elif not fallback_only:
                result[variable] = chosen
    return result
