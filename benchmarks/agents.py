"""The real Claude Code against a model API on loopback: what crashes, limits and hangs cost, counted at the server.

Needs the program (`make agents`); without it nothing is measured.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.common import Result, make_repository

TESTS = Path(__file__).parents[1] / "tests"
PROGRAM = TESTS / "agents" / "node_modules" / ".bin" / "claude"


@contextmanager
def _server(folder: Path, limit: tuple[float, float] | None) -> Iterator[Any]:
    sys.path.insert(0, str(TESTS))
    from agents.mock_anthropic import MockServer

    server = MockServer(logfile=folder / "requests", limit=limit)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        sys.path.remove(str(TESTS))


def _environment(folder: Path, server: Any) -> dict[str, str]:
    return {
        **os.environ, "HOME": str(folder), "PRODIGY_HOME": str(folder / "home"),
        "CLAUDE_CONFIG_DIR": str(folder / "config"),
        "ANTHROPIC_BASE_URL": server.url, "ANTHROPIC_API_KEY": "dummy", "IS_SANDBOX": "1", "DISABLE_TELEMETRY": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "CLAUDE_CODE_MAX_RETRIES": "1",
        "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}",
    }  # fmt: skip


def _script(*steps: dict[str, Any]) -> str:
    return f"MOCK[[ {json.dumps(list(steps))} ]]"


def _bash(command: str, **more: Any) -> dict[str, Any]:
    return {"tool": "Bash", "input": {"command": command}, **more}


def _prodigy(folder: Path, env: dict[str, str], *args: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "prodigy.cli.main", *args]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder / "repo", env=env, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe)


@contextmanager
def _place(limit: tuple[float, float] | None = None) -> Iterator[tuple[Path, Any, dict[str, str]]]:
    with tempfile.TemporaryDirectory(prefix="prodigy-bench-") as name:
        folder = Path(name)
        make_repository(folder, 20)
        with _server(folder, limit) as server:
            yield folder, server, _environment(folder, server)


def _flow(folder: Path, items: int, parallel: int, *steps: dict[str, Any], top: str = "", step: str = "") -> str:
    path = folder / "flow.yml"
    path.write_text(f"""{top}
map:
  input: seq 1 {items}
  max_parallel: {parallel}
  agent_template:
    - claude: 'Item ${{item}} of it. {_script(*steps)}'
      {step}
""")
    return str(path)


def crashes_and_a_limit(items: int = 20) -> Result:
    """Killed with -9 twice and limited once: requests for steps that had finished."""
    with _place(limit=(items // 2 * 2, 5.0)) as (folder, server, env):
        done = _bash("echo $PRODIGY_ITEM_ID > $PRODIGY_ITEM_ID.txt && git add -A && git commit -qm x", text="Working.")
        flow = _flow(folder, items, 4, done, {"text": "done", "delay": 0.5})
        process = _prodigy(folder, env, "run", flow, "--json")
        for share in (0.25, 0.75):
            while server.answered < items * 2 * share:
                time.sleep(0.05)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            process = _prodigy(folder, env, "resume", "--json")
        summary = json.loads(process.communicate()[0])
        assert summary["items"]["successful"] == items, summary
        asked = Counter[tuple[str, int]]()
        refused_until = server.limit_until - server.limit[1]
        for line in (folder / "requests").read_text().splitlines():
            entry = json.loads(line)
            # A request is noted just before it is refused.
            if not entry["path"].startswith("/v1/messages") or refused_until - 0.02 <= entry["t"] < server.limit_until:
                continue
            messages = entry["body"]["messages"]
            item = next(word for word in json.dumps(messages).split("Item ")[1:]).split(" ")[0]
            asked[item, sum(message["role"] == "assistant" for message in messages)] += 1
        repeated = sum(count - 1 for (_, turn), count in asked.items() if turn < 2)
        details = f"{items} items, {sum(asked.values())} answers for {items * 2} turns, 2 kills, 1 limit of 5 s"
        return Result("requests repeated for finished turns", float(repeated), 0.0, "requests", details)


def budget_overshoot() -> Result:
    """16 items at 8 slots under a budget that lets through about six."""
    with _place() as (folder, _, env):
        flow = _flow(folder, 16, 8, _bash("true"), {"text": "done", "delay": 0.3}, top="budget: {max_cost_usd: 0.08}")
        out, _ = _prodigy(folder, env, "run", flow, "--json").communicate()
        summary = json.loads(out)
        over = max(0.0, summary["cost_usd"] - 0.08)
        listed, _ = _prodigy(folder, env, "events", "ls", "--json").communicate()
        events = [json.loads(line)["event"] for line in listed.splitlines()]
        reserved = {e["path"]: e["reserved_usd"] for e in events if e["event_type"] == "step_started"}
        ended = [e for e in events if e["event_type"] in ("step_finished", "step_lost") and reserved[e["path"]]]
        exceeded = sum(max(0.0, (e["cost_usd"] or 0.0) - reserved[e["path"]]) for e in ended)
        done, status = summary["items"]["successful"], summary["status"]
        details = f"spent {summary['cost_usd']:.4f} of 0.08 USD, {done} items, {status}"
        details += f"; the limit is what {len(ended)} agents exceeded their reservations by"
        return Result("budget passed by", round(over, 6), round(exceeded, 6), "USD", details)


def hang() -> Result:
    """An agent whose tool never returns, under an idle timeout of 3 s: seconds until it is ended."""
    with _place() as (folder, _, env):
        flow = _flow(folder, 1, 1, _bash("sleep 900"), {"text": "done"}, step="idle_timeout: 3s")
        begun = time.monotonic()
        process = _prodigy(folder, env, "run", flow, "--json")
        process.communicate()
        took = time.monotonic() - begun
        return Result("a hang is ended, start-up and end of the run included", took, 15.0, "s", "idle_timeout is 3 s")


def streaming(agents: int = 16) -> list[Result]:
    """Memory and processor of the coordinator while so many agents stream."""
    with _place() as (folder, _, env):
        steps = [_bash("sleep 0.2", text="word " * 200) for _ in range(12)]
        process = _prodigy(folder, env, "run", _flow(folder, agents, agents, *steps, {"text": "done"}), "--json")
        peak, begun, cpu = 0.0, time.monotonic(), 0.0
        while process.poll() is None:
            status = Path(f"/proc/{process.pid}/status")
            stat = Path(f"/proc/{process.pid}/stat")
            try:
                fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
                words = stat.read_text().rpartition(")")[2].split()
            except (OSError, ValueError):
                break
            if "VmRSS" in fields:
                peak = max(peak, int(fields["VmRSS"].split()[0]) / 1024)
            cpu = (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
            time.sleep(0.1)
        took = time.monotonic() - begun
        process.communicate()
        details = f"{agents} agents, {took:.1f} s"
        return [
            Result("coordinator memory while agents stream", peak, 150.0, "MB", details),
            Result(
                "coordinator's part of a core meanwhile", cpu / took, 0.5, "cores", f"{details}, {cpu:.2f} s of CPU"
            ),
        ]


def agents() -> list[Result]:
    if not PROGRAM.exists():
        return []
    return [crashes_and_a_limit(), budget_overshoot(), hang(), *streaming()]
