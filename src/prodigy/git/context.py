"""Looking at the user's repository before a run: what is there, and whether we can work with it."""

from __future__ import annotations

import re
import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path

from prodigy.errors import EnvironmentProblem
from prodigy.git import config
from prodigy.git.command import GitError, run_git
from prodigy.git.private import PrivateGit
from prodigy.git.private_layout import lay_out
from prodigy.git.refs import Head
from prodigy.git.repo import Repo

MINIMUM_VERSION = (2, 38)  # the first with `merge-tree --write-tree`

RUN_GIT = "git"  # in a run's directory, its private git directory

_FETCH_EVERYTHING = (
    "git fetch --refetch --no-filter {remote} && git config --unset-all remote.{remote}.promisor && "
    "git config --unset-all remote.{remote}.partialclonefilter"
)


class NoRepository(EnvironmentProblem):
    """There is no repository here at all."""


@dataclass(frozen=True)
class Context:
    """The user's checkout as a run finds it.

    head: the commit that is checked out. branch: the full ref of its branch, None when HEAD is detached.
    dirty: paths that are changed, staged or untracked. unused_filters: filter drivers that we do not run (all
    but LFS).
    """

    repo: Repo
    head: str
    branch: str | None
    shallow: bool
    dirty: int
    git_version: tuple[int, ...]
    unused_filters: tuple[str, ...]


def discover(path: Path, branch_prefix: str = "prodigy") -> Context:
    """Find the repository around `path` and check that a run can work in it.

    Raises EnvironmentProblem, with the command that helps, when it cannot.
    """
    version = git_version()
    repo = _locate(path)
    entries = config.read(repo)
    _require_whole(entries)
    head = _require_commit(repo)
    _require_free(repo, branch_prefix)
    assert head.oid is not None
    return Context(
        repo=repo,
        head=head.oid,
        branch=head.ref,
        shallow=(repo.common_dir / "shallow").exists(),
        dirty=len(checkout_status(repo, head.oid, entries)),
        git_version=version,
        unused_filters=config.unused_filters(entries),
    )


def repository(common_dir: Path) -> Repo:
    """The repository as it is known by the directory that its worktrees share, from wherever one stands."""
    root = common_dir.parent if common_dir.name == ".git" else common_dir
    return Repo(root, common_dir, common_dir)


def private_of_run(directory: Path, common_dir: Path) -> PrivateGit:
    """The private git directory of a run, by the run's directory. Raises GitError when it is not there."""
    return PrivateGit.open(directory / RUN_GIT, repository(common_dir))


def common_dir_around(path: Path) -> Path:
    """The directory that all worktrees of the repository around `path` share. Raises EnvironmentProblem."""
    return _locate(path).common_dir


def checkout_around(path: Path) -> Path:
    """The root of the checkout around `path`. Raises EnvironmentProblem where there is none."""
    return _locate(path).root


def has_commit(root: Path) -> bool:
    """Whether something is checked out."""
    return run_git(["rev-parse", "-q", "--verify", "HEAD^{commit}"], cwd=root, ok=(0, 1)).code == 0


def is_ignored(root: Path, path: str) -> bool:
    """Whether git ignores a path, named from the root, so that no worktree has it. The user's own rules count."""
    rules = config.personal_file(config.read(_locate(root)), "core.excludesfile", "ignore")
    settings = [f"core.excludesFile={rules}"]
    return run_git(["check-ignore", "-q", "--", path], cwd=root, config=settings, ok=(0, 1)).code == 0


def git_version() -> tuple[int, ...]:
    """The version of the installed git; EnvironmentProblem when it is too old."""
    text = run_git(["version"]).line
    found = re.search(r"\d+(?:\.\d+)+", text)
    version = tuple(int(part) for part in found.group().split(".")) if found else ()
    if version < MINIMUM_VERSION:
        needed = ".".join(map(str, MINIMUM_VERSION))
        raise EnvironmentProblem(f"{text or 'git'} is too old", hint=f"install git {needed} or newer")
    return version


def checkout_status(repo: Repo, head: str, entries: list[config.Entry]) -> list[str]:
    """Paths of the user's checkout that differ from `head`, untracked ones included; reads no driver of the
    repository.
    """
    with tempfile.TemporaryDirectory(prefix="prodigy-") as name:
        directory = Path(name)
        lay_out(directory, repo, entries)
        (directory / "HEAD").write_text(f"{head}\n")
        records = (
            PrivateGit(directory, repo)
            .run(
                *("status", "--porcelain", "-z", "--untracked-files=normal", "--ignore-submodules=all"),
                "--no-renames",
                work_tree=repo.root,
                index=repo.git_dir / "index",
            )
            .records()
        )
    return [record[3:] for record in records]


