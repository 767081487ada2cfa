"""An agent's output as the parts of a conversation: what it said, which tools it used and what they gave back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from prodigy.agents.base import Agent, Finished, Text, ToolCall


@dataclass(frozen=True)
class Part:
    """kind: `text` that the agent said, a `tool` that it used (`name`; `text` is with what), the `result` that came
    back, a `note` of its program, its `end`; `raw`: output of a step that is no agent, `error`: on standard error."""

    kind: Literal["text", "tool", "result", "note", "end", "raw", "error"]
    text: str
    name: str = ""


class Conversation:
    """Turns lines of output into parts, one after another."""

    def __init__(self, adapter: Agent) -> None:
        self._adapter = adapter
        self._state = adapter.new_state()

    def parts(self, line: bytes) -> Iterator[Part]:
        """What one line of output says; nothing when it says nothing to people."""
        self._state, events = self._adapter.fold(self._state, line, 0.0)
        told = False
        for event in events:
            match event:
                case Text(text=text):
                    told = True
                    yield Part("text", text)
                case ToolCall(name=name, summary=summary):
                    told = True
                    yield Part("tool", summary, name)
                case Finished():
                    told = True
                    yield Part("end", self._adapter.describe(line) or "finished")
        if output := self._adapter.tool_output(line):
            told = True
            yield Part("result", output)
        if not told and (described := self._adapter.describe(line)):
            yield Part("note", described)
