"""Values put into the text of a workflow, and prompts taken out of it."""

from __future__ import annotations

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from compose_support import AllKnown
from prodigy.workflow.load import parse
from prodigy.workflow.slash_commands import split, with_commands
from prodigy.workflow.template_edits import with_default, with_value
from prodigy.workflow.templates import About, with_about

STEPS = "steps: [/x]\n"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
    max_leaves=5,
)


def value_of(text: str, name: str = "a") -> str:
    return dict(parse(text, "x", AllKnown()).workflow.parameters)[name]


@pytest.mark.parametrize(
    "declared",
    [
        "a:",
        "a: 3",
        "a: {default: old}",
        "a: {type: any}",
        "a:\n    type: any   # why",
        "a:\n    default: old   # why\n    type: any",
        "a:\n    default: |\n      old\n      text\n    type: any",
        "a:\n    description: |\n      what it is",
    ],
)
@pytest.mark.parametrize("new", ["plain", 'it\'s: "both" #1', "two\nlines", "true", "1.5", "", "a\\b", "naïve", " x "])
def test_a_default_is_what_was_given_in_every_form_of_declaration(declared: str, new: str) -> None:
    text = f"parameters:\n  {declared}\n  b: 1   # kept\n{STEPS}"
    changed = with_default(text, "a", new)
    assert json.loads(value_of(changed)) == new
    assert value_of(changed, "b") == "1"
    for comment in ("# kept", *(["# why"] if "# why" in declared else [])):
        assert comment in changed


@pytest.mark.parametrize(
    "declared", ["[a, b]", "[{name: a, type: any}, b]", "{required: [{name: a}], optional: [b]}", "{required: [a, b]}"]
)
def test_a_default_in_lists_of_parameters(declared: str) -> None:
    changed = with_default(f"parameters: {declared}\ndefaults: {{b: 1}}\n{STEPS}", "a", "x")
    assert value_of(changed) == '"x"'


@given(JSON)
def test_any_value_comes_back_as_it_was(value: object) -> None:
    assume(value is not None and "\\u0000" not in json.dumps(value))
    text = with_default(f"parameters:\n  a: {{type: any}}\n{STEPS}", "a", value)
    assert json.loads(value_of(text)) == value


def test_a_name_that_is_not_declared_is_an_error() -> None:
    with pytest.raises(KeyError):
        with_default(f"parameters: {{a: 1}}\n{STEPS}", "b", 1)


def test_a_comment_behind_a_value_stays_in_its_column() -> None:
    text = "map:\n  max_parallel: 4        # why\n"
    assert with_value(text, ("map", "max_parallel"), 16) == "map:\n  max_parallel: 16       # why\n"
    assert with_value(text, ("map", "max"), 16) is None


def test_facts_begin_with_the_first_paragraph_that_has_a_placeholder() -> None:
    assert split("Do it.\n\n- well\n\nThe file: ${item}\n\nMore.\n") == (
        "Do it.\n\n- well",
        "The file: ${item}\n\nMore.",
    )
    assert split("Do it.\n") == ("Do it.", "")


def test_prompts_become_commands_and_the_rest_of_the_text_stays() -> None:
    text = (
        "steps:\n  - id: one   # first\n    agent:\n      prompt: |\n        Do.\n\n        It: ${workflow.name}\n"
        "    timeout: 1m\n  - agent:\n      prompt: |\n        Say.\n    id: two\n  - agent: {use: codex, prompt: x}\n"
    )
    changed, commands = with_commands(text, "job", "What it is")
    assert changed == (
        "steps:\n  - id: one   # first\n    claude: |\n      /prodigy-job\n      It: ${workflow.name}\n"
        "    timeout: 1m\n  - claude: |\n      /prodigy-job-two\n    id: two\n  - agent: {use: codex, prompt: x}\n"
    )
    assert [(each.file, each.text.partition("---\n\n")[2]) for each in commands] == [
        (".claude/commands/prodigy-job.md", "Do.\n\n$ARGUMENTS\n"),
        (".claude/commands/prodigy-job-two.md", "Say.\n"),
    ]
    parse(changed, "x")


@pytest.mark.parametrize("text", ["a: 1\n", "# Why.\na: 1\n", "# description: old\n\n- shell: x\n", ""])
def test_what_a_template_says_of_itself_stands_in_its_first_comment(text: str) -> None:
    said = with_about(text, About(description="new", tags=("x", "y")))
    assert said.count("# description:") == 1
    assert "# tags: x, y\n" in said
    rest = [line for line in text.splitlines() if line and "description" not in line]
    assert [line for line in said.splitlines() if line in rest] == rest
