"""The run that kills inside of composite steps disturb: loops, validation with repair, named worktrees, loops whose
passes run side by side, in every phase. Every step writes what it did, so that a repeated one shows."""

from __future__ import annotations

from pathlib import Path

from support import Project, make_project

WORKFLOW = r"""
name: language
setup:
  - foreach: [alpha, beta, gamma]
    id: warm
    do:
      - shell: echo "setup ${item} ${index}" >> "$TALLY"; echo ${item} > "setup-${item}.txt"
        validate: echo "setup ${item} check" >> "$TALLY"
      - shell: echo "commit ${item}" >> "$TALLY"; git add -A; git commit -q -m ${item}
  - shell: echo "measured" >> "$TALLY"; echo 10 > complete.txt
    validate:
      shell: echo "looked at $(cat complete.txt)" >> "$TALLY"; printf '{"completion_percentage":%s}' "$(cat complete.txt)"
      threshold: 90
      on_incomplete:
        commands:
          - shell: echo "repair from $(cat complete.txt)" >> "$TALLY"
          - shell: echo "$(( $(cat complete.txt) + 45 ))" > complete.txt
        max_attempts: 3
  - foreach: [p, q]
    parallel: 2
    do:
      - shell: echo "side ${item}" >> "$TALLY"; echo ${item} > "side-${item}.txt"
  - shell: printf '%s\n' one two three > items.txt; echo "list" >> "$TALLY"; git add complete.txt; git commit -q -m complete
map:
  input: cat items.txt
  max_parallel: 2
  agent_template:
    - foreach: echo "values of ${item}" >> "$TALLY"; printf '%s\n' x y
      do:
        - shell: echo "$PRODIGY_ITEM_ID ${item} first" >> "$TALLY"; echo ${item} >> "$PRODIGY_ITEM_ID.txt"
        - shell: echo "$PRODIGY_ITEM_ID ${item} second" >> "$TALLY"; test ${item} = x
          on_failure: {shell: 'echo "$PRODIGY_ITEM_ID handled" >> "$TALLY"', max_retries: 0}
    - shell: echo "$PRODIGY_ITEM_ID written" >> "$TALLY"; echo 1 > "$PRODIGY_ITEM_ID.n"
      auto_commit: true
      commit_required: true
      step_validate: {commands: [{command: 'echo found; exit 3', expect_exit_code: 3, expect_output: '^found$'}]}
reduce:
  - foreach: [m, n]
    do:
      - shell: echo "reduce ${item}" >> "$TALLY"
  - foreach: [u, v]
    parallel: 2
    do:
      - shell: echo "after ${item}" >> "$TALLY"; echo ${item} > "after-${item}.txt"
  - shell: echo "behind" >> "$TALLY"; cat after-u.txt after-v.txt > both.txt
merge:
  - shell: echo "merge" >> "$TALLY"; echo merged > merged.txt
"""


def new_project(folder: Path) -> tuple[Project, Path]:
    project = make_project(folder)
    return project, project.workflow(WORKFLOW)
