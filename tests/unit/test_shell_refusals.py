"""Where in shell text placeholders are refused: the essential words of each message and of its cure."""

from __future__ import annotations

import pytest

from prodigy.workflow.shell.rules import PLACES, REFUSED_COMMANDS, is_dangerous
from prodigy.workflow.shell_words import ShellTextError, compile_script
from shell_support import lines, problems, refusal

DECLARATIONS = ("declare", "typeset", "local", "readonly", "export")


@pytest.mark.parametrize(
    ("text", "reason", "cure"),
    [
        ("cat <<'E'\n${item.x} ${raw:item.y}\nE", "together with raw text", "remove the quotes"),
        (r"echo $'a\${item.x}'", "where a backslash reaches it", "$'a'${item.x}$'b'"),
        (r"echo $'a\\\${item.x}'", "where a backslash reaches it", "$'a'${item.x}$'b'"),
        (r"echo $'a\c${item.x}'", "where a backslash reaches it", "$'a'${item.x}$'b'"),
        (r"echo $'\c\\\${item.x}'", "where a backslash reaches it", "$'a'${item.x}$'b'"),
        ("cat <<E\n\\${item.x}\nE", "backslash before it", "remove the backslash"),
        ("cat <<E\n`ls ${item.x}`\nE", "backticks", "$(...)"),
        ("cat <<E\n${y:-${item.x}}\nE", "inside a ${...} of the shell", "x=${item.x}"),
        ('echo $"a${item.x}"', '$"..."', '"${item.x}"'),
        ("echo `ls ${item.x}`", "backticks", "$(...)"),
        ('echo "`ls ${item.x}`"', "backticks", "$(...)"),
        ("echo ${ ls ${item.x}; }", "${ ...; }", "$(...)"),
        ("echo ${y:-${item.x}}", "inside a ${...} of the shell", "x=${item.x}"),
        ("echo ${y%${item.x}}", "inside a ${...} of the shell", '"$x"'),
        ('echo "${y/${item.x}/b}"', "inside a ${...} of the shell", "x=${item.x}"),
        ("echo ${y:=${item.x}}", "inside a ${...} of the shell", "x=${item.x}"),
        ('echo "${y:-"${item.x}"}"', "inside a ${...} of the shell", "x=${item.x}"),
        ("shopt -s extglob\nls @(a|${item.x})", "extended glob", "[[ ${item.x} == ... ]]"),
        ("case a in ${item.x}) ;; esac", "pattern of case", "if ["),
        ("case a in a|'${item.x}') ;; esac", "pattern of case", "if ["),
        ("[[ a =~ ${item.x} ]]", "regular expression", "grep -e ${item.x}"),
        (r"echo \${item.x}", "backslash before it", "remove the backslash"),
        (r'echo "\${item.x}"', "backslash before it", "remove the backslash"),
        ("echo $(( '${item.x}' ))", "single quotes inside arithmetic", "remove the quotes"),
        ("echo $((x${item.x}))", "continues a name", "put an operator"),
        ("echo $(($x${item.x}))", "continues a name", "put an operator"),
        ('(( "x${item.x}" ))', "continues a name", "put an operator"),
        ("[[ -v ${item.x} ]]", "name of a variable to test", "write the name out"),
        ("[[ -R '${item.x}' ]]", "name of a variable to test", "write the name out"),
        ("echo >& ${item.x}", "target of >&, which bash reads twice", "> ${item.x} 2>&1"),
        ("echo 2>&${item.x}", "target of >&", "2>&1"),
        ("cat <&${item.x}", "target of <&", "number"),
        ("select x in ${item.x}; do :; done", "select loop", "use for"),
        ("coproc ls ${item.x}", "coprocess", "pipeline"),
        ("declare ${item.x}=1", "decides the name that declare declares", "declare x=${item.x}"),
        ('export "y=${item.x}"', "decides the name that export declares", "export x=${item.x}"),
        ("local ${item.x}", "decides the name that local declares", "local x=${item.x}"),
        ("declare -a y=(${item.x})", "element of an array that declare declares", "x=(${item.x})"),
        ("declare -a y=${item.x}", "assigned by declare with -a", "declare it first"),
        ("readonly -A y=${item.x}", "assigned by readonly with -A", "declare it first"),
        ("declare -n y=${item.x}", "assigned by declare with -n", "declare it first"),
        ("declare $flags y=${item.x}", "assigned by declare with", "declare it first"),
        ("declare -n y=z; x=${item.x}", "name references", "use the variable itself"),
        ("x=${item.x}; echo ${!x}", "`$x`, which holds `${item.x}`, is used as the name of another variable", "case"),
        ('x=${item.x}; echo "${x@P}"', "expanded like a prompt", "without @P"),
        ('echo $(a=(\\"${item.x}))', "bash misreads a backslash in an array", "use quotes"),
        ("x=$(a=(\\' b)); echo ${item.x}", "bash misreads a backslash in an array", "fill the array before"),
    ],
)
def test_places_in_the_grammar(text: str, reason: str, cure: str) -> None:
    message, help_ = refusal(text)
    assert reason in message
    assert cure in help_
    assert "{p}" not in message + help_
    assert "{name}" not in message + help_


