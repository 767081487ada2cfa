"""The catalogue of variables is whole, and what follows from it agrees with it."""

from __future__ import annotations

import pytest

from docs_support import DOCS
from prodigy.workflow import catalogue
from prodigy.workflow.catalogue import RESERVED
from prodigy.workflow.catalogue_page import variables_page
from prodigy.workflow.interpolate import NAMESPACES, check_text, parse_placeholders
from prodigy.workflow.load import parse
from prodigy.workflow.scripts import Names, remarks

GIT = "files_added files_modified files_deleted files_changed commits commit_count insertions deletions"
# The names that people know from the earlier system, and where they have a value.
KNOWN: dict[str, str] = {
    "map foreach": "item item.<path> item_id item_index item_total item.name",
    "foreach": "index total",
    "map": "worker.id map.key",
    "reduce steps": "map.successful map.failed map.total map.success_rate map.success_count map.results"
    " map.results_json map.results_array map.results_file map.outputs map.<variable> result.<N>.item_id"
    " result.<N>.status result.<N>.output worktrees.<name>.path worktrees.<name>.head worktrees.<name>.success",
    "setup steps map reduce merge handler repair foreach": "shell.output claude.output agent.output test.output"
    " handler.output foreach.output write_file.output last.output last.exit_code CAPTURED_OUTPUT"
    " <id> <id>.output <id>.stderr <id>.exit_code <id>.success <id>.duration setup.<name> <parameter> env.<NAME>"
    " workflow.name workflow.id workflow.iteration step.name step.index run.id dlq.count dlq.has_items"
    " ARG ARGUMENT FILE FILE_PATH WORKTREE PROJECT_ROOT "
    + " ".join(f"{head}.{name}" for head in ("step", "workflow") for name in GIT.split()),
    "repair": "validation.completion validation.missing validation.missing_count validation.status"
    " validation.implemented validation.gaps validation.attempt_number validation.incomplete_specs",
    "merge": "merge.worktree merge.source_branch merge.target_branch merge.session_id merge.commits merge.commit_count"
    " merge.commit_ids merge.modified_files merge.file_count merge.file_list",
    "handler": "error.message error.exit_code error.step error.timestamp error.handler error.attempt"
    " error.correlation_id error.kind",
}


@pytest.mark.parametrize(("places", "names"), KNOWN.items())
def test_every_known_variable_has_an_entry_for_its_places(places: str, names: str) -> None:
    found = {entry.name: entry.where for entry in catalogue.ENTRIES}
    missing = {name: set(places.split()) - found.get(name, frozenset()) for name in names.split()}
    assert {name: where for name, where in missing.items() if where} == {}


def test_no_variable_has_two_entries_for_one_place() -> None:
    seen = [(entry.name, place) for entry in catalogue.ENTRIES for place in entry.where]
    assert len(seen) == len(set(seen))


def names_in(place: catalogue.Place) -> Names:
    behind = frozenset[str]().union(*(catalogue.behind(what) for what in ("fan-out", "worktree")))
    here = {e.name for e in catalogue.ENTRIES if place in e.where}
    known = frozenset(name for name in behind if any(one.startswith(name) for one in here))
    given = catalogue.available(place) | catalogue.IN_ENVIRONMENT | known
    given |= {"map.average"} if "map.total" in given else set()
    return Names(given | {"build", "fix", "target"}, frozenset({"build", "fix", "version"}))


@pytest.mark.parametrize("place", catalogue.PLACES)
def test_every_example_is_accepted_in_its_places(place: catalogue.Place) -> None:
    names = names_in(place)
    for entry in catalogue.ENTRIES:
        if place in entry.where:
            assert len(parse_placeholders(entry.example, names.available)) == 1, entry.name
            assert check_text(entry.example, names.available) == []
            assert list(remarks(entry.example, names)) == [], entry.name


def test_variables_are_refused_in_other_places() -> None:
    for entry in catalogue.ENTRIES:
        for place in catalogue.PLACES:
            if place not in entry.where and not entry.is_pattern and entry.head not in ("index", "total"):
                found = list(remarks(entry.example, names_in(place)))
                assert found, (entry.name, place)
                assert any(words in found[0].message for words in ("no value here", "a value only", "is no variable"))


def test_the_page_of_variables_is_the_generated_one() -> None:
    page = variables_page()
    assert all(f"`{entry.example}` |" in page and f"`${{{entry.name}}}`" in page for entry in catalogue.ENTRIES)
    assert (DOCS / "reference/variables.md").read_text() == page, "run `make docs`"


def test_names_of_ours_cannot_be_given_to_steps() -> None:
    heads = {entry.head for entry in catalogue.ENTRIES if not entry.is_pattern} - catalogue.IN_ENVIRONMENT
    assert heads - {"index", "total"} - catalogue.FREE | {"raw"} == RESERVED
    assert NAMESPACES <= RESERVED


@pytest.mark.parametrize("name", sorted(catalogue.FREE))
def test_a_step_that_is_called_as_some_variables_are_has_the_name(name: str) -> None:
    text = (
        f"- {{shell: a, id: {name}}}\n- shell: echo ${{{name}}} ${{{name}.output}} ${{{name}.stderr}} ${{{name}%x}}\n"
    )
    parse(text, "w.yml")
    assert len(parse_placeholders(text, {name, f"{name}.output"})) == 4
    assert len(parse_placeholders(text, {f"{name}.output"})) == 2


def test_what_a_place_needs_before_it_is_not_there_without() -> None:
    assert "map.total" not in catalogue.available("reduce")
    assert {"map.total", "result"} <= catalogue.behind("fan-out")
    assert catalogue.behind("worktree") == {"worktrees"}
    assert {"map.key", "worker.id", "item"} <= catalogue.available("map") - catalogue.available("steps")


def test_names_are_known_in_parts_of_steps() -> None:
    text = """
- shell: make
  on_failure: {shell: 'echo ${error.message} ${error.attempt}'}
  validate: {shell: 'true', on_incomplete: {claude: 'finish ${validation.missing:lines} of ${step.name}'}}
- foreach: ls
  do: [{shell: 'echo ${item} ${index} of ${total}'}]
"""
    parse(text, "w.yml")
