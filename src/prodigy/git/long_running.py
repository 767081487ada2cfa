"""Git processes that answer many questions: a process costs milliseconds, a question to a running one does not.

They carry no state that matters: one that has died is started again, and whoever asked falls back on a call of its
own, which also gives the better error.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence

# How long a process may take to end once its input is closed. Seconds.
_END_S = 5.0


class NoAnswer(Exception):
    """The process died instead of answering; the question may or may not have had its effect."""


class LongRunning:
    """One git process, started when it is first asked. Threads may ask at the same time; they take turns.

    start: starts the process with pipes for its input and output.
    """

    def __init__(self, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        self._start = start
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = threading.Lock()

    def read_object(self, oid: str) -> bytes:
        """The content of an object, from `cat-file --batch`. Raises NoAnswer, also for an unknown object."""
        with self._turn, self._asking(f"{oid}\n".encode()) as process:
            assert process.stdout is not None
            header = process.stdout.readline().split()
            if len(header) != 3:
                raise NoAnswer
            return process.stdout.read(int(header[2]) + 1)[:-1]

    def update_refs(self, instructions: Sequence[bytes]) -> None:
        """Carry the instructions of `update-ref -z --stdin` out as one transaction. Raises NoAnswer."""
        with self._turn, self._asking(b"".join((b"start\0", *instructions, b"prepare\0commit\0"))) as process:
            assert process.stdout is not None
            for expected in (b"start: ok\n", b"prepare: ok\n", b"commit: ok\n"):
                if process.stdout.readline() != expected:
                    raise NoAnswer

    def close(self) -> None:
        """End the process, if there is one; it may be asked again later."""
        with self._turn:
            self._end()

    @contextlib.contextmanager
    def _asking(self, question: bytes) -> Iterator[subprocess.Popen[bytes]]:
        if self._process is None:
            self._process = self._start()
        process = self._process
        assert process.stdin is not None
        try:
            process.stdin.write(question)
            process.stdin.flush()
            yield process
        except (NoAnswer, OSError, ValueError) as error:
            self._end()
            raise NoAnswer from error

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with process, contextlib.suppress(OSError):
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
