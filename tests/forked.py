"""The command line in processes that are forked from one in which everything is imported.

Starting Python and importing takes two thirds of a call, and the tests make two thousand. What is forked is a process
like any other: with its own working directory, environment, streams and memory, and an end of its own. What is settled
when Python starts, or when a module is imported, needs a start of its own: see `fits`.

As a program, this is the process to fork from: it serves the requests that come in on the socket that is its stdin.
"""

from __future__ import annotations

import array
import atexit
import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

_MOST = 1 << 20  # bytes of a request
# The working directory decides where Python looks for modules, these what it does with what it finds.
_AT_START = ("PYTHON", "LC_", "LANG", "TZ", "PRODIGY_PLATFORM")


def fits(env: Mapping[str, str]) -> bool:
    """Whether a call with these variables beside those of the tests themselves may be forked."""
    return not any(name.startswith(_AT_START) for name in env)


def call(args: Sequence[str], where: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[bytes]:
    """Run the command line to its end, with no input."""
    request = json.dumps({"args": list(args), "where": os.fspath(where), "env": dict(env)}, ensure_ascii=True).encode()
    assert len(request) < _MOST
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, os.fdopen(reading, "rb") as answers:
        try:
            socket.send_fds(_server(), [request], [out.fileno(), err.fileno(), writing])
        finally:
            os.close(writing)
        pid = int(answers.readline())
        try:
            status = int(answers.readline())
        except BaseException:  # the test's time is over, or it is interrupted
            os.kill(pid, signal.SIGKILL)
            raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(args, os.waitstatus_to_exitcode(status), out.read(), err.read())


@lru_cache(maxsize=1)
def _server() -> socket.socket:
    """The socket to ask for a call; the process behind it ends when this one does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        ours.setsockopt(socket.SOL_SOCKET, option, _MOST)
    with theirs:
        process = subprocess.Popen([sys.executable, __file__], stdin=theirs.fileno())
    atexit.register(_end, ours, process)
    return ours


def _end(ours: socket.socket, process: subprocess.Popen[bytes]) -> None:
    ours.close()
    process.wait()


# The process to fork from ------------------------------------------------------------------------------------


def _import_all() -> None:
    import prodigy

    for module in pkgutil.walk_packages(prodigy.__path__, "prodigy."):
        importlib.import_module(module.name)
    for name in ("rich.live", "rich.table", "lark", "re2", "jsonschema", "psutil", "ruamel.yaml"):
        importlib.import_module(name)
    gc.freeze()


def _serve(requests: socket.socket) -> Mapping[str, object]:
    """Returns in each forked process, with what it was forked for; the first process never returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        request, ancillary, _, _ = requests.recvmsg(_MOST, socket.CMSG_SPACE(3 * array.array("i").itemsize))
        if not request:
            os._exit(0)
        descriptors = array.array("i")
        for _, _, data in ancillary:
            descriptors.frombytes(data)
        out, err, answer = descriptors
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            requests.close()
            if (pid := os.fork()) == 0:
                os.close(answer)
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.dup2(out, 1)
                os.dup2(err, 2)
                os.closerange(3, max(out, err) + 1)
                found: dict[str, object] = json.loads(request)
                return found
            os.write(answer, b"%d\n" % pid)
            os.write(answer, b"%d\n" % os.waitpid(pid, 0)[1])
            os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)


class _Leave:
    """Ends the process once all that is to happen at its end has: taking apart what it shares with the one that it was
    forked from would cost ten times what a short call does."""

    status: int | None = None

    def __call__(self) -> None:
        if self.status is not None:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(self.status)


def main() -> None:
    leave = _Leave()
    atexit.register(leave)  # the first that is registered is the last that is called
    _import_all()
    import prodigy.faults
    from prodigy.cli.main import main as command

    asked = _serve(socket.socket(fileno=os.dup(0)))
    where, env, args = asked["where"], asked["env"], asked["args"]
    assert isinstance(where, str)
    assert isinstance(env, dict)
    assert isinstance(args, list)
    os.chdir(where)
    os.environ.clear()
    os.environ.update(env)
    importlib.reload(prodigy.faults)  # which reads the environment
    sys.argv = ["prodigy", *args]
    try:
        command()
        leave.status = 0
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            leave.status = (end.code or 0) & 0xFF
        raise


if __name__ == "__main__":
    main()
