"""The gate before the first byte (`dispatch.pace`)."""

from hypothesis import given
from hypothesis import strategies as st
from worker_room import flow

from reconciler.dispatch.pace import UNLIMITED, Gate, Pace, paces_of


def test_writes_on_one_key_are_kept_apart_and_other_keys_are_not_held():
    gate = Gate()

    waits = [gate.reserve("a", per_second=9, burst=1, now=100.0) for _ in range(3)]
    other = gate.reserve("b", per_second=9, burst=1, now=100.0)

    assert [round(wait, 9) for wait in waits] == [0.0, round(1 / 9, 9), round(2 / 9, 9)]
    assert other == 0.0


def test_unlimited_never_waits():
    assert [Gate().reserve("a", per_second=None, burst=1, now=1.0) for _ in range(3)] == [0.0, 0.0, 0.0]


@given(
    steps=st.lists(st.floats(0, 0.5), min_size=20, max_size=80),
    per_second=st.floats(0.5, 50),
    burst=st.integers(1, 5),
)
def test_no_window_ever_holds_more_than_the_rate_allows(steps, per_second, burst):
    """Law: in any window of length w at most burst + w × rate writes (plus one for the window's closed end)."""
    gate, now, writes = Gate(), 0.0, []
    for step in steps:
        now += step
        writes.append(now + gate.reserve("key", per_second=per_second, burst=burst, now=now))

    writes.sort()
    for first in range(len(writes)):
        for last in range(first, len(writes)):
            window = writes[last] - writes[first]
            assert last - first + 1 <= burst + window * per_second + 1 + 1e-6


def test_slots_taken_in_advance_are_reckoned_at_the_new_rate():
    """A rate that was one in a hundred seconds and is nine a second now must not hold anything for minutes."""
    gate = Gate()
    assert [gate.reserve("a", per_second=0.01, burst=1, now=1.0) for _ in range(2)] == [0.0, 100.0]

    wait = gate.reserve("a", per_second=10, burst=1, now=1.0)

    assert round(wait, 9) == 0.2


def test_the_strictest_limit_of_a_pace_key_holds_for_all_its_webhooks():
    def sharing(name, limit):
        return flow("a", rate_limit=limit).model_copy(update={"metadata": flow(name).metadata})

    webhooks = [
        sharing("one", "unlimited"),
        sharing("two", {"per_second": 9, "burst": 3}),
        sharing("three", {"per_second": 20, "burst": 1}),
        flow("b"),
    ]

    for order in (webhooks, webhooks[::-1], webhooks[2:] + webhooks[:2]):
        assert paces_of(order) == {flow("a").pace_key: Pace(9, 1), flow("b").pace_key: UNLIMITED}
