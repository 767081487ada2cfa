"""Placeholders in shell texts are checked when a workflow is loaded: which names have a value where."""

from __future__ import annotations

import pytest

from prodigy.workflow.load import parse
from unit.workflow_texts import TEMPLATE, mapping, problems_of


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
        ("setup", "echo ${last.output} ${last.exit_code} ${CAPTURED_OUTPUT} ${test.output} ${dlq.count} ${env.A}"),
        ("setup", "echo ${step.name} ${step.files_added:*.md:json} ${step.commits[0]} ${workflow.insertions} ${env:A}"),
        ("setup", "echo ${result} ${result[0]} ${step} ${error} ${test:0:3} ${merge[@]} ${setup%x} ${index}"),
        ("map", "echo ${item} ${item.any.thing[0]} ${item_id} ${item_index} ${item_total} ${workflow.name} ${run.id}"),
        (
            "map",
            "echo ${map.key} ${worker.id} ${item.tags:csv} ${item.x|default:y|length:3} ${json:a.b:from:item.data}",
        ),
        ("reduce", 'echo ${map.total} ${map.successful} ${map["failed"]} ${workflow.name} ${run.id}'),
        ("reduce", "echo ${map.results[0].output} ${map.outputs:lines} ${map.results_file} ${result.0.status}"),
        ("reduce", "echo ${sum(map.results[*].output.n)} ${count(map.results)|length} ${uuid} ${date:%Y} ${cmd:ls}"),
    ],
)
def test_placeholders_that_have_a_value_are_accepted(phase: str, text: str) -> None:
    parse(in_phase(phase, text), "w.yml")


@pytest.mark.parametrize(
    ("phase", "placeholder", "message", "hint"),
    [
        ("setup", "${item}", "`${item}` has no value here", "here there are run, workflow"),
        ("setup", "${map.total}", "`${map.total}` has no value here", "here there are run, workflow"),
        ("map", "${map.total}", "`${map.total}` has no value here", "item_total, map, run, worker, workflow"),
        ("reduce", "${item.x}", "`${item.x}` has no value here", "here there are map, result, run, workflow"),
        ("reduce", "${item_id}", "`${item_id}` has no value here", "here there are map, result, run, workflow"),
        ("reduce", "${map.sucessful}", "did you mean `${map.successful}`?", "`${map.total}`"),
        ("reduce", "${map.colour}", "`${map.colour}` is no variable", "`${map.failed}`, `${map.outputs}`"),
        ("reduce", "${map}", "`${map}` is no variable", "there are `${map.failed}`"),
        ("reduce", "${map[0]}", "`${map[0]}` is no variable", "there are `${map.failed}`"),
        ("reduce", "${map.total.x}", "`${map.total.x}`: map.total is one value without parts", None),
        ("reduce", "${map.key}", "`${map.key}` has no value here", "here there are map, result, run, workflow"),
        ("map", "${workflow.commit_count.x}", "workflow.commit_count is one value without parts", None),
        ("map", "${workflow.nam}", "did you mean `${workflow.name}`?", "there are `${workflow.commit_count}`"),
        ("map", "${run.name}", "`${run.name}` is no variable", "there are `${run.id}`"),
        ("map", "${item_id.x}", "`${item_id.x}`: item_id is one value without parts", None),
        ("map", "${item_index[0]}", "`${item_index[0]}`: item_index is one value without parts", None),
        ("map", "${shell.outputs}", "did you mean `${shell.output}`?", "`${shell.stderr}`"),
        ("map", "${merge.commits}", "`${merge.commits}` has a value only in the steps of `merge`", "put a space"),
        ("map", "${result.0.item_id}", "only behind a map, in a list of steps, `reduce` and the steps", "put a space"),
        ("reduce", "${worktrees.a.path}", "only behind a `worktree` step, in a list of steps", "put a space"),
        ("setup", "${worker.id}", "`${worker.id}` has a value only in `agent_template`", "put a space"),
        ("reduce", "${setup.nothing}", "no step of `setup` captures `nothing`", "give it a `capture`"),
        ("setup", "${json:a:from:item.x}", "`item.x` has no value here", "here there are run, workflow"),
    ],
)  # fmt: skip
def test_placeholders_without_a_value_are_refused(phase: str, placeholder: str, message: str, hint: str | None) -> None:
    (problem,) = problems_of(in_phase(phase, f"echo {placeholder}"))
    assert message in problem.message
    assert (hint or "") in (problem.hint or "")
    assert (problem.line, problem.column) == {"setup": (4, 12), "map": (6, 13), "reduce": (8, 17)}[phase]


def test_paths_in_a_call_are_checked_where_they_stand() -> None:
    text = "- claude: 'n ${count(map.results)} ${sum(fix.x, y)}'\n"
    assert [(problem.column, problem.message) for problem in problems_of(text)] == [
        (22, "`map.results` has no value here"),
        (38, "`${sum(fix.x, y)}` can't be read: sum does not take 2 arguments"),
    ]


def test_variables_of_a_map_have_values_behind_it_and_no_others() -> None:
    variables = "map: {input: x.json, variables: {mean: 'avg(results[*].output)'}, agent_template: [{shell: a}]}\n"
    parse(f"{variables}reduce: [{{shell: 'echo ${{map.mean}}'}}]", "w.yml")
    (problem,) = problems_of(f"{variables}reduce: [{{shell: 'echo ${{map.meen}}'}}]")
    assert "did you mean `${map.mean}`?" in problem.message


def test_what_the_environment_holds_is_a_placeholder_in_other_texts_alone() -> None:
    parse("- shell: echo ${WORKTREE:0:3} ${ARG%x}\n- claude: see ${WORKTREE|length:3} and ${ARG:-nothing}\n", "w.yml")
    (problem,) = problems_of("- claude: see ${WORKTREE:0:3}\n")
    assert "`:0:3` is not supported" in problem.message


def test_a_step_cannot_be_called_as_built_in_variables_are() -> None:
    text = "- {shell: a, capture: result}\n- {shell: a, id: last}\n- {shell: a, id: index}\n"
    assert [(problem.line, problem.message) for problem in problems_of(text)] == [
        (1, "`result` cannot be a capture: it is the name of built-in variables"),
        (2, "`last` cannot be an id: it is the name of built-in variables"),
    ]


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
