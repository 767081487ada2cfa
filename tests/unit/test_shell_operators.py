"""`%`, `%%`, `#` and `##` on our names: what bash makes of the same pattern, whatever the quotes around it."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from prodigy.workflow.interpolate import parse_placeholders
from prodigy.workflow.shell.operators import apply, objection
from prodigy.workflow.shell_words import BindError, compile_script
from shell_support import BASH, refusal

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


def test_no_pattern_takes_long() -> None:
    assert apply("%%*a*a*a*a*a*a*a*a*b", "a" * 100_000) == "a" * 100_000
    assert apply("##*a*a*a*a*a*a*a*a*b", "a" * 100_000) == "a" * 100_000
