"""Shell templates composed at random from the supported contexts, each knowing what it must do with given values."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from prodigy.workflow.shell.operators import apply

FIELDS = ("a", "b", "c")
OPERATORS = ("%y", "%%/*", "#-", "##*/", "%.js", "#?", r"##*[\$(]", r"%\*")

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})", re.ASCII)

Values = Mapping[str, str]
Piece = str | tuple[str, ...]
Rule = Callable[[Values], bool]


@dataclass(frozen=True)
class Word:
    """source: as it stands in the template. pieces: literal text, or (field, operator) for its value."""

    source: str
    pieces: tuple[Piece, ...]

    def text(self, values: Values) -> str:
        """What must arrive."""
        return "".join(_arrives(piece, values) for piece in self.pieces)

    def begins(self, values: Values, character: str) -> bool:
        """Whether a value puts this character at the beginning."""
        for piece in self.pieces:
            text = _arrives(piece, values)
            if text:
                return not isinstance(piece, str) and text.startswith(character)
        return False

    def escapes(self, values: Values) -> bool:
        """Whether it leaves the directory or enters .git."""
        text = self.text(values)
        parts = text.lower().split("/")
        return text.startswith("/") or ".." in parts or ".git" in parts


def _arrives(piece: Piece, values: Values) -> str:
    return piece if isinstance(piece, str) else apply(piece[1], values[piece[0]])


@dataclass
class Template:
    """A shell text; what it must do. calls: tag -> arguments; refusals: any of them true means that bind must fail.

    is_external: a program gets a value in its arguments or environment, which must not be large then.
    """

    text: str = ""
    is_external: bool = False
    calls: dict[str, Callable[[Values], list[str]]] = field(default_factory=dict)
    refusals: list[Rule] = field(default_factory=list)

    def must_refuse(self, values: Values) -> bool:
        return any(rule(values) for rule in self.refusals)


def is_unusable(value: str) -> bool:
    """Whether no script can have this value."""
    return "\0" in value or any("\ud800" <= c <= "\udfff" for c in value)


class Composer:
    """Makes templates; equal seeds make equal ones."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.made = Template()
        self.number = 0

    def template(self) -> Template:
        """One to three statements, each nested in up to three others."""
        self.made, self.number = Template(), 0
        depths = [self.random.choice((0, 0, 1, 1, 2, 3)) for _ in range(self.random.randint(1, 3))]
        self.made.text = "\n".join(self.statement(depth) for depth in depths)
        return self.made

    def statement(self, depth: int) -> str:
        if depth == 0:
            return self.random.choice(SIMPLE)(self)
        return self.random.choice(COMPOUND)(self, self.statement(depth - 1))

    def fresh(self, letter: str) -> str:
        """A name that was not used before."""
        self.number += 1
        return f"{letter}{self.number}"

    def field(self) -> str:
        """A field's name, with the expectation that its value can travel."""
        name = self.random.choice(FIELDS)
        self.made.refusals.append(lambda values: is_unusable(values[name]))
        return name

    def call(self, arguments: Callable[[Values], list[str]]) -> str:
        """The tag of a new call of the recorder with these arguments."""
        tag = self.fresh("t")
        self.made.calls[tag] = arguments
        return tag

    def gets(self, *words: Word) -> str:
        """The tag of a call that gets `--` and these words."""
        return self.call(lambda values: ["--", *(word.text(values) for word in words)])

    def refuse(self, rule: Rule) -> None:
        self.made.refusals.append(rule)

    def number_field(self) -> str:
        """A field whose value must be a whole number."""
        name = self.field()
        self.refuse(lambda values: not _INTEGER.fullmatch(values[name]))
        return name

    def word(self, *, backslashes: bool = True) -> Word:
        """One to three parts, each with a value in some quotes."""
        parts = [self.part(backslashes=backslashes) for _ in range(self.random.choice((1, 1, 1, 2, 3)))]
        return Word("".join(part.source for part in parts), tuple(piece for part in parts for piece in part.pieces))

    def words(self, *, backslashes: bool = True) -> list[Word]:
        return [self.word(backslashes=backslashes) for _ in range(self.random.randint(1, 3))]

    def part(self, *, backslashes: bool) -> Word:
        name = self.field()
        operator = self.random.choice(OPERATORS) if self.random.random() < 0.15 else ""
        place, value = f"${{item.{name}{operator}}}", (name, operator)
        left, right = self.random.choice((("", ""), ("x", ""), ("", "y"), ("é ", " $ü"), ("a'b", 'c"d')))
        match self.random.randrange(7 if backslashes else 4):
            case 0 | 1:
                return Word(place, (value,))
            case 2:
                quoted = [text.replace("$", "\\$").replace('"', '\\"') for text in (left, right)]
                return Word(f'"{quoted[0]}{place}{quoted[1]}"', (left, value, right))
            case 4:
                quoted = [text.replace("'", "'\\''") for text in (left, right)]
                return Word(f"'{quoted[0]}{place}{quoted[1]}'", (left, value, right))
            case 5:
                quoted = [text.replace("'", "\\'") for text in (left, right)]
                return Word(f"$'{quoted[0]}\\t\\\\{place}{quoted[1]}\\n'", (left, "\t\\", value, right, "\n"))
            case 3:
                return Word(f"pre{place}post", ("pre", value, "post"))
            case _:
                return Word(f"\\${place}\\\\", ("$", value, "\\"))

    def heredoc_line(self, *, is_quoted: bool) -> Word:
        """A line of a here-document, without its end."""
        name = self.field()
        operator = self.random.choice(OPERATORS) if self.random.random() < 0.15 else ""
        place, value = f"${{item.{name}{operator}}}", (name, operator)
        before = self.random.choice(("", "x ", "'", '"', "\\", "$HOME `ls` ", "e ", "a\\n", "$", "\\\\", "<<E ", "# "))
        after = self.random.choice(("", " y", "'", '"', "\\a", " $(touch CANARY)", "`touch CANARY`", "}", " $((1", "é"))
        sources = [
            text if is_quoted else re.sub(r"[\\$`]", r"\\\g<0>", text) for text in (before, after)
        ]  # a dollar sign before a placeholder is one of ours in neither
        if is_quoted and before.endswith("$"):
            sources[0] = before = "$ "
        return Word(f"{sources[0]}{place}{sources[1]}", (before, value, after))


