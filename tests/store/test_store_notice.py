"""Notices: written with the fact, told once, coalesced by webhook and minute, never of operational deliveries."""

from typing import Any

import pytest
from store_make import (
    add,
    claim,
    dead,
    delivered,
    make_delivery,
    make_event,
    make_lane,
    make_live,
    publish,
    retried,
)

from reconciler.models.delivery import Reason
from reconciler.models.flow import Pause
from reconciler.models.health import Health
from reconciler.models.notice import Notice
from reconciler.models.operational import SOURCE
from reconciler.models.webhook import Trigger
from reconciler.store.base import EventStatus, RevisionMovedError, Store
from reconciler.store.notice import Told

MINUTE = 60_000
FAILING, PAUSED = Trigger.WEBHOOK_FAILING, Trigger.WEBHOOK_PAUSED
RECOVERED, DEAD = Trigger.WEBHOOK_RECOVERED, Trigger.DELIVERY_DEAD
EVER = 10**15


async def attempt(store: Store, uid: str, at: int, health: Health = Health.FAILED, **facts: Any) -> None:
    """One delivery to the webhook, attempted at once, and what came of it; afterwards it is out of the way."""
    name = f"{uid}{at}"
    await add(store, uid, name, at=at)
    (claimed,) = [one for one in await claim(store, at) if one.delivery_id == name]
    given: dict[str, Any] = {"health": health, "blame": f"told by {name}", **facts}
    if health is Health.WORKS:
        await store.finish([delivered(claimed, at=at, **given)])
    else:
        await store.finish([retried(claimed, EVER, at=at, **given)])


async def fail(store: Store, uid: str, *at: int) -> None:
    for one in at:
        await attempt(store, uid, one)


async def due(store: Store, now: int) -> list[tuple[Trigger, str, int]]:
    return [(notice.trigger, notice.webhook, notice.number) for notice in await store.notices(now=now, limit=100)]


async def tell(store: Store, now: int) -> list[Notice]:
    """Tell what is due, as somebody wanted it."""
    notices = await store.notices(now=now, limit=100)
    told = [Told(notice, make_event(f"told {notice.id} {now} {notice.number}", source=SOURCE)) for notice in notices]
    assert await store.announce(told, revision=await store.live_revision(), now=now) == len(notices)
    return list(notices)


async def test_three_failures_in_a_row_are_told_once(served: Store) -> None:
    """From the third on it is failing, since the first; more of the same is nothing new."""
    await fail(served, "a", 1, 2)
    assert await due(served, EVER) == []

    await fail(served, "a", 3, 4, 5)

    (notice,) = await tell(served, 5)
    assert (notice.trigger, notice.webhook, notice.number) == (FAILING, "a", 1)
    assert (notice.since, notice.last_at) == (1, 3)
    assert notice.body["failures"] == 3
    assert notice.body["reason"] == "3 attempts in a row failed: told by a3"
    assert notice.body["last_attempt"]["delivery_id"] == "a3"
    assert await due(served, EVER) == []


async def test_an_answer_in_between_begins_anew(served: Store) -> None:
    await fail(served, "a", 1, 2)
    await attempt(served, "a", 3, Health.WORKS)
    await fail(served, "a", 4, 5)

    assert await due(served, EVER) == []


async def test_the_first_delivery_afterwards_is_told_as_recovered(served: Store) -> None:
    """Since when it had been failing; and only once."""
    await fail(served, "a", 1, 2, 3)
    await tell(served, 3)

    await attempt(served, "a", 9, Health.WORKS)
    await attempt(served, "a", 10, Health.WORKS)

    (notice,) = await tell(served, 10)
    assert (notice.trigger, notice.since, notice.last_at) == (RECOVERED, 3, 9)
    assert notice.body["last_attempt"]["outcome"] == "delivered"


async def test_a_pause_is_told_whoever_paused(served: Store) -> None:
    """An operator, or five refusals in a row; its end is told by the first delivery after it, not during it."""
    await served.pause("a", Pause(1, "ann", "maintenance", until=9))
    for at in range(1, 6):
        await attempt(served, "b", at, Health.FAULT)

    told = {(notice.trigger, notice.webhook): notice for notice in await tell(served, 5)}

    assert list(told) == [(PAUSED, "a"), (FAILING, "b"), (PAUSED, "b")]
    assert told[PAUSED, "a"].body["pause"] == {"by": "ann", "reason": "maintenance", "until": 9}
    assert told[PAUSED, "b"].body["pause"]["by"] == "reconciler"
    assert told[PAUSED, "b"].body["failures"] == 5
    await served.resume("a")
    await attempt(served, "a", 20, Health.WORKS)
    assert await due(served, 20) == [(RECOVERED, "a", 1)]


