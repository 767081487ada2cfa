"""Taking dead letters away for good, with the branches and refs that keep their work.

The database comes first: a letter is removed in a transaction, then its refs go. A crash between the two leaves refs of
an item that is dead and has no letter; the next purge of the run, of whatever letters, takes those away too. Such an
item stays dead: the run goes on to count it as failed. What its steps printed, the events, and commits that an agent
rewrote away (`refs/prodigy/<run>/kept`) stay until the run itself is cleaned.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from prodigy.engine import holding, refs
from prodigy.errors import EnvironmentProblem
from prodigy.git import worktrees
from prodigy.git.command import GitError
from prodigy.git.context import repository
from prodigy.git.repo import RefChange, Repo
from prodigy.state import events as ev
from prodigy.state.items import ItemState
from prodigy.store.letters import Record, bundle_path
from prodigy.store.lock import RunLock, take_helpers_lock
from prodigy.store.paths import run_directory
from prodigy.store.rows import RunRow
from prodigy.store.store import Store

_GIT_DOES_NOT_KNOW_THE_COMMIT = 129
_OWN_REF = re.compile(r"refs/prodigy/[^/]+/(?:attempts|snapshots)/(?P<owner>[^/]+)/a\d+")

Place = tuple[str, int]  # fan-out and ordinal of an item


@dataclass(frozen=True)
class Doomed:
    """A dead letter that may go. attempts: the item's newest attempt when it was looked at."""

    fanout: str
    ordinal: int
    item_id: str
    attempts: int
    branch: str | None


@dataclass(frozen=True)
class Kept:
    """A dead letter that stays, and why. has_work: for the work that only it holds."""

    item_id: str
    reason: str
    has_work: bool = False


@dataclass(frozen=True)
class Plan:
    """What a purge would do to a run. unmerged: branches with work that the run branch does not hold, which is lost."""

    run_id: str
    doomed: tuple[Doomed, ...]
    kept: tuple[Kept, ...]
    unmerged: tuple[str, ...]


@dataclass(frozen=True)
class Purged:
    """What a purge did. refs: the full names that are gone."""

    run_id: str
    item_ids: tuple[str, ...]
    kept: tuple[Kept, ...]
    refs: tuple[str, ...]

    @property
    def branches(self) -> tuple[str, ...]:
        return tuple(name.removeprefix("refs/heads/") for name in self.refs if name.startswith("refs/heads/"))


def plan(run_id: str, before: str | None) -> Plan:
    """Which letters of the run may go. before: only those whose last failure is older than this RFC 3339 time in UTC.

    Changes nothing. Raises RunLocked when a process works on the run, EnvironmentProblem when its repository is gone.
    """
    with RunLock(run_directory(run_id)), closing(Store.open(run_directory(run_id))) as store:
        return plan_in(store, before)


def plan_in(store: Store, before: str | None, *, careful: bool = False) -> Plan:
    """The same of an open run. careful: letters stay whose work no other ref reaches."""
    return _plan(_Scene(store), before, careful=careful)


def purge(planned: Plan) -> Purged:
    """Remove the letters of a plan that have not changed since, and their refs.

    Raises RunLocked when a process works on the run, EnvironmentProblem when refs can't be removed: the letters are
    gone then, and calling it again takes the refs away.
    """
    directory = run_directory(planned.run_id)
    with ExitStack() as stack:
        stack.enter_context(RunLock(directory))
        # A killed coordinator may have left a git call behind that still moves a ref.
        stack.callback(os.close, take_helpers_lock(directory))
        store = stack.enter_context(closing(Store.open(directory)))
        store.migrate()
        return purge_in(store, planned)


def purge_in(store: Store, planned: Plan) -> Purged:
    """The same of an open run, whose lock the caller holds, and the one of its helpers."""
    still = set(_plan(_Scene(store), None).doomed)
    chosen = [one for one in planned.doomed if one in still]
    if chosen:
        store.record(*map(_removed, chosen))
    for one in chosen:
        if one.branch is not None:
            bundle_path(store.directory, one.branch).unlink(missing_ok=True)
    gone = _drop_refs(_Scene(store))
    changed = tuple(Kept(one.item_id, "it has changed meanwhile") for one in planned.doomed if one not in still)
    return Purged(planned.run_id, tuple(one.item_id for one in chosen), planned.kept + changed, gone)


