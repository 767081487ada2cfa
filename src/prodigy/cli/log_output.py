"""What steps printed, from their files to a terminal or a pipe: a chunk at a time, afterwards or as it grows."""

from __future__ import annotations

import codecs
import errno
import os
import stat
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from prodigy.agents import AGENTS
from prodigy.agents.transcript import Lines
from prodigy.cli.words import printable
from prodigy.errors import EnvironmentProblem
from prodigy.executors.base import ProcessState
from prodigy.report.executions import Log, event_of
from prodigy.report.transcript import Transcript
from prodigy.secrets import MaskedStream
from prodigy.state.items import ItemState
from prodigy.store.lock import is_held

CHUNK = 1 << 16  # bytes in memory at a time, whatever a step printed
FOLLOW_POLL_S = 0.2
FOLLOW_BEFORE = 10  # lines of what already runs that following a whole run begins with
STREAMS = ("stdout", "stderr")

_NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)


def _decoder() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")(errors="replace")


@dataclass
class _Source:
    """One stream of one execution, read up to `offset`."""

    execution: str
    stream: str
    path: Path
    decoder: codecs.IncrementalDecoder
    transcript: Transcript | None = None  # reads an agent's stream
    lines: Lines = field(default_factory=Lines)
    offset: int = 0
    masked: MaskedStream = field(default_factory=MaskedStream)


class Printer:
    """Writes output to stdout: raw into a file or pipe; on a terminal made safe, and an agent's stream in words.

    headers: say whose it is. raw: an agent's stream as it came, also on a terminal. readable: in words, also elsewhere.
    """

    def __init__(self, streams: tuple[str, ...], *, headers: bool, raw: bool = False, readable: bool = False) -> None:
        self._streams = streams
        self._headers = headers
        self._safe = sys.stdout.isatty()
        self._readable = (self._safe or readable) and not raw
        self._out = sys.stdout.buffer
        self._at: _Source | None = None
        self._line_begun = False

    def sources(self, log: Log, execution: str) -> list[_Source]:
        directory = log.directory(execution)
        row = log.row(execution)
        kind = row.kind_of_agent if row and self._readable else None
        return [
            _Source(execution, stream, directory / stream, _decoder(), _transcript(kind, stream))
            for stream in self._streams
        ]

    def show(self, log: Log, executions: list[str], tail: int | None) -> None:
        """What these executions have printed so far."""
        for execution in executions:
            sources = self.sources(log, execution)
            for source in sources:
                self.grow(source, tail)
            if self._headers and not any(source.offset for source in sources):
                self._write(f"==> {execution} printed nothing <==\n".encode())

    def grow(self, source: _Source, tail: int | None = None, *, growing: bool = False) -> None:
        """What is new since the last look; at the first one, only the last `tail` lines of it.

        growing: the step may print more, so a line that has not ended waits until the next look.
        """
        file = _opened(source.path)
        if file is None:
            return
        with file:
            end = file.seek(0, os.SEEK_END)
            if tail is not None and source.offset == 0:
                source.offset = _start_of_tail(file, end, tail)
            file.seek(source.offset)
            before = source.offset
            while source.offset < end and (data := file.read(min(CHUNK, end - source.offset))):
                source.offset += len(data)
                self._show(source, source.masked.feed(data))
        if not growing or source.offset == before:
            self._show(source, source.masked.flush())

    def _show(self, source: _Source, data: bytes) -> None:
        if not data:
            return
        self._switch_to(source)
        if source.transcript is not None:
            data = _in_words(source.lines.feed(data), source.transcript)
        self._write(self._made_safe(source, data) if self._safe else data)

    def _switch_to(self, source: _Source) -> None:
        if self._headers and self._at is not source:
            line_end = "\n" if self._line_begun else ""
            self._write(f"{line_end}==> {source.execution} ({source.stream}) <==\n".encode())
        self._at = source

    def _made_safe(self, source: _Source, data: bytes) -> bytes:
        return safe(source.decoder.decode(data)).encode(sys.stdout.encoding, errors="backslashreplace")

    def _write(self, data: bytes) -> None:
        self._out.write(data)
        self._out.flush()
        if data:
            self._line_begun = not data.endswith(b"\n")


