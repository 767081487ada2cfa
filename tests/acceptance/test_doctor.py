"""`doctor`: each check on facts of its own, and the whole command end to end."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from prodigy.cli import doctor_checks as checks
from support import Project, git


def findings(project: Project, *, code: int = 0, where: Path | None = None, **env: str) -> dict[str, dict[str, Any]]:
    done = project.prodigy("doctor", "--json", env=env, where=where)
    assert done.code == code, done.out + done.err
    assert done.json["ok"] is (code == 0)
    return {finding["name"]: finding for finding in done.json["findings"]}


def program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def everything_in(folder: Path) -> set[tuple[str, int]]:
    return {(str(path), path.lstat().st_mtime_ns) for path in folder.rglob("*")}


# End to end ------------------------------------------------------------------------------------------------


def test_a_sound_machine_has_no_problem_and_is_left_as_it_was(project: Project) -> None:
    before = everything_in(project.folder)
    found = findings(project)
    assert everything_in(project.folder) == before
    for name in ("git", "bash", "shfmt", "repository", "signing", "installation", "home", "open files", "process tree"):
        assert found[name]["level"] == "ok", found[name]
    assert found["repository"]["what"] == "on main"
    text = project.prodigy("doctor").out
    assert all(name in text for name in found)


def test_agents_on_path_are_named_with_their_versions(project: Project) -> None:
    tools = project.folder / "tools"
    program(tools, "claude", "echo '2.0.1 (Claude Code)'")
    program(tools, "aider", "exit 3")
    agents = findings(project, PATH=f"{tools}:{os.environ['PATH']}")["agents"]
    assert agents["level"] == "ok"
    assert "claude 2.0.1 (Claude Code)" in agents["what"]
    assert "aider (does not tell its version)" in agents["what"]


def test_an_agent_is_not_started_in_the_repository(project: Project) -> None:
    tools = project.folder / "tools"
    program(tools, "codex", "pwd")
    assert "codex /" in findings(project, PATH=f"{tools}:{os.environ['PATH']}")["agents"]["what"].split(", ")


def test_without_git_everything_else_is_still_looked_at(project: Project) -> None:
    tools = project.folder / "tools"
    tools.mkdir()
    (tools / "bash").symlink_to(str(shutil.which("bash")))
    found = findings(project, code=5, PATH=str(tools))
    assert found["git"]["level"] == "problem"
    assert found["bash"]["level"] == "ok"
    assert "memory" in found


def test_an_old_git_is_a_problem(project: Project) -> None:
    tools = project.folder / "tools"
    program(tools, "git", "echo git version 2.30.2")
    found = findings(project, code=5, PATH=f"{tools}:{os.environ['PATH']}")
    assert "too old" in found["git"]["what"]


@pytest.mark.parametrize(
    ("make", "level", "words"),
    [
        ("init --bare", "problem", "bare"),
        ("init", "problem", "no commits"),
        ("", "warning", "not a git repository"),
    ],
)
def test_a_directory_where_no_run_can_start_is_named(project: Project, make: str, level: str, words: str) -> None:
    place = project.folder / "place"
    place.mkdir()
    if make:
        git(place, *make.split(), "-q")
    found = findings(project, code=5 if level == "problem" else 0, where=place)
    assert found["repository"]["level"] == level
    assert words in found["repository"]["what"]
    assert found["repository"]["hint"]


def test_a_branch_in_the_way_of_ours_is_a_problem(project: Project) -> None:
    git(project.repo, "branch", "prodigy")
    assert "in the way" in findings(project, code=5)["repository"]["what"]


def test_a_detached_head_is_a_warning(project: Project) -> None:
    git(project.repo, "switch", "-q", "--detach")
    assert findings(project)["repository"]["level"] == "warning"


@pytest.mark.parametrize("scope", ["--local", "--global"])
def test_signing_is_seen_wherever_it_was_set(project: Project, scope: str) -> None:
    project.env["GIT_CONFIG_GLOBAL"] = str(project.folder / "gitconfig")
    if scope == "--global":
        (project.folder / "gitconfig").write_text("[commit]\n\tgpgsign = true\n")
    else:
        git(project.repo, "config", "commit.gpgsign", "true")
    assert findings(project)["signing"]["level"] == "warning"
    git(project.repo, "config", "commit.gpgsign", "false")
    assert findings(project)["signing"]["level"] == "ok"


def test_a_home_that_others_can_look_into_is_named(project: Project) -> None:
    project.home.mkdir()
    for mode, level in ((0o700, "ok"), (0o755, "warning"), (0o777, "problem")):
        project.home.chmod(mode)
        found = findings(project, code=5 if level == "problem" else 0)["home"]
        assert found["level"] == level
        assert (found["hint"] is None) is (level == "ok")


def test_a_home_in_the_place_of_a_file_is_a_problem(project: Project) -> None:
    project.home.write_text("")
    assert findings(project, code=5)["home"]["level"] == "problem"


# Check by check --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("git version 2.38.0", "ok"),
        ("git version 2.39.5 (Apple Git-154)", "ok"),
        ("git version 3.0", "ok"),
        ("git version 2.37.9", "problem"),
        ("nonsense", "problem"),
        (None, "problem"),
    ],
)
def test_git_is_judged_by_its_version(text: str | None, level: str) -> None:
    assert checks.git_version(text, (2, 38)).level == level


MOUNTS = r"""
/dev/sda1 / ext4 rw 0 0
tmpfs /tmp tmpfs rw 0 0
server:/export /home nfs4 rw 0 0
user@host:/ /mnt/far\040away fuse.sshfs rw 0 0
/dev/sdb1 /home/me/fast xfs rw 0 0
C:\134 /mnt/c 9p rw 0 0
overlay /over overlay rw 0 0
//nas/x /over cifs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "level", "kind"),
    [
        ("/srv/.prodigy", "ok", "ext4"),
        ("/home/me/.prodigy", "problem", "nfs4"),
        ("/homeless/.prodigy", "ok", "ext4"),
        ("/home/me/fast/.prodigy", "ok", "xfs"),
        ("/mnt/far away/x", "problem", "fuse.sshfs"),
        ("/mnt/c/x", "warning", "9p"),
        ("/tmp/x", "warning", "tmpfs"),
        ("/over/x", "problem", "cifs"),  # the later mount hides the earlier one
    ],
)
def test_a_home_on_a_network_file_system_is_a_problem(path: str, level: str, kind: str) -> None:
    found = checks.file_system(MOUNTS, Path(path))
    assert found.level == level
    assert kind in found.what


