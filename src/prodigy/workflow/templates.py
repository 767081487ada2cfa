"""Workflows that are known by a name: those of the repository, those in Prodigy's home, and our own starters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from prodigy.errors import UsageError
from prodigy.home import home
from prodigy.workflow.files import SUFFIXES, printable, read_document
from prodigy.workflow.parameters import Parameter, read_parameters
from prodigy.workflow.values import Findings
from prodigy.workflow.yaml_nodes import Mapping, Node, Scalar, Sequence

Place = Literal["repository", "home", "starter"]
STARTERS = Path(__file__).parents[1] / "starters"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
# What a template says of itself, in the comment that it begins with.
_ABOUT = re.compile(r"#\s*(description|version|author|tags|registered):[ \t]*(.*)")
_SHELVES = ("templates", ".prodigy/templates")


@dataclass(frozen=True)
class About:
    """What is said of a template. registered: when, as text."""

    description: str = ""
    version: str = ""
    author: str = ""
    tags: tuple[str, ...] = ()
    registered: str = ""


@dataclass(frozen=True)
class Template:
    """A workflow with a name. place: whose it is."""

    name: str
    place: Place
    path: Path


def shelves(where: Path) -> Iterator[tuple[Place, Path]]:
    """The directories in which a name is looked for, in this order. where: the directory of the file that names it, or
    where the user stands."""
    root = repository_around(where)
    for directory in dict.fromkeys((where, root or where)):
        for shelf in _SHELVES:
            yield "repository", directory / shelf
    yield "home", home() / "templates"
    yield "starter", STARTERS


def repository_around(where: Path) -> Path | None:
    """The root of the checkout around a directory, without asking git."""
    try:
        around = (where.absolute(), *where.absolute().parents)
        return next((folder for folder in around if (folder / ".git").exists()), None)
    except (OSError, ValueError):
        return None


def templates(where: Path) -> list[Template]:
    """Every template that can be named from `where`, by name; of several with one name the one that is meant."""
    found: dict[str, Template] = {}
    for place, shelf in shelves(where):
        for path in _workflows(shelf):
            found.setdefault(path.stem, Template(path.stem, place, path))
    return sorted(found.values(), key=lambda each: each.name)


def _workflows(shelf: Path) -> list[Path]:
    try:
        return sorted(path for path in shelf.iterdir() if path.suffix in SUFFIXES[:2] and path.is_file())
    except OSError:
        return []


def template(name: str, where: Path) -> Template:
    """The template of that name. Raises UsageError when there is none."""
    known = {each.name: each for each in templates(where)}
    if name in known:
        return known[name]
    nearest = get_close_matches(name[:100], known, 1) or [each for each in known if name and each.startswith(name)]
    hint = f"Did you mean {nearest[0]}?" if nearest else "`prodigy template list` shows them."
    raise UsageError(f"there is no template {_visible(name)}", hint=hint)


def _visible(name: str) -> str:
    return printable("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name[:100]))


# What it says of itself ---------------------------------------------------------------------------------------


def about(path: Path) -> tuple[About, tuple[Parameter, ...]]:
    """What the template in the file `path` says of itself, and its parameters. Raises as `read_document` does."""
    document = read_document(path)
    root = document.root
    entries = root.entries if isinstance(root, Mapping) else {}
    below = entries["metadata"].value if "metadata" in entries else None
    words = {**_words(below), **_words(root), **_in_comment(document.text.text)}
    known = read_parameters(entries["parameters"].value, Findings()) if "parameters" in entries else {}
    tags = tuple(tag.strip() for tag in words.pop("tags", "").split(",") if tag.strip())
    return About(tags=tags, **words), tuple(known.values())


def _words(node: Node | None) -> dict[str, str]:
    found = {}
    for name, (_, value) in node.entries.items() if isinstance(node, Mapping) else ():
        if name in ("description", "version", "author", "tags"):
            parts = value.items if isinstance(value, Sequence) else (value,)
            found[name] = ", ".join(" ".join(part.value.split()) for part in parts if isinstance(part, Scalar))
    return found


def _in_comment(text: str) -> dict[str, str]:
    return {found[1]: found[2].strip() for line in _head(text) if (found := _ABOUT.fullmatch(line))}


def _head(text: str) -> Iterator[str]:
    """The comment that a file begins with, line by line."""
    for line in text.splitlines():
        if not line.startswith("#"):
            return
        yield line


def with_about(text: str, said: About) -> str:
    """The text of a workflow that says this of itself, in place of what its first comment said before."""
    words = {
        "description": said.description, "version": said.version, "author": said.author,
        "tags": ", ".join(said.tags), "registered": said.registered,
    }  # fmt: skip
    head = [f"# {name}: {' '.join(value.split())}" for name, value in words.items() if value]
    before = list(_head(text))
    rest = text.split("\n", len(before))[-1] if before else text
    kept = [line for line in before if not _ABOUT.fullmatch(line)]
    while kept and kept[-1].strip() == "#":
        kept.pop()
    between = ["#"] if kept and head else []
    return "\n".join([*kept, *between, *head, *([""] if head and not before else []), rest])


def merged_about(old: About, **new: str | tuple[str, ...] | None) -> About:
    """`old` with what is given of `new`; None and empty values are not."""
    return replace(old, **{name: value for name, value in new.items() if value})  # type: ignore[arg-type]