def _sources(words: list[Word]) -> str:
    return " ".join(word.source for word in words)


def _record(c: Composer) -> str:
    words = c.words()
    return f"rec {c.gets(*words)} -- {_sources(words)}"


def _record_without_dashes(c: Composer) -> str:
    words = c.words()
    c.refuse(lambda values: any(word.begins(values, "-") for word in words))
    return f"rec {c.call(lambda values: [word.text(values) for word in words])} {_sources(words)}"


def _assign(c: Composer) -> str:
    name, word = c.fresh("v"), c.word()
    return f'{name}={word.source}; rec {c.gets(word)} -- "${name}"'


def _append(c: Composer) -> str:
    name, word, more = c.fresh("v"), c.word(), c.word()
    both = Word("", word.pieces + more.pieces)
    return f'{name}={word.source}; {name}+={more.source}; rec {c.gets(both)} -- "${name}"'


def _array(c: Composer) -> str:
    # Without backslashes: bash misreads them in arrays inside $( ), which is refused.
    name, words = c.fresh("v"), c.words(backslashes=False)
    return f'{name}=({_sources(words)}); rec {c.gets(*words)} -- "${{{name}[@]}}"'


def _declare(c: Composer) -> str:
    name, word = c.fresh("v"), c.word()
    c.refuse(lambda values: word.begins(values, "("))
    how = c.random.choice(("declare", "export", "readonly", "typeset", "declare -x"))
    return f'{how} {name}={word.source}; rec {c.gets(word)} -- "${name}"'


def _local(c: Composer) -> str:
    function, name, word = c.fresh("f"), c.fresh("v"), c.word()
    c.refuse(lambda values: word.begins(values, "("))
    return f'{function}() {{ local {name}={word.source}; rec {c.gets(word)} -- "${name}"; }}; {function}'


def _for(c: Composer) -> str:
    name, all_, words = c.fresh("v"), c.fresh("v"), c.words()
    tag = c.gets(*words)
    return f'{all_}=(); for {name} in {_sources(words)}; do {all_}+=("${name}"); done; rec {tag} -- "${{{all_}[@]}}"'


def _case(c: Composer) -> str:
    return f"case {c.word().source} in *) rec {c.gets()} -- ;; esac"