def _locate(path: Path) -> Repo:
    questions = ("--is-bare-repository", "--absolute-git-dir", "--git-common-dir", "--show-toplevel")
    try:
        answer = run_git(["rev-parse", "--path-format=absolute", *questions], cwd=path, user_config=True)
    except GitError as error:
        raise _unusable(path, error) from error
    lines = answer.stdout.decode(errors="surrogateescape").removesuffix("\n").split("\n")
    if len(lines) != len(questions):
        hint = "Move the repository to a path without one."
        raise EnvironmentProblem("the path of the repository has a line break in it", where=repr(str(path)), hint=hint)
    _, git_dir, common_dir, root = lines
    return Repo(Path(root), Path(git_dir), Path(common_dir))


def _unusable(path: Path, error: GitError) -> EnvironmentProblem:
    where = str(path.absolute())
    if "dubious ownership" in error.stderr:
        directory = (re.findall(r"safe\.directory (\S.*)", error.stderr) or [where])[0]
        return EnvironmentProblem(
            "the repository belongs to another user",
            where=where,
            hint=f"if you trust it: git config --global --add safe.directory {directory}",
        )
    if "not a git repository" in error.stderr:
        return NoRepository(
            "not a git repository",
            where=where,
            hint="start in a repository, or make one: git init && git add . && git commit -m start",
        )
    if "must be run in a work tree" in error.stderr:
        return _without_checkout(path)
    if "unknown repository extension" in error.stderr or "refstorage" in error.stderr.lower():
        return EnvironmentProblem(
            "the repository uses an extension that we or this git cannot read (reftable, perhaps)",
            where=where,
            hint="git clone --ref-format=files . ../copy   (with a git that knows it)",
        )
    reason = error.stderr.strip() or str(error)
    return EnvironmentProblem(f"git cannot read the repository: {reason}", where=where, hint="git fsck")


def _without_checkout(path: Path) -> EnvironmentProblem:
    try:
        bare = run_git(["rev-parse", "--is-bare-repository"], cwd=path, user_config=True).line == "true"
    except GitError:
        bare = False
    if bare:
        return EnvironmentProblem(
            "a bare repository has no checkout to start from",
            where=str(path),
            hint="make one and start there: git worktree add ../checkout",
        )
    return EnvironmentProblem("this is inside a .git directory", where=str(path), hint="cd to the checkout")


def _require_whole(entries: list[config.Entry]) -> None:
    if config.value(entries, "extensions.refstorage") not in (None, "files"):
        raise EnvironmentProblem(
            "the repository keeps its refs in the reftable format, which we do not read",
            hint="git refs migrate --ref-format=files",
        )
    names = [entry.key.split(".", 1)[1].rpartition(".")[0] for entry in entries if _is_promisor(entries, entry)]
    partial = config.value(entries, "extensions.partialclone")
    remote = partial or (names[0] if names else None)
    if remote is not None:
        hint = _FETCH_EVERYTHING.format(remote=shlex.quote(remote))
        if partial:
            hint += " && git config --unset-all extensions.partialClone"
        raise EnvironmentProblem("a partial clone: objects are missing that agents may need", hint=hint)


def _is_promisor(entries: list[config.Entry], entry: config.Entry) -> bool:
    return entry.key.startswith("remote.") and entry.key.endswith(".promisor") and config.is_true(entries, entry.key)


def _require_commit(repo: Repo) -> Head:
    try:
        head = repo.head()
        if head.oid is None:
            raise EnvironmentProblem(
                "the repository has no commits yet",
                where=str(repo.root),
                hint="git add . && git commit -m start",
            )
        found = repo.resolve(head.oid)
    except GitError as error:
        raise EnvironmentProblem(
            f"git cannot read HEAD: {error.what}", where=str(repo.root), hint="git fsck"
        ) from error
    if found is None:
        raise EnvironmentProblem(
            "the commit of HEAD cannot be read",
            where=str(repo.root),
            hint="`git fsck` says what is missing; `git fetch` may bring it back.",
        )
    return head


def _require_free(repo: Repo, branch_prefix: str) -> None:
    """A branch `a` and a branch `a/b` cannot exist at the same time."""
    parts = branch_prefix.strip("/").split("/")
    for depth in range(1, len(parts) + 1):
        name = "/".join(parts[:depth])
        if repo.read_ref(f"refs/heads/{name}") is not None:
            raise EnvironmentProblem(
                f"the branch {name!r} is in the way of our branches {branch_prefix}/...",
                where=str(repo.root),
                hint=f"git branch -m {name} another-name, or choose another git.branch_prefix",
            )
