"""`prodigy report`: on the terminal, as a page, as rows, of runs that end in many ways."""

from __future__ import annotations

import csv
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent_support import stand_in_path
from support import Project, wait_until

FLOW = """
name: tidy
map:
  input: items.json
  max_parallel: 2
  on_item_failure: retry
  retry_config: {max_attempts: 2, backoff: fixed, initial_delay: 0s}
  agent_template:
    - claude: "Tidy ${item.id}."
      validate: test ${item.id} != bad
    - shell: echo ${item.n} > ${item.n}.txt
  merge: {check: test ! -e 99.txt, batch: 2}
"""
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def reported(project: Project) -> Project:
    """A run of four items, of which one has failed twice, and one has a name that is no friend of pages."""
    project.env["PATH"] = f"{stand_in_path(project.folder)}:{project.environment()['PATH']}"
    project.write(
        "items.json", f'[{{"id":"one","n":1}},{{"id":"bad","n":2}},{{"id":"{HOSTILE}","n":3}},{{"id":"x","n":4}}]'
    )
    project.commit()
    done = project.prodigy("run", project.workflow(FLOW), "--no-merge")
    assert done.code == 3, done.err
    return project


def test_the_report_on_the_terminal(reported: Project) -> None:
    text = reported.prodigy("report").out
    assert "  items   4 (3 successful, 1 failed); 1 item more than once" in text
    assert "  slots   2  " in text
    assert " checks in " in text
    assert " on what failed, " in text
    assert "       2  validation failed" in text
    assert max(map(len, text.splitlines())) <= 100
    assert "claude: Tidy " in text
    assert reported.prodigy("analytics").out == reported.prodigy("report").out


def test_the_report_as_json_has_units_in_its_names(reported: Project) -> None:
    metrics = reported.prodigy("report", "--json").json["metrics"]
    assert (metrics["items"]["succeeded"], metrics["attempts"], metrics["again"]) == (3, 5, 1)
    assert metrics["failures"] == {"validation_failed": 2}
    assert metrics["time"].keys() == {"agents_s", "shell_s", "checks_s", "around_s", "idle_s"}
    assert 0 < metrics["efficiency"] <= 1
    assert metrics["waste"]["failed_usd"] == pytest.approx(2 * 0.0125)
    fix = next(step for step in metrics["steps"] if step["doer"] == "claude")
    assert (fix["executions"], fix["cost"]["total"]) == (5, pytest.approx(5 * 0.0125))
    assert metrics["merges"]["checks"] >= 2
    assert metrics["dearest"][0]["item_id"] == "bad"


def test_the_report_as_rows(reported: Project) -> None:
    items = list(csv.DictReader(io.StringIO(reported.prodigy("report", "--format", "csv").out)))
    assert {(row["item_id"], row["state"], row["attempts"]) for row in items} == {
        ("one", "succeeded", "1"), ("bad", "failed", "2"), (HOSTILE, "succeeded", "1"), ("x", "succeeded", "1"),
    }  # fmt: skip
    file = reported.folder / "steps.csv"
    assert reported.prodigy("report", "--format", "csv", "--rows", "steps", "--output", file).code == 0
    steps = list(csv.DictReader(io.StringIO(file.read_text())))
    assert sum(row["doer"] == "claude" for row in steps) == 5
    assert {row["role"] for row in steps} == {"step", "check", "merge check"}


def test_the_report_as_a_page_holds_no_script_and_asks_for_nothing(reported: Project) -> None:
    file = reported.folder / "report.html"
    assert reported.prodigy("report", "--html", file).code == 0
    page = file.read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "default-src 'none'" in page
    for asks in (' src="', " src='", "@import", 'href="http', "url(http"):
        assert asks not in page
    assert page.count("<svg xmlns") == 4
    assert "<title>bad, attempt 2: failed, " in page
    reported.prodigy("report", "--html", file)
    assert file.read_text() == page  # the same for the same run


def test_a_page_without_the_library_for_pictures_says_what_to_install(reported: Project, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "matplotlib.py").write_text("raise ImportError('hidden')\n")
    done = subprocess.run(
        [sys.executable, "-m", "prodigy.cli.main", "report", "--html", "report.html"],
        cwd=reported.repo, env=reported.environment({"PYTHONPATH": str(hidden)}), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "pip install 'prodigy-agents[report]'" in done.stderr
    assert not (reported.repo / "report.html").exists()


def test_a_report_without_pictures_imports_no_library_for_them(reported: Project) -> None:
    code = "import sys, prodigy.cli.report, prodigy.report.page; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_time_between_two_sessions_is_nobodys(project: Project, let_go: None) -> None:
    flow = project.workflow(
        "map:\n  input: printf one\n  agent_template:\n"
        '    - shell: touch "$SHARED/began"; until [ -e "$SHARED/go" ]; do sleep 0.02; done\n'
    )
    running = project.start("run", flow, "--no-merge")
    wait_until((project.folder / "began").exists, "the step")
    alive = project.prodigy("report", "--json").json["metrics"]
    assert (alive["sessions"], alive["items"]["running"]) == (1, 1)
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    (project.folder / "go").touch()
    project.prodigy("resume", "--no-merge")
    metrics = project.prodigy("report", "--json").json["metrics"]
    assert metrics["sessions"] == 2
    assert metrics["driven_s"] < metrics["elapsed_s"]
    assert "in 2 sessions" in project.prodigy("report").out


def test_runs_without_items_or_agents_have_a_report(project: Project) -> None:
    project.prodigy("run", project.workflow("- shell: 'true'\n"))
    done = project.prodigy("report")
    assert done.code == 0
    assert "no agent has run" in done.out
    file = project.folder / "report.html"
    assert project.prodigy("report", "--html", file).code == 0
    assert "<svg" not in file.read_text()


def test_contradicting_forms_are_refused(project: Project) -> None:
    project.prodigy("run", project.workflow("- shell: 'true'\n"))
    done = project.prodigy("report", "--json", "--format", "csv")
    assert done.code == 2
    assert "--json and --format csv exclude each other" in done.err
