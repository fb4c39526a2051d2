"""DeliveryStore.claim: what is due, in which order, how much of it, and when to come again."""

from collections import Counter

import pytest
from store_make import (
    COMMIT,
    FAR,
    add,
    claim,
    claim_ids,
    dead,
    delivered,
    make_delivery,
    make_event,
    make_lane,
    make_live,
    publish,
    retried,
)

from reconciler.models.delivery import State
from reconciler.store.base import DeliveryFilter, Store


async def test_a_claim_records_the_attempt_as_started(served: Store) -> None:
    """Number, time, revision and commit are on disk before anything is sent."""
    await add(served, "a", "d1", at=3)

    (claimed,) = await served.claim(now=10, lease_until=99, limit=5, revision=7, commit="abc")

    found = await served.delivery("d1")
    assert found is not None
    delivery, (attempt,) = found
    assert (claimed.number, claimed.counted, claimed.give_up_at) == (1, 0, None)
    assert (claimed.webhook_uid, claimed.pace_key, claimed.event_id) == ("a", "acme.example.com/a", "event d1")
    assert (claimed.accepted_at, claimed.started_at) == (3, 10)
    assert (delivery.state, delivery.attempts, delivery.revision, delivery.commit) == (State.IN_FLIGHT, 1, 7, "abc")
    assert delivery.next_attempt_at is None
    assert (attempt.number, attempt.started_at, attempt.revision, attempt.commit) == (1, 10, 7, "abc")
    assert (attempt.finished_at, attempt.result) == (None, None)


async def test_what_is_leased_is_not_claimed_again(served: Store) -> None:
    """Not even past the end of its lease: it must be closed first."""
    await add(served, "a", "d1")
    await claim(served, 0, lease_until=5)

    assert await claim(served, 100) == ()


async def test_nothing_is_claimed_before_it_is_due(served: Store) -> None:
    """And the wake time says when."""
    await add(served, "a", "d1", at=50)

    assert await served.next_wake_at() == 50
    assert await claim_ids(served, 49) == []
    assert await claim_ids(served, 50) == ["d1"]
    assert await served.next_wake_at() is None


async def test_within_a_lane_due_time_comes_first_then_acceptance(served: Store) -> None:
    """Also across claims."""
    for id_, at in (("late", 30), ("first", 10), ("second", 10), ("middle", 20)):
        await add(served, "a", id_, at=at)

    assert await claim_ids(served, 100, limit=2) == ["first", "second"]
    assert await claim_ids(served, 100) == ["middle", "late"]


async def test_no_more_than_the_limit_is_given_and_all_of_it_is_used(served: Store) -> None:
    """What one lane lacks another may use."""
    await add(served, "a", "a1")
    await add(served, "b", *(f"b{number}" for number in range(12)))

    first = await claim_ids(served, 0, limit=10)

    assert len(first) == 10
    assert set(first) == {"a1", *(f"b{number}" for number in range(9))}
    assert await claim_ids(served, 0, limit=0) == []


# Order ---------------------------------------------------------------------------------------------------------------


async def test_of_one_order_key_only_the_oldest_unfinished_is_claimed(served: Store) -> None:
    """Each after its predecessor is final, in acceptance order; other keys, other webhooks and the unordered never
    wait for it."""
    await add(served, "a", "r1", "r2", "r3", order_key="r")
    await add(served, "a", "s1", order_key="s")
    await add(served, "b", "t1", order_key="r")
    await add(served, "a", "u1", "u2")

    first = await claim(served, 0)
    assert {claimed.delivery_id for claimed in first} == {"r1", "s1", "t1", "u1", "u2"}
    head = next(claimed for claimed in first if claimed.delivery_id == "r1")

    await served.finish([retried(head, 5)])
    assert await claim_ids(served, 4) == []
    (head,) = await claim(served, 5)
    await served.finish([dead(head)])
    (head,) = await claim(served, 6)
    assert head.delivery_id == "r2"
    await served.finish([delivered(head)])
    assert await claim_ids(served, 7) == ["r3"]


