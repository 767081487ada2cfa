"""Any program that takes a prompt, does the work and ends: judged by its exit code."""

from __future__ import annotations

from dataclasses import dataclass, replace

from prodigy.agents import fields, texts
from prodigy.agents.base import Abilities, AgentEvent, AgentRequest, Invocation, Verdict
from prodigy.agents.invoking import ListensToStdout, prompt_bytes, unfit_for_argument
from prodigy.agents.reset_time import reset_time
from prodigy.errors import UsageError

_ABILITIES = Abilities(reset_time=True, live=True)
_PROMPT_FILE = "prompt.txt"  # the engine lays it out for every agent
_LONGEST_TEXT = 256 << 10  # characters of the answer that are kept, from the end
_TAIL_LINES = 20


@dataclass(frozen=True)
class Seen:
    """The end of what it printed. resets_at: of a limit that a line tells."""

    lines: tuple[str, ...] = ()
    length: int = 0
    resets_at: float | None = None


@dataclass(frozen=True)
class Command(ListensToStdout):
    """The adapter; see `base.Agent`.

    In the words of its command, `{prompt}` is the prompt, `{prompt_file}` a file that holds it, `{model}` the model.
    Without the first two, the prompt comes by standard input.
    """

    name: str = "command"
    program: str = "command"
    install_hint: str = "say which program it is"
    abilities: Abilities = _ABILITIES

    def start(self, request: AgentRequest) -> Invocation:
        if not request.command:
            raise UsageError(
                "an agent of kind `command` has no `command`", hint="name the program that takes the prompt"
            )
        prompt = prompt_bytes(request.prompt)
        words = (*request.command, *request.args)
        given = any("{prompt}" in word for word in words)
        if given and unfit_for_argument(prompt):
            hint = "write `{prompt_file}` in its command, or leave `{prompt}` out: then it comes by standard input"
            raise UsageError("the prompt is too long for an argument, or would be taken for an option", hint=hint)
        values = {
            "{prompt_file}": f"{request.files}/{_PROMPT_FILE}",
            "{model}": request.model or "",
            "{prompt}": request.prompt,
        }
        by_stdin = not given and not any("{prompt_file}" in word for word in words)
        argv = tuple(_filled(word, values) for word in words)
        return Invocation(argv, prompt if by_stdin else b"")

    def new_state(self) -> Seen:
        return Seen()

    def fold(self, state: Seen, line: bytes, now: float) -> tuple[Seen, list[AgentEvent]]:
        text = line.decode("utf-8", errors="replace").rstrip("\r")
        lines, length = (*state.lines, text), state.length + len(text) + 1
        while length > _LONGEST_TEXT and len(lines) > 1:
            length -= len(lines[0]) + 1
            lines = lines[1:]
        state = replace(state, lines=lines, length=length)
        if not texts.limit_told(text):
            return state, []  # what it prints is no proof that its service answers
        # It may be what it works on that speaks of limits: only the exit code decides.
        return replace(state, resets_at=reset_time(text, now) or state.resets_at), []

    def verdict(self, state: Seen, exit_code: int | None, stderr: str = "") -> Verdict:
        text = "\n".join(state.lines).strip("\n")
        if exit_code == 0:
            return Verdict(None, "", text=text)
        tail = "\n".join(state.lines[-_TAIL_LINES:])
        told = fields.last_line(stderr, 500) or fields.last_line(tail, 500)
        message = texts.ended(exit_code) + (f": {told}" if told else "")
        if exit_code is None:
            return Verdict("unknown", message, text=text)
        limited = texts.limit_told(stderr) or texts.limit_told(tail)
        if not limited:
            return Verdict("command_failed", message, text=text)
        return Verdict("rate_limited", message, text=text, resets_at=state.resets_at, transient=True)

    def describe(self, line: bytes) -> str | None:
        return fields.printable(line.decode("utf-8", errors="replace")) or None


def _filled(word: str, values: dict[str, str]) -> str:
    """The word with its values; what they hold is not looked at again."""
    for name, value in values.items():
        if name in word:
            before, _, after = word.partition(name)
            return _filled(before, values) + value + _filled(after, values)
    return word
