"""What of one run may go, and taking it away.

Work is held when a branch or tag of the user reaches it, or a ref below `refs/prodigy/kept/`. What nothing holds stays,
or with `force` gets such a ref before anything goes. What a run that could go on needs stays with it: only the run as a
whole can go, by `force`.
"""

from __future__ import annotations

import datetime as dt
import shutil
from functools import cached_property
from pathlib import Path

from prodigy.engine import bundling, cleaning, holding, purging
from prodigy.engine.clean_parts import DLQ, EVENTS, LOGS, RUNS, Finding, Wanted
from prodigy.engine.event_archive import archive
from prodigy.engine.refs import own_prefixes
from prodigy.executors.allowance import disk_usage
from prodigy.git import worktrees
from prodigy.git.context import repository
from prodigy.git.repo import RefChange, Repo
from prodigy.state import events as ev
from prodigy.store import trail
from prodigy.store.rows import RunRow
from prodigy.store.store import Store

_COMPLETED = ("completed", "completed_with_failures")
_NAMED = 3  # refs that a message names
_FORCE = "--force removes it all the same"


class OpenRun:
    """A run nobody works on. Unless it is a dry run, the caller holds its lock. Its methods raise ProdigyError."""

    def __init__(self, store: Store, wanted: Wanted) -> None:
        self._store = store
        self._wanted = wanted
        self._row: RunRow = store.run()
        self._letters = store.dead_letter_count()

    @property
    def _id(self) -> str:
        return self._row.id

    @cached_property
    def _repo(self) -> Repo | None:
        """None when it is not where it was."""
        common_dir = Path(self._row.common_dir)
        return repository(common_dir) if common_dir.is_dir() else None

    # Dead letters ------------------------------------------------------------------------------------------

    def dead_letters(self) -> list[Finding]:
        """Those of old failures; their age counts, not the run's."""
        if not self._letters:
            return []
        if (why := self._why_it_goes_on()) and not self._wanted.force:
            # What is said of the run as a whole says this too.
            return [] if RUNS in self._wanted.parts else [self._kept(DLQ, "the dead letters", f"{why}; {_FORCE}")]
        repo = self._repo
        if repo is None:
            return [self._kept(DLQ, "the dead letters", self._astray())]
        planned = purging.plan_in(self._store, self._before(), careful=not self._wanted.force)
        found = [self._kept(DLQ, f"dead letter {one.item_id}", self._why_letter_stays(one)) for one in planned.kept]
        if not planned.doomed:
            return found
        only, count = purging.only_theirs(self._store, planned.doomed), len(planned.doomed)
        refs = tuple(holding.name_for(repo, self._id, commit) for commit in only)
        if not self._wanted.dry_run:
            holding.keep(repo, self._id, only)
            purging.purge_in(self._store, planned)
        self._letters -= count
        return [*found, Finding(DLQ, self._id, "dead letters" if count > 1 else "dead letter", count, refs=refs)]

    def _why_letter_stays(self, one: purging.Kept) -> str:
        return f"{one.reason}; --force keeps that in a ref and removes the letter" if one.has_work else one.reason

    def _before(self) -> str | None:
        age = self._wanted.older_than_s
        if age is None:
            return None
        try:
            then = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=age)
        except OverflowError:
            return ""  # nothing is as old
        return then.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    # The whole ---------------------------------------------------------------------------------------------

    def as_a_whole(self) -> Finding:
        """The run with its refs and worktrees; its directory is left to the caller, who has it open."""
        directory, repo, force = self._store.directory, self._repo, self._wanted.force
        if not force and (why := self._why_it_is_not_over()):
            return self._kept(RUNS, "the run", f"{why}; {_FORCE}")
        size = disk_usage(directory)
        if repo is None:
            if not force:
                return self._kept(RUNS, "the run", f"{self._astray()}; {_FORCE}")
            return Finding(RUNS, self._id, "the run", size_bytes=size)
        if where := self._checked_out(repo):
            return self._kept(RUNS, "the run", f"{where}; switch to another branch there first")
        lost = self._only_its_own(repo)
        if lost and not force:
            return self._kept(RUNS, "the run", self._unheld(repo, lost))
        lefts = [left for left in cleaning.left_on_disk(repo.common_dir) if self._is_mine(left)]
        size += sum(disk_usage(left.path) for left in lefts)
        how = cleaning.How(force=force, dry_run=self._wanted.dry_run, careful=True)
        verdicts = cleaning.clean_held(repo.common_dir, lefts, how)
        if stays := next((one for one in verdicts if one.kept), None):
            return self._kept(RUNS, "the run", f"its worktree {stays.left.path} stays: {stays.kept}")
        kept = (*(name for one in verdicts for name in one.refs), *self._keep(repo, lost))
        return Finding(RUNS, self._id, "the run", size_bytes=size, refs=tuple(dict.fromkeys(kept)))

    def _is_mine(self, left: cleaning.Left) -> bool:
        return left.run_id == self._id and left.status != cleaning.NAMED

    def _keep(self, repo: Repo, lost: list[str]) -> tuple[str, ...]:
        """Refs for what nothing else holds; then the run's own go."""
        if self._wanted.dry_run:
            return tuple(holding.name_for(repo, self._id, commit) for commit in lost)
        names = holding.keep(repo, self._id, lost)
        own = self._refs(repo)
        repo.update_refs([RefChange(name, oid, None) for name, (_, oid) in own.items()])
        return names

    def _refs(self, repo: Repo) -> dict[str, tuple[str, str]]:
        """All refs of the run: name -> (type of the object, its id)."""
        wanted = "--format=%(objecttype) %(objectname) %(refname)"
        lines = repo.run("for-each-ref", wanted, *own_prefixes(self._id, self._store.run().branch)).text.splitlines()
        return {name: (kind, oid) for kind, oid, name in (line.split(" ", 2) for line in lines)}

    def _only_its_own(self, repo: Repo) -> list[str]:
        """The newest commits that would be lost with the run's refs."""
        tips = {oid for kind, oid in self._refs(repo).values() if kind == "commit"}
        superseded = bundling.existing(repo, trail.merged_commits(self._store))
        return holding.newest(holding.unheld(repo, tips, holding.is_of_the_user, superseded))

    def _unheld(self, repo: Repo, lost: list[str]) -> str:
        names = sorted(name for name, (_, oid) in self._refs(repo).items() if oid in lost)
        shown = ", ".join(name.removeprefix("refs/heads/") for name in names[:_NAMED])
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return (
            f"it has work that no branch of yours has: {shown}{more}; merge it (prodigy worktree merge {self._id}), or"
            f" --force keeps that in refs/prodigy/kept/{self._id}/ and removes the run"
        )

    def _checked_out(self, repo: Repo) -> str | None:
        own = own_prefixes(self._id, self._store.run().branch)[0]
        for tree in worktrees.listed(repo):
            if tree.branch and tree.branch.startswith(own):
                return f"its branch {tree.branch.removeprefix('refs/heads/')} is checked out in {tree.root}"
        return None

    # Parts -------------------------------------------------------------------------------------------------

    def logs(self) -> list[Finding]:
        """What its steps printed, with all else that is in their directories."""
        directory = self._store.directory / "steps"
        if not directory.is_dir():
            return []
        if why := self._why_it_is_needed():
            return [self._kept(LOGS, "the output of its steps", why)]
        size, (row,) = disk_usage(directory), self._store.ask("SELECT count(*) AS n FROM step")
        if not self._wanted.dry_run:
            shutil.rmtree(directory)
            self._store.record(ev.RunCleaned(part=LOGS, number=row["n"]))
        return [Finding(LOGS, self._id, "step output", row["n"], size)]

    def events(self) -> list[Finding]:
        """Its audit trail, but for the few that are still asked for."""
        number, size = trail.spare(self._store)
        if not number:
            return []
        if why := self._why_it_is_needed():
            return [self._kept(EVENTS, "the events", why)]
        archived = None
        if not self._wanted.dry_run:
            if self._wanted.archive is not None:
                archived = str(archive(self._store, self._wanted.archive))
            self._store.cut_trail(ev.RunCleaned(part=EVENTS, number=number))
        return [Finding(EVENTS, self._id, "events", number, size, archived=archived)]

    # Why it stays ------------------------------------------------------------------------------------------

    def _kept(self, part: str, what: str, why: str) -> Finding:
        return Finding(part, self._id, what, kept=why)

    def _astray(self) -> str:
        return f"its repository is not where it was, {self._row.common_dir}"

    def _why_it_goes_on(self) -> str | None:
        if self._row.status in _COMPLETED:
            return None
        status = "is interrupted" if self._row.status in ("new", "running") else f"is {self._row.status}"
        status = "has failed" if self._row.status == "failed" else status
        return f"it {status}, and goes on with: prodigy resume {self._id}"

    def _why_it_is_not_over(self) -> str | None:
        if why := self._why_it_goes_on():
            return why
        if not self._letters:
            return None
        letters = "a dead letter" if self._letters == 1 else f"{self._letters} dead letters"
        return (
            f"it has {letters}, and goes on with: prodigy dlq retry {self._id}; `prodigy dlq clear {self._id}` gives up"
        )

    def _why_it_is_needed(self) -> str | None:
        """Why a resume, a retry or the final merge may still need what its steps left."""
        if why := self._why_it_is_not_over():
            return f"{why}; `prodigy clean state --force` removes the whole run"
        row, repo = self._row, self._repo
        if row.merged is not None or row.tip == row.base or repo is None:
            return None
        if bundling.existing(repo, [row.tip]) and not holding.unheld(repo, [row.tip], holding.is_of_the_user):
            return None
        return f"its result is not merged; merge it with: prodigy worktree merge {self._id}"