def test_mounts_of_macos_are_understood() -> None:
    text = (
        "/dev/disk3s1s1 on / (apfs, sealed, local, read-only)\n"
        "//me@nas/My Share on /Volumes/My Share (smbfs, nodev)\n"
        "map auto_home on /System/Volumes/Data/home (autofs, automounted)\n"
    )
    mounts = checks.mounts_from_bsd(text)
    assert checks.file_system(mounts, Path("/Volumes/My Share/x")).level == "problem"
    assert checks.file_system(mounts, Path("/Users/me/.prodigy")).what == "apfs"
    assert checks.file_system("", Path("/x")).level == "warning"


@pytest.mark.parametrize(
    ("size", "inodes", "level"),
    [
        (100 << 30, 10_000_000, "ok"),
        (100 << 30, None, "ok"),
        (1 << 30, None, "warning"),
        (100 << 30, 50_000, "warning"),
        (50 << 20, 10_000_000, "problem"),
        (100 << 30, 10, "problem"),
    ],
)
def test_space_is_judged_by_bytes_and_by_files(size: int, inodes: int | None, level: str) -> None:
    assert checks.space("disk", Path("/x"), size, inodes).level == level


def test_limits_are_told_in_agents() -> None:
    assert checks.descriptors(None).level == "ok"
    assert checks.descriptors(1024).what == "1024 allowed: enough for 103 agents at a time"
    assert checks.descriptors(256).level == "warning"
    assert checks.descriptors(200).level == "problem"
    assert checks.processes(None).level == "ok"
    assert checks.processes(4000).level == "ok"
    assert checks.processes(200).level == "warning"
    assert checks.processes(-10).level == "problem"
    assert checks.memory(32 << 10).level == "ok"
    assert checks.memory(2 << 10).hint == "Set max_parallel to 4 or less, or free some."
    assert checks.memory(100).level == "problem"
    assert checks.memory(None).level == "warning"


@pytest.mark.parametrize(
    ("works", "sysctls", "level"),
    [
        (True, {"user.max_user_namespaces": "0"}, "ok"),
        (False, {}, "warning"),
        (None, {}, "ok"),
        (None, {"kernel.unprivileged_userns_clone": "1\n", "user.max_user_namespaces": "15000\n"}, "ok"),
        (None, {"kernel.unprivileged_userns_clone": "0\n"}, "warning"),
        (None, {"user.max_user_namespaces": "0\n"}, "warning"),
        (None, {"kernel.apparmor_restrict_unprivileged_userns": "1\n"}, "warning"),
    ],
)
def test_bwrap_has_the_word_about_sandboxes_where_there_is_one(
    works: bool | None, sysctls: dict[str, str], level: str
) -> None:
    found = checks.user_namespaces(None if works else "no way", sysctls, installed=works is not None)
    assert found.level == level
    assert ("no way" in found.what) == (works is False)


@pytest.mark.parametrize(
    ("manager", "configuration", "level"),
    [
        ("KillUserProcesses=yes", "", "warning"),
        ("KillUserProcesses=no", "KillUserProcesses=yes", "ok"),
        (None, "[Login]\n#KillUserProcesses=yes\n", "ok"),
        (None, "[Login]\nKillUserProcesses = yes\n", "warning"),
        (None, "KillUserProcesses=yes\n\nKillUserProcesses=no\n", "ok"),
        ("", "", "ok"),
    ],
)
def test_a_logout_that_ends_runs_is_a_warning(manager: str | None, configuration: str, level: str) -> None:
    assert checks.logout(manager, configuration).level == level


def test_an_installation_that_agents_can_change_is_a_warning() -> None:
    repo, tools = Path("/home/me/shop"), Path("/opt/tools/prodigy")
    for package, environment, level in (
        (tools / "lib/prodigy", tools, "ok"),
        (Path("/home/me/prodigy/src/prodigy"), Path("/home/me/prodigy/.venv"), "ok"),
        (repo / ".venv/lib/prodigy", repo / ".venv", "warning"),
        (repo / "src/prodigy", tools, "warning"),
        (repo / "src/prodigy", repo / ".venv", "warning"),
    ):
        assert checks.installation(package, environment, repo).level == level
    assert checks.installation(repo / "src/prodigy", repo / ".venv", None).level == "ok"


def test_what_is_missing_for_finding_processes_again_is_said() -> None:
    assert checks.process_tree(proc=True, subreaper=True).level == "ok"
    found = checks.process_tree(proc=False, subreaper=False)
    assert found.level == "warning"
    assert "/proc and subreapers" in found.what


def test_a_home_of_another_user_is_a_problem() -> None:
    path = Path("/x")
    assert checks.home_access(path, 0o40700, 7, 8, writable=True).level == "problem"
    assert checks.home_access(path, 0o40700, 8, 8, writable=True).level == "ok"
    assert checks.home_access(path, None, None, 8, writable=True).level == "ok"
    assert checks.home_access(path, None, None, 8, writable=False).level == "problem"
