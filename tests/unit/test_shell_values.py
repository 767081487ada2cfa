"""How values travel: large ones by file, `:file` always, `raw:` in the text."""

from __future__ import annotations

from pathlib import Path

import pytest

from prodigy.workflow.shell.checks import MAX_FILE_BYTES, MAX_VALUE_BYTES
from prodigy.workflow.shell_words import BindError, Bound, Variable, compile_script
from shell_support import make_recorder, problems, run_bound

LARGE = "é'\"$(touch CANARY)`x`\n\x01\x7f\\ " * 9_000


def bind(text: str, directory: str | None = "/step", **item: object) -> Bound:
    return compile_script(text).bind({"item": item}, directory)


def test_a_large_value_travels_by_file() -> None:
    bound = bind("echo ${item.x}\n${item.y}".replace("\n", " "), x=LARGE, y="small")
    assert bound.env == {"PRODIGY_2": "small"}
    assert bound.files == {"value-1": LARGE.encode() + b"\0"}
    assert bound.script.startswith(b"IFS= read -r -d '' PRODIGY_1 < /step/value-1 || ")
    assert bound.script.count(b"\n") == 0


def test_of_values_that_are_too_many_the_largest_travel_by_file() -> None:
    text = "echo " + " ".join(f"${{item.k{number}}}" for number in range(12))
    bound = bind(text, **{f"k{number}": "x" * (MAX_VALUE_BYTES - number) for number in range(12)})
    assert set(bound.files) == {"value-1", "value-2"}
    assert len(bound.env) == 10


def test_the_largest_value_of_the_environment_needs_no_file() -> None:
    assert bind("echo ${item.x}", x="x" * MAX_VALUE_BYTES).files == {}
    assert bind("echo ${item.x}", x="x" * (MAX_VALUE_BYTES + 1)).files
    assert bind("echo ${item.x}", x="é" * (MAX_VALUE_BYTES // 2 + 1)).files


def test_a_file_needs_a_directory() -> None:
    with pytest.raises(BindError, match="being over 100 KiB"):
        bind("echo ${item.x}", None, x=LARGE)
    with pytest.raises(BindError, match="no directory"):
        bind("cat ${item.x:file}", None, x="a")
    with pytest.raises(ValueError, match="absolute"):
        bind("cat ${item.x:file}", "step", x="a")


@pytest.mark.parametrize("text", ["echo ${item.x}", "cat ${item.x:file}", "echo ${raw:item.x}"])
def test_there_is_an_end_to_what_travels(text: str) -> None:
    with pytest.raises(BindError, match="larger than 64 MiB"):
        bind(text, x="x" * (MAX_FILE_BYTES + 1))


def test_large_values_arrive_byte_for_byte_and_are_not_inherited(tmp_path: Path) -> None:
    script = compile_script(
        "set -u\nprintf %s ${item.x} > out; printf '%s' \"a${item.x}$(printf %s ${item.y} | cat)\" > both\n"
        'rec env -- "$(env | grep -c PRODIGY || :)"; mv out both ..'
    )
    seen: list[bytes] = []

    def scope(directory: str) -> Bound:
        return script.bind({"item": {"x": LARGE, "y": LARGE + "y"}}, directory)

    programs = make_recorder(tmp_path)
    ran = run_bound(scope, programs, after=lambda work: seen.extend((work / n).read_bytes() for n in ("out", "both")))
    assert (ran.status, ran.stderr) == (0, b"")
    assert ran.calls == {"env": [[b"--", b"0"]]}
    assert seen == [LARGE.encode(), f"a{LARGE}{LARGE}y".encode()]
    assert not ran.hurt


def test_lines_are_those_of_the_author_when_values_are_large(tmp_path: Path) -> None:
    script = compile_script("echo ${item.x} > /dev/null\n\nnonesuch")
    ran = run_bound(lambda d: script.bind({"item": {"x": LARGE}}, d), make_recorder(tmp_path))
    # The recorder of the tests and the odd name of their directory add a line each.
    assert b"line 5: nonesuch" in ran.stderr


def test_a_script_does_not_run_without_its_values(tmp_path: Path) -> None:
    script = compile_script("set +e; touch ran; echo ${item.x}")
    for content in (None, b"no end"):

        def damaged(directory: str, content: bytes | None = content) -> Bound:
            bound = script.bind({"item": {"x": LARGE}}, directory)
            return bound._replace(files={} if content is None else {"value-1": content})

        ran = run_bound(damaged, make_recorder(tmp_path))
        assert ran.status == 1
        assert b"cannot read the value of PRODIGY_1" in ran.stderr
        assert "ran" not in ran.files


def test_a_value_of_some_size_is_read_whole(tmp_path: Path) -> None:
    value = "0123456789abcde\n" * (256 * 1024)
    script = compile_script("printf %s ${item.x} | wc -c | { read -r n; rec t -- $n; }")
    ran = run_bound(lambda d: script.bind({"item": {"x": value}}, d), make_recorder(tmp_path))
    assert b"4194304" in next(iter(ran.calls.values()))[0]


@pytest.mark.parametrize("value", ["", "-rf", LARGE, "a\n"])
def test_a_file_of_a_value_holds_just_the_value(value: str, tmp_path: Path) -> None:
    script = compile_script("cat ${item.x:file} > ../a; cat \"${item.x:file}\" '${item.x:file}' > ../b")
    seen: list[bytes] = []
    run_bound(
        lambda d: script.bind({"item": {"x": value}}, d),
        make_recorder(tmp_path),
        after=lambda work: seen.extend((work / name).read_bytes() for name in "ab"),
    )
    assert seen == [value.encode(), value.encode() * 2]


def test_a_file_is_a_path_to_the_checks() -> None:
    bound = bind("ls ${item.x:file} ${item.x}", "/st ep", x="rf")
    assert bound.env == {"PRODIGY_1": "/st ep/file-1", "PRODIGY_2": "rf"}
    assert bound.files == {"file-1": b"rf"}
    assert compile_script("ls ${item.x:file}").variables == (
        Variable(name="PRODIGY_1", path="item.x", operator=":file"),
    )
    with pytest.raises(BindError, match="absolute path"):
        bind("echo > ${item.x:file}", x="a")


@pytest.mark.parametrize("text", ["bash ${item.x:file}", "sh < ${item.x:file}", "source ${item.x:file}"])
def test_a_file_of_a_value_is_no_program(text: str) -> None:
    assert problems(text)


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("${raw:item.x} a", "echo  $y", "echo  $y a"),
        ("echo ${raw:item.x}", "a; echo b", "echo a; echo b"),
        ("echo ${raw:item.x}0${raw:item.x}", "1", "echo 101"),
        ("echo '${raw:item.x}'\"${raw:item.x}\"", "'", "echo '''\"'\""),
        ("case a in ${raw:item.x}) ;; esac", "a|b*", "case a in a|b*) ;; esac"),
        ("eval ${raw:item.x}", "ls", "eval ls"),
        ("echo $((${raw:item.x} + 1))", "a[0]", "echo $((a[0] + 1))"),
        ("cat <<'E'\n${raw:item.x}\nE\n", "$x", "cat <<'E'\n$x\nE\n"),
        ("cat <<E\n${raw:item.x}\nE\n", "$x", "cat <<E\n$x\nE\n"),
        ("echo `${raw:item.x}`", "ls", "echo `ls`"),
        ("${raw:item.x}() { :; }; x${raw:item.x}=1", "f", "f() { :; }; xf=1"),
        ("echo ${raw:item.x}", "PRODIGY_RAW_1_ ${item.x}", "echo PRODIGY_RAW_1_ ${item.x}"),
    ],
)
def test_raw_text_stands_where_it_is_written(text: str, value: str, expected: str) -> None:
    bound = bind(text, x=value)
    assert (bound.script.decode(), bound.env) == (expected, {})


