"""How commands read their arguments, as data: what is program text to them, and which run other commands.

To teach this version a command, add a row. In a cure `{p}` stands for the placeholder as it is
written, or the variable that holds it; `{item}` for the placeholder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Role(StrEnum):
    """What an argument is to its command."""

    FREE = "free"  # data
    TEXT = "program text"
    FILE = "program file"
    COMMAND = "command"  # another command begins here
    SUBCOMMAND = "subcommand"  # likewise; its rules are found under both names, e.g. `git config`
    ASSIGN = "assignment"  # NAME=value
    OPTION = "option"
    PERL_FILE = "file that perl opens"
    UNSURE = "unsure"  # depends on what the shell expands, or on an option that we do not know


@dataclass(frozen=True)
class Usage:
    """How a command reads its arguments, as far as it matters for which of them may be data.

    flags: options without a value. values: options with values, and the role of each. One letter is a short option
      and may stand in a cluster; more letters are a long one, with one or two dashes.
    attached: short options whose optional value can only follow in the same word (`-i.bak`).
    detached: short options whose value is the next word, also from within a cluster (`bash -oc pipefail TEXT`).
    operands, rest: roles of the first operands and of all others.
    stops_after: the number of operands after which options are no longer recognised; None: they always are.
    text_flags: flags that make the first operand program text (`sh -c`).
    replaces: options whose value takes the place of the program that else is the first operand.
    ends: options after which, and after their value, everything is data.
    inert: flags with which the program is only checked, not run.
    perl_files: flags that make perl open its operands by itself.
    strict: whether an option not listed makes what follows unsure; else it counts as a flag.
    assigns: whether `NAME=value` may stand before the operands.
    stdin_below: with fewer operands than this the program comes from standard input; 0: never.
    cure: what to write instead of a placeholder in program text.
    """

    flags: frozenset[str] = frozenset()
    values: Mapping[str, tuple[Role, ...]] = field(default_factory=dict)
    attached: frozenset[str] = frozenset()
    detached: frozenset[str] = frozenset()
    operands: tuple[Role, ...] = ()
    rest: Role = Role.FREE
    stops_after: int | None = 1
    text_flags: frozenset[str] = frozenset()
    replaces: frozenset[str] = frozenset()
    ends: frozenset[str] = frozenset()
    inert: frozenset[str] = frozenset()
    perl_files: frozenset[str] = frozenset()
    strict: bool = True
    assigns: bool = False
    stdin_below: int = 0
    cure: str = ""


_ALWAYS = 1_000_000  # more operands than any command has


def _names(text: str) -> frozenset[str]:
    """`-abc long` is the options a, b, c and long."""
    short = (word[1:] for word in text.split() if word.startswith("-"))
    return frozenset("".join(short)).union(word for word in text.split() if not word.startswith("-"))


def _values(free: str = "", *, text: str = "", file: str = "", pairs: str = "") -> dict[str, tuple[Role, ...]]:
    """Options by the role of their value; those in `pairs` have two values, both free."""
    by_role = ((free, (Role.FREE,)), (text, (Role.TEXT,)), (file, (Role.FILE,)), (pairs, (Role.FREE,) * 2))
    return {name: roles for names, roles in by_role for name in _names(names)}


def _wrapper(
    flags: str = "", values: str = "", *, operands: int = 0, ends: str = "", assigns: bool = False, strict: bool = True
) -> Usage:
    """A command that runs the command in its arguments, after `operands` of its own."""
    return Usage(
        _names(flags), _values(values), operands=(Role.FREE,) * operands, rest=Role.COMMAND,
        stops_after=max(operands, 1), ends=_names(ends), assigns=assigns, strict=strict,
    )  # fmt: skip


def _lenient(text: str, *, rest: Role = Role.FREE, cure: str = "") -> Usage:
    """A command of which we know only the options that take program text."""
    return Usage(values=_values(text=text), rest=rest, stops_after=None, strict=False, cure=cure)


def _takes_text(cure: str) -> Usage:
    """A command that may take any of its arguments for program text."""
    return Usage(rest=Role.TEXT, stops_after=None, strict=False, stdin_below=_ALWAYS, cure=cure)


_BY_ENVIRONMENT = """hand it over in the environment, with env: {NAME: "{item}"} on the step, and read NAME there"""

_SHELL = Usage(
    flags=_names("-abefhiklmnprtuvxBCDEHPTcs noprofile norc posix login verbose restricted debugger noediting"),
    values=_values("-oO", file="rcfile init-file"),
    detached=_names("-oO"),
    operands=(Role.FILE,),
    text_flags=_names("-c"),
    inert=_names("-n"),
    ends=_names("-s"),
    stdin_below=1,
    cure="""pass it as an argument: bash -c 'grep "$1" f' _ {p}""",
)
_PYTHON = Usage(
    flags=_names("-bBdEhiIOPqRsSuvVx help version"),
    values=_values("-WX", text="-c", file="-m"),
    operands=(Role.FILE,),
    replaces=_names("-cm"),
    ends=_names("-cm"),
    stdin_below=1,
    cure="pass it as an argument: python -c 'import sys; print(sys.argv[1])' {p}",
)
_PERL = Usage(
    flags=_names("-acfhlnpsStTuUvVwWX0123456789"),
    values=_values("-I", text="-eEmMF"),
    attached=_names("-iCDx"),
    operands=(Role.FILE,),
    replaces=_names("-eE"),
    perl_files=_names("-np"),
    stdin_below=1,
    cure="pass it as an argument: perl -e 'print $ARGV[0]' {p}",
)
_RUBY = Usage(
    flags=_names("-achlnpsSvwWy version verbose"),
    values=_values("-IC", text="-e", file="-r"),
    attached=_names("-iFExKT0"),
    operands=(Role.FILE,),
    replaces=_names("-e"),
    stdin_below=1,
    cure="pass it as an argument: ruby -e 'puts ARGV[0]' {p}",
)
_NODE = Usage(
    flags=_names("-ci check interactive test no-warnings trace-warnings enable-source-maps inspect version"),
    values=_values(text="-ep eval print pe", file="-r require import loader"),
    operands=(Role.FILE,),
    replaces=_names("-ep eval print pe"),
    inert=_names("-c check"),
    stdin_below=1,
    cure="pass it as an argument: node -e 'console.log(process.argv[1])' {p}",
)
_SED = Usage(
    # -l has a value on Linux and none on macOS, so it is not here.
    flags=_names(
        "-nErsuz quiet silent regexp-extended separate unbuffered null-data posix debug follow-symlinks in-place"
    ),
    values=_values(text="-e expression", file="-f file"),
    attached=_names("-i"),
    operands=(Role.TEXT,),
    replaces=_names("-ef expression file"),
    stops_after=None,
    cure="""use a program that takes it as data: awk -v x={p} '{ sub(/old/, x); print }' file""",
)
_AWK = Usage(
    flags=_names("-bcChnNOPrsStVM posix traditional re-interval version"),
    values=_values("-Fv field-separator assign", text="-e source", file="-fEil file exec include load"),
    attached=_names("-L"),
    operands=(Role.TEXT,),
    replaces=_names("-efE source file exec"),
    cure="pass it as a variable: awk -v x={p} '{ print x }' file",
)
_JQ = Usage(
    flags=_names(
        "-rcnesSCMajRVhf raw-output compact-output null-input exit-status slurp sort-keys color-output help"
        " monochrome-output ascii-output join-output raw-input raw-output0 tab seq stream unbuffered version"
        " args jsonargs from-file"
    ),
    values=_values("indent", file="-L library-path", pairs="arg argjson slurpfile rawfile"),
    operands=(Role.TEXT,),
    stops_after=None,
    cure="pass it as a variable: jq --arg x {p} '.name == $x' file",
)
_SSH = Usage(
    flags=_names("-46AaCfGgKkMNnqsTtVvXxYy"),
    values=_values("-pilbBcmeEDLRWwQS", text="-oOJ", file="-FI"),
    operands=(Role.FREE,),
    rest=Role.TEXT,
    stops_after=2,
    stdin_below=2,
    cure="send it on standard input: printf '%s' {p} | ssh host 'cat > file'",
)
_MAKE = Usage(
    flags=_names("-bBdeikLmnpqrRsStvw silent always-make keep-going dry-run question no-print-directory"),
    values=_values("-CoW directory", text="-E eval", file="-fI file makefile include-dir"),
    # A word after -j that is no number is a target or an assignment.
    attached=_names("-jl"),
    rest=Role.TEXT,
    stops_after=None,
    cure="give it to make in the environment: X={p} make target, and use $$X in the recipe",
)
_PHP = Usage(
    flags=_names("-ahilmnqsvw"),
    values=_values("-cSt", text="-rBREd", file="-fFz"),
    operands=(Role.FILE,),
    replaces=_names("-rRfF"),
    inert=_names("-l"),
    stdin_below=1,
    cure="pass it as an argument: php -r 'echo $argv[1];' {p}",
)

_SHELLS = ("sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "yash", "rbash", "fish", "csh", "tcsh")
_EDITORS = ("vim", "vi", "nvim", "ex", "view", "ed", "emacs")
# They run the command in their arguments; with options of their own it is unsure where that begins.
_WRAPPERS = (
    "nohup", "builtin", "busybox", "toybox", "pkexec", "ssh-agent", "xvfb-run", "dbus-run-session", "unshare",
    "nsenter", "setpriv", "prlimit", "numactl", "systemd-run", "firejail", "proxychains", "proxychains4", "valgrind",
    "ltrace", "catchsegv", "rlwrap", "tini", "dumb-init", "watchexec", "entr", "perf", "cgexec",
)  # fmt: skip
_RUNNERS = ("uv", "poetry", "pipenv", "pdm", "hatch", "rye", "conda", "bundle", "npm", "pnpm", "yarn")

_ENV = _wrapper("-i0v ignore-environment null debug", "-uC unset chdir", assigns=True)
_SUDO = _wrapper("-nEHSkKAbPB preserve-env", "-ugpCDhrtTR user group", assigns=True)
_XARGS = Usage(
    flags=_names("-0rtpxo null no-run-if-empty verbose exit replace max-lines eof"),
    values=_values("-InPsdaEL max-args max-procs max-chars delimiter arg-file"),
    attached=_names("-eil"),
    rest=Role.COMMAND,
)
_NO_WRAPPER_FLAGS = _wrapper()

USAGES: Mapping[str, Usage] = {
    **dict.fromkeys(_SHELLS, _SHELL),
    "python": _PYTHON, "pypy": _PYTHON, "perl": _PERL, "ruby": _RUBY, "node": _NODE, "nodejs": _NODE, "bun": _NODE,
    "php": _PHP, "lua": Usage(values=_values(text="-e", file="-l"), operands=(Role.FILE,), stdin_below=1),
    "sed": _SED, "gsed": _SED, "awk": _AWK, "gawk": _AWK, "mawk": _AWK, "nawk": _AWK, "jq": _JQ, "ssh": _SSH,
    "make": _MAKE, "gmake": _MAKE,
    **dict.fromkeys(("tclsh", "wish", "osascript", "pwsh", "powershell", "expect"), _takes_text(_BY_ENVIRONMENT)),
    **dict.fromkeys(("parallel", "watch", "su", "runuser", "crontab"), _takes_text(_BY_ENVIRONMENT)),
    **dict.fromkeys(("at", "batch"), Usage(strict=False, stdin_below=_ALWAYS, cure=_BY_ENVIRONMENT)),
    "dc": Usage(values=_values(text="-e expression", file="-f file"), operands=(Role.FILE,), stdin_below=1),
    **dict.fromkeys(_EDITORS, _takes_text("edit the file with a program that takes the value as data")),
    "sqlite3": Usage(
        values=_values(text="cmd", file="init"), operands=(Role.FREE,), rest=Role.TEXT, stops_after=None, strict=False,
        cure=_BY_ENVIRONMENT,
    ),
    "psql": _lenient("-c command", cure="pass it as a variable: psql -v x={p}, and write :'x' in a file"),
    "mysql": _lenient("-e execute", cure=_BY_ENVIRONMENT),
    "rsync": _lenient("-e rsh rsync-path", cure=_BY_ENVIRONMENT),
    "tar": _lenient("-IF use-compress-program to-command checkpoint-action info-script rmt-command rsh-command"),
    "sort": _lenient("compress-program"), "split": _lenient("filter"), "script": _lenient("-c command"),
    "gdb": _lenient("-x ex eval-command command"), "R": _lenient("-e"), "rscript": _lenient("-e"),
    "julia": _lenient("-eE eval print"),
    # Commands that run another command.
    "env": _ENV, "genv": _ENV, "sudo": _SUDO, "doas": _wrapper("-nL", "-uC"),
    "command": _wrapper("-p", ends="-vV"), "exec": _wrapper("-cl", "-a"),
    "setsid": _wrapper("-cfw ctty fork wait"),
    "nice": _wrapper("-0123456789", "-n adjustment"), "ionice": _wrapper("-t", "-cn class classdata"),
    "timeout": _wrapper("-v foreground preserve-status verbose", "-ks kill-after signal", operands=1),
    "gtimeout": _wrapper("-v foreground preserve-status verbose", "-ks kill-after signal", operands=1),
    "time": _wrapper("-apv append portability verbose", "-fo format output"),
    "stdbuf": _wrapper("", "-ioe input output error"), "chroot": _wrapper("", "userspec groups", operands=1),
    "taskset": _wrapper("-ac", operands=1), "flock": _wrapper("-nxsuoFv", "-wE", operands=1),
    **dict.fromkeys(("gosu", "su-exec", "faketime"), _wrapper(operands=1)),
    **dict.fromkeys(_WRAPPERS, _NO_WRAPPER_FLAGS), "hyperfine": _takes_text(_BY_ENVIRONMENT),
    "strace": _wrapper("-fqtrvxyC", "-eosaPu"), "unbuffer": _wrapper("-p"), "chronic": _wrapper("-ve"),
    "xargs": _XARGS, "gxargs": _XARGS,
    "npx": Usage(_names("-yq yes"), _values("-p package", text="-c call"), rest=Role.COMMAND, strict=False),
    # Commands whose first operand says how the others are read.
    **dict.fromkeys(_RUNNERS, Usage(rest=Role.SUBCOMMAND, strict=False)),
    **{f"{runner} run": _wrapper(strict=False) for runner in _RUNNERS if runner not in ("npm", "pnpm", "yarn")},
    **{f"{runner} exec": _wrapper(strict=False) for runner in ("bundle", "npm", "pnpm", "yarn")},
    "deno": Usage(rest=Role.SUBCOMMAND, strict=False), "deno eval": _takes_text(_BY_ENVIRONMENT),
    "git": Usage(
        _names("-pPhv no-pager paginate bare no-optional-locks no-replace-objects literal-pathspecs version"),
        _values("-C git-dir work-tree namespace", text="-c config-env", file="exec-path"), rest=Role.SUBCOMMAND,
        cure="git runs commands that its settings name; write the setting out",
    ),
    "git config": _takes_text("git runs commands that its settings name; write the setting out"),
    "git rebase": _lenient("-x exec"), "git difftool": _lenient("-x extcmd"),
    "git grep": _lenient("-O open-files-in-pager"), "git filter-branch": _takes_text(_BY_ENVIRONMENT),
    "git clone": _lenient("-cu config upload-pack template"), "git push": _lenient("receive-pack exec"),
    **{f"git {name}": _lenient("upload-pack exec") for name in ("fetch", "pull", "ls-remote", "archive")},
    "git bisect": Usage(rest=Role.SUBCOMMAND), "git bisect run": _NO_WRAPPER_FLAGS,
    "git submodule": Usage(rest=Role.SUBCOMMAND, strict=False), "git submodule foreach": _takes_text(_BY_ENVIRONMENT),
}  # fmt: skip
