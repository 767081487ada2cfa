"""Every key of the language, as data: what runs, what is refused for now, and what was given up."""

from __future__ import annotations

from collections.abc import Collection
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
    runs=_words(
        """
        on_item_failure continue_on_failure retry_config max_failures failure_threshold error_collection circuit_breaker
        """
    ),
    later=frozenset(),
    synonyms={},
)
CIRCUIT_BREAKER = KeyTable(
    runs=_words("failure_threshold timeout success_threshold half_open_requests"), later=frozenset(), synonyms={}
)
TIMEOUT_CONFIG = KeyTable(
    runs=_words(
        """
        agent_timeout_secs command_timeouts timeout_policy cleanup_grace_period_secs timeout_action enable_monitoring
        """
    ),
    later=frozenset(),
    synonyms={},
)
# The keys of the error policy may also stand alone where `error_policy` may.
_POLICY_RUNS = ERROR_POLICY.runs | {"error_policy"}

WORKFLOW = KeyTable(
    runs=_POLICY_RUNS
    | _words(
        """
        name mode description setup map reduce steps settings parallel_worktrees retry_defaults workspace
        on_uncommitted shell_options agents env inherit secrets env_files profiles merge config version max_iterations
        imports extends template templates parameters defaults workflows budget mcp_servers push_credentials
        """
    ),
    later=ERROR_POLICY.later,
    synonyms={"commands": "steps", "tasks": "steps", "sub_workflows": "workflows"},
)

SETTINGS = KeyTable(runs=_words("parallel_worktrees continue_on_error"), later=frozenset(), synonyms={})

MAP = KeyTable(
    runs=_POLICY_RUNS
    | _words(
        """
        input json_path filter sort_by distinct offset max_items variables max_parallel agent_template
        workspace on_uncommitted merge priority agent_timeout_secs timeout_config retry_on_failure budget
        """
    ),
    later=ERROR_POLICY.later | _words("shell_options env"),
    synonyms={
        "parallel": "max_parallel",
        "operation": "agent_template",
        "timeout": "agent_timeout_secs",
        "timeout_per_agent": "agent_timeout_secs",
    },
)

MAP_MERGE = KeyTable(
    runs=_words("check batch on_reject strategy on_conflict"), later=frozenset(), synonyms={"validate": "check"}
)

# The mapping below a step's `mapreduce:`.
MAPREDUCE = KeyTable(
    runs=_POLICY_RUNS | _words("map reduce workspace budget"),
    later=ERROR_POLICY.later | _words("setup on_uncommitted shell_options"),
    synonyms={},
)

# One agent below `agents:`.
AGENT = KeyTable(
    runs=_words(
        "kind command args model env pass_env timeout idle_timeout"
        " system_prompt permission_mode push_credentials sandbox"
    ),
    later=frozenset(),
    synonyms={"append_system_prompt": "system_prompt"},
)
SANDBOX = KeyTable(runs=_words("use wrapper write read hide network"), later=frozenset(), synonyms={})
# Variables of the user's by which programs push, or ask somebody who can.
PUSH_CREDENTIALS = _words(
    """
        SSH_AUTH_SOCK SSH_AGENT_PID SSH_ASKPASS SSH_ASKPASS_REQUIRE GIT_ASKPASS GIT_SSH GIT_SSH_COMMAND GIT_SSH_VARIANT
        GIT_CONFIG_PARAMETERS VSCODE_GIT_ASKPASS_NODE VSCODE_GIT_ASKPASS_MAIN VSCODE_GIT_ASKPASS_EXTRA_ARGS
        VSCODE_GIT_IPC_HANDLE
        GH_TOKEN GITHUB_TOKEN GH_ENTERPRISE_TOKEN GITHUB_ENTERPRISE_TOKEN GITHUB_PAT GITHUB_PERSONAL_ACCESS_TOKEN
        HOMEBREW_GITHUB_API_TOKEN ACTIONS_RUNTIME_TOKEN ACTIONS_ID_TOKEN_REQUEST_TOKEN
        GITLAB_TOKEN GITLAB_ACCESS_TOKEN GITLAB_PRIVATE_TOKEN GL_TOKEN CI_JOB_TOKEN CI_REGISTRY_PASSWORD
        BITBUCKET_TOKEN BITBUCKET_ACCESS_TOKEN BITBUCKET_APP_PASSWORD GITEA_TOKEN FORGEJO_TOKEN CODEBERG_TOKEN
        AZURE_DEVOPS_EXT_PAT SYSTEM_ACCESSTOKEN
        """
)
# Our adapters, and those of them that stand for no program of their own.
AGENT_KINDS = ("claude", "codex", "gemini", "opencode", "aider", "acp", "command")
KINDS_OF_ANY_PROGRAM = frozenset({"acp", "command"})
MCP_SERVER = KeyTable(runs=_words("command args env url headers"), later=frozenset(), synonyms={})
LEAST_USD = 0.000001
BUDGET = KeyTable(
    runs=_words("max_cost_usd max_cost_usd_per_item max_tokens max_duration on_exceeded"),
    later=frozenset(),
    synonyms={},
)
AGENT_STEP = KeyTable(runs=_words("use prompt fresh"), later=frozenset(), synonyms={})

