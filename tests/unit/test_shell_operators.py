"""`%`, `%%`, `#` and `##` on our names: what bash makes of the same pattern, whatever the quotes around it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from prodigy.workflow.formats import Names
from prodigy.workflow.interpolate import interpolate_text, parse_placeholders
from prodigy.workflow.shell.operators import apply, objection
from prodigy.workflow.shell_words import BindError, compile_script
from shell_support import BASH, HOSTILE_VALUES, make_recorder, refusal, run_bound

PATTERNS = st.text(alphabet="ab.*?[]!-/\\é^", min_size=1, max_size=8)
OPERATORS = ("%", "%%", "#", "##")


def by_bash(operator: str, values: list[str]) -> list[str]:
    script = f"for x; do printf '%s\\0' \"${{x{operator}}}\"; done"
    done = subprocess.run(
        [*BASH, "-c", script, "_", *values], capture_output=True, env={"LC_ALL": "C.UTF-8"}, timeout=60, check=True
    )
    return done.stdout.decode().split("\0")[:-1]


def is_accepted(operator: str) -> bool:
    found = parse_placeholders(f"${{item.x{operator}}}")
    return len(found) == 1 and found[0].operator == operator and objection(found[0]) is None


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        ("%.js", "a.js", "a"), ("%.js", "a.ts", "a.ts"), ("%.*", "a.b.c", "a.b"), ("%%.*", "a.b.c", "a"),
        ("#*/", "a/b/c", "b/c"), ("##*/", "a/b/c", "c"), ("%/*", "a/b/c", "a/b"), ("%%/*", "a/b/c", "a"),
        ("#a", "aa", "a"), ("##a", "aa", "a"), ("%%*", "abc", ""), ("%*", "abc", "abc"), ("##*", "abc", ""),
        ("#?", "éx", "x"), ("%?", "a\n", "a"), ("%[0-9]", "a12", "a1"), ("%%[!a]*", "abac", "a"), ("#[]a]", "]x", "x"),
        (r"#\*", "*x", "x"), (r"%\%", "5%", "5"), (r"#\#", "#x", "x"), ("% *", "a b", "a"), ("#[a", "[ab", "b"),
        ("%x*y*z", "axbyczyz", "axbyczyz"[:1]), ("#a*b*c", "aabbccbc", "cbc"), ("##a*b*c", "aabbccbcd", "d"),
        ("#[a-c-]", "-x", "x"), ("%a b", "xa b", "x"), ("#[a&&b]", "&x", "x"),
    ],
)  # fmt: skip
def test_an_operator_cuts_like_bash(operator: str, value: str, expected: str) -> None:
    assert is_accepted(operator)
    assert apply(operator, value) == expected
    assert by_bash(operator, [value]) == [expected]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(OPERATORS), PATTERNS, st.lists(st.text(alphabet="ab.-/é!^]*", max_size=7), min_size=5, max_size=20)
)
@example("%", "*a*", ["aaa", "bab", "a", ""])
def test_any_accepted_pattern_cuts_like_bash(operator: str, pattern: str, values: list[str]) -> None:
    if is_accepted(operator + pattern):
        assert [apply(operator + pattern, value) for value in values] == by_bash(operator + pattern, values)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("${item.x%$y}", "holds an expansion"), ("${item.x%`ls`}", "holds an expansion"),
        ("${item.x%${item.y}}", "holds an expansion"), ("${item.x%'a'}", "holds a quote"),
        ('${item.x#"a"}', "holds a quote"), ("${item.x%@(a)}", "extended glob"), ("${item.x%[[:digit:]]}", "class"),
        ("${item.x#~/}", "tilde"), ("${item.x%a\\}", "ends in a backslash"), ("${item.x%[z-a]}", "[...] that is none"),
        ("${item.x%}", "not supported"), ("${#item.x}", "not supported"), ("${#item.x%a}", "not supported"),
        ("${!item.x#a}", "not supported"), ("${item.x/a/b}", "not supported"), ("${item.x^^}", "not supported"),
        ("${raw:item.x%a}", "not supported"), ("${item.x:file:json}", "not supported"), ("${item.x%a", "closing brace"),
        ("${item.x%.js|default:y}", "not supported"), ("${item.x#a:json}", "not supported"),
        ("${item.x%.js:file}", "not supported"), ("${item.x:json%a}", "not supported"),
        ("${item.x|length:3%a}", "not supported"), ("${item.x:*.md%.md}", "not supported"),
        ("${item.x|upper}", "not supported"), ("${raw:item.x:file}", "not supported"), ("${item.x|length:file}", "not"),
    ],
)  # fmt: skip
def test_what_is_no_literal_pattern_is_refused(text: str, reason: str) -> None:
    message, cure = refusal(f"echo {text}")
    assert reason in message
    assert cure


def test_an_escaped_dollar_sign_is_literal() -> None:
    assert compile_script(r"echo ${item.x%\$y}").bind({"item": {"x": "a$y"}}).env == {"PRODIGY_1": "a"}
    assert "expansion" in refusal(r"echo ${item.x%\\$y}")[0]


def test_each_operator_has_a_variable_and_the_same_ones_share_it() -> None:
    script = compile_script("echo ${item.x%.js} ${item.x} '${item.x%.js}' ${item.x%%.*}")
    assert script.text.endswith("""echo "${PRODIGY_1}" "${PRODIGY_2}" ''"${PRODIGY_1}"'' "${PRODIGY_3}\"""")
    assert script.bind({"item": {"x": "a.b.js"}}).env == {
        "PRODIGY_1": "a.b", "PRODIGY_2": "a.b.js", "PRODIGY_3": "a",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "good", "bad"),
    [
        ("ls ${item.x#a}", "-rf", "a-rf"), ("echo > ${item.x#a}", "ax", "a/etc/passwd"),
        ("echo $((${item.x%.txt}))", "12.txt", "a.txt"), ("n=${item.x%.txt}; echo $((n))", "12.txt", "x.txt"),
    ],
)  # fmt: skip
def test_the_checks_judge_what_arrives(text: str, good: str, bad: str) -> None:
    script = compile_script(text)
    if not text.startswith("ls"):
        assert script.bind({"item": {"x": good}})
    with pytest.raises(BindError, match=r"\$\{item\.x[#%]"):
        script.bind({"item": {"x": bad}})


