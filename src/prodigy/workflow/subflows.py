"""`workflows`: other workflows whose steps are parts of this one, each with names of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import groupby

from prodigy.errors import UsageError
from prodigy.workflow import keys
from prodigy.workflow.agent_settings import Agents, AgentSettings
from prodigy.workflow.captures import NAME
from prodigy.workflow.catalogue import RESERVED
from prodigy.workflow.handlers import IGNORED
from prodigy.workflow.load_options import LoadOptions, Written
from prodigy.workflow.merging import usual_merging
from prodigy.workflow.model import Group, Handler, Input, MapReduce, Named, Phase, Policy, Step, Workflow
from prodigy.workflow.normalise import Outside
from prodigy.workflow.other_files import Chain, Opened, base_named, beside, named, open_first, path_named
from prodigy.workflow.parameters import named_values
from prodigy.workflow.parts import captured, fans_out, placed, simple_env
from prodigy.workflow.reading import read_workflow
from prodigy.workflow.scripts import KnownScripts
from prodigy.workflow.steps import StepReader
from prodigy.workflow.substitute import with_parameters
from prodigy.workflow.values import read_bool, read_duration, read_keys, read_label, read_text, shown
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Position, Scalar, Sequence

WORKTREES = "worktrees"
_WORKTREE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
_PATH = re.compile(r"\$\{([^{}]+)\}|([^${}]+)")
# What a part of a workflow says of the whole run, which the whole alone can say.
_OF_THE_WHOLE = ("merge", "workspace", "inherit", "push_credentials", "secrets", "env_files", "profiles", "budget")


@dataclass(frozen=True)
class _Part:
    """One name below `workflows`, read. step: None when it has mistakes."""

    entry: Entry
    entries: dict[str, Entry]
    step: Step | None
    parallel: bool

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names that the steps behind it see."""
        return self.step.action.outputs if self.step and isinstance(self.step.action, Group) else ()


