"""Archives that are not what `prodigy export` wrote: each is refused with a reason, and nothing changes."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import sqlite3
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from prodigy.engine.importing import import_run
from prodigy.errors import EnvironmentProblem, ProdigyError, UsageError
from support import Project, git, make_project

COMPLETED_WITH_FAILURES = 3

WORKFLOW = """
map:
  input: 'printf ''{"id": "%s"}\\n'' good bad'
  agent_template:
    - shell: echo x > "$PRODIGY_ITEM_ID.txt"; git add -A; git commit -q -m "$PRODIGY_ITEM_ID"
    - shell: test "$PRODIGY_ITEM_ID" = good
"""


@dataclass(frozen=True)
class Parts:
    """An archive taken apart: its manifest and the content of its members."""

    manifest: dict[str, Any]
    files: dict[str, bytes]

    @property
    def run_id(self) -> str:
        return str(self.manifest["run_id"])

    def with_file(self, path: str, content: bytes) -> Parts:
        return replace(self, files={**self.files, path: content})

    def with_facts(self, **facts: object) -> Parts:
        return replace(self, manifest={**self.manifest, **facts})

    def without(self, path: str) -> Parts:
        return replace(self, files={name: content for name, content in self.files.items() if name != path})

    def with_sql(self, *statements: str) -> Parts:
        """The same run with another database."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "run.db")
            file.write_bytes(self.files["run.db"])
            with closing(sqlite3.connect(file)) as db:
                for statement in statements:
                    db.executescript(statement)
            return self.with_file("run.db", file.read_bytes())

    def members(self) -> list[tuple[tarfile.TarInfo, bytes]]:
        """What the file has: the manifest, with sums that are right, and what it names."""
        listed = [
            {"path": path, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for path, content in self.files.items()
        ]
        text = json.dumps({"members": listed, **self.manifest}).encode()
        return [plain("manifest.json", text), *(plain(path, content) for path, content in self.files.items())]


def plain(name: str, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
    header = tarfile.TarInfo(name)
    header.size = len(content)
    return header, content


def written(file: Path, members: list[tuple[tarfile.TarInfo, bytes]], tail: bytes = b"") -> Path:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for header, content in members:
            tar.addfile(header, io.BytesIO(content))
    file.write_bytes(gzip.compress(packed.getvalue() + tail))
    return file


def taken_apart(file: Path) -> Parts:
    with tarfile.open(file) as tar:
        contents = {member.name: tar.extractfile(member).read() for member in tar.getmembers()}  # type: ignore[union-attr]
    manifest = json.loads(contents.pop("manifest.json"))
    del manifest["members"]
    return Parts(manifest, contents)


@pytest.fixture(scope="module")
def genuine(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Path]:
    """A finished run with a dead letter, and the file it was exported to."""
    project = make_project(tmp_path_factory.mktemp("origin"))
    assert project.prodigy("run", project.workflow(WORKFLOW), "--no-merge").code == COMPLETED_WITH_FAILURES
    file = project.folder / "run.tgz"
    assert project.prodigy("export", project.run_id(), file).code == 0
    return project, file


@pytest.fixture
def parts(genuine: tuple[Project, Path]) -> Parts:
    return taken_apart(genuine[1])


@pytest.fixture(scope="module")
def victim(genuine: tuple[Project, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Another clone, where the archives are to be imported. Nothing may change it, so one is enough for all."""
    other = clone_of(genuine[0], tmp_path_factory.mktemp("victim"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in other.environment().items():
            patch.setenv(name, value)
        yield other


def clone_of(project: Project, folder: Path) -> Project:
    other = Project(folder)
    git(folder, "clone", "-q", "--single-branch", "--branch", "main", project.repo.as_uri(), str(other.repo))
    (other.home / "runs" / ".import").mkdir(parents=True)
    (other.home / "worktrees").mkdir()
    return other


def everything(folder: Path) -> dict[str, bytes]:
    """Every file below the folder, and every directory."""
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def refuse(victim: Project, file: Path, *reasons: str, error: type[ProdigyError] = UsageError) -> None:
    """In this process, because there are so many; the command line is tried once, below."""
    before = everything(victim.folder)
    with pytest.raises(error) as refused:
        import_run(file, victim.repo)
    for reason in reasons:
        assert reason in str(refused.value)
    assert everything(victim.folder) == before


def test_the_archive_as_it_was_put_together_again_here_is_taken(
    genuine: tuple[Project, Path], parts: Parts, tmp_path: Path
) -> None:
    other = clone_of(genuine[0], tmp_path)
    done = other.prodigy("import", written(tmp_path / "run.tgz", parts.members()))
    assert done.code == 0, done.err
    run = other.home / "runs" / parts.run_id
    kept = [run, *(path for path in run.rglob("*") if run / "git" not in (path, *path.parents))]
    assert {path.stat().st_mode & 0o777 for path in kept} == {0o600, 0o700}


def test_the_command_line_says_what_is_wrong(victim: Project, tmp_path: Path) -> None:
    file = written(tmp_path / "run.tgz", [plain("README", b"hello")])
    refused = victim.prodigy("import", file)
    assert (refused.code, refused.out) == (UsageError.exit_code, "")
    assert refused.err.startswith(f"Error: {file}: this is not an exported run")


# The file --------------------------------------------------------------------------------------------------


def test_what_is_no_archive_is_refused(victim: Project, tmp_path: Path) -> None:
    for number, content in enumerate((b"", b"hello\n" * 200, gzip.compress(b"hello\n" * 200), gzip.compress(b""))):
        file = tmp_path / f"{number}.tgz"
        file.write_bytes(content)
        refuse(victim, file, str(file))
    refuse(victim, tmp_path / "missing.tgz", "missing.tgz")


def test_a_foreign_tar_is_refused(victim: Project, tmp_path: Path) -> None:
    refuse(victim, written(tmp_path / "run.tgz", [plain("README", b"hello")]), "not an exported run")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_half_an_archive_is_refused(
    share: float, victim: Project, genuine: tuple[Project, Path], tmp_path: Path
) -> None:
    content = genuine[1].read_bytes()
    file = tmp_path / "half.tgz"
    file.write_bytes(content[: int(len(content) * share)])
    refuse(victim, file, "not whole")


def test_a_flipped_bit_is_refused(victim: Project, parts: Parts, tmp_path: Path) -> None:
    members = parts.members()
    header, content = members[2]
    assert content
    members[2] = header, bytes([content[0] ^ 1]) + content[1:]
    refuse(victim, written(tmp_path / "run.tgz", members), "damaged")


def test_a_newer_format_says_to_update(victim: Project, parts: Parts, tmp_path: Path) -> None:
    refuse(victim, written(tmp_path / "a.tgz", parts.with_facts(format=2).members()), "Update Prodigy")
    refuse(victim, written(tmp_path / "b.tgz", parts.with_facts(schema_version=99).members()), "Update Prodigy")
    newer = parts.with_sql("PRAGMA user_version = 99")
    refuse(victim, written(tmp_path / "c.tgz", newer.members()), "Update Prodigy")


@pytest.mark.parametrize(
    "facts",
    [
        {"run_id": "../../elsewhere"},
        {"run_id": "..", "base": "HEAD"},
        {"run_id": 7},
        {"base": "--upload-pack=touch pwned"},
        {"refs": []},
        {"refs": {"refs/heads/main": "main"}},
        {"members": {}},
        {"members": [{"path": "run.db"}]},
        {"members": [7]},
        {"host": "\x1b[2Jvm"},
        {"schema_version": "3"},
        {"schema_version": True},
        {"format": None},
    ],
)
def test_an_odd_manifest_is_refused(facts: dict[str, object], victim: Project, parts: Parts, tmp_path: Path) -> None:
    refuse(victim, written(tmp_path / "run.tgz", parts.with_facts(**facts).members()), "run.tgz")


@pytest.mark.parametrize("text", [b"[]", b"{", b"[" * 100_000, b'"x"', b"\xff"])
def test_a_manifest_that_is_no_object_is_refused(text: bytes, victim: Project, tmp_path: Path) -> None:
    refuse(victim, written(tmp_path / "run.tgz", [plain("manifest.json", text)]), "manifest")


# Paths -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "../evil", "/tmp/evil", "steps/../../evil", "steps/../run.db", "steps//evil", "steps/./evil", "steps", "evil",
        "lock", "helpers", "git/config", "run.db-wal", "steps/.staging/evil", "displaced/../../evil", "",
        "\udcff\ud800", "steps/a\0b",
    ],
)  # fmt: skip
def test_a_path_that_leads_out_is_refused(path: str, victim: Project, parts: Parts, tmp_path: Path) -> None:
    content = b"evil"
    entry = {"path": path, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    members = parts.members()
    manifest = json.loads(members[0][1])
    manifest["members"].append(entry)
    try:
        last = plain(path, content)
        whole = [plain("manifest.json", json.dumps(manifest).encode()), *members[1:], last]
        file = written(tmp_path / "run.tgz", whole)
    except (UnicodeEncodeError, ValueError):
        whole = [plain("manifest.json", json.dumps(manifest).encode()), *members[1:], plain("evil", content)]
        file = written(tmp_path / "run.tgz", whole)
    refuse(victim, file, "leads elsewhere")


def test_a_member_with_another_name_than_in_the_manifest_is_refused(
    victim: Project, parts: Parts, tmp_path: Path
) -> None:
    members = parts.members()
    members[-1][0].name = "../../evil"
    refuse(victim, written(tmp_path / "run.tgz", members), "not the one that its manifest names")


def test_a_file_that_is_a_directory_too_is_refused(victim: Project, parts: Parts, tmp_path: Path) -> None:
    both = parts.with_file("steps/x", b"a file").with_file("steps/x/y", b"below it")
    refuse(victim, written(tmp_path / "run.tgz", both.members()), "the same place")


def test_a_member_twice_is_refused(victim: Project, parts: Parts, tmp_path: Path) -> None:
    members = parts.members()
    manifest = json.loads(members[0][1])
    manifest["members"].append(manifest["members"][-1])
    whole = [plain("manifest.json", json.dumps(manifest).encode()), *members[1:], members[-1]]
    refuse(victim, written(tmp_path / "run.tgz", whole), "twice")


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE,
     tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME],
)  # fmt: skip
def test_what_is_no_plain_file_is_refused(kind: bytes, victim: Project, parts: Parts, tmp_path: Path) -> None:
    members = parts.with_file("steps/link", b"").members()
    members[-1][0].type = kind
    members[-1][0].linkname = "/etc/passwd"
    refuse(victim, written(tmp_path / "run.tgz", members), "other than plain files")


# Bombs -----------------------------------------------------------------------------------------------------


def test_more_than_there_is_room_for_is_refused_before_it_is_unpacked(
    victim: Project, parts: Parts, tmp_path: Path
) -> None:
    members = parts.members()
    manifest = json.loads(members[0][1])
    manifest["members"].append({"path": "steps/bomb", "size": 1 << 60, "sha256": "0" * 64})
    whole = [plain("manifest.json", json.dumps(manifest).encode()), *members[1:]]
    refuse(victim, written(tmp_path / "run.tgz", whole), "Make room", error=EnvironmentProblem)


def test_a_member_larger_than_declared_is_refused(victim: Project, parts: Parts, tmp_path: Path) -> None:
    members = parts.with_file("steps/bomb", b"x").members()
    members[-1] = plain("steps/bomb", bytes(10 << 20))
    refuse(victim, written(tmp_path / "run.tgz", members), "not the one that its manifest names")


def test_what_follows_the_last_member_is_refused(victim: Project, parts: Parts, tmp_path: Path) -> None:
    members = parts.members()
    refuse(victim, written(tmp_path / "a.tgz", [*members, plain("steps/more", b"x")]), "more follows")
    refuse(victim, written(tmp_path / "b.tgz", members, tail=bytes(4 << 20)), "more follows")


def test_a_huge_header_or_manifest_is_refused_without_reading_it(victim: Project, tmp_path: Path) -> None:
    header = tarfile.TarInfo("manifest.json")
    header.size = 1 << 40
    file = tmp_path / "run.tgz"
    file.write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20)))
    refuse(victim, file, "not an exported run")


# Refs and commits ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["refs/heads/main", "refs/heads/prodigy/another/run", "refs/prodigy/{run}/../../heads/main", "refs/tags/{run}",
     "HEAD", "refs/heads/prodigy/{run}", "refs/prodigy/{run}x/kept/1", "refs/prodigy/{run}/a b", "refs/stash"],
)  # fmt: skip
def test_a_ref_that_is_not_the_runs_own_is_refused(name: str, victim: Project, parts: Parts, tmp_path: Path) -> None:
    refs = {**parts.manifest["refs"], name.format(run=parts.run_id): parts.manifest["base"]}
    file = written(tmp_path / "run.tgz", parts.with_facts(refs=refs).members())
    refuse(victim, file, "not the run's own")


def bundle_of(repo: Path, *wanted: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        git(repo, "bundle", "create", "-q", f"{folder}/bundle", *wanted)
        return Path(folder, "bundle").read_bytes()


def test_a_ref_in_the_bundle_alone_is_refused(
    victim: Project, genuine: tuple[Project, Path], parts: Parts, tmp_path: Path
) -> None:
    repo = genuine[0].repo
    git(repo, "update-ref", "refs/heads/evil", f"refs/heads/prodigy/{parts.run_id}/run")
    bundle = bundle_of(repo, "--branches", f"^{parts.manifest['base']}")
    refuse(victim, written(tmp_path / "run.tgz", parts.with_file("commits.bundle", bundle).members()), "evil")


def test_a_damaged_or_foreign_bundle_is_refused(
    victim: Project, genuine: tuple[Project, Path], parts: Parts, tmp_path: Path
) -> None:
    bundle = parts.files["commits.bundle"]
    garbled = bundle[:-40] + bytes(20) + bundle[-20:]
    for number, content in enumerate((b"", b"no bundle", bundle[: len(bundle) // 2], garbled)):
        file = written(tmp_path / f"{number}.tgz", parts.with_file("commits.bundle", content).members())
        refuse(victim, file, "commits in the archive are not in order")
    refuse(victim, written(tmp_path / "none.tgz", parts.without("commits.bundle").members()), "lacks the commit")
    later = make_project(tmp_path / "elsewhere")
    later.write("a", "1")
    base = later.commit("elsewhere")
    later.write("a", "2")
    later.commit("later")
    foreign = bundle_of(later.repo, "main", f"^{base}")
    refs = {**parts.manifest["refs"], f"refs/prodigy/{parts.run_id}/kept/x": git(later.repo, "rev-parse", "main")}
    refuse(
        victim,
        written(tmp_path / "f.tgz", parts.with_file("commits.bundle", foreign).with_facts(refs=refs).members()),
        "main",
    )


def handmade(parts: Parts, repo: Path, tree: str, *objects: str) -> Parts:
    """The run with a bundle that has one commit with this tree, and these objects."""
    base = parts.manifest["base"]
    body = f"tree {tree}\nparent {base}\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nx\n"
    (repo / "body").write_text(body)
    commit = git(repo, "hash-object", "-t", "commit", "-w", "--literally", "body")
    name = f"refs/prodigy/{parts.run_id}/kept/{commit}"
    wanted = "".join(f"{oid}\n" for oid in (commit, *objects, *([tree] if objects else [])))
    pack = subprocess.run(
        ["git", "pack-objects", "--stdout", "-q"], cwd=repo, input=wanted.encode(), capture_output=True, check=True
    ).stdout
    bundle = f"# v2 git bundle\n-{base} \n{commit} {name}\n\n".encode() + pack
    refs = {name: commit, f"refs/heads/prodigy/{parts.run_id}/run": base}
    tip = parts.with_sql(f"UPDATE run SET tip = '{base}', head = '{base}', snapshot = NULL")
    return tip.with_file("commits.bundle", bundle).with_facts(refs=refs)


@pytest.fixture
def workshop(genuine: tuple[Project, Path], tmp_path: Path) -> Path:
    repo = tmp_path / "workshop"
    shutil.copytree(genuine[0].repo, repo)
    return repo


def tree_with(repo: Path, name: str) -> tuple[str, str]:
    """(tree, blob): a tree with one file of that name, whatever git thinks of it."""
    (repo / "content").write_text("evil\n")
    blob = git(repo, "hash-object", "-w", "content")
    (repo / "tree").write_bytes(f"100644 {name}".encode() + b"\0" + bytes.fromhex(blob))
    return git(repo, "hash-object", "-t", "tree", "-w", "--literally", "tree"), blob


def test_a_bundle_made_by_hand_is_taken_when_it_is_in_order(
    genuine: tuple[Project, Path], parts: Parts, workshop: Path, tmp_path: Path
) -> None:
    (tmp_path / "fresh").mkdir()
    other = clone_of(genuine[0], tmp_path / "fresh")
    file = written(tmp_path / "run.tgz", handmade(parts, workshop, *tree_with(workshop, "good")).members())
    done = other.prodigy("import", file)
    assert done.code == 0, done.err


def test_commits_that_name_what_is_not_there_are_refused(
    victim: Project, parts: Parts, workshop: Path, tmp_path: Path
) -> None:
    file = written(tmp_path / "run.tgz", handmade(parts, workshop, "1" * 40).members())
    refuse(victim, file, "commits in the archive are not in order")


@pytest.mark.parametrize("name", [".git", "..", ".GIT", "a/b"])
def test_commits_whose_files_would_land_elsewhere_are_refused(
    name: str, victim: Project, parts: Parts, workshop: Path, tmp_path: Path
) -> None:
    file = written(tmp_path / "run.tgz", handmade(parts, workshop, *tree_with(workshop, name)).members())
    refuse(victim, file, "commits in the archive are not in order")


# The database ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE attempt SET worktree = '../../x'",
        "UPDATE attempt SET worktree = 's1/../../x'",
        "UPDATE run SET slot = '/tmp/x'",
        "UPDATE run SET id = '../x'",
        "UPDATE run SET branch = 'refs/heads/main'",
        "UPDATE run SET target = 'refs/../../x'",
        "UPDATE run SET target = 'refs/stash'",
        "UPDATE run SET target = branch",
        "UPDATE run SET base = '--help'",
        "UPDATE run SET tip = 'HEAD'",
        "UPDATE run SET tip = '1111111111111111111111111111111111111111'",
        "UPDATE run SET head = 'main'",
        "UPDATE run SET options = '{}x'",
        "UPDATE run SET options = '{\"started_in\": 7}'",
        "UPDATE run SET options = '{\"argv\": 7}'",
        "UPDATE run SET status = 'x\x1b[2J'",
        "DELETE FROM run",
        "UPDATE step SET path = '../' || path",
        "UPDATE step SET reused_from = '../../../../etc'",
        "UPDATE step SET head = '--output=x'",
        "UPDATE attempt SET log = '../../../etc'",
        "UPDATE attempt SET base = 'HEAD~1'",
        "PRAGMA foreign_keys = OFF; UPDATE item SET fanout = '../x'",
        "PRAGMA foreign_keys = OFF; UPDATE item SET ordinal = -ordinal",
        "UPDATE item SET data = 'no json'",
        "UPDATE dead_letter SET branch = 'main'",
        "UPDATE dead_letter SET branch = '../main'",
        "UPDATE event SET data = '[]' WHERE seq = 2",
        "UPDATE workflow_version SET workflow = '{}'",
        "INSERT INTO merge_intent VALUES (1, '../x', 'a', 'b')",
        "INSERT INTO final_merge_intent SELECT 1, 'refs/heads/other', base, tip, NULL FROM run",
        "CREATE TRIGGER evil AFTER INSERT ON event BEGIN UPDATE attempt SET worktree = '../../x'; END",
        "CREATE VIEW evil AS SELECT * FROM run",
        "DROP TABLE setup_leftover",
        "DROP TABLE setup_leftover; CREATE VIEW setup_leftover AS SELECT x'2e2e' AS path",
        "CREATE VIRTUAL TABLE evil USING fts5(x)",
        "PRAGMA user_version = 0",
    ],
)
def test_a_tampered_database_is_refused(statement: str, victim: Project, parts: Parts, tmp_path: Path) -> None:
    refuse(victim, written(tmp_path / "run.tgz", parts.with_sql(statement).members()))


def damaged(content: bytes) -> bytes:
    return content[:5000] + b"\xff" * 3000 + content[8000:]


@pytest.mark.parametrize("change", [damaged, lambda _: b"", lambda _: b"no database" * 1000, lambda c: c[:8192]])
def test_a_damaged_database_is_refused(
    change: Callable[[bytes], bytes], victim: Project, parts: Parts, tmp_path: Path
) -> None:
    broken = parts.with_file("run.db", change(parts.files["run.db"]))
    refuse(victim, written(tmp_path / "run.tgz", broken.members()), "database")


@pytest.mark.parametrize("token", ["", "a", "P", None])
def test_a_step_whose_token_could_mean_other_processes_is_refused(
    token: str | None, victim: Project, parts: Parts, tmp_path: Path
) -> None:
    path = next(name for name in parts.files if name.endswith("command.json"))
    command = {**json.loads(parts.files[path]), "token": token}
    tampered = parts.with_file(path, json.dumps(command).encode())
    refuse(victim, written(tmp_path / "run.tgz", tampered.members()), "token")
