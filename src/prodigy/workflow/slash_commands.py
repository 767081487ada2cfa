"""Takes the prompts out of a workflow and makes commands of Claude Code of them.

A prompt has instructions, and behind them the paragraphs with placeholders: what differs from one item to the next.
The instructions become `.claude/commands/NAME.md`, where they can be tried and edited as any other command; the rest is
what the workflow gives to the command.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from prodigy.workflow.files import parse_document
from prodigy.workflow.yaml_nodes import Mapping, Node, Scalar, Sequence

_PARAGRAPHS = re.compile(r"\n\s*\n")


@dataclass(frozen=True)
class Command:
    """A command of Claude Code. text: of its file."""

    name: str
    text: str

    @property
    def file(self) -> str:
        return f".claude/commands/{self.name}.md"


@dataclass(frozen=True)
class _Prompt:
    """One `agent: {prompt: |}`. start, end: of both in the text. step: the id of its step."""

    start: int
    end: int
    column: int
    prompt: str
    step: str


def with_commands(text: str, name: str, description: str) -> tuple[str, list[Command]]:
    """The workflow with commands in place of its prompts, and the commands. name: of the first of them."""
    document = parse_document(text, "")
    text = document.text.text
    prompts = sorted(_prompts(document.root, text), key=lambda each: each.start)
    commands = []
    for number, each in enumerate(prompts):
        called = f"prodigy-{name}" if number == 0 else f"prodigy-{name}-{each.step or number + 1}"
        instructions, facts = split(each.prompt)
        commands.append(Command(called, _file(description, instructions, has_facts=bool(facts))))
    for each, command in reversed(list(zip(prompts, commands, strict=True))):
        pad = "\n" + " " * (each.column + 2)
        lines = [f"/{command.name}", *split(each.prompt)[1].splitlines()]
        text = text[: each.start] + f"claude: |{pad}" + pad.join(lines) + text[each.end :]
    return re.sub(r"[ \t]+\n", "\n", text), commands


def split(prompt: str) -> tuple[str, str]:
    """(instructions, the paragraphs from the first with a placeholder on)."""
    paragraphs = _PARAGRAPHS.split(prompt.strip("\n"))
    first = next((number for number, each in enumerate(paragraphs) if "${" in each), len(paragraphs))
    return "\n\n".join(paragraphs[:first]), "\n\n".join(paragraphs[first:])


def _file(description: str, instructions: str, *, has_facts: bool) -> str:
    end = "\n\n$ARGUMENTS\n" if has_facts else "\n"
    return f"---\ndescription: {description}\n---\n\n{instructions}{end}"


def _prompts(node: Node | None, text: str) -> Iterator[_Prompt]:
    if isinstance(node, Sequence):
        for item in node.items:
            yield from _prompts(item, text)
    if not isinstance(node, Mapping):
        return
    for name, (key, value) in node.entries.items():
        if name == "agent" and isinstance(value, Mapping) and value.entries.keys() == {"prompt"}:
            prompt = value.entries["prompt"].value
            if isinstance(prompt, Scalar) and prompt.is_block:
                label = node.entries.get("id")
                step = label.value.value if label and isinstance(label.value, Scalar) else ""
                end = prompt.start + len(text[prompt.start : prompt.end].rstrip())
                column = key.start - (text.rfind("\n", 0, key.start) + 1)
                yield _Prompt(key.start, end, column, prompt.value, step)
        else:
            yield from _prompts(value, text)
