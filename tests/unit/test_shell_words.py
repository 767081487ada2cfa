from __future__ import annotations

import timeit
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prodigy.errors import EnvironmentProblem
from prodigy.workflow import shell_words
from prodigy.workflow.interpolate import TextProblem
from prodigy.workflow.shell import syntax, words
from prodigy.workflow.shell.checks import Check, Piece, complaint
from prodigy.workflow.shell_words import BindError, ShellScript, ShellTextError, Variable, compile_script, forget
from shell_support import make_recorder, run_script


def rewritten(text: str) -> str:
    """The script's text without its first command."""
    script = compile_script(text).text
    head, _, body = script.partition("; ")
    return body if head.startswith("export -n ") else script


def checks(text: str) -> list[tuple[str, str]]:
    """Each check with its word: `<>` for a value, `?` for what only the shell knows."""
    marks = {"value": "<>", "shell": "?", "split": "?"}
    return [
        (check.kind, "".join(marks.get(piece.kind, piece.text) for piece in check.pieces))
        for check in compile_script(text).checks
    ]


def bind(text: str, **item: object) -> dict[str, str]:
    return compile_script(text).bind({"item": item}).env


@pytest.fixture
def anew() -> Iterator[None]:
    """Nothing that was compiled with other parsers is remembered."""
    forget()
    yield
    forget()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("echo ${item.x}", 'echo "${PRODIGY_1}"'),
        ("echo a${item.x}b", 'echo a"${PRODIGY_1}"b'),
        ('echo "a ${item.x} b"', 'echo "a ${PRODIGY_1} b"'),
        ("echo 'a ${item.x} b'", """echo 'a '"${PRODIGY_1}"' b'"""),
        ("echo '${item.x}${item.y}'", """echo ''"${PRODIGY_1}"''"${PRODIGY_2}"''"""),
        ("echo $((${item.n} + 1))", "echo $((${PRODIGY_1} + 1))"),
        ('echo "$(( ${item.n} ))"', 'echo "$(( ${PRODIGY_1} ))"'),
        ("((${item.n} > 1))", "((${PRODIGY_1} > 1))"),
        ("echo $[${item.n}]", "echo $[${PRODIGY_1}]"),
        ("[[ ${item.n} -gt 3 ]]", '[[ "${PRODIGY_1}" -gt 3 ]]'),
        ('let "x = ${item.n}" y=${item.n}', 'let "x = ${PRODIGY_1}" y="${PRODIGY_1}"'),
        ("for ((i = 0; i < ${item.n}; i++)); do :; done", "for ((i = 0; i < ${PRODIGY_1}; i++)); do :; done"),
        ("echo ${x:${item.n}:1} ${a[${item.n}]}", "echo ${x:${PRODIGY_1}:1} ${a[${PRODIGY_1}]}"),
        ("a[${item.n}]=${item.x}", 'a[${PRODIGY_1}]="${PRODIGY_2}"'),
        ("a=([${item.n}]=${item.x} ${item.x})", 'a=([${PRODIGY_1}]="${PRODIGY_2}" "${PRODIGY_2}")'),
        ("echo hi # ${item.x} 'open", "echo hi # ${item.x} 'open"),
        ("echo ${item.x} # ${item.y}", 'echo "${PRODIGY_1}" # ${item.y}'),
        ('echo "$(cat ${item.x} "${item.y}")"', 'echo "$(cat "${PRODIGY_1}" "${PRODIGY_2}")"'),
        ("diff <(sort ${item.x}) b", 'diff <(sort "${PRODIGY_1}") b'),
        ("cat <<< ${item.x} > ${item.y}", 'cat <<< "${PRODIGY_1}" > "${PRODIGY_2}"'),
        ("case ${item.x} in a) echo ${item.y} ;; esac", 'case "${PRODIGY_1}" in a) echo "${PRODIGY_2}" ;; esac'),
        ("[[ ${item.x} == *${item.y}* ]]", '[[ "${PRODIGY_1}" == *"${PRODIGY_2}"* ]]'),
        ("[[ ${item.x} =~ ^[a-z]+$ ]]", '[[ "${PRODIGY_1}" =~ ^[a-z]+$ ]]'),
        ("echo é ${item.x} 'ü ${item.x}'", """echo é "${PRODIGY_1}" 'ü '"${PRODIGY_1}"''"""),
        (r"echo \$${item.x}", r'echo \$"${PRODIGY_1}"'),
        ("echo a\\\n  ${item.x}", 'echo a\\\n  "${PRODIGY_1}"'),
        ("cat <<E ${item.x}\n$HOME\nE", 'cat <<E "${PRODIGY_1}"\n$HOME\nE'),
        ("f() { echo ${item.x}; }; f | (f)", 'f() { echo "${PRODIGY_1}"; }; f | (f)'),
        ("echo ${HOME} $x ${x:-y} $${item.x} ${item.x}", 'echo ${HOME} $x ${x:-y} $${item.x} "${PRODIGY_1}"'),
    ],
)
def test_a_placeholder_is_rewritten_by_its_context(text: str, expected: str) -> None:
    assert rewritten(text) == expected