@pytest.mark.parametrize(
    "text",
    lines(r"""
${item.x}
${item.x} a
'${item.x}' a
a${item.x} b
./bin/${item.x}
y=1 ${item.x}
$(ls ${item.x}) a
x=${item.x}; $x
x=${item.x}; "$x" a
if ${item.x}; then :; fi
! ${item.x}
time ${item.x}
env ${item.x}
env A=1 ${item.x} b
sudo -u root ${item.x}
nohup ${item.x}
timeout 5 ${item.x}
nice -n 5 ${item.x}
xargs ${item.x}
xargs --replace ${item.x}
xargs --max-lines ${item.x}
valgrind ${item.x}
su-exec root ${item.x}
xargs -n 1 -- ${item.x}
command ${item.x}
exec ${item.x}
builtin ${item.x}
find . -exec ${item.x} \;
git bisect run ${item.x}
flock f ${item.x}
${item.x}=1
y${item.x}=1
x=$(cat ${item.x}); $x
stdbuf -oL ${item.x}
npx ${item.x}
uv run ${item.x}
"""),
)
def test_the_name_of_a_command(text: str) -> None:
    message, cure = refusal(text)
    assert "is the name of a command" in message
    assert "write the command out" in cure


@pytest.mark.parametrize("name", sorted(set(REFUSED_COMMANDS) - {"let", "nameref", *DECLARATIONS}))
@pytest.mark.parametrize("before", ["", "command ", "\\", "x=1 "])
def test_commands_that_evaluate_or_take_names(name: str, before: str) -> None:
    for word in ("${item.x}", "-x a'${item.x}'", '"$(ls ${item.x})"'):
        message, cure = refusal(f"{before}{name} {word}")
        assert f"`${{item.x}}` is given to {name}, which" in message
        assert cure
    message, _ = refusal(f'y=${{item.x}}; {before}{name} "$y"')
    assert message.startswith("`$y`, which holds `${item.x}`, is given to")


@pytest.mark.parametrize("before", ["command ", "builtin ", "\\"])
@pytest.mark.parametrize("name", DECLARATIONS)
def test_declarations_that_are_written_like_other_commands(name: str, before: str) -> None:
    message, cure = refusal(f"{before}{name} y=${{item.x}}")
    assert f"given to {name}, which takes names of variables" in message
    assert f"{name} x=${{item.x}}" in cure
    assert problems(f"{name} y=${{item.x}}") == []


def test_let_takes_numbers_and_no_names() -> None:
    assert problems('let y=${item.x} "z += ${item.x}"') == []
    assert "takes names" in refusal("command let y=${item.x}")[0]
    assert problems("let ${item.x}=5")
    assert problems("let y${item.x}=5")


@pytest.mark.parametrize(
    "name",
    lines(r"""
PATH
BASH_ENV
ENV
IFS
PS4
PROMPT_COMMAND
LD_PRELOAD
GIT_SSH_COMMAND
PYTHONPATH
RANDOM
SECONDS
OPTIND
HISTCMD
SRANDOM
SHELLOPTS
HOME
NODE_OPTIONS
PERL5OPT
EDITOR
MAKEFLAGS
npm_config_shell
"""),
)
def test_dangerous_variables(name: str) -> None:
    assert is_dangerous(name)
    texts = lines(r"""
NAME=${item.x}
NAME=a${item.x} ls
export NAME=${item.x}
env NAME=${item.x} ls
for NAME in ${item.x}; do :; done
NAME=(${item.x})
NAME=$(ls ${item.x})
sudo NAME=${item.x} ls
NAME+=:${item.x}
y=${item.x}; NAME=$y:b
""")
    for text in (text.replace("NAME", name) for text in texts):
        found = problems(text)
        assert len(found) == 1, text
        assert f"would be the value of {name}" in found[0][0]
        assert "use another variable" in found[0][1]


