"""Values that a shell is offered: what there is now, looked up in a moment. Whatever can't be read offers nothing."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from prodigy.home import home

Values = list[tuple[str, str]]  # (value, what it is)

MOST = 200
_SUFFIXES = (".yml", ".yaml")
_LETTERS = "SELECT item_id, label FROM dead_letter JOIN item USING (fanout, ordinal) ORDER BY ordinal LIMIT ?"


def _query(path: Path, statement: str, *values: object) -> list[tuple[object, ...]]:
    if not path.is_file():
        return []
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=0.5)) as db:
            return db.execute(statement, values).fetchall()
    except sqlite3.Error:
        return []


def _common_dir() -> str | None:
    """The git directory around, when that is plain to see."""
    folder = Path.cwd()
    found = next((one / ".git" for one in (folder, *folder.parents) if (one / ".git").exists()), None)
    return str(found.resolve()) if found is not None and found.is_dir() else None


def runs(_: dict[str, str]) -> Values:
    """Runs of this repository (elsewhere of all), newest first, their workflows' names, and `latest`."""
    rows = _query(
        home() / "prodigy.db",
        "SELECT id, workflow, status FROM run WHERE common_dir = coalesce(?, common_dir)"
        " ORDER BY created_at DESC, id DESC LIMIT ?",
        *(_common_dir(), MOST),
    )
    names = dict.fromkeys(str(row[1]) for row in rows)
    ids = [(str(row[0]), f"{row[1]}, {str(row[2]).replace('_', ' ')}") for row in rows]
    return [*([("latest", "the newest run")] if ids else []), *ids, *((name, "its latest run") for name in names)]


def items(values: dict[str, str]) -> Values:
    """The dead letters of the run that was named, or of the latest."""
    known = runs({})
    named = values.get("run", "latest")
    fitting = [run for run, said in known[1:] if run.startswith(named) or said.startswith(f"{named},")]
    ids = [run for run, _ in known[1:]] if named == "latest" else fitting
    if not ids:
        return []
    rows = _query(home() / "runs" / ids[0] / "run.db", _LETTERS, MOST)
    return [(str(item), str(label)) for item, label in rows]


def workflows(_: dict[str, str]) -> Values:
    """Files here, and where workflows often are. Others are found by the shell."""
    places = [Path(), Path("workflows"), Path(".prodigy"), Path(".prodigy/workflows")]
    found = [path for place in places if place.is_dir() for path in sorted(place.iterdir())]
    return [(str(path), "workflow") for path in found if path.suffix in _SUFFIXES and path.name != "config.yml"][:MOST]


def agents(_: dict[str, str]) -> Values:
    """Those of the configuration, and all kinds."""
    from prodigy.workflow import keys
    from prodigy.workflow.configuration_layers import layers, leaves, whole

    folder = Path.cwd()
    around = next((one for one in (folder, *folder.parents) if (one / ".git").exists()), None)
    configured = (
        key.split(".")[1] for key, _ in leaves(whole(layers(around, os.environ))) if key.startswith("agents.")
    )
    kinds = [kind for kind in keys.AGENT_KINDS if kind not in keys.KINDS_OF_ANY_PROGRAM]
    names = dict.fromkeys(name for name in (*configured, *kinds) if name != "default")
    return [(name, "") for name in names]


def profiles(values: dict[str, str]) -> Values:
    """Those of the workflow that was named."""
    from prodigy.workflow.files import read_document
    from prodigy.workflow.yaml_nodes import Mapping

    if "workflow" not in values:
        return []
    root = read_document(Path(values["workflow"])).root
    entry = root.entries.get("profiles") if isinstance(root, Mapping) else None
    return [(name, "") for name in entry.value.entries] if entry and isinstance(entry.value, Mapping) else []


def _careful(find: Callable[[dict[str, str]], Values]) -> Callable[[dict[str, str]], Values]:
    def found(values: dict[str, str]) -> Values:
        from prodigy.errors import ProdigyError

        try:
            return [(text, said) for text, said in find(values) if text.isprintable() and said.isprintable()]
        except (OSError, ProdigyError, ValueError):
            return []  # a prompt is no place for errors; the command itself will tell

    return found


VALUES: dict[str, Callable[[dict[str, str]], Values]] = {
    "run": _careful(runs),
    "item": _careful(items),
    "workflow": _careful(workflows),
    "agent": _careful(agents),
    "profile": _careful(profiles),
}
