"""The mappings that say how often and when something is tried again."""

from __future__ import annotations

from prodigy.workflow import keys
from prodigy.workflow.key_texts.shapes import (
    COMMANDS,
    Flag,
    Key,
    Many,
    Nothing,
    Number,
    Part,
    Place,
    Text,
    Time,
    Whole,
    choice,
    either,
)

# A text that is one word must be a known name; any other is a regular expression.
_RETRY_ON = either(
    choice(" ".join(sorted(keys.RETRY_ON))),
    Text(r"[^A-Za-z0-9_]|^[0-9_]", "pattern"),
    Part("pattern", "{pattern: text}"),
)

_RETRY = {
    "attempts": Key(Whole(), "Tries in all, the first included.", "3", "attempts: 5"),
    "backoff": Key(
        either(choice("fixed linear exponential fibonacci custom"), Part("backoff")),
        "How pauses grow.",
        "`exponential`",
        "backoff: {linear: {increment: 2s}}",
    ),
    "initial_delay": Key(Time(zero=True), "The first pause.", "`1s`", "initial_delay: 5s"),
    "max_delay": Key(Time(zero=True), "The longest pause.", "`30s`", "max_delay: 2m"),
    "jitter": Key(Flag(), "Move each pause at random.", "false", "jitter: true"),
    "jitter_factor": Key(Number(0, 2), "By how much of itself, with `jitter`.", "0.3", "jitter_factor: 0.5"),
    "retry_on": Key(
        Many(_RETRY_ON),
        "Which failures are tried again: kinds of errors, and regular expressions for their texts.",
        "every failure",
        "retry_on: [network, timeout]",
    ),
    "retry_budget": Key(Time(zero=True), "All pauses together.", "none", "retry_budget: 10m"),
}

RETRY = Place(
    "retry",
    "Retry",
    "under `retry`",
    {
        **_RETRY,
        "on_failure": Key(
            either(choice("stop continue"), Part("fallback", "{fallback: steps}")),
            "What follows the last try.",
            "`stop`",
            "on_failure: continue",
        ),
    },
    keys.RETRY,
)
RETRY_CONFIG = Place(
    "retry_config",
    "",
    "under `retry_config`",
    _RETRY,
    keys.KeyTable(keys.RETRY.runs - {"on_failure"}, keys.RETRY.later, keys.RETRY.synonyms),
    hidden=True,
)

FALLBACK = Place(
    "fallback",
    "",
    "under `on_failure` of a `retry`",
    {
        "fallback": Key(
            either(COMMANDS, Part("fallback command")), "Steps that run.", "required", "fallback: make clean"
        )
    },
    required=("fallback",),
    hidden=True,
)
FALLBACK_COMMAND = Place(
    "fallback command",
    "",
    "under `fallback`",
    {"command": Key(COMMANDS, "Steps that run.", "required", "command: make clean")},
    required=("command",),
    hidden=True,
)
PATTERN = Place(
    "pattern",
    "",
    "under `retry_on`",
    {"pattern": Key(Text(), "A regular expression.", "required", "pattern: quota")},
    required=("pattern",),
    hidden=True,
)

_PAUSE = Key(Time(zero=True), "The first pause.", "`initial_delay`", "initial: 1s")
_NUMBERS = {
    "fixed": {"delay": Key(Time(zero=True), "Every pause.", "`initial_delay`", "delay: 5s")},
    "linear": {
        "increment": Key(Time(zero=True), "What each pause is longer.", "`initial_delay`", "increment: 2s"),
        "initial": _PAUSE,
    },
    "exponential": {
        "base": Key(Number(1, 1000), "By what each pause is multiplied.", "2", "base: 3"),
        "multiplier": Key(Number(1, 1000), "Another name of `base`.", "2", "multiplier: 3"),
        "initial": _PAUSE,
    },
    "fibonacci": {"initial": _PAUSE},
    "custom": {"delays": Key(Many(Time(zero=True), or_one=False, least=1), "The pauses.", "none", "delays: [1s, 1m]")},
}
BACKOFF = Place(
    "backoff",
    "Backoff",
    "under `backoff`",
    {
        name: Key(
            either(Nothing(), Part(f"{name} backoff")),
            f"Its numbers: {', '.join(f'`{key}`' for key in numbers)}.",
            "none",
            f"{name}: {{{next(iter(numbers.values())).example}}}",
        )
        for name, numbers in _NUMBERS.items()
    },
    intro="One of these.",
    rules={"minProperties": 1, "maxProperties": 1},
)
BACKOFFS = tuple(
    Place(f"{name} backoff", f"Backoff: {name}", f"under `{name}`", numbers, hidden=True)
    for name, numbers in _NUMBERS.items()
)
