"""Parameters, imports, templates and other workflows as parts: from the command line to what the steps do."""

from __future__ import annotations

from support import Project

LIB = """\
templates:
  note:
    parameters: {text: {type: string}, to: {type: string}}
    steps:
      - shell: echo ${text} >> "$SHARED"/${to}
"""
MAIN = """\
imports: [lib.yml]
parameters:
  target: {type: string, description: what is looked at}
  workers: {type: integer, default: 2}
setup:
  - {use: note, with: {text: "a; touch $SHARED/owned `id`", to: notes}}
  - shell: echo "$target:${target}:$workers" >> "$SHARED/seen"
  - shell: echo '["one", "two"]' > items.json
map:
  input: ${list}.json
  max_parallel: ${workers}
  agent_template:
    - {use: note, with: {text: '${item}', to: items}}
    - shell: echo ${item} ${target} > ${item}.txt
"""


def test_a_map_of_several_files_gets_its_values_as_data(project: Project) -> None:
    project.workflow(LIB, "lib.yml")
    flow = project.workflow(MAIN)
    hostile = "x y; touch $SHARED/owned"
    done = project.prodigy("run", flow, "--no-merge", "--param", f"target={hostile}", env={"list": "items"})
    assert done.code == 0, done.err
    shared = project.folder
    assert not (shared / "owned").exists()
    assert (shared / "notes").read_text() == "a; touch $SHARED/owned `id`\n"
    assert (shared / "seen").read_text() == f"{hostile}:{hostile}:2\n"
    assert sorted((shared / "items").read_text().split()) == ["one", "two"]
    assert project.files(project.run_branch())["one.txt"] == f"one {hostile}"


PARTS = """\
parameters: {who: Ada}
workflows:
  find: {source: parts/find.yml, outputs: [found], parameters: {name: a file}}
  left: {source: parts/side.yml, parallel: true, parameters: {name: left}}
  right: {source: parts/side.yml, parallel: true, parameters: {name: right}}
  broken: {source: parts/broken.yml, continue_on_error: true}
  last: {source: parts/last.yml, inputs: {what: found}, working_dir: sub}
steps:
  - shell: test -e left.txt && test -e right.txt && echo "own ${found}" >> "$TALLY"
  - workflow: last
"""
FIND = 'parameters: [name]\nsteps: [{shell: \'echo find >> "$TALLY"; echo "$name"\', capture: found}]\n'
SIDE = "parameters: [name]\nsteps: [{shell: 'echo side >> \"$TALLY\"; touch ${name}.txt'}]\n"
LAST = '- shell: \'echo "last ${what} ${who} $(basename "$PWD")" >> "$TALLY"\'\n'


def test_other_workflows_really_run_as_parts(project: Project) -> None:
    project.write("sub/keep", "")
    project.commit()
    flow = project.workflow(PARTS)
    (project.folder / "parts").mkdir()
    for name, text in (("find", FIND), ("side", SIDE), ("last", LAST), ("broken", "- shell: exit 3\n")):
        project.workflow(text, f"parts/{name}.yml")
    done = project.prodigy("run", flow, "--yes")
    assert done.code == 0, done.err
    assert project.tally() == {"find": 1, "side": 2, "own a file": 1, "last a file Ada sub": 1}
    assert (project.repo / "left.txt").exists()


EDITED = """\
parameters: {word: {type: string, default: none}, more: [a]}
steps:
  - shell: echo "first ${word}" >> "$TALLY"
  - shell: echo "second ${word}" >> "$TALLY"; test -e "$SHARED/go"
"""


def test_a_resume_with_an_edited_file_keeps_the_parameters_unless_they_are_given_anew(project: Project) -> None:
    flow = project.workflow(EDITED)
    file = project.workflow("word: from file\n", "params.yml")
    assert project.prodigy("run", flow, "--no-merge", "--param-file", file).code == 1
    done = project.prodigy("resume", "latest")
    assert "has changed" not in done.err
    project.workflow(EDITED.replace("default: none", "default: other").replace("second", "again"))
    assert project.prodigy("resume", "latest", "--workflow", flow).code == 1
    (project.folder / "go").touch()
    refused = project.prodigy("resume", "latest", "--param", "word=new")
    assert (refused.code, "are fixed when it starts" in refused.err) == (2, True)
    done = project.prodigy("resume", "latest", "--workflow", flow, "--param", "word=new")
    assert done.code == 0, done.err
    assert project.tally() == {"first from file": 1, "second from file": 2, "again from file": 1, "again new": 1}


PROFILES = """\
env: {STAGE: dev}
profiles: {prod: {STAGE: prod}}
steps: [{shell: 'echo $STAGE >> "$TALLY"'}]
"""


def test_a_profile_is_chosen_on_the_command_line(project: Project) -> None:
    flow = project.workflow(PROFILES)
    assert project.prodigy("run", flow, "--no-merge", "--profile", "prod").code == 0
    assert project.tally() == {"prod": 1}
    refused = project.prodigy("validate", flow, "--profile", "prd")
    assert (refused.code, "did you mean prod?" in refused.err) == (2, True)


def test_validate_shows_every_file_and_every_mistake(project: Project) -> None:
    project.workflow("extends: flow.yml\n", "base.yml")
    flow = project.workflow("extends: base.yml\nparameters: {n: {type: integer}}\nsteps: [{shell: a}]\n")
    done = project.prodigy("validate", flow, "--json", "--param", "n=5")
    assert done.code == 2
    assert [(problem["line"], problem["file"].endswith("base.yml")) for problem in done.json["problems"]] == [(1, True)]
    assert "flow.yml -> " in done.json["problems"][0]["message"]
    for given, words in (("n=many", "must be a whole number"), ("nn=1", "did you mean `n`?"), ("n", "has no value")):
        done = project.prodigy("validate", flow, "--param", given)
        assert (done.code, words in done.err) == (2, True), done.err
