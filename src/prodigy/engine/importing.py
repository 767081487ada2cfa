"""A run moves in: out of the file that `transfer` wrote, into the repository where it is to go on.

Everything is unpacked beside the runs, checked there, and made one of this repository; then its commits and refs go
into the repository, and last its directory gets its name. A process that is killed on the way leaves a run that is
not there, and refs that the next import finds as it wants them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from prodigy import __version__
from prodigy.engine import archive
from prodigy.engine import refs as names
from prodigy.engine.archive import BUNDLE, DATABASE, Archive, Manifest
from prodigy.engine.bundling import Looked, look_through
from prodigy.engine.cleaning import left_on_disk
from prodigy.engine.early_merge import early_merge
from prodigy.engine.foreign_state import take_over
from prodigy.engine.lodging import workspaces
from prodigy.engine.run import Options
from prodigy.engine.summary import summarise
from prodigy.engine.transfer import STDIO, make_one_file, staged
from prodigy.errors import RunLocked, UsageError
from prodigy.faults import point
from prodigy.git import worktrees
from prodigy.git.context import discover
from prodigy.git.private import PrivateGit
from prodigy.git.refs import is_oid
from prodigy.git.repo import Repo
from prodigy.state import events as ev
from prodigy.store import index
from prodigy.store.database import SCHEMA_VERSION, connect, transaction
from prodigy.store.lock import RunLock
from prodigy.store.paths import ensure_home, run_directory
from prodigy.store.rows import RunRow
from prodigy.store.store import Store
from prodigy.workflow.model import Workflow

_IMPORT = ".import"  # below the home's runs: what an import writes before it is whole
_GIT = "git"
_NOTHING = "Nothing was changed. Export the run again."


@dataclass(frozen=True)
class Imported:
    """A run that goes on here. status: as `prodigy status` tells it. host: where it came from."""

    run_id: str
    workflow: str
    status: str
    repo: str
    host: str
    warnings: tuple[str, ...]


def import_run(source: Path | IO[bytes], where: Path) -> Imported:
    """Bring an exported run into the repository around `where`, where it can be resumed: wholly, or nothing changes.

    Raises UsageError when the archive is not in order, when the run is here already or does not belong to this
    repository; EnvironmentProblem when git, the disk or the repository is not as needed; RunLocked when another
    import is going on.
    """
    context = discover(where)
    runs = ensure_home() / "runs"
    with ExitStack() as stack:
        name, stream = (
            (str(source), stack.enter_context(_opened(source))) if isinstance(source, Path) else (STDIO, source)
        )
        stack.enter_context(_only_import(runs / _IMPORT))
        staging = stack.enter_context(staged(runs / _IMPORT / "new"))
        opened = Archive(stream, name)
        manifest = opened.manifest
        _require_place(manifest, context.repo)
        unpacked, state = staging / "unpacked", staging / manifest.run_id
        for folder in (unpacked, state):
            folder.mkdir(mode=0o700)
        opened.unpack(unpacked)
        _arrange(unpacked, state, manifest.run_id)
        refs = _take_back(state, manifest)
        bundle = unpacked / BUNDLE if BUNDLE in manifest.paths() else None
        looked = look_through(context.repo, manifest, _branch(state), refs, bundle, staging / "objects")
        warnings = [*_elsewhere(manifest.run_id, context.repo), *_settle(state, manifest, looked, where)]
        os.sync()  # all of it is on the disk before anything says so
        point("import:checked")
        looked.take()
        point("import:refs")
        state.rename(runs / manifest.run_id)
        point("import:moved")
    with closing(Store.open(run_directory(manifest.run_id))) as store:
        row, status = store.run(), str(summarise(store)["status"])
    index.note(row)
    return Imported(row.id, row.workflow, status, row.repo, manifest.host, tuple(warnings))


def _opened(source: Path) -> IO[bytes]:
    try:
        return source.open("rb")
    except OSError as error:
        raise UsageError(
            f"it can't be read: {error.strerror}", where=str(source), hint="Name the file that `prodigy export` wrote."
        ) from error


@contextmanager
def _only_import(directory: Path) -> Iterator[None]:
    """One import at a time in a home: what lies in its directory is then nobody's."""
    directory.mkdir(mode=0o700, exist_ok=True)
    try:
        lock = RunLock(directory)
        lock.acquire()
    except RunLocked as locked:
        raise RunLocked("another import is going on here", where=str(directory), hint="Wait for it to end.") from locked
    try:
        yield
    finally:
        lock.release()


def _branch(state: Path) -> str:
    with closing(Store.open(state)) as store:
        return store.run().branch


def _require_place(manifest: Manifest, repo: Repo) -> None:
    """The run is not here yet, nothing of it is in the way, and the repository is the one it belongs to."""
    run_id = manifest.run_id
    if manifest.schema_version > SCHEMA_VERSION:
        raise UsageError(
            f"the run was exported by a newer version of Prodigy ({manifest.prodigy_version}; this is {__version__})",
            hint="Update Prodigy, then try again.",
        )
    if os.path.lexists(run_directory(run_id)):
        raise UsageError(f"run {run_id} is here already", hint=f"`prodigy resume {run_id}` goes on with it.")
    if left := [left for left in left_on_disk(repo.common_dir) if left.run_id == run_id]:
        raise UsageError(
            f"worktrees of run {run_id} are still here, from an earlier time: their work could be taken for the run's",
            where=str(left[0].path),
            hint=f"Save what you need, then remove them: prodigy worktree clean {run_id}",
        )
    if repo.resolve(manifest.base) is None:
        raise UsageError(
            f"this repository does not have the commit the run began at, {manifest.base}",
            where=str(repo.root),
            hint=f"If it is the right one, fetch a branch that has the commit: git fetch origin {manifest.base}",
        )


