"""Who drives a run: what is noted of this process."""

from __future__ import annotations

import os
import pwd
import socket
from typing import TypedDict


class Driver(TypedDict):
    """host: its name. user: of the operating system."""

    host: str
    pid: int
    user: str


def driver() -> Driver:
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's users often have no name
        user = str(os.getuid())
    return Driver(host=socket.gethostname(), pid=os.getpid(), user=user)
