"""Whatever stands in a file, an expression or a text: what comes out is a result or an error of ours."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from prodigy.errors import ProdigyError
from prodigy.workflow.expression import ExpressionError, compile_expression, compile_sort, item_finder
from prodigy.workflow.interpolate import check_text, interpolate_text
from prodigy.workflow.load import parse
from prodigy.workflow.migrate import is_workflow, migrate
from unit.language_values import VALUES, WORKFLOWS, as_yaml


@given(WORKFLOWS)
@settings(max_examples=200, deadline=None)
def test_any_value_under_any_key_loads_or_is_refused(value: object) -> None:
    text = as_yaml(value)
    with suppress(ProdigyError):
        workflow = parse(text, "w.yml").workflow
        assert type(workflow).model_validate_json(workflow.model_dump_json()) == workflow


@given(WORKFLOWS)
@settings(max_examples=60, deadline=None)
def test_what_loads_can_be_migrated(value: object) -> None:
    text = as_yaml(value)
    is_workflow(text)
    with suppress(ProdigyError):
        migrate(text, "w.yml")


_EXPRESSION_PARTS = st.lists(
    st.one_of(
        st.sampled_from(list("()[]{}!=<>&|,.$'\"*%-\\\n ")),
        st.sampled_from(["==", "&&", "||", "and", "or", "not", "in", "matches", "contains", "starts_with"]),
        st.sampled_from(
            ["item", "a.b", "[0]", "[*]", "${x}", "'text'", "1", "1.5", "true", "null", "is_null(", "count("]
        ),
        st.sampled_from(["DESC", "ASC", "NULLS LAST"]),
        st.text(max_size=4),
    ),
    max_size=12,
).map(" ".join)


@given(_EXPRESSION_PARTS, VALUES)
@settings(max_examples=200, deadline=None)
def test_any_text_is_an_expression_or_is_refused(text: str, item: object) -> None:
    with suppress(ExpressionError):
        assert isinstance(compile_expression(text).holds(item_finder(item)), bool)
    with suppress(ExpressionError):
        assert len(compile_sort(text).sorted([item, {"a": 1}, None])) == 3


_TEXTS = st.lists(
    st.one_of(
        st.sampled_from(
            ["${", "}", "${item", "${item.a}", "${item:-x}", "${item|default:y}", "${x.y:*.md:json}", "$$"]
        ),
        st.sampled_from(
            ["$", "${raw:item.x}", "${env.A}", "${env:A}", "${item%.js}", "%%", "[0]", ".", ":", "|", "\n"]
        ),
        st.sampled_from(["map.results", "${sum(map.results)}", "${map.total}", "${error.message}"]),
        st.text(max_size=4),
    ),
    max_size=8,
).map("".join)


@given(_TEXTS, st.dictionaries(st.sampled_from(["item", "x", "a", "map", "error.message"]), VALUES))
@settings(max_examples=200, deadline=None)
def test_any_text_with_placeholders_is_filled_or_refused(text: str, scope: dict[str, object]) -> None:
    check_text(text, frozenset(scope))
    with suppress(ProdigyError):
        assert isinstance(interpolate_text(text, scope), str)
