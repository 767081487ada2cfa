"""What is deprecated in the text of a workflow is rewritten, and nothing else in it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prodigy.errors import WorkflowError
from prodigy.workflow.load import parse
from prodigy.workflow.migrate import is_workflow, meaning, migrate

OLD = """\
# a header
name: "x"   # the name
mode: mapreduce  # old
setup:
  commands:   # why
    # first
    - shell: |
        echo a
          deep

        echo b
    - test:
        command: make test
        on_failure:
          claude: "/fix"
map:
  input: 'ls'
  parallel: 5 # five
  operation:
    commands:
    - claude: "/fix ${item.path}"
      capture_output: foo
    - test: {command: make, on_failure: {claude: /b, max_attempts: 2}}
      cwd: sub

reduce: {commands: [{shell: a}, {test: {command: b}, id: y}]}
merge:
  commands: [{shell: z}]
# end
"""
NEW = """\
# a header
name: "x"   # the name
# old
setup:
  # why
  # first
  - shell: |
      echo a
        deep

      echo b
  - shell: make test
    on_failure:
      max_attempts: 3
      commit_required: true
      claude: "/fix"
map:
  input: 'ls'
  max_parallel: 5 # five
  agent_template:
    - claude: "/fix ${item.path}"
      capture: foo
    - shell: make
      on_failure: {commit_required: true, claude: /b, max_attempts: 2}
      working_dir: sub

