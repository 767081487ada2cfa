"""What the documents show works, and names things that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support import Project, git

ROOT = Path(__file__).parents[2]


def test_the_workflow_of_the_readme_is_valid(project: Project) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    done = project.prodigy("validate", project.workflow(block))
    assert done.code == 0, done.err


@pytest.mark.parametrize("document", ["README.md", "docs/architecture.md", "CONTRIBUTING.md", "docs/guide.md"])
def test_links_and_paths_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text()
    folder = (ROOT / document).parent
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (folder / target).exists(), target
    for path in re.findall(r"`((?:tests|src|docs|benchmarks)/[\w./-]+\.\w+)", text):
        assert (ROOT / path).exists(), path


def test_the_commands_of_the_readme_exist(project: Project) -> None:
    commands = set(
        re.findall(r"^\$ prodigy (\w+(?: (?:list|retry|ls))?)", (ROOT / "README.md").read_text(), re.MULTILINE)
    )
    assert {"run", "resume", "validate", "dlq list", "dlq retry"} <= commands
    for command in commands:
        assert project.prodigy(*command.split(), "--help").code == 0, command


@pytest.mark.parametrize("place", ["a repository", "nowhere", "an empty repository"])
def test_the_demo_runs_wherever_one_stands(project: Project, tmp_path: Path, place: str) -> None:
    inside = place == "a repository"
    if place == "an empty repository":
        git(tmp_path, "init", "-q")
    if inside:
        for number in range(6):
            project.write(f"src/file {number}.txt", "some words\n" * number)
        project.commit("sources")
    done = project.prodigy("demo", where=project.repo if inside else tmp_path)
    assert done.code == 0, done.out + done.err
    assert "simulated: the service is not reachable" in done.out
    assert re.search(r"items: \d+ \(\d+ successful\)", done.out), "after the retry everything succeeded"
    if inside:
        assert git(project.repo, "status", "--porcelain") == ""
        assert git(project.repo, "branch", "--list", "prodigy/*") == ""


def test_make_test_and_the_readme_agree() -> None:
    """The two commands of the first screen are targets of the Makefile."""
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = set(re.findall(r"^\$ make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert {"demo", "test"} <= shown <= targets
