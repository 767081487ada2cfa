"""A dashboard as a user starts it: the real command, in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from http.client import HTTPMessage
from http.cookiejar import CookieJar
from pathlib import Path
from typing import IO, Any

from support import Project


class Dashboard:
    """A server and what it has printed. link: opens it once; url: where it is."""

    def __init__(self, project: Project, *options: str, port: int = 0) -> None:
        self._project = project
        self._options = options
        self._process = self._start(port)
        self.link = self._told_link()
        self.port = int(self.link.split("/")[2].rsplit(":", 1)[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def _start(self, port: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "prodigy.cli.main", "dashboard", "--json", "--port", str(port), *self._options],
            cwd=self._project.repo, env=self._project.environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def _told_link(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            assert self._process.stderr is not None
            raise AssertionError(self._process.stderr.read().decode())
        return str(json.loads(line)["url"])

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def key(self) -> str:
        """Of programs."""
        return (self._project.home / "dashboard" / "key").read_text().strip()

    def another_link(self) -> str:
        done = self._project.prodigy("dashboard", "--link", "--json", "--port", str(self.port))
        assert done.code == 0, done.err
        return str(done.json["url"])

    def kill(self) -> None:
        """As a crash does."""
        self._end(signal.SIGKILL)

    def close(self) -> int:
        """As Ctrl-C does; its exit status."""
        self._end(signal.SIGINT)
        return self._process.returncode

    def _end(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            os.kill(self._process.pid, number)
        _, said = self._process.communicate(timeout=30)
        assert b"Traceback" not in said, said.decode()

    def restart(self) -> None:
        """At the same port."""
        self._process = self._start(self.port)
        self._told_link()


@dataclass(frozen=True)
class Answer:
    status: int
    headers: HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Asks a dashboard as a browser or a program does; redirects are followed."""

    def __init__(self, dashboard: Dashboard, *, key: str | None = None) -> None:
        self._url = dashboard.url
        self._key = key
        self.cookies = CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))

    def get(self, path: str, headers: dict[str, str] | None = None) -> Answer:
        return self._ask("GET", path, None, headers or {})

    def post(self, path: str, data: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """data: a dictionary goes as JSON, a list of pairs as a form."""
        headers = dict(headers or {})
        if isinstance(data, list):
            body = urllib.parse.urlencode(data).encode()
            headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
        else:
            body = b"" if data is None else json.dumps(data).encode()
            headers.setdefault("Content-Type", "application/json")
        return self._ask("POST", path, body, headers)

    def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        url = path if path.startswith("http") else self._url + path
        request = urllib.request.Request(url, body, headers, method=method)
        if self._key is not None:
            request.add_header("Authorization", f"Bearer {self._key}")
        try:
            with self._opener.open(request, timeout=60) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())


def lines(stream: IO[bytes]) -> list[str]:
    return stream.read().decode().splitlines()


def big_run(home: Path, like: str, run_id: str, items: int, slots: int = 8) -> None:
    """A run of so many items that is over, written into its tables as the engine would have: made after one that
    there is, `like`, since nobody wants to wait for it."""
    import datetime as dt
    import random
    import shutil
    import sqlite3

    directory = home / "runs" / run_id
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)
    with sqlite3.connect(home / "runs" / like / "run.db") as source, sqlite3.connect(directory / "run.db") as db:
        source.backup(db)
        db.execute("PRAGMA journal_mode = WAL")
        for table in ("dead_letter", "attempt", "step", "event", "usage", "merge_check", "item"):
            db.execute(f"DELETE FROM {table}")
        (fanout,) = db.execute("SELECT path FROM fanout").fetchone()
        db.execute("UPDATE run SET id = ?, workflow = 'big', status = 'completed_with_failures'", (run_id,))
        db.execute("UPDATE fanout SET total = ?", (items,))
        dice, begun, free = random.Random(1), dt.datetime(2026, 1, 5, 8, tzinfo=dt.UTC), [0.0] * slots
        events = [(_at(begun, 0), "job_started", {"workflow": "big", "base": "x", "branch": "b", "target": None})]
        for ordinal in range(1, items + 1):
            name = f"src/module_{ordinal:06d}.py"
            dead = ordinal % 97 == 0
            data = {"path": name, "lines": dice.randint(1, 2000), "owner": dice.choice(["core", "web", "data"])}
            row = (fanout, ordinal, name, name, json.dumps(data), "dead" if dead else "succeeded", 1 + dead, 1 + dead)
            db.execute("INSERT INTO item (fanout, ordinal, item_id, label, data, state, attempt, tries)"
                       " VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)  # fmt: skip
            for number in range(1, 2 + dead):
                slot = min(range(slots), key=free.__getitem__)
                start, end = free[slot], free[slot] + dice.uniform(20, 90)
                free[slot] = end
                kind, error = ("command_failed", f"exit 1 in line {ordinal}") if dead else (None, None)
                attempt = (fanout, ordinal, number, "failed" if dead else "succeeded", "0" * 40, f"/w/s{slot + 1}", 1,
                           _at(begun, start), _at(begun, end), kind, error, end - start)  # fmt: skip
                db.execute("INSERT INTO attempt (fanout, ordinal, number, state, base, worktree, workflow, started_at,"
                           " ended_at, kind, error, duration_s) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", attempt)  # fmt: skip
                path = f"{fanout}/i{ordinal:04d}/a{number}/1"
                db.execute("INSERT INTO step (path, try, state, fingerprint, started_at, finished_at, exit_code,"
                           " duration_s, ended, settled, agent, cost_usd, tokens)"
                           " VALUES (?, 1, 'finished', 'f', ?, ?, 0, ?, 1, 1, 'claude', ?, ?)",
                           (path, _at(begun, start), _at(begun, end), end - start, dice.uniform(0.01, 0.4),
                            dice.randint(100, 90_000)))  # fmt: skip
                named = {"fanout": fanout, "ordinal": ordinal, "attempt": number, "item_id": name, "label": name}
                events.append((_at(begun, end), "agent_failed" if dead else "agent_completed", {
                    **named, **({"kind": kind, "error": error, "retry_eligible": True} if dead else
                                {"duration_s": end - start, "commits": [], "merged": "m"})}))  # fmt: skip
            if dead:
                db.execute("INSERT INTO dead_letter (fanout, ordinal, error_signature, reprocess_eligible,"
                           " manual_review_required) VALUES (?, ?, ?, 1, 0)", (fanout, ordinal, f"s{ordinal % 3}"))  # fmt: skip
        events.append((_at(begun, max(free)), "job_completed", {"status": "completed_with_failures"}))
        db.executemany("INSERT INTO event (id, at, type, data) VALUES ('x', ?, ?, ?)",
                       [(at, kind, json.dumps(data)) for at, kind, data in sorted(events, key=lambda one: one[0])])  # fmt: skip
    db.close()


def _at(begun: Any, seconds: float) -> str:
    import datetime as dt

    return str((begun + dt.timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z"))
