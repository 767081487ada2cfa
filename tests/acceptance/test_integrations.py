"""Prodigy beside what people have: jobs of limited time in CI, commit hooks, editors."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

import forked
from prodigy.workflow.recognise import is_workflow
from support import Project, git

ROOT = Path(__file__).parents[2]
ACTIONS = ROOT / "examples" / "github-actions" / "prodigy.yml"
BIN = Path(sys.executable).parent


def loaded(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text())


def tool(name: str, *args: str | Path, **how: Any) -> subprocess.CompletedProcess[bytes]:
    """A program that is installed beside the tests."""
    return subprocess.run([str(BIN / name), *map(str, args)], capture_output=True, check=False, **how)


# Jobs of limited time ----------------------------------------------------------------------------------------

FLOW = """
name: modernise
map:
  input: printf 'a\\nb\\nc\\n'
  max_parallel: 1
  agent_template:
    - shell: echo "first ${item}" >> "$TALLY"; echo 1 > ${item}.txt
    - shell: |
        echo "second ${item}" >> "$TALLY"
        if [ ${item} = b ] && [ ! -e "$SHARED/go" ]; then touch "$SHARED/waits"; sleep 600; fi
        echo 2 >> ${item}.txt
"""
# `timeout` without a clock: the time is over as soon as the step is there that waits.
TIMEOUT = """#!/bin/bash
[ "$1 $2" = "--signal=TERM --preserve-status" ] || exit 99
shift 3
"$@" & child=$!
while kill -0 $child 2>/dev/null; do
  if [ -e "$SHARED/waits" ] && [ ! -e "$SHARED/go" ]; then kill -TERM $child; break; fi
  sleep 0.05
done
wait $child
"""


@dataclass
class Job:
    """A machine of CI: a home and a checkout of its own, gone when the job is over. store: what jobs keep for one
    another. It does what the workflow's expressions say, as far as this one uses them."""

    project: Project
    folder: Path
    store: Path
    part: int
    parts: int

    def run(self) -> dict[str, str]:
        """Every step, in order; the outputs of the one called `work`."""
        self.folder.mkdir()
        job = loaded(ACTIONS)["jobs"]["work"]
        outputs: dict[str, str] = {}
        failed = False
        for step in job["steps"]:
            if failed and step.get("if") != "always()":
                continue
            if step.get("if", "").startswith("steps.work.outputs.branch") and not outputs.get("branch"):
                continue
            if "uses" in step:
                self._use(step["uses"].partition("@")[0])
            else:
                failed = self._call(step, {**job["env"], **step.get("env", {})}, outputs) != 0
        return {**outputs, "failed": str(failed)}

    @property
    def checkout(self) -> Path:
        return self.folder / "checkout"

    def _use(self, action: str) -> None:
        carried = self.folder / "carried"
        match action:
            case "actions/checkout":
                git(self.folder, "clone", "-q", str(self.project.folder / "origin.git"), str(self.checkout))
            case "actions/setup-python":
                pass
            case "actions/cache/restore":
                if self.store.exists():
                    shutil.copytree(self.store, carried)
            case "actions/cache/save":
                shutil.copytree(carried, self.store, dirs_exist_ok=True)
            case _:
                raise AssertionError(f"no stand-in for {action}")

    def _call(self, step: Mapping[str, Any], env: Mapping[str, str], outputs: dict[str, str]) -> int:
        values = {
            "inputs.workflow": "flow.yml",
            "secrets.ANTHROPIC_API_KEY": "secret",
            "strategy.job-index == strategy.job-total - 1": str(self.part == self.parts).lower(),
            "steps.work.outputs.branch": outputs.get("branch", ""),
            "github.run_id": "77",
        }
        known = {name: re.sub(r"\$\{\{ (.+?) \}\}", lambda m: values[m[1]], str(text)) for name, text in env.items()}
        told = self.folder / "output"
        environment = {
            **{name: value for name, value in self.project.environment().items() if not name.startswith("GIT_")},
            **known, "HOME": str(self.folder), "PRODIGY_HOME": str(self.folder / ".prodigy"),
            "GITHUB_OUTPUT": str(told), "GITHUB_STEP_SUMMARY": str(self.folder / "summary"),
            "PATH": f"{self.project.folder / 'stand-ins'}:{forked.program()}:{BIN}:{os.environ['PATH']}",
        }  # fmt: skip
        script = self.folder / "step.sh"
        script.write_text(step["run"])
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", script], cwd=self.checkout, env=environment,
            capture_output=True, check=False, timeout=100,
        )  # fmt: skip
        print(done.stdout.decode(), done.stderr.decode())  # noqa: T201 - shown when the test fails
        if told.exists():
            outputs.update(
                {name: value for name, _, value in (line.partition("=") for line in told.read_text().splitlines())}
            )
            told.unlink()
        return done.returncode


@pytest.fixture
def ci(project: Project) -> Project:
    project.write("flow.yml", FLOW)
    project.commit("a workflow")
    git(project.folder, "clone", "-q", "--bare", str(project.repo), str(project.folder / "origin.git"))
    stand_ins = project.folder / "stand-ins"
    stand_ins.mkdir()
    for name, text in (("timeout", TIMEOUT), ("pip", "#!/bin/sh\n")):
        (stand_ins / name).write_text(text)
        (stand_ins / name).chmod(0o755)
    return project