class Subflows:
    """The workflows below `workflows` of one file.

    Those that a `workflow` step names run where it stands, the others before the workflow's own steps.
    """

    def __init__(
        self,
        reader: StepReader,
        root: Mapping,
        source: str,
        known: KnownScripts,
        outside: Outside,
        values: AbstractMapping[str, object],
    ) -> None:
        self._reader = reader
        self._findings = reader.findings
        self._root = root
        self._source = source
        self._known = known
        self._outside = outside
        self._values = values
        self._parts: dict[str, _Part] = {}
        self._agents: dict[str, AgentSettings] = {}

    def first(self) -> list[Step]:
        """The steps that run before the workflow's own."""
        node = self._root.entries["workflows"].value
        if not isinstance(node, Mapping):
            self._findings.problem(node.at, f"`workflows` must be a mapping of names, got {shown(node)}")
            return []
        standing = set(placed(self._root))
        waiting: list[_Part] = []
        for name, entry in node.entries.items():
            part = self._read(name, entry, at_once=name not in standing)
            self._parts[name] = part
            if name not in standing:
                waiting.append(part)
                self._define(part)
        return list(self._grouped(waiting))

    def step(self, node: Node, phase: Phase) -> Step | None:
        """The step for `workflow: NAME`."""
        name = read_text(node, "workflow", self._findings)
        if name is None:
            return None
        part = self._parts.get(name)
        if part is None:
            nearest = get_close_matches(name, self._parts, 1)
            hint = f"did you mean `{nearest[0]}`?" if nearest else f"there are {', '.join(self._parts)}"
            self._findings.problem(node.at, f"`workflows` has no {shown(node)}", hint)
            return None
        if part.step is not None and fans_out(part.step) and not self._reader.may_fan_out(phase):
            message = f"the workflow {name} has a `map`, which cannot stand inside another step, an item or `merge`"
            self._findings.problem(node.at, message, "put it into the list of `steps`")
            return None
        self._check_inputs(part, phase)
        self._define(part)
        return part.step

    def with_agents(self, agents: Agents) -> Agents:
        """The workflow's own agents, and those of its parts that it has not."""
        own = {settings.name for settings in agents.known}
        more = (settings for name, settings in self._agents.items() if name not in own)
        return agents.model_copy(update={"known": (*agents.known, *more)})

    def _define(self, part: _Part) -> None:
        if part.parallel:
            self._reader.define("map", WORKTREES, *(f"{part.entry.key.value}.{name}" for name in part.outputs))
        elif part.step is not None:
            self._reader.define(*part.outputs, *([part.step.id] if part.step.id else []))
            if fans_out(part.step):
                self._reader.after_fan_out(None)

    # Order -------------------------------------------------------------------------------------------------

    def _grouped(self, parts: list[_Part]) -> Iterator[Step]:
        """Neighbours that run at the same time are one fan-out, in which each has a worktree of its own."""
        for parallel, group in groupby(parts, lambda part: part.parallel):
            there = [part for part in group if part.step is not None]
            if parallel and there:
                yield self._together(there)
            elif not parallel:
                yield from (part.step for part in there if part.step is not None)

    def _together(self, parts: list[_Part]) -> Step:
        named = tuple(
            Named(name=part.entry.key.value, do=(part.step,), merge=True) for part in parts if part.step is not None
        )
        uncommitted = self._reader.defaults.on_uncommitted
        action = MapReduce(
            input=Input(kind="values", values=tuple(each.name for each in named)),
            merge=usual_merging(self._reader),
            max_parallel=min(len(named), self._reader.defaults.max_parallel or 10),
            on_uncommitted=None if uncommitted == "commit" else uncommitted,
            errors=self._reader.defaults.errors,
            named=named,
        )
        at = parts[0].entry.key.at
        label = ", ".join(each.name for each in named)
        return Step(action=action, name=label, phase="map", line=at.line, file=at.file or None)

    # One of them -------------------------------------------------------------------------------------------

    def _read(self, name: str, entry: Entry, *, at_once: bool) -> _Part:
        findings = self._findings
        body = entry.value
        if isinstance(body, Scalar) and body.kind == "str":
            body = Mapping({"source": Entry(entry.key, body)}, body.at)
        if not isinstance(body, Mapping):
            findings.problem(body.at, f"`{name}` must be a mapping with `source`, got {shown(body)}")
            return _Part(entry, {}, None, False)
        entries = read_keys(body, keys.SUBFLOW, f"under the workflow `{name}`", findings)
        parallel = self._flag(entries, "parallel")
        if "source" not in entries:
            findings.problem(body.at, f"the workflow `{name}` has no `source`", "name its file")
            return _Part(entry, entries, None, parallel)
        part = _Part(entry, entries, self._group(name, entry, entries), parallel)
        if parallel:
            self._check_parallel(name, part, at_once=at_once)
        if at_once:
            self._check_inputs(part, "")
        return part

    def _flag(self, entries: dict[str, Entry], key: str) -> bool:
        return key in entries and bool(read_bool(entries[key].value, key, self._findings))

    def _check_parallel(self, name: str, part: _Part, *, at_once: bool) -> None:
        key = part.entries["parallel"].key
        if part.step is not None and fans_out(part.step):
            message = f"the workflow {name} has a `map`, and one that runs beside others can have none"
            self._findings.problem(key.at, message, "remove `parallel`: its items run at the same time anyway")
        elif not at_once:
            self._findings.warn(key.at, f"`parallel` does nothing where {name} stands as a step", "remove it")
        elif not _WORKTREE.fullmatch(name) or ".." in name or name.endswith((".", ".lock")):
            message = f"`{name}` is no name for a worktree, which a workflow with `parallel` has"
            self._findings.problem(part.entry.key.at, message, "use lower-case letters, digits, `_`, `-` and `.`")

    def _group(self, name: str, entry: Entry, entries: dict[str, Entry]) -> Step | None:
        findings, here = self._findings, self._reader
        inputs = self._inputs(entries)
        given = self._given(entries)
        limit = read_duration(entries["timeout"].value, "timeout", findings) if "timeout" in entries else None
        handlers: tuple[Handler, ...] = (IGNORED,) if self._flag(entries, "continue_on_error") else ()
        label = read_label(entries["name"].value, "name", findings) if "name" in entries else name
        directory = here.inner_path(entries, "working_dir", "")
        if here.directory:
            directory = f"{here.directory}/{directory}" if directory else here.directory
        opened = self._open(entries["source"].value)
        if opened is None:
            return None
        around = Outside(
            inner=True,
            names=here.fixed | {child for child, _ in inputs},
            texts=here.given,
            chain=opened.chain,
            directory=directory,
        )
        try:
            workflow = read_workflow(opened.document, opened.file, findings, self._known, given, around)
        except UsageError as error:
            findings.problem(entries["source"].value.at, error.what, error.hint)
            return None
        if workflow is None:
            return None
        self._take_over(workflow, opened, name)
        values = dict(workflow.parameters)
        env = {each: json.dumps(text, ensure_ascii=False) for each, text in simple_env(workflow.environment).items()}
        action = Group(
            do=workflow.steps,
            given=tuple(sorted({**env, **values}.items())),
            inputs=inputs,
            outputs=self._outputs(entries, workflow, opened.file),
        )
        at = entry.key.at
        fits = NAME.fullmatch(name) and name not in RESERVED
        return Step(
            action=action,
            policy=Policy(timeout_s=limit),
            handlers=handlers,
            id=name if fits else None,
            name=label,
            line=at.line,
            file=at.file or None,
        )

    def _open(self, node: Node) -> Opened | None:
        written = named(node, "source", self._findings)
        if written is None:
            return None
        text = str(with_parameters(written, self._values))
        chain = self._outside.chain or Chain().then(self._source)
        directory = beside(node.at, self._source)
        places = path_named(text, directory)
        if "/" not in text:
            places += base_named(text, directory)
        return open_first(places, node, "workflow", chain, self._findings)

    def _take_over(self, workflow: Workflow, opened: Opened, name: str) -> None:
        """What a part says that holds for the whole, and warnings about what it says in vain."""
        for settings in workflow.agents.known:
            there = self._agents.setdefault(settings.name, settings)
            if there != settings:
                at = self._root.entries["workflows"].value.at
                message = f"{opened.file} wants the agent {settings.name} otherwise than another workflow does"
                self._findings.warn(at, message, "the first counts; write `agents` in this file")
        root = opened.document.root
        if not isinstance(root, Mapping):
            return
        for key in _OF_THE_WHOLE:
            if key in root.entries:
                message = f"`{key}` does nothing in a part of another workflow"
                hint = f"write it in {self._source}, which has `{name}` as a part"
                self._findings.warn(root.entries[key].key.at, message, hint)

    # Its keys ----------------------------------------------------------------------------------------------

    def _given(self, entries: dict[str, Entry]) -> LoadOptions:
        """The values of its parameters; `${NAME}` there is a parameter of this workflow."""
        found = named_values(entries, "parameters", self._findings)
        values: dict[str, object] = {}
        places: dict[str, Position] = {}
        for name, given in found.items():
            value, at = given.value, given.at
            if isinstance(value, str) and not isinstance(value, Written):
                value = with_parameters(value, self._values)
                if isinstance(value, str) and "${" in given.value and "${" in value:  # type: ignore[operator]
                    message = f"`{name}` has a placeholder that has no value before the run"
                    self._findings.problem(at or self._root.at, message, "hand it in with `inputs`")
            values[name] = value
            places[name] = at or self._root.at
        return LoadOptions(values, places=places, configured=self._reader.configured)

    def _inputs(self, entries: dict[str, Entry]) -> tuple[tuple[str, str], ...]:
        """`inputs: {name inside: path outside}`, or a list of names that are the same on both sides."""
        if "inputs" not in entries:
            return ()
        node = entries["inputs"].value
        if isinstance(node, Sequence):
            pairs = [(item, item) for item in node.items if isinstance(item, Scalar)]
        elif isinstance(node, Mapping):
            pairs = [(entry.key, entry.value) for entry in node.entries.values() if isinstance(entry.value, Scalar)]
        else:
            pairs = []
        if isinstance(node, Scalar) or len(pairs) != len(node.items if isinstance(node, Sequence) else node.entries):
            self._findings.problem(node.at, "`inputs` must be a mapping from names to names, e.g. {target: src_dir}")
            return ()
        found = []
        for inside, outside in pairs:
            match = _PATH.fullmatch(outside.value.strip())
            name = self._reader.captures.name(inside, "name under `inputs`")
            if match is None:
                message = f"`{inside.value}` must name one value, got {shown(outside)}"
                self._findings.problem(outside.at, message, "e.g. `target: src_dir` or `target: find.output`")
            elif name is not None:
                found.append((name, match[1] or match[2]))
        return tuple(found)

    def _check_inputs(self, part: _Part, phase: Phase) -> None:
        """Whether what is handed in has a value where the part runs."""
        if part.step is None or not isinstance(part.step.action, Group):
            return
        available = self._reader.names(phase).available
        for _, path in part.step.action.inputs:
            head = re.split(r"[.\[]", path, maxsplit=1)[0]
            if head not in available:
                hint = f"here there are {', '.join(sorted(available))}"
                self._findings.problem(part.entries["inputs"].key.at, f"`inputs`: {path} has no value here", hint)

    def _outputs(self, entries: dict[str, Entry], workflow: Workflow, file: str) -> tuple[str, ...]:
        if "outputs" not in entries:
            return ()
        node = entries["outputs"].value
        known = set(captured(workflow.steps))
        found = []
        for item in node.items if isinstance(node, Sequence) else (node,):
            name = self._reader.captures.name(item, "name under `outputs`")
            if name is None:
                continue
            if name not in known:
                nearest = get_close_matches(name, known, 1)
                hint = f"did you mean `{nearest[0]}`?" if nearest else f"it has {', '.join(sorted(known)) or 'none'}"
                self._findings.problem(item.at, f"no step of {file} captures `{name}`", hint)
            found.append(name)
        return tuple(found)


def read_step(reader: StepReader, entries: dict[str, Entry], phase: Phase) -> Step | None:
    """A step `{workflow: NAME}`, which runs one of `workflows` where it stands."""
    for name, entry in entries.items():
        if name not in keys.WORKFLOW_STEP:
            message = f"`{name}` does not go with `workflow` in one step"
            reader.findings.problem(entry.key.at, message, "write it under the workflow's name in `workflows`")
    when, step_id, label = reader.condition(entries, phase), reader.captures.id(entries), reader.label(entries)
    node = entries["workflow"].value
    if reader.subflows is None:
        hint = "e.g. workflows: {lint: {source: lint.yml}}"
        reader.findings.problem(node.at, "this workflow has no `workflows`", hint)
        return None
    step = reader.subflows.step(node, phase)
    if step is None:
        return None
    if step_id:
        reader.define(step_id)
    at = entries["workflow"].key.at
    own = {"when": when, "id": step_id or step.id, "name": label or step.name, "phase": phase}
    return step.model_copy(update={**own, "line": at.line, "file": at.file or None})