def test_equal_placeholders_share_a_variable_and_different_defaults_do_not() -> None:
    script = compile_script("echo ${item.x} ${item.y} ${item.x} ${item.x:-d} # ${item.z}")
    assert script.variables == (
        Variable(name="PRODIGY_1", path="item.x"),
        Variable(name="PRODIGY_2", path="item.y"),
        Variable(name="PRODIGY_3", path="item.x", default="d"),
    )
    assert script.text.startswith("export -n PRODIGY_1 PRODIGY_2 PRODIGY_3; echo ")


@pytest.mark.parametrize("text", ["", "echo $HOME", "cat <<'E'\n${x}\nE", "if", "echo '\r'"])
def test_text_without_placeholders_is_the_authors_own_business(text: str) -> None:
    assert compile_script(text) == ShellScript(text=text)
    assert compile_script(text).bind({}) == (text.encode(), {}, {})


def test_a_script_is_frozen() -> None:
    script = compile_script("echo $((${item.n})) ${item.x:-é} > out/${item.y}")
    assert hash(script) == hash(compile_script("echo $((${item.n})) ${item.x:-é} > out/${item.y}"))
    with pytest.raises(FrozenInstanceError):
        script.text = "changed"  # type: ignore[misc]


def test_bind_gives_the_script_and_its_environment() -> None:
    script, environment, _ = compile_script("echo ${item.x} ${item.list} ${item_id} ${item.none:-d}", {"fix"}).bind(
        {"item": {"x": 1.5, "list": [1, "é"]}, "item_id": "a"}
    )
    assert script == (
        b"export -n PRODIGY_1 PRODIGY_2 PRODIGY_3 PRODIGY_4; "
        b'echo "${PRODIGY_1}" "${PRODIGY_2}" "${PRODIGY_3}" "${PRODIGY_4}"'
    )
    assert environment == {"PRODIGY_1": "1.5", "PRODIGY_2": '[1,"é"]', "PRODIGY_3": "a", "PRODIGY_4": "d"}


def test_a_name_of_the_caller_is_ours() -> None:
    assert rewritten("echo ${fix.output}") == "echo ${fix.output}"
    assert compile_script("echo ${fix.output}", {"fix"}).variables[0].path == "fix.output"


def test_a_placeholder_in_a_comment_needs_no_value() -> None:
    assert compile_script("# ${item.nowhere}\necho").bind({}).script == b"# ${item.nowhere}\necho"


def test_unresolved_placeholders_are_bind_errors_that_list_what_there_is() -> None:
    with pytest.raises(BindError, match=r"\$\{item\.pth\} does not resolve.*\n.*did you mean path") as caught:
        bind("echo ${item.pth}", path="a")
    assert (caught.value.placeholder, caught.value.value) == ("${item.pth}", None)


@pytest.mark.parametrize("value", [0, 7, -7, "-1", "0", "9" * 18])
def test_whole_numbers_pass_in_arithmetic(value: object) -> None:
    assert bind("echo $((${item.n}))", n=value) == {"PRODIGY_1": str(value)}


