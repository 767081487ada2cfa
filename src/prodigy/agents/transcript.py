"""The whole output of an agent, folded and judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from prodigy.agents.base import Agent, Verdict
from prodigy.agents.reset_time import reset_time

# A longer line (a picture that a tool read, say) is skipped: nothing that decides a verdict is that long.
MAX_LINE_BYTES = 8 << 20
# Of a larger output only the beginning and the end are read: how it began, and how it ended.
LARGEST_OUTPUT_BYTES = 64 << 20
_HEAD_BYTES, _TAIL_BYTES = 4 << 20, 16 << 20
_CHUNK_BYTES = 1 << 16


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
    agent: Agent,
    path: Path,
    exit_code: int | None,
    *,
    now: float | None = None,
    stderr: str = "",
    model: str | None = None,
) -> Verdict:
    """Fold a file with an agent's whole output, and judge.

    now: see `Agent.fold`; by default when the file was last written, so that an old log is read as it was meant.
    A cost that the agent does not tell is estimated from its tokens, where their price is known. model: the one it was
    started with, for agents that do not tell.
    Raises OSError when the file cannot be read.
    """
    state, lines = agent.new_state(), Lines()
    facts = path.stat()
    moment = facts.st_mtime if now is None else now
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            for line in lines.feed(chunk):
                state, _ = agent.fold(state, line, moment)
            if facts.st_size > LARGEST_OUTPUT_BYTES and _HEAD_BYTES <= file.tell() < facts.st_size - _TAIL_BYTES:
                file.seek(facts.st_size - _TAIL_BYTES)
                lines = Lines()
                file.readline(_TAIL_BYTES)
    state, _ = agent.fold(state, lines.rest(), moment)
    return priced(_with_reset_time(agent.verdict(state, exit_code, stderr), stderr, moment), model)


def _with_reset_time(verdict: Verdict, stderr: str, moment: float) -> Verdict:
    """Where only standard error says when a limit ends: an account that was at its limit before the agent began."""
    if verdict.kind != "rate_limited" or verdict.resets_at is not None:
        return verdict
    return replace(verdict, resets_at=reset_time(f"{verdict.message}\n{stderr}", moment))


def priced(verdict: Verdict, model: str | None = None) -> Verdict:
    """The verdict with a cost, where tokens are told and none is and their prices are known. model: of what tells
    none."""
    if model is not None:
        verdict = replace(verdict, used=tuple(replace(one, model=one.model or model) for one in verdict.used))
    if verdict.cost_usd is not None or not verdict.used:
        return verdict
    from prodigy.agents.prices import price  # slow to import, and most agents tell their cost

    costs = [price(used) for used in verdict.used]
    if any(cost is None for cost in costs):
        return verdict  # a part of the sum would pass for the whole
    used = tuple(replace(one, cost_usd=cost) for one, cost in zip(verdict.used, costs, strict=True))
    return replace(verdict, cost_usd=sum(cost or 0.0 for cost in costs), used=used, estimated=True)
