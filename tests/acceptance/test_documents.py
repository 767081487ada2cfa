"""What the documents show works, and names things that exist. `docs_support` says how a page is read."""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import click
import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

import docs_support as docs
import forked
from agent_support import stand_in_path
from docs_support import DOCS, ROOT, Block, Page
from prodigy.cli import reference
from prodigy.cli.group import command_group
from prodigy.cli.python_reference import python_page
from prodigy.cli.validate import validate_command
from prodigy.errors import ProdigyError
from prodigy.state import dead_letter
from prodigy.workflow.reference import workflow_page
from support import Project, git

PAGES = docs.pages()
BLOCKS = [block for page in PAGES for block in page.blocks]
HOSTS = re.compile(r"https?://([^/\s)>]+)")
# Places that a reader may be sent to; no page may need the network to be understood.
KNOWN_HOSTS = {
    "127.0.0.1",
    "127.0.0.1:7070",
    "www.rfc-editor.org",
    "docs.claude.com",
    "localhost:8090",
    "localhost:4318",
}


def named(blocks: list[Block]) -> Sequence[object]:
    return [pytest.param(block, id=str(block)) for block in blocks]


def validated(project: Project, text: str) -> tuple[int, str]:
    """(exit code, what it said) of `prodigy validate`, called in this process because there are many blocks."""
    done = CliRunner().invoke(validate_command, [str(project.workflow(text))])
    if isinstance(done.exception, ProdigyError):
        return done.exception.exit_code, str(done.exception)
    assert isinstance(done.exception, SystemExit | None), done.output
    return done.exit_code, done.output


# Workflows -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", named([block for block in BLOCKS if block.language == "yaml"]))
def test_every_workflow_shown_is_what_the_page_says_it_is(project: Project, block: Block) -> None:
    code, said = validated(project, docs.workflow_text(block))
    refused = [words.removeprefix("refused ") for words in block.checks if words.startswith("refused ")]
    warned = [words.removeprefix("warns ") for words in block.checks if words.startswith("warns ")]
    assert code == (2 if refused else 0), said
    for words in refused + warned:
        assert words in said
    assert refused or warned or "arning" not in said, said


def test_every_check_is_one_that_is_made() -> None:
    for block in BLOCKS:
        for words in block.checks:
            assert words.split()[0] in ("fragment", "warns", "refused"), f"{block}: {words}"
            assert block.language == "yaml", block


# Consoles --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page)) for page in PAGES if page.runs])
def test_every_command_of_a_page_does_and_prints_what_is_shown(project: Project, page: Page) -> None:
    environment = project.environment({"HOME": str(project.folder), "TERM": "dumb"})
    # The stand-in is what `claude` is; `prodigy` and `python3` are those that the tests run with.
    programs = (stand_in_path(project.folder), forked.program(), Path(sys.executable).parent, os.environ["PATH"])
    environment["PATH"] = ":".join(map(str, programs))
    git(project.repo, "config", "user.name", "Ada")
    git(project.repo, "config", "user.email", "ada@example.org")
    shell = docs.Shell(project.repo, environment)
    for block in page.blocks:
        if block.title:
            path = shell.directory / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        elif block.language == "console" and block.skipped is None:
            _play(shell, block)


def _play(shell: docs.Shell, block: Block) -> None:
    for command in docs.commands(block):
        code, printed = shell.run(docs.with_run_id(command.text, Path(shell.env["PRODIGY_HOME"])))
        assert code == command.code, f"{block}: {command.text}\n{printed}"
        if command.shown:
            assert docs.matches(command.shown, printed), f"{block}: {command.text}\n{printed}"


def test_getting_started_is_run_whole_but_for_the_installation() -> None:
    page = next(page for page in PAGES if page.path.name == "getting-started.md")
    assert page.runs
    consoles = [block for block in page.blocks if block.language == "console"]
    skipped = [block for block in consoles if block.skipped]
    assert len(consoles) - len(skipped) >= 6
    assert all("install" in block.text or "make setup" in block.text for block in skipped)


def test_what_is_not_run_says_why() -> None:
    for block in BLOCKS:
        assert block.skipped != "", block


def _shown_calls() -> Sequence[object]:
    calls = []
    for page in PAGES:
        if page.path.name == "commands.md":
            continue  # written from the commands
        consoles = [c.text for block in page.blocks if block.language == "console" for c in docs.commands(block)]
        prose = re.sub(r"```.*?```", "", page.path.read_text(), flags=re.DOTALL)
        for text in [*consoles, *re.findall(r"`(prodigy [^`]+)`", prose)]:
            calls += [pytest.param(words, id=f"{page}: {' '.join(words)}") for words in docs.prodigy_calls(text)]
    return calls


