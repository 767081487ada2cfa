"""When a limit ends, read from what an agent says about it: `resets 8pm (America/New_York)`."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

# A clock time that has only just passed is a stale message, not tomorrow's time.
_STALE = timedelta(hours=1)
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

_EPOCH = re.compile(r"limit reached\|(\d{10})\b")
_ISO = re.compile(
    r"(?:resets?|try again) (?:at |on )?(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?:Z|[+-]\d\d:\d\d))"
)
_IN = re.compile(
    r"(?:resets?|retry|try again) (?:in|after) ((?:\d{1,5}(?:\.\d+)? ?[a-z]+,? ?(?:and )?){1,4})", re.IGNORECASE
)
_PART = re.compile(r"(\d{1,5}(?:\.\d+)?) ?(ms|d|h|m|s)", re.IGNORECASE)
# A clock time without a zone is that of the machine on which the program runs.
_LOCAL_CLOCK = re.compile(r"try again at (?P<hour>\d{1,2}):(?P<minute>\d\d) ?(?P<half>am|pm)?\b", re.IGNORECASE)
_CLOCK = re.compile(
    rf"resets?\s+(?:at\s+)?(?:(?P<weekday>{'|'.join(_WEEKDAYS)})[a-z]*,?\s+)?"
    rf"(?:(?P<month>{'|'.join(_MONTHS)})[a-z]*\s+(?P<day>\d{{1,2}}),?\s+)?(?:at\s+)?"
    r"(?P<hour>\d{1,2})(?::(?P<minute>\d\d))?(?::(?P<second>\d\d))?\s*(?P<half>am|pm)?\s*\((?P<zone>[A-Za-z][\w+/-]*)\)",
    re.IGNORECASE,
)
_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1, "ms": 0.001}


def reset_time(text: str, now: float) -> float | None:
    """UNIX time in seconds, None when the text does not say or does not say in which time zone.

    now: when the text was written. The result may lie in the past when the text was stale even then.
    """
    if found := _EPOCH.search(text):
        return float(found[1])
    if found := _ISO.search(text):
        try:
            return datetime.fromisoformat(found[1]).timestamp()
        except ValueError:
            return None
    if found := _IN.search(text):
        parts = _PART.findall(found[1])
        return now + sum(float(amount) * _SECONDS[unit.lower()] for amount, unit in parts) if parts else None
    if found := _CLOCK.search(text):
        return _next(found, now)
    if found := _LOCAL_CLOCK.search(text):
        return _local(found, now)
    return None


def _local(found: re.Match[str], now: float) -> float | None:
    hour = _hour(found)
    here = datetime.fromtimestamp(now).astimezone()
    if hour is None or int(found["minute"]) > 59:
        return None
    moment = here.replace(hour=hour, minute=int(found["minute"]), second=0, microsecond=0)
    return (moment if moment >= here - _STALE else moment + timedelta(days=1)).timestamp()


def _hour(found: re.Match[str]) -> int | None:
    """From 0 to 23; None for what is no hour."""
    hour = int(found["hour"])
    if found["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if found["half"].lower() == "pm" else 0)
    return hour if hour <= 23 else None


def _next(found: re.Match[str], now: float) -> float | None:
    """The first moment that the words fit and that is not long gone."""
    zone = _zone(found["zone"])
    hour = _hour(found)
    if zone is None or hour is None:
        return None
    here = datetime.fromtimestamp(now, zone)
    minute, second = int(found["minute"] or 0), int(found["second"] or 0)
    if minute > 59 or second > 59:
        return None
    moments = [day.replace(hour=hour, minute=minute, second=second, microsecond=0) for day in _days(found, here)]
    if found["month"]:  # without a year: the nearest one
        return min(moments, key=lambda moment: abs(moment - here)).timestamp() if moments else None
    return next(moment for moment in moments if moment >= here - _STALE).timestamp()


def _days(found: re.Match[str], here: datetime) -> list[datetime]:
    if found["month"]:
        month, number = _MONTHS.index(found["month"].lower()) + 1, int(found["day"])
        years = [
            year for year in (here.year - 1, here.year, here.year + 1) if 1 <= number <= monthrange(year, month)[1]
        ]
        return [datetime(year, month, number, tzinfo=here.tzinfo) for year in years]
    weekday = _WEEKDAYS.index(found["weekday"].lower()) if found["weekday"] else None
    ahead = (here + timedelta(days=days) for days in range(9))
    return [day for day in ahead if weekday is None or day.weekday() == weekday]


def _zone(name: str) -> tzinfo | None:
    if name.upper() in {"UTC", "GMT", "Z"}:
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not a zone, or this machine knows no zones
        return None
