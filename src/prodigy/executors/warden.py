"""Looks after the process of one step from its start to its exit record, and needs nobody else for that.

The launcher forks one warden per step. Coordinator and launcher may die at any moment: the warden stays,
ends the process when a limit is reached or somebody asks for it, ends everything the process left behind,
and writes down how it went. While it lives it holds a lock on the file `alive`, so the directory alone tells
the state.

Every running step pays for what is imported here: the standard library only, and little of it.
"""
# Pathlib would cost every warden memory and start time.
# ruff: noqa: PTH104

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import select
import signal
import time

TYPE_CHECKING = False  # type checkers know the name; typing is too dear to import here
if TYPE_CHECKING or __package__:
    from prodigy.executors import system
else:
    import system  # in the launcher, which is run by path

# The files in a step's directory.
ALIVE = "alive"  # locked while the warden lives
COMMAND = "command.json"  # what was started, without the values of the environment
CONTROL = "control"  # FIFO for requests to the warden
EXIT = "exit"  # how it ended; renamed into place when complete
EXIT_PART = "exit.part"
STDIN = "stdin"
STDOUT = "stdout"
STDERR = "stderr"

LEFTOVER_GRACE_S = 1.0  # what outlives the main process may clean up for this long
KILL_ROUND_S = 0.1  # between two rounds of SIGKILL
KILL_PATIENCE_S = 10.0  # then we give up: it is another user's process, or hangs in the kernel
LONGEST_REST_S = 3600.0  # poll() takes no infinite time
IDLE_CHECKS = 8  # looks at the output within one idle timeout: an end is late by an eighth at most
EXIT_RESERVE = 4096  # bytes

parents = system.HERE.parents


class Request:
    """What to start, decoded from one line of the coordinator.

    Paths, arguments and environment are bytes to the kernel. JSON carries them as text whose characters stand
    for one byte each (latin-1), so none is lost whatever the locale.
    """

    def __init__(self, line: bytes) -> None:
        fields = json.loads(line)
        self.token: str = fields["token"]
        self.staging: bytes = fields["staging"].encode("latin-1")
        self.final: bytes = fields["final"].encode("latin-1")
        self.argv: list[bytes] = [word.encode("latin-1") for word in fields["argv"]]
        self.env: dict[bytes, bytes] = {
            name.encode("latin-1"): value.encode("latin-1") for name, value in fields["env"].items()
        }
        self.cwd: bytes = fields["cwd"].encode("latin-1")
        self.timeout_s: float = fields["timeout_s"]
        self.idle_timeout_s: float = fields["idle_timeout_s"]
        self.grace_s: float = fields["grace_s"]


def report(event: str, token: str, message: str = "") -> None:
    """Tell the coordinator, in one write that is short enough to be atomic among all wardens' writes."""
    try:
        os.write(1, f"{event} {token} {message[:500]}\n".encode(errors="replace"))
    except BrokenPipeError:
        return  # a dead coordinator hears nothing; the files tell the next one


def run(request: Request, inherited: tuple[int, ...]) -> None:
    """Be the warden of `request` and exit; called in a fork of the launcher.

    inherited: descriptors of the launcher beside 0, 1 and 2. They are closed, and 0, 1 and 2 replaced, only
    when the step's directory is in place: until then they tell others that somebody may still start a step.
    """
    os.setsid()
    try:
        warden = Warden(request)
        entered = warden.enter()
    except OSError as error:
        report("failed", request.token, f"the step's directory cannot be prepared: {error}")
        os._exit(1)
    report("started" if entered else "refused", request.token)
    if entered:
        warden.take_over_descriptors(inherited)
        warden.look_after()
    os._exit(0)


