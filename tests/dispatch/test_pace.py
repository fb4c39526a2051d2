"""The gate before the first byte (`dispatch.pace`)."""

from hypothesis import given
from hypothesis import strategies as st

from reconciler.dispatch.pace import Gate


def test_writes_on_one_key_are_kept_apart_and_other_keys_are_not_held():
    gate = Gate()

    waits = [gate.reserve("a", per_second=9, burst=1, now=100.0) for _ in range(3)]
    other = gate.reserve("b", per_second=9, burst=1, now=100.0)

    assert waits == [0.0, 1 / 9, 2 / 9] or [round(w, 9) for w in waits] == [0.0, round(1 / 9, 9), round(2 / 9, 9)]
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
