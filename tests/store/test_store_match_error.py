"""Match errors in the store: kept with their event until they are judged again, each settled once."""

from typing import Any

import pytest
from store_make import claim, claim_ids, delivered, make_delivery, make_event, make_live, publish

from reconciler.errors import NotInStoreError
from reconciler.models.delivery import State
from reconciler.models.webhook import WebhookUid
from reconciler.store.base import EventStatus, NewEvent, RevisionMovedError, Store
from reconciler.store.match_error import MatchErrorFilter, NewMatchError, Settled

A, B = WebhookUid("a"), WebhookUid("b")


def failed(event_id: str, *uids: WebhookUid, at: int = 0, error: str = "no field", deliveries: Any = ()) -> NewEvent:
    made = make_event(event_id, *deliveries, at=at)
    return NewEvent(
        id=made.id,
        event_type=made.event_type,
        data_id=made.data_id,
        event_time=made.event_time,
        source=made.source,
        raw=made.raw,
        fingerprint=made.fingerprint,
        received_at=made.received_at,
        deliveries=made.deliveries,
        match_errors=tuple(NewMatchError(uid, error) for uid in uids),
    )


async def errors(store: Store, **where: Any) -> list[tuple[str, str, str]]:
    found = await store.match_errors(where=MatchErrorFilter(**where))
    return [(error.event_id, error.webhook_uid, error.error) for error in found]


async def test_match_errors_are_kept_with_their_event(served: Store) -> None:
    """Beside the deliveries of webhooks that could tell; listed with the webhook's name, oldest first."""
    event = failed("e1", A, at=7, error="the event has no field `x`", deliveries=[make_delivery("d1", "b", 7)])

    statuses = await served.accept([event, failed("e2", A, B, at=8)], revision=1)

    found = await served.match_errors()
    assert statuses == (EventStatus.ACCEPTED,) * 2
    assert [(error.event_id, error.webhook, error.judged_at, error.revision) for error in found] == [
        ("e1", "a", 7, 1),
        ("e2", "a", 8, 1),
        ("e2", "b", 8, 1),
    ]
    assert (found[0].error, found[0].event_type) == ("the event has no field `x`", event.event_type)
    stored = [await served.event(event_id) for event_id in ("e1", "e2")]
    assert [(item.deliveries, item.match_errors) for item in stored if item] == [(1, 1), (0, 2)]
    assert [item.match_errors for item in await served.events()] == [2, 1]


async def test_match_errors_are_counted_and_chosen_by_webhook_and_event(served: Store) -> None:
    """Webhooks without are left out of the counts."""
    await served.accept([failed("e1", A), failed("e2", A, B)], revision=1)

    assert await served.match_error_counts() == {"a": 2, "b": 1}
    assert await errors(served, webhook="b") == [("e2", "b", "no field")]
    assert [event for event, *_ in await errors(served, webhook="a")] == ["e1", "e2"]
    assert [uid for _, uid, _ in await errors(served, event_id="e2")] == ["a", "b"]
    assert await errors(served, webhook="a", event_id="e1") == [("e1", "a", "no field")]
    assert await errors(served, webhook="nobody") == await errors(served, event_id="e9") == []


async def test_a_listing_goes_on_behind_what_was_seen(served: Store) -> None:
    """Also when that is settled meanwhile; an id that no listing gave is refused."""
    await served.accept([failed(f"e{number}", A) for number in range(5)], revision=1)

    first = await served.match_errors(limit=2)
    await served.settle([Settled(error.id) for error in first], revision=1, now=9)
    rest = await served.match_errors(limit=2, after=first[-1].id)

    assert [error.event_id for error in (*first, *rest)] == ["e0", "e1", "e2", "e3"]
    with pytest.raises(NotInStoreError):
        await served.match_errors(after="e1")


async def test_duplicates_and_conflicts_bring_no_match_errors(served: Store) -> None:
    """They store nothing."""
    await served.accept([failed("e1", A)], revision=1)

    await served.accept([failed("e1", A, B), failed("e2", B), failed("e2", B)], revision=1)

    assert await served.match_error_counts() == {"a": 1, "b": 1}