async def test_a_new_delivery_waits_for_its_stored_predecessor(served: Store) -> None:
    """Be it pending or in flight; not if it is final."""
    await add(served, "a", "d1", order_key="r")
    (first,) = await claim(served, 0)
    await add(served, "a", "d2", order_key="r")
    assert await claim_ids(served, 0) == []

    await served.finish([delivered(first)])
    (second,) = await claim(served, 0)
    await served.finish([delivered(second)])
    await add(served, "a", "d3", order_key="r")

    assert await claim_ids(served, 0) == ["d3"]


async def test_past_its_hold_a_delivery_waits_no_longer(served: Store) -> None:
    """It starts by itself, the wake time knows, and its own successor follows it, not the one that is stuck."""
    await add(served, "a", "d1", order_key="r", hold_until=10)
    await add(served, "a", "d2", order_key="r", hold_until=100)
    await add(served, "a", "d3", order_key="r", hold_until=1_000)
    (stuck,) = await claim(served, 20)
    assert stuck.delivery_id == "d1"
    assert await served.next_wake_at() == 100

    assert await claim_ids(served, 99) == []
    (second,) = await claim(served, 100)
    assert second.delivery_id == "d2"
    await served.finish([delivered(second)])

    (third,) = await claim(served, 101)
    assert third.delivery_id == "d3"
    await served.finish([retried(stuck, 102), delivered(third)])
    assert await claim_ids(served, 102) == ["d1"]


async def test_a_late_predecessor_does_not_release_twice(served: Store) -> None:
    """d1 ends while d2, past its hold, is in flight: d3 waits for d2."""
    await add(served, "a", "d1", "d2", "d3", order_key="r", hold_until=5)
    await add(served, "a", "d4", order_key="r")
    first = await claim(served, 0)
    assert [claimed.delivery_id for claimed in first] == ["d1"]
    second = await claim(served, 5)
    assert [claimed.delivery_id for claimed in second] == ["d2", "d3"]

    await served.finish([delivered(first[0])])

    assert await claim_ids(served, 6) == []


async def test_a_new_delivery_follows_its_predecessor_not_one_that_is_stuck(served: Store) -> None:
    """d1 fails for hours; once d2, past its hold, is delivered, what is accepted later need not wait for d1."""
    await add(served, "a", "d1", order_key="r")
    await add(served, "a", "d2", order_key="r", hold_until=10)
    (stuck,) = await claim(served, 0)
    await served.finish([retried(stuck, 1_000)])
    (second,) = await claim(served, 10)
    await add(served, "a", "d3", order_key="r")
    assert await claim(served, 10) == ()
    await served.finish([delivered(second)])
    (third,) = await claim(served, 11)
    await served.finish([delivered(third)])

    await add(served, "a", "d4", order_key="r")

    assert [stuck.delivery_id, second.delivery_id, third.delivery_id] == ["d1", "d2", "d3"]
    assert await claim_ids(served, 12) == ["d4"]


# Lanes and fairness --------------------------------------------------------------------------------------------------


async def test_no_more_than_max_concurrency_of_a_webhook_is_in_flight(served: Store) -> None:
    """A finished, released or retried one makes room."""
    await served.configure(1, [make_lane("a", max_concurrency=2)])
    await add(served, "a", *(f"d{number}" for number in range(5)))

    first, second = await claim(served, 0)
    assert await claim(served, 0) == ()
    assert await served.next_wake_at() is None
    await served.finish([delivered(first)])
    assert await claim_ids(served, 0) == ["d2"]
    await served.release([second], due_at=0)

    assert await claim_ids(served, 0) == ["d1"]
    assert await claim(served, 0) == ()


async def test_a_backlog_does_not_starve_what_came_later(served: Store) -> None:
    """Lanes are served by how long they have been waiting since they were last served."""
    await served.configure(1, [make_lane(uid, max_concurrency=1_000) for uid in "abc"])
    await add(served, "a", *(f"a{number}" for number in range(100)), at=0)
    await add(served, "b", *(f"b{number}" for number in range(100)), at=0)
    await claim(served, 10, limit=2)
    await add(served, "c", "c1", "c2", at=11)

    served_in_turn = [(await claim_ids(served, 12, limit=1))[0][0] for _ in range(6)]

    assert served_in_turn[:3] == ["a", "b", "c"]
    assert Counter(served_in_turn) == {"a": 2, "b": 2, "c": 2}


