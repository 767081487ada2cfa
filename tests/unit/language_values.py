"""Values for every key of the language, right ones and wrong ones, for tests with Hypothesis."""

from __future__ import annotations

import json
import re

from hypothesis import strategies as st

from prodigy.workflow import keys
from prodigy.workflow.key_texts import PLACES

_NAMES = sorted(
    {name for place in PLACES for name in (*place.keys, *place.synonyms)} | keys.GIVEN_UP.keys() | {"analyze"}
)
_EXAMPLES = [
    *("make test", "/fix ${item.path}", "${", "${x", "$x", "glob:**/*", "glob:", "a.json", "5m", "1h30m", "-1", "true"),
    *("~", "", " ", "\t", "item.n > 1", "a ==", "$.items[*]", "../x", "/etc/passwd", ".git/config", "batched:3", "50%"),
    *("retry", "é日本", "\u2028", "a\nb", "claude", "mapreduce", "step", "{}", "[]", "!!int 5", "*a", "&a b", "<<"),
    *("0x1F", ".nan", "1e400"),
]
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**13), 10**13),
    st.floats(allow_nan=True),
    st.sampled_from(_EXAMPLES),
    st.text(max_size=12),
)
_KEYS = st.one_of(st.sampled_from(_NAMES), st.sampled_from(_NAMES), st.text(max_size=5))
VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=4)),
    max_leaves=12,
)
_STEPS = st.lists(
    st.one_of(
        st.dictionaries(st.sampled_from(sorted(keys.STEP.known)), VALUES, max_size=4).map(
            lambda step: {"shell": "make", **step}
        ),
        VALUES,
    ),
    max_size=3,
)
WORKFLOWS = st.one_of(
    st.dictionaries(st.sampled_from(sorted(keys.WORKFLOW.known)), VALUES, max_size=4).flatmap(
        lambda top: _STEPS.map(lambda steps: {"steps": steps, **top})
    ),
    st.dictionaries(st.sampled_from(sorted(keys.MAP.known)), VALUES, max_size=4).flatmap(
        lambda inside: _STEPS.map(
            lambda steps: {"map": {"input": "ls", "agent_template": steps or [{"shell": "a"}], **inside}}
        )
    ),
    VALUES,
)


def as_yaml(value: object) -> str:
    """JSON is YAML, but for numbers that JSON has no words for."""
    text = json.dumps(value, ensure_ascii=True)
    return re.sub(r"\bNaN\b", ".nan", re.sub(r"-?\bInfinity\b", ".inf", text))


def _one_key(
    table: keys.KeyTable, base: dict[str, object], *, without: set[str]
) -> st.SearchStrategy[dict[str, object]]:
    """`base` with any value under any key of the table."""
    names = st.sampled_from(sorted(table.runs - without - base.keys()))
    return st.builds(lambda name, value: {**base, name: value}, names, VALUES)


# The loader does not look at these: they do nothing where the keys are that they belong to are not, or are not used.
_NOT_READ = {"max_iterations", "on_incomplete", "templates"}
# A small workflow with any value under one key.
ONE_KEY = st.one_of(
    _one_key(keys.STEP, {"shell": "make"}, without=_NOT_READ).map(lambda step: {"steps": [step]}),
    _one_key(keys.MAP, {"input": "ls", "agent_template": [{"shell": "a"}]}, without=set()).map(
        lambda body: {"map": body}
    ),
    _one_key(keys.WORKFLOW, {"steps": [{"shell": "a"}]}, without=_NOT_READ),
)
