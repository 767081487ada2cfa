"""The sections of a configuration from YAML nodes, beside `agents` and `mcp_servers`, which are those of workflows."""

from __future__ import annotations

import re
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from prodigy.workflow import keys
from prodigy.workflow.failures import Retry
from prodigy.workflow.model import Configured, Workspace
from prodigy.workflow.policies import BACKOFFS
from prodigy.workflow.scripts import KnownScripts
from prodigy.workflow.steps import StepReader
from prodigy.workflow.values import (
    Findings,
    read_bool,
    read_choice,
    read_duration,
    read_keys,
    read_number,
    read_text,
    read_whole_number,
    shown,
)
from prodigy.workflow.workspaces import read_workspace
from prodigy.workflow.yaml_nodes import Entry, Mapping, Text

Level = Literal["debug", "info", "warning", "error"]
LEVELS: tuple[Level, ...] = ("debug", "info", "warning", "error")
# What a run leaves on disk, and may have an age: see `prodigy clean`.
RETAINED = ("runs", "worktrees", "dead_letters", "logs", "events")

SECTIONS = {
    "defaults": keys.KeyTable(
        frozenset({"parallel_worktrees", "retry_attempts", "retry_backoff", "timeout"}), frozenset(), {}
    ),
    "git": keys.KeyTable(frozenset({"branch_prefix", "auto_cleanup", "merge_strategy"}), frozenset(), {}),
    "budget": keys.KeyTable(frozenset({"per_day_usd"}), frozenset(), {}),
    "retention": keys.KeyTable(frozenset(RETAINED), frozenset(), {"dlq": "dead_letters"}),
    "logging": keys.KeyTable(frozenset({"level", "file"}), frozenset(), {}),
}
ROOT = keys.KeyTable(frozenset({"agents", "mcp_servers", "claude", "workspace", *SECTIONS}), frozenset(), {})
_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(/[A-Za-z0-9][A-Za-z0-9_-]*)*")
LONGEST_PREFIX = 60
_BACKOFFS = tuple(name for name in BACKOFFS if name != "custom")
_PLAIN = Text("")


@dataclass(frozen=True)
class Logging:
    """level: the least that is written. file: where to, None: nowhere."""

    level: Level = "info"
    file: Path | None = None


def section(root: AbstractMapping[str, Entry], name: str, findings: Findings) -> dict[str, Entry]:
    """The entries of a section; none without it."""
    if name not in root:
        return {}
    body, table = root[name].value, SECTIONS[name]
    if isinstance(body, Mapping):
        return read_keys(body, table, f"under `{name}` in a configuration", findings)
    words = ", ".join(f"`{key}`" for key in sorted(table.runs))
    findings.problem(body.at, f"`{name}` must be a mapping with {words}, got {shown(body)}")
    return {}


def read_configured(root: AbstractMapping[str, Entry], known: KnownScripts, findings: Findings) -> Configured:
    """What counts where a workflow says nothing: `defaults`, `workspace`, and of `git` what concerns workflows."""
    usual, git = section(root, "defaults", findings), section(root, "git", findings)
    reader = StepReader(_PLAIN, findings, frozenset())
    workspace = read_workspace(reader, root["workspace"], Workspace()) if "workspace" in root else Workspace()
    reader.finish(known)
    if "auto_cleanup" in git and read_bool(git["auto_cleanup"].value, "auto_cleanup", findings) is False:
        workspace = workspace.model_copy(update={"keep": True}) if workspace.keep is None else workspace
    strategies = ("merge", "rebase", "squash")
    parallel, timeout, strategy = usual.get("parallel_worktrees"), usual.get("timeout"), git.get("merge_strategy")
    return Configured(
        max_parallel=read_whole_number(parallel.value, "parallel_worktrees", findings) if parallel else None,
        retry=_retry(usual, findings),
        timeout_s=read_duration(timeout.value, "timeout", findings) if timeout else None,
        merge_strategy=cast(
            "Literal['merge', 'rebase', 'squash'] | None",
            read_choice(strategy.value, "merge_strategy", strategies, findings) if strategy else None,
        ),
        workspace=workspace,
    )


def _retry(usual: AbstractMapping[str, Entry], findings: Findings) -> Retry | None:
    """Without `retry_attempts` nothing runs again that does not say so itself."""
    backoff, attempts = usual.get("retry_backoff"), usual.get("retry_attempts")
    how = read_choice(backoff.value, "retry_backoff", _BACKOFFS, findings) if backoff else None
    number = read_whole_number(attempts.value, "retry_attempts", findings) if attempts else None
    if number is None or number == 1:
        return None
    return Retry(attempts=number, backoff=how) if how else Retry(attempts=number)


def read_branch_prefix(root: AbstractMapping[str, Entry], findings: Findings) -> str | None:
    """What the names of a run's branches begin with."""
    git = section(root, "git", Findings())  # its keys are looked at elsewhere
    text = read_text(git["branch_prefix"].value, "branch_prefix", findings) if "branch_prefix" in git else None
    if text is None:
        return None
    if not _PREFIX.fullmatch(text) or len(text) > LONGEST_PREFIX or text.endswith(".lock"):
        hint = f"letters, digits, `_` and `-`, with `/` between words, at most {LONGEST_PREFIX}"
        findings.problem(git["branch_prefix"].value.at, f"`branch_prefix` can't begin a branch's name: {text}", hint)
        return None
    return text


def read_per_day(root: AbstractMapping[str, Entry], findings: Findings) -> float | None:
    """Dollars that all runs of this home may cost in a day."""
    found = section(root, "budget", findings)
    if "per_day_usd" not in found:
        return None
    return read_number(found["per_day_usd"].value, "per_day_usd", findings, least=keys.LEAST_USD)


def read_retention(root: AbstractMapping[str, Entry], findings: Findings) -> tuple[tuple[str, float], ...]:
    """(what, age in seconds) of what goes when it is older."""
    found = section(root, "retention", findings)
    ages = ((name, read_duration(found[name].value, name, findings)) for name in RETAINED if name in found)
    return tuple((name, age) for name, age in ages if age is not None)


def read_logging(root: AbstractMapping[str, Entry], home: Path, findings: Findings) -> Logging:
    """home: where a relative path begins."""
    found = section(root, "logging", findings)
    level: Level | None = read_choice(found["level"].value, "level", LEVELS, findings) if "level" in found else None
    text = read_text(found["file"].value, "file", findings) if "file" in found else None
    return Logging(level or "info", home / Path(text).expanduser() if text else None)
