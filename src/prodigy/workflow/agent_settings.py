"""How agent programs are started and what they may cost: frozen parts of the normalised workflow."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from prodigy.workflow.frozen import Value

CLAUDE = "claude"


class McpServer(Value):
    """A server of tools for agents: a program (`command`, with `env`), or an address (`url`, with `headers`)."""

    name: str
    command: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    url: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


class Sandbox(Value):
    """What an agent's process may touch.

    use: `bwrap` confines it or the run does not start; `auto` confines it where that is possible; `wrapper` runs it by
    another program. wrapper: program and arguments; the word `{cmd}` is replaced by the agent's command, `{workspace}`
    in a word by the path of its workspace. write, read: paths that it may write or read beside what every agent may.
    hide: paths that it does not see. network: whether it has one. All paths begin with `/` or `~`.
    """

    use: Literal["bwrap", "auto", "wrapper"] = "bwrap"
    wrapper: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    hide: tuple[str, ...] = ()
    network: bool = True


class AgentSettings(Value):
    """How the workflow wants an agent started.

    kind: which program it is, by the name of its adapter; None: the name itself. command: another program and first
    arguments. env: for its process alone. pass_env: names of more of the user's variables that it gets, `PREFIX_*` for
    all that begin so. timeout_s, idle_timeout_s: of its steps without their own, in seconds.
    system_prompt: added to the program's own. permission_mode: in the program's words; None: it may do everything.
    sandbox: None: it has the user's rights.
    push_credentials: whether it gets what the user pushes with; None: as the workflow says.
    """

    name: str
    kind: str | None = None
    command: tuple[str, ...] | None = None
    model: str | None = None
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    pass_env: tuple[str, ...] = ()
    timeout_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    idle_timeout_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    system_prompt: str | None = None
    permission_mode: str | None = None
    sandbox: Sandbox | None = None
    push_credentials: bool | None = None


class Agents(Value):
    """All agents of a workflow. default: what runs the steps that name no agent; of several, the first that is able to.
    mcp: servers of tools for each of them. push_credentials: whether those that do not say it themselves get what the
    user pushes with."""

    known: tuple[AgentSettings, ...] = ()
    default: tuple[str, ...] = ()
    mcp: tuple[McpServer, ...] = ()
    push_credentials: bool | None = None

    def settings(self, name: str) -> AgentSettings:
        return next((settings for settings in self.known if settings.name == name), AgentSettings(name=name))

    def kind(self, name: str) -> str:
        """The adapter of the agent with this name."""
        return self.settings(name).kind or name

    def may_push(self, name: str) -> bool:
        """Whether the agent with this name gets what the user pushes with."""
        own = self.settings(name).push_credentials
        return bool(self.push_credentials if own is None else own)

    def candidates(self, use: str | None) -> tuple[str, ...]:
        """The agents that may run a step which names `use`, None for no agent; the first one that can is to do it."""
        if use is not None:
            return (use,)
        return self.default or (CLAUDE,)


NO_AGENTS = Agents()


def with_agents_of(agents: Agents, below: Agents) -> Agents:
    """The agents with those of `below` that they have not."""
    names = {settings.name for settings in agents.known}
    servers = {server.name for server in agents.mcp}
    return Agents(
        known=(*agents.known, *(settings for settings in below.known if settings.name not in names)),
        default=agents.default or below.default,
        mcp=(*agents.mcp, *(server for server in below.mcp if server.name not in servers)),
        push_credentials=agents.push_credentials,
    )


class Budget(Value):
    """What agents may use at one place. None: no limit.

    usd, usd_per_item: dollars. tokens: input, output and cache together. duration_s: seconds. kill: whether running
    agents are ended when it is reached; otherwise they may finish.
    """

    usd: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    usd_per_item: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    tokens: int | None = Field(default=None, ge=1)
    duration_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    kill: Literal[True] | None = None
