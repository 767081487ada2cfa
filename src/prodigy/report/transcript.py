"""An agent's output as people read it: what it said, which tools it used and what they gave back, what it cost."""

from __future__ import annotations

from collections.abc import Iterator

from prodigy.agents.base import Agent
from prodigy.report.conversation import Conversation

_TOOL_LINES = 12
_TOOL_WIDTH = 200


class Transcript:
    """Turns lines of output into text, one after another."""

    def __init__(self, adapter: Agent) -> None:
        self._conversation = Conversation(adapter)

    def lines(self, line: bytes) -> Iterator[str]:
        """What one line of output says, as lines of text; none when it says nothing to people."""
        for part in self._conversation.parts(line):
            match part.kind:
                case "text":
                    yield from part.text.splitlines()
                case "tool":
                    yield f"> {part.name}: {part.text}".rstrip(": ")
                case "end":
                    yield f"= {part.text}"
                case "result":
                    yield from _shortened(part.text)
                case _:
                    yield f"- {part.text}"


def _shortened(output: str) -> Iterator[str]:
    """The first lines of what a tool gave back, set in."""
    lines = output.rstrip().splitlines()
    for line in lines[:_TOOL_LINES]:
        yield f"    {line if len(line) <= _TOOL_WIDTH else line[: _TOOL_WIDTH - 1] + '…'}"
    if len(lines) > _TOOL_LINES:
        yield f"    ... {len(lines) - _TOOL_LINES} more lines; all of them with --raw"
