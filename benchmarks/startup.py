"""How long the command line takes to start, in units of an interpreter that does nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.common import Result, median, scratch

STEPS = 50


def startup(rounds: int) -> list[Result]:
    """Bare interpreter and three commands in turn. Bytecode is there already, as it is once installed."""
    command = str(Path(sys.executable).with_name("prodigy"))
    with scratch() as folder:
        workflow = folder / "fifty.yml"
        workflow.write_text(_workflow())
        calls = {
            "bare": [sys.executable, "-c", "pass"],
            "version": [sys.executable, command, "--version"],
            "help": [sys.executable, command, "--help"],
            "validate": [sys.executable, command, "validate", str(workflow)],
        }
        env = os.environ | {"PYTHONPYCACHEPREFIX": str(folder / "bytecode"), "PRODIGY_HOME": str(folder / "home")}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        times: dict[str, list[float]] = {name: [] for name in calls}
        for round_ in range(rounds + 1):
            for name, argv in calls.items():
                elapsed = _ms(argv, env)
                if round_:  # the first one compiles, and checks the scripts that the others know
                    times[name].append(elapsed)
    return [_result("--version", times["version"], times["bare"], 3.0),
            _result("--help", times["help"], times["bare"], 3.0),
            _result(f"validate, {STEPS} steps", times["validate"], times["bare"], 25.0)]  # fmt: skip


def _workflow() -> str:
    steps = "".join(
        f'- shell: echo "step {number} of ${{workflow.name}}" > "out{number}" && test -n "${{run.id}}"\n'
        for number in range(STEPS)
    )
    return f"name: fifty\nmode: sequential\nsteps:\n{steps}"


def _ms(argv: Sequence[str], env: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(argv, env=env, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - started) * 1000


def _result(name: str, times: Sequence[float], bare: Sequence[float], limit: float) -> Result:
    ratios = [mine / theirs for mine, theirs in zip(times, bare, strict=True)]
    details = f"{median(times):.0f} ms, bare Python {median(bare):.0f} ms"
    return Result(name, median(ratios), limit, "x bare Python", details)
