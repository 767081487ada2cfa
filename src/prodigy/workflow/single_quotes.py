"""Finds variables that stand in single quotes of a shell text, where the shell leaves them as they are.

The earlier system put values there, so files written for it have such quotes. A text in quotes may be a program of its
own, as in `bash -c '...'` and `awk '...'`: of those nothing is said, so this is a remark and no rule.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

# Up to the next single-quoted text: what is escaped, in double quotes or a comment has none, and commands end.
_TOKEN = re.compile(
    r"""\\. | "(?:[^"\\]|\\.)*" | (?:(?<=\s)|^)\#[^\n]* | (?P<quoted>\$?'[^']*') | (?P<end>[;&|\n(){}`])"""
    r""" | (?P<heredoc><<)""",
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
_READS_PROGRAMS = re.compile(
    r"(?:^|[\s/])(?:(?:ba|z|da|k|fi)?sh|[gmn]?awk|sed|perl|python[\d.]*|ruby|node|php|jq|yq|psql|xargs|ssh|su|sudo|env"
    r"|eval|trap|envsubst|find|make|parallel|timeout|watch|-c|-e|-exec|--command)(?=\s|$)"
)


def left_alone(text: str, variables: Collection[str]) -> Iterator[tuple[int, str]]:
    """(offset, as it is written) of the first place of each variable that the shell would leave as it is."""
    if "'" not in text or "$" not in text:
        return
    begin, seen = 0, set[str]()  # begin: of the command
    for token in _TOKEN.finditer(text):
        if token["heredoc"]:
            return  # quotes mean nothing in what follows
        if token["end"]:
            begin = token.end()
        elif token["quoted"] and not _READS_PROGRAMS.search(text[begin : token.start()]):
            for name in re.finditer(r"\$(?:\{(\w+)\}|(\w+))", token["quoted"], re.ASCII):
                if (variable := name[1] or name[2]) in variables and variable not in seen:
                    seen.add(variable)
                    yield token.start() + name.start(), name[0]
