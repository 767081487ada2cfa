"""Every shape and row that the documentation of the language and of the earlier system shows, as one small workflow:
each loads, warnings or not, and means what its author expects."""

from __future__ import annotations

from typing import Any

import pytest

from prodigy.workflow.load import parse
from prodigy.workflow.model import Workflow
from unit.workflow_texts import TEMPLATE


def at(value: Any, path: str) -> Any:
    """What stands at a path such as `steps.0.action.text`."""
    for part in path.split("."):
        value = value[int(part)] if part.lstrip("-").isdigit() else getattr(value, part)
    return value


def texts(steps: Any) -> list[str]:
    """What a list of steps does, in a word each."""
    return [getattr(step.action, "text", None) or getattr(step.action, "prompt", step.action.kind) for step in steps]


def loaded(text: str) -> Workflow:
    return parse(text, "w.yml").workflow


Row = tuple[str, str, Any]


def step(keys: str, path: str, value: Any) -> Row:
    """A row about a key of a step."""
    return f"- {{shell: a, {keys}}}", f"steps.0.{path}", value


def map_(keys: str, path: str, value: Any) -> Row:
    """A row about a key of `map`."""
    return f"map: {{input: ls, {keys}, {TEMPLATE}}}", f"steps.0.action.{path}", value


def top(keys: str, path: str, value: Any) -> Row:
    """A row about a key at the top, beside a map."""
    return f"{keys}\nmap: {{input: ls, {TEMPLATE}}}\n", path, value


