"""When agents of an account may start again after it was refused. Pure: the clock comes from the caller.

One rule for all agents of a run: the first refusal closes the account, at the time that the agent told, or after
pauses of 1, 2, 4 ... 30 minutes, one agent is let through as a probe, and its first answer opens the account.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace

FIRST_PAUSE_S = 60.0
LONGEST_PAUSE_S = 1800.0
# A run does not wait for longer than this; it pauses, to be resumed.
LONGEST_WAIT_S = 24 * 3600.0
# Clocks differ, and what resets in this second may still be refused.
MARGIN_S = 1.0


@dataclass(frozen=True)
class Account:
    """What is known of one account. until: UNIX time in seconds before which nothing starts; None: it is open.

    told: whether the agent told that time. hits: refusals since it was open last. probing: whether an agent is on its
    way to find out.
    """

    until: float | None = None
    told: bool = False
    hits: int = 0
    probing: bool = False


OPEN = Account()


def refused(account: Account, resets_at: float | None, now: float, said_at: float) -> Account:
    """The account after an agent was refused. said_at: when it said so.

    A time that has passed since it was said is over: what it kept from starting may start. One that had passed even
    then is none.
    """
    if resets_at is not None and said_at < resets_at <= now:
        return account
    if resets_at is not None and resets_at > now:
        until, told = resets_at + MARGIN_S, True
        if account.until is not None and until <= account.until:
            return replace(account, probing=False) if account.told else replace(account, until=until, told=True)
        return Account(until, told, account.hits + 1)
    if account.until is not None and account.until > now:
        return account  # others said it before
    hits = account.hits + 1
    return Account(now + pause_s(hits), told=False, hits=hits)


def pause_s(hits: int) -> float:
    """Seconds until the next try after so many refusals without a time."""
    return float(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(hits - 1, 16)))


def rest_s(account: Account, now: float) -> float:
    """How long nothing may start: seconds, 0 for something may, infinity for until the probe is back."""
    if account.until is None:
        return 0.0
    if account.until > now:
        return account.until - now
    return float("inf") if account.probing else 0.0


def started(account: Account) -> Account:
    """An agent starts: with the account closed until now, as its probe."""
    return account if account.until is None else replace(account, probing=True)


def came_to_nothing(account: Account) -> Account:
    """The probe ended without an answer and without a refusal: the next one tries."""
    return replace(account, probing=False)


def answered(account: Account, now: float) -> Account:
    """An agent got an answer. One that began before the account was closed proves nothing before the told time."""
    if account.until is None or (account.told and account.until > now):
        return account
    return OPEN


def clock(until: float, now: float) -> str:
    """A UNIX time in the words of this place: `20:15:00`, with the day when it is another one than that of `now`."""
    then = dt.datetime.fromtimestamp(until).astimezone()
    same = then.date() == dt.datetime.fromtimestamp(now).astimezone().date()
    return f"{then:%H:%M:%S}" if same else f"{then:%a %d %b %H:%M}"
