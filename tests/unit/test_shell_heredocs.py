"""Here-documents and `$'...'`: what they become, what arrives, and where two parsers must not disagree."""

from __future__ import annotations

from pathlib import Path

import pytest

from prodigy.workflow.shell.syntax import ShellSyntaxError, check_with_bash
from prodigy.workflow.shell_words import BindError, compile_script
from shell_support import make_recorder, problems, refusal, run_script

HOSTILE = "$(touch CANARY)`touch CANARY`\nE\ntouch CANARY\n\\$x\"'\x01\x7f"


def body(text: str) -> str:
    return compile_script(text).text.partition("; ")[2]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cat <<E\na ${item.x} $HOME\nE\n", "cat <<E\na ${PRODIGY_1} $HOME\nE\n"),
        ("cat <<'E'\na ${item.x} $HOME\nE", "cat <<E\na ${PRODIGY_1} \\$HOME\nE"),
        ('cat <<"E" | sort\n`${item.x}` \\n\nE\n', "cat <<E | sort\n\\`${PRODIGY_1}\\` \\\\n\nE\n"),
        ("cat <<\\E\n'${item.x}' \"$x\"\nE\n", "cat <<E\n'${PRODIGY_1}' \"\\$x\"\nE\n"),
        ("cat <<-'E'\n\t${item.x}\n\t\\\n\tE\n", "cat <<-E\n\t${PRODIGY_1}\n\t\\\\\n\tE\n"),
        ("cat <<E\n$(cat ${item.x}) $((${item.n}))\nE\n", 'cat <<E\n$(cat "${PRODIGY_1}") $((${PRODIGY_2}))\nE\n'),
        ("cat <<A <<'B'\n${item.x}\nA\n${item.x} $\nB\n", "cat <<A <<B\n${PRODIGY_1}\nA\n${PRODIGY_1} \\$\nB\n"),
        ("cat <<E\nfoo\\\nE\nls ${item.x}\nE\n", "cat <<E\nfoo\\\nE\nls ${PRODIGY_1}\nE\n"),
        ("cat <<'E' > f\n$x\nE\necho ${item.x}", "cat <<'E' > f\n$x\nE\necho \"${PRODIGY_1}\""),
        ("cat <<'E' \\\n  > f\n${item.x}\nE\n", "cat <<E \\\n  > f\n${PRODIGY_1}\nE\n"),
        ("cat <<E\nE\necho ${item.x}", 'cat <<E\nE\necho "${PRODIGY_1}"'),
        ("x=$(cat <<'E'\nit's ${item.x}\nE\n)", "x=$(cat <<E\nit's ${PRODIGY_1}\nE\n)"),
        ("echo $'a\\t${item.x}\\'b'", "echo $'a\\t'\"${PRODIGY_1}\"$'\\'b'"),
        ("echo $'${item.x}${item.y}'", "echo $''\"${PRODIGY_1}\"$''\"${PRODIGY_2}\"$''"),
        ("echo $'\\\\${item.x}'", "echo $'\\\\'\"${PRODIGY_1}\"$''"),
    ],
)
def test_text_around_a_value_stays_what_it_was(text: str, expected: str) -> None:
    assert body(text) == expected


@pytest.mark.parametrize("word", ["E", "'E'", '"E"', "\\E"])
@pytest.mark.parametrize("dash", ["", "-"])
def test_a_value_in_a_here_document_arrives_byte_for_byte(word: str, dash: str, tmp_path: Path) -> None:
    literal = "\"q\" 'q' \\n é" + ("" if word == "E" else " $HOME `ls` \\ \\\\ $(touch CANARY) \\$x")
    text = f"IFS= read -r -d '' v <<{dash}{word} || :\n{literal}\n${{item.x}}|\n\nE\nrec t -- \"$v\"\n"
    script, environment, _ = compile_script(text).bind({"item": {"x": HOSTILE}})
    ran = run_script(script, environment, make_recorder(tmp_path))
    assert not ran.hurt
    assert ran.calls == {"t": [[b"--", f"{literal}\n{HOSTILE}|\n\n".encode()]]}


def test_tabs_of_a_value_stay_where_those_of_the_text_go(tmp_path: Path) -> None:
    text = "IFS= read -r -d '' v <<-'E' || :\n\ta\n\t${item.x}\n\tE\nrec t -- \"$v\"\n"
    script, environment, _ = compile_script(text).bind({"item": {"x": "\tb\n\tc"}})
    assert run_script(script, environment, make_recorder(tmp_path)).calls == {"t": [[b"--", b"a\n\tb\n\tc\n"]]}


