"""What a queue of dead letters has in common: groups of the same error, kinds, hours, and what to do next."""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from prodigy.plan.identity import Item
from prodigy.report.letter_advice import advice
from prodigy.state.signature import signature

Letter = Mapping[str, Any]

SAMPLES = 3  # items named per group


class RetryCommand(Protocol):
    def __call__(self, run_id: str, options: str, expression: str) -> str | None: ...


def retry_command(run_id: str, options: str, expression: str) -> str | None:
    """What to type to retry these letters of a run that has ended."""
    return f"prodigy dlq retry {run_id}{options} --filter {shlex.quote(expression)}"


def analyse(letters: Sequence[Letter], retry: RetryCommand = retry_command) -> dict[str, Any]:
    """The analysis of these letters (records of `store.letters`), a JSON object:

    total_items, total_failures
    pattern_groups          letters with one signature, the most frequent first: {signature, count, eligible_count,
                            kinds (kind -> letters), first_occurrence, last_occurrence, sample_items, example_message,
                            command}; occurrences are failures with this signature, of any attempt
    error_distribution      kind -> failures of all attempts, the most frequent first
    temporal_distribution   hour (`2026-03-14T10:00:00Z`) -> failures, in order; hours without one are left out
    recommendations         {kind, count, text, command}: what to do about the letters whose last failure is of it

    retry: what to type so that letters run again (run's id, options of `dlq retry`, filter); None: nothing, now.
    """
    failures = [failure for letter in letters for failure in letter["failure_history"]]
    hours = Counter(f"{failure['timestamp'][:13]}:00:00Z" for failure in failures if failure["timestamp"])
    return {
        "total_items": len(letters),
        "total_failures": len(failures),
        "pattern_groups": _groups(letters, retry),
        "error_distribution": _most_frequent(failure["error_type"] for failure in failures),
        "temporal_distribution": dict(sorted(hours.items())),
        "recommendations": _recommendations(letters, retry),
    }


def statistics(letters: Sequence[Letter]) -> dict[str, Any]:
    """Numbers about these letters, a JSON object: total_items, eligible_for_reprocess, requiring_manual_review,
    oldest_item and newest_item (the first of all attempts that failed, and the last: times, or null), error_categories
    (signature -> letters), kinds (kind of the last failure -> letters)."""
    first = [letter["first_attempt"] for letter in letters if letter["first_attempt"]]
    last = [letter["last_attempt"] for letter in letters if letter["last_attempt"]]
    return {
        "total_items": len(letters),
        "eligible_for_reprocess": sum(letter["reprocess_eligible"] for letter in letters),
        "requiring_manual_review": sum(letter["manual_review_required"] for letter in letters),
        "oldest_item": min(first, default=None),
        "newest_item": max(last, default=None),
        "error_categories": _most_frequent(letter["error_signature"] for letter in letters),
        "kinds": _most_frequent(kind_of(letter) for letter in letters),
    }


def kind_of(letter: Letter) -> str:
    """The kind of a letter's last failure."""
    history = letter["failure_history"]
    return history[-1]["error_type"] if history else "unknown"


def _most_frequent(names: Iterable[str]) -> dict[str, int]:
    """name -> how often, the most frequent first; equal ones by name."""
    return dict(sorted(Counter(names).items(), key=lambda pair: (-pair[1], pair[0])))


def _groups(letters: Sequence[Letter], retry: RetryCommand) -> list[dict[str, Any]]:
    of: dict[str, list[Letter]] = defaultdict(list)
    for letter in letters:
        of[letter["error_signature"]].append(letter)
    groups = [_group(name, members, retry) for name, members in of.items()]
    return sorted(groups, key=lambda group: (-group["count"], group["signature"]))


def _group(name: str, members: Sequence[Letter], retry: RetryCommand) -> dict[str, Any]:
    eligible = sum(letter["reprocess_eligible"] for letter in members)
    times = sorted(time for letter in members for time in _occurrences(letter))
    newest = max(members, key=lambda letter: letter["last_attempt"] or "")
    return {
        "signature": name,
        "count": len(members),
        "eligible_count": eligible,
        "kinds": _most_frequent(kind_of(letter) for letter in members),
        "first_occurrence": times[0] if times else newest["first_attempt"],
        "last_occurrence": times[-1] if times else newest["last_attempt"],
        "sample_items": [letter["item_id"] for letter in members[:SAMPLES]],
        "example_message": newest["failure_history"][-1]["error_message"] if newest["failure_history"] else "",
        "command": retry(newest["run_id"], "" if eligible else " --all", f"letter.error_signature == '{name}'"),
    }


def _occurrences(letter: Letter) -> Iterator[str]:
    """When the letter's own error happened, in whichever attempt."""
    item = Item(letter["ordinal"], letter["item_id"], letter["item_data"])
    same = {letter["failure_history"][-1]["error_message"]: True} if letter["failure_history"] else {}
    for failure in letter["failure_history"]:
        message = failure["error_message"]
        if message not in same:
            same[message] = signature(message, item) == letter["error_signature"]
        if same[message] and failure["timestamp"]:
            yield failure["timestamp"]


def _recommendations(letters: Sequence[Letter], retry: RetryCommand) -> list[dict[str, Any]]:
    example: dict[str, Letter] = {}
    for letter in letters:
        example.setdefault(kind_of(letter), letter)
    found = []
    for kind, count in _most_frequent(map(kind_of, letters)).items():
        rule = advice(kind)
        letter = example[kind]
        if rule.retry is None:
            item = letter["item_id"]
            end_of_options = "-- " if item.startswith("-") else ""
            command: str | None = f"prodigy dlq inspect {end_of_options}{shlex.quote(item)} {letter['run_id']}"
        else:
            command = retry(letter["run_id"], rule.retry, f"letter.error_type == '{kind}'")
        found.append({"kind": kind, "count": count, "text": rule.text, "command": command})
    return found