@pytest.mark.parametrize("name", ["path", "x", "file_path", "GITHUB", "NODE_ENV", "LANG", "Path", "ifs"])
def test_ordinary_variables(name: str) -> None:
    assert not is_dangerous(name)
    assert problems(f"{name}=${{item.x}} ls") == []


def test_names_of_variables_from_values() -> None:
    assert "decides the name of a variable" in refusal("env y${item.x}=1 ls")[0]


@pytest.mark.parametrize(
    "text",
    [
        "printf ${item.x}",
        "printf a${item.x} b",
        "printf -- ${item.x}",
        'x=${item.x}; printf "$x"',
        "printf '%s'${item.x} a",
    ],
)
def test_the_format_of_printf(text: str) -> None:
    message, cure = refusal(text)
    assert "in the format of printf" in message
    assert "printf '%s\\n'" in cure


@pytest.mark.parametrize(
    "text", ["printf -v y ${item.x}", "printf -v ${item.x} y", "printf '%n' ${item.x}", "printf a%%%-5ln ${item.x}"]
)
def test_printf_that_assigns(text: str) -> None:
    message, cure = refusal(text)
    assert "printf -v or %n, which assign variables" in message
    assert "x=${item.x}" in cure


@pytest.mark.parametrize(
    "text",
    lines(r"""
[ -v ${item.x} ]
test -v a${item.x}
[ -R ${item.x} ]
[ $op ${item.x} ]
[ ${item.x} "$b" ]
[ ! -v ${item.x} ]
[ -n a -a "$op" ${item.x} ]
x=${item.x}; [ -v "$x" ]
test $(a) ${item.x}
"""),
)
def test_tests_whose_operator_may_evaluate(text: str) -> None:
    message, cure = refusal(text)
    assert "could be the operator -v" in message
    assert "use [[ ]]" in cure


def test_two_values_side_by_side_in_a_test() -> None:
    assert len(problems("[ ${item.x} ${item.y} ]")) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("echo ${item.x}\r\n", "carriage return"),
        ("echo ${item.x}\0", "'\\x00'"),
        ("echo \udcff ${item.x}", "'\\udcff'"),
        ("echo $PRODIGY_1 ${item.x}", "'PRODIGY_1': such names are reserved"),
        ("shopt -s expand_aliases\nls ${item.x}", "changes what a script means"),
        ("echo ${item.x|upper}", "`|upper` is not supported on our names"),
        ("if ${item.x}", "bash cannot read this"),
        ("echo '${item.x}", "bash cannot read this"),
        ("cat <<${item.x}\na\nE", "bash cannot read this"),
    ],
)
def test_texts_that_cannot_be_read(text: str, words: str) -> None:
    assert words in refusal(text)[0]


def test_all_problems_of_a_script_are_listed_once_and_in_order() -> None:
    with pytest.raises(ShellTextError) as caught:
        compile_script("eval ${item.a}\nls ${item.b}\n`${item.c}` $(eval ${item.d}) [ -v ${item.e} ]\n")
    assert [(p.line, p.message.split()[0]) for p in caught.value.problems] == [
        (1, "`${item.a}`"), (3, "`${item.c}`"), (3, "`${item.d}`")
    ]  # fmt: skip


def test_the_cure_by_the_environment_names_the_placeholder_itself() -> None:
    for text in ("eval ${item.x}", "eval ${item.x%.js}", 'y=${item.x}; eval "$y"', "tclsh ${item.x}"):
        assert 'env: {NAME: "${item.x}"} on the step' in refusal(text)[1]


def test_every_place_has_a_reason_and_a_cure() -> None:
    assert all(refusal.reason and refusal.cure for refusal in PLACES.values())


def test_a_cure_repeats_the_placeholder_as_it_is_written() -> None:
    assert """bash -c 'grep "$1" f' _ ${item}, or with env: {NAME: "${item}"}""" in refusal("eval ${item}")[1]
