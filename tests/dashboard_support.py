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
from email.message import Message
from http.cookiejar import CookieJar
from typing import Any

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
    headers: Message
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
