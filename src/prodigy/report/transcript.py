"""An agent's output as people read it: what it said, which tools it used and what they gave back, what it cost."""

from __future__ import annotations

from collections.abc import Iterator

from prodigy.agents.base import Agent, Finished, Text, ToolCall

_TOOL_LINES = 12
_TOOL_WIDTH = 200


class Transcript:
    """Turns lines of output into text, one after another."""

    def __init__(self, adapter: Agent) -> None:
        self._adapter = adapter
        self._state = adapter.new_state()
        self._in_text = False

    def lines(self, line: bytes) -> Iterator[str]:
        """What one line of output says, as lines of text; none when it says nothing to people."""
        self._state, events = self._adapter.fold(self._state, line, 0.0)
        told = False
        for event in events:
            match event:
                case Text(text=text):
                    told = True
                    yield from text.splitlines()
                case ToolCall(name=name, summary=summary):
                    told = True
                    yield f"> {name}: {summary}".rstrip(": ")
                case Finished():
                    told = True
                    yield f"= {self._adapter.describe(line) or 'finished'}"
        if output := self._adapter.tool_output(line):
            told = True
            yield from _shortened(output)
        if not told and (described := self._adapter.describe(line)):
            yield f"- {described}"


def _shortened(output: str) -> Iterator[str]:
    """The first lines of what a tool gave back, set in."""
    lines = output.rstrip().splitlines()
    for line in lines[:_TOOL_LINES]:
        yield f"    {line if len(line) <= _TOOL_WIDTH else line[: _TOOL_WIDTH - 1] + '…'}"
    if len(lines) > _TOOL_LINES:
        yield f"    ... {len(lines) - _TOOL_LINES} more lines; all of them with --raw"
