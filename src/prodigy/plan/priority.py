"""Which items come first: what the `priority` of a map says of each, as a number."""

from __future__ import annotations

import math
from collections.abc import Callable

from prodigy.workflow.expression import compile_expression, item_finder


def weigher(expression: str | None) -> Callable[[object], float]:
    """What gives an item's weight. True counts as 1; what is no number, and what is missing, as 0."""
    if expression is None:
        return lambda _: 0.0
    compiled = compile_expression(expression)

    def weight(item: object) -> float:
        found = compiled.value(item_finder(item))
        if isinstance(found, bool):
            return float(found)
        try:
            number = float(found) if isinstance(found, int | float) else 0.0
        except OverflowError:
            return math.copysign(math.inf, found)  # type: ignore[arg-type]
        return 0.0 if math.isnan(number) else number

    return weight
