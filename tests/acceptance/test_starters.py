"""Every starter, run whole on a small repository with an agent that follows a script."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from prodigy.workflow.templates import STARTERS
from support import Done, Project, git

ALL = sorted(path.stem for path in STARTERS.glob("*.yml"))
# What a scripted agent begins with: it takes its prompt and tells its cost as Claude Code does, and has the facts of
# the prompt, such as `fact("file")` of `The file: src/a.py`.
_PRELUDE = """\
import atexit, json, pathlib, re, subprocess, sys
prompt = next((word for word in sys.argv if "\\n" in word), None) or sys.stdin.read()
print(json.dumps({"type": "system", "subtype": "init", "session_id": "s"}))
atexit.register(lambda: print(json.dumps({
    "type": "result", "subtype": "success", "is_error": False, "result": "done", "session_id": "s",
    "total_cost_usd": 0.01, "usage": {"input_tokens": 1, "output_tokens": 1}, "num_turns": 1})))
def fact(name):
    return re.search(rf"^The {name}: (.*)$", prompt, re.MULTILINE)[1]
def edit(name, old, new):
    path = pathlib.Path(name)
    path.write_text(path.read_text().replace(old, new))
"""


def agent(project: Project, script: str) -> None:
    """Let an agent called `scripted` do what the script says."""
    program = project.folder / "agent.py"
    program.write_text(_PRELUDE + dedent(script))
    command = json.dumps([sys.executable, str(program)])
    project.home.mkdir(exist_ok=True)
    (project.home / "config.yml").write_text(f"agents: {{scripted: {{kind: claude, command: {command}}}}}\n")


def run(project: Project, starter: str, **values: object) -> Done:
    words = [word for name, value in values.items() for word in ("--param", f"{name}={value}")]
    agents = () if starter == "shell-only" else ("--agent", "scripted")
    return project.prodigy("run", starter, "--yes", "--json", *agents, *words)


def letters(project: Project) -> dict[str, tuple[str, str]]:
    """label of the item -> (kind, message) of every dead letter's newest failure."""
    found = project.prodigy("dlq", "list", "--json").json
    newest = {each["label"]: each["failure_history"][-1] for each in found}
    return {label: (failure["error_type"], failure["error_message"]) for label, failure in newest.items()}


def items(done: Done) -> tuple[int, int]:
    """(successful, failed)"""
    assert done.out, done.err
    return done.json["items"]["successful"], done.json["items"]["failed"]


@pytest.fixture
def python(project: Project) -> Project:
    """A repository with a Python package and its tests."""
    project.write(
        "src/a.py", "import os\nimport sys\n\n\ndef double(number):\n    return number * 2\n\n\nprint(sys.argv)\n"
    )
    project.write(
        "src/b c.py",
        "import os\n\n\ndef half(number):\n    return number / 2\n\n\nHALF = half(1)\nPRINTED = str(HALF)\n",
    )
    project.write(
        "src/hopeless.py",
        "import os\n\n\ndef same(number):\n    return number\n\n\nONE = same(1)\nPRINTED = str(ONE)\n",
    )
    project.commit("a package")
    return project


def test_shell_only_does_each_file_and_leaves_what_fails(project: Project) -> None:
    project.write("notes/a b.txt", "one  \ntwo\t\n")
    project.write("notes/-c.txt", "three   \n")
    project.write("notes/bad.txt", "four  \n")
    project.commit()
    done = run(
        project, "shell-only", files="notes", command='grep -v four "$1" > .new && sed "s/ *$//" .new > "$1"; rm .new'
    )
    assert (done.code, items(done)) == (0, (3, 0))
    failing = run(
        project,
        "shell-only",
        files="notes",
        command='test "$1" != notes/bad.txt; sed -i.old "s/[[:space:]]*$//" "$1"; rm "$1.old"',
    )
    assert (failing.code, items(failing)) == (3, (2, 1))
    assert (project.repo / "notes/a b.txt").read_text() == "one\ntwo\n"
    assert (project.repo / "notes/-c.txt").read_text() == "three\n"


