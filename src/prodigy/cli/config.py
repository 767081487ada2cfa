"""`config`: what is configured here, and where each value comes from."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import click

from prodigy.cli.common import json_option
from prodigy.cli.config_variables import remark
from prodigy.cli.given import checkout_around
from prodigy.cli.group import Group
from prodigy.cli.words import printable
from prodigy.errors import Problem, UsageError, WorkflowError
from prodigy.home import home
from prodigy.secrets import is_secret_name
from prodigy.workflow.configuration import problems_of
from prodigy.workflow.configuration_layers import Layer, layers, leaves
from prodigy.workflow.yaml_nodes import Mapping, Node, Position, Scalar

BUILT_IN: dict[str, object] = {
    "agents.default": "claude",
    "defaults.parallel_worktrees": 10,
    "defaults.retry_attempts": 1,
    "defaults.retry_backoff": "exponential",
    "defaults.timeout": "4h",
    "git.auto_cleanup": True,
    "git.branch_prefix": "prodigy",
    "git.merge_strategy": "merge",
    "logging.level": "info",
    "workspace.isolation": "worktree",
    "workspace.keep_failed": 0,
    "workspace.limits.total": 200,
    "workspace.reuse": "pooled",
}
HIDDEN = "***"


@dataclass(frozen=True)
class Value:
    """What one place says of a key. source: the file, `built in`, or a variable. line: in the file, else None."""

    value: object
    source: str
    line: int | None = None

    @property
    def place(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"

    def to_json(self) -> dict[str, object]:
        return {"value": self.value, "source": self.source, "line": self.line}


@click.group("config", cls=Group)
def config_group() -> None:
    """What is configured here, and where it comes from."""


@config_group.command("show")
@click.argument("key", metavar="[KEY]", required=False)
@json_option
def config_show_command(key: str | None, *, as_json: bool) -> None:
    """Show what counts in the repository you stand in, built-in values included; of KEY (such as budget) alone."""
    found = _layers()
    _refuse(problems_of(found))
    effective = {name: of_it[-1].value for name, of_it in _chosen(_values(found, built_in=True), key).items()}
    if as_json:
        click.echo(json.dumps(_nested(effective), indent=2))
        return
    for name, value in sorted(effective.items()):
        click.echo(printable(f"{name}: {_text(value)}"))


@config_group.command("trace")
@click.argument("key", metavar="[KEY]", required=False)
@click.option("--all", "every", is_flag=True, help="Built-in values too.")
@click.option("--overrides", is_flag=True, help="Only what stands in more than one place.")
@click.option("--diagnose", is_flag=True, help="Say what is wrong, covered, or without meaning.")
@json_option
def config_trace_command(key: str | None, *, every: bool, overrides: bool, diagnose: bool, as_json: bool) -> None:
    """Show where the value of KEY (such as budget.per_day_usd or budget; by default of all) comes from."""
    found = _layers()
    problems = problems_of(found)
    values = _values(found, built_in=every or key is not None)
    chosen = _chosen(values, key)
    if overrides:
        chosen = {name: of_it for name, of_it in chosen.items() if len(of_it) > 1}
    remarks = _remarks(values) if diagnose else []
    if as_json:
        _print_json(chosen, found, problems, remarks if diagnose else None)
    else:
        _show(chosen, found, problems if diagnose else [], remarks, diagnose=diagnose)
    if problems and not diagnose and not as_json:
        _refuse(problems)
    sys.exit(WorkflowError.exit_code if problems else 0)


def _layers() -> list[Layer]:
    return layers(checkout_around(Path()), os.environ)


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise WorkflowError(problems[0].file, problems)


# Values ----------------------------------------------------------------------------------------------------


def _values(found: list[Layer], *, built_in: bool) -> dict[str, list[Value]]:
    """Key -> what each place says of it, the one that counts last."""
    values = {key: [Value(value, "built in")] for key, value in BUILT_IN.items()} if built_in else {}
    for layer in found:
        for key, entry in leaves(layer.root) if layer.root else ():
            at: Position = entry.key.at
            source = at.file or layer.name
            line = at.line if layer.kind != "environment" else None
            values.setdefault(key, []).append(Value(_plain(entry.value, key), source, line))
    return values


def _plain(node: Node, name: str) -> object:
    """The JSON value of a node; what a name says is secret is hidden."""
    if isinstance(node, Mapping):
        return {key: _plain(entry.value, key) for key, entry in node.entries.items()}
    if not isinstance(node, Scalar):
        return [_plain(item, name) for item in node.items]
    if is_secret_name(name.rpartition(".")[2]) and node.kind == "str":
        return HIDDEN
    match node.kind:
        case "null":
            return None
        case "bool":
            return node.value.lower() == "true"
        case "int":
            return int(node.value, 0 if node.value.startswith(("0x", "0o")) else 10)
        case "float":
            return float(node.value.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return node.value


def _chosen(values: dict[str, list[Value]], key: str | None) -> dict[str, list[Value]]:
    """The keys that KEY names, or is the beginning of. Raises UsageError when there is none."""
    if key is None:
        return dict(sorted(values.items()))
    found = {name: of_it for name, of_it in sorted(values.items()) if name == key or name.startswith(f"{key}.")}
    if found or _is_known(key):
        return found
    known = [*known_keys(), *values]
    nearest = get_close_matches(key, known, 1)
    hint = f"Did you mean {nearest[0]}?" if nearest else f"There are: {', '.join(sorted({*known}))}"
    raise UsageError(f"no key of the configuration is called {printable(key)}", hint=printable(hint))


def known_keys() -> list[str]:
    """The keys of a configuration that have fixed names."""
    from prodigy.workflow import keys
    from prodigy.workflow.configuration_keys import ROOT, SECTIONS

    inner = [f"{name}.{key}" for name, table in SECTIONS.items() for key in table.runs]
    return [*ROOT.runs, *inner, *(f"workspace.{key}" for key in keys.WORKSPACE.runs)]


def _is_known(key: str) -> bool:
    return key in known_keys() or key.startswith(("agents.", "mcp_servers.", "workspace.limits."))


# Findings --------------------------------------------------------------------------------------------------


def _remarks(values: dict[str, list[Value]]) -> list[str]:
    """What is in order and may yet not be what was meant."""
    found = []
    set_ = {key for key, of_it in values.items() if of_it[-1].source != "built in"}
    if "defaults.retry_backoff" in set_ and "defaults.retry_attempts" not in set_:
        found.append("defaults.retry_backoff does nothing without defaults.retry_attempts")
    if "logging.level" in set_ and "logging.file" not in set_:
        found.append("logging.level does nothing without logging.file")
    found += [f"the variable {name} {said}" for name in sorted(os.environ) if (said := remark(name))]
    path = home() / "config.yml"
    if path.is_file() and path.stat().st_mode & 0o022:
        found.append(f"{path} can be written by others, who could make your runs start their programs: chmod go-w")
    return found


# Shown -----------------------------------------------------------------------------------------------------


def _text(value: object) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _nested(values: dict[str, object]) -> dict[str, object]:
    """`{"a.b": 1}` as `{"a": {"b": 1}}`."""
    root: dict[str, object] = {}
    for key, value in sorted(values.items()):
        *folders, last = key.split(".")
        place = root
        for folder in folders:
            inner = place.setdefault(folder, {})
            assert isinstance(inner, dict)
            place = inner
        place[last] = value
    return root


def _show(
    chosen: dict[str, list[Value]], found: list[Layer], problems: list[Problem], remarks: list[str], *, diagnose: bool
) -> None:
    for key, of_it in chosen.items():
        click.echo(printable(f"{key}: {_text(of_it[-1].value)}  ({of_it[-1].place})"))
        for one in reversed(of_it[:-1]):
            click.echo(printable(f"    covers {_text(one.value)}  ({one.place})"))
    if not chosen:
        places = ", ".join(layer.name for layer in found)
        click.echo(printable(f"nothing is configured; looked at: {places}"))
    for problem in problems:
        click.echo(printable(f"PROBLEM  {problem.place('')}: {problem.message}"))
        if problem.hint:
            click.echo(printable(f"         {problem.hint}"))
    for said in remarks:
        click.echo(printable(f"note     {said}"))
    if diagnose and not (problems or remarks):
        click.echo("nothing is wrong")


def _print_json(
    chosen: dict[str, list[Value]], found: list[Layer], problems: list[Problem], remarks: list[str] | None
) -> None:
    facts: dict[str, object] = {
        "values": [
            {"key": key, **of_it[-1].to_json(), "covers": [one.to_json() for one in reversed(of_it[:-1])]}
            for key, of_it in chosen.items()
        ],
        "places": [{"kind": one.kind, "name": one.name, "says_something": one.root is not None} for one in found],
        "problems": [
            {"file": one.file, "line": one.line or None, "column": one.column or None,
             "message": one.message, "hint": one.hint}
            for one in problems
        ],
    }  # fmt: skip
    click.echo(json.dumps(facts if remarks is None else {**facts, "notes": remarks}, indent=2))