async def test_the_limit_is_shared_among_the_lanes_that_are_ready(served: Store) -> None:
    """One claim gives each a part."""
    await served.configure(1, [make_lane(uid, max_concurrency=1_000) for uid in "abc"])
    for uid in "abc":
        await add(served, uid, *(f"{uid}{number}" for number in range(50)))

    claimed = Counter(id_[0] for id_ in await claim_ids(served, 0, limit=30))

    assert claimed == {"a": 10, "b": 10, "c": 10}


async def test_within_one_millisecond_lanes_take_turns(served: Store) -> None:
    """Time that stands still must not make one lane the first for ever."""
    await served.configure(1, [make_lane(uid, max_concurrency=1_000) for uid in "abc"])
    for uid in "cba":
        await add(served, uid, *(f"{uid}{number}" for number in range(30)))

    turns = [(await claim_ids(served, 0, limit=1))[0][0] for _ in range(9)]

    assert Counter(turns[:3]) == Counter(turns[3:6]) == Counter(turns[6:]) == {"a": 1, "b": 1, "c": 1}


async def test_lanes_of_one_pace_key_take_turns_for_its_tokens(served: Store) -> None:
    """Whoever has the longer backlog."""
    await served.configure(1, [make_lane(uid, "shared", per_second=1.0) for uid in "abc"])
    await add(served, "a", *(f"a{number}" for number in range(30)))
    await add(served, "b", "b0", "b1")
    await add(served, "c", "c0", "c1")

    turns = [(await claim_ids(served, now))[0][0] for now in range(0, 6_000, 1_000)]

    assert Counter(turns) == {"a": 2, "b": 2, "c": 2}


# Pace ----------------------------------------------------------------------------------------------------------------


async def test_a_burst_then_one_at_a_time(served: Store) -> None:
    """A token bucket: `burst` tokens fit, `per_second` flow in."""
    await served.configure(1, [make_lane("a", per_second=4.0, burst=3)])
    await add(served, "a", *(f"d{number}" for number in range(10)))

    assert len(await claim(served, 1_000)) == 3
    assert await served.next_wake_at() == 1_250
    assert await claim(served, 1_249) == ()
    assert len(await claim(served, 1_250)) == 1
    assert len(await claim(served, 1_999)) == 2  # 2.996 tokens flowed in
    assert await served.next_wake_at() == 2_000
    assert len(await claim(served, 9_000)) == 3


@pytest.mark.parametrize("per_second", [9.0, 0.3, 7.7, 1000.0, 3.0, 0.001])
async def test_no_window_ever_sees_more_than_the_rate_and_the_burst(served: Store, per_second: float) -> None:
    """Claimed at each wake time, as a worker does: exactly one each time, and never a wake-up for nothing."""
    await served.configure(1, [make_lane("a", per_second=per_second, burst=1, max_concurrency=100)])
    await add(served, "a", *(f"d{number}" for number in range(40)))
    now, times = 5, []

    for _ in range(40):
        assert len(await claim(served, now)) == 1
        times.append(now)
        now = await served.next_wake_at() or 0

    for start, at in enumerate(times):
        within = [other for other in times[start:] if other < at + 1_000]
        assert len(within) <= per_second + 1
    assert times[-1] - times[0] >= 39 * 1_000 / per_second
    assert times[-1] - times[0] <= 39 * (1_000 / per_second + 1)


async def test_an_event_accepted_while_its_pace_is_out_of_tokens_wakes_nobody(served: Store) -> None:
    """The next token is the next thing to wait for."""
    await served.configure(1, [make_lane("a", per_second=1.0), make_lane("b", "acme.example.com/a", per_second=1.0)])
    await add(served, "a", "d1")
    await claim(served, 100)

    await add(served, "a", "d2", at=100)
    await add(served, "b", "d3", at=100)

    assert await served.next_wake_at() == 1_100
    assert await claim(served, 1_099) == ()
    assert len(await claim(served, 1_100)) == 1


async def test_of_two_rates_on_one_pace_key_the_strictest_holds(served: Store) -> None:
    """And one that is unlimited loosens nothing."""
    lanes = [
        make_lane("a", "shared", per_second=10.0, burst=2),
        make_lane("b", "shared", per_second=2.0, burst=5),
        make_lane("c", "shared"),
    ]
    await served.configure(1, lanes)
    for uid in "abc":
        await add(served, uid, *(f"{uid}{number}" for number in range(5)))

    assert len(await claim(served, 0)) == 2
    assert await served.next_wake_at() == 500


