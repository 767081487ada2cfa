"""The data behind the reference and the schema covers exactly the keys that the loader knows."""

from __future__ import annotations

import pytest

from prodigy.workflow import captures, environment_keys, keys, policies, selections, step_environment, step_validation
from prodigy.workflow.key_texts import BY_NAME, PLACES
from prodigy.workflow.key_texts.shapes import Part, Place, shapes_in
from prodigy.workflow.load import parse
from prodigy.workflow.reference import refused_keys, workflow_page
from prodigy.workflow.schema import _lists, workflow_schema

# Tables that readers have for themselves.
LOCAL = {
    "variable of a command": environment_keys._COMMAND,
    "conditional variable": environment_keys._CONDITION,
    "variable": environment_keys._VALUE,
    "secret": environment_keys._SECRET,
    "variable of a step": step_environment._VALUE,
    "aggregate": selections.AGGREGATE,
    "output": captures._OUTPUT,
}
# In these lists of steps a time limit belongs to no phase, so that the loader refuses it.
WITHOUT_A_LIMIT = {"steps nested"}


@pytest.mark.parametrize("place", [place for place in PLACES if place.table], ids=lambda place: place.name)
def test_a_place_has_exactly_the_keys_of_its_table(place: Place) -> None:
    assert place.table is not None
    table = LOCAL.get(place.name, place.table)
    assert table.synonyms == place.table.synonyms
    step = keys.STEP.runs | keys.STEP.later
    both = place.beside is not None and step <= table.runs | table.later
    have = place.keys.keys() | (step if both else set()) | ({"timeout"} if place.name in WITHOUT_A_LIMIT else set())
    assert have == table.runs | table.later


def test_every_table_has_its_place() -> None:
    tables = {name: table for name, table in vars(keys).items() if isinstance(table, keys.KeyTable)}
    described = [place.table for place in PLACES if place.table]
    assert {name for name, table in tables.items() if not any(table is one for one in described)} == set()
    assert LOCAL.keys() <= BY_NAME.keys()


def test_local_keys_are_those_of_the_readers() -> None:
    assert BY_NAME["answer"].keys.keys() == set(step_validation._ENTRY)
    for name, numbers in policies._NUMBERS.items():
        assert BY_NAME[f"{name} backoff"].keys.keys() == numbers.keys()


def test_every_part_that_is_named_exists() -> None:
    known = BY_NAME.keys() | _lists().keys()
    named = {
        shape.place
        for place in PLACES
        for key in place.keys.values()
        for shape in shapes_in(key.shape)
        if isinstance(shape, Part)
    }
    assert named <= known


def test_keys_that_are_refused_are_listed_and_not_in_the_schema() -> None:
    text = refused_keys()
    for place in PLACES:
        if not place.later or place.hidden or place.beside:
            continue
        assert all(f"`{name}`" in text for name in place.later), place.name
    defs = workflow_schema()["$defs"]
    assert isinstance(defs, dict)
    for place in PLACES:
        if place.name in defs and not place.beside:
            assert not defs[place.name.replace(" ", "_")]["properties"].keys() & place.later


