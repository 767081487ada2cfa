"""Values that must not be shown: how they are recognised in any text, and what is shown in their place.

Whoever learns a secret (the process that drives a run) tells it to `remember`; whoever only shows what a run left
knows it by its prints. A print is a length, 16 bits of a checksum of its first four bytes, and a salted SHA-256: in the
file `masks.jsonl` (0600) of a run's directory there is no value, and no word of it.

The process knows one set of prints, `MASKS`: there is nothing that it may show in one place and not in another.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

MASK = "***"
SHORTEST = 4  # characters; what is shorter stands in every other word
FILE = "masks.jsonl"

_SHORTEST_LINE = 8  # characters of one line of a secret that is masked by itself
_GRAM = 4  # bytes of the beginning by which places are found
_BLOCK = 1 << 16  # bytes looked at together
_FEW = 50
_LONGEST_LINE = 1 << 16  # bytes of a line that is held back until it is whole
_LOOK_AGAIN_S = 1.0  # another process may learn a secret while we watch its run

# Names of variables whose values are secrets.
_KEYWORDS = (
    r"(?:passw(?:or)?d|(?<=[_-])pwd|token|api[_-]?key|secret|authorization|(?<![a-z])auth|bearer"
    r"|(?:private|ssh|access|secret)[_-]?key)"
)
_SECRET_NAME = re.compile(rf".*{_KEYWORDS}", re.IGNORECASE)
_NAME_ENDS = re.compile(_KEYWORDS.encode() + rb"\Z", re.IGNORECASE)
_LONGEST_KEYWORD = 20
_MASK = MASK.encode()
# What is a secret by its own form, whoever printed it.
_FORMS = re.compile(
    rb"gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|(?<![A-Za-z0-9])A(?:KIA|SIA)[0-9A-Z]{16}(?![0-9A-Za-z])"
    rb"|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
)
# Prose has words behind these too; a credential has a digit, a `=` or a capital after a small letter.
_SCHEMES = re.compile(
    rb"(?<![A-Za-z])([Bb](?:earer|EARER|asic|ASIC)[ \t]{1,4})"
    rb"(?=[\w+/.~-]{0,200}?(?:[0-9=]|[a-z][A-Z]))[\w+/.~-]{8,}=*"
)
# What stands between a name and its value: in assignments, and in JSON.
_BETWEEN = re.compile(rb"[\"']?=[\"']?|\"[ \t]{0,4}:[ \t]{0,4}\"")
_WORD = re.compile(rb"(?!\$|\*\*\*)[^\s\"'\\,;&(){}<>]{4,}")
_JSON_STRING = re.compile(rb"(?!\$|\*\*\*)(?:[^\"\\\n]|\\.){4,}(?=\")")
_JSON_TEXT = re.compile(r"[\s,\[]*\{.*\}[\s\]]*", re.DOTALL)
_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s\[\]{},:"]+')


class _Print(NamedTuple):
    """length: in bytes. gram: see `_gram`. digest: SHA-256 of the salt and the value, in hexadecimal digits."""

    length: int
    gram: int
    digest: str


# (length, salt) -> digests, of all prints that begin with the same gram.
_Bucket = dict[tuple[int, bytes], set[str]]


class Masks:
    """The prints that a process knows. Threads may ask while another one teaches."""

    def __init__(self) -> None:
        self._buckets: dict[int, _Bucket] = {}
        self._longest = 0
        self._files: dict[Path, int] = {}  # when each was last written; 0: there is none of use
        self._kept: dict[Path, tuple[bytes, set[_Print]]] = {}  # what is in them: salt, prints
        self._looked_at = 0.0

    @property
    def longest(self) -> int:
        """Bytes of the longest value that is known."""
        return self._longest

    # Learning ----------------------------------------------------------------------------------------------

    def remember(self, directory: Path, values: Iterable[str]) -> None:
        """Know these values from now on, and let whoever shows the run in `directory` know them. Raises OSError.

        Values with fewer than SHORTEST characters are left out.
        """
        path = directory / FILE
        self._files.setdefault(path, 0)
        self._look(path)
        salt, known = self._kept.setdefault(path, (os.urandom(16), set()))
        new = {_print_of(form, salt) for value in values for form in _forms(value)} - known
        if not new:
            return
        self._add(salt, new)
        known |= new
        if self._files[path]:
            _write(path, os.O_APPEND, ["", *map(json.dumps, sorted(new))])  # behind a line that may not be whole
        else:
            _write(path, os.O_CREAT | os.O_TRUNC, [json.dumps({"salt": salt.hex()}), *map(json.dumps, sorted(known))])
        self._files[path] = _written_at(path)

    def learn(self, directory: Path) -> None:
        """Know what the run in `directory` keeps secret, also what it learns while we watch it."""
        self._files.setdefault(directory / FILE, 0)
        self._look(directory / FILE)

    def _look(self, path: Path) -> None:
        written_at = _written_at(path)
        if written_at == self._files[path]:
            return
        if (found := _read(path)) is not None:
            self._kept[path] = found
            self._add(*found)
        self._files[path] = written_at if found is not None else 0

    def _add(self, salt: bytes, prints: Iterable[_Print]) -> None:
        prints = list(prints)
        buckets = dict(self._buckets)  # nobody may see one change that is being looked through
        for mark in {gram for _, gram, _ in prints}:
            buckets[mark] = {key: set(digests) for key, digests in buckets.get(mark, {}).items()}
        for length, gram, digest in prints:
            buckets[gram].setdefault((length, salt), set()).add(digest)
            self._longest = max(self._longest, length)
        self._buckets = buckets

    # Masking -----------------------------------------------------------------------------------------------

    def text(self, text: str) -> str:
        """`text` with MASK for every secret in it. A JSON document stays one."""
        masked = self._text(text)
        if masked == text or not _JSON_TEXT.fullmatch(text):
            return masked
        as_json = _JSON_TOKEN.sub(lambda token: self._json_token(token[0]), text)
        return as_json if self._text(as_json) == as_json else masked

    def _text(self, text: str) -> str:
        data = text.encode("utf-8", "surrogatepass")
        masked = self.data(data)
        return (
            text if masked == data else masked.decode("utf-8", "replace" if _has_surrogate(masked) else "surrogatepass")
        )

    def _json_token(self, token: str) -> str:
        if token.startswith('"'):
            return f'"{self._text(token[1:-1])}"'
        return token if self._text(token) == token else f'"{MASK}"'

    def data(self, data: bytes) -> bytes:
        """`data` with MASK for every secret in it."""
        self._look_again()
        # Values that are known go first and whole: a pattern may see only a part of one.
        data, places = _replaced(data, self.spans(data))
        for find in (_by_form, _by_name):
            data, more = _replaced(data, find(data))
            places += more
        if places and self._made_up(data):
            while spans := self.spans(data):
                data, _ = _replaced(data, spans)
        return data

    def _made_up(self, data: bytes) -> bool:
        """Whether a mask makes up a secret with what stands around it. (Masking it makes the text shorter.)"""
        if data.count(_MASK) > _FEW:
            return bool(self.spans(data))
        places = (match.span() for match in re.finditer(re.escape(_MASK), data))
        return any(self.spans(data[max(0, at - self._longest) : end + self._longest]) for at, end in places)

    def spans(self, data: bytes) -> list[tuple[int, int]]:
        """Where the known values stand; those that overlap are one span."""
        return _disjoint(self._matches(data)) if self._buckets else []

    def _matches(self, data: bytes) -> Iterator[tuple[int, int]]:
        buckets = self._buckets
        for begin in range(0, len(data) - _GRAM + 1, _BLOCK):
            places = range(begin, min(begin + _BLOCK, len(data) - _GRAM + 1))
            grams = {data[at : at + _GRAM] for at in places}
            hot = {gram: buckets[mark] for gram in grams if (mark := crc32(gram) & 0xFFFF) in buckets}
            if not hot:
                continue
            last: tuple[bytes, int, bytes, bool] = b"", 0, b"", False  # the same text again and again is looked at once
            for at in [at for at in places if data[at : at + _GRAM] in hot]:
                for (length, salt), digests in hot[data[at : at + _GRAM]].items():
                    value = data[at : at + length]
                    if last[:3] != (value, length, salt):
                        last = value, length, salt, len(value) == length and _digest(value, salt) in digests
                    if last[3]:
                        yield at, at + length

    def _look_again(self) -> None:
        if self._files and time.monotonic() - self._looked_at > _LOOK_AGAIN_S:
            self._looked_at = time.monotonic()
            for path in list(self._files):
                self._look(path)


MASKS = Masks()


class MaskedStream:
    """Masks bytes that come in pieces, wherever they are cut."""

    def __init__(self, masks: Masks = MASKS) -> None:
        self._masks = masks
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What is sure of the pieces so far; the rest, a line that has not ended and what a secret may go on from, is
        held back."""
        data = self._held + data
        cut = data.rfind(b"\n", 0, max(0, len(data) - self._masks.longest)) + 1
        cut = max(cut, len(data) - _LONGEST_LINE - self._masks.longest)
        for start, end in self._masks.spans(data):
            if start < cut < end:
                cut = start
        self._held = data[cut:]
        return self._masks.data(data[:cut])

    def flush(self) -> bytes:
        """What was held back."""
        held, self._held = self._held, b""
        return self._masks.data(held)


