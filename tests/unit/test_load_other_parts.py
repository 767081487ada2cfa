"""Commits, written files, captured parts, the steps around a run, and forms of the earlier system, from YAML."""

from __future__ import annotations

from typing import Any

import pytest

from prodigy.workflow.capture_values import Capture, Extract
from prodigy.workflow.failures import Retry
from prodigy.workflow.load import parse
from prodigy.workflow.model import (
    Agent,
    Check,
    Commit,
    Handler,
    Phase,
    Policy,
    Shell,
    Step,
    WriteFile,
)
from unit.workflow_texts import TEMPLATE, problems_of


def step_of(text: str) -> Step:
    (step,) = parse(text, "w.yml").workflow.steps
    return step


def warnings_of(text: str) -> list[str]:
    return [warning.message for warning in parse(text, "w.yml").warnings]


def shell(text: str, phase: Phase = "", line: int = 1, **parts: Any) -> Step:
    return Step(action=Shell(text=text), phase=phase, line=line, **parts)


@pytest.mark.parametrize(
    ("written", "commit"),
    [
        ("auto_commit: true", Commit(auto=True)),
        ("auto_commit: false", None),
        (
            "auto_commit: true, commit_config: {message_template: 'fix in ${workflow.name}'}",
            Commit(auto=True, message="fix in ${workflow.name}"),
        ),
        (
            "auto_commit: true, commit_config: {author: Ann B <a@b.org>, include_files: [src], exclude_files: '*.log'}",
            Commit(auto=True, author="Ann B <a@b.org>", include=("src",), exclude=("*.log",)),
        ),
        ("commit_config: {message_pattern: '^(feat|fix): ', sign: false}", Commit(pattern="^(feat|fix): ")),
        ("commit_config: {squash: true, message_template: one}", Commit(squash=True, message="one")),
        ("commit_config: {squash: false}", None),
    ],
)
def test_commits_in_their_forms(written: str, commit: Commit | None) -> None:
    text = f"- {{claude: x, {written}}}"
    assert step_of(text).policy == Policy(commit=commit)
    assert not warnings_of(text)


def test_what_commit_config_says_of_a_commit_that_nobody_makes_is_warned_of() -> None:
    assert warnings_of("- {claude: x, commit_config: {message_template: m, include_files: [a]}}") == [
        "`message_template` does nothing without `auto_commit: true`",
        "`include_files` does nothing without `auto_commit: true`",
    ]


@pytest.mark.parametrize(
    ("written", "action"),
    [
        ("{path: a.txt, content: b}", WriteFile(path="a.txt", content="b")),
        ("{path: a.txt, content: ''}", WriteFile(path="a.txt", content="")),
        ("{path: a.txt, content: b, format: text}", WriteFile(path="a.txt", content="b")),
        (
            "{path: 'a/${run.id}.json', content: '{}', format: json, mode: '0755', create_dirs: true}",
            WriteFile(path="a/${run.id}.json", content="{}", format="json", mode=0o755, create_dirs=True),
        ),
        (
            "{path: a, content: 5, format: yaml, mode: 0600}",
            WriteFile(path="a", content="5", format="yaml", mode=0o600),
        ),
        ("{path: a, content: b, mode: 0o640}", WriteFile(path="a", content="b", mode=0o640)),
        ("{path: a, content: b, mode: 644}", WriteFile(path="a", content="b", mode=0o644)),
    ],
)
def test_written_files_in_their_forms(written: str, action: WriteFile) -> None:
    assert step_of(f"- write_file: {written}").action == action


CAPTURED = """\
setup:
  timeout: 5m
  commands:
    - shell: ls
    - {shell: cat v.json, id: made}
  capture_outputs:
    files: 0
    version: {command_index: 1, source: combined, json_path: version, default: none, max_size: 100}
    first: {command_index: 1, pattern: 'v(\\d+)', multiline: first_line}
    kept: {command_index: 1, multiline: preserve}
map:
  input: echo ${setup.files} ${version}
  agent_template: [{shell: 'echo ${files} ${setup.version}'}]
reduce: {commands: [{shell: 'echo ${first} ${kept}'}], timeout: 60}
"""


