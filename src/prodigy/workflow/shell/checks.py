"""What can only be checked when a value is there: the rules a word with values in it must keep.

A word is a tuple of pieces. The shell's own expansions in it are unknown until it runs, so a check assumes of them
whatever would be worst.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

PieceKind = Literal["text", "value", "shell", "split", "raw"]
CheckKind = Literal["integer", "leading_dash", "leading_parenthesis", "write_target", "read_target", "perl_file"]

# One environment string holds 131,072 bytes with its name; all of them share about 2 MB with the arguments. What is
# more travels by file.
MAX_VALUE_BYTES = 100 * 1024
MAX_TOTAL_BYTES = 1024 * 1024
MAX_FILE_BYTES = 64 * 1024 * 1024

UTF8_MAX = 4  # bytes of a character

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_SURROGATE = re.compile("[\ud800-\udfff]")
_NETWORK = ("/dev/tcp/", "/dev/udp/")


@dataclass(frozen=True)
class Piece:
    """A part of a word.

    kind: literal `text`; a `value`; what the `shell` puts into quotes; what it may `split` into several words; `raw`
    text, of which nothing is known.
    text: the literal text, or the variable's name of a value, else empty.
    """

    kind: PieceKind
    text: str = ""


@dataclass(frozen=True)
class Check:
    """One rule for one word of the script."""

    kind: CheckKind
    pieces: tuple[Piece, ...]


class Known(NamedTuple):
    """A piece with its value; `text` is empty where only the shell will know it."""

    kind: PieceKind
    text: str

    @property
    def is_open(self) -> bool:
        """Whether only the shell knows what stands here."""
        return self.kind in ("shell", "split", "raw")


Rule = Callable[[Sequence[Known]], str | None]


def complaint(check: Check, values: Mapping[str, str]) -> str | None:
    """Why the values break the rule, as the end of a sentence that begins with the placeholder, or None."""
    return RULES[check.kind](
        [Known(piece.kind, values[piece.text] if piece.kind == "value" else piece.text) for piece in check.pieces]
    )


def unusable(value: str) -> str | None:
    """Why a value cannot travel to any script, or None."""
    if "\0" in value:
        return "holds a NUL character, which no argument or variable can hold"
    if not value.isascii() and _SURROGATE.search(value):
        return "holds a lone surrogate, which is no text"
    if exceeds(value, MAX_FILE_BYTES):
        return f"is larger than {MAX_FILE_BYTES // 1024 // 1024} MiB, more than a script can take"
    return None


def exceeds(value: str, limit: int) -> bool:
    """Whether the value has more bytes than this."""
    return len(value) * UTF8_MAX > limit and (len(value) > limit or len(value.encode()) > limit)


def _integer(word: Sequence[Known]) -> str | None:
    fine = all(_INTEGER.fullmatch(piece.text) for piece in word if piece.kind == "value")
    return None if fine else "is not a whole number, and the script uses it in arithmetic"


def _begins(word: Sequence[Known], character: str) -> bool:
    """Whether a value may put this character at the beginning of a word; expansions of the shell may be empty."""
    at_start = True
    for piece in word:
        if piece.kind in ("split", "raw"):
            at_start = True
        elif piece.text:
            if at_start and piece.kind == "value" and piece.text.startswith(character):
                return True
            at_start = False
    return False


def _leading_dash(word: Sequence[Known]) -> str | None:
    return "begins with - where it could be taken for an option" if _begins(word, "-") else None


def _leading_parenthesis(word: Sequence[Known]) -> str | None:
    return "begins with ( where bash could take it for an array" if _begins(word, "(") else None


def _write_target(word: Sequence[Known]) -> str | None:
    if _begins(word, "/"):
        return "is an absolute path, and the script writes there"
    for component in _components(word):
        if any(piece.kind == "value" and piece.text for piece in component) and (name := _forbidden(component)):
            return f"makes {name} a part of a path that the script writes to"
    return None


def _components(word: Sequence[Known]) -> list[list[Known]]:
    """The word cut at its slashes. What the shell adds stays in the component where it stands."""
    components: list[list[Known]] = [[]]
    for piece in word:
        first, *others = piece.text.split("/")
        components[-1].append(Known(piece.kind, first))
        components += [[Known(piece.kind, other)] for other in others]
    return components


def _forbidden(component: Sequence[Known]) -> str | None:
    """`..` or `.git` if the component may be one of them, whatever the shell adds to it."""
    known = [piece.text.lower() for piece in component]
    is_open = any(piece.is_open for piece in component)
    for name in ("..", ".git"):
        if "".join(known) == name or (is_open and _may_become(known, name)):
            return name
    return None


def _may_become(known: Sequence[str], name: str) -> bool:
    """Errs on the side of yes: the order of the known parts is not looked at."""
    return sum(map(len, known)) <= len(name) and all(part in name for part in known)


def _read_target(word: Sequence[Known]) -> str | None:
    """bash opens a connection for such names by itself. Expansions of the shell are taken as empty here."""
    path = "".join(piece.text for piece in word)
    return "names a network connection" if path.startswith(_NETWORK) else None


def _perl_file(word: Sequence[Known]) -> str | None:
    """`perl -n` and `-p` run a name that begins or ends with a bar and write to one that begins with `>`."""
    name = "".join(piece.text for piece in word).strip()
    if name.startswith(("|", "<", ">", "+")) or name.endswith("|"):
        return "would be run or written by perl instead of read"
    return None


RULES: Mapping[CheckKind, Rule] = {
    "integer": _integer,
    "leading_dash": _leading_dash,
    "leading_parenthesis": _leading_parenthesis,
    "write_target": _write_target,
    "read_target": _read_target,
    "perl_file": _perl_file,
}
