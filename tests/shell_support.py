"""Tables of shell texts, hostile values, and a runner that reports what programs were really given."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from prodigy.workflow.shell.checks import MAX_VALUE_BYTES
from prodigy.workflow.shell_words import Bound, ShellTextError, compile_script

CANARY = "CANARY"
BASH = ("bash", "--noprofile", "--norc", "-eo", "pipefail")
# Writes its arguments, each ended by NUL, to a file of its own; the first argument tells which call it was.
RECORDER = '#!/bin/sh\nprintf "%s\\0" "$@" > "$RECORDS/$1.$$"\n'
# The same inside the script, for values that are too large for the arguments of a program.
RECORDER_FUNCTION = b'rec() { printf "%s\\0" "$@" > "$RECORDS/$1.$BASHPID.$RANDOM"; }\n'

HOSTILE_VALUES = (
    "plain", "", " ", "two words", "  spaces  ", "\t", "\n", "line\nline", "trailing\n", "trailing\n\n",
    f"$(touch {CANARY})", f"`touch {CANARY}`", f"; touch {CANARY}", f"& touch {CANARY} &", f"| touch {CANARY}",
    f"|| touch {CANARY}", f"&& touch {CANARY}", f"\ntouch {CANARY}\n", f"$(touch {CANARY}", f'"; touch {CANARY}; "',
    f"'; touch {CANARY}; '", f'"$(touch {CANARY})"', f"'$(touch {CANARY})'", f"'\"'; touch {CANARY}; '\"'",
    f"a[$(touch {CANARY})]", f"a[`touch {CANARY}`]", f"a[0$(touch {CANARY})]+1", f"x=a[$(touch {CANARY})]",
    f"(x $(touch {CANARY}))", f"(`touch {CANARY}`)", f"[$(touch {CANARY})]=x", f"${{x:=$(touch {CANARY})}}",
    f"${{x@P}}$(touch {CANARY})", f"<(touch {CANARY})", f">({CANARY})", f"> {CANARY}", f">{CANARY}", f"2>{CANARY}",
    f"$((a[$(touch {CANARY})]))", f"$[a[$(touch {CANARY})]]", f"\\$(touch {CANARY})", f"\\\\`touch {CANARY}`",
    f"E\ntouch {CANARY}\n", f"EOF\ntouch {CANARY}\nEOF\n", f"}}; touch {CANARY}; {{", f"); touch {CANARY}; (",
    f"esac; touch {CANARY}", f"done; touch {CANARY}", f"fi; touch {CANARY}", f"]]; touch {CANARY}",
    f"]; touch {CANARY}", f"() {{ :; }}; touch {CANARY}", f"touch {CANARY}", f"/bin/sh -c 'touch {CANARY}'",
    f"#\ntouch {CANARY}", f"$'\\n'touch {CANARY}", f"touch {CANARY}|", f"|touch {CANARY}", f"!touch {CANARY}",
    "$'\\n'", "$HOME", "${HOME}", "$PATH", "$$", "$!", "$0", "$1", "$@", "$*", "${IFS}", "$PRODIGY_1", "${PRODIGY_1}",
    "*", "?", "[a-z]*", "**", "{a,b}", "{1..3}", "{a,b", "~", "~root", "~/x", "!!", "!-1", "^a^b", "%1",
    "\\", "\\\\", "a\\", "\\n", "\\'", '\\"', "'", '"', "''", '""', "'\"'\"'", "`", "$", "#", "# x", "a#b", "&", "|",
    ";", "<", ">", "(", ")", "{", "}", "[", "]", "=", "x=1", "PATH=/tmp", "-", "--", "-n", "-e", "-v", "-rf", "--help",
    "-c", "-exec", "+x", "!", "@", "%s", "%n", "%d%s", "\\x41", "\x01", "\x7f", "\x01\x01", "\x7f\x01", "\x1b[31m",
    "\r", "a\rb", "\x80", "é", "日本語", "\U0001f600", "\u202ertl", "\u200b", "\u2028", "\ufb00", "e\u0301",
    "0", "1", "7", "-7", "42", "12345", "-1", "3", "007", "1.5", "1e3", "0x10", "1+1", "9" * 18, "9" * 19,
    "a" * 5_000, "'" * 300, "\\" * 300, "é" * 3_000, "x" * 40_000, "..", "../up", "a/../b", ".git", "a/.git/hooks/x",
    ".GIT/config", "/etc/passwd", "/", "a/b", "a//b", "./a", ".", "..a", "a..", "/dev/tcp/127.0.0.1/1", "null", "true",
    "$(", "${", "$((", "<<E", "<<<x", "a\0b", "\ud800",
)  # fmt: skip
# These travel by file.
LARGE_VALUES = (
    "x" * 200_000, f"é'\"$(touch {CANARY})`touch {CANARY}`\n\x01\x7f\\" * 3_000, "\n" * 110_000, "-" * 102_401,
    "a/" * 60_000 + ".git/x",
)  # fmt: skip


def lines(block: str) -> list[str]:
    """One text per line."""
    return block.strip("\n").split("\n")


def rows(block: str) -> list[tuple[str, ...]]:
    """One row per line, its columns separated by `=>`."""
    return [tuple(line.split(" => ")) for line in lines(block)]


def problems(text: str) -> list[tuple[str, str]]:
    """(message, cure) of each problem; empty when the text is accepted."""
    try:
        compile_script(text)
    except ShellTextError as error:
        return [(problem.message, problem.cure) for problem in error.problems]
    return []


def refusal(text: str) -> tuple[str, str]:
    (problem,) = problems(text)
    return problem


@dataclass(frozen=True)
class Ran:
    """What a script did. calls: tag -> the arguments after it, for each call; files: names of what it left behind."""

    status: int
    stderr: bytes
    calls: dict[str, list[list[bytes]]]
    files: frozenset[str]

    @property
    def hurt(self) -> bool:
        """Whether a value was executed."""
        return any(name.startswith(CANARY) for name in self.files)


def make_recorder(directory: Path) -> Path:
    """A directory for PATH with the program `rec`."""
    program = directory / "rec"
    program.write_text(RECORDER)
    program.chmod(0o755)
    return directory


def run_script(script: bytes, values: Mapping[str, str], programs: Path) -> Ran:
    """Run a bound script that has no files."""
    return run_bound(lambda _: Bound(script, dict(values), {}), programs)


def run_bound(
    bind: Callable[[str], Bound],
    programs: Path,
    before: bytes = b"",
    after: Callable[[Path], object] = lambda _: None,
) -> Ran:
    """Run a script as a step would, in a scratch directory, and look at everything it left.

    bind: gets the directory for the files of values. before: stands at the beginning of the script.
    after: gets the directory above the script's when it has run.
    """
    with TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        work, records, file, step = (Path(scratch, name) for name in ("work", "records", "script", "st'ep $x\n"))
        for directory in (work, records, step):
            directory.mkdir()
        bound = bind(str(step))
        if any(len(content) > MAX_VALUE_BYTES for content in bound.files.values()):
            before += RECORDER_FUNCTION
        file.write_bytes(before + bound.script)
        for name, content in bound.files.items():
            (step / name).write_bytes(content)
        environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "RECORDS": str(records),
            "LC_ALL": "C.UTF-8",
            "FUNCNEST": "50",  # a random text may call itself without end, each time in a process of its own
            **bound.env,
        }
        # In a session of its own: no `kill 0` of a random text may reach the tests.
        with subprocess.Popen(
            [*BASH, str(file)], cwd=work, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, start_new_session=True,
        ) as process:  # fmt: skip
            try:
                _, stderr = process.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        calls: dict[str, list[list[bytes]]] = {}
        for record in sorted(records.iterdir()):
            tag, *arguments = record.read_bytes().split(b"\0")
            calls.setdefault(tag.decode(), []).append(arguments[:-1])
        after(Path(scratch))
        left = frozenset(path.name for path in Path(scratch).rglob("*"))
        return Ran(process.returncode, stderr, calls, left)
