"""python3 -m tools.report SUCCESSFUL TOTAL: a report on the modules that items.json lists, as Markdown."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from .check import first_commit
from .spelling import count_old


def changed_lines() -> dict[str, tuple[int, int]]:
    """module -> lines added, lines removed since the first commit."""
    numbers = subprocess.run(
        ["git", "diff", "--numstat", first_commit(), "HEAD"], capture_output=True, text=True, check=True
    ).stdout
    rows = (line.split("\t") for line in numbers.splitlines())
    return {path: (int(added), int(removed)) for added, removed, path in rows}


def report(successful: str, total: str) -> str:
    """The whole text."""
    items = json.loads(Path("items.json").read_text())
    changed = changed_lines()
    done = [item for item in items if item["path"] in changed]
    added, removed = (sum(changed[item["path"]][side] for item in done) for side in (0, 1))
    before = sum(item["old"] for item in items)
    after = sum(count_old(Path(item["path"]).read_bytes(), everywhere=True) for item in items)
    lines = [
        "# Modern type annotations",
        "",
        f"- {successful} of {total} modules, {added} lines added, {removed} removed",
        f"- old spellings of types: {before} before, {after} after",
        "",
        "Not done when this was written (`prodigy dlq list` has the reasons):",
        "",
        *([f"- {item['path']}" for item in items if item["path"] not in changed] or ["- nothing"]),
        "",
        "| module | added | removed |",
        "| --- | ---: | ---: |",
        *(f"| {item['path']} | {changed[item['path']][0]} | {changed[item['path']][1]} |" for item in done),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(report(*sys.argv[1:]))
