"""The file that a run travels in: a gzip'd tar whose first member, the manifest, names all others, with size and sum.

Whoever reads one trusts nothing of it. Members come in the order of the manifest and are regular files; their tar
headers are read one by one, so that no link, no device, no extension of the format and no size that is not on the
manifest is ever acted on. Directories and modes are ours.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import tarfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from prodigy.errors import EnvironmentProblem, UsageError
from prodigy.git.refs import is_oid
from prodigy.store.room import room

FORMAT = 1
MANIFEST = "manifest.json"
DATABASE = "run.db"
BUNDLE = "commits.bundle"
STEPS = "steps"
DISPLACED = "displaced"  # files of setup that merged items had to displace
BACKGROUND_LOG = "coordinator.log"
EXTRAS = (BACKGROUND_LOG, "environment.json", "masks.jsonl")  # files beside the database, where there are any

RUN_ID = re.compile(r"\d{8}-\d{6}-[a-z0-9]{4}")
_SUM = re.compile(r"[0-9a-f]{64}")
_FILES = frozenset({DATABASE, BUNDLE, *EXTRAS})
_FOLDERS = frozenset({STEPS, DISPLACED})

_BLOCK = 512  # bytes, the unit of a tar
_CHUNK = 1 << 20
_LONGEST_NAME = 100  # bytes: longer ones would need an extension of the format
_LARGEST_MANIFEST = 128 << 20  # bytes: 800,000 files
_LARGEST_TAIL = 1 << 20  # bytes after the last member
_ROOM_LEFT = 64 << 20  # bytes that must stay free on the disk


@dataclass(frozen=True)
class Member:
    """A file of the run. path: relative to the run's directory. size: bytes."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What an archive says of itself.

    schema_version: of the database. host: where it was written. exported_at: RFC 3339. base: the commit the run began
    at, which the archive does not bring. refs: every ref of the run, full name -> commit.
    """

    run_id: str
    prodigy_version: str
    schema_version: int
    host: str
    exported_at: str
    base: str
    refs: Mapping[str, str]
    members: tuple[Member, ...]

    @property
    def size(self) -> int:
        """Bytes of all members."""
        return sum(member.size for member in self.members)

    def paths(self) -> set[str]:
        return {member.path for member in self.members}

    def to_json(self) -> bytes:
        return json.dumps({"format": FORMAT, **asdict(self)}).encode()


def name_in_archive(number: int, path: str) -> str:
    """The name of the member `number`, counted from 1: its path, if that is not too long for the format."""
    return path if len(os.fsencode(path)) <= _LONGEST_NAME else f"long-names/{number}"


# Writing ---------------------------------------------------------------------------------------------------


def measured(path: str, file: Path) -> Member:
    """The member that `file` will be."""
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
        return Member(path, stream.tell(), digest.hexdigest())


def write(stream: IO[bytes], manifest: Manifest, files: Sequence[Path], at: float) -> None:
    """Write the archive of `files`, which are the manifest's members in their order.

    at: seconds since the epoch, the time of all members. Raises OSError, and EnvironmentProblem when a file is not
    what the manifest says any more.
    """
    with (
        gzip.GzipFile(filename="", fileobj=stream, mode="wb", compresslevel=6, mtime=at) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        text = manifest.to_json()
        if len(text) > _LARGEST_MANIFEST:
            raise UsageError(
                f"the run has too many files to be exported: {len(manifest.members)}",
                hint="`prodigy clean logs` takes old outputs away.",
            )
        tar.addfile(_header(MANIFEST, len(text), at), io.BytesIO(text))
        for number, (member, file) in enumerate(zip(manifest.members, files, strict=True), 1):
            with file.open("rb") as content:
                summing = _Summing(content)
                try:
                    tar.addfile(_header(name_in_archive(number, member.path), member.size, at), summing)
                except OSError as error:
                    if error.errno is not None:
                        raise
                    raise _changed(file) from error  # it has become shorter
            if summing.sum.hexdigest() != member.sha256:
                raise _changed(file)


def _header(name: str, size: int, at: float) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size, header.mode, header.mtime = size, 0o600, int(at)
    return header


def _changed(file: Path) -> EnvironmentProblem:
    return EnvironmentProblem(
        "a file of the run changed while it was exported", where=str(file), hint="End what writes there, and try again."
    )


class _Summing(io.RawIOBase):
    """A file that is summed up as it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file
        self.sum = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.sum.update(data)
        return data


# Reading ---------------------------------------------------------------------------------------------------


