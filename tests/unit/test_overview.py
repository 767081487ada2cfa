"""`--help` and `--version` come at once, because nothing is imported for them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from prodigy.cli.main import _ALIASES, _COMMANDS
from prodigy.cli.overview import overview

NAMES_IMPORTED = "import sys; print(*sorted(sys.modules))"


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["-h"], []])
def test_what_one_types_first_imports_nothing_beyond_the_entry_point(arguments: list[str]) -> None:
    call = f"import sys; sys.argv[1:] = {arguments}; from prodigy.cli.main import main; main(); {NAMES_IMPORTED}"
    bare = _modules("from __future__ import annotations; import os; " + NAMES_IMPORTED)
    ours = {"prodigy", "prodigy.cli", "prodigy.cli.main", "prodigy.cli.overview"}
    assert _modules(call) - bare == ours


def test_the_overview_fits_a_terminal_and_names_each_command() -> None:
    lines = overview(_COMMANDS).splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines[lines.index("Commands:") + 1 :]] == list(_COMMANDS)
    assert not set(_ALIASES) & set(_COMMANDS)


def _modules(code: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())