def _in_words(lines: list[bytes], transcript: Transcript) -> bytes:
    said = (text for line in lines for text in transcript.lines(line))
    return "".join(f"{text}\n" for text in said).encode(errors="backslashreplace")


def _transcript(kind: str | None, stream: str) -> Transcript | None:
    """What reads an agent's stream; None for any other one."""
    return Transcript(AGENTS[kind]) if stream == "stdout" and kind is not None and kind in AGENTS else None


def safe(text: str) -> str:
    """Text of several lines for a terminal: as `printable`, but lines and tabs stay."""
    return "".join(c if c in "\n\t" else printable(c) for c in text.replace("\r\n", "\n"))


def _opened(path: Path) -> BinaryIO | None:
    """A step's file; None when there is none, or when an agent put something else in its place."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _NO_FILE:
            return None
        raise EnvironmentProblem(
            f"the log can't be read: {error.strerror}",
            where=str(path),
            hint="Make it readable; it belongs to whoever ran the step.",
        ) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    return os.fdopen(descriptor, "rb", buffering=0)


def _start_of_tail(file: BinaryIO, end: int, lines: int) -> int:
    """Where the last `lines` lines begin, found from the end."""
    position = end
    while position > 0:
        size = min(CHUNK, position)
        position -= size
        file.seek(position)
        chunk = file.read(size)
        at = len(chunk)
        while (at := chunk.rfind(b"\n", 0, at)) != -1:
            if position + at == end - 1:
                continue  # the end of the last line, not of the one before
            lines -= 1
            if lines == 0:
                return position + at + 1
    return 0


class Follower:
    """Prints growing output of one execution (`path`), of an item, or of all of the run, until it has ended."""

    def __init__(self, log: Log, printer: Printer, item_id: str | None, path: str | None, tail: int | None) -> None:
        self._log, self._printer = log, printer
        self._item_id, self._path = item_id, path
        self._open: dict[str, list[_Source]] = {}
        self._items = [] if item_id is None else log.places_of_item(item_id)
        self._seen = self._newest_event()
        for execution in self._begun():
            self._open[execution] = printer.sources(log, execution)
            for source in self._open[execution]:
                printer.grow(source, tail or (None if path or item_id else FOLLOW_BEFORE), growing=True)

    def run(self) -> None:
        while True:
            # Asked before looking, so that what was printed until then is seen.
            over = self._is_over()
            for execution in self._just_begun():
                self._open.setdefault(execution, self._printer.sources(self._log, execution))
            for execution in list(self._open):
                ended = self._has_ended(execution, nobody_starts_it=over)
                for source in self._open[execution]:
                    self._printer.grow(source, growing=not ended)
                if ended:
                    del self._open[execution]
            if over and not self._open:
                return
            time.sleep(FOLLOW_POLL_S)

    def _newest_event(self) -> int:
        return next((int(str(record["seq"])) for record in self._log.store.events(limit=1)), 0)

    def _begun(self) -> list[str]:
        if self._path is not None:
            return [self._path]
        if self._item_id is not None:
            return self._log.paths_of_item(self._item_id)
        return [row.execution for row in self._log.store.started_steps()]

    def _just_begun(self) -> list[str]:
        if self._path is not None:
            return []
        found = []
        for record in self._log.store.events(self._seen, types=("step_started",), item=self._item_id):
            self._seen = int(str(record["seq"]))
            found.append(str(event_of(record)["path"]))
        return found

    def _is_over(self) -> bool:
        """Whether nothing new will begin."""
        store = self._log.store
        if self._path is not None or not is_held(store.directory):
            return True
        if self._item_id is None:
            return False
        states = [store.item(*key).state for key in self._items]
        return all(state in (ItemState.SUCCEEDED, ItemState.DEAD, ItemState.SKIPPED) for state in states)

    def _has_ended(self, execution: str, *, nobody_starts_it: bool) -> bool:
        state = self._log.processes.state(execution)
        if state is not ProcessState.ABSENT:
            return state is not ProcessState.RUNNING
        row = self._log.row(execution)
        return row is None or row.state != "started" or (nobody_starts_it and not is_held(self._log.store.directory))
