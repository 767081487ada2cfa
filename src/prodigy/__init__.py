"""Prodigy: run many coding agents at once, without losing work or paying twice.

These names are the public Python interface; everything below is how it is done and may change. They are imported when
they are first used, so that `import prodigy` costs next to nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as type checkers know it; `typing` takes longer to import than all else here
if TYPE_CHECKING:
    from prodigy.api.driving import (
        resume,
        resume_async,
        retry_dead_letters,
        retry_dead_letters_async,
        run,
        run_async,
        start,
    )
    from prodigy.api.logs import StepLog
    from prodigy.api.records import DeadLetter, Event, Failure, Item
    from prodigy.api.results import ItemCounts, Result, RunFailed
    from prodigy.api.runs import Run, find, runs, status
    from prodigy.api.workflows import Workflow
    from prodigy.errors import (
        CorruptState,
        EnvironmentProblem,
        Problem,
        ProdigyError,
        RunLocked,
        UsageError,
        WorkflowError,
    )

__version__ = "0.1.0"

_FROM = {
    "prodigy.api.driving": (
        "resume",
        "resume_async",
        "retry_dead_letters",
        "retry_dead_letters_async",
        "run",
        "run_async",
        "start",
    ),
    "prodigy.api.logs": ("StepLog",),
    "prodigy.api.records": ("DeadLetter", "Event", "Failure", "Item"),
    "prodigy.api.results": ("ItemCounts", "Result", "RunFailed"),
    "prodigy.api.runs": ("Run", "find", "runs", "status"),
    "prodigy.api.workflows": ("Workflow",),
    "prodigy.errors": (
        "CorruptState",
        "EnvironmentProblem",
        "Problem",
        "ProdigyError",
        "RunLocked",
        "UsageError",
        "WorkflowError",
    ),
}
_MODULES = {name: module for module, names in _FROM.items() for name in names}

__all__ = [
    "CorruptState",
    "DeadLetter",
    "EnvironmentProblem",
    "Event",
    "Failure",
    "Item",
    "ItemCounts",
    "Problem",
    "ProdigyError",
    "Result",
    "Run",
    "RunFailed",
    "RunLocked",
    "StepLog",
    "UsageError",
    "Workflow",
    "WorkflowError",
    "__version__",
    "find",
    "resume",
    "resume_async",
    "retry_dead_letters",
    "retry_dead_letters_async",
    "run",
    "run_async",
    "runs",
    "start",
    "status",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(_MODULES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
