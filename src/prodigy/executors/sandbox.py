"""What confines a step's process on this host: bubblewrap, or a program that the workflow names.

Everything can be read but what is hidden, and nothing can be written but what is named. Later mounts lie over earlier
ones, so they are made from the outside to the inside, and the innermost that covers a path decides.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Literal

from prodigy.executors.base import ProcessSpec
from prodigy.git import files

PROGRAM = "bwrap"
COMMAND, WORKSPACE = "{cmd}", "{workspace}"
INSTALL = "install bubblewrap (most systems have a package of that name)"
_PROBE_TIMEOUT_S = 20.0

# --new-session: no way to type into the user's terminal. --cap-drop: root would otherwise remount what is read-only.
_BASE = (
    *("--die-with-parent", "--new-session", "--unshare-pid", "--unshare-ipc", "--cap-drop", "ALL"),
    *("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"),
    # The settings of the kernel: root may write them without any capability, and bwrap leaves some as they are.
    *(word for name in ("sys", "sysrq-trigger", "irq", "bus", "acpi", "fs", "scsi", "mtrr")
      for word in ("--ro-bind-try", f"/proc/{name}", f"/proc/{name}")),
)  # fmt: skip
_OWN = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - each process has its own
# Sockets of docker, ssh-agent and the session bus lie there: whoever may connect needs no right to write.
_SOCKETS = ("/run", "/var/run")
_SHOWN_IN_RUN = ("/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager", "/run/nscd", "/run/current-system",
                 "/run/wrappers", "/run/opengl-driver")  # fmt: skip
# Keys, tokens, and profiles that hold some.
_SECRETS = (
    *(".ssh", ".gnupg", ".aws", ".azure", ".oci", ".kube", ".docker", ".config/gcloud", ".config/doctl", ".config/hub"),
    *(".config/gh", ".config/glab-cli", ".git-credentials", ".config/git/credentials", ".netrc", ".pypirc", ".pgpass"),
    *(".cargo/credentials", ".cargo/credentials.toml", ".gem/credentials", ".m2/settings.xml", ".terraform.d"),
    *(".password-store", ".local/share/keyrings", ".mozilla", ".thunderbird", ".config/google-chrome"),
    *(".config/chromium", ".config/op", ".config/rclone", ".vault-token", ".bash_history", ".zsh_history"),
    *(
        ".Xauthority",
        ".ICEauthority",
        ".npmrc",
        ".yarnrc.yml",
        ".my.cnf",
        ".python_history",
        ".config/containers/auth.json",
    ),
    *(".gradle/gradle.properties", ".config/sops", ".cache/huggingface/token", ".composer/auth.json"),
    *(".colima", ".lima", ".orbstack", ".rd"),  # sockets of docker
)
# They name sockets that are hidden.
_UNSET = ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "SSH_AUTH_SOCK", "DOCKER_HOST")

# own: an empty directory of the process. scratch: the same, but what is in it can be read. hide: nothing is there.
Kind = Literal["own", "scratch", "hide", "read", "write"]
_COVERS = ("own", "scratch", "hide")


@dataclass(frozen=True)
class Surroundings:
    """What a process in a workspace must see. workspace: it may write there. shown: what it must be able to read.
    hidden: what it must not see of ours."""

    workspace: Path
    shown: tuple[Path, ...] = ()
    hidden: tuple[Path, ...] = ()


@cache
def problem() -> str | None:
    """Why bwrap can't confine a process here; None when it can."""
    program = shutil.which(PROGRAM)
    if program is None:
        return f"there is no {PROGRAM}" if sys.platform == "linux" else f"{PROGRAM} is for Linux alone"
    argv = (program, *_BASE, *(word for path in _present(_OWN) for word in ("--tmpfs", str(path))), "--", "true")
    try:
        done = subprocess.run(
            argv, capture_output=True, check=False, timeout=_PROBE_TIMEOUT_S, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{program} does not run: {error}"
    if done.returncode == 0:
        return None
    words = done.stderr.decode(errors="replace").strip().splitlines()
    return f"{program} can't make a sandbox: {words[-1] if words else f'exit status {done.returncode}'}"


def confined(spec: ProcessSpec, around: Surroundings) -> ProcessSpec:
    """The process, run by what confines it. Raises OSError when what it may write can't be made."""
    if spec.confinement is None:
        return spec
    if spec.confinement.wrapper:
        return replace(spec, argv=tuple(_wrapped(spec, around)), confinement=None)
    env = {name: value for name, value in spec.env.items() if name not in _UNSET}
    if "TMPDIR" in env:
        env["TMPDIR"] = "/tmp"  # noqa: S108 - the sandbox has its own
    plan = _plan(spec, around)
    paths = sorted(plan.at, key=lambda path: path.parts)
    mounts = [word for path in paths for word in plan.mount(path)]
    mounts += [word for path in paths if plan.is_mounted_empty(path) for word in ("--remount-ro", str(path))]
    network = () if spec.confinement.network else ("--unshare-net",)
    program = shutil.which(PROGRAM) or PROGRAM
    argv = (program, *_BASE, *mounts, *network, "--chdir", spec.cwd, "--", *spec.argv)
    return replace(spec, argv=argv, env=env, confinement=None)


def _wrapped(spec: ProcessSpec, around: Surroundings) -> Iterator[str]:
    assert spec.confinement is not None
    for word in spec.confinement.wrapper:
        if word == COMMAND:
            yield from spec.argv
        else:
            yield word.replace(WORKSPACE, str(around.workspace))


@dataclass
class _Plan:
    """What becomes of paths, by the paths as the kernel knows them. kept: of a scratch directory, what stays in it."""

    at: dict[Path, Kind] = field(default_factory=dict)
    kept: dict[Path, frozenset[str]] = field(default_factory=dict)

    def covering(self, path: Path) -> Kind | None:
        """What is said of the nearest directory above."""
        return next((self.at[parent] for parent in path.parents if parent in self.at), None)

    def put(self, kind: Kind, paths: Iterable[Path]) -> None:
        for path in paths:
            self.at[path] = kind

    def show(self, paths: Iterable[Path]) -> None:
        """Let these be read where they would be covered."""
        for path in paths:
            if path not in self.at and self.covering(path) in _COVERS:
                self.at[path] = "read"

    def close(self) -> None:
        """What leads to a path in a directory of the process's own is no place to write to: it would be gone. And what
        leads to one below a place that it may write can't be renamed, or what is hidden would be seen the next time."""
        for path in [path for path in self.at if self.covering(path) == "write"]:
            for parent in path.parents:
                if self.at.get(parent) == "write":
                    break
                self.at[parent] = "write"
        for own in [path for path, kind in self.at.items() if kind == "own"]:
            for path in [path for path in self.at if own in path.parents]:
                self.at.setdefault(own / path.relative_to(own).parts[0], "hide")

    def is_mounted_empty(self, path: Path) -> bool:
        return self.at[path] == "hide" and self.covering(path) != "hide" and not path.is_file()

    def mount(self, path: Path) -> Iterator[str]:
        """The words that say it to bwrap."""
        name = str(path)
        match self.at[path]:
            case "read":
                yield from ("--ro-bind", name, name)
            case "write":
                yield from ("--bind", name, name)
            case "own":
                yield from ("--tmpfs", name)
            case "hide" if self.is_mounted_empty(path):
                yield from ("--tmpfs", name)
            case "hide" if self.covering(path) != "hide":  # else it is not there
                yield from ("--ro-bind", os.devnull, name)
            case "scratch":
                yield from ("--tmpfs", name)
                for entry in sorted(path.iterdir()):
                    if entry not in self.at and (entry.is_dir() or entry.is_file()):
                        how = "--bind" if entry.name in self.kept[path] else "--ro-bind"
                        yield from (how, str(entry.resolve()), str(entry))


def _plan(spec: ProcessSpec, around: Surroundings) -> _Plan:
    assert spec.confinement is not None
    confinement = spec.confinement
    home = Path(spec.env.get("HOME") or os.path.expanduser("~"))  # noqa: PTH111 - may name no user
    plan = _Plan()
    plan.put("own", _present(_OWN))
    plan.put("hide", _present((*_SOCKETS, *(place / name for place in {home, *_homes()} for name in _SECRETS))))
    plan.put("read", _present(_SHOWN_IN_RUN))
    plan.show(_present((home,)))
    for scratch in confinement.scratch:
        directory = expanded(scratch.directory, home)
        for name in (".", *(name for name in scratch.kept if name.endswith("/"))):
            (directory / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        plan.at[directory.resolve()] = "scratch"
        plan.kept[directory.resolve()] = frozenset(name.rstrip("/") for name in scratch.kept)
    plan.put("hide", _same(confinement.hide))
    plan.put("read", _same(confinement.read))
    plan.put("write", _same(confinement.write))
    plan.put("hide", _present(around.hidden))
    plan.at[around.workspace.resolve()] = "write"
    plan.show(path.resolve() for path in around.shown)  # there when the process starts
    plan.show(_present((*_programs(spec), *map(Path, (sys.prefix, sys.base_prefix)), Path(__file__).parents[1])))
    plan.close()
    return plan


def _programs(spec: ProcessSpec) -> Iterator[Path]:
    """Where the programs are that the process may start."""
    search = spec.env.get("PATH", os.defpath)
    yield from (Path(name) for name in search.split(os.pathsep) if name.startswith("/"))
    if found := shutil.which(spec.argv[0], path=search):
        for program in (Path(found).absolute(), Path(found).resolve()):
            yield program.parent
            # What it is a part of, in the two usual ways of having programs of one's own.
            yield from (place for place in program.parents if place.name == "node_modules")
            yield from (place for place in program.parents if (place / "pyvenv.cfg").is_file())


def _present(paths: Iterable[str | Path]) -> list[Path]:
    return [path.resolve() for path in map(Path, paths) if path.exists()]


def _homes() -> set[Path]:
    """The homes of the user, whatever the process's environment says."""
    found = {Path(os.path.expanduser("~"))}  # noqa: PTH111 - may name no user
    with contextlib.suppress(KeyError):
        found.add(Path(pwd.getpwuid(os.getuid()).pw_dir))
    return found


def _same(places: Iterable[str]) -> Iterator[Path]:
    """The places, which had no link in them when the run began. Raises OSError for one that leads elsewhere now."""
    for path in map(Path, places):
        if path.resolve() != path:
            raise OSError(errno.ELOOP, "a link was put there since the run began", str(path))
        if files.lexists(path):
            yield path


def expanded(text: str, home: Path) -> Path:
    """The path that a text beginning with `/` or `~` names."""
    return home / text.removeprefix("~").lstrip("/") if text.startswith("~") else Path(text)