# Where the example of a key is tried; what stands at `#` is the example.
_MAP = "map:\n  input: ls\n  agent_template: [{shell: make}]\n"
_STEP = "map:\n  input: ls\n  agent_template:\n    - shell: make\n"
FRAMES = {
    "workflow": "steps: [{shell: make}]\n#\n",
    "settings": "steps: [{shell: make}]\nsettings: {#}\n",
    "workspace": "steps: [{shell: make}]\nworkspace: {#}\n",
    "workspace limits": "steps: [{shell: make}]\nworkspace: {limits: {#}}\n",
    "cleanup_policy": "steps: [{shell: make}]\nworkspace: {cleanup_policy: {#}}\n",
    "agent": "steps: [{shell: make}]\nagents: {claude: {#}}\n",
    "map": f"{_MAP}  #\n",
    "mapreduce": "- mapreduce:\n    map: {input: ls, agent_template: [{shell: make}]}\n    #\n",
    "error_policy": f"{_MAP}  error_policy: {{#}}\n",
    "circuit_breaker": f"{_MAP}  circuit_breaker: {{#}}\n",
    "timeout_config": f"{_MAP}  timeout_config: {{#}}\n",
    "aggregate": f"{_MAP}  variables: {{x: {{aggregate: count, #}}}}\n",
    "variable of a command": "steps: [{shell: make}]\nenv: {A: {command: date, #}}\n",
    "conditional variable": "steps: [{shell: make}]\nenv: {A: {condition: 'true', when_true: a, #}}\n",
    "variable": "steps: [{shell: make}]\nenv: {A: {value: a, #}}\n",
    "step": f"{_STEP}      #\n",
    "retry": "- shell: make\n  retry: {#}\n",
    "backoff": "- shell: make\n  retry: {backoff: {#}}\n",
    "on_failure": "- shell: make\n  on_failure: {commands: [make clean], #}\n",
    "validate": "- shell: make\n  validate: {shell: make check, #}\n",
    "on_incomplete": "- shell: make\n  validate: {shell: make check, on_incomplete: {commands: [make], #}}\n",
    "step_validate": "- shell: make\n  step_validate: {commands: [make check], #}\n",
    "answer": "- shell: make\n  step_validate: {command: make check, #}\n",
    "capture_output": f"setup: {{commands: [{{shell: a}}], capture_outputs: {{x: {{command_index: 0, #}}}}}}\n{_MAP}",
    "output": "- shell: make\n  outputs: {x: {#}}\n",
    "write_file": "- write_file: {path: a.txt, content: b, #}\n",
    "commit_config": "- shell: make\n  auto_commit: true\n  commit_config: {#}\n",
    "metadata": "- shell: make\n  metadata: {#}\n",
    "foreach": "- foreach: {foreach: [a], do: [{shell: make}], #}\n",
    "worktree step": "- worktree: a\n  do: [{shell: make}]\n  #\n",
    "parameter": "parameters: {target: {default: a, #}}\nsteps: [{shell: make}]\n",
}
# The same for keys that the frame has already, or that need others beside them. "": tried with files, elsewhere.
_LOOP = "- foreach: [a]\n  do: [{shell: make}]\n  #\n"
OTHERS = {
    "workflow": {
        **dict.fromkeys(("map", "steps"), "#\n"),
        **dict.fromkeys(("setup", "reduce"), f"{_MAP}#\n"),
        **dict.fromkeys(("imports", "extends", "template", "workflows"), ""),
    },
    "map": {
        "input": "map:\n  agent_template: [{shell: make}]\n  #\n",
        "agent_template": "map:\n  input: ls\n  #\n",
    },
    "mapreduce": {"map": "- mapreduce:\n    #\n"},
    "aggregate": {
        "aggregate": f"{_MAP}  variables: {{x: {{path: a, #}}}}\n",
        "separator": f"{_MAP}  variables: {{x: {{aggregate: concat, path: a, #}}}}\n",
        "order": f"{_MAP}  variables: {{x: {{aggregate: sort, path: a, #}}}}\n",
        "key": f"{_MAP}  variables: {{x: {{aggregate: group_by, #}}}}\n",
    },
    "variable of a command": {"command": "steps: [{shell: make}]\nenv: {A: {#}}\n"},
    "conditional variable": {
        "condition": "steps: [{shell: make}]\nenv: {A: {when_true: a, #}}\n",
        "when_true": "steps: [{shell: make}]\nenv: {A: {condition: 'true', #}}\n",
    },
    "variable": {"value": "steps: [{shell: make}]\nenv: {A: {#}}\n"},
    "step": {
        "fresh": "- claude: go\n  #\n",
        **dict.fromkeys(
            ("shell", "claude", "agent", "write_file", "test", "command"),
            "map:\n  input: ls\n  agent_template:\n    - #\n",
        ),
        "mapreduce": "- #\n",
        "foreach": "- #\n  do: [{shell: make}]\n",
        "worktree": "- #\n  do: [{shell: make}]\n",
        "do": "- foreach: [a]\n  #\n",
        "parallel": _LOOP,
        "max_items": _LOOP,
        "merge": "- worktree: a\n  do: [{shell: make}]\n  #\n",
        **dict.fromkeys(("args", "options"), "- command: fix\n  #\n"),
        **dict.fromkeys(("capture_format", "capture_streams"), "- shell: a\n  capture: x\n  #\n"),
        "use": "templates: {check: [{shell: make}]}\nsteps:\n  - #\n",
        "with": "templates: {t: {parameters: [target], steps: [{shell: make}]}}\nsteps:\n  - use: t\n    #\n",
        "workflow": "",
    },
    "on_failure": {"commands": "- shell: make\n  on_failure: {#}\n"},
    "validate": {"commands": "- shell: make\n  validate: {#}\n"},
    "on_incomplete": {"commands": "- shell: make\n  validate: {shell: a, on_incomplete: {#}}\n"},
    "step_validate": {"commands": "- shell: make\n  step_validate: {#}\n"},
    "answer": {"command": "- shell: make\n  step_validate: {#}\n"},
    "capture_output": {
        "command_index": f"setup: {{commands: [{{shell: a}}], capture_outputs: {{x: {{#}}}}}}\n{_MAP}",
    },
    "write_file": {
        "path": "- write_file: {content: b, #}\n",
        "content": "- write_file: {path: a.txt, #}\n",
    },
    "foreach": {
        "foreach": "- foreach: {do: [{shell: make}], #}\n",
        "do": "- foreach: {foreach: [a], #}\n",
    },
    "worktree step": {
        "worktree": "- #\n  do: [{shell: make}]\n",
        "do": "- worktree: a\n  #\n",
    },
    "parameter": {"default": "parameters: {target: {#}}\nsteps: [{shell: make}]\n"},
}


def _examples() -> list[object]:
    return [
        pytest.param(place, name, id=f"{place.name}: {name}")
        for place in PLACES
        if place.name in FRAMES
        for name in sorted(place.runs)
    ]


@pytest.mark.parametrize(("place", "name"), _examples())
def test_the_example_of_a_key_loads(place: Place, name: str) -> None:
    key = place.keys[name]
    assert key.example.startswith(f"{name}:")
    assert key.what.endswith(".")
    frame = OTHERS.get(place.name, {}).get(name, FRAMES[place.name])
    if frame:
        parse(frame.replace("#", key.example), "w.yml")


def test_the_page_has_a_section_for_every_place_and_a_row_for_every_key() -> None:
    page = workflow_page()
    for place in PLACES:
        if place.hidden or place.name == "budget":
            continue
        section = page.split(f"\n## {place.heading}\n")[1].split("\n## ")[0]
        assert {name for name in place.runs if f"\n| `{name}` |" not in section} == set(), place.name
        assert all(line.count(" | ") == 4 for line in section.splitlines() if line.startswith("| `")), place.name