@pytest.mark.parametrize(
    "text",
    [
        "cat <<E\na $(cat <<E\nb\nE\n) ${item.x}\nE\n",  # bash ends the outer one at the first E
        "cat <<EOF\nE\\\nOF\neval ${item.x}\nEOF\n",  # continued lines make the delimiter
        "cat <<E'O'F\n${item.x}\nEOF\n",
        "x=`cat <<'E'\n\\`\nE\n`; echo ${item.x}",  # in backticks bash knows no here-documents
        "x=$(cat <<E\nE eval ${item.x}; (:)\nE\n)",  # in a substitution bash may end it at such a line
        "cat <(cat <<-'E'\n\t\tE eval ${item.x}; (:)\n\tE\n)",
        "cat <<'a b'\n${item.x}\na b\n",
        "cat <<''\n${item.x}\n\n",
        "cat <<E $(\nls\n)\nb\nE\necho ${item.x}",  # where the text begins depends on the version
        "cat <<E 'x\ny'\nb ${item.x}\nE\n",
        "cat <<O\n$(cat <<'E'\na\\\nE\nE\n)${item.x}\nO\n",
    ],
)
def test_a_script_is_refused_where_bash_may_read_another_here_document(text: str) -> None:
    messages = [message for message, _ in problems(text)]
    assert any("parsers disagree" in message or "cannot read" in message for message in messages), messages


def test_outside_of_substitutions_a_line_may_begin_with_the_delimiter() -> None:
    assert body("cat <<E\nE ${item.x} (:)\nE\n") == "cat <<E\nE ${PRODIGY_1} (:)\nE\n"


def test_a_warning_of_bash_is_an_error_where_values_are_at_stake() -> None:
    with pytest.raises(ShellSyntaxError, match="delimited by end-of-file"):
        check_with_bash(b"cat <<E\na")
    check_with_bash(b"cat <<E\na", allow_warnings=True)
    assert compile_script("cat <<E\na", check_plain=True).text == "cat <<E\na"


def test_a_delimiter_is_no_value() -> None:
    messages = [message for message, _ in problems("cat <<'${item.x}'\na\n${item.x}\n")]
    assert any("is the delimiter of a here-document" in message for message in messages)


@pytest.mark.parametrize("name", ["sh", "bash", "python3", "perl", "node", "ssh host", "sudo bash", "env X=1 sh -s"])
@pytest.mark.parametrize("word", ["E", "'E'", "-E"])
def test_a_program_may_not_come_from_a_here_document(name: str, word: str) -> None:
    message, cure = refusal(f"{name} <<{word}\necho ${{item.x}}\nE\n")
    assert "reads from standard input" in message
    assert 'env: {NAME: "${item.x}"} on the step' in cure
    assert problems(f"cat <<{word} | {name}\necho ${{item.x}}\nE\n")


def test_numbers_are_checked_in_a_here_document() -> None:
    script = compile_script("cat <<E\n$((${item.x} + 1)) ${a[${item.x}]}\nE\n")
    assert script.bind({"item": {"x": "7"}})
    with pytest.raises(BindError, match="not a whole number"):
        script.bind({"item": {"x": "a[$(touch CANARY)]"}})


def test_what_is_written_in_ansi_c_quotes_counts_like_other_text() -> None:
    assert problems("ls $'a\\n${item.x}'") == []
    assert compile_script("ls $'a\\n${item.x}'").bind({"item": {"x": "-rf"}})
    with pytest.raises(BindError, match="begins with -"):
        compile_script("ls $'${item.x}'").bind({"item": {"x": "-rf"}})
    assert "name of a command" in refusal("$'${item.x}'")[0]
    assert "given to eval" in refusal("$'eval' ${item.x}")[0]
    assert "printf -v or %n" in refusal("printf $'%n' ${item.x}")[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("echo ${#a[${item.n}]}", "echo ${#a[${PRODIGY_1}]}"),
        ("a[${item.n}]+=x", "a[${PRODIGY_1}]+=x"),
        ("declare a[${item.n}]=1", "declare a[${PRODIGY_1}]=1"),
        ("echo ${x: -${item.n}:${item.n}}", "echo ${x: -${PRODIGY_1}:${PRODIGY_1}}"),
        ("echo $((a[${item.n}] ? ${item.n} : b))", "echo $((a[${PRODIGY_1}] ? ${PRODIGY_1} : b))"),
        ("for ((${item.n};;)); do break; done", "for ((${PRODIGY_1};;)); do break; done"),
        ("((x = ${item.n}, y += ${item.n}))", "((x = ${PRODIGY_1}, y += ${PRODIGY_1}))"),
        ("[[ ${item.n} -eq 3 && x -lt ${item.n} ]]", '[[ "${PRODIGY_1}" -eq 3 && x -lt "${PRODIGY_1}" ]]'),
        ('echo "$[${item.n}]$((${item.n}))"', 'echo "$[${PRODIGY_1}]$((${PRODIGY_1}))"'),
    ],
)
def test_arithmetic_takes_only_numbers(text: str, expected: str) -> None:
    assert body(text) == expected
    assert compile_script(text).bind({"item": {"n": 3}})
    with pytest.raises(BindError, match="not a whole number"):
        compile_script(text).bind({"item": {"n": "a[$(touch CANARY)]"}})
