"""A hostile agent in a sandbox: whatever it tries to write, read or end outside of its workspace stays as it was."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from prodigy.executors import sandbox
from support import Done, Project, git, make_project, processes_of, wait_until

needs_bwrap = pytest.mark.skipif(sandbox.problem() is not None, reason=f"no sandbox here: {sandbox.problem()}")

# What an agent tries, and a command that fails when it is held back. `$OTHER`: the workspace of another agent at work.
# `$STEP`: where the engine keeps what this step does. `$VICTIM`: a process of the user's.
WRITES = {
    "a file in the home": 'echo x > "$HOME/planted"',
    "the start of every shell": 'echo evil >> "$HOME/.bashrc"',
    "the user's configuration of git": "git config --global core.editor evil",
    "a command for the user's agent": 'mkdir -p "$HOME/.claude/commands" && echo x > "$HOME/.claude/commands/evil.md"',
    "a file of the user's checkout": 'echo evil >> "$REPO/README.md"',
    "a new file of the user's checkout": 'echo evil > "$REPO/evil.txt"',
    "the checkout's configuration": 'git -C "$REPO" config core.fsmonitor evil',
    "a hook of the repository": 'echo evil > "$REPO/.git/hooks/post-commit"',
    "a branch of the repository": 'git push -q "$REPO" HEAD:refs/heads/evil',
    "a ref file of the repository": 'git rev-parse HEAD > "$REPO/.git/refs/heads/evil"',
    "alternates of the repository": 'echo /tmp > "$REPO/.git/objects/info/alternates"',
    "the home of Prodigy": 'echo x > "$PRODIGY_HOME/planted"',
    "the workspace of another": 'echo x > "$OTHER/planted"',
    "the repository of another": 'git -C "$OTHER" commit -q --allow-empty -m evil',
    "beside its workspace": "echo x > ../planted",
    "through a link": 'ln -s "$HOME" out && echo x > out/planted',
    "through a hard link": 'ln "$REPO/README.md" hard && echo evil >> hard',
    "by renaming over a file": 'echo x > new && mv new "$HOME/.bashrc"',
    "a process of the user": 'kill -0 "$VICTIM"',
}
# Not tried without a sandbox: they would harm the run, or this machine.
HARMFUL = {
    "the objects of the repository": 'rm -rf "$REPO/.git/objects"/*/*',
    "the database of the run": 'echo x >> "$PRODIGY_HOME/runs/$PRODIGY_RUN_ID/run.db"',
    "the record of its own step": 'echo "{}" > "$STEP/exit.json"',
    "what its own step was told to do": 'echo x >> "$STEP/prompt.txt"',
    "the system's configuration": "echo x > /etc/planted",
    "the system's programs": "echo x > /usr/bin/planted",
    "the state of the system": "echo x > /var/lib/planted",
    "by mounting it anew": "mount -o remount,rw / && echo x > /etc/planted",
    "by mounting the home anew": 'mount -o remount,bind,rw "$HOME" && echo x > "$HOME/planted"',
    "as root of its own namespace": 'unshare -Urm sh -c "mount -o remount,rw / && echo x > /etc/planted"',
    "by the kernel's settings": "tee /proc/sys/kernel/core_pattern < /proc/sys/kernel/core_pattern",
    "by the root of another process": (
        'for p in /proc/[0-9]*; do cp "$HOME/notes.txt" "$p/root/etc/planted" && exit; done; exit 1'
    ),
    "by a device": "mknod disk b 8 0",
}
READS = {
    "a key of ssh": 'grep SECRET "$HOME/.ssh/id_ed25519"',
    "a login of a cloud": 'grep SECRET "$HOME/.aws/credentials"',
    "a login of git": 'grep SECRET "$HOME/.git-credentials"',
    "a password for the network": 'grep SECRET "$HOME/.netrc"',
    "a key through a link": 'ln -s "$HOME/.ssh/id_ed25519" key && grep SECRET key',
    "what lies below a mount": """unshare -Urm sh -c 'umount "$HOME/.ssh"; grep SECRET "$HOME/.ssh/id_ed25519"'""",
    "a token of the coordinator": "cat /proc/[0-9]*/environ | tr '\\0' '\\n' | grep THE_TOKEN=",
    "the work of another": 'grep private "$OTHER/working"',
    "the database of the run": 'grep -q SQLite "$PRODIGY_HOME/runs/$PRODIGY_RUN_ID/run.db"',
    "what another step printed": 'find "$PRODIGY_HOME/runs" -name stdout | grep -v "$STEP"',
    "files that others have for a while": 'ls "$SHARED_TMP/of-another-program"',
    "from a socket of another": (
        'python3 -c \'import os, socket; socket.socket(socket.AF_UNIX).connect(os.environ["SHARED_TMP"] + "/s")\''
    ),
}
WORK = {
    "write files": "echo draft > draft.txt",
    "commit": "git add draft.txt && git commit -q -m Work",
    "branch, stash and rebase": (
        "git switch -q -c topic && echo more >> draft.txt && git stash -q && git stash pop -q && git commit -qam more"
        " && git rebase -q main && git fsck --strict"
    ),
    "use a place for temporary files": 'mktemp && echo x > "${TMPDIR:-/tmp}/mine"',
    "read the home": 'grep -q hello "$HOME/notes.txt"',
    "run the user's programs": "helper | grep -q helped",
    "read the history": "git log --oneline main | grep -q start",
}
SCRIPT = """#!/bin/bash
# Every command on its own.
here=$PWD OTHER=$(cat "$WHERE") STEP=$(dirname "$1")
export OTHER STEP
while IFS=$'\\t' read -r kind name command; do
  cd "$here"
  if said=$(timeout 20 bash -c "$command" 2>&1 < /dev/null); then outcome=done; else outcome=failed; fi
  printf '%s\\t%s\\t%s\\n' "$kind" "$name" "$outcome" >> "$REPORT"
  printf '%s: %s\\n' "$name" "$said"
