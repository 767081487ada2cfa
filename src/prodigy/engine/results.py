"""What the steps behind a fan-out see of it: how many items ended how, a record for each, and aggregates of them.

A record is a JSON object:

    item_id, item      the item's id and its data
    status             success | failed | skipped
    output             what its last step printed (an agent: its answer), as a value when that is JSON; null for none
    commits            the ids of its commits, oldest first
    files_modified     the paths that these commits changed, sorted
    duration_s         of its newest attempt; null before any
    error              why the newest attempt failed; null when it did not
    attempts           how many it had
    cost_usd           of all of them; 0 where no agent ran, null where none could tell

Nothing of it is computed unless it is asked for: it is read from the files of every item.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from prodigy.agents import agent
from prodigy.agents.transcript import read_transcript
from prodigy.engine.captures import Deferred
from prodigy.errors import EnvironmentProblem
from prodigy.git.private import PrivateGit
from prodigy.plan.strict_json import NotJsonError, UnusableJsonError, parse_json
from prodigy.state.items import ItemState
from prodigy.store.questions import Questions
from prodigy.store.results import ItemFacts, StepFacts
from prodigy.workflow.aggregate import How, compute_strictly
from prodigy.workflow.expression import MISSING, Find, compile_expression, scope_finder
from prodigy.workflow.interpolate import render
from prodigy.workflow.model import MapReduce
from prodigy.workflow.selections import MAP_NAMES

FILE = "results.json"
RESULTS_VARIABLE = "PRODIGY_RESULTS_FILE"
MAX_OUTPUT_BYTES = 1024 * 1024  # of one item's output in its record

Record = dict[str, object]
# The paths that some commits changed, by commit.
Changed = Callable[[Iterable[str]], Mapping[str, Iterable[str]]]

_STATUS = {ItemState.SUCCEEDED: "success", ItemState.SKIPPED: "skipped"}
# An output that begins otherwise is text: `12e4567` is a commit and no number.
_JSON = re.compile(r"""\s*(?:[\[{"]|(?:true|false|null|-?(?:0|[1-9]\d{0,14})(?:\.\d{1,15})?)\s*$)""")


@dataclass(frozen=True)
class Tally:
    """How many items a fan-out has, and in which end: total is their sum and those that are not done yet."""

    total: int
    successful: int
    failed: int
    skipped: int = 0

    def variables(self) -> dict[str, object]:
        """What `${map...}` names. success_rate: in percent, of all items."""
        rate = round(100 * self.successful / self.total, 2) if self.total else 0.0
        return {
            "total": self.total,
            "successful": self.successful,
            "success_count": self.successful,
            "failed": self.failed,
            "skipped": self.skipped,
            "success_rate": rate,
        }


def tally(store: Questions, path: str) -> Tally:
    """How the items of the fan-out `path` stand."""
    counts = store.counts(path)
    failed = counts[ItemState.FAILED] + counts[ItemState.DEAD]
    return Tally(sum(counts.values()), counts[ItemState.SUCCEEDED], failed, counts[ItemState.SKIPPED])


class Variables(Mapping[str, object]):
    """What `map` names: values, and Deferred ones that are worked out when they are asked for."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> object:
        value = self._values[name]
        return value() if isinstance(value, Deferred) else value

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class Listed(list[object]):
    """A list that may be too long to be part of a script. instead: the placeholder that names a file with it."""

    instead = "${map.results_file}"


class Written(str):
    """A text that may be too long to be part of a script; as `Listed`."""

    __slots__ = ()
    instead = "${map.results_file}"


def variables(store: Questions, path: str, mapping: MapReduce, changed: Changed | None = None) -> Variables:
    """What `${map...}` and `${ID...}` name behind the fan-out `path`, whose items are done."""
    results = Deferred(lambda: Listed(_all(results_of(store, path, changed))))

    def listed() -> Listed:
        found = results()
        assert isinstance(found, Listed)
        return found

    values: dict[str, object] = {
        **tally(store, path).variables(),
        "results": results,
        "results_array": results,
        "results_json": Deferred(lambda: Written(render(listed()))),
        "results_file": Deferred(lambda: str(results_file(store, path, changed))),
        "outputs": Deferred(lambda: Listed(_outputs(listed()))),
        "key": None,
    }
    own = Variables(values)
    aggregates = Deferred(lambda: aggregated(mapping.variables, own))
    named = {name: Deferred(lambda name=name: _of(aggregates(), name)) for name, _ in mapping.variables}  # type: ignore[misc]
    return Variables({**named, **values})


def names_behind(
    store: Questions, path: str, mapping: MapReduce, step_id: str | None, changed: Changed | None = None
) -> dict[str, object]:
    """The names that the steps behind a fan-out may use: `map`, its id, and `result`, the list of the records."""
    found = variables(store, path, mapping, changed)
    return {"map": found, "result": Deferred(lambda: found["results"])} | ({step_id: found} if step_id else {})


def names_of_skipped(mapping: MapReduce, step_id: str | None) -> dict[str, object]:
    """The same names behind a fan-out whose condition did not hold: all null."""
    nothing = dict.fromkeys((*MAP_NAMES, *(name for name, _ in mapping.variables)))
    return {"map": nothing, "result": None} | ({step_id: nothing} if step_id else {})


def aggregated(wanted: Iterable[tuple[str, str]], own: Mapping[str, object]) -> dict[str, object]:
    """The variables (name, expression) over what a fan-out names, with `map.` before it or without.

    Raises one AggregateError that lists all values of the wrong kind.
    """
    find = _finder(own)
    found: dict[str, object] = {}
    lists: dict[str, tuple[How, list[object]]] = {}
    for name, text in wanted:
        expression = compile_expression(text)
        aggregate = expression.aggregate(find)
        if aggregate is None:
            found[name] = expression.value(find)
        else:
            lists[name] = aggregate
    return found | compute_strictly(lists)


def _finder(own: Mapping[str, object]) -> Find:
    as_map, bare = scope_finder({"map": own}), scope_finder(own)

    def find(path: str) -> object:
        found = as_map(path)
        return bare(path) if found is MISSING else found

    return find


def _of(found: object, name: str) -> object:
    assert isinstance(found, dict)
    return found[name]


def _all(records: Iterator[Record]) -> list[object]:
    return list(records)


def _outputs(records: Listed) -> list[object]:
    return [record["output"] for record in records if isinstance(record, dict)]


# Records ---------------------------------------------------------------------------------------------------


def results_of(store: Questions, path: str, changed: Changed | None = None) -> Iterator[Record]:
    """A record for every item of the fan-out that is done, in their order; see the module. Memory stays flat.

    changed: how to find the files of commits; None: `files_modified` is left out. Raises OSError for a file that can't
    be read.
    """
    for page in store.item_facts(path):
        done = [facts for facts in page if facts.state not in (ItemState.PENDING, ItemState.RUNNING)]
        files = changed([commit for facts in done for commit in facts.commits]) if changed else None
        for facts in done:
            yield _record(store, facts, files)


def _record(store: Questions, facts: ItemFacts, files: Mapping[str, Iterable[str]] | None) -> Record:
    record: Record = {
        "item_id": facts.item_id,
        "item": json.loads(facts.data),
        "status": _STATUS.get(facts.state, "failed"),
        "output": _value(_output(store.directory / "steps", facts)),
        "commits": list(facts.commits),
    }
    if files is not None:
        record["files_modified"] = sorted({name for commit in facts.commits for name in files.get(commit, ())})
    return record | {
        "duration_s": facts.duration_s,
        "error": facts.error,
        "attempts": facts.attempts,
        "cost_usd": facts.cost_usd,
    }


def _output(steps: Path, facts: ItemFacts) -> str | None:
    """What the last step that has an output printed."""
    for step in facts.steps:
        directory = steps / step.log
        if (directory / "stdout").is_file():
            return _text(directory, step)
    return None


def _text(directory: Path, step: StepFacts) -> str:
    if step.agent is not None:
        text = read_transcript(agent(step.agent), directory / "stdout", step.exit_code).text
        data = text.encode("utf-8", "replace")[: MAX_OUTPUT_BYTES + 1]
    else:
        with (directory / "stdout").open("rb") as file:
            data = file.read(MAX_OUTPUT_BYTES + 1)
    if len(data) <= MAX_OUTPUT_BYTES:
        return data.decode("utf-8", "replace").rstrip("\r\n")
    return data[:MAX_OUTPUT_BYTES].decode("utf-8", "ignore") + f"… (cut after {MAX_OUTPUT_BYTES >> 20} MiB)"


def _value(text: str | None) -> object:
    if text is None or not _JSON.match(text):
        return text
    try:
        return parse_json(text)
    except (NotJsonError, UnusableJsonError):
        return text


def changed_by(git: PrivateGit) -> Changed:
    """How to find the files of commits: one call of git for all of them."""

    def changed(commits: Iterable[str]) -> dict[str, list[str]]:
        wanted = dict.fromkeys(commits)
        found: dict[str, list[str]] = {}
        if not wanted:
            return found
        options = ("-r", "-z", "--name-only", "--no-renames", "--root", "--no-ext-diff", "--no-textconv")
        stdin = "".join(f"{commit}\n" for commit in wanted).encode()
        names: list[str] = []
        for record in git.run("diff-tree", "--stdin", *options, stdin=stdin).records():
            if record in wanted and record not in found:
                names = found[record] = []  # its files come next
            else:
                names.append(record)
        return found

    return changed


# The file --------------------------------------------------------------------------------------------------


def results_path(directory: Path, path: str) -> Path:
    """Where the results of the fan-out `path` are, once `write_results` has been called. directory: the run's."""
    return directory / "steps" / path / FILE


def environment(directory: Path, path: str) -> dict[str, str]:
    """What steps behind the fan-out have in their environment."""
    return {RESULTS_VARIABLE: str(results_path(directory, path))}


def results_file(store: Questions, path: str, changed: Changed | None = None) -> Path:
    """The file with the results, a JSON array; it is written now when it is not there."""
    file = results_path(store.directory, path)
    return file if file.is_file() else write_results(store, path, changed)


def write_results(store: Questions, path: str, changed: Changed | None = None) -> Path:
    """Write the results file whole, or not at all, one record at a time. Raises EnvironmentProblem."""
    file = results_path(store.directory, path)
    part = file.with_name(f".{FILE}.new")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as out:
            separator = "[\n"
            for record in results_of(store, path, changed):
                out.write(separator + render(record))
                separator = ",\n"
            out.write("[]\n" if separator == "[\n" else "\n]\n")
            out.flush()
            os.fsync(out.fileno())
        part.replace(file)
    except OSError as error:
        part.unlink(missing_ok=True)
        hint = f"Mend that, then `prodigy resume {store.directory.name}`."
        raise EnvironmentProblem(f"the results can't be written: {error}", where=str(file), hint=hint) from error
    return file
