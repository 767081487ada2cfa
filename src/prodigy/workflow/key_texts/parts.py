"""The mappings below the keys of a step."""

from __future__ import annotations

from prodigy.workflow import keys
from prodigy.workflow.key_texts.retries import (
    BACKOFF,
    BACKOFFS,
    FALLBACK,
    FALLBACK_COMMAND,
    PATTERN,
    RETRY,
    RETRY_CONFIG,
)
from prodigy.workflow.key_texts.shapes import (
    COMMANDS,
    LABEL,
    PATH,
    RESULT,
    STEPS,
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
    Time,
    Whole,
    choice,
    either,
)

# These words would be commands, and are not meant as such.
ON_FAILURE_OF_A_STEP = either(
    Flag(),
    Text(r"^(?!\s*(?:[Rr]etry|[Cc]ontinue|[Ii]gnore|[Ss]kip|[Ss]top|[Ff]ail)\s*$)[\s\S]*\S", "command"),
    Part("command list", "steps"),
    Part("on_failure"),
    Part("use step", "steps"),
)
STEP_ENV = Each(either(AnyText(nothing=True), Part("variable of a step")), VARIABLE, "mapping of variables")

_LIMITED = either(Whole(0, 99_999), Part("capture_output"))
_TAKEN = Each(_LIMITED, RESULT)

NESTED = {
    "commands": Key(Part("nested", "steps"), "The steps.", "required", "commands: [{shell: make}]"),
    "timeout": Key(
        Time(), "Of all steps of the phase together; in `setup`, `reduce` and `merge`.", "none", "timeout: 10m"
    ),
    "capture_outputs": Key(
        _TAKEN,
        "Names for what the steps print: the number of a step, from 0, or a mapping.",
        "none",
        "capture_outputs: {version: 0}",
    ),
}
# A list of steps with keys of its own around it: (place, the list in it, whether a time limit may stand there).
NESTED_PLACES = tuple(
    Place(
        f"{name} nested",
        "Nested steps" if name == "setup" else "",
        "around nested steps",
        {**NESTED, "commands": Key(Part(inner, "steps"), "The steps.", "required", "commands: [{shell: make}]")}
        if limited
        else {
            "commands": Key(Part(inner, "steps"), "The steps.", "required", "commands: [{shell: make}]"),
            "capture_outputs": NESTED["capture_outputs"],
        },
        keys.NESTED_STEPS,
        "In place of a list of steps. `commands` alone is deprecated: write the list itself.",
        required=("commands",),
        hidden=name != "setup",
    )
    for name, inner, limited in (
        ("setup", "all inner", True),
        ("reduce", "worktree inner", True),
        ("merge", "inner", True),
        ("steps", "inner", False),
    )
)

CAPTURE_OUTPUT = Place(
    "capture_output",
    "Capture outputs",
    "under `capture_outputs`",
    {
        "command_index": Key(Whole(0, 99_999), "The number of the step, from 0.", "required", "command_index: 0"),
        "source": Key(choice("stdout stderr both combined"), "Which output.", "`stdout`", "source: stderr"),
        "pattern": Key(
            Text(words="pattern"),
            "A regular expression; its first group counts, or all that it matches.",
            "none",
            "pattern: 'version (.*)'",
        ),
        "json_path": Key(Text(words="JSONPath"), "The first value there.", "none", "json_path: $.version"),
        "max_size": Key(Whole(), "In bytes.", "1 MiB", "max_size: 4096"),
        "default": Key(AnyText(nothing=True), "The value where there is none.", "none", "default: unknown"),
        "multiline": Key(
            choice("preserve join first_line last_line array"),
            "What becomes of several lines.",
            "`preserve`",
            "multiline: first_line",
        ),
    },
    keys.CAPTURE_OUTPUT,
    "In a handler's `capture`, `command_index` may be left out: the last of its commands is meant.",
    required=("command_index",),
)
HANDLER_CAPTURE = Place("handler capture", "", "under `capture`", CAPTURE_OUTPUT.keys, keys.CAPTURE_OUTPUT, hidden=True)
OUTPUT = Place(
    "output",
    "Outputs",
    "under `outputs`",
    {
        "file_pattern": Key(
            Text(words="pattern"),
            "Of the files that the step's commits add or change.",
            "required",
            'file_pattern: "*.md"',
        )
    },
    required=("file_pattern",),
)
STREAMS = Place(
    "streams",
    "",
    "under `capture_streams`",
    {
        name: Key(Flag(), f"Whether {what}.", "", f"{name}: true")
        for name, what in {
            "stdout": "standard output is captured",
            "stderr": "standard error is captured",
            "exit_code": "the exit status is; it always is",
            "success": "the success is; it always is",
            "duration": "the duration is; it always is",
        }.items()
    },
    hidden=True,
)

ON_FAILURE = Place(
    "on_failure",
    "On failure",
    "under `on_failure`",
    {
        "commands": Key(
            COMMANDS, "What to run; or write the keys of one step instead.", "none", "commands: [{shell: make clean}]"
        ),
        "timeout": Key(
            Time(), "For each of `commands` without its own; of the step, without `commands`.", "none", "timeout: 1m"
        ),
        "max_retries": Key(
            Whole(0),
            "How often the failed step runs again behind the handler.",
            "1 with one step, 0 with `commands`",
            "max_retries: 2",
        ),
        "retry_original": Key(Flag(), "The same as `max_retries` 1 or 0.", "as above", "retry_original: false"),
        "fail_workflow": Key(
            Flag(), "The failure stands unless the step then succeeds.", "false", "fail_workflow: true"
        ),
        "handler_failure_fatal": Key(
            Flag(), "Accepted; a handler that fails always fails its step.", "true", "handler_failure_fatal: true"
        ),
        "strategy": Key(
            choice("recovery fallback cleanup custom"), "Accepted; the other keys decide.", "none", "strategy: recovery"
        ),
        "capture": Key(
            Each(either(Text(), Part("handler capture")), _TAKEN.names),
            "With `commands`: names for what the last of them prints.",
            "none",
            "capture: {reason: stderr}",
        ),
    },
    keys.ON_FAILURE,
    beside="step",
)

