"""The names of our refs. Ordinals and run ids are ours and safe; an item's name only ever appears as a slug."""

from __future__ import annotations

import re

from prodigy.secrets import mask

BRANCH_PREFIX = "prodigy"
KEPT = "refs/prodigy/kept/"  # of no run: what was kept when runs were cleaned away


_RUN_BRANCH = re.compile(r"refs/heads/[A-Za-z0-9_/-]+/\d{8}-\d{6}-[a-z0-9]{4}/(?:run|items/.*|named/.*)")


def run_branch(run_id: str, prefix: str | None = None) -> str:
    """prefix: what the configuration says our branches begin with."""
    return f"refs/heads/{prefix or BRANCH_PREFIX}/{run_id}/run"


def prefix_of(branch: str) -> str:
    """What the branches of a run begin with. branch: the run branch."""
    return branch.removeprefix("refs/heads/").rsplit("/", 2)[0]


def is_of_a_run(name: str) -> bool:
    """Whether a ref has the name of a run's branch, whatever it begins with."""
    return name.startswith(f"refs/heads/{BRANCH_PREFIX}/") or _RUN_BRANCH.fullmatch(name) is not None


def owner(fanout: str, ordinal: int) -> str:
    """The part of our refs that names an item: `0042`, with its fan-out's path in front unless that is the first
    one of the first iteration, which most runs have alone."""
    return f"{ordinal:04d}" if fanout == "" else f"{fanout.replace('/', '-')}-{ordinal:04d}"


def item_branch(branch: str, item: str, label: str) -> str:
    """For people: the current attempt's work, kept when the item fails, gone once merged. branch: the run branch.
    item: see `owner`."""
    return f"{branch.removesuffix('/run')}/items/{item}-{slug(mask(label))}"


def attempt_ref(run_id: str, item: str, attempt: int) -> str:
    """Every commit of the attempt is reachable from here until it is merged."""
    return f"refs/prodigy/{run_id}/attempts/{item}/a{attempt}"


def snapshot_ref(run_id: str, owner: str) -> str:
    """The uncommitted state at the last step's end. `owner` is `run` or `<item>/a<N>`."""
    return f"refs/prodigy/{run_id}/snapshots/{owner}"


def check_ref(run_id: str) -> str:
    """What the merge queue checks, until it is merged."""
    return f"refs/prodigy/{run_id}/check"


def kept_ref(run_id: str, commit: str) -> str:
    """A commit that an agent rewrote away: never lost before the run is cleaned."""
    return f"refs/prodigy/{run_id}/kept/{commit}"


def cleaned_ref(run_id: str, commit: str) -> str:
    """Work that nothing else held when its run, dead letter or worktree was cleaned away: it stays until somebody
    deletes it."""
    return f"{KEPT}{run_id}/{commit[:12]}"


def stashed_ref(run_id: str, commit: str) -> str:
    """An entry of the stash that appeared while agents worked. It may be the user's own: it stays on this machine."""
    return f"refs/prodigy/{run_id}/stashed/{commit}"


def own_prefixes(run_id: str, branch: str) -> tuple[str, str]:
    """Where the refs of a run are, and nothing else is. branch: the run branch."""
    return branch.removesuffix("run"), f"refs/prodigy/{run_id}/"


def slug(text: str, limit: int = 40) -> str:
    """`text` as one lower-case ref component; never empty."""
    return re.sub(r"[^a-z0-9]+", "-", text.casefold())[:limit].strip("-") or "item"
