"""What an agent does to the shared repository fails its item, is gone afterwards, and is kept as evidence; other items
go on, and what the user does meanwhile is not blamed."""

from __future__ import annotations

import json
import os
import shlex
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from git_support import files_in
from support import Done, Project, git, wait_until

# Two items, one after another. The first does what the test says, the second works on.
TWO = """
map:
  input: printf '{"id":"bad"}\\n{"id":"good"}\\n'
  max_parallel: 1
  agent_template:
    - shell: |
        cd "$PRODIGY_WORKTREE"
        echo "$PRODIGY_ITEM_ID" > "$PRODIGY_ITEM_ID.txt"
        git add -A
        git commit -q -m "$PRODIGY_ITEM_ID"
        . "$SHARED/$PRODIGY_ITEM_ID.sh"
"""


@dataclass
class Scene:
    """A project whose `.git` is watched. before: the guarded files as the user had them."""

    project: Project

    @property
    def git_dir(self) -> Path:
        return self.project.repo / ".git"

    def run(self, bad: str, good: str = "true", *options: str, env: dict[str, str] | None = None) -> Done:
        """Let the item `bad` do the one, and the item `good` the other."""
        for name, body in {"bad": bad, "good": good}.items():
            self.project.folder.joinpath(f"{name}.sh").write_text(f"GIT={shlex.quote(str(self.git_dir))}\n{body}\n")
        return self.project.prodigy("run", self.project.workflow(TWO), "--yes", "--json", *options, env=env)

    def guarded(self) -> dict[str, tuple[str, str]]:
        """path -> mode and content, of everything that nobody may change."""
        found = {}
        for top in ("config", "config.worktree", "info", "hooks", "objects/info/alternates", "shallow", "HEAD"):
            path = self.git_dir / top
            real = path.is_dir() and not path.is_symlink()
            for one in sorted(path.rglob("*")) if real else [path]:
                name = str(one.relative_to(self.git_dir))
                if os.path.lexists(one) and not one.is_dir() and not name.endswith(".sample") and name != "info/refs":
                    mode = one.lstat().st_mode
                    content = str(one.readlink()) if stat.S_ISLNK(mode) else one.read_text()
                    found[name] = (f"{mode:o}", content)
        return found

    def letters(self) -> dict[str, dict[str, Any]]:
        letters = self.project.prodigy("dlq", "list", "--json").json
        return {letter["item_id"]: letter["failure_history"][-1] for letter in letters}

    def evidence(self, place: str = "it1/1/i0001/a1") -> Path:
        return self.project.home / "runs" / self.project.run_id() / "steps" / place / "tampering"

    def record(self, place: str = "it1/1/i0001/a1") -> dict[str, Any]:
        found = json.loads((self.evidence(place) / "tampering.json").read_text())
        assert isinstance(found, dict)
        return found

    def kept_texts(self, place: str = "it1/1/i0001/a1") -> list[str]:
        """The files of the evidence, none of which can be run."""
        found = []
        for path in sorted((self.evidence(place) / "files").rglob("*")):
            if path.is_file():
                assert not path.stat().st_mode & 0o111, path
                found.append(path.read_text())
        return found

    def warnings(self) -> list[str]:
        lines = self.project.prodigy("events", "ls", "latest", "--json").out.splitlines()
        events = [json.loads(line)["event"] for line in lines]
        return [event["message"] for event in events if event["event_type"] == "warned"]


@pytest.fixture
def scene(project: Project) -> Scene:
    scene = Scene(project)
    git(project.repo, "config", "core.editor", "vi")
    hook = scene.git_dir / "hooks" / "pre-push"
    hook.write_text("#!/bin/sh\necho the user's own\n")
    hook.chmod(0o750)
    (scene.git_dir / "hooks" / "post-merge").symlink_to("pre-push")
    return scene


