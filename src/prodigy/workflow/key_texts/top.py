"""The keys at the top level of a workflow, and those of the mappings that stand there alone."""

from __future__ import annotations

from prodigy.workflow import keys
from prodigy.workflow.key_texts.agents import AGENTS, MCP_SERVERS
from prodigy.workflow.key_texts.agents import ALL as AGENT_PLACES
from prodigy.workflow.key_texts.composition import TOP
from prodigy.workflow.key_texts.errors import ERRORS
from prodigy.workflow.key_texts.shapes import (
    LABEL,
    VARIABLE,
    AnyText,
    Anything,
    Each,
    Flag,
    Key,
    Many,
    Part,
    Place,
    Text,
    Whole,
    choice,
    either,
)

UNCOMMITTED = choice("commit discard fail")
# A variable's name, plain or in braces, or a provider and what it is to look up.
_FROM = r"^(?:[A-Za-z_]\w*|\$\{(?:env[.:])?[A-Za-z_]\w*\}|(?:env|file|command):[\s\S]*)$"
_ENV_NAME = r"^(?:env:\s*)?(?:\$\{(?:env[.:])?[A-Za-z_]\w*\}|[A-Za-z_]\w*)\s*$"
OPTIONS = Many(Text(r"^\s*(?:(?:[-+](?:[abefhkmnptuvxBCEHPT]+|[oO])|[a-z][a-z0-9_]*)(?:\s+|$))*$", "bash option"))
VARIABLES = Each(
    either(AnyText(nothing=True), Part("variable of a command"), Part("conditional variable"), Part("variable")),
    VARIABLE,
    "mapping of variables",
)

_OF_A_PROFILE = {
    "description": Key(Anything("text"), "For people; changes nothing.", "none", "description: For releases"),
    "env": Key(VARIABLES, "More variables.", "none", "env: {TARGET: release}"),
}
_STEPS = ("steps", "commands", "tasks")
_PHASES = {"anyOf": [{"required": ["setup"]}, {"required": ["reduce"]}]}

WORKFLOW = Place(
    "workflow",
    "Workflow",
    "at the top level",
    {
        "name": Key(Text(LABEL), "What the run is called.", "the file's name", "name: modernize"),
        "description": Key(Anything("text"), "For people; changes nothing.", "none", "description: Type annotations"),
        "steps": Key(
            Part("all steps", "steps"),
            "The list of steps; some of them may be `mapreduce`.",
            "required without `map`",
            "steps: [{shell: make test}]",
        ),
        "setup": Key(
            Part("setup", "steps"),
            "With `map`: runs once, before it. `timeout` and `capture_outputs` stand beside `commands`.",
            "none",
            "setup: [{shell: ./list.sh > items.json}]",
        ),
        "map": Key(
            Part("map"),
            "Runs steps once per item.",
            "required without `steps`",
            "map: {input: ls, agent_template: [{shell: make}]}",
        ),
        "reduce": Key(
            Part("reduce", "steps"),
            "With `map`: runs once, on what was merged.",
            "none",
            "reduce: [{shell: make test}]",
        ),
        "merge": Key(
            Part("merge", "steps"),
            "Runs once, before the final merge, in a worktree at the run's branch; it may only make commits.",
            "none",
            "merge: [{shell: make test}]",
        ),
        "mode": Key(
            choice("mapreduce sequential standard"), "Accepted; the steps decide.", "by the steps", "mode: sequential"
        ),
        "retry_defaults": Key(
            either(Whole(), Part("retry")),
            "The `retry` of every step that has none of its own.",
            "none",
            "retry_defaults: {attempts: 3}",
        ),
        "mcp_servers": Key(
            MCP_SERVERS, "Servers of tools for agents.", "none", "mcp_servers: {docs: {command: docs-mcp}}"
        ),
        "agents": Key(AGENTS, "How agent programs are started.", "none", "agents: {claude: {model: opus}}"),
        "push_credentials": Key(
            Flag(),
            "Whether agents get what you push with: keys, tokens, credential helpers. Shell steps always do.",
            "false",
            "push_credentials: true",
        ),
        "workspace": Key(
            Part("workspace"), "What worktrees need beside their commit.", "none", "workspace: {include: [.env]}"
        ),
        "on_uncommitted": Key(
            UNCOMMITTED,
            "What becomes of changes that an item's steps did not commit.",
            "`commit`",
            "on_uncommitted: fail",
        ),
        "shell_options": Key(
            OPTIONS,
            "Options of bash for every shell step without its own.",
            "`-e -o pipefail`",
            "shell_options: [-e, -u]",
        ),
        "parallel_worktrees": Key(Whole(), "`max_parallel` for maps without their own.", "10", "parallel_worktrees: 4"),
        "settings": Key(
            Part("settings"),
            "The earlier place of `parallel_worktrees` and `continue_on_failure`.",
            "none",
            "settings: {parallel_worktrees: 4}",
        ),
        "env": Key(VARIABLES, "Environment variables of all steps.", "none", "env: {TARGET: main}"),
        "inherit": Key(
            Flag(),
            "Whether shell steps get all of your environment, or what it takes to run.",
            "true",
            "inherit: false",
        ),
        "env_files": Key(
            Many(Text(words="path")),
            "`.env` files, by their paths from the workflow file; later ones win.",
            "none",
            "env_files: [.env]",
        ),
        "profiles": Key(
            Each(Each(VARIABLES.value, VARIABLE, apart=_OF_A_PROFILE)),
            "Sets of variables, of which one is chosen when the run starts.",
            "none",
            "profiles: {ci: {TARGET: release}}",
        ),
        "secrets": Key(
            Each(either(Text(_FROM, "name"), Part("secret")), VARIABLE),
            "Variables whose values are taken anew at each start, never stored, and masked.",
            "none",
            "secrets: {TOKEN: {env: GITHUB_TOKEN}}",
        ),
        "config": Key(Anything(), "Accepted, with a warning; does nothing.", "none", "config: {}"),
        "version": Key(Anything(), "Accepted, with a warning; does nothing.", "none", "version: 1"),
        "max_iterations": Key(
            Whole(),
            "How often the workflow runs, one time after another; `prodigy run -n N` wins.",
            "1",
            "max_iterations: 2",
        ),
        **ERRORS,
        "budget": Key(Part("budget"), "What agents may cost.", "none", "budget: {max_cost_usd: 20}"),
        **TOP,
    },
    keys.WORKFLOW,
    "A workflow has `map` or `steps`, or it is a bare list of steps.",
    rules={
        # What is extended may have the steps.
        "if": {"not": {"anyOf": [{"required": ["extends"]}, {"required": ["template"]}]}},
        "then": {
            "oneOf": [
                {"required": ["map"]},
                *({"required": [name], "not": _PHASES} for name in _STEPS),
                {"required": ["workflows"], "not": {"anyOf": [{"required": [name]} for name in ("map", *_STEPS)]}},
            ]
        },
    },
)

