"""The spans of a run that have begun and not ended, and those that have just ended."""

from __future__ import annotations

from dataclasses import dataclass, field

from prodigy.report.span_facts import Moment, Span, Usage, Value, exception

MOST_MOMENTS = 100  # told of one span; a run may warn of thousands of things
LONGEST_NAME = 100  # characters


@dataclass
class _Open:
    key: str
    parent: str | None
    of: str
    name: str
    start_ns: int
    attributes: dict[str, Value]
    moments: list[Moment] = field(default_factory=list)


class OpenSpans:
    """Spans by their keys. Whoever ends one finds it in `take`."""

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}
        self._by_kind: dict[str, dict[str, None]] = {}  # their keys by what they are of, in order
        self._ended: list[Span] = []
        self._lives: dict[str, int] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._open

    def __len__(self) -> int:
        return len(self._open)

    def keys_of(self, of: str) -> list[str]:
        return list(self._by_kind.get(of, ()))

    def new_key(self, key: str) -> str:
        """A key for what may begin more than once: `key`, then `key#2` and so on."""
        life = self._lives[key] = self._lives.get(key, 0) + 1
        return key if life == 1 else f"{key}#{life}"

    def begin(self, key: str, of: str, name: str, parent: str | None, at_ns: int, attributes: dict[str, Value]) -> None:
        """Begin a span, unless it has begun."""
        if key in self._open:
            return
        short = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
        self._open[key] = _Open(key, parent, of, short, at_ns, dict(attributes))
        self._by_kind.setdefault(of, {})[key] = None

    def note(self, key: str | None, name: str, at_ns: int, attributes: dict[str, Value]) -> None:
        """Something happened within the span, if it is open."""
        found = self._open.get(key or "")
        if found is not None and len(found.moments) < MOST_MOMENTS:
            found.moments.append(Moment(name, at_ns, attributes))

    def add(self, key: str, attributes: dict[str, Value]) -> None:
        if key in self._open:
            self._open[key].attributes |= attributes

    def start_of(self, key: str) -> int | None:
        return self._open[key].start_ns if key in self._open else None

    def end(
        self,
        key: str,
        at_ns: int,
        *,
        ok: bool | None = True,
        kind: str | None = None,
        message: str | None = None,
        attributes: dict[str, Value] | None = None,
        usage: tuple[Usage, ...] = (),
    ) -> None:
        """End a span, if it is open. kind: of the error, which is told as an exception too."""
        found = self._open.pop(key, None)
        if found is None:
            return
        del self._by_kind[found.of][key]
        end_ns = max(at_ns, found.start_ns)  # clocks may go back
        facts, moments = {**found.attributes, **(attributes or {})}, found.moments
        if kind is not None:
            facts["error.type"] = kind
            moments = [*moments, exception(end_ns, kind, message)]
        span = Span(
            found.key, found.parent, found.of, found.name, found.start_ns, end_ns,
            ok, message or "", facts, tuple(moments), usage,
        )  # fmt: skip
        self._ended.append(span)

    def take(self) -> list[Span]:
        """What has ended since the last call."""
        ended, self._ended = self._ended, []
        return ended
