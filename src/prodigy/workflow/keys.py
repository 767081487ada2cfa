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


_ERROR_POLICY = _words(
    """
    error_policy on_item_failure continue_on_failure max_failures failure_threshold error_collection
    circuit_breaker retry_config
    """
)
_WORKSPACE = _words("workspace budget on_uncommitted shell_options")

WORKFLOW = KeyTable(
    runs=_words("name mode setup map reduce steps"),
    later=_ERROR_POLICY
    | _WORKSPACE
    | _words(
        """
        merge env secrets env_files profiles imports extends template parameters defaults workflows
        agents retry_defaults settings parallel_worktrees config description version
        """
    ),
    synonyms={"commands": "steps", "tasks": "steps"},
)

MAP = KeyTable(
    runs=_words("input json_path max_parallel agent_template"),
    later=_ERROR_POLICY
    | _WORKSPACE
    | _words(
        """
        filter sort_by max_items offset distinct variables merge
        agent_timeout_secs timeout_config retry_on_failure env timeout
        """
    ),
    synonyms={"parallel": "max_parallel", "operation": "agent_template"},
)

# The mapping below a step's `mapreduce:`.
MAPREDUCE = KeyTable(runs=_words("map reduce"), later=_ERROR_POLICY | _WORKSPACE | _words("setup"), synonyms={})

# What a step can do; every step has exactly one of them.
ACTIONS_RUN = ("shell", "mapreduce")
ACTIONS_LATER = ("claude", "agent", "foreach", "write_file", "test", "command", "worktree")

STEP = KeyTable(
    runs=frozenset(ACTIONS_RUN) | _words("name id commit_required timeout idle_timeout"),
    later=frozenset(ACTIONS_LATER)
    | _words(
        """
        when retry env working_dir cwd clear_env temporary budget description allow_failure
        on_failure on_success on_exit_code on_incomplete
        validate step_validate skip_validation validation_timeout ignore_validation_failure
        capture capture_output capture_format capture_streams output output_file outputs
        auto_commit commit_config on_uncommitted analysis shell_options
        args options metadata do parallel continue_on_error max_items merge
        """
    ),
    synonyms={},
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
        _words("successful failed total"),
        _words("success_rate success_count results results_json results_array results_file outputs key"),
    ),
    "workflow": Variables(_words("name"), _words("id iteration") | _GIT),
    "run": Variables(_words("id")),
}
# Built-in variables that have a value of their own and nothing below it.
PLAIN_VARIABLES = _words("item_id item_index item_total")

# Namespaces of the language that have no values yet. `${name.x}` is no shell syntax, so it can only mean them.
NAMESPACES_LATER = _words(
    """
    setup step last shell claude agent test foreach write_file handler worker result merge validation error dlq
    env worktrees
    """
)