def test_fix_problems_mends_what_the_linter_names_and_keeps_what_stays_wrong(python: Project) -> None:
    agent(python, 'if fact("file") != "src/hopeless.py": edit(fact("file"), "import os\\n", "")')
    done = run(
        python,
        "fix-problems",
        checker="ruff check --isolated --quiet --output-format concise",
        tests="python3 -m compileall -q src",
    )
    assert (done.code, items(done)) == (3, (2, 1)), done.err
    assert "import os" not in (python.repo / "src/a.py").read_text() + (python.repo / "src/b c.py").read_text()
    kind, message = letters(python)["src/hopeless.py"]
    assert kind == "validation_failed"
    assert "F401" in message


def test_fix_problems_only_looks_where_the_configuration_lets_ruff_mend(python: Project) -> None:
    """`fix = true`: looking for the items, also in the checkout with --dry-run, must not do the agents' work."""
    agent(python, "")
    python.write("ruff.toml", "fix = true\n")
    python.commit("settings")
    before = (python.repo / "src/a.py").read_text()
    shown = python.prodigy("run", "fix-problems", "--agent", "scripted", "--dry-run", "--run-input")
    assert shown.code == 0, shown.err
    assert "src/a.py" in shown.out
    assert 'map over command code=0; out=$(bash -c "$checker" 2>&1) || code=$? ..., 3 at a time' in shown.out
    assert (python.repo / "src/a.py").read_text() == before


def test_fix_problems_knows_a_file_however_its_path_is_written(python: Project) -> None:
    """With `./` before, absolute, and with the place in parentheses: each is the same item, and must be gone."""
    python.write(
        "lint.sh",
        """
        for file in src/*.py; do
            if grep -q "import os" "$file"; then
                printf '%s\\n' "./$file:1:8: os" "$PWD/$file:1: os" "$file(1,8): os" "3 errors: see above"
            fi
        done
    """,
    )
    python.commit()
    agent(
        python,
        """
        assert prompt.count(f"{fact('file')}:1") == 2
        edit(fact("file"), "import os\\n", "")
    """,
    )
    done = run(python, "fix-problems", checker="sh lint.sh")
    assert (done.code, items(done)) == (0, (3, 0)), done.err


@pytest.mark.parametrize("checker", ["no-such-linter .", "echo cannot read the settings; exit 2"])
def test_fix_problems_takes_no_check_that_does_not_work_for_a_clean_one(python: Project, checker: str) -> None:
    agent(python, "")
    done = run(python, "fix-problems", checker=checker)
    assert done.code == 1
    assert "the check fails and names no file" in done.json["error"]
    clean = run(python, "fix-problems", checker="echo all is well")
    assert (clean.code, clean.json["items"]["total"]) == (0, 0)


def test_migrate_api_moves_every_caller_then_takes_the_old_one_away(python: Project) -> None:
    python.write("src/a.py", "def old_name(x): return x\ndef new_name(x): return x\n")
    python.write("src/user.py", "from a import old_name\nprint(old_name(1))\n")
    python.write("src/other.py", "import a\nprint(a.old_name(2))\n")
    python.commit()
    agent(
        python,
        """
        if "take the old api itself away" in " ".join(prompt.lower().split()):
            edit("src/a.py", "def old_name(x): return x\\n", "")
        elif fact("file") != "src/a.py":
            edit(fact("file"), "old_name", "new_name")
    """,
    )
    done = run(
        python, "migrate-api", old="old_name", new="new_name", files=":!src/a.py", remove_old="true",
        tests="cd src && python3 user.py && python3 other.py",
    )  # fmt: skip
    assert (done.code, items(done)) == (0, (2, 0)), done.err
    assert "old_name" not in git(python.repo, "grep", "-h", "-e", "_name", "HEAD")


