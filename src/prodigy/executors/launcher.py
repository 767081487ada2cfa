"""Forks one warden per step. Run by path: `python -I -S launcher.py [HELPERS_FD]`.

It is a process of its own, started by exec, so that wardens inherit none of the coordinator's descriptors: a
forked process would keep the run's lock alive after the coordinator is gone. HELPERS_FD is the one
exception. It holds a shared lock which tells a later coordinator that somebody may still start a step, so a
warden closes it as soon as its step's directory is in place.

Standard input brings one request (`warden.Request`) a line. Standard output carries a line for each event,
`EVENT TOKEN MESSAGE`: `started`, `refused` (the directory was there already), `failed` (with a message),
`ended` (the warden is gone). When standard input ends, the coordinator is dead or done: the launcher exits
at once and starts nothing more, not even what it has read already. Wardens live on.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys

TYPE_CHECKING = False  # type checkers know the name; typing is too dear to import here
if TYPE_CHECKING:
    from prodigy.executors import system, warden
else:
    # At the end, so that no module beside this file can stand in for one of the standard library.
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    import system
    import warden


class Launcher:
    """The loop between the coordinator's requests and the wardens' ends."""

    def __init__(self, helpers_fd: int | None) -> None:
        self._wake, wake_write = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(wake_write, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        self._inherited: tuple[int, ...] = (self._wake, wake_write)
        if helpers_fd is not None:
            self._inherited += (helpers_fd,)
        self._tokens: dict[int, str] = {}  # by the warden's process id
        self._coordinator = select.poll()
        self._coordinator.register(0, select.POLLIN)

    def serve(self) -> None:
        """Return when standard input has ended."""
        events = select.poll()
        events.register(0, select.POLLIN)
        events.register(self._wake, select.POLLIN)
        buffer = b""
        while True:
            ready = [descriptor for descriptor, _ in events.poll()]
            if self._wake in ready:
                os.read(self._wake, 4096)
                self._reap()
            if 0 not in ready:
                continue
            data = os.read(0, 1 << 16)
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                if self._abandoned():
                    return
                self._start(line)
            if not data:
                return

    def _abandoned(self) -> bool:
        """Whether the coordinator has closed its end, even if it wrote more before."""
        return any(event & select.POLLHUP for _, event in self._coordinator.poll(0))

    def _start(self, line: bytes) -> None:
        request = warden.Request(line)
        try:
            pid = os.fork()
        except OSError as error:
            warden.report("failed", request.token, f"no process for a step: {error.strerror}")
            return
        if pid == 0:
            # An exception here is a bug; it leaves `serve`, and Python writes it to the step's stderr.
            warden.run(request, self._inherited)
        self._tokens[pid] = request.token

    def _reap(self) -> None:
        while self._tokens:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            warden.report("ended", self._tokens.pop(pid))


def main() -> None:
    """Serve the coordinator at the other end of the pipes."""
    # Wardens inherit this from their first instant: a signal to the group or the terminal ends no step.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    system.HERE.has_subreaper()  # loads what each warden would otherwise load for itself
    launcher = Launcher(int(sys.argv[1]) if len(sys.argv) > 1 else None)
    gc.disable()  # a collection would copy every page that wardens share with us; we make no cycles
    gc.freeze()
    launcher.serve()


if __name__ == "__main__":
    main()
