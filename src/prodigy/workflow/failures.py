"""What a workflow says of failures: when something runs again, and what becomes of items that fail."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from prodigy.workflow.frozen import Value

OnItemFailure = Literal["dlq", "retry", "skip", "stop"]
Backoff = Literal["fixed", "linear", "exponential", "fibonacci", "custom"]
Collection = Literal["aggregate", "immediate", "batched"]


class Retry(Value):
    """How often and when what failed runs again; times in seconds.

    attempts: all of them, the first included. increment_s belongs to linear (None: as initial_delay_s), base to
    exponential, delays_s to custom. jitter: the width of the random part, as a fraction of the delay.
    retry_on: error kinds and, behind `re:`, patterns; empty means every failure. budget_s: of all pauses together.
    """

    attempts: int = Field(default=3, ge=1)
    backoff: Backoff = "exponential"
    initial_delay_s: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    max_delay_s: float = Field(default=30.0, ge=0, allow_inf_nan=False)
    increment_s: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    base: float = Field(default=2.0, ge=1, allow_inf_nan=False)
    delays_s: tuple[float, ...] = ()
    jitter: float = Field(default=0.0, ge=0, le=2)
    retry_on: tuple[str, ...] = ()
    budget_s: float | None = Field(default=None, ge=0, allow_inf_nan=False)


class Breaker(Value):
    """When a fan-out rests because nothing succeeds any more.

    After `failures` failures one after another nothing starts for `timeout_s` seconds. Then at most `probes` attempts
    run at a time: `successes` of them that succeed end the rest, one that fails begins it anew.
    """

    failures: int = Field(default=5, ge=1)
    timeout_s: float = Field(default=30.0, ge=0, allow_inf_nan=False)
    probes: int = Field(default=3, ge=1)
    successes: int = Field(default=3, ge=1)


class ErrorPolicy(Value):
    """What becomes of items that fail.

    on_item_failure: `retry` runs the item again as `retry` says and then, like `dlq`, parks it; `skip` leaves it out;
    `stop` parks it and starts nothing more. continue_on_failure: whether more items start once one has been parked.
    max_failures: nothing more starts once so many items have failed for good. failure_threshold: nor when failed items
    are a larger part than this of those that have ended. collection: when errors are told to people: all at the end,
    each when it happens, or `batch_size` of them together; None: each when it happens, and several once more at the
    end.
    """

    on_item_failure: OnItemFailure = "dlq"
    continue_on_failure: bool = True
    retry: Retry = Retry()
    max_failures: int | None = Field(default=None, ge=1)
    failure_threshold: float | None = Field(default=None, ge=0, le=1)
    breaker: Breaker | None = None
    collection: Collection | None = None
    batch_size: int | None = Field(default=None, ge=1)

    @property
    def stops(self) -> bool:
        """Whether nothing more starts once an item has been parked."""
        return self.on_item_failure == "stop" or not self.continue_on_failure

    @property
    def collects(self) -> bool:
        """Whether an error is not told before it is told with others."""
        return self.collection in ("aggregate", "batched")

    def tells_now(self, errors: int, *, ended: bool) -> bool:
        """Whether so many errors that wait are told together now. ended: nothing of the fan-out runs any more."""
        match self.collection:
            case "immediate":
                return False
            case "batched":
                return errors >= (1 if ended else self.batch_size or 1)
            case "aggregate":
                return ended and errors >= 1
        return ended and errors > 1
