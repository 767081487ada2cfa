#!/usr/bin/env python3
"""A loopback mock of the Anthropic Messages API, enough to drive the real Claude Code. Standard library only.

    python3 mock_anthropic.py --port 0 --script script.json --log requests.jsonl   # prints "PORT <n>"

script.json maps a regex to a list of steps. A prompt may also carry its own steps inline, and these win:
  MOCK[[ [{"tool":"Bash","input":{"command":"ls"}},{"text":"done"}] ]]
The latest user message that has a script counts; step k answers the request with k assistant messages after it, so
the server keeps no conversation state and any number of clients can share it. The last step repeats. Step keys:
  text / tool+input / tools [[name,input],..]   what the assistant says (text may come with tools)
  usage {..}  stop_reason  delay (s before the headers)  chunk_delay (s between SSE events)
  fail {"status":429,"type":"rate_limit_error","message":"..","headers":{..},"times":N}  first N tries (-1: always)
  cut true      drop the connection in the middle of the stream
  sse_error {"type":"overloaded_error","message":".."}   HTTP 200, then an SSE error event

--limit AFTER:SECONDS plays a limit of the whole account: once AFTER requests were answered, every request is refused
with 429 for SECONDS (retry-after, x-should-retry: false, anthropic-ratelimit-unified-reset, and the reset time in the
message), once.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

Step = dict[str, Any]
Script = dict[str, list[Step]]
DEFAULT: list[Step] = [{"text": "ok"}]


class MockServer(ThreadingHTTPServer):
    """script: regex -> steps. logfile: gets a line of JSON for every request. limit: (AFTER, SECONDS)."""

    daemon_threads = True

    def __init__(
        self,
        port: int = 0,
        script: Script | None = None,
        logfile: Path | None = None,
        limit: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.script = script or {}
        self.logfile = logfile
        self.lock = threading.Lock()
        self.tries: dict[tuple[str | None, str, int], int] = {}
        self.answered = 0
        self.limit = limit
        self.limit_until = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def limited(self) -> bool:
        """Whether the account's limit refuses this request."""
        with self.lock:
            self.answered += 1
            if self.limit and self.answered > self.limit[0]:
                if not self.limit_until:
                    self.limit_until = time.time() + self.limit[1]
                return time.time() < self.limit_until
        return False

    def count_try(self, key: tuple[str | None, str, int]) -> int:
        with self.lock:
            self.tries[key] = self.tries.get(key, 0) + 1
            return self.tries[key]

    def record(self, entry: dict[str, Any]) -> None:
        if self.logfile is not None:
            with self.lock, self.logfile.open("a") as log:
                log.write(json.dumps(entry) + "\n")


def text_of(message: dict[str, Any]) -> str:
    content = message.get("content") or []
    return content if isinstance(content, str) else "\n".join(block.get("text", "") for block in content)


def locate(body: dict[str, Any], script: Script) -> tuple[list[Step], int, str]:
    """(steps, index of the step that answers this request, prompt): of the latest user message that has a script."""
    turn = 0
    for message in reversed(body.get("messages", [])):
        if message["role"] == "assistant":
            turn += 1
        elif message["role"] == "user":
            prompt = text_of(message)
            inline = re.search(r"MOCK\[\[\s*(?=\[)", prompt)
            steps: list[Step] | None
            if inline:
                steps = json.JSONDecoder().raw_decode(prompt, inline.end())[0]
            else:
                steps = next((known for regex, known in script.items() if re.search(regex, prompt, re.DOTALL)), None)
            if steps:
                return steps, turn, prompt
    return DEFAULT, turn, ""