def _test(c: Composer) -> str:
    name, word = c.fresh("v"), c.word()
    test = c.random.choice((
        f'[[ {word.source} == "${name}" ]]', f'[[ "${name}" = {word.source} ]]', f'[ {word.source} = "${name}" ]',
        f'test "${name}" = {word.source}', f'[[ -z {word.source} || -n {word.source} ]]',
        f'! [[ x{word.source} < "" ]]',
    ))  # fmt: skip
    return f"{name}={word.source}; {test} && rec {c.gets()} --"


def _arithmetic(c: Composer) -> str:
    field, name = c.number_field(), c.fresh("v")
    place = f"${{item.{field}}}"
    tag = c.call(lambda values: ["--", values[field]])
    return c.random.choice((
        f"rec {tag} -- $(({place} + 0))", f'rec {tag} -- "$(( 0 + {place} ))"', f"rec {tag} -- $[ {place} ]",
        f"(({name} = {place})) || :; rec {tag} -- ${name}", f'let "{name} = {place}" || :; rec {tag} -- ${name}',
        f"let {name}={place} || :; rec {tag} -- ${name}", f"{name}={place}; rec {tag} -- $(({name}))",
        f"declare -i {name}; {name}={place}; rec {tag} -- ${name}", f'{name}=("{place}"); rec {tag} -- $(({name}[0]))',
        f"[[ {place} -eq {place} ]] && rec {tag} -- {place}", f"(( {place} + 1 )) || :; rec {tag} -- $(({place}))",
        f"for (({name} = {place}; {name} < {place} + 1; {name}++)); do rec {tag} -- ${name}; done",
        f"x=abc; : ${{x:{place}:1}}; rec {tag} -- {place}", f"read -r {name} <<< {place}; rec {tag} -- $(({name}))",
    ))  # fmt: skip


def _here_string(c: Composer) -> str:
    name, word = c.fresh("v"), c.word()
    tag = c.gets(Word("", (*word.pieces, "\n")))
    return f"IFS= read -r -d '' {name} <<< {word.source} || :; rec {tag} -- \"${name}\""


def _heredoc(c: Composer) -> str:
    name, is_quoted = c.fresh("v"), c.random.random() < 0.5
    lines = [c.heredoc_line(is_quoted=is_quoted) for _ in range(c.random.randint(1, 3))]
    dash, tab = c.random.choice((("", ""), ("-", "\t")))
    end = c.random.choice(("E", "EOF", "a.b-c"))
    word = c.random.choice((f"'{end}'", f'"{end}"', f"\\{end}")) if is_quoted else end
    body = "".join(f"{tab}{line.source}\n" for line in lines)
    tag = c.gets(Word("", tuple(piece for line in lines for piece in (*line.pieces, "\n"))))
    read = f"IFS= read -r -d '' {name}"
    head = c.random.choice((
        f"{read} <<{dash}{word} || :", f"{read} < <(cat <<{dash}{word}", f"{{ {read} || :; }} <<{dash}{word}",
    ))  # fmt: skip
    close = ") || :\n" if "<(" in head else ""
    return f'{head}\n{body}{tab}{end}\n{close}rec {tag} -- "${name}"'


def _nested_heredoc(c: Composer) -> str:
    """A command in a here-document."""
    name, word = c.fresh("v"), c.word(backslashes=False)
    tag = c.call(lambda values: ["--", word.text(values).rstrip("\n") + "\n"])
    return f"IFS= read -r -d '' {name} <<E || :\n$(printf %s {word.source})\nE\nrec {tag} -- \"${name}\""


def _by_file(c: Composer) -> str:
    name, field = c.fresh("v"), c.field()
    tag, place = c.call(lambda values: ["--", values[field]]), f"${{item.{field}:file}}"
    return c.random.choice((
        f"IFS= read -r -d '' {name} < {place} || :; rec {tag} -- \"${name}\"",
        f"IFS= read -r -d '' {name} < <(cat {place}) || :; rec {tag} -- \"${name}\"",
        f"cat '{place}' | {{ IFS= read -r -d '' {name} || :; rec {tag} -- \"${name}\"; }}",
    ))  # fmt: skip


def _substitution(c: Composer) -> str:
    name, word = c.fresh("v"), c.word()
    tag = c.call(lambda values: ["--", word.text(values).rstrip("\n")])
    return c.random.choice((
        f"{name}=$(printf '%s' {word.source}); rec {tag} -- \"${name}\"",
        f"rec {tag} -- \"$(printf %s {word.source})\"",
        f'rec {tag} -- "$(echo; printf %s "$(printf %s {word.source})" | cat)"'.replace("echo; ", ""),
    ))  # fmt: skip


