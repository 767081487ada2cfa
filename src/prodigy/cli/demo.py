"""`demo`: the main job on a copy of a real repository, with a failure and its retry, in a few seconds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path

import click

import prodigy
from prodigy.cli.common import here
from prodigy.errors import ProdigyError
from prodigy.git.command import run_git
from prodigy.git.identity import FALLBACK_EMAIL, FALLBACK_NAME

_COMPLETED_WITH_FAILURES = 3


@click.command("demo")
@click.option("--keep", is_flag=True, help="Keep the demo's directory to look around in it.")
def demo_command(*, keep: bool) -> None:
    """Run a map over a copy of the repository you stand in (or of Prodigy's own code): one item fails, is retried,
    and everything is merged. Nothing outside a temporary directory is touched."""
    folder = Path(tempfile.mkdtemp(prefix="prodigy-demo-"))
    try:
        _play(folder, _copy_of_a_repository(folder / "repo"))
    finally:
        if keep:
            click.echo(f"\nLook around: cd {folder / 'repo'}; export PRODIGY_HOME={folder / 'home'}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _copy_of_a_repository(target: Path) -> Path:
    common_dir = here()
    if common_dir is not None:
        run_git(["clone", "--quiet", "--no-hardlinks", "--", common_dir, str(target)])
        if run_git(["ls-files"], cwd=target).line:
            return target
        shutil.rmtree(target)
    package = Path(str(resources.files(prodigy)))
    shutil.copytree(package, target / "prodigy", ignore=shutil.ignore_patterns("__pycache__"))
    identity = {
        f"GIT_{role}_{part}": value
        for role in ("AUTHOR", "COMMITTER")
        for part, value in (("NAME", FALLBACK_NAME), ("EMAIL", FALLBACK_EMAIL))
    }
    for args in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "Prodigy's own code"]):
        run_git(args, cwd=target, env=identity)
    return target


def _play(folder: Path, repository: Path) -> None:
    workflow = folder / "demo.yml"
    workflow.write_text((resources.files("prodigy.starters") / "demo.yml").read_text())
    click.echo(workflow.read_text())
    _prodigy(folder, repository, "run", str(workflow), "--yes", expect=_COMPLETED_WITH_FAILURES)
    _prodigy(folder, repository, "dlq", "list")
    _prodigy(folder, repository, "dlq", "retry", "latest", "--yes")
    notes = sorted(path.name for path in (repository / "notes").iterdir())
    click.echo(f"\n$ ls notes\n{'  '.join(notes)}")
    click.echo(f"\n$ git log --oneline -5\n{run_git(['log', '--oneline', '-5'], cwd=repository).line}")


def _prodigy(folder: Path, repository: Path, *args: str, expect: int = 0) -> None:
    """Run one command as a user would, and show it."""
    click.echo(f"\n$ prodigy {' '.join(args)}")
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PRODIGY_RUN_ID"},
        "PRODIGY_HOME": str(folder / "home"),
        "PRODIGY_DEMO": str(folder),
    }
    sys.stdout.flush()
    done = subprocess.run(
        [sys.executable, "-m", "prodigy.cli.main", *args], cwd=repository, env=environment, check=False
    )
    if done.returncode != expect:
        raise ProdigyError(f"prodigy {args[0]} ended with {done.returncode} instead of {expect}")
