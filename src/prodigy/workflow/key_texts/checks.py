"""The mappings below the keys that check a step."""

from __future__ import annotations

from prodigy.workflow import keys
from prodigy.workflow.key_texts.shapes import (
    COMMAND_OR_LIST,
    COMMANDS,
    PATH,
    Anything,
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

ON_INCOMPLETE_OF_A_STEP = either(COMMAND_OR_LIST, Part("on_incomplete"))
VALIDATE = Place(
    "validate",
    "Validate",
    "under `validate`",
    {
        "commands": Key(
            COMMANDS, "What tells; or write the keys of one step instead.", "none", "commands: [make check]"
        ),
        "threshold": Key(Number(0, 100), "How complete the work must be, in percent.", "100", "threshold: 90"),
        "timeout": Key(Time(), "Of each of the steps without its own.", "none", "timeout: 5m"),
        "result_file": Key(
            PATH,
            "Where the result is read, in place of the output of the last step. With nothing else, the step itself has"
            " written it.",
            "the output",
            "result_file: out.json",
        ),
        "expected_schema": Key(
            either(Flag(), Each(Anything(), words="JSON Schema"), Text(r"^\s*[\{tf]", "JSON Schema as text")),
            "What the result must fit.",
            "none",
            "expected_schema: {required: [done]}",
        ),
        "on_incomplete": Key(
            ON_INCOMPLETE_OF_A_STEP,
            "What repairs, after which the work is looked at again.",
            "none",
            "on_incomplete: {claude: /complete, max_attempts: 3}",
        ),
    },
    keys.VALIDATE,
    "One step may stand here with all its keys. The result is JSON with `completion_percentage`.",
    beside="step",
)
ON_INCOMPLETE = Place(
    "on_incomplete",
    "On incomplete",
    "under `on_incomplete`",
    {
        "commands": Key(
            COMMANDS, "What repairs; or write the keys of one step instead.", "none", "commands: [{shell: make fix}]"
        ),
        "prompt": Key(Text(), "A prompt for Claude Code.", "none", "prompt: Finish what is missing"),
        "max_attempts": Key(Whole(), "How often it repairs at most.", "2", "max_attempts: 3"),
        "max_iterations": Key(Whole(), "Another name of `max_attempts`.", "2", "max_iterations: 3"),
        "fail_workflow": Key(
            Flag(), "Whether work that stays incomplete fails the step.", "true", "fail_workflow: false"
        ),
        "commit_required": Key(Flag(), "Whether the repair has to commit.", "false", "commit_required: true"),
    },
    keys.ON_INCOMPLETE,
    "One step may stand here with all its keys.",
    beside="step",
)

STEP_VALIDATE = Place(
    "step_validate",
    "Step validate",
    "under `step_validate`",
    {
        "commands": Key(Part("answers", "commands"), "What is asked.", "required", "commands: [make check]"),
        "success_criteria": Key(
            either(choice("all any"), Part("atleast", "{atleast: N}")),
            "How many of them have to answer as expected.",
            "`all`",
            "success_criteria: any",
        ),
        "max_attempts": Key(Whole(), "How often it is looked at.", "1", "max_attempts: 3"),
        "retry_delay": Key(Time(zero=True), "Between two looks.", "`5s`", "retry_delay: 10s"),
    },
    keys.STEP_VALIDATE,
    required=("commands",),
)
ATLEAST = Place(
    "atleast",
    "",
    "under `success_criteria`",
    {
        "atleast": Key(Whole(), "So many.", "", "atleast: 2"),
        "at_least": Key(Whole(), "So many.", "", "at_least: 2"),
    },
    rules={"minProperties": 1, "maxProperties": 1},
    hidden=True,
)
_EXPECTED = {
    "expect_output": Key(Text(words="pattern"), "What its output must match.", "none", "expect_output: ok"),
    "expect_exit_code": Key(Whole(0, 255), "The exit status it must have.", "0", "expect_exit_code: 1"),
    "command_type": Key(
        choice("shell claude"), "Of what it is a command.", "by its first character", "command_type: shell"
    ),
}
ANSWER = Place(
    "answer",
    "Answers",
    "in a command of `step_validate`",
    {
        "command": Key(Text(), "A command of the shell, or of Claude Code.", "required", "command: make check"),
        **_EXPECTED,
    },
    intro="A command of `step_validate` is a text or a mapping of these; a step with the `expect` keys will do too.",
    required=("command",),
)
ANSWERING_STEP = Place(
    "answering step",
    "",
    "in a command of `step_validate`",
    {
        "expect_output": _EXPECTED["expect_output"],
        "expect_exit_code": _EXPECTED["expect_exit_code"],
        "command_type": Key(Anything(), "Does nothing beside a step.", "none", "command_type: shell"),
    },
    beside="step",
    hidden=True,
)

ALL = (VALIDATE, ON_INCOMPLETE, STEP_VALIDATE, ATLEAST, ANSWER, ANSWERING_STEP)
