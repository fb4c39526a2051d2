"""What holds deliveries back and lets them go: pauses, breakers, backlogs that are passed or compacted."""

from typing import Any

import pytest
from store_make import (
    FAR,
    HOUR,
    add,
    claim,
    claim_ids,
    delivered,
    ended,
    make_delivery,
    make_event,
    make_lane,
    make_live,
    publish,
    retried,
    state_of,
)

from reconciler.errors import NotInStoreError
from reconciler.models.delivery import Outcome, Reason, State
from reconciler.models.flow import ITSELF, Pause
from reconciler.models.health import BREAKER_FAILURES, FAULTS_MAX, Health
from reconciler.store.base import Claimed, DeliveryFilter, Finished, Store
from reconciler.store.open import open_store

NOON = 1_700_000_000_000
LATER = NOON + FAR  # a hold that never ends in a test
BY_ANN = Pause(NOON, "ann", "the flow is being rebuilt")


def failed(claimed: Claimed, *, at: int | None = None, health: Health = Health.FAILED, **facts: Any) -> Finished:
    """An attempt that failed at the receiver, due again at once."""
    now = claimed.started_at if at is None else at
    return retried(claimed, now, at=now, health=health, **facts)


async def open_breaker(store: Store, uid: str = "a", *, at: int = NOON) -> None:
    """Ten failures in a row."""
    await add(store, uid, *(f"{uid}{number}" for number in range(BREAKER_FAILURES)), at=at)
    claimed = await claim(store, at)
    assert len(claimed) == BREAKER_FAILURES
    await store.finish([failed(item) for item in claimed])


async def names_of(store: Store, *, state: State | None = None) -> list[str]:
    return sorted(item.id for item in await store.deliveries(where=DeliveryFilter(state=state)))


# Pauses


async def test_a_paused_webhook_keeps_its_backlog_and_others_go_on(served: Store) -> None:
    await add(served, "a", "a1")
    await add(served, "b", "b1")

    await served.pause("a", BY_ANN)

    assert await claim_ids(served, NOON) == ["b1"]
    assert await served.next_wake_at() is None
    found = await served.delivery("a1")
    assert found is not None and found[0].state is State.PENDING
    assert found[0].note is not None and "the flow is being rebuilt" in found[0].note


async def test_what_is_accepted_during_a_pause_waits_and_goes_when_it_ends(served: Store) -> None:
    await served.pause("a", BY_ANN)
    await add(served, "a", "a1")
    assert await claim_ids(served, NOON) == []

    ended_pause = await served.resume("a")

    assert ended_pause is not None
    assert ended_pause.reason == BY_ANN.reason
    assert await claim_ids(served, NOON) == ["a1"]
    assert await served.resume("a") is None


async def test_a_pause_ends_by_itself_at_its_time(served: Store) -> None:
    await add(served, "a", "a1")
    await served.pause("a", Pause(NOON, "ann", "lunch", NOON + HOUR))

    assert await claim_ids(served, NOON + HOUR - 1) == []
    assert await served.next_wake_at() == NOON + HOUR
    assert await claim_ids(served, NOON + HOUR) == ["a1"]
    assert await served.halts() == {}, "and nothing is said of it any more"


async def test_a_pause_of_a_webhook_without_deliveries_is_forgotten_at_its_time(served: Store) -> None:
    await served.pause("a", Pause(NOON, "ann", "lunch", NOON + HOUR))
    halts = await served.halts()
    assert [halt.at(NOON + HOUR).pause for halt in halts.values()] == [None]

    await claim(served, NOON + HOUR)

    assert await served.halts() == {}


async def test_giving_up_stands_still_during_a_pause(served: Store) -> None:
    await add(served, "a", "a1", at=NOON)
    (first,) = await claim(served, NOON)
    await served.finish([retried(first, NOON + 10, give_up_at=NOON + 1_000)])
    await served.pause("a", BY_ANN)

    await served.resume("a")

    (second,) = await claim(served, NOON + HOUR)
    assert second.give_up_at == NOON + 1_000 + HOUR - 10


