"""`schema`, `validate`, `migrate-yaml` and `run --dry-run`, as a user sees them."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from prodigy.cli.migrate_yaml import migrate_command
from prodigy.cli.schema import schema_command
from prodigy.cli.validate import validate_command
from prodigy.errors import ProdigyError
from support import Project, git

WRONG = "map:\n  input: ls\n\tx: 1\n"
MISSPELT = "map:\n  input: ls\n  max_paralel: 3\n  agent_template:\n    - shel: \N{COLLISION SYMBOL} make\n"
OLD = "setup:\n  commands:\n    - shell: a\nmap: {input: ls, agent_template: [{shell: b}], parallel: 2}  # two\n"
NEW = "setup:\n  - shell: a\nmap: {input: ls, agent_template: [{shell: b}], max_parallel: 2}  # two\n"


def call(command: object, *args: object) -> Result:
    done = CliRunner().invoke(command, [str(arg) for arg in args])  # type: ignore[arg-type]
    if isinstance(done.exception, ProdigyError):
        done.exit_code = done.exception.exit_code
        done.stderr_bytes = f"{done.exception}".encode()
    return done


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


# schema ------------------------------------------------------------------------------------------------------


def test_the_schema_is_json_and_the_same_each_time() -> None:
    first, second = call(schema_command), call(schema_command)
    assert first.stdout == second.stdout
    assert json.loads(first.stdout)["$schema"].endswith("2020-12/schema")


# validate ----------------------------------------------------------------------------------------------------


def test_a_problem_is_shown_with_its_line_and_a_mark(tmp_path: Path) -> None:
    file = write(tmp_path, "w.yml", MISSPELT)
    done = call(validate_command, file)
    assert done.exit_code == 2
    assert f"{file}:3:3: unknown key `max_paralel`" in done.stderr
    lines = done.stderr.splitlines()
    at = lines.index("  3 |   max_paralel: 3")
    assert lines[at + 1] == "    |   ^"


def test_run_shows_the_line_too(project: Project) -> None:
    done = project.prodigy("run", project.workflow(MISSPELT))
    assert done.code == 2
    assert "  5 |     - shel: " in done.err
    assert "    |       ^" in done.err


@pytest.mark.parametrize("flag", [["--json"], ["--format", "json"]])
def test_what_programs_read(tmp_path: Path, flag: list[str]) -> None:
    file = write(tmp_path, "w.yml", "mode: mapreduce\nsteps: [{shell: 'echo ${raw:workflow.name}'}]\n")
    found = json.loads(call(validate_command, file, *flag).stdout)
    assert found["file"] == str(file)
    assert found["valid"] is True
    assert found["problems"] == []
    assert [warning["line"] for warning in found["warnings"]] == [1]
    assert [remark["line"] for remark in found["remarks"]] == [2]
    assert found["remarks"][0].keys() == {"file", "line", "column", "message", "hint"}


def test_strict_minds_warnings_and_remarks(tmp_path: Path) -> None:
    file = write(tmp_path, "w.yml", "steps: [{shell: 'echo ${raw:workflow.name}'}]\n")
    assert call(validate_command, file).exit_code == 0
    done = call(validate_command, file, "--strict")
    assert done.exit_code == 2
    assert "Error: " in done.stderr
    assert json.loads(call(validate_command, file, "--strict", "--json").stdout)["valid"] is False


def test_several_files_at_once(tmp_path: Path) -> None:
    fine = write(tmp_path, "fine.yml", "- shell: a\n")
    wrong = write(tmp_path, "wrong.yml", WRONG)
    done = call(validate_command, fine, wrong, tmp_path / "none.yml")
    assert done.exit_code == 2
    assert "fine.yml is valid" in done.stdout
    assert "wrong.yml:3:1" in done.stderr
    assert "no such workflow file" in done.stderr
    found = json.loads(call(validate_command, fine, wrong, tmp_path / "none.yml", "--json").stdout)
    assert [one["valid"] for one in found] == [True, False, False]
    assert found[2]["problems"][0]["line"] is None


def test_what_to_do_can_be_left_out(tmp_path: Path) -> None:
    file = write(tmp_path, "w.yml", "steps: [{shell: a}]\ngoal_seek: {}\n")
    assert "on_incomplete" in call(validate_command, file).stderr
    assert "on_incomplete" not in call(validate_command, file, "--no-suggest").stderr


def test_a_mark_stands_below_wide_letters_and_in_long_lines(tmp_path: Path) -> None:
    file = write(tmp_path, "w.yml", f"steps: [{{name: {'日本' * 60}, shel: a}}]\n")
    shown = call(validate_command, file).stderr.splitlines()
    line, mark = next((a, b) for a, b in pairwise(shown) if b.endswith("^"))
    assert len(line) < 150
    place = line.index("shel")
    assert mark.index("^") == sum(2 if ord(c) > 0x2E80 else 1 for c in line[:place])


# migrate-yaml ------------------------------------------------------------------------------------------------


def test_a_file_is_rewritten_and_kept(tmp_path: Path) -> None:
    file = write(tmp_path, "w.yml", OLD)
    file.chmod(0o640)
    done = call(migrate_command, file)
    assert done.exit_code == 0
    assert file.read_text() == NEW
    assert file.stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "w.yml.bak").read_text() == OLD
    again = call(migrate_command, file)
    assert "nothing to change" in again.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w.yml", "w.yml.bak"]


def test_a_dry_run_prints_a_diff_and_writes_nothing(tmp_path: Path) -> None:
    file = write(tmp_path, "w.yml", OLD)
    done = call(migrate_command, file, "--dry-run")
    assert done.exit_code == 0
    assert "-  commands:\n" in done.stdout
    assert "+  - shell: a\n" in done.stdout
    assert file.read_text() == OLD
    assert list(tmp_path.iterdir()) == [file]


def test_a_backup_is_never_overwritten_unasked(tmp_path: Path) -> None:
    file = write(tmp_path, "w.yml", OLD)
    write(tmp_path, "w.yml.bak", "precious")
    done = call(migrate_command, file)
    assert done.exit_code == 2
    assert file.read_text() == OLD
    assert call(migrate_command, file, "--no-backup").exit_code == 0
    assert (tmp_path / "w.yml.bak").read_text() == "precious"
    file.write_text(OLD)
    assert call(migrate_command, file, "--force").exit_code == 0
    assert (tmp_path / "w.yml.bak").read_text() == OLD


def test_all_workflows_of_a_directory_and_nothing_else(tmp_path: Path) -> None:
    one, two = write(tmp_path, "a.yml", OLD), write(tmp_path, "deep/b.yaml", OLD)
    other = write(tmp_path, "compose.yml", "services: {commands: [a]}\n")
    broken = write(tmp_path, "broken.yml", "steps: [{shel: a}]\ncommands: []\n")
    done = call(migrate_command, tmp_path)
    assert done.exit_code == 2, "one of them does not load"
    assert "broken.yml does not load" in done.stderr
    assert one.read_text() == two.read_text() == NEW
    assert other.read_text() == "services: {commands: [a]}\n"
    assert broken.read_text() == "steps: [{shel: a}]\ncommands: []\n"


def test_a_link_stays_one(tmp_path: Path) -> None:
    file = write(tmp_path, "real/w.yml", OLD)
    link = tmp_path / "w.yml"
    link.symlink_to(file)
    assert call(migrate_command, link, "--no-backup").exit_code == 0
    assert link.is_symlink()
    assert file.read_text() == NEW


def test_without_a_path_it_is_the_directory_workflows(project: Project) -> None:
    file = project.write("workflows/a.yml", OLD)
    assert project.prodigy("migrate-yaml").code == 0
    assert file.read_text() == NEW
    file.unlink()
    assert project.prodigy("migrate-yaml").code == 2


# run --dry-run -----------------------------------------------------------------------------------------------

PLANNED = """
setup: [{shell: ./prepare, timeout: 60}]
map:
  input: items.json
  max_items: 2
  max_parallel: 8
  agent_template:
    - shell: echo ${item}
      timeout: 30
      retry: {attempts: 2, backoff: fixed, initial_delay: 0}
