"""Steps from YAML nodes: one schema everywhere, normalised to the six parts of `model.Step`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prodigy.workflow import actions, fan_outs, keys, legacy, loops, model
from prodigy.workflow.agent_keys import read_budget
from prodigy.workflow.captures import CaptureReader, also_named
from prodigy.workflow.catalogue import IN_ENVIRONMENT, available, behind
from prodigy.workflow.checks import read_checks
from prodigy.workflow.commits import read_commit
from prodigy.workflow.extracts import with_extracts
from prodigy.workflow.failures import ErrorPolicy, Retry
from prodigy.workflow.handlers import IGNORED, commands, read_handlers
from prodigy.workflow.model import Agent, Foreach, Handler, MapReduce, Phase, Policy, Step, Uncommitted, Workspace
from prodigy.workflow.named_worktrees import add_named, is_named
from prodigy.workflow.policies import outside, read_retry
from prodigy.workflow.scripts import KnownScripts, Names, ScriptChecks
from prodigy.workflow.step_environment import read_clear_env, read_inherit, read_step_env
from prodigy.workflow.texts import check_condition, check_plain_text
from prodigy.workflow.values import Findings, read_duration, read_keys, read_label, read_text, shown
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Position, Scalar, Sequence, Text

if TYPE_CHECKING:
    from prodigy.workflow.subflows import Subflows

# Keys that mean something with one action alone.
_BELONGS = {
    "do": "foreach` or `worktree", "parallel": "foreach", "max_items": "foreach", "merge": "worktree",
    "with": "use", "fresh": "claude` or `agent",
}  # fmt: skip
_LIMITED: tuple[Phase, ...] = ("setup", "reduce", "merge")


@dataclass(frozen=True)
class Defaults:
    """What a workflow says once for all its steps."""

    shell_options: tuple[str, ...] | None = None
    retry: Retry | None = None
    retry_handler: Handler | None = None
    max_parallel: int | None = None
    on_uncommitted: Uncommitted | None = None
    errors: ErrorPolicy = field(default_factory=ErrorPolicy)


class StepReader:
    """Reads the steps of one file. All mistakes go to `findings`; what is wrong is left out of the result.

    declared: the ids and captures of the whole file. workspace: the workflow's own.
    limits: of the phases, in seconds. worktrees: the names of `worktree` steps. given: names that the environment of
    steps has, which are placeholders in other texts than the shell's. fixed: names that every step has, in all texts.
    env, directory: of every step. subflows: the workflows that are parts of this one. agents_named: the agents that
    steps ask for. shared_at: where it says `isolation: worktree`. configured: what counts where it says nothing.
    """

    def __init__(self, text: Text, findings: Findings, declared: frozenset[str]) -> None:
        self.text = text
        self.findings = findings
        self.captures = CaptureReader(findings)
        self.defaults = Defaults()
        self.workspace = Workspace()
        self.limits: dict[Phase, float] = {}
        self.given: frozenset[str] = frozenset()
        self.fixed: frozenset[str] = frozenset()
        self.env: tuple[tuple[str, str], ...] = ()
        self.directory: str | None = None
        self.subflows: Subflows | None = None
        self.worktrees: dict[str, Position] = {}
        self.agents_named: list[tuple[str, Position]] = []
        self.shared_at: list[Position] = []
        self.configured = model.NOTHING_CONFIGURED
        self._declared = declared
        self._names: frozenset[str] = frozenset()
        self._scripts = ScriptChecks()
        self._part = False
        self._inside = False

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

    def after_fan_out(self, step_id: str | None, variables: Iterable[str] = ()) -> None:
        """From here on there are the `map` variables, also under the id of the step. variables: those of its own."""
        others = frozenset(name for name in self._names if not name.startswith("map."))
        own = frozenset(f"map.{name}" for name in variables)
        self._names = others | behind("fan-out") | own | ({step_id} if step_id else frozenset())

    def define(self, *names: str) -> None:
        """From here on these names have values."""
        self._names |= frozenset(names)

    @contextmanager
    def inside_a_step(self) -> Iterator[None]:
        """Steps of a step or of a worktree, among which no fan-out can stand."""
        before, self._inside = self._inside, True
        yield
        self._inside = before

    def may_fan_out(self, phase: Phase) -> bool:
        """Whether a step that comes next may be a fan-out."""
        return not (self._inside or self._part) and phase in ("", "setup", "reduce")

    def names(self, phase: Phase) -> Names:
        """What may be named by a step that comes next, but in shell text."""
        return Names(self._in_scripts(phase) | self.given | IN_ENVIRONMENT, self._declared)

    def _in_scripts(self, phase: Phase) -> frozenset[str]:
        return available(phase or "steps") | self.fixed | self._names

    def check_script(self, node: Scalar, phase: Phase) -> None:
        self._scripts.add(node, Names(self._in_scripts(phase), self._declared))

    def finish(self, known: KnownScripts) -> None:
        """Check what was put off until all of the file was read."""
        self._scripts.finish(self.text, self.findings, known, IN_ENVIRONMENT | self.given - self._declared)

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
        """`{commands, timeout, capture_outputs}`."""
        entries = read_keys(node, keys.NESTED_STEPS, f"under `{key}`", self.findings)
        found = entries["commands"]
        if len(entries) == 1:
            message, hint = f"`commands` under `{key}` is deprecated", f"write the list directly under `{key}`"
            self.findings.warn(found.key.at, message, hint)
        if isinstance(found.value, Mapping) and "commands" in found.value.entries:
            self.findings.problem(found.value.at, "`commands` cannot stand inside `commands`")
            return ()
        if "timeout" in entries:
            self._limit(entries["timeout"], key, phase)
        steps = self.steps(found.value, "commands", phase)
        if "capture_outputs" in entries:
            steps = with_extracts(self, entries["capture_outputs"].value, "capture_outputs", steps)
        return steps

    def _limit(self, entry: Entry, key: str, phase: Phase) -> None:
        """The `timeout` of all steps of a phase together."""
        limit = read_duration(entry.value, "timeout", self.findings)
        if self._inside or self._part or key != phase or phase not in _LIMITED:
            message = f"`timeout` under `{key}` is none of a phase"
            self.findings.problem(entry.key.at, message, "write it in the steps that it is meant for")
        elif phase in self.limits:
            self.findings.problem(entry.key.at, f"`{key}` has a `timeout` already", "it counts for the whole run")
        elif limit is not None:
            self.limits[phase] = limit

    def _list(self, node: Sequence, phase: Phase) -> tuple[Step, ...]:
        found: list[Step] = []
        for item in node.items:
            self.add(item, found, phase)
        return tuple(found)

    def add(self, node: Node, found: list[Step], phase: Phase) -> None:
        """Read one entry of a list: a step, or one that belongs to the step before it."""
        if _is_bare_handler(node):
            self._attach_handler(node, found, phase)
        elif isinstance(node, Mapping) and is_named(node):
            add_named(self, node, found, phase)
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
        node = legacy.modern(node, self.findings)
        if not node.entries:
            return None
        entries = read_keys(node, keys.STEP, "in a step", self.findings)
        if not self._has_one_action(node):
            return None
        self._refuse_strangers(entries)
        if "workflow" in entries:
            from prodigy.workflow import subflows  # few workflows have others in them

            return subflows.read_step(self, entries, phase)
        if "mapreduce" in entries:
            return fan_outs.read_step(self, entries, phase)
        if "foreach" in entries:
            entries = loops.flat(self, entries)
            if (width := loops.width(self, entries, phase)) > 1:
                return loops.read_parallel(self, entries, phase, node.at, width)
        return self._plain_step(entries, node, phase)

    def _slash_command(self, node: Scalar, phase: Phase) -> Step:
        """A text alone is a command of Claude Code, with or without its slash."""
        check_plain_text(node, self.names(phase), self.text, self.findings)
        prompt = node.value if node.value.startswith("/") else f"/{node.value}"
        policy, at = self._own_policy(), node.at
        step = Step(action=Agent(prompt=prompt), policy=policy, phase=phase, line=at.line, file=at.file or None)
        return self._with_defaults(step)

    def bare_command(self, node: Scalar, phase: Phase) -> Step | None:
        """A text in a handler or check: a command of Claude Code when it begins with `/`, else of the shell."""
        text = read_text(node, "command", self.findings)
        if text is None:
            return None
        if text.startswith("/"):
            return self._slash_command(node, phase)
        self.check_script(node, phase)
        policy, at = self._own_policy(), node.at
        action = actions.shell(self, text)
        return Step(action=action, policy=policy, phase=phase, line=at.line, file=at.file or None)

    def _own_policy(self) -> Policy:
        """What holds for every step of the workflow that is read, when it is a part of another one."""
        return Policy(env=self.env, working_dir=self.directory)

    def _has_one_action(self, node: Mapping) -> bool:
        found = [name for name in node.entries if name in keys.ACTIONS_RUN]
        if len(found) > 1:
            at = node.entries[found[1]].key.at
            self.findings.problem(at, f"a step does one thing, but this one has `{found[0]}` and `{found[1]}`")
        elif not found and not any(map(legacy.meant_as_action, node.entries)):
            self.findings.problem(node.at, "this step does nothing", "give it a `shell` or a `claude`")
        elif found == ["worktree"]:
            message = "a `worktree` step stands in a list of steps, and in no other place"
            self.findings.problem(node.at, message, "write `- worktree: NAME`")
        return len(found) == 1 and found != ["worktree"]

    def _refuse_strangers(self, entries: dict[str, Entry]) -> None:
        for name, owner in _BELONGS.items():
            if name in entries and entries.keys().isdisjoint(owner.split("` or `")):
                self.findings.problem(entries[name].key.at, f"`{name}` belongs to a `{owner}` step")

    def _plain_step(self, entries: dict[str, Entry], node: Mapping, phase: Phase) -> Step | None:
        when = self.condition(entries, phase)
        action = actions.read_action(self, entries, phase)
        policy, fallback = self._policy(entries, phase)
        step_id, name = self.captures.id(entries), self.label(entries)
        capture = self.captures.capture(entries, step_id, self.inner_path(entries, "output_file", phase))
        if capture:
            self.define(*capture.names, *also_named(entries, capture.names), *(name for name, _ in capture.files))
        checks = read_checks(self, entries, phase)
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
            file=node.at.file or None,
        )
        return self._with_defaults(step)

    def _with_defaults(self, step: Step) -> Step:
        if self._part or step.policy.retry is not None or self.defaults.retry is None:
            return step
        if isinstance(step.action, Foreach):
            return step  # the steps in it have them
        policy = step.policy.model_copy(update={"retry": self.defaults.retry})
        handler = self.defaults.retry_handler
        handlers = (*step.handlers, handler) if handler else step.handlers
        return step.model_copy(update={"policy": policy, "handlers": handlers})

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
        working_dir = self.inner_path(entries, "working_dir", phase) or self.directory
        if self.directory and "working_dir" in entries:
            working_dir = f"{self.directory}/{working_dir}"
        own_env = read_step_env(self, entries, phase)
        names = {name for name, _ in own_env}
        retry, handler = self.retry(entries["retry"].value, phase) if "retry" in entries else (None, None)
        policy = Policy(
            **limits,
            env=(*((name, text) for name, text in self.env if name not in names), *own_env),
            inherit=read_inherit(self, entries),
            clear_env=read_clear_env(self, entries),
            working_dir=working_dir,
            retry=retry,
            commit=read_commit(self, entries, phase),
            budget=read_budget(entries, self.findings),
        )
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

    def inner_path(self, entries: dict[str, Entry], key: str, phase: Phase) -> str | None:
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


def _is_bare_handler(node: Node) -> bool:
    return isinstance(node, Mapping) and list(node.entries) == ["on_failure"]
