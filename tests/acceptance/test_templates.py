"""`prodigy template`, and names of templates where workflows take one."""

from __future__ import annotations

from pathlib import Path

import pytest

from pty_support import answered
from support import Project

LINT = """\
# Lints.
name: lint
parameters:
  target: {type: string, description: What to lint}
steps:
  - shell: echo linted ${target} > linted.txt   # a comment that stays
"""


@pytest.fixture
def registered(project: Project) -> Project:
    project.write("drafts/lint.yml", LINT)
    done = project.prodigy(
        "template", "register", "drafts/lint.yml", "-n", "linter", "-d", "Lint a directory", "-t", "lint, Python",
        "-a", "Ada", "--version", "2.1",
    )  # fmt: skip
    assert done.code == 0, done.err
    return project


def names(project: Project, *words: str) -> list[str]:
    return [each["name"] for each in project.prodigy("template", *words, "--json").json]


def test_what_is_registered_is_listed_shown_found_and_deleted(registered: Project) -> None:
    shown = registered.prodigy("template", "show", "linter", "--json").json
    assert shown["path"] == str(registered.repo / "templates/linter.yml")
    assert {key: shown[key] for key in ("place", "description", "tags", "version", "author")} == {
        "place": "repository", "description": "Lint a directory", "tags": ["lint", "Python"], "version": "2.1",
        "author": "Ada",
    }  # fmt: skip
    assert shown["parameters"] == [
        {"name": "target", "type": "string", "description": "What to lint", "required": True, "default": None}
    ]
    assert shown["text"].startswith("# Lints.\n#\n# description: Lint a directory\n")
    assert shown["text"].endswith(LINT.partition("\n")[2])
    assert "linter" in names(registered, "list")
    assert names(registered, "ls", "-t", "PYTHON") == ["linter"]
    assert names(registered, "search", "directory") == ["linter"]
    assert names(registered, "search", "python", "--by-tag") == ["linter"]
    assert names(registered, "search", "direct", "-t") == []
    assert "must be given" in registered.prodigy("template", "list", "-l").out
    refused = registered.prodigy("template", "delete", "linter")
    assert (refused.code, "--force" in refused.err) == (2, True)
    assert registered.prodigy("template", "delete", "linter", "-f").code == 0
    assert not (registered.repo / "templates/linter.yml").exists()


def test_deleting_asks_on_a_terminal(registered: Project) -> None:
    words = ["template", "delete", "linter"]
    code, shown, _ = answered(words, [("[y/N]", "n\n")], registered.repo, registered.environment())
    assert (code, (registered.repo / "templates/linter.yml").exists()) == (130, True), shown
    code, shown, _ = answered(words, [("[y/N]", "y\n")], registered.repo, registered.environment())
    assert (code, (registered.repo / "templates/linter.yml").exists()) == (0, False), shown


def test_a_name_that_is_taken_is_replaced_only_by_force(registered: Project) -> None:
    again = ["template", "register", "drafts/lint.yml", "-n", "linter"]
    done = registered.prodigy(*again)
    assert done.code == 2
    assert "templates/linter.yml is there already" in done.err
    assert registered.prodigy(*again, "--force").code == 0


def test_what_is_registered_again_keeps_what_was_said_of_it(registered: Project) -> None:
    done = registered.prodigy("template", "register", "templates/linter.yml", "-n", "other", "-d", "Another")
    assert done.code == 0, done.err
    shown = registered.prodigy("template", "show", "other", "--json").json
    assert (shown["description"], shown["author"], shown["version"]) == ("Another", "Ada", "2.1")
    assert shown["text"].count("# description:") == 1


def test_at_home_a_template_is_there_for_all_repositories(registered: Project) -> None:
    done = registered.prodigy("template", "register", "drafts/lint.yml", "--home", "-d", "Everywhere")
    assert done.code == 0, done.err
    outside = registered.folder / "elsewhere"
    outside.mkdir()
    listed = registered.prodigy("template", "list", "--json", where=outside).json
    assert {each["name"]: each["place"] for each in listed}["lint"] == "home"
    alone = registered.prodigy("template", "register", registered.repo / "drafts/lint.yml", "-n", "far", where=outside)
    assert str(registered.home / "templates/far.yml") in alone.out


@pytest.mark.parametrize("name", ["../up", "-x", "a/b", "", "a\nb"])
def test_a_name_that_is_no_name_is_refused(registered: Project, name: str) -> None:
    done = registered.prodigy("template", "register", "drafts/lint.yml", f"--name={name}")
    assert done.code == 2
    assert "can't be the name of a template" in done.err


@pytest.mark.parametrize("words", [["show"], ["delete", "-f"], ["new"]])
def test_a_wrong_name_is_told_the_nearest(registered: Project, words: list[str]) -> None:
    done = registered.prodigy("template", *words, "lintr")
    assert done.code == 2
    assert "Did you mean linter?" in done.err


def test_a_starter_is_not_deleted(project: Project) -> None:
    done = project.prodigy("template", "delete", "shell-only", "-f")
    assert done.code == 2
    assert project.prodigy("template", "show", "shell-only").code == 0


# From a template to a workflow --------------------------------------------------------------------------------


def test_new_prints_the_workflow_with_its_values_and_all_comments(registered: Project) -> None:
    done = registered.prodigy("template", "new", "linter", "--param", "target=my src")
    assert done.code == 0, done.err
    assert done.out == LINT.replace("{type", "{default: my src, type")