async def test_what_arrives_during_a_pause_is_no_recovery(served: Store) -> None:
    """It was under way when the pause came."""
    await add(served, "a", "d1", "d2", at=0)
    first, second = await claim(served, 0)
    await served.pause("a", Pause(1, "ann", "maintenance"))
    await served.finish([delivered(first, at=2, health=Health.WORKS)])
    assert await due(served, EVER) == [(PAUSED, "a", 1)]
    await served.resume("a")

    await served.finish([delivered(second, at=3, health=Health.WORKS)])

    assert await due(served, EVER) == [(PAUSED, "a", 1), (RECOVERED, "a", 1)]


async def test_what_arrives_beside_what_led_to_a_pause_is_no_recovery(served: Store) -> None:
    """Two attempts were under way; one was told that the destination is gone."""
    await add(served, "a", "d1", "d2", at=0)
    first, second = await claim(served, 0)

    ended = [retried(first, EVER, at=2, health=Health.GONE), delivered(second, at=2, health=Health.WORKS)]
    await served.finish(ended)

    assert (await served.flow("a")).halt.pause is not None
    assert await due(served, EVER) == [(PAUSED, "a", 1)]


async def test_a_webhook_that_a_breaker_holds_back_is_failing_too(store: Store) -> None:
    """Those of the same host and path with something to send; their own attempts would never tell."""
    await publish(store, *(make_live(uid, uid) for uid in "abcd"))
    shared = [make_lane(uid, "acme.example.com/shared") for uid in "abc"]
    await store.configure(1, [*shared, make_lane("d")])
    for number in range(3):
        await fail(store, "a", 10 * number)
    await add(store, "b", "waits", at=EVER)

    for number in range(3, 10):
        await fail(store, "a", 10 * number)

    notices = await store.notices(now=EVER, limit=10)
    assert [(notice.trigger, notice.webhook) for notice in notices] == [(FAILING, "a"), (FAILING, "b")]
    assert "breaker" in notices[1].body["reason"]


async def test_dead_deliveries_are_counted_by_reason_and_five_are_named(served: Store) -> None:
    """One event tells of all of a minute."""
    await add(served, "a", *(f"d{number}" for number in range(8)), at=0)
    claims = await claim(served, 0)
    reasons = [Reason.EXHAUSTED, Reason.PERMANENT] * 4
    ended = [
        dead(one, reason, at=n, health=Health.WORKS)
        for n, (one, reason) in enumerate(zip(claims, reasons, strict=True))
    ]
    await served.finish(ended[:3])
    await served.finish(ended[3:])

    (notice,) = await tell(served, 8)

    assert (notice.trigger, notice.number, notice.since, notice.last_at) == (DEAD, 8, 0, 7)
    assert notice.body["reasons"] == {"exhausted": 4, "permanent": 4}
    assert [item["id"] for item in notice.body["deliveries"]] == ["d0", "d1", "d2", "d3", "d4"]
    assert notice.body["deliveries"][0] == {"id": "d0", "event_id": "event d0", "reason": "exhausted", "attempts": 1}


async def test_of_one_kind_a_webhook_tells_once_a_minute(served: Store) -> None:
    """The first at once, what follows when the minute is over; another webhook is not kept waiting."""

    async def die(uid: str, name: str, at: int) -> None:
        await add(served, uid, name, at=at)
        await served.finish([dead(one, at=at, health=Health.WORKS) for one in await claim(served, at)])

    await die("a", "d1", 1)
    assert [notice.number for notice in await tell(served, 2)] == [1]
    await die("a", "d2", 10)
    await die("a", "d3", 20)
    await die("b", "d4", 30)

    assert await due(served, 30) == [(DEAD, "b", 1)]
    assert await due(served, 2 + MINUTE - 1) == [(DEAD, "b", 1)]
    assert await due(served, 2 + MINUTE) == [(DEAD, "b", 1), (DEAD, "a", 2)]


