"""Going on with runs in the background: what the functions of `driving` do here is done by a process of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import Any

from prodigy.api.runs import Run
from prodigy.engine.background import begin_in_background
from prodigy.engine.choices import require_ended
from prodigy.report.letter_filter import letter_filter
from prodigy.store.store import Store


def resume_in_background(run: Run, *, include_dead_letters: bool = False, **options: Any) -> None:
    """As `resume`, but returns when it has begun. options: of the command line, by their names in Python."""
    words = ["--include-dlq"] if include_dead_letters else []
    begin_in_background(run.id, ("resume", run.id, *words, *_words(options))).require_accepted()


def retry_in_background(run: Run, *, items: Sequence[str] = (), **options: Any) -> None:
    """As `retry_dead_letters`, but returns when it has begun. Raises UsageError when the run has not ended, or for a
    filter that is none."""
    with closing(Store.open(run.directory)) as store:
        require_ended(store.run())
    if options.get("filter"):
        letter_filter(options["filter"])
    words = [f"--item={item}" for item in items]
    begin_in_background(run.id, ("dlq", "retry", run.id, *words, *_words(options))).require_accepted()


def _words(options: dict[str, Any]) -> Iterable[str]:
    """Options as words of a command line; those that are None or False are left out."""
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            yield option
        elif value is not None and value is not False:
            yield f"{option}={value}"