# `workspace: {...}`; the last five are the earlier system's.
WORKSPACE = KeyTable(
    runs=_words(
        """
        isolation reuse name include setup teardown keep_ignored keep_failed keep max_age limits
        strategy cleanup_policy parallel_worktrees enable_cache auto_cleanup
        """
    ),
    later=frozenset(),
    synonyms={
        "allocation_strategy": "strategy",
        "resource_limits": "limits",
        "cleanup": "cleanup_policy",
        "max_age_secs": "max_age",
    },
)
WORKSPACE_LIMITS = KeyTable(
    runs=_words("per_run total max_disk_mb min_free_disk_mb max_memory_mb memory_per_item_mb max_cpu_percent"),
    later=frozenset(),
    synonyms={
        "max_worktrees_per_job": "per_run",
        "max_total": "total",
        "max_total_worktrees": "total",
        "disk_threshold_mb": "min_free_disk_mb",
    },
)
CLEANUP_POLICY = KeyTable(
    runs=_words("cleanup_on_complete keep_failed max_age idle_timeout_secs auto_cleanup"),
    later=frozenset(),
    synonyms={"max_age_secs": "max_age", "idle_timeout": "idle_timeout_secs"},
)

# What a step can do; every step has exactly one of them.
ACTIONS_RUN = (
    "shell", "claude", "agent", "test", "command", "write_file", "foreach", "worktree", "mapreduce", "workflow",
)  # fmt: skip

STEP = KeyTable(
    runs=frozenset(ACTIONS_RUN)
    | _words(
        """
        name id description commit_required timeout idle_timeout when retry env working_dir shell_options
        on_failure on_success on_exit_code allow_failure continue_on_error
        validate on_incomplete max_iterations step_validate
        skip_validation validation_timeout ignore_validation_failure
        capture capture_output capture_format capture_streams output_file outputs
        auto_commit commit_config inherit clear_env temporary do parallel max_items merge
        args options metadata analysis context use with budget fresh
        """
    ),
    later=frozenset(),
    synonyms={"cwd": "working_dir", "output": "output_file", "max_attempts": "retry", "retry_config": "retry"},
)

# The keys of `on_failure: {...}`, beside those of the one step that may stand in it.
ON_FAILURE = KeyTable(
    runs=_words("commands timeout fail_workflow retry_original max_retries strategy handler_failure_fatal capture"),
    later=frozenset(),
    synonyms={"max_attempts": "max_retries"},
)

# `{shell, claude}` in a handler, which has no keys of its own.
TWO_STEPS = KeyTable(runs=frozenset(), later=frozenset(), synonyms={})

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
NESTED_STEPS = KeyTable(runs=_words("commands timeout capture_outputs"), later=frozenset(), synonyms={})

