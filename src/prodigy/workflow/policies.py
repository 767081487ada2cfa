"""The keys that say how a step's action runs: limits, retries, environment, directory."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Any

from prodigy.workflow import keys
from prodigy.workflow.failures import Backoff, Retry
from prodigy.workflow.values import (
    Findings,
    read_bool,
    read_choice,
    read_duration,
    read_keys,
    read_number,
    read_text,
    read_whole_number,
    shown,
)
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Scalar, Sequence

BACKOFFS: tuple[Backoff, ...] = ("fixed", "linear", "exponential", "fibonacci", "custom")
DEFAULT_JITTER = 0.3

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# By these a shell or a program runs code or finds other programs; a value that is data may not go there.
_CODE_VARIABLES = re.compile(
    r"BASH_ENV|ENV|SHELLOPTS|BASHOPTS|PS4|IFS|PATH|CDPATH|PROMPT_COMMAND|SHELL|HOME|ZDOTDIR|INPUTRC"
    r"|EDITOR|VISUAL|PAGER|MANPAGER|LESSOPEN|LESSCLOSE|BROWSER|SSH_ASKPASS|SUDO_ASKPASS|GCONV_PATH|TERMINFO"
    r"|MAKEFLAGS|MAKEFILES|GNUMAKEFLAGS|CC|CXX|GOFLAGS|RUSTC|RUSTFLAGS|RUSTC_WRAPPER|_?JAVA_.*|JDK_JAVA_OPTIONS"
    r"|ANTHROPIC_BASE_URL|CLAUDE_CONFIG_DIR"
    r"|(?i:npm_config_.*)|(?:BASH_FUNC_|LD_|DYLD_|PYTHON|PERL|RUBY|BUNDLE_|XDG_|CARGO_|PIP_).*|NODE_(?!ENV$).*"
    # Names that no git reads, or as text only.
    r"|GIT_(?!(?:BRANCH|COMMIT|SHA|HASH|TAG|REF|REVISION|(?:AUTHOR|COMMITTER)_(?:NAME|EMAIL|DATE))$).*"
)
# Options of bash itself that keep a script file a script file.
_FLAG = re.compile(r"[-+][abefhkmnptuvxBCEHPT]+")
_LONG = re.compile(r"[a-z][a-z0-9_]*")


def read_retry(node: Node, findings: Findings, key: str = "retry") -> tuple[Retry, Entry | None] | None:
    """`retry: 3` or a mapping, and its `on_failure` entry; None when it is wrong. key: its name in messages."""
    if isinstance(node, Scalar) and node.kind == "int":
        attempts = read_whole_number(node, key, findings)
        return (Retry(attempts=attempts), None) if attempts else None
    if not isinstance(node, Mapping):
        findings.problem(node.at, f"`{key}` must be a number of attempts or a mapping, got {shown(node)}")
        return None
    entries = read_keys(node, keys.RETRY, f"under `{key}`", findings)
    before = len(findings.problems)
    fields: dict[str, Any] = {}
    if "attempts" in entries:
        fields["attempts"] = read_whole_number(entries["attempts"].value, "attempts", findings)
    for name, field in (
        ("initial_delay", "initial_delay_s"),
        ("max_delay", "max_delay_s"),
        ("retry_budget", "budget_s"),
    ):
        if name in entries:
            fields[field] = read_duration(entries[name].value, name, findings, zero=True)
    if "backoff" in entries:
        fields |= _backoff(entries["backoff"].value, findings)
    fields["jitter"] = _jitter(entries, findings)
    if "max_delay_s" not in fields and (fields.get("initial_delay_s") or 0) > Retry().max_delay_s:
        fields["max_delay_s"] = fields["initial_delay_s"]
    if "retry_on" in entries:
        fields["retry_on"] = _retry_on(entries["retry_on"].value, findings)
    if len(findings.problems) > before:
        return None
    return Retry(**fields), entries.get("on_failure")


def _backoff(node: Node, findings: Findings) -> dict[str, Any]:
    """A name, or a mapping from one name to its numbers, as in `{linear: {increment: 2s}}`."""
    if isinstance(node, Scalar):
        return {"backoff": read_choice(node, "backoff", BACKOFFS, findings)}
    if not isinstance(node, Mapping) or len(node.entries) != 1:
        hint = "e.g. `exponential`, or `{linear: {increment: 2s}}`"
        findings.problem(node.at, f"`backoff` must be a name or a mapping with one, got {shown(node)}", hint)
        return {}
    ((key, value),) = node.entries.values()
    name = read_choice(key, "backoff", BACKOFFS, findings)
    if name is None:
        return {}
    return {"backoff": name, **_numbers(name, value, findings)}


_NUMBERS: dict[Backoff, dict[str, str]] = {
    "fixed": {"delay": "initial_delay_s"},
    "linear": {"increment": "increment_s", "initial": "initial_delay_s"},
    "exponential": {"base": "base", "multiplier": "base", "initial": "initial_delay_s"},
    "fibonacci": {"initial": "initial_delay_s"},
    "custom": {"delays": "delays_s"},
}


def _numbers(name: Backoff, node: Node, findings: Findings) -> dict[str, Any]:
    if isinstance(node, Scalar) and node.kind == "null":
        return {}
    known = _NUMBERS[name]
    if not isinstance(node, Mapping):
        findings.problem(node.at, f"`{name}` must be a mapping with {', '.join(known)}, got {shown(node)}")
        return {}
    table = keys.KeyTable(runs=frozenset(known), later=frozenset(), synonyms={})
    fields: dict[str, Any] = {}
    for key, (_, value) in read_keys(node, table, f"under `{name}`", findings).items():
        if key in ("base", "multiplier"):
            fields["base"] = read_number(value, key, findings, least=1, most=1000)
        elif key == "delays":
            fields["delays_s"] = _delays(value, findings)
        else:
            fields[known[key]] = read_duration(value, key, findings, zero=True)
    return fields


def _delays(node: Node, findings: Findings) -> tuple[float, ...]:
    if not isinstance(node, Sequence) or not node.items:
        findings.problem(node.at, f"`delays` must be a list of times, got {shown(node)}")
        return ()
    delays = [read_duration(item, "delays", findings, zero=True) for item in node.items]
    return tuple(delay for delay in delays if delay is not None)


def _jitter(entries: dict[str, Entry], findings: Findings) -> float:
    factor: float | None = DEFAULT_JITTER
    if "jitter_factor" in entries:
        factor = read_number(entries["jitter_factor"].value, "jitter_factor", findings, least=0, most=2)
    if "jitter" not in entries:
        if "jitter_factor" in entries:
            at = entries["jitter_factor"].key.at
            findings.warn(at, "`jitter_factor` does nothing alone", "add `jitter: true`")
        return 0.0
    wanted = read_bool(entries["jitter"].value, "jitter", findings)
    return (factor or 0.0) if wanted else 0.0


def _retry_on(node: Node, findings: Findings) -> tuple[str, ...]:
    """Names of error kinds and conditions, and patterns: a text that is no name is a regular expression."""
    items = node.items if isinstance(node, Sequence) else (node,)
    found = []
    for item in items:
        pattern = item.entries.get("pattern") if isinstance(item, Mapping) and len(item.entries) == 1 else None
        text = read_text(pattern.value if pattern else item, "retry_on", findings)
        if text is None:
            continue
        if pattern is None and _LONG.fullmatch(text.lower()):
            if text.lower() in keys.RETRY_ON:
                found.append(text.lower())
                continue
            nearest = get_close_matches(text.lower(), keys.RETRY_ON, 1)
            meant = f"did you mean `{nearest[0]}`? " if nearest else ""
            hint = f"{meant}known are {', '.join(sorted(keys.RETRY_ON))}; for a text, write {{pattern: {text}}}"
            findings.problem(item.at, f"`{text}` is no kind of error", hint)
        elif problem := _regex_problem(text):
            findings.problem(item.at, f"`retry_on` is no regular expression: {problem}")
        else:
            found.append(f"re:{text}")
    return tuple(found)


def _regex_problem(text: str) -> str | None:
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(text, options)
    except re2.error as error:
        message = error.args[0] if error.args else "it can't be read"
        return message.decode() if isinstance(message, bytes) else str(message)
    return None


def read_env(node: Node, findings: Findings) -> tuple[tuple[str, Scalar], ...]:
    """The names of `env` with the nodes of their values."""
    if not isinstance(node, Mapping):
        findings.problem(node.at, f"`env` must be a mapping of names and values, got {shown(node)}")
        return ()
    found = []
    for name, (key, value) in node.entries.items():
        if not _VARIABLE.fullmatch(name):
            findings.problem(key.at, f"`{name}` is no name for an environment variable")
        elif name.startswith("PRODIGY_"):
            findings.problem(key.at, f"`{name}`: names that begin with PRODIGY_ are ours", "choose another name")
        elif not isinstance(value, Scalar):
            findings.problem(value.at, f"`{name}` must be text, got {shown(value)}")
        elif "\0" in value.value:
            findings.problem(value.at, f"`{name}` has a NUL character in it, which no variable can hold")
        else:
            found.append((name, value))
    return tuple(found)


def takes_no_data(name: str) -> bool:
    """Whether a variable of this name makes programs run code, so that only the author's own text may be in it."""
    return _CODE_VARIABLES.fullmatch(name) is not None