FOREACH = Place(
    "foreach",
    "Foreach",
    "under `foreach`",
    {
        "foreach": Key(
            either(Text(words="command"), Many(Anything(), or_one=False)),
            "A list of values, `glob:PATTERN`, or a shell command that prints one on each line.",
            "required",
            "foreach: [a, b]",
        ),
        "do": Key(STEPS, "The steps that run for each value.", "required", "do: [{shell: make}]"),
        "parallel": Key(
            either(Flag(), Whole()),
            "How many values at a time, each in a worktree of its own; `true`: 10.",
            "one after another, in one worktree",
            "parallel: 4",
        ),
        "continue_on_error": Key(
            Flag(), "Whether a value that failed does not stop the others.", "false", "continue_on_error: true"
        ),
        "max_items": Key(Whole(), "The most values.", "all", "max_items: 10"),
    },
    keys.FOREACH,
    "These keys may stand in the step as well.",
    required=("foreach",),
)

TEST = Place(
    "test",
    "Test",
    "under `test`",
    {
        "command": Key(Text(), "The command.", "required", "command: make test"),
        "on_failure": Key(
            ON_FAILURE_OF_A_STEP,
            "What repairs; an agent has three tries there and must commit.",
            "none",
            "on_failure: {claude: /fix}",
        ),
    },
    intro="Deprecated: write `shell` with `on_failure`.",
    required=("command",),
)

AGENT_STEP = Place(
    "agent step",
    "Agent",
    "under `agent`",
    {
        "prompt": Key(Text(), "What the agent is asked to do.", "required", "prompt: Review it"),
        "use": Key(Text(LABEL, "name"), "Which agent: a name under `agents`, or a kind.", "the default", "use: codex"),
        "fresh": Key(Flag(), "Whether a later attempt is told nothing of the last one.", "false", "fresh: true"),
    },
    keys.AGENT_STEP,
    required=("prompt",),
)

WRITE_FILE = Place(
    "write_file",
    "Write file",
    "under `write_file`",
    {
        "path": Key(
            Text(r"(?!^\.\.?$)" + PATH.pattern + r"[\s\S]*[^/]$" if PATH.pattern else None, "path"),
            "The file, below the worktree.",
            "required",
            "path: out/report.md",
        ),
        "content": Key(
            either(AnyText(), Each(Anything()), Many(Anything(), or_one=False)),
            "What it holds then; with `format: json` or `yaml` also a mapping or a list.",
            "required",
            "content: done",
        ),
        "format": Key(choice("text json yaml"), "JSON and YAML are checked and laid out.", "`text`", "format: json"),
        "mode": Key(
            either(Whole(0, 777), Text(r"^(?:0o|0)?[0-7]{3}$", "octal number")), "Permissions.", "0644", 'mode: "0755"'
        ),
        "create_dirs": Key(Flag(), "Whether directories that are not there are made.", "false", "create_dirs: true"),
    },
    keys.WRITE_FILE,
    required=("path", "content"),
)

COMMIT_CONFIG = Place(
    "commit_config",
    "Commit config",
    "under `commit_config`",
    {
        "message_template": Key(
            Text(),
            "The message, with `auto_commit` or `squash`.",
            "one that names the step",
            'message_template: "Fix ${workflow.name}"',
        ),
        "message_pattern": Key(
            Text(words="pattern"),
            "What every message of the step's commits must match.",
            "none",
            "message_pattern: '^fix: '",
        ),
        "author": Key(
            Text(r"^[^<>\n]*[^<>\s][^<>\n]* <[^<>\s]+>$", "Name <address>"),
            "The author.",
            "yours",
            "author: Ann <ann@example.org>",
        ),
        "include_files": Key(
            Many(PATH), "Patterns of the files that are committed.", "all", 'include_files: ["src/*"]'
        ),
        "exclude_files": Key(Many(PATH), "Patterns of those that are not.", "none", 'exclude_files: ["*.log"]'),
        "squash": Key(Flag(), "The step's commits become one.", "false", "squash: true"),
        "sign": Key(Flag(only=False), "Only false: nobody is there to unlock a key.", "false", "sign: false"),
    },
    keys.COMMIT_CONFIG,
)

METADATA = Place(
    "metadata",
    "Metadata",
    "under `metadata`",
    {
        "retries": Key(Whole(0, 99_999), "Further tries.", "0", "retries: 2"),
        "timeout": Key(Time(), "As in the step.", "none", "timeout: 5m"),
        "continue_on_error": Key(Flag(), "As in the step.", "false", "continue_on_error: true"),
        "env": Key(STEP_ENV, "As in the step.", "none", "env: {A: b}"),
        "commit_required": Key(Flag(), "As in the step.", "false", "commit_required: true"),
        "analysis": Key(Anything(), "Does nothing.", "none", "analysis: {}"),
    },
    keys.METADATA,
    "Deprecated: write the keys in the step.",
)

ALL = (
    RETRY, RETRY_CONFIG, FALLBACK, FALLBACK_COMMAND, PATTERN, BACKOFF, *BACKOFFS, *NESTED_PLACES, CAPTURE_OUTPUT,
    HANDLER_CAPTURE, OUTPUT, STREAMS, ON_FAILURE, FOREACH, TEST, AGENT_STEP, WRITE_FILE, COMMIT_CONFIG, METADATA,
)  # fmt: skip