def only_theirs(store: Store, doomed: Iterable[Doomed]) -> list[str]:
    """The commits that nothing holds but the refs of these letters; those that others of them reach are left out."""
    scene = _Scene(store)
    going = {name: oid for one in doomed for name, oid in scene.own_refs(one).items()}
    return holding.newest(holding.unheld(scene.repo, going.values(), lambda name: name not in going))


def _removed(one: Doomed) -> ev.DlqItemRemoved:
    return ev.DlqItemRemoved(fanout=one.fanout, ordinal=one.ordinal, item_id=one.item_id, reason="purged")


class _Scene:
    """A run, its letters, and the refs of its items in the repository.

    Raises EnvironmentProblem when that is gone: without it nobody can tell what work would be lost.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.row: RunRow = store.run()
        self.letters: list[Record] = store.dead_letters()
        common_dir = Path(self.row.common_dir)
        if not common_dir.is_dir():
            raise EnvironmentProblem(
                f"the repository of run {self.row.id} is not where it was",
                where=str(common_dir),
                hint="Nothing was removed: the branches that keep the work are in there. Put it back, then try again.",
            )
        self.repo: Repo = repository(common_dir)
        self.branches = f"{self.row.branch.removesuffix('/run')}/items/"
        self.refs = self._listed()
        self.work = _Work(store, self.refs)
        trees = worktrees.listed(self.repo)
        self.checked_out = {tree.branch: tree.root for tree in trees if tree.branch}

    def _listed(self) -> dict[str, str]:
        """name -> object id of every branch, attempt and snapshot of the run's items."""
        own = f"refs/prodigy/{self.row.id}/"
        wanted = (self.branches, f"{own}attempts/", f"{own}snapshots/")
        lines = self.repo.run("for-each-ref", "--format=%(objectname) %(refname)", *wanted).text.splitlines()
        return {name: oid for oid, _, name in (line.partition(" ") for line in lines)}

    def unmerged(self) -> set[str]:
        """The items' branches with commits that the run branch does not hold."""
        done = self.repo.run(
            *("for-each-ref", "--format=%(refname)", f"--no-merged={self.row.tip}", self.branches),
            ok=(0, _GIT_DOES_NOT_KNOW_THE_COMMIT),
        )
        return set(done.text.splitlines()) if done.code == 0 else {n for n in self.refs if n.startswith("refs/heads/")}

    def own_refs(self, one: Doomed) -> dict[str, str]:
        """The refs that go with a letter: its branch, its attempts and snapshots."""
        if one.branch is None:
            return {}
        name = f"refs/heads/{one.branch}"
        own = {name: self.refs[name]} if name in self.refs else {}
        return own | self.work.own_refs((one.fanout, one.ordinal), one.branch)

    def why_kept(self, branch: str | None, place: Place) -> str | None:
        """Why the branch of an item must not go, if so: somebody uses it."""
        name = f"refs/heads/{branch}"
        if branch is None or name not in self.refs:
            return None
        if name in self.checked_out:
            return f"its branch {branch} is checked out in {self.checked_out[name]}; switch to another one there first"
        if self.refs[name] not in self.work.commits(place, branch):
            return f"its branch {branch} was moved since; merge or delete it yourself first"
        return None


@dataclass
class _Known:
    """What the events say of an item: the branch that keeps its work, the commits that we have put there."""

    branch: str | None = None
    commits: set[str] = field(default_factory=set)


