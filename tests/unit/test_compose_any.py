"""Whatever files a workflow is made of, composing them gives a workflow or an error that can be shown."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compose_support import AllKnown
from prodigy.errors import ProdigyError
from prodigy.workflow.load import LoadOptions, Written, load
from prodigy.workflow.model import Workflow
from prodigy.workflow.substitute import words

WORDS = [
    "a",
    "b",
    "main",
    "a.yml",
    "./b.yml",
    "main.yml",
    "${a}",
    "$a",
    "${item.x}",
    "x--y",
    "a.b",
    "a[0].b",
    "1 ==",
    "",
]
KEYS = list(
    words(
        """
        imports extends template templates parameters defaults workflows steps map use with workflow name source
        override path alias selective type default validation required optional inputs outputs parallel timeout env
        profiles shell claude when agent_template input max_parallel filter a b do on_failure foreach agents env_files
        """
    )
)
KEYS.sort()
TOP = ["imports", "extends", "template", "templates", "parameters", "defaults", "workflows", "steps", "map", "env"]

scalars = st.none() | st.booleans() | st.integers(-3, 10) | st.floats(allow_nan=False) | st.sampled_from(WORDS)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=10,
)
files = st.fixed_dictionaries(
    {
        name: st.dictionaries(st.sampled_from(TOP), anything, max_size=5) | st.lists(anything, max_size=3)
        for name in ("main", "a", "b")
    }
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path, before = tmp_path_factory.mktemp("any"), Path.cwd()
    os.chdir(path)
    yield path
    os.chdir(before)


@settings(
    deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(files, st.dictionaries(st.sampled_from("ab"), st.sampled_from(WORDS).map(Written) | anything, max_size=2))
def test_any_files(folder: Path, texts: dict[str, object], parameters: dict[str, object]) -> None:
    for name, value in texts.items():
        (folder / f"{name}.yml").write_text(json.dumps(value))
    made = outcome(LoadOptions(parameters))
    if isinstance(made, Workflow):
        assert Workflow.model_validate_json(made.model_dump_json()) == made
    else:
        assert str(made).encode()


def outcome(parameters: LoadOptions) -> Workflow | ProdigyError:
    try:
        return load(Path("main.yml"), AllKnown(), parameters).workflow
    except ProdigyError as error:
        return error
