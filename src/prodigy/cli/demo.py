"""`demo`: a real job on a real package, with failures, retries, a report and the merge; no model needed."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata, resources
from importlib.resources.abc import Traversable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click

from prodigy.agents import agent as agent_named
from prodigy.agents.base import find_program
from prodigy.errors import EnvironmentProblem, ProdigyError, UsageError
from prodigy.git.command import run_git
from prodigy.git.identity import FALLBACK_EMAIL, FALLBACK_NAME
from prodigy.starters.demo.tools.claim import claim_file
from prodigy.starters.demo.tools.find import items

PACKAGE = "rich"  # always installed with us, and of a good size: a hundred modules
_WITH_DEAD_LETTERS = 3  # exit status
_LARGE = 1000  # lines; modules above are claimed, see the workflow
_CLAUDE_ACCOUNT = (
    *("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"),
    *("CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_USE_FOUNDRY"),
)
_NEXT = {
    None: "The same with real agents: prodigy demo --agent claude",
    "claude": "The same without agents, on every module: prodigy demo",
}
_PATIENCE_S = 5.0  # with a command that was told to stop
_COST = """This starts five sessions of Claude Code under your account; each rewrites one
small module. That costs money, or counts against your plan: as a rough guess,
some tenths of a dollar for each."""


@dataclass(frozen=True)
class _Stage:
    """Where the demo plays, all of it in one temporary folder."""

    folder: Path

    @property
    def repository(self) -> Path:
        return self.folder / "repo"

    @property
    def claims(self) -> Path:
        return self.folder / "claims"

    def settings(self) -> dict[str, str]:
        """What differs from the user's environment."""
        return {
            "PRODIGY_HOME": str(self.folder / "home"),
            "DEMO_CLAIMS": str(self.claims),
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        }

    def environment(self) -> dict[str, str]:
        foreign = ("PRODIGY_", "GIT_")  # a run or a hook we are called from, which is no business of the demo's
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return kept | self.settings()


@click.command("demo")
@click.option("--agent", type=click.Choice(["claude"]), help="Let a real agent do the work, on five modules.")
@click.option("-y", "--yes", is_flag=True, help="Don't ask before an agent costs money.")
@click.option("--keep", is_flag=True, help="Keep the demo's directory to look around in it.")
def demo_command(*, agent: str | None, yes: bool, keep: bool) -> None:
    """Modernise the type annotations of a real package, many modules at a time, and merge the result.

    Some modules fail, and are mended, retried or left for people. It takes less than a minute, needs no model, and
    happens in a temporary directory: nothing of yours is touched.
    """
    if agent is not None:
        _make_sure_of_claude()
        _agree_on_cost(yes=yes)
    stage = _Stage(Path(tempfile.mkdtemp(prefix="prodigy-demo-")))
    with _ended_by_signals(), _cleaned_up(stage, keep=keep):
        _set_up(stage, agent)
        _play(stage, agent, keep=keep)


# Before anything is made ------------------------------------------------------------------------------------


def _make_sure_of_claude() -> None:
    find_program(agent_named("claude"), None, os.environ.get("PATH", os.defpath))
    if not _has_claude_account(os.environ):
        raise EnvironmentProblem(
            "Claude Code is installed, but it is not logged in",
            hint="Run `claude` once and log in, or set ANTHROPIC_API_KEY. `prodigy demo` alone needs neither.",
        )


def _has_claude_account(environment: Mapping[str, str]) -> bool:
    """Whether there is something to log in with; whether it is accepted only a session can tell."""
    if any(environment.get(name) for name in _CLAUDE_ACCOUNT):
        return True
    home = Path(environment.get("HOME", "/"))
    directory = Path(environment.get("CLAUDE_CONFIG_DIR") or home / ".claude")
    if (directory / ".credentials.json").is_file() or _has_key(directory / "settings.json", "apiKeyHelper"):
        return True
    # On macOS the tokens are in the keychain; this file says that somebody logged in.
    state = directory if environment.get("CLAUDE_CONFIG_DIR") else home
    return sys.platform == "darwin" and _has_key(state / ".claude.json", "oauthAccount")


def _has_key(file: Path, key: str) -> bool:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and bool(content.get(key))


def _agree_on_cost(*, yes: bool) -> None:
    click.echo(_COST, err=True)
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to agree to that", hint="Agree beforehand: prodigy demo --agent claude --yes")
    click.confirm("Go on?", abort=True, err=True)