reduce: [{shell: make report, timeout: 10}]
merge: [{shell: make check, timeout: 5}]
"""


BUDGETED = """
agents:
  default: [scribe, other]
  scribe: {kind: command, command: ["true"]}
  other: {kind: command, command: ["true"]}
budget: {max_cost_usd_per_item: 0.5}
map:
  input: items.json
  agent_template:
    - agent: {prompt: "Document ${item}."}
      validate: {claude: "Is it right?"}
    - agent: {use: other, prompt: "Review ${item}."}
reduce:
  - {claude: "Sum up.", budget: {max_cost_usd: 2}}
"""


def test_a_dry_run_names_who_would_do_a_step_and_where_budgets_stop_it(project: Project) -> None:
    project.write("items.json", '["a", "b", "c"]')
    project.commit()
    flow = project.workflow(BUDGETED)
    done = project.prodigy("run", flow, "--dry-run")
    assert "1. scribe or other: Document" in done.out
    assert "2. other: Review" in done.out
    assert "agents: other (1 step), scribe or other (3 steps)" in done.out
    assert "cost: at most about $3.50, where the budgets stop it" in done.out  # three items, and reduce
    assert "cost: at most about $1.25," in project.prodigy("run", flow, "--dry-run", "--budget", "1.25").out
    chosen = project.prodigy("run", flow, "--dry-run", "--agent", "other", "--json").json
    assert chosen["agents"] == {"other": 4}
    assert chosen["worst_case_cost_usd"] == 3.5


def test_a_dry_run_says_when_nothing_limits_the_cost(project: Project) -> None:
    flow = project.workflow("agents: {default: x, x: {kind: command, command: ['true']}}\nsteps: [{claude: Work.}]\n")
    assert (
        "cost: unknown: nothing limits what agents may cost (see `budget`)"
        in project.prodigy("run", flow, "--dry-run").out
    )


def test_a_dry_run_tells_the_phases_and_the_worst_case(project: Project) -> None:
    project.write("items.json", '["alpha", "beta", "gamma"]')
    project.commit()
    done = project.prodigy("run", project.workflow(PLANNED), "--dry-run")
    assert done.code == 0, done.err
    for line in ("  setup:", "1. shell: ./prepare", "then reduce:", "merge, before the final merge:", "at most 2; "):
        assert line in done.out
    assert "time: at most" in done.out
    assert "cost: none, no step runs an agent" in done.out
    found = project.prodigy("run", project.workflow(PLANNED), "--dry-run", "--json").json
    assert found["worst_case_s"] == 60 + 2 * 30 + 10 + 5
    assert found["fan_outs"][0]["parallel"] == 2
    assert found["worst_case_cost_usd"] == 0
    assert found["disk"]["worktrees"] == 3
    assert found["disk"]["bytes"] == 3 * found["disk"]["checkout_bytes"] > 0
    assert not (project.home / "runs").exists()
    assert git(project.repo, "worktree", "list").count("\n") == 0


def test_a_command_for_the_items_runs_only_when_asked(project: Project) -> None:
    text = "map:\n  input: touch \"$SHARED/ran\"; echo one; echo two\n  filter: item != 'one'\n"
    workflow = project.workflow(f"{text}  agent_template: [{{shell: a}}]\n")
    shown = project.prodigy("run", workflow, "--dry-run")
    assert "--run-input" in shown.out
    assert "time: unknown" in shown.out
    assert not (project.folder / "ran").exists()
    done = project.prodigy("run", workflow, "--dry-run", "--run-input", "--json")
    assert done.code == 0, done.err
    found = done.json
    assert [item["label"] for item in found["items"]] == ["two"]
    assert (project.folder / "ran").exists()
    assert project.prodigy("run", workflow, "--run-input").code == 2


def test_the_command_for_the_items_has_the_parameters_as_in_a_run(project: Project) -> None:
    text = "parameters: {what: one}\nmap:\n  input: echo $what; echo ${what}\n  agent_template: [{shell: a}]\n"
    words = ["--dry-run", "--run-input", "--param", "what=a b", "--json"]
    done = project.prodigy("run", project.workflow(text), *words)
    assert [item["label"] for item in done.json["items"]] == ["a b"]


def test_fan_outs_inside_of_other_steps_are_seen(project: Project) -> None:
    text = """
