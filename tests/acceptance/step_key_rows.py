"""One row for every key of a step: steps that use it, and the lines that they leave in `$OUT/<key>`.

The same rows run as steps of a sequential workflow, of a map's item and of reduce. `$OUT` is outside the repository.
"""

from __future__ import annotations

from typing import NamedTuple

from agent_support import script


class Row(NamedTuple):
    """steps: YAML of a list. lines: what they leave, in order. places: where such a step may stand."""

    steps: str
    lines: str
    places: tuple[str, ...] = ("steps", "map", "reduce")


OUTSIDE = ("steps", "reduce")
_ASK = script({"sh": "echo asked >> $OUT/@"}, {"text": "an answer"})

ROWS = {
    "shell": Row('- shell: echo hello >> "$OUT/@"', "hello"),
    "claude": Row(f"- claude: '{_ASK}'", "asked"),
    "agent": Row(f"- agent: {{use: claude, prompt: '{_ASK}'}}", "asked"),
    "command": Row(f"- command: /{_ASK!r}".replace("/'", "'/"), "asked"),
    "args": Row(f"- {{name: do-it, args: ['{_ASK}']}}", "asked"),
    "options": Row(f"- {{name: do-it, args: ['{_ASK}'], options: {{depth: 2}}}}", "asked"),
    "metadata": Row(f"- {{name: do-it, args: ['{_ASK}'], metadata: {{timeout: 60}}}}", "asked"),
    "name": Row('- {name: A name, shell: \'echo "${step.name}" >> "$OUT/@"\'}', "A name"),
    "description": Row("- {description: words, shell: 'echo x >> \"$OUT/@\"'}", "x"),
    "id": Row(
        '- {id: first-@, shell: echo 1}\n- shell: echo "${first-@.output} ${first-@.exit_code}" >> "$OUT/@"', "1 0"
    ),
    "capture": Row('- {capture: got_@, shell: echo 5}\n- shell: echo ${got_@} >> "$OUT/@"', "5"),
    "capture_output": Row('- {capture_output: old_@, shell: echo 6}\n- shell: echo ${old_@} >> "$OUT/@"', "6"),
    "capture_format": Row(
        """
        - {capture: doc_@, capture_format: json, shell: 'echo "{\\"a\\": [1, 2]}"'}
        - {capture: rows_@, capture_format: lines, shell: 'printf "p\\nq\\n"'}
        - {capture: yes_@, capture_format: boolean, shell: 'echo true'}
        - shell: echo "${doc_@.a[1]} ${rows_@[1]} ${yes_@}" >> "$OUT/@"
        """,
        "2 q true",
    ),
    "capture_streams": Row(
        "- {capture: err_@, capture_streams: stderr, shell: 'echo out; echo err >&2'}\n- shell: echo ${err_@} >> \"$OUT/@\"",
        "err",
    ),
    "output_file": Row('- {output_file: said-@.txt, shell: echo said}\n- shell: cat said-@.txt >> "$OUT/@"', "said"),
    "outputs": Row(
        """
        - shell: mkdir -p notes; echo 1 > notes/@.md; echo 2 > other-@.txt; git add -A; git commit -q -m "notes @"
          outputs: {notes_@: {file_pattern: "*.md"}}
        - shell: echo ${notes_@} >> "$OUT/@"
        """,
        "notes/outputs.md",
    ),
    "when": Row(
        '- {when: "1 > 2", shell: \'echo no >> "$OUT/@"\'}\n- {when: "${step.index} >= 0", shell: \'echo yes >> "$OUT/@"\'}',
        "yes",
    ),
    "timeout": Row(
        '- {timeout: 1, shell: sleep 60, on_failure: {shell: \'echo "${error.kind}" >> "$OUT/@"\', max_retries: 0}}',
        "timeout",
    ),
    "idle_timeout": Row(
        '- {idle_timeout: 1s, shell: sleep 60, on_failure: {shell: \'echo "${error.kind}" >> "$OUT/@"\', max_retries: 0}}',
        "agent_hung",
    ),
    "retry": Row(
        """
        - shell: echo try >> "$OUT/@"; test "$(wc -l < "$OUT/@")" -ge 3
          retry: {attempts: 3, backoff: fixed, initial_delay: 0}
        """,
        "try try try",
    ),
    "env": Row('- {env: {GREETING: "hi ${workflow.name}"}, shell: \'echo "$GREETING" >> "$OUT/@"\'}', "hi keys"),
    "inherit": Row('- {inherit: false, env: {TO: "${env.OUT}"}, shell: \'echo "<$SHARED>" >> "$TO/@"\'}', "<>"),
    "clear_env": Row('- {clear_env: true, env: {TO: "${env.OUT}"}, shell: \'echo "<$SHARED>" >> "$TO/@"\'}', "<>"),
    "temporary": Row("- {temporary: true, env: {A: b}, shell: 'echo $A >> \"$OUT/@\"'}", "b"),
    "working_dir": Row(
        '- shell: mkdir -p sub-@\n- {working_dir: sub-@, shell: \'basename "$PWD" >> "$OUT/@"\'}', "sub-working_dir"
    ),
    "shell_options": Row("- {shell_options: [], shell: 'false; echo went on >> \"$OUT/@\"'}", "went on"),
    "on_success": Row('- {shell: "true", on_success: {shell: \'echo ok >> "$OUT/@"\'}}', "ok"),
    "on_failure": Row(
        """
        - {shell: exit 4, on_failure: true}
        - {shell: exit 5, on_failure: 'echo string >> "$OUT/@"'}
        - {shell: exit 6, on_failure: ['echo list >> "$OUT/@"', 'echo two >> "$OUT/@"']}
        - {shell: exit 7, on_failure: {commands: [{shell: 'echo "exit ${error.exit_code}" >> "$OUT/@"'}], strategy: recovery}}
        - {shell: test -e mended-@, on_failure: {shell: touch mended-@, max_retries: 2}}
        - shell: test -e mended-@ && echo mended >> "$OUT/@"
        """,
        "string list two exit 7 mended",
    ),
    "on_exit_code": Row("- {shell: exit 9, on_exit_code: {9: {shell: 'echo nine >> \"$OUT/@\"'}}}", "nine"),
    "allow_failure": Row('- {shell: exit 1, allow_failure: true}\n- shell: echo on >> "$OUT/@"', "on"),
    "continue_on_error": Row(
        "- {foreach: [a, b], continue_on_error: true, do: [{shell: 'echo ${item} >> \"$OUT/@\"; false'}]}", "a b"
    ),
    "auto_commit": Row(
        '- {shell: echo 1 > auto-@, auto_commit: true}\n- shell: git log -1 --format=%s >> "$OUT/@"',
        "echo 1 > auto-auto_commit",
    ),
    "commit_config": Row(
        """
        - shell: echo 1 > in-@.txt; echo 2 > out-@.log
          auto_commit: true
          commit_config:
            message_template: "keep: ${workflow.name}"
            message_pattern: "^keep: "
            author: Ada <ada%example.org>
            include_files: ["*.txt"]
        - shell: git log -1 --format='%s|%an|%ae' >> "$OUT/@"; git show --name-only --format= >> "$OUT/@"
        """,
        "keep: keys|Ada|ada%example.org in-commit_config.txt",
    ),
    "commit_required": Row(
        """
        - {shell: "true", commit_required: true, on_failure: {shell: 'echo "${error.kind}" >> "$OUT/@"', max_retries: 0}}
        - {shell: echo 1 > c-@; git add c-@; git commit -q -m c, commit_required: true}
        """,
        "commit_validation_failed",
    ),
    "validate": Row(
        """
        - shell: echo 40 > done-@
          validate:
            shell: 'printf "{\\"completion_percentage\\": %s, \\"missing\\": [\\"docs\\"]}" "$(cat done-@)" > result-@.json'
            result_file: result-@.json
            threshold: 90
            on_incomplete:
              shell: echo "${validation.completion} lacks ${validation.missing[0]}" >> "$OUT/@"; echo 95 > done-@
              max_attempts: 2
        """,
        "40 lacks docs",
    ),
    "on_incomplete": Row(
        """
        - shell: echo 0 > state-@
          validate: {shell: test -e ready-@}
          on_incomplete: {shell: 'echo repairing >> "$OUT/@"; touch ready-@'}
        """,
        "repairing",
    ),
    "step_validate": Row(
        """
        - shell: echo built
          step_validate:
            commands: [{command: echo fine, expect_output: "^fine$"}, {command: exit 3, expect_exit_code: 3}, {command: exit 1}]
            success_criteria: {atleast: 2}
        - {shell: "true", step_validate: exit 1, on_failure: {shell: 'echo "${error.kind}" >> "$OUT/@"', max_retries: 0}}
        """,
        "validation_failed",
    ),
    "skip_validation": Row(
        '- {shell: "true", step_validate: exit 1, skip_validation: true}\n- shell: echo on >> "$OUT/@"', "on"
    ),
    "validation_timeout": Row(
        """
        - shell: "true"
          step_validate: sleep 60
          validation_timeout: 1
          on_failure: {shell: 'echo "${error.kind}" >> "$OUT/@"', max_retries: 0}
        """,
        "validation_failed",
    ),
    "ignore_validation_failure": Row(
        '- {shell: "true", step_validate: exit 1, ignore_validation_failure: true}\n- shell: echo on >> "$OUT/@"', "on"
    ),
    "test": Row(
        '- test: {command: test -e t-@, on_failure: {shell: touch t-@; echo helped >> "$OUT/@", max_attempts: 2}}',
        "helped",
    ),
    "write_file": Row(
        """
        - write_file: {path: "made-@/x.json", content: '{"n": 1}', format: json, mode: "0600", create_dirs: true}
        - shell: tr -d '\\n ' < made-@/x.json >> "$OUT/@"; echo >> "$OUT/@"; stat -c %a made-@/x.json >> "$OUT/@"
        """,
        '{"n":1} 600',
    ),
    "foreach": Row(
        """
        - foreach: "printf 'a b\\nc\\n'"
          do: [{shell: 'echo "${item} ${index}/${total}" >> "$OUT/@"'}]
        - foreach: {foreach: [one, two], do: [{shell: 'echo ${item} >> "$OUT/@"'}]}
        """,
        "a b 0/2 c 1/2 one two",
    ),
    "do": Row(
        "- {foreach: [x], do: [{shell: 'echo ${item} 1 >> \"$OUT/@\"'}, {shell: 'echo ${item} 2 >> \"$OUT/@\"'}]}",
        "x 1 x 2",
    ),
    "max_items": Row("- {foreach: [a, b, c], max_items: 2, do: [{shell: 'echo ${item} >> \"$OUT/@\"'}]}", "a b"),
    "parallel": Row(
        '- {foreach: [a, b], parallel: 2, do: [{shell: "echo ${item} > par-@-${item}.txt"}]}\n'
        '- shell: cat par-@-a.txt par-@-b.txt >> "$OUT/@"',
        "a b",
    ),
    "worktree": Row(
        """
        - {worktree: wt-@-#-a, do: [{shell: echo 1 > only-@.txt}]}
        - {worktree: wt-@-#-b, do: [{shell: echo 2 > only-@.txt}]}
        - shell: cat "${worktrees.wt-@-#-a.path}/only-@.txt" >> "$OUT/@"; test ! -e only-@.txt; echo ${worktrees.wt-@-#-b.success} >> "$OUT/@"
        """,
        "1 true",
        OUTSIDE,
    ),
    "merge": Row(
        '- {worktree: wm-@-#, merge: true, do: [{shell: echo 1 > merged-@.txt}]}\n- shell: cat merged-@.txt >> "$OUT/@"',
        "1",
        OUTSIDE,
    ),
    "analysis": Row("- {analysis: {max_cache_age: 1}, shell: 'echo x >> \"$OUT/@\"'}", "x"),
    "fresh": Row("- {claude: 'x', fresh: true, when: 'false'}\n- shell: echo x >> \"$OUT/@\"", "x"),
    "budget": Row("- {shell: 'echo x >> \"$OUT/@\"', budget: {max_cost_usd: 1}}", "x"),
    "context": Row("- {context: {file: a}, shell: 'echo x >> \"$OUT/@\"'}", "x"),
    "mapreduce": Row(
        """
        - id: inner_@
          mapreduce:
            map: {input: "printf 'a\\nb\\n'", agent_template: [{shell: 'echo 1 > "mr-${item}.txt"'}]}
            reduce: [{shell: ls mr-a.txt mr-b.txt >> "$OUT/@"}]
        - shell: echo ${inner_@.successful} >> "$OUT/@"
        """,
        "mr-a.txt mr-b.txt 2",
        ("steps",),
    ),
}