async def test_a_pause_outlives_revisions_renames_and_configurations(served: Store) -> None:
    await add(served, "a", "a1")
    await served.pause("a", BY_ANN)

    await publish(served, make_live("a", "renamed", title="another"))
    await served.configure(2, [make_lane(uid, max_concurrency=4) for uid in "abc"])

    assert await claim_ids(served, NOON) == []
    assert (await served.flow("renamed")).halt.pause is not None
    with pytest.raises(NotInStoreError):
        await served.resume("a")
    await served.resume("renamed")
    assert await claim_ids(served, NOON) == ["a1"]


async def test_the_last_pause_holds(served: Store) -> None:
    await add(served, "a", "a1")
    await served.pause("a", Pause(NOON, "ann", "lunch", NOON + HOUR))
    await served.pause("a", BY_ANN)

    assert await claim_ids(served, NOON + 2 * HOUR) == []


async def test_what_is_in_flight_ends_as_it_ends_during_a_pause(served: Store) -> None:
    await add(served, "a", "a1")
    (one,) = await claim(served, NOON)
    await served.pause("a", BY_ANN)

    await served.finish([delivered(one)])

    assert await state_of(served, "a1") is State.DELIVERED


@pytest.mark.parametrize("verb", ["flow", "resume", "backlog", "compact"])
async def test_a_name_that_is_not_live_is_said(served: Store, verb: str) -> None:
    with pytest.raises(NotInStoreError):
        await getattr(served, verb)("nobody")


async def test_a_pause_of_a_webhook_that_is_not_live_is_refused(served: Store) -> None:
    with pytest.raises(NotInStoreError):
        await served.pause("nobody", BY_ANN)


# Breakers


async def test_ten_failures_in_a_row_stop_a_pace_key_but_for_one_probe_after_30_seconds(served: Store) -> None:
    await open_breaker(served)
    await add(served, "b", "b1", at=NOON)

    assert await claim_ids(served, NOON + 29_999) == ["b1"], "the others go on"
    assert await served.next_wake_at() == NOON + 30_000
    (probe,) = await claim(served, NOON + 30_000)
    assert probe.is_probe
    assert await claim_ids(served, NOON + HOUR) == [], "one at a time"
    assert await served.next_wake_at() is None


async def test_a_probe_that_fails_doubles_the_wait_and_the_next_one_is_another_delivery(served: Store) -> None:
    await open_breaker(served)
    (probe,) = await claim(served, NOON + 30_000)
    await served.finish([failed(probe, is_counted=False)])

    assert await claim_ids(served, NOON + 30_000 + 59_999) == []
    (second,) = await claim(served, NOON + 30_000 + 60_000)
    assert second.is_probe
    assert second.delivery_id != probe.delivery_id


async def test_every_delivery_has_its_turn_as_probe_whatever_goes_first(served: Store) -> None:
    """A fresh one that the receiver will never take must not be the only probe for ever, ahead of all that waits."""
    await open_breaker(served)
    await served.resume("a", fresh_first=True)
    await add(served, "a", "poison", at=NOON)
    probed = []
    for number in range(1, BREAKER_FAILURES + 2):
        (probe,) = await claim(served, NOON + number * HOUR)
        probed.append(probe.delivery_id)
        await served.finish([failed(probe, is_counted=False)])

    assert sorted(probed) == await names_of(served)


async def test_a_probe_that_is_answered_closes_the_breaker(served: Store) -> None:
    await open_breaker(served)
    (probe,) = await claim(served, NOON + 30_000)

    await served.finish([delivered(probe, health=Health.WORKS)])

    claimed = await claim(served, NOON + 30_001)
    assert len(claimed) == BREAKER_FAILURES - 1
    assert not any(item.is_probe for item in claimed)
    assert await served.halts() == {}


@pytest.mark.parametrize("end", ["released", "lease expired"])
async def test_a_probe_that_told_nothing_is_followed_by_another_at_once(served: Store, end: str) -> None:
    await open_breaker(served)
    (probe,) = await claim(served, NOON + 30_000)

    if end == "released":
        await served.release([probe], due_at=NOON + 30_000)
    else:
        await served.finish([failed(probe, health=Health.UNTOLD)])

    (second,) = await claim(served, NOON + 30_001)
    assert second.is_probe


