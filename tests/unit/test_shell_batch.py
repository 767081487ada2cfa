"""Compiling together is compiling one by one, only with fewer processes."""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from prodigy.workflow import shell_words
from prodigy.workflow.interpolate import TextProblem
from prodigy.workflow.shell import batch, syntax
from prodigy.workflow.shell_words import ShellScript, ShellTextError, compile_script, compile_scripts, forget
from shell_attacks import Attacks
from shell_templates import Composer

BROKEN = (
    "echo ${item.x}\\", "echo ${item.x} \\\n", ")", "echo ${item.x})\n(echo", "(", "echo '${item.x}", "'", '"',
    "cat <<E\n${item.x}", "E", "E\n)", "cat <<E ${item.x}", "if ${item.x}", "fi", "if x; then echo ${item.x}", "}",
    "{ echo ${item.x}", "case a in a", "case ${item.x} in a", "esac", ";; esac", "x=(${item.x}", "$(",
    "echo $(ls ${item.x}", "`", "${", "# ${item.x}", "# ${item.x} '", "#", "", "\n\n", ":", "echo ${item.x} &",
    "cat <<E", "cat <<E\na", "x=$(cat <<E\nE eval; (:)\nE\n)",
    "&& ${item.x}", "| cat ${item.x}", "f()", "f() ${item.x}", "! ", "time", "echo ${item.x|a}", "eval ${item.x}",
    "a\0b", "echo ${item.x}\r", "echo \r",
    "echo ${item.x} #\\", "\\", "[[ ${item.x}", "]]", "((${item.x}", "))", "for x in ${item.x}", "done", "while",
    "shopt -s extglob\nls !(x) ${item.x}", "shopt -s extglob\nls !(x)", "${raw:item.x}", "echo $((1 ${item.x}))",
    "cat <<'E'\n${item.x} $x\nE", "cat <<E\n)\n(:\nE\necho ${item.x}", "echo 'ü\n' ${item.x} \n eval ${item.x}",
    "echo ${item.x};;", ";", "echo ${item.x} ;\n;", "coproc ${item.x}", "exit 7", "set +n; echo ${item.x}",
)  # fmt: skip
TEXTS = st.lists(
    st.sampled_from(BROKEN)
    | st.integers(0, 10_000).map(lambda seed: Composer(seed).template().text)
    | st.integers(0, 10_000).map(lambda seed: Attacks(seed).script())
    | st.text(alphabet="${}item.x '\"\\`()[]<>|&;#\nabE", max_size=20),
    max_size=6,
)
Result = ShellScript | tuple[TextProblem, ...]


def together(
    texts: Sequence[str], names: Collection[str] = (), *, check_plain: bool = False
) -> list[ShellScript | ShellTextError]:
    return compile_scripts([(text, frozenset(names)) for text in texts], check_plain=check_plain)


def plain(results: Sequence[ShellScript | ShellTextError]) -> list[Result]:
    return [result.problems if isinstance(result, ShellTextError) else result for result in results]


