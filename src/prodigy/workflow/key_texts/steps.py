"""The keys of a step."""

from __future__ import annotations

from prodigy.workflow import keys
from prodigy.workflow.captures import LISTED_STREAMS
from prodigy.workflow.key_texts.checks import ON_INCOMPLETE_OF_A_STEP
from prodigy.workflow.key_texts.parts import ON_FAILURE_OF_A_STEP, STEP_ENV
from prodigy.workflow.key_texts.shapes import (
    CAPTURED,
    COMMAND_OR_LIST,
    COMMANDS,
    LABEL,
    NAMED,
    PATH,
    RESULT,
    STEPS,
    AnyText,
    Anything,
    Each,
    Flag,
    Key,
    Many,
    Part,
    Place,
    Text,
    Time,
    Whole,
    choice,
    either,
)
from prodigy.workflow.key_texts.top import OPTIONS

_ACTIONS = {
    "shell": Key(
        Text(),
        "A bash script: `bash --noprofile --norc -eo pipefail`, standard input empty.",
        "none",
        "shell: make test",
    ),
    "claude": Key(Text(), "A prompt for Claude Code.", "none", 'claude: "/fix ${item}"'),
    "agent": Key(Part("agent step"), "A prompt for an agent.", "none", "agent: {use: claude, prompt: Review it}"),
    "write_file": Key(Part("write_file"), "Writes a file.", "none", "write_file: {path: out.txt, content: done}"),
    "foreach": Key(
        either(Text(words="command"), Many(Anything(), or_one=False), Part("foreach")),
        "Runs `do` once for each value: of a list, of `glob:PATTERN`, or of the lines that a shell command prints.",
        "none",
        "foreach: [a, b]",
    ),
    "worktree": Key(Part("worktree step", "name"), "Runs `do` in a worktree of its own.", "none", "worktree: rewrite"),
    "mapreduce": Key(
        Part("mapreduce"),
        "A fan-out: steps that run once per item.",
        "none",
        "mapreduce: {map: {input: ls, agent_template: [{shell: make}]}}",
    ),
    "test": Key(
        Part("test"),
        "A command, with an agent that repairs.",
        "none",
        "test: {command: make test}",
        deprecated="`shell` with `on_failure`",
    ),
    "command": Key(
        Text(words="name"),
        "A command of Claude Code by its name; a `name` alone is one too.",
        "none",
        "command: fix",
        deprecated="`claude`",
    ),
}

_COMPOSED = {
    "use": Key(Part("use step", "name"), "The steps of a template stand here.", "none", "use: check"),
    "with": Key(
        Each(Anything("value")), "With `use`: values for the template's parameters.", "none", "with: {target: src}"
    ),
    "workflow": Key(Part("workflow step", "name"), "One of `workflows` runs here.", "none", "workflow: lint"),
}

_POLICY = {
    "when": Key(Text(words="expression"), "Skip the step unless it holds.", "none", 'when: "${item.n} > 1"'),
    "timeout": Key(Time(), "Of each try.", "four hours", "timeout: 10m"),
    "idle_timeout": Key(Time(), "The longest time without output.", "one hour", "idle_timeout: 2m"),
    "retry": Key(either(Whole(), Part("retry")), "How often it is tried.", "one try", "retry: 3"),
    "env": Key(
        STEP_ENV, "Environment variables; not with names in `PRODIGY_`.", "none", 'env: {TITLE: "${item.title}"}'
    ),
    "inherit": Key(
        Flag(),
        "Whether it gets all of your environment, or what it takes to run. Agents get no more than that in any case.",
        "the workflow's",
        "inherit: false",
    ),
    "clear_env": Key(
        Flag(),
        "As `inherit: false`, and without the workflow's `env` and `env_files`.",
        "false",
        "clear_env: true",
    ),
    "temporary": Key(Flag(), "Accepted; the `env` of a step is for that step alone.", "true", "temporary: true"),
    "working_dir": Key(PATH, "Where it runs, below the worktree.", "the worktree", "working_dir: packages/core"),
    "shell_options": Key(OPTIONS, "Of bash, for a `shell` step.", "the workflow's", "shell_options: [-e, -u]"),
    "budget": Key(Part("budget of a step"), "What its agent may use.", "none", "budget: {max_cost_usd: 1}"),
    "fresh": Key(Flag(), "Whether the agent is told nothing of how the last attempt failed.", "false", "fresh: true"),
}

