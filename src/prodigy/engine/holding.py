"""What keeps a commit from being lost: the refs that reach it, and one of ours where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prodigy.engine import refs
from prodigy.git.repo import ANY, RefChange, Repo

_TIMEOUT_S = 600.0  # for the history of a large repository on a slow disk


def is_of_the_user(name: str) -> bool:
    """Whether a ref is there whatever becomes of our runs: a user's branch or tag, or what an earlier clean kept."""
    return name.startswith(("refs/heads/", "refs/tags/", refs.KEPT)) and not refs.is_of_a_run(name)


def unheld(
    repo: Repo, tips: Iterable[str], holds: Callable[[str], bool], superseded: Iterable[str] = ()
) -> dict[str, tuple[str, ...]]:
    """Commits that `tips` reach and no ref does for whose name `holds` is true: commit -> parents.

    superseded: commits whose work is held in another form, squashed for example. Raises GitError when a commit is
    missing.
    """
    wanted = dict.fromkeys(tips)
    if not wanted:
        return {}
    lines = [*wanted, *(f"^{commit}" for commit in (*_held(repo, holds), *superseded))]
    stdin = "".join(f"{line}\n" for line in lines).encode()
    found = repo.run("rev-list", "--parents", "--stdin", stdin=stdin, timeout_s=_TIMEOUT_S).text.splitlines()
    return {commit: tuple(parents) for commit, *parents in (line.split() for line in found)}


def newest(commits: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Those of the commits from which all others are reached."""
    covered = {parent for parents in commits.values() for parent in parents}
    return sorted(commit for commit in commits if commit not in covered)


def keep(repo: Repo, run_id: str, commits: Iterable[str]) -> tuple[str, ...]:
    """Give each of the commits a ref that stays when the run goes, and return their names."""
    names = {name_for(repo, run_id, commit): commit for commit in commits}
    repo.update_refs([RefChange(name, ANY, commit) for name, commit in names.items()])
    return tuple(names)


def name_for(repo: Repo, run_id: str, commit: str) -> str:
    """The name of the ref that `keep` gives to the commit."""
    name = refs.cleaned_ref(run_id, commit)
    return name if repo.read_ref(name) in (None, commit) else f"{refs.KEPT}{run_id}/{commit}"


def trees(repo: Repo) -> set[str]:
    """The trees of all commits that a ref of the repository names."""
    return set(repo.run("for-each-ref", "--format=%(tree)").text.split())


def is_reached(repo: Repo, commit: str) -> bool:
    """Whether some ref reaches the commit; also when there is no such commit, and so nothing to hold."""
    found = repo.run("for-each-ref", "--count=1", "--contains", commit, ok=(0, 129))
    return found.code != 0 or bool(found.line)


def _held(repo: Repo, holds: Callable[[str], bool]) -> set[str]:
    wanted = "--format=%(objecttype) %(objectname) %(*objecttype) %(*objectname) %(refname)"
    held = set()
    for line in repo.run("for-each-ref", wanted).text.splitlines():
        kind, oid, peeled_kind, peeled, name = line.split(" ", 4)
        if "commit" in (kind, peeled_kind) and holds(name):
            held.add(oid if kind == "commit" else peeled)
    return held
