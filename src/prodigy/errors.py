"""One small hierarchy of errors, each saying what happened, where, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass


class ProdigyError(Exception):
    """Something the user can act on; the command line prints it and exits with `exit_code`.

    what: one sentence, no final full stop needed.
    where: a file position, path or ref the sentence is about.
    hint: what to do next.
    """

    exit_code = 1
    next_step: str | None = None  # what to do about all errors of a class that have no hint of their own

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  {self.hint}" if self.hint else text

    def told(self) -> str:
        """For the user, at the end of a command: with what to do about all errors of its class, if it has no hint."""
        return str(self) if self.hint or not self.next_step else f"{self}\n  {self.next_step}"


class UsageError(ProdigyError):
    """The call, the configuration or the input is wrong: nothing was started."""

    exit_code = 2


class EnvironmentProblem(ProdigyError):
    """Git, the disk, the shell or an agent program is not as we need it."""

    exit_code = 5


class RunLocked(ProdigyError):
    """Another process works on this run."""

    exit_code = 4


class CorruptState(ProdigyError):
    """What is on disk contradicts itself; we stop instead of guessing."""

    exit_code = 5
    next_step = (
        "Nothing was changed, no other run is concerned, and all commits are safe: `git branch --list 'prodigy/*'`."
        " This should not happen: please report it, with what `prodigy export` makes of the run."
    )


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake in a workflow file. Lines and columns count from 1; line 0: it has none. file: its name,
    "" for the main one."""

    line: int
    column: int
    message: str
    hint: str | None = None
    file: str = ""

    def place(self, main: str) -> str:
        """`file:line:column`. main: the name of the main file."""
        name = self.file or main
        return f"{name}:{self.line}:{self.column}" if self.line else name


class WorkflowError(UsageError):
    """A workflow file has problems; all of them are listed, in file order, those of the files it is made of behind."""

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self.file = file
        self.problems = sorted(set(problems), key=lambda p: (p.file, p.line, p.column, p.message))
        count = len(self.problems)
        super().__init__(f"{count} problem{'s' if count != 1 else ''} in {file}")

    def __str__(self) -> str:
        lines = []
        for problem in self.problems:
            lines.append(f"{problem.place(self.file)}: {problem.message}")
            if problem.hint:
                lines.append(f"  {problem.hint}")
        return "\n".join(lines)
