"""What files of the earlier system hold beyond its documentation, run for real."""

from __future__ import annotations

import json

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

DOCUMENTED = """
name: documented
templates:
  both: [{shell: 'echo "template" >> "$TALLY"'}]
  say:
    parameters: [word]
    commands: [{shell: 'echo "say ${word}" >> "$TALLY"'}]
sub_workflows:
  part: {source: "parts/${where}.yml", outputs: [found]}
  side-a: {source: parts/side.yml, parallel: true, outputs: [count, ended], parameters: {of: a}}
  side-b: {source: parts/side.yml, parallel: true, outputs: [count], parameters: {of: b}}
parameters:
  required: [{name: where, type: string, validation: "matches('^(here|there)$')"}]
steps:
  - template: both
  - {template: say, with: {word: hello}}
  - foreach:
      - {version: "1.70", profile: [debug, "${where}"]}
      - {version: 2, profile: release}
    do:
      - shell: echo "${foreach.item.version} ${item.profile}" >> "$TALLY"
  - foreach: [{name: x}, {name: y}]
    parallel: 2
    continue_on_error: true
    do:
      - shell: echo "parallel ${foreach.item.name}" >> "$TALLY"
  - shell: echo "tried" >> "$TALLY"; false
    retry_config: {max_attempts: 2, initial_delay: 1ms, on_failure: continue}
  - shell: echo "tried again" >> "$TALLY"; false
    max_attempts: 3
    allow_failure: true
    retry_config: {backoff: {fixed: {delay: 1ms}}}
  - shell: echo out; echo err >&2
    capture_output: both
    capture_streams: "stdout,stderr,exit_code"
  - write_file:
      path: deploy.json
      format: json
      content: {url: "${both}", features: [a, "say \\"${where}\\""], timeout: 30, by: '${cmd:echo "a b"}'}
  - shell: "true"
    id: step-one
  - shell: echo "first" >> "$TALLY"; false
    on_failure:
      shell: echo "handled" >> "$TALLY"; exit 0
    when: "${step-one.exit_code == 0 && step-one.success}"
    allow_failure: false
  - write_file:
      path: deploy.yml
      format: yaml
      content: {url: "${both.exit_code}", "features": [a]}
  - shell: echo "${part.found}" >> "$TALLY"
  - shell: echo "${side-a.count} ${side-b.count} ${side-a.ended.exit_code}" >> "$TALLY"
"""


def test_what_is_written_as_in_its_documentation_runs(project: Project) -> None:
    flow = project.workflow(DOCUMENTED.replace("    max_attempts: 3\n", ""))
    (project.folder / "parts").mkdir()
    project.workflow("- {shell: echo found it, capture: found}\n", "parts/here.yml")
    side = "parameters: [of]\nsteps: [{shell: 'echo one ${of}', capture: count}, {shell: exit 0, id: ended}]\n"
    project.workflow(side, "parts/side.yml")
    refused = project.prodigy("run", flow, "--yes", "--param", "where=nowhere")
    assert refused.code == 2
    assert "is not true" in refused.err
    done = project.prodigy("run", flow, "--yes", "--param", "where=here")
    assert done.code == 0, done.err
    assert project.tally() == {
        "template": 1,
        "say hello": 1,
        '1.70 ["debug","here"]': 1,
        "2 release": 1,
        "parallel x": 1,
        "parallel y": 1,
        "tried": 2,
        "tried again": 3,
        "found it": 1,
        "first": 2,
        "handled": 1,
        "one a one b 0": 1,
    }
    written = json.loads((project.repo / "deploy.json").read_text())
    assert written == {"url": "out\nerr", "features": ["a", 'say "here"'], "timeout": 30, "by": "a b"}
    assert (project.repo / "deploy.yml").read_text() == "url: '0'\nfeatures:\n- a\n"


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
