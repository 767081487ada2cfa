"""Adding, removing and listing the worktrees of a repository."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from prodigy.git import files, refs
from prodigy.git.command import GitError
from prodigy.git.repo import Repo

_LOCK_REASON = "in use by prodigy; `prodigy clean` removes it"


@dataclass(frozen=True)
class Worktree:
    """A checkout of the repository.

    root: its directory. git_dir: its directory inside the repository. branch: the full ref that its HEAD
    names or that a rebase in it will move, else None. oid: None when HEAD cannot be read.
    """

    root: Path
    git_dir: Path
    branch: str | None
    oid: str | None
    locked: bool


def add(repo: Repo, path: Path, commit: str) -> Path:
    """Make an empty detached worktree at `path` and return its git directory; `PrivateTree.fresh` fills it.

    It is locked, so that `git worktree prune` leaves it alone. Raises GitError, e.g. when `path` is in use.
    """
    refs.full_oid(commit, str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    path = real(path)
    with repo.lock() as descriptor:
        # git inherits the lock: when we are killed, it is free only after git has ended.
        repo.run(
            *("worktree", "add", "--quiet", "--no-checkout", "--detach", "--lock", "--reason", _LOCK_REASON),
            *("--", str(path), commit),
            fds=(descriptor,),
        )
    git_dir = _git_file_target(path)
    if git_dir is None or git_dir.parent != repo.common_dir / "worktrees":
        raise GitError("the new worktree does not belong to this repository", where=str(path))
    return git_dir


def remove(repo: Repo, path: Path, git_dir: Path | None = None) -> None:
    """Remove the worktree at `path`, also when it is damaged or already gone.

    Another worktree is never touched.

    git_dir: as `add` returned it; without it, the one that points at `path`.
    """
    path = real(path)
    if repo.root.is_relative_to(path) or repo.common_dir.is_relative_to(path):
        raise GitError("this is the user's own checkout", where=str(path))
    if git_dir is not None and git_dir.parent != repo.common_dir / "worktrees":
        raise GitError("not a worktree of this repository", where=str(git_dir))
    files.remove(path)
    if git_dir is None:
        mine = [admin for admin in _admin_dirs(repo.common_dir) if _root_of(admin) == path and _is_ours(admin)]
    else:
        mine = [] if is_used_elsewhere(git_dir, path) else [git_dir]
    for admin in mine:
        files.remove(admin)


def listed(repo: Repo) -> list[Worktree]:
    """All checkouts of the repository, the main one first.

    No process, and half-made worktrees are left out.
    """
    found = []
    main = _main_root(repo)
    if main is not None:
        found.append(_describe(repo, main, repo.common_dir))
    for admin in _admin_dirs(repo.common_dir):
        root = _root_of(admin)
        if root is not None and (admin / "commondir").exists():
            found.append(_describe(repo, root, admin))
    return found


def repair_links(work_tree: Path, git_dir: Path) -> None:
    """Make worktree and repository point at each other again, whatever an agent did to the files that say so.

    Raises GitError when the directory in the repository meanwhile belongs to another worktree.
    """
    expected = {
        work_tree / ".git": f"gitdir: {git_dir}\n",
        git_dir / "gitdir": f"{work_tree}/.git\n",
        git_dir / "commondir": "../..\n",
        git_dir / "locked": f"{_LOCK_REASON}\n",
    }
    if is_used_elsewhere(git_dir, work_tree):
        raise GitError("its place in the repository belongs to another worktree now", where=str(work_tree))
    if git_dir.is_symlink() or not git_dir.is_dir():
        files.remove(git_dir)
        git_dir.mkdir(parents=True)
    for path, text in expected.items():
        data = os.fsencode(text)
        if path.is_symlink() or files.read_small(path, len(data) + 1) != data:
            files.replace(path, data)


def remove_locks(git_dir: Path) -> None:
    """Take away what a git that was killed in a worktree left: the next git would take it for a living one."""
    if not git_dir.is_symlink():
        for name in ("index.lock", "HEAD.lock"):
            files.remove(git_dir / name)


def is_used_elsewhere(git_dir: Path, work_tree: Path) -> bool:
    """Whether `git_dir` is the place of a working worktree other than `work_tree`."""
    root = _root_of(git_dir)
    return root is not None and root != work_tree and _git_file_target(root) == git_dir


def real(path: Path) -> Path:
    """`path` as git writes it: links in its parents resolved, but not followed if it is one itself."""
    return path.parent.resolve() / path.name


def _is_ours(git_dir: Path) -> bool:
    return files.read_small(git_dir / "locked") in {text.encode() for text in (_LOCK_REASON, f"{_LOCK_REASON}\n")}


def _admin_dirs(common_dir: Path) -> list[Path]:
    try:
        return sorted(path for path in (common_dir / "worktrees").iterdir() if path.is_dir() and not path.is_symlink())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _root_of(git_dir: Path) -> Path | None:
    data = files.read_small(git_dir / "gitdir")
    if not data:
        return None
    return Path(os.path.normpath(git_dir / os.fsdecode(data).removesuffix("\n"))).parent


def _git_file_target(root: Path) -> Path | None:
    data = files.read_small(root / ".git")
    if data is None or not data.startswith(b"gitdir: "):
        return None
    return Path(os.path.normpath(root / os.fsdecode(data)[len("gitdir: ") :].removesuffix("\n")))


def _main_root(repo: Repo) -> Path | None:
    """A bare repository has no main checkout, and so no index in its git directory."""
    if repo.git_dir == repo.common_dir:
        return repo.root
    if (repo.common_dir / "index").exists() and repo.common_dir.name == ".git":
        return repo.common_dir.parent
    return None


def _describe(repo: Repo, root: Path, git_dir: Path) -> Worktree:
    try:
        head = refs.read_head(git_dir, repo.common_dir)
    except GitError:
        head = refs.Head(None, None)  # damaged or half made: whoever needs the commit will say so
    branch = head.ref
    for operation in ("rebase-merge", "rebase-apply"):
        name = files.read_small(git_dir / operation / "head-name")
        if name is not None and name.startswith(b"refs/"):
            branch = os.fsdecode(name).strip()
    return Worktree(root, git_dir, branch, head.oid, (git_dir / "locked").exists())
