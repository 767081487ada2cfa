"""Steps from YAML nodes: one schema everywhere, normalised to the six parts of `model.Step`."""

from __future__ import annotations

import re
from difflib import get_close_matches

from prodigy.workflow import keys
from prodigy.workflow.inputs import classify, refusal
from prodigy.workflow.json_path import JsonPathError, compile_json_path, rooted
from prodigy.workflow.model import Check, Input, MapReduce, Phase, Policy, Shell, Step
from prodigy.workflow.scripts import check_script
from prodigy.workflow.values import (
    Findings,
    later,
    read_bool,
    read_duration,
    read_keys,
    read_label,
    read_text,
    read_whole_number,
    shown,
)
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Position, Scalar, Sequence, Text

_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
DEFAULT_MAX_PARALLEL = 10

_RESERVED_IDS = frozenset({"item", "item_id", "item_index", "item_total", "map", "workflow", "run", "step", "env"})
# Whose placeholders have a value in which phase. A step behind a fan-out sees what `reduce` sees.
NAMESPACES: dict[Phase, frozenset[str]] = {
    "setup": frozenset({"workflow", "run"}),
    "map": frozenset({"item", "item_id", "item_index", "item_total", "workflow", "run"}),
    "reduce": frozenset({"map", "workflow", "run"}),
    "": frozenset({"workflow", "run"}),
}
_ACTIONS = keys.ACTIONS_RUN + keys.ACTIONS_LATER


def _meant_as_action(name: str) -> bool:
    """Whether the message on the key itself says enough of a step without an action."""
    return name in keys.GIVEN_UP or bool(get_close_matches(name[:100], _ACTIONS, 1))


