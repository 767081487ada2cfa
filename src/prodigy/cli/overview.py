"""What `prodigy --help` says, without importing anything: help should come at once."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:  # the names for types alone would take longer to import than all the rest
    from collections.abc import Mapping

_HEAD = """\
Usage: prodigy [OPTIONS] [COMMAND] [ARGS]...

  Run one coding agent per work item, many at a time, without losing work or
  paying twice.

Options:
  -v, --verbose  Tell every step too; -vv: also what the steps print.
  --version      Show the version and exit.
  -h, --help     Show this message and exit.

Commands:
"""


def overview(places: Mapping[str, tuple[str, str, str]]) -> str:
    """The help of the whole command, for 80 columns. places: command -> module, attribute, what it does."""
    width = max(map(len, places))
    return _HEAD + "\n".join(f"  {name:{width}}  {text}" for name, (_, _, text) in places.items())
