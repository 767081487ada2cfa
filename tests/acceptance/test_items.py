"""Items from files of several formats, selected; and what the steps behind a fan-out see of its results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prodigy.engine.captures import Scope
from prodigy.engine.results import (
    Listed,
    Variables,
    changed_by,
    names_behind,
    names_of_skipped,
    results_file,
    results_of,
    variables,
    write_results,
)
from prodigy.engine.results import environment as results_environment
from prodigy.errors import ProdigyError
from prodigy.git.context import discover
from prodigy.git.private import PrivateGit
from prodigy.git.repo import Repo
from prodigy.store.store import Store
from prodigy.workflow.expression import compile_expression
from prodigy.workflow.interpolate import interpolate_text
from prodigy.workflow.model import MapReduce, Workflow
from prodigy.workflow.selections import MAP_NAMES
from prodigy.workflow.shell_words import compile_script
from support import Project, git

SCORES = """path,score,status
src/a.py,10,open
src/b.py,30,done
src/c.py,20,open
"docs/d, e.md",40,open
src/a.py,10,open
"""


def run(project: Project, text: str, *args: str, code: int = 0) -> Any:
    done = project.prodigy("run", project.workflow(text), "--yes", "--json", *args)
    assert done.code == code, done.err
    return done


def test_the_rows_of_a_table_are_selected_and_run_in_order(project: Project) -> None:
    project.write("scores.csv", SCORES)
    project.commit()
    done = run(
        project,
        """
map:
  input: scores.csv
  filter: item.status == open && path matches '[.](py|md)$'
  sort_by: item.path DESC
  distinct: path
  offset: 0
  max_items: 2
  max_parallel: 1
  agent_template:
    - shell: echo ${item.path} ${item.score} >> "$TALLY"
""",
    )
    assert project.tally_file.read_text() == "src/c.py 20\nsrc/a.py 10\n"
    assert done.json["items"]["total"] == 2
    assert "`filter`: no item has open, so it is read as a text; write 'open'" in done.err


def test_json_lines_and_yaml_that_setup_has_written_are_items(project: Project) -> None:
    run(
        project,
        """
steps:
  - shell: |
      printf '{"id":"a"}\\n\\n{"id":"b"}\\n' > items.jsonl
      printf -- '- {id: c}\\n- {id: d}\\n' > items.yaml
  - mapreduce:
      map: {input: items.jsonl, filter: id != 'a', agent_template: [{shell: 'echo ${item.id} >> "$TALLY"'}]}
  - mapreduce:
      map: {input: items.yaml, json_path: '$[1:]', agent_template: [{shell: 'echo ${item.id} >> "$TALLY"'}]}
""",
    )
    assert project.tally() == {"b": 1, "d": 1}


def test_a_mistake_in_an_input_names_the_file_and_the_line_before_anything_is_made(project: Project) -> None:
    project.write("bad.csv", "a,b\n1,2\n3\n")
    project.commit()
    done = run(project, "map: {input: bad.csv, agent_template: [{shell: a}]}", code=2)
    assert "bad.csv:3: this row has 1 field, and there are 2 columns" in done.err


# Results ---------------------------------------------------------------------------------------------------

RESULTS = """
map:
  input: printf '{"id":"a","n":1}\\n{"id":"b","n":2}\\n{"id":"c","n":3}\\n'
  variables:
    mean: avg(map.results[*].output.score)
    good: {aggregate: count, filter: status == 'success'}
    ids: {aggregate: concat, path: item_id, separator: "+"}
  agent_template:
    - shell: echo ${item.n} > ${item.id}.txt; git add .; git commit -qm work
    - shell: test ${item.n} != 3 && printf '{"score":%d}\\n' ${item.n}0
      on_failure: {shell: echo handled, fail_workflow: true}