@pytest.mark.parametrize(
    "value", ["", " 1", "1 ", "1\n", "+1", "01", "-0x1", "1.5", "a", "a[$(x)]", "9" * 19, "--1", "٣", True, None, [1]]
)
@pytest.mark.parametrize(
    "text",
    [
        "echo $((${item.n}))", "((${item.n}))", "[[ 1 -eq ${item.n} ]]", "echo ${a[${item.n}]}", "a[${item.n}]=1",
        "echo ${x:1:${item.n}}", "let ${item.n}", "x=${item.n}; echo $((x))", "x='${item.n}'; y=$x; ((y > 0))",
        "declare -i x; x=${item.n}", "for x in ${item.n}; do echo ${a[x]}; done", "a=(${item.n}); ((a[0]++))",
        "read -r x <<< ${item.n}; [[ $x -gt 1 ]]", "while read -r x; do ((x)); done <<< ${item.n}",
        ": ${y:=$x}; x=${item.n}; echo $((y))",
    ],
)  # fmt: skip
def test_everything_else_is_refused_in_arithmetic(text: str, value: object) -> None:
    with pytest.raises(BindError, match="not a whole number") as caught:
        bind(text, n=value)
    assert caught.value.placeholder == "${item.n}"


def test_what_commands_print_is_not_followed_into_arithmetic() -> None:
    assert checks("n=$(wc -l < ${item.path}); echo $((n + 1))") == [("read_target", "<>")]


@pytest.mark.parametrize(
    "text",
    [
        "ls ${item.x}", "ls 'a' \"${item.x}\"", "ls ''${item.x}", "ls ${item.x}b", "ls $y${item.x}", "ls a$y${item.x}",
        "ls *${item.x}", "ls {a,${item.x}}", "ls {${item.x},b}", "env -- ls ${item.x}", "env X=1 nice ls ${item.x}",
        "find . -exec grep -- ${item.x} {} +", "command ls ${item.x}", "git log ${item.x}", 'ls "$y${item.x}"',
        "timeout ${item.x} ls", "bash s.sh ${item.x}", "f ${item.x}",
    ],
)  # fmt: skip
def test_a_dash_may_not_come_first_where_it_could_be_an_option(text: str) -> None:
    with pytest.raises(BindError, match=r"\$\{item\.x\} is \"-rf\", which begins with -.*\n.*write -- before it"):
        bind(text, x="-rf")
    assert bind(text, x="rf") == {"PRODIGY_1": "rf"}


@pytest.mark.parametrize(
    "text",
    [
        "ls -- ${item.x}", "echo ${item.x}", "printf '%s' ${item.x}", "[ ${item.x} = y ]", "test y = ${item.x}",
        "[[ ${item.x} == y ]]", "y=${item.x}", "y=${item.x} ls", "ls a${item.x}", "ls --y=${item.x}",
        "git log -- ${item.x}", "ls {a,b}x${item.x}", "for y in ${item.x}; do :; done", "case ${item.x} in a) ;; esac",
        "a=(${item.x})", "export y=${item.x}",
        "env y=${item.x} ls",
        "cat <<< ${item.x}", "command echo ${item.x}", "env -- ls -- ${item.x}",
    ],
)  # fmt: skip
def test_a_dash_may_come_first_elsewhere(text: str) -> None:
    assert bind(text, x="-rf") == {"PRODIGY_1": "-rf"}


def test_only_the_first_value_that_is_not_empty_begins_a_word() -> None:
    assert bind("ls ${item.a}${item.b}", a="x", b="-y")
    with pytest.raises(BindError, match="begins with -"):
        bind("ls ${item.a}${item.b}", a="", b="-y")


WRITES = [
    "> ${item.x}",
    ">> '${item.x}'",
    '&> "${item.x}"',
    ">| ${item.x}",
    "<> ${item.x}",
    "2> ${item.x}",
    "{fd}> ${item.x}",
]


@pytest.mark.parametrize("text", [*WRITES, "y=${item.x}; echo > $y"])
@pytest.mark.parametrize("value", ["/etc/passwd", "..", "../x", "a/../../x", ".git", "a/.git/config", ".GIT/hooks"])
def test_a_write_may_not_leave_the_directory_or_enter_git(text: str, value: str) -> None:
    with pytest.raises(BindError, match=r"absolute path|part of a path that the script writes to"):
        bind(text if "echo" in text else f"echo {text}", x=value)