async def test_retry_after_holds_back_the_whole_pace_key_and_no_other(served: Store) -> None:
    """Never shortened by a later, shorter one."""
    await served.configure(1, [make_lane("a", "shared"), make_lane("b", "shared"), make_lane("c")])
    await add(served, "a", "a1", "a2")
    first, second = await claim(served, 0)
    await served.finish([retried(first, 10, blocked_until=5_000)])
    await served.finish([retried(second, 10, blocked_until=3_000)])
    await add(served, "b", "b1", at=20)
    await add(served, "c", "c1", at=20)

    assert await claim_ids(served, 20) == ["c1"]
    assert await served.next_wake_at() == 5_000
    assert await claim_ids(served, 4_999) == []
    assert set(await claim_ids(served, 5_000)) == {"a1", "a2", "b1"}


async def test_a_block_belongs_to_the_pace_key_that_the_attempt_was_made_on(served: Store) -> None:
    """Even if the webhook has another URL by the time it ends."""
    await served.configure(1, [make_lane("a", "old"), make_lane("b", "old")])
    await add(served, "a", "a1", "a2")
    await add(served, "b", "b1", at=10)
    (first, *_) = await claim(served, 0, limit=1)
    await served.configure(1, [make_lane("a", "new"), make_lane("b", "old")])

    await served.finish([retried(first, 10, blocked_until=500)])

    assert set(await claim_ids(served, 10)) == {"a1", "a2"}
    assert await claim_ids(served, 499) == []
    assert await claim_ids(served, 500) == ["b1"]


async def test_time_spent_waiting_here_is_not_taken_from_the_retries(served: Store) -> None:
    """`give_up_at` stands still while a due delivery waits for tokens, a block, a pause."""
    await add(served, "a", "d1")
    (first,) = await claim(served, 10)
    assert first.give_up_at is None
    await served.finish([retried(first, 100, give_up_at=1_000)])

    (second,) = await claim(served, 350)
    assert (second.number, second.counted, second.give_up_at) == (2, 1, 1_250)
    await served.finish([retried(second, 400, is_counted=False)])
    (third,) = await claim(served, 400)

    assert (third.number, third.counted, third.give_up_at) == (3, 1, 1_250)


# Configuration -------------------------------------------------------------------------------------------------------


async def test_a_closed_lane_keeps_its_deliveries_and_says_why(served: Store) -> None:
    """It wakes nobody; the note stands on what is pending; opened, it goes on."""
    await add(served, "a", "d1", "d2")
    (first, *_) = await claim(served, 0, limit=1)
    await served.configure(1, [make_lane("a", is_open=False, note="secret `x` is not bound")])

    assert await claim(served, 10) == ()
    assert await served.next_wake_at() is None
    notes = {delivery.id: delivery.note for delivery in await served.deliveries()}
    assert notes == {"d1": None, "d2": "secret `x` is not bound"}

    await served.finish([delivered(first)])
    await served.configure(1, [make_lane("a")])
    assert await claim_ids(served, 10) == ["d2"]


async def test_webhooks_left_out_of_the_configuration_are_not_claimed_from(served: Store) -> None:
    """`configure` sets all lanes at once."""
    await add(served, "a", "a1")
    await add(served, "b", "b1")

    await served.configure(1, [make_lane("b")])

    assert await claim_ids(served, 0) == ["b1"]
    await served.configure(1, [make_lane("a"), make_lane("b")])
    assert await claim_ids(served, 0) == ["a1"]


async def test_a_configuration_of_an_older_revision_is_ignored(served: Store) -> None:
    """Two daemons may see a revision at different times."""
    await add(served, "a", "d1")
    await served.configure(5, [make_lane("a", is_open=False)])

    await served.configure(4, [make_lane("a")])
    assert await claim(served, 0) == ()
    await served.configure(5, [make_lane("a")])

    assert await claim_ids(served, 0) == ["d1"]


