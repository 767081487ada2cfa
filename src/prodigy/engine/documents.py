"""Texts that promise to be JSON or YAML, checked and laid out for people."""

from __future__ import annotations

import io
import json
from typing import Literal

from prodigy.errors import ProdigyError
from prodigy.plan.strict_json import NotJsonError, UnusableJsonError, parse_json


def laid_out(text: str, form: Literal["json", "yaml"] | None) -> str:
    """`text` as it is written to a file: JSON indented, YAML in block style. Raises ProdigyError when it is neither."""
    if form == "json":
        try:
            return json.dumps(parse_json(text), ensure_ascii=False, indent=2) + "\n"
        except (NotJsonError, UnusableJsonError) as error:
            raise ProdigyError(f"`format` is json, but the content is not JSON: {error}") from error
    return _yaml(text) if form == "yaml" else text


def laid_out_value(value: object, form: Literal["json", "yaml"] | None) -> str:
    """A value as it is written to a file, in the same way."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    if form != "yaml":
        return text + "\n"
    from ruamel.yaml import YAML

    out, yaml = io.StringIO(), YAML()
    yaml.default_flow_style = False
    yaml.dump(value, out)
    return out.getvalue()


def _yaml(text: str) -> str:
    from ruamel.yaml import YAML  # only who writes YAML needs it here
    from ruamel.yaml.error import YAMLError

    out = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = False
    try:
        yaml.dump(yaml.load(text), out)
    except (YAMLError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else "it can't be read"
        raise ProdigyError(f"`format` is yaml, but the content is not YAML: {reason}") from error
    return out.getvalue()