# One name below `capture_outputs`.
CAPTURE_OUTPUT = KeyTable(
    runs=_words("command_index source pattern json_path max_size default multiline"), later=frozenset(), synonyms={}
)

# `validate: {...}` and `on_incomplete: {...}`; one step may stand in them with all its keys.
VALIDATE = KeyTable(
    runs=STEP.runs | _words("commands expected_schema threshold timeout result_file on_incomplete"),
    later=STEP.later,
    synonyms=STEP.synonyms,
)
ON_INCOMPLETE = KeyTable(
    runs=STEP.runs | _words("commands prompt max_attempts fail_workflow"),
    later=STEP.later,
    synonyms={name: meant for name, meant in STEP.synonyms.items() if name != "max_attempts"}
    | {"max_retries": "max_attempts"},
)

STEP_VALIDATE = KeyTable(
    runs=_words("commands success_criteria max_attempts retry_delay"), later=frozenset(), synonyms={}
)

# `input: {source: NAME}`
ITEM_SOURCE = KeyTable(runs=_words("source with"), later=frozenset(), synonyms={})

# `foreach: {...}`, whose keys may stand in the step as well.
FOREACH = KeyTable(
    runs=_words("foreach parallel do continue_on_error max_items"),
    later=frozenset(),
    synonyms={"items": "foreach", "input": "foreach"},
)

WRITE_FILE = KeyTable(runs=_words("path content format mode create_dirs"), later=frozenset(), synonyms={})

COMMIT_CONFIG = KeyTable(
    runs=_words("message_template message_pattern sign author include_files exclude_files squash"),
    later=frozenset(),
    synonyms={},
)

# A step `worktree: NAME`.
NAMED = KeyTable(runs=_words("worktree do merge id name description"), later=frozenset(), synonyms={})

# One name below `workflows`.
SUBFLOW = KeyTable(
    runs=_words("source parameters inputs outputs parallel continue_on_error timeout working_dir name description"),
    later=frozenset(),
    synonyms={},
)

# What may stand beside `use: NAME`, and beside `workflow: NAME`.
USE = KeyTable(runs=_words("use with when name description"), later=frozenset(), synonyms={"template": "use"})


def uses_template(names: Collection[str]) -> bool:
    """Whether a mapping with these keys stands for the steps of a template; `template: NAME` is an older spelling."""
    return "use" in names or ("template" in names and set(names) <= USE.known)


WORKFLOW_STEP = _words("workflow id name description when")

IMPORT = KeyTable(runs=_words("path alias selective"), later=frozenset(), synonyms={"names": "selective"})
TEMPLATE_FILE = KeyTable(runs=_words("file"), later=frozenset(), synonyms={})
TEMPLATE = KeyTable(runs=_words("name source with override"), later=frozenset(), synonyms={"parameters": "with"})
PARAMETER = KeyTable(runs=_words("name type description default validation required"), later=frozenset(), synonyms={})

# `metadata` of a command of the earlier system.
METADATA = KeyTable(
    runs=_words("retries timeout continue_on_error env commit_required analysis"), later=frozenset(), synonyms={}
)

# Keys of the earlier system that are not carried over, and what takes their place.
GIVEN_UP = {
    "handler": "write what the handler did as a `shell` step",
    "goal_seek": "use `validate` with `on_incomplete`",
    "storage": "there is one embedded database and nothing to configure",
    "storage_config": "there is one embedded database and nothing to configure",
    "checkpoint": "every finished step is recorded; resume with `prodigy resume`",
    "checkpoints": "every finished step is recorded; resume with `prodigy resume`",
    "focus": "write it in the prompt: `claude: /review --focus tests`",
    "inputs": "name the values in the prompt: `claude: /fix ${scan.output}`",
    "stop_on_success": "remove it: a handler is never repeated once the step succeeds",
    "changelog": "run your own tool in a `shell` step",
}

# Where a key belongs that was found in the wrong place.
PLACES = (
    ("at the top level", WORKFLOW),
    ("under `map`", MAP),
    ("in a step", STEP),
)
