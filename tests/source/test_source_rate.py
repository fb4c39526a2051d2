"""How often one sender may ask."""

import httpx
from hypothesis import given
from hypothesis import strategies as st
from served import Room, event, running

from reconciler.source.http import HttpLimits
from reconciler.source.rate import BURST_SECONDS, SENDERS_MAX, Rate
from reconciler.web.app import build_app


@given(st.lists(st.floats(0, 2), max_size=200), st.integers(1, 20))
def test_no_sender_gets_more_than_its_rate_and_its_burst(pauses: list[float], per_second: int) -> None:
    """Over any time that begins with the first request."""
    rate, now, taken = Rate(per_second), 0.0, 0
    for pause in pauses:
        now += pause
        taken += rate.wait_seconds("a", now=now) == 0

        assert taken <= per_second * (now + BURST_SECONDS) + 1e-6


@given(st.integers(1, 50), st.integers(1, 300))
def test_who_waits_as_long_as_told_may_ask(per_second: int, requests: int) -> None:
    """The wait is what Retry-After says."""
    rate, now = Rate(per_second), 100.0
    for _ in range(requests):
        now += rate.wait_seconds("a", now=now) + 1e-9

    assert rate.wait_seconds("a", now=now + 1 / per_second) == 0


@given(st.lists(st.floats(0, 2), max_size=50), st.integers(1, 20), st.integers(1, 30))
def test_looking_tells_what_asking_would_and_counts_nothing(pauses: list[float], per_second: int, burst: int) -> None:
    """Law: as long as nobody asks, each look is the same; then the answer is what the look said."""
    rate, now = Rate(per_second, burst=burst), 0.0
    for pause in pauses:
        now += pause
        looks = {rate.due_seconds("a", now=now) for _ in range(3)}

        assert looks == {rate.wait_seconds("a", now=now)}


def test_senders_do_not_share() -> None:
    """One that floods costs the others nothing."""
    rate = Rate(1)
    for _ in range(100):
        rate.wait_seconds("flood", now=0)

    assert rate.wait_seconds("flood", now=0) > 0
    assert rate.wait_seconds("other", now=0) == 0


def test_what_is_remembered_is_bounded() -> None:
    """Addresses are cheap for who has many."""
    rate = Rate(1)
    for number in range(SENDERS_MAX + 500):
        rate.wait_seconds(f"{number}", now=0)

    assert len(rate._buckets) == SENDERS_MAX


async def test_who_asks_too_often_is_429_with_retry_after(room: Room) -> None:
    """Before a byte of the body is read, and nothing is stored."""
    app = build_app(
        store=room.store, live=room.live, intake=room.intake, status=dict, limits=HttpLimits(per_second=0.001)
    )
    async with running(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
        first = await client.post("/v1/events", json=event(1))
        second = await client.post("/v1/events", json=event(2))

    assert (first.status_code, second.status_code) == (202, 429)
    assert second.json()["code"] == "rate"
    assert 1 <= int(second.headers["retry-after"]) <= 1000
    assert len(await room.store.events()) == 1
