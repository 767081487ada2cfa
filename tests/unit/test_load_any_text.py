"""Whatever text a file holds, loading it gives a workflow or a WorkflowError, and both can be shown and stored."""

from __future__ import annotations

import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from prodigy.errors import WorkflowError
from prodigy.workflow import keys
from prodigy.workflow.load import parse
from prodigy.workflow.model import Workflow

VALID = (
    """\
name: modernize
mode: mapreduce
setup:
  - shell: |
      ./list.sh > items.json
      test -s items.json
map:
  input: items.json
  json_path: "$.items[*]"
  max_parallel: 8
  agent_template:
    - &fix
      shell: ./fix.sh ${item.path}
      timeout: 5m
    - {<<: *fix, commit_required: true, name: again}
reduce:
  - shell: "echo ${map.successful} of ${map.total}"
""",
    """\
- shell: >
    make
    all
  id: build
- mapreduce:
    map: {input: 'git ls-files', agent_template: {shell: 'wc -l ${item}'}}
- shell: echo done
""",
)

ALL_KEYS = sorted(
    keys.WORKFLOW.known | keys.MAP.known | keys.STEP.known | keys.GIVEN_UP.keys() | {"analyze", "colour", "\ud800"}
)  # fmt: skip


def check(text: str) -> None:
    result = outcome(text)
    if isinstance(result, Workflow):
        assert Workflow.model_validate_json(result.model_dump_json()) == result
        return
    assert result.problems
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for problem in result.problems:
        assert problem.message
        assert 1 <= problem.line <= len(lines)
        assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1
    assert str(result).encode()


def outcome(text: str) -> Workflow | WorkflowError:
    try:
        return parse(text, "w.yml").workflow
    except WorkflowError as error:
        return error


@settings(deadline=None)
@given(st.text())
@example("")
@example('a: "\\UFFFFFFFF"')
@example("%YAML 1." + "9" * 5000 + "\n---\na")
@example("- shell: \x85\n")
@example("- shell: |\n    \u2028${item}\n")
def test_any_text(text: str) -> None:
    check(text)


@settings(deadline=None)
@given(st.text(st.sampled_from("ab:-{}[]\"'|>&*!#%@`,?<~\\ \t\n\r\0\x85\u2028\ufeff\ud800$07.")))
def test_any_text_made_of_what_yaml_gives_a_meaning(text: str) -> None:
    check(text)


@st.composite
def mutations(draw: st.DrawFn) -> str:
    """A valid file with some stretches removed, repeated, or replaced."""
    text = draw(st.sampled_from(VALID))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 12)))
        new = draw(
            st.sampled_from(["", "\t", "\n", ": ", "- ", "*fix", "{", "]", '"', "${item}", "5"]) | st.text(max_size=3)
        )
        text = text[:start] + draw(st.sampled_from([new, text[start:end] * 2])) + text[end:]
    return text


@settings(deadline=None)
@given(mutations())
def test_damaged_workflows(text: str) -> None:
    check(text)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["make", "", "5m", "x.json", "${item}", "$.a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(ALL_KEYS), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(values)
def test_wrong_types_everywhere(value: object) -> None:
    check(json.dumps(value))


@settings(deadline=None)
@given(st.sampled_from(sorted({"setup", "reduce", *keys.MAP.known, *keys.STEP.runs})), values)
def test_a_wrong_value_in_one_place(key: str, value: object) -> None:
    step: dict[str, object] = {"shell": "make"}
    mapping: dict[str, object] = {"input": "x.json", "agent_template": [step]}
    workflow: dict[str, object] = {"map": mapping}
    place = workflow if key in ("setup", "reduce") else mapping if key in keys.MAP.known else step
    place[key] = value
    check(json.dumps(workflow))
