"""Workflows for the tests of the JSON Schema: those of other tests and of the documentation, and broken ones."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import docs_support as docs
from prodigy.workflow.yaml_compose import Document, compose
from prodigy.workflow.yaml_nodes import Mapping, Node, Sequence, Text

ROOT = Path(__file__).parents[2]
_LONGEST = 20_000
# What every mapping or list that is one has in it; to read all other texts takes long.
_LIKELY = re.compile(r"map|steps|commands|tasks|^[ \t]*[-\[]", re.MULTILINE)


def plain(node: Node | None) -> object:
    """What a program that knows YAML 1.2 makes of the nodes."""
    if isinstance(node, Mapping):
        return {name: plain(entry.value) for name, entry in node.entries.items()}
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    if node is None or node.kind == "null":
        return None
    match node.kind:
        case "bool":
            return node.value.lower() == "true"
        case "int":
            return int(node.value, 0 if node.value.startswith(("0x", "0o")) else 10)
        case "float":
            return float(node.value.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return node.value


def document(text: str) -> Document | None:
    """The nodes of a text; None when they can't be read."""
    try:
        found = compose(Text(text))
    except Exception:  # noqa: BLE001 - many kinds, and none of them matters here
        return None
    return None if found.problems else found


def workflows_in_use() -> Iterator[str]:
    """Every text in the tests, the documentation, the examples and the starters that looks like a workflow."""
    found = [*_in_tests(), *_in_pages()]
    for folder in ("examples", "src/prodigy/starters"):
        found += [path.read_text() for path in sorted((ROOT / folder).rglob("*.y*ml"))]
    yield from dict.fromkeys(text for text in found if _looks_like_one(text))


def _in_tests() -> Iterator[str]:
    for path in sorted((ROOT / "tests").rglob("*.py")):
        if {"node_modules", "site-packages"} & {*path.parts}:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and ":" in node.value:
                yield node.value


def _in_pages() -> Iterator[str]:
    for page in docs.pages():
        yield from (docs.workflow_text(block) for block in page.blocks if block.language == "yaml")


def _looks_like_one(text: str) -> bool:
    if len(text) > _LONGEST or not _LIKELY.search(text) or (read := document(text)) is None:
        return False
    root = read.root
    if isinstance(root, Mapping):
        return not root.entries.keys().isdisjoint({"map", "steps", "commands", "tasks"})
    return isinstance(root, Sequence)


def _step(text: str) -> str:
    return f"- {text}\n"


def _map(text: str) -> str:
    return f"map: {{input: ls, agent_template: [{{shell: a}}], {text}}}\n"


def _top(text: str) -> str:
    return f"{text}\nsteps: [{{shell: a}}]\n"


