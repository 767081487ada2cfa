"""The expression language: what each operator, function and path means, and how mistakes are told."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from types import MappingProxyType

import pytest

from prodigy.errors import UsageError
from prodigy.workflow.expression import (
    MISSING,
    ExpressionError,
    Place,
    compile_expression,
    compile_sort,
    item_finder,
    scope_finder,
)

ITEM = {
    "score": 5,
    "ratio": 2.5,
    "status": "open",
    "name": "src/a.py",
    "done": True,
    "stale": False,
    "none": None,
    "tags": ["a", "b", 5, None],
    "numbers": [3, 1.5, "x", True, None],
    "words": ["b", "a"],
    "empty": [],
    "nested": {"deep": {"x": 1}, "k v": 2, "dash-ed": 3, "5": "five"},
    "parts": [{"n": 1}, {"n": 2, "list": [1, 2]}, {"m": 3, "list": [3]}],
    "count": 7,
    "contains": "field",
    "desc": "text",
    "größe": 1,
    "_index": 4,
    "file": {"exists": False},
}


def holds(text: str, item: object = ITEM) -> bool:
    return compile_expression(text).holds(item_finder(item))


def value(text: str, item: object = ITEM) -> object:
    return compile_expression(text).value(item_finder(item))


TRUE = """
score == 5
score = 5
score == 5.0
score != 6
score == -5 || score == 5e0
5 == score
score > 4.9
score >= 5
score < 6
score <= 5
ratio == 2.5
name > 'src'
name < 'z' and name >= "a"
status == 'open'
status == "open"
done
done == true
!stale
stale == false
score in [1, 5.0]
score not in [1, 2]
score NOT   IN []
status in ['closed', "open"]
5 in tags
'a' in tags
null in tags
'rc/a' in name
'deep' in nested
true not in [1]
tags contains 'a'
tags contains 5.0
name contains 'a.py'
nested contains 'deep'
contains(name, 'src')
CONTAINS(tags, "b")
name starts_with 'src'
name startswith 'src'
starts_with(name, 'src') and StartsWith(name, 'src')
name ends_with '.py'
name endswith '.py'
ends_with(name, '.py') and endswith(name, '.py')
name matches '^src/.*\\.py$'
name MATCHES "a"
matches(name, 'a\\.py')
name matches status || name matches name
is_null(none)
is_null(nothing)
is_null(nothing.at.all)
is_not_null(score)
is_number(score) && is_number(ratio)
is_string(name)
is_bool(done) && is_bool(stale)
is_array(tags)
is_object(nested)
exists(score)
exists(none)
!exists(nothing)
exists(${item.none})
exists(parts[*].n)
!exists(parts[*].nothing)
exists(tags[*])
${score.exists}
${item.score.exists}
!${nothing.exists}
!${file.exists}
exists(${score.exists})
length(name) == 8
length(tags) == 4
length(nested) = 4
length(tags, 4)
length(name, 8.0)
is_null(length(score))
count(tags) == 4
count(nothing) == 0
count(score) == 1
count(parts[*].n) == 2
sum(numbers) == 4.5
sum(nothing) == 0
sum(score) == 5
min(numbers) == 1.5
max(numbers) == 3
min(words) == 'a' && max(words) == 'b'
avg(numbers) == 2.25
average(numbers) == avg(numbers)
is_null(avg(empty)) && is_null(min(empty)) && is_null(max(nothing))
max(parts[*].list[*]) == 3
nothing == null
none == null
nothing == none
null = nothing
nothing != 'x'
score != null
status != closed
is_null(closed)
tags == ['a', 'b', 5.0, null]
tags != ['a', 'b', 5, false]
[score, [status]] == [5, ['open']]
[] == empty
nested.deep.x == 1
nested['k v'] == 2
nested["k v"] == 2
nested.dash-ed == 3
nested.5 == 'five'
tags[0] == 'a'
tags.0 == 'a'
tags[1] == 'b' && tags[9] == null
parts[1].n == 2
parts[*].n == [1, 2]
parts[*].list[*] == [1, 2, 3]
nested[*] contains 3
größe == 1
_index == 4
count > 6
contains == 'field'
item.contains contains 'iel'
desc == 'text'
in == null
item.score == score
${item.score} == ${score}
${nested['k v']} == 2
${parts[*].n} == [1, 2]
item contains 'score'
score==5&&status=='open'
score == 5 AND status == 'open'
score == 6 or status == 'open'
score == 6 OR NOT (status == 'x')
not score == 6
!(score == 6)
!!done
!stale && done
!(stale && done)
stale && stale || done
done || stale && stale
not stale and not stale
(((done)))
score
0
''
[]
numbers
1 == 1.0 && 9007199254740993 != 9007199254740992.0
'it\\'s' == "it's"
"a\\"b" == 'a"b'
'\\u0041\\u00e9' == 'Aé'
'\\ud83d\\ude00' == '😀'
'\\\\d' == '\\d'
'a\\tb' == "a\tb"
 \t score \t > \t 1 \t
