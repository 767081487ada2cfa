"""The one place that starts git.

A repository that agents can write to may hold configuration that runs programs: hooks, fsmonitor, pagers,
askpass helpers. Every call therefore gets an environment and settings that switch them off. Filter, merge and
diff drivers have no such switch; calls that would read them go through a private git directory
(`private.py`).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prodigy.errors import EnvironmentProblem, ProdigyError

# Seconds. Reading or writing a whole work tree may take long on a slow disk; anything else is quick.
DEFAULT_TIMEOUT_S = 120.0
TREE_TIMEOUT_S = 600.0
_TERMINATE_GRACE_S = 2.0

NULL_DEVICE = os.devnull

_ENVIRONMENT = {
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": NULL_DEVICE,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "/bin/true",
    "SSH_ASKPASS": "/bin/true",
    "GIT_PAGER": "cat",
    "GIT_EDITOR": "true",
    "GIT_SEQUENCE_EDITOR": "true",
    "GIT_SSH_COMMAND": "ssh",
    "GIT_ALLOW_PROTOCOL": "file",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
}

_SETTINGS = (
    f"core.hooksPath={NULL_DEVICE}",
    "core.fsmonitor=false",
    f"core.attributesFile={NULL_DEVICE}",
    f"core.excludesFile={NULL_DEVICE}",
    "diff.external=",
    "commit.gpgSign=false",
    "tag.gpgSign=false",
    "log.showSignature=false",
    "credential.helper=",
    "core.sshCommand=ssh",
    "core.askPass=/bin/true",
    "core.alternateRefsCommand=",
    "protocol.allow=never",
    "protocol.file.allow=always",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "fetch.fsckObjects=true",
    "diff.ignoreSubmodules=all",
    "gc.auto=0",
    "maintenance.auto=false",
    "core.protectHFS=true",
    "core.protectNTFS=true",
    # Objects and refs reach the disk before a database row names them.
    "core.fsync=loose-object,reference",
    "core.fsyncMethod=batch",
    # Milliseconds to wait for another git that holds a ref. The default for a single ref, a tenth of a second, is short
    # on a busy machine, and whoever does not get it stops the run.
    "core.filesRefLockTimeout=1000",
    "core.packedRefsTimeout=3000",
)
# How a user adds or replaces configuration by environment.
_CONFIG_PREFIXES = (
    *("GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_GLOBAL"),
    *("GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_"),
)

_HARDENING = tuple(part for setting in _SETTINGS for part in ("-c", setting))

# Another process is in the middle of `git worktree add`, and readers see its half-made directory. Waiting a
# moment is the cure.
_TRANSIENT = re.compile(r"failed to read \S*worktrees/.*commondir|bad object worktrees/.*HEAD")
_RETRY_DELAYS_S = (0.01, 0.03, 0.1, 0.3)


class GitError(ProdigyError):
    """A git command failed.

    argv: as a person would type it; code: exit status, None when it ran out of time; stderr: its words.
    """

    exit_code = 5
    next_step = "`prodigy doctor` looks at the repository. When git can do this again, `prodigy resume` goes on."

    def __init__(
        self,
        what: str,
        *,
        argv: Sequence[str] = (),
        code: int | None = None,
        stderr: str = "",
        where: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(what, where=where, hint=hint)
        self.argv = tuple(argv)
        self.code = code
        self.stderr = stderr


class GitTimeout(GitError):
    """A git command was ended because it took too long."""


@dataclass(frozen=True)
class Completed:
    """A git command that ended as expected."""

    code: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        """The output as text, possibly many lines, without the last line end."""
        return os.fsdecode(self.stdout).rstrip("\n")

    @property
    def line(self) -> str:
        """The output as one line of text, e.g. an object id."""
        return os.fsdecode(self.stdout).strip()

    def records(self) -> list[str]:
        """NUL-terminated output, e.g. file names."""
        return [os.fsdecode(record) for record in self.stdout.split(b"\0")[:-1]]


class _Calls:
    """How many git processes this process has started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    def add(self) -> None:
        with self._lock:
            self._count += 1

    def count(self) -> int:
        return self._count