done < "$ATTACKS"
rm -f out key hard new disk
(setsid sleep 1000 > /dev/null 2>&1 &)
"""


@dataclass(frozen=True)
class Scene:
    """A run that is over, with a hostile agent and one that worked beside it. outcomes: (kind, name) -> `done`,
    `failed`."""

    project: Project
    outcomes: dict[tuple[str, str], str]
    before: dict[str, str]
    after: dict[str, str]


def program(project: Project, name: str, text: str) -> Path:
    path = project.folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def outside(project: Project) -> dict[str, str]:
    """Every file of the user's: path -> what is in it. Not Prodigy's own home, where files change by themselves."""
    found = {}
    for root, _, names in os.walk(project.folder):
        for name in names:
            path = Path(root, name)
            relative = path.relative_to(project.folder)
            if relative.parts[0] != "home" and relative.parts[:2] != ("repo", ".git"):
                found[str(relative)] = path.read_text(errors="replace")
    common = project.repo / ".git"
    for name in ("config", "info/exclude", "objects/info/alternates"):
        found[f".git/{name}"] = (common / name).read_text() if (common / name).exists() else ""
    found["hooks"] = " ".join(sorted(path.name for path in (common / "hooks").iterdir()))
    refs = git(project.repo, "for-each-ref", "--format=%(refname)").splitlines()
    found["refs"] = " ".join(ref for ref in refs if "prodigy/" not in ref)
    return found


@contextmanager
def neighbours(shared: Path) -> Iterator[int]:
    """A process of the user's, and one that listens in a directory that all share; the number of the first."""
    shared.mkdir()
    (shared / "of-another-program").touch()
    victim = subprocess.Popen(["sleep", "600"])
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(shared / "s"))
        listener.listen()
        try:
            yield victim.pid
        finally:
            victim.kill()
            victim.wait()


