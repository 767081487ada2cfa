"""Items that another package finds: what it has to offer, and the process in which it is asked.

A source runs as a step does, in a process of its own: it may take its time, hang, print or crash, and a resume takes
what it has found. `python -m prodigy.plan.item_source` is that process; it prints one JSON array.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Protocol, TextIO

from prodigy import plugins
from prodigy.errors import ProdigyError

# The variable that says which source is asked for what, as JSON: {"source": NAME, "with": {...}}.
ASKED = "PRODIGY_SOURCE"
PYTHON = "PRODIGY_PYTHON"
# -P: what lies in the worktree is not to be imported.
SCRIPT = f'exec "${PYTHON}" -P -m prodigy.plan.item_source'


class ItemSource(Protocol):
    """What an entry point of the group `prodigy.item_sources` names: an object, or a class without arguments.

    It may have `schema`, a JSON Schema (draft 2020-12) of its options, by which they are checked when a workflow is
    loaded, and `interface`, the version of these protocols it was made for.
    """

    def items(self, options: Mapping[str, Any]) -> Iterable[object]:
        """The items, in order: JSON values, best with an `id`.

        options: what stands under `with`, placeholders filled. The process stands in the run's worktree and has the
        environment of a step; what it prints goes to its log. To raise is to fail: the message is shown.
        """
        ...


def environment(name: str, options: object) -> dict[str, str]:
    """The variables by which `SCRIPT` knows what to ask for. It finds the packages that this process has."""
    found = {PYTHON: sys.executable, ASKED: json.dumps({"source": name, "with": options})}
    if path := os.environ.get("PYTHONPATH"):  # it stands elsewhere
        found["PYTHONPATH"] = os.pathsep.join(str(Path(part).absolute()) for part in path.split(os.pathsep) if part)
    return found


def print_items(stream: TextIO) -> None:
    """Ask the source that the environment names, and print what it finds. Raises ProdigyError when that fails."""
    asked = json.loads(os.environ[ASKED])
    plugin, source = plugins.load(plugins.ITEM_SOURCES, asked["source"])
    before = "["
    try:
        for item in source.items(asked["with"]):
            stream.write(f"{before}\n{json.dumps(item, allow_nan=False)}")
            before = ","
    except ProdigyError:
        raise
    except Exception as error:
        traceback.print_exc()  # into the step's log, for whoever wrote it
        raise plugins.failure(plugin, "items", error) from error
    stream.write("[]\n" if before == "[" else "\n]\n")


def main() -> None:
    """The process: 0 and an array, or the status of the error, with its text on standard error."""
    stream = sys.stdout
    try:
        with redirect_stdout(sys.stderr):
            print_items(stream)
    except ProdigyError as error:
        sys.stderr.write(f"{error.told()}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
