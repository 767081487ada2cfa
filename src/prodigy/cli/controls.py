"""What keys do in the live view: pure, from what is shown and a key to what is shown next and what is wished for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto

from prodigy.cli.keyboard import DOWN, ENTER, UP
from prodigy.report.view import RunView


class Mode(Enum):
    """What the area shows: the run; the keys; what one item prints; the question how to quit."""

    RUN = auto()
    HELP = auto()
    LOG = auto()
    QUIT = auto()


class Wish(Enum):
    """What a key asks for."""

    PAUSE = auto()
    GO_ON = auto()
    RETRY = auto()
    MORE = auto()
    FEWER = auto()
    DETACH = auto()
    DRAIN = auto()
    CANCEL = auto()
    LEAVE = auto()


@dataclass(frozen=True)
class Controls:
    """keys: whether there is a keyboard. attached: whether another process drives the run. selected: the path of the
    line that is marked, empty: none. note: what came of the last wish, for people."""

    keys: bool = False
    attached: bool = False
    mode: Mode = Mode.RUN
    selected: str = ""
    note: str = ""


# Key -> what it does, for the help.
HELP = (
    ("p", "pause: nothing new starts; again: go on"),
    ("up, down", "select an item, also with 1 to 9"),
    ("l, Enter", "what the selected item prints, as it prints it"),
    ("r", "run failed items again"),
    ("+, -", "one item more, or fewer, at a time"),
    ("q", "quit: asks how the run is to go on"),
    ("Ctrl-C", "stop when what runs is done; twice: end what runs"),
)
HELP_ATTACHED = (*HELP[:-2], ("q", "stop watching; the run goes on"), ("Ctrl-C", "the same"))
QUIT = (
    ("d", "detach: the run goes on in the background"),
    ("s", "stop: what runs may finish, nothing new starts"),
    ("c", "cancel: end what runs; it can be resumed"),
)
_QUIT_WISHES = {"d": Wish.DETACH, "s": Wish.DRAIN, "c": Wish.CANCEL}


def press(controls: Controls, key: str, view: RunView) -> tuple[Controls, Wish | None]:
    """What a key does."""
    controls = replace(controls, note="")
    if controls.mode is Mode.QUIT:
        return replace(controls, mode=Mode.RUN), _QUIT_WISHES.get(key)
    if controls.mode is not Mode.RUN:
        return replace(controls, mode=Mode.RUN), None
    match key:
        case "p":
            return controls, Wish.PAUSE if view.held_by is None else Wish.GO_ON
        case "r":
            return controls, Wish.RETRY
        case "+" | "=":
            return controls, Wish.MORE
        case "-" | "_":
            return controls, Wish.FEWER
        case "q":
            return (controls, Wish.LEAVE) if controls.attached else (replace(controls, mode=Mode.QUIT), None)
        case "?" | "h":
            return replace(controls, mode=Mode.HELP), None
        case _ if key in ("l", ENTER):
            return _log(controls, view), None
    return _selected(controls, key, view), None


def _log(controls: Controls, view: RunView) -> Controls:
    selected = controls.selected if controls.selected in view.lines else next(iter(view.lines), "")
    if not selected:
        return replace(controls, note="nothing runs now")
    return replace(controls, selected=selected, mode=Mode.LOG)


def _selected(controls: Controls, key: str, view: RunView) -> Controls:
    paths = list(view.lines)
    if not paths:
        return replace(controls, selected="")
    at = paths.index(controls.selected) if controls.selected in view.lines else None
    if key in (UP, "k"):
        return replace(controls, selected=paths[-1 if at is None else max(0, at - 1)])
    if key in (DOWN, "j"):
        return replace(controls, selected=paths[0 if at is None else min(len(paths) - 1, at + 1)])
    if key.isdecimal() and 1 <= int(key) <= len(paths):
        return replace(controls, selected=paths[int(key) - 1])
    return controls
