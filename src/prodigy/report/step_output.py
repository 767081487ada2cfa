"""What a step prints, read as it grows: an agent's stream as a conversation, all else as text."""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from prodigy.agents import AGENTS
from prodigy.agents.transcript import Lines
from prodigy.executors.warden import STDERR, STDOUT
from prodigy.report.conversation import Conversation, Part
from prodigy.report.words import printable
from prodigy.secrets import MaskedStream

END_BYTES = 256 << 10  # of output that is there already, the end is read
CHUNK_BYTES = 256 << 10  # read at a time, so that a flood is shown piece by piece
MOST_OF_A_PART = 8000  # characters; what a tool gives back can be a whole book


class StepOutput:
    """The output of one execution. kind: of the agent whose stream standard output is, None for any other step.

    Secrets are masked. A file that an agent put something else in the place of is read as empty.
    """

    def __init__(self, directory: Path, kind: str | None) -> None:
        self._streams = [_Stream(directory / STDOUT, kind), _Stream(directory / STDERR, None, is_error=True)]

    @property
    def is_cut(self) -> bool:
        """Whether there is more before what was read."""
        return any(stream.is_cut for stream in self._streams)

    def more(self, *, ended: bool) -> list[Part]:
        """What came since the last call. ended: nothing will come any more, so that half a line is a line."""
        return [part for stream in self._streams for part in stream.more(ended=ended)]


class _Stream:
    def __init__(self, path: Path, kind: str | None, *, is_error: bool = False) -> None:
        self._path = path
        self._offset: int | None = None
        self._masked = MaskedStream()
        self._lines = Lines()
        self._conversation = Conversation(AGENTS[kind]) if kind is not None and kind in AGENTS else None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._is_error = is_error
        self.is_cut = False

    def more(self, *, ended: bool) -> Iterator[Part]:
        data = self._masked.feed(self._read())
        if ended:
            data += self._masked.flush()
        if self._conversation is None:
            text = self._decoder.decode(data, ended)
            if text:
                yield Part("error" if self._is_error else "raw", _safe(text))
            return
        lines = self._lines.feed(data)
        if ended and (rest := self._lines.rest()):
            lines.append(rest)
            self._lines = Lines()
        for line in lines:
            for part in self._conversation.parts(line):
                yield Part(part.kind, _shortened(_safe(part.text)), printable(part.name))

    def _read(self) -> bytes:
        file = opened(self._path)
        if file is None:
            return b""
        with file:
            size = file.seek(0, os.SEEK_END)
            if self._offset is None:
                self._offset = max(0, size - END_BYTES)
                self.is_cut = self._offset > 0
                if self.is_cut:  # not from the middle of a line, of which a secret may be cut off
                    file.seek(self._offset)
                    self._offset += len(file.readline(END_BYTES))
            file.seek(self._offset)
            data = file.read(CHUNK_BYTES)
            self._offset += len(data)
            return data


def opened(path: Path) -> BinaryIO | None:
    """A step's file; None when there is none, or when an agent put something else in its place."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    return os.fdopen(descriptor, "rb", buffering=0)


def _safe(text: str) -> str:
    return "".join(c if c in "\n\t" else printable(c) for c in text.replace("\r\n", "\n"))


def _shortened(text: str) -> str:
    text = text.rstrip()
    if len(text) <= MOST_OF_A_PART:
        return text
    return f"{text[:MOST_OF_A_PART]}\n… {len(text) - MOST_OF_A_PART:,} more characters; `prodigy logs` has them"
