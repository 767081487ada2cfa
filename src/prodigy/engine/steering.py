"""What may be asked of a run that goes on: hold, release, retry, another budget, more or fewer items at a time.

All of it goes through the run's database to the process that drives it, so it is the same from the terminal that
started the run, from another one, and from another program: `hold`, `release`, `retry`, `set_budget`,
`set_max_parallel`, `cancel`, `detach`. Each returns the number of the request; `is_done` tells whether it has been
obeyed. What was done is an event with the name of who wanted it.
"""

from __future__ import annotations

import getpass
import socket
from collections.abc import Sequence

from prodigy.errors import UsageError
from prodigy.state.items import ItemState
from prodigy.store.lock import is_held
from prodigy.store.store import Store


def who(way: str) -> str:
    """The user of this process as events name them, e.g. `ada@host via terminal`. way: what they use."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a user whom the system does not know
        name = "somebody"
    return f"{name}@{socket.gethostname()} via {way}"


def hold(store: Store, by: str) -> int:
    """Start nothing new until the run is released; what runs may finish. Raises UsageError when nobody drives it."""
    _require_driven(store, "Nothing of it runs. `prodigy resume` goes on with it.")
    return store.add_request("hold", {"by": by})


def release(store: Store, by: str) -> int:
    """Let a run go on that is held. Raises UsageError when nobody drives it."""
    _require_driven(store, f"Go on with it: prodigy resume {store.directory.name}")
    return store.add_request("release", {"by": by})


def retry(store: Store, items: Sequence[str], by: str) -> int:
    """Run dead items once more, by their ids, while their map goes on. Raises UsageError for one that is not dead."""
    _require_driven(store, f"Retry it: prodigy dlq retry {store.directory.name}")
    dead = dead_items(store)
    for item in items:
        if item not in dead:
            raise UsageError(
                f"{item} has no dead letter in run {store.directory.name}",
                hint=f"There are: {', '.join(sorted(dead)[:8])}" if dead else "No item of it has failed for good.",
            )
    return store.add_request("retry", {"by": by, "items": list(items)})


def dead_items(store: Store) -> set[str]:
    """The ids of the items with a dead letter."""
    rows = (row for fanout in store.fanouts() for row in store.items(fanout["path"]))
    return {row.item_id for row in rows if row.state is ItemState.DEAD and row.has_letter}


def set_budget(store: Store, usd: float, by: str) -> int:
    """Let `usd` dollars be what the run may cost in all."""
    run = store.directory.name
    _require_driven(store, f"Give it when you go on: prodigy resume {run} --budget {usd:g}")
    return store.add_request("set_budget", {"by": by, "usd": usd})


def set_max_parallel(store: Store, items: int, by: str) -> int:
    """Let so many items run at a time: more begin at once; of too many, those that run may finish."""
    run = store.directory.name
    _require_driven(store, f"Give it when you go on: prodigy resume {run} --max-parallel {items}")
    return store.add_request("set_max_parallel", {"by": by, "items": items})


def cancel(store: Store, by: str) -> int:
    """End what runs; the run can be resumed."""
    return store.add_request("cancel", {"by": by})


def detach(store: Store, by: str) -> int:
    """Let the run's process let go of it, so that one in the background goes on."""
    return store.add_request("detach", {"by": by})


def is_done(store: Store, request: int) -> bool:
    """Whether a request has been obeyed, or nobody is there any more who could."""
    return request not in (waiting.id for waiting in store.requests()) or not is_held(store.directory)


def _require_driven(store: Store, hint: str) -> None:
    if not is_held(store.directory):
        raise UsageError(f"no process drives run {store.directory.name}", hint=hint)