async def test_attempts_closed_by_their_lease_open_no_breaker_and_pause_nothing(served: Store) -> None:
    for number in range(3 * BREAKER_FAILURES):
        await add(served, "a", f"a{number}", at=NOON)
    while claimed := await claim(served, NOON):
        await served.finish([ended(item, State.DELIVERED, Outcome.DELIVERED, health=Health.UNTOLD) for item in claimed])

    assert await served.halts() == {}


async def test_success_between_failures_keeps_the_breaker_closed(served: Store) -> None:
    await add(served, "a", *(f"a{number}" for number in range(3 * BREAKER_FAILURES)), at=NOON)
    for number in range(3 * BREAKER_FAILURES):
        (item,) = await claim(served, NOON, limit=1)
        works = number % BREAKER_FAILURES == 0
        await served.finish([delivered(item, health=Health.WORKS) if works else failed(item)])

    assert await served.halts() == {}


async def test_webhooks_of_one_pace_key_share_its_breaker(store: Store) -> None:
    await publish(store, *(make_live(uid, uid) for uid in "ab"))
    await store.configure(1, [make_lane(uid, "shared") for uid in "ab"])
    await open_breaker(store)
    await add(store, "b", "b1", at=NOON)

    assert await claim_ids(store, NOON) == []
    assert set(await store.halts()) == {"a", "b"}


async def test_an_open_breaker_is_probed_at_once_when_the_operator_resumes(served: Store) -> None:
    await open_breaker(served)

    await served.resume("a")

    (probe,) = await claim(served, NOON + 1)
    assert probe.is_probe


async def test_giving_up_stands_still_while_a_breaker_is_open(served: Store) -> None:
    await open_breaker(served)
    (probe,) = await claim(served, NOON + 30_000)
    await served.finish([delivered(probe, health=Health.WORKS)])
    (again,) = await claim(served, NOON + 40_000, limit=1)
    await served.finish([retried(again, NOON + 40_000, give_up_at=NOON + 50_000)])

    claimed = await claim(served, NOON + HOUR)

    (late,) = [item for item in claimed if item.delivery_id == again.delivery_id]
    assert late.give_up_at == NOON + 50_000 + HOUR - 40_000


# Faults of the destination


async def test_five_faults_in_a_row_pause_the_webhook_with_the_reason(served: Store) -> None:
    await add(served, "a", "a1", at=NOON)
    for number in range(FAULTS_MAX):
        assert (await served.flow("a")).halt.pause is None, number
        (item,) = await claim(served, NOON)
        await served.finish([failed(item, health=Health.FAULT, blame="HTTP 404")])

    pause = (await served.flow("a")).halt.pause
    assert pause is not None
    assert (pause.paused_by, pause.until) == (ITSELF, None)
    assert pause.reason == "the destination refused 5 attempts in a row: HTTP 404"
    assert await claim_ids(served, NOON + HOUR) == []
    await served.resume("a")
    (item,) = await claim(served, NOON + HOUR)
    await served.finish([failed(item, health=Health.FAULT, blame="HTTP 404")])
    assert (await served.flow("a")).halt.pause is None, "the row begins anew"


async def test_a_destination_that_is_gone_pauses_at_once_and_its_delivery_stays_pending(served: Store) -> None:
    await add(served, "a", "a1", at=NOON)
    (item,) = await claim(served, NOON)

    await served.finish([failed(item, health=Health.GONE, blame="HTTP 410", is_counted=False)])

    assert await state_of(served, "a1") is State.PENDING
    assert (await served.flow("a")).halt.pause is not None


async def test_an_operators_pause_is_not_overwritten_by_what_comes_back(served: Store) -> None:
    await add(served, "a", "a1", at=NOON)
    (item,) = await claim(served, NOON)
    await served.pause("a", BY_ANN)

    await served.finish([failed(item, health=Health.GONE, blame="HTTP 410")])

    pause = (await served.flow("a")).halt.pause
    assert pause is not None and pause.reason == BY_ANN.reason


# Restarts