"""


class Ended:
    """A fan-out that has ended, as the coordinator sees it."""

    def __init__(self, project: Project) -> None:
        self.directory = project.home / "runs" / project.run_id()
        self.store = Store.open(self.directory)
        self.workflow = Workflow.model_validate_json(self.store.workflow()[1])
        action = self.workflow.steps[0].action
        assert isinstance(action, MapReduce)
        self.mapping = action


@pytest.fixture
def ended(project: Project) -> Ended:
    run(project, RESULTS, code=3)
    return Ended(project)


def test_a_run_leaves_a_record_of_each_item_variables_and_a_file(project: Project, ended: Ended) -> None:
    store, mapping = ended.store, ended.mapping
    private = PrivateGit.open(ended.directory / "git", _repo(project))
    records: list[Any] = list(results_of(store, "it1/1", changed_by(private)))
    for record in records:
        assert record.pop("duration_s") > 0
    commit = git(project.repo, "log", "--format=%H", "--diff-filter=A", project.run_branch(), "--", "a.txt")
    assert records[0] == {
        "item_id": "a", "item": {"id": "a", "n": 1}, "status": "success", "output": {"score": 10},
        "commits": [commit], "files_modified": ["a.txt"], "error": None, "attempts": 1, "cost_usd": 0,
    }  # fmt: skip
    assert (records[1]["status"], records[1]["output"]) == ("success", {"score": 20})
    assert (records[2]["status"], records[2]["output"], records[2]["commits"]) == ("failed", "", [])
    assert "exit" in records[2]["error"]

    names = Scope(names_behind(store, "it1/1", mapping, "fix"))
    text = "${map.successful} ${map.failed} ${map.skipped} ${map.total} ${map.mean} ${map.good} ${fix.ids}"
    assert interpolate_text(text, names, {"fix"}) == "2 1 0 3 15.0 2 a+b+c"
    assert interpolate_text("${result.1.output.score} ${result.2.status} ${map.outputs}", names, {"result"}) == (
        '20 failed [{"score":10},{"score":20},""]'
    )
    assert json.loads(interpolate_text("${map.results}", names)) == json.loads(
        interpolate_text("${map.results_json}", names)
    )
    assert compile_expression("count(map.results, 'item.n > 1') == 2 && fix.mean > 14").holds(names.find)

    file = Path(interpolate_text("${map.results_file}", names))
    assert results_environment(ended.directory, "it1/1") == {"PRODIGY_RESULTS_FILE": str(file)}
    assert [record["item_id"] for record in json.loads(file.read_text())] == ["a", "b", "c"]
    assert list(file.parent.glob(".results*")) == []


def test_behind_a_fan_out_that_was_skipped_the_same_names_are_null(ended: Ended) -> None:
    there = names_behind(ended.store, "it1/1", ended.mapping, "fix")
    skipped = names_of_skipped(ended.mapping, "fix")
    assert there.keys() == skipped.keys()
    for name in ("map", "fix"):
        nothing, something = skipped[name], there[name]
        assert isinstance(nothing, dict)
        assert isinstance(something, Variables)
        assert nothing.keys() == set(something) == MAP_NAMES | {"mean", "good", "ids"}
        assert set(nothing.values()) == {None}


def _repo(project: Project) -> Repo:
    return discover(project.repo).repo


def test_a_resume_of_the_results_file_is_whole_or_not_there(ended: Ended) -> None:
    file = write_results(ended.store, "it1/1")
    file.write_text("[]")
    assert results_file(ended.store, "it1/1") == file  # it is not written again by itself
    assert file.read_text() == "[]"
    assert len(json.loads(write_results(ended.store, "it1/1").read_text())) == 3
    file.unlink()
    file.mkdir()
    with pytest.raises(ProdigyError, match=r"the results can't be written"):
        write_results(ended.store, "it1/1")
    assert list(file.parent.glob(".results*")) == []


def test_values_of_the_wrong_kind_in_variables_are_one_error_that_lists_them(ended: Ended) -> None:
    wrong = (("a", "sum(map.results[*].item_id)"), ("b", "max(map.results[*].output)"), ("c", "count(map.results)"))
    found = variables(ended.store, "it1/1", ended.mapping.model_copy(update={"variables": wrong}))
    with pytest.raises(ProdigyError) as caught:
        found["c"]
    assert str(caught.value).splitlines()[1:] == [
        "  a: value 1 is a text, sum takes a number",
        "  a: value 2 is a text, sum takes a number",
        "  a: value 3 is a text, sum takes a number",
        "  b: value 1 is an object, max takes a number or a text",
        "  b: value 2 is an object, max takes a number or a text",
    ]


def test_results_that_are_too_large_for_a_script_point_to_their_file() -> None:
    script = compile_script("echo ${map.results}", {"map"})
    small = script.bind({"map": {"results": Listed(["x" * 1000])}}, "/tmp/x")
    assert list(small.env.values()) == [json.dumps(["x" * 1000])]
    with pytest.raises(ProdigyError) as caught:
        script.bind({"map": {"results": Listed(["x" * 200_000])}}, "/tmp/x")
    assert "has more than 100 KiB, too much for a script" in caught.value.what
    assert caught.value.hint == "read it from the file ${map.results_file}"
    by_file = compile_script("cat ${map.results:file}", {"map"})
    assert len(by_file.bind({"map": {"results": Listed(["x" * 200_000])}}, "/tmp/x").files) == 1


def test_a_list_in_the_workflow_is_the_items(project: Project) -> None:
    flow = project.workflow("""
map:
  input:
    - {id: red, file: a.txt}
    - {id: green, file: b.txt}
    - {id: red, file: a.txt}
  filter: file != 'c.txt'
  agent_template: [{shell: "echo ${item.id} > ${item.file}"}]
""")
    done = project.prodigy("run", flow, "--yes", "--json")
    assert (done.json["items"]["successful"], done.json["duplicates"]) == (2, 1)
    files = project.files("main")
    assert (files["a.txt"], files["b.txt"]) == ("red", "green")


def test_a_list_of_words_is_items_too_and_takes_no_path(project: Project) -> None:
    template = "agent_template: [{shell: 'echo ${item} >> ${item}.txt'}]"
    done = project.prodigy("run", project.workflow(f"map:\n  input: [one, two]\n  {template}\n"), "--yes")
    assert done.code == 0
    assert {"one.txt", "two.txt"} <= project.files("main").keys()
    refused = project.prodigy("validate", project.workflow(f"map:\n  input: [a]\n  json_path: '$.x'\n  {template}\n"))
    assert refused.code == 2
    assert "flow.yml:3:3: `json_path` does not go with a list of items" in refused.err
