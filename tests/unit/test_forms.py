"""Placeholders that are no path: what comes from outside, from JSON, and from a call."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodigy.errors import ProdigyError
from prodigy.workflow.interpolate import (
    SpecialScope,
    Unresolved,
    check_text,
    interpolate_text,
    lookup,
    parse_placeholders,
)
from prodigy.workflow.shell_words import BindError, compile_script
from shell_support import refusal


class Outside(dict[str, Any]):
    """A scope that knows everything but `missing`."""

    def special(self, kind: str, argument: str) -> object:
        if "missing" in argument:
            raise ProdigyError(f"there is no {argument}", hint="look elsewhere")
        return f"<{kind} {argument}>"


RESULTS = [{"output": {"n": 3}}, {"output": {"n": 5}}, {"output": None}]
SCOPE = Outside(item={"x": "v"}, fix='{"a": [{"b": 1}], "c d": "é"}', obj={"a": {"b": [7, 8]}})
SCOPE["map"] = {"results": RESULTS}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${env.HOME}", "<env HOME>"), ("${env:HOME}", "<env HOME>"), ("${env.A_1:-x}", "<env A_1>"),
        ("${env.missing:-x}", "x"), ("${env:missing|default:y|length:1}", "y"), ("${env.A|length:4}", "<env"),
        ("${file:a b/c.txt}", "<file a b/c.txt>"), ("${file:missing:-none}", "none"), ("${file:/x|length:5}", "<file"),
        ("${cmd:git rev-parse HEAD}", "<cmd git rev-parse HEAD>"), ("${cmd:a | b:-c}", "<cmd a | b:-c>"),
        ("${cmd:awk '{ print $1 }' f}!", "<cmd awk '{ print $1 }' f>!"), ("${cmd:echo ${HOME}}", "<cmd echo ${HOME}>"),
        ("${date:%Y-%m-%d %H:%M}", "<date %Y-%m-%d %H:%M>"), ("${uuid}", "<uuid >"), ("${uuid|length:3}", "<uu"),
        ("${json:a[0].b:from:fix}", "1"), ("${json:a.0.b:fix}", "1"), ("${json:$.a:from:fix}", '[{"b":1}]'),
        ('${json:["c d"]:from:fix}', "é"), ("${json:b:from:obj.a}", "[7,8]"), ("${json:b:from:obj.a|length}", "2"),
        ("${json:x:from:fix:-none}", "none"), ("${json:x:from:item.x|default:d}", "d"),
        ("${count(map.results)}", "3"), ("${sum(map.results[*].output.n)}", "8"),
        ("${average(map.results[*].output.n)|length:1}", "4"), ("${length(item.x)}", "1"),
        ("${collect(map.results[*].output.n):csv}", "3,5"), ("${concat(map.results[*].output.n, ')}')}", "3)}5"),
        ("${max(map.results[*].output.none)}", "null"), ("${max(map.results[*].output.none):-0}", "0"),
        ("${max(map.results[*].output.none)|default:1}", "1"), ("${max(map.results[*].output.n):-0}", "5"),
    ],
)  # fmt: skip
def test_forms_have_values(text: str, value: str) -> None:
    assert check_text(text) == []
    assert interpolate_text(f"é {text}.", SCOPE) == f"é {value}."


def test_a_scope_with_special_values_is_one_by_protocol() -> None:
    assert isinstance(SCOPE, SpecialScope)
    assert not isinstance({}, SpecialScope)


@pytest.mark.parametrize("text", ["${env.A}", "${env:A}", "${file:x}", "${cmd:ls}", "${date:%Y}", "${uuid}"])
def test_without_a_step_that_runs_they_have_no_value(text: str) -> None:
    with pytest.raises(Unresolved, match="no such value here"):
        interpolate_text(text, {"item": 1})


def test_an_environment_in_the_scope_is_asked_first() -> None:
    scope = Outside(env={"A": "own"})
    assert interpolate_text("${env.A} ${env:A} ${env.missing:-x}", scope) == "own own x"
    assert lookup(SCOPE, "env.A") == "<env A>"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("${env.missing}", r"\$\{env\.missing\} does not resolve: there is no missing", "look elsewhere"),
        ("${json:a:from:item.x}", "item.x is no JSON", None),
        ("${json:a:from:item.y}", "item has no y", "available: x"),
        ("${json:b:from:fix}", "fix has no b", "available: a, c d"),
    ],
)
def test_what_has_no_value_says_why(text: str, message: str, hint: str | None) -> None:
    with pytest.raises(Unresolved, match=message) as caught:
        interpolate_text(text, SCOPE)
    assert (caught.value.hint or None) == hint


@pytest.mark.parametrize(
    "text",
    [
        "${file:-x}", "${file:=x}", "${file:?x}", "${file:+x}", "${file:0:3}", "${file:2}", "${file: -1}", "${file:$n}",
        "${file:(-1)}", "${cmd:1:2}", "${date:0:10}", "${date:x}", "${json:0:10}", "${json:a}", "${uuid:0:8}",
        "${uuid%%-*}", "${env:0:3}", "${env}", "${env:-x}", "${file}", "${json}", "${summ(x)}", "${fn (x)}", "${#uuid}",
        "for file in *; do echo ${file:a:1}; done", "uuid=$(uuidgen); echo ${uuid}", "read -r file; echo ${file:n}",
        "if x; then cmd=a; fi; ${cmd:n:2}", "export uuid=a\n echo ${uuid}", "while read a uuid; do echo ${uuid}; done",
    ],
)  # fmt: skip
def test_what_looks_the_same_and_is_the_shells_is_left_to_it(text: str) -> None:
    assert parse_placeholders(text) == []


@pytest.mark.parametrize("text", ["uuid=${uuid}", "curl 'x?a=1&uuid=${uuid}'", 'export uuid="${uuid}"'])
def test_a_script_may_keep_our_value_under_its_name(text: str) -> None:
    assert [placeholder.path for placeholder in parse_placeholders(text)] == ["uuid"]


def test_a_name_of_the_workflow_is_no_form() -> None:
    (placeholder,) = parse_placeholders("${file:csv}", {"file"})
    assert (placeholder.path, placeholder.operator, placeholder.form) == ("file", ":csv", None)


@pytest.mark.parametrize(
    ("text", "column", "message", "cure"),
    [
        ("x ${sum(map.results}", 3, "no closing brace", "supported are"),
        ("x ${cmd:ls", 3, "no closing brace", "supported are"),
        ("x ${cmd:{}", 3, "no closing brace", "supported are"),
        ("x ${cmd:ls\n}", 3, "no closing brace", "supported are"),
        ("x ${sum(map.results) y}", 3, "` y` is not supported", "supported are"),
        ("x ${sum(map.results[)}", 20, "this is neither an index nor a key", "write [0]"),
        ("x ${sum()}", 5, "sum does not take 0 arguments", "write sum(x)"),
        ("x ${cmd:ls ${item.x}}", 3, "no placeholder can stand inside of a command", "capture"),
        ("x ${file:a/${item.x}}", 3, "the path of a file is text", "capture"),
        ("x ${file:${item}}", 3, "the path of a file is text", "capture"),
    ],
)
def test_mistakes_in_forms_are_told_at_their_place(text: str, column: int, message: str, cure: str) -> None:
    problem = check_text(text)[0]
    assert (problem.line, problem.column) == (1, column)
    assert message in problem.message
    assert cure in problem.cure


def test_mistakes_in_forms_are_told_in_shell_text_too() -> None:
    assert "no placeholder can stand inside" in refusal("echo ${cmd:ls ${item.x}}")[0]
    assert "sum does not take 0 arguments" in refusal("echo ${sum()}")[0]


def test_forms_are_words_of_a_script() -> None:
    script = compile_script(
        'echo ${date:%Y} "${env.A}" \'${cmd:echo "$(x)"}\' ${sum(map.results[*].output.n)}', {"map"}
    )
    bound = script.bind(SCOPE)
    assert list(bound.env.values()) == ["<date %Y>", "<env A>", '<cmd echo "$(x)">', "8"]
    assert b'echo "${PRODIGY_1}" "${PRODIGY_2}" \'\'"${PRODIGY_3}"\'\' "${PRODIGY_4}"' in bound.script
    with pytest.raises(BindError, match=r"\$\{env\.missing\} does not resolve"):
        compile_script("echo ${env.missing}").bind(SCOPE)


@given(st.text(alphabet="${}envfilcmdjsour:.()|- '\"%0\n") | st.text())
def test_any_text_is_parsed(text: str) -> None:
    for placeholder in parse_placeholders(f"${{cmd:{text}"):
        assert 0 <= placeholder.start < placeholder.end <= len(text) + 6
    check_text(text)
    check_text(f"${{sum({text})}}")
