"""The signature of a failure's message: equal when two items failed in the same way. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from prodigy.plan.identity import Item, label

MAX_MESSAGE = 4000  # characters of a message that are looked at and kept
_CUT = " … "
_SIGNED = 1500  # characters of its normal form that count


def ends(text: str) -> str:
    """The text, or its beginning and its end when it is too long. What comes out is not cut again."""
    half = (MAX_MESSAGE - len(_CUT)) // 2
    return text if len(text) <= MAX_MESSAGE else f"{text[:half]}{_CUT}{text[-half:]}"


# Whatever may differ between two items becomes the same mark, so that it does not matter whether a name looks like a
# path or a number. Each pattern takes time in proportion to the text: no part of one can match in two ways.

_MARK = "\0"
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*+[A-Za-z]")
_BLANK = re.compile(r"[\s\x00-\x1f\x7f]+")

_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?"
    r"|Nov(?:ember)?|Dec(?:ember)?)\.?"
)
_DAY = r"(?:(?:Mon|Tue(?:s)?|Wed(?:nes)?|Thu(?:rs)?|Fri|Sat(?:ur)?|Sun)(?:day)?,? )"
_CLOCK = r"\d{1,2}:\d\d(?::\d\d(?:[.,]\d{1,9})?)?"
_HALF_DAY = r"(?: ?[AaPp]\.?[Mm]\b\.?)"
_ZONE = r"(?: ?(?:Z|UTC|GMT|[A-Z]{1,4}T)\b| ?[+-]\d\d:?\d\d\b)"
_NUMBER = r"\d++(?:,\d{3})*+(?:\.\d+)*+"
_UNIT = (
    r"(?:[nµum]?s(?:ecs?)?|(?:milli|micro|nano)?seconds?|m(?:ins?)?|minutes?|h(?:rs?)?|hours?|d|days?|weeks?"
    r"|[kKMGTP]i?B?|B|bytes?)"
)
_PATH_CHARACTER = r"[^\s'\"`‘’“”,;:()<>|={}]"
# URLs, paths of Windows, UUIDs, times and dates, IPv6 addresses, durations and sizes: what has blanks or colons in it.
_VARYING = re.compile(
    "|".join(
        (
            r"\b[A-Za-z][A-Za-z0-9+.-]{1,15}://[^\s'\"`‘’“”<>(){}]++",
            rf"(?<!\w)[A-Za-z]:[\\/]{_PATH_CHARACTER}*+",
            rf"(?<![\w\\])\\\\[\w.$-]+\\{_PATH_CHARACTER}*+",
            r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b",
            rf"\b\d{{4}}-\d\d-\d\d[T _]\d\d[:_.-]?\d\d(?:[:_.-]?\d\d(?:[.,_]\d{{1,9}})?)?{_ZONE}?",
            rf"\b{_DAY}?{_MONTH} \d{{1,2}}\b(?!:)(?:, \d{{4}}\b)?",  # Thu Nov 26, 2026
            rf"\b{_DAY}?\d{{1,2}}(?:\. |[ /-]){_MONTH}\b(?:[ /-]\d{{4}}\b)?",  # 26/Nov/2026
            rf"(?<![\w:]){_CLOCK}{_HALF_DAY}?{_ZONE}?(?!\w|:\w)",
            rf"\b\d{{1,2}}{_HALF_DAY}{_ZONE}?",
            r"(?<![\w:])\[?(?=[:0-9A-Fa-f]*?[0-9A-Fa-f])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?:%\w+|(?![\w:]))\]?|\[::\]",
            rf"(?<![\w.])(?:{_NUMBER} ?{_UNIT}(?![A-Za-z]) ?)+(?!\w)",  # 1m30s, 10 MB
        )
    )
)
_QUOTED = re.compile(r"(?<!\w)(?:'([^']{1,255})'|\"([^\"]{1,255})\"|`([^`]{1,255})`|[‘“]([^’”]{1,255})[’”])(?!\w)")
_WORD = re.compile(rf"{_PATH_CHARACTER}+")
_PARTS = re.compile(
    r"(?<![A-Za-z0-9])(?:(?P<code>[A-Z]{1,5}\d{3,5})(?![\w-])|[+-]?(?:(?:0x)?[0-9a-fA-F]{7,64}(?![A-Za-z0-9])|0x[0-9a-fA-F]+)"
    r"|(?P<random>[A-Za-z0-9]{12,}))"
    rf"|(?:(?<![\w)\]])[+-])?{_NUMBER}(?:[eE][+-]?\d+\b)?"
)
_CHANGES = re.compile(r"[A-Za-z](?=\d)|\d(?=[A-Za-z])")
_NAME = r"[\w@+~$#%&!.\x00\[\]-]*"
_ENDINGS = """
    py pyi pyc ipynb js jsx mjs cjs ts tsx mts cts vue svelte css scss sass less html htm xml svg json jsonl json5 yaml
    yml toml ini cfg conf env lock log txt md mdx rst adoc csv tsv sql db sqlite sh bash zsh fish ps1 bat cmd rs go mod
    sum c h cc cpp cxx hpp hh mm java kt kts scala groovy gradle rb php pl pm lua swift dart ex exs erl hs ml mli fs cs
    vb r jl nim zig tf hcl proto graphql so a o dll exe bin jar war whl gz tgz bz2 xz zst zip tar iso img png jpg jpeg
    gif webp ico pdf doc docx xls xlsx ppt pptx mp3 mp4 wav tmp bak orig rej patch diff pem crt git
    com org net io dev internal local lan example