SHAPES = {
    "phases": """\
name: modernize
setup:
  - shell: ./list.sh > items.json
map:
  input: items.json
  json_path: "$.items[*]"
  max_parallel: 8
  agent_template:
    - claude: "/fix ${item.path}"
      commit_required: true
reduce:
  - shell: npm test
""",
    "steps": """\
name: modernize
steps:
  - shell: ./list.sh > items.json
  - name: fix all
    id: fix
    mapreduce:
      map: {input: items.json, json_path: "$.items[*]", max_parallel: 8,
            agent_template: [{claude: "/fix ${item.path}", commit_required: true}]}
      reduce: [{shell: npm test}]
  - {shell: ./release.sh, when: "${fix.successful} > 0"}
""",
    "nested commands": """\
name: modernize
mode: mapreduce
setup:
  commands: [{shell: ./list.sh > items.json}]
  timeout: 300
map:
  input: items.json
  json_path: "items[*]"
  parallel: 8
  operation:
    commands: [{claude: "/fix ${item.path}", commit_required: true}]
reduce:
  commands: [{shell: npm test}]
""",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_shapes_of_a_file_are_one_thing(shape: str) -> None:
    workflow = loaded(SHAPES[shape])
    setup, fan_out = workflow.steps[:2]
    assert workflow.name == "modernize"
    assert (texts([setup]), setup.phase) == (["./list.sh > items.json"], "setup")
    action: Any = fan_out.action
    assert (action.input.text, action.json_path, action.max_parallel) == ("items.json", "$.items[*]", 8)
    assert texts(action.template) == ["/fix ${item.path}"]
    assert [check.expect for check in action.template[0].checks] == ["commit"]
    assert texts(action.reduce) == ["npm test"]


@pytest.mark.parametrize(
    "text",
    [
        "- shell: a\n- shell: b\n",
        "steps: [{shell: a}, {shell: b}]",
        "commands: [{shell: a}, {shell: b}]",
        "tasks: [{shell: a}, {shell: b}]",
        "name: x\nmode: sequential\ncommands: [{shell: a}, {shell: b}]",
    ],
)
def test_the_shapes_of_a_list_are_one_thing(text: str) -> None:
    assert texts(loaded(text).steps) == ["a", "b"]


_LEGACY = """\
- name: x
  id: i
  args: [$ARG, literal]
  options: {focus: y}
  metadata: {retries: 1, timeout: 5, continue_on_error: true, env: {A: b}, commit_required: true, analysis: {}}
  outputs: {o: {file_pattern: '*'}}
  analysis: {}
"""
ROWS: dict[str, Row] = {
    # Part I: a list of steps may be one mapping or one text
    "one mapping": (f"setup: {{shell: a}}\nmap: {{input: ls, {TEMPLATE}}}", "steps.0.action.text", "a"),
    "one text": (f"setup: /a\nmap: {{input: ls, {TEMPLATE}}}", "steps.0.action.prompt", "/a"),
    # Synonyms
    "map.parallel": map_("parallel: 3", "max_parallel", 3),
    "settings": top("settings: {parallel_worktrees: 3, continue_on_error: false}", "steps.0.action.max_parallel", 3),
    "continue_on_error": top(
        "settings: {continue_on_error: false}", "steps.0.action.errors.continue_on_failure", False),
    "parallel_worktrees": top("parallel_worktrees: 3", "steps.0.action.max_parallel", 3),
    "output": step("output: out.txt", "capture.file", "out.txt"),
    "retry: 3": step("retry: 3", "policy.retry.attempts", 3),
    "validate": step("validate: make test", "checks.0.expect", "success"),
    "bare on_failure": ("- shell: a\n- on_failure: {shell: b}\n", "steps.0.handlers.0.do.0.action.text", "b"),
    "success_count": (f"map: {{input: ls, {TEMPLATE}}}\nreduce: ['/x ${{map.success_count}}']",
                      "steps.0.action.reduce.0.action.prompt", "/x ${map.success_count}"),
    "mapreduce.on_item_failure": (f"- mapreduce: {{on_item_failure: stop, map: {{input: ls, {TEMPLATE}}}}}",
                                  "steps.0.action.errors.on_item_failure", "stop"),
    "merge": top("merge: [{shell: 'echo ${merge.commit_count}'}]", "merge.0.phase", "merge"),
    "merge, nested": top("merge: {commands: [{shell: a}], timeout: 60}", "limits", (("merge", 60.0),)),
    "on_conflict": map_("merge: {on_conflict: dlq}", "kind", "mapreduce"),
    "workspace": top(
        "workspace: {include: [.env], setup: [{shell: s}], keep_ignored: [x]}", "workspace.include", (".env",)),
    "worktree": ("- {worktree: x, do: [{shell: a}]}\n- {worktree: y, do: [{shell: b}]}\n",
                 "steps.0.action.input.values", ("x", "y")),
    "foreach, parallel": ("- {foreach: ls, parallel: 4, do: [{shell: a}]}", "steps.0.action.max_parallel", 4),
    # II.1.1 and II.1.2: the top level
    "name": top("name: x", "name", "x"),
    "error_policy": top("error_policy: {on_item_failure: skip}", "steps.0.action.errors.on_item_failure", "skip"),
    "on_item_failure": top("on_item_failure: stop", "steps.0.action.errors.on_item_failure", "stop"),
    "continue_on_failure": top("continue_on_failure: false", "steps.0.action.errors.continue_on_failure", False),
    "setup.timeout": top("setup: {commands: [{shell: a}], timeout: 10}", "limits", (("setup", 10.0),)),
    "setup.timeout, text": top("setup: {commands: [{shell: a}], timeout: '10'}", "limits", (("setup", 10.0),)),
    "capture_outputs": top(
        "setup: {commands: [{shell: a}], capture_outputs: {x: 0}}", "steps.0.capture.extracts.0.name", "x"),
    "capture_outputs, object": top(
        "setup: {commands: [{shell: a}], capture_outputs: {x: {command_index: 0, source: both, pattern: '(b)',"
        " json_path: $.a, max_size: 10, default: d, multiline: last_line}}}",
        "steps.0.capture.extracts.0.multiline", "last_line"),
    "map.input": ("map: {input: 'git ls-files', agent_template: [{shell: a}]}", "steps.0.action.input.kind", "command"),
    "map.json_path": map_("json_path: ''", "json_path", None),
    "map.agent_template": ("map: {input: x.json, agent_template: {commands: [{shell: a}]}}",
                           "steps.0.action.template.0.action.text", "a"),
    "map.max_parallel": map_("max_parallel: 3", "max_parallel", 3),
    "max_failures": top("max_failures: 3", "steps.0.action.errors.max_failures", 3),
    "failure_threshold": top("failure_threshold: 0.5", "steps.0.action.errors.failure_threshold", 0.5),
    "filter": map_("filter: 'item.score >= 5'", "select.filter", "item.score >= 5"),
    "sort_by": map_("sort_by: 'score DESC'", "select.sort_by", "score DESC"),
    "max_items": map_("max_items: 3", "select.max_items", 3),
    "offset": map_("offset: 3", "select.offset", 3),
    "distinct": map_("distinct: a.b", "select.distinct", "a.b"),
    "agent_timeout_secs": map_("agent_timeout_secs: 60", "limits.item_s", 60.0),
    "timeout_config": map_("timeout_config: {timeout_policy: Hybrid}", "limits.policy", "hybrid"),
    "env at the top": top("env: {A: b}", "environment.variables.0.value", "b"),
    "secrets": top("secrets: {TOKEN: MY_TOKEN}", "environment.secrets.0.key", "MY_TOKEN"),
    "env_files": top("env_files: [.env]", "environment.files", (".env",)),
    "profiles": top("profiles: {dev: {A: b}}", "environment.profiles.0.name", "dev"),
    # II.1.3: the steps of lists
    "claude": ("- claude: /x", "steps.0.action.prompt", "/x"),
    "shell": ("- shell: x", "steps.0.action.text", "x"),
    "test": ("- test: {command: x, on_failure: {claude: /fix}}", "steps.0.handlers.0.again", 3),
    "analyze": ("- analyze: {max_cache_age: 5}\n- shell: x", "steps.0.action.text", "x"),
    "foreach": ("- foreach: {foreach: ls, do: [{shell: a}]}", "steps.0.action.input.text", "ls"),
    "write_file": ("- write_file: {path: a, content: b}", "steps.0.action.path", "a"),
    "id": step("id: x", "id", "x"),
    "commit_required": step("commit_required: true", "checks.0.expect", "commit"),
    "analysis": step("analysis: {force_refresh: true, max_cache_age: 300}", "action.text", "a"),
    "outputs": step("outputs: {spec: {file_pattern: '*.md'}}", "capture.files", (("spec", "*.md"),)),
    "capture_output": step("capture_output: x", "capture.names", ("x",)),
    "capture_output, true": step("capture_output: true", "capture", None),
    "on_failure": step("on_failure: {claude: /fix, max_attempts: 3, fail_workflow: true, commit_required: true}",
                       "handlers.0.fatal", True),
    "on_success": step("on_success: {shell: b}", "handlers.0.on", "success"),
    "validate, mapping": step("validate: {claude: /v, threshold: 90}", "checks.0.threshold", 90.0),
    "timeout": step("timeout: 60", "policy.timeout_s", 60.0),
    "when": step("when: '${workflow.name} == \"x\"'", "when", '${workflow.name} == "x"'),
    "capture_format": step("capture: x, capture_format: lines", "capture.format", "lines"),
    "capture_streams": step("capture: x, capture_streams: both", "capture.stream", "both"),
    "output_file": step("output_file: o.txt", "capture.file", "o.txt"),
    # II.1.4: the steps of phases
    "name of a step": step("name: say it", "name", "say it"),
    "command": ("- command: lint", "steps.0.action.prompt", "/lint"),
    "bare name": ("- name: lint", "steps.0.action.prompt", "/lint"),
    "capture": step("capture: x", "capture.names", ("x",)),
    "capture_streams, mapping": step(
        "capture: x, capture_streams: {stdout: true, stderr: true, exit_code: true, success: true, duration: true}",
        "capture.stream", "both"),
    "working_dir": step("working_dir: sub", "policy.working_dir", "sub"),
    "env": step("env: {A: b}", "policy.env", (("A", "b"),)),
    "retry": step("retry: {attempts: 5, backoff: fibonacci, jitter: true}", "policy.retry.backoff", "fibonacci"),
    "on_exit_code": step("on_exit_code: {2: {shell: b}}", "handlers.0.on", 2),
    "commit_config": step(
        "auto_commit: true, commit_config: {message_template: m, message_pattern: '^m', sign: false, author: A <a@b>,"
        " include_files: [x], exclude_files: [y], squash: true}", "policy.commit.include", ("x",)),
    "auto_commit": step("auto_commit: true", "policy.commit.auto", True),
    "step_validate": step("step_validate: make test", "checks.0.expect", "answers"),
    "step_validate, list": step("step_validate: ['claude: /x', 'shell: y']", "checks.0.run.0.action.prompt", "/x"),
    "skip_validation": step("validate: b, skip_validation: true", "checks", ()),
    "validation_timeout": step("step_validate: b, validation_timeout: 9", "checks.0.timeout_s", 9.0),
    "ignore_validation_failure": step("step_validate: b, ignore_validation_failure: true", "checks.0.lenient", True),
    # on_failure in its forms
    "on_failure: true": step("on_failure: true", "handlers.0.do", ()),
    "on_failure: false": step("on_failure: false", "handlers", ()),
    "on_failure, text": step("on_failure: make clean", "handlers.0.do.0.action.text", "make clean"),
    "on_failure, slash": step("on_failure: /fix", "handlers.0.do.0.action.prompt", "/fix"),
    "on_failure, list": step("on_failure: [b, /c]", "handlers.0.do.1.action.prompt", "/c"),
    "on_failure, detailed": step(
        "on_failure: {commands: [{shell: b, continue_on_error: true}], strategy: cleanup, timeout: 5,"
        " capture: {x: stdout}, fail_workflow: true, handler_failure_fatal: true}",
        "handlers.0.do.0.capture.extracts.0.name", "x"),
    "on_failure, advanced": step("on_failure: {shell: b, max_retries: 2}", "handlers.0.again", 2),
    "on_failure, fail_workflow": step("on_failure: {fail_workflow: true}", "handlers.0.fatal", True),
    # foreach, write_file, validate in all their keys
    "foreach, flat": ("- {foreach: [x, y], do: [{shell: 'echo ${item}'}], continue_on_error: true, max_items: 1}",
                      "steps.0.action.max_items", 1),
    "write_file, all": ("- write_file: {path: a, content: '{}', format: json, mode: '0600', create_dirs: true}",
                        "steps.0.action.mode", 0o600),
    "validate, all": step(
        "validate: {shell: v, expected_schema: {type: object}, threshold: 95.5, timeout: 60, result_file: r.json,"
        " on_incomplete: {claude: '/fix ${validation.gaps}', max_attempts: 4, fail_workflow: false,"
        " commit_required: true}}", "checks.0.rounds", 4),
    "on_incomplete, list": step("validate: {shell: v, on_incomplete: [{claude: /fix}]}", "checks.0.rounds", 2),
    "step_validate, all": step(
        "step_validate: {commands: [{command: b, expect_output: ok, expect_exit_code: 0, command_type: shell}],"
        " success_criteria: {atleast: 1}, max_attempts: 3, retry_delay: 1}", "checks.0.needed", 1),
    # II.1.6: old commands
    "string": ("- prodigy-lint", "steps.0.action.prompt", "/prodigy-lint"),
    "args": (_LEGACY, "steps.0.policy.retry.attempts", 2),
    # II.13: found in real files
    "allow_failure": step("allow_failure: true", "handlers.0.do", ()),
    "description": step("description: d", "action.text", "a"),
    "config": top("config: {x: y}", "name", "w"),
    "secret env": step("env: {A: {secret: true, value: b}}", "policy.env", (("A", "b"),)),
    "clear_env": step("clear_env: true, temporary: true", "policy.clear_env", True),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_a_row_means_what_it_says(row: str) -> None:
    text, path, value = ROWS[row]
    assert at(loaded(text), path) == value


# What reads a file in one phase reads it in every phase.
LISTS = {
    "steps": "steps: [{%s}]",
    "setup": f"{{setup: [{{%s}}], map: {{input: ls, {TEMPLATE}}}}}",
    "agent_template": "map: {input: ls, agent_template: [{%s}]}",
    "reduce": f"{{map: {{input: ls, {TEMPLATE}}}, reduce: [{{%s}}]}}",
    "merge": "{steps: [{shell: x}], merge: [{%s}]}",
    "on_failure": "[{shell: x, on_failure: {%s}}]",
    "on_failure commands": "[{shell: x, on_failure: {commands: [{%s}]}}]",
    "on_success": "[{shell: x, on_success: {%s}}]",
    "on_exit_code": "[{shell: x, on_exit_code: {1: {%s}}}]",
    "do": "[{foreach: ls, do: [{%s}]}]",
    "worktree": "[{worktree: x, do: [{%s}]}]",
    "validate": "[{shell: x, validate: [{%s}]}]",
    "on_incomplete": "[{shell: x, validate: {shell: y, on_incomplete: [{%s}]}}]",
    "worktree setup": "{workspace: {setup: [{%s}]}, steps: [{shell: x}]}",
}
STEPS = {
    "all of shell": "shell: a, id: i, name: n, when: '1 == 1', env: {A: b}, working_dir: s, timeout: 1, retry: 2,"
    " commit_required: true, capture_format: json, output_file: o, allow_failure: true, on_success: {shell: c},"
    " on_exit_code: {3: d}, validate: {shell: e, on_incomplete: f}, step_validate: g, auto_commit: true",
    "write_file": "write_file: {path: a, content: b}",
    "foreach": "foreach: ls, do: [{shell: 'echo ${item}'}]",
    "claude": "claude: /a, commit_config: {message_pattern: x}, outputs: {o: {file_pattern: '*'}}",
}


@pytest.mark.parametrize("place", LISTS)
@pytest.mark.parametrize("kind", STEPS)
def test_a_step_is_the_same_everywhere(kind: str, place: str) -> None:
    assert loaded(LISTS[place] % STEPS[kind]).steps
