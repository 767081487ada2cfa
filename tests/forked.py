"""The command line in processes that are forked from one in which everything is imported.

Starting Python and importing takes two thirds of a call, and the tests make two thousand. What is forked is a process
like any other: with its own working directory, environment, streams and memory, and an end of its own. What is settled
when Python starts, or when a module is imported, needs a start of its own: see `fits`.

As a program, this is the process to fork from: it serves the requests that come in on the socket that is its stdin, and
those of whoever calls at the socket that listens with the descriptor it is given: see `program`.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import gc
import importlib
import importlib.util
import json
import os
import pkgutil
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, TextIO

_MOST = 1 << 20  # bytes of a request
# The working directory decides where Python looks for modules, these what it does with what it finds.
_AT_START = ("PYTHON", "LC_ALL", "LC_CTYPE", "LANG", "TZ", "PRODIGY_PLATFORM")
# Passes on, to be forked, all that it was started with, then the signals that it gets; and ends as that did. It imports
# little, because that is what a call costs.
_PROGRAM = """#!{python} -IS
import os, sys
started = {{name: value for name, value in os.environ.items() if name.startswith({at_start!r})}}
if started != {started!r}:
    os.execv({real!r}, [{real!r}, *sys.argv[1:]])
import _signal, _socket, array, json
request = json.dumps(dict(args=sys.argv[1:], where=os.getcwd(), env=dict(os.environ), session=False)).encode()
answers, writing = os.pipe()
caller = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
caller.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, {most})
caller.connect({address!r})
caller.sendmsg([request], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array.array("i", [0, 1, 2, writing]))])
os.close(writing)
with open(answers) as answer:
    pid = int(answer.readline())
    for number in (_signal.SIGHUP, _signal.SIGINT, _signal.SIGTERM):
        _signal.signal(number, lambda number, _: os.kill(pid, number))
    code = os.waitstatus_to_exitcode(int(answer.readline()))
