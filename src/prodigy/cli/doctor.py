"""`doctor`: whether runs will work on this machine. It looks, and changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import click

import prodigy
from prodigy import plugins
from prodigy.cli import common
from prodigy.cli import doctor_checks as checks
from prodigy.cli.doctor_agents import branch_prefix, configured_findings
from prodigy.cli.doctor_checks import Finding
from prodigy.cli.words import printable
from prodigy.engine.run import inherited_environment
from prodigy.engine.scoped import withheld
from prodigy.errors import EnvironmentProblem, ProdigyError
from prodigy.executors import capacity, sandbox
from prodigy.git.command import GitError, run_git
from prodigy.git.context import MINIMUM_VERSION, common_dir_around, discover
from prodigy.home import home
from prodigy.workflow.agent_settings import CLAUDE, NO_AGENTS
from prodigy.workflow.shell.syntax import find_shfmt

AGENTS = ("claude", "codex", "gemini", "opencode", "aider")
PROBE_TIMEOUT_S = 10.0
PROBLEM_EXIT_CODE = EnvironmentProblem.exit_code

_SYSCTLS = (
    "kernel.unprivileged_userns_clone",
    "user.max_user_namespaces",
    "kernel.apparmor_restrict_unprivileged_userns",
)
_MARKS = {"ok": ("ok", "green"), "warning": ("warning", "yellow"), "problem": ("PROBLEM", "red")}


@click.command("doctor")
@click.argument("workflow", metavar="[WORKFLOW]", required=False, type=click.Path(path_type=Path))
@common.json_option
def doctor_command(workflow: Path | None, *, as_json: bool) -> None:
    """Check git, disk, limits, configuration, agents and the repository you stand in; with WORKFLOW also the agents
    that it uses. Changes nothing; exits with 5 on a problem."""
    findings = [*_findings(Path.cwd()), *configured_findings(workflow)]
    has_problem = any(finding.level == "problem" for finding in findings)
    if as_json:
        click.echo(json.dumps({"ok": not has_problem, "findings": [asdict(f) for f in findings]}, indent=2))
    else:
        _show(findings)
    if has_problem:
        sys.exit(PROBLEM_EXIT_CODE)


def _show(findings: Iterable[Finding]) -> None:
    for finding in findings:
        mark, colour = _MARKS[finding.level]
        click.echo(f"{click.style(f'{mark:8}', fg=colour)} {finding.name:13} {printable(finding.what)}")
        if finding.hint:
            click.echo(f"{'':22} {printable(finding.hint)}")


def _findings(where: Path) -> Iterator[Finding]:
    root = _root(where)
    looks: list[tuple[str, Callable[[], Finding]]] = [
        ("git", _git),
        ("bash", lambda: checks.program("bash", shutil.which("bash"), "shell steps run in it", "Install bash.")),
        ("shfmt", _shfmt),
        ("repository", lambda: _repository(where)),
        ("signing", lambda: _signing(where)),
        ("installation", lambda: _installation(root)),
        ("agents", lambda: checks.agents(_agent_versions())),
        ("variables", _agent_variables),
        ("home", _home),
        ("file system", lambda: checks.file_system(_mounts(), _existing(home()))),
        ("disk", lambda: _space("disk (home)", home())),
        *([("disk", lambda: _space("disk (repo)", root))] if root is not None else []),
        ("open files", lambda: checks.descriptors(capacity.open_files_limit())),
        ("processes", _processes),
        ("memory", _memory),
        ("sandbox", _sandbox),
        ("logout", _logout),
        ("process tree", _process_tree),
        *(("plugin", partial(_plugin, plugin)) for group in plugins.WORDS for plugin in plugins.installed(group)),
    ]
    for name, look in looks:
        try:
            yield look()
        except (OSError, ProdigyError, subprocess.SubprocessError, ValueError) as error:
            # One thing that can't be seen must not hide the others.
            yield Finding(name, "warning", f"this could not be checked: {error}")


# Programs --------------------------------------------------------------------------------------------------


def _git() -> Finding:
    text = _printed_by(["git", "version"])
    return checks.git_version(text, MINIMUM_VERSION)


def _shfmt() -> Finding:
    try:
        path: str | None = find_shfmt()
    except EnvironmentProblem:
        path = None
    return checks.program("shfmt", path, "it reads the shell text of workflows", "Install it: pip install shfmt-py")


def _agent_versions() -> dict[str, str]:
    """The agent programs on PATH; one that does not answer is there all the same."""
    found = {}
    for name in AGENTS:
        if path := shutil.which(name):
            lines = (_printed_by([path, "--version"]) or "").strip().splitlines()
            found[name] = lines[0][:60] if lines else "(does not tell its version)"
    return found


def _plugin(plugin: plugins.Plugin) -> Finding:
    try:
        plugins.load(plugin.group, plugin.name)
    except EnvironmentProblem as error:
        return Finding("plugin", "problem", error.what, error.hint)
    return Finding("plugin", "ok", f"{plugins.WORDS[plugin.group]} {plugin.name}, of {plugin.package} {plugin.version}")


def _agent_variables() -> Finding:
    mine = inherited_environment()
    return checks.agent_variables(len(mine), len(withheld(NO_AGENTS, CLAUDE, mine)))


def _printed_by(argv: list[str]) -> str | None:
    """What a program prints, None when it can't be run or fails. It runs outside of the repository, whose files it
    must not read as its configuration."""
    try:
        done = subprocess.run(
            argv, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else None


# The repository --------------------------------------------------------------------------------------------


def _root(where: Path) -> Path | None:
    try:
        common_dir = common_dir_around(where)
    except (ProdigyError, ValueError):
        return None  # the checks of git and of the repository say why; a git that is too old answers nonsense
    return common_dir.parent if common_dir.name == ".git" else where


def _repository(where: Path) -> Finding:
    name = "repository"
    try:
        context = discover(where, branch_prefix())
    except EnvironmentProblem as problem:
        # Standing elsewhere is no fault of the machine.
        level: checks.Level = "warning" if problem.what == "not a git repository" else "problem"
        return Finding(name, level, f"{where}: {problem.what}", problem.hint)
    except GitError as error:
        return Finding(name, "problem", f"{where}: {error.what}", error.hint or "git fsck")
    if context.branch is None:
        return Finding(
            name, "warning", "HEAD is detached: there is no branch to merge a result into",
            "Switch to a branch first, or take the run's branch afterwards.",
        )  # fmt: skip
    files = "file" if context.dirty == 1 else "files"
    note = f", {context.dirty} changed or untracked {files} that runs do not see" if context.dirty else ""
    return Finding(name, "ok", f"on {context.branch.removeprefix('refs/heads/')}{note}")


def _signing(where: Path) -> Finding:
    arguments = ["config", "--show-scope", "--type=bool", "--get-all", "commit.gpgsign"]
    printed = run_git(arguments, cwd=where, user_config=True, ok=(0, 1)).text
    # We say false on the command line ourselves.
    lines = (line.split("\t", 1) for line in printed.splitlines())
    return checks.signing([value for scope, value in lines if scope != "command"])


def _installation(root: Path | None) -> Finding:
    package = Path(prodigy.__file__).resolve().parent
    return checks.installation(package, Path(sys.prefix).resolve(), root.resolve() if root else None)


# Disk ------------------------------------------------------------------------------------------------------


def _existing(path: Path) -> Path:
    """The path, or the directory above it that is there; links resolved."""
    path = path.resolve()
    while not path.exists():
        path = path.parent
    return path


def _space(name: str, path: Path) -> Finding:
    facts = os.statvfs(_existing(path))
    inodes = facts.f_favail if facts.f_files else None
    return checks.space(name, path, facts.f_bavail * facts.f_frsize, inodes)


def _home() -> Finding:
    path = home()
    writable = os.access(_existing(path), os.W_OK | os.X_OK)
    if not path.exists():
        return checks.home_access(path, None, None, os.getuid(), writable=writable)
    facts = path.stat()
    return checks.home_access(path, facts.st_mode, facts.st_uid, os.getuid(), writable=writable and path.is_dir())


def _mounts() -> str:
    """Mounts as /proc/mounts has them; elsewhere made from what `mount` prints."""
    table = Path("/proc/mounts")
    if table.exists():
        return table.read_text(errors="surrogateescape")
    return checks.mounts_from_bsd(_printed_by(["mount"]) or "")


# Limits ----------------------------------------------------------------------------------------------------


def _processes() -> Finding:
    return checks.processes(capacity.available_processes())


def _memory() -> Finding:
    return checks.memory(capacity.available_memory_mb())


# Processes and sandboxes -----------------------------------------------------------------------------------


def _sandbox() -> Finding:
    if sys.platform != "linux":
        return Finding("sandbox", "ok", "bwrap is for Linux; a wrapper of your own can be used")
    problem = sandbox.problem()
    values = {}
    for name in _SYSCTLS:
        path = Path("/proc/sys", *name.split("."))
        if path.exists():
            values[name] = path.read_text()
    return checks.user_namespaces(problem, values, installed=shutil.which(sandbox.PROGRAM) is not None)


def _logout() -> Finding:
    manager = _printed_by(["loginctl", "show-user", "--property=KillUserProcesses"]) if _has_systemd() else None
    files = [Path("/etc/systemd/logind.conf"), *sorted(Path("/etc/systemd/logind.conf.d").glob("*.conf"))]
    written = [path.read_text(errors="replace") for path in files if path.is_file()] if _has_systemd() else []
    return checks.logout(manager, "\n".join(written))


def _has_systemd() -> bool:
    return Path("/run/systemd/system").is_dir()


def _process_tree() -> Finding:
    return checks.process_tree(proc=Path("/proc/self/stat").exists(), subreaper=_knows_subreapers())


def _knows_subreapers() -> bool:
    """Ask the kernel without becoming one."""
    if sys.platform != "linux":
        return False
    try:
        import ctypes
    except ImportError:
        return False  # then the wardens can't ask for it either
    answer = ctypes.c_int()
    return bool(ctypes.CDLL(None).prctl(37, ctypes.byref(answer), 0, 0, 0) == 0)  # PR_GET_CHILD_SUBREAPER