def test_parts_of_the_output_of_setup_get_names_everywhere_behind_it() -> None:
    workflow = parse(CAPTURED, "w.yml").workflow
    first, second, _ = workflow.steps
    assert first.capture == Capture(extracts=(Extract(name="files"),))
    assert second.capture == Capture(
        names=("made",),
        extracts=(
            Extract(name="version", source="both", json_path="$.version", default="none", max_size=100),
            Extract(name="first", pattern="v(\\d+)", multiline="first_line"),
            Extract(name="kept"),
        ),
    )
    assert workflow.limits == (("setup", 300.0), ("reduce", 60.0))


def test_files_of_a_steps_commits_get_names() -> None:
    text = "- {claude: a, id: x, outputs: {spec: {file_pattern: 'specs/*.md'}}}\n- shell: cat ${spec}\n"
    (first, _) = parse(text, "w.yml").workflow.steps
    assert first.capture == Capture(names=("x",), files=(("spec", "specs/*.md"),))
    capture = step_of("- {claude: a, outputs: {spec: {file_pattern: '*.md'}}}").capture
    assert capture == Capture(files=(("spec", "*.md"),))


def test_a_handler_captures_for_its_own_later_commands() -> None:
    text = "- shell: a\n  on_failure: {commands: [b, 'c ${log}'], capture: {log: 0, all: both, code: 'E(\\d+)'}}\n"
    (handler,) = step_of(text.replace("'c ${log}'", "c")).handlers
    assert [step.capture for step in handler.do] == [
        Capture(extracts=(Extract(name="log"),)),
        Capture(extracts=(Extract(name="all", source="both"), Extract(name="code", pattern="E(\\d+)"))),
    ]


def test_merge_runs_once_with_its_variables_and_a_limit() -> None:
    commands = "[{shell: 'echo ${merge.target_branch} ${x}'}, /tidy]"
    text = f"steps: [{{shell: a, id: x}}]\nmerge: {{commands: {commands}, timeout: 10m}}\n"
    workflow = parse(text, "w.yml").workflow
    assert workflow.merge == (
        shell("echo ${merge.target_branch} ${x}", "merge", 2),
        Step(action=Agent(prompt="/tidy"), phase="merge", line=2),
    )
    assert workflow.limits == (("merge", 600.0),)
    assert parse(f"map: {{input: ls, {TEMPLATE}}}\nmerge: [{{shell: a}}]", "w.yml").workflow.merge == (
        shell("a", "merge", 2),
    )


@pytest.mark.parametrize(
    ("step", "warned"),
    [
        ("shell: 'git checkout ${merge.target_branch}'", True),
        ("shell: 'git merge --no-ff ${merge.source_branch}'", True),
        ("claude: '/prodigy-merge-worktree ${merge.source_branch}'", True),
        ("shell: 'git merge ${merge.target_branch}'", False),
        ("shell: 'git log --oneline ${merge.source_branch}'", False),
        ("shell: 'echo merge ${merge.source_branch}'", False),
    ],
)
def test_a_merge_step_that_merges_by_itself_is_warned_of(step: str, warned: bool) -> None:
    assert bool(warnings_of(f"steps: [{{shell: a}}]\nmerge: [{{{step}}}]")) == warned


METADATA = (
    "{name: lint, metadata: {retries: 2, timeout: 60, env: {A: b}, commit_required: true, continue_on_error: true}}"
)


def agent(prompt: str, **parts: Any) -> Step:
    return Step(action=Agent(prompt=prompt), line=1, **parts)