def one_by_one(texts: Sequence[str], *, check_plain: bool) -> list[Result]:
    results: list[ShellScript | ShellTextError] = []
    for text in texts:
        try:
            results.append(compile_script(text, check_plain=check_plain))
        except ShellTextError as error:
            results.append(error)
    return plain(results)


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    """Nothing that was compiled before is remembered."""
    forget()
    yield
    forget()


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The arguments of every process that is started from now on."""
    started: list[list[str]] = []
    run = subprocess.run

    def noted(arguments: list[str], **options: Any) -> Any:
        started.append(arguments)
        return run(arguments, **options)

    monkeypatch.setattr(subprocess, "run", noted)
    return started


@settings(max_examples=40, deadline=None)
@given(TEXTS, st.booleans())
@example(["echo ${item.x}", "echo ${item.y}", "ls"], True)
@example(["<\\"], True)
@example(["cat <<E\n${item.x}", "echo ${item.x}\nE\n"], True)
@example(["echo ${item.x}'", "echo ' ${item.x}"], True)
@example(["echo ${item.x})", "(echo ${item.x}"], True)
@example(["echo ${item.x}\n)\n(:\ncat <<Q", "Q\necho ${item.y}"], True)
def test_results_are_those_of_one_by_one(texts: list[str], check_plain: bool) -> None:
    forget()
    found = plain(together(texts, check_plain=check_plain))
    forget()
    assert found == one_by_one(texts, check_plain=check_plain)


@pytest.mark.parametrize("check_plain", [False, pytest.param(True, marks=pytest.mark.chaos)])
def test_each_broken_text_among_good_ones(check_plain: bool) -> None:
    good = [Composer(seed).template().text for seed in range(3)]
    expected = one_by_one([*good, *BROKEN], check_plain=check_plain)
    for broken, result in zip(BROKEN, expected[len(good) :], strict=True):
        forget()
        found = plain(together([good[0], broken, *good[1:]], check_plain=check_plain))
        assert found == [expected[0], result, *expected[1:3]], broken


def test_pairs_of_broken_texts_that_complete_each_other() -> None:
    for first, second in [
        (first, second) for first in BROKEN[:34] for second in ("'", '"', ")", "E", "esac", "fi", "}", "`")
    ]:
        texts = [first, second, "echo ${item.x}", second]
        trees = batch.parse_together([text.encode() for text in texts if batch.can_share(text.encode())])
        assert trees is None or all(_parses(text) for text in texts if batch.can_share(text.encode())), texts


def _parses(text: str) -> bool:
    try:
        syntax.parse(text.encode())
    except syntax.ShellSyntaxError:
        return False
    return True


def test_a_whole_workflow_takes_three_processes(processes: list[list[str]]) -> None:
    texts = [Composer(seed).template().text for seed in range(50)] + [f"echo {n}" for n in range(20)]
    results = together(texts, check_plain=True)
    assert all(isinstance(result, ShellScript) for result in results)
    assert [arguments[1] for arguments in processes] == ["--to-json", "--to-json", "--noprofile"]
    together(texts, check_plain=True)
    compile_script(texts[0], check_plain=True)
    assert len(processes) == 3


def test_nothing_is_executed_while_it_is_checked(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    texts = ["touch CANARY", "$(touch CANARY)", "set +n\ntouch CANARY", '"\ntouch CANARY\n', "}\ntouch CANARY", "exit"]
    assert batch.read_by_bash([text.encode() for text in texts]) == [True, True, True, False, False, True]
    together([*texts, *(f"{text}\n: ${{item.x}}" for text in texts)], check_plain=True)
    assert list(tmp_path.iterdir()) == []


def test_texts_without_placeholders_are_checked_only_when_asked() -> None:
    assert together(["if", "echo"]) == [ShellScript(text="if"), ShellScript(text="echo")]
    bad, good = together(["echo\necho )\n", "echo"], check_plain=True)
    assert good == ShellScript(text="echo")
    assert isinstance(bad, ShellTextError)
    assert [(problem.line, problem.column) for problem in bad.problems] == [(2, 1)]
    assert "bash cannot read this: syntax error near unexpected token" in bad.problems[0].message
    with pytest.raises(ShellTextError, match="line 2"):
        compile_script("echo\necho )\n", check_plain=True)


def test_names_of_the_caller_count() -> None:
    (script,) = together(["echo ${fix.output}"], {"fix"})
    assert isinstance(script, ShellScript)
    assert script.variables[0].path == "fix.output"
    assert together(["echo ${fix.output}"]) == [ShellScript(text="echo ${fix.output}")]


def test_remembered_errors_are_new_ones_each_time() -> None:
    found = [together(["eval ${item.x}"])[0] for _ in range(2)]
    assert found[0] is not found[1]
    assert plain(found)[0] == plain(found)[1]


def test_memory_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell_words, "_MAX_REMEMBERED", 3)
    for number in range(10):
        compile_script(f"echo {number}")
    assert len(shell_words._compiled) <= 3