_calls = _Calls()


def calls() -> int:
    """Git processes started so far by this process; overhead is judged by it."""
    return _calls.count()


def run_git(
    args: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    config: Sequence[str] = (),
    stdin: bytes | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    ok: Sequence[int] = (0,),
    fds: Sequence[int] = (),
    user_config: bool = False,
) -> Completed:
    """Run git and return what it printed.

    env: added to the environment, from which all GIT_* variables of the caller are removed.
    config: further `key=value` settings, stronger than the hardened ones.
    ok: exit statuses that are answers; any other raises GitError, GitTimeout after `timeout_s` seconds.
    fds: descriptors that git and its children keep open, e.g. a lock that has to outlive us.
    user_config: also read the system's and the user's configuration; only for asking what they say.
    """
    environment = _environment(env or {}, user_config=user_config)
    extra = [part for setting in config for part in ("-c", setting)]
    argv = ["git", "--no-pager", *_HARDENING, *extra, *args]
    for delay_s in (*_RETRY_DELAYS_S, None):
        completed = _run(argv, args, cwd, environment, stdin, timeout_s, fds)
        if completed.code in ok:
            return completed
        if delay_s is None or not _TRANSIENT.search(completed.stderr):
            break
        time.sleep(delay_s)
    raise GitError(_summary(args, completed), argv=("git", *args), code=completed.code, stderr=completed.stderr)


def start_git(
    args: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    config: Sequence[str] = (),
    fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start git with pipes for its input and output, hardened as `run_git` does it. Raises OSError."""
    _calls.add()
    extra = [part for setting in config for part in ("-c", setting)]
    return subprocess.Popen(
        ["git", "--no-pager", *_HARDENING, *extra, *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=cwd,
        env=_environment(env, user_config=False),
        pass_fds=tuple(fds),
        start_new_session=True,
    )


def _environment(extra: Mapping[str, str], *, user_config: bool) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= _ENVIRONMENT
    if user_config:
        del environment["GIT_CONFIG_NOSYSTEM"], environment["GIT_CONFIG_GLOBAL"]
        environment |= {name: value for name, value in os.environ.items() if name.startswith(_CONFIG_PREFIXES)}
    environment |= extra
    return environment


def _run(
    argv: Sequence[str],
    args: Sequence[str],
    cwd: Path | None,
    environment: Mapping[str, str],
    stdin: bytes | None,
    timeout_s: float,
    fds: Sequence[int],
) -> Completed:
    _calls.add()
    try:
        # A session of its own: Ctrl-C on our terminal must not end git in the middle of a write, and nothing
        # can ask for a password.
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env=environment,
            pass_fds=tuple(fds),
            start_new_session=True,
        )
    except OSError as error:
        if cwd is not None and not cwd.is_dir():
            raise GitError("the directory does not exist", where=str(cwd), argv=("git", *args)) from error
        if isinstance(error, FileNotFoundError):
            raise EnvironmentProblem("git was not found", hint="install git 2.38 or newer") from error
        raise GitError(f"git cannot be started: {error}", argv=("git", *args)) from error
    with process:
        try:
            stdout, stderr = process.communicate(stdin, timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            _end(process)
            message = f"git {args[0]} took longer than {timeout_s:g} seconds and was ended"
            raise GitTimeout(message, argv=("git", *args)) from error
        except BaseException:
            _end(process)
            raise
    return Completed(process.returncode, stdout, stderr.decode(errors="replace"))


def _end(process: subprocess.Popen[bytes]) -> None:
    """End git and its children: asked first, because git then removes its lock files."""
    for number, wait_s in ((signal.SIGTERM, _TERMINATE_GRACE_S), (signal.SIGKILL, None)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return  # the whole session has ended
        try:
            process.wait(wait_s)
        except subprocess.TimeoutExpired:
            continue


def _summary(args: Sequence[str], completed: Completed) -> str:
    lines = [line for line in completed.stderr.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith(("fatal:", "error:"))]
    reason = (fatal or lines or ["it printed no reason"])[-1 if not fatal else 0]
    return f"git {args[0]} failed with status {completed.code}: {reason}"
