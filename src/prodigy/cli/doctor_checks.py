"""What can be wrong with a machine, one plain function a check: facts in, a finding out. Nothing here looks around.

`doctor.py` gathers the facts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prodigy.executors.capacity import AGENT_STEP_MB, FILES_OF_OURS, FILES_PER_SLOT, slots_for

Level = Literal["ok", "warning", "problem"]

USUAL_AGENTS = 10  # at a time, when a workflow does not say
PROCESSES_PER_AGENT = 40  # an agent, its tools, a build, a test run

# Below these a run would stop soon, or fail in the middle.
SPACE_NEEDED, SPACE_WANTED = 200 << 20, 5 << 30  # bytes
INODES_NEEDED, INODES_WANTED = 2_000, 200_000

_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "afpfs", "ncpfs", "webdav", "fuse.sshfs", "fuse.davfs",
            "fuse.rclone", "fuse.s3fs", "fuse.glusterfs", "macfuse", "osxfuse", "macfuse.sshfs", "osxfuse.sshfs",
            "glusterfs", "ceph", "lustre", "gpfs", "beegfs")  # fmt: skip
_SHARED = ("9p", "drvfs", "vboxsf", "prl_fs", "virtiofs", "fuse.vmhgfs-fuse")  # a virtual machine's, with its host
_IN_MEMORY = ("tmpfs", "ramfs")


@dataclass(frozen=True)
class Finding:
    """The outcome of a check. what: what was found and what it means. hint: what to do, None where nothing is."""

    name: str
    level: Level
    what: str
    hint: str | None = None


# Programs --------------------------------------------------------------------------------------------------


def git_version(text: str | None, minimum: tuple[int, ...]) -> Finding:
    """text: what `git version` prints, None when there is no git."""
    needed = ".".join(map(str, minimum))
    if text is None:
        return Finding(
            "git", "problem", "git was not found: nothing works without it", f"Install git {needed} or newer."
        )
    found = re.search(r"\d+(?:\.\d+)+", text)
    version = tuple(int(part) for part in found.group().split(".")) if found else ()
    if version < minimum:
        return Finding(
            "git", "problem", f"{text or 'git'} is too old: it can't merge without a checkout",
            f"Install git {needed} or newer.",
        )  # fmt: skip
    return Finding("git", "ok", text)


def program(name: str, path: str | None, purpose: str, hint: str) -> Finding:
    """A program that we can't do without."""
    if path is None:
        return Finding(name, "problem", f"{name} was not found: {purpose}", hint)
    return Finding(name, "ok", path)


def agents(versions: Mapping[str, str]) -> Finding:
    """versions: name -> version of every agent program on PATH."""
    if not versions:
        return Finding(
            "agents", "warning", "no agent program is on PATH: only shell steps work",
            "Install one: claude, codex, gemini, opencode or aider.",
        )  # fmt: skip
    return Finding("agents", "ok", ", ".join(f"{name} {version}".rstrip() for name, version in versions.items()))


def agent_variables(count: int, withheld: int) -> Finding:
    """count: of the user's variables. withheld: how many of them Claude Code would not get."""
    cure = "`agents: {claude: {pass_env: [NAME]}}` in a workflow gives it more"
    return Finding("variables", "ok", f"Claude Code gets {count - withheld} of your {count} variables; {cure}")


# The repository --------------------------------------------------------------------------------------------


def signing(values: Sequence[str]) -> Finding:
    """values: every value of commit.gpgsign that git reads in the repository, the strongest last."""
    if values and values[-1].strip().lower() in ("true", "yes", "on", "1", ""):
        return Finding(
            "signing", "warning",
            "commit.gpgsign is on, but agents and the final merge commit without a signature: nobody is there to unlock"
            " a key",
            "If your branch must be signed: run with --no-merge and merge the run's branch yourself, or sign anew with"
            " `git rebase --exec 'git commit --amend --no-edit -S' BASE`.",
        )  # fmt: skip
    return Finding("signing", "ok", "commits need no signature here")


def installation(package: Path, environment: Path, repository: Path | None) -> Finding:
    """package: the directory of our code. environment: Python's prefix. repository: the checkout one stands in."""
    hint = "Install it apart from your projects: `uv tool install` or `pipx install`."
    if repository is not None and package.is_relative_to(repository) and not package.is_relative_to(environment):
        return Finding(
            "installation", "warning",
            f"Prodigy runs from source inside this repository ({package}): an agent, or the final merge, can change it"
            " while it runs", hint,
        )  # fmt: skip
    if repository is not None and environment.is_relative_to(repository):
        return Finding(
            "installation", "warning",
            f"Prodigy is installed in this project's own environment ({environment}): an agent that installs packages"
            " there can break it while it runs", hint,
        )  # fmt: skip
    return Finding("installation", "ok", str(package))