""".strip("\n").split("\n")

FALSE = """
score == '5'
score == true
1 == true
true == 1
0 == false
false == 0
'true' == true
null == false
0 == null
'' == null
score > '4'
name > 5
done > false
null < 1
nothing < 1
nothing >= nothing
null <= null
tags > 1
nothing == 'x'
nothing != null
score == null
null
nothing
stale
!done
!score
!''
tags contains true
tags contains '5'
score contains 5
name contains 5
nothing contains 'x'
nested contains 5
contains(score, '5')
score in nothing
score in 5
true in [1, 'true']
1 in [true]
score starts_with '5'
name starts_with nothing
name ends_with 5
nothing ends_with ''
score matches '5'
nothing matches ''
name matches '^SRC'
name matches contains
name matches nothing
name matches score
is_null(score)
is_not_null(nothing)
is_not_null(none)
is_number(done)
is_number(status)
is_string(score)
is_bool(score)
is_bool(nothing)
is_array(name)
is_object(tags)
exists(nothing)
exists(nested.deep.y)
exists(tags[4])
length(tags, '4')
length(score, null)
length(nothing, 0)
tags[*] == 'a'
name[*] == name
item.item == item
score.x == 5
file.exists
nothing.exists
status.exists
stale || stale
done && stale
stale && done || stale
!done || stale
not (done)
done == (score == 6)
parts[*].list == [1, 2, 3]
""".strip("\n").split("\n")


@pytest.mark.parametrize("text", TRUE)
def test_it_holds(text: str) -> None:
    assert holds(text) is True


@pytest.mark.parametrize("text", FALSE)
def test_it_does_not_hold(text: str) -> None:
    assert holds(text) is False


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("score", 5),
        ("nothing", None),
        ("none", None),
        ("tags[*]", ["a", "b", 5, None]),
        ("[score, nothing, done && 1]", [5, None, True]),
        ("length(tags)", 4),
        ("length(done)", None),
        ("sum(numbers)", 4.5),
        ("sum(empty)", 0),
        ("avg(tags)", 5.0),
        ("min(tags)", 5),
        ("score == 5", True),
        ("score && nothing", False),
        ("${score.exists}", True),
        ("-1.5e2", -150.0),
        ("'x'", "x"),
    ],
)
def test_an_expression_has_a_value(text: str, expected: object) -> None:
    found = value(text)
    assert (found, type(found)) == (expected, type(expected))


def test_an_unknown_escape_stays_so_that_regexes_read_naturally() -> None:
    assert value(r"'\d+\.\b'") == r"\d+\.\b"
    assert holds(r"name matches '\bsrc\b'")


@pytest.mark.parametrize("huge", [[10**400, 1.5], [1.5, 10**400]])
def test_numbers_beyond_all_floats_have_no_sum(huge: list[float]) -> None:
    assert value("[sum(item), avg(item), max(item)]", huge) == [None, None, 10**400]


def test_a_mean_of_integers_beyond_all_floats_is_null() -> None:
    assert value("avg(item)", [10**400]) is None


def test_nan_equals_nothing_and_is_not_the_smallest() -> None:
    item = {"x": float("nan"), "list": [float("nan"), 2, 1]}
    assert value("[x == x, x < 1, x >= 1, min(list), max(list)]", item) == [False, False, False, 1, 2]


def test_deep_values_are_compared_without_recursion() -> None:
    one: object = 1
    other: object = 1.0
    for _ in range(50_000):
        one, other = [one], [other]
    assert holds("a == b && b in [a]", {"a": one, "b": other})


def test_values_that_json_does_not_have_compare_by_themselves() -> None:
    item = {"day": date(2025, 1, 2), "same": date(2025, 1, 2), "map": MappingProxyType({"a": (1, 2)}), "raw": b"x"}
    assert holds("day == same && !(day < same) && map.a[1] == 2 && map == map && raw[*] == null", item)
    assert value("[length(raw), is_array(raw), is_array(map.a)]", item) == [None, False, True]


def test_a_lone_surrogate_can_be_searched() -> None:
    assert holds("name matches 'b$'", {"name": "a\ud800b"})
    assert not holds("name matches other", {"name": "a", "other": "\ud800"})


class TestPaths:
    @pytest.mark.parametrize("text", ["item", "${item}", "item.item", "item.value", "value", "item.path", "path"])
    def test_a_plain_line_answers_to_several_names(self, text: str) -> None:
        assert value(text, "src/a.py") == "src/a.py"

    def test_a_plain_line_has_a_base_name(self) -> None:
        assert value("[name, item.name]", "src/lib/") == ["lib", "lib"]

    def test_a_number_has_a_value_but_no_path(self) -> None:
        assert value("[item, item.value, value, path, item.name]", 5) == [5, 5, 5, None, None]

    def test_a_list_has_elements(self) -> None:
        assert value("[item[0], item[*], item.1, value]", [1, 2]) == [1, [1, 2], 2, None]

    def test_the_root_comes_before_a_key_called_item(self) -> None:
        both = {"score": 1, "item": {"score": 2, "other": 3}}
        assert value("[item.score, item.item.score, item.other, item[*]]", both) == [1, 2, 3, [1, both["item"]]]

    def test_the_finder_tells_missing_from_null(self) -> None:
        find = item_finder({"a": None, "b": "x"})
        assert find("a") is None
        assert [find(path) for path in ("c", "a.b", "b.c", "b[0]", "b[*]", "item.c")] == [MISSING] * 6

    def test_a_scope_is_read_as_placeholders_are(self) -> None:
        scope = {"fix.successful": 3, "x": {"y": 1}, "map.results": [{"id": "a"}, {}], "env.HOME": "/home"}
        find = scope_finder(scope)
        text = "${fix.successful} > 0 && x.y == 1 && ${map.results[*].id} == ['a'] && map.results[0].id == 'a'"
        assert compile_expression(text).holds(find)
        assert compile_expression("${env:HOME} == env.HOME && ${env.HOME} == '/home'").holds(find)
        assert [find(path) for path in ("fix", "fix.failed", "y", "x[*].z", "x.y[*]")] == [MISSING] * 3 + [[], MISSING]

    def test_exists_asks_a_scope(self) -> None:
        find = scope_finder({"scan": None})
        assert compile_expression("${scan.exists} && !${fix.exists} && exists(scan)").holds(find)

    def test_paths_are_told_with_their_places(self) -> None:
        text = "${fix.successful} > 0 && exists(a.b)\n&& ${c.exists} || a.b in [x, 'y'] && status == open && z in w"
        expression = compile_expression(text)
        assert expression.paths == ("fix.successful", "a.b", "c", "x", "status", "open", "z", "w")
        assert expression.places == (
            Place("fix.successful", 1, "value"),
            Place("a.b", 33, "presence"),
            Place("c", 41, "presence"),
            Place("a.b", 56, "value"),
            Place("x", 64, "word"),
            Place("status", 75, "value"),
            Place("open", 85, "word"),
            Place("z", 93, "value"),
            Place("w", 98, "value"),
        )
        assert [place.use for place in compile_expression("a == ${b} && a == b.c && a < item").places][-1] == "word"
        assert all(text[place.column - 1 :].startswith((place.path, "${" + place.path)) for place in expression.places)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("a=1 and not b or C", "a == 1 && !b || C"),
        ('contains(a, "it\'s")', "a contains 'it\\'s'"),
        ("StartsWith( a,'b' )", "a starts_with 'b'"),
        ("(a or b) and c", "(a || b) && c"),
        ("!(a && b)", "!(a && b)"),
        ("!(a == b)", "!a == b"),
        ("(a == b) == (not c)", "(a == b) == (!c)"),
        ("a  NOT  in [1,'x',TRUE,null]", "a not in [1, 'x', true, null]"),
        ("${a.exists}==True", "${a.exists} == true"),
        ("AVERAGE(a[*].b)>-0.0", "avg(a[*].b) > -0.0"),
        ("(a && b) && c", "(a && b) && c"),
        ("'\\t\\n\\\\'", "'\\t\\n\\\\'"),
    ],
)
def test_the_canonical_text_reads_the_same(text: str, canonical: str) -> None:
    expression = compile_expression(text)
    assert str(expression) == canonical
    assert compile_expression(canonical) == expression
    assert repr(compile_expression(canonical).node) == repr(expression.node)


def test_expressions_are_equal_when_they_mean_the_same_nodes() -> None:
    assert compile_expression("a = 1 and b") == compile_expression(" a==1 && b")
    assert len({compile_expression(text) for text in ("a == 1", "a == 1.0", "a == true", "a == '1'", "a=1")}) == 4


@pytest.mark.parametrize(
    ("text", "column", "message", "hint"),
    [
        ("", 1, "nothing here", "score >= 5"),
        ("  \n", 1, "nothing here", "score >= 5"),
        ("a ==  ", 5, "ends too early", "a value is expected"),
        ("not", 4, "ends too early", "a value is expected"),
        ("a && (b || c ", 13, "ends too early", "the ( at column 6 is not closed"),
        ("x == '(' && f[0] in ['[', 2", 28, "ends too early", "the [ at column 21 is not closed"),
        ("a)", 2, "`)` is not expected", "an operator is expected"),
        ("a b", 3, "`b` is not expected", "an operator is expected"),
        ("a\n  && &&", 8, "`&&` is not expected", "a value is expected"),
        ("a == !b", 6, "`!` is not expected", "a value is expected"),
        ("a in [1 2]", 9, "`2` is not expected", "an operator is expected"),
        ("a[-1] > 0", 2, "neither an index nor a key", "counted from the start"),
        ("a..b", 2, "`..b` is not expected", "an operator"),
        ("1 < x < 5", 7, "do not chain", "a < b && b < c"),
        ("a in b not in c", 8, "do not chain", "&&"),
        ("a == 5x", 6, "`5x` is not a number", "quotes"),
        ("a == 1.2.3", 6, "`1.2.3` is not a number", "quotes"),
        ("a == " + "1" * 50 + "x", 6, "`" + "1" * 40 + "…` is not a number", "quotes"),
        ("a & b", 3, "single &", "write &&"),
        ("a | b", 3, "single |", "write ||"),
        ("a + 1 > 2", 3, "no arithmetic", "compare with a number"),
        ("a * 2", 3, "no arithmetic", ""),
        ("a matches /x/", 11, "no arithmetic", "a regex is a text"),
        ("a == 'b", 6, "does not end", "close it with '"),
        ('a == "b', 6, "does not end", 'close it with "'),
        ("a == 'b' 'c'", 10, "`'` is not expected", "an operator"),
        ("${a:-1} > 0", 1, "not a variable", "without default"),
        ("1 < $a", 5, "not a variable", "${path}"),
        ("a && lenght(b)", 6, "no function lenght", "did you mean length?"),
        ("starts-with(a, 'b')", 1, "no function starts-with", "did you mean starts_with?"),
        ("qqq(a)", 1, "no function qqq", "functions are contains, "),
        ("length()", 1, "length does not take 0 arguments", "length(x) or length(x, N)"),
        ("a || length(1, 2, 3)", 6, "length does not take 3 arguments", "length(x) or length(x, N)"),
        ("contains(a)", 1, "contains does not take 1 argument", "contains(x, y)"),
        ("is_null(a, b)", 1, "is_null does not take 2 arguments", "is_null(x)"),
        ("exists('a')", 1, "exists takes a path", "exists(item.x)"),
        ("a matches '('", 11, "this regex is wrong: missing )", "RE2"),
        ("matches(a, '(?=b)')", 12, "this regex is wrong", "look-around"),
        ("matches(a, ('(a)\\\\1'))", 13, "this regex is wrong", "back references"),
        ("a matches '(a{1000}){1000}'", 11, "this regex is wrong", ""),
        ("a matches 5", 11, "a regex is a text", ""),
        ("a > 1e999", 5, "too large", "1.8e308"),
        ("a > " + "9" * 5000, 5, "too long", "300"),
        ("a[" + "9" * 5000 + "]", 1, "too long", "300"),
        ("a." + "9" * 5000, 1, "too long", "300"),
        ("a" * 10_001, 10_001, "too long: 10,001 characters, at most 10,000", ""),
        ("(" * 4_900 + "a" + ")" * 4_900, 65, "nested more than 64 deep", ""),
        ("!" * 9_000 + "a", 65, "nested more than 64 deep", ""),
        ("[" * 4_900 + "]" * 4_900, 65, "nested more than 64 deep", ""),
        ("is_null(" * 1_000 + "a" + ")" * 1_000, 64 * 8 + 1, "nested more than 64 deep", ""),
        ("(" * 10_000, 10_001, "ends too early", ""),
        ("\x00", 1, "is not expected", ""),
    ],
)
def test_a_mistake_is_told_with_its_column(text: str, column: int, message: str, hint: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text)
    assert isinstance(caught.value, UsageError)
    assert caught.value.column == column
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")
    assert str(caught.value).startswith(f"column {column}: ")


def test_64_levels_and_many_terms_are_no_problem() -> None:
    assert holds("(" * 64 + "a" + ")" * 64, {"a": 1})
    assert holds(" || ".join(["a == 1"] * 990), {"a": 1})


class TestSort:
    @pytest.mark.parametrize(
        ("text", "order"),
        [
            ("n", "1 2 3 5 0 4"),
            ("n asc", "1 2 3 5 0 4"),
            ("n ASCENDING NULLS LAST", "1 2 3 5 0 4"),
            ("n DESC", "3 5 1 2 0 4"),
            ("-n", "3 5 1 2 0 4"),
            ("- item.n descending", "3 5 1 2 0 4"),
            ("${item.n} desc nulls first", "0 4 3 5 1 2"),
            ("item.n NULLS  FIRST", "0 4 1 2 3 5"),
            ("g, -n", "3 2 0 5 1 4"),
            ("g DESC, n NULLS FIRST", "4 1 5 0 2 3"),
            ("nothing", "0 1 2 3 4 5"),
            ("nothing DESC", "0 1 2 3 4 5"),
            ("list[1].x", "2 5 0 1 3 4"),
            ("-list[*]", "2 5 0 1 3 4"),
            ("list.1['x'] DESC, g", "5 2 0 3 1 4"),
        ],
    )
    def test_items_come_in_this_order(self, text: str, order: str) -> None:
        items: list[dict[str, object]] = [
            {"i": 0, "n": None, "g": "a"},
            {"i": 1, "n": 1, "g": "b"},
            {"i": 2, "n": 1.0, "g": "a", "list": [0, {"x": 1}]},
            {"i": 3, "n": 2.5, "g": "a"},
            {"i": 4, "g": "b"},
            {"i": 5, "n": 2.5, "g": "ab", "list": [0, {"x": 2}]},
        ]
        assert " ".join(str(item["i"]) for item in compile_sort(text).sorted(items)) == order

    def test_kinds_come_in_one_order_and_nulls_last(self) -> None:
        numbers = [-1, 0, 0.5, 10**400, float("inf"), float("nan")]
        ordered: list[object] = [False, True, *numbers, "", "B", "a", "é"]
        ordered += [[], ["z"], [1, 2], {}, {"a": 1}, {"a": 1, "b": 2}]
        items = [{"v": each} for each in ordered]
        assert compile_sort("v").sorted([{}, *reversed(items), {"v": None}]) == [*items, {}, {"v": None}]
        assert compile_sort("v DESC").sorted([{}, *items, {"v": None}]) == [*reversed(items), {}, {"v": None}]

    def test_plain_items_sort_by_themselves(self) -> None:
        assert compile_sort("-item").sorted(["b", "c", "a"]) == ["c", "b", "a"]
        assert compile_sort("name").sorted(["x/b", "y/a"]) == ["y/a", "x/b"]

    def test_the_key_agrees_with_the_order(self) -> None:
        sort = compile_sort("a DESC, b NULLS FIRST")
        assert sort.key({"a": "y"}) < sort.key({"a": "x"}) < sort.key({"a": "x", "b": 0}) < sort.key({})
        assert sort.key({"a": "x"}) == sort.key({"a": "x", "c": 1})

    def test_a_sort_tells_its_paths_and_prints_canonically(self) -> None:
        sort = compile_sort(" -item.a nulls first,b[*]  asc, a")
        assert sort.paths == ("item.a", "b[*]", "a")
        assert [place.column for place in sort.places] == [3, 22, 33]
        assert str(sort) == "item.a DESC NULLS FIRST, b[*], a"
        assert compile_sort(str(sort)) == sort

    def test_words_of_the_language_may_be_fields(self) -> None:
        assert str(compile_sort("desc desc, nulls, count ASC")) == "desc DESC, nulls, count"

    @pytest.mark.parametrize(
        ("text", "column", "message"),
        [
            ("", 1, "nothing here"),
            ("a nulls", 3, "NULLS must be followed by FIRST or LAST"),
            ("a desc NULLS maybe", 8, "NULLS must be followed by FIRST or LAST"),
            ("a down", 3, "`down` is not expected"),
            ("a desc nulls last again", 19, "`again` is not expected"),
            ("a,", 3, "ends too early"),
            (",a", 1, "`,` is not expected"),
            ("a b", 3, "`b` is not expected"),
            ("-a ASC", 4, "`-` means DESC"),
            ("length(a)", 7, "`(` is not expected"),
            ("5", 1, "`5` is not expected"),
            ("a," * 5_001, 10_001, "too long"),
            ("a." + "9" * 5000, 1, "too long"),
        ],
    )
    def test_a_mistake_is_told_with_its_column(self, text: str, column: int, message: str) -> None:
        with pytest.raises(ExpressionError) as caught:
            compile_sort(text)
        assert caught.value.column == column
        assert message in caught.value.message


def test_importing_the_module_loads_neither_the_grammar_nor_the_regexes() -> None:
    check = "import sys, prodigy.workflow.expression; sys.exit('lark' in sys.modules or 're2' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)