@pytest.mark.parametrize("words", _shown_calls())
def test_every_command_and_option_shown_exists(words: list[str]) -> None:
    command: click.Command = command_group(reference.COMMANDS, reference.ALIASES)
    words = [word for word in words if word not in ("...", "COMMAND")]
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, words[0]
        command, words = found, words[1:]
    known = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    used = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert used <= known | {"--help", "--version"}, f"{command.name} has no {used - known}"


# Pages -----------------------------------------------------------------------------------------------------


def _anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as both mkdocs and code hosts make them."""
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


@pytest.mark.parametrize("path", [*(page.path for page in PAGES), ROOT / "CONTRIBUTING.md"], ids=lambda path: path.name)
def test_links_and_paths_lead_somewhere(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", text):
        there = (path.parent / unquote(target)) if target else path
        assert there.exists(), target
        assert not anchor or anchor in _anchors(there), f"{target}#{anchor}"
        assert DOCS not in path.parents or DOCS in there.resolve().parents, f"{target} is not part of the site"
    for shown in re.findall(r"`((?:tests|src|docs|benchmarks)/[\w./-]+\.\w+)", text):
        if path.name not in ("getting-started.md", "workflows.md", "migrating.md"):  # whose examples have a src/
            assert (ROOT / shown).exists(), shown


def test_the_site_has_every_page_once() -> None:
    def leaves(entry: Any) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        return [leaf for child in (entry.values() if isinstance(entry, dict) else entry) for leaf in leaves(child)]

    nav = leaves(YAML(typ="safe").load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert sorted(nav) == sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page)) for page in PAGES])
def test_a_page_holds_for_every_machine(page: Page) -> None:
    text = page.path.read_text()
    assert not re.search(r"(?<![\w~.])/(?:work|home/\w+|Users/\w+|root)/", text)
    assert set(HOSTS.findall(text)) <= KNOWN_HOSTS
    assert not re.search(r"(?<!\w)#\d+\b", text), "numbers of issues mean nothing to a reader"


# The reference ---------------------------------------------------------------------------------------------


def test_the_generated_reference_is_up_to_date() -> None:
    assert (DOCS / "reference/commands.md").read_text() == reference.commands_page(), "run `make docs`"
    assert (DOCS / "reference/python.md").read_text() == python_page(), "run `make docs`"
    assert (DOCS / "reference/workflow.md").read_text() == workflow_page(), "run `make docs`"
    for path in DOCS.rglob("*.md"):
        assert path.read_text() == reference.with_generated_parts(path.read_text()), f"{path}: run `make docs`"


def test_the_kinds_of_errors_are_those_of_the_code() -> None:
    section = (DOCS / "failures.md").read_text().split("## Kinds of errors")[1]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    shown = {kind for row in rows for kind in re.findall(r"`(\w+)`", row)}
    sources = "".join(path.read_text() for path in (ROOT / "src/prodigy").rglob("*.py"))
    assert {kind for kind in shown if f'"{kind}"' not in sources} == set()
    assert {kind for _, kind in dead_letter._TEXT_KINDS} <= shown


# README ----------------------------------------------------------------------------------------------------


def test_the_readme_is_one_screen() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 80


def test_make_test_and_the_readme_agree() -> None:
    """The commands of the first screen are targets of the Makefile."""
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = set(re.findall(r"^\$ make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert {"demo", "test"} <= shown <= targets


@pytest.mark.chaos  # that of an empty repository is in test_demo
def test_the_demo_runs_in_a_repository_and_touches_nothing(project: Project) -> None:
    where = project.repo
    before = git(where, "for-each-ref"), sorted(where.iterdir())
    done = project.prodigy("demo", where=where)
    assert done.code == 0, done.out + done.err
    assert (git(where, "for-each-ref"), sorted(where.iterdir())) == before
    assert git(where, "status", "--porcelain") == ""


def test_every_test_that_the_page_about_reliability_names_exists() -> None:
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", (DOCS / "reliability.md").read_text())
    assert len(named) > 30
    for file, name in named:
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(), f"{file}::{name}"


# Troubleshooting -------------------------------------------------------------------------------------------


def test_each_message_under_which_help_is_found_is_one_that_the_sources_have() -> None:
    texts = []
    for path in (ROOT / "src/prodigy").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):  # what is filled in is any text
                texts.append("".join(str(p.value) if isinstance(p, ast.Constant) else "\0" for p in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    known = "\n".join(texts)
    lacking = []
    for heading in re.findall(r"^### (.+)$", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE):
        fixed = re.split(r"`?\$?\{?\b[A-Z]{1,}\b\}?`?|'prodigy'|(?<=git) (?=is too)", heading.replace("HEAD", "\1"))
        if not all(part.replace("\1", "HEAD").strip() in known for part in fixed):
            lacking.append(heading)
    assert lacking == []
