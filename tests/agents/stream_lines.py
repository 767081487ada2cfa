"""Lines as Claude Code 2.1.197 writes them, without the fields that nobody reads."""

from __future__ import annotations

import json
from typing import Any

SESSION = "f45991b9-9a94-4139-a592-2c7791b5f0f9"
NO_TOKENS = {"input_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0}


def line(kind: str, **fields: Any) -> bytes:
    return json.dumps({"type": kind, "session_id": SESSION, **fields}).encode()


def init(**fields: Any) -> bytes:
    values = {"cwd": "/repo", "tools": ["Bash", "Edit"], "model": "claude-opus-4-8[1m]", **fields}
    return line("system", subtype="init", permissionMode="bypassPermissions", **values)


def assistant(*content: dict[str, Any], message: str = "msg_1", parent: str | None = None, **usage: int) -> bytes:
    tokens = {**NO_TOKENS, "input_tokens": 1000, "output_tokens": 1, **usage}
    body = {"id": message, "role": "assistant", "content": list(content), "model": "claude-opus-4-8", "usage": tokens}
    return line("assistant", message=body, parent_tool_use_id=parent)


def synthetic(text: str, error: str | None = None) -> bytes:
    body = {"id": "c75e2b0d", "role": "assistant", "model": "<synthetic>", "usage": NO_TOKENS,
            "content": [{"type": "text", "text": text}]}  # fmt: skip
    return line("assistant", message=body, parent_tool_use_id=None, **({"error": error} if error else {}))


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def bash(command: str) -> dict[str, Any]:
    return {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": command}}


def tool_result(content: str, *, is_error: bool = False) -> bytes:
    block = {"tool_use_id": "toolu_1", "type": "tool_result", "content": content, "is_error": is_error}
    return line("user", message={"role": "user", "content": [block]}, parent_tool_use_id=None)


def retry(status: int | None, error: str, delay_ms: float = 610.2) -> bytes:
    return line("system", subtype="api_retry", attempt=1, max_retries=10, retry_delay_ms=delay_ms, error_status=status,
                error=error)  # fmt: skip


def result(**fields: Any) -> bytes:
    """The result event of a run that went well, with some fields changed."""
    values = {
        "subtype": "success", "is_error": False, "api_error_status": None, "num_turns": 2, "result": "All done.",
        "stop_reason": "end_turn", "total_cost_usd": 0.0125, "usage": {**NO_TOKENS, "input_tokens": 2000,
        "output_tokens": 100}, "modelUsage": {"claude-opus-4-8[1m]": {"inputTokens": 2000, "outputTokens": 100,
        "cacheReadInputTokens": 0, "cacheCreationInputTokens": 0, "costUSD": 0.0125}}, "permission_denials": [],
        "terminal_reason": "completed",
    }  # fmt: skip
    return line("result", **{**values, **fields})


def failed(words: str | None, status: int | None, **fields: Any) -> bytes:
    """The result event after an API error: subtype success, and is_error."""
    nothing = {"total_cost_usd": 0, "usage": NO_TOKENS, "modelUsage": {}, "num_turns": 1}
    return result(**{"is_error": True, "api_error_status": status, "result": words, **nothing, **fields})


def refused(words: str, error: str, status: int | None, **fields: Any) -> list[bytes]:
    """A whole run that ends with an API error."""
    return [init(), synthetic(words, error), failed(words, status, **fields)]
