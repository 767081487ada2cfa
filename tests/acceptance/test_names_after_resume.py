"""What steps give to those behind them is the same at once and after a resume, which runs none of them again."""

from __future__ import annotations

import pytest

from support import Project

PART = """
steps:
  - {shell: "echo p > part.md; git add -A; git commit -q -m part", outputs: {part_files: {file_pattern: "*.md"}}}
  - {id: answer, shell: echo 42}
"""
STEPS = """
- {id: shell, shell: echo mine}
- shell: echo a > a.md; git add -A; git commit -q -m a; echo loose > loose.txt
- {workflow: part}
- {id: doc, capture_format: json, shell: 'echo "{\\"n\\": [1, 2]}"'}
- {shell: "echo b > b.md; git add -A; git commit -q -m b", outputs: {docs: {file_pattern: "*.md"}}}
- foreach: [x, y]
  id: loop
  do: [{shell: 'echo ${item} > ${item}.md; git add -A; git commit -q -m ${item}'}]
- shell: |
    echo "added=${step.files_added} commits=${step.commit_count} lines=${step.insertions} \
    all=${workflow.files_added:*.md} docs=${docs} \
    part=${part_files} answer=${answer} doc=${doc.n[1]} mine=${shell.output} last=${last.exit_code} \
    loop=${loop.success}" >> "$TALLY"
    test -e "$SHARED/go"
"""
HEAD = "name: names\nworkflows: {part: {source: part.yml, outputs: [part_files, answer]}}\n"
EXPECTED = (
    "added=x.md y.md commits=2 lines=2 all=a.md b.md part.md x.md y.md docs=b.md part=part.md answer=42 doc=2"
    " mine=mine last=0 loop=true"
)


def _indented(text: str, width: int) -> str:
    return "\n".join(" " * width + line for line in text.strip("\n").split("\n"))


@pytest.mark.parametrize("place", ["steps", "reduce", "item"])
def test_names_are_the_same_after_a_resume(place: str, project: Project) -> None:
    (project.folder / "part.yml").write_text(PART)
    map_ = "map:\n  input: echo only\n  agent_template:\n"
    text = {
        "steps": f"{HEAD}steps:\n{_indented(STEPS, 2)}\n",
        "reduce": f"{HEAD}{map_}    - shell: 'true'\nreduce:\n{_indented(STEPS, 2)}\n",
        "item": f"{HEAD}{map_}{_indented(STEPS, 4)}\n",
    }[place]
    first = project.prodigy("run", project.workflow(text), "--yes")
    assert first.code in (1, 3), first.err
    (project.folder / "go").touch()
    again = ("dlq", "retry", "latest", "--from-failed-step") if place == "item" else ("resume", "latest")
    done = project.prodigy(*again)
    assert done.code == 0, done.err
    lines = [" ".join(line.split()) for line in project.tally_file.read_text().splitlines()]
    assert lines == [EXPECTED, EXPECTED]
