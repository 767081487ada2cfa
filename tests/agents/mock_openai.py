#!/usr/bin/env python3
"""A loopback mock of the OpenAI Responses API, enough to drive the real Codex. Standard library only.

Scripts ride in the prompt, as for the other mocks: `MOCK[[ [{"sh": "git commit ..."}, {"text": "done"}] ]]`. Step k
answers the request that carries k outputs of tools after the newest prompt with a script; the last step repeats. Keys:
text, sh (a command for whichever shell tool the client declared), usage {...}, delay (seconds), cut, fail {status,
message, code, type, headers, times}, failed {code, message} (HTTP 200, then a `response.failed` event).
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

Step = dict[str, Any]
DEFAULT: list[Step] = [{"text": "ok"}]
_OUTPUTS = ("function_call_output", "custom_tool_call_output", "local_shell_call_output")


class MockServer(ThreadingHTTPServer):
    """requests: what was asked: path and body."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.tries: dict[tuple[str, str, int], int] = {}
        self.requests: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


def text_of(item: dict[str, Any]) -> str:
    content = item.get("content")
    return content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content or [])


def locate(body: dict[str, Any]) -> tuple[list[Step], int, str]:
    """(steps, index of the step that answers, prompt)"""
    turn = 0
    for item in reversed(body.get("input") or []):
        if item.get("type") in _OUTPUTS:
            turn += 1
        elif item.get("role") == "user":
            text = text_of(item)
            if found := re.search(r"MOCK\[\[\s*(?=\[)", text):
                return json.JSONDecoder().raw_decode(text, found.end())[0], turn, text
    return DEFAULT, turn, ""


def shell_call(body: dict[str, Any], command: str) -> tuple[str, dict[str, Any]]:
    names = [tool.get("name") for tool in body.get("tools") or []]
    if "exec_command" in names:
        return "exec_command", {"cmd": command}
    if "shell_command" in names:
        return "shell_command", {"command": command}
    return "shell", {"command": ["bash", "-lc", command]}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def mock(self) -> MockServer:
        return cast(MockServer, self.server)

    def log_message(self, *_: object) -> None:
        return

    def send_json(self, status: int, value: object, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        own = {"content-type": "application/json", "content-length": str(len(data))}
        for name, text in {**own, **(headers or {})}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self.send_json(404, {"error": {"message": "not mocked"}})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        body = json.loads(raw) if raw[:1] == b"{" else {}
        with self.mock.lock:
            self.mock.requests.append({"path": self.path, "body": body})
        if not self.path.split("?")[0].endswith("/responses"):
            self.send_json(404, {"error": {"message": "not mocked"}})
            return
        steps, turn, prompt = locate(body)
        step = steps[min(turn, len(steps) - 1)]
        time.sleep(step.get("delay", 0))
        if fail := step.get("fail"):
            key = (str(body.get("prompt_cache_key")), prompt, turn)
            with self.mock.lock:
                count = self.mock.tries[key] = self.mock.tries.get(key, 0) + 1
            if fail.get("times", -1) < 0 or count <= fail["times"]:
                error = {"message": fail.get("message", "mock"), "type": fail.get("type"), "code": fail.get("code")}
                self.send_json(fail["status"], {"error": error}, fail.get("headers"))
                return
        self.stream(body, step)

    def stream(self, body: dict[str, Any], step: Step) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            self.send_events(body, step)
        except (BrokenPipeError, ConnectionResetError):
            return  # the client was killed or gave up

    def send_events(self, body: dict[str, Any], step: Step) -> None:
        response = f"resp_{uuid.uuid4().hex[:16]}"
        self.emit("response.created", response={"id": response})
        if failed := step.get("failed"):
            self.emit("response.failed", response={"id": response, "status": "failed", "error": failed})
            return
        items = []
        if step.get("text"):
            content = [{"type": "output_text", "text": step["text"], "annotations": []}]
            items.append(
                {"type": "message", "role": "assistant", "id": f"msg_{uuid.uuid4().hex[:12]}", "content": content}
            )
        if "sh" in step:
            name, arguments = shell_call(body, step["sh"])
            call = uuid.uuid4().hex[:12]
            items.append(
                {"type": "function_call", "id": f"fc_{call}", "call_id": f"call_{call}", "name": name,
                 "arguments": json.dumps(arguments)}
            )  # fmt: skip
        usage = {
            "input_tokens": 1000, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 50,
            "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 1050, **step.get("usage", {}),
        }  # fmt: skip
        for number, item in enumerate(items):
            begun = {**item, "content": []} if item["type"] == "message" else item
            self.emit("response.output_item.added", output_index=number, item=begun)
            if step.get("cut"):
                return
            self.emit("response.output_item.done", output_index=number, item=item)
        done = {"id": response, "status": "completed", "output": items, "usage": usage}
        self.emit("response.completed", response=done)

    def emit(self, kind: str, **facts: Any) -> None:
        self.wfile.write(f"event: {kind}\ndata: {json.dumps({'type': kind, **facts})}\n\n".encode())
        self.wfile.flush()