@pytest.mark.parametrize("value", ["a", "a/b", "..a", "a..", ".github/x", "a.git", ".", "a b", "", "~", "$(x)"])
def test_a_write_inside_the_directory_is_fine(value: str) -> None:
    for text in WRITES:
        assert bind(f"echo {text}", x=value) == {"PRODIGY_1": value}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("echo > .${item.x}", "./y"), ("echo > .${item.x}", "git/hooks/y"), ("echo > a${item.x}", "/../y"),
        ("echo > out/${item.x}", "../../y"), ("echo > ${item.x}/y", "a/.."), ("echo > ${item.x}it", ".g"),
        ("echo > $dir${item.x}", "/y"), ("echo > $dir${item.x}", "./y"), ("echo > ${item.x}$ext", ".g"),
        ("echo > '.'\"${item.x}\"", "."), ("echo > ''${item.x}", "/y"), ("echo > ~/${item.x}", ".."),
        ("(echo) > ${item.x}", "/y"), ("{ echo; } > ${item.x}", "/y"), ("if a; then b; fi > ${item.x}", "/y"),
        ("f() { echo; } > ${item.x}", "/y"), ("exec > ${item.x}", "/y"), ("> ${item.x}", "/y"),
    ],
)  # fmt: skip
def test_partial_words_of_a_write_target_count(text: str, value: str) -> None:
    with pytest.raises(BindError):
        bind(text, x=value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("echo > /tmp/${item.x}", "y"), ("echo > ../${item.x}", "y"), ("echo > $dir/${item.x}.txt", "y"),
        ("echo > $dir/${item.x}", "a/b"), ("echo > ${item.x}.$ext", "a..b"), ("echo > $dir/x-${item.x}", "t"),
        ("echo > $dir${item.x}", ""),
    ],
)  # fmt: skip
def test_what_the_author_wrote_of_a_write_target_is_not_judged(text: str, value: str) -> None:
    assert bind(text, x=value)


def test_a_read_opens_no_connection() -> None:
    assert bind("cat < ${item.x}", x="/etc/hosts")
    for text, value in [("cat < ${item.x}", "/dev/tcp/h/1"), ("cat < /dev/${item.x}", "udp/h/1")]:
        with pytest.raises(BindError, match="network connection"):
            bind(text, x=value)


@pytest.mark.parametrize("how", ["declare", "local", "readonly", "export", "typeset -x", "declare -rg"])
def test_a_declared_value_is_no_array(how: str) -> None:
    assert bind(f"{how} y=${{item.x}}", x="x(")
    for text in (f"{how} y=${{item.x}}", f"{how} y=$z${{item.x}}", f"z='${{item.x}}'; {how} y=\"$z\""):
        with pytest.raises(BindError, match=r"begins with \(.*\n.*assign it alone"):
            bind(text, x="(a $(b))")


@pytest.mark.parametrize("value", ["touch x|", "|touch x", " touch x | ", ">x", "<x", "+<x"])
def test_perl_gets_no_file_name_that_it_would_run(value: str) -> None:
    for text in ("perl -ne 'print' -- ${item.x}", "x='${item.x}'; perl -pe 1 \"$x\""):
        assert bind(text, x="file")
        with pytest.raises(BindError, match="run or written by perl"):
            bind(text, x=value)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("a\0b", "NUL"),
        ("\ud800", "lone surrogate"),
        ("x" * 102_401, "being over 100 KiB"),
        ("é" * 51_201, "being over 100 KiB"),
        ("x" * (64 * 1024 * 1024 + 1), "larger than 64 MiB"),
    ],
)
def test_what_no_script_can_hold_is_refused(value: str, what: str) -> None:
    with pytest.raises(BindError, match=what) as caught:
        bind("echo ${item.x}", x=value)
    assert caught.value.value is not None
    assert len(str(caught.value)) < 300


def test_the_largest_value_passes_and_too_many_of_them_do_not() -> None:
    assert bind("echo ${item.x}", x="x" * 102_400)
    text = "echo " + " ".join(f"${{item.k{number}}}" for number in range(11))
    with pytest.raises(BindError, match="too much together"):
        bind(text, **{f"k{number}": "x" * 102_400 for number in range(11)})


def test_problems_say_where_they_are() -> None:
    with pytest.raises(ShellTextError) as caught:
        compile_script("# é ${item.a}\necho 'ü' ${item.b} `ls ${item.x}`\n  eval ${item.y}\n")
    found = [(p.offset, p.line, p.column) for p in caught.value.problems]
    assert found == [(37, 2, 24), (55, 3, 8)]
    assert str(caught.value).startswith("line 2, column 24: `${item.x}` stands inside backticks")


def test_a_syntax_error_says_where_it_is() -> None:
    with pytest.raises(ShellTextError, match="bash cannot read this") as caught:
        compile_script("echo ${item.a}\nif ${item.b}\n")
    assert caught.value.problems[0].line == 2


