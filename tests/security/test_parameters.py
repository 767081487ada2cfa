"""Values of parameters are data, in the commands of variables too."""

from __future__ import annotations

import pytest

from support import Project

FLOW = """
parameters: {optional: [{name: n, type: string, description: a number, default: "1"}]}
env:
  X: {command: 'COMMAND'}
steps: [{shell: 'printf "%s" "$X" > "$SHARED/said"'}]
"""


@pytest.mark.parametrize("command", ["echo $((${n} + 1))", "a=(x y); echo ${a[${n}]}", "[[ ${n} -eq 3 ]] || echo no"])
def test_arithmetic_in_the_command_of_a_variable_does_not_run_a_value(command: str, project: Project) -> None:
    flow = project.workflow(FLOW.replace("COMMAND", command))
    done = project.prodigy("run", flow, "--no-merge", "--param", f"n=a[$(touch {project.folder}/PWN)0]")
    assert done.code != 0
    assert not (project.folder / "PWN").exists()
    assert "Traceback" not in done.err


def test_a_value_arrives_in_the_command_of_a_variable_as_it_is(project: Project) -> None:
    flow = project.workflow(FLOW.replace("COMMAND", 'printf "<%s>" ${n}'))
    value = "a 'b' $(touch PWN) `x` * ; \"c\""
    assert project.prodigy("run", flow, "--no-merge", "--param", f"n={value}").code == 0
    assert (project.folder / "said").read_text() == f"<{value}>"