async def test_pace_retry_after_breaker_and_pause_survive_a_restart(store_url: str) -> None:
    """DESIGN: all of it survives restarts."""
    opened = open_store(store_url, create=True)
    assert opened is not None
    async with opened as store:
        await publish(store, *(make_live(uid, uid) for uid in "abcd"))
        lanes = [make_lane("a"), make_lane("b"), make_lane("c"), make_lane("d", per_second=0.1)]
        await store.configure(1, lanes)
        await open_breaker(store)
        await add(store, "b", "b1", "b2", at=NOON)
        (one, _) = await claim(store, NOON)
        await store.finish([retried(one, NOON, blocked_until=NOON + HOUR)])
        await add(store, "c", "c1", at=NOON)
        await store.pause("c", BY_ANN)
        await add(store, "d", "d1", "d2", at=NOON)
        assert await claim_ids(store, NOON) == ["d1"]

    again = open_store(store_url, create=False)
    assert again is not None
    async with again as store:
        await store.configure(1, lanes)
        assert await claim_ids(store, NOON + 9_999) == []
        assert await claim_ids(store, NOON + 10_000) == ["d2"]
        assert [item.is_probe for item in await claim(store, NOON + 30_000)] == [True]
        assert await claim_ids(store, NOON + HOUR - 1) == []
        assert await claim_ids(store, NOON + HOUR) == ["b1"]
        assert (await store.flow("c")).halt.pause == BY_ANN


# Backlogs


async def test_a_flow_tells_how_long_its_backlog_takes(served: Store) -> None:
    await served.configure(1, [make_lane("a", "k", per_second=9.0), make_lane("b", "k"), make_lane("c")])
    await add(served, "a", *(f"a{number}" for number in range(90)))
    await add(served, "b", *(f"b{number}" for number in range(10)))

    alone, unlimited = await served.flow("a"), await served.flow("c")

    assert (alone.pending, alone.sharing, alone.per_second) == (90, 10, pytest.approx(9, rel=1e-4))
    assert alone.seconds() == pytest.approx(100 / 9, rel=1e-3)
    assert unlimited.seconds() is None


async def test_fresh_deliveries_go_first_and_the_backlog_behind_them(served: Store) -> None:
    await add(served, "a", "old1", "old2", at=NOON)
    await served.pause("a", BY_ANN)
    await served.resume("a", fresh_first=True)
    await add(served, "a", "new1", "new2", at=NOON + 10)

    assert await claim_ids(served, NOON + 10, limit=1) == ["new1"]
    assert await claim_ids(served, NOON + 10) == ["new2", "old1", "old2"]


async def test_a_fresh_delivery_that_is_retried_still_goes_before_the_backlog(served: Store) -> None:
    await add(served, "a", "old1", at=NOON)
    await served.resume("a", fresh_first=True)
    await add(served, "a", "new1", at=NOON + 10)
    (fresh,) = await claim(served, NOON + 10, limit=1)
    await served.finish([retried(fresh, NOON + 20)])

    assert await claim_ids(served, NOON + 20, limit=1) == ["new1"]


async def test_a_backlog_that_is_retried_later_stays_behind_what_is_fresh(served: Store) -> None:
    await add(served, "a", "old1", at=NOON)
    (old,) = await claim(served, NOON)
    await served.finish([retried(old, NOON + 100)])
    await served.resume("a", fresh_first=True)
    await add(served, "a", "new1", at=NOON + 200)

    assert await claim_ids(served, NOON + 200) == ["new1", "old1"]


async def test_the_backlog_goes_on_at_once_where_nothing_is_fresh(served: Store) -> None:
    await add(served, "a", "old1", "old2", at=NOON)
    await served.resume("a", fresh_first=True)

    assert await served.next_wake_at() == NOON
    assert await claim_ids(served, NOON) == ["old1", "old2"]


async def test_fresh_first_can_be_asked_for_again(served: Store) -> None:
    """Each time what is accepted from then on passes what was there."""
    for day in range(4):
        await add(served, "a", f"day{day}", at=NOON + day)
        await served.resume("a", fresh_first=True)
    await add(served, "a", "today", at=NOON + 9)

    assert await claim_ids(served, NOON + 10) == ["today", "day3", "day2", "day1", "day0"]