# Disk ------------------------------------------------------------------------------------------------------


def space(name: str, path: Path, free_bytes: int, free_inodes: int | None) -> Finding:
    """free_inodes: None where the file system has no fixed number of files."""
    text = f"{human(free_bytes)} free" + (f", room for {free_inodes} files" if free_inodes is not None else "")
    inodes = free_inodes if free_inodes is not None else INODES_WANTED
    hint = f"Make room on the file system of {path}, for example with `prodigy worktree clean`."
    if free_bytes < SPACE_NEEDED or inodes < INODES_NEEDED:
        return Finding(name, "problem", f"{text}: a run would stop soon", hint)
    if free_bytes < SPACE_WANTED or inodes < INODES_WANTED:
        return Finding(name, "warning", f"{text}: every agent has a whole checkout of its own", hint)
    return Finding(name, "ok", text)


def file_system(mounts: str, path: Path) -> Finding:
    """mounts: as in /proc/mounts. path: where PRODIGY_HOME is, links resolved."""
    name, kind = "file system", _kind_at(mounts, path)
    if kind in _NETWORK:
        return Finding(
            name, "problem",
            f"{path} is on a network file system ({kind}): its locks do not protect a run's database",
            "Set PRODIGY_HOME to a directory on a local disk.",
        )  # fmt: skip
    if kind in _SHARED:
        return Finding(
            name, "warning", f"{path} is shared with another system ({kind}), which may be slow and have no locks",
            "Set PRODIGY_HOME to a directory on this system's own disk; on WSL, not below /mnt.",
        )  # fmt: skip
    if kind in _IN_MEMORY:
        return Finding(
            name, "warning", f"{path} is in memory ({kind}): runs are gone when the machine restarts",
            "Set PRODIGY_HOME to a directory on a disk, unless that is what you want.",
        )  # fmt: skip
    if kind is None:
        return Finding(name, "warning", f"the file system of {path} can't be told", "Make sure that it is a local one.")
    return Finding(name, "ok", kind)


def _kind_at(mounts: str, path: Path) -> str | None:
    """The type of the mount that `path` is on: the last one of those that reach furthest."""
    best: tuple[int, str] | None = None
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields[1]))
        if path.is_relative_to(point) and (best is None or len(point.parts) >= best[0]):
            best = (len(point.parts), fields[2])
    return best[1] if best else None


def mounts_from_bsd(text: str) -> str:
    """What `mount` prints on macOS (`/dev/disk1 on / (apfs, local)`), in the form of /proc/mounts."""
    lines = []
    for found in re.finditer(r"^(.+) on (/.*) \((\w+)[,)]", text, re.MULTILINE):
        device, point, kind = (part.replace(" ", "\\040") for part in found.groups())
        lines.append(f"{device} {point} {kind}")
    return "\n".join(lines)


def home_access(path: Path, mode: int | None, owner: int | None, user: int, *, writable: bool) -> Finding:
    """mode, owner: of PRODIGY_HOME, None when it is not there yet. writable: it, or what it would be made in."""
    name = "home"
    if not writable:
        return Finding(name, "problem", f"{path} is not writable", "Make it writable, or set PRODIGY_HOME elsewhere.")
    if mode is None:
        return Finding(name, "ok", f"{path} will be made when the first run starts")
    if owner != user:
        return Finding(
            name, "problem", f"{path} belongs to another user, who could change what runs",
            "Set PRODIGY_HOME to a directory of your own.",
        )  # fmt: skip
    if mode & 0o022:
        return Finding(
            name, "problem", f"others can write to {path} (mode {mode & 0o777:04o}) and change what runs",
            f"chmod 700 {path}",
        )  # fmt: skip
    if mode & 0o055:
        return Finding(
            name, "warning", f"others can read {path} (mode {mode & 0o777:04o}), where the output of steps is kept",
            f"chmod 700 {path}",
        )  # fmt: skip
    return Finding(name, "ok", str(path))


# Limits ----------------------------------------------------------------------------------------------------


