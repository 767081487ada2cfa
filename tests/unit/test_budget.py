"""What may start within a budget: nothing passes a cap by more than agents exceed their reservations by."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from prodigy.state.budget import Go, Purse, Spent, Wait, decide


def test_without_a_budget_everything_may_start() -> None:
    assert decide([], 5.0, 4) == Go(None, None)


def test_the_first_gets_an_even_share_and_may_use_what_is_left() -> None:
    assert decide([Purse("run", 8)], None, 4) == Go(2.0, 8.0)


def test_later_ones_are_expected_to_cost_what_the_dearest_did() -> None:
    assert decide([Purse("run", 8, spent=2, reserved=3)], 3.0, 4) == Go(3.0, 3.0)


def test_what_does_not_fit_waits_for_others_or_is_over() -> None:
    waits = Purse("run", 8, spent=4, reserved=2)
    assert decide([waits], 3.0, 4) == Wait(waits)
    over = Purse("run", 8, spent=6)
    assert decide([over], 3.0, 4) == Spent(over)


def test_an_items_own_cap_is_set_aside_whole_and_ends_only_that_item() -> None:
    run, item = Purse("run", 20, spent=5), Purse("item", 4, spent=1, own=True)
    assert decide([run, item], 0.1, 4) == Go(3.0, 3.0, own=True)
    used_up = Purse("item", 4, spent=4, own=True)
    assert decide([run, used_up], 0.1, 4) == Spent(used_up)


_COSTS = st.lists(st.floats(0.01, 5), min_size=1, max_size=60)


@given(cap=st.floats(1, 50), slots=st.integers(1, 16), costs=_COSTS, order=st.randoms(use_true_random=False))
def test_the_cap_holds_but_for_what_agents_exceed_their_reservations_by(
    cap: float, slots: int, costs: list[float], order: object
) -> None:
    purse, dearest, running, exceeded = Purse("run", cap), None, list[tuple[float, float]](), 0.0
    waiting = list(costs)
    while waiting or running:
        decision = decide([purse], dearest, slots) if waiting and len(running) < slots else None
        if isinstance(decision, Go):
            assert decision.reserve is not None
            purse.reserved += decision.reserve
            running.append((decision.reserve, waiting.pop()))
            continue
        if isinstance(decision, Spent) and not running:
            break
        assert running, "it waits for nobody"
        reserve, cost = running.pop(order.randrange(len(running)))  # type: ignore[attr-defined]
        purse.reserved = max(0.0, purse.reserved - reserve)
        purse.spent += cost
        exceeded += max(0.0, cost - reserve)
        dearest = max(dearest or 0.0, cost)
    assert purse.spent <= cap + exceeded + 1e-6
