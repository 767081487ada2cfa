"""What steps print, line by line as it comes, with the name of whose it is in front."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from prodigy.agents.transcript import Lines
from prodigy.cli.tail import Describe, shown
from prodigy.executors.warden import STDERR, STDOUT

POLL_S = 0.25
MOST_AT_ONCE = 1 << 18  # bytes of one file in one look


@dataclass
class _Stream:
    path: Path
    describe: Describe | None
    offset: int = 0
    lines: Lines = field(default_factory=Lines)

    def grown(self, *, ended: bool) -> list[str]:
        """The lines that have come since. ended: no more will, so that one without an end is one too."""
        found: list[bytes] = []
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                while data := file.read(MOST_AT_ONCE):
                    self.offset += len(data)
                    found += self.lines.feed(data)
                    if not ended:
                        break
        except OSError:
            return []  # not there yet, or not any more
        if ended and (rest := self.lines.rest()):
            found.append(rest)
        said = [line if self.describe is None else self.describe(line) for line in found]
        return [text for line in said if (text := shown(line))]


class Chatter:
    """steps: the directory with those of all executions. say: prints one line; called in a thread of its own."""

    def __init__(self, steps: Path, describers: Mapping[str, Describe], say: Callable[[str], None]) -> None:
        self._steps = steps
        self._describers = describers
        self._say = say
        self._streams: dict[str, tuple[str, tuple[_Stream, ...]]] = {}
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="output of steps", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._thread.join()
        with self._lock:
            for path in list(self._streams):
                self._tell(path, ended=True)

    def follow(self, path: str, name: str, adapter: str | None, *, from_now: bool = False) -> None:
        """Listen to an execution that begins. from_now: it has begun before, and what it printed then is known."""
        directory = self._steps / path
        streams = (
            _Stream(directory / STDOUT, self._describers.get(adapter) if adapter else None),
            _Stream(directory / STDERR, None),
        )
        for stream in streams if from_now else ():
            stream.offset = stream.path.stat().st_size if stream.path.exists() else 0
        with self._lock:
            self._streams.setdefault(path, (name, streams))

    def finish(self, path: str) -> None:
        """The execution has ended: what it printed last is told before anything else."""
        with self._lock:
            if path in self._streams:
                self._tell(path, ended=True)
                del self._streams[path]

    def _listen(self) -> None:
        while not self._end.wait(POLL_S):
            with self._lock:
                for path in self._streams:
                    self._tell(path, ended=False)

    def _tell(self, path: str, *, ended: bool) -> None:
        name, streams = self._streams[path]
        for stream in streams:
            for line in stream.grown(ended=ended):
                self._say(f"{name} | {line}")
