"""What a command does with the values among its arguments: the tables of rules applied to one call."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from prodigy.workflow.shell.arguments import Argument, Hit
from prodigy.workflow.shell.programs import USAGES, Role, Usage
from prodigy.workflow.shell.rules import (
    ASSIGNED_NAME,
    COMMAND_NAME,
    DANGEROUS_NAME,
    FOUND_NAMES,
    PRINTF_ASSIGNS,
    PRINTF_FORMAT,
    PRINTF_VARIABLE,
    PROGRAM_FILE,
    PROGRAM_TEXT,
    REFUSED_COMMANDS,
    SUBCOMMAND,
    TAKES_DASH,
    TEST_OPERATOR,
    UNKNOWN_COMMAND,
    UNSURE,
    Refusal,
    is_dangerous,
)
from prodigy.workflow.shell.syntax import start
from prodigy.workflow.shell.usage import ArgumentReader

_VERSION = re.compile(r"[-.0-9]+(\.exe)?$|\.exe$")
_XARGS = frozenset({"xargs", "gxargs"})
_REPLACE = re.compile(r"(?:-[0rtpx]*[Ii]|--replace=?)(.*)", re.DOTALL)
_FINDS = frozenset({"find", "gfind"})
_FIND_RUNS = frozenset({"-exec", "-execdir", "-ok", "-okdir"})


class Objection(NamedTuple):
    """A value that may not stand where it does."""

    hit: Hit
    refusal: Refusal
    name: str


@dataclass
class Verdict:
    """What examining a call found.

    objections: what is refused.
    no_dash, perl_files: arguments to check when the values are there; the former by their first byte.
    reads_program: the name of the command, when its standard input is program text.
    awaits_program: the name of the command, when an argument added at its end would be.
    inserted: what xargs or find replaces in the arguments, e.g. `{}`. inserted_into: the name of the command that
      gets it as program text.
    """

    objections: list[Objection] = field(default_factory=list)
    no_dash: dict[int, Argument] = field(default_factory=dict)
    perl_files: list[Argument] = field(default_factory=list)
    reads_program: str | None = None
    awaits_program: str | None = None
    inserted: str | None = None
    inserted_into: str | None = None

    def object_to(self, arguments: Sequence[Argument], refusal: Refusal, name: str, *, cure: str = "") -> None:
        """Refuse every value in the arguments."""
        refusal = Refusal(refusal.reason, cure or refusal.cure)
        self.objections += [Objection(hit, refusal, name) for argument in arguments for hit in argument.hits]

    def note_inserted(self, argument: Argument, name: str) -> None:
        """This argument is program text, or names a program."""
        if self.inserted and self.inserted in argument.literal:
            self.inserted_into = name


def examine(arguments: Sequence[Argument]) -> Verdict:
    """Judge a call, its name being the first argument."""
    verdict = Verdict()
    _examine(arguments, verdict)
    return verdict


def _examine(arguments: Sequence[Argument], verdict: Verdict) -> None:
    command, *others = arguments
    if command.hits:
        verdict.object_to([command], COMMAND_NAME, "")
        return
    if command.has_raw:
        _note_dashes("", others, verdict)
        _examine_embedded(others, verdict)
        return
    verdict.note_inserted(command, "xargs")
    name = None if command.may_vanish else command.basename
    if not name or name.startswith("-"):
        markers = [argument for argument in others if argument.has_marker]
        verdict.object_to(markers, UNKNOWN_COMMAND, "")
        return
    _examine_named(table_name(name), others, verdict)


def table_name(name: str) -> str:
    """The name under which the tables know a program: `Python3.12` is python."""
    lower = name.lower()
    known = lower in USAGES or lower in REFUSED_COMMANDS
    return lower if known else _VERSION.sub("", lower) or lower


def _examine_named(name: str, others: Sequence[Argument], verdict: Verdict) -> None:
    refused = REFUSED_COMMANDS.get(name)
    if refused:
        verdict.object_to(others, Refusal(refused.reason, refused.cure), name)
        verdict.reads_program = name if refused.with_input else None
        return
    _note_dashes(name, others, verdict)
    match name:
        case "test" | "[":
            _examine_test(name, others, verdict)
        case "printf":
            _examine_printf(others, verdict)
        case _ if name in _FINDS:
            _examine_find(others, verdict)
        case _ if name in USAGES:
            _examine_usage(name, USAGES[name], others, verdict)
        case _:
            _examine_embedded(others, verdict)


def _note_dashes(name: str, others: Sequence[Argument], verdict: Verdict) -> None:
    """Arguments that a value may turn into an option. find knows no `--`, and a value must not end its -exec."""
    if name in TAKES_DASH:
        return
    for argument in others:
        if argument.text == "--" and name not in _FINDS:
            return
        if argument.may_begin_with_value:
            verdict.no_dash[start(argument.word)] = argument


def _examine_usage(name: str, usage: Usage, others: Sequence[Argument], verdict: Verdict) -> None:
    reader = ArgumentReader(usage)
    for index, role in enumerate(reader.roles(others)):
        argument = others[index]
        if role == Role.COMMAND:
            _forget_dashes(others[index:], verdict)
            _examine_inner(name, others[:index], others[index:], verdict)
            return
        if role == Role.SUBCOMMAND:
            _examine_subcommand(name, argument, others[index + 1 :], verdict)
            return
        _examine_role(name, usage, role, argument, verdict)
    if reader.reads_program:
        verdict.reads_program = name
    if reader.awaits_program:
        verdict.awaits_program = name


def _examine_inner(name: str, options: Sequence[Argument], inner: Sequence[Argument], verdict: Verdict) -> None:
    """The command that another one runs. xargs also gives it what comes from standard input."""
    if name not in _XARGS:
        _examine(inner, verdict)
        return
    verdict.inserted = _replaced_by_xargs(options)
    _examine(inner, verdict)
    if verdict.inserted_into or (verdict.awaits_program and not verdict.inserted):
        verdict.reads_program = verdict.inserted_into or verdict.awaits_program


def _replaced_by_xargs(options: Sequence[Argument]) -> str | None:
    """What `-I{}`, `-I {}`, `-i` or `--replace=R` make xargs replace."""
    for index, option in enumerate(options):
        match = _REPLACE.fullmatch(option.literal)
        if match:
            following = options[index + 1].literal if option.literal.endswith("I") and options[index + 1 :] else ""
            return match[1] or following or "{}"
    return None


def _forget_dashes(inner: Sequence[Argument], verdict: Verdict) -> None:
    """The inner command has a say of its own about these."""
    for argument in inner:
        verdict.no_dash.pop(start(argument.word), None)


def _examine_subcommand(name: str, argument: Argument, others: Sequence[Argument], verdict: Verdict) -> None:
    if argument.hits:
        verdict.object_to([argument], SUBCOMMAND, name)
    elif argument.text is None:
        verdict.object_to([a for a in others if a.has_marker], UNKNOWN_COMMAND, name)
    else:
        _forget_dashes(others, verdict)
        _examine_named(f"{name} {argument.text}", others, verdict)


def _examine_role(name: str, usage: Usage, role: Role, argument: Argument, verdict: Verdict) -> None:
    if role in (Role.TEXT, Role.FILE):
        verdict.note_inserted(argument, name)
    match role:
        case Role.TEXT:
            verdict.object_to([argument], PROGRAM_TEXT, name, cure=usage.cure)
        case Role.FILE:
            verdict.object_to([argument], PROGRAM_FILE, name)
        case Role.UNSURE:
            verdict.object_to([argument], UNSURE, name)
        case Role.PERL_FILE if argument.hits:
            verdict.perl_files.append(argument)
        case Role.ASSIGN:
            variable, equals, _ = argument.prefix.partition("=")
            if not equals:
                verdict.object_to([argument], ASSIGNED_NAME, name)
            elif is_dangerous(variable):
                verdict.object_to([argument], DANGEROUS_NAME, variable)


def _examine_embedded(others: Sequence[Argument], verdict: Verdict) -> None:
    """A command that we do not know may run an interpreter: `docker exec box sh -c {p}`."""
    for index, argument in enumerate(others):
        name = table_name(argument.basename or "")
        usage = USAGES.get(name)
        if usage and Role.FILE in usage.operands:
            reader = ArgumentReader(usage)
            for inner, role in zip(others[index + 1 :], reader.roles(others[index + 1 :]), strict=False):
                if role == Role.TEXT:
                    verdict.object_to([inner], PROGRAM_TEXT, name, cure=usage.cure)


def _examine_test(name: str, others: Sequence[Argument], verdict: Verdict) -> None:
    """`test -v` evaluates its operand, and any word of which we do not know the text could be that operator."""
    for operator, operand in pairwise(others):
        evaluates = operator.text is None or operator.text in ("-v", "-R")
        if evaluates and operand.text is None:
            verdict.object_to([operator, operand], TEST_OPERATOR, name)


def _examine_printf(others: Sequence[Argument], verdict: Verdict) -> None:
    arguments = list(others)
    if arguments and arguments[0].prefix.startswith("-v"):
        verdict.object_to(arguments, PRINTF_VARIABLE, "printf")
        return
    if arguments and arguments[0].text == "--":
        arguments.pop(0)
    if not arguments:
        return
    template, *values = arguments
    verdict.object_to([template], PRINTF_FORMAT, "printf")
    if template.may_vanish or template.prefix.startswith("-"):
        verdict.object_to(values, UNSURE, "printf")
    elif PRINTF_ASSIGNS.search("".join(piece.text for piece in template.pieces).replace("%%", "")):
        verdict.object_to(values, PRINTF_VARIABLE, "printf")


def _examine_find(others: Sequence[Argument], verdict: Verdict) -> None:
    index = 0
    while index < len(others):
        index += 1
        if others[index - 1].text in _FIND_RUNS:
            stop = next((i for i in range(index, len(others)) if others[i].text in (";", "+")), len(others))
            if index < stop:
                dashes = dict(verdict.no_dash)
                verdict.inserted = "{}"
                _examine(others[index:stop], verdict)
                verdict.no_dash |= dashes
            index = stop + 1
    if verdict.inserted_into:
        verdict.object_to(others, FOUND_NAMES, verdict.inserted_into)
