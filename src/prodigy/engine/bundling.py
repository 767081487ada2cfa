"""The commits and refs of a run as a git bundle: made from one repository, looked through and taken into another."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prodigy.engine import refs as names
from prodigy.engine.archive import Manifest
from prodigy.errors import EnvironmentProblem, UsageError
from prodigy.git import alternates
from prodigy.git.command import GitError
from prodigy.git.refs import is_ref_name
from prodigy.git.repo import ANY, RefChange, Repo

_TIMEOUT_S = 3600.0  # all commits of a long run, on a slow disk
_OID = re.compile(r"\b[0-9a-f]{40}(?:[0-9a-f]{24})?\b")


def belongs(name: str, run_id: str, branch: str) -> bool:
    """Whether `name` is a ref that only this run may have. branch: the run branch."""
    return is_ref_name(name) and name.startswith(names.own_prefixes(run_id, branch))


# Out -------------------------------------------------------------------------------------------------------


def refs_of(repo: Repo, run_id: str, branch: str) -> dict[str, str]:
    """Every ref of the run that holds a commit: full name -> commit. branch: the run branch."""
    wanted = "--format=%(objecttype) %(objectname) %(refname)"
    lines = repo.run("for-each-ref", wanted, *names.own_prefixes(run_id, branch)).text.splitlines()
    found = (line.split(" ", 2) for line in lines)
    stashed = names.stashed_ref(run_id, "")
    return {name: oid for kind, oid, name in found if kind == "commit" and not name.startswith(stashed)}


def existing(repo: Repo, commits: Iterable[str], env: Mapping[str, str] | None = None) -> set[str]:
    """Those of `commits` that the repository has."""
    wanted = "".join(f"{oid}\n" for oid in commits)
    answer = repo.run("cat-file", "--batch-check", stdin=wanted.encode(), env=env, timeout_s=_TIMEOUT_S).text
    return {line.split(" ")[0] for line in answer.splitlines() if line.split(" ")[1:2] == ["commit"]}


def keep_unnamed(repo: Repo, run_id: str, branch: str, base: str, commits: Iterable[str]) -> None:
    """Give every commit that only the database names a ref: a bundle has what refs lead to, and nothing else."""
    known = existing(repo, commits)
    wanted = [*sorted(known), f"^{base}", *(f"^{oid}" for oid in set(refs_of(repo, run_id, branch).values()))]
    loose = set(_rev_list(repo, wanted)) & known
    repo.update_refs([RefChange(names.kept_ref(run_id, oid), ANY, oid) for oid in sorted(loose)])


def make_bundle(repo: Repo, file: Path, base: str, refs: Mapping[str, str]) -> bool:
    """Write what the refs hold beyond `base` into `file`; False, and no file, when that is nothing."""
    if not _rev_list(repo, [*refs.values(), f"^{base}"], "--max-count=1"):
        return False
    wanted = "".join(f"{line}\n" for line in (*refs, f"^{base}"))
    repo.run(*("bundle", "create", "--quiet", str(file), "--stdin"), stdin=os.fsencode(wanted), timeout_s=_TIMEOUT_S)
    return True


def _rev_list(repo: Repo, wanted: Iterable[str], *options: str) -> list[str]:
    stdin = "".join(f"{line}\n" for line in wanted).encode()
    return repo.run("rev-list", *options, "--stdin", stdin=stdin, timeout_s=_TIMEOUT_S).text.splitlines()


# In --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Looked:
    """Commits that were found to be in order and are not in the repository yet. objects: the directory that has them,
    None when the refs need no new ones. refs: full name -> commit."""

    repo: Repo
    objects: Path | None
    refs: Mapping[str, str]

    def lacks(self, commits: Iterable[str]) -> list[str]:
        """Those of `commits` that neither the repository nor the new objects have."""
        wanted = set(commits)
        return sorted(wanted - existing(self.repo, wanted, _beside(self.objects)))

    def take(self) -> None:
        """Bring the commits into the repository, and then its refs to them: all refs or none."""
        if self.objects is not None:
            _move_packs(self.objects / "pack", self.repo.common_dir / "objects" / "pack")
        now = {name: self.repo.read_ref(name) for name in self.refs}
        self.repo.update_refs([RefChange(name, now[name], oid) for name, oid in self.refs.items()])


def look_through(
    repo: Repo, manifest: Manifest, branch: str, refs: Mapping[str, str], bundle: Path | None, objects: Path
) -> Looked:
    """Check refs and commits of an imported run without changing the repository.

    refs: those that the run is to have here. objects: a directory that is made, for what the bundle brings.
    Raises UsageError for refs that are not the run's own or are there already with other commits, and for commits
    that are damaged or missing; EnvironmentProblem when the repository lacks commits that the run builds on.
    """
    run_id = manifest.run_id
    if foreign := sorted(name for name in {**manifest.refs, **refs} if not belongs(name, run_id, branch)):
        raise UsageError(
            f"the archive has a ref that is not the run's own: {foreign[0]!r}", hint="Nothing was changed."
        )
    if taken := [name for name, oid in refs.items() if repo.read_ref(name) not in (None, oid)]:
        raise UsageError(
            f"the repository has {taken[0]} already, at another commit",
            where=str(repo.root),
            hint=f"The run, or an older state of it, was here before. To replace it, delete its refs first:"
            f" git for-each-ref --format='delete %(refname)' {' '.join(names.own_prefixes(run_id, branch))}"
            " | git update-ref --stdin",
        )
    if bundle is None:
        looked = Looked(repo, None, refs)
    else:
        with _damage():
            _unpack(repo, bundle, manifest.refs, objects)
        looked = Looked(repo, objects, refs)
    if lacking := looked.lacks(refs.values()):
        raise UsageError(
            f"the archive lacks the commit {lacking[0]}, which a ref of the run names",
            hint="Export the run again where it was made.",
        )
    return looked


def _unpack(repo: Repo, bundle: Path, refs: Mapping[str, str], objects: Path) -> None:
    """The bundle's objects into `objects`, each of them looked at."""
    heads = (line.partition(" ") for line in repo.run("bundle", "list-heads", str(bundle)).text.splitlines())
    if odd := sorted(name for oid, _, name in heads if refs.get(name) != oid):
        raise UsageError(
            f"the archive brings a ref that its manifest does not name: {odd[0]!r}", hint="Nothing was changed."
        )
    _require_prerequisites(repo, bundle)
    (objects / "pack").mkdir(mode=0o700, parents=True)
    alternates.write(objects, repo.common_dir / "objects")
    env = _beside(objects)
    repo.run("bundle", "unbundle", str(bundle), env=env, timeout_s=_TIMEOUT_S)
    for pack in sorted((objects / "pack").glob("*.pack")):
        # As a fetch does it with fsckObjects: whether each object is what it says, and has what it names.
        again = objects / "again.idx"
        repo.run("index-pack", "--strict", "-o", str(again), str(pack), env=env, timeout_s=_TIMEOUT_S)
        again.unlink()
    tips = "".join(f"{oid}\n" for oid in refs.values()).encode()
    # Nothing is missing between them and what the repository has.
    repo.run("rev-list", "--objects", "--quiet", "--stdin", "--not", "--all", stdin=tips, env=env, timeout_s=_TIMEOUT_S)


