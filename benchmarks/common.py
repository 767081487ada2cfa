"""What the benchmarks share: a place in memory, repositories, driving a run in this process, results."""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prodigy.engine.choices import Choices
from prodigy.engine.control import Control
from prodigy.engine.run import Options
from prodigy.engine.session import Caller, resume, run
from prodigy.engine.start import create_run
from prodigy.state import events as ev
from prodigy.workflow.load import load

LINES_A_FILE = 20
# Over fewer items the blocks in which memory grows hide what an item leaves behind.
ITEMS_FOR_MEMORY = 5000


@dataclass(frozen=True)
class Result:
    """One line of the report.

    measured: the figure that is judged. limit: its target is at most this, or at least this when `at_least`.
    unit: printed behind both. details: the absolute figures, for people.
    """

    name: str
    measured: float
    limit: float
    unit: str
    details: str
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        verdict = "met" if self.met else "MISSED"
        head = f"{self.name:<44} {self.measured:8.2f} {self.unit} ({sign} {self.limit:g})  {verdict}"
        return f"{head}\n{'':<6}{self.details}"


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder in memory where there is such a place: disks differ too much to compare programs by them."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="prodigy-bench-", dir=memory if os.access(memory, os.W_OK) else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def set_identity() -> None:
    """Commits of the scripts, of steps and of ours carry one name, whatever the machine is set up with."""
    identity = {"NAME": "Bench", "EMAIL": "bench@localhost"}
    os.environ |= {f"GIT_{role}_{part}": value for role in ("AUTHOR", "COMMITTER") for part, value in identity.items()}


def make_repository(folder: Path, files: int) -> Path:
    """A repository with one commit of so many files, in a hundred directories."""
    repo = folder / "repo"
    repo.mkdir(parents=True)
    for number in range(files):
        path = repo / f"dir{number % 100}" / f"file{number}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"line {number}\n" * LINES_A_FILE)
    for args in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "start"]):
        subprocess.run(["git", *args], cwd=repo, check=True)
    return repo


def make_run(folder: Path, repo: Path, workflow: str) -> str:
    """Store a run of the workflow text; its home is `folder/home`. The id of the run."""
    os.environ["PRODIGY_HOME"] = str(folder / "home")
    file = folder / "workflow.yml"
    file.write_text(workflow)
    return create_run(load(file), file, repo, Options(merge="no", started_in=str(folder))).run_id


def drive(
    run_id: str, on_event: Callable[[ev.Event], None], *, control: Control | None = None, anew: bool = True
) -> dict[str, object]:
    """Run (or resume) in this process until it ends or drains; the summary."""
    return asyncio.run(_drive(run_id, on_event, control, anew=anew))


async def _drive(
    run_id: str, on_event: Callable[[ev.Event], None], control: Control | None, *, anew: bool
) -> dict[str, object]:
    caller = Caller(on_event, lambda _target, _stat: False, control or Control(), "benchmark")
    ended = await (run(run_id, caller) if anew else resume(run_id, caller, Choices()))
    if ended.error is not None:
        raise ended.error
    return ended.summary


def ignore(_: ev.Event) -> None:
    """For whoever wants no events."""


def median(values: Sequence[float]) -> float:
    return statistics.median(values)
