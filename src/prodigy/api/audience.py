"""Who hears of a run and who stops it, when a program drives it: callbacks, Ctrl-C, cancelled tasks."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

from prodigy.api.records import Event
from prodigy.api.results import Result
from prodigy.engine.control import Control
from prodigy.engine.session import Caller, Ended
from prodigy.errors import UsageError
from prodigy.state import events as ev

OnEvent = Callable[[Event], None]
# (run id, what drives it), once everything that could stop it has been looked at.
Prepare = Callable[[], tuple[str, Callable[[Caller], Awaitable[Ended]]]]

COMMAND = "Python"  # who went on with a run, as its events tell
_log = logging.getLogger("prodigy")


class _Audience:
    """Tells a callback what happens. When it raises, the run is left, and `failed` has the error."""

    def __init__(self, run_id: str, on_event: OnEvent | None, control: Control) -> None:
        self._run_id = run_id
        self._on_event = on_event
        self._control = control
        self.failed: Exception | None = None

    def hear(self, event: ev.Event) -> None:
        if self._on_event is None or self.failed is not None:
            return
        try:
            self._on_event(Event.live(self._run_id, event))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised when the run is at rest
            self.failed = error
            self._control.leave()


def _never(_target: str, _diffstat: str) -> bool:
    """A program is not asked; it says before whether to merge."""
    return False


# In the foreground -------------------------------------------------------------------------------------------


def drive(prepare: Prepare, on_event: OnEvent | None) -> Result:
    """Drive a run here, to its end. Raises what `prepare` and `on_event` do, and KeyboardInterrupt after Ctrl-C."""
    with suppress(RuntimeError):
        asyncio.get_running_loop()
        raise UsageError(
            "an event loop is running here already, which this call would bring to a halt",
            hint="Use the function with `_async` at its end: `await prodigy.run_async(...)`.",
        )
    run_id, act = prepare()
    control = Control()
    audience = _Audience(run_id, on_event, control)
    ended, interrupted = asyncio.run(_interruptible(act, audience, control))
    if audience.failed is not None:
        raise audience.failed
    if interrupted:
        raise KeyboardInterrupt(f"run {run_id} was interrupted; prodigy.resume({run_id!r}) goes on with it")
    return Result.of(ended.summary, ended.error)


async def _interruptible(
    act: Callable[[Caller], Awaitable[Ended]], audience: _Audience, control: Control
) -> tuple[Ended, bool]:
    with _ctrl_c(control) as pressed:
        ended = await act(Caller(audience.hear, _never, control, COMMAND))
    return ended, bool(pressed)


@contextmanager
def _ctrl_c(control: Control) -> Iterator[list[int]]:
    """Ctrl-C stops the run in steps, as on the command line, unless the program deals with it itself. The list has an
    entry each time."""
    pressed: list[int] = []
    loop = asyncio.get_running_loop()

    def interrupt() -> None:
        pressed.append(signal.SIGINT)
        if len(pressed) == 1:
            _log.warning("stopping: what runs may finish; Ctrl-C again ends it")
            control.drain()
        elif len(pressed) == 2:
            _log.warning("ending what runs")
            control.end()
        else:
            control.leave()

    ours = threading.current_thread() is threading.main_thread() and _is_default(signal.getsignal(signal.SIGINT))
    if not ours:
        yield pressed
        return
    loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        yield pressed
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def _is_default(handler: object) -> bool:
    """Whether nobody but Python's own event loop deals with Ctrl-C."""
    own = getattr(getattr(handler, "func", None), "__qualname__", "")
    return handler is signal.default_int_handler or own == "Runner._on_sigint"


# In an event loop --------------------------------------------------------------------------------------------


async def drive_async(prepare: Prepare, on_event: OnEvent | None) -> Result:
    """Drive a run in a thread of its own, whose event loop is not the caller's. Events are told in the caller's loop.

    When the calling task is cancelled, the run is left as after SIGTERM, and CancelledError is raised when it is.
    """
    driver = _Driver(asyncio.get_running_loop(), prepare, on_event)
    threading.Thread(target=driver.work, name="prodigy").start()
    cancelled = False
    while not driver.ended.done():
        try:
            await asyncio.wait({driver.ended})
        except asyncio.CancelledError:
            cancelled = True
            driver.leave()
    if cancelled:
        driver.ended.exception()  # it is told to nobody: the caller wanted to go
        raise asyncio.CancelledError
    return driver.ended.result()


class _Driver:
    """One run in its thread."""

    def __init__(self, callers: asyncio.AbstractEventLoop, prepare: Prepare, on_event: OnEvent | None) -> None:
        self._callers = callers
        self._prepare = prepare
        self._on_event = on_event
        self._control = Control()
        self._own: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._told_to_leave = False
        self._failed: Exception | None = None
        self.ended: asyncio.Future[Result] = callers.create_future()

    def leave(self) -> None:
        """Let go of the run soon; what runs lives on. From the caller's thread."""
        with self._lock:
            self._told_to_leave = True
            if self._own is not None:
                with suppress(RuntimeError):  # its loop is over, and so is the run
                    self._own.call_soon_threadsafe(self._control.leave)

    def work(self) -> None:
        try:
            result = asyncio.run(self._drive())
        except BaseException as error:  # noqa: BLE001 - it is raised where the run is awaited
            self._tell(self._fail, error)
        else:
            self._tell(self._succeed, result)

    async def _drive(self) -> Result:
        run_id, act = self._prepare()
        with self._lock:
            self._own = asyncio.get_running_loop()
            if self._told_to_leave:
                self._control.leave()

        def hear(event: ev.Event) -> None:
            if self._on_event is not None:
                self._tell(self._hear, Event.live(run_id, event))

        ended = await act(Caller(hear, _never, self._control, COMMAND))
        return Result.of(ended.summary, ended.error)

    def _tell(self, hear: Callable[..., None], what: object) -> None:
        """Call something in the caller's loop."""
        try:
            self._callers.call_soon_threadsafe(hear, what)
        except RuntimeError:  # the loop is closed: nobody is left who could hear of it
            self._control.leave()

    # In the caller's thread.

    def _hear(self, event: Event) -> None:
        if self._failed is not None:
            return
        assert self._on_event is not None
        try:
            self._on_event(event)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised when the run is at rest
            self._failed = error
            self.leave()

    def _succeed(self, result: Result) -> None:
        if self._failed is not None:
            self.ended.set_exception(self._failed)
        else:
            self.ended.set_result(result)

    def _fail(self, error: BaseException) -> None:
        self.ended.set_exception(error)