class Archive:
    """An archive that is being read, from its beginning to its end and once. Raises UsageError for whatever is wrong.

    where: its name, for messages.
    """

    def __init__(self, stream: IO[bytes], where: str) -> None:
        self._where = where
        self._stream = gzip.GzipFile(fileobj=stream, mode="rb")
        self.manifest = self._manifest()

    def refusal(self, what: str, hint: str = "Nothing was changed. Export the run again.") -> UsageError:
        return UsageError(what, where=self._where, hint=hint)

    def unpack(self, directory: Path) -> None:
        """Write all members into the empty `directory`: files 0600, directories 0700.

        Raises EnvironmentProblem when there is no room for them.
        """
        total, (free, _) = self.manifest.size, room(directory)
        if total + _ROOM_LEFT > free:
            raise EnvironmentProblem(
                f"the run takes {total:,} bytes, and {free:,} are free there", where=str(directory), hint="Make room."
            )
        for number, member in enumerate(self.manifest.members, 1):
            if self._header() != (name_in_archive(number, member.path), member.size):
                raise self.refusal(f"its member {number} is not the one that its manifest names: {member.path!r}")
            try:
                digest = self._extract(member, directory / member.path)
            except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
                raise self.refusal(f"two of its members have the same place: {member.path!r}") from error
            except OSError as error:
                raise EnvironmentProblem(
                    f"the run can't be unpacked: {error}",
                    where=str(directory),
                    hint="Make room there, then import it again.",
                ) from error
            if digest != member.sha256:
                raise self.refusal(f"its member {member.path!r} is damaged: the sum in its manifest is another one")
        self._expect_end()

    def _extract(self, member: Member, target: Path) -> str:
        _make_private(target.parent)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            return self._copy(member.size, file.write)

    def _copy(self, size: int, write: Callable[[bytes], object]) -> str:
        """Hand on the next `size` bytes, padding skipped, and return their sum."""
        digest, left = hashlib.sha256(), size
        while left:
            data = self._read(min(left, _CHUNK))
            digest.update(data)
            write(data)
            left -= len(data)
        self._read(-size % _BLOCK)
        return digest.hexdigest()

    def _manifest(self) -> Manifest:
        name, size = self._header()
        if name != MANIFEST or size > _LARGEST_MANIFEST:
            raise self.refusal("this is not an exported run", "`prodigy export RUN FILE` makes one.")
        parts: list[bytes] = []
        self._copy(size, parts.append)
        try:
            fields = json.loads(b"".join(parts))
        except (ValueError, RecursionError) as error:
            raise self.refusal("its manifest can't be read") from error
        if not isinstance(fields, dict):
            raise self.refusal("its manifest can't be read")
        if fields.get("format") != FORMAT:
            found = fields.get("format")
            newer = isinstance(found, int) and found > FORMAT
            raise self.refusal(
                f"its format is {found!r}, and this version of Prodigy reads format {FORMAT}",
                "Update Prodigy, then try again." if newer else "Nothing was changed. Export the run again.",
            )
        manifest = parsed(fields)
        if isinstance(manifest, str):
            raise self.refusal(f"its manifest is not in order: {manifest}")
        return manifest

    def _header(self) -> tuple[str, int]:
        """(name, size) of the next member, which must be a plain file."""
        block = self._read(_BLOCK)
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise self.refusal("this is not an exported run, or it is damaged") from error
        if header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or header.size < 0:
            raise self.refusal(f"it has something other than plain files in it: {header.name!r}")
        return header.name, header.size

    def _expect_end(self) -> None:
        """Nothing but zeros may follow; reading to the end also checks the sum of the whole."""
        tail = self._some(_LARGEST_TAIL)
        if tail.strip(b"\0") or self._some(1):
            raise self.refusal("more follows its last member than its manifest names")

    def _read(self, size: int) -> bytes:
        data = self._some(size)
        if len(data) < size:
            raise self.refusal("it ends too early: it is not whole", "Nothing was changed. Copy it again, whole.")
        return data

    def _some(self, size: int) -> bytes:
        """Up to `size` bytes: less only at the end."""
        try:
            return self._stream.read(size)
        except EOFError as error:
            raise self.refusal(
                "it ends too early: it is not whole", "Nothing was changed. Copy it again, whole."
            ) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise self.refusal("this is not an exported run, or it is damaged") from error


def parsed(fields: Mapping[str, object]) -> Manifest | str:
    """The manifest that these JSON fields are, or what is wrong with them."""
    try:
        members = tuple(Member(**entry) for entry in _entries(fields["members"]))
        refs = fields["refs"]
        manifest = Manifest(**{key: fields[key] for key in _FACTS}, refs=refs, members=members)  # type: ignore[arg-type]
    except (KeyError, TypeError) as error:
        return f"{error}"
    texts = (manifest.prodigy_version, manifest.host, manifest.exported_at)
    if not (isinstance(manifest.run_id, str) and RUN_ID.fullmatch(manifest.run_id)):
        return "the run id is none"
    if not all(isinstance(text, str) and len(text) <= 255 and text.isprintable() for text in texts):
        return "version, host and time are not short texts"
    if type(manifest.schema_version) is not int or manifest.schema_version < 1:
        return "the version of the database is no number"
    if not (isinstance(manifest.base, str) and is_oid(manifest.base)):
        return "the base is no commit"
    if not isinstance(refs, dict) or not all(isinstance(oid, str) and is_oid(oid) for oid in refs.values()):
        return "the refs are not commits"
    return manifest if (odd := _odd_member(members)) is None else odd


_FACTS = ("run_id", "prodigy_version", "schema_version", "host", "exported_at", "base")


def _entries(value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise TypeError("the members are no list")
    return value


def _odd_member(members: Sequence[Member]) -> str | None:
    seen: set[str] = set()
    for member in members:
        if not (isinstance(member.path, str) and _is_ours(member.path)):
            return f"the path of a member leads elsewhere: {member.path!r}"
        if member.path in seen:
            return f"the member {member.path!r} is there twice"
        if type(member.size) is not int or member.size < 0:
            return f"the size of {member.path!r} is no number"
        if not (isinstance(member.sha256, str) and _SUM.fullmatch(member.sha256)):
            return f"the sum of {member.path!r} is none"
        seen.add(member.path)
    return None if DATABASE in seen else "the database is missing"


def _is_ours(path: str) -> bool:
    """Whether a path has a place in a run's directory."""
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return False
    if path in _FILES:
        return True
    first, *rest = path.split("/")
    if first not in _FOLDERS or not rest or "\0" in path or {"", ".", ".."} & set(rest):
        return False
    return first != STEPS or not rest[0].startswith(".")


def _make_private(directory: Path) -> None:
    """Create a directory and its parents, each for its owner only."""
    if directory.is_dir():
        return
    _make_private(directory.parent)
    directory.mkdir(0o700)
