"""Variables in single quotes, which the shell leaves as they are, are warned of where no other program reads them."""

from __future__ import annotations

import subprocess

import pytest

from prodigy.workflow.load import parse
from prodigy.workflow.single_quotes import left_alone


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("echo 'a $A'", ["$A"]),
        ("git commit -m 'for ${A} and $B' || true", ["${A}", "$B"]),
        ("cd . && echo \"it's\" 'and $A'", ["$A"]),
        ("# don't\necho 'x $A'", ["$A"]),
        ("echo it\\'s '$A'", ["$A"]),
        ("echo 'no' \"$A\" 'yes $A'; echo 'again $A'", ["$A"]),
        ("echo '$C $AB ${A%x}'", []),
        ("echo \"'$A'\"", []),
    ],
)
def test_what_the_shell_leaves_alone(text: str, written: list[str]) -> None:
    assert [found for _, found in left_alone(text, {"A", "B"})] == written
    assert all(text.startswith(found, offset) for offset, found in left_alone(text, {"A", "B"}))
    printed = subprocess.run(
        ["bash", "-c", text.replace("git commit -m", "echo")], env={"A": "1", "B": "2"}, capture_output=True, check=True
    ).stdout.decode()
    assert all(found in printed for found in written)


@pytest.mark.parametrize(
    "text",
    [
        "bash -c 'echo $A'",
        "awk '{print $A}' f",
        "x | sed 's/$A/b/'",
        "ssh host 'ls $A'",
        "trap 'rm $A' EXIT",
        "find . -exec sh -c 'ls $A' ';'",
        "cat <<'EOF'\ndon't '$A'\nEOF",
    ],
)
def test_of_what_may_be_a_program_nothing_is_said(text: str) -> None:
    assert list(left_alone(text, {"A"})) == []


def test_a_workflow_is_warned_at_its_place_and_not_of_its_parameters() -> None:
    text = "env: {A: x}\nparameters: {p: y}\nsteps:\n- shell: \"echo 'a $A ${p} $ARG $HOME'\"\n"
    found = parse(text, "w.yml").warnings
    assert [(each.line, each.column, each.message.split()[0]) for each in found] == [(4, 19, "$A"), (4, 27, "$ARG")]
    assert "double quotes" in (found[0].hint or "")
