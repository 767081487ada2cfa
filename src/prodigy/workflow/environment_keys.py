"""The keys `env`, `inherit`, `env_files`, `profiles` and `secrets` of a workflow."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from prodigy.workflow import keys
from prodigy.workflow.environment import Environment, Profile, Secret, Variable, hidden, names
from prodigy.workflow.interpolate import NAMESPACES, parse_placeholders, problem_at, spell, texts_in
from prodigy.workflow.model import Agent, Step, WriteFile
from prodigy.workflow.policies import read_env, takes_no_data
from prodigy.workflow.scripts import Names
from prodigy.workflow.texts import check_plain_text
from prodigy.workflow.values import Findings, read_bool, read_keys, read_text, shown
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Scalar, Sequence

if TYPE_CHECKING:
    from prodigy.workflow.steps import StepReader

KEYS = ("env", "inherit", "env_files", "profiles", "secrets")

_COMMAND = keys.KeyTable(
    runs=frozenset({"command", "cache", "secret"}), later=frozenset(), synonyms={"cached": "cache"}
)
_CONDITION = keys.KeyTable(
    runs=frozenset({"condition", "when_true", "when_false", "secret"}), later=frozenset(), synonyms={}
)
_VALUE = keys.KeyTable(runs=frozenset({"value", "secret"}), later=frozenset(), synonyms={})
_SECRET = keys.KeyTable(
    runs=frozenset({"provider", "key", "version", "env", "file", "command"}), later=frozenset(), synonyms={}
)

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FROM_ENV = re.compile(r"\$\{(?:env[.:])?([A-Za-z_]\w*)\}")
_ENV_COLON = re.compile(r"\$\{env:(?=[A-Za-z_])")
_PLAIN_NAME = re.compile(r"\$\{([A-Za-z_]\w*)(?![\w.\[])")
_ANY_NAME = re.compile(r"\$\{(?:env\.)?([A-Za-z_]\w*)")
_PROVIDERS: tuple[Literal["env", "file", "command"], ...] = ("env", "file", "command")
_GONE = frozenset({"vault", "aws", "custom", "azure", "gcp"})


def read_environment(entries: dict[str, Entry], reader: StepReader) -> Environment:
    """What the top level of a workflow says about the environment of its steps. Mistakes go to the reader's findings.

    entries: of the top level, under their own names. To be read before the steps.
    """
    return _Reader(reader).environment({key: entries[key] for key in KEYS if key in entries})


class _Reader:
    """own: names of variables that the workflow gives a value."""

    def __init__(self, reader: StepReader) -> None:
        self._reader = reader
        self._findings = reader.findings
        self._own: set[str] = set()

    def environment(self, entries: dict[str, Entry]) -> Environment:
        self._own |= set(_names_in(entries))
        secrets = self._secrets(entries["secrets"].value) if "secrets" in entries else ()
        variables = self._variables(entries["env"].value) if "env" in entries else ()
        taken = {variable.name for variable in variables} & {secret.name for secret in secrets}
        for name in sorted(taken):
            at = entries["secrets"].key.at
            self._findings.warn(at, f"{name} stands under `env` and under `secrets`; the secret counts")
        inherit = read_bool(entries["inherit"].value, "inherit", self._findings) if "inherit" in entries else None
        return Environment(
            inherit=False if inherit is False else None,
            files=self._files(entries["env_files"].value) if "env_files" in entries else (),
            variables=variables,
            profiles=self._profiles(entries["profiles"].value) if "profiles" in entries else (),
            secrets=secrets,
        )

    def _files(self, node: Node) -> tuple[str, ...]:
        items = node.items if isinstance(node, Sequence) else (node,)
        texts = (read_text(item, "env_files", self._findings) for item in items)
        return tuple(text for text in texts if text is not None)

    def _profiles(self, node: Node) -> tuple[Profile, ...]:
        if not isinstance(node, Mapping):
            self._findings.problem(node.at, f"`profiles` must be a mapping of names, got {shown(node)}")
            return ()
        found = []
        for name, (_, body) in node.entries.items():
            if not isinstance(body, Mapping):
                self._findings.problem(
                    body.at, f"the profile `{name}` must be a mapping of variables, got {shown(body)}"
                )
                continue
            found.append(Profile(name=name, variables=tuple(v for part in _parts(body) for v in self._variables(part))))
        return tuple(found)

    # Variables ---------------------------------------------------------------------------------------------

    def _variables(self, node: Node) -> tuple[Variable, ...]:
        if not isinstance(node, Mapping):
            read_env(node, self._findings)
            return ()
        plain = {name: entry for name, entry in node.entries.items() if not isinstance(entry.value, Mapping)}
        read = dict(read_env(Mapping(plain, node.at), self._findings))
        found = []
        for name, entry in node.entries.items():
            if name in read:
                text = "" if read[name].kind == "null" else self._text(name, read[name])
                found.append(Variable(name=name, value=text))
            elif isinstance(entry.value, Mapping) and self._is_name(entry.key):
                variable = self._other_kind(name, entry.value)
                found += [variable] if variable else []
        return tuple(found)

    def _is_name(self, key: Scalar) -> bool:
        """Whether it is a name for a variable, by the same rules and messages as everywhere."""
        before = len(self._findings.problems)
        text = replace(key, value="", kind="str")
        read_env(Mapping({key.value: Entry(key, text)}, key.at), self._findings)
        return len(self._findings.problems) == before

    def _other_kind(self, name: str, body: Mapping) -> Variable | None:
        place = f"under `{name}`"
        table = _COMMAND if "command" in body.entries else _CONDITION if "condition" in body.entries else _VALUE
        entries = read_keys(body, table, place, self._findings)
        wanted = {"command"} if table is _COMMAND else {"value"} if table is _VALUE else {"condition", "when_true"}
        if missing := sorted(wanted - entries.keys()):
            hint = (
                "a variable is a text, or has `command`, or `condition` with `when_true` and `when_false`, or `value`"
            )
            self._findings.problem(body.at, f"`{name}` has no `{missing[0]}`", hint)
            return None
        fields: dict[str, Any] = {}
        if "secret" in entries and read_bool(entries["secret"].value, "secret", self._findings):
            fields["secret"] = True
        if table is _COMMAND:
            fields |= self._command(name, entries)
        elif table is _CONDITION:
            fields |= self._condition(name, entries)
        else:
            fields["value"] = self._scalar(name, entries["value"].value)
            if fields.get("secret") and fields["value"] and "${" not in fields["value"]:
                message = f"the secret `{name}` stands in this file, which is stored with each run"
                hint = "take it from elsewhere with `secrets:`, e.g. from an environment variable or a command"
                self._findings.warn(entries["value"].value.at, message, hint)
        return Variable(name=name, **fields)

    def _command(self, name: str, entries: dict[str, Entry]) -> dict[str, Any]:
        node = entries["command"].value
        text = read_text(node, "command", self._findings)
        if text is not None and isinstance(node, Scalar):
            self._reader.check_script(node, "")
            self._refuse_data(name, node)
        cached = read_bool(entries["cache"].value, "cache", self._findings) if "cache" in entries else None
        return {"command": text, "cached": cached or None}

    def _condition(self, name: str, entries: dict[str, Entry]) -> dict[str, Any]:
        from prodigy.workflow.expression import ExpressionError, compile_expression  # few workflows have conditions

        node = entries["condition"].value
        text = read_text(node, "condition", self._findings)
        if text is not None and isinstance(node, Scalar):
            try:
                compile_expression(_env_dotted(text))
            except ExpressionError as error:
                at = self._reader.text.inside(node, 1, error.column)
                self._findings.problem(at, f"`condition` can't be read: {error.message}", error.hint)
        otherwise = self._scalar(name, entries["when_false"].value) if "when_false" in entries else ""
        return {
            "condition": _env_dotted(text or ""),
            "value": self._scalar(name, entries["when_true"].value),
            "otherwise": otherwise,
        }

    def _scalar(self, name: str, node: Node) -> str:
        read = read_env(Mapping({name: Entry(replace_key(node, name), node)}, node.at), self._findings)
        return self._text(name, read[0][1]) if read and read[0][1].kind != "null" else ""

    def _text(self, name: str, node: Scalar) -> str:
        """A value with its placeholders checked. `${X}` is the variable X there, of the workflow or of the user."""
        node = replace(node, value=_env_dotted(node.value))
        for placeholder in parse_placeholders(node.value, self._own):
            if placeholder.form is not None and placeholder.form.kind != "env":
                message = f"`{name}`: `{spell(placeholder)}` has no value in the workflow's `env`"
                hint = f"write `{name}: {{command: ...}}`, or put it into the `env` of a step"
                place = problem_at(node.value, placeholder.start, message, hint)
                self._findings.problem(self._reader.text.inside(node, place.line, place.column), message, hint)
                return ""
        plain = frozenset(_PLAIN_NAME.findall(node.value)) - NAMESPACES
        available = frozenset({"workflow", "run", "env"}) | plain
        check_plain_text(node, Names(available), self._reader.text, self._findings)
        if takes_no_data(name) and any(other in self._own - {name} for other in _ANY_NAME.findall(node.value)):
            self._refuse_data(name, node)
        return node.value

    def _refuse_data(self, name: str, node: Scalar) -> None:
        if takes_no_data(name):
            message = f"`{name}` makes programs run code, so only your own text may be in it"
            self._findings.problem(node.at, message, "give the program the value as an argument")

    # Secrets -----------------------------------------------------------------------------------------------

    def _secrets(self, node: Node) -> tuple[Secret, ...]:
        if not isinstance(node, Mapping):
            self._findings.problem(node.at, f"`secrets` must be a mapping of names, got {shown(node)}")
            return ()
        found = []
        for name, (key, value) in node.entries.items():
            if not self._is_name(key):
                continue
            secret = self._secret(name, value)
            if secret is None:
                continue
            if secret.provider == "command" and takes_no_data(name):
                self._findings.problem(key.at, f"`{name}` makes programs run code: no command may fill it")
            found.append(secret)
        return tuple(found)

    def _secret(self, name: str, node: Node) -> Secret | None:
        if isinstance(node, Scalar):
            text = read_text(node, name, self._findings)
            return self._from_text(name, text, node) if text else None
        if not isinstance(node, Mapping):
            self._findings.problem(node.at, f"the secret `{name}` must be a text or a mapping, got {shown(node)}")
            return None
        provider = node.entries.get("provider")
        if provider is not None and _gone_provider(provider.value):
            self._findings.problem(provider.value.at, *_instead(name, shown(provider.value)))
            return None
        entries = read_keys(node, _SECRET, f"under the secret `{name}`", self._findings)
        if "version" in entries:
            self._findings.warn(entries["version"].key.at, "`version` has no meaning here", "remove it")
        short = [key for key in _PROVIDERS if key in entries]
        if len(short) + ("provider" in entries) != 1 or ("provider" in entries and "key" not in entries):
            hint = f"e.g. `{name}: {{env: NAME}}`, `{name}: {{file: PATH}}` or `{name}: {{command: ...}}`"
            self._findings.problem(node.at, f"the secret `{name}` must say where it comes from", hint)
            return None
        if short:
            return self._of(name, short[0], entries[short[0]].value)
        kind = read_text(entries["provider"].value, "provider", self._findings)
        if kind not in _PROVIDERS:
            message = f"`provider` must be one of {', '.join(_PROVIDERS)}, got {shown(entries['provider'].value)}"
            self._findings.problem(entries["provider"].value.at, message)
            return None
        return self._of(name, kind, entries["key"].value)

    def _from_text(self, name: str, text: str, node: Scalar) -> Secret | None:
        """The name of a variable, plain or as `${env:NAME}`, or `provider:key`."""
        if match := _FROM_ENV.fullmatch(text):
            return Secret(name=name, provider="env", key=match[1])
        if _NAME.fullmatch(text):
            return Secret(name=name, provider="env", key=text)
        provider, _, _ = text.partition(":")
        if provider in _GONE:
            self._findings.problem(node.at, *_instead(name, provider))
            return None
        for kind in _PROVIDERS:
            if provider == kind:
                return self._of(name, kind, node)
        hint = "write the NAME of an environment variable, `{file: PATH}` or `{command: ...}`"
        self._findings.problem(node.at, f"the secret `{name}` must say where it comes from", hint)
        return None

    def _of(self, name: str, provider: Literal["env", "file", "command"], node: Node) -> Secret | None:
        """A secret with its key, before which the provider may stand again."""
        text = read_text(node, provider, self._findings)
        if text is None or not isinstance(node, Scalar):
            return None
        prefix = f"{provider}:"
        key = text.removeprefix(prefix).strip() if provider != "command" or node.is_plain else text
        if provider == "env":
            match = _FROM_ENV.fullmatch(key)
            key = match[1] if match else key
            if not _NAME.fullmatch(key):
                self._findings.problem(node.at, f"{shown(node)} is no name for an environment variable")
                return None
        if provider == "command" and key == text:
            self._reader.check_script(node, "")
        return Secret(name=name, provider=provider, key=key)


def refuse_secrets_in_texts(steps: Iterable[Step], environment: Environment, findings: Findings) -> None:
    """A prompt and the like are stored and sent elsewhere: no secret may be named in one."""
    secret = hidden(environment)
    if not secret:
        return
    pattern = re.compile(rf"\$\{{(?:env[.:])?({'|'.join(sorted(secret))})\b")
    from prodigy.workflow.yaml_nodes import Position

    for step in steps:
        for text in _texts(step):
            if match := pattern.search(text):
                message = (
                    f"`{match[0]}}}` is a secret: it is in the environment of steps, and in no prompt, path or message"
                )
                at = Position(step.line, 1, step.file or "")
                findings.problem(at, message, f"let the step's programs read ${match[1]}")


def refuse_names_twice(environment: Environment, declared: frozenset[str], root: Mapping, findings: Findings) -> None:
    """A step's id or capture and a variable of `env` can't have one name: `${NAME}` would be either."""
    for key in ("env", "profiles"):
        for name in sorted(declared & names(environment)):
            entry = root.entries.get(key)
            at = _place_of(entry.value, name) if entry else None
            if at is not None:
                findings.problem(at.at, f"`{name}` is the id or the capture of a step too", "choose another name")
                return


def _place_of(node: Node, name: str) -> Scalar | None:
    if not isinstance(node, Mapping):
        return None
    if name in node.entries:
        return node.entries[name].key
    inner = (_place_of(entry.value, name) for entry in node.entries.values())
    return next((found for found in inner if found is not None), None)


def _texts(step: Step) -> Iterator[str]:
    match step.action:
        case Agent(prompt=prompt):
            yield prompt
        case WriteFile(path=path, content=content):
            yield from (path, *(texts_in(content) if step.action.structured else [content]))
    if step.policy.working_dir:
        yield step.policy.working_dir
    if step.policy.commit and step.policy.commit.message:
        yield step.policy.commit.message
    if step.capture and step.capture.file:
        yield step.capture.file


def _names_in(entries: dict[str, Entry]) -> Iterator[str]:
    """Every name that `env`, a profile or `secrets` gives a value."""
    for key in ("env", "secrets"):
        if key in entries and isinstance(body := entries[key].value, Mapping):
            yield from body.entries
    if "profiles" in entries and isinstance(body := entries["profiles"].value, Mapping):
        for _, profile in body.entries.values():
            if isinstance(profile, Mapping):
                for part in _parts(profile):
                    yield from part.entries if isinstance(part, Mapping) else ()


def _parts(profile: Mapping) -> Iterator[Node]:
    """The mappings of variables in a profile: those under `env`, and those beside it."""
    beside = {name: entry for name, entry in profile.entries.items() if name not in ("description", "env")}
    yield Mapping(beside, profile.at)
    if "env" in profile.entries:
        yield profile.entries["env"].value


def _gone_provider(node: Node) -> bool:
    """`vault`, `aws`, and `{custom: NAME}`."""
    return isinstance(node, Mapping) or (isinstance(node, Scalar) and node.value.partition(":")[0] in _GONE)


def _instead(name: str, provider: str) -> tuple[str, str]:
    provider = provider.strip('"')
    example = {
        "vault": "vault kv get -field=value PATH",
        "aws": "aws secretsmanager get-secret-value --secret-id ID --query SecretString --output text",
    }.get(provider, "a program that prints it")
    return f"there is no provider {provider}", f"write `secrets: {{{name}: {{command: {example}}}}}`"


def _env_dotted(text: str) -> str:
    """`${env:NAME}` as `${env.NAME}`, which has the same length."""
    return _ENV_COLON.sub("${env.", text)


def replace_key(node: Node, name: str) -> Scalar:
    """A key for a value that stands alone."""
    return Scalar(name, "str", node.at, 0, 0)