def _require_prerequisites(repo: Repo, bundle: Path) -> None:
    try:
        repo.run("bundle", "verify", "--quiet", str(bundle), timeout_s=_TIMEOUT_S)
    except GitError as error:
        lacking = _OID.findall(error.stderr)
        if not lacking or "prerequisite" not in error.stderr:
            raise
        raise EnvironmentProblem(
            f"the repository lacks commits that the run builds on, such as {lacking[0]}",
            where=str(repo.root),
            hint="Fetch the branch that has them: git fetch (in a shallow clone: git fetch --unshallow).",
        ) from error


@contextmanager
def _damage() -> Iterator[None]:
    """Git's words about commits it can't read, as ours about the archive."""
    try:
        yield
    except GitError as error:
        raise UsageError(
            f"the commits in the archive are not in order: {error.what}",
            hint="Nothing was changed. Export the run again.",
        ) from error


def _beside(objects: Path | None) -> dict[str, str]:
    return {} if objects is None else {"GIT_OBJECT_DIRECTORY": str(objects)}


def _move_packs(source: Path, target: Path) -> None:
    """Copy packs into the repository's store; a pack counts when its index, which comes last, is there."""
    target.mkdir(exist_ok=True)
    for kind in ("pack", "idx"):
        for file in sorted(source.glob(f"*.{kind}")):
            if not (target / file.name).exists():
                part = target / f"tmp_prodigy_{file.name}"
                with file.open("rb") as reading, part.open("wb") as writing:
                    shutil.copyfileobj(reading, writing)
                    writing.flush()
                    os.fsync(writing.fileno())
                part.chmod(0o444)
                part.replace(target / file.name)