_ENDS = {
    "on_failure": Key(
        ON_FAILURE_OF_A_STEP,
        "What to do when it failed for good; `true`: go on all the same.",
        "none",
        "on_failure: make clean",
    ),
    "on_success": Key(
        either(COMMANDS, Part("two steps", "`shell` and `claude`")),
        "Runs after a success; if it fails, the step has failed.",
        "none",
        "on_success: echo done",
    ),
    "on_exit_code": Key(
        Each(COMMANDS, r"^0*(?:\d{1,2}|1\d\d|2[0-4]\d|25[0-5])$", "mapping of exit codes"),
        "A handler per exit code, in place of `on_failure` for that code.",
        "none",
        "on_exit_code: {3: echo nothing to do}",
    ),
    "allow_failure": Key(Flag(), "The same as `on_failure: true`.", "false", "allow_failure: true"),
    "continue_on_error": Key(
        Flag(),
        "Go on after failures that no handler takes; with `foreach`: with the other values.",
        "false",
        "continue_on_error: true",
    ),
}

_CHECKS = {
    "commit_required": Key(Flag(), "Without a new commit the step has failed.", "false", "commit_required: true"),
    "validate": Key(
        either(COMMAND_OR_LIST, Part("validate")),
        "Must succeed, or tell that the work is complete.",
        "none",
        "validate: make check",
    ),
    "on_incomplete": Key(
        ON_INCOMPLETE_OF_A_STEP,
        "What repairs when `validate` does not hold.",
        "none",
        "on_incomplete: {claude: /complete}",
    ),
    "max_iterations": Key(Whole(), "How often it repairs at most.", "2", "max_iterations: 3"),
    "step_validate": Key(
        either(Text(words="command"), Part("answer list", "commands"), Part("step_validate"), Part("answer")),
        "Commands that must answer as expected.",
        "none",
        "step_validate: make check",
    ),
    "skip_validation": Key(Flag(), "Switches the checks off.", "false", "skip_validation: true"),
    "validation_timeout": Key(Time(), "Of each step of the checks.", "none", "validation_timeout: 5m"),
    "ignore_validation_failure": Key(
        Flag(), "What does not hold is warned of, and fails nothing.", "false", "ignore_validation_failure: true"
    ),
}

_RESULTS = {
    "capture": Key(CAPTURED, "A name for the output.", "none", "capture: count"),
    "capture_output": Key(
        either(Flag(), CAPTURED),
        "The earlier name of `capture`; true and false name nothing. `shell.NAME` or `claude.NAME` has the value, too.",
        "none",
        "capture_output: count",
    ),
    "capture_format": Key(
        choice("string json lines number boolean text"),
        "The form of the captured value.",
        "`string`",
        "capture_format: json",
    ),
    "capture_streams": Key(
        either(choice("stdout stderr both none"), Text(LISTED_STREAMS, "list of them"), Part("streams")),
        "Which output is captured.",
        "`stdout`",
        "capture_streams: both",
    ),
    "output_file": Key(
        PATH, "A file below the worktree that the output is written to.", "none", "output_file: out.txt"
    ),
    "outputs": Key(
        Each(Part("output"), RESULT, "mapping of names"),
        "Names for lists of files that the step's commits add or change.",
        "none",
        'outputs: {docs: {file_pattern: "*.md"}}',
    ),
    "auto_commit": Key(Flag(), "What it left uncommitted is committed.", "false", "auto_commit: true"),
    "commit_config": Key(
        Part("commit_config"), "How that is done.", "none", 'commit_config: {message_template: "Fix"}'
    ),
}

