"""JSON Schemas that results of validations must fit, with patterns that can't hang."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from prodigy.workflow.regex import RegexError, compile_regex, found

if TYPE_CHECKING:
    from jsonschema.protocols import Validator


@lru_cache(maxsize=1)
def validator_class() -> type[Validator]:
    """A validator of draft 2020-12 whose regular expressions are RE2's: Python's can take for ever."""
    from jsonschema import Draft202012Validator  # few workflows have a schema, and it takes long to import
    from jsonschema.exceptions import ValidationError
    from jsonschema.validators import extend

    def pattern(_validator: Any, pattern: str, instance: object, _schema: object) -> Iterator[ValidationError]:
        if isinstance(instance, str) and not found(pattern, instance):
            yield ValidationError(f"does not match {pattern!r}: {instance[:40]!r}")

    def pattern_properties(
        validator: Any, properties: dict[str, Any], instance: object, _schema: object
    ) -> Iterator[ValidationError]:
        if isinstance(instance, dict):
            for pattern, subschema in properties.items():
                for name in (name for name in instance if found(pattern, name)):
                    yield from validator.descend(instance[name], subschema, path=name, schema_path=pattern)

    keywords = {"pattern": pattern, "patternProperties": pattern_properties}
    validator: type[Validator] = extend(Draft202012Validator, keywords)  # type: ignore[no-untyped-call]
    return validator


def bad_pattern(schema: object) -> str | None:
    """What is wrong with a regular expression in a schema, or None."""
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        elif isinstance(part, dict):
            waiting += part.values()
            patterns = part.get("patternProperties")
            texts = [part.get("pattern"), *(patterns if isinstance(patterns, dict) else ())]
            for text in (text for text in texts if isinstance(text, str)):
                try:
                    compile_regex(text)
                except RegexError as error:
                    return f"{text!r}: {error}"
    return None