def test_new_writes_a_file_once(registered: Project) -> None:
    words = ["template", "new", "linter", "--param", "target=src", "--output", "flows/lint.yml"]
    assert registered.prodigy(*words).code == 0
    assert registered.prodigy("validate", "--strict", "flows/lint.yml").code == 0
    changed = [*words[:4], "target=lib", *words[5:]]
    assert registered.prodigy(*changed).code == 2
    assert registered.prodigy(*changed, "-f").code == 0
    assert "default: lib" in (registered.repo / "flows/lint.yml").read_text()


def test_new_says_which_values_it_needs(registered: Project) -> None:
    done = registered.prodigy("template", "new", "linter")
    assert (done.code, done.out) == (2, "")
    assert "target: What to lint" in done.err
    assert "`prodigy template new linter --param target=...`" in done.err


def test_validate_needs_no_values(registered: Project) -> None:
    done = registered.prodigy("template", "validate", "linter")
    assert (done.code, done.err) == (0, "")
    registered.write("bad.yml", "parameters: {x: {type: integer}}\nstep: [{shell: 'echo ${x}'}]\n")
    wrong = registered.prodigy("template", "validate", "bad.yml")
    assert wrong.code == 2
    assert "bad.yml:2:1" in wrong.err


def test_init_makes_a_template_that_works(project: Project) -> None:
    assert project.prodigy("template", "init").code == 0
    assert project.prodigy("template", "validate", "example").code == 0
    assert project.prodigy("run", "example", "--no-merge").code == 0
    project.write("templates/example.yml", "- shell: mine\n")
    assert project.prodigy("template", "init").code == 2
    assert (project.repo / "templates/example.yml").read_text() == "- shell: mine\n"


# Names where workflows take one -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["template: {source: linter, with: {target: src}}\n", "extends: linter\ndefaults: {target: src}\n"],
    ids=["template", "extends"],
)
def test_a_workflow_names_a_registered_template(registered: Project, text: str) -> None:
    registered.write("deep/flow.yml", text)
    done = registered.prodigy("run", "flow.yml", "--yes", where=registered.repo / "deep")
    assert done.code == 0, done.err
    assert (registered.repo / "linted.txt").read_text() == "linted src\n"


@pytest.mark.parametrize("text", ["template: {source: shell-only}\n", "extends: shell-only\n"])
def test_a_workflow_names_a_starter(project: Project, text: str) -> None:
    project.write("trailing.txt", "x  \n")
    project.commit()
    done = project.prodigy("run", project.workflow(text), "--yes", "--param", "files=*.txt")
    assert done.code == 0, done.err
    assert (project.repo / "trailing.txt").read_text() == "x\n"


def test_a_workflow_may_have_the_name_of_the_starter_that_it_builds_on(project: Project) -> None:
    project.write("workflows/shell-only.yml", "extends: shell-only\nmap: {max_parallel: 1}\n")
    assert project.prodigy("validate", "--strict", "workflows/shell-only.yml").code == 0
    project.write("workflows/own.yml", "extends: own\n")
    assert "round in a circle" in project.prodigy("validate", "workflows/own.yml").err


def test_run_and_validate_take_a_name(registered: Project) -> None:
    assert registered.prodigy("validate", "linter", "--param", "target=x").code == 0
    done = registered.prodigy("run", "linter", "--yes", "--param", "target=x")
    assert done.code == 0, done.err
    assert registered.prodigy("status", "lint", "--json").json["workflow"] == "lint"  # the workflow's own name


def test_a_file_of_that_name_comes_before_a_template(registered: Project) -> None:
    registered.write("linter", "- shell: echo from the file > linted.txt\n")
    assert registered.prodigy("run", "linter", "--yes").code == 0
    assert (registered.repo / "linted.txt").read_text() == "from the file\n"


def test_the_repository_comes_before_home_and_home_before_the_starters(project: Project) -> None:
    def said() -> str:
        return str(project.prodigy("template", "show", "shell-only", "--json").json["place"])

    assert said() == "starter"
    project.write("shell-only.yml", "steps: [{shell: 'true'}]\n")
    assert project.prodigy("template", "register", "shell-only.yml", "--home").code == 0
    assert said() == "home"
    assert project.prodigy("template", "register", "shell-only.yml").code == 0
    assert said() == "repository"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["run", "shell-onl"], ""),
        (["validate", "shell-onl"], ""),
        (["validate", "flow.yml"], "template: shell-onl\n"),
        (["validate", "flow.yml"], "extends: shell-onl\n"),
    ],
)
def test_a_misspelt_name_of_a_starter_is_told_the_right_one(project: Project, words: list[str], text: str) -> None:
    project.write("flow.yml", text or "- shell: x\n")
    done = project.prodigy(*words)
    assert done.code == 2
    assert "id you mean shell-only?" in done.err
    assert str(Path(__file__).parents[2] / "src") not in done.err


def test_a_file_that_is_no_workflow_is_named_and_hides_no_other(registered: Project) -> None:
    registered.write("templates/broken.yml", "a: [\n")
    done = registered.prodigy("template", "list", "--json")
    assert "linter" in [each["name"] for each in done.json]
    assert "templates/broken.yml" in done.err
