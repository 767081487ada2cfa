"""Runs an agent that speaks the Agent Client Protocol on one prompt, and prints what it says as lines of JSON.

`python -m prodigy.agents.acp_client REQUEST.json PROGRAM ARGUMENT ...`: a process of its own, because the protocol
needs somebody to talk to, and a step's process must not depend on the coordinator's life. REQUEST.json holds
prompt_file, model, mode, session and mcp. Every update is a line as the protocol has it, between

    {"type": "session", "session": ID, "model": NAME | null}
    {"type": "end", "stop_reason": REASON, "usage": {...} | null}    or
    {"type": "failed", "message": TEXT, "code": NUMBER | null}
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from acp import PROTOCOL_VERSION, RequestError, spawn_agent_process, text_block
from acp.schema import (
    AllowedOutcome,
    DeniedOutcome,
    EnvVariable,
    HttpHeader,
    HttpMcpServer,
    McpServerStdio,
    RequestPermissionResponse,
)

_LARGEST_MESSAGE = 64 << 20  # bytes of one line of the protocol


def say(**event: Any) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


class Client:
    """Our side of the conversation: allows what is asked for, unless told to allow nothing."""

    def __init__(self, *, allows: bool) -> None:
        self._allows = allows

    async def session_update(self, session_id: str, update: Any, **_: Any) -> None:
        say(type="update", session=session_id, update=update.model_dump(mode="json", by_alias=True, exclude_none=True))

    async def request_permission(
        self, session_id: str, tool_call: Any, options: list[Any], **_: Any
    ) -> RequestPermissionResponse:
        say(type="permission", session=session_id, title=tool_call.title, allowed=self._allows)
        order = ("allow_always", "allow_once") if self._allows else ("reject_once", "reject_always")
        for kind in order:
            for option in options:
                if option.kind == kind:
                    return RequestPermissionResponse(
                        outcome=AllowedOutcome(option_id=option.option_id, outcome="selected")
                    )
        return RequestPermissionResponse(outcome=DeniedOutcome(outcome="cancelled"))

    def __getattr__(self, name: str) -> Any:
        """Files and terminals are the agent's own business: we offer none, so a call of them is an error."""
        if name.startswith("_") or name == "on_connect":
            raise AttributeError(name)

        async def refused(*_: Any, **__: Any) -> Any:
            raise RequestError.method_not_found(name)

        return refused


def servers(entries: list[dict[str, Any]]) -> list[Any]:
    found: list[Any] = []
    for entry in entries:
        if entry.get("url"):
            headers = [HttpHeader(name=name, value=value) for name, value in entry["headers"].items()]
            found.append(HttpMcpServer(name=entry["name"], type="http", url=entry["url"], headers=headers))
            continue
        env = [EnvVariable(name=name, value=value) for name, value in entry["env"].items()]
        command, *args = entry["command"]
        found.append(McpServerStdio(name=entry["name"], command=command, args=args, env=env))
    return found


async def talk(request: dict[str, Any], program: list[str]) -> int:
    prompt = Path(request["prompt_file"]).read_text("utf-8", "replace")
    client: Any = Client(allows=request["mode"] is None)
    ways: dict[str, Any] = {
        "env": dict(os.environ), "cwd": Path.cwd(), "transport_kwargs": {"stderr": None, "limit": _LARGEST_MESSAGE},
    }  # fmt: skip
    async with spawn_agent_process(client, program[0], *program[1:], **ways) as (agent, process):
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, process.terminate)
        await agent.initialize(protocol_version=PROTOCOL_VERSION)
        mcp = servers(request["mcp"])
        session = request["session"]
        if session:
            await agent.load_session(cwd=str(Path.cwd()), session_id=session, mcp_servers=mcp)
        else:
            session = (await agent.new_session(cwd=str(Path.cwd()), mcp_servers=mcp)).session_id
        say(type="session", session=session, model=request["model"])
        if request["mode"]:
            await agent.set_session_mode(session_id=session, mode_id=request["mode"])
        answer = await agent.prompt(prompt=[text_block(prompt)], session_id=session)
        usage = getattr(answer, "usage", None)
        say(type="end", stop_reason=answer.stop_reason, usage=usage.model_dump(mode="json") if usage else None)
        return 0 if answer.stop_reason == "end_turn" else 1


def main(arguments: list[str]) -> int:
    request = json.loads(Path(arguments[0]).read_text())
    try:
        return asyncio.run(talk(request, arguments[1:]))
    except RequestError as error:
        say(type="failed", message=_told(error), code=error.code)
    except (OSError, EOFError, ConnectionError) as error:
        say(type="failed", message=f"the conversation broke off: {error or type(error).__name__}", code=None)
    return 1


def _told(error: RequestError) -> str:
    details = error.data if isinstance(error.data, dict) else {"details": error.data}
    more = "; ".join(str(value) for value in details.values() if value)
    return f"{error}: {more}" if more else str(error)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
