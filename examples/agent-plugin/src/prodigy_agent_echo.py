"""An agent that writes its prompt into `asked.txt` and says so: how another package adds a kind of agents."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from prodigy.agents.base import Abilities, AgentEvent, AgentRequest, Finished, Invocation, Text, Verdict
from prodigy.agents.invoking import ListensToStdout, prompt_bytes


@dataclass(frozen=True)
class Seen:
    """What its output has shown so far."""

    text: str = ""
    done: bool = False


@dataclass(frozen=True)
class Echo(ListensToStdout):
    """The adapter: plain functions over values, so that an output can be read again at any time."""

    name: str = "echo"
    program: str = "sh"
    install_hint: str = "install a shell"
    abilities: Abilities = Abilities(live=True)  # noqa: RUF009 - a frozen value

    def start(self, request: AgentRequest) -> Invocation:
        script = 'cat > asked.txt; printf \'{"said": "wrote %s bytes", "done": true}\\n\' "$(wc -c < asked.txt)"'
        return Invocation((*(request.command or (self.program,)), "-c", script), prompt_bytes(request.prompt))

    def new_state(self) -> Seen:
        return Seen()

    def fold(self, state: Seen, line: bytes, now: float) -> tuple[Seen, list[AgentEvent]]:  # noqa: ARG002
        try:
            event = json.loads(line)
        except ValueError:
            return state, []
        said, done = str(event.get("said", "")), event.get("done") is True
        return replace(state, text=said, done=done), [Text(said), Finished(done, None, None, None)]

    def verdict(self, state: Seen, exit_code: int | None, stderr: str = "") -> Verdict:
        if state.done and exit_code in (0, None):
            return Verdict(None, "", text=state.text)
        return Verdict("command_failed", f"it ended with {exit_code}: {stderr}", text=state.text)

    def describe(self, line: bytes) -> str | None:
        return line.decode(errors="replace").strip() or None
