"""From a workflow file to the model: the accepted shapes, and every refusal with its place in the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from prodigy.errors import Problem, UsageError, WorkflowError
from prodigy.workflow.load import MAX_BYTES, Loaded, load, parse
from prodigy.workflow.model import Check, Input, MapReduce, Policy, Shell, Step, Workflow
from unit.workflow_texts import mapping, problems_of

MAP_SHAPE = """\
name: modernize
setup:
  - shell: ./list.sh > items.json
map:
  input: items.json
  json_path: "$.items[*]"
  max_parallel: 8
  agent_template:
    - shell: ./fix.sh ${item.path}
      commit_required: true
reduce:
  - shell: npm test
"""

STEPS_SHAPE = """\
name: modernize
steps:
  - shell: ./list.sh > items.json
  - mapreduce:
      map: {input: items.json, json_path: "$.items[*]", max_parallel: 8,
            agent_template: [{shell: './fix.sh ${item.path}', commit_required: true}]}
      reduce: [{shell: npm test}]
"""


def without_lines(value: object) -> object:
    if isinstance(value, dict):
        return {key: without_lines(part) for key, part in value.items() if key != "line"}
    return [without_lines(part) for part in value] if isinstance(value, list | tuple) else value


def tree(text: str) -> object:
    return without_lines(parse(text, "w.yml").workflow.model_dump())


def only_step(text: str) -> Step:
    (step,) = parse(text, "w.yml").workflow.steps
    return step


def fan_out(text: str) -> MapReduce:
    (action,) = [s.action for s in parse(text, "w.yml").workflow.steps if isinstance(s.action, MapReduce)]
    return action


# Shapes --------------------------------------------------------------------------------------------------


def test_the_map_shape_is_normalised_to_a_list_of_steps() -> None:
    fix = Step(action=Shell(text="./fix.sh ${item.path}"), checks=(Check(expect="commit"),), phase="map", line=9)
    spread = MapReduce(
        input=Input(kind="file", text="items.json"),
        json_path="$.items[*]",
        max_parallel=8,
        template=(fix,),
        reduce=(Step(action=Shell(text="npm test"), phase="reduce", line=12),),
    )
    setup = Step(action=Shell(text="./list.sh > items.json"), phase="setup", line=3)
    steps = (setup, Step(action=spread, phase="map", line=4))
    assert parse(MAP_SHAPE, "w.yml") == Loaded(Workflow(name="modernize", steps=steps, source="w.yml"))


def test_both_shapes_give_the_same_tree() -> None:
    assert tree(MAP_SHAPE) == tree(STEPS_SHAPE)


@pytest.mark.parametrize("key", ["steps", "commands", "tasks"])
def test_a_list_of_steps_has_three_names_and_may_stand_alone(key: str) -> None:
    alone = tree("- shell: a\n- shell: b\n")
    assert tree(f"{key}:\n- shell: a\n- shell: b\n") == alone
    assert [step.phase for step in parse("- shell: a\n- shell: b\n", "w.yml").workflow.steps] == ["", ""]


def test_steps_before_the_fan_out_are_setup_and_those_behind_it_have_no_phase() -> None:
    text = "- shell: a\n- mapreduce: {map: {input: x.json, agent_template: [{shell: b}]}}\n- shell: c ${map.total}\n"
    assert [step.phase for step in parse(text, "w.yml").workflow.steps] == ["setup", "map", ""]


@pytest.mark.parametrize(
    ("shorthand", "longhand"),
    [
        ("steps: {shell: a}", "steps: [{shell: a}]"),
        ("mode: sequential\nsteps: [{shell: a}]", "steps: [{shell: a}]"),
        (
            "mode: mapreduce\nmap: {input: x.json, agent_template: [{shell: a}]}",
            "map: {input: x.json, agent_template: [{shell: a}]}",
        ),
        (
            "map: {input: x.json, parallel: 3, operation: [{shell: a}]}",
            "map: {input: x.json, max_parallel: 3, agent_template: [{shell: a}]}",
        ),
        (
            "map: {input: x.json, agent_template: {shell: a}}",
            "map: {input: x.json, agent_template: [{shell: a}]}",
        ),
        (
            "map: {input: x.json, json_path: items, agent_template: [{shell: a}]}",
            "map: {input: x.json, json_path: $.items, agent_template: [{shell: a}]}",
        ),
        (
            'map: {input: x.json, json_path: "", agent_template: [{shell: a}]}',
            "map: {input: x.json, agent_template: [{shell: a}]}",
        ),
        (
            "setup: []\nreduce: []\nmap: {input: x.json, agent_template: [{shell: a}]}",
            "map: {input: x.json, agent_template: [{shell: a}]}",
        ),
        ("- shell: a\n  commit_required: false", "- shell: a"),
        (
            "setup: {commands: {shell: a}}\nmap: {input: x.json, agent_template: [{shell: a}]}",
            "setup: [{shell: a}]\nmap: {input: x.json, agent_template: [{shell: a}]}",
        ),
        ("- &a {shell: a}\n- *a", "- shell: a\n- shell: a"),
        ("- {shell: a, timeout: &t 5}\n- {<<: {timeout: *t}, shell: b}",
         "- {shell: a, timeout: 5}\n- {shell: b, timeout: 5}"),
        ("\ufeff- shell: a\r\n- shell: b\r\n", "- shell: a\n- shell: b\n"),
    ],
)  # fmt: skip
def test_shorthands_mean_what_their_longhands_say(shorthand: str, longhand: str) -> None:
    assert tree(shorthand) == tree(longhand)


def test_max_parallel_is_10_unless_given() -> None:
    assert fan_out("map: {input: x.json, agent_template: [{shell: a}]}").max_parallel == 10


@pytest.mark.parametrize(
    ("written", "number"),
    [("1", 1), ("010", 10), ("0x10", 16), ("0o17", 15), ("+5", 5), ("999999999999", 999_999_999_999)],
)  # fmt: skip
def test_whole_numbers_follow_yaml_1_2(written: str, number: int) -> None:
    assert (
        fan_out(f"map: {{input: x.json, max_parallel: {written}, agent_template: {{shell: a}}}}").max_parallel == number
    )


@pytest.mark.parametrize(
    ("written", "quoted"), [("'8'", True), ("many", False), ("8.0", False), ("'-8'", False), ("[8]", False)]
)
def test_only_a_quoted_number_is_told_to_lose_its_quotes(written: str, quoted: bool) -> None:
    (problem,) = problems_of(mapping(f"input: x.json\nmax_parallel: {written}\nagent_template: {{shell: a}}"))
    assert problem.hint == ("write the number without quotes" if quoted else None)


@pytest.mark.parametrize("part", ["setup", "agent_template", "reduce"])
def test_nested_commands_are_accepted_with_a_warning(part: str) -> None:
    bodies = {"setup": "[{shell: a}]", "agent_template": "[{shell: b}]", "reduce": "[{shell: c}]"}
    template = "setup: %(setup)s\nmap:\n  input: x.json\n  agent_template: %(agent_template)s\nreduce: %(reduce)s\n"
    nested = parse(template % (bodies | {part: f"{{commands: {bodies[part]}}}"}), "w.yml")
    flat = parse(template % bodies, "w.yml")
    assert nested.workflow == flat.workflow
    assert flat.warnings == ()
    (warning,) = nested.warnings
    assert warning.message == f"`commands` under `{part}` is deprecated"
    assert warning.hint == f"write the list directly under `{part}`"


def test_analyze_steps_are_skipped_with_a_warning() -> None:
    loaded = parse("- analyze: {max_cache_age: 300}\n- shell: a\n", "w.yml")
    assert [step.action for step in loaded.workflow.steps] == [Shell(text="a")]
    assert loaded.warnings == (Problem(1, 3, "`analyze` does nothing any more and is skipped", "remove it"),)


def test_the_name_is_the_files_stem_unless_given() -> None:
    assert parse("- shell: a", "some/dir/nightly.yml").workflow.name == "nightly"
    assert parse("name: x\nsteps: [{shell: a}]", "nightly.yml").workflow.name == "x"
    assert parse("- shell: a", "nightly.yml").workflow.source == "nightly.yml"
    assert parse("- shell: a", "a\nb.yml").workflow.name == "a_b"
    assert parse("- shell: a", "").workflow.name == "workflow"


def test_a_mode_that_contradicts_the_steps_is_warned_of() -> None:
    (warning,) = parse("mode: mapreduce\nsteps: [{shell: a}]", "w.yml").warnings
    assert (warning.line, warning.column) == (1, 7)
    assert warning.message == "`mode` is mapreduce, but the workflow has no `map`; the steps decide"


# Values --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("30", 30.0),
        ("1.5", 1.5),
        ("30s", 30.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("1h 30m", 5400.0),
        ("2d", 172_800.0),
        ("500ms", 0.5),
        ("0x10", 16.0),
        ("'5m'", 300.0),
    ],
)
def test_durations_are_seconds_or_written_with_units(written: str, seconds: float) -> None:
    step = only_step(f"- shell: a\n  timeout: {written}\n  idle_timeout: {written}\n")
    assert step.policy == Policy(timeout_s=seconds, idle_timeout_s=seconds)


@pytest.mark.parametrize(
    "written",
    ["0", "-5", "0s", "soon", "5x", "1h-30m", "s", ".inf", ".nan", "1e999", "true", "[5]", "5m later", ""],
)
def test_other_durations_are_refused(written: str) -> None:
    (problem,) = problems_of(f"- shell: a\n  timeout: {written}\n")
    assert problem.message.startswith("`timeout` must be a time of more than 0, got ")
    assert problem.hint == "write seconds, or a time such as `30s`, `5m` or `1h30m`"


def test_a_duration_of_years_is_refused() -> None:
    assert only_step("- shell: a\n  timeout: 366d\n").policy.timeout_s == 366 * 24 * 3600
    assert problems_of("- shell: a\n  timeout: 9000h\n") == [
        Problem(2, 12, '`timeout` must be at most 366 days, got "9000h"')
    ]


@pytest.mark.parametrize("written", ["true", "True", "TRUE"])
def test_true_is_written_in_three_ways(written: str) -> None:
    assert only_step(f"- shell: a\n  commit_required: {written}\n").checks == (Check(expect="commit"),)


@pytest.mark.parametrize("written", ["true", "7", "1.10", "2024-05-01", "no"])
def test_a_shell_text_is_taken_as_it_is_written(written: str) -> None:
    assert only_step(f"- shell: {written}\n").action == Shell(text=written)


def test_labels_are_kept() -> None:
    step = only_step("- shell: a\n  name: Run the tests\n  id: run-tests\n")
    assert (step.name, step.id) == ("Run the tests", "run-tests")
    step = only_step("- mapreduce: {map: {input: x.json, agent_template: {shell: a}}}\n  name: Fix\n  id: fix\n")
    assert (step.name, step.id) == ("Fix", "fix")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("items.json", Input(kind="file", text="items.json")),
        ("ITEMS.JSON", Input(kind="file", text="ITEMS.JSON")),
        ("/tmp/items.json", Input(kind="file", text="/tmp/items.json")),
        ("../items", Input(kind="file", text="../items")),
        ("' items.json '", Input(kind="file", text="items.json")),
        ("ls", Input(kind="command", text="ls")),
        ("git ls-files '*.js'", Input(kind="command", text="git ls-files '*.js'")),
        ("cat items.json", Input(kind="command", text="cat items.json")),
        ("cat<items.json", Input(kind="command", text="cat<items.json")),
        ("(./list.sh)", Input(kind="command", text="(./list.sh)")),
        ("|\n    ls\n    ls b", Input(kind="command", text="ls\nls b\n")),
        ("archive.tar", Input(kind="command", text="archive.tar")),
    ],
)
def test_one_word_with_a_known_extension_or_a_slash_is_a_file(written: str, expected: Input) -> None:
    assert fan_out(mapping(f"input: {written}\nagent_template: [{{shell: a}}]")).input == expected


# Files ---------------------------------------------------------------------------------------------------


def refusal_of(path: Path) -> UsageError:
    with pytest.raises(UsageError) as caught:
        load(path)
    return caught.value


def test_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "nightly.yml"
    file.write_text(MAP_SHAPE.replace("name: modernize\n", ""), encoding="utf-8")
    workflow = load(file).workflow
    assert (workflow.name, workflow.source) == ("nightly", str(file))


def test_a_missing_file_names_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "workflow.yml").touch()
    error = refusal_of(tmp_path / "worfklow.yml")
    assert (error.what, error.where) == ("there is no such workflow file", str(tmp_path / "worfklow.yml"))
    assert error.hint == f"did you mean {tmp_path / 'workflow.yml'}?"
    assert refusal_of(tmp_path / "no" / "such.yml").hint is None


def test_a_directory_is_refused_with_the_workflows_in_it(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").touch()
    error = refusal_of(tmp_path)
    assert error.what == "this is a directory, not a workflow file"
    assert error.hint == "workflow files in it: a.yaml"


def test_a_path_through_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert refusal_of(tmp_path / "a" / "w.yml").what == "the workflow file cannot be read: Not a directory"


def test_a_name_that_is_no_file_name_is_refused() -> None:
    assert refusal_of(Path("a\0b")).what == "this is not a file name"


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    file = tmp_path / "w.yml"
    with file.open("wb") as out:
        out.truncate(MAX_BYTES + 1)
    assert refusal_of(file).what == "a file of more than 4 MiB is not a workflow"


def test_a_file_name_that_is_not_utf_8_can_be_shown_and_stored(tmp_path: Path) -> None:
    file = tmp_path / "w\udcff.yml"
    file.write_text("- shell: a\n", encoding="utf-8")
    workflow = load(file).workflow
    assert workflow.name == "w\\udcff"
    assert Workflow.model_validate_json(workflow.model_dump_json()) == workflow


@pytest.mark.parametrize(
    ("data", "line", "column", "message"),
    [
        (b"- shell: a\n- shell: \xe9t\xe9\n", 2, 10, "this is not UTF-8 text (byte 0xe9)"),
        ("- shell: ä\n".encode() + b"\xff", 2, 1, "this is not UTF-8 text (byte 0xff)"),
        (b"\xef\xbb\xbfab\xff", 1, 3, "this is not UTF-8 text (byte 0xff)"),
        ("- shell: a".encode("utf-16"), 1, 1, "this file is UTF-16"),
        (b"\x7fELF\x02\x01\x00\x00", 1, 1, "the control character U+007F cannot stand in YAML"),
        (b"- a\n- b\x00c\n", 2, 4, "there is a NUL byte here: this is not a text file"),
        (b"", 1, 1, "this file has no workflow in it"),
        (b"\xef\xbb\xbf", 1, 1, "this file has no workflow in it"),
    ],
)
def test_bytes_that_are_no_workflow_are_refused(
    tmp_path: Path, data: bytes, line: int, column: int, message: str
) -> None:
    file = tmp_path / "w.yml"
    file.write_bytes(data)
    error = refusal_of(file)
    assert isinstance(error, WorkflowError)
    (problem,) = error.problems
    assert (problem.line, problem.column, problem.message) == (line, column, message)