def test_migrate_api_keeps_a_caller_that_still_uses_the_old_one(python: Project) -> None:
    agent(python, 'if "hopeless" not in fact("file"): edit(fact("file"), "import os", "import os.path")')
    done = run(python, "migrate-api", old="import os", new="x", tests="true")
    assert (done.code, items(done)[1]) == (3, 3)
    assert letters(python)["src/a.py"] == (
        "validation_failed",
        "check: exited with code 1: the old API is still used there",
    )


def test_write_tests_takes_new_tests_that_pass_and_refuses_a_changed_source(python: Project) -> None:
    python.write("tests/test_a.py", "import unittest\n")
    python.write("src/c.py", "def third(number):\n    return number / 3\n\n\nONE = third(3)\n\nTWO = 2\nTHREE = 3\n")
    python.commit()
    agent(
        python,
        """
        source = pathlib.Path(fact("source file"))
        if source.stem == "hopeless":
            edit(source, "number", "value")
        wrong = "assertEqual(1, 2)" if source.stem == "c" else "assertEqual(1, 1)"
        name = source.stem.replace(" ", "_")
        method = f"    def test_it(self):\\n        self.{wrong}\\n"
        test = pathlib.Path("tests", f"test_{name}.py")
        test.write_text(f"import unittest\\n\\nclass Case(unittest.TestCase):\\n{method}")
    """,
    )
    done = run(python, "write-tests", tests="python3 -m unittest discover -q -s tests")
    assert (done.code, items(done)) == (3, (1, 2)), done.err
    assert (python.repo / "tests/test_b_c.py").exists()
    assert not (python.repo / "tests/test_c.py").exists()
    found = letters(python)
    assert found["src/hopeless.py"] == ("validation_failed", "check: exited with code 1: the source was changed")
    assert found["src/c.py"][0] == "validation_failed"


def test_document_modules_writes_pages_and_an_index_and_changes_no_code(python: Project) -> None:
    agent(
        python,
        """
        page = pathlib.Path(fact("page to write"))
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(f"# About {fact('module')}\\n\\nIt is small.\\n")
        if "hopeless" in page.name:
            edit(fact("module"), "import os", "import sys")
    """,
    )
    done = run(python, "document-modules")
    assert (done.code, items(done)) == (3, (2, 1)), done.err
    assert (python.repo / "docs/modules/README.md").read_text() == (
        "# Modules\n\n* [About src/a.py](src/a.py.md)\n* [About src/b c.py](src/b c.py.md)\n"
    )
    assert "other files were changed" in letters(python)["src/hopeless.py"][1]
    again = run(python, "document-modules")
    assert again.json["items"]["total"] == 1  # those with a page are left alone


def test_triage_issues_makes_a_report_of_answers_that_fit(project: Project) -> None:
    issues = [
        {"number": 1, "title": "It | crashes", "body": "at once"},
        {"number": 2, "title": "Blue, please", "body": "instead of red"},
        {"number": 3, "title": "Nonsense", "body": "x"},
    ]
    project.write("issues.json", json.dumps(issues))
    project.commit()
    agent(
        project,
        """
        number = json.loads(prompt[prompt.index("{"):prompt.rindex("}") + 1])["number"]
        answer = {"kind": "bug", "severity": {1: 5, 2: 1, 3: 9}[number], "confirmed": number == 1, "files": ["a.py"],
                  "effort": "hours", "summary": f"summary {number}", "next": "mend it"}
        pathlib.Path("answer.json").write_text(json.dumps(answer))
        edit("README.md", "hello", "changed")
    """,
    )
    done = run(project, "triage-issues", issues="cat issues.json")
    assert (done.code, items(done)) == (3, (2, 1)), done.err
    assert (project.repo / "TRIAGE.md").read_text().splitlines()[2:] == [
        "2 of 3 issues; the most severe first.",
        "",
        "| severity | kind | confirmed | effort | issue | summary | next | files |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| 5 | bug | yes | hours | #1 It \\| crashes | summary 1 | mend it | `a.py` |",
        "| 1 | bug | no | hours | #2 Blue, please | summary 2 | mend it | `a.py` |",
    ]
    assert (project.repo / "README.md").read_text() == "hello\n"  # what an agent changes is thrown away
    assert git(project.repo, "status", "--porcelain") == ""


