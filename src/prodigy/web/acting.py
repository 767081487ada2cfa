"""Steering by forms: each asks as `steering` does, and what was obeyed is an event with the name of who wanted it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from prodigy.api.background import resume_in_background, retry_in_background
from prodigy.api.runs import Run
from prodigy.engine import steering
from prodigy.errors import ProdigyError, UsageError
from prodigy.store.lock import is_held
from prodigy.store.paths import run_directory
from prodigy.store.store import Store
from prodigy.web import pages
from prodigy.web.guard import form_of, values_of

WAY = "dashboard"
PATIENCE_S = 10.0
POLL_S = 0.05
MOST_ITEMS = 1_000_000

Act = Callable[[str, dict[str, str], list[str]], str]


def pause(run_id: str, form: dict[str, str], items: list[str]) -> str:  # noqa: ARG001 - all have these
    _ask(run_id, steering.hold)
    return "Paused: nothing new starts, what runs may finish."


def go_on(run_id: str, form: dict[str, str], items: list[str]) -> str:  # noqa: ARG001
    """Let a paused run start things again; start a process for a run that has none."""
    with closing(Store.open(run_directory(run_id))) as store:
        driven, held = is_held(store.directory), store.run().held_by is not None
    if driven and not held:
        return "It goes on already."
    if driven:
        _ask(run_id, steering.release)
        return "It goes on."
    resume_in_background(
        Run(run_id),
        budget=_number(form, "budget", float, "dollars"),
        max_parallel=_number(form, "width", int, "items"),
        include_dead_letters=form.get("include_dead") == "yes",
        yes=form.get("merge") == "yes",
        no_merge=form.get("merge") == "no",
    )
    return "It goes on in the background; what is finished does not run again."


def cancel(run_id: str, form: dict[str, str], items: list[str]) -> str:  # noqa: ARG001
    directory = run_directory(run_id)
    if is_held(directory):
        with closing(Store.open(directory)) as store:
            steering.cancel(store, steering.who(WAY))
        return "It was asked to end; what runs is stopped. It can go on later."
    Run(run_id).cancel()
    return "What still ran of it was ended."


def set_budget(run_id: str, form: dict[str, str], items: list[str]) -> str:  # noqa: ARG001
    usd = _number(form, "budget", float, "dollars")
    if usd is None:
        raise UsageError("the budget is missing", hint="Give dollars, e.g. 12.50.")
    _ask(run_id, lambda store, by: steering.set_budget(store, usd, by))
    return f"From now on the run may cost ${usd:,.2f} in all."


def set_width(run_id: str, form: dict[str, str], items: list[str]) -> str:  # noqa: ARG001
    number = _number(form, "width", int, "items")
    if number is None:
        raise UsageError("the number of items is missing", hint="Give how many may run at a time, e.g. 8.")
    width = int(number)
    _ask(run_id, lambda store, by: steering.set_max_parallel(store, width, by))
    return f"From now on {width:,} at a time."


def retry(run_id: str, form: dict[str, str], items: list[str]) -> str:
    """Run dead items again: at once where their map goes on, else by a process in the background."""
    every = form.get("which") == "all"
    if not every and not items:
        raise UsageError("no dead letter is selected", hint="Tick those that are to run again.")
    with closing(Store.open(run_directory(run_id))) as store:
        driven = is_held(store.directory)
        dead = steering.dead_items(store) if every or driven else set(items)
    chosen = sorted(dead) if every else items
    if driven:
        _ask(run_id, lambda store, by: steering.retry(store, chosen, by))
    else:
        retry_in_background(
            Run(run_id), items=() if every else chosen, all=form.get("even_ineligible", "yes") == "yes",
            yes=form.get("merge") == "yes", no_merge=form.get("merge") == "no",
        )  # fmt: skip
    return f"{'1 item runs' if len(chosen) == 1 else f'{len(chosen):,} items run'} again."


ACTS: dict[str, Act] = {
    "pause": pause, "go-on": go_on, "cancel": cancel, "retry": retry, "budget": set_budget, "width": set_width,
}  # fmt: skip


async def act(request: Request) -> Response:
    """Do what a form asks."""
    run_id, name = request.path_params["run_id"], request.path_params["act"]
    if name not in ACTS:
        return pages.problem_page(request, 404, f"Nothing is called {name} here.", "Go back to the run.")
    form, items = await form_of(request), await values_of(request, "item")
    try:
        said = await run_in_threadpool(ACTS[name], run_id, form, items)
    except ProdigyError as error:
        return pages.of_error(request, error)
    if request.headers.get("hx-request"):
        return pages.notice(said)
    return RedirectResponse(f"/runs/{run_id}", 303)


def _ask(run_id: str, request: Callable[[Store, str], int]) -> None:
    """Ask the process that drives a run, and wait until it has obeyed, or for a while."""
    with closing(Store.open(run_directory(run_id))) as store:
        number = request(store, steering.who(WAY))
        give_up = time.monotonic() + PATIENCE_S
        while not steering.is_done(store, number) and time.monotonic() < give_up:
            time.sleep(POLL_S)


def _number(form: dict[str, str], name: str, kind: Callable[[str], float], unit: str) -> float | None:
    """A number above 0 of a form; None when it is left empty. Raises UsageError."""
    text = form.get(name, "").strip().removeprefix("$").replace(",", "")
    if not text:
        return None
    try:
        value = kind(text)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise UsageError(f"{text!r} is no number of {unit}", hint="Give a number above 0.")
    return value
