"""Other packages add sources of items and executors: those of the examples are built, installed, and run."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from plugin_support import installed_in_a_venv, made_up, site_packages, with_path
from support import Project

TODOS = """
parameters: {optional: [{name: word, type: string, description: what to look for, default: TODO}]}
map:
  input: {source: todos, with: {files: "src/*.py", marker: "${word}"}}
  agent_template:
    - shell: echo ${item.text} > done-${item.line}.txt
"""
ODD = """
map:
  input: {source: odd}
  agent_template: [{shell: "echo ${item}"}]
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed_in_a_venv(tmp_path_factory.mktemp("plugins"), "source-plugin", "executor-plugin")


def test_items_come_from_a_package(project: Project, python: Path) -> None:
    project.write("src/a.py", 'x = 1  # TODO: two\n\n# FIXME: not this\n# TODO: say "hi" $(touch oops)\n')
    project.commit()
    ran = project.prodigy("run", project.workflow(TODOS), "--yes", env=with_path(site_packages(python)))
    assert ran.code == 0, ran.err
    files = project.files("main")
    assert (files["done-1.txt"], files["done-4.txt"]) == ("two", 'say "hi" $(touch oops)')
    assert "oops" not in files


def test_a_resume_does_not_ask_the_source_again(project: Project, tmp_path: Path) -> None:
    source = """
import os
class Odd:
    def items(self, options):
        open(os.environ["TALLY"], "a").write("asked\\n")
        print("this goes to the log")
        yield from ["a", "b"]
"""
    env = made_up(tmp_path, "prodigy.item_sources", source)
    flow = project.workflow(f"{ODD}reduce: [{{shell: 'test -e \"$SHARED/go\"'}}]\n")
    failed = project.prodigy("run", flow, "--json", env=env)
    assert (failed.code, failed.json["items"]["successful"]) == (1, 2)
    (project.folder / "go").touch()
    again = project.prodigy("resume", "--json", env=env)
    assert (again.code, again.json["items"]["successful"]) == (0, 2), again.err
    assert project.tally() == {"asked": 1}


def test_options_that_a_source_does_not_take_are_told_with_their_place(project: Project, python: Path) -> None:
    source = "    source: todos\n    with:\n      marker: ''\n      deep: 1\n"
    flow = f"map:\n  input:\n{source}  agent_template: [{{shell: ls}}]\n"
    done = project.prodigy("validate", project.workflow(flow), env=with_path(site_packages(python)))
    assert done.code == 2
    assert "flow.yml:5:15: `source: todos`: '' should be non-empty" in done.err
    assert "flow.yml:6:7: `source: todos`: unknown option `deep`" in done.err


def test_a_source_that_is_not_installed_is_told_with_its_place(project: Project, python: Path) -> None:
    flow = project.workflow(ODD.replace("odd", "todo"))
    done = project.prodigy("run", flow, env=with_path(site_packages(python)))
    assert done.code == 2
    assert "flow.yml:3:19: there is no item source `todo`" in done.err
    assert "did you mean `todos`?" in done.err


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import no_such_module", "does not load: ModuleNotFoundError: No module named 'no_such_module'"),
        ("class Odd:\n    interface = 7", "was made for a newer version of Prodigy: for interface 7"),
        ("raise SystemExit(3)", "does not load: SystemExit: 3"),
        ("class Odd:\n    schema = {'type': 7}", "failed in `schema`"),
    ],
)
def test_a_package_that_is_broken_or_too_new_is_named(project: Project, tmp_path: Path, source: str, said: str) -> None:
    env = made_up(tmp_path, "prodigy.item_sources", source)
    done = project.prodigy("validate", project.workflow(ODD), env=env)
    assert done.code == 2
    assert "flow.yml:3:19: the item source 'odd' of the package odd-package 2.5" in done.err
    assert said in done.err
    assert "Traceback" not in done.err
    looked = project.prodigy("doctor", env=env)
    assert "the item source 'odd' of the package odd-package 2.5" in looked.out or "schema" in said


@pytest.mark.parametrize("body", ["raise KeyError('token')", "return 5", "return [{1, 2}]"])
def test_a_source_that_raises_stops_the_run_with_its_own_words(project: Project, tmp_path: Path, body: str) -> None:
    env = made_up(tmp_path, "prodigy.item_sources", f"class Odd:\n    def items(self, options):\n        {body}\n")
    ran = project.prodigy("run", project.workflow(ODD), "--json", env=env)
    assert ran.code == 1
    assert "the item source 'odd' of the package odd-package 2.5 failed in `items`" in ran.err
    assert "Traceback" not in ran.err
    (log,) = project.home.glob("runs/*/steps/**/stderr")
    assert "Traceback" in log.read_text()  # for whoever wrote the source


def test_steps_run_where_an_executor_of_a_package_says(project: Project, python: Path) -> None:
    flow = project.workflow("steps: [{shell: nice > level.txt}, {shell: 'test -e \"$SHARED/go\"; nice > again.txt'}]\n")
    paths = with_path(site_packages(python))
    ran = project.prodigy("run", flow, "--yes", "--executor", "nice", env={**paths, "NICE_LEVEL": "7"})
    assert ran.code == 1
    (project.folder / "go").touch()
    ran = project.prodigy("resume", "--yes", env={**paths, "NICE_LEVEL": "7"})
    assert ran.code == 0, ran.err
    files = project.files("main")
    assert (files["level.txt"], files["again.txt"]) == ("7", "7")  # a resume keeps the executor
    project.assert_nothing_left()


def test_an_executor_that_is_not_there_is_refused_before_anything_starts(project: Project, python: Path) -> None:
    flow = project.workflow("steps: [{shell: ls}]\n")
    done = project.prodigy("run", flow, "--executor", "nixe", env=with_path(site_packages(python)))
    assert done.code == 2
    assert "there is no executor 'nixe'" in done.err
    assert "Did you mean nice?" in done.err
    assert not (project.home / "runs").exists()


@pytest.mark.parametrize(
    "method",
    [
        "def open(self, site): raise ValueError('no cluster')",
        "def open(self, site): return Broken(site.local())",
    ],
)
def test_an_executor_that_raises_leaves_the_run_resumable(project: Project, tmp_path: Path, method: str) -> None:
    source = f"""
from prodigy.executors.wrapping import WrappedExecutor
def failing(spec, workspace): raise ValueError("no cluster")
def Broken(inner): return WrappedExecutor(inner, failing)
class Odd:
    {method}
"""
    env = made_up(tmp_path, "prodigy.executors", source)
    ran = project.prodigy("run", project.workflow("steps: [{shell: ls}]\n"), "--executor", "odd", env=env)
    assert ran.code == 5
    assert "the executor 'odd' of the package odd-package 2.5 failed in" in ran.err
    assert "no cluster" in ran.err
    assert "bug in Prodigy" not in ran.err
    assert project.prodigy("resume", "--executor", "local", env=env).code == 0


def test_doctor_lists_what_other_packages_add(project: Project, python: Path) -> None:
    argv = [str(python), "-m", "prodigy.cli.main", "doctor"]
    done = subprocess.run(argv, env=project.environment(), cwd=project.repo, capture_output=True, check=False)
    said = done.stdout.decode()
    assert "item source todos, of prodigy-source-todos 1.0.0" in said
    assert "executor nice, of prodigy-executor-nice 1.0.0" in said