class Warden:
    """One process, its limits, and its end."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._directory = os.open(request.staging, os.O_RDONLY)
        self._pid = 0
        self._status: int | None = None  # as waitpid gives it, once the main process has ended
        self._childless = False
        self._found: set[int] = set()  # processes of the step, where orphans do not come to us
        self._reason: str | None = None  # why we end it
        self._kill_at = float("inf")
        self._message: str | None = None
        self._started_at = time.time()
        self._started = self._grown = self._ended = time.monotonic()
        self._sizes = (0, 0)

    def enter(self) -> bool:
        """Move the staging directory to its final place, already locked; False when that place is taken."""
        fcntl.flock(self._open(ALIVE, os.O_RDWR | os.O_CREAT | os.O_EXCL), fcntl.LOCK_EX)
        os.mkfifo(self._request.staging + b"/" + CONTROL.encode(), 0o600)
        # Opened for writing too, so that it never reads as ended when a writer closes it.
        self._control = self._open(CONTROL, os.O_RDWR | os.O_NONBLOCK)
        # Room for the exit record is taken now: a disk that fills up meanwhile must not cost a finished step.
        self._exit = self._open(EXIT_PART, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        if os.write(self._exit, b" " * EXIT_RESERVE) < EXIT_RESERVE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        try:
            os.rename(self._request.staging, self._request.final)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return False
            raise
        return True

    def take_over_descriptors(self, inherited: tuple[int, ...]) -> None:
        """Put the step's files in place of the launcher's pipes, ready for the process to inherit."""
        append = os.O_WRONLY | os.O_APPEND
        for target, name, flags in ((0, STDIN, os.O_RDONLY), (1, STDOUT, append), (2, STDERR, append)):
            opened = self._open(name, flags)
            os.dup2(opened, target)
            os.close(opened)
        self._wake, wake_write = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        for descriptor in inherited:
            os.close(descriptor)

    def look_after(self) -> None:
        """Start the process, wait for its end or bring it about, leave nothing behind, record how it went."""
        self._adopts = system.HERE.become_subreaper()
        self._poll = select.poll()
        self._poll.register(self._wake, select.POLLIN)
        self._poll.register(self._control, select.POLLIN)
        self._message = self._start()
        if self._message is not None:
            self._record(None, "not_started")
            return
        self._watch()
        self._interrupt()
        self._clear()
        self._record(self._code(), self._reason or "exited")

    def _open(self, name: str, flags: int) -> int:
        return os.open(name, flags, 0o600, dir_fd=self._directory)

    def _start(self) -> str | None:
        """Start the process; returns why that was not possible."""
        argv, env, cwd = self._request.argv, self._request.env, self._request.cwd
        try:
            os.chdir(cwd)
        except (OSError, ValueError) as error:
            return _cannot("work in", cwd, error)
        try:
            self._pid = spawn(argv, env)
        except (OSError, ValueError) as error:
            return _cannot("run", argv[0], error)
        os.chdir("/")
        return None

    def _watch(self) -> None:
        """Return when the main process has ended or there is a reason to end it."""
        request = self._request
        deadline = self._started + request.timeout_s
        while self._status is None and self._reason is None:
            next_look = time.monotonic() + request.idle_timeout_s / IDLE_CHECKS
            self._rest(min(deadline, self._grown + request.idle_timeout_s, next_look))
            now = time.monotonic()
            sizes = (os.fstat(1).st_size, os.fstat(2).st_size)
            if sizes != self._sizes:
                self._sizes, self._grown = sizes, now
            if now >= deadline:
                self._end("timeout", request.grace_s)
            elif now - self._grown >= request.idle_timeout_s:
                self._end("idle", request.grace_s)

    def _end(self, reason: str, grace_s: float) -> None:
        """Note that the process must end within `grace_s` seconds; a later call can only shorten that."""
        if self._status is None and self._reason is None:
            self._reason = reason
        self._kill_at = min(self._kill_at, time.monotonic() + grace_s)

    def _interrupt(self) -> None:
        """Ask the main process alone, for half of the grace: agents end their own tools when interrupted."""
        if self._status is not None:
            return
        if not self._adopts:
            self._survivors()  # finds those whom the end of the main process would hide
        signal_all([self._pid], signal.SIGINT)
        now = time.monotonic()
        half = now + (self._kill_at - now) / 2
        while self._status is None and time.monotonic() < min(half, self._kill_at):
            self._rest(min(half, self._kill_at))

    def _clear(self) -> None:
        """End everything that is left, the main process included."""
        if self._alone():
            return
        if self._status is not None:
            self._kill_at = min(self._kill_at, time.monotonic() + LEFTOVER_GRACE_S)
        signal_all(self._survivors(), signal.SIGTERM)
        while not self._alone() and time.monotonic() < self._kill_at:
            # Without orphans coming to us nothing wakes us at their end.
            self._rest(self._kill_at if self._adopts else time.monotonic() + KILL_ROUND_S)
        give_up = time.monotonic() + KILL_PATIENCE_S
        while not self._alone():
            if time.monotonic() >= give_up:
                self._message = f"could not be killed: processes {self._survivors()}"
                return
            # Again and again, because a process may fork between our look and our signal.
            signal_all(self._survivors(), signal.SIGKILL)
            self._rest(time.monotonic() + KILL_ROUND_S)

    def _alone(self) -> bool:
        if self._adopts:
            return self._childless
        return self._status is not None and not self._survivors()

    def _survivors(self) -> list[int]:
        tree = parents()
        if self._adopts:
            return descendants(tree, {os.getpid()})
        # What was found stays known when it loses its parent, as long as each look finds it.
        known = self._found & tree.keys() | set(system.HERE.marked(self._request.token))
        # No number is given to a new process while a session has it; one that lives again is another process's.
        if self._status is None or self._pid not in tree:
            known.update(system.HERE.in_session(self._pid, tree))
        self._found = {*known, *descendants(tree, {os.getpid(), *known})}
        return sorted(self._found)

    def _rest(self, until: float) -> None:
        """Sleep until a time of the monotonic clock, a child's end or a request, whichever comes first."""
        seconds = min(until - time.monotonic(), LONGEST_REST_S)
        for descriptor, _ in self._poll.poll(max(0, int(seconds * 1000) + 1)):
            if descriptor == self._control:
                self._reap()  # first, so that a process which has just ended by itself was not stopped
                self._obey()
            else:
                os.read(descriptor, 4096)
        self._reap()

    def _reap(self) -> None:
        """Collect every ended child, adopted ones too."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self._childless = True
                return
            if pid == 0:
                return
            if pid == self._pid:
                self._status, self._ended = status, time.monotonic()

    def _obey(self) -> None:
        """Read requests. The FIFO is open to every process of the user, so anything may be in it."""
        try:
            requests = os.read(self._control, 4096)
        except BlockingIOError:
            return  # another process has read it
        for line in requests.splitlines():
            with contextlib.suppress(ValueError):  # what makes no sense is none of ours
                verb, grace_s = line.split()
                if verb == b"stop":
                    self._end("stopped", max(0.0, float(grace_s)))

    def _code(self) -> int:
        """The exit status as shells report it."""
        if self._status is None:
            return 128 + signal.SIGKILL  # sent, and not yet obeyed
        code = os.waitstatus_to_exitcode(self._status)
        return code if code >= 0 else 128 - code

    def _exit_record(self, code: int | None, reason: str) -> bytes:
        """As JSON. Written by hand, because json's encoder would copy memory that wardens share."""
        return (
            f'{{"code": {"null" if code is None else code}, "reason": "{reason}", '
            f'"started_at": {self._started_at}, "duration_s": {self._ended - self._started}, '
            f'"message": {"null" if self._message is None else json.dumps(self._message)}}}\n'
        ).encode()

    def _record(self, code: int | None, reason: str) -> None:
        """Make the output durable, then the exit record appear whole."""
        for stream in (1, 2):
            if os.fstat(stream).st_size:
                self._sync(stream)
        if self._message is None and self._disk_is_full():
            self._message = "the disk was full when it ended: what it wrote may be cut short"
        os.ftruncate(self._exit, os.pwrite(self._exit, self._exit_record(code, reason), 0))
        os.fsync(self._exit)
        os.rename(EXIT_PART, EXIT, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        os.unlink(CONTROL, dir_fd=self._directory)
        os.fsync(self._directory)

    def _sync(self, stream: int) -> None:
        """What the disk can't take is missing from the output; how the process ended is on record all the same."""
        try:
            os.fsync(stream)
        except OSError as error:
            self._message = self._message or f"its output may be incomplete: {error}"

    def _disk_is_full(self) -> bool:
        facts = os.fstatvfs(self._exit)
        return facts.f_blocks > 0 and (facts.f_bfree if os.geteuid() == 0 else facts.f_bavail) == 0


def spawn(argv: list[bytes], env: dict[bytes, bytes]) -> int:
    """Start a program in a session of its own, looked up on the PATH of `env` as execvp does.

    Raises OSError, and ValueError for what no program can be given, such as a zero byte.
    """
    name = argv[0]
    folders = [b""] if b"/" in name else env.get(b"PATH", os.defpath.encode()).split(b":")
    problem: OSError = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    for folder in folders:
        candidate = name if b"/" in name else (folder or b".") + b"/" + name
        if not os.access(candidate, os.F_OK):
            continue
        try:
            return system.HERE.start(candidate, argv, env)
        except PermissionError as error:
            problem = error  # a directory, or not executable: perhaps there is another one
    raise problem


def descendants(tree: dict[int, int], roots: set[int]) -> list[int]:
    """All descendants of `roots` without these, parents before their children."""
    children: dict[int, list[int]] = {}
    for pid, parent in tree.items():
        children.setdefault(parent, []).append(pid)
    found: list[int] = []
    generation = sorted(roots)
    while generation:
        generation = [child for pid in generation for child in children.get(pid, ()) if child not in roots]
        found += generation
    return found


def signal_all(pids: list[int], number: signal.Signals) -> None:
    """Signal each process. One that is gone, or is another user's, is none of ours any more."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _cannot(do: str, subject: bytes, error: OSError | ValueError) -> str:
    why = (isinstance(error, OSError) and error.strerror) or error
    return f"cannot {do} {subject.decode(errors='replace')}: {why}"
