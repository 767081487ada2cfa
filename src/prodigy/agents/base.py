"""The interface to an agent program: how it is started, and what its output means.

An agent is a set of plain functions. It starts nothing and knows no clock: the engine runs the process, keeps its
output in a file and folds that file line by line, while the agent works or at any time later, with the same result.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from prodigy.errors import EnvironmentProblem


@dataclass(frozen=True)
class Abilities:
    """What an agent program can tell and do; the documentation's table is made from it.

    cost: `reported` by itself, `estimated` from the tokens it reports and a table of prices, or `unknown`.
    tokens: whether it reports them. reset_time: whether it tells when a limit of its account ends. resume: whether a
    session can go on. cost_cap: whether it has a cap on cost of its own. mcp: whether it takes servers of tools from
    us. system_prompt: whether it takes additions to its system prompt. live: whether it says what it does while it
    works. prompt_cache: whether agents that start alike share a paid prefix of their prompts.
    """

    cost: Literal["reported", "estimated", "unknown"] = "unknown"
    tokens: bool = False
    reset_time: bool = False
    resume: bool = False
    cost_cap: bool = False
    mcp: bool = False
    system_prompt: bool = False
    live: bool = False
    prompt_cache: bool = False


@dataclass(frozen=True)
class StateDirectory:
    """Where an agent program keeps its sessions, its login and its settings.

    path: begins with `~`, or is empty when only the variable tells. variable: of the environment, names another place.
    kept: what in it an agent with a sandbox may change, directories with a slash at their end. The rest it can read,
    settings and commands among it, but what it writes there is gone afterwards: they would act in the user's own
    sessions, which have no sandbox.
    """

    path: str
    kept: tuple[str, ...] = ()
    variable: str | None = None


@dataclass(frozen=True)
class McpServer:
    """A server of tools that an agent may use: a program with arguments and variables, or an address (`url`)."""

    name: str
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    url: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class AgentRequest:
    """What an agent is to do.

    directory: where it works; the caller starts the process there.
    files: the directory in which the invocation's files will be.
    command: program and first arguments in place of the agent's own program.
    model, args: passed on; args come after all of ours but the model.
    max_cost_usd: the agent's own cap, where it has a flag for one. It may overshoot by one answer.
    resume_session: go on with this session, which must have worked in the same directory.
    as_root: whether the process will have user id 0 on its host.
    system_prompt: added to the agent's own. permission_mode: in the agent's words, in place of "may do everything".
    mcp: servers of tools it may use. env: the environment that the process will have. version: of the program, as its
    numbers, () when it is not known.
    """

    prompt: str
    directory: str
    files: str = ""
    command: tuple[str, ...] | None = None
    model: str | None = None
    args: tuple[str, ...] = ()
    max_cost_usd: float | None = None
    resume_session: str | None = None
    as_root: bool = False
    system_prompt: str | None = None
    permission_mode: str | None = None
    mcp: tuple[McpServer, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    version: tuple[int, ...] = ()


@dataclass(frozen=True)
class Invocation:
    """A process to start. argv: never parsed by a shell. env: additions to the step's environment only. files: laid
    out in the request's `files` directory before it starts."""

    argv: tuple[str, ...]
    stdin: bytes = b""
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Tokens:
    """How many tokens were used. input: those that were not read from the cache nor written into it."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0

    @property
    def total(self) -> int:
        return self.input + self.output + self.cache_read + self.cache_write

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(
            self.input + other.input,
            self.output + other.output,
            self.cache_read + other.cache_read,
            self.cache_write + other.cache_write,
        )


@dataclass(frozen=True)
class Used:
    """What was used of one model. model: as the agent names it. cost_usd: None when it is not told."""

    model: str | None
    tokens: Tokens
    cost_usd: float | None = None


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
    """What one message used as known while it streams: a lower bound. `Finished` has the whole. cost_usd: where the
    agent tells it as it goes."""

    model: str | None
    tokens: Tokens
    cost_usd: float | None = None


@dataclass(frozen=True)
class RateLimited:
    """The account is refused. resets_at: UNIX time in seconds, None when the agent does not say. message: its words.

    The agent may still be waiting by itself. A time in the past (an old log) is for the caller to ignore.
    """

    resets_at: float | None
    message: str = ""


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
    used: the same by model, as far as it is told.
    estimated: whether the cost was computed from the tokens, in place of the agent's word.
    denied: names of the tools that it was not allowed to use.
    resets_at: with rate_limited, when to try again (UNIX time, seconds), if known.
    transient: whether the same call may well succeed a little later (server errors, rate limits).
    """

    kind: str | None
    message: str
    text: str = ""
    cost_usd: float | None = None
    tokens: int | None = None
    used: tuple[Used, ...] = ()
    estimated: bool = False
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

    @property
    def abilities(self) -> Abilities: ...
    @property
    def tells_version(self) -> bool:
        """Whether how it is started depends on the program's version, which `--version` prints."""
        ...

    @property
    def state(self) -> Sequence[StateDirectory]:
        """What it writes outside of the directory it works in."""
        ...

    def variables(self, environment: Mapping[str, str]) -> Sequence[str]:
        """Which of the user's variables the program reads: names, or the beginnings of names, `PREFIX_*`.

        environment: the user's, where one variable decides whether others are read.
        """
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

    def hear_stderr(self, line: bytes, now: float) -> list[AgentEvent]:
        """What a line of standard error tells while the agent works. It decides nothing about the verdict."""
        ...

    def verdict(self, state: Any, exit_code: int | None, stderr: str = "") -> Verdict:
        """Judge by exit code and output.

        exit_code: None when the process has no say, because we ended it after its last word: output alone decides.
        stderr: its end, for the message of an agent that failed without one.
        """
        ...

    def tool_output(self, line: bytes) -> str | None:
        """What a tool gave back, where a line of output says so: text of any length."""
        ...

    def describe(self, line: bytes) -> str | None:
        """One short printable line for people about a line of output, None when it is not interesting."""
        ...


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