class StepReader:
    """Reads the steps of one file. All mistakes go to `findings`; what is wrong is left out of the result."""

    def __init__(self, text: Text, findings: Findings) -> None:
        self.text = text
        self.findings = findings
        self._ids: dict[str, Position] = {}
        self._fan_out: Position | None = None

    def steps(self, node: Node, key: str, phase: Phase) -> tuple[Step, ...]:
        """The steps of a list, or of one mapping. key: the name to use in messages."""
        if isinstance(node, Mapping) and "commands" in node.entries:
            return self._nested(node, key, phase)
        if isinstance(node, Mapping):
            return self._present([self.step(node, phase)])
        if isinstance(node, Sequence):
            return self._present([self.step(item, phase) for item in node.items])
        if node.kind == "null":
            self.findings.problem(node.at, f"`{key}` is empty", "give it a list of steps, or remove it")
        elif node.kind == "str" and node.value.strip():
            self._refuse_bare_text(node)
        else:
            self.findings.problem(node.at, f"`{key}` must be a list of steps, got {shown(node)}")
        return ()

    def _nested(self, node: Mapping, key: str, phase: Phase) -> tuple[Step, ...]:
        commands = read_keys(node, keys.NESTED_STEPS, f"under `{key}`", self.findings).get("commands")
        assert commands is not None
        self.findings.warn(
            commands.key.at,
            f"`commands` under `{key}` is deprecated",
            f"write the list directly under `{key}`",
        )
        if isinstance(commands.value, Mapping) and "commands" in commands.value.entries:
            self.findings.problem(commands.value.at, "`commands` cannot stand inside `commands`")
            return ()
        return self.steps(commands.value, "commands", phase)

    @staticmethod
    def _present(steps: list[Step | None]) -> tuple[Step, ...]:
        return tuple(step for step in steps if step is not None)

    def step(self, node: Node, phase: Phase) -> Step | None:
        """One step; None when it has mistakes or is one that is skipped."""
        if not isinstance(node, Mapping):
            self._refuse_entry(node)
            return None
        node = self._without_analyze(node)
        if not node.entries:
            return None
        entries = read_keys(node, keys.STEP, "in a step", self.findings)
        if not self._has_one_action(node):
            return None
        if "mapreduce" in entries:
            return self._fan_out_step(entries, phase)
        return self._shell_step(entries, node.at, phase) if "shell" in entries else None

    def _refuse_entry(self, node: Node) -> None:
        if isinstance(node, Scalar) and node.kind == "str" and node.value.strip():
            self._refuse_bare_text(node)
        else:
            self.findings.problem(node.at, f"a step must be a mapping such as `shell: make test`, got {shown(node)}")

    def _refuse_bare_text(self, node: Scalar) -> None:
        message = "bare text is a step for Claude Code; this version runs only `shell` steps"
        self.findings.problem(node.at, message, "for a shell step write `shell: ...`")

    def _without_analyze(self, node: Mapping) -> Mapping:
        analyze = node.entries.get("analyze")
        if analyze is None:
            if not node.entries:
                self.findings.problem(node.at, "this step is empty", "give it a `shell`")
            return node
        self.findings.warn(analyze.key.at, "`analyze` does nothing any more and is skipped", "remove it")
        return Mapping({name: entry for name, entry in node.entries.items() if name != "analyze"}, node.at)

    def _has_one_action(self, node: Mapping) -> bool:
        actions = [name for name in node.entries if name in _ACTIONS]
        if len(actions) > 1:
            at = node.entries[actions[1]].key.at
            self.findings.problem(at, f"a step does one thing, but this one has `{actions[0]}` and `{actions[1]}`")
        elif not actions and not any(map(_meant_as_action, node.entries)):
            self.findings.problem(node.at, "this step does nothing", "give it a `shell`")
        return len(actions) == 1

    def _shell_step(self, entries: dict[str, Entry], at: Position, phase: Phase) -> Step | None:
        node = entries["shell"].value
        text = read_text(node, "shell", self.findings)
        if text is not None and isinstance(node, Scalar):
            self._check_script(node, self._namespaces(phase))
        policy = self._policy(entries)
        checks = self._checks(entries)
        step_id, name = self._id(entries), self._name(entries)
        if text is None:
            return None
        return Step(
            action=Shell(text=text),
            policy=policy,
            checks=checks,
            id=step_id,
            name=name,
            phase=phase,
            line=at.line,
        )

    def _check_script(self, node: Scalar, available: frozenset[str]) -> None:
        check_script(node, available, self._ids.keys(), self.text, self.findings)

    def _namespaces(self, phase: Phase) -> frozenset[str]:
        if phase == "" and self._fan_out is not None:
            return NAMESPACES["reduce"]
        return NAMESPACES[phase]

    def _policy(self, entries: dict[str, Entry]) -> Policy:
        limits = {
            key: read_duration(entries[key].value, key, self.findings)
            for key in ("timeout", "idle_timeout")
            if key in entries
        }
        return Policy(timeout_s=limits.get("timeout"), idle_timeout_s=limits.get("idle_timeout"))

    def _checks(self, entries: dict[str, Entry]) -> tuple[Check, ...]:
        if "commit_required" not in entries:
            return ()
        required = read_bool(entries["commit_required"].value, "commit_required", self.findings)
        return (Check(expect="commit"),) if required else ()

    def _id(self, entries: dict[str, Entry]) -> str | None:
        if "id" not in entries:
            return None
        node = entries["id"].value
        text = read_text(node, "id", self.findings)
        if text is None:
            return None
        if not _ID.fullmatch(text):
            self.findings.problem(node.at, f"`id` must be a name of letters, digits, `_` and `-`, got {shown(node)}")
        elif text in _RESERVED_IDS:
            self.findings.problem(node.at, f"`{text}` cannot be an id: it is the name of built-in variables")
        elif text in self._ids:
            self.findings.problem(node.at, f"the id `{text}` is taken by the step on line {self._ids[text].line}")
        self._ids.setdefault(text, node.at)
        return text

    def _name(self, entries: dict[str, Entry]) -> str | None:
        return read_label(entries["name"].value, "name", self.findings) if "name" in entries else None

    def _fan_out_step(self, entries: dict[str, Entry], phase: Phase) -> Step | None:
        key, body = entries["mapreduce"]
        for limit in ("commit_required", "timeout", "idle_timeout"):
            if limit in entries:
                self.findings.problem(entries[limit].key.at, later(limit) + " on a `mapreduce` step")
        step_id, name = self._id(entries), self._name(entries)
        if not isinstance(body, Mapping):
            self.findings.problem(body.at, f"`mapreduce` must be a mapping with `map`, got {shown(body)}")
            return None
        parts = read_keys(body, keys.MAPREDUCE, "under `mapreduce`", self.findings)
        if "map" not in parts:
            self.findings.problem(body.at, "`mapreduce` has no `map`")
            return None
        return self.fan_out(parts["map"], parts.get("reduce"), key.at, phase, step_id=step_id, name=name)

    def fan_out(
        self,
        map_: Entry,
        reduce: Entry | None,
        at: Position,
        phase: Phase,
        *,
        step_id: str | None = None,
        name: str | None = None,
    ) -> Step | None:
        """The step that runs `map` and then `reduce`."""
        if not self._may_fan_out(at, phase):
            return None
        source, json_path, max_parallel, template = self._map(map_.value)
        self._fan_out = at
        reduce_steps = self.steps(reduce.value, "reduce", "reduce") if reduce else ()
        if source is None or not template:
            return None
        action = MapReduce(
            input=source,
            json_path=json_path,
            max_parallel=max_parallel,
            template=template,
            reduce=reduce_steps,
        )
        return Step(action=action, id=step_id, name=name, phase="map", line=at.line)

    def _may_fan_out(self, at: Position, phase: Phase) -> bool:
        if phase in ("map", "reduce"):
            message = "a `mapreduce` step cannot stand inside another one"
            self.findings.problem(at, message, "put it behind the other one, in the list of `steps`")
            return False
        if self._fan_out is not None:
            first = self._fan_out.line
            message = f"this version runs one `mapreduce` in a workflow, and the first is on line {first}"
            self.findings.problem(at, message, "put it into a workflow of its own")
            return False
        return True

    def _map(self, node: Node) -> tuple[Input | None, str | None, int, tuple[Step, ...]]:
        """input, json_path, max_parallel and agent_template."""
        if not isinstance(node, Mapping):
            self.findings.problem(
                node.at, f"`map` must be a mapping with `input` and `agent_template`, got {shown(node)}"
            )
            return None, None, 1, ()
        entries = read_keys(node, keys.MAP, "under `map`", self.findings)
        for required in ("input", "agent_template"):
            if required not in entries:
                self.findings.problem(node.at, f"`map` has no `{required}`")
        source = self._input(entries["input"].value) if "input" in entries else None
        json_path = self._json_path(entries["json_path"].value) if "json_path" in entries else None
        max_parallel = None
        if "max_parallel" in entries:
            key, value = entries["max_parallel"]
            max_parallel = read_whole_number(value, key.value, self.findings)
        template = self._template(entries["agent_template"]) if "agent_template" in entries else ()
        return source, json_path, max_parallel or DEFAULT_MAX_PARALLEL, template

    def _template(self, entry: Entry) -> tuple[Step, ...]:
        before = len(self.findings.problems)
        template = self.steps(entry.value, entry.key.value, "map")
        if not template and len(self.findings.problems) == before:
            self.findings.problem(entry.value.at, f"`{entry.key.value}` has no step")
        return template

    def _input(self, node: Node) -> Input | None:
        text = read_text(node, "input", self.findings)
        if text is None or not isinstance(node, Scalar):
            return None
        source = classify(text)
        refused = refusal(source)
        if refused:
            self.findings.problem(node.at, *refused)
        elif source.kind == "command":
            self._check_script(node, NAMESPACES["setup"])
        return source

    def _json_path(self, node: Node) -> str | None:
        if isinstance(node, Scalar) and node.kind == "str" and not node.value:
            return None  # the earlier system's way to say "none"
        text = read_text(node, "json_path", self.findings)
        if text is None or not isinstance(node, Scalar):
            return None
        try:
            compile_json_path(text)
        except JsonPathError as error:
            at = self.text.inside(node, 1, error.column)
            hint = "placeholders are not replaced in it" if "${" in text else "see RFC 9535, e.g. `$.items[*]`"
            self.findings.problem(at, f"`json_path` is not a JSONPath: {error.message}", hint)
        return rooted(text)
