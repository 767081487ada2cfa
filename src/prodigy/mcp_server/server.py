"""The server: which tools it offers, what it tells agents about them, and how it talks."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp_types import ToolAnnotations

from prodigy import __version__
from prodigy.mcp_server.access import Access
from prodigy.mcp_server.acting import Acting
from prodigy.mcp_server.looking import Looking

_ABOUT = """\
Prodigy runs a workflow with one coding agent per work item, many at a time, each in a git worktree of its own. What
succeeds is merged into one branch of the run; an item that fails for good becomes a dead letter, which is kept and can
be retried. Runs go on in the background, whatever becomes of you, and can be resumed at any point.

This server knows the repository {root}: its workflows (YAML files) and its runs.
"""
_ACTING = """\
Usual order: validate_workflow, start_run, wait_for_run (again and again, with after_event), then list_dead_letters and
inspect_dead_letter if items failed, retry_dead_letters once the cause is mended, and resume_run with merge=true when a
person wants the result on their branch.
"""
_READ_ONLY = "It only looks: runs are started and steered elsewhere. {why}\n"


def server(access: Access, *, read_only: str | None) -> MCPServer[Any]:
    """The server with its tools. read_only: why it offers only those that look; None: it offers all."""
    rest = _ACTING if read_only is None else _READ_ONLY.format(why=read_only)
    made: MCPServer[Any] = MCPServer(
        "prodigy",
        title="Prodigy",
        instructions=_ABOUT.format(root=access.root.name) + rest,
        version=__version__,
        log_level="WARNING",
    )
    for look in Looking(access).tools():
        _add(made, look, ToolAnnotations(read_only_hint=True, open_world_hint=False))
    if read_only is None:
        for act, destructive in Acting(access).tools():
            hints = ToolAnnotations(
                read_only_hint=False, destructive_hint=destructive, idempotent_hint=False, open_world_hint=True
            )
            _add(made, act, hints)
    return made


def _add(made: MCPServer[Any], tool: Callable[..., Any], hints: ToolAnnotations) -> None:
    about = " ".join((tool.__doc__ or "").split())
    made.add_tool(tool, description=about, annotations=hints, structured_output=True)


def inside_of_run() -> str | None:
    """The run whose step this process belongs to."""
    return os.environ.get("PRODIGY_RUN_ID")