def answer(step: Step, model: object) -> dict[str, Any]:
    """The message that a step stands for."""
    content: list[dict[str, Any]] = [{"type": "text", "text": step["text"]}] if step.get("text") else []
    calls = step.get("tools") or ([[step["tool"], step["input"]]] if "tool" in step else [])
    content += [
        {"type": "tool_use", "id": "toolu_" + uuid.uuid4().hex[:20], "name": name, "input": arguments}
        for name, arguments in calls
    ]
    usage = {"input_tokens": 1000, "output_tokens": 50, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    return {
        "id": "msg_" + uuid.uuid4().hex[:20], "type": "message", "role": "assistant", "content": content,
        "model": model, "stop_reason": step.get("stop_reason", "tool_use" if calls else "end_turn"),
        "stop_sequence": None, "usage": {**usage, **step.get("usage", {})},
    }  # fmt: skip


def streamed(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """(content block as it starts, its deltas)."""
    if block["type"] == "text":
        words = re.findall(r"\s*\S+\s*", block["text"])
        return {"type": "text", "text": ""}, [{"type": "text_delta", "text": word} for word in words]
    arguments = json.dumps(block["input"])
    parts = [arguments[start : start + 40] for start in range(0, len(arguments), 40)]
    return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": part} for part in parts]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def mock(self) -> MockServer:
        return cast("MockServer", self.server)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class's name)
        """No access log."""

    def record(self, body: object) -> None:
        self.mock.record({"t": time.time(), "method": self.command, "path": self.path, "headers": dict(self.headers),
                          "body": body})  # fmt: skip

    def send_json(self, status: int, value: object, headers: Mapping[str, object] | None = None) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {
            "content-type": "application/json", "content-length": len(data),
            "request-id": "req_mock_" + uuid.uuid4().hex[:12], **(headers or {}),
        }.items():  # fmt: skip
            self.send_header(name, str(text))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def send_error_json(
        self, status: int, kind: str, message: str, headers: Mapping[str, object] | None = None
    ) -> None:
        self.send_json(status, {"type": "error", "error": {"type": kind, "message": message}}, headers)

    def do_HEAD(self) -> None:
        self.record(None)
        self.send_json(200 if self.path == "/" else 404, {})

    do_GET = do_HEAD  # noqa: N815

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        body = json.loads(raw) if raw[:1] == b"{" else {}
        self.record(body)
        path = self.path.split("?")[0]
        if path == "/v1/messages/count_tokens":
            self.send_json(200, {"input_tokens": max(1, len(raw) // 4)})
        elif path != "/v1/messages":
            self.send_error_json(404, "not_found_error", path)
        elif self.mock.limited():
            self.refuse_for_limit()
        else:
            self.answer_messages(body)

    def refuse_for_limit(self) -> None:
        reset = self.mock.limit_until
        message = f"You've hit your session limit, resets {time.strftime('%H:%M:%S', time.gmtime(reset))} (UTC)"
        headers = {
            "retry-after": max(1, round(reset - time.time())), "x-should-retry": "false",
            "anthropic-ratelimit-unified-status": "rejected", "anthropic-ratelimit-unified-reset": int(reset),
        }  # fmt: skip
        self.send_error_json(429, "rate_limit_error", message, headers)

    def answer_messages(self, body: dict[str, Any]) -> None:
        try:
            steps, turn, prompt = locate(body, self.mock.script)
        except ValueError as error:  # a script mangled on its way here must fail loudly, not hang the client in retries
            self.send_error_json(400, "invalid_request_error", f"bad MOCK script: {error}")
            return
        step = steps[min(turn, len(steps) - 1)]
        time.sleep(step.get("delay", 0))
        if fail := step.get("fail"):
            times = fail.get("times", -1)
            tried = self.mock.count_try((self.headers.get("x-claude-code-session-id"), prompt, turn))
            if times < 0 or tried <= times:
                kind, message = fail.get("type", "api_error"), fail.get("message", "mock failure")
                self.send_error_json(fail["status"], kind, message, fail.get("headers"))
                return
        if step.get("sse_error") and not body.get("stream"):  # the client's fallback without streaming
            self.send_json(529, {"type": "error", "error": step["sse_error"]})
            return
        message = answer(step, body.get("model"))
        if body.get("stream"):
            self.stream(message, step)
        else:
            self.send_json(200, message)

    def stream(self, message: dict[str, Any], step: Step) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            self.emit_all(message, step)
        except (BrokenPipeError, ConnectionResetError):
            return  # the client was killed or gave up

    def emit_all(self, message: dict[str, Any], step: Step) -> None:
        def emit(kind: str, **values: object) -> None:
            self.wfile.write(f"event: {kind}\ndata: {json.dumps({'type': kind, **values})}\n\n".encode())
            self.wfile.flush()
            time.sleep(step.get("chunk_delay", 0))

        usage = {**message["usage"], "output_tokens": 1}
        emit("message_start", message={**message, "content": [], "stop_reason": None, "usage": usage})
        if step.get("sse_error"):
            emit("error", error=step["sse_error"])
            return
        for index, block in enumerate(message["content"]):
            start, deltas = streamed(block)
            emit("content_block_start", index=index, content_block=start)
            for delta in deltas:
                emit("content_block_delta", index=index, delta=delta)
            if step.get("cut"):
                return
            emit("content_block_stop", index=index)
        end = {"stop_reason": message["stop_reason"], "stop_sequence": None}
        emit("message_delta", delta=end, usage=message["usage"])
        emit("message_stop")


def main() -> None:
    parser = argparse.ArgumentParser(description="Mock of the Anthropic Messages API on the loopback interface.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--script", type=Path)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--limit", metavar="AFTER:SECONDS")
    options = parser.parse_args()
    script = json.loads(options.script.read_text()) if options.script else None
    limit = None
    if options.limit:
        after, seconds = options.limit.split(":")
        limit = (float(after), float(seconds))
    server = MockServer(options.port, script, options.log, limit)
    sys.stdout.write(f"PORT {server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