def played(folder: Path, *, confined: bool) -> Scene:
    """Let a hostile agent try everything, with another one at work beside it."""
    project = make_project(folder)
    for name, text in {
        ".ssh/id_ed25519": "SECRET", ".aws/credentials": "SECRET", ".git-credentials": "SECRET", ".netrc": "SECRET",
        "notes.txt": "hello", ".bashrc": "# mine\n", "where": "", "over": "",
    }.items():  # fmt: skip
        (project.folder / name).parent.mkdir(exist_ok=True)
        (project.folder / name).write_text(text)
    program(project, "helper", "#!/bin/sh\necho helped\n")
    kinds = {"write": WRITES | (HARMFUL if confined else {}), "read": READS, "work": WORK if confined else {}}
    lines = [(kind, name, command) for kind, tried in kinds.items() for name, command in tried.items()]
    attacks = program(project, "attacks.tsv", "".join("\t".join(line) + "\n" for line in lines))
    hostile = program(project, "hostile", SCRIPT)
    wait = f'until [ -s "{project.folder}/over" ]; do sleep 0.05; done'
    peaceful = program(
        project, "peaceful", f'#!/bin/sh\necho private > working; pwd > "{project.folder}/where"\n{wait}\n'
    )
    report = "report.tsv" if confined else str(project.folder / "home" / "report.tsv")
    with neighbours(folder / "tmp") as victim:
        env = {
            "ATTACKS": attacks, "REPO": project.repo, "PATH": f"{hostile.parent}:{os.environ['PATH']}",
            "REPORT": report, "SHARED_TMP": folder / "tmp", "WHERE": project.folder / "where", "VICTIM": victim,
        }  # fmt: skip
        bad = {
            "kind": "command",
            "command": [str(hostile), "{prompt_file}"],
            "env": {n: str(v) for n, v in env.items()},
        }
        agents = {
            "bad": {**bad, **({"sandbox": "bwrap"} if confined else {})},
            "good": {"kind": "command", "command": [str(peaceful)]},
        }
        flow = project.workflow(f"""
agents: {json.dumps(agents)}
workspace: {{isolation: clone}}
map:
  input: printf '%s\\n' '{{"id":"good"}}' '{{"id":"bad"}}'
  max_parallel: 2
  agent_template:
    - {{agent: {{use: good, prompt: x}}, when: "${{item.id}} == 'good'"}}
    - shell: until [ -s "$SHARED/where" ]; do sleep 0.05; done
    - {{agent: {{use: bad, prompt: x}}, when: "${{item.id}} == 'bad'", on_failure: true}}
    - shell: echo x > "$SHARED/over"
""")
        before = outside(project)
        running = project.start("run", flow, "--no-merge", env={"THE_TOKEN": "secret"})
        _, said = running.communicate()
        assert running.returncode in ((0,) if confined else (0, 3)), said.decode()
        after = {**outside(project), "where": "", "over": ""}
    text = project.files(project.run_branch())["report.tsv"] if confined else Path(report).read_text()
    reported = [line.split("\t") for line in text.splitlines()]
    return Scene(project, {(kind, name): outcome for kind, name, outcome in reported}, before, after)


