"""Named fault points: the crash tests disturb the process at one of them. They cost one comparison when unset.

`PRODIGY_FAULT=NAME` or `NAME#N` kills this process with SIGKILL at the first or Nth time the point is reached.
`PRODIGY_FAULT_COMMAND=COMMAND` runs that shell command there instead, and goes on when it has ended: to fill a disk,
to delete a file, to lock a database.
`PRODIGY_FAULT_TRACE=FILE` appends every point's name as it is reached, so that a test can list them.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

_target, _, _occurrence = os.environ.get("PRODIGY_FAULT", "").partition("#")
_command = os.environ.get("PRODIGY_FAULT_COMMAND")
_trace = os.environ.get("PRODIGY_FAULT_TRACE")
_active = bool(_target or _trace)
_reached: Counter[str] = Counter()


def point(name: str) -> None:
    """Reach the fault point `name`; does not return when the environment asked for a crash here."""
    if _active:
        _reach(name)


def _reach(name: str) -> None:
    _reached[name] += 1
    if _trace:
        descriptor = os.open(_trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(descriptor, f"{name}\n".encode())
        os.close(descriptor)
    if name == _target and _reached[name] == int(_occurrence or 1):
        if _command is None:
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            _run(_command)


def _run(command: str) -> None:
    """Run the command of a test and wait for it; raises CalledProcessError when it fails."""
    import subprocess  # nobody else pays for it

    subprocess.run(["/bin/sh", "-c", command], check=True, stdin=subprocess.DEVNULL)
