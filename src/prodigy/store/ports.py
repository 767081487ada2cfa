"""Blocks of ports, one for each slot of each run of a home, so that servers of agents at work side by side do not meet.

A block belongs to its slot until the run is completed, over every resume. Nothing keeps other programs from its ports.
"""

from __future__ import annotations

import re
import sqlite3
import zlib
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from prodigy.errors import EnvironmentProblem, ProdigyError
from prodigy.home import home
from prodigy.store.database import connect, prepared, transaction
from prodigy.store.lock import is_held
from prodigy.store.paths import run_directory
from prodigy.store.store import Store

# Above what servers usually have, below what systems give to connections by themselves (from 32768, or 49152).
FIRST, END, SIZE = 20_000, 32_000, 20
BLOCKS = (END - FIRST) // SIZE
# Runs that nobody needs to take up again: what still counts of them is in git.
_OVER = ("completed", "failed", "cancelled")
_POOLED = re.compile(r"s(\d+)")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS block (
    base INTEGER PRIMARY KEY, run_id TEXT NOT NULL, slot TEXT NOT NULL, number INTEGER NOT NULL, UNIQUE (run_id, slot)
) STRICT;
"""


@dataclass(frozen=True)
class Block:
    """Ports `base` to `base + SIZE - 1`. number: the slot's, from 1; 0 for the run's own worktrees."""

    number: int
    base: int


def block_of(run_id: str, slot: str) -> Block:
    """The block of a slot, the same each time. slot: `s3`, or of another kind.

    Raises EnvironmentProblem when no block is left, or the register can't be used.
    """
    try:
        with closing(_opened()) as db, transaction(db):
            row = db.execute("SELECT number, base FROM block WHERE run_id = ? AND slot = ?", (run_id, slot)).fetchone()
            if row is not None:
                return Block(row["number"], row["base"])
            block = Block(_number(db, run_id, slot), _free(db, run_id))
            db.execute("INSERT INTO block VALUES (?, ?, ?, ?)", (block.base, run_id, slot, block.number))
            return block
    except sqlite3.Error as error:
        hint = "Make room there; if it is damaged, remove it while no run is at work."
        raise EnvironmentProblem(
            f"the register of ports can't be used: {error}", where=str(_path()), hint=hint
        ) from error


def free_blocks(run_id: str) -> None:
    """Give the blocks of a run back. A register that can't be written keeps them until blocks run out."""
    if not _path().exists():
        return
    try:
        with closing(_opened()) as db, transaction(db):
            db.execute("DELETE FROM block WHERE run_id = ?", (run_id,))
    except sqlite3.Error:
        return  # whoever finds no block looks which runs are over


def _path() -> Path:
    return home() / "ports.db"


def _opened() -> sqlite3.Connection:
    return prepared(connect(_path()), _SCHEMA)


def _number(db: sqlite3.Connection, run_id: str, slot: str) -> int:
    if pooled := _POOLED.fullmatch(slot):
        return int(pooled[1])
    if not slot.startswith("dedicated-"):
        return 0
    others = "SELECT count(*) FROM block WHERE run_id = ? AND slot LIKE 'dedicated-%'"
    return 1 + int(db.execute(others, (run_id,)).fetchone()[0])


def _free(db: sqlite3.Connection, run_id: str) -> int:
    taken = {row["base"] for row in db.execute("SELECT base FROM block")}
    if len(taken) >= BLOCKS:
        taken = _without_those_of_runs_that_are_over(db, run_id)
    # Homes begin at different places, so that those of two users seldom meet.
    first = zlib.crc32(str(home()).encode("utf-8", "surrogateescape"))
    bases = (FIRST + (first + number) % BLOCKS * SIZE for number in range(BLOCKS))
    free = next((base for base in bases if base not in taken), None)
    if free is None:
        raise EnvironmentProblem(
            f"all {BLOCKS} blocks of ports of this home are taken by runs that are not over",
            where=str(_path()),
            hint="Finish or cancel some, or remove old ones: `prodigy status` lists them.",
        )
    return free


def _without_those_of_runs_that_are_over(db: sqlite3.Connection, run_id: str) -> set[int]:
    others = [row["run_id"] for row in db.execute("SELECT DISTINCT run_id FROM block WHERE run_id <> ?", (run_id,))]
    for other in others:
        if _is_over(other):
            db.execute("DELETE FROM block WHERE run_id = ?", (other,))
    return {row["base"] for row in db.execute("SELECT base FROM block")}


def _is_over(run_id: str) -> bool:
    directory = run_directory(run_id)
    if not directory.is_dir():
        return True
    try:
        if is_held(directory):
            return False
        with closing(Store.open(directory)) as store:
            return store.run().status.startswith(_OVER)
    except ProdigyError:
        return False  # nobody knows: it keeps them
