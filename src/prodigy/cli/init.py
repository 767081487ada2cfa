"""`init`: a first workflow, out of a starter."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from prodigy.cli import from_template as templates
from prodigy.cli.common import json_option
from prodigy.cli.given import configuration, read_given
from prodigy.cli.init_questions import ask_cost, ask_value, ask_which
from prodigy.cli.new_files import write_new
from prodigy.cli.stack import Stack, stack_of
from prodigy.cli.words import printable, quoted
from prodigy.errors import UsageError
from prodigy.git.context import checkout_around, has_commit, is_ignored
from prodigy.workflow.configuration import Configuration
from prodigy.workflow.slash_commands import Command, with_commands
from prodigy.workflow.template_edits import with_value
from prodigy.workflow.templates import STARTERS, Template, template
from prodigy.workflow.templates import templates as known_templates

PROGRAMS = ("claude", "codex", "gemini", "opencode", "aider")
WITHOUT_AGENT = "shell-only"
WITH_AGENT = "fix-problems"
SCHEMA = Path(".prodigy/schema.json")
# Their texts are what strangers wrote, which Claude Code must not look through for commands to run.
_PROMPTS_STAY = frozenset({"triage-issues"})
# Taken from the repository only where a starter does not mean all files.
_WHERE = frozenset({"files", "sources"})
_LIMIT = "limit"  # the parameter by which starters with a map do a few items first


@dataclass(frozen=True)
class Wanted:
    """What the user wants; None: not said yet."""

    starter: str | None
    agent: str | None
    max_parallel: int | None
    budget: float | None
    params: tuple[str, ...]
    asks: bool


@dataclass(frozen=True)
class Plan:
    """What is to be written. taken: parameter -> value, as the repository's own files say."""

    source: templates.Source
    agent: str | None
    values: dict[str, object]
    taken: dict[str, object]
    wanted: Wanted


@click.command("init")
@click.argument("directory", required=False, type=click.Path(path_type=Path))
@click.option("-p", "--path", "path", type=click.Path(path_type=Path), help="The same as DIRECTORY.")
@click.option("--starter", metavar="NAME", help="The job: a starter or a template (`prodigy template list`).")
@click.option("--agent", metavar="NAME", help="What runs it: claude, codex, gemini, ... or one you have configured.")
@click.option("--max-parallel", type=click.IntRange(min=1), metavar="N", help="How many items at a time.")
@click.option("--budget", type=click.FloatRange(min=0, min_open=True), metavar="USD", help="What it may cost in all.")
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter's value; may be given again.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="The workflow's file.")
@click.option("-c", "--commands", metavar="NAMES", help="Only these commands of Claude Code, with commas between them.")
@click.option("-f", "--force", is_flag=True, help="Replace files that are there already.")
@click.option("-y", "--yes", is_flag=True, help="Ask nothing: take the defaults.")
@json_option
def init_command(
    directory: Path | None,
    path: Path | None,
    *,
    output: Path | None,
    commands: str | None,
    force: bool,
    yes: bool,
    as_json: bool,
    **wishes: Any,
) -> None:
    """Write a first workflow for the repository in DIRECTORY, by default the one you stand in.

    On a terminal it asks for the job, for the agent and for what it may cost; elsewhere, and with --yes, it takes the
    flags and defaults. It writes the workflow, a schema for editors, and for Claude Code the commands that the workflow
    uses (`.claude/commands`); all of them or nothing, and nothing over what is there.
    """
    if directory and path and directory != path:
        raise UsageError("DIRECTORY and --path name two directories", hint="Give one of them.")
    root = checkout_around(_directory(directory or path or Path()))
    asks = not yes and not as_json and sys.stdin.isatty() and sys.stderr.isatty()
    if commands is not None:
        files = {root / command.file: command.text for command in _commands(commands)}
        _refuse_outside(root, files)
        _show(write_new(files, force=force), [], as_json=as_json)
        return
    plan = _plan(root, Wanted(asks=asks, **wishes))
    target = (output or root / "workflows" / f"{plan.source.template.name}.yml").absolute()
    text, extra = _texts(root, plan, target)
    templates.check_text(text, target, read_given((), None, None, configuration(root)))
    files = {target: text, root / SCHEMA: _schema(), **{root / each.file: each.text for each in extra}}
    _refuse_outside(root, (each for each in files if not (output and each == target)))
    written = write_new(files, force=force, ours=lambda each: each == root / SCHEMA and _is_ours(each))
    facts = {"starter": plan.source.template.name, "agent": plan.agent, "parameters": {**plan.taken, **plan.values}}
    _show(written, list(_notes(root, plan, extra)), _next(root, plan, target, extra), as_json=as_json, **facts)


def _directory(directory: Path) -> Path:
    if directory.is_dir():
        return directory
    what = "this is no directory" if directory.exists() else "there is no such directory"
    raise UsageError(what, where=printable(str(directory)), hint="Name the directory of a repository.")