_WITH_ONE = {
    "do": Key(STEPS, "With `foreach` and `worktree`: the steps.", "required there", "do: [{shell: make}]"),
    "parallel": Key(
        either(Flag(), Whole()),
        "With `foreach`: how many values at a time, each in a worktree of its own.",
        "one after another, in one worktree",
        "parallel: 4",
    ),
    "max_items": Key(Whole(), "With `foreach`: the most values.", "all", "max_items: 10"),
    "merge": Key(Flag(), "With `worktree`: whether its commits are merged.", "false", "merge: true"),
    "args": Key(Many(AnyText()), "With `command`: its arguments; else nothing.", "none", "args: [$ARG]"),
    "options": Key(
        Each(AnyText(nothing=True)), "With `command`: its options; else nothing.", "none", "options: {focus: tests}"
    ),
    "metadata": Key(
        Part("metadata"), "More keys.", "none", "metadata: {retries: 2}", deprecated="its keys in the step"
    ),
    "analysis": Key(Anything(), "Does nothing.", "none", "analysis: {}", deprecated="nothing"),
    "context": Key(Anything(), "Does nothing.", "none", "context: {}", deprecated="nothing"),
}

_DOES = tuple(name for name in _ACTIONS if name not in ("worktree", "mapreduce"))
_NOTHING_ELSE: dict[str, object] = {"not": {"anyOf": [{"required": [name]} for name in _DOES]}}
_CAPTURES: dict[str, object] = {
    "anyOf": [
        *({"required": [name]} for name in ("id", "capture", "output_file", "output")),
        {"required": ["capture_output"], "properties": {"capture_output": {"type": "string"}}},
    ]
}

TWO_STEPS = Place("two steps", "", "in a handler", {}, keys.TWO_STEPS, beside="step", hidden=True)

STEP = Place(
    "step",
    "Steps",
    "in a step",
    {
        **_ACTIONS,
        "id": Key(NAMED, "Names the step, and its result for later steps.", "none", "id: count"),
        "name": Key(Text(LABEL), "A label for people.", "the action", "name: Count the files"),
        "description": Key(Text(), "For people; changes nothing.", "none", "description: Only source files"),
        **_POLICY,
        **_CHECKS,
        **_ENDS,
        **_RESULTS,
        **_WITH_ONE,
        **_COMPOSED,
    },
    keys.STEP,
    "A step has exactly one of " + ", ".join(f"`{name}`" for name in (*_ACTIONS, "use", "workflow")) + "."
    " A text alone is a command of Claude Code.",
    rules={
        "oneOf": [
            *({"required": [name]} for name in _DOES),
            {"required": ["name"], "properties": {"name": {"pattern": r"^/?[A-Za-z][\w:-]*$"}}, **_NOTHING_ELSE},
            {
                "properties": {"analyze": True, "analysis": True, "context": True},
                "additionalProperties": False,
                "minProperties": 1,
            },
        ],
        "dependentRequired": {name: ["foreach"] for name in ("do", "parallel", "max_items")},
        "dependentSchemas": {
            "foreach": {
                "anyOf": [
                    {"required": ["do"]},
                    {"properties": {"foreach": {"type": "object", "required": ["do"]}}},
                ]
            },
            "shell_options": {"anyOf": [{"required": [name]} for name in ("shell", "foreach", "test")]},
            "capture_format": _CAPTURES,
            "capture_streams": _CAPTURES,
            "on_failure": {"properties": {"allow_failure": {"const": False}}},
            "on_success": {"properties": {"on_exit_code": {"not": {"required": ["0"]}}}},
        },
    },
    elsewhere=frozenset({"worktree", "mapreduce", "merge", "use", "with", "workflow"}),
)

ALL = (TWO_STEPS, STEP)
