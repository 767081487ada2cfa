#!/usr/bin/env python3
"""A loopback mock of the Gemini API, enough to drive the real Gemini CLI. Standard library only.

Scripts ride in the prompt, as for the other mocks: `MOCK[[ [{"sh": "git commit ..."}, {"text": "done"}] ]]`. Step k
answers the request that carries k answers of tools after the prompt; the last one repeats. Step keys: text, sh (a
command for the client's shell tool), usage {...}, delay (seconds), fail {status, message, code, details, times}.
"""

from __future__ import annotations

import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

Step = dict[str, Any]
DEFAULT: list[Step] = [{"text": "ok"}]


class MockServer(ThreadingHTTPServer):
    """requests: what was asked: path and body."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.tries: dict[tuple[str, int], int] = {}
        self.requests: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


def locate(body: dict[str, Any]) -> tuple[list[Step], int, str]:
    """(steps, index of the step that answers, prompt)"""
    turn = 0
    for content in reversed(body.get("contents") or []):
        parts = content.get("parts") or []
        turn += any("functionResponse" in part for part in parts)
        text = "\n".join(part.get("text", "") for part in parts)
        found = re.search(r"MOCK\[\[\s*(?=\[)", text)
        if content.get("role") == "user" and found:
            return json.JSONDecoder().raw_decode(text, found.end())[0], turn, text
    return DEFAULT, turn, ""


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
        for name, text in {
            "content-type": "application/json",
            "content-length": str(len(data)),
            **(headers or {}),
        }.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        body = json.loads(raw) if raw[:1] == b"{" else {}
        with self.mock.lock:
            self.mock.requests.append({"path": self.path, "body": body})
        if ":countTokens" in self.path:
            self.send_json(200, {"totalTokens": max(1, len(raw) // 4)})
            return
        if "GenerateContent" not in self.path and "generateContent" not in self.path:
            self.send_json(404, {"error": {"code": 404, "message": self.path, "status": "NOT_FOUND"}})
            return
        steps, turn, prompt = locate(body)
        step = steps[min(turn, len(steps) - 1)]
        time.sleep(step.get("delay", 0))
        if fail := step.get("fail"):
            with self.mock.lock:
                count = self.mock.tries[prompt, turn] = self.mock.tries.get((prompt, turn), 0) + 1
            if fail.get("times", -1) < 0 or count <= fail["times"]:
                error = {"code": fail["status"], "message": fail.get("message", "mock"), "status": fail.get("code", "")}
                if "details" in fail:
                    error["details"] = fail["details"]
                self.send_json(fail["status"], {"error": error}, fail.get("headers"))
                return
        parts: list[dict[str, Any]] = [{"text": step["text"]}] if step.get("text") else []
        if "sh" in step:
            call = {"name": "run_shell_command", "args": {"command": step["sh"], "description": "x"}}
            parts.append({"functionCall": call})
        usage = {
            "promptTokenCount": 1000, "candidatesTokenCount": 50, "totalTokenCount": 1050, **step.get("usage", {})
        }  # fmt: skip
        answer = {
            "candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}],
            "usageMetadata": usage,
            "modelVersion": "gemini-2.5-pro",
        }
        if "streamGenerateContent" not in self.path:
            self.send_json(200, answer)
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            self.wfile.write(f"data: {json.dumps(answer)}\r\n\r\n".encode())
        except (BrokenPipeError, ConnectionResetError):
            return  # the client was killed or gave up
