"""Where in shell text a placeholder may not stand, as data: a reason and a cure for each place, command and name.

A place in the grammar that is missing here is refused all the same; a command that is missing here and in `programs`
is taken for one to which arguments are data. `{p}` stands for the placeholder as it is written, `{name}` for the
name that the rule is about.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


class Refusal(NamedTuple):
    """reason: ends a sentence that begins with the placeholder. cure: what to write instead."""

    reason: str
    cure: str


_STORE = 'store it before (x={p}) and write "$x" here'
_ENVIRONMENT = """env: {NAME: "{item}"} on the step"""
_ARGUMENT = f"""pass it as an argument, e.g. bash -c 'grep "$1" f' _ {{p}}, or with {_ENVIRONMENT}"""

# Places in the grammar.
PLACES: Mapping[str, Refusal] = {
    "heredoc_raw": Refusal(
        "stands in a here-document with a quoted delimiter, together with raw text that other quotes would change",
        "remove the quotes of the delimiter, and write \\$ for each dollar sign of the text",
    ),
    "heredoc_word": Refusal("is the delimiter of a here-document", "write the delimiter out"),
    "ansi_c": Refusal("stands inside $'...' where a backslash reaches it", "end the quotes before it: $'a'{p}$'b'"),
    "translated": Refusal('stands inside $"...", whose text is translated', 'use plain quotes: "{p}"'),
    "backticks": Refusal("stands inside backticks, where quotes are read twice", "use $(...) instead"),
    "function_substitution": Refusal("stands inside ${ ...; }, which older shells do not know", "use $(...) instead"),
    "expansion": Refusal("stands inside a ${...} of the shell", _STORE),
    "extglob": Refusal("is part of an extended glob", "compare it with case {p} in ...) or [[ {p} == ... ]]"),
    "case_pattern": Refusal("is a pattern of case", "compare it as text: if [ \"$x\" = {p} ]; then ...; fi"),
    "regex": Refusal("is a regular expression", "compare it as text: [[ $x == {p} ]], or use grep -e {p}"),
    "escaped": Refusal("has a backslash before it", "remove the backslash; as plain characters: '$''{'"),
    "arithmetic_quotes": Refusal("stands in single quotes inside arithmetic", "remove the quotes"),
    "arithmetic_name": Refusal("continues a name or a number in arithmetic", "put an operator or a space before it"),
    "test_name": Refusal("is the name of a variable to test, and bash would evaluate it", "write the name out"),
    "test_operator": Refusal("stands after {name} in [[ ]], which is not supported", _STORE),
    "descriptor": Refusal("is the target of {name}, which bash reads twice", "write > {p} 2>&1, or the number itself"),
    "redirect": Refusal("is the target of {name}, which is not supported", _STORE),
    "select": Refusal("stands in a select loop, which waits for a person", "use for"),
    "coprocess": Refusal("stands in a coprocess, which is not supported", "use a pipeline"),
    "declared_word": Refusal("decides the name that {name} declares", "write the name out: {name} x={p}"),
    "declared_array": Refusal("is an element of an array that {name} declares", "assign it alone: x=({p})"),
    "declared_flag": Refusal("is assigned by {name} with {flags}", "declare it first, then assign it alone: x={p}"),
    "name_reference": Refusal("is stored in a script that has name references (declare -n)", "use the variable itself"),
    "indirection": Refusal("is used as the name of another variable", "write the name out, or use case"),
    "prompt": Refusal("is expanded like a prompt (@P), which runs commands in it", "use the variable without @P"),
    "unknown": Refusal("stands at a place that is not supported", _STORE),
}  # fmt: skip


class Command(NamedTuple):
    """A command that takes no values. with_input: nor on its standard input."""

    reason: str
    cure: str
    with_input: bool = False


_EVALUATED = "is given to {name}, which runs it as code"
_NAMED = "is given to {name}, which takes names of variables"
_NAME_OUT = "write the name out; the value belongs into an assignment: x={p}"

# A builtin that evaluates its arguments, or takes names from them, in some of its forms.
REFUSED_COMMANDS: Mapping[str, Command] = {
    "eval": Command(_EVALUATED, _ARGUMENT),
    "source": Command(_EVALUATED, "write the file's name out", with_input=True),
    ".": Command(_EVALUATED, "write the file's name out", with_input=True),
    "trap": Command(_EVALUATED, 'store it before (x={p}) and write "$x" in a function that trap calls'),
    "alias": Command(_EVALUATED, "use a function"),
    "bind": Command(_EVALUATED, "leave it out: a step has no keyboard"),
    "complete": Command(_EVALUATED, "leave it out: a step has no keyboard"),
    "compgen": Command(_EVALUATED, "list files with a glob or find"),
    "fc": Command(_EVALUATED, "leave it out: a step has no history"),
    "history": Command(_EVALUATED, "leave it out: a step has no history"),
    "jobs": Command(_EVALUATED, "write the command out"),
    "enable": Command(_EVALUATED, "write the name out"),
    "hash": Command(_EVALUATED, "write the name out"),
    "read": Command(_NAMED, _NAME_OUT),
    "unset": Command(_NAMED, _NAME_OUT),
    "let": Command(_NAMED, "use $(( )) or (( ))"),
    "mapfile": Command(_NAMED, _NAME_OUT),
    "readarray": Command(_NAMED, _NAME_OUT),
    "getopts": Command(_NAMED, _NAME_OUT),
    "wait": Command(_NAMED, "keep process ids in variables of the script"),
    "set": Command("is given to set, which changes the shell", "use a variable: x={p}"),
    "shopt": Command("is given to shopt, which changes the shell", "write the option out"),
    **dict.fromkeys(
        ("declare", "typeset", "local", "readonly", "export", "nameref"),
        Command(_NAMED, "write it without quotes, backslash or command before it: {name} x={p}"),
    ),
}

COMMAND_NAME = Refusal("is the name of a command", "write the command out and pass the value as an argument")
SUBCOMMAND = Refusal("is the subcommand of {name}", "write the subcommand out")
UNKNOWN_COMMAND = Refusal(
    "is an argument of a command whose name only the shell knows",
    'write the name out, or quote a path to it: "$DIR"/run',
)
PROGRAM_TEXT = Refusal("is program text of {name}", _ARGUMENT)
PROGRAM_FILE = Refusal("names the program that {name} runs", "write the program's name out and pass the value to it")
PROGRAM_INPUT = Refusal("is the program that {name} reads from standard input", _ARGUMENT)
FOUND_NAMES = Refusal(
    "is part of the names that find puts into program text of {name}",
    "pass the names as arguments: sh -c '... \"$1\"' _ {}",
)
UNSURE = Refusal(
    "stands where {name} may take it for an option or a program: an option or an unquoted expansion before it is"
    " not known to us",
    'quote expansions ("$x") and write options out, those with a value as --name=value',
)
BACKSLASH_IN_ARRAY = Refusal(
    "bash misreads a backslash in an array inside $(...)",
    "use quotes instead of the backslash, or fill the array before",
)
HEREDOC = Refusal(
    "parsers disagree about where this here-document begins or ends",
    "give it a delimiter that is one word, alone on its line and at the beginning of no other, as in <<'EOF'; begin"
    " its text on the line after the command",
)
ASSIGNED_NAME = Refusal("decides the name of a variable", "write the name out: NAME={p}")
DANGEROUS_NAME = Refusal(
    "would be the value of {name}, which bash evaluates or which decides what code runs", "use another variable"
)
PRINTF_FORMAT = Refusal("is in the format of printf", "use printf '%s\\n' {p}")
PRINTF_VARIABLE = Refusal("is given to printf -v or %n, which assign variables", "use x={p}")
TEST_OPERATOR = Refusal(
    "stands in {name} where it, or what stands before it, could be the operator -v",
    'use [[ ]], or write the operator out: [ {p} = "$x" ]',
)

# Values after these may begin with a dash: they take it for data, or the rules above see to it.
TAKES_DASH = frozenset({"echo", "test", "[", "printf", ":", "true", "false"})


class Target(Enum):
    """What a redirection does with its word."""

    READ = "read"
    WRITE = "write"
    TEXT = "text"


REDIRECTS: Mapping[str, Target] = {
    "<": Target.READ,
    "<<<": Target.TEXT,
    **dict.fromkeys((">", ">>", ">|", "<>", "&>", "&>>"), Target.WRITE),
}

# [[ ]]: tests whose words are plain text to bash. The arithmetic ones are in `flow`; -v, -R and =~ are not here.
UNARY_TESTS = frozenset(f"-{letter}" for letter in "abcdefghknoprstuwxzGLNOS")
BINARY_TESTS = frozenset({"=", "==", "!=", "<", ">", "-nt", "-ot", "-ef"})

# Variables that decide what code runs, or that bash evaluates when they are assigned.
_DANGEROUS_PREFIXES = (
    "BASH", "DYLD_", "GIT_", "JAVA_", "LD_", "NPM_CONFIG_", "npm_config_", "PERL5", "PIP_", "PYTHON", "RUBY",
    "SSH_ASKPASS", "TEXTDOMAIN", "XDG_",
)  # fmt: skip
_DANGEROUS_NAMES = _words(
    "PATH ENV IFS CDPATH SHELL HOME SHELLOPTS GLOBIGNORE PROMPT_COMMAND PROMPT_DIRTRIM PS0 PS1 PS2 PS3 PS4"
    " RANDOM SRANDOM SECONDS OPTIND OPTERR OPTARG HISTCMD LINENO HISTFILE HISTSIZE HISTCONTROL HISTIGNORE TMOUT"
    " FUNCNEST FUNCNAME DIRSTACK GROUPS EUID UID PPID PIPESTATUS COMP_WORDBREAKS COMPREPLY COPROC EPOCHSECONDS"
    " EPOCHREALTIME CHILD_MAX EXECIGNORE FIGNORE INPUTRC POSIXLY_CORRECT TIMEFORMAT MAILCHECK IGNOREEOF"
    " EDITOR VISUAL PAGER BROWSER LESSOPEN LESSCLOSE LESS MANPAGER MORE FCEDIT AWKPATH AWKLIBPATH"
    " MAKEFLAGS MFLAGS MAKEFILES GNUMAKEFLAGS CLASSPATH _JAVA_OPTIONS JDK_JAVA_OPTIONS LOCPATH NLSPATH HOSTALIASES"
    " CARGO_HOME RUSTC_WRAPPER RUSTFLAGS GOFLAGS CC CXX TAR_OPTIONS RSYNC_RSH CVS_RSH SVN_SSH ZDOTDIR TERMINFO"
    " NODE_OPTIONS NODE_PATH PHPRC PHP_INI_SCAN_DIR PERLLIB PERL_UNICODE GCONV_PATH histchars auto_resume"
)


def is_dangerous(name: str) -> bool:
    """Whether a variable of this name must not hold a value of an item."""
    return name.startswith(_DANGEROUS_PREFIXES) or name in _DANGEROUS_NAMES


# %n stores a number in the variable that an argument names. Look for it after taking out %%.
PRINTF_ASSIGNS = re.compile(r"%[-+ #0-9.*'hlLjzt]*n")
DECLARE_FLAGS = frozenset("rxgluti")
