"""What a private git directory is made of: settings and rules taken over from the repository."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prodigy.git import config, files, index
from prodigy.git.refs import full_oid
from prodigy.git.repo import Repo

if TYPE_CHECKING:
    from prodigy.git.private import PrivateGit

# A HEAD that git accepts and that names nothing.
NO_HEAD = "ref: refs/heads/none\n"
_ATTRIBUTES = ".gitattributes"


def lay_out(directory: Path, repo: Repo, entries: Sequence[config.Entry]) -> None:
    """Fill an empty private git directory from the repository's settings; no process."""
    for name in ("info", "refs", "attributes"):
        (directory / name).mkdir()
    taken = settings_of(entries)
    if any(entry.key.startswith("filter.lfs.") for entry in taken):
        # git-lfs keeps its objects beside the git directory; ours must be the repository's.
        taken.append(config.Entry("local", "lfs.storage", str(repo.common_dir / "lfs")))
    (directory / "config").write_text(config.serialised(taken), "utf-8", "surrogateescape")
    (directory / "HEAD").write_text(NO_HEAD)
    shared_info = repo.common_dir / "info"
    excludes = (config.personal_file(entries, "core.excludesfile", "ignore"), shared_info / "exclude")
    (directory / "info" / "exclude").write_bytes(b"\n".join(_content(path) for path in excludes))
    (directory / "info" / "attributes").write_bytes(_content(shared_info / "attributes"))
    user_attributes = config.personal_file(entries, "core.attributesfile", "attributes")
    (directory / "info" / "user-attributes").write_bytes(_content(user_attributes))
    shallow = repo.common_dir / "shallow"
    if shallow.exists():
        # Without it, walking history fails at the parents that a shallow clone does not have.
        shutil.copyfile(shallow, directory / "shallow")


def settings_of(entries: Sequence[config.Entry]) -> list[config.Entry]:
    """The settings of a git directory of ours that reads a repository with these."""
    taken = config.taken_over(entries)
    version = 1 if any(entry.key == "extensions.objectformat" for entry in taken) else 0
    return [
        config.Entry("local", "core.repositoryformatversion", str(version)),
        config.Entry("local", index.END_OF_ENTRIES_SETTING, "true"),
        *taken,
    ]


def _content(path: Path) -> bytes:
    return files.read_small(path, limit=1 << 20) or b""


def write_attributes(private: PrivateGit, base: str) -> None:
    """Write the base's .gitattributes files where merges look for them: git reads them from a work tree, not
    from a commit.
    """
    names = private.run("ls-tree", "-r", "-z", "--name-only", "--full-tree", full_oid(base)).records()
    for name in names:
        *parents, last = name.split("/")
        if last == _ATTRIBUTES and not {"", ".", ".."} & set(parents):
            target = private.directory / "attributes" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(private.run("cat-file", "blob", f"{base}:{name}").stdout)