def mask(text: str) -> str:
    """`text` with MASK for every secret that this process knows, and for what looks like one."""
    return MASKS.text(text)


def is_secret_name(name: str) -> bool:
    """Whether a variable of this name holds a secret, such as GITHUB_TOKEN and DB_PASSWORD."""
    return _SECRET_NAME.fullmatch(name) is not None


def _replaced(data: bytes, spans: list[tuple[int, int]]) -> tuple[bytes, int]:
    """The data with a mask for each span, and how many there were."""
    if not spans:
        return data, 0
    parts, position = [], 0
    for start, end in spans:
        parts += [data[position:start], _MASK]
        position = end
    return b"".join([*parts, data[position:]]), len(spans)


def _by_form(data: bytes) -> list[tuple[int, int]]:
    found = [match.span() for match in _FORMS.finditer(data)]
    found += [(match.end(1), match.end()) for match in _SCHEMES.finditer(data)]
    return _disjoint(found)


def _by_name(data: bytes) -> list[tuple[int, int]]:
    """The values behind names of secrets, as in `DB_PASSWORD=...` and `"api_key": "..."`."""
    found = []
    for match in _BETWEEN.finditer(data):
        if _NAME_ENDS.search(data[max(0, match.start() - _LONGEST_KEYWORD) : match.start()]):
            value = (_WORD if b"=" in match[0] else _JSON_STRING).match(data, match.end())
            found += [value.span()] if value else []
    return _disjoint(found)


