"""What an agent plants in the git directory of its clone is not run, and what it puts in its place is not followed.

Each trap is first shown to close on plain git in that clone, as a person would run it.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass

import pytest

from git_support import Canary, make_canary
from support import IDENTITY, Project, clean_environment, git


@dataclass(frozen=True)
class Trap:
    """plant: commands in the clone; `$EVIL` is a program that must not run. closes: git that a person would run there,
    None where only a fetch from it would be hurt."""

    plant: str
    closes: str | None = None


_MONITOR = 'git config core.fsmonitor "$EVIL"'
_PROMISE = (
    "git config core.repositoryformatversion 1; git config extensions.partialClone p; git config remote.p.promisor true"
)
_COMMIT = "echo second > second-$PRODIGY_ITEM_ID.txt; git add -A; git commit -qm second"
TRAPS = {
    "a monitor of files": Trap(_MONITOR, "status"),
    "hooks": Trap('for h in post-checkout pre-commit; do cp "$EVIL" .git/hooks/$h; done', "checkout -q -"),
    "hooks elsewhere": Trap('mkdir -p hk; cp "$EVIL" hk/post-checkout; git config core.hooksPath hk', "checkout -q -"),
    "a filter": Trap(
        'git config filter.f.clean "$EVIL"; echo "* filter=f" > .git/info/attributes; echo x > filtered.txt', "add -A"
    ),
    "a diff driver": Trap('git config diff.external "$EVIL"; echo more >> README.md', "diff"),
    "a program for ssh": Trap(
        'git config core.sshCommand "$EVIL"; git remote add up ssh://nobody@localhost/x', "fetch up"
    ),
    "a program that tells refs of alternates": Trap('git config core.alternateRefsCommand "$EVIL"'),
    "a hook of the packer": Trap('git config uploadpack.packObjectsHook "$EVIL"'),
    "a missing object and a remote that promises it": Trap(
        f'{_PROMISE}; git config remote.p.url "ext::$EVIL"; git config protocol.ext.allow always'
        '; find .git/objects -type f -path "*/??/*" -delete',
    ),
    "a remote with a program that sends": Trap(
        f'git config remote.p.url .; git config remote.p.uploadpack "$EVIL"; {_PROMISE}', "fetch p"
    ),
    "configuration from elsewhere": Trap(
        'printf "[core]\\n\\tfsmonitor = %s\\n" "$EVIL" > inc; git config include.path ../inc', "status"
    ),
    "a git directory elsewhere": Trap(f'{_MONITOR}; mv .git moved; printf "gitdir: moved\\n" > .git', "status"),
    "a link in place of the git directory": Trap(f"{_MONITOR}; mv .git moved; ln -s moved .git", "status"),
    "a common directory elsewhere": Trap(f"{_MONITOR}; cp -r .git far; echo ../far > .git/commondir", "status"),
    "the user's repository in its place": Trap('rm -rf .git; ln -s "$SHARED/repo/.git" .git'),
    "objects of another": Trap("mv .git/objects kept; ln -s ../kept .git/objects"),
    "a head that leads out": Trap("rm .git/HEAD; ln -s /etc/passwd .git/HEAD"),
    "a head that is a pipe": Trap("rm .git/HEAD; mkfifo .git/HEAD"),
    "a branch that leads out": Trap("git switch -qc b; rm .git/refs/heads/b; ln -s /etc/passwd .git/refs/heads/b"),
    "alternates that lead in a circle": Trap('echo "$PWD/.git/objects" >> .git/objects/info/alternates'),
    "packed refs that are a pipe": Trap(
        "rm -f .git/packed-refs; mkfifo .git/packed-refs; echo ref: refs/heads/nope > .git/HEAD"
    ),
    "packed refs without an end": Trap("truncate -s 8G .git/packed-refs; echo ref: refs/heads/nope > .git/HEAD"),
    "pipes among the objects": Trap(
        f"{_COMMIT}; mkdir -p .git/objects/pack; name=$(printf %040d 1); touch .git/objects/pack/pack-$name.pack"
        "; mkfifo .git/objects/pack/pack-$name.idx .git/objects/info/commit-graph"
        "; rm .git/objects/info/alternates; mkfifo .git/objects/info/alternates"
    ),
    "an object that is a pipe": Trap(
        f"{_COMMIT}; name=$(git rev-parse HEAD); name=.git/objects/${{name:0:2}}/${{name:2}}; rm -f $name; mkfifo $name"
    ),
    "a large file without an end": Trap(
        f"{_COMMIT}; mkdir -p .git/lfs/objects; truncate -s 30G .git/lfs/objects/x .git/lfs/objects/$(printf %064d 1)"
    ),
    "a locked index": Trap("touch .git/index.lock .git/HEAD.lock .git/config.lock"),
}
# After these what it did last can't be read any more, or is not known to be its own: the item fails.
LOST = {
    *("a git directory elsewhere", "objects of another"),
    *("a link in place of the git directory", "a common directory elsewhere", "the user's repository in its place"),
    *("packed refs that are a pipe", "packed refs without an end", "an object that is a pipe"),
    *("a head that leads out", "a head that is a pipe", "a branch that leads out"),
}


@pytest.mark.parametrize("name", [name for name, trap in TRAPS.items() if trap.closes])
def test_plain_git_would_step_into_it(project: Project, name: str) -> None:
    canary, trap = make_canary(project.folder.parent), TRAPS[name]
    git(project.folder, "clone", "-q", "--shared", str(project.repo), "clone")
    there = project.folder / "clone"
    _plant(project, canary, trap, str(there))
    environment = {**clean_environment(project.folder), **IDENTITY}
    command = ["timeout", "-k", "1", "2", "git", *(trap.closes or "").split()]  # the canary speaks no protocol
    subprocess.run(command, cwd=there, env=environment, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    assert canary.sang


def _plant(project: Project, canary: Canary, trap: Trap, where: str) -> None:
    script = f"set -e; git switch -q -c aside; git switch -q -; echo work > work.txt; {trap.plant}"
    environment = {
        **clean_environment(project.folder), **IDENTITY, "EVIL": str(canary.program), "SHARED": str(project.folder),
    }  # fmt: skip
    subprocess.run(["bash", "-c", script], cwd=where, env=environment, check=True, capture_output=True)
    canary.mark.unlink(missing_ok=True)  # planting itself may have set it off


@pytest.mark.parametrize("names", [sorted(TRAPS.keys() - LOST), sorted(LOST)], ids=["works on", "is lost"])
def test_nothing_of_it_runs_and_only_those_who_lose_their_own_work_fail(project: Project, names: list[str]) -> None:
    canary = make_canary(project.folder.parent)
    items = [{"id": f"trap-{number}", "plant": TRAPS[name].plant} for number, name in enumerate(names)]
    items.append({"id": "peaceful", "plant": "true"})
    (project.folder / "items.json").write_text(json.dumps(items))
    for item in items:
        (project.folder / f"{item['id']}.sh").write_text(f"echo work > work-{item['id']}.txt\n{item['plant']}\n")
    text = """
