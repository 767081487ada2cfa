"""Reads the documentation: its blocks, what is to become of each, and what its commands print.

A page is Markdown. An HTML comment on the line before a block says how the block is checked:

    <!-- check: fragment WHERE -->   a part of a workflow; WHERE is a key of FRAGMENTS
    <!-- check: warns WORDS -->      valid, with a warning that has these words
    <!-- check: refused WORDS -->    not valid; the words are in the message. May stand beside `fragment`
    <!-- run: repo -->               once in a page: what follows is run in one temporary repository
    <!-- run: no, REASON -->         this `console` block is not run; its commands are still looked up

In a page that is run, a block with `title="PATH"` is written to that file when its turn comes. In a `console` block
lines that begin with `$ ` are commands (`> ` goes on), the others what they print on either stream, compared
loosely: see `matches`. `...` in a line is any text, a line `...` any lines. Nothing shown: nothing compared. A command
exits with 0 unless its line ends in `# exits with N`.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from textwrap import indent

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

# What stands around a fragment to make it a workflow. `{}` takes the fragment, indented as it needs.
FRAGMENTS = {
    "top": ("", "\nsteps: [{shell: make}]\n", ""),
    "map": ("map:\n", "", "  "),
    "agent_template": ("map:\n  input: ls\n  agent_template:\n", "", "    "),
    "map keys": ("map:\n  input: ls\n  agent_template: [{shell: make}]\n", "", "  "),
    "step": ("map:\n  input: ls\n  agent_template:\n    - shell: make\n", "", "      "),
    "claude step": ("map:\n  input: ls\n  agent_template:\n    - claude: /fix\n", "", "      "),
    "workspace": ("steps: [{shell: make}]\nworkspace:\n", "", "  "),
    "reduce": ("map:\n  input: ls\n  agent_template: [{shell: make}]\nreduce:\n", "", "  "),
}

_FENCE = re.compile(r"(?P<indent> *)```(?P<language>\w+)?(?P<info>[^`]*)")
_COMMENT = re.compile(r"\s*<!--\s*(check|run):\s*(.*?)\s*-->\s*")
_TITLE = re.compile(r'title="([^"]+)"')
_EXIT = re.compile(r"#.*\bexits with (\d+)")
_RUN_ID = re.compile(r"\b\d{8}-\d{6}-\w{4}\b")
ANYTHING = "..."
# What differs from one run to the next, and the word that stands for it.
_CHANGING = (
    (re.compile(r"\b\d\d:\d\d:\d\d \[ ?\d+\.\ds\]"), "[ TIME]"),
    (re.compile(r"\b\d+(\.\d+)? s\b"), "TIME"),
    (_RUN_ID, "RUN"),
    (re.compile(r"\[\d+/(\d+)\]"), r"[N/\1]"),
    (re.compile(r"\bcommit [0-9a-f]{12,40}\b"), "commit ID"),
)
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Block:
    """A fenced block. line: of its fence, from 1. check: the words of its comments, without `run: no`."""

    page: Path
    line: int
    language: str
    text: str
    title: str | None = None
    checks: tuple[str, ...] = ()
    skipped: str | None = None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True)
class Page:
    """A page with its blocks. runs: whether it says `run: repo`."""

    path: Path
    blocks: tuple[Block, ...]
    runs: bool

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))


@dataclass
class Command:
    """A command of a console block, and what is shown of its output; None when nothing is shown."""

    text: str
    shown: list[str] = field(default_factory=list)

    @property
    def code(self) -> int:
        found = _EXIT.search(self.text)
        return int(found[1]) if found else 0


def pages() -> list[Page]:
    """The README and every page of the documentation."""
    return [read_page(path) for path in (ROOT / "README.md", *sorted(DOCS.rglob("*.md")))]


def read_page(path: Path) -> Page:
    """Raises AssertionError for a fence that does not end."""
    blocks: list[Block] = []
    comments: list[tuple[str, str]] = []
    runs = False
    lines = iter(enumerate(path.read_text().splitlines(), 1))
    for number, line in lines:
        if comment := _COMMENT.fullmatch(line):
            runs |= comment.groups() == ("run", "repo")
            comments.append((comment[1], comment[2]))
        elif fence := _FENCE.fullmatch(line):
            blocks.append(_block(path, number, fence, lines, comments))
            comments = []
        elif line.strip():
            comments = []
    return Page(path, tuple(blocks), runs)


def _block(
    path: Path, number: int, fence: re.Match[str], lines: Iterator[tuple[int, str]], comments: list[tuple[str, str]]
) -> Block:
    body = []
    for _, line in lines:
        if line.strip() == "```":
            break
        body.append(line.removeprefix(fence["indent"]))
    else:
        raise AssertionError(f"{path}:{number}: the fence does not end")
    title = _TITLE.search(fence["info"])
    skips = [words.partition(",")[2].strip() for kind, words in comments if kind == "run" and words.startswith("no")]
    return Block(
        path,
        number,
        fence["language"] or "",
        "".join(f"{line}\n" for line in body),
        title[1] if title else None,
        tuple(words for kind, words in comments if kind == "check"),
        skips[0] if skips else None,
    )


def workflow_text(block: Block) -> str:
    """The workflow that a yaml block is, or is a part of."""
    where = next((words.removeprefix("fragment ") for words in block.checks if words.startswith("fragment ")), None)
    return block.text if where is None else wrapped(where, block.text)


def wrapped(where: str, text: str) -> str:
    """A fragment as a whole workflow. Raises KeyError for a place that there is not."""
    before, after, margin = FRAGMENTS[where]
    if where == "map" and "agent_template:" not in text:
        before += "  agent_template: [{shell: make}]\n"
    if where == "top" and re.search(r"^(steps|map|commands|tasks):", text, re.MULTILINE):
        after = ""
    return before + indent(text, margin) + after


def commands(block: Block) -> list[Command]:
    """The commands of a console block, in order. Raises AssertionError for output before the first of them."""
    found: list[Command] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:]))
        elif line.startswith("> ") and found and not found[-1].shown:
            found[-1].text += f"\n{line[2:]}"
        else:
            assert found, f"{block}: output without a command"
            found[-1].shown.append(line)
    for command in found:
        while command.shown and not command.shown[-1].strip():
            command.shown.pop()
    return found


def matches(shown: list[str], printed: str) -> bool:
    """Whether the output is what is shown, but for times, ids of runs, commits, widths and the order of progress."""
    wanted, lines = _comparable(shown), _comparable(_ANSI.sub("", printed).strip("\n").splitlines())
    parts = [_lines_pattern(line) for line in wanted]
    return re.fullmatch("".join(parts), "".join(f"{line}\n" for line in lines)) is not None


def _lines_pattern(line: str) -> str:
    if line == ANYTHING:
        return r"(?:.*\n)*?"
    return ".*".join(re.escape(part) for part in line.split(ANYTHING)) + r"\n"


def _comparable(lines: list[str]) -> list[str]:
    """The lines in a form in which two runs are equal. Items run at the same time: progress is put in order."""
    found: list[str] = []
    for line in lines:
        text = " ".join(line.split())
        for pattern, name in _CHANGING:
            text = pattern.sub(name, text)
        found.append(text)
    return [line for _, group in groupby(found, _is_progress) for line in _ordered(list(group))]


def _ordered(lines: list[str]) -> list[str]:
    return sorted(lines) if _is_progress(lines[0]) else lines


def _is_progress(line: str) -> bool:
    return re.match(r"\[ TIME\] (start|done|FAILED|again)", line) is not None


@dataclass
class Shell:
    """Runs commands one after another as a person would in one terminal; `cd` lasts.

    printed: what the last command printed on both streams.
    """

    directory: Path
    env: dict[str, str]

    def run(self, text: str) -> tuple[int, str]:
        """(exit code, what it printed on both streams)."""
        note = self.directory.parent / ".where"
        script = f"set -o pipefail\n{text}\ncode=$?\npwd > {shlex.quote(str(note))}\nexit $code\n"
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-c", script], cwd=self.directory, env=self.env,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=100, check=False,
        )  # fmt: skip
        if note.exists():
            self.directory = Path(note.read_text().rstrip("\n"))
            note.unlink()
        return done.returncode, done.stdout.decode(errors="replace")


def with_run_id(text: str, home: Path) -> str:
    """A command with the id of the newest run in the place of one that is shown."""
    runs = sorted(path.name for path in (home / "runs").glob("2*")) if (home / "runs").is_dir() else []
    return _RUN_ID.sub(runs[-1], text) if runs else text


def prodigy_calls(text: str) -> list[list[str]]:
    """The words of every call of `prodigy` in a command line, without the program; placeholders in capitals stay."""
    calls = []
    for part in re.split(r"[|;&\n]+|\$\(", re.sub(r"\s#.*", "", text)):
        words = shlex.split(part.strip().rstrip(")"))
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words.pop(0)
        if words and words[0] == "prodigy":
            calls.append(words[1:])
    return calls
