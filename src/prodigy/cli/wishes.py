"""What a key of the live view wishes for is asked of the run as from anywhere else: by `engine.steering`."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from prodigy.cli.controls import Wish
from prodigy.cli.words import counted, printable
from prodigy.errors import ProdigyError
from prodigy.report.view import RunView
from prodigy.store.store import Store

WAY = "live view"
NARROWEST = 1


class Wishes:
    """Asks for what is wished. directory: the run's. drain: lets the run drain, in the process that drives it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.drain: Callable[[], None] | None = None
        self._asked_for: int | None = None  # items at a time, which the run may not know yet

    def grant(self, wish: Wish, view: RunView) -> str:
        """Ask for it; what is to be said about that. Never raises."""
        if wish is Wish.LEAVE:
            os.kill(os.getpid(), signal.SIGINT)  # as Ctrl-C, which only ends the watching
            return ""
        if wish is Wish.DRAIN:
            if self.drain is not None:
                self.drain()
            return ""
        try:
            with closing(Store.open(self._directory)) as store:
                return self._ask(store, wish, view)
        except (ProdigyError, OSError, sqlite3.Error) as error:
            what = error.what if isinstance(error, ProdigyError) else str(error)
            return printable(what)

    def _ask(self, store: Store, wish: Wish, view: RunView) -> str:
        from prodigy.engine import steering

        by = steering.who(WAY)
        match wish:
            case Wish.PAUSE:
                steering.hold(store, by)
                return "asked to pause"
            case Wish.GO_ON:
                steering.release(store, by)
                return "asked to go on"
            case Wish.RETRY:
                dead = sorted(steering.dead_items(store))
                if not dead:
                    return "no item has failed for good"
                steering.retry(store, dead, by)
                return f"asked to run {counted(len(dead), 'item')} again"
            case Wish.DETACH:
                steering.detach(store, by)
                return "asked to go on in the background"
            case Wish.CANCEL:
                steering.cancel(store, by)
                return "asked to end what runs"
        return self._resize(store, 1 if wish is Wish.MORE else -1, view, by)

    def _resize(self, store: Store, step: int, view: RunView, by: str) -> str:
        from prodigy.engine import steering

        now = self._asked_for or view.max_parallel
        if now is None:
            return "there is no map now"
        wanted = max(NARROWEST, now + step)
        if wanted == now:
            return "one item at a time is the least"
        steering.set_max_parallel(store, wanted, by)
        self._asked_for = wanted
        return f"asked for {counted(wanted, 'item')} at a time"

    def heard(self, max_parallel: int | None) -> None:
        """The run has been given this many slots: when it is what was asked for last, its word counts again."""
        if max_parallel == self._asked_for:
            self._asked_for = None