@pytest.fixture(scope="module")
def confined(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return played(tmp_path_factory.mktemp("sandbox"), confined=True)


@pytest.fixture(scope="module")
def free(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return played(tmp_path_factory.mktemp("free"), confined=False)


def test_without_a_sandbox_an_agent_can_do_all_of_it(free: Scene) -> None:
    """A trap that can't close would prove nothing."""
    assert {name for name, outcome in free.outcomes.items() if outcome != "done"} == set()
    assert free.outcomes.keys() == {*(("write", name) for name in WRITES), *(("read", name) for name in READS)}


@needs_bwrap
@pytest.mark.parametrize("name", WRITES | HARMFUL)
def test_it_can_not_write(confined: Scene, name: str) -> None:
    assert confined.outcomes["write", name] == "failed"


@needs_bwrap
@pytest.mark.parametrize("name", READS)
def test_it_can_not_read(confined: Scene, name: str) -> None:
    assert confined.outcomes["read", name] == "failed"


@needs_bwrap
@pytest.mark.parametrize("name", WORK)
def test_it_can_do_its_work(confined: Scene, name: str) -> None:
    assert confined.outcomes["work", name] == "done"


@needs_bwrap
def test_everything_outside_is_as_it_was(confined: Scene) -> None:
    assert confined.after == confined.before
    for place in ("/etc", "/usr/bin", "/var/lib"):
        assert not Path(place, "planted").exists()
    assert not list(confined.project.home.rglob("planted"))
    assert "error" not in git(confined.project.repo, "fsck", "--strict")
    assert processes_of(confined.project.folder) == []
    assert confined.project.files(confined.project.run_branch())["draft.txt"] == "draft\nmore"


# What it may do is said ---------------------------------------------------------------------------------------


def agent(project: Project, script: str, sandbox_: object, **more: object) -> Done:
    """Run one agent that is this script, and what it leaves in the run branch."""
    command = [str(program(project, "agent", f"#!/bin/bash\n{script}\n"))]
    settings = {"kind": "command", "command": command, "sandbox": sandbox_, **more}
    text = f"agents: {{it: {json.dumps(settings)}}}\nsteps: [{{agent: {{use: it, prompt: go}}}}]\n"
    return project.prodigy("run", project.workflow(text), "--no-merge")


@needs_bwrap
def test_named_places_can_be_written_read_and_hidden(project: Project) -> None:
    for name in ("cache/old", ".ssh/known_hosts", "mail/letter"):
        (project.folder / name).parent.mkdir()
        (project.folder / name).write_text(name)
    done = agent(
        project,
        "echo new > ~/cache/new; mkdir ~/fresh/inner; cat ~/.ssh/known_hosts > read.txt\n"
        "test ! -e ~/mail/letter; ! echo x > ~/.ssh/known_hosts; echo still > ~/cache/old",
        {"write": ["~/cache", "~/fresh"], "read": ["~/.ssh"], "hide": ["~/mail"]},
    )
    assert done.code == 0, done.err
    assert (project.folder / "cache/new").read_text() == "new\n"
    assert (project.folder / "fresh/inner").is_dir()
    assert project.files(project.run_branch())["read.txt"] == ".ssh/known_hosts"
    assert (project.folder / ".ssh/known_hosts").read_text() == ".ssh/known_hosts"


@needs_bwrap
@pytest.mark.parametrize("network", [True, False])
def test_the_network_is_there_unless_the_workflow_says_no(project: Project, network: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = agent(
            project, f"(: < /dev/tcp/127.0.0.1/{port}) && echo yes > out || echo no > out", {"network": network}
        )
    assert done.code == 0, done.err
    assert project.files(project.run_branch())["out"] == ("yes" if network else "no")


def two_agents(project: Project, first: tuple[str, object], second: tuple[str, object], **more: object) -> Done:
    """Let two agents, each a script with a sandbox, work one behind the other in one workspace."""
    agents = {}
    for name, (script, sandbox_) in (("one", first), ("two", second)):
        command = [str(program(project, name, f"#!/bin/bash\n{script}\n"))]
        agents[name] = {"kind": "command", "command": command, "sandbox": sandbox_, **more}
    steps = "steps: [{agent: {use: one, prompt: go}}, {agent: {use: two, prompt: go}}]"
    return project.prodigy("run", project.workflow(f"agents: {json.dumps(agents)}\n{steps}\n"), "--no-merge")


@needs_bwrap
def test_a_link_in_a_writable_place_makes_nothing_else_writable(project: Project) -> None:
    (project.folder / ".bashrc").write_text("mine")
    plant = "rmdir ~/cache/pip; rm -rf ~/cache/pip; ln -s ~ ~/cache/pip; mv ~/cache ~/cache2; true"
    done = two_agents(project, (plant, {"write": ["~/cache"]}), ("echo evil >> ~/.bashrc", {"write": ["~/cache/pip"]}))
    assert done.code != 0
    assert (project.folder / ".bashrc").read_text() == "mine"
    inner = "mv ~/c/a ~/c/b; mkdir ~/c/a; ln -s ~ ~/c/a/d; true"
    places = {"write": ["~/c", "~/c/a/d"]}
    shutil.rmtree(project.home)
    two_agents(project, (inner, places), ("echo evil > ~/c/a/d/planted", places))
    assert not (project.folder / "planted").exists()


@needs_bwrap
def test_what_is_hidden_stays_so_when_what_leads_to_it_is_renamed(project: Project) -> None:
    keys = project.folder / ".local/share/keyrings"
    keys.mkdir(parents=True)
    (keys / "login").write_text("SECRET")
    places = {"write": ["~/.local"]}
    move = ("mv ~/.local/share ~/.local/other; true", places)
    done = two_agents(project, move, ("cat ~/.local/*/keyrings/login > found.txt; true", places))
    assert done.code == 0, done.err
    assert project.files(project.run_branch())["found.txt"] == ""


@needs_bwrap
def test_secrets_are_hidden_whatever_home_the_workflow_names() -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:  # what is below /dev can't be named
        _hidden_whatever_home(make_project(Path(folder)))


def _hidden_whatever_home(project: Project) -> None:
    (project.folder / ".ssh").mkdir()
    (project.folder / ".ssh/id").write_text("SECRET")
    (project.folder / "sub").mkdir()
    look = (
        f'cat "{project.folder}/.ssh/id" "{project.home}"/runs/*/run.db "{project.repo}/.git/config" > found.txt; true'
    )
    places = {"read": [str(project.folder)], "write": [str(project.home)]}
    done = agent(project, look, places, env={"HOME": str(project.folder / "sub")})
    assert done.code == 0, done.err
    assert project.files(project.run_branch())["found.txt"] == ""


@needs_bwrap
def test_a_repository_that_is_hidden_is_not_read_for_an_agent(project: Project) -> None:
    """We read the objects that an agent's clone names, with more rights than it has."""
    private = make_project(project.folder / "private")
    (private.repo / "s.txt").write_text("TOPSECRET")
    commit = private.commit()
    plant = (
        f'echo "{private.repo}/.git/objects" >> .git/objects/info/alternates\n'
        f"id=$(git cat-file commit HEAD | sed 's/^parent .*//; s/^tree .*/&\\nparent {commit}/' | sed '/^$/{{1,3d}}' |"
        " git hash-object -t commit -w --stdin --literally); echo $id > .git/HEAD; true"
    )
    places = {"hide": [str(private.folder)]}
    two_agents(project, (plant, places), (f"git show {commit}:s.txt > found.txt; true", places))
    found = subprocess.run(["git", "cat-file", "-e", commit], cwd=project.repo, check=False, capture_output=True)
    assert found.returncode != 0


@needs_bwrap
@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="there is no /dev/shm")
def test_a_repository_in_memory_can_be_worked_on() -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        project = make_project(Path(folder))
        done = agent(project, "echo x > x.txt; git add x.txt; git commit -qm x; touch /dev/shm/mine", "bwrap")
        assert done.code == 0, done.err
        assert "x.txt" in project.files(project.run_branch())
        assert not Path("/dev/shm/mine").exists()


# Where it is not possible ---------------------------------------------------------------------------------------


def without_bwrap(project: Project, *more: Path) -> dict[str, str]:
    """A PATH on which everything is but bwrap."""
    folder = project.folder / "tools"
    folder.mkdir()
    for place in reversed(os.environ["PATH"].split(os.pathsep)):
        for tool in Path(place).glob("*") if Path(place).is_dir() else ():
            (folder / tool.name).unlink(missing_ok=True)
            (folder / tool.name).symlink_to(tool)
    (folder / "bwrap").unlink(missing_ok=True)
    return {"PATH": os.pathsep.join([*map(str, more), str(folder)])}


def test_a_run_does_not_start_without_the_sandbox_that_is_asked_for(project: Project) -> None:
    project.env |= without_bwrap(project)
    done = agent(project, "echo x > x.txt", "bwrap")
    assert done.code == 5
    assert "the agent 'it' is to have a sandbox, and there is no bwrap" in done.err
    assert "sandbox: auto" in done.err
    assert not (project.home / "runs").exists()
    assert git(project.repo, "for-each-ref", "--format=%(refname)") == "refs/heads/main"


def test_the_reason_is_told_when_the_kernel_allows_none(project: Project) -> None:
    broken = program(project, "bwrap", "#!/bin/sh\necho 'setting up uid map: Permission denied' >&2; exit 1\n")
    project.env |= without_bwrap(project, broken.parent)
    done = agent(project, "echo x > x.txt", "bwrap")
    assert done.code == 5
    assert "can't make a sandbox: setting up uid map: Permission denied" in done.err


def test_where_it_may_be_missing_the_run_goes_on_and_says_so(project: Project) -> None:
    project.env |= without_bwrap(project)
    done = agent(project, "test -d .git; echo x > x.txt", "auto")
    assert done.code == 0, done.err
    assert "it: no sandbox, because there is no bwrap" in done.err
    events = project.prodigy("events", "ls", "latest").out
    assert "no sandbox, because there is no bwrap" in events
    assert "x.txt" in project.files(project.run_branch())


@needs_bwrap
def test_where_it_is_possible_auto_confines(project: Project) -> None:
    done = agent(project, "! echo x > ~/planted", "auto")
    assert done.code == 0, done.err
    assert not (project.folder / "planted").exists()


def test_a_wrapper_runs_the_agent(project: Project) -> None:
    wrapper = program(project, "box", '#!/bin/sh\nat=$1; shift\necho "$at" > boxed.txt; exec "$@"\n')
    done = agent(project, "echo x > x.txt", {"wrapper": [str(wrapper), "--at={workspace}", "{cmd}"]})
    assert done.code == 0, done.err
    files = project.files(project.run_branch())
    assert files["x.txt"] == "x"
    assert files["boxed.txt"].startswith(f"--at={project.home.resolve()}/worktrees/")


def test_a_wrapper_that_is_not_there_is_told_before_anything_starts(project: Project) -> None:
    done = agent(project, "true", {"wrapper": ["no-such-box", "{cmd}"]})
    assert done.code == 5
    assert "the program 'no-such-box' that is to be the sandbox of the agent 'it' is not there" in done.err
    assert not (project.home / "runs").exists()


# Durable as other steps -------------------------------------------------------------------------------------------


ONE_ITEM = "agents: {it: %s}\nmap: {input: echo x, agent_template: [{agent: {use: it, prompt: a}}]}\n"


@needs_bwrap
def test_a_confined_agent_outlives_its_coordinator_and_is_adopted(project: Project, let_go: None) -> None:
    del let_go
    command = program(
        project, "agent",
        '#!/bin/bash\necho once >> "$PWD/tally.txt"; until [ -e ~/go ]; do sleep 0.05; done; echo done >> tally.txt\n',
    )  # fmt: skip
    flow = project.workflow(ONE_ITEM % json.dumps({"kind": "command", "command": [str(command)], "sandbox": "bwrap"}))
    running = project.start("run", flow, "--yes")
    wait_until(lambda: list(project.home.glob("worktrees/*/*-s1/tally.txt")) != [], "the agent works")
    running.kill()
    running.communicate()
    (project.folder / "go").touch()
    done = project.prodigy("resume", "--yes")
    assert done.code == 0, done.err
    assert project.files("main")["tally.txt"] == "once\ndone"


@needs_bwrap
def test_cancelling_ends_all_that_a_confined_agent_started(project: Project) -> None:
    command = program(project, "agent", "#!/bin/bash\n(setsid sleep 900 &) ; touch started; sleep 900\n")
    flow = project.workflow(ONE_ITEM % json.dumps({"kind": "command", "command": [str(command)], "sandbox": "bwrap"}))
    running = project.start("run", flow, "--yes")
    wait_until(lambda: list(project.home.glob("worktrees/*/*-s1/started")) != [], "the agent works")
    assert project.prodigy("cancel", "latest").code == 0
    running.communicate()
    assert processes_of(project.folder) == []
