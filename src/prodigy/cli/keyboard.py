"""Keys as they are pressed, from the terminal the user sits at, which is given back as it was.

Keys are read by a thread of their own, and only while our process group has the terminal: one in the background must
neither take what is typed for the shell nor be stopped for trying to (SIGTTIN, SIGTTOU). Ctrl-C, Ctrl-Z and Ctrl-\\
stay the terminal's.
"""

from __future__ import annotations

import os
import select
import signal
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType

LOOK_AGAIN_S = 0.25  # whether the terminal is ours
REST_OF_KEY_S = 0.05  # for the bytes of a key that sends several
UP, DOWN, ENTER, ESCAPE = "up", "down", "enter", "escape"
_SEQUENCES = {b"\x1b[A": UP, b"\x1bOA": UP, b"\x1b[B": DOWN, b"\x1bOB": DOWN}
_SINGLE = {"\r": ENTER, "\n": ENTER, "\x1b": ESCAPE}
_STOPPING = (signal.SIGTTIN, signal.SIGTTOU)


def terminal_of(descriptor: int) -> bool:
    """Whether keys can be read there: it is our terminal."""
    try:
        return os.isatty(descriptor) and os.tcgetpgrp(descriptor) > 0
    except OSError:
        return False  # a terminal, but not the one that controls us


def in_foreground(descriptor: int) -> bool:
    """Whether our process group has the terminal; also true where that can't be told."""
    try:
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return True


class Keyboard:
    """press: called with each key in the reading thread: a character, or UP, DOWN, ENTER, ESCAPE. stops: called before
    Ctrl-Z stops the process; goes_on: called when it goes on. None of them may raise."""

    def __init__(
        self,
        descriptor: int,
        press: Callable[[str], None],
        *,
        stops: Callable[[], None],
        goes_on: Callable[[], None],
    ) -> None:
        self._descriptor = descriptor
        self._press = press
        self._stops = stops
        self._goes_on = goes_on
        self._before = termios.tcgetattr(descriptor)
        self._mine = threading.RLock()  # held while the terminal is read, or is somebody else's
        self._lent = False
        self._end = threading.Event()
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._read_on, name="keyboard", daemon=True)
        self._handler: object = None

    def __enter__(self) -> Keyboard:
        if threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(signal.SIGTSTP, self._stop)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        os.write(self._wake_write, b"x")
        self._thread.join()
        if self._handler is not None:
            signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        self._give_back()
        os.close(self._wake_read)
        os.close(self._wake_write)

    @contextmanager
    def lent(self) -> Iterator[None]:
        """The terminal is as it was, and the caller reads what is typed."""
        self._lent = True
        os.write(self._wake_write, b"x")
        with self._mine:
            self._give_back()
            try:
                yield
            finally:
                self._lent = False

    # Modes -------------------------------------------------------------------------------------------------

    def _take(self) -> None:
        """No echo, no waiting for Enter; what makes signals stays."""
        with suppress(termios.error, OSError):  # it went away
            now = termios.tcgetattr(self._descriptor)
            if now[3] & (termios.ICANON | termios.ECHO):
                now[3] &= ~(termios.ICANON | termios.ECHO)
                now[6][termios.VMIN], now[6][termios.VTIME] = 1, 0
                termios.tcsetattr(self._descriptor, termios.TCSANOW, now)

    def _give_back(self) -> None:
        if in_foreground(self._descriptor):
            with suppress(termios.error, OSError), _not_stopped():
                termios.tcsetattr(self._descriptor, termios.TCSANOW, self._before)

    def _stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's arguments
        """Ctrl-Z: the shell gets the terminal as it was."""
        self._stops()
        self._give_back()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        # Here it goes on, in the foreground or not: the reading thread sees to that.
        signal.signal(signal.SIGTSTP, self._stop)
        self._goes_on()

    # In the reading thread ---------------------------------------------------------------------------------

    def _read_on(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)  # reading from the background is an error, not a stop
        while not self._end.is_set():
            if self._lent or not in_foreground(self._descriptor):
                self._end.wait(LOOK_AGAIN_S)
                continue
            with self._mine:
                if self._lent:
                    continue
                self._take()
                data = self._typed(LOOK_AGAIN_S)
            if data is None:
                return
            for key in keys(data):
                self._press(key)

    def _typed(self, patience_s: float) -> bytes | None:
        """What was typed within so long; None when nothing will be any more."""
        ready, _, _ = select.select([self._descriptor, self._wake_read], [], [], patience_s)
        if self._wake_read in ready:
            os.read(self._wake_read, 64)
            return b""
        if not ready or not in_foreground(self._descriptor):
            return b""
        try:
            data = os.read(self._descriptor, 64)
            begun = data.endswith((b"\x1b", b"\x1b[", b"\x1bO"))
            if begun and select.select([self._descriptor], [], [], REST_OF_KEY_S)[0]:
                data += os.read(self._descriptor, 64)
        except OSError:
            return b"" if not in_foreground(self._descriptor) else None
        return data or None


@contextmanager
def _not_stopped() -> Iterator[None]:
    """A process group that loses the terminal at this moment is not stopped for touching it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def keys(data: bytes) -> Iterator[str]:
    """The keys that these bytes are. A sequence that no key of ours sends is left out as a whole."""
    text = data
    while text:
        sequence = next((known for known in _SEQUENCES if text.startswith(known)), None)
        if sequence is not None:
            yield _SEQUENCES[sequence]
            text = text[len(sequence) :]
        elif text.startswith((b"\x1b[", b"\x1bO")):
            end = next((at for at, byte in enumerate(text[2:], 2) if 0x40 <= byte <= 0x7E), len(text) - 1)
            text = text[end + 1 :]
        else:
            character = text[:1].decode("ascii", "replace")
            text = text[1:]
            if character in _SINGLE or character.isprintable():
                yield _SINGLE.get(character, character)