# What is wanted -----------------------------------------------------------------------------------------------


def _plan(root: Path, wanted: Wanted) -> Plan:
    configured = configuration(root)
    installed = [name for name in PROGRAMS if shutil.which(_program(name))]
    default = next(iter((*configured.agents.default, *installed)), None)
    source = templates.read_source(template(_starter(root, wanted, has_agent=default is not None), root))
    values = templates.given_values(wanted.params, source)
    agent = _agent(wanted, source, configured, installed, default)
    stack = stack_of(root)
    taken = _taken(source, stack, values)
    if wanted.asks:
        costs = agent is not None and _tells_cost(root, agent)
        if costs and wanted.budget is None and (cost := _budget_of(source)):
            wanted = replace(wanted, budget=ask_cost("What may it cost in all, in US dollars?", cost))
        values |= {each.name: ask_value(each) for each in source.missing if each.name not in values}
    templates.require_values(source, values, f"prodigy init --starter {source.template.name}")
    return Plan(source, agent, values, taken, wanted)


def _starter(root: Path, wanted: Wanted, *, has_agent: bool) -> str:
    default = WITH_AGENT if has_agent else WITHOUT_AGENT
    if wanted.starter or not wanted.asks:
        return wanted.starter or default
    found = [(each.name, templates.read_source(each).about.description) for each in known_templates(root)]
    return ask_which("What is to be done?", found, default)


def _agent(
    wanted: Wanted, source: templates.Source, configured: Configuration, installed: list[str], default: str | None
) -> str | None:
    own = [each.name for each in configured.agents.known]
    known = list(dict.fromkeys((*own, *PROGRAMS)))
    if not source.runs_agents:
        if wanted.agent:
            raise UsageError(f"{source.template.name} runs no agent", hint="Leave --agent out.")
        return None
    if wanted.agent is not None:
        if wanted.agent not in known:
            nearest = get_close_matches(wanted.agent[:100], known, 1)
            hint = f"Did you mean {nearest[0]}?" if nearest else f"There are {', '.join(known)}."
            raise UsageError(f"there is no agent {printable(wanted.agent)}", hint=hint)
        return wanted.agent
    if not wanted.asks:
        return default or PROGRAMS[0]
    about = {name: "installed" if name in installed else "not installed" for name in PROGRAMS}
    choices = [(name, "from your configuration" if name in own else about[name]) for name in known]
    return ask_which("Which agent does it?", choices, default or PROGRAMS[0])


def _program(kind: str) -> str:
    from prodigy.agents import agent

    return agent(kind).program


def _taken(source: templates.Source, stack: Stack | None, values: dict[str, object]) -> dict[str, object]:
    """What the repository says of parameters that nobody has given. Where nothing is known of tests, none are run."""
    known = {"tests": "true", **(stack.values if stack else {})} if source.template.place == "starter" else {}
    names = {each.name: each.default.value if each.default else None for each in source.parameters}
    return {
        name: value
        for name, value in known.items()
        if name in names and name not in values and (name not in _WHERE or names[name] == "src")
    }


def _budget_of(source: templates.Source) -> float | None:
    from prodigy.workflow.template_edits import scalar_at

    found = scalar_at(source.text, ("budget", "max_cost_usd"))
    return float(found) if found else None


# What is written ----------------------------------------------------------------------------------------------


def _texts(root: Path, plan: Plan, target: Path) -> tuple[str, list[Command]]:
    name = plan.source.template.name
    text = templates.filled(plan.source, {**plan.taken, **plan.values})
    if plan.agent:
        own = any(each.name == plan.agent for each in configuration(root).agents.known)
        text = templates.with_agent(text, plan.agent, configured=own)
        if not _tells_cost(root, plan.agent) and plan.wanted.budget is None:
            text = templates.without_budget(text)
    places = {
        "--max-parallel": (plan.wanted.max_parallel, (("map", "max_parallel"), ("parallel_worktrees",))),
        "--budget": (_number(plan.wanted.budget), (("budget", "max_cost_usd"),)),
    }
    for flag, (value, paths) in places.items():
        if value is not None:
            changed = next((done for each in paths if (done := with_value(text, each, value)) is not None), None)
            if changed is None:
                raise UsageError(f"{name} has nothing that {flag} could limit", hint=f"Leave {flag} out.")
            text = changed
    commands: list[Command] = []
    if plan.agent == "claude" and _has_commands(plan):
        as_commands, commands = with_commands(text, name, plan.source.about.description)
        _refuse_outside(root, (root / each.file for each in commands))
        if any(is_ignored(root, each.file) for each in commands):
            commands = []
        text = as_commands if commands else text
    return templates.titled(text, target, _typed(target), root / SCHEMA), commands


def _tells_cost(root: Path, name: str) -> bool:
    """Whether a budget in dollars means anything: what an agent that does not tell its cost has used counts as all that
    was set aside for it, so a few starts would use it up."""
    from prodigy.agents import agent

    return agent(configuration(root).agents.kind(name)).abilities.cost != "unknown"


