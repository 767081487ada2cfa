"""Finds and opens the other files that a workflow is made of, and sees when they go round in a circle."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import chain
from pathlib import Path

from prodigy.errors import UsageError, WorkflowError
from prodigy.workflow.files import SUFFIXES, printable, read_document, yaml_files
from prodigy.workflow.templates import STARTERS, shelves
from prodigy.workflow.values import Findings, read_text
from prodigy.workflow.yaml_compose import Document
from prodigy.workflow.yaml_nodes import Node, Position, visible

MAX_FILES = 200  # a workflow is made of a handful
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|git@")


@dataclass(frozen=True)
class Chain:
    """The files that are being read, each named by the one before: (real path, name for messages).

    opened: every file that was opened for the workflow, for their number.
    """

    links: tuple[tuple[str, str], ...] = ()
    opened: list[str] = field(default_factory=list)

    def then(self, file: str) -> Chain:
        """The chain with one file more."""
        return Chain((*self.links, (_real(file), file)), self.opened)

    def is_last(self, path: Path) -> bool:
        """Whether it is the file that is being read."""
        return bool(self.links) and _real(str(path)) == self.links[-1][0]

    def circle(self, file: str) -> str | None:
        """`a.yml -> b.yml -> a.yml` when the file is being read already."""
        real = _real(file)
        places = [number for number, (path, _) in enumerate(self.links) if path == real]
        if not places:
            return None
        names = [name for _, name in self.links[places[0] :]]
        return " -> ".join([*names, names[0]])


@dataclass(frozen=True)
class Opened:
    """Another file. file: its name for messages, which the files that it names are found from."""

    document: Document
    file: str
    chain: Chain


def beside(at: Position, main: str) -> Path:
    """The directory of the file that `at` is in. main: the main file's name."""
    return Path(at.file or main).parent


def path_named(text: str, directory: Path) -> list[Path]:
    """Where a file may be that is named by its path, with or without its extension."""
    path = directory / text
    return [path] if path.suffix in SUFFIXES else [path, path.with_name(f"{path.name}.yml") if path.name else path]


def base_named(text: str, directory: Path) -> list[Path]:
    """Where a file may be that `extends` names."""
    if _is_path(text):
        return path_named(text, directory)
    beside_it = _in_places(text, directory, ("bases", "templates", "workflows", "."))
    return list(dict.fromkeys(chain(beside_it, template_named(text, directory))))


def template_named(text: str, directory: Path) -> list[Path]:
    """Where a template may be: beside the file that names it, where the user stands, at the root of either's
    repository, in Prodigy's home, and among the starters."""
    if _is_path(text):
        return path_named(text, directory)
    near = [*shelves(directory), *shelves(Path())]
    order = sorted(near, key=lambda shelf: ("repository", "home", "starter").index(shelf[0]))
    return list(dict.fromkeys(path for _, shelf in order for path in _in_places(text, shelf, (".",))))


def _is_path(text: str) -> bool:
    return "/" in text or Path(text).suffix in SUFFIXES


def _in_places(name: str, directory: Path, places: tuple[str, ...]) -> Iterator[Path]:
    for place in places:
        for suffix in (".yml", ".yaml"):
            yield directory / place / f"{name}{suffix}"


def named(node: Node, key: str, findings: Findings) -> str | None:
    """The text that names a file, or None; a URL is refused."""
    text = read_text(node, key, findings)
    if text is None:
        return None
    if _URL.match(text):
        hint = "save the file beside this one, and give its path or its name"
        findings.problem(node.at, f"`{key}`: a workflow is not fetched from a URL", hint)
        return None
    return text


def open_first(places: list[Path], node: Node, what: str, chain: Chain, findings: Findings) -> Opened | None:
    """The first of the files that exists; None, with a problem at `node`, when there is none or it can't be read.

    what: it is, for messages.
    """
    there = [place for place in places if is_file(place)]
    # A file that names itself by its name means another one of that name, if there is one.
    path = next((place for place in there if not chain.is_last(place)), there[0] if there else None)
    opened = _open(path, node, chain, findings) if path is not None else None
    if path is None:
        shown = printable(os.path.normpath(places[0]))
        findings.problem(node.at, f"there is no {what} {visible_path(shown)}", _other_names(places))
    findings.incomplete |= opened is None
    return opened


def _open(path: Path, node: Node, chain: Chain, findings: Findings) -> Opened | None:
    file = printable(os.path.normpath(path))
    if circle := chain.circle(file):
        findings.problem(node.at, f"these files go round in a circle: {circle}", "take one of them out")
        return None
    if len(chain.opened) >= MAX_FILES:
        findings.problem(node.at, f"this workflow is made of more than {MAX_FILES} files")
        return None
    chain.opened.append(file)
    try:
        document = read_document(path, file)
    except WorkflowError as error:
        findings.problems += [replace(problem, file=file) for problem in error.problems]
        return None
    except UsageError as error:
        findings.problem(node.at, f"{visible_path(file)}: {error.what}", error.hint)
        return None
    findings.problems += document.problems
    return Opened(Document(document.root, document.text), file, chain.then(file))


def visible_path(path: str) -> str:
    """A path for a message."""
    return path if path.isprintable() and len(path) < 200 else visible(path)


def _other_names(places: list[Path]) -> str:
    there = {name: place.parent / name for place in reversed(places) for name in yaml_files(place.parent)}
    nearest = next((found for place in places if (found := get_close_matches(place.name, there, 1, 0.75))), [])
    if nearest:
        found_path = there[nearest[0]]
        name = found_path.stem if found_path.parent == STARTERS else printable(os.path.normpath(found_path))
        return f"did you mean {visible_path(name)}?"
    looked = dict.fromkeys(printable(os.path.normpath(place)) for place in places if place.parent != STARTERS)
    return f"looked for {', '.join(map(visible_path, looked))}"


def is_file(path: Path) -> bool:
    """Whether it is one that can be seen."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _real(file: str) -> str:
    try:
        return os.path.realpath(file)
    except (OSError, ValueError):
        return file
