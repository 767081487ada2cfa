"""Shell texts at random from everything bash has, dangerous forms first, and values made to be run by them.

Most of these texts are refused. Of those that are accepted nothing is expected but that no value is ever executed.
"""

from __future__ import annotations

import random

ATTACKS = (
    "a[$(touch CANARY)]", "x[$(touch CANARY)]", "y[$(touch CANARY)]", "1+a[$(touch CANARY)]",
    "x=a[$(touch CANARY)]", "$(touch CANARY)", "`touch CANARY`", "; touch CANARY", "touch CANARY",
    "\ntouch CANARY\n", "}; touch CANARY; {", "(x $(touch CANARY))", "([$(touch CANARY)]=x)", "'$(touch CANARY)'",
    '"$(touch CANARY)"', "E\ntouch CANARY\n", 'system("touch CANARY")', 'BEGIN{system("touch CANARY")}',
    'import os; os.system("touch CANARY")', "touch CANARY|", "|touch CANARY", "e touch CANARY", "1e touch CANARY",
    "X:=$(shell touch CANARY)", "!touch CANARY", "@P", "${x@P}", "-v", "-R", "-exec", "-c", "-eq", "-o", "-a", "-x",
    "-", "--", "!", "=", "(", ")", "{}", "}", ";", "+", "&", "x", "y", "0", "1", "7", "eval", "sh", "PATH=.", "x=1",
    "BASH_ENV", "RANDOM", "/dev/stdin", "%n", "a b", "$x", '"', "'", "\\", "",
)  # fmt: skip

_COMMANDS = (
    "echo", "test", "printf", "printf %s", "printf '%s\\n'", "printf -v y", "eval", "bash -c", "bash", "sh -c",
    "source", ".", "declare", "declare -i", "declare -a", "declare -x", "export", "readonly", "typeset", "local",
    "read", "unset", "let", "trap", "env", "env X=1", "env -i", "xargs", "xargs -n1", "xargs -I{} sh -c",
    "find . -exec", "find .", "command", "command -v", "builtin", "exec", "exec -a x", "nice -n 1", "timeout 5",
    "nohup", "stdbuf -o0", "time", "!", "awk", "awk '{print $1}'", "awk -v", "sed", "sed -n 5p", "sed -e",
    "perl -e", "perl -e 1", "perl -ne 1", "perl -i -pe 1", "perl", "python3 -c", "python3", "node -e", "jq",
    "jq -n --arg x", "make", "sqlite3 :memory:", "git", "git -c", "flock x", "bash script.sh",
    'bash -c \'echo "$1"\' _', "bash -n", "set", "set --", "shift", "mapfile", "getopts a", "wait", "hash", "alias",
    "compgen -W", "complete", "coproc", "exit", "return", "pushd", "cd", "ulimit", "umask", "break",
    "caller", "enable", "shopt -s", "rec", "rec --", "f", "cat", "ls", "x=1 y=2", "true", "dc", "ed", "sort",
)  # fmt: skip
_ORDINARY = (
    "echo", "rec --", "printf '%s\\n'", "f", "cat", "ls", "test", "true", "grep", "sort",
)  # fmt: skip
_WORDS = (
    '"$x"', "$x", '"$y"', "x", "y", "-v", "-n", "1", "-eq", "=", "a", '"${x[@]}"', "$1", '"$@"', "-c", "-e", "--",
    "!", "-i", '""', "''", "$'x'", "{a,b}", "-x", "x=1", '"x"', "'{}'", "'$x'", "'((x))'",
)  # fmt: skip
_TESTS = (
    "-v {}", "-n {}", "{} == {}", "{} -eq {}", "{} =~ {}", "! -f {}", "{} < {}", "-t {}", "{} -nt {}", "( {} )",
)  # fmt: skip
_HEREDOCS = (" <<E", " <<E", " <<'E'", " <<\\E", ' <<"E"', " <<-E", " <<-'E'", " <<E | cat", " <<E <<'E'", " <<E'F'")
_HEREDOC_LINES = (
    "$x", "$(cat $x)", "`ls`", "E\\", "\\", "x\\", "\tE", "\t", "${y:-$x}", " E", "'", '"', "$(cat <<E", "<<E", ")",
    "$((x))", "E ", "\\E", "E", "(", "}", "\\\\", "\\\\\\",
)  # fmt: skip
_REDIRECTS = (
    "", " > {}", " < {}", " <<< {}", " >& {}", " 2> {}", " &> {}", " >> {}", " <> {}", " <&{}",
)  # fmt: skip
_NAMES = (
    "x", "y", "z", "PATH", "IFS", "RANDOM", "SECONDS", "PS4", "BASH_ENV", "OPTIND", "HISTCMD", "x[0]", "y[x]",
)  # fmt: skip