# Each is wrong in one way, which a schema can tell.
BROKEN = {
    "nothing": "",
    "a text": "hello",
    "no steps": "[]",
    "an empty list": "steps: []",
    "no steps at all": "name: x",
    "map and steps": "map: {input: ls, agent_template: [{shell: a}]}\nsteps: [{shell: b}]",
    "setup with steps": "setup: [{shell: a}]\nsteps: [{shell: b}]",
    "steps under two names": "steps: [{shell: a}]\ntasks: [{shell: b}]",
    "an unknown key": _top("nmae: x"),
    "an unknown mode": _top("mode: parallel"),
    "a key that is given up": _top("goal_seek: {}"),
    "a number of worktrees that is none": _top("parallel_worktrees: many"),
    "settings that are no mapping": _top("settings: 4"),
    "an unknown setting": _top("settings: {paralel: 4}"),
    "env that is a list": _top("env: [A=b]"),
    "a name that no variable has": _top("env: {a-b: c}"),
    "a name that is ours": _top("env: {PRODIGY_X: c}"),
    "a command variable with an unknown key": _top("env: {A: {command: date, cahce: true}}"),
    "a secret from nowhere": _top("secrets: {A: {}}"),
    "a secret from two places": _top("secrets: {A: {env: B, file: C}}"),
    "an unknown agent": _top("agents: {clod: {model: x}}"),
    "an unknown key of an agent": _top("agents: {claude: {modle: x}}"),
    "a path outside": _top("workspace: {include: [../x]}"),
    "an unknown key of a workspace": _top("workspace: {includes: [x]}"),
    "a map without an input": "map: {agent_template: [{shell: a}]}",
    "a map without steps": "map: {input: ls}",
    "a map with an empty template": "map: {input: ls, agent_template: []}",
    "no items at a time": _map("max_parallel: 0"),
    "items at a time under two names": _map("max_parallel: 1, parallel: 2"),
    "a negative offset": _map("offset: -1"),
    "an unknown policy": _map("on_item_failure: ignore"),
    "a flag in words": _map("continue_on_failure: yes"),
    "a share of more than all": _map("failure_threshold: 101"),
    "a breaker with an unknown key": _map("circuit_breaker: {after: 3}"),
    "a time without a unit": _map("agent_timeout_secs: 5 apples"),
    "a limit of an unknown command": _map("timeout_config: {command_timeouts: {bash: 3}}"),
    "an unknown aggregate": _map("variables: {x: {aggregate: summe, path: a}}"),
    "a reserved name of a variable": _map("variables: {total: 1 + 1}"),
    "a misspelt key under map": _map("max_paralel: 3"),
    "a step without an action": _step("timeout: 3"),
    "a step with two actions": _step("{shell: a, claude: b}"),
    "a step that is a number": _step("5"),
    "an unknown key of a step": _step("{shell: a, timeot: 3}"),
    "an empty command": _step("{shell: ''}"),
    "a time of nothing": _step("{shell: a, timeout: 0}"),
    "a time in words": _step("{shell: a, timeout: soon}"),
    "no tries": _step("{shell: a, retry: 0}"),
    "a bad name of a capture": _step("{shell: a, capture: a b}"),
    "a reserved name of a capture": _step("{shell: a, capture: item}"),
    "a format without a name": _step("{shell: a, capture_format: json}"),
    "an unknown format": _step("{shell: a, capture: x, capture_format: xml}"),
    "a flag that is a text": _step("{shell: a, commit_required: 'true'}"),
    "an exit code that is none": _step("{shell: a, on_exit_code: {300: b}}"),
    "on_failure that is a word": _step("{shell: a, on_failure: retry}"),
    "on_failure with an unknown key": _step("{shell: a, on_failure: {commands: [b], max_retrys: 1}}"),
    "a working directory outside": _step("{shell: a, working_dir: /tmp}"),
    "do without foreach": _step("{shell: a, do: [{shell: b}]}"),
    "foreach without do": _step("{foreach: [a]}"),
    "options of a shell for an agent": _step("{claude: a, shell_options: [-e]}"),
    "write_file without content": _step("{write_file: {path: a}}"),
    "write_file outside": _step("{write_file: {path: ../a, content: b}}"),
    "a signed commit": _step("{shell: a, auto_commit: true, commit_config: {sign: true}}"),
    "an unknown backoff": _step("{shell: a, retry: {backoff: quadratic}}"),
    "numbers of another backoff": _step("{shell: a, retry: {backoff: {fixed: {base: 3}}}}"),
    "an unknown kind of error": _step("{shell: a, retry: {retry_on: [netwrok]}}"),
    "a threshold of more than all": _step("{shell: a, validate: {shell: b, threshold: 120}}"),
    "validate without a command": _step("{shell: a, validate: {threshold: 90}}"),
    "validate with a key of steps alone": _step("{shell: a, validate: {fresh: null}}"),
    "validate with nothing to do": _step("{shell: a, validate: {metadata: {}}}"),
    "arguments of no command": _step("{shell: a, on_success: {args: [b]}}"),
    "on_failure with a key of steps alone": _step("{shell: a, on_failure: {fresh: true}}"),
    "a step with a capture alone": "- shell: a\n- capture: b\n",
    "commands and a step": _step("{shell: a, validate: {commands: [b], shell: c}}"),
    "an agent without a prompt": _step("{agent: {use: claude}}"),
    "a step under test": _step("{test: {shell: a}}"),
    "a worktree without steps": _step("{worktree: a}"),
    "a worktree with a bad name": _step("{worktree: A B, do: [{shell: a}]}"),
    "a fan-out without a map": _step("{mapreduce: {reduce: [{shell: a}]}}"),
    "a fan-out in a map": "map: {input: ls, agent_template: [{mapreduce: {map: {input: a, agent_template: []}}}]}",
    "a fan-out with a retry": _step("{mapreduce: {map: {input: ls, agent_template: [{shell: a}]}}, retry: 3}"),
    "a handler that stands first": "steps: [{on_failure: make clean}, {shell: a}]",
    "commands in commands": "setup: {commands: {commands: [{shell: a}]}}\n" + _map("offset: 0"),
    "a limit of no phase": "map: {input: ls, agent_template: {commands: [{shell: a}], timeout: 3}}",
}