# The stage --------------------------------------------------------------------------------------------------


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the demo as Ctrl-C does, with its clean-up."""

    def end(number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _cleaned_up(stage: _Stage, *, keep: bool) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        click.echo(f"\nThe demo broke. Its directory is kept: {stage.folder}", err=True)
        if isinstance(error, ProdigyError):
            error.hint = error.hint or f"Look at it with: {_look(stage)} && prodigy status latest"
        raise
    except BaseException:
        shutil.rmtree(stage.folder, ignore_errors=True)
        raise
    if not keep:
        shutil.rmtree(stage.folder, ignore_errors=True)


def _look(stage: _Stage) -> str:
    """What to type to stand on the stage."""
    return f"cd {shlex.quote(str(stage.repository))} && . ../env"


def _set_up(stage: _Stage, agent: str | None) -> None:
    """A repository with the package, the tools and the workflow in one commit, and the programs it needs."""
    starters = resources.files("prodigy.starters") / "demo"
    _copy_modules(resources.files(PACKAGE), stage.repository / PACKAGE)
    _copy_modules(starters / "tools", stage.repository / "tools")
    workflow = "modernise.yml" if agent is None else f"modernise-{agent}.yml"
    (stage.repository / "modernise.yml").write_bytes((starters / workflow).read_bytes())
    (stage.repository / ".gitignore").write_text("__pycache__/\n")
    identity = {
        f"GIT_{role}_{part}": value
        for role in ("AUTHOR", "COMMITTER")
        for part, value in (("NAME", FALLBACK_NAME), ("EMAIL", FALLBACK_EMAIL))
    }
    for args in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", _package()], ["tag", "start"]):
        run_git(args, cwd=stage.repository, env=identity)
    _make_programs(stage)
    _claim(stage)


def _package() -> str:
    return f"{PACKAGE} {metadata.version(PACKAGE)}"


def _copy_modules(source: Traversable, target: Path) -> None:
    target.mkdir(parents=True)
    for entry in source.iterdir():
        if entry.is_dir() and entry.name != "__pycache__":
            _copy_modules(entry, target / entry.name)
        elif entry.name.endswith(".py"):
            (target / entry.name).write_bytes(entry.read_bytes())


def _make_programs(stage: _Stage) -> None:
    """`python3` and `prodigy`, whatever the user has under these names, and `env` to be sourced by who looks around."""
    (stage.folder / "bin").mkdir()
    python = f"unset PYTHONSAFEPATH; export PYTHONDONTWRITEBYTECODE=1; exec {shlex.quote(sys.executable)}"
    for name, arguments in (("python3", ""), ("prodigy", " -m prodigy.cli.main")):
        program = stage.folder / "bin" / name
        program.write_text(f'#!/bin/sh\n{python}{arguments} "$@"\n')
        program.chmod(0o755)
    homes = {name: value for name, value in stage.settings().items() if name != "PATH"}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in homes.items()]
    lines.append(f'export PATH={shlex.quote(str(stage.folder / "bin"))}:"$PATH"')
    (stage.folder / "env").write_text("\n".join(lines) + "\n")


def _claim(stage: _Stage) -> None:
    """Two colleagues have the two largest modules: Ben until we say so, Ada until she was asked twice."""
    stage.claims.mkdir()
    large = [item for item in items(stage.repository / PACKAGE) if int(item["lines"]) > _LARGE]
    for item, claim in zip(large, ("Ben", "Ada 2"), strict=False):
        module = Path(str(item["path"])).relative_to(stage.repository)
        claim_file(stage.claims, module.as_posix()).write_text(f"{claim}\n")


# The play ---------------------------------------------------------------------------------------------------


def _play(stage: _Stage, agent: str | None, *, keep: bool) -> None:
    click.echo(f"A repository with the source of {_package()}, and a workflow for it:\n\n$ cat modernise.yml")
    click.echo((stage.repository / "modernise.yml").read_text().rstrip())
    code = _prodigy(stage, "run", "modernise.yml", "--yes", expect=(0, _WITH_DEAD_LETTERS))
    if not _diff(stage, "--name-only"):
        raise ProdigyError("not a single module was rewritten", hint="Above is what became of them.")
    if code == _WITH_DEAD_LETTERS:
        _prodigy(stage, "dlq", "list")
    held = sorted(stage.claims.iterdir()) if agent is None else []
    for file in held:
        click.echo(f"\n$ rm ../claims/{file.name}  # Ben is done with this module")
        file.unlink()
        module = file.name.replace("--", "/")
        _prodigy(stage, "dlq", "retry", "latest", "--item", module, "--yes", expect=(0, _WITH_DEAD_LETTERS))
    _show_work(stage)
    _conclude(stage, agent, keep=keep)


def _show_work(stage: _Stage) -> None:
    """What the job has made: its numbers, one diff, the head of the report."""
    click.echo(f"\n$ git diff --shortstat start {PACKAGE}\n {_diff(stage, '--shortstat')}")
    rows = [row.split("\t") for row in _diff(stage, "--numstat").splitlines()]
    telling = min(rows, key=lambda row: (abs(int(row[0]) - 4), row[2]))[2]
    click.echo(f"\n$ git diff -U0 start {telling}\n{_diff(stage, '-U0', path=telling)}")
    head = (stage.repository / "REPORT.md").read_text().split("\n| module")[0]
    click.echo(f"\n$ sed '/^| module/,$d' REPORT.md\n{head.rstrip()}")


def _conclude(stage: _Stage, agent: str | None, *, keep: bool) -> None:
    """Five lines: what happened, and what to type next."""
    done = len(_diff(stage, "--name-only").splitlines())
    told = _told(stage)
    click.echo(
        f"\n{done} of {done + told.left} modules of {_package()} were rewritten, checked and merged into main."
        f"\nFailures: {told.mended} mended by on_failure, {told.again} tried again by retry,"
        f" {told.healed} healed by dlq retry."
        f"\nDead letters, with their work kept for a person to look at: {told.left}."
    )
    if keep:
        click.echo(f"Look around: {_look(stage)}")
        click.echo("and there:   prodigy dlq list; prodigy events ls; git log --oneline")
    else:
        click.echo("Nothing is left of this on your disk. To look around: prodigy demo --keep")
        click.echo(_NEXT[agent])


def _diff(stage: _Stage, *options: str, path: str = PACKAGE) -> str:
    return run_git(["diff", "--no-ext-diff", *options, "start", "--", path], cwd=stage.repository).text.strip()


@dataclass(frozen=True)
class _Told:
    """What the events tell: items mended by a handler, tries that a step had again, dead letters healed and left."""

    mended: int
    again: int
    healed: int
    left: int


def _told(stage: _Stage) -> _Told:
    by_type: dict[str, list[dict[str, Any]]] = {}
    for line in _captured(stage, "events", "ls", "--json").splitlines():
        event = json.loads(line)["event"]
        by_type.setdefault(event["event_type"], []).append(event)

    def values(event_type: str, key: str) -> list[str]:
        return [event[key] for event in by_type.get(event_type, [])]

    handled = {path.split("/on_failure/")[0] for path in values("step_started", "path") if "/on_failure/" in path}
    mended = handled & {path.rpartition("/")[0] for path in values("step_settled", "path")}
    dead, removed = set(values("dlq_item_added", "item_id")), set(values("dlq_item_removed", "item_id"))
    return _Told(len(mended), len(values("step_retrying", "path")), len(dead & removed), len(dead - removed))


def _captured(stage: _Stage, *args: str) -> str:
    """What a command prints, which is not shown."""
    done = subprocess.run(
        _argv(args), cwd=stage.repository, env=stage.environment(), stdout=subprocess.PIPE, check=False
    )
    _expect(args, done.returncode, (0,))
    return done.stdout.decode()


def _prodigy(stage: _Stage, *args: str, expect: tuple[int, ...] = (0,)) -> int:
    """Run one command as a user would, and show it with all it prints. Returns its exit status."""
    click.echo(f"\n$ prodigy {' '.join(args)}")
    sys.stdout.flush()
    process = subprocess.Popen(_argv(args), cwd=stage.repository, env=stage.environment())
    try:
        code = process.wait()
    except (KeyboardInterrupt, SystemExit):
        _stop(process)
        raise
    _expect(args, code, expect)
    return code


def _argv(args: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "prodigy.cli.main", *args]


def _expect(args: tuple[str, ...], code: int, expected: tuple[int, ...]) -> None:
    if code not in expected:
        raise ProdigyError(
            f"prodigy {' '.join(args)} ended with {code}, see above; expected: {' or '.join(map(str, expected))}"
        )


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the command and the steps it has running. In a terminal it has heard Ctrl-C as well; a second signal ends
    what runs, where the first lets it finish."""
    for patience_s in (_PATIENCE_S, 6 * _PATIENCE_S):
        process.send_signal(signal.SIGINT)
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            continue
        return
    process.kill()
    process.wait()
