"""DeliveryStore after the claim: finish, release, extend, expired; every write fenced by the claim's token."""

import pytest
from store_make import COMMIT, add, claim, claim_ids, dead, delivered, ended, make_lane, retried, state_of

from reconciler.errors import StoreError
from reconciler.models.delivery import AttemptResult, Outcome, Reason, ReceivedResponse, State, Timings
from reconciler.store.base import Store


async def test_a_finished_attempt_is_recorded_whole(served: Store) -> None:
    """The result is kept as given, whatever is in it; revision and commit are those of the claim."""
    await add(served, "a", "d1")
    response = ReceivedResponse(2**70, "\ud800", (("x", "\0"),), "\u2028\ud800\0é😀", 9, truncated=False)
    result = AttemptResult(Outcome.DELIVERED, detail="\udfff", status=2**70, response=response, timings=Timings(1.5))
    (claimed,) = await served.claim(now=10, lease_until=99, limit=1, revision=3, commit="abc")

    lost = await served.finish([delivered(claimed, at=25, result=result)])

    found = await served.delivery("d1")
    assert lost == ()
    assert found is not None
    delivery, (attempt,) = found
    assert (delivery.state, delivery.outcome, delivery.attempts) == (State.DELIVERED, Outcome.DELIVERED, 1)
    assert (delivery.revision, delivery.commit, delivery.next_attempt_at) == (3, "abc", None)
    assert (attempt.number, attempt.started_at, attempt.finished_at) == (1, 10, 25)
    assert (attempt.revision, attempt.commit, attempt.result) == (3, "abc", result.to_json())


async def test_a_retry_keeps_every_attempt_in_order(served: Store) -> None:
    """Attempts are numbered from 1; the last outcome stands on the delivery; the one under way is the last."""
    await add(served, "a", "d1")
    for number in range(1, 4):
        (claimed,) = await claim(served, number * 10)
        assert (claimed.number, claimed.counted) == (number, number - 1)
        await served.finish([retried(claimed, number * 10 + 5)])
    delivery, attempts = await served.delivery("d1") or pytest.fail("it is gone")
    assert (delivery.state, delivery.outcome, delivery.next_attempt_at) == (State.PENDING, Outcome.RETRYABLE, 35)
    assert [attempt.number for attempt in attempts] == [1, 2, 3]

    await claim(served, 40)

    delivery, attempts = await served.delivery("d1") or pytest.fail("it is gone")
    assert [(attempt.number, attempt.started_at, attempt.finished_at) for attempt in attempts][-1] == (4, 40, None)
    assert (delivery.attempts, delivery.outcome) == (4, Outcome.RETRYABLE)


@pytest.mark.parametrize("reason", [Reason.EXHAUSTED, Reason.EXPIRED, Reason.PERMANENT, Reason.UNKNOWN, Reason.RENDER])
async def test_a_dead_delivery_says_why(served: Store, reason: Reason) -> None:
    """And is not claimed again."""
    await add(served, "a", "d1")
    (claimed,) = await claim(served, 0)

    await served.finish([dead(claimed, reason)])

    (delivery,) = await served.deliveries()
    assert (delivery.state, delivery.reason) == (State.DEAD, reason)
    assert await claim(served, 10**12) == ()


async def test_a_lost_lease_writes_nothing(served: Store) -> None:
    """Whoever was presumed dead learns it from the answer; the others of the same call are written."""
    await add(served, "a", "d1", "d2")
    first, second = await claim(served, 0, lease_until=10)
    (gone, *_) = [claimed for claimed in await served.expired(now=11) if claimed.seq == first.seq]
    await served.finish([ended(gone, State.PENDING, Outcome.UNKNOWN, next_attempt_at=20)])

    lost = await served.finish([delivered(first), delivered(second)])

    assert lost == (first.seq,)
    assert (await state_of(served, "d1"), await state_of(served, "d2")) == (State.PENDING, State.DELIVERED)
    (again,) = await claim(served, 20)
    assert again.number == 2
    assert await served.finish([delivered(first)]) == (first.seq,)
    assert await served.finish([delivered(again)]) == ()
    _, attempts = await served.delivery("d1") or pytest.fail("it is gone")
    assert [attempt.number for attempt in attempts] == [1, 2]


async def test_a_late_result_beside_that_of_the_new_lease_is_lost(served: Store) -> None:
    """Both in one batch: what is recorded is what the lease that is held came to."""
    await add(served, "a", "d1")
    (first,) = await claim(served, 0)
    await served.release([first], due_at=0)
    (second,) = await claim(served, 10)

    lost = await served.finish([dead(first), delivered(second, at=20)])

    delivery, attempts = await served.delivery("d1") or pytest.fail("it is gone")
    assert lost == (first.seq,)
    assert (delivery.state, [attempt.finished_at for attempt in attempts]) == (State.DELIVERED, [20])


async def test_finishing_twice_is_a_lost_lease(served: Store) -> None:
    """An answer that was not heard may be asked for again; nothing is recorded twice."""
    await add(served, "a", "d1")
    (claimed,) = await claim(served, 0)
    await served.finish([delivered(claimed)])

    assert await served.finish([delivered(claimed)]) == (claimed.seq,)
    assert await served.finish([]) == ()


async def test_a_token_is_never_given_twice(served: Store) -> None:
    """Not for another delivery, not for the same one."""
    await add(served, "a", "d1", "d2")
    tokens = []
    for now in range(5):
        (claimed,) = await claim(served, now, limit=1)
        tokens.append((claimed.seq, claimed.token))
        await served.finish([retried(claimed, now)])

    assert len({token for _, token in tokens}) == 5