def test_jobs_of_limited_time_do_one_run_together(ci: Project) -> None:
    parts = [Job(ci, ci.folder / f"job{part}", ci.folder / "store", part, 3) for part in (1, 2, 3)]
    assert parts[0].run() == {"failed": "False"}
    assert ci.tally() == {"first a": 1, "second a": 1, "first b": 1, "second b": 1}
    shutil.rmtree(parts[0].folder)  # the machine is gone
    (ci.folder / "go").touch()
    second = parts[1].run()
    assert second["failed"] == "False"
    assert second["branch"].startswith("prodigy/")
    assert parts[2].run() == {"failed": "False"}  # nothing is left to do
    # Nothing that was finished ran again; the step that was ended did.
    assert ci.tally() == {"first a": 1, "second a": 1, "first b": 1, "second b": 2, "first c": 1, "second c": 1}
    origin = ci.folder / "origin.git"
    assert git(origin, "show", "agents/77:b.txt") == "1\n2"


@pytest.mark.chaos  # twelve seconds, most of which are grace
def test_the_last_job_fails_when_something_is_left(ci: Project) -> None:
    assert Job(ci, ci.folder / "job1", ci.folder / "store", 1, 1).run() == {"failed": "True"}
    (ci.folder / "go").touch()
    assert Job(ci, ci.folder / "again", ci.folder / "store", 1, 1).run()["branch"]  # the failed job, run again


def test_the_example_for_ci_has_the_published_shape() -> None:
    done = tool("check-jsonschema", "--builtin-schema", "vendor.github-workflows", ACTIONS)
    assert done.returncode == 0, done.stdout.decode()


# Commit hooks ------------------------------------------------------------------------------------------------


def test_the_hook_is_one_that_pre_commit_takes() -> None:
    assert tool("pre-commit", "validate-manifest", ROOT / ".pre-commit-hooks.yaml").returncode == 0


def test_the_hook_stops_a_commit_with_a_broken_workflow(project: Project) -> None:
    (hook,) = loaded(ROOT / ".pre-commit-hooks.yaml")
    # The hook's own words, but Prodigy is the one that is here, in place of one that pre-commit would install.
    local = {"repos": [{"repo": "local", "hooks": [{**hook, "language": "system"}]}]}
    project.write(".pre-commit-config.yaml", json.dumps(local))
    project.write("flow.yml", "steps:\n  - shel: ls\n")
    project.write("other.yml", "steps:\n  - script: ls\nservices: {db: {image: postgres}}\n")
    git(project.repo, "add", "-A")
    env = project.environment({"PATH": f"{BIN}:{os.environ['PATH']}", "PRE_COMMIT_HOME": str(project.folder / "pc")})

    def committed() -> tuple[int, str]:
        done = tool("pre-commit", "run", "--color=never", cwd=project.repo, env=env)
        return done.returncode, done.stdout.decode()

    code, said = committed()
    assert (code, "check Prodigy workflows" in said, "flow.yml:2:5: unknown key `shel`" in said) == (1, True, True)
    assert "other.yml" not in said
    project.write("flow.yml", "steps:\n  - shell: ls\n")
    git(project.repo, "add", "-A")
    assert committed()[0] == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("steps: [{shell: make}]", True),
        ("- claude: /fix\n- shell: make\n", True),
        ("map: {input: ls, agent_template: [{shell: ls}]}", True),
        ("mode: mapreduce\nmpa: {}\n", True),
        ("steps:\n  - cluade: /fix\n", True),
        ("steps:\n - claude: /fix\n  broken", True),
        ("# yaml-language-server: $schema=prodigy.schema.json\nname: x\n", True),
        ("name: ci\non: push\njobs: {a: {steps: [{run: ls, shell: bash}]}}\n", False),
        ("runs: {using: composite, steps: [{run: ls, shell: bash}]}\n", False),
        ("- hosts: all\n  tasks: [{name: a, command: ls}]\n", False),
        ("steps:\n  - label: test\n    command: make\n", False),
        ("services: {web: {image: nginx}}\n", False),
        ("just text", False),
        ("", False),
        ("a: [\n", False),
    ],
)
def test_workflows_are_told_from_other_yaml(text: str, expected: bool) -> None:
    assert is_workflow(text) is expected


def test_validate_leaves_out_what_is_no_workflow_only_when_it_is_told_to(project: Project) -> None:
    other = project.workflow("services: {}\n", "other.yml")
    good = project.workflow("steps: [{shell: ls}]\n")
    done = project.prodigy("validate", "--only-workflows", other, good)
    assert (done.code, done.out.count("is valid"), "other.yml" in done.out + done.err) == (0, 1, False)
    assert project.prodigy("validate", other, good).code == 2
    assert project.prodigy("validate", "--only-workflows", other, "--json").json == []


# Editors -----------------------------------------------------------------------------------------------------


def test_every_workflow_that_comes_with_prodigy_fits_the_schema_for_editors(project: Project) -> None:
    schema = project.prodigy("schema").json
    assert schema["$id"] == "urn:prodigy:schema:workflow"
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    files = [*(ROOT / "examples").rglob("*.y*ml"), *(ROOT / "src/prodigy/starters").rglob("*.y*ml")]
    workflows = [path for path in files if is_workflow(path.read_text())]
    assert workflows
    for path in workflows:
        assert [error.message for error in validator.iter_errors(loaded(path))] == [], path