# name -> what the agent does, words of the message, a text that is in the evidence.
PLANTED = {
    "a setting": ("git config core.hooksPath /evil", "config: core.hookspath is now '/evil'", "hooksPath = /evil"),
    "a setting that is gone": ("git config --unset core.editor", "config: core.editor was removed", "[core]"),
    "a file that is no configuration": ('echo "[broken" >> "$GIT/config"', "config was changed", "[broken"),
    "settings of worktrees": (
        'printf "[core]\\n fsmonitor = evil\\n" > "$GIT/config.worktree"',
        "config.worktree: core.fsmonitor is now 'evil'",
        "fsmonitor = evil",
    ),
    "a hook": (
        'printf "#!/bin/sh\\necho evil\\n" > "$GIT/hooks/pre-commit"; chmod 755 "$GIT/hooks/pre-commit"',
        "hooks/pre-commit was created",
        "echo evil",
    ),
    "a changed hook": ('echo "echo evil" >> "$GIT/hooks/pre-push"', "hooks/pre-push was changed", "echo evil"),
    "a hook made idle": ('chmod 644 "$GIT/hooks/pre-push"', "hooks/pre-push was changed", "the user's own"),
    "a hook that is gone": ('rm "$GIT/hooks/pre-push"', "hooks/pre-push was removed", None),
    "another link": ('ln -sf /evil "$GIT/hooks/post-merge"', "hooks/post-merge was changed", None),
    "all hooks elsewhere": (
        'mv "$GIT/hooks" "$SHARED/moved"; ln -s "$SHARED/moved" "$GIT/hooks"',
        "hooks was created; hooks/post-merge was removed; hooks/pre-push was removed",
        None,
    ),
    "a file where the hooks were": ('rm -r "$GIT/hooks"; echo evil > "$GIT/hooks"', "pre-push was removed", "evil"),
    "hooks below a hook": (
        'rm "$GIT/hooks/pre-push"; mkdir "$GIT/hooks/pre-push"; echo evil > "$GIT/hooks/pre-push/x"',
        "hooks/pre-push/x was created",
        "evil",
    ),
    "a configuration that is a directory": (
        'rm "$GIT/config"; mkdir "$GIT/config"; echo evil > "$GIT/config/x"; chmod 755 "$GIT/config/x"',
        "config was changed",
        "evil",
    ),
    "a pipe": ('rm "$GIT/config"; mkfifo "$GIT/config"', "config was changed", None),
    "attributes": ('echo "* filter=evil" > "$GIT/info/attributes"', "info/attributes was created", "filter=evil"),
    "exclusions": ('echo "*" >> "$GIT/info/exclude"', "info/exclude was changed", "*"),
    "objects of others": (
        'mkdir -p "$GIT/objects/info"; echo /evil > "$GIT/objects/info/alternates"',
        "objects/info/alternates was created",
        "/evil",
    ),
    "a history cut short": ('git rev-parse HEAD > "$GIT/shallow"', "shallow was created", "\n"),
    "no HEAD": ('rm "$GIT/HEAD"', "HEAD was removed", None),
    "a HEAD that is none": ('echo evil > "$GIT/HEAD"', "HEAD was changed", "evil"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_planted_fails_its_item_is_gone_afterwards_and_is_kept(scene: Scene, name: str) -> None:
    body, words, text = PLANTED[name]
    before = scene.guarded()
    seen_by_good = scene.project.folder / "seen-by-good"
    done = scene.run(body, f'cp -a "$GIT/config" {shlex.quote(str(seen_by_good))}')
    assert done.code == 3, done.err
    assert scene.guarded() == before
    letters = scene.letters()
    assert set(letters) == {"bad"}
    assert letters["bad"]["error_type"] == "tampered"
    assert words in letters["bad"]["error_message"]
    assert str(scene.evidence()) in letters["bad"]["error_message"]
    assert "could not be" not in letters["bad"]["error_message"]
    assert "good.txt" in scene.project.files("main")
    assert "bad.txt" not in scene.project.files("main")
    assert seen_by_good.read_text() == before["config"][1], "it was gone before the next item"
    record = scene.record()
    assert any(words.split(": ")[-1].split("; ")[0] in change for change in record["found"])
    assert record["files"]
    assert record["not_put_back"] == []
    if text is not None:
        assert any(text in kept for kept in scene.kept_texts())
    scene.project.assert_nothing_left()


@pytest.mark.parametrize("name", ["gitdir", "commondir"])
def test_the_ties_of_a_worktree_in_use_are_put_back(scene: Scene, name: str) -> None:
    done = scene.run(f'echo /evil > "$(git rev-parse --git-dir)/{name}"')
    assert done.code == 3, done.err
    assert set(scene.letters()) == {"bad"}
    assert f"/{name} was changed" in scene.letters()["bad"]["error_message"]
    assert scene.kept_texts() == ["/evil\n"]
    scene.project.assert_nothing_left()


def test_a_failure_of_its_own_does_not_hide_tampering(scene: Scene) -> None:
    before = scene.guarded()
    scene.run("git config core.hooksPath /evil; exit 7")
    letter = scene.letters()["bad"]
    assert letter["error_type"] == "tampered"
    assert "besides" in letter["error_message"]
    assert scene.guarded() == before


def test_harmless_settings_stay_when_the_others_are_put_back(scene: Scene) -> None:
    config = (scene.git_dir / "config").read_text()
    scene.run("git config user.name Agent; git config branch.main.remote origin; git config core.hooksPath /evil")
    assert set(scene.letters()) == {"bad"}
    assert git(scene.project.repo, "config", "--local", "user.name") == "Agent"
    assert git(scene.project.repo, "config", "--local", "branch.main.remote") == "origin"
    assert (scene.git_dir / "config").read_text().startswith(config)
    assert "evil" not in (scene.git_dir / "config").read_text()


def test_a_file_that_is_too_large_to_be_kept_stays_and_is_told(scene: Scene) -> None:
    scene.run('truncate -s 100M "$GIT/hooks/pre-commit"')
    letters = scene.letters()
    assert set(letters) == {"bad"}, "what can't be put back is one item's fault, not everybody's"
    assert "hooks/pre-commit (it is larger than 64 MiB) could not be" in letters["bad"]["error_message"]
    assert (scene.git_dir / "hooks/pre-commit").stat().st_size == 100 << 20
    assert scene.record()["not_put_back"] == ["hooks/pre-commit (it is larger than 64 MiB)"]


def test_nothing_outside_is_touched_through_a_link(scene: Scene) -> None:
    outside = scene.project.folder / "outside"
    outside.mkdir()
    (outside / "alternates").write_text("/precious\n")
    (outside / "attributes").write_text("precious\n")
    before = files_in(outside)
    for name in ("objects/info", "info"):
        scene.git_dir.joinpath(name).mkdir(exist_ok=True)
    guarded = scene.guarded()
    scene.run('for at in objects/info info; do rm -r "$GIT/$at"; ln -s "$SHARED/outside" "$GIT/$at"; done')
    assert set(scene.letters()) == {"bad"}
    assert files_in(outside) == before
    assert scene.guarded() == guarded


# Refs ------------------------------------------------------------------------------------------------------


def test_refs_of_ours_are_put_back_and_what_another_hand_put_there_is_kept(scene: Scene) -> None:
    repo = scene.project.repo
    stray = git(repo, "commit-tree", "HEAD^{tree}", "-m", "stray")
    good = f"""
git for-each-ref --format='%(refname) %(objectname)' refs/prodigy refs/heads/prodigy > "$SHARED/refs"
for ref in $(git for-each-ref --format='%(refname)' refs/prodigy refs/heads/prodigy/*/run); do
  git update-ref $ref {stray}
done
"""
    done = scene.run("exit 1", good)
    assert set(scene.letters()) == {"bad"}, done.err
    before = dict(line.split(" ") for line in (scene.project.folder / "refs").read_text().splitlines())
    watched = [name for name in before if name.startswith("refs/prodigy/")]
    assert watched
    for name in watched:
        assert git(repo, "rev-parse", name) == before[name]
        assert any(f"somebody moved {name} to {stray[:12]}" in warning for warning in scene.warnings())
    assert git(repo, "rev-parse", f"refs/prodigy/{scene.project.run_id()}/kept/{stray}") == stray
    assert "good.txt" in scene.project.files("main")


def test_a_ref_of_an_attempt_in_flight_is_put_back_when_another_one_ends(scene: Scene) -> None:
    """The snapshot of what an item has not committed hangs on nothing else."""
    workflow = scene.project.workflow("""
map:
  input: printf '{"id":"bad"}\\n{"id":"good"}\\n'
  max_parallel: 2
  agent_template:
    - shell: echo "$PRODIGY_ITEM_ID" > "$PRODIGY_ITEM_ID.txt"
    - shell: |
        if [ "$PRODIGY_ITEM_ID" = bad ]; then
          until [ -e "$SHARED/waits" ]; do read -t 0.05 x < <(:) || true; done
          git for-each-ref --format='delete %(refname)' refs/prodigy | tee "$SHARED/refs" | git update-ref --stdin
        else
          touch "$SHARED/waits"
          until git cat-file -e "prodigy/$PRODIGY_RUN_ID/run:bad.txt" 2> /dev/null; do
            read -t 0.05 x < <(:) || true
          done
          git for-each-ref --format='%(refname)' refs/prodigy > "$SHARED/seen"
        fi
""")
    done = scene.project.prodigy("run", workflow, "--yes")
    assert done.code == 0, done.err
    deleted = {line.split(" ")[1] for line in (scene.project.folder / "refs").read_text().splitlines()}
    mine = {name for name in deleted if "/0002/" in name}
    assert mine
    assert mine <= set((scene.project.folder / "seen").read_text().splitlines())
    assert {"bad.txt", "good.txt"} <= scene.project.files("main").keys()


# Stash and checkout ----------------------------------------------------------------------------------------


def test_an_entry_of_the_stash_that_somebody_drops_is_kept(scene: Scene) -> None:
    scene.project.write("README.md", "the user's\n")
    git(scene.project.repo, "stash", "-q")
    stash = git(scene.project.repo, "rev-parse", "refs/stash")
    done = scene.run("git stash clear; git reflog expire --expire=all --all")
    assert done.code == 0, done.err
    kept = f"refs/prodigy/{scene.project.run_id()}/stashed/{stash}"
    assert git(scene.project.repo, "show", f"{kept}:README.md") == "the user's"
    assert any("dropped an entry of the stash" in warning and kept in warning for warning in scene.warnings())


def test_a_change_of_the_users_checkout_is_told_and_left_alone(scene: Scene) -> None:
    scene.project.write("README.md", "the user's\n")
    done = scene.run(f'echo x > {shlex.quote(str(scene.project.repo))}/planted; echo more >> "$GIT/../README.md"')
    assert done.code == 0, done.err
    assert (scene.project.repo / "planted").read_text() == "x\n"
    assert (scene.project.repo / "README.md").read_text() == "the user's\nmore\n"
    assert any("your checkout changed: README.md, planted;" in warning for warning in scene.warnings())


def test_a_checkout_that_nobody_touches_is_not_told_of(scene: Scene) -> None:
    scene.project.write("README.md", "the user's\n")
    assert scene.run("true").code == 0
    assert not any("checkout" in warning for warning in scene.warnings())


def test_what_the_user_does_meanwhile_is_not_blamed(scene: Scene) -> None:
    """Commits, branches, stashes, tags, another branch, a fetch."""
    project = scene.project
    other = project.folder / "other"
    git(project.folder, "clone", "-q", str(project.repo), str(other))
    git(project.repo, "remote", "add", "origin", str(other))
    done = scene.run(f"""
cd {shlex.quote(str(project.repo))}
echo x > users.txt; git add users.txt; git commit -q -m users
echo y > users.txt; git stash -q; git stash pop -q; git stash -q
git tag v1; git branch side; git switch -q -c another; git fetch -q origin
""")
    assert done.code == 0, done.err
    assert scene.letters() == {}
    assert not scene.evidence().exists()
    assert git(project.repo, "symbolic-ref", "HEAD") == "refs/heads/another"
    assert len(git(project.repo, "stash", "list").splitlines()) == 1
    assert any("HEAD moved" in warning for warning in scene.warnings())


# Crashes ---------------------------------------------------------------------------------------------------

EVIL = 'git config core.hooksPath /evil; echo evil > "$GIT/hooks/pre-commit"; rm "$GIT/hooks/pre-push"'


@pytest.mark.parametrize(
    "point",
    ["before:step_finished#2", "after:step_finished#2", "tampering:found", "tampering:put_back", "before:agent_failed"],
)
def test_after_a_kill_it_is_undone_and_blamed_all_the_same(scene: Scene, point: str) -> None:
    before = scene.guarded()
    killed = scene.run(EVIL, env={"PRODIGY_FAULT": point.replace("#2", "#1")})
    assert killed.code == -9, killed.err
    done = scene.project.prodigy("resume", "--yes")
    assert done.code == 3, done.err
    assert set(scene.letters()) == {"bad"}
    assert scene.letters()["bad"]["error_type"] == "tampered"
    assert "hooks/pre-commit was created" in scene.letters()["bad"]["error_message"]
    assert scene.guarded() == before
    assert any("evil" in kept for kept in scene.kept_texts())
    assert "good.txt" in scene.project.files("main")


def users_own(scene: Scene) -> None:
    git(scene.project.repo, "config", "core.pager", "less")
    (scene.git_dir / "hooks" / "post-commit").write_text("the user's\n")
    (scene.git_dir / "hooks" / "pre-push").unlink()


def test_what_the_user_changes_after_a_crash_is_taken_as_it_is(scene: Scene) -> None:
    killed = scene.run("true", env={"PRODIGY_FAULT": "after:agent_completed#1"})
    assert killed.code == -9, killed.err
    users_own(scene)
    done = scene.project.prodigy("resume", "--yes")
    assert done.code == 0, done.err
    assert git(scene.project.repo, "config", "core.pager") == "less"
    assert not (scene.git_dir / "hooks" / "pre-push").exists()
    told = [warning for warning in scene.warnings() if "between agents" in warning]
    assert len(told) == 1
    assert "core.pager is now 'less'" in told[0]


def test_the_users_change_after_a_crash_is_told_from_what_the_agent_did_before(scene: Scene) -> None:
    killed = scene.run('echo evil > "$GIT/hooks/pre-commit"', env={"PRODIGY_FAULT": "after:step_finished#1"})
    assert killed.code == -9, killed.err
    git(scene.project.repo, "config", "core.pager", "less")
    assert scene.project.prodigy("resume", "--yes").code == 3
    assert set(scene.letters()) == {"bad"}
    assert not (scene.git_dir / "hooks" / "pre-commit").exists()
    assert git(scene.project.repo, "config", "core.pager") == "less"


# Other runs ------------------------------------------------------------------------------------------------


def test_what_another_run_puts_back_is_no_tampering(scene: Scene) -> None:
    """It began while the change was there; to take that back would bring the change again."""
    project = scene.project
    (project.folder / "bad.sh").write_text("")
    inner = Project(project.folder, {**project.env})
    flow = project.workflow(
        """
map:
  input: echo one
  agent_template:
    - shell: |
        touch "$SHARED/inner-works"
        until [ -e "$SHARED/outer-done" ]; do read -t 0.05 x < <(:) || true; done
""",
        "inner.yml",
    )
    outer = project.start("run", _hold(project), "--no-merge", "--json")
    wait_until((project.folder / "planted").exists, "the change is there")
    other = inner.start("run", flow, "--no-merge", "--json")
    wait_until((project.folder / "inner-works").exists, "the other run has begun")
    (project.folder / "go").touch()
    outer.communicate()
    (project.folder / "outer-done").touch()
    out, err = other.communicate()
    assert (outer.returncode, other.returncode) == (3, 0), err.decode()
    assert "hooksPath" not in (scene.git_dir / "config").read_text()
    assert "another run put it back" in err.decode()
    assert json.loads(out)["dead_letters"] == 0


def _hold(project: Project) -> Path:
    return project.workflow(
        """
map:
  input: echo one
  agent_template:
    - shell: |
        git config core.hooksPath /evil
        touch "$SHARED/planted"
        until [ -e "$SHARED/go" ]; do read -t 0.05 x < <(:) || true; done
""",
        "outer.yml",
    )
