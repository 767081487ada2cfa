"""Every key of the language, as data: what runs, what is refused for now, and what was given up."""

from __future__ import annotations

from typing import NamedTuple


class KeyTable(NamedTuple):
    """The keys of one kind of mapping.

    runs: understood by this version.
    later: part of the language, refused until they run; never ignored.
    synonyms: another accepted name -> the name in `runs`.
    """

    runs: frozenset[str]
    later: frozenset[str]
    synonyms: dict[str, str]

    @property
    def known(self) -> frozenset[str]:
        """Every name that may be meant by a misspelt one."""
        return self.runs | self.later | self.synonyms.keys()


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ERROR_POLICY = KeyTable(
    runs=_words("on_item_failure continue_on_failure retry_config"),
    later=_words("max_failures failure_threshold error_collection circuit_breaker"),
    synonyms={},
)
# The keys of the error policy may also stand alone where `error_policy` may.
_POLICY_RUNS = ERROR_POLICY.runs | {"error_policy"}

WORKFLOW = KeyTable(
    runs=_POLICY_RUNS
    | _words(
        """
        name mode description setup map reduce steps settings parallel_worktrees retry_defaults workspace
        on_uncommitted shell_options agents
        """
    ),
    later=ERROR_POLICY.later
    | _words(
        """
        merge env secrets env_files profiles imports extends template parameters defaults workflows
        config version budget
        """
    ),
    synonyms={"commands": "steps", "tasks": "steps"},
)

SETTINGS = KeyTable(runs=_words("parallel_worktrees continue_on_error"), later=frozenset(), synonyms={})

MAP = KeyTable(
    runs=_POLICY_RUNS | _words("input json_path max_parallel agent_template workspace on_uncommitted"),
    later=ERROR_POLICY.later
    | _words(
        """
        filter sort_by max_items offset distinct variables merge budget shell_options
        agent_timeout_secs timeout_config retry_on_failure env timeout
        """
    ),
    synonyms={"parallel": "max_parallel", "operation": "agent_template"},
)

# The mapping below a step's `mapreduce:`.
MAPREDUCE = KeyTable(
    runs=_POLICY_RUNS | _words("map reduce"),
    later=ERROR_POLICY.later | _words("setup workspace budget on_uncommitted shell_options"),
    synonyms={},
)

# One agent below `agents:`.
AGENT = KeyTable(runs=_words("command args model"), later=_words("kind env idle_timeout timeout sandbox"), synonyms={})

WORKSPACE = KeyTable(
    runs=_words("include setup keep_ignored"), later=_words("isolation reuse name teardown keep_failed"), synonyms={}
)

# What a step can do; every step has exactly one of them.
ACTIONS_RUN = ("shell", "claude", "agent", "test", "mapreduce")
ACTIONS_LATER = ("foreach", "write_file", "command", "worktree")

STEP = KeyTable(
    runs=frozenset(ACTIONS_RUN)
    | _words(
        """
        name id description commit_required timeout idle_timeout when retry env working_dir shell_options
        on_failure on_success on_exit_code allow_failure validate
        capture capture_output capture_format capture_streams output_file
        """
    ),
    later=frozenset(ACTIONS_LATER)
    | _words(
        """
        clear_env temporary budget on_incomplete
        step_validate skip_validation validation_timeout ignore_validation_failure outputs
        auto_commit commit_config on_uncommitted analysis
        args options metadata do parallel continue_on_error max_items merge
        """
    ),
    synonyms={"cwd": "working_dir", "output": "output_file"},
)

# The keys of `on_failure: {...}`, beside those of the one step that may stand in it.
ON_FAILURE = KeyTable(
    runs=_words("commands timeout fail_workflow retry_original max_retries strategy handler_failure_fatal"),
    later=_words("capture"),
    synonyms={"max_attempts": "max_retries"},
)

RETRY = KeyTable(
    runs=_words("attempts backoff initial_delay max_delay jitter jitter_factor retry_on retry_budget on_failure"),
    later=frozenset(),
    synonyms={"max_attempts": "attempts"},
)

# What `retry_on` knows by name: kinds of errors, and conditions that texts show.
RETRY_ON = _words(
    """
    command_failed timeout agent_hung commit_validation_failed validation_failed check_rejected worktree_error
    merge_conflict resource_exhausted permission invalid_item lost unknown
    network server_error rate_limit
    """
)

# `setup: {commands: [...]}` and the like.
NESTED_STEPS = KeyTable(runs=_words("commands"), later=_words("timeout capture_outputs"), synonyms={})

# Keys of the earlier system that are not carried over, and what takes their place.
GIVEN_UP = {
    "handler": "write what the handler did as a `shell` step",
    "goal_seek": "use `validate` with `on_incomplete`",
    "storage": "there is one embedded database and nothing to configure",
    "storage_config": "there is one embedded database and nothing to configure",
    "checkpoint": "every finished step is recorded; resume with `prodigy resume`",
    "checkpoints": "every finished step is recorded; resume with `prodigy resume`",
    "changelog": "run your own tool in a `shell` step",
}

# Where a key belongs that was found in the wrong place.
PLACES = (
    ("at the top level", WORKFLOW),
    ("under `map`", MAP),
    ("in a step", STEP),
)


class Variables(NamedTuple):
    """The names below one of our namespaces. An empty `runs` means that any name may follow."""

    runs: frozenset[str]
    later: frozenset[str] = frozenset()


_GIT = _words(
    "files_added files_modified files_deleted files_changed commits commit_count insertions deletions uncommitted"
)
VARIABLES = {
    "map": Variables(
        _words("successful success_count failed total success_rate"),
        _words("results results_json results_array results_file outputs key"),
    ),
    "workflow": Variables(_words("name id iteration"), _GIT),
    "run": Variables(_words("id")),
    "error": Variables(_words("message exit_code step kind timestamp"), _words("handler attempt correlation_id")),
}
# Built-in variables that have a value of their own and nothing below it.
PLAIN_VARIABLES = _words("item_id item_index item_total")

# Namespaces of the language that have no values yet. `${name.x}` is no shell syntax, so it can only mean them.
NAMESPACES_LATER = _words(
    """
    setup step last shell claude agent test foreach write_file handler worker result merge validation dlq
    env worktrees
    """
)