workspace: {isolation: clone}
map:
  input: cat "$SHARED/items.json"
  max_parallel: 2
  agent_template:
    - shell: |
        echo "${item.id}" > "made-by-${item.id}.txt"; git add -A; git commit -q -m "Work of ${item.id}"; git tag done
    - shell: |
        bash "$SHARED/$PRODIGY_ITEM_ID.sh"; rm -f "$MARK"
    - shell: "true"
"""
    env = {"EVIL": str(canary.program), "MARK": str(canary.mark)}
    before = git(project.repo, "rev-parse", "main")
    done = project.prodigy("run", project.workflow(text), "--no-merge", "--json", env=env)
    assert done.code in (0, 3), done.err
    assert not canary.sang
    events = [json.loads(line)["event"] for line in project.prodigy("events", "ls", "--json").out.splitlines()]
    failed = {event["item_id"] for event in events if event["event_type"] == "agent_failed"}
    lost = {item["id"] for item, name in zip(items, names, strict=False) if name in LOST}
    assert failed == lost, done.err
    assert "made-by-peaceful.txt" in project.files(project.run_branch())
    assert git(project.repo, "rev-parse", "main") == before
    assert git(project.repo, "status", "--porcelain") == ""
    everything = git(project.repo, "log", "--all", "--format=%s")
    assert all(f"Work of {item['id']}" in everything for item in items), "what was committed before is kept"
    project.assert_nothing_left()