reduce: [{shell: a}, {shell: b, id: y}]
merge: [{shell: z}]
# end
"""


def migrated(text: str) -> str:
    return migrate(text, "w.yml").text


def test_everything_deprecated_in_one_file() -> None:
    assert migrated(OLD) == NEW
    assert not migrate(NEW, "w.yml").changes


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("commands: [{shell: a}]\n", "steps: [{shell: a}]\n"),
        ("tasks:\n- shell: a\n", "steps:\n- shell: a\n"),
        ("steps:\n  commands:\n    - shell: a\n", "steps:\n  - shell: a\n"),
        (
            "steps:\n- foreach: [a]\n  do:\n    commands:\n      - shell: a\n",
            "steps:\n- foreach: [a]\n  do:\n    - shell: a\n",
        ),
        ("- shell: a\n  output: x.txt\n", "- shell: a\n  output_file: x.txt\n"),
        ("steps: [{shell: a}]\nmode: sequential", "steps: [{shell: a}]\n"),
    ],
)
def test_other_spellings(old: str, new: str) -> None:
    assert migrated(old) == new


@pytest.mark.parametrize(
    "text",
    [
        "- shell: a\n  capture_output: true\n",  # it names nothing
        "- shell: a\n  env: {cwd: x, output: y}\n",  # names of the author's own
        "setup: {commands: [{shell: a}], timeout: 5}\nmap: {input: ls, agent_template: [{shell: a}]}\n",
        "- shell: a\n  on_failure: {commands: [{shell: b}]}\n",
        "steps: [{shell: a}]\nconfig: {commands: 1}\n",
        "- shell: |\n    map:\n      parallel: 5\n",
    ],
)
def test_what_is_no_deprecated_spelling_stays(text: str) -> None:
    assert migrated(text) == text


def test_what_cannot_be_rewritten_without_losing_a_comment_is_told() -> None:
    text = "- test: # it matters\n    command: a\n"
    done = migrate(text, "w.yml")
    assert done.text == text
    assert [problem.line for problem in done.left] == [1]


def test_line_ends_and_a_mark_at_the_beginning_stay() -> None:
    old = "\ufeff" + OLD.replace("\n", "\r\n")
    assert migrated(old) == "\ufeff" + NEW.replace("\n", "\r\n")


def test_a_node_in_two_places_is_changed_once() -> None:
    old = "- &a\n  shell: a\n  cwd: x\n- *a\n"
    assert migrated(old) == "- &a\n  shell: a\n  working_dir: x\n- *a\n"


def test_a_file_with_mistakes_is_refused() -> None:
    with pytest.raises(WorkflowError) as caught:
        migrate("steps: [{shel: a}]", "w.yml")
    assert "shell" in str(caught.value)
    with pytest.raises(WorkflowError) as caught:
        migrate("steps: [{shell: a}]\ngoal_seek: {}", "w.yml")
    assert "`validate`" in str(caught.value)


def test_what_is_meant_as_a_workflow() -> None:
    assert is_workflow(OLD)
    assert is_workflow("- shell: a\n")
    assert is_workflow("steps: [{shel: a}]\n")
    assert not is_workflow("services: {a: {image: b}}\n")
    assert not is_workflow("- a\n- b\n")
    assert not is_workflow("a: [")


# Generated workflows -------------------------------------------------------------------------------------------

_WORDS = st.sampled_from(["make", "echo 'a b'", '"quoted: text"', "ls # no comment", "/fix"])
_COMMENTS = st.sampled_from(["", "  # a comment"])


@st.composite
def _steps(draw: st.DrawFn, indent: int) -> str:
    pad = " " * indent
    lines = []
    for _ in range(draw(st.integers(1, 3))):
        word = f"'{draw(_WORDS).replace(chr(39), chr(39) * 2)}'"
        kind = draw(st.sampled_from(["shell", "claude", "test", "test in braces", "block"]))
        note = draw(_COMMENTS)
        if kind == "test":
            lines += [f"{pad}- test:", f"{pad}    command: {word}{note}"]
            if draw(st.booleans()):
                lines += [f"{pad}    on_failure:{note}", f"{pad}      claude: {word}"]
        elif kind == "test in braces":
            lines.append(f"{pad}- test: {{command: {word}, on_failure: {{claude: {word}}}}}{note}")
        elif kind == "block":
            lines += [f"{pad}- shell: |", f"{pad}    {draw(_WORDS)}", "", f"{pad}      deeper"]
        else:
            lines.append(f"{pad}- {kind}: {word}{note}")
        if draw(st.booleans()):
            lines.append(f"{pad}  {draw(st.sampled_from(['cwd: sub', 'output: x.txt', 'timeout: 5']))}{note}")
    return "\n".join(lines)


@st.composite
def _under(draw: st.DrawFn, key: str, indent: int) -> str:
    """A list of steps below a key, perhaps with `commands` around it."""
    pad, note = " " * indent, draw(_COMMENTS)
    inner = draw(st.integers(0, 2))
    if not draw(st.booleans()):
        return f"{pad}{key}:{note}\n{draw(_steps(indent + inner))}"
    return f"{pad}{key}:\n{pad}  commands:{note}\n{draw(_steps(indent + 2 + inner))}"


@st.composite
def _workflows(draw: st.DrawFn) -> str:
    parts = draw(st.sampled_from(["", "mode: mapreduce\n", "# top\nmode: mapreduce  # kept\n"]))
    if draw(st.booleans()):
        parts += draw(_under("setup", 0)) + "\n"
    wide = draw(st.sampled_from(["parallel: 5", "max_parallel: 2", "input: ls"]))
    template = draw(st.sampled_from(["operation", "agent_template"]))
    rest = "" if wide.startswith("input") else f"  {wide}{draw(_COMMENTS)}\n"
    parts += f"map:\n  input: ls\n{rest}{draw(_under(template, 2))}\n"
    if draw(st.booleans()):
        parts += draw(_under("reduce", 0)) + "\n"
    return parts


@given(_workflows())
@settings(max_examples=60, deadline=None)
def test_a_second_run_changes_nothing_and_the_meaning_and_the_comments_stay(text: str) -> None:
    once = migrated(text)
    assert migrated(once) == once
    assert meaning(parse(once, "w.yml")) == meaning(parse(text, "w.yml"))
    assert once.count("# ") == text.count("# ")
    quoted = re.compile(r"'(?:[^']|'')*'")
    assert sorted(quoted.findall(once)) == sorted(quoted.findall(text))
