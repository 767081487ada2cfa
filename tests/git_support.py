"""Real git repositories for tests: a user, a repository, worktrees of ours, programs that must not run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from prodigy.git import worktrees
from prodigy.git.private import PrivateGit
from prodigy.git.repo import Repo
from prodigy.git.tree import PrivateTree

# Nothing may depend on names being plain.
PROJECT = "my pröject"


@dataclass(frozen=True)
class World:
    """home: of the user, with a .gitconfig. root: the user's checkout. space: for everything else."""

    home: Path
    root: Path
    space: Path

    def git(
        self, *args: str, cwd: Path | None = None, stdin: str | None = None, env: Mapping[str, str] | None = None
    ) -> str:
        """Run plain git, as the user and agents do."""
        done = subprocess.run(
            ["git", *args],
            cwd=cwd or self.root,
            input=stdin,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            env={**os.environ, **(env or {})},
            check=False,
        )
        assert done.returncode == 0, f"git {' '.join(args)}: {done.stderr}"
        return done.stdout.strip("\n")

    def write(self, files: Mapping[str, str | bytes | None], where: Path | None = None) -> None:
        """Write files; None deletes one."""
        for name, content in files.items():
            path = (where or self.root) / name
            if content is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, files: Mapping[str, str | bytes | None], where: Path | None = None, message: str = "work") -> str:
        """Write files and commit everything; the commit's id."""
        self.write(files, where)
        self.git("add", "--all", "--force", cwd=where)
        self.git("commit", "--quiet", "--allow-empty", "--message", message, cwd=where)
        return self.git("rev-parse", "HEAD", cwd=where)

    def repo(self) -> Repo:
        return Repo(self.root, self.root / ".git", self.root / ".git")

    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def private(self) -> PrivateGit:
        return PrivateGit.create(self.space / "run é" / "git", self.repo(), self.head())

    def tree(self, name: str = "slot ü", commit: str | None = None) -> PrivateTree:
        """A worktree of ours, fresh at `commit`."""
        private = self.private()
        path = self.space / "worktrees" / name
        base = commit or self.head()
        tree = PrivateTree(private, path, worktrees.add(private.repo, path, base), private.directory / "slots" / name)
        tree.fresh(base)
        return tree


def make_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A repository with one commit, on branch main, whose user has a name."""
    for name in os.environ:
        if name.startswith(("GIT_", "XDG_")):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    (home / ".gitconfig").write_text(
        "[user]\n\tname = Ada\n\temail = ada@example.org\n[init]\n\tdefaultBranch = main\n"
    )
    root = tmp_path / PROJECT
    root.mkdir()
    world = World(home, root, tmp_path)
    world.git("init", "--quiet")
    world.commit({"README": "read me\n", "src/a.py": "a\n", "src/é b.py": "b\n", ".gitignore": "*.log\nbuild/\n"})
    return world


def files_in(root: Path) -> dict[str, bytes | str]:
    """Every file below `root` but .git at its top: path -> content, or -> target of a link as text."""
    found: dict[str, bytes | str] = {}
    for directory, names, leaves in os.walk(root):
        if Path(directory) == root and ".git" in names:
            names.remove(".git")
        for name in (*leaves, *(entry for entry in names if Path(directory, entry).is_symlink())):
            path = Path(directory, name)
            relative = path.relative_to(root).as_posix()
            if relative != ".git":
                found[relative] = str(path.readlink()) if path.is_symlink() else path.read_bytes()
    return found


@dataclass(frozen=True)
class Canary:
    """A hostile program. It leaves a mark when it runs."""

    program: Path
    mark: Path

    @property
    def sang(self) -> bool:
        return self.mark.exists()


def make_canary(directory: Path) -> Canary:
    """A program that reads its input, prints it, ends with status 0, and leaves the mark."""
    mark = directory / "canary-sang"
    program = directory / "canary.sh"
    program.write_text(f"#!/bin/sh\n: > '{mark}'\ncat 2>/dev/null\nexit 0\n")
    program.chmod(0o755)
    return Canary(program, mark)