def test_refactor_merges_only_what_passes_the_tests_together(python: Project) -> None:
    agent(
        python,
        """
        edit(fact("file"), "number", "value")
        if "hopeless" in fact("file"):
            edit(fact("file"), "def", "define")
    """,
    )
    done = run(python, "refactor", goal="call it value", tests="python3 -m compileall -q src", containing="number")
    assert (done.code, items(done)) == (3, (2, 1)), done.err
    assert "value" in (python.repo / "src/a.py").read_text()
    assert "number" in (python.repo / "src/hopeless.py").read_text()
    assert letters(python)["src/hopeless.py"][0] == "check_rejected"


def test_implement_specs_adds_what_a_review_finds_missing(project: Project) -> None:
    for name, status in (("one", ""), ("two", ""), ("old", "**Status:** Done\n")):
        project.write(f"specs/{name}.md", f"# {name}\n{status}\nWrite {name}.txt.\n")
    project.commit()
    agent(
        project,
        """
        spec = pathlib.Path(fact("specification"))
        wanted = pathlib.Path(spec.stem + ".txt")
        if "review.json" in prompt:
            found = ["the second line"] if wanted.read_text() == "first\\n" else []
            review = {"completion_percentage": 100 - 50 * len(found), "missing": found}
            pathlib.Path("review.json").write_text(json.dumps(review))
        elif "has found" in prompt:
            if spec.stem == "one":
                wanted.write_text("first\\n" + prompt.splitlines()[-1] + "\\n")
        else:
            wanted.write_text("first\\n")
            edit(spec, "Write", "Status: done\\n\\nWrite")
    """,
    )
    done = run(project, "implement-specs", tests="true")
    assert (done.code, items(done)) == (3, (1, 1)), done.err
    assert (project.repo / "one.txt").read_text() == "first\nthe second line\n"
    assert not (project.repo / "two.txt").exists()
    assert not (project.repo / "review.json").exists()
    assert letters(project)["specs/two.md"][0] == "validation_failed"
    again = run(project, "implement-specs", tests="true")
    assert again.json["items"]["total"] == 1  # what is done is not done again


def test_compare_approaches_keeps_each_on_its_branch_and_merges_the_comparison(project: Project) -> None:
    agent(
        project,
        """
        if "The approach:" in prompt:
            if "tests that say" not in prompt:
                pathlib.Path("done.txt").write_text(fact("approach"))
                subprocess.run(["git", "add", "."], check=True)
                subprocess.run(["git", "commit", "-qm", "an approach"], check=True)
        else:
            pathlib.Path(fact("file to write")).write_text(prompt[prompt.index("The branches:"):])
    """,
    )
    done = run(project, "compare-approaches", task="Say hello", tests="test -e done.txt")
    report = (project.repo / "COMPARISON.md").read_text()
    assert report.count("done.txt") == 2, done.err
    assert "== tests-first\nit failed" in report
    assert not (project.repo / "done.txt").exists()
    branch = f"prodigy/{done.json['run_id']}/named/smallest"
    assert git(project.repo, "show", f"{branch}:done.txt").startswith("The smallest change")


@pytest.mark.parametrize("name", sorted({*ALL} - {"triage-issues", "compare-approaches"}))
def test_a_repository_with_nothing_to_do_is_done(project: Project, name: str) -> None:
    git(project.repo, "rm", "-q", "-r", ".")
    project.commit()
    agent(project, "")
    needed = {"old": "x", "new": "y"} if name == "migrate-api" else {"goal": "x"} if name == "refactor" else {}
    values = {"checker": "true"} if name == "fix-problems" else needed
    done = run(project, name, **values)
    assert (done.code, done.json["items"]["total"]) == (0, 0), done.err


@pytest.mark.parametrize("name", ALL)
def test_every_starter_is_run_by_a_test(name: str) -> None:
    assert f'"{name}"' in Path(__file__).read_text()
