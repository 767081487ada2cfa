"""The interface to an agent program: how it is started, and what its output means.

An agent is a set of plain functions. It starts nothing and knows no clock: the engine runs the process, keeps its
output in a file and folds that file line by line, while the agent works or at any time later, with the same result.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from prodigy.errors import EnvironmentProblem

# A longer line (a picture that a tool read, say) is skipped: nothing that decides a verdict is that long.
MAX_LINE_BYTES = 8 << 20
_CHUNK_BYTES = 1 << 16


@dataclass(frozen=True)
class AgentRequest:
    """What an agent is to do.

    directory: where it works; the caller starts the process there.
    command: program and first arguments in place of the agent's own program.
    model, args: passed on; args come after all of ours but the model.
    max_cost_usd: the agent's own cap, where it has a flag for one. It may overshoot by one answer.
    resume_session: go on with this session, which must have worked in the same directory.
    as_root: whether the process will have user id 0 on its host.
    """

    prompt: str
    directory: str
    command: tuple[str, ...] | None = None
    model: str | None = None
    args: tuple[str, ...] = ()
    max_cost_usd: float | None = None
    resume_session: str | None = None
    as_root: bool = False


@dataclass(frozen=True)
class Invocation:
    """A process to start. argv: never parsed by a shell. env: additions to the step's environment only."""

    argv: tuple[str, ...]
    stdin: bytes = b""
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Started:
    """A session began."""

    session: str | None
    model: str | None


@dataclass(frozen=True)
class Text:
    """The agent said something."""

    text: str


@dataclass(frozen=True)
class ToolCall:
    """The agent uses a tool. summary: one printable line, e.g. the command."""

    name: str
    summary: str


@dataclass(frozen=True)
class Usage:
    """Tokens of one message as known while it streams: a lower bound. `Finished` has the whole."""

    input_tokens: int
    output_tokens: int
    cache_tokens: int


@dataclass(frozen=True)
class RateLimited:
    """The account is refused. resets_at: UNIX time in seconds, None when the agent does not say.

    The agent may still be waiting by itself. A time in the past (an old log) is for the caller to ignore.
    """

    resets_at: float | None


@dataclass(frozen=True)
class Finished:
    """The agent's own last word, before the exit code is known. kind: see `Verdict`."""

    ok: bool
    cost_usd: float | None
    tokens: int | None
    kind: str | None


AgentEvent = Started | Text | ToolCall | Usage | RateLimited | Finished


@dataclass(frozen=True)
class Verdict:
    """What came of an agent's run.

    kind: None for success, else an error kind (rate_limited, budget_exceeded, permission, validation_failed, timeout,
        resource_exhausted, command_failed, unknown).
    message: why it failed; after a success what a person should know, else empty.
    text: the final answer, for captures.
    cost_usd, tokens (input, output and cache): as the agent reported them, None when it did not. Of an agent that
        was ended before it could report, tokens are what its messages show: a lower bound.
    denied: names of the tools that it was not allowed to use.
    resets_at: with rate_limited, when to try again (UNIX time, seconds), if known.
    transient: whether the same call may well succeed a little later (server errors, rate limits).
    """

    kind: str | None
    message: str
    text: str = ""
    cost_usd: float | None = None
    tokens: int | None = None
    session: str | None = None
    denied: tuple[str, ...] = ()
    resets_at: float | None = None
    transient: bool = False


class Agent(Protocol):
    """One agent program. Its state is a value of its own, of no concern to others."""

    @property
    def name(self) -> str: ...
    @property
    def program(self) -> str:
        """What is looked up on the PATH unless a request names a command."""
        ...

    @property
    def install_hint(self) -> str:
        """How to get the program: a clause that begins with a verb."""
        ...

    def start(self, request: AgentRequest) -> Invocation:
        """Raises UsageError for a request that can't work."""
        ...

    def new_state(self) -> Any: ...
    def fold(self, state: Any, line: bytes, now: float) -> tuple[Any, list[AgentEvent]]:
        """Take in one line of output. Never raises, whatever the line is.

        now: about when the line was written (UNIX time, seconds), to make sense of `resets 8pm`.
        """
        ...

    def verdict(self, state: Any, exit_code: int | None, stderr: str = "") -> Verdict:
        """Judge by exit code and output.

        exit_code: None when the process has no say, because we ended it after its last word: output alone decides.
        stderr: its end, for the message of an agent that failed without one.
        """
        ...

    def describe(self, line: bytes) -> str | None:
        """One short printable line for people about a line of output, None when it is not interesting."""
        ...


class Lines:
    """Cuts a stream into lines in bounded memory: a line over `limit` bytes is left out."""

    def __init__(self, limit: int = MAX_LINE_BYTES) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._length = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that the chunk completes, without their line ends."""
        first, *others = chunk.split(b"\n")
        self._add(first)
        lines = []
        for part in others:
            if self._length <= self._limit:
                lines.append(b"".join(self._parts))
            self._parts, self._length = [], 0
            self._add(part)
        return lines

    def rest(self) -> bytes:
        """What has come of a line that was not ended."""
        return b"".join(self._parts)

    def _add(self, part: bytes) -> None:
        self._length += len(part)
        if self._length > self._limit:
            self._parts = []
        elif part:
            self._parts.append(part)


def read_transcript(
    agent: Agent, path: Path, exit_code: int | None, *, now: float | None = None, stderr: str = ""
) -> Verdict:
    """Fold a file with an agent's whole output, and judge.

    now: see `Agent.fold`; by default when the file was last written, so that an old log is read as it was meant.
    Raises OSError when the file cannot be read.
    """
    state, lines = agent.new_state(), Lines()
    moment = path.stat().st_mtime if now is None else now
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            for line in lines.feed(chunk):
                state, _ = agent.fold(state, line, moment)
    state, _ = agent.fold(state, lines.rest(), moment)
    return agent.verdict(state, exit_code, stderr)


def find_program(agent: Agent, command: tuple[str, ...] | None, path: str) -> str:
    """Where the agent's program is. path: a PATH, of the environment in which it will run.

    Raises EnvironmentProblem when it is not there or may not be executed.
    """
    program = command[0] if command else agent.program
    if found := shutil.which(program, path=path):
        return found
    other = f"name another program with `agents: {{{agent.name}: {{command: /path/to/{agent.program}}}}}`"
    raise EnvironmentProblem(
        f"the program {program!r} of the agent {agent.name!r} is not there"
        if "/" in program
        else f"the program {program!r} of the agent {agent.name!r} is not on the PATH",
        hint=f"correct its `command`, or {other}" if command else f"{agent.install_hint}, or {other}",
    )