@pytest.mark.parametrize(
    ("written", "step"),
    [
        ("{name: lint}", agent("/lint")),
        ("{name: /lint, args: [a, '$ARG', '${FILE}', 5]}", agent("/lint a ${ARG} ${FILE} 5")),
        ("{name: review, options: {focus: tests, quick: true, slow: false}}", agent("/review --focus tests --quick")),
        ("{command: lint it}", agent("/lint it")),
        ("{command: /lint, args: '$ARG', id: x}", agent("/lint ${ARG}", id="x", capture=Capture(names=("x",)))),
        ("{name: lint, commit_required: true}", agent("/lint", checks=(Check(expect="commit"),))),
        (
            METADATA,
            agent(
                "/lint",
                policy=Policy(timeout_s=60, retry=Retry(attempts=3), env=(("A", "b"),)),
                checks=(Check(expect="commit"),),
                handlers=(Handler(on="failure"),),
            ),
        ),
        ("{name: lint, metadata: {retries: 0, timeout: 60}, timeout: 5}", agent("/lint", policy=Policy(timeout_s=5))),
        ("{name: say it, shell: a}", shell("a", name="say it")),
        ("{name: say, shell: a}", shell("a", name="say")),
    ],
)
def test_commands_of_the_earlier_system(written: str, step: Step) -> None:
    assert step_of(f"- {written}") == step


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        ("- {name: lint}", ["`name` as a command is deprecated; it is the prompt `/lint` of Claude Code"]),
        (
            "- {command: npm test}",
            ["`command` as a command is deprecated; it is the prompt `/npm test` of Claude Code"],
        ),
        ("- {shell: a, analysis: {force_refresh: true}}", ["`analysis` does nothing any more and is skipped"]),
        ("- {shell: a, metadata: {timeout: 5}}", ["`metadata` is deprecated"]),
        ("- {shell: a, env: {A: {value: b, secret: true}}}", ["`A` is not masked in a step's `env`"]),
        ("- {shell: a, env: {A: {value: b}}, clear_env: true, temporary: true}", []),
        (
            "- {shell: a, temporary: false}",
            ["`temporary: false` does nothing: the `env` of a step is for that step alone"],
        ),
        (
            "{version: '1.0', config: {a: b}, steps: [{shell: a}]}",
            [f"`{key}` at the top level does nothing here" for key in ("version", "config")],
        ),
        ("{merge: [], steps: [{shell: a}]}", ["`merge` has no step, so it does nothing"]),
        (f"map: {{input: ls, merge: {{on_conflict: dlq}}, {TEMPLATE}}}", []),
        (f"map: {{input: ls, merge: {{on_conflict: agent}}, {TEMPLATE}}}", []),
        (f"map: {{input: ls, merge: {{on_conflict: [{{shell: 'echo ${{conflict.files}}'}}]}}, {TEMPLATE}}}", []),
    ],
)
def test_what_has_another_or_no_meaning_here_is_accepted_with_a_warning(text: str, warnings: list[str]) -> None:
    assert warnings_of(text) == warnings


def test_the_environment_of_a_step_may_be_its_own_alone() -> None:
    text = "- {shell: a, env: {A: {value: b}, C: d}, clear_env: true}"
    assert step_of(text).policy == Policy(env=(("A", "b"), ("C", "d")), clear_env=True)


def test_continue_on_error_is_allow_failure() -> None:
    assert step_of("- {shell: a, continue_on_error: true}").handlers == (Handler(on="failure"),)
    (handler,) = step_of("- {shell: a, on_failure: {commands: [{shell: b, continue_on_error: true}]}}").handlers
    assert handler.do == (shell("b", handlers=(Handler(on="failure"),)),)