async def test_fresh_first_keeps_the_order_within_an_access_request(served: Store) -> None:
    await add(served, "a", "r-created", at=NOON, order_key="r", hold_until=LATER)
    await add(served, "a", "s-created", at=NOON, order_key="s", hold_until=LATER)
    await served.resume("a", fresh_first=True)
    await add(served, "a", "r-approved", at=NOON + 10, order_key="r", hold_until=LATER)
    await add(served, "a", "t-created", at=NOON + 10, order_key="t", hold_until=LATER)

    first = await claim(served, NOON + 10)

    assert [item.delivery_id for item in first] == ["t-created", "r-created", "s-created"]
    await served.finish([delivered(item) for item in first])
    assert await claim_ids(served, NOON + 10) == ["r-approved"]


async def test_the_delays_of_fresh_and_old_are_both_waited_for(served: Store) -> None:
    """The wake time is the earliest of any rank."""
    await add(served, "a", "old1", at=NOON)
    (old,) = await claim(served, NOON)
    await served.finish([retried(old, NOON + 100)])
    await served.resume("a", fresh_first=True)
    await add(served, "a", "new1", at=NOON + 50)
    (new,) = await claim(served, NOON + 50)
    await served.finish([retried(new, NOON + 500)])

    assert await served.next_wake_at() == NOON + 100
    assert await claim_ids(served, NOON + 100) == ["old1"]
    assert await served.next_wake_at() == NOON + 500


async def add_states(store: Store, uid: str, **states: int) -> None:
    """One event a state of each access request, oldest first, in the order that rounds of them come in."""
    for number in range(max(states.values())):
        for request, count in states.items():
            if number < count:
                name = f"{request}{number}"
                delivery = make_delivery(name, uid, NOON, order_key=request, hold_until=LATER)
                await store.accept(
                    [make_event(f"event {name}", delivery, at=NOON, data_id=request)],
                    revision=await store.live_revision(),
                )


async def test_compacting_cancels_what_a_later_state_supersedes_and_says_so(served: Store) -> None:
    await add_states(served, "a", r=3, s=1, t=2)
    assert (await served.backlog("a")).superseded == 3

    assert await served.compact("a") == 3

    assert await names_of(served, state=State.CANCELLED) == ["r0", "r1", "t0"]
    found = await served.delivery("r0")
    assert found is not None and found[0].reason is Reason.SUPERSEDED
    assert sorted(await claim_ids(served, NOON)) == ["r2", "s0", "t1"], "nothing waits for what is cancelled"
    assert (await served.backlog("a")).superseded == 0
    assert await served.compact("a") == 0


async def test_compacting_leaves_alone_what_is_in_flight_and_other_webhooks(served: Store) -> None:
    await add_states(served, "a", r=3)
    (held,) = await claim(served, NOON)
    assert held.delivery_id == "r0"
    delivery = make_delivery("b-r0", "b", NOON, order_key="r", hold_until=LATER)
    await served.accept([make_event("another", delivery, at=NOON, data_id="r")], revision=1)

    assert await served.compact("a") == 1
    assert await claim_ids(served, NOON) == ["b-r0"]

    assert await names_of(served, state=State.CANCELLED) == ["r1"]
    await served.finish([delivered(held)])
    assert await claim_ids(served, NOON) == ["r2"]


async def test_deliveries_without_an_access_request_are_never_superseded(served: Store) -> None:
    await add(served, "a", "a1", "a2", at=NOON)

    assert await served.compact("a") == 0


async def test_unordered_deliveries_are_superseded_by_their_request_too(served: Store) -> None:
    """With `ordering: none` the access request is known from the event."""
    for number in range(3):
        delivery = make_delivery(f"u{number}", "a", NOON, order_key=None)
        await served.accept([make_event(f"event {number}", delivery, at=NOON, data_id="r")], revision=1)

    assert await served.compact("a") == 2
    assert await claim_ids(served, NOON) == ["u2"]


async def test_a_new_state_after_compacting_waits_for_the_one_that_is_left(served: Store) -> None:
    await add_states(served, "a", r=2)
    await served.compact("a")
    delivery = make_delivery("r9", "a", NOON, order_key="r", hold_until=LATER)
    await served.accept([make_event("event r9", delivery, at=NOON, data_id="r")], revision=1)

    (left,) = await claim(served, NOON)
    assert left.delivery_id == "r1"
    await served.finish([delivered(left)])
    assert await claim_ids(served, NOON) == ["r9"]
