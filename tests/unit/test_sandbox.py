"""The words by which bwrap is told what a process may touch. That they hold is shown in tests/security."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from prodigy.executors import sandbox
from prodigy.executors.base import Confinement, ProcessSpec, Scratch
from prodigy.executors.sandbox import Surroundings, confined


@dataclass(frozen=True)
class Host:
    root: Path

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def workspace(self) -> Path:
        return self.root / "prodigy/worktrees/w1"

    def mounts(self, confinement: Confinement, **env: str) -> list[tuple[str, ...]]:
        """What bwrap is told below the root, in its order: (word, path)."""
        found: list[tuple[str, ...]] = []
        argv = self.argv(confinement, **env)
        for number, word in enumerate(argv):
            if word in ("--tmpfs", "--remount-ro"):
                found.append((word, argv[number + 1]))
            elif word in ("--bind", "--ro-bind"):
                found.append((word, argv[number + 2]))
        prefix = f"{self.root}/"
        return [(word, path.removeprefix(prefix)) for word, path in found if path.startswith(prefix)]

    def argv(self, confinement: Confinement, **env: str) -> tuple[str, ...]:
        env = {"HOME": str(self.home), "PATH": "/usr/bin", **env}
        spec = ProcessSpec(("true",), env, str(self.workspace), confinement=confinement)
        around = Surroundings(self.workspace, (self.root / "prodigy/steps/1",), (self.root / "prodigy",))
        return confined(spec, around).argv


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(sandbox, "_OWN", ())  # where the tests' own files are
    found = Host(tmp_path)
    for name in ("home/.ssh", "home/.tool/sessions", "home/.tool/plugins", "prodigy/worktrees/w1", "prodigy/steps"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "home/.netrc").touch()
    (tmp_path / "home/.tool/settings").touch()
    return found


def test_secrets_and_our_own_home_are_hidden_and_the_workspace_is_not(host: Host) -> None:
    assert host.mounts(Confinement()) == [
        ("--ro-bind", "home/.netrc"),
        ("--tmpfs", "home/.ssh"),
        ("--tmpfs", "prodigy"),
        ("--ro-bind", "prodigy/steps/1"),
        ("--bind", "prodigy/worktrees/w1"),
        ("--remount-ro", "home/.ssh"),
        ("--remount-ro", "prodigy"),
    ]


def test_what_the_workflow_names_wins_at_its_own_place(host: Host) -> None:
    new = host.home / ".cache/new"
    new.mkdir(parents=True)
    found = host.mounts(Confinement(write=(str(new),), read=(str(host.home / ".ssh"),), hide=(str(host.home),)))
    assert found[:3] == [("--tmpfs", "home"), ("--bind", "home/.cache/new"), ("--ro-bind", "home/.ssh")]


def test_a_link_in_place_of_what_may_be_written_is_not_followed(host: Host) -> None:
    (host.root / "other").mkdir()
    (host.home / "cache").symlink_to(host.root / "other")
    with pytest.raises(OSError, match="a link was put there"):
        host.mounts(Confinement(write=(str(host.home / "cache"),)))


def test_what_leads_to_a_secret_below_a_writable_place_can_not_be_renamed(host: Host) -> None:
    (host.home / ".config/gh").mkdir(parents=True)
    (host.home / ".local/share/keyrings").mkdir(parents=True)
    found = host.mounts(Confinement(write=(str(host.home),)))
    assert [mount for mount in found if ".local" in mount[1]] == [
        ("--bind", "home/.local"), ("--bind", "home/.local/share"), ("--tmpfs", "home/.local/share/keyrings"),
        ("--remount-ro", "home/.local/share/keyrings"),
    ]  # fmt: skip


def test_of_the_state_of_a_program_only_what_it_declares_can_be_changed(host: Host) -> None:
    found = host.mounts(Confinement(scratch=(Scratch("~/.tool", ("sessions/", "fresh/", "login")),)))
    assert [mount for mount in found if ".tool" in mount[1]] == [
        ("--tmpfs", "home/.tool"),
        ("--bind", "home/.tool/fresh"),
        ("--ro-bind", "home/.tool/plugins"),
        ("--bind", "home/.tool/sessions"),
        ("--ro-bind", "home/.tool/settings"),
    ]


def test_a_link_to_a_secret_hides_what_it_leads_to(host: Host) -> None:
    (host.root / "keys").mkdir()
    (host.home / ".aws").symlink_to(host.root / "keys")
    assert ("--tmpfs", "keys") in host.mounts(Confinement())


def test_places_of_programs_are_shown_where_they_would_be_hidden(host: Host) -> None:
    (host.root / "prodigy/bin").mkdir()
    found = host.mounts(Confinement(), PATH=f"{host.root}/prodigy/bin:/usr/bin:{host.root}/none")
    assert ("--ro-bind", "prodigy/bin") in found


def test_the_way_to_a_place_in_a_directory_of_its_own_can_not_be_written(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "_OWN", (str(host.root),))
    found = host.mounts(Confinement())
    assert found[0] == ("--ro-bind", "home")
    assert ("--tmpfs", "prodigy") in found
    assert ("--remount-ro", "prodigy") in found


def test_without_network_there_is_none(host: Host) -> None:
    assert "--unshare-net" in host.argv(Confinement(network=False))
    assert "--unshare-net" not in host.argv(Confinement())


def test_a_wrapper_gets_the_command_word_for_word(host: Host) -> None:
    wrapper = ("box", "--at={workspace}", "{cmd}", "end")
    assert host.argv(Confinement(wrapper=wrapper)) == ("box", f"--at={host.workspace}", "true", "end")
