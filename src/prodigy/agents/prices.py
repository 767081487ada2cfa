"""What tokens cost, for agents that tell only how many they used. An estimate: list prices, as the library has them."""

from __future__ import annotations

import re

from genai_prices import Usage, calc_price

from prodigy.agents.base import Used

# `claude-opus-4-8[1m]`: the size of the context window, which has no part in the model's name.
_VARIANT = re.compile(r"\[[\w.]+\]$")


def price(used: Used) -> float | None:
    """Dollars; None for a model without a known price. `provider/model` names its provider."""
    if not used.model:
        return None
    provider, slash, model = used.model.rpartition("/")
    tokens = used.tokens
    usage = Usage(
        input_tokens=tokens.input + tokens.cache_read + tokens.cache_write,
        output_tokens=tokens.output,
        cache_read_tokens=tokens.cache_read,
        cache_write_tokens=tokens.cache_write,
    )
    try:
        found = calc_price(usage, model_ref=_VARIANT.sub("", model), provider_id=provider if slash else None)
    except (LookupError, ValueError):
        return None
    return float(found.total_price)
