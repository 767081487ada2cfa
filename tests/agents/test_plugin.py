"""Another package adds a kind of agents: the example is built, installed, and runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support import Project

PLUGIN = Path(__file__).parents[2] / "examples" / "agent-plugin"
FLOW = """
agents: {default: shouter, shouter: {kind: echo}}
map:
  input: printf 'a\\n'
  agent_template:
    - {claude: "Do ${item}", id: it}
    - shell: echo ${it} > said.txt
"""


def test_a_package_that_is_installed_adds_a_kind_of_agents(project: Project, tmp_path: Path) -> None:
    target = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*pip, "--target", str(target), str(PLUGIN)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    paths = os.pathsep.join([str(target), *filter(None, [os.environ.get("PYTHONPATH")])])
    ran = project.prodigy("run", project.workflow(FLOW), "--yes", "--json", env={"PYTHONPATH": paths})
    assert ran.code == 0, ran.err
    files = project.files("main")
    assert (files["asked.txt"], files["said.txt"]) == ("Do a", "wrote 4 bytes")
    assert ran.json["spend"]["of_unknown_cost"] == 1


def test_without_the_package_the_kind_is_refused_with_its_place(project: Project) -> None:
    done = project.prodigy("validate", project.workflow(FLOW))
    assert done.code == 2
    assert "flow.yml:2:44" in done.err
    assert "`kind` must be one of" in done.err