class Attacks:
    """Makes texts; equal seeds make equal ones."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def values(self) -> dict[str, str]:
        return {name: self.random.choice(ATTACKS) for name in ("a", "b")}

    def script(self) -> str:
        """One to four commands."""
        return "\n".join(self.line(self.random.choice((0, 1, 2))) for _ in range(self.random.randint(1, 4)))

    def line(self, depth: int) -> str:
        """A command, with a here-document now and then."""
        if self.random.random() < 0.75:
            return self.command(depth)
        command = self.pick(self.command(depth), *(f"{name} {self.word(0)}" for name in ("cat", "rec", "read x", "f")))
        body = "\n".join(self.heredoc_line(depth) for _ in range(self.random.randint(1, 4)))
        return f"{command}{self.pick(*_HEREDOCS)}\n{body}\n{self.pick('E', 'E', 'E', chr(9) + 'E')}"

    def heredoc_line(self, depth: int) -> str:
        value = self.value()
        choice = self.pick("value", "value", "command", "line", "line", "code")
        if choice == "code":
            return (
                self.pick("eval ", "sh -c ", "; eval ", "E; eval ", "E eval ") + value + self.pick("", "; (:)", " $(:)")
            )
        if choice == "line":
            return self.pick(*_HEREDOC_LINES) + self.pick("", "", value)
        text = f"$({self.command(depth - 1)})" if choice == "command" else value
        return self.pick("", "x", "\\", "'", '"', "$") + text + self.pick("", "", "'", '"', "\\", "E")

    def pick(self, *choices: str) -> str:
        return self.random.choice(choices)

    def value(self) -> str:
        operator = self.pick("%x", "#?", "##*[", "%%\\$*", ":file") if self.random.random() < 0.1 else ""
        return f"${{item.{self.pick('a', 'b')}{operator}}}"

    def word(self, depth: int) -> str:
        value, chance = self.value(), self.random.random()
        if chance < 0.5:
            ansi_c = (
                "$'" + self.pick("", "x", "\\n", "\\\\", "\\'", "\\", "\\c") + value + self.pick("'", "\\'", "'\\''")
            )
            return self.pick(value, value, f'"{value}"', f"'{value}'", ansi_c)
        if chance < 0.6:
            before = self.pick("x", "y=", "-", "a[", "$x", "\\$", "~/", "{a,", "*", "--o=")
            return before + value + self.pick("", "]", "z", "}", ",b}", "$y")
        if chance < 0.8 or depth <= 0:
            return self.pick(*_WORDS)
        if chance < 0.9:
            return self.pick("$({})", '"$({})"', "<({})").format(self.command(depth - 1))
        return self.pick("$((@))", '"$((@))"', "$[@]", "${y[@]}", "${y:@}", "${y:@:1}").replace("@", self.arithmetic())

    def words(self, depth: int) -> str:
        return " ".join(self.word(depth) for _ in range(self.random.randint(0, 4)))

    def arithmetic(self) -> str:
        value = self.value()
        return self.pick(
            "x", "y", "$x", "1", "y[x]", f"y[{value}]", value, value, f'"{value}"', f"x+{value}", f"x={value}",
            f"x{value}", f"{value}+1", "y[$x]", "${y[x]}", "x=y", f"10#{value}",
        )  # fmt: skip

    def redirect(self) -> str:
        return self.pick("", "", *_REDIRECTS).replace("{}", self.word(0))

    def assignment(self) -> str:
        value = self.value()
        right = self.pick(
            value, value, f'"{value}"', f"a{value}", f"({self.words(1)})", "$x", "x", f"([{self.arithmetic()}]=1)",
        )  # fmt: skip
        return self.pick("x", "y", *_NAMES, f"x[{value}]") + self.pick("=", "=", "+=") + right

    def command(self, depth: int) -> str:
        chance = self.random.random()
        if chance < 0.5 or depth <= 0:
            return self.simple(depth)
        if chance < 0.65:
            return self.assignment()
        if chance < 0.7:
            return f"(({self.arithmetic()}))"
        return self.compound(self.command(depth - 1), depth)

    def simple(self, depth: int) -> str:
        if self.random.random() < 0.1:
            tests = self.pick(*_TESTS).replace("{}", self.word(0))
            return self.pick(f"[[ {tests} ]]", f"[ {tests} ]")
        name = self.pick(*(_COMMANDS if self.random.random() < 0.6 else _ORDINARY))
        before = f"{self.assignment()} " if self.random.random() < 0.1 else ""
        end = " \\;" if name == "find . -exec" else ""
        return f"{before}{name} {self.words(depth)}{end}{self.redirect()}"

    def compound(self, body: str, depth: int) -> str:
        other = self.command(depth - 1)
        name = self.pick("x", "y", "i", "RANDOM", "PATH")
        return self.pick(
            f"if {other}; then {body}; fi", f"for {name} in {self.words(1)}; do {body}; done",
            f"{{ {body}; }}{self.redirect()}",
            f"for ((x={self.arithmetic()};x<3;x++)); do {body}; break; done", f"({body}){self.redirect()}", f"! {body}",
            f"case {self.word(0)} in {self.pick('*', 'a', 'x|y', self.word(0))}) {body};; esac", f"f() {{ {body}; }}",
            f"while {other}; do {body}; break; done", f"{body} && {other}", f"{body} || {other}", f"{body} | {other}",
            f"{body} &\nwait",
        )  # fmt: skip
