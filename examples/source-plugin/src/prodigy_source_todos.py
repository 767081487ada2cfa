"""Finds the comments in a repository that ask for work: how another package adds a source of items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


class Todos:
    """The source. `with` takes `files`, a pattern, and `marker`, the word that a comment begins with."""

    # Options are checked by it when a workflow is loaded, so a mistake is told with its place in the file.
    schema: Mapping[str, object] = {
        "type": "object",
        "properties": {"files": {"type": "string"}, "marker": {"type": "string", "minLength": 1}},
        "additionalProperties": False,
    }
    # The version of Prodigy's protocols that this was written for.
    interface = 1

    def items(self, options: Mapping[str, Any]) -> Iterator[object]:
        """One item for each line with a marker. It stands in the run's worktree."""
        marker = options.get("marker", "TODO")
        for path in sorted(Path().glob(options.get("files", "**/*.py"))):
            for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
                _, found, text = line.partition(f"# {marker}: ")
                if found:
                    yield {"id": f"{path}:{number}", "path": str(path), "line": number, "text": text.strip()}
