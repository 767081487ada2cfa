"""Placeholders in shell texts are checked when a workflow is loaded: which names have a value where."""

from __future__ import annotations

import pytest

from prodigy.workflow.load import parse
from unit.workflow_texts import LATER, TEMPLATE, mapping, problems_of


def in_phase(phase: str, text: str) -> str:
    """A workflow with `text` as a step of a phase; it begins in line 4 (setup), 6 (map) or 8 (reduce), column 7."""
    texts = {name: text if name == phase else "true" for name in ("setup", "map", "reduce")}
    return (
        f"setup:\n- shell: true\n- shell:\n      {texts['setup']}\n"
        f"map: {{input: x.json, agent_template: {{shell:\n      '{texts['map']}'}}}}\n"
        f"reduce:\n- {{shell: '{texts['reduce']}'}}\n"
    )


@pytest.mark.parametrize(
    ("phase", "text"),
    [
        ("setup", "echo ${workflow.name} ${run.id} ${HOME} $item"),
        ("map", "echo ${item} ${item.any.thing[0]} ${item_id} ${item_index} ${item_total} ${workflow.name} ${run.id}"),
        ("reduce", 'echo ${map.total} ${map.successful} ${map["failed"]} ${workflow.name} ${run.id}'),
    ],
)
def test_placeholders_that_have_a_value_are_accepted(phase: str, text: str) -> None:
    parse(in_phase(phase, text), "w.yml")


@pytest.mark.parametrize(
    ("phase", "placeholder", "message", "hint"),
    [
        ("setup", "${item}", "`${item}` has no value here", "here there are run, workflow"),
        ("setup", "${map.total}", "`${map.total}` has no value here", "here there are run, workflow"),
        ("map", "${map.total}", "`${map.total}` has no value here", "item, item_id, item_index, item_total, run"),
        ("reduce", "${item.x}", "`${item.x}` has no value here", "here there are map, run, workflow"),
        ("reduce", "${item_id}", "`${item_id}` has no value here", "here there are map, run, workflow"),
        ("reduce", "${map.sucessful}", "did you mean `${map.successful}`?", "`${map.total}`"),
        ("reduce", "${map.colour}", "`${map.colour}` is no variable", "`${map.failed}`, `${map.success_count}`"),
        ("reduce", "${map}", "`${map}` is no variable", "there are `${map.failed}`"),
        ("reduce", "${map[0]}", "`${map[0]}` is no variable", "there are `${map.failed}`"),
        ("reduce", "${map.total.x}", "`${map.total.x}`: map.total is one value without parts", None),
        ("reduce", "${map.results}", f"`${{map.results}}` {LATER}", None),
        ("map", "${workflow.commits}", f"`${{workflow.commits}}` {LATER}", None),
        ("map", "${workflow.nam}", "did you mean `${workflow.name}`?", "there are `${workflow.id}`"),
        ("map", "${run.name}", "`${run.name}` is no variable", "there are `${run.id}`"),
        ("map", "${item_id.x}", "`${item_id.x}`: item_id is one value without parts", None),
        ("map", "${item_index[0]}", "`${item_index[0]}`: item_index is one value without parts", None),
        ("map", "${shell.output}", f"`${{shell.output}}` {LATER}", "put a space behind the `{`"),
        ("reduce", "${step.files_added}", f"`${{step.files_added}}` {LATER}", "put a space behind the `{`"),
        ("setup", "${env.HOME}", f"`${{env.HOME}}` {LATER}", "put a space behind the `{`"),
        ("setup", "${env:HOME}", f"`${{env:HOME}}` {LATER}", "put a space behind the `{`"),
    ],
)  # fmt: skip
def test_placeholders_without_a_value_are_refused(phase: str, placeholder: str, message: str, hint: str | None) -> None:
    (problem,) = problems_of(in_phase(phase, f"echo {placeholder}"))
    assert message in problem.message
    assert (hint or "") in (problem.hint or "")
    assert (problem.line, problem.column) == {"setup": (4, 12), "map": (6, 13), "reduce": (8, 17)}[phase]


