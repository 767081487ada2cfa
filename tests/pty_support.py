"""The command line on a real terminal, with somebody who answers its questions."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
from collections.abc import Mapping
from pathlib import Path

import psutil

from support import wait_until

PATIENCE_S = 60


def answered(
    args: list[str], answers: list[tuple[str, str]], where: Path, env: Mapping[str, str]
) -> tuple[int, str, list[tuple[str, str]]]:
    """Run the command line to its end; (exit code, all that the terminal showed, answers that nobody asked for).

    answers: what is shown before each answer, and what is typed then, when the program has begun to wait for it: a
    Ctrl-C between the question and that would go unnoticed by Python until something else is typed.
    """
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "prodigy.cli.main", *args],
        cwd=where, env=dict(env), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C becomes a signal
    )  # fmt: skip
    os.close(theirs)
    asking = psutil.Process(process.pid)
    waiting, shown, seen = list(answers), b"", 0
    try:
        while select.select([ours], [], [], PATIENCE_S)[0]:
            try:
                data = os.read(ours, 1 << 16)
            except OSError:  # the other end is closed
                break
            shown += data
            if waiting and waiting[0][0].encode() in shown[seen:]:
                seen = len(shown)
                wait_until(lambda: asking.status() == psutil.STATUS_SLEEPING, "it waits for the answer")
                os.write(ours, waiting.pop(0)[1].encode())
            if not data:
                break
        else:
            process.kill()
            raise AssertionError(f"it waits for something: {shown.decode()}")
    finally:
        os.close(ours)
        code = process.wait(PATIENCE_S)
    return code, shown.decode().replace("\r\n", "\n"), waiting