async def test_a_slower_rate_does_not_forget_what_was_taken(served: Store) -> None:
    """Tokens that are lacking stay lacking, in tokens: neither a free burst nor an endless wait."""
    await served.configure(1, [make_lane("a", per_second=0.001)])
    await add(served, "a", *(f"d{number}" for number in range(9)))
    assert len(await claim(served, 1_000)) == 1
    assert await served.next_wake_at() == 1_001_000

    await served.configure(2, [make_lane("a", per_second=10.0)])
    assert await served.next_wake_at() == 1_100
    await served.configure(3, [make_lane("a", per_second=10.0, burst=3)])
    assert len(await claim(served, 1_000)) == 2
    await served.configure(4, [make_lane("a", per_second=1.0, burst=1)])

    assert await served.next_wake_at() == 2_000


async def test_the_same_configuration_again_gives_no_tokens_away(served: Store) -> None:
    """A secret was bound: the lanes are set again."""
    lanes = [make_lane("a", per_second=1.0)]
    await served.configure(1, lanes)
    await add(served, "a", "d1", "d2")
    await claim(served, 0)

    await served.configure(1, lanes)

    assert await claim(served, 999) == ()
    assert len(await claim(served, 1_000)) == 1


async def test_tokens_and_blocks_outlive_a_restart(served: Store, store_url: str) -> None:
    """Pace is state: what was sent before a crash counts after it."""
    from reconciler.store.open import open_store

    await served.configure(1, [make_lane("a", per_second=1.0), make_lane("b")])
    await add(served, "a", "a1", "a2")
    await add(served, "b", "b1")
    first = await claim(served, 0)
    await served.finish([retried(claimed, 1, blocked_until=700) for claimed in first if claimed.webhook_uid == "b"])

    again = open_store(store_url, create=False)
    assert again is not None
    async with again:
        await again.configure(1, [make_lane("a", per_second=1.0), make_lane("b")])
        assert await again.next_wake_at() == 700
        assert await claim_ids(again, 999) == ["b1"]
        assert await claim_ids(again, 1_000) == ["a2"]


async def test_a_claim_after_many_lanes_were_made_ready_reaches_them_all(store: Store) -> None:
    """More ready pace keys than the limit: all are served in turn."""
    uids = [f"u{number:03}" for number in range(150)]
    await publish(store, *(make_live(uid, uid) for uid in uids))
    await store.configure(1, [make_lane(uid) for uid in uids])
    events = [make_event(uid, *(make_delivery(f"{uid}-{turn}", uid, 0) for turn in range(3))) for uid in uids]
    await store.accept(events, revision=1)

    rounds = [await claim_ids(store, 0, limit=50) for _ in range(9)]

    for turn in range(3):
        served_uids = {id_[:4] for ids in rounds[3 * turn : 3 * turn + 3] for id_ in ids}
        assert served_uids == set(uids)


async def test_deliveries_of_one_event_to_many_webhooks_are_independent(served: Store) -> None:
    """One receiver's retry holds back no other."""
    await served.accept(
        [make_event("e1", *(make_delivery(f"d{uid}", uid, 0, order_key="r") for uid in "abc"))], revision=1
    )
    first = {claimed.webhook_uid: claimed for claimed in await claim(served, 0)}

    await served.finish([retried(first["a"], 1_000), delivered(first["b"]), dead(first["c"])])

    states = {delivery.webhook: delivery.state for delivery in await served.deliveries()}
    assert states == {"a": State.PENDING, "b": State.DELIVERED, "c": State.DEAD}
    assert await served.next_wake_at() == 1_000
    assert await served.deliveries(where=DeliveryFilter(webhook="a", state=State.DEAD)) == ()
    assert await served.claim(now=5, lease_until=FAR, limit=5, revision=1, commit=COMMIT) == ()


@pytest.mark.parametrize(("per_second", "burst"), [(1e-9, 1), (1e-9, 10**9), (1e9, 10**9), (0.5, 10**9)])
async def test_extreme_rates_are_bounded_not_refused(served: Store, per_second: float, burst: int) -> None:
    """Whatever a manifest says, the arithmetic holds."""
    await served.configure(1, [make_lane("a", per_second=per_second, burst=burst)])
    await add(served, "a", "d1", "d2")

    assert "d1" in await claim_ids(served, 1_800_000_000_000, limit=1)
    assert (await served.next_wake_at() or 0) >= 1_800_000_000_000