"""
_FILE_NAME = re.compile(rf"{_NAME}\.(?:{'|'.join(_ENDINGS.split())})|\.[A-Za-z][\w.-]*", re.IGNORECASE)
_ENDING = re.compile(r"\.[A-Za-z]\w{0,4}$")
_ROOTED = re.compile(r"[~.]{0,2}[/\\]|[A-Za-z]:[/\\]")
_LIST = re.compile(r"\0(?:(?:[\s,;:./@+_~-]|and (?=\0))*+\0)++(?: more\b)?")
_QUOTED_MARK = re.compile(r"(?<!\w)['\"`‘“]\0['\"`’”](?!\w)")
_RUN = re.compile(r"([=_*#~-])\1+")  # as wide as the terminal
_PLURAL = re.compile(r"(\0 (?:[a-z]{1,30} )?[a-z]{2,30}[a-rt-z])s\b")


def signature(message: str, item: Item | None = None) -> str:
    """16 hex digits, equal for the same failure of two items: paths, numbers, ids and times do not count.

    item: whose failure it is; what it calls itself does not count either. An exit code is a number like any other
    here, as the dead letter has it in a field of its own; codes such as `TS2345` are names of errors and do count.
    """
    normal = _normal(ends(message), item)
    # The ends again: how long the paths are must not move the place where a long message is cut.
    if len(normal) > _SIGNED:
        normal = normal[: _SIGNED // 2] + normal[-_SIGNED // 2 :]
    return hashlib.sha256(normal.encode(errors="backslashreplace")).hexdigest()[:16]


def _normal(text: str, item: Item | None) -> str:
    """The text with one mark for everything that may differ between two items."""
    text = _BLANK.sub(" ", _ESCAPE.sub("", text)).strip()
    own = [name for name in _own_names(item) if name in text] if item else []
    if own:
        longest_first = sorted(own, key=len, reverse=True)
        text = re.sub(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)", _MARK, text)
    text = _QUOTED.sub(_quoted, text)
    text = _VARYING.sub(_keep_blank, text)
    text = _WORD.sub(_word, text)
    text = _QUOTED_MARK.sub(_MARK, text)
    text = _RUN.sub(r"\1", _LIST.sub(_MARK, text))
    return _PLURAL.sub(r"\1", text)


def _keep_blank(match: re.Match[str]) -> str:
    """A mark, with the blank or the punctuation behind what it replaces."""
    found = match.group()
    return _MARK + found[len(found.rstrip(" .,;:!?")) :]


def _quoted(match: re.Match[str]) -> str:
    """A mark when the quoted text is the name of a file, even one with blanks; quoted sentences stay."""
    content = next(group for group in match.groups() if group is not None)
    blanks = content.count(" ")
    rooted = _ROOTED.match(content) is not None
    if blanks:
        is_file = ": " not in content and (rooted or (blanks <= 2 and _ENDING.search(content) is not None))
    else:
        is_file = rooted or "/" in content or _FILE_NAME.fullmatch(content) is not None
    return _MARK if is_file else match.group()


def _word(match: re.Match[str]) -> str:
    """A mark for a path or a file name; other words with marks for the numbers and ids in them."""
    word = match.group()
    bare = word.rstrip(".!?")
    is_path = "/" in word and len(word) > 1
    if "\\" in word:
        is_path |= word.startswith((".\\", "..\\")) or _FILE_NAME.fullmatch(bare.rpartition("\\")[2]) is not None
    elif not is_path and "." in bare:
        is_path = _FILE_NAME.fullmatch(bare) is not None
    if not is_path:
        return _PARTS.sub(_part, word)
    opened = "[" if word[0] == "[" and "]" not in bare.rstrip("]") else ""
    return f"{opened}{_MARK}{word[len(bare) :]}"


def _part(match: re.Match[str]) -> str:
    if match["code"]:
        return match.group()
    if match["random"] and len(_CHANGES.findall(match["random"])) < 3:
        return re.sub(r"\d+", _MARK, match.group())
    return _MARK


# An item that is called so must not change what a message says.
_COMMON_WORDS = """
    agent branch build cannot check code command commit conflict connection critical data default denied directory error
    exception exit exited expected fail failed failure fatal file files found from have http input invalid item limit
    line lost main master merge message missing module name network none null object output path permission process
    rate reached refused request resource result server shell signal size status step steps such test tests that this
    time timed timeout token tool true type undefined unexpected unknown usage user validation value version warning
    when with worktree
"""
_COMMON = frozenset(_COMMON_WORDS.split())
_MOST_VALUES = 200


def _own_names(item: Item) -> Iterator[str]:
    """What the item's failure may call it by: its id, its label, and those of its values that look like names."""
    for name in (item.id, label(item)):
        word = " ".join(name.split())
        plain = word.isalpha()
        if len(word) >= (4 if plain else 2) and _has_letter(word) and not (plain and word.lower() in _COMMON):
            yield word
    for value in _texts(item.data):
        word = " ".join(value.split())
        if "/" in word or "\\" in word:
            yield word
            word = re.split(r"[/\\]", word)[-1]
        elif " " in word and not _ENDING.search(word):
            continue
        if len(word) >= 3 and _has_letter(word) and not word.isalpha():
            yield word


def _has_letter(word: str) -> bool:
    """A mere number is no name: it is anywhere in a message, and stands for nothing there."""
    return any(character.isalpha() for character in word)


def _texts(data: object) -> Iterator[str]:
    """The texts in the item's data that a message may quote whole, of the first values only."""
    waiting: list[object] = [data]
    for _ in range(_MOST_VALUES):
        if not waiting:
            return
        match waiting.pop():
            case dict() as values:
                waiting.extend(list(values.values())[:_MOST_VALUES])
            case list() as values:
                waiting.extend(values[:_MOST_VALUES])
            case str() as text if len(text) <= 255:
                yield text
