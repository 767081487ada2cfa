"""The events of a run as a compressed file of JSON Lines, for when they go from its database."""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from itertools import count
from pathlib import Path

from prodigy.errors import EnvironmentProblem
from prodigy.secrets import mask
from prodigy.store.store import Store


def archive(store: Store, directory: Path) -> Path:
    """Write all events that the run has now below `directory`, without secrets, and return the file (0600). It is there
    whole, and on the disk, or not at all; none is written over. Raises EnvironmentProblem."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, part = tempfile.mkstemp(prefix=".events-", dir=directory)
        try:
            with os.fdopen(descriptor, "wb") as raw:
                with gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0) as file:
                    for record in store.events():
                        file.write(f"{mask(json.dumps(record))}\n".encode())
                raw.flush()
                os.fsync(descriptor)
            return _named(Path(part), directory, store.directory.name)
        finally:
            Path(part).unlink(missing_ok=True)
    except OSError as error:
        raise EnvironmentProblem(
            f"the events can't be archived: {error.strerror}", where=str(directory), hint="No event was removed."
        ) from error


def _named(part: Path, directory: Path, run_id: str) -> Path:
    for number in count(1):
        path = directory / (f"{run_id}.jsonl.gz" if number == 1 else f"{run_id}-{number}.jsonl.gz")
        try:
            os.link(part, path)  # fails where something is
        except FileExistsError:
            continue
        folder = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return path
    raise AssertionError("numbers do not end")
