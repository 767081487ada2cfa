"""What the walk over a script found: claims, edits, checks and problems."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from prodigy.workflow.interpolate import TextProblem
from prodigy.workflow.shell.arguments import Hit, Reader
from prodigy.workflow.shell.checks import Check, CheckKind, Piece
from prodigy.workflow.shell.rules import PLACES, Refusal
from prodigy.workflow.shell.source import MarkedText, Marker
from prodigy.workflow.shell.syntax import Node

_NAMED = re.compile(r"\{(\w+)\}")


class Edit(NamedTuple):
    """The bytes of the marked text from `start` to `end` are replaced."""

    start: int
    end: int
    text: str


@dataclass
class Findings:
    """Grows while a script is walked.

    settled: numbers of the markers that were claimed or refused. commented: of those in comments.
    """

    source: MarkedText
    reader: Reader
    edits: list[Edit] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    problems: list[TextProblem] = field(default_factory=list)
    settled: set[int] = field(default_factory=set)
    commented: set[int] = field(default_factory=set)

    def claim(self, marker: Marker, text: str | None = None) -> None:
        """This marker is understood; `text` takes its place, or it stays as it is."""
        self.settled.add(marker.number)
        if text is not None:
            self.edits.append(Edit(marker.start, marker.end, text))

    def leave(self, start: int, end: int) -> None:
        """These bytes are a comment: the text gets back what the author wrote."""
        for marker in self.source.within(start, end):
            self.commented.add(marker.number)
            self.claim(marker, self._original(marker))
        for raw in self.source.raws:
            if start <= raw.start and raw.end <= end:
                self.edits.append(Edit(raw.start, raw.end, self._original(raw)))

    def _original(self, marker: Marker) -> str:
        return self.source.original[marker.placeholder.start : marker.placeholder.end]

    def check(self, kind: CheckKind, pieces: Iterable[Piece]) -> None:
        """Check this word when its values are there."""
        check = Check(kind=kind, pieces=tuple(pieces))
        if check not in self.checks and any(piece.kind == "value" for piece in check.pieces):
            self.checks.append(check)

    def check_value(self, kind: CheckKind, marker: Marker) -> None:
        """Check one value alone."""
        self.check(kind, [Piece(kind="value", text=marker.variable)])

    def check_copies(self, word: Node, kind: CheckKind) -> None:
        """Check what variables in the word may hold, each value alone; placeholders themselves are left out."""
        for hit in self.reader.hits(word, through_commands=False):
            for marker in () if hit.marker else hit.holds:
                self.check_value(kind, marker)

    def object_to(self, hit: Hit, refusal: Refusal, **names: str) -> None:
        """Refuse a value; of several objections to one place the first is told."""
        if hit.marker:
            self.settled.add(hit.marker.number)
        values = {"p": hit.example, "item": hit.origin, **names}
        reason, cure = (_NAMED.sub(lambda name: values.get(name[1], name[0]), text) for text in refusal)
        self.object_to_text(hit.offset, Refusal(f"{hit.label} {reason}", cure))

    def object_to_text(self, offset: int, refusal: Refusal) -> None:
        """Refuse something at a byte of the marked text, the reason being a sentence of its own."""
        problem = self.source.problem(offset, *refusal)
        if all(problem.offset != other.offset for other in self.problems):
            self.problems.append(problem)

    def refuse(self, node: Node, place: str, **names: str) -> None:
        """Refuse every placeholder below the node, for standing at this place of the grammar."""
        for hit in self.reader.hits(node):
            if hit.marker:
                self.object_to(hit, PLACES[place], **names)

    def refuse_rest(self) -> None:
        """Refuse every placeholder that is neither claimed nor refused yet: failing closed."""
        for marker in self.source.markers:
            if marker.number not in self.settled:
                self.object_to(self.reader.hit(marker), PLACES["unknown"])

    def rewritten(self) -> bytes:
        """The marked text with all edits made."""
        out: list[bytes] = []
        position = 0
        for edit in sorted(self.edits):
            out += [self.source.data[position : edit.start], edit.text.encode()]
            position = edit.end
        return b"".join([*out, self.source.data[position:]])
