#!/usr/bin/env python3
"""A stand-in for the `claude` program: real options, real events and exit codes, no model.

What it does is told in the prompt, `MOCK[[ [STEP, ...] ]]`, or in the file of a slash command that the prompt names
(`.claude/commands/NAME.md`). Without a script it answers with the prompt. A step is one of

    {"sh": "git commit ..."}        use the Bash tool; a failing command is told, not fatal
    {"text": "done"}                say something; the last text is the result
    {"sleep_until_file": PATH}      wait until the file is there
    {"raw": "text"}                 a line on standard output as it stands
    {"bytes": "ff00"}               bytes on standard output, in hexadecimal digits
    {"flood": N, "of": "text"}      N bytes on standard output: the text again and again
    {"stderr": "text"}              a line on standard error
    {"limit": "resets 8pm (UTC)"}   fail as an account at its limit does
    {"result": {...}}               the result event, with these fields changed; null: never send one
    {"exit": N}                     end at once with this exit code

and may have "unless_file": PATH, to be left out when that file is there. Paths may hold $VARIABLES. After the last
step comes the result event, if there was none, and the exit code 1 if it has is_error.
Each call adds a line of JSON to the file that CLAUDE_STAND_IN_LOG names: arguments, prompt and directory.

CLAUDE_STAND_IN_LIMIT names a file `{"after": N, "seconds": S, "says": TEXT}` that plays a limit of the whole account:
after N calls each is refused for S seconds, once. TEXT says when it ends, `{reset}` being that time; there is one.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

MODEL = "claude-stand-in"
WITH_VALUE = {
    "--output-format", "--model", "--permission-mode", "--max-budget-usd", "--max-turns", "--resume", "--session-id",
    "--settings", "--append-system-prompt", "--fallback-model", "--json-schema", "--allowedTools", "--disallowedTools",
    "--mcp-config", "--add-dir",
}  # fmt: skip
FLAGS = {
    "-p",
    "--print",
    "--verbose",
    "--dangerously-skip-permissions",
    "--include-partial-messages",
    "--exclude-dynamic-system-prompt-sections",
}


def refuse(message: str) -> int:
    sys.stderr.write(message + "\n")
    return 1


def parse(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """(options, other words); raises ValueError for what the real program does not know."""
    options: dict[str, str] = {}
    words: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, assigned, value = argument.partition("=")
        if name in WITH_VALUE:
            options[name] = value if assigned else next(rest, "")
        elif argument in FLAGS:
            options[argument] = ""
        elif argument.startswith("-"):
            raise ValueError(f"error: unknown option '{argument}'")
        else:
            words.append(argument)
    return options, words


def log_call(arguments: list[str], prompt: str) -> None:
    if path := os.environ.get("CLAUDE_STAND_IN_LOG"):
        line = json.dumps({"argv": arguments, "prompt": prompt, "cwd": str(Path.cwd())}) + "\n"
        log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(log, line.encode())
        os.close(log)


def scripted(text: str) -> list[dict[str, Any]] | None:
    found = re.search(r"MOCK\[\[\s*(?=\[)", text)
    steps: list[dict[str, Any]] | None = json.JSONDecoder().raw_decode(text, found.end())[0] if found else None
    return steps


def expanded(prompt: str) -> str | None:
    """The prompt with a slash command replaced by its file; None for a command that there is not."""
    found = re.match(r"/([\w:-]+)\s*", prompt)
    if not found:
        return prompt
    file = Path(".claude/commands") / f"{found[1].replace(':', '/')}.md"
    if file.is_file():
        return file.read_text().replace("$ARGUMENTS", prompt[found.end() :])
    return prompt if "MOCK[[" in prompt else None


def limited() -> str | None:
    """What a call is told that the account's limit refuses, None for one that it lets through."""
    path = os.environ.get("CLAUDE_STAND_IN_LIMIT")
    if path is None:
        return None
    with Path(path).open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        limit = json.load(file)
        limit["calls"] = limit.get("calls", 0) + 1
        if limit["calls"] > limit["after"]:
            limit.setdefault("until", time.time() + limit["seconds"])
        refused = time.time() < limit.get("until", 0.0)
        limit["refused"] = limit.get("refused", 0) + refused
        file.seek(0)
        file.truncate()
        json.dump(limit, file)
    if not refused:
        return None
    reset = time.strftime("%H:%M:%S", time.gmtime(limit["until"] + 0.999))
    return str(limit.get("says", "resets {reset} (UTC)")).replace("{reset}", reset)


