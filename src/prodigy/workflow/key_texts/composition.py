"""The keys by which a workflow is made of several files, and takes parameters."""

from __future__ import annotations

from prodigy.workflow import keys
from prodigy.workflow.key_texts.shapes import (
    LABEL,
    NAMED,
    PATH,
    RESULT,
    Anything,
    Each,
    Flag,
    Key,
    Many,
    Nothing,
    Part,
    Place,
    Text,
    Time,
    choice,
    either,
)

_FILE = Text(r"^(?![A-Za-z][A-Za-z0-9+.-]*://)[\s\S]*\S", "file or name")
_PARAMETER_NAME = r"^(?!PRODIGY_)[A-Za-z_][A-Za-z0-9_]*(?:-[A-Za-z0-9_]+)*$"
_EXPRESSION = Text(words="expression")
_VALUES = either(Each(Anything("value")), Nothing())
_LISTED = Many(either(Text(_PARAMETER_NAME, "name"), Part("listed parameter")), or_one=False)
PARAMETERS = either(
    _LISTED,
    Part("parameter lists"),
    Each(either(Part("parameter"), Anything("default")), _PARAMETER_NAME, "mapping of names"),
    Nothing(),
)

TOP = {
    "imports": Key(
        either(Many(either(_FILE, Part("import"))), Nothing()),
        "Other files: their templates, `workflows`, variables, agents, profiles and secrets.",
        "none",
        "imports: [lib/steps.yml]",
    ),
    "extends": Key(Many(_FILE), "A workflow that this one adds to and changes.", "none", "extends: base"),
    "template": Key(
        either(_FILE, Part("template")), "A whole workflow, with values for its parameters.", "none", "template: lint"
    ),
    "templates": Key(
        Each(either(Part("all inner", "steps"), Part("template body"))),
        "Steps with names, which `use` puts in their places.",
        "none",
        "templates: {check: [{shell: make check}]}",
    ),
    "parameters": Key(
        PARAMETERS,
        "Values that the workflow takes: `--param NAME=VALUE`, or their defaults.",
        "none",
        "parameters: {target: src}",
    ),
    "defaults": Key(_VALUES, "Values of parameters that are not given.", "none", "defaults: {target: src}"),
    "workflows": Key(
        Each(either(Text(words="file"), Part("part"))),
        "Other workflows that run as parts of this one: before its steps, or where a step names them.",
        "none",
        "workflows: {lint: {source: lint.yml}}",
    ),
}

IMPORT = Place(
    "import",
    "Imports",
    "under `imports`",
    {
        "path": Key(_FILE, "The file, from this one.", "required", "path: lib/steps.yml"),
        "alias": Key(Text(LABEL), "A word before its names, with a dot behind.", "none", "alias: lib"),
        "selective": Key(Many(Text(words="name")), "Only these names.", "all", "selective: [check]"),
    },
    keys.IMPORT,
    required=("path",),
)

TEMPLATE_FILE = Place(
    "template file",
    "Template file",
    "under `source`",
    {"file": Key(_FILE, "The path of a template.", "required", "file: lib/lint.yml")},
    keys.TEMPLATE_FILE,
    required=("file",),
)

TEMPLATE = Place(
    "template",
    "Template",
    "under `template`",
    {
        "name": Key(_FILE, "The template, in `templates/` or by its path.", "required", "name: lint"),
        "source": Key(
            either(_FILE, Part("template file")), "Its file, in place of the name.", "none", "source: lib/lint.yml"
        ),
        "with": Key(_VALUES, "Values for its parameters.", "none", "with: {target: src}"),
        "override": Key(
            Each(Anything("value")), "Keys of it that have other values here.", "none", "override: {name: other}"
        ),
    },
    keys.TEMPLATE,
    rules={"anyOf": [{"required": ["name"]}, {"required": ["source"]}]},
)

TEMPLATE_BODY = Place(
    "template body",
    "Templates",
    "under one of `templates`",
    {
        "steps": Key(Part("all inner", "steps"), "The steps.", "required", "steps: [{shell: make}]"),
        "commands": Key(Part("all inner", "steps"), "Another name of `steps`.", "none", "commands: [{shell: make}]"),
        "tasks": Key(Part("all inner", "steps"), "Another name of `steps`.", "none", "tasks: [{shell: make}]"),
        "parameters": Key(
            PARAMETERS, "Values that it takes, as at the top level.", "none", "parameters: {target: src}"
        ),
        "description": Key(Anything("text"), "For people; changes nothing.", "none", "description: Checks"),
    },
    intro="One of `templates` is a list of steps, or a mapping of these keys.",
    rules={"anyOf": [{"required": [name]} for name in ("steps", "commands", "tasks")]},
)

