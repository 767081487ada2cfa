"""`--filter` of the dead letter commands: which letters an expression means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from prodigy.report.filters import compiled, unknown
from prodigy.workflow.expression import MISSING, Find, item_finder

Letter = Mapping[str, Any]

_OF_THE_LETTER = (
    "item_id", "label", "error_signature", "failure_count", "tries", "attempts", "reprocess_eligible",
    "manual_review_required", "first_attempt", "last_attempt", "cost_usd", "tokens", "run_id", "fanout", "state",
)  # fmt: skip
_OF_THE_LAST_FAILURE = ("error_type", "error_message", "exit_code", "step_failed", "duration_ms")
NAMES = (*_OF_THE_LETTER, *_OF_THE_LAST_FAILURE)


class LetterFilter:
    """A compiled filter: call it with a dead letter (see `store.letters`) to know whether it is meant.

    A name is the item's own (`priority`, `item.priority`); where the item has no such field, the letter's (see
    `NAMES`). `letter.NAME` is the letter's in any case. A filter never fails at a letter. Raises UsageError for a text
    that is no expression, with its place.
    """

    def __init__(self, text: str) -> None:
        self._expression = compiled(text)

    def __call__(self, letter: Letter) -> bool:
        return self._expression.holds(_finder(letter))

    def unknown(self, letters: Iterable[Letter]) -> list[str]:
        """The names in the filter that neither any of these items nor a letter has: mistyped, or texts without
        quotes."""
        return unknown(self._expression, map(_finder, letters))


def letter_filter(text: str) -> LetterFilter:
    """The letters that `text` means, as a function of one. Raises UsageError with the place of the mistake."""
    return LetterFilter(text)


def letter_names(letter: Letter) -> dict[str, object]:
    """What a filter may say about a letter, flat: its own fields and those of its last failure."""
    last = letter["failure_history"][-1] if letter["failure_history"] else {}
    names = {name: letter[name] for name in _OF_THE_LETTER}
    return names | {name: last.get(name) for name in _OF_THE_LAST_FAILURE}


def _finder(letter: Letter) -> Find:
    in_item = item_finder(letter["item_data"])
    names = letter_names(letter)
    in_letter = item_finder({**names, "letter": names})

    def find(path: str) -> object:
        found = in_item(path)
        # `item.x` is the item's and nobody else's.
        return in_letter(path) if found is MISSING and not path.startswith(("item.", "item[")) else found

    return find