def test_raw_text_and_values_side_by_side() -> None:
    script = compile_script("${raw:item.cmd} ${item.x} > out # ${raw:item.cmd} ${item.y}")
    assert script.raw == (Variable(name="PRODIGY_RAW_1_", path="item.cmd", operator="raw:"),)
    assert [variable.path for variable in script.variables] == ["item.x"]
    bound = script.bind({"item": {"cmd": "ls -l", "x": "a b"}})
    assert bound.script.decode().endswith('; ls -l "${PRODIGY_2}" > out # ${raw:item.cmd} ${item.y}')
    assert bound.env == {"PRODIGY_2": "a b"}
    with pytest.raises(BindError, match="begins with -"):
        script.bind({"item": {"cmd": "ls", "x": "-rf"}})


def test_scripts_say_whether_they_have_raw_text() -> None:
    assert compile_script("echo ${item.x}").raw == ()
    assert compile_script("echo # ${raw:item.x}").raw == ()
    assert compile_script("echo # ${raw:item.x}").text == "echo # ${raw:item.x}"
    assert compile_script("echo ${raw:item.x}").raw


def test_a_value_beside_raw_text_is_still_judged() -> None:
    for text in ("ls ${raw:item.r}${item.x}", "ls '${raw:item.r}'${item.x}"):
        with pytest.raises(BindError, match="begins with -"):
            bind(text, r="", x="-rf")
    assert problems("eval ${raw:item.r} ${item.x}")
    assert problems("echo PRODIGY_RAW_1_ ${item.x}")


@pytest.mark.parametrize(("value", "what"), [("a\0", "NUL"), ("\ud800", "lone surrogate")])
def test_raw_text_is_text(value: str, what: str) -> None:
    with pytest.raises(BindError, match=what) as caught:
        bind("echo ${raw:item.x}", x=value)
    assert caught.value.placeholder == "${raw:item.x}"
    with pytest.raises(BindError, match="does not resolve"):
        bind("echo ${raw:item.y}", x=value)
