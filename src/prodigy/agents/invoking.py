"""What adapters share of starting a program: prompts that fit their place, and the usual file of MCP servers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from prodigy.agents.base import AgentEvent, McpServer, StateDirectory
from prodigy.errors import UsageError

# One argument can hold 128 KiB on Linux.
LARGEST_ARGUMENT = 100 << 10


def prompt_bytes(prompt: str) -> bytes:
    """Raises UsageError for a prompt that is empty or no text."""
    if not prompt.strip():
        raise UsageError("the prompt for the agent is empty", hint="look at what its placeholders resolve to")
    try:
        return prompt.encode("utf-8", errors="surrogateescape")
    except UnicodeEncodeError as error:
        raise UsageError(
            f"the prompt for the agent is no valid text: {error}", hint="Take the value that is no UTF-8 out of it."
        ) from error


def unfit_for_argument(prompt: bytes) -> bool:
    """Whether a program would not take it as an argument, or could take it for an option."""
    return len(prompt) > LARGEST_ARGUMENT or prompt.startswith(b"-") or b"\0" in prompt


def mcp_json(servers: Iterable[McpServer]) -> bytes:
    """`{"mcpServers": {...}}`, the form that most programs read."""
    return json.dumps({"mcpServers": {server.name: mcp_entry(server) for server in servers}}).encode()


def mcp_entry(server: McpServer) -> dict[str, object]:
    if server.url is not None:
        return {"type": "http", "url": server.url, "headers": dict(server.headers)}
    return {"command": server.command[0], "args": list(server.command[1:]), "env": dict(server.env)}


class ListensToStdout:
    """An adapter whose program says all that matters on standard output, is started alike in all versions and reads no
    variables that are known."""

    tells_version = False
    state: Sequence[StateDirectory] = ()

    def variables(self, environment: Mapping[str, str]) -> Sequence[str]:  # noqa: ARG002
        return ()

    def hear_stderr(self, line: bytes, now: float) -> list[AgentEvent]:  # noqa: ARG002
        return []

    def tool_output(self, line: bytes) -> str | None:  # noqa: ARG002
        return None
