"""`filter`, `sort_by`, `distinct`, `offset`, `max_items` and `variables` of a `map`, as they are loaded and refused."""

from __future__ import annotations

import pytest

from prodigy.workflow.load import parse
from prodigy.workflow.model import MapReduce
from prodigy.workflow.selection import Selection
from unit.workflow_texts import TEMPLATE, mapping, problems_of


def loaded(lines: str) -> MapReduce:
    (step,) = parse(mapping(f"{lines}\ninput: x.csv\n{TEMPLATE}"), "w.yml").workflow.steps
    assert isinstance(step.action, MapReduce)
    return step.action


def test_what_selects_the_items_is_part_of_the_map() -> None:
    lines = (
        "filter: score >= 5 && !done\nsort_by: -score, name NULLS FIRST\ndistinct: item.name\noffset: 0\nmax_items: 10"
    )
    assert loaded(lines).select == Selection(
        filter="score >= 5 && !done",
        sort_by="-score, name NULLS FIRST",
        distinct="item.name",
        offset=0,
        max_items=10,
    )
    assert loaded("max_parallel: 2").select is None


@pytest.mark.parametrize(
    ("lines", "line", "column", "message"),
    [
        ("filter: a >", 2, 14, "`filter` can't be read: the text ends too early"),
        ("filter: 'a == \"x\" & b'", 2, 21, "`filter` can't be read: a single & means nothing"),
        ("filter: |\n  a == 1\n  && && b", 4, 8, "`filter` can't be read: `&&` is not expected here"),
        ("filter: name matches '('", 2, 24, "`filter` can't be read: this regex is wrong: missing ): ("),
        ("sort_by: a SIDEWAYS", 2, 14, "`sort_by` can't be read: `SIDEWAYS` is not expected here"),
        ("sort_by: a NULLS", 2, 14, "`sort_by` can't be read: NULLS must be followed by FIRST or LAST"),
        ("distinct: a == 1", 2, 13, "`distinct` can't be read: this is not a path"),
        ("offset: -1", 2, 11, "`offset` must be a whole number of at least 0, got -1"),
        ("max_items: '3'", 2, 14, '`max_items` must be a whole number of at least 0, got "3"'),
        ("filter: [a]", 2, 11, "`filter` must be text, got a list"),
        ("variables: [a]", 2, 14, "`variables` must be a mapping of names to expressions, got a list"),
        ("variables: {total: count(x)}", 2, 15, "`map.total` has a meaning of its own"),
        ("variables: {a b: count(x)}", 2, 15, 'the name of a variable is made of letters, digits, `_` and `-`'),
        ("variables: {a: sum(}", 2, 22, "`a` can't be read: the text ends too early"),
        ("variables: {a: {aggregate: mode}}", 2, 30, "`aggregate` must be one of count, sum, avg"),
        ("variables: {a: {path: x}}", 2, 18, "`a` has no `aggregate`"),
        ("variables: {a: {type: sum}}", 2, 18, "`a` has no `path`"),
        ("variables: {a: {type: group_by}}", 2, 18, "`a` has no `key`"),
        ("variables: {a: {type: sum, of: x, order: desc}}", 2, 37, "`order` goes with `aggregate: sort` only"),
        ("variables: {a: {type: count, filter: b ==}}", 2, 44, "`filter` can't be read: the text ends too early"),
    ],
)  # fmt: skip
def test_a_mistake_has_its_place_in_the_file(lines: str, line: int, column: int, message: str) -> None:
    (problem,) = problems_of(mapping(f"{lines}\ninput: x.csv\n{TEMPLATE}"))
    assert problem.message.startswith(message)
    assert (problem.line, problem.column) == (line, column)


def test_variables_of_both_forms_become_expressions() -> None:
    lines = """
variables:
  mean: avg(map.results[*].output.score)
  enough: successful >= 2
  total_score: {aggregate: sum, path: output.score}
  average_score: {type: average, field: output.score, filter: "status == 'success'"}
  failures: {aggregate: count, filter: status != 'success'}
  names: {type: concat, of: item.name, separator: "; "}
  best_first: {type: sort, path: output.score, order: desc}
  by_kind: {type: group_by, key: item.kind}
""".strip()
    assert loaded(lines).variables == (
        ("mean", "avg(map.results[*].output.score)"),
        ("enough", "successful >= 2"),
        ("total_score", "sum(each(map.results, 'output.score'))"),
        ("average_score", r"avg(each(where(map.results, 'status == \'success\''), 'output.score'))"),
        ("failures", r"count(where(map.results, 'status != \'success\''))"),
        ("names", "concat(each(map.results, 'item.name'), '; ')"),
        ("best_first", "sort(each(map.results, 'output.score'), 'desc')"),
        ("by_kind", "group_by(map.results, 'item.kind')"),
    )


def test_a_variable_over_something_that_is_not_there_is_warned_of() -> None:
    text = mapping(f"variables: {{a: 'sum(map.result[*].x)', b: count(a)}}\ninput: x.csv\n{TEMPLATE}")
    warnings = parse(text, "w.yml").warnings
    assert [(warning.column, warning.message) for warning in warnings] == [
        (23, "`variables`: there is no map.result[*].x, so it counts as null"),
        (51, "`variables`: there is no a, so it counts as null"),
    ]


@pytest.mark.parametrize(
    "name", ["items.csv", "items.tsv", "a.jsonl", "a.ndjson", "a.yaml", "a.yml", "list.txt", "./list"]
)
def test_files_of_every_format_are_inputs(name: str) -> None:
    (step,) = parse(mapping(f"input: {name}\n{TEMPLATE}"), "w.yml").workflow.steps
    assert isinstance(step.action, MapReduce)
    assert (step.action.input.kind, step.action.input.text) == ("file", name)