FORMATS = (":json", ":lines", ":csv", ":*a*", ":*:json", "|length", "|length:3", "|default:d", ":csv|length:9", ":-d")


@pytest.mark.parametrize("operator", [*FORMATS, ":file", ":json:file"])
def test_cutting_does_not_combine_with_the_rest_and_says_so(operator: str) -> None:
    # Behind `%` a colon and a star are a pattern (`%:*` takes a port away), and a default takes all that follows it.
    if operator not in (":-d", ":*a*", ":*:json"):
        assert refusal(f"echo ${{item.x%.js{operator}}}")
    if operator not in (":-d", "|default:d"):
        assert refusal(f"echo ${{item.x{operator}%.js}}")


@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(FORMATS), st.sampled_from(HOSTILE_VALUES[:-2])), min_size=12, max_size=12))
def test_values_arrive_byte_for_byte_after_modifiers_and_filters(cases: list[tuple[str, str]]) -> None:
    """Each as a word, in both kinds of quotes, and in a here-document."""
    names = [f"${{item.k{number}{operator}}}" for number, (operator, _) in enumerate(cases)]
    item = {f"k{number}": [value, "a b"] for number, (_, value) in enumerate(cases)}
    words = " ".join(f"{name} \"{name}\" '{name}'" for name in names)
    text = f"rec word -- {words}\ncat > ../out <<END\n{'|'.join(names)}\nEND\n"
    wanted = [interpolate_text(name, {"item": item}) for name in names]
    seen: list[bytes] = []
    with TemporaryDirectory() as directory:
        ran = run_bound(
            lambda step: compile_script(text).bind({"item": item}, step),
            make_recorder(Path(directory)),
            after=lambda work: seen.append((work / "out").read_bytes()),
        )
    assert ran.calls == {"word": [[b"--", *(one.encode() for one in wanted for _ in range(3))]]}
    assert seen == ["|".join(wanted).encode() + b"\n"]
    assert not ran.hurt


def test_the_checks_judge_what_modifiers_and_filters_leave() -> None:
    for text, good, bad in (
        ("ls ${item.x:csv}", ["a", "-b"], ["-a", "b"]),
        ("echo $((${item.x|length} + ${item.y|default:2}))", "abc", None),
        ("echo > ${item.x|length:3}", "abc/../..", "../x"),
        ("ls ${item.x:*.md}", Names(("-a", "b.md")), Names(("-a.md",))),
    ):
        assert compile_script(text).bind({"item": {"x": good}})
        if bad is not None:
            with pytest.raises(BindError, match=r"\$\{item\.x[:|]"):
                compile_script(text).bind({"item": {"x": bad}})


@pytest.mark.parametrize(
    ("text", "script", "files"),
    [
        ("echo ${item.names}", 'echo "${PRODIGY_1}"', {}),
        ("cat ${item.names:lines:file}", 'cat "${PRODIGY_1}"', {"file-1": b"a b\nc"}),
        ("cat ${item.none:file:-x}", 'cat "${PRODIGY_1}"', {"file-1": b"x"}),
        ("make ${raw:item.none:-all} ${raw:item.names:csv}", "make all a b,c", {}),
        ("make ${raw:item.none|default:-k|length:2}", "make -k", {}),
        ("echo ${item.none|default:file}", 'echo "${PRODIGY_1}"', {}),
    ],
)
def test_files_and_raw_text_take_modifiers_and_defaults(text: str, script: str, files: dict[str, bytes]) -> None:
    bound = compile_script(text).bind({"item": {"names": Names(("a b", "c"))}}, "/step")
    assert bound.script.decode().endswith(script)
    assert bound.files == files


def test_no_pattern_takes_long() -> None:
    assert apply("%%*a*a*a*a*a*a*a*a*b", "a" * 100_000) == "a" * 100_000
    assert apply("##*a*a*a*a*a*a*a*a*b", "a" * 100_000) == "a" * 100_000