def test_the_second_opinion_of_bash_counts() -> None:
    with pytest.raises(ShellTextError, match="bash cannot read this") as caught:
        compile_script("echo ${item.a}\ncat <<E $(cat <<E\na\nE\n)\nE\nx )(\nE\n")
    assert caught.value.problems[0].line >= 2


@pytest.mark.usefixtures("anew")
def test_a_node_that_nobody_knows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def renamed(script: bytes) -> Any:
        tree = syntax.parse(script)
        tree["Stmts"][0]["Cmd"]["Type"] = "FutureCmd"
        return tree

    monkeypatch.setattr(shell_words, "parse", renamed)
    with pytest.raises(ShellTextError, match="stands at a place that is not supported"):
        compile_script("echo ${item.x}")


@pytest.mark.usefixtures("anew")
def test_a_rewrite_that_loses_the_quotes_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "_BARE", "{}")
    with pytest.raises(ShellTextError, match="beyond this version"):
        compile_script("echo ${item.x}")


@pytest.mark.usefixtures("anew")
def test_an_old_shfmt_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def numbered(script: bytes) -> Any:
        tree = syntax.parse(script)
        tree["Stmts"][0]["Redirs"][0]["Op"] = 63
        return tree

    monkeypatch.setattr(shell_words, "parse", numbered)
    with pytest.raises(EnvironmentProblem, match="shfmt is too old"):
        compile_script("echo > ${item.x}")


@pytest.mark.usefixtures("anew")
def test_missing_programs_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentProblem, match="no bash"):
        compile_script("echo ${item.x}")
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    syntax.find_shfmt.cache_clear()
    with pytest.raises(EnvironmentProblem, match="no shfmt"):
        compile_script("echo ${item.x}")
    syntax.find_shfmt.cache_clear()


def test_an_extended_glob_that_the_script_switches_on_is_read(tmp_path: Path) -> None:
    text = "shopt -s extglob\nls !(x) ${item.x}"
    assert rewritten(text) == 'shopt -s extglob\nls !(x) "${PRODIGY_1}"'


def test_children_do_not_inherit_the_variables(tmp_path: Path) -> None:
    text = (
        "set -u\nrec out -- ${item.x}; (rec sub -- ${item.x}); f() { rec function -- ${item.x}; }; f\n"
        'rec child -- "$(env | grep -c PRODIGY || :)" "$(bash -c \'echo "${!PRODIGY_@}"\')"\n'
    )
    script, environment, _ = compile_script(text).bind({"item": {"x": "a\nb"}})
    ran = run_script(script, environment, make_recorder(tmp_path))
    assert ran.calls == {
        **{tag: [[b"--", b"a\nb"]] for tag in ("out", "sub", "function")},
        "child": [[b"--", b"0", b""]],
    }


def test_bash_reports_the_lines_of_the_author(tmp_path: Path) -> None:
    script, environment, _ = compile_script("echo ${item.x}\n\nnonesuch").bind({"item": {"x": "a"}})
    ran = run_script(script, environment, make_recorder(tmp_path))
    assert b"line 3: nonesuch" in ran.stderr
    assert ran.status == 127


def test_binding_is_cheap() -> None:
    script = compile_script("for f in ${item.a}; do grep -- ${item.b} f > out/${item.c}.txt; echo $((${item.n})); done")
    scope = {"item": {"a": "x", "b": "y" * 50, "c": "z", "n": 5}}
    # 30 us on an idle machine; this only notices a process or a parser at bind time.
    assert min(timeit.repeat(lambda: script.bind(scope), number=100, repeat=5)) / 100 < 0.001


def test_checks_are_values() -> None:
    check = Check(kind="leading_dash", pieces=(Piece(kind="split"), Piece(kind="value", text="P")))
    assert complaint(check, {"P": "-x"}) is not None
    assert complaint(check, {"P": "x"}) is None


SOURCES = st.text(alphabet="${}item.x '\"\\`()[]<>|&;#\nab=-!*?~", max_size=40)


@settings(max_examples=60, deadline=None)
@given(SOURCES, SOURCES)
def test_any_text_compiles_or_is_refused_at_a_place_in_it(before: str, after: str) -> None:
    text = f"{before}${{item.x}}{after}"
    problems: tuple[TextProblem, ...] = ()
    try:
        compile_script(text)
    except ShellTextError as error:
        problems = error.problems
    assert all(0 <= problem.offset <= len(text) and problem.message and problem.cure for problem in problems)