async def test_a_settled_match_error_becomes_a_delivery_or_is_gone_or_stays_with_the_new_reason(served: Store) -> None:
    """All in one transaction; the delivery is pending and due."""
    await served.accept([failed("e1", A), failed("e2", A), failed("e3", A, error="old")], revision=1)
    wanted, unwanted, failing = await served.match_errors()

    made = await served.settle(
        [Settled(wanted.id, make_delivery("d1", "a", 9)), Settled(unwanted.id), Settled(failing.id, error="new")],
        revision=1,
        now=9,
    )

    left = await served.match_errors()
    assert made == 1
    assert [(error.event_id, error.error, error.judged_at) for error in left] == [("e3", "new", 9)]
    assert [(item.id, item.event_id, item.state) for item in await served.deliveries()] == [("d1", "e1", State.PENDING)]
    assert (await served.counts())["a"][State.PENDING] == 1


async def test_what_was_settled_is_not_settled_again(served: Store) -> None:
    """Whoever comes second makes no second delivery, and brings no error back."""
    await served.accept([failed("e1", A), failed("e2", A)], revision=1)
    first, second = await served.match_errors()
    settled = [Settled(first.id, make_delivery("d1", "a", 9)), Settled(second.id)]
    await served.settle(settled, revision=1, now=9)

    again = await served.settle([*settled, Settled(second.id, error="late")], revision=1, now=10)

    assert again == 0
    assert await errors(served) == []
    assert len(await served.deliveries()) == 1


async def test_a_delivery_that_is_there_is_not_made_again(served: Store) -> None:
    """The same event and webhook have the same id, whoever made it."""
    await served.accept([failed("e1", A, deliveries=[make_delivery("d1", "a", 0)])], revision=1)
    (error,) = await served.match_errors()

    made = await served.settle([Settled(error.id, make_delivery("d1", "a", 9))], revision=1, now=9)

    assert made == 0
    assert await errors(served) == []
    assert len(await served.deliveries()) == 1


async def test_a_delivery_behind_one_that_is_there_waits_for_that_one_alone(served: Store) -> None:
    """Of one order key, settled together: what was left out has had its turn, and takes nobody else's."""
    first = make_delivery("d1", "a", 0, order_key="r")
    await served.accept([failed("e1", A, deliveries=[first]), failed("e2", A)], revision=1)
    (begun,) = await claim(served, 1)
    await served.finish([delivered(begun)])
    of_event = {error.event_id: error.id for error in await served.match_errors()}

    made = await served.settle(
        [Settled(of_event["e1"], first), Settled(of_event["e2"], make_delivery("d2", "a", 9, order_key="r"))],
        revision=1,
        now=9,
    )

    assert made == 1
    assert await claim_ids(served, 9) == ["d2"]


async def test_settling_with_a_revision_that_is_not_live_writes_nothing(served: Store) -> None:
    """What was judged with it may be wrong by now."""
    await served.accept([failed("e1", A)], revision=1)
    (error,) = await served.match_errors()
    await publish(served, make_live("c", "hook-c"))

    with pytest.raises(RevisionMovedError):
        await served.settle([Settled(error.id, make_delivery("d1", "a", 9))], revision=1, now=9)

    assert await errors(served) == [("e1", "a", "no field")]
    assert await served.deliveries() == ()


async def test_match_errors_of_a_deleted_webhook_have_no_name(served: Store) -> None:
    """They are listed still, until they are judged again."""
    await served.accept([failed("e1", A)], revision=1)
    await publish(served, deletes=["a"])

    (error,) = await served.match_errors()

    assert (error.webhook_uid, error.webhook) == ("a", None)


async def test_an_error_that_utf_8_cannot_carry_is_kept(served: Store) -> None:
    """It may quote what a condition or an event says."""
    await served.accept([failed("e1", A, error="no field `\ud800`")], revision=1)

    assert await errors(served) == [("e1", "a", "no field `\\ud800`")]