map: {input: 'glob:*.md', agent_template: [{shell: 'true', timeout: 10}]}
reduce:
  - foreach: [a, b, c, d]
    parallel: 2
    do: [{shell: make, timeout: 7}]
  - foreach: [x, y]
    do: [{shell: inside, timeout: 3}]
"""
    found = project.prodigy("run", project.workflow(text), "--dry-run", "--json").json
    assert [one["step"] for one in found["fan_outs"]] == [1, None]
    assert found["worst_case_s"] == 10 + 2 * 7 + 2 * 3
    shown = project.prodigy("run", project.workflow(text), "--dry-run").out
    assert "map over values a, b, c, d, 2 at a time" in shown
    assert "shell: inside" in shown


def test_what_agents_cost_is_never_guessed(project: Project) -> None:
    text = "agents: {claude: {command: ['true']}}\nsteps: [{claude: /fix}, {shell: a}]\n"
    done = project.prodigy("run", project.workflow(text), "--dry-run")
    assert done.code == 0, done.err
    assert "agents: claude (1 step)" in done.out
    assert "cost: unknown" in done.out


def test_values_that_a_workflow_needs_are_given_as_to_a_run(tmp_path: Path) -> None:
    file = write(tmp_path, "w.yml", "parameters: [target]\ncommands: [{shell: 'ls ${target}'}]\n")
    done = call(migrate_command, file, "--dry-run")
    assert done.exit_code == 2
    assert "target" in done.stderr
    assert "+steps:" in call(migrate_command, file, "--dry-run", "--param", "target=src").stdout
