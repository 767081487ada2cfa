"""Tells an input file from a command, by the text alone."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from prodigy.workflow.model import Input
from prodigy.workflow.policies import outside

# One word with one of these extensions is a file, also without a slash.
KNOWN_EXTENSIONS = frozenset({".json", ".jsonl", ".ndjson", ".yaml", ".yml", ".csv", ".tsv", ".txt"})

GLOB = "glob:"

# With one of these a word is shell text: a pipe, a list, a redirection, a substitution.
_SHELL_SYNTAX = re.compile(r"[|&;<>()`]")


def classify(text: str) -> Input:
    """One word with a known extension or a slash is a file; everything else is a shell command."""
    word = text.strip()
    if word.startswith(GLOB):
        return Input(kind="glob", text=word.removeprefix(GLOB).strip())
    one_word = len(word.split()) == 1 and not _SHELL_SYNTAX.search(word)
    if one_word and ("/" in word or PurePosixPath(word).suffix.lower() in KNOWN_EXTENSIONS):
        return Input(kind="file", text=word)
    return Input(kind="command", text=text)


def refusal(source: Input) -> tuple[str, str] | None:
    """Why `source` cannot be read, as (message, hint); None when it can."""
    if source.kind == "glob":
        problem = "it is empty" if not source.text else outside(source.text)
        return (f"`input`: {problem}", "name files below the repository: `glob:src/**/*.py`") if problem else None
    if source.kind != "file":
        return None
    if "$" in source.text:
        return "the name of an input file is taken as it is; `$` is not replaced in it", "write the name out"
    return None
