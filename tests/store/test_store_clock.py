"""A clock that was set back: what was put off by the old time does not wait for it to come again."""

import pytest
from store_make import (
    HOUR,
    add,
    claim,
    claim_ids,
    delivered,
    make_delivery,
    make_event,
    make_lane,
    make_live,
    publish,
    retried,
)

from reconciler.models.flow import Pause
from reconciler.models.health import BREAKER_FAILURES, Health
from reconciler.models.operational import SOURCE
from reconciler.store.base import Store
from reconciler.store.notice import Told

NOON = 1_700_000_000_000
ELEVEN = NOON - HOUR
LIMITED = {"per_second": 1.0, "burst": 1}


async def test_what_is_due_by_the_old_clock_is_claimed_by_the_new_one(served: Store) -> None:
    """A backlog, a retry, and what is new, of a lane that was served just before."""
    await add(served, "a", "retried", at=NOON)
    [claimed] = await claim(served, NOON)
    await served.finish([retried(claimed, NOON + 5_000)])
    await add(served, "a", "waiting", at=NOON)

    assert await served.rewind(now=ELEVEN, by_ms=HOUR) == HOUR
    await add(served, "a", "new", at=ELEVEN)

    assert await claim_ids(served, ELEVEN) == ["waiting", "new"]
    assert await served.next_wake_at() == ELEVEN + 5_000
    assert await claim_ids(served, ELEVEN + 5_000) == ["retried"]


async def test_a_pace_gives_its_tokens_and_its_hold_ends_by_the_new_clock(store: Store) -> None:
    await publish(store, make_live("a", "a"), make_live("b", "b"))
    await store.configure(1, [make_lane("a", **LIMITED), make_lane("b")])
    await add(store, "a", "a1", "a2", at=NOON)
    await add(store, "b", "b1", "b2", at=NOON)
    first = await claim(store, NOON, limit=2)
    assert sorted(item.delivery_id for item in first) == ["a1", "b1"]
    await store.finish([retried(item, NOON, blocked_until=NOON + 7_000) for item in first if item.delivery_id == "b1"])

    await store.rewind(now=ELEVEN, by_ms=HOUR)

    assert await claim_ids(store, ELEVEN) == []
    assert await claim_ids(store, ELEVEN + 1_000) == ["a2"]
    assert sorted(await claim_ids(store, ELEVEN + 7_000)) == ["b1", "b2"]


async def test_a_breaker_is_probed_by_the_new_clock(served: Store) -> None:
    await add(served, "a", *(f"a{number}" for number in range(BREAKER_FAILURES)), at=NOON)
    claimed = await claim(served, NOON)
    await served.finish([retried(item, NOON, health=Health.FAILED) for item in claimed])
    probe_at = await served.next_wake_at()
    assert probe_at is not None and probe_at > NOON

    await served.rewind(now=ELEVEN, by_ms=HOUR)

    assert await served.next_wake_at() == probe_at - HOUR
    assert len(await claim_ids(served, probe_at - HOUR)) == 1


async def test_a_successor_is_held_no_longer_than_before(served: Store) -> None:
    held = make_delivery("second", "a", NOON, order_key="r", hold_until=NOON + HOUR)
    await served.accept(
        [make_event("1", make_delivery("first", "a", NOON, order_key="r")), make_event("2", held)], revision=1
    )
    assert await claim_ids(served, NOON) == ["first"]

    await served.rewind(now=ELEVEN, by_ms=HOUR)

    assert await claim_ids(served, NOON - 1) == []
    assert await claim_ids(served, NOON) == ["second"]


async def test_what_is_to_be_told_is_told_by_the_new_clock(served: Store) -> None:
    """A pause told at noon, and another one a moment later, which waits for the minute to be over."""
    for moment in (NOON, NOON + 1_000):
        await served.pause("a", Pause(moment, "ann", "by a test"))
        if moment == NOON:
            [notice] = await served.notices(now=NOON, limit=9)
            await served.announce([Told(notice, make_event("told", source=SOURCE))], revision=1, now=NOON)
    assert await served.notices(now=NOON + 59_000, limit=9) == ()

    await served.rewind(now=ELEVEN + 1_000, by_ms=HOUR)

    assert len(await served.notices(now=ELEVEN + 61_000, limit=9)) == 1


@pytest.mark.parametrize(("clock", "moved"), [(ELEVEN, HOUR), (NOON - 999, 0), (NOON, 0), (NOON + HOUR, 0)])
async def test_a_store_tells_by_its_last_claim_how_far_it_is_ahead(served: Store, clock: int, moved: int) -> None:
    """After a restart nobody else knows; a clock that is only nudged, or goes on, moves nothing."""
    await add(served, "a", "a1", "a2", at=NOON)
    await claim(served, NOON, limit=1)

    assert await served.rewind(now=clock) == moved
    assert await claim_ids(served, max(clock, NOON - moved)) == ["a2"]


async def test_a_store_without_a_claim_is_left_alone(served: Store) -> None:
    """An event of a time to come is no sign of the clock: a replay may be due by then."""
    await add(served, "a", "a1", at=NOON)

    assert await served.rewind(now=ELEVEN) == 0
    assert await served.next_wake_at() == NOON


async def test_a_long_backlog_moves_whole(served: Store) -> None:
    await add(served, "a", *(f"a{number}" for number in range(1_201)), at=NOON)
    await claim(served, NOON, limit=1)

    await served.rewind(now=ELEVEN)

    claimed = await claim(served, ELEVEN, limit=2_000)
    assert len(claimed) == 15, "as many as may be in flight beside the first"
    await served.finish([delivered(item) for item in claimed])
    assert await served.next_wake_at() == ELEVEN
    assert len(await claim(served, ELEVEN, limit=2_000)) == 15
