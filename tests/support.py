"""What the tests share: real repositories, the real command line, tallies."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import forked

IDENTITY = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
}


def clean_environment(home: Path) -> dict[str, str]:
    """An environment in which nothing of the developer's own git or Prodigy is visible."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "PRODIGY_"))}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of calls would compile everything anew
    return {**kept, "HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config"), "GIT_CONFIG_NOSYSTEM": "1"}


def git(where: Path, *args: str) -> str:
    """Run git as a user would, and return what it printed."""
    environment = {**clean_environment(where), **IDENTITY}
    done = subprocess.run(
        ["git", "-c", "init.defaultBranch=main", *args], cwd=where, env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, f"git {' '.join(args)}: {done.stderr.decode()}"
    return done.stdout.decode().strip()


@dataclass(frozen=True)
class Done:
    """A finished call of the command line."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Running = subprocess.Popen[bytes] | forked.Started


@dataclass
class Project:
    """A repository, a home for Prodigy, and a file where steps leave a line each time they run."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def repo(self) -> Path:
        return self.folder / "repo"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def tally_file(self) -> Path:
        return self.folder / "tally"

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        return {
            **clean_environment(self.folder),
            **IDENTITY,
            "PRODIGY_HOME": str(self.home),
            "TALLY": str(self.tally_file),
            "SHARED": str(self.folder),
            **self.env,
            **(extra or {}),
        }

    def write(self, name: str, text: str) -> Path:
        path = self.repo / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def commit(self, message: str = "change") -> str:
        git(self.repo, "add", "-A")
        git(self.repo, "commit", "-q", "-m", message)
        return git(self.repo, "rev-parse", "HEAD")

    def workflow(self, text: str, name: str = "flow.yml") -> Path:
        """A workflow file outside of the repository, so that the checkout stays clean."""
        path = self.folder / name
        path.write_text(text)
        return path

    def start(self, *args: str | Path, env: Mapping[str, str] | None = None) -> Running:
        """Start the real command line in the background."""
        argv = [*map(str, args)]
        if forked.fits({**self.env, **(env or {})}):
            return forked.start(argv, self.repo, self.environment(env))
        return subprocess.Popen(
            [sys.executable, "-m", "prodigy.cli.main", *argv],
            cwd=self.repo, env=self.environment(env), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def prodigy(self, *args: str | Path, env: Mapping[str, str] | None = None, where: Path | None = None) -> Done:
        """Run the real command line to its end."""
        argv = [*map(str, args)]
        if forked.fits({**self.env, **(env or {})}):
            done = forked.call(argv, where or self.repo, self.environment(env))
        else:
            done = subprocess.run(
                [sys.executable, "-m", "prodigy.cli.main", *argv], cwd=where or self.repo, env=self.environment(env),
                stdin=subprocess.DEVNULL, capture_output=True, check=False,
            )  # fmt: skip
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def tally(self) -> Counter[str]:
        """How often each line was written by a step."""
        return Counter(self.tally_file.read_text().splitlines()) if self.tally_file.exists() else Counter()

    def run_id(self) -> str:
        """The one run of this project."""
        (directory,) = (path for path in (self.home / "runs").iterdir() if not path.name.startswith("."))
        return directory.name

    def run_branch(self) -> str:
        return f"prodigy/{self.run_id()}/run"

    def files(self, revision: str) -> dict[str, str]:
        """path -> content of every file of a commit."""
        listed = [line.split("\t", 1) for line in git(self.repo, "ls-tree", "-r", revision).splitlines()]
        objects = {facts.split()[2]: b"" for facts, _ in listed}
        read = subprocess.run(
            ["git", "cat-file", "--batch"], cwd=self.repo, env=clean_environment(self.repo),
            input="\n".join(objects).encode(), capture_output=True, check=True,
        ).stdout  # fmt: skip
        for name in objects:
            head, _, read = read.partition(b"\n")
            size = int(head.split()[2])
            objects[name], read = read[:size], read[size + 1 :]
        return {name: objects[facts.split()[2]].decode().strip() for facts, name in listed}

    def assert_nothing_left(self) -> None:
        """One worktree, no process of ours, no lock, a sound repository."""
        assert len(git(self.repo, "worktree", "list", "--porcelain").split("\n\n")) == 1
        assert processes_of(self.folder) == []
        locks = list((self.repo / ".git").rglob("*.lock"))
        locks += [path for path in self.home.rglob("lock") if path.is_file()]
        assert locks == []
        assert "error" not in git(self.repo, "fsck", "--full", "--strict")


def make_project(folder: Path) -> Project:
    """A new repository with one commit, in a folder whose name has a space and non-ASCII letters."""
    project = Project(folder / "pröject dir")
    project.repo.mkdir(parents=True)
    git(project.repo, "init", "-q")
    project.write("README.md", "hello\n")
    project.write("shared.txt", "one\ntwo\nthree\n")
    project.commit("start")
    return project


def in_memory(needed: int = 4 << 30) -> Path | None:
    """A file system in memory from which programs can be run, if it and the memory have so many bytes free."""
    place = Path("/dev/shm")
    try:
        facts = os.statvfs(place)
        (memory,) = re.findall(r"^MemAvailable: +(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except (OSError, ValueError):
        return None
    fits = min(facts.f_bavail * facts.f_frsize, int(memory) * 1024) >= needed
    return place if fits and os.access(place, os.W_OK) and not facts.f_flag & os.ST_NOEXEC else None


def sampled(values: Iterable[Any]) -> list[Any]:
    """Every second value as it is, the others for `make chaos` only."""
    return [
        pytest.param(value, marks=pytest.mark.chaos) if number % 2 else value for number, value in enumerate(values)
    ]


def processes_of(folder: Path) -> list[str]:
    """Command lines of live processes that have the folder in their environment (steps) or arguments (launchers)."""
    return list(_found(os.fsencode(folder)).values())


def end_processes_of(folder: Path) -> None:
    """Kill what still runs below a folder of the tests, and what that has started meanwhile."""
    for _ in range(20):
        found = _found(os.fsencode(folder) + b"/")
        if not found:
            break
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _found(needle: bytes) -> dict[int, str]:
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if (
                needle in (entry / "environ").read_bytes()
                and (entry / "stat").read_text().split(")")[-1].split()[0] != "Z"
            ):
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found[int(entry.name)] = line
        except (OSError, IndexError):
            continue  # it ended while we looked
    return found


def wait_until(condition: Callable[[], bool], what: str, deadline_s: float = 60.0) -> None:
    """Look again and again until the condition holds; fail with `what` when it never does."""
    end = time.monotonic() + deadline_s
    while True:
        begun = time.monotonic()
        if condition():
            return
        looked = time.monotonic()
        assert looked < end, f"waited in vain: {what}"
        time.sleep(max(0.01, min(0.2, looked - begun)))  # to look takes time from what is waited for
