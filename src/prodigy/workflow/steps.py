"""Steps from YAML nodes: one schema everywhere, normalised to the six parts of `model.Step`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from prodigy.workflow import fan_outs, keys
from prodigy.workflow.captures import CaptureReader
from prodigy.workflow.failures import ErrorPolicy, Retry
from prodigy.workflow.handlers import IGNORED, commands, read_handlers, read_validate
from prodigy.workflow.model import (
    Agent,
    Check,
    Handler,
    MapReduce,
    Phase,
    Policy,
    Shell,
    Step,
    Uncommitted,
)
from prodigy.workflow.policies import outside, read_env, read_retry, read_shell_options, takes_no_data
from prodigy.workflow.scripts import KnownScripts, Names, ScriptChecks
from prodigy.workflow.texts import check_condition, check_plain_text
from prodigy.workflow.values import Findings, later, read_bool, read_duration, read_keys, read_label, read_text, shown
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Scalar, Sequence, Text

# Whose placeholders have a value in which phase, beside captures. What stands behind a fan-out also has `map`.
_ALWAYS = frozenset({"workflow", "run"})
_ITEM = frozenset({"item", "item_id", "item_index", "item_total"})
_ACTIONS = keys.ACTIONS_RUN + keys.ACTIONS_LATER


@dataclass(frozen=True)
class Defaults:
    """What a workflow says once for all its steps."""

    shell_options: tuple[str, ...] | None = None
    retry: Retry | None = None
    retry_handler: Handler | None = None
    max_parallel: int | None = None
    on_uncommitted: Uncommitted | None = None
    errors: ErrorPolicy = field(default_factory=ErrorPolicy)


def _meant_as_action(name: str) -> bool:
    """Whether the message on the key itself says enough of a step without an action."""
    return name in keys.GIVEN_UP or bool(get_close_matches(name[:100], _ACTIONS, 1))


class StepReader:
    """Reads the steps of one file. All mistakes go to `findings`; what is wrong is left out of the result.

    declared: the ids and captures of the whole file. workspaces: the `workspace` entries found below `map`.
    """

    def __init__(self, text: Text, findings: Findings, declared: frozenset[str]) -> None:
        self.text = text
        self.findings = findings
        self.captures = CaptureReader(findings)
        self.defaults = Defaults()
        self.workspaces: list[Entry] = []
        self._declared = declared
        self._names: frozenset[str] = frozenset()
        self._scripts = ScriptChecks()
        self._part = False

    # Names -------------------------------------------------------------------------------------------------

    @contextmanager
    def inner(self, extra: frozenset[str] = frozenset(), *, alone: bool = False, part: bool = False) -> Iterator[None]:
        """A list of its own: the names that its steps set, and `extra`, are gone behind it.

        alone: it sees no others. part: it belongs to a step, as its checks and handlers do, whose retries are enough.
        """
        before = self._names, self._part
        self._names = extra if alone else self._names | extra
        self._part = self._part or part
        yield
        self._names, self._part = before

    def after_fan_out(self, step_id: str | None) -> None:
        """From here on there are the `map` variables, also under the id of the step."""
        self._names |= {"map", step_id} if step_id else {"map"}

    def names(self, phase: Phase) -> Names:
        """What may be named by a step that comes next."""
        return Names(_ALWAYS | self._names | (_ITEM if phase == "map" else frozenset()), self._declared)

    def check_script(self, node: Scalar, phase: Phase) -> None:
        self._scripts.add(node, self.names(phase))

    def finish(self, known: KnownScripts) -> None:
        """Check what was put off until all of the file was read."""
        self._scripts.finish(self.text, self.findings, known)

    # Lists -------------------------------------------------------------------------------------------------

    def steps(self, node: Node, key: str, phase: Phase) -> tuple[Step, ...]:
        """The steps of a list, of one mapping, or of one text. key: the name to use in messages."""
        if isinstance(node, Mapping) and "commands" in node.entries:
            return self._nested(node, key, phase)
        if isinstance(node, Sequence):
            return self._list(node, phase)
        if isinstance(node, Mapping) or (node.kind == "str" and node.value.strip()):
            step = self.step(node, phase)
            return (step,) if step else ()
        if node.kind == "null":
            self.findings.problem(node.at, f"`{key}` is empty", "give it a list of steps, or remove it")
        else:
            self.findings.problem(node.at, f"`{key}` must be a list of steps, got {shown(node)}")
        return ()

    def _nested(self, node: Mapping, key: str, phase: Phase) -> tuple[Step, ...]:
        found = read_keys(node, keys.NESTED_STEPS, f"under `{key}`", self.findings).get("commands")
        assert found is not None
        message, hint = f"`commands` under `{key}` is deprecated", f"write the list directly under `{key}`"
        self.findings.warn(found.key.at, message, hint)
        if isinstance(found.value, Mapping) and "commands" in found.value.entries:
            self.findings.problem(found.value.at, "`commands` cannot stand inside `commands`")
            return ()
        return self.steps(found.value, "commands", phase)

    def _list(self, node: Sequence, phase: Phase) -> tuple[Step, ...]:
        found: list[Step] = []
        for item in node.items:
            self.add(item, found, phase)
        return tuple(found)

    def add(self, node: Node, found: list[Step], phase: Phase) -> None:
        """Read one entry of a list: a step, or an `on_failure` alone, which belongs to the step before it."""
        if _is_bare_handler(node):
            self._attach_handler(node, found, phase)
        elif step := self.step(node, phase):
            found.append(step)

    def _attach_handler(self, node: Node, found: list[Step], phase: Phase) -> None:
        assert isinstance(node, Mapping)
        entries = read_keys(node, keys.STEP, "in a step", self.findings)
        if not found:
            self.findings.problem(node.at, "this `on_failure` stands alone", "put it into the step that may fail")
            return
        if isinstance(found[-1].action, MapReduce):
            message = "this `on_failure` would belong to a `mapreduce` step, which has none"
            self.findings.problem(node.at, message, "failed items go to the dead letter queue; put it into a step")
            return
        handlers = read_handlers(self, entries, phase)
        found[-1] = found[-1].model_copy(update={"handlers": (*found[-1].handlers, *handlers)})

    # One step ----------------------------------------------------------------------------------------------

    def step(self, node: Node, phase: Phase) -> Step | None:
        """One step; None when it has mistakes or is one that is skipped."""
        if isinstance(node, Scalar) and node.kind == "str" and node.value.strip():
            return self._slash_command(node, phase)
        if not isinstance(node, Mapping):
            self.findings.problem(node.at, f"a step must be a mapping such as `shell: make test`, got {shown(node)}")
            return None
        node = self._without_analyze(node)
        if not node.entries:
            return None
        entries = read_keys(node, keys.STEP, "in a step", self.findings)
        if not self._has_one_action(node):
            return None
        if "mapreduce" in entries:
            return fan_outs.read_step(self, entries, phase)
        if not any(name in entries for name in keys.ACTIONS_RUN):
            return None
        return self._plain_step(entries, node, phase)

    def _slash_command(self, node: Scalar, phase: Phase) -> Step:
        """A text alone is a command of Claude Code, with or without its slash."""
        check_plain_text(node, self.names(phase), self.text, self.findings)
        prompt = node.value if node.value.startswith("/") else f"/{node.value}"
        return self._with_defaults(Step(action=Agent(prompt=prompt), phase=phase, line=node.at.line))

    def bare_command(self, node: Scalar, phase: Phase) -> Step | None:
        """A text in a handler or check: a command of Claude Code when it begins with `/`, else of the shell."""
        text = read_text(node, "command", self.findings)
        if text is None:
            return None
        if text.startswith("/"):
            return self._slash_command(node, phase)
        self.check_script(node, phase)
        return Step(action=self._shell(text), phase=phase, line=node.at.line)

    def _without_analyze(self, node: Mapping) -> Mapping:
        analyze = node.entries.get("analyze")
        if analyze is None:
            if not node.entries:
                self.findings.problem(node.at, "this step is empty", "give it a `shell` or a `claude`")
            return node
        self.findings.warn(analyze.key.at, "`analyze` does nothing any more and is skipped", "remove it")
        return Mapping({name: entry for name, entry in node.entries.items() if name != "analyze"}, node.at)

    def _has_one_action(self, node: Mapping) -> bool:
        actions = [name for name in node.entries if name in _ACTIONS]
        if len(actions) > 1:
            at = node.entries[actions[1]].key.at
            self.findings.problem(at, f"a step does one thing, but this one has `{actions[0]}` and `{actions[1]}`")
        elif not actions and not any(map(_meant_as_action, node.entries)):
            self.findings.problem(node.at, "this step does nothing", "give it a `shell` or a `claude`")
        return len(actions) == 1

    def _plain_step(self, entries: dict[str, Entry], node: Mapping, phase: Phase) -> Step | None:
        when = self.condition(entries, phase)
        entries = self._without_test(entries)
        action = self._action(entries, phase)
        policy, fallback = self._policy(entries, phase)
        step_id, name = self.captures.id(entries), self.label(entries)
        capture = self.captures.capture(entries, step_id, self._inner_path(entries, "output_file", phase))
        if capture:
            self._names |= frozenset(capture.names)
        checks = self._checks(entries, phase)
        if fallback and any(key in entries for key in ("on_failure", "allow_failure")):
            message = "`on_failure` stands both in this step and under its `retry`"
            self.findings.problem(entries["retry"].key.at, message, "write one of them")
        handlers = (*read_handlers(self, entries, phase), *fallback)
        if action is None:
            return None
        step = Step(
            action=action,
            when=when,
            policy=policy,
            checks=checks,
            handlers=handlers,
            capture=capture,
            id=step_id,
            name=name,
            phase=phase,
            line=node.at.line,
        )
        return self._with_defaults(step)

    def _with_defaults(self, step: Step) -> Step:
        if self._part or step.policy.retry is not None or self.defaults.retry is None:
            return step
        policy = step.policy.model_copy(update={"retry": self.defaults.retry})
        handler = self.defaults.retry_handler
        handlers = (*step.handlers, handler) if handler else step.handlers
        return step.model_copy(update={"policy": policy, "handlers": handlers})

    def _without_test(self, entries: dict[str, Entry]) -> dict[str, Entry]:
        """`test: {command, on_failure}` is the same as `shell` with `on_failure`."""
        if "test" not in entries:
            return entries
        key, body = entries["test"]
        table = keys.KeyTable(runs=frozenset({"command", "on_failure"}), later=frozenset(), synonyms={})
        parts = read_keys(body, table, "under `test`", self.findings) if isinstance(body, Mapping) else {}
        if "command" not in parts:
            self.findings.problem(body.at, f"`test` must be a mapping with `command`, got {shown(body)}")
            return entries
        self.findings.warn(key.at, "`test` is deprecated", "write `shell: ...` with `on_failure`")
        rest = {name: entry for name, entry in entries.items() if name != "test"}
        return {**rest, "shell": parts["command"], **({k: v for k, v in parts.items() if k == "on_failure"})}

    def _action(self, entries: dict[str, Entry], phase: Phase) -> Shell | Agent | None:
        if "shell" in entries:
            node = entries["shell"].value
            text = read_text(node, "shell", self.findings)
            if text is None or not isinstance(node, Scalar):
                return None
            self.check_script(node, phase)
            return self._shell(text, entries.get("shell_options"))
        if "shell_options" in entries:
            self.findings.problem(entries["shell_options"].key.at, "`shell_options` belongs to a `shell` step")
        if "claude" in entries:
            return self._prompt(entries["claude"].value, "claude", phase)
        if "agent" in entries:
            return self._agent(entries["agent"].value, phase)
        return None

    def _shell(self, text: str, options: Entry | None = None) -> Shell:
        chosen = read_shell_options(options.value, self.findings) if options else self.defaults.shell_options
        return Shell(text=text, options=chosen)

    def _prompt(self, node: Node, key: str, phase: Phase) -> Agent | None:
        text = read_text(node, key, self.findings)
        if text is None or not isinstance(node, Scalar):
            return None
        check_plain_text(node, self.names(phase), self.text, self.findings)
        return Agent(prompt=text)

    def _agent(self, node: Node, phase: Phase) -> Agent | None:
        """`agent: {use: NAME, prompt: ...}`."""
        table = keys.KeyTable(runs=frozenset({"use", "prompt"}), later=frozenset(), synonyms={})
        entries = read_keys(node, table, "under `agent`", self.findings) if isinstance(node, Mapping) else {}
        if "prompt" not in entries:
            self.findings.problem(node.at, f"`agent` must be a mapping with `use` and `prompt`, got {shown(node)}")
            return None
        use = read_label(entries["use"].value, "use", self.findings) if "use" in entries else "claude"
        if use not in (None, "claude"):
            self.findings.problem(entries["use"].value.at, later(f"agent: {use}"), "this version runs `claude`")
        return self._prompt(entries["prompt"].value, "prompt", phase)

    # Its parts ---------------------------------------------------------------------------------------------

    def label(self, entries: dict[str, Entry]) -> str | None:
        if "description" in entries:
            read_text(entries["description"].value, "description", self.findings)
        return read_label(entries["name"].value, "name", self.findings) if "name" in entries else None

    def condition(self, entries: dict[str, Entry], phase: Phase) -> str | None:
        if "when" not in entries:
            return None
        node = entries["when"].value
        text = read_text(node, "when", self.findings)
        if text is None or not isinstance(node, Scalar):
            return None
        return check_condition(node, self.names(phase), self.text, self.findings)

    def _policy(self, entries: dict[str, Entry], phase: Phase) -> tuple[Policy, tuple[Handler, ...]]:
        """The policy, and the handler that `retry: {on_failure}` stands for."""
        limits: dict[str, Any] = {
            f"{key}_s": read_duration(entries[key].value, key, self.findings)
            for key in ("timeout", "idle_timeout")
            if key in entries
        }
        env = self._env(entries["env"].value, phase) if "env" in entries else ()
        working_dir = self._inner_path(entries, "working_dir", phase)
        retry, handler = self.retry(entries["retry"].value, phase) if "retry" in entries else (None, None)
        policy = Policy(**limits, env=env, working_dir=working_dir, retry=retry)
        return policy, (handler,) if handler else ()

    def retry(self, node: Node, phase: Phase) -> tuple[Retry | None, Handler | None]:
        """`retry`, and the handler for what is still failing at its end."""
        found = read_retry(node, self.findings)
        if found is None:
            return None, None
        retry, entry = found
        if entry is None or (isinstance(entry.value, Scalar) and entry.value.value == "stop"):
            return retry, None
        if isinstance(entry.value, Scalar) and entry.value.value == "continue":
            return retry, IGNORED
        body = entry.value
        if isinstance(body, Mapping) and "fallback" in body.entries and len(body.entries) == 1:
            inner = body.entries["fallback"].value
            if isinstance(inner, Mapping) and list(inner.entries) == ["command"]:
                inner = inner.entries["command"].value
            with self.inner(frozenset({"error"}), part=True):
                return retry, Handler(on="failure", do=commands(self, inner, "fallback", phase))
        message = f"`on_failure` under `retry` must be stop, continue or {{fallback: ...}}, got {shown(body)}"
        self.findings.problem(body.at, message)
        return retry, None

    def _env(self, node: Node, phase: Phase) -> tuple[tuple[str, str], ...]:
        variables = read_env(node, self.findings)
        for name, value in variables:
            check_plain_text(value, self.names(phase), self.text, self.findings)
            if "${" in value.value and takes_no_data(name):
                hint = "give the program the value as an argument"
                message = f"`{name}` makes programs run code, so no placeholder may be in it"
                self.findings.problem(value.at, message, hint)
        return tuple((name, "" if value.kind == "null" else value.value) for name, value in variables)

    def _inner_path(self, entries: dict[str, Entry], key: str, phase: Phase) -> str | None:
        """A path below the worktree, which may hold placeholders."""
        if key not in entries:
            return None
        node = entries[key].value
        text = read_text(node, key, self.findings)
        if text is None or not isinstance(node, Scalar):
            return None
        check_plain_text(node, self.names(phase), self.text, self.findings)
        if problem := outside(text):
            self.findings.problem(node.at, f"`{key}`: {problem}", "name a path below the worktree")
        return text

    def _checks(self, entries: dict[str, Entry], phase: Phase) -> tuple[Check, ...]:
        checks = []
        if "commit_required" in entries and read_bool(
            entries["commit_required"].value, "commit_required", self.findings
        ):
            checks.append(Check(expect="commit"))
        if "validate" in entries and (check := read_validate(self, entries["validate"].value, phase)):
            checks.append(check)
        return tuple(checks)


def _is_bare_handler(node: Node) -> bool:
    return isinstance(node, Mapping) and list(node.entries) == ["on_failure"]