def _elsewhere(run_id: str, repo: Repo) -> list[str]:
    """Whether another home has worktrees of the run in this repository; those of this one are refused."""
    for tree in worktrees.listed(repo):
        if tree.root.name.startswith(f"{run_id}-"):
            already = f"the run has a worktree in this repository already, {tree.root}, from another PRODIGY_HOME"
            return [f"{already}: if it goes on there as well, steps run twice, and both move the same branches"]
    return []


def _arrange(unpacked: Path, state: Path, run_id: str) -> None:
    """What becomes the run's directory, without what the import alone needs."""
    for name in (archive.STEPS, archive.DISPLACED, *archive.EXTRAS):
        if (unpacked / name).exists():
            (unpacked / name).rename(state / name)
    take_over(unpacked / DATABASE, state, run_id)


def _take_back(state: Path, manifest: Manifest) -> Mapping[str, str]:
    """The refs that the run is to have: as they were, but for a merge on behalf of a step of the run itself that has
    no end on record. The worktree is gone, so that step runs again, and must not find its own commits there."""
    with closing(Store.open(state)) as store:
        moved = early_merge(store)
        if moved is None:
            return manifest.refs
        old, new = moved
        row = store.run()
        if not (is_oid(old) and is_oid(new)) or new not in (row.tip, *_announced(store)):
            raise UsageError("the events in the archive tell of another merge than its tables", hint=_NOTHING)
        with closing(connect(state / DATABASE)) as db, transaction(db):
            db.execute("DELETE FROM merge_intent")
            db.execute("UPDATE run SET tip = ?", (old,))
        kept = names.kept_ref(manifest.run_id, new)
        store.record(ev.Warned(message=f"what a running step had merged is taken back, for it runs again; see {kept}"))
    return {**manifest.refs, row.branch: old, kept: new}


def _announced(store: Store) -> tuple[str, ...]:
    intent = store.merge_intent()
    return (intent.new,) if intent else ()


def _settle(state: Path, manifest: Manifest, looked: Looked, where: Path) -> list[str]:
    """Make the run one of this repository; what the user should know."""
    repo = looked.repo
    with closing(Store.open(state)) as store:
        row = store.run()
        if row.base != manifest.base:
            raise UsageError(
                "manifest and database of the archive name different commits as the run's base",
                hint="Export the run again where it was made.",
            )
        _require_commits(store, row, manifest, looked)
        warnings = _moved_in(store, row, where)
        store.record(
            ev.JobImported(repo=str(repo.root), common_dir=str(repo.common_dir), host=manifest.host),
            *(ev.Warned(message=warning) for warning in warnings),
        )
        if row.status != "new":
            PrivateGit.create(state / _GIT, repo, row.base)
        warnings += _lacking(store, row, repo)
    make_one_file(state / DATABASE)
    return warnings


def _require_commits(store: Store, row: RunRow, manifest: Manifest, looked: Looked) -> None:
    if row.status != "new" and row.branch not in manifest.refs:
        raise UsageError("the archive lacks the run's branch", hint=_NOTHING)
    intent, final = store.merge_intent(), store.final_merge_intent()
    wanted = [row.base, row.tip, row.head, row.snapshot, intent and intent.new, final and final.new]
    if lacking := looked.lacks(oid for oid in wanted if oid):
        raise UsageError(
            f"the archive lacks the commit {lacking[0]}, which the run needs",
            hint="Nothing was changed. Export the run again, where its repository has all its commits.",
        )


def _moved_in(store: Store, row: RunRow, where: Path) -> list[str]:
    """Input files are looked for where the user stood: here, if that place is not on this machine."""
    options = Options.from_json(row.options)
    if Path(options.started_in).is_dir():
        return []
    here = str(where.absolute())
    with closing(connect(store.directory / DATABASE)) as db, transaction(db):
        db.execute("UPDATE run SET options = ?", (replace(options, started_in=here).to_json(),))
    return [
        f"the run was started in {json.dumps(options.started_in)}: what it still reads from there is read from {here}"
    ]


def _lacking(store: Store, row: RunRow, repo: Repo) -> list[str]:
    """What the run will want from this repository and its checkout, and will not find."""
    warnings = []
    if row.target is not None and repo.read_ref(row.target) is None:
        name = row.target.removeprefix("refs/heads/")
        warnings.append(
            f"the branch {name}, which the run is to be merged into, is not in this repository: git branch {name}"
            f" origin/{name}"
        )
    workflow = Workflow.model_validate_json(store.workflow()[1])
    included = dict.fromkeys(path for wanted in workspaces(workflow) for path in wanted.include)
    if missing := [path for path in included if not (repo.root / path).exists()]:
        warnings.append(f"`workspace.include` names {', '.join(missing)}, which this checkout does not have")
    return warnings