def read_shell_options(node: Node, findings: Findings) -> tuple[str, ...] | None:
    """Options of bash, e.g. `[-e, -u, -o pipefail]`; None when they are wrong."""
    items = node.items if isinstance(node, Sequence) else (node,)
    words: list[str] = []
    for item in items:
        if isinstance(item, Scalar) and item.kind != "null" and item.value.strip():
            words += item.value.split()
        else:
            findings.problem(item.at, f"`shell_options` must be a list of bash options, got {shown(item)}")
            return None
    for before, word in zip(["", *words], words, strict=False):
        named = before in ("-o", "+o", "-O", "+O") and _LONG.fullmatch(word)
        if not (named or word in ("-o", "+o", "-O", "+O") or _FLAG.fullmatch(word)):
            hint = "known are single letters of `set` such as -e, -u and -x, and `-o NAME`, `-O NAME`"
            findings.problem(node.at, f"`{word}` is no option for a script", hint)
            return None
    if words and words[-1] in ("-o", "+o", "-O", "+O"):
        findings.problem(node.at, f"`{words[-1]}` needs a name behind it, such as `pipefail`")
        return None
    return tuple(words)


def read_paths(node: Node, key: str, findings: Findings) -> tuple[str, ...]:
    """A list of paths inside a worktree, or one."""
    items = node.items if isinstance(node, Sequence) else (node,)
    found = []
    for item in items:
        text = read_text(item, key, findings)
        if text is None:
            continue
        if problem := outside(text):
            findings.problem(item.at, f"`{key}`: {problem}")
        else:
            found.append(text.rstrip("/"))
    return tuple(found)


def outside(path: str) -> str | None:
    """Why a path is not one inside a worktree, or None."""
    parts = path.split("/")
    if path.startswith(("/", "~")):
        return f"{path} is not a path inside the worktree"
    if ".." in parts:
        return f"{path} leaves the worktree"
    if any(part.lower() == ".git" for part in parts):
        return f"{path} is git's own"
    return None
