"""Every variable of the language, as data: its name, where it has a value, what it is, and an example.

What the loader accepts where, what a placeholder may be called, which names steps can't have, and a page of the
reference all follow from `ENTRIES`. In a name, `<...>` stands for anything.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

# Where a text stands: in steps of a phase, or in those that belong to a step.
Place = Literal["setup", "steps", "map", "reduce", "merge", "handler", "repair", "foreach", "conflict", "check"]
Behind = Literal["fan-out", "worktree"]

PLACES: tuple[Place, ...] = get_args(Place)
PLACE_NAMES: dict[Place, str] = {
    "setup": "`setup`",
    "steps": "a list of steps",
    "map": "`agent_template`",
    "reduce": "`reduce`",
    "merge": "the steps of `merge`",
    "handler": "`on_failure` and `on_exit_code`",
    "repair": "`on_incomplete`",
    "foreach": "the `do` of a `foreach`",
    "conflict": "the steps of `on_conflict`",
    "check": "the `check` of a `merge`",
}


class Entry(NamedTuple):
    """One variable.

    where: the places in which it has a value. behind: what must have run before, in the same list or around it; None:
    nothing. in_scripts: whether it is a placeholder in shell text; the others the shell finds in its environment.
    """

    name: str
    where: frozenset[Place]
    text: str
    example: str
    behind: Behind | None = None
    in_scripts: bool = True

    @property
    def head(self) -> str:
        """The name up to its first dot."""
        return self.name.partition(".")[0]

    @property
    def is_pattern(self) -> bool:
        """Whether the workflow gives the name."""
        return self.head.startswith("<")


def _at(*places: Place) -> frozenset[Place]:
    return frozenset(places)


_ALL = frozenset(PLACES)
_ITEMS = _at("map", "foreach", "conflict")
_FAN_OUT = _at("steps", "reduce", "merge")
_MAP_VARIABLE = "map.<variable>"


def _rows(where: frozenset[Place], *rows: tuple[str, str, str], behind: Behind | None = None) -> list[Entry]:
    return [Entry(name, where, text, f"${{{example}}}", behind) for name, text, example in rows]


def _git(prefix: str, what: str) -> list[Entry]:
    """The variables that say what git knows of a step or of the whole run."""
    texts = (
        ("files_added", "files that are new"),
        ("files_modified", "files with another content"),
        ("files_deleted", "files that are gone"),
        ("files_changed", "all of them, sorted"),
        ("commits", "ids of the new commits, the oldest first"),
        ("commit_count", "how many commits"),
        ("insertions", "how many lines came"),
        ("deletions", "how many lines went"),
    )
    return [
        Entry(f"{prefix}.{name}", _ALL, f"{text}, {what}", f"${{{prefix}.{name}{modifier}}}")
        for (name, text), modifier in zip(texts, (":*.md", ":lines", "", ":json", ":csv", "", "", ""), strict=True)
    ]


def _last(name: str, what: str) -> list[Entry]:
    texts = {
        "output": f"what {what} printed",
        "stderr": "what it printed as errors",
        "exit_code": "its exit code",
        "success": "whether it succeeded",
        "duration": "its time in seconds",
    }
    return _rows(_ALL, *((f"{name}.{part}", text, f"{name}.{part}") for part, text in texts.items()))


ENTRIES: tuple[Entry, ...] = (
    *_rows(
        _ITEMS,
        ("item", "the item; text as it is, the rest as JSON", "item"),
        ("item.<path>", "a part of it; of a text, `item.value` and `item.path` are the text", "item.files[0].name"),
        ("item.name", "its field `name`; of a text, its base name", "item.name"),
        ("item_id", "its id", "item_id"),
        ("item_index", "its place, from 0", "item_index"),
        ("item_total", "how many items there are", "item_total"),
    ),
    *_rows(
        _at("foreach"),
        ("index", "the place of the value, from 0", "index"),
        ("total", "how many values there are", "total"),
        ("foreach.item", "the value, as `item`", "foreach.item"),
        ("foreach.index", "as `index`", "foreach.index"),
        ("foreach.total", "as `total`", "foreach.total"),
    ),
    *_rows(
        _at("map"),
        ("worker.id", "the worktree in which the item is worked on", "worker.id"),
        ("map.key", "the item's id", "map.key"),
    ),
    *_rows(
        _FAN_OUT,
        ("map.total", "how many items", "map.total"),
        ("map.successful", "how many succeeded", "map.successful"),
        ("map.success_count", "the same", "map.success_count"),
        ("map.failed", "how many failed", "map.failed"),
        ("map.skipped", "how many were left out", "map.skipped"),
        ("map.success_rate", "how many succeeded, in percent", "map.success_rate"),
        ("map.results", "a list with a record for each item that is done", "map.results[0].output"),
        ("map.results_array", "the same", "map.results_array[0]"),
        ("map.results_json", "the same as text", "map.results_json"),
        ("map.results_file", "the path of a file that holds it", "map.results_file"),
        ("map.outputs", "the outputs alone", "map.outputs:lines"),
        (_MAP_VARIABLE, "one of `map.variables`", "map.average"),
        ("result.<N>.item_id", "the id of the item with the record N, from 0", "result.0.item_id"),
        ("result.<N>.status", "how it ended", "result.0.status"),
        ("result.<N>.output", "what its last step printed", "result.0.output"),
        ("result.<N>.<field>", "any other field of the record", "result.0.attempts"),
        behind="fan-out",
    ),
    *_rows(
        _ALL,
        ("<id>", "what the step with that `id`, `capture` or `capture_output` printed, in its form", "build"),
        ("<id>.output", "the same as text", "build.output"),
        ("<id>.stderr", "what it printed as errors", "build.stderr"),
        ("<id>.exit_code", "its exit code", "build.exit_code"),
        ("<id>.success", "whether it succeeded", "build.success"),
        ("<id>.duration", "its time in seconds", "build.duration"),
        ("setup.<name>", "what a step of `setup` captured", "setup.version"),
        ("<parameter>", "a parameter of the workflow", "target"),
    ),
    *_rows(
        _FAN_OUT,
        ("<id>.total", "of the map with that `id`; so are the other names of `map`", "fix.total"),
        behind="fan-out",
    ),
    *_last("last", "the step before"),
    *_last("shell", "the last `shell` step"),
    *_last("test", "the last `shell` or `test` step"),
    *_last("claude", "the last agent"),
    *_last("agent", "the last agent"),
    *_last("foreach", "the last `foreach` step"),
    *_last("write_file", "the last `write_file` step"),
    *_last("handler", "the last handler of a failure"),
    *_rows(
        _ALL,
        ("CAPTURED_OUTPUT", "the same as `last.output`", "CAPTURED_OUTPUT"),
        ("workflow.name", "the workflow's name", "workflow.name"),
        ("workflow.id", "the run's id", "workflow.id"),
        ("workflow.iteration", "counts the repetitions, from 1", "workflow.iteration"),
        ("run.id", "the run's id", "run.id"),
        ("step.name", "the name of this step", "step.name"),
        ("step.index", "its place in its list, from 0", "step.index"),
    ),
    *_git("step", "in the step before"),
    *_git("workflow", "since the run began"),
    *_rows(
        _ALL,
        ("dlq.count", "how many dead letters the run has", "dlq.count"),
        ("dlq.has_items", "whether it has any", "dlq.has_items"),
        ("env.<NAME>", "a variable of the step's environment", "env.HOME"),
    ),
    *_rows(
        _FAN_OUT,
        ("worktrees.<name>.path", "where the worktree is", "worktrees.fast.path"),
        ("worktrees.<name>.head", "the commit that it ended with", "worktrees.fast.head"),
        ("worktrees.<name>.success", "whether its steps succeeded", "worktrees.fast.success"),
        behind="worktree",
    ),
    *_rows(
        _at("handler"),
        ("error.message", "what went wrong", "error.message"),
        ("error.kind", "the kind of the error", "error.kind"),
        ("error.exit_code", "the exit code of the step", "error.exit_code"),
        ("error.step", "the path of the step", "error.step"),
        ("error.timestamp", "when", "error.timestamp"),
        ("error.handler", "which handler this is", "error.handler"),
        ("error.attempt", "counts the failures of this step, from 1", "error.attempt"),
        ("test.attempt", "the same, as the earlier system named it", "test.attempt"),
        ("error.correlation_id", "finds the failure in the events of the run", "error.correlation_id"),
    ),
    *_rows(
        _at("repair"),
        ("validation.completion", "how complete the work is, in percent", "validation.completion"),
        ("validation.completion_percentage", "the same", "validation.completion_percentage"),
        ("validation.status", "complete, incomplete, failed or skipped", "validation.status"),
        ("validation.implemented", "a list of what is there", "validation.implemented:lines"),
        ("validation.missing", "a list of what is missing", "validation.missing:lines"),
        ("validation.incomplete_specs", "the same", "validation.incomplete_specs:csv"),
        ("validation.missing_count", "how much is missing", "validation.missing_count"),
        ("validation.gaps", "details of what is missing", "validation.gaps:json"),
        ("validation.attempt_number", "counts the repairs, from 1", "validation.attempt_number"),
    ),
    *_rows(
        _at("conflict"),
        ("conflict.files", "the files with conflicts", "conflict.files:lines"),
        ("conflict.message", "what git says of them", "conflict.message"),
        ("conflict.ours_log", "what was merged before: commits, one a line", "conflict.ours_log"),
        ("conflict.theirs_log", "the item's own commits, one a line", "conflict.theirs_log"),
        ("conflict.diff", "the changes with their conflict markers, at most 20 KB", "conflict.diff"),
    ),
    *_rows(
        _at("check"),
        ("check.items", "the ids of the items that are merged in what is checked", "check.items:lines"),
        ("check.count", "how many they are; 0 when the run branch itself is checked", "check.count"),
        ("check.base", "the commit of the run branch that they are merged into", "check.base"),
        ("check.files", "the files that they change", "check.files:lines"),
    ),
    *_rows(
        _at("merge"),
        ("merge.worktree", "where the run's branch is checked out", "merge.worktree"),
        ("merge.source_branch", "the run's branch", "merge.source_branch"),
        ("merge.target_branch", "the branch that it will be merged into", "merge.target_branch"),
        ("merge.session_id", "the run's id", "merge.session_id"),
        ("merge.commits", "a list of the commits to merge", "merge.commits[0].message"),
        ("merge.commit_count", "how many", "merge.commit_count"),
        ("merge.commit_ids", "their ids", "merge.commit_ids:lines"),
        ("merge.modified_files", "a list of the files that they change", "merge.modified_files:lines"),
        ("merge.file_count", "how many", "merge.file_count"),
        ("merge.file_list", "their names", "merge.file_list:*.py"),
    ),
    *(
        Entry(name, _ALL, text, f"${{{name}}}", in_scripts=False)
        for name, text in (
            ("ARG", "one of `--args`"),
            ("ARGUMENT", "the same"),
            ("FILE", "one of the files of `--map`"),
            ("FILE_PATH", "the same"),
            ("WORKTREE", "the worktree in which the step runs"),
            ("PROJECT_ROOT", "the same"),
        )
    ),
)  # fmt: skip

# Names that are ours whatever follows them: a shell variable of that name can only be written `$item`.
OURS = frozenset({"item", "item_id", "item_index", "item_total", "map", "workflow", "run"})
_HEADS = frozenset(entry.head for entry in ENTRIES if not entry.is_pattern)
# Names that are ours only with a dot behind them, which no shell understands: `${result}` is the script's own.
DOTTED = frozenset(head for head in _HEADS if not any(e.name == head for e in ENTRIES)) - OURS
# Those of them that a step may be called all the same; then the name is the step's, with a dot and without.
FREE = frozenset(
    [
        "agent",
        "check",
        "claude",
        "conflict",
        "dlq",
        "foreach",
        "handler",
        "merge",
        "setup",
        "shell",
        "test",
        "worker",
        "write_file",
    ]
)
# What no step can be called. `index` and `total` are those of the innermost `foreach`, and free elsewhere.
RESERVED = OURS | DOTTED - FREE | {"raw", "CAPTURED_OUTPUT"}
# Names that the output of a step has anyway, which files of the earlier system give it once more.
ANYWAY = ("claude.output", "shell.output")
# Variables whose value is a list or an object. Below a head whose names the workflow gives, all may be.
_WITH_PARTS = frozenset(
    f"{head}.{name}"
    for head, names in {
        "check": "items files",
        "conflict": "files",
        "foreach": "item",
        "map": "results results_array outputs",
        "step": "files_added files_modified files_deleted files_changed commits",
        "workflow": "files_added files_modified files_deleted files_changed commits",
        "validation": "implemented missing incomplete_specs gaps",
        "merge": "commits commit_ids modified_files file_list",
    }.items()
    for name in names.split()
)
# What the shell finds in its environment; in other texts they are placeholders.
IN_ENVIRONMENT = frozenset(entry.name for entry in ENTRIES if not entry.in_scripts)


@lru_cache(maxsize=len(PLACES))
def available(place: Place) -> frozenset[str]:
    """The names that always have a value in this place, in shell text too: heads, or single variables such as
    `map.key` where the head has others that have none, or may be the name of a step."""
    return _names(e for e in ENTRIES if place in e.where and e.behind is None and e.in_scripts)


@lru_cache(maxsize=2)
def behind(what: Behind) -> frozenset[str]:
    """The names that have a value behind a fan-out, or behind steps in worktrees of their own."""
    return _names(entry for entry in ENTRIES if entry.behind == what)


def _names(entries: Iterable[Entry]) -> frozenset[str]:
    given = (entry for entry in entries if not entry.is_pattern and entry.name != _MAP_VARIABLE)
    return frozenset(entry.name if entry.head in FREE | {"map"} else entry.head for entry in given)


@lru_cache(maxsize=256)
def below(head: str) -> frozenset[str] | None:
    """The names that may follow `head`, or None when any may. Empty: it is one value without parts."""
    found = {e.name.removeprefix(head).removeprefix(".") for e in ENTRIES if e.head == head}
    if not found or any(name.startswith("<") for name in found - {"<variable>"}):
        return None
    return frozenset(found - {"", "<variable>"})


def has_parts(name: str) -> bool:
    """Whether more may follow the name of a variable that is none of the workflow's own."""
    return name in _WITH_PARTS


def where(head: str) -> str:
    """In which places the variables below a head have a value, in words."""
    found = [entry for entry in ENTRIES if entry.head == head]
    places = [PLACE_NAMES[place] for place in PLACES if any(place in entry.where for entry in found)]
    text = f"{', '.join(places[:-1])} and {places[-1]}" if len(places) > 1 else "".join(places)
    first = {"fan-out": "behind a map, in ", "worktree": "behind a `worktree` step, in "}
    return first.get(found[0].behind or "", "in ") + text if found else text


def heads(names: Collection[str]) -> frozenset[str]:
    """What is before the first dot of each name."""
    return frozenset(name.partition(".")[0] for name in names)


def notable(names: Collection[str]) -> list[str]:
    """The heads of the names, sorted, without most of those that have a value everywhere."""
    everywhere = frozenset[str].intersection(*(heads(available(place)) for place in PLACES)) - OURS
    return sorted(heads(names) - everywhere - IN_ENVIRONMENT)