if code < 0:
    _signal.signal(-code, _signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


def fits(env: Mapping[str, str]) -> bool:
    """Whether a call with these variables beside those of the tests themselves may be forked."""
    early = [name for name in env if name.startswith(_AT_START)]
    return not early or (early == ["PYTHONPATH"] and not any(map(_hides, env["PYTHONPATH"].split(os.pathsep))))


def _hides(folder: str) -> bool:
    """Whether there is a module in it that takes the place of another, which has been imported already."""
    names = {path.name.partition(".")[0] for path in Path(folder).iterdir()} if folder not in sys.path else set()
    return any(importlib.util.find_spec(name) for name in names if not name.startswith("__"))


def call(args: Sequence[str], where: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[bytes]:
    """Run the command line to its end, with no input."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = _start(args, where, env, out.fileno(), err.fileno())
        try:
            code = process.wait()
        except BaseException:  # the test's time is over, or it is interrupted
            process.kill()
            raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(args, code, out.read(), err.read())


def start(args: Sequence[str], where: Path, env: Mapping[str, str]) -> Started:
    """Start the command line in a session of its own, with no input and with pipes for what it prints."""
    out, err = os.pipe(), os.pipe()
    try:
        process = _start(args, where, env, out[1], err[1], session=True)
    finally:
        os.close(out[1])
        os.close(err[1])
    process.stdout, process.stderr = os.fdopen(out[0], "rb"), os.fdopen(err[0], "rb")
    return process


@lru_cache(maxsize=1)
def program() -> Path:
    """A directory to put in front of a PATH: the `prodigy` in it is forked too, where that fits."""
    folder = _server().folder / "bin"
    folder.mkdir()
    path = folder / "prodigy"
    text = _PROGRAM.format(
        python=sys.executable, real=str(Path(sys.executable).with_name("prodigy")), at_start=_AT_START,
        started={name: value for name, value in os.environ.items() if name.startswith(_AT_START)},
        most=_MOST, address=str(_server().address),
    )  # fmt: skip
    path.write_text(text)
    path.chmod(0o755)
    return folder


class Started:
    """As much of `subprocess.Popen` as the tests need, for a process that is no child of this one."""

    stdout: IO[bytes] | None = None
    stderr: IO[bytes] | None = None

    def __init__(self, args: Sequence[str], answers: int) -> None:
        self.args = args
        self.returncode: int | None = None
        self._answers = answers
        self._printed: dict[IO[bytes], bytes] = {}
        self.pid = int(self._line())

    def __del__(self) -> None:
        if self.returncode is None:
            os.close(self._answers)

    def poll(self) -> int | None:
        return self.returncode if self._ends_within(0) else None

    def wait(self, timeout: float | None = None) -> int:
        if not self._ends_within(timeout):
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        assert self.returncode is not None
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[bytes, bytes]:
        """What it printed, once it has ended. Raises TimeoutExpired; what was read by then is not lost."""
        end = None if timeout is None else time.monotonic() + timeout
        pipes = [pipe for pipe in (self.stdout, self.stderr) if pipe is not None]
        while reading := [pipe for pipe in pipes if not pipe.closed]:
            ready, _, _ = select.select(reading, [], [], None if end is None else max(0.0, end - time.monotonic()))
            if not ready:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            for pipe in ready:
                more = os.read(pipe.fileno(), 1 << 16)
                self._printed[pipe] = self._printed.get(pipe, b"") + more
                if not more:
                    pipe.close()
        self.wait(None if end is None else max(0.0, end - time.monotonic()))
        assert self.stdout is not None
        assert self.stderr is not None
        return self._printed.get(self.stdout, b""), self._printed.get(self.stderr, b"")

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def _ends_within(self, seconds: float | None) -> bool:
        if self.returncode is None and select.select([self._answers], [], [], seconds)[0]:
            self.returncode = os.waitstatus_to_exitcode(int(self._line()))
            os.close(self._answers)
        return self.returncode is not None

    def _line(self) -> bytes:
        """The next answer; each is written at once, but two may be there to be read."""
        found = b""
        while not found.endswith(b"\n"):
            more = os.read(self._answers, 1)
            assert more, "the process to fork from is gone"
            found += more
        return found


def _start(
    args: Sequence[str], where: Path, env: Mapping[str, str], out: int, err: int, *, session: bool = False
) -> Started:
    asked = {"args": list(args), "where": os.fspath(where), "env": dict(env), "session": session}
    request = json.dumps(asked, ensure_ascii=True).encode()
    assert len(request) < _MOST
    reading, writing = os.pipe()
    try:
        with Path(os.devnull).open("rb") as nothing:
            socket.send_fds(_server().requests, [request], [nothing.fileno(), out, err, writing])
    finally:
        os.close(writing)
    return Started(args, reading)


@dataclass(frozen=True)
class _Server:
    """The process to fork from, which ends when this one does. requests: the socket to ask for a call; address: of the
    one at which others may ask; folder: where that is."""

    process: subprocess.Popen[bytes]
    requests: socket.socket
    folder: Path

    @property
    def address(self) -> Path:
        return self.folder / "calls"

    def end(self) -> None:
        self.requests.close()
        self.process.wait()
        shutil.rmtree(self.folder)


@lru_cache(maxsize=1)
def _server() -> _Server:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        ours.setsockopt(socket.SOL_SOCKET, option, _MOST)
    folder = Path(tempfile.mkdtemp(prefix="forked-"))
    with theirs, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as callers:
        callers.bind(str(folder / "calls"))
        callers.listen()
        argv = [sys.executable, __file__, str(callers.fileno())]
        process = subprocess.Popen(argv, stdin=theirs.fileno(), pass_fds=[callers.fileno()])
    server = _Server(process, ours, folder)
    atexit.register(server.end)
    return server


# The process to fork from ------------------------------------------------------------------------------------


def _import_all() -> None:
    import prodigy

    gc.disable()  # there is no garbage yet
    for module in pkgutil.walk_packages(prodigy.__path__, "prodigy."):
        importlib.import_module(module.name)
    for name in ("rich.live", "rich.table", "lark", "re2", "jsonschema", "psutil", "ruamel.yaml"):
        importlib.import_module(name)
    _use()
    gc.freeze()
    gc.enable()


def _use() -> None:
    """What is made when it is used for the first time, and is the same for every call."""
    from pydantic import BaseModel

    from prodigy.workflow.load import parse
    from prodigy.workflow.shell_words import forget

    for model in BaseModel.__subclasses__():
        if model.__module__.startswith("prodigy."):
            model.model_rebuild()
    parse("map: {input: ls, filter: item.a > 1, agent_template: [{shell: 'echo ${item}', when: '${item} == 1'}]}", "")
    forget()


def _received(source: socket.socket) -> tuple[bytes, list[int]]:
    """A request, empty when there is nobody who could ask, and the descriptors that came with it."""
    descriptors = array.array("i")
    request, ancillary, _, _ = source.recvmsg(_MOST, socket.CMSG_SPACE(4 * descriptors.itemsize))
    for _, _, data in ancillary:
        descriptors.frombytes(data)
    return request, list(descriptors)


def _serve(requests: socket.socket, callers: socket.socket) -> Mapping[str, object]:
    """Returns in each forked process, with what it was forked for; the first process never returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        if requests in select.select([requests, callers], [], [])[0]:
            request, descriptors = _received(requests)
            if not request:
                os._exit(0)
        else:
            with callers.accept()[0] as caller:
                request, descriptors = _received(caller)
            if not request:
                continue
        given, out, err, answer = descriptors
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            requests.close()
            callers.close()
            if (pid := os.fork()) == 0:
                os.close(answer)
                for number, descriptor in enumerate((given, out, err)):
                    os.dup2(descriptor, number)
                os.closerange(3, max(descriptors) + 1)
                found: dict[str, object] = json.loads(request)
                return found
            for descriptor in (given, out, err):
                os.close(descriptor)
            with contextlib.suppress(BrokenPipeError):  # nobody waits for it any more
                os.write(answer, b"%d\n" % pid)
                os.write(answer, b"%d\n" % os.waitpid(pid, 0)[1])
            os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)


def _writer(descriptor: int, like: TextIO) -> TextIO:
    return open(
        descriptor,
        "w",
        encoding=like.encoding,
        errors=like.errors,
        buffering=1 if descriptor == 2 else -1,
        closefd=False,
    )


class _Leave:
    """Ends the process once all that is to happen at its end has: taking apart what it shares with the one that it was
    forked from would cost ten times what a short call does."""

    status: int | None = None
    streams: tuple[TextIO, ...] = ()  # kept, because what takes their place shares their buffers

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

    asked = _serve(socket.socket(fileno=os.dup(0)), socket.socket(fileno=int(sys.argv[1])))
    where, env, args = asked["where"], asked["env"], asked["args"]
    assert isinstance(where, str)
    assert isinstance(env, dict)
    assert isinstance(args, list)
    # Those of the process it was forked from know whether what they wrote to could be searched.
    sys.stdout, sys.stderr = leave.streams = (_writer(1, sys.stdout), _writer(2, sys.stderr))
    if asked["session"]:
        os.setsid()
    os.chdir(where)
    os.environ.clear()
    os.environ.update(env)
    sys.path[1:1] = filter(None, env.get("PYTHONPATH", "").split(os.pathsep))
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