async def test_a_release_leaves_no_trace_of_the_claim(served: Store) -> None:
    """The started attempt vanishes, the number is given again, the delivery is due when told."""
    await add(served, "a", "d1")
    (first,) = await claim(served, 0)
    await served.finish([retried(first, 10, give_up_at=500)])
    before = await served.delivery("d1")
    (second,) = await served.claim(now=10, lease_until=99, limit=1, revision=9, commit="other")

    await served.release([second], due_at=10)

    assert await served.delivery("d1") == before
    assert await served.finish([delivered(second)]) == (second.seq,)
    (third,) = await claim(served, 10)
    assert (third.number, third.counted, third.give_up_at) == (2, 1, 500)
    assert third.token != second.token


async def test_a_release_may_put_a_delivery_off(served: Store) -> None:
    """`due_at` is the next time."""
    await add(served, "a", "d1")
    claimed = await claim(served, 0)

    await served.release(claimed, due_at=70)

    assert await served.next_wake_at() == 70
    assert await claim_ids(served, 69) == []
    assert await claim_ids(served, 70) == ["d1"]


async def test_a_released_token_may_be_taken_again_unless_time_has_used_it(served: Store) -> None:
    """As if the claim had never been made, but never above the rate."""
    await served.configure(1, [make_lane("a", per_second=1.0)])
    await add(served, "a", "d1", "d2", "d3")
    first = await claim(served, 0)
    await served.release(first, due_at=0)
    again = await claim(served, 0)
    assert len(again) == 1

    later = await claim(served, 60_000)
    assert len(later) == 1
    await served.release(again, due_at=0)

    assert await claim(served, 60_999) == ()
    assert len(await claim(served, 61_000)) == 1


async def test_an_extended_lease_does_not_expire(served: Store) -> None:
    """Only leases still held are renewed."""
    await add(served, "a", "d1", "d2", "d3")
    first, second, third = await claim(served, 0, lease_until=10)
    await served.finish([retried(third, 5)])
    (third_again,) = await claim(served, 5, lease_until=15)

    await served.extend([first, third], lease_until=100)

    assert [claimed.delivery_id for claimed in await served.expired(now=50)] == ["d2", "d3"]
    assert await served.expired(now=10) == ()
    assert {claimed.token for claimed in await served.expired(now=50)} == {second.token, third_again.token}


async def test_expired_leases_come_with_the_attempt_that_was_under_way(served: Store) -> None:
    """Closed by `finish`, they count, and the delivery goes on."""
    await add(served, "a", "d1")
    (claimed,) = await claim(served, 3, lease_until=10)

    (expired,) = await served.expired(now=11)
    assert expired == claimed
    lost = await served.finish([ended(expired, State.PENDING, Outcome.UNKNOWN, next_attempt_at=12)])

    assert lost == ()
    (again,) = await claim(served, 12)
    assert (again.number, again.counted) == (2, 1)


async def test_everything_in_flight_is_told_to_who_takes_the_lock(served: Store) -> None:
    """`now=None`: the holder of every lease is gone."""
    await add(served, "a", "d1", "d2")
    await add(served, "b", "d3")
    await claim(served, 0, limit=2)

    assert len(await served.expired(now=None)) == 2
    assert await served.expired(now=0) == ()


async def test_a_result_that_breaks_the_rules_is_refused_whole(served: Store) -> None:
    """The integrity of the ledger is the store's: dead has a reason, delivered has none."""
    await add(served, "a", "d1", "d2")
    first, second = await claim(served, 0)

    with pytest.raises(StoreError, match="breaks its rules"):
        await served.finish([delivered(first), dead(second)._replace(reason=None)])

    assert await state_of(served, "d1") is State.IN_FLIGHT
    assert await served.finish([delivered(first), dead(second)]) == ()


async def test_the_head_that_was_cancelled_by_its_result_releases_the_next(served: Store) -> None:
    """Cancelled is final like delivered and dead."""
    await add(served, "a", "d1", "d2", order_key="r")
    (head,) = await claim(served, 0)

    await served.finish([ended(head, State.CANCELLED, Outcome.RETRYABLE, reason=Reason.OPERATOR)])

    assert await claim_ids(served, 0) == ["d2"]


async def test_a_batch_may_finish_several_of_one_order_key(served: Store) -> None:
    """Two past their hold end together: the one after both is released once."""
    await add(served, "a", "d1", "d2", order_key="r", hold_until=0)
    await add(served, "a", "d3", "d4", order_key="r")
    both = await claim(served, 0)
    assert [claimed.delivery_id for claimed in both] == ["d1", "d2"]

    await served.finish([delivered(claimed) for claimed in both])

    assert await claim_ids(served, 0) == ["d3"]


async def test_revision_and_commit_are_those_of_the_last_attempt(served: Store) -> None:
    """Of the match before there is one."""
    await add(served, "a", "d1")
    (delivery,) = await served.deliveries()
    assert (delivery.revision, delivery.commit) == (1, COMMIT)

    (claimed,) = await served.claim(now=0, lease_until=9, limit=1, revision=2, commit=None)
    (delivery,) = await served.deliveries()
    assert (delivery.revision, delivery.commit) == (2, None)
    await served.finish([retried(claimed, 5)])

    (delivery,) = await served.deliveries()
    assert (delivery.revision, delivery.commit) == (2, None)
