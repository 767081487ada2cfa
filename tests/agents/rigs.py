"""The real agent programs against model APIs on loopback, each ready to run in a workflow."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agents import mock_anthropic, mock_gemini, mock_openai

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"
SLOW_MODULES = HERE / "slow" / "node_modules"
Step = dict[str, Any]


@dataclass
class Rig:
    """agents: what stands under `agents:` in a workflow. env: of the call. say: steps (sh, text, delay, fail) as a
    prompt that this program's API understands. slow: seconds that a start may take on a busy machine. tells_live:
    whether it tells what it has used while it works."""

    name: str
    agents: dict[str, Any]
    say: Callable[[list[Step]], str]
    env: dict[str, str] = field(default_factory=dict)
    slow_s: float = 10.0
    tells_live: bool = False
    costs: bool = True
    server: Any = None

    def workflow(self, text: str) -> str:
        """A workflow in which this program runs the steps that name no agent."""
        agents = {"default": self.name, self.name: self.agents}
        return f"agents: {json.dumps(agents)}\n{text}"


def _scripted(steps: list[Step]) -> str:
    return f"MOCK[[ {json.dumps(steps)} ]]"


def _with_tool(tool: str, **more: str) -> Callable[[list[Step]], str]:
    """Steps in which `sh` is a call of a tool with a command."""

    def say(steps: list[Step]) -> str:
        turned = []
        for step in steps:
            rest = {key: value for key, value in step.items() if key != "sh"}
            call = {"tool": tool, "input": {"command": step["sh"], **more}} if "sh" in step else {}
            turned.append({**rest, **call})
        return _scripted(turned)

    return say


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _program(name: str, modules: Path = MODULES) -> str:
    if not (modules / ".ready").exists() or not (modules / ".bin" / name).exists():
        target = "agents" if modules == MODULES else "agents-slow"
        pytest.skip(f"the {name} program is not installed: make {target}")
    return str(modules / ".bin" / name)


@contextmanager
def claude(folder: Path) -> Iterator[Rig]:
    program, server = _program("claude"), mock_anthropic.MockServer()
    env = {
        "CLAUDE_CONFIG_DIR": str(folder / "claude-config"), "ANTHROPIC_BASE_URL": server.url,
        "ANTHROPIC_API_KEY": "dummy", "DISABLE_TELEMETRY": "1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_RETRIES": "1",
    }  # fmt: skip
    with serving(server):
        yield Rig("claude", {"command": program}, _with_tool("Bash"), env, tells_live=True, server=server)


@contextmanager
def codex(folder: Path) -> Iterator[Rig]:
    program, server = _program("codex"), mock_openai.MockServer()
    home = folder / "codex-home"
    home.mkdir()
    (home / "config.toml").write_text(f"""\
model = "gpt-5-codex"
model_provider = "mock"
[model_providers.mock]
name = "mock"
base_url = "{server.url}/v1"
env_key = "MOCK_KEY"
wire_api = "responses"
request_max_retries = 1
stream_max_retries = 1
[analytics]
enabled = false
""")
    env = {"CODEX_HOME": str(home), "MOCK_KEY": "x"}
    with serving(server):
        agents = {"command": program, "model": "gpt-5-codex", "pass_env": ["MOCK_KEY"]}
        yield Rig("codex", agents, _scripted, env, server=server)


def _opencode(folder: Path, server: mock_anthropic.MockServer) -> dict[str, str]:
    model = "anthropic/claude-sonnet-4-5"
    config = {
        "model": model, "small_model": model, "autoupdate": False, "share": "disabled",
        "provider": {"anthropic": {"options": {"baseURL": f"{server.url}/v1", "apiKey": "dummy"}}},
        "permission": {"edit": "allow", "bash": "allow"},
    }  # fmt: skip
    (folder / "opencode.json").write_text(json.dumps(config))
    return {
        "OPENCODE_CONFIG": str(folder / "opencode.json"), "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    }  # fmt: skip


@contextmanager
def opencode(folder: Path) -> Iterator[Rig]:
    program, server = _program("opencode", SLOW_MODULES), mock_anthropic.MockServer()
    env = _opencode(folder, server)
    say = _with_tool("bash", description="x")
    with serving(server):
        yield Rig("opencode", {"command": program}, say, env, slow_s=40.0, tells_live=True, server=server)


@contextmanager
def acp(folder: Path) -> Iterator[Rig]:
    """OpenCode again, by the Agent Client Protocol."""
    program, server = _program("opencode", SLOW_MODULES), mock_anthropic.MockServer()
    env = _opencode(folder, server)
    agents = {"kind": "acp", "command": [program, "acp"], "pass_env": "OPENCODE_*"}
    say = _with_tool("bash", description="x")
    with serving(server):
        yield Rig("by-acp", agents, say, env, slow_s=60.0, server=server)


@contextmanager
def gemini(folder: Path) -> Iterator[Rig]:
    program, server = _program("gemini", SLOW_MODULES), mock_gemini.MockServer()
    settings = {
        "security": {"auth": {"selectedType": "gemini-api-key"}}, "telemetry": {"enabled": False},
        "privacy": {"usageStatisticsEnabled": False}, "general": {"disableAutoUpdate": True},
    }  # fmt: skip
    (folder / ".gemini").mkdir()
    (folder / ".gemini" / "settings.json").write_text(json.dumps(settings))
    env = {"GEMINI_API_KEY": "dummy", "GOOGLE_GEMINI_BASE_URL": server.url}
    agents = {"command": program, "model": "gemini-2.5-pro"}
    with serving(server):
        yield Rig("gemini", agents, _scripted, env, slow_s=40.0, server=server)


AIDER = HERE / "venv" / "bin" / "aider"


@contextmanager
def aider(folder: Path) -> Iterator[Rig]:
    """It has no tools: a command that makes a file is said as the edit that makes it."""
    if not AIDER.exists():
        pytest.skip("the aider program is not installed: make agents-slow")
    server = mock_anthropic.MockServer()

    def say(steps: list[Step]) -> str:
        edits = [_as_edit(step) for step in steps]
        return _scripted([edits[0] if len(edits) == 1 or "text" in edits[0] else edits[-1]])

    env = {
        "ANTHROPIC_API_KEY": "dummy", "ANTHROPIC_API_BASE": server.url, "ANTHROPIC_BASE_URL": server.url,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True", "AIDER_ANALYTICS": "false",
    }  # fmt: skip
    agents = {
        "command": str(AIDER),
        "model": "anthropic/claude-sonnet-4-5",
        "args": ["--no-fancy-input", "--map-tokens", "0"],
    }
    with serving(server):
        yield Rig("aider", agents, say, env, slow_s=60.0, server=server)


def _as_edit(step: Step) -> Step:
    if "sh" not in step:
        return step
    text = "made.txt\n```\n<<<<<<< SEARCH\n=======\nmade\n>>>>>>> REPLACE\n```\n"
    return {**{key: value for key, value in step.items() if key != "sh"}, "text": text}


@contextmanager
def command(folder: Path) -> Iterator[Rig]:
    """A program of our own that plays the script without a model."""
    program = folder / "player"
    shutil.copy(HERE / "player.py", program)
    program.chmod(0o755)
    env = {"PLAYER_TRIES": str(folder / "player-tries")}
    words = {"kind": "command", "command": [shutil.which("python3") or "python3", str(program)],
             "pass_env": ["PLAYER_TRIES"]}  # fmt: skip
    yield Rig("player", words, _scripted, env, costs=False)


FAST = (claude, codex, command)
SLOW = (opencode, acp, gemini, aider)
