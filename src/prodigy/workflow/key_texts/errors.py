"""The keys that say what becomes of items that fail, and how long they may take."""

from __future__ import annotations

from prodigy.workflow import keys
from prodigy.workflow.key_texts.shapes import (
    Each,
    Flag,
    Key,
    Number,
    Part,
    Place,
    Text,
    Time,
    Whole,
    choice,
    either,
)
from prodigy.workflow.keys import KeyTable

# `PerAgent` and `per-agent` are read as `per_agent`, and so on.
_TIMEOUT_POLICY = Text(
    r"^(?:[Pp]er[_-]?[Aa]gent|[Pp]er[_-]?[Cc]ommand|[Hh]ybrid)$", "`per_agent`, `per_command`, `hybrid`"
)
_TIMEOUT_ACTION = Text(
    r"^(?:[Dd]lq|DLQ|[Ss]kip|[Ff]ail|[Gg]raceful[_-]?[Tt]erminate)$", "`dlq`, `skip`, `fail`, `graceful_terminate`"
)
_SHARE = either(Number(0, 100), Text(r"^\s*(?:100(?:\.0+)?|\d{1,2}(?:\.\d+)?|0\d{2}(?:\.\d+)?)\s*%\s*$", "percentage"))

_POLICY = {
    "on_item_failure": Key(
        choice("dlq retry skip stop"),
        "What becomes of an item that failed: `retry` runs it again and then, like `dlq`, parks it as a dead letter;"
        " `skip` leaves it out; `stop` parks it and starts nothing more.",
        "`dlq`",
        "on_item_failure: retry",
    ),
    "continue_on_failure": Key(
        Flag(),
        "Whether more items start once one is in the dead letter queue.",
        "true",
        "continue_on_failure: false",
    ),
    "retry_config": Key(
        either(Whole(), Part("retry_config")),
        "With `on_item_failure: retry`: how often and when an item runs again.",
        "3 attempts",
        "retry_config: {max_attempts: 5}",
    ),
    "max_failures": Key(
        Whole(), "Nothing more starts once so many items have failed for good.", "none", "max_failures: 20"
    ),
    "failure_threshold": Key(
        _SHARE,
        "Nothing more starts once failed items are a larger part than this of those that have ended: from 0 to 1, or"
        " percent.",
        "none",
        "failure_threshold: 0.5",
    ),
    "error_collection": Key(
        either(
            Text(
                r"^(?:aggregate|immediate|batched|\s*batched\s*:\s*0*[1-9]\d{0,8}\s*)$",
                "`aggregate`, `immediate`, `batched:N`",
            ),
            Part("batched"),
        ),
        "When errors are told: all at the end, each when it happens, or N of them together.",
        "`aggregate`",
        "error_collection: immediate",
    ),
    "circuit_breaker": Key(
        Part("circuit_breaker"),
        "When a map rests because nothing succeeds any more.",
        "none",
        "circuit_breaker: {failure_threshold: 5, timeout: 30s}",
    ),
}

# They stand in `error_policy`, and alone wherever it may stand.
ERRORS = {
    **_POLICY,
    "error_policy": Key(
        Part("error_policy"),
        "The keys about failed items in one place; one that stands alone counts more.",
        "none",
        "error_policy: {on_item_failure: skip}",
    ),
}

ERROR_POLICY = Place("error_policy", "Error policy", "under `error_policy`", _POLICY, keys.ERROR_POLICY)

CIRCUIT_BREAKER = Place(
    "circuit_breaker",
    "Circuit breaker",
    "under `circuit_breaker`",
    {
        "failure_threshold": Key(Whole(), "So many failures one after another open it.", "5", "failure_threshold: 3"),
        "timeout": Key(Time(zero=True), "How long nothing starts then.", "`30s`", "timeout: 2m"),
        "half_open_requests": Key(Whole(), "Attempts that may run at a time after that.", "3", "half_open_requests: 1"),
        "success_threshold": Key(Whole(), "So many of them that succeed close it.", "3", "success_threshold: 1"),
    },
    keys.CIRCUIT_BREAKER,
)

BATCHED = Place(
    "batched",
    "",
    "under `error_collection`",
    {"batched": Key(either(Whole(), Part("batch")), "How many errors together.", "10", "batched: {size: 10}")},
    required=("batched",),
    hidden=True,
)
BATCH = Place(
    "batch",
    "",
    "under `batched`",
    {"size": Key(Whole(), "How many errors together.", "required", "size: 10")},
    required=("size",),
    hidden=True,
)

TIMEOUT_CONFIG = Place(
    "timeout_config",
    "Timeout config",
    "under `timeout_config`",
    {
        "agent_timeout_secs": Key(
            Time(), "The limit of all steps of an item together.", "none", "agent_timeout_secs: 30m"
        ),
        "command_timeouts": Key(
            Each(either(Time(), Text(r"\$", "placeholder")), r"^(?:claude|shell|(?:cmd|claude|shell)_\d{1,4})$"),
            "Limits of single steps: by kind (`claude`, `shell`), by place among those of a kind (`claude_0`) or by"
            " place (`cmd_0`).",
            "none",
            "command_timeouts: {claude: 10m, cmd_0: 30s}",
        ),
        "timeout_policy": Key(
            _TIMEOUT_POLICY,
            "Which of the two counts; under `per_command`, `agent_timeout_secs` is the limit of each step without"
            " another.",
            "`hybrid` with `command_timeouts`",
            "timeout_policy: per_command",
        ),
        "cleanup_grace_period_secs": Key(
            Time(zero=True),
            "Between the end that is asked for and the one that is forced.",
            "the built-in time",
            "cleanup_grace_period_secs: 10",
        ),
        "timeout_action": Key(
            _TIMEOUT_ACTION, "What becomes of an item that took too long.", "`dlq`", "timeout_action: skip"
        ),
        "enable_monitoring": Key(
            Flag(), "Accepted; the duration of every step is recorded.", "true", "enable_monitoring: true"
        ),
    },
    keys.TIMEOUT_CONFIG,
)

_DOLLARS = Number(keys.LEAST_USD)

BUDGET = Place(
    "budget",
    "Budget",
    "under `budget`",
    {
        "max_cost_usd": Key(_DOLLARS, "What all agents together may cost.", "none", "max_cost_usd: 20"),
        "max_cost_usd_per_item": Key(
            Number(keys.LEAST_USD), "What one item may cost.", "none", "max_cost_usd_per_item: 1"
        ),
        "max_tokens": Key(Whole(), "How many tokens agents may use.", "none", "max_tokens: 2000000"),
        "max_duration": Key(Time(), "How long it may take.", "none", "max_duration: 2h"),
        "on_exceeded": Key(
            choice("drain kill"),
            "Whether running agents finish or are ended.",
            "`drain`",
            "on_exceeded: kill",
        ),
    },
    keys.BUDGET,
    "It holds for all agents of its place together: of the run, of a `map`.",
)

BUDGET_OF_A_STEP = Place(
    "budget of a step",
    "Budget of a step",
    "under `budget` of a step",
    {name: key for name, key in BUDGET.keys.items() if name != "max_cost_usd_per_item"},
    KeyTable(keys.BUDGET.runs - {"max_cost_usd_per_item"}, frozenset(), {}),
    hidden=True,
)

ALL = (ERROR_POLICY, CIRCUIT_BREAKER, BATCHED, BATCH, TIMEOUT_CONFIG, BUDGET, BUDGET_OF_A_STEP)
