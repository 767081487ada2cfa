"""What files of the earlier system hold beyond its documentation, run for real."""

from __future__ import annotations

from support import Project

WORKFLOW = """
name: number
mode: standard
commands:
  - shell: "echo 12-a.md | sed 's/-.*//'"
    capture_output: number
  - shell: echo "number ${shell.number} is ${number}" >> "$TALLY"
  - shell: |
      mkdir -p .prodigy
      echo '{"completion_percentage": 40}' > .prodigy/result.json
      echo "written"
    capture: "shell.output"
    validate:
      result_file: .prodigy/result.json
      threshold: 90
      on_incomplete:
        shell: |
          echo "repairs ${validation.completion}" >> "$TALLY"
          echo '{"completion_percentage": 95}' > .prodigy/result.json
        max_attempts: 3
  - shell: echo "it has ${shell.output}" >> "$TALLY"
  - test:
      command: "false"
      on_failure:
        shell: echo "attempt ${test.attempt}" >> "$TALLY"
        max_attempts: 2
        fail_workflow: false
  - shell: "false"
    when: "false"
    capture_output: skipped
  - shell: echo "took ${last.kind_of_thing|default:unknown} ${workflow.speed:-none} [${shell.skipped}]" >> "$TALLY"
    context: {file: a.py}
    options: {fix: true}
"""


def test_the_names_results_and_keys_in_them_do_what_their_authors_expect(project: Project) -> None:
    project.write("w.yml", WORKFLOW)
    done = project.prodigy("run", "w.yml", "--yes")
    assert done.code == 0, done.err
    assert project.tally() == {
        "number 12 is 12": 1,
        "repairs 40": 1,
        "it has written": 1,
        "attempt 1": 1,
        "attempt 2": 1,
        "took unknown none [null]": 1,
    }
    for said in (
        "`capture: shell.output` does nothing: the output has that name",
        "`${last.kind_of_thing}` is no variable; its default is always taken",
        "`context` does nothing any more and is skipped",
        "`options` belongs to a `command` step and is skipped here",
    ):
        assert said in done.err