def test_only_steps_behind_the_fan_out_see_its_results() -> None:
    fan_out_step = "- mapreduce: {map: {input: x.json, agent_template: [{shell: a}]}}\n"
    parse(f"{fan_out_step}- shell: echo ${{map.total}}\n", "w.yml")
    assert [problem.line for problem in problems_of(f"- shell: echo ${{map.total}}\n{fan_out_step}")] == [1]


def test_the_input_command_sees_what_setup_sees() -> None:
    parse(mapping(f"input: ls ${{run.id}}\n{TEMPLATE}"), "w.yml")
    (problem,) = problems_of(mapping(f"input: ls ${{item}}\n{TEMPLATE}"))
    assert (problem.line, problem.column, problem.message) == (2, 13, "`${item}` has no value here")


def test_steps_see_the_names_of_steps_before_them_and_no_others() -> None:
    parse("- {shell: make, id: build}\n- shell: echo ${build.output} ${build} ${other}\n", "w.yml")
    text = "- shell: echo ${build}\n- {shell: a, id: build}\n- {claude: 'see ${late.output}'}\n- {shell: a, id: late}"
    assert [(problem.line, problem.column, problem.message) for problem in problems_of(text)] == [
        (1, 15, "`${build}` has no value here; the step that sets it runs later or in another list"),
        (3, 17, "`${late.output}` has no value here; the step that sets it runs later or in another list"),
    ]


def test_what_a_template_or_a_handler_names_is_not_known_outside_of_it() -> None:
    text = "map:\n  input: x.json\n  agent_template: [{shell: a, id: inner}]\nreduce:\n- shell: echo ${inner}\n"
    assert [problem.line for problem in problems_of(text)] == [5]
    parse("- {shell: a, id: x, on_failure: [{shell: 'echo ${error.message} ${x.stderr}'}]}", "w.yml")


def test_every_bad_placeholder_of_a_block_is_reported_where_it_stands() -> None:
    text = "- shell: |\n    echo ${item}\n\n      wc ${map.total} ${item}\n- shell: >\n    echo\n    ${item}\n"
    assert [(problem.line, problem.column) for problem in problems_of(text)] == [(2, 10), (4, 10), (4, 23), (7, 5)]


@pytest.mark.parametrize(
    ("script", "line", "column"),
    [
        ("|\n      true\n      eval ${item.x}\n", 6, 12),
        (">\n      true &&\n      eval ${item.x}\n", 6, 12),
        ("true\n      && eval ${item.x}\n", 5, 15),
        ("eval ${item.x}\n", 4, 17),
        ("'eval ${item.x}'\n", 4, 18),
        ('"true\\neval ${item.x}"\n', 4, 12),
    ],
)
def test_a_placeholder_that_would_be_run_is_refused_where_it_stands(script: str, line: int, column: int) -> None:
    (problem,) = problems_of(f"map:\n  input: x.json\n  agent_template:\n  - shell: {script}")
    assert "eval" in problem.message
    assert problem.hint
    assert (problem.line, problem.column) == (line, column)


def test_a_shell_syntax_error_beside_a_placeholder_is_refused_where_it_stands() -> None:
    text = "map:\n  input: x.json\n  agent_template:\n  - shell: |\n      echo ${item}\n      if true; fi\n"
    (problem,) = problems_of(text)
    assert problem.message.startswith("bash cannot read this: ")
    assert problem.line == 6


def test_a_step_that_is_used_many_times_is_checked_quickly() -> None:
    uses = "".join("  - *step\n" for _ in range(2_000))
    text = f"map:\n  input: x.json\n  agent_template:\n  - &step {{shell: 'wc -l ${{item}}'}}\n{uses}"
    (fan_out,) = parse(text, "w.yml").workflow.steps
    assert fan_out.action.kind == "mapreduce"
    assert len(fan_out.action.template) == 2_001