def descriptors(limit: int | None) -> Finding:
    """limit: on open files of one process (`ulimit -n`), None for no limit."""
    if limit is None:
        return Finding("open files", "ok", "no limit")
    agents_at_once = max(0, (limit - FILES_OF_OURS) // FILES_PER_SLOT)
    text = f"{limit} allowed: enough for {agents_at_once} agents at a time"
    hint = "Raise it before a run: ulimit -n 4096"
    if agents_at_once < 1:
        return Finding("open files", "problem", f"{limit} allowed: not enough for a single agent", hint)
    return (
        Finding("open files", "warning", text, hint)
        if agents_at_once < USUAL_AGENTS
        else Finding("open files", "ok", text)
    )


def processes(available: int | None) -> Finding:
    """available: how many more processes and threads the user or container may have, None for no limit."""
    if available is None:
        return Finding("processes", "ok", "no limit")
    left = max(0, available)
    text = f"{left} more allowed"
    hint = "Raise it (ulimit -u, or the container's pids limit), or lower max_parallel."
    if left < PROCESSES_PER_AGENT:
        return Finding("processes", "problem", f"{text}: not enough for a single agent", hint)
    if left < PROCESSES_PER_AGENT * USUAL_AGENTS:
        return Finding("processes", "warning", f"{text}: about {left // PROCESSES_PER_AGENT} agents at a time", hint)
    return Finding("processes", "ok", text)


def memory(available_mb: int | None) -> Finding:
    """available_mb: what new processes can get without swapping, None where that can't be known."""
    if available_mb is None:
        return Finding("memory", "warning", "how much is free can't be told here", "Choose max_parallel yourself.")
    free = human(available_mb << 20)
    count, _ = slots_for(10_000, AGENT_STEP_MB, available_mb)
    text = f"{free} available: room for about {count} agents at a time, without what they build"
    if available_mb < AGENT_STEP_MB:
        return Finding("memory", "problem", f"{free} available: not enough for one agent", "Free some.")
    if count < USUAL_AGENTS:
        return Finding("memory", "warning", text, f"Set max_parallel to {count} or less, or free some.")
    return Finding("memory", "ok", text)


# Processes and sandboxes -----------------------------------------------------------------------------------


def user_namespaces(problem: str | None, sysctls: Mapping[str, str], *, installed: bool) -> Finding:
    """problem: why bwrap can't confine an agent here. installed: whether it is there; else the kernel's settings
    (name -> value) have to tell."""
    name, hint = "sandbox", "Runs without a sandbox need none; else ask whoever runs the machine to allow them."
    if problem is None:
        return Finding(name, "ok", "`sandbox: bwrap` is possible for agents")
    if installed:
        return Finding(name, "warning", problem, hint)
    forbidden = [
        f"{key}={sysctls[key].strip()}"
        for key, value in (("kernel.unprivileged_userns_clone", "0"), ("user.max_user_namespaces", "0"),
                           ("kernel.apparmor_restrict_unprivileged_userns", "1"))
        if sysctls.get(key, "").strip() == value
    ]  # fmt: skip
    if forbidden:
        return Finding(name, "warning", f"user namespaces are restricted ({', '.join(forbidden)}): no sandbox", hint)
    return Finding(name, "ok", "bwrap is not installed; with it, `sandbox: bwrap` is possible for agents")


def logout(manager: str | None, configuration: str) -> Finding:
    """manager: `KillUserProcesses=...` as loginctl tells, None where it tells nothing. configuration: logind.conf."""
    setting = re.search(r"^KillUserProcesses=(\w+)", manager or "", re.MULTILINE)
    written = re.findall(r"^[ \t]*KillUserProcesses[ \t]*=[ \t]*(\w+)", configuration, re.MULTILINE)
    value = setting[1] if setting else written[-1] if written else "no"
    if value.lower() in ("yes", "true", "on", "1"):
        return Finding(
            "logout", "warning", "systemd ends all your processes when you log out, also runs in the background",
            "Stay logged in, or: `loginctl enable-linger`, then start runs with `systemd-run --user --scope`.",
        )  # fmt: skip
    return Finding("logout", "ok", "what runs in the background lives on when you log out")


def process_tree(*, proc: bool, subreaper: bool) -> Finding:
    """proc: whether /proc tells of processes. subreaper: whether orphans can be given to us."""
    missing = [text for text, there in (("/proc", proc), ("subreapers", subreaper)) if not there]
    if missing:
        return Finding(
            "process tree", "warning",
            f"without {' and '.join(missing)}, what a step leaves running is found by a marker in its environment, and"
            " a process can drop that", "Nothing to do on macOS; on Linux, mount /proc.",
        )  # fmt: skip
    return Finding("process tree", "ok", "whatever a step starts is found again")


def human(size: int) -> str:
    """A size in bytes, for people."""
    return f"{size / (1 << 30):.1f} GiB" if size >= 1 << 30 else f"{size / (1 << 20):.0f} MiB"
