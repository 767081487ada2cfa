"""The JSON Schema of the language says the same as the loader, as far as a schema can."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator

from prodigy.errors import ProdigyError
from prodigy.workflow.load import parse
from prodigy.workflow.schema import workflow_schema
from unit.language_values import ONE_KEY, as_yaml
from unit.schema_texts import BROKEN, document, plain, workflows_in_use
from unit.test_earlier_spellings import SAME


@cache
def validator() -> Draft202012Validator:
    return Draft202012Validator(workflow_schema())


def complaints(text: str) -> list[str]:
    read = document(text)
    assert read is not None, "it can't even be read"
    return [f"{error.json_path}: {error.message}"[:300] for error in validator().iter_errors(plain(read.root))]


class AllKnown:
    """No shell text is looked at: a schema has nothing to say of them, and their parsers take their time."""

    def __contains__(self, key: str) -> bool:
        return True

    def add(self, keys: Iterable[str]) -> None:
        """There is nothing to remember."""


def loads(text: str) -> bool:
    try:
        parse(text, "w.yml", AllKnown())
    except ProdigyError:
        return False
    return True


def test_the_schema_is_one_of_draft_2020_12() -> None:
    Draft202012Validator.check_schema(workflow_schema())
    assert workflow_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_it_is_the_same_each_time_it_is_made() -> None:
    assert json.dumps(workflow_schema()) == json.dumps(workflow_schema())


def test_it_takes_every_workflow_that_the_loader_takes() -> None:
    """Those of all tests, of the documentation, of the examples and starters."""
    valid = [text for text in (*workflows_in_use(), *(earlier for earlier, _ in SAME)) if loads(text)]
    assert len(valid) > 200
    refused = {text: found for text in valid if (found := complaints(text))}
    assert refused == {}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_both_refuse_what_is_broken(text: str) -> None:
    assert not loads(text)
    assert complaints(text)


@given(ONE_KEY)
@settings(max_examples=200, deadline=None)
def test_it_takes_every_value_that_the_loader_takes(workflow: dict[str, object]) -> None:
    text = as_yaml(workflow)
    if loads(text):
        assert complaints(text) == []


def test_every_key_has_a_description() -> None:
    def bare(schema: object, where: str) -> list[str]:
        if isinstance(schema, list):
            return [found for number, inner in enumerate(schema) for found in bare(inner, f"{where}/{number}")]
        if not isinstance(schema, dict):
            return []
        found = []
        if isinstance(named := schema.get("properties"), dict) and schema.get("type") == "object":
            found += [
                f"{where}/{name}"
                for name, value in named.items()
                if not (isinstance(value, dict) and value.get("description")) and name not in ("secs", "nanos")
            ]
        return [*found, *(one for name, value in schema.items() for one in bare(value, f"{where}/{name}"))]

    assert bare(workflow_schema(), "") == []


def test_other_names_are_deprecated() -> None:
    schema = json.loads(json.dumps(workflow_schema()))
    assert schema["$defs"]["map"]["properties"]["parallel"]["deprecated"] is True
    assert "deprecated" not in schema["$defs"]["map"]["properties"]["max_parallel"]


def test_the_schema_needs_nothing_from_elsewhere() -> None:
    text = json.dumps(workflow_schema())
    references = {part.split('"')[0] for part in text.split('"$ref": "')[1:]}
    assert all(reference.startswith("#/$defs/") for reference in references)