SETTINGS = Place(
    "settings",
    "Settings",
    "under `settings`",
    {
        "parallel_worktrees": Key(Whole(), "As at the top level.", "10", "parallel_worktrees: 4"),
        "continue_on_error": Key(Flag(), "As `continue_on_failure`.", "true", "continue_on_error: false"),
    },
    keys.SETTINGS,
)

_SECRET_FLAG = Key(Flag(), "Whether the value is masked.", "false", "secret: true")

COMMAND_VARIABLE = Place(
    "variable of a command",
    "Variable of a command",
    "under a variable with `command`",
    {
        "command": Key(
            Text(), "A shell command; what it prints is the value.", "required", "command: git rev-parse HEAD"
        ),
        "cache": Key(Flag(), "Run it once a run, and not once for each step.", "false", "cache: true"),
        "secret": _SECRET_FLAG,
    },
    keys.KeyTable(frozenset({"command", "cache", "secret"}), frozenset(), {"cached": "cache"}),
    "Under `env`, and in a profile.",
    required=("command",),
)

CONDITIONAL_VARIABLE = Place(
    "conditional variable",
    "Conditional variable",
    "under a variable with `condition`",
    {
        "condition": Key(
            Text(words="expression"), "Decides which value it is.", "required", "condition: \"BRANCH == 'main'\""
        ),
        "when_true": Key(AnyText(nothing=True), "The value when it holds.", "required", "when_true: strict"),
        "when_false": Key(AnyText(nothing=True), "The value otherwise.", "empty", "when_false: loose"),
        "secret": _SECRET_FLAG,
    },
    required=("condition", "when_true"),
)

PLAIN_VARIABLE = Place(
    "variable",
    "Variable",
    "under a variable with `value`",
    {
        "value": Key(AnyText(nothing=True), "The value.", "required", "value: main"),
        "secret": _SECRET_FLAG,
    },
    required=("value",),
)

SECRET_PLACE = Place(
    "secret",
    "Secret",
    "under a secret",
    {
        "env": Key(Text(_ENV_NAME, "name"), "From this environment variable.", "one of these", "env: GITHUB_TOKEN"),
        "file": Key(Text(words="path"), "From this file.", "one of these", "file: ~/.config/token"),
        "command": Key(Text(), "What this shell command prints.", "one of these", "command: pass show github"),
        "provider": Key(choice("env file command"), "One of the three, with `key`.", "none", "provider: env"),
        "key": Key(Text(), "What stands behind the provider's name otherwise.", "none", "key: GITHUB_TOKEN"),
        "version": Key(Anything(), "Accepted, with a warning; does nothing.", "none", "version: 1"),
    },
    rules={
        "oneOf": [
            *({"required": [name]} for name in ("env", "file", "command")),
            {"required": ["provider", "key"]},
        ]
    },
)

STEP_VARIABLE = Place(
    "variable of a step",
    "",
    "under a variable of a step",
    {
        "value": Key(AnyText(nothing=True), "The value.", "required", "value: main"),
        "secret": Key(Flag(), "Accepted, with a warning.", "false", "secret: true"),
    },
    required=("value",),
    hidden=True,
)

ALL = (
    WORKFLOW, SETTINGS, *AGENT_PLACES, COMMAND_VARIABLE, CONDITIONAL_VARIABLE, PLAIN_VARIABLE, SECRET_PLACE,
    STEP_VARIABLE,
)  # fmt: skip