class Session:
    """One run: the events it sends, and how it ends."""

    def __init__(self, session: str) -> None:
        self.session = session
        self.said = ""
        self.turns = 0
        self.ended = False
        self.code = 0

    def send(self, event: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps({**event, "session_id": self.session, "uuid": str(uuid.uuid4())}) + "\n")
        sys.stdout.flush()

    def begin(self, permission_mode: str) -> None:
        self.send({"type": "system", "subtype": "init", "cwd": str(Path.cwd()), "tools": ["Bash"], "model": MODEL,
                   "permissionMode": permission_mode, "claude_code_version": "2.1.197"})  # fmt: skip

    def assistant(self, block: dict[str, Any], *, synthetic: bool = False, **more: Any) -> None:
        usage = {"input_tokens": 0 if synthetic else 1000, "output_tokens": 0 if synthetic else 1}
        message = {"id": f"msg_{uuid.uuid4().hex[:20]}", "type": "message", "role": "assistant", "content": [block],
                   "model": "<synthetic>" if synthetic else MODEL, "stop_reason": None, "usage": usage}  # fmt: skip
        self.send({"type": "assistant", "message": message, "parent_tool_use_id": None, **more})

    def say(self, text: str) -> None:
        self.turns += 1
        self.said = text
        self.assistant({"type": "text", "text": text})

    def bash(self, command: str) -> None:
        self.turns += 1
        tool = f"toolu_{uuid.uuid4().hex[:20]}"
        self.assistant({"type": "tool_use", "id": tool, "name": "Bash", "input": {"command": command}})
        with tempfile.TemporaryFile() as file:  # no pipe: what the command leaves in the background would keep it open
            done = subprocess.run(
                ["bash", "-c", command], stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True,
                check=False,
            )  # fmt: skip
            file.seek(0)
            output = file.read().decode(errors="replace")
        content = {"type": "tool_result", "tool_use_id": tool, "content": output, "is_error": done.returncode != 0}
        self.send({"type": "user", "message": {"role": "user", "content": [content]}, "parent_tool_use_id": None})

    def fail(self, text: str, error: str, status: int) -> None:
        self.assistant({"type": "text", "text": text}, synthetic=True, error=error)
        self.result({"is_error": True, "api_error_status": status, "result": text, "total_cost_usd": 0,
                     "usage": {"input_tokens": 0, "output_tokens": 0}, "num_turns": 1})  # fmt: skip

    def result(self, changes: dict[str, Any]) -> None:
        event = {
            "type": "result", "subtype": "success", "is_error": False, "api_error_status": None, "duration_ms": 1,
            "num_turns": self.turns, "result": self.said, "total_cost_usd": 0.0125,
            "usage": {"input_tokens": 2000, "output_tokens": 100, "cache_read_input_tokens": 0,
                      "cache_creation_input_tokens": 0},
            "permission_denials": [], "terminal_reason": "completed", **changes,
        }  # fmt: skip
        self.ended = True
        self.code = 1 if event["is_error"] else 0
        self.send(event)

    def play(self, step: dict[str, Any]) -> None:
        if (path := step.get("unless_file")) and Path(os.path.expandvars(path)).exists():
            return
        match step:
            case {"sh": str(command)}:
                self.bash(command)
            case {"text": str(text)}:
                self.say(text)
            case {"sleep_until_file": str(path)}:
                while not Path(os.path.expandvars(path)).exists():
                    time.sleep(0.01)
            case {"raw": str(text)}:
                sys.stdout.write(text + "\n")
                sys.stdout.flush()
            case {"bytes": str(digits)}:
                sys.stdout.buffer.write(bytes.fromhex(digits))
                sys.stdout.flush()
            case {"flood": int(count), "of": str(text)}:
                piece = text.encode() * max(1, (1 << 24) // len(text))
                for begin in range(0, count, len(piece)):
                    sys.stdout.buffer.write(piece[: count - begin])
                sys.stdout.flush()
            case {"stderr": str(text)}:
                sys.stderr.write(text + "\n")
                sys.stderr.flush()
            case {"limit": str(when)}:
                self.fail(f"You've hit your session limit · {when}", "rate_limit", 429)
                sys.exit(self.code)
            case {"result": None}:
                self.ended = True
            case {"result": dict(changes)}:
                self.result(changes)
            case {"exit": int(code)}:
                sys.exit(code)
            case _:
                raise ValueError(f"unknown step {step}")


def run(session: Session, prompt: str, permission_mode: str) -> int:
    session.begin(permission_mode)
    text = expanded(prompt)
    if text is None:
        session.said = f"Unknown command: {prompt.split()[0]}"
        session.assistant({"type": "text", "text": session.said}, synthetic=True)
        session.result({"total_cost_usd": 0, "usage": {"input_tokens": 0, "output_tokens": 0}})
        return 0
    if (when := limited()) is not None:
        session.fail(f"You've hit your session limit · {when}", "rate_limit", 429)
        return session.code
    try:
        steps = scripted(text)
        for step in [{"text": text}] if steps is None else steps:
            session.play(step)
    except ValueError as error:
        session.fail(f"API Error: 400 bad MOCK script: {error}", "invalid_request", 400)
    except KeyboardInterrupt:
        session.result({"subtype": "error_during_execution", "is_error": True, "terminal_reason": "aborted_tools",
                        "result": None, "errors": ["[ede_diagnostic] interrupted"]})  # fmt: skip
    if not session.ended:
        session.result({})
    return session.code


def main(arguments: list[str]) -> int:
    if arguments == ["--version"]:
        sys.stdout.write("2.1.197 (Claude Code stand-in)\n")
        return 0
    try:
        options, words = parse(arguments)
    except ValueError as error:
        return refuse(str(error))
    skips = "--dangerously-skip-permissions" in options
    if skips and os.geteuid() == 0 and not os.environ.get("IS_SANDBOX"):
        return refuse("--dangerously-skip-permissions cannot be used with root/sudo privileges for security reasons")
    if options.get("--output-format") != "stream-json" or "--verbose" not in options:
        return refuse("Error: this stand-in needs --print, --output-format=stream-json and --verbose")
    prompt = words[0] if words else sys.stdin.buffer.read().decode(errors="replace")
    log_call(arguments, prompt)
    if not prompt.strip():
        return refuse("Error: Input must be provided either through stdin or as a prompt argument when using --print")
    session = Session(options.get("--resume") or options.get("--session-id") or str(uuid.uuid4()))
    return run(session, prompt, "bypassPermissions" if skips else options.get("--permission-mode", "default"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