_DECLARED = {
    "type": Key(
        choice("string number integer boolean array object any"), "What values it takes.", "`any`", "type: string"
    ),
    "description": Key(Text(), "For people.", "none", "description: Where the sources are"),
    "default": Key(Anything("value"), "The value when none is given.", "none", "default: src"),
    "validation": Key(_EXPRESSION, "Must hold for the value.", "none", "validation: \"target != ''\""),
    "required": Key(Flag(), "Whether it must be given.", "true without `default`", "required: false"),
}
PARAMETER = Place(
    "parameter",
    "Parameters",
    "under a parameter",
    _DECLARED,
    keys.KeyTable(keys.PARAMETER.runs - {"name"}, keys.PARAMETER.later, keys.PARAMETER.synonyms),
    "`parameters` is a mapping of names to defaults or to these keys, a list, or `{required: [...], optional: [...]}`;"
    " in a list, `name` stands beside them.",
    rules={"minProperties": 1},
)
LISTED_PARAMETER = Place(
    "listed parameter",
    "",
    "in a list of `parameters`",
    {"name": Key(Text(_PARAMETER_NAME, "name"), "Its name.", "required", "name: target"), **_DECLARED},
    keys.PARAMETER,
    required=("name",),
    hidden=True,
)
PARAMETER_LISTS = Place(
    "parameter lists",
    "",
    "under `parameters`",
    {
        "required": Key(either(_LISTED, Nothing()), "Those that must be given.", "none", "required: [target]"),
        "optional": Key(either(_LISTED, Nothing()), "Those that need not be.", "none", "optional: [target]"),
    },
    rules={"minProperties": 1},
    hidden=True,
)

PART = Place(
    "part",
    "Workflows",
    "under one of `workflows`",
    {
        "source": Key(_FILE, "The file, from this one.", "required", "source: lint.yml"),
        "parameters": Key(_VALUES, "Values for its parameters.", "none", "parameters: {target: src}"),
        "inputs": Key(
            either(Many(Text(RESULT, "name"), or_one=False), Each(Text(words="name outside"), RESULT)),
            "Values that are handed in: a name inside, and the name that it has here.",
            "none",
            "inputs: {target: src_dir}",
        ),
        "outputs": Key(
            Many(Text(RESULT, "name")), "Its results that the steps behind see.", "none", "outputs: [found]"
        ),
        "parallel": Key(Flag(), "Runs beside its neighbours, in a worktree of its own.", "false", "parallel: true"),
        "continue_on_error": Key(Flag(), "Go on when it fails.", "false", "continue_on_error: true"),
        "timeout": Key(Time(), "Of all of it.", "none", "timeout: 1h"),
        "working_dir": Key(PATH, "Where its steps run, below the worktree.", "the worktree", "working_dir: web"),
        "name": Key(Text(LABEL), "A label for people.", "its name here", "name: Lint"),
        "description": Key(Anything("text"), "For people; changes nothing.", "none", "description: All linters"),
    },
    keys.SUBFLOW,
    required=("source",),
)

USE = Place(
    "use step",
    "Use",
    "beside `use`",
    {
        "use": Key(Text(words="name"), "The template whose steps stand here.", "required", "use: check"),
        "with": Key(_VALUES, "Values for its parameters.", "none", "with: {target: src}"),
        "when": Key(_EXPRESSION, "Skip its steps unless it holds.", "none", 'when: "${scan.success}"'),
        "name": Key(Anything("text"), "For people; changes nothing.", "none", "name: Check"),
        "description": Key(Anything("text"), "For people; changes nothing.", "none", "description: All checks"),
    },
    keys.USE,
    required=("use",),
)

WORKFLOW_STEP = Place(
    "workflow step",
    "",
    "beside `workflow`",
    {
        "workflow": Key(Text(words="name"), "One of `workflows`, which runs here.", "required", "workflow: lint"),
        "id": Key(NAMED, "Names its result.", "its name", "id: lint"),
        "name": Key(Text(LABEL), "A label for people.", "its name", "name: Lint"),
        "description": Key(Text(), "For people; changes nothing.", "none", "description: All linters"),
        "when": Key(_EXPRESSION, "Skip it unless it holds.", "none", 'when: "${scan.success}"'),
    },
    required=("workflow",),
    hidden=True,
)

ALL = (
    IMPORT, TEMPLATE_FILE, TEMPLATE, TEMPLATE_BODY, PARAMETER, LISTED_PARAMETER, PARAMETER_LISTS, PART, USE,
    WORKFLOW_STEP,
)  # fmt: skip