def _number(amount: float | None) -> float | None:
    """Whole dollars without a point."""
    return int(amount) if amount is not None and amount.is_integer() else amount


def _has_commands(plan: Plan) -> bool:
    """Whether Claude Code would get the prompts as commands."""
    return plan.source.template.place == "starter" and plan.source.template.name not in _PROMPTS_STAY


def _commands(names: str) -> Iterator[Command]:
    """Commands by their names, with or without `prodigy-`. Raises UsageError for one that there is not."""
    known: dict[str, Command] = {}
    for path in sorted(STARTERS.glob("*.yml")):
        source = templates.read_source(Template(path.stem, "starter", path))
        if path.stem not in _PROMPTS_STAY:
            known |= {each.name: each for each in with_commands(source.text, path.stem, source.about.description)[1]}
    for name in filter(None, map(str.strip, names.split(","))):
        full = name if name.startswith("prodigy-") else f"prodigy-{name}"
        if full not in known:
            nearest = get_close_matches(full[:100], known, 1)
            hint = f"Did you mean {nearest[0]}?" if nearest else f"There are {', '.join(known)}."
            raise UsageError(f"there is no command {printable(name)}", hint=hint)
        yield known[full]


def _schema() -> str:
    from prodigy.workflow.schema import workflow_schema

    return json.dumps(workflow_schema(), ensure_ascii=False) + "\n"


def _is_ours(schema: Path) -> bool:
    """Whether a file is the schema of another version, and no file of the user's."""
    try:
        found = json.loads(schema.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("title") == "Prodigy workflow"


def _refuse_outside(root: Path, files: Iterable[Path]) -> None:
    """A directory of the repository may be a link to anywhere."""
    for path in files:
        if not Path(os.path.realpath(path.parent)).is_relative_to(os.path.realpath(root)):
            hint = "Make it a directory of the repository, or name a file with --output."
            raise UsageError(f"{_typed(path.parent)} leads out of the repository, and nothing was written", hint=hint)


# What is said -------------------------------------------------------------------------------------------------


def _typed(path: Path, start: Path | None = None) -> str:
    """A path from where the user stands, or from `start`, as it is typed in a shell."""
    name = os.path.relpath(path, start)
    return quoted(f"./{name}" if name.startswith("-") else name)


def _notes(root: Path, plan: Plan, commands: list[Command]) -> Iterator[str]:
    if plan.taken:
        stack = stack_of(root)
        yield f"From {stack.file}:" if stack else "Nothing here says how it is tested, so nothing is:"
        yield from (f"  {name}: {printable(str(value))}" for name, value in plan.taken.items())
        yield "These and the other parameters are at the top of the file; change what is wrong."
    if plan.agent and not _tells_cost(root, plan.agent) and plan.wanted.budget is None:
        yield f"{plan.agent} does not tell what it costs, so there is no `budget`."
    if plan.agent in PROGRAMS and not shutil.which(_program(plan.agent)):
        from prodigy.agents import agent

        yield f"{plan.agent} is not on the PATH: {agent(plan.agent).install_hint}"
    if plan.agent == "claude" and not commands and _has_commands(plan):
        yield "The prompts stand in the workflow, because git ignores .claude/commands here."


def _next(root: Path, plan: Plan, target: Path, commands: list[Command]) -> list[str]:
    workflow = _typed(target)
    go = "" if root == Path.cwd() else f"cd {_typed(root)} && "
    if go:
        workflow = _typed(target, root)
    has_items = any(each.name == _LIMIT for each in plan.source.parameters)
    looks = "--dry-run --run-input" if has_items else "--dry-run"
    lines = [f"{go}prodigy validate {workflow}", f"prodigy run {workflow} {looks}"]
    if not has_commit(root):
        lines.insert(0, "git add . && git commit -m Start")
    else:  # agents see what is committed, and runs warn of what is not
        others = [str(SCHEMA)] if not is_ignored(root, str(SCHEMA)) else []
        others += [".claude/commands"] if commands else []
        lines.append(f"git add {' '.join([*others, workflow])}")
        lines.append("git commit -m 'Add a workflow'")
    if has_items:
        lines.append(f"prodigy run {workflow} --param {_LIMIT}=3")
    return [*lines, f"prodigy run {workflow}"]


def _show(written: list[Path], notes: list[str], then: list[str] | None = None, *, as_json: bool, **facts: Any) -> None:
    if as_json:
        files = [printable(os.path.relpath(each)) for each in written]
        click.echo(json.dumps({**facts, "files": files, "notes": notes, "next": then or []}, indent=2))
        return
    for each in written:
        click.echo(f"wrote {printable(os.path.relpath(each))}")
    if not written:
        click.echo("nothing to write: all of it is there already")
    for part in (notes, ["Next:", *(f"  {line}" for line in then)] if then else []):
        if part:
            click.echo("\n" + "\n".join(part))
