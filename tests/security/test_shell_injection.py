"""No value is ever executed, and every value arrives byte for byte or is refused for a good reason, in real bash."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from prodigy.workflow.shell_words import BindError, ShellScript, ShellTextError, compile_script
from shell_attacks import Attacks
from shell_support import HOSTILE_VALUES, LARGE_VALUES, make_recorder, run_bound
from shell_templates import FIELDS, Composer, Template

Pair = tuple[Template, ShellScript, dict[str, str]]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_recorder(tmp_path_factory.mktemp("programs"))


def pairs(seed: int, templates: int, values_each: int) -> Iterator[Pair]:
    """Templates, each with several choices of values."""
    composer, choose = Composer(seed), random.Random(seed)
    for _ in range(templates):
        template = composer.template()
        script = compile_script(template.text)
        for _ in range(values_each):
            # Numbers more often than chance, or arithmetic would hardly ever run.
            pool = ("0", "5", "-3") if choose.random() < 0.15 else HOSTILE_VALUES
            values = {name: choose.choice(pool) for name in FIELDS}
            if choose.random() < 0.1 and not template.is_external:
                values[choose.choice(FIELDS)] = choose.choice(LARGE_VALUES)
            yield template, script, values


def verdict(pair: Pair, programs: Path) -> str | None:
    """What is wrong with one pair, or None."""
    template, script, values = pair
    about = f"\n{template.text}\n{script.text}\n{values!r:.3000}\n"
    try:
        ran = run_bound(lambda directory: script.bind({"item": values}, directory), programs)
    except BindError as error:
        return None if template.must_refuse(values) else f"needlessly refused: {error}{about}"
    if template.must_refuse(values):
        return f"should have been refused{about}"
    if ran.hurt:
        return f"EXECUTED{about}"
    expected = {tag: [[word.encode() for word in words(values)]] for tag, words in template.calls.items()}
    if ran.calls != expected:
        return f"expected {expected!r:.2000}\ngot {ran.calls!r:.2000}\n{ran.stderr!r:.2000}{about}"
    return None


def failures(found: Iterator[Pair], programs: Path) -> list[str]:
    with ThreadPoolExecutor(4) as pool:
        return [problem for problem in pool.map(lambda pair: verdict(pair, programs), found) if problem]


def test_a_sample_of_templates_and_hostile_values(programs: Path) -> None:
    assert failures(pairs(seed=1, templates=80, values_each=8), programs) == []


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(100, 120))
def test_ten_thousand_templates_and_hostile_values(seed: int, programs: Path) -> None:
    assert failures(pairs(seed, templates=50, values_each=10), programs) == []


def attack(seed: int, programs: Path) -> str | None:
    """A text that is accepted and then executes a value, or None."""
    attacks = Attacks(seed)
    text = attacks.script()
    try:
        script = compile_script(text)
    except ShellTextError:
        return None
    for _ in range(6 if script.variables else 0):
        values = attacks.values()
        try:
            # Errors of the author are many here, and must not keep the rest from running.
            ran = run_bound(lambda d: script.bind({"item": values}, d), programs, b"set +e +o pipefail\n")  # noqa: B023
        except BindError:
            continue
        if ran.hurt:
            return f"EXECUTED\n{text}\n{script.text}\n{values!a}"
    return None


def executed(seeds: range, programs: Path) -> list[str]:
    with ThreadPoolExecutor(4) as pool:
        return [problem for problem in pool.map(lambda seed: attack(seed, programs), seeds) if problem]


def test_a_sample_of_texts_written_to_be_attacked(programs: Path) -> None:
    assert executed(range(150), programs) == []


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("start", range(1_000, 11_000, 500))
def test_ten_thousand_texts_written_to_be_attacked(start: int, programs: Path) -> None:
    assert executed(range(start, start + 500), programs) == []