def _process_substitution(c: Composer) -> str:
    name, word = c.fresh("v"), c.word()
    return f"IFS= read -r -d '' {name} < <(printf '%s' {word.source}) || :; rec {c.gets(word)} -- \"${name}\""


def _pipe(c: Composer) -> str:
    name, word = c.fresh("v"), c.word()
    return f"printf '%s' {word.source} | {{ IFS= read -r -d '' {name} || :; rec {c.gets(word)} -- \"${name}\"; }}"


def _xargs(c: Composer) -> str:
    c.made.is_external = True
    word = c.word()
    return f"printf '%s\\0' {word.source} | xargs -0 rec {c.gets(word)} --"


def _write(c: Composer) -> str:
    word = c.word()
    c.refuse(word.escapes)
    op = c.random.choice((">", ">>", ">|", "&>", "<>"))
    return f"( {{ echo x {op} {word.source}; }} 2>/dev/null ) || :"


def _read(c: Composer) -> str:
    word = c.word()
    c.refuse(lambda values: word.text(values).startswith(("/dev/tcp/", "/dev/udp/")))
    return f"( cat < {word.source} ) > /dev/null 2>&1 || :"


def _environment(c: Composer) -> str:
    c.made.is_external = True
    word = c.word()
    how = c.random.choice(("", "env ", "env -u Y X=1 "))
    return f"{how}V={word.source} sh -c 'rec {c.gets(word)} -- \"$V\"'"


def _inner_shell(c: Composer) -> str:
    c.made.is_external = True
    word = c.word()
    return f"bash -c 'rec {c.gets(word)} -- \"$1\"' -- {word.source}"


def _wrapped(c: Composer) -> str:
    c.made.is_external = True
    word = c.word()
    wrapper = c.random.choice(
        (
            "env X=1 nice -n 0",
            "timeout 50",
            "command",
            "time",
            "nohup",
            "exec",
            'env -i PATH="$PATH" RECORDS="$RECORDS"',
        )
    )
    return f"( {wrapper} rec {c.gets(word)} -- {word.source} )"


def _function(c: Composer) -> str:
    name, words = c.fresh("f"), c.words()
    return f'{name}() {{ shift; rec {c.gets(*words)} -- "$@"; }}; {name} -- {_sources(words)}'


def _comment(c: Composer) -> str:
    return f"rec {c.gets()} -- # ${{item.missing}} 'not closed $(touch CANARY"


def _braces(c: Composer) -> str:
    word = c.word()
    return f"rec {c.gets(Word('', ('x',)), word)} -- {{x,{word.source}}}"


def _background(c: Composer) -> str:
    word = c.word()
    return f"rec {c.gets(word)} -- {word.source} & wait"


SIMPLE: tuple[Callable[[Composer], str], ...] = (
    _record, _record, _record_without_dashes, _assign, _append, _array, _declare, _local, _for, _case, _test,
    _arithmetic, _arithmetic, _here_string, _substitution, _process_substitution, _pipe, _xargs, _write, _read,
    _environment, _inner_shell, _wrapped, _function, _comment, _braces, _background, _heredoc, _heredoc,
    _nested_heredoc, _by_file,
)  # fmt: skip
COMPOUND: tuple[Callable[[Composer, str], str], ...] = (
    lambda _, body: f"if true; then\n{body}\nfi",
    lambda _, body: f"if false; then :; elif [[ a == a ]]; then\n{body}\nelse :; fi",
    lambda _, body: f"{{\n{body}\n}}",
    lambda _, body: f"(\n{body}\n)",
    lambda c, body: f"for {c.fresh('i')} in 1; do\n{body}\ndone",
    lambda _, body: f"while :; do\n{body}\nbreak\ndone",
    lambda _, body: f"until false; do\n{body}\nbreak\ndone",
    lambda _, body: f"case x in y) ;; x)\n{body}\n;; esac",
    lambda c, body: "{0}() {{\n{1}\n}}\n{0}".format(c.fresh("f"), body),
    lambda _, body: f"true && {{\n{body}\n}}",
    lambda _, body: f"{{\n{body}\n}} > /dev/null 2>&1",
    lambda _, body: f"{{\n{body}\n}} | cat",
    lambda _, body: f": | {{\n{body}\n}}",
    lambda _, body: f"x=$(\n{body}\n)",
    lambda _, body: f': "a $(\n{body}\n) b"',
    lambda _, body: f"cat <(\n{body}\n) > /dev/null",
)
