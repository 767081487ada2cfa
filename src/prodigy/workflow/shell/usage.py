"""Gives each argument of a command its role, the way the command's own option parser would read it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prodigy.workflow.shell.arguments import Argument
from prodigy.workflow.shell.programs import Role, Usage

_STDIN_NAMES = frozenset({"-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"})


class ArgumentReader:
    """Reads arguments one after another.

    Whatever cannot be decided from the text makes the rest UNSURE: an option that we do not know may have a value,
    an unquoted expansion may be any number of words.
    """

    def __init__(self, usage: Usage) -> None:
        self.usage = usage
        self.operands = 0
        self.flags: set[str] = set()
        self._expected = list(usage.operands)
        self._pending: list[Role] = []
        self._options_ended = False
        self._is_free = False
        self._is_unsure = False
        self._has_program = False
        self._names_input = False
        self._has_bare_attached = False

    @property
    def reads_program(self) -> bool:
        """Whether the command takes its program from standard input, after all arguments were read."""
        return self._names_input or (not self._has_program and self.operands < self.usage.stdin_below)

    @property
    def awaits_program(self) -> bool:
        """Whether an argument that followed would be program text, or name a program or command."""
        following = (self._pending or self._expected or [self.usage.rest])[0]
        return following in (Role.TEXT, Role.FILE, Role.COMMAND) and not self._is_free

    def roles(self, arguments: Iterable[Argument]) -> Iterator[Role]:
        """The role of each argument; the last is COMMAND or SUBCOMMAND where one begins."""
        for argument in arguments:
            role = self._role(argument)
            yield role
            if role in (Role.COMMAND, Role.SUBCOMMAND):
                return

    def _role(self, argument: Argument) -> Role:
        if self._is_unsure:
            return Role.UNSURE
        if self._pending:
            return self._value(argument)
        if self._is_free:
            return Role.FREE
        if argument.may_vanish and (self._expected or not self._options_ended or self._is_counted):
            self._is_unsure = True
            return Role.UNSURE
        if not self._options_ended and self._is_option(argument):
            return self._option(argument)
        return self._operand(argument)

    def _is_option(self, argument: Argument) -> bool:
        signs = ("-", "+") if self.usage.text_flags else ("-",)
        return argument.prefix.startswith(signs) and argument.text not in signs

    @property
    def _is_counted(self) -> bool:
        return self.usage.rest in (Role.COMMAND, Role.SUBCOMMAND)

    def _value(self, argument: Argument) -> Role:
        self._is_unsure = self._is_unsure or argument.may_vanish
        role = self._pending.pop(0)
        self._names_input = self._names_input or (role == Role.FILE and argument.text in _STDIN_NAMES)
        return role

    def _operand(self, argument: Argument) -> Role:
        if self.usage.assigns and not self.operands and "=" in argument.literal:
            return Role.ASSIGN
        if argument.text == "" and self._has_bare_attached:
            return Role.FREE  # `sed -i '' TEXT` on macOS; an empty program would be none on Linux either
        self.operands += 1
        stop = self.usage.stops_after
        self._options_ended = self._options_ended or (stop is not None and self.operands >= stop)
        role = self._expected.pop(0) if self._expected else self.usage.rest
        if role == Role.FILE and self.flags & self.usage.text_flags:
            return Role.TEXT
        if role == Role.FILE and self.flags & self.usage.inert:
            return Role.FREE
        self._names_input = self._names_input or (role == Role.FILE and argument.text in _STDIN_NAMES)
        if role == Role.FREE and self.flags & self.usage.perl_files:
            return Role.PERL_FILE
        return role

    def _option(self, argument: Argument) -> Role:
        text = argument.prefix
        if argument.text == "--":
            self._options_ended = True
            return Role.OPTION
        name, equals, _ = text.lstrip("-+").partition("=")
        known = self._long_name(name) if len(name) > 1 else None
        if known is None and (text.startswith("--") or len(name) == 0):
            return self._unknown(complete=bool(equals) or argument.text is not None, has_value=bool(equals))
        if known is None:
            return self._cluster(name, argument)
        return self._named(known, attached=bool(equals), complete=bool(equals) or argument.text is not None)

    def _long_name(self, name: str) -> str | None:
        """The option that `name` is, or abbreviates."""
        if self._is_known(name):
            return name
        return next((option for option in self.usage.values if len(option) > 1 and option.startswith(name)), None)

    def _is_known(self, name: str) -> bool:
        return name in self.usage.values or name in self.usage.flags or name in self.usage.ends

    def _named(self, name: str, *, attached: bool, complete: bool) -> Role:
        if not complete:
            return self._unknown(complete=False, has_value=False)
        return self._take(name, attached=attached)

    def _take(self, name: str, *, attached: bool) -> Role:
        """Note an option; its role when the value is in the same word."""
        usage = self.usage
        roles = list(usage.values.get(name, ()))
        self.flags.add(name)
        self._is_free = self._is_free or name in usage.ends
        if name in usage.replaces:
            self._expected = []
            self._has_program = True
        if roles and attached:
            return roles[0]
        self._pending += roles
        return Role.OPTION

    def _cluster(self, letters: str, argument: Argument) -> Role:
        """`-ne`, `-n5`, `-i.bak`: flags up to the first letter that has a value."""
        complete = argument.text is not None
        for index, letter in enumerate(letters):
            has_more = index + 1 < len(letters) or not complete or "=" in argument.prefix
            if letter in self.usage.attached:
                self._has_bare_attached = not has_more
                return Role.OPTION if complete else self._unknown(complete=True, has_value=True)
            if letter in self.usage.values and letter not in self.usage.detached:
                return self._take(letter, attached=has_more)
            if self.usage.strict and not self._is_known(letter):
                return self._unknown(complete=False, has_value=False)
            self._take(letter, attached=False)
        return Role.OPTION if complete else self._unknown(complete=False, has_value=False)

    def _unknown(self, *, complete: bool, has_value: bool) -> Role:
        """An option that we do not know. Only one with `=` surely takes nothing of what follows."""
        if not self.usage.strict:
            return Role.TEXT if self.usage.rest == Role.TEXT else Role.FREE
        self._is_unsure = not (complete and has_value)
        return Role.UNSURE
