"""The keys of a fan-out."""

from __future__ import annotations

from prodigy.workflow import keys
from prodigy.workflow.key_texts.errors import ERRORS
from prodigy.workflow.key_texts.shapes import (
    COMMANDS,
    LABEL,
    NAMED,
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
from prodigy.workflow.key_texts.top import OPTIONS, UNCOMMITTED
from prodigy.workflow.selections import MAP_NAMES

_EXPRESSION = Text(words="expression")

_ITEMS = {
    "input": Key(
        either(Text(), Many(Anything(), or_one=False), Part("item source")),
        "A file (JSON, JSON Lines, YAML, CSV, TSV, lines), `glob:PATTERN`, a shell command, a list of items, or a"
        " source that another package adds.",
        "required",
        'input: "glob:src/**/*.py"',
    ),
    "json_path": Key(
        AnyText(),
        "A JSONPath: which parts of the input are the items; a missing `$.` is added.",
        "none",
        'json_path: "$.items[*]"',
    ),
    "filter": Key(_EXPRESSION, "Only items for which it holds.", "none", 'filter: "score >= 5"'),
    "sort_by": Key(
        Text(words="sort keys"),
        "The order of items: fields with `ASC`, `DESC`, `NULLS FIRST`, `NULLS LAST`.",
        "that of the input",
        'sort_by: "score DESC, name"',
    ),
    "distinct": Key(Text(words="field"), "Only the first item of each value of this field.", "none", "distinct: path"),
    "offset": Key(Whole(0), "How many items are left out at the beginning.", "0", "offset: 10"),
    "max_items": Key(Whole(0), "The most items.", "all", "max_items: 50"),
    "variables": Key(
        Each(
            either(_EXPRESSION, Part("aggregate")),
            rf"^(?!(?:{'|'.join(sorted(MAP_NAMES))})$)[A-Za-z_][A-Za-z0-9_-]*$",
        ),
        "Values over all results, for the steps behind, as `${map.NAME}`.",
        "none",
        'variables: {mean: "avg(map.results[*].output.score)"}',
    ),
}

MAP = Place(
    "map",
    "Map",
    "under `map`",
    {
        **_ITEMS,
        "agent_template": Key(
            Part("steps of a map", "steps"),
            "Runs for each item.",
            "required",
            'agent_template: [{claude: "/fix ${item}"}]',
        ),
        "max_parallel": Key(Whole(), "Items at a time.", "10", "max_parallel: 4"),
        "workspace": Key(
            Part("workspace"),
            "As at the top level; once in a file.",
            "none",
            "workspace: {keep_ignored: [node_modules]}",
        ),
        "on_uncommitted": Key(UNCOMMITTED, "As at the top level.", "the workflow's", "on_uncommitted: discard"),
        "merge": Key(Part("map.merge"), "How what items commit is merged.", "none", "merge: {check: make test}"),
        "priority": Key(
            _EXPRESSION,
            "An expression over the item: those with the higher number start and merge first; true counts as 1.",
            "0",
            "priority: \"severity == 'high'\"",
        ),
        "agent_timeout_secs": Key(
            Time(), "The limit of all steps of an item together.", "none", "agent_timeout_secs: 30m"
        ),
        "timeout_config": Key(
            Part("timeout_config"), "Limits on the time of items.", "none", "timeout_config: {agent_timeout_secs: 30m}"
        ),
        "retry_on_failure": Key(
            either(Flag(), Whole()),
            "`true`, or the number of tries: another way to write `on_item_failure: retry`.",
            "false",
            "retry_on_failure: 3",
        ),
        "budget": Key(Part("budget"), "What agents may cost here.", "none", "budget: {max_cost_usd: 5}"),
        "shell_options": Key(OPTIONS, "As at the top level.", "the workflow's", "shell_options: [-e, -u]"),
        "env": Key(
            Each(AnyText(nothing=True)), "Environment variables of the items' steps.", "none", "env: {TARGET: main}"
        ),
        **ERRORS,
    },
    keys.MAP,
    required=("input", "agent_template"),
)

ITEM_SOURCE = Place(
    "item source",
    "A source of items",
    "under `input`",
    {
        "source": Key(
            Text(words="name"),
            "The name under which an installed package adds the source; see Extending.",
            "required",
            "source: tickets",
        ),
        "with": Key(
            Each(Anything()),
            "Options, as the source takes them; placeholders in their texts are filled.",
            "none",
            "with: {label: bug}",
        ),
    },
    keys.ITEM_SOURCE,
    required=("source",),
)

MAPREDUCE = Place(
    "mapreduce",
    "Mapreduce",
    "under `mapreduce`",
    {
        "map": Key(
            Part("map"), "As at the top level.", "required", "map: {input: ls, agent_template: [{shell: make}]}"
        ),
        "reduce": Key(Part("reduce", "steps"), "As at the top level.", "none", "reduce: [{shell: make test}]"),
        "setup": Key(Part("setup", "steps"), "Runs once, before the map.", "none", "setup: [{shell: ./list.sh}]"),
        "workspace": Key(Part("workspace"), "As at the top level.", "none", "workspace: {include: [.env]}"),
        "budget": Key(Part("budget"), "What agents may cost here.", "none", "budget: {max_cost_usd: 5}"),
        "on_uncommitted": Key(UNCOMMITTED, "As at the top level.", "the workflow's", "on_uncommitted: fail"),
        "shell_options": Key(OPTIONS, "As at the top level.", "the workflow's", "shell_options: [-e]"),
        **ERRORS,
    },
    keys.MAPREDUCE,
    "Beside `mapreduce` may stand `id`, `name`, `description` and `when`.",
    required=("map",),
)

# The whole step around it.
FAN_OUT_STEP = Place(
    "fan-out step",
    "",
    "in a `mapreduce` step",
    {
        "mapreduce": Key(
            Part("mapreduce"),
            "A fan-out: steps that run once per item.",
            "required",
            "mapreduce: {map: {input: ls, agent_template: [{shell: make}]}}",
        ),
        "id": Key(NAMED, "Names the fan-out, and its `map` variables for later steps.", "none", "id: fix"),
        "name": Key(Text(LABEL), "A label for people.", "the action", "name: Fix all"),
        "description": Key(Text(), "For people; changes nothing.", "none", "description: One by one"),
        "when": Key(_EXPRESSION, "Skip the step unless it holds.", "none", 'when: "${scan.success}"'),
    },
    required=("mapreduce",),
    hidden=True,
)

AGGREGATE = Place(
    "aggregate",
    "Variables of a map",
    "under one of `variables`",
    {
        "aggregate": Key(
            choice(
                "count sum avg average min max collect median stddev variance unique concat merge flatten sort group_by"
            ),
            "What is made of the values.",
            "required",
            "aggregate: sum",
        ),
        "path": Key(
            Text(words="field"),
            "Of each result, the value that counts.",
            "required but for a few",
            "path: output.score",
        ),
        "filter": Key(_EXPRESSION, "Only results for which it holds.", "none", 'filter: "success"'),
        "separator": Key(AnyText(), "With `concat`: what stands between.", "none", 'separator: ", "'),
        "order": Key(choice("asc desc"), "With `sort`.", "`asc`", "order: desc"),
        "key": Key(Text(words="field"), "With `group_by`: by what.", "required there", "key: item.kind"),
    },
    keys.KeyTable(
        frozenset({"aggregate", "path", "filter", "separator", "order", "key"}),
        frozenset(),
        {"type": "aggregate", "field": "path", "of": "path"},
    ),
    required=("aggregate",),
)

MAP_MERGE = Place(
    "map.merge",
    "Merge of items",
    "under `merge` of a `map`",
    {
        "on_conflict": Key(
            either(choice("dlq agent"), Part("steps of a map", "steps")),
            "What becomes of an item whose commits do not merge: the dead letter queue, or who resolves it.",
            "`dlq`",
            "on_conflict: agent",
        ),
        "check": Key(
            COMMANDS,
            "Steps that the merged files must pass before the run branch moves.",
            "none",
            "check: make test",
        ),
        "batch": Key(Whole(), "How many items are checked together at most.", "1", "batch: 8"),
        "on_reject": Key(
            choice("retry dlq"),
            "What becomes of an item with which the check fails: one more attempt that is told why, or the dead letter"
            " queue.",
            "`retry`",
            "on_reject: dlq",
        ),
        "strategy": Key(
            choice("merge rebase squash"),
            "How an item's commits get into the run branch: behind a merge commit, on top of it, or all in one commit.",
            "`merge`",
            "strategy: squash",
        ),
    },
    keys.MAP_MERGE,
)

WORKTREE_STEP = Place(
    "worktree step",
    "Worktree steps",
    "in a `worktree` step",
    {
        "worktree": Key(
            Text(r"^(?!.*\.\.)(?!.*(?:\.|\.lock)$)[a-z0-9][a-z0-9_.-]{0,62}$", "name"),
            "Runs `do` in a worktree of this name; neighbouring steps of the kind run at the same time.",
            "required",
            "worktree: rewrite",
        ),
        "do": Key(Part("steps of a map", "steps"), "What runs there.", "required", "do: [{shell: make}]"),
        "merge": Key(Flag(), "Whether its commits are merged.", "false", "merge: true"),
        "id": Key(NAMED, "Names the worktrees together.", "none", "id: tries"),
        "name": Key(Text(LABEL), "A label for people.", "the name", "name: By hand"),
        "description": Key(Text(), "For people; changes nothing.", "none", "description: One of two"),
    },
    keys.NAMED,
    "They stand in a list of steps.",
    required=("worktree", "do"),
)

ALL = (MAP, ITEM_SOURCE, MAPREDUCE, FAN_OUT_STEP, AGGREGATE, MAP_MERGE, WORKTREE_STEP)
