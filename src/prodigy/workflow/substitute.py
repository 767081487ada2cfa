"""Puts values into what is fixed when a workflow is loaded: numbers, times, choices, names of files, filters.

`max_parallel: ${WORKERS}` takes its value from the parameters, then the workflow's own `env`, then the environment of
the process. Shell texts, prompts and conditions are not touched: their placeholders are filled when a step runs, where
values are data. This is the one place that knows which keys are which.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass, replace

from prodigy.workflow.captures import declared_names
from prodigy.workflow.inputs import classify
from prodigy.workflow.interpolate import NAMESPACES
from prodigy.workflow.values import Findings
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Scalar, Sequence, scalar_kind, visible


def words(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


# A name without a value is an error there.
FIXED = words(
    """
    max_parallel parallel parallel_worktrees max_items offset max_iterations threshold
    timeout idle_timeout validation_timeout agent_timeout_secs cleanup_grace_period_secs
    retry attempts max_attempts max_retries initial_delay max_delay retry_delay retry_budget delay delays increment
    initial base multiplier jitter jitter_factor backoff
    commit_required auto_commit allow_failure continue_on_error continue_on_failure retry_original fail_workflow
    skip_validation ignore_validation_failure clear_env create_dirs squash sign
    on_item_failure on_uncommitted max_failures failure_threshold failure_rate success_threshold half_open_requests
    error_collection batch_size recovery_timeout on_conflict on_reject on_exceeded strategy timeout_policy
    timeout_action batch
    max_cost_usd max_cost_usd_per_item max_tokens max_duration
    capture_format format mode command_index max_size multiline
    isolation reuse keep_failed include keep_ignored env_files result_file use model kind sandbox
    """
)
# A name without a value stays there, as the text that it is.
LABELS = frozenset({"name"})
# The language of conditions and of sorting, and of JSON paths: only `${...}` of parameters is replaced.
EXPRESSIONS = frozenset({"filter", "condition", "priority"})
PATHS = frozenset({"sort_by", "distinct", "json_path"})
# A list may stand there.
LISTS = frozenset({"foreach", "items"})
# What stands below these is not of the language, or is filled in elsewhere.
_FREE = words("secrets parameters defaults with options args outputs variables expected_schema override inputs")
_VARIABLES = frozenset({"env", "profiles"})

_REFERENCE = re.compile(
    r"\$\$|\$\{(?P<env>env[.:])?(?P<name>[A-Za-z_][\w-]*)(?P<path>(?:\.[\w-]+|\[[0-9]+\])*)(?::-(?P<default>[^}]*))?\}"
    r"|\$(?P<bare>[A-Za-z_]\w*)"
)
_STEP = re.compile(r"\.([\w-]+)|\[([0-9]+)\]")
_MOST_INDIRECT = 8
_SOME_FILE = "input.json"  # in the place of one that was complained of


def filled(root: Node, parameters: AbstractMapping[str, object], findings: Findings) -> Node:
    """The nodes with these values in their places. Names without one are noted."""
    own: dict[str, str] = {}
    if isinstance(root, Mapping) and "env" in root.entries and isinstance(root.entries["env"].value, Mapping):
        variables = root.entries["env"].value.entries
        own = {name: entry.value.value for name, entry in variables.items() if isinstance(entry.value, Scalar)}
    elsewhere = NAMESPACES | declared_names(root)
    return _Filler(parameters, own, elsewhere - parameters.keys(), findings).top(root)


def with_parameters(text: str, parameters: AbstractMapping[str, object]) -> object:
    """A text with the values of parameters in their places; the value itself where it is nothing else."""
    filler = _Filler(parameters, {}, frozenset(), Findings())
    try:
        if match := _REFERENCE.fullmatch(text):
            found = filler.parameter(match)
            return text if found is match else found
        return _REFERENCE.sub(lambda match: _rendered(filler.parameter(match), match), text)
    except _Missing:
        return text


class _Missing(Exception):
    """A name has no value."""


@dataclass(frozen=True)
class _Filler:
    """own: the workflow's static variables. elsewhere: names that have a value only when a step runs."""

    parameters: AbstractMapping[str, object]
    own: AbstractMapping[str, str]
    elsewhere: frozenset[str]
    findings: Findings

    # Nodes -------------------------------------------------------------------------------------------------

    def top(self, root: Node) -> Node:
        """As `node`, for the root of a file, where `env` and `profiles` are the workflow's."""
        if not isinstance(root, Mapping) or not self.parameters:
            return self.node(root)
        entries = {
            name: Entry(entry.key, self._variables(entry.value)) if name in _VARIABLES else entry
            for name, entry in root.entries.items()
        }
        return self.node(Mapping(entries, root.at))

    def node(self, node: Node) -> Node:
        if isinstance(node, Sequence):
            items = tuple(self.node(item) for item in node.items)
            return node if _same(items, node.items) else Sequence(items, node.at)
        if isinstance(node, Scalar):
            return node
        entries: dict[str, Entry] = {}
        for name, entry in node.entries.items():
            value = entry.value if name in _FREE | _VARIABLES else self._value(name, entry.value)
            if value is not None:
                entries[name] = entry if value is entry.value else Entry(entry.key, value)
        same = len(entries) == len(node.entries) and all(entries[name] is node.entries[name] for name in entries)
        return node if same else Mapping(entries, node.at)

    def _value(self, name: str, node: Node) -> Node | None:
        """None: it has no value, which was noted."""
        if name == "command_timeouts" and isinstance(node, Mapping):
            limits = {n: (entry.key, self._fixed(entry.value)) for n, entry in node.entries.items()}
            fixed = {n: Entry(key, value) for n, (key, value) in limits.items() if value is not None}
            return Mapping(fixed, node.at)
        if isinstance(node, Sequence) and name in FIXED:
            items = [self._fixed(item) if isinstance(item, Scalar) else self.node(item) for item in node.items]
            kept = tuple(item for item in items if item is not None)
            return node if _same(kept, node.items) else Sequence(kept, node.at)
        if not isinstance(node, Scalar) or "$" not in node.value:
            return self.node(node)
        if name in FIXED:
            return self._fixed(node)
        if name in LABELS:
            return self._text(node, self._known)
        if name in EXPRESSIONS:
            return self._expression(node)
        if name in PATHS:
            return self._text(node, self.parameter)
        if name == "input":
            return self._input(node)
        if name in LISTS and (match := _REFERENCE.fullmatch(node.value)) and match["name"] in self.parameters:
            found = self.parameter(match)
            if isinstance(found, list):  # each is a value of its own, which nothing reads as a text with placeholders
                whole = f"{match['name']}{match['path'] or ''}"
                texts = (f"${{{whole}[{place}]}}" for place, _ in enumerate(found))
                return Sequence(tuple(replace(node, value=text, kind="str") for text in texts), node.at)
        return node

    def _fixed(self, node: Node) -> Node | None:
        if not isinstance(node, Scalar) or "$" not in node.value:
            return node
        try:
            if match := _REFERENCE.fullmatch(node.value):
                found = self._any(match)
                return node if found is match else node_of(found, node)
            return self._text(node, self._any)
        except _Missing as missing:
            self.findings.problem(node.at, f"`{visible(node.value)}`: {missing}", _HINT)
            return None

    def _text(self, node: Scalar, value_of: Callable[[re.Match[str]], object]) -> Scalar:
        try:
            text = _REFERENCE.sub(lambda match: _rendered(value_of(match), match), node.value)
        except _Missing as missing:
            if value_of == self._any:
                raise
            self.findings.problem(node.at, f"`{visible(node.value)}`: {missing}")
            return node
        return node if text == node.value else replace(node, value=text, kind="str")

    def _input(self, node: Scalar) -> Scalar:
        """A name of a file, or a pattern for some; a command is shell text and stays."""
        written = node.value.strip()
        if len(written.split()) != 1 or (classify(written).kind == "command" and not _REFERENCE.fullmatch(written)):
            return node
        if any(match["name"] in self.elsewhere for match in _REFERENCE.finditer(written)):
            return node
        try:
            text = _REFERENCE.sub(lambda match: _rendered(self._any(match), match), written)
        except _Missing as missing:
            self.findings.problem(node.at, f"`{visible(written)}`: {missing}", _HINT)
            return replace(node, value=_SOME_FILE)
        if text != written and classify(text).kind == "command":
            message = f"`input`: {visible(written)} is {visible(text)!r}, which is no name of a file"
            hint = "a value can't be a command: write the command here, with the value as an argument"
            self.findings.problem(node.at, message, hint)
            return replace(node, value=_SOME_FILE)
        return node if text == written else replace(node, value=text, kind="str")

    # Expressions -------------------------------------------------------------------------------------------

    def _expression(self, node: Scalar) -> Scalar:
        """Values of parameters are literals there; one that stands alone is the whole expression."""
        match = _REFERENCE.fullmatch(node.value.strip())
        try:
            if match and match["name"] in self.parameters:
                found = self.parameter(match)
                return replace(node, value=found if isinstance(found, str) else json.dumps(found))
            text = self._literals(node.value)
        except _Missing as missing:
            self.findings.problem(node.at, f"`{visible(node.value)}`: {missing}")
            return node
        return node if text == node.value else replace(node, value=text)

    def _literals(self, text: str) -> str:
        parts, position, quote = [], 0, ""
        while position < len(text):
            match = _REFERENCE.match(text, position)
            if match and match["name"] in self.parameters:
                found = self.parameter(match)
                parts.append(_quoted(found, quote))
                position = match.end()
                continue
            char = text[position]
            if quote and char == "\\":
                char = text[position : position + 2]
            elif char in "'\"":
                quote = "" if char == quote else quote or char
            parts.append(char)
            position += len(char)
        return "".join(parts)

    # Variables of the workflow -----------------------------------------------------------------------------

    def _variables(self, node: Node, name: str = "") -> Node:
        """`env` and `profiles`, at any depth. name: of the variable that the node belongs to."""
        if isinstance(node, Mapping):
            entries = {}
            for key, entry in node.entries.items():
                special = {"command": self._command, "condition": self._condition}.get(key) if name else None
                inner = name if key in ("value", "when_true", "when_false", "command", "condition") and name else key
                if special is not None and isinstance(entry.value, Scalar):
                    value: Node = special(inner, entry.value)
                else:
                    value = self._variables(entry.value, inner)
                entries[key] = Entry(entry.key, value)
            return Mapping(entries, node.at)
        if not isinstance(node, Scalar) or not self._mentioned(node.value):
            return node
        if self._refuses(name, node):
            return node
        text = self._text(node, self.parameter)
        kept = _REFERENCE.sub(lambda match: "" if match["name"] in self.parameters else match.group(), node.value)
        if text.value.count("${") > kept.count("${"):
            message = f"`{name}`: the value of a parameter has `${{` in it, which would be read as a placeholder here"
            self.findings.problem(node.at, message, "use the parameter itself in the steps")
            return node
        return text

    def _condition(self, _name: str, node: Scalar) -> Scalar:
        return self._expression(node) if self._mentioned(node.value) else node

    def _command(self, name: str, node: Scalar) -> Scalar:
        """Parameters in a command are data, as in the scripts of steps: they are filled in when it runs."""
        if self._mentioned(node.value):
            self._refuses(name, node)
        return node

    def _mentioned(self, text: str) -> list[str]:
        return sorted({name for match in _REFERENCE.finditer(text) if (name := match["name"] or "") in self.parameters})

    def _refuses(self, name: str, node: Scalar) -> bool:
        from prodigy.workflow.policies import takes_no_data

        if takes_no_data(name) or any(map(takes_no_data, self._mentioned(node.value))):
            message = f"`{name}` makes programs run code, so only your own text may be in it"
            self.findings.problem(node.at, message, "give the program the value as an argument")
            return True
        return False

    # Values ------------------------------------------------------------------------------------------------

    def parameter(self, match: re.Match[str]) -> object:
        """The value of a parameter; the match itself for any other name."""
        name = match["name"]
        if name not in self.parameters or match["env"]:
            return match
        found = self.parameters[name]
        for key, index in _STEP.findall(match["path"]):
            if isinstance(found, dict) and (key or index) in found:
                found = found[key or index]
            elif isinstance(found, list) and (index or key).isdecimal() and int(index or key) < len(found):
                found = found[int(index or key)]
            elif match["default"] is not None:
                return match["default"]
            else:
                raise _Missing(f"the parameter {name} has no {match['path']}")
        return match["default"] if found is None and match["default"] is not None else found

    def _known(self, match: re.Match[str]) -> object:
        """As `_any`, but the match itself for a name without a value."""
        try:
            return self._any(match)
        except _Missing:
            return match

    def _any(self, match: re.Match[str], depth: int = 0) -> object:
        """The value of a name; the match itself for one that has none before a step runs. Raises _Missing."""
        name = match["name"] or match["bare"]
        if name is None:
            return match
        if name in self.parameters and not match["env"]:
            return self.parameters[name] if match["bare"] else self.parameter(match)
        if match["path"] or (name in self.elsewhere and not match["env"]):
            return match
        if name in self.own and depth < _MOST_INDIRECT:
            return _REFERENCE.sub(lambda inner: _rendered(self._any(inner, depth + 1), inner), self.own[name])
        if name in os.environ:
            return os.environ[name]
        if match["default"] is not None:
            return match["default"]
        raise _Missing(f"no parameter, no `env` of the workflow and no environment variable is called {name}")


_HINT = "give it a value, or write the value here"


def node_of(value: object, like: Scalar) -> Node:
    """A JSON value as what it would be in YAML, for what is written at `like`."""
    match value:
        case list():
            return Sequence(tuple(node_of(part, like) for part in value), like.at)
        case dict():
            entries = {
                str(name): Entry(replace(like, value=str(name), kind="str"), node_of(part, like))
                for name, part in value.items()
            }
            return Mapping(entries, like.at)
        case None:
            return replace(like, value="null", kind="null", is_block=False, is_plain=True)
        case str():
            kind = scalar_kind(value)
            return replace(like, value=value, kind="str" if kind == "null" else kind, is_block=False)
    text = _shown(value)
    return replace(like, value=text, kind=scalar_kind(text), is_block=False)


def _same(one: tuple[Node, ...], other: tuple[Node, ...]) -> bool:
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))


def _rendered(value: object, match: re.Match[str]) -> str:
    return match.group() if value is match else _shown(value)


def _shown(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _quoted(value: object, quote: str) -> str:
    """A value in an expression. quote: that of the text it stands in."""
    if not quote:
        return json.dumps(value, ensure_ascii=False)
    return _shown(value).replace("\\", "\\\\").replace(quote, f"\\{quote}")