SETUP = f"setup: {{commands: [{{shell: a}}], capture_outputs: %s}}\nmap: {{input: ls, {TEMPLATE}}}"
WRONG = [
    ("- {shell: a, commit_config: {sign: true}}", 1, 30, "`sign: true` is not possible"),
    ("- {shell: a, commit_config: {author: Ann}}", 1, 38, "`author` must be a name and an address"),
    ("- {shell: a, commit_config: {message_pattern: '('}}", 1, 47, "`message_pattern` is no regular expression"),
    ("- {shell: a, commit_config: {include_files: [[x]]}}", 1, 46, "`include_files` must be text, got a list"),
    ("- {shell: a, commit_config: {mesage_template: x}}", 1, 30, "did you mean `message_template`?"),
    ("- {shell: a, commit_config: {message_template: '${item.x}'}}", 1, 49, "`${item.x}` has no value here"),
    ("- {shell: a, on_uncommitted: fail}", 1, 14, "`on_uncommitted` does not belong in a step"),
    ("- write_file: x", 1, 15, "`write_file` must be a mapping with `path` and `content`"),
    ("- write_file: {path: a}", 1, 15, "`write_file` has no `content`"),
    ("- write_file: {path: ../a, content: b}", 1, 22, "`path`: ../a leaves the worktree"),
    ("- write_file: {path: /a, content: b}", 1, 22, "`path`: /a is not a path inside the worktree"),
    ("- write_file: {path: .git/config, content: b}", 1, 22, "`path`: .git/config is git's own"),
    ("- write_file: {path: a/, content: b}", 1, 22, "`path`: a/ is a directory"),
    ("- write_file: {path: a, content: [b]}", 1, 34, "`content` must be text, got a list"),
    ("- write_file: {path: a, content: b, mode: 999}", 1, 43, "`mode` must be an octal number up to 0777"),
    ("- write_file: {path: a, content: b, mode: '4755'}", 1, 43, "`mode` must be an octal number up to 0777"),
    ("- write_file: {path: a, content: b, format: toml}", 1, 45, "`format` must be one of text, json, yaml"),
    ("- write_file: {path: a, content: b, create_dir: true}", 1, 37, "did you mean `create_dirs`?"),
    ("- {shell: a, outputs: {x: '*.md'}}", 1, 27, "an output must be a mapping with `file_pattern`"),
    ("- {shell: a, outputs: {map: {file_pattern: a}}}", 1, 24, "`map` cannot be a name under `outputs`"),
    ("- {command: [a]}", 1, 13, "`command` must be the name of a command, got a list"),
    ("- {name: x, args: [[a]]}", 1, 20, "`args` must be a list of texts, got a list"),
    ("- {name: x, options: [a]}", 1, 22, "`options` must be a mapping, got a list"),
    ("- {shell: a, metadata: {retries: many}}", 1, 34, "`retries` must be a whole number"),
    (f"map: {{input: ls, merge: {{on_conflict: agnt}}, {TEMPLATE}}}", 1, 39, "`on_conflict` must be one of dlq, agent"),
    (
        f"map: {{input: ls, merge: {{strategy: x}}, {TEMPLATE}}}",
        1,
        36,
        "`strategy` must be one of merge, rebase, squash",
    ),
    ("steps: [{shell: 'echo ${merge.commits}'}]\nmerge: [{shell: a}]", 1, 23, "`${merge.commits}`"),
    (
        "steps: [{shell: a}]\nmerge: [{mapreduce: {map: {input: ls, agent_template: [{shell: a}]}}}]",
        2,
        10,
        "a `mapreduce` step cannot stand inside another step",
    ),
    (
        "map: {input: ls, agent_template: {commands: [{shell: a}], timeout: 5}}",
        1,
        59,
        "`timeout` under `agent_template`",
    ),
    *(
        (SETUP % written, 1, column, message)
        for written, column, message in (
            ("[a]", 50, "`capture_outputs` must be a mapping"),
            ("{x: 1}", 54, "there is no command 1: there is 1 command, and the first is 0"),
            ("{x: stdout}", 54, 'this must be the number of a command, from 0, got "stdout"'),
            ("{x: {source: stdout}}", 54, "`capture_outputs` needs a `command_index`"),
            ("{x: {command_index: 0, pattern: '('}}", 82, "`pattern` is no regular expression"),
            ("{x: {command_index: 0, json_path: 'a['}}", 86, "`json_path` is not a JSONPath"),
            ("{x: {command_index: 0, multiline: all}}", 84, "`multiline` must be one of preserve, join"),
            ("{'a b': 0}", 51, "a name under `capture_outputs` must be a name of letters"),
        )
    ),
]


@pytest.mark.parametrize(("text", "line", "column", "message"), WRONG)
def test_a_mistake_is_told_at_its_place(text: str, line: int, column: int, message: str) -> None:
    problem = problems_of(text)[0]
    assert message in problem.message
    assert (problem.line, problem.column) == (line, column)
