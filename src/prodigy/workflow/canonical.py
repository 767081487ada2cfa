"""One spelling for every JSON value, so that equal values have equal text and equal hashes."""

from __future__ import annotations

import hashlib
import json

# Made once: `json.dumps` makes a new encoder for every call that has options, which takes most of its time.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical_json(value: object) -> str:
    """The compact JSON of `value` with sorted keys and non-ASCII characters as they are.

    Raises ValueError for NaN and the infinities, TypeError for what is not a JSON value and RecursionError
    for very deep nesting. `5` and `5.0` have different texts: nothing is lost by telling them apart.
    """
    return _ENCODER.encode(value)


def short_hash(text: str, length: int) -> str:
    """The first `length` hexadecimal digits of the SHA-256 of `text`.

    Raises UnicodeEncodeError for lone surrogates, which have no UTF-8 form.
    """
    return hashlib.sha256(text.encode()).hexdigest()[:length]
