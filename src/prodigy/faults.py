"""Named fault points: the crash tests kill the process at one of them. They cost one comparison when unset.

`PRODIGY_FAULT=NAME` or `NAME#N` kills this process with SIGKILL at the first or Nth time the point is reached.
`PRODIGY_FAULT_TRACE=FILE` appends every point's name as it is reached, so that a test can list them.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

_target, _, _occurrence = os.environ.get("PRODIGY_FAULT", "").partition("#")
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
        os.kill(os.getpid(), signal.SIGKILL)