async def test_a_webhook_that_flaps_ends_with_how_it_is(served: Store) -> None:
    """Within a minute it failed, recovered and failed again: the last event says that it is failing."""
    await fail(served, "a", 1, 2, 3)
    await tell(served, 3)
    await attempt(served, "a", 4, Health.WORKS)
    await tell(served, 4)

    await fail(served, "a", 5, 6, 7)
    await attempt(served, "a", 8, Health.WORKS)
    await fail(served, "a", 9, 10, 11)

    assert await due(served, 3 + MINUTE) == []
    assert await due(served, 4 + MINUTE) == [(RECOVERED, "a", 1), (FAILING, "a", 2)]


async def test_an_operational_delivery_begets_nothing(served: Store) -> None:
    """Neither failing nor dead nor paused nor recovered; nor does it hide what others tell."""
    for at in range(1, 6):
        event = make_event(f"e{at}", make_delivery(f"o{at}", "a", at), at=at, source=SOURCE)
        await served.accept([event], revision=1)
        (claimed,) = await claim(served, at)
        await served.finish([dead(claimed, at=at, health=Health.FAULT)])

    assert (await served.flow("a")).halt.pause is not None
    assert await due(served, EVER) == []

    await fail(served, "b", 11, 12, 13)
    assert await due(served, EVER) == [(FAILING, "b", 1)]


async def test_a_notice_that_nobody_wants_is_forgotten(served: Store) -> None:
    """And does not delay the next one, for whoever wants it by then."""
    await fail(served, "a", 1, 2, 3)
    (notice,) = await served.notices(now=3, limit=10)

    assert await served.announce([Told(notice, None)], revision=1, now=3) == 0

    assert await due(served, EVER) == []
    await attempt(served, "a", 4, Health.WORKS)
    await fail(served, "a", 5, 6, 7)
    assert (FAILING, "a", 1) in await due(served, 7)


async def test_a_fact_that_comes_in_between_is_not_lost(served: Store) -> None:
    """The event was made without it: it is not stored, and the notice is read again."""
    await add(served, "a", "d1", "d2", at=0)
    first, second = await claim(served, 0)
    await served.finish([dead(first, at=1, health=Health.WORKS)])
    (read,) = await served.notices(now=1, limit=10)
    await served.finish([dead(second, at=2, health=Health.WORKS)])

    assert await served.announce([Told(read, make_event("told"))], revision=1, now=2) == 0

    assert await served.event("told") is None
    assert await due(served, 2) == [(DEAD, "a", 2)]


async def test_events_are_stored_with_their_deliveries_or_not_at_all(served: Store) -> None:
    await fail(served, "a", 1, 2, 3)
    (read,) = await served.notices(now=3, limit=10)
    told = [Told(read, make_event("told", make_delivery("op", "b", 3), source=SOURCE))]

    with pytest.raises(RevisionMovedError):
        await served.announce(told, revision=0, now=3)
    assert await served.event("told") is None
    assert await due(served, 3) == [(FAILING, "a", 1)]

    assert await served.announce(told, revision=1, now=3) == 1
    found = await served.event("told")
    assert found is not None
    assert (found.status, found.deliveries) == (EventStatus.ACCEPTED, 1)


async def test_a_result_whose_lease_was_lost_tells_nothing(served: Store) -> None:
    await add(served, "a", "d1", at=0)
    (claimed,) = await claim(served, 0)
    await served.finish([retried(claimed, 5, at=1)])

    await served.finish([dead(claimed, at=2, health=Health.WORKS)])

    assert await due(served, EVER) == []


async def test_an_attempt_that_nobody_saw_the_end_of_counts_for_nothing(served: Store) -> None:
    await fail(served, "a", 1, 2)
    await attempt(served, "a", 3, Health.UNTOLD)
    assert await due(served, EVER) == []

    await fail(served, "a", 4)

    assert await due(served, EVER) == [(FAILING, "a", 1)]


async def test_an_answer_that_refuses_one_event_is_no_recovery(served: Store) -> None:
    """The receiver works, but nothing has arrived yet."""
    await fail(served, "a", 1, 2, 3)
    await tell(served, 3)
    await add(served, "a", "refused", at=4)
    (claimed,) = await claim(served, 4)

    await served.finish([dead(claimed, Reason.PERMANENT, at=4, health=Health.WORKS)])

    assert await due(served, 4) == [(DEAD, "a", 1)]
