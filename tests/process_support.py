"""What the tests of durable processes share."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, ParamSpec

from prodigy.executors.base import Exit
from prodigy.executors.processes import Processes

P = ParamSpec("P")

PATH = "it1/3/i0042/a2/1/t1"
PATIENCE_S = 30.0  # for what must happen soon, on a machine that is busy
WAIT_FOR_GO = "until [ -e go ]; do sleep 0.05; done\n"
# A coordinator that starts one process and then does nothing until it is killed.
COORDINATOR = """
import asyncio, os, sys
from pathlib import Path
from prodigy.executors.base import ProcessSpec
from prodigy.executors.processes import Processes

async def main():
    steps, path, cwd, script = sys.argv[1:]
    spec = ProcessSpec(argv=("bash", "-c", script), env={"PATH": os.environ["PATH"]}, cwd=cwd, timeout_s=60)
    await Processes(Path(steps)).start(path, spec)
    print("started", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def asynchronous(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Let pytest run a coroutine."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


@contextlib.asynccontextmanager
async def coordinator(tmp_path: Path, helpers_fd: int | None = None) -> AsyncIterator[Processes]:
    processes = Processes(tmp_path / "steps", helpers_fd)
    try:
        yield processes
    finally:
        await processes.close()


async def finished(processes: Processes, path: str = PATH) -> Exit:
    ended = await processes.wait(path)
    assert ended is not None
    return ended


async def until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up, "what should happen soon did not"
        await asyncio.sleep(0.01)


async def number_in(file: Path) -> int:
    """A process id that a script writes and moves into place."""
    await until(file.exists)
    return int(file.read_text())