class _Work:
    """Whose refs are whose. The names are taken from the records: how they were made then is what counts."""

    def __init__(self, store: Store, listed: dict[str, str]) -> None:
        self._of_owner: dict[str, dict[str, str]] = defaultdict(dict)
        for name, oid in listed.items():
            if own := _OWN_REF.fullmatch(name):
                self._of_owner[own["owner"]][name] = oid
        self._known: dict[Place, _Known] = defaultdict(_Known)
        types = (ev.AgentFailed.type, ev.DlqItemAdded.type)
        for record in store.events(types=types) if listed else ():
            event = record["event"]
            assert isinstance(event, dict)
            known = self._known[event["fanout"], event["ordinal"]]
            known.branch = event.get("branch") or known.branch
            known.commits |= {event[name] for name in ("head", "snapshot") if event.get(name)}

    def branch(self, place: Place) -> str | None:
        return self._known[place].branch

    def commits(self, place: Place, branch: str) -> set[str]:
        """Commits that the branch of an item holds when nobody but us has moved it."""
        return self._known[place].commits | set(self.own_refs(place, branch).values())

    def own_refs(self, place: Place, branch: str) -> dict[str, str]:
        """The attempt and snapshot refs of an item, name -> object id."""
        name = branch.rpartition("/items/")[2]
        owners = (refs.owner(*place), refs.owner("", place[1]))  # the first fan-out's items have short names
        return next((self._of_owner[owner] for owner in owners if name.startswith(f"{owner}-")), {})


def _plan(scene: _Scene, before: str | None, *, careful: bool = False) -> Plan:
    doomed: list[Doomed] = []
    kept: list[Kept] = []
    for letter in scene.letters:
        if before is not None and (letter["last_attempt"] or "") >= before:
            continue
        place, branch = (letter["fanout"], letter["ordinal"]), letter["worktree_artifacts"]["branch_name"]
        if letter["state"] != ItemState.DEAD:
            reason: str | None = f"it is being retried; go on with: prodigy resume {scene.row.id}"
        else:
            reason = scene.why_kept(branch, place)
        if reason:
            kept.append(Kept(letter["item_id"], reason))
        else:
            doomed.append(Doomed(*place, letter["item_id"], letter["attempts"], branch))
    if careful:
        with_work = _with_work(scene, doomed)
        reason = "work that is nowhere else is in its branch"
        kept += [Kept(one.item_id, f"{reason} {one.branch}", has_work=True) for one in with_work]
        doomed = [one for one in doomed if one not in with_work]
    unmerged = scene.unmerged() if doomed else set()
    lost = tuple(one.branch for one in doomed if one.branch and f"refs/heads/{one.branch}" in unmerged)
    return Plan(scene.row.id, tuple(doomed), tuple(kept), lost)


def _with_work(scene: _Scene, doomed: list[Doomed]) -> list[Doomed]:
    """Those with commits that only they hold."""
    own = {one: scene.own_refs(one) for one in doomed}
    going = {name: oid for refs_of in own.values() for name, oid in refs_of.items()}
    lost = holding.unheld(scene.repo, going.values(), lambda name: name not in going)
    return [one for one, refs_of in own.items() if any(oid in lost for oid in refs_of.values())]


def _drop_refs(scene: _Scene) -> tuple[str, ...]:
    """Remove what is left of items that are dead and have no letter any more: of this purge, and of one that was
    killed before it came to this."""
    if not scene.refs:
        return ()
    changes: list[RefChange] = []
    for place in _purged(scene):
        branch = scene.work.branch(place)
        if branch is None or scene.why_kept(branch, place):
            continue
        own = {f"refs/heads/{branch}": scene.refs.get(f"refs/heads/{branch}"), **scene.work.own_refs(place, branch)}
        changes += [RefChange(name, oid, None) for name, oid in own.items() if oid is not None]
    try:
        scene.repo.update_refs(changes)
    except GitError as error:
        raise EnvironmentProblem(
            f"the dead letters are removed, but not their branches: {error.what}",
            where=error.where,
            hint=f"Mend that, then: prodigy dlq clear {scene.row.id}",
        ) from error
    return tuple(change.name for change in changes)


def _purged(scene: _Scene) -> Iterator[Place]:
    with_letter = {(letter["fanout"], letter["ordinal"]) for letter in scene.letters}
    for fanout in scene.store.fanouts():
        for item in scene.store.items(fanout["path"]):
            place = (fanout["path"], item.ordinal)
            if item.state is ItemState.DEAD and place not in with_letter:
                yield place