def _disjoint(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """In order, those that overlap as one."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if found and start < found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return found


def _has_surrogate(data: bytes) -> bool:
    """Whether the bytes can't be read as text again, because a secret that is no text was taken out of it."""
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return True
    return False


# Prints ----------------------------------------------------------------------------------------------------


def _forms(value: str) -> set[bytes]:
    """The value as programs and we ourselves write it: plain, in JSON, in a URL, escaped for a terminal or a shell."""
    import base64  # who only shows something pays for none of them
    import shlex
    from urllib.parse import quote, quote_plus

    if len(value) < SHORTEST:
        return set()
    raw = value.encode("utf-8", "surrogatepass")
    texts = {value, value.strip()}
    texts |= {line.strip() for line in value.splitlines() if len(line.strip()) >= _SHORTEST_LINE}
    written = set()
    for text in texts:
        written |= {
            text,
            json.dumps(text)[1:-1],
            json.dumps(text, ensure_ascii=False)[1:-1],
            repr(text)[1:-1],
            "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text),
            text.encode(errors="backslashreplace").decode(),
            shlex.quote(text)[1:-1] if "'" in text else text,
            quote(text, safe="", errors="replace"),
            quote_plus(text, errors="replace"),
        }
    found = {text.encode("utf-8", "surrogatepass") for text in written} | {base64.b64encode(raw).rstrip(b"=")}
    with suppress(UnicodeEncodeError):  # half a character that is not from a byte
        found.add(os.fsencode(value))
    return {form for form in found if len(form) >= SHORTEST}


def _print_of(form: bytes, salt: bytes) -> _Print:
    return _Print(len(form), crc32(form[:_GRAM]) & 0xFFFF, _digest(form, salt))


def _digest(value: bytes, salt: bytes) -> str:
    return hashlib.sha256(salt + value).hexdigest()


def _written_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _read(path: Path) -> tuple[bytes, set[_Print]] | None:
    """The salt and the prints in the file; None where there is none, or it does not begin as it should.

    A line that is not whole is one at which a process died: what it was for is remembered again by the next that drives
    the run.
    """
    try:
        salt, *lines = path.read_bytes().splitlines()
        return bytes.fromhex(json.loads(salt)["salt"]), {found for line in lines if (found := _print_in(line))}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _print_in(line: bytes) -> _Print | None:
    try:
        length, gram, digest = json.loads(line)
    except (ValueError, TypeError):
        return None
    return _Print(int(length), int(gram), str(digest))


def _write(path: Path, flags: int, lines: list[str]) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | flags, 0o600), "w") as file:
        file.write("\n".join([*lines, ""]))
        file.flush()
        os.fsync(file.fileno())
