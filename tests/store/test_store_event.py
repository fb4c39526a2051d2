"""EventStore: facts received, judged against what is stored, with their fan-out in one transaction."""

import pytest
from store_make import add, claim, claim_ids, make_delivery, make_event, make_live, publish

from reconciler.errors import StoreError
from reconciler.models.delivery import State
from reconciler.store.base import DeliveryFilter, EventStatus, Page, RevisionMovedError, Store

ACCEPTED, DUPLICATE, CONFLICT, QUARANTINED = (
    EventStatus.ACCEPTED,
    EventStatus.DUPLICATE,
    EventStatus.CONFLICT,
    EventStatus.QUARANTINED,
)


async def test_an_event_is_stored_as_given_with_its_fan_out(served: Store) -> None:
    """Raw bytes to the byte, facts as told, one delivery a webhook."""
    raw = b'{"n": 1795424400.851898000, "s": "\xe2\x80\xa8\\u0000"}'
    event = make_event(
        "e1",
        make_delivery("d1", "a", 5),
        make_delivery("d2", "b", 5),
        at=5,
        raw=raw,
        data_id="r1",
        event_time="1795424400.8518980",
    )

    statuses = await served.accept([event], revision=1)

    stored = await served.event("e1")
    assert statuses == (ACCEPTED,)
    assert stored is not None
    assert (stored.raw, stored.data_id, stored.event_time, stored.received_at) == (raw, "r1", "1795424400.8518980", 5)
    assert (stored.status, stored.problem, stored.revision, stored.deliveries) == (ACCEPTED, None, 1, 2)
    assert await served.event("e2") is None


async def test_the_claim_gives_the_raw_bytes_of_each_event(served: Store) -> None:
    """Whatever they are: empty, long, not UTF-8."""
    raws = [b"", b"\xff\x00\xfe", b"x" * 262_144, "\u2028é😀".encode(), b"last"]
    events = [make_event(f"e{at}", make_delivery(f"d{at}", "a", at), raw=raw) for at, raw in enumerate(raws)]

    await served.accept(events, revision=1)

    assert [claimed.raw for claimed in await claim(served, 10)] == raws


async def test_the_same_event_again_is_a_duplicate_and_stores_nothing(served: Store) -> None:
    """Same id and body; also after delivery, also with another fan-out."""
    await served.accept([make_event("e1", make_delivery("d1", "a", 0))], revision=1)

    statuses = await served.accept([make_event("e1", make_delivery("d9", "b", 0))], revision=1)

    assert statuses == (DUPLICATE,)
    assert [delivery.id for delivery in await served.deliveries()] == ["d1"]


async def test_another_body_under_the_same_id_is_a_conflict(served: Store) -> None:
    """The first one stands."""
    await served.accept([make_event("e1", raw=b"1")], revision=1)

    statuses = await served.accept(
        [make_event("e1", make_delivery("d1", "a", 0), raw=b"2", fingerprint="x")], revision=1
    )

    stored = await served.event("e1")
    assert statuses == (CONFLICT,)
    assert stored is not None
    assert stored.raw == b"1"
    assert await served.deliveries() == ()


async def test_items_of_one_batch_are_judged_against_each_other(served: Store) -> None:
    """One status an item, in order; the first of an id counts as stored."""
    statuses = await served.accept(
        [
            make_event("e1", make_delivery("d1", "a", 0)),
            make_event("e2", problem="`event_type` is missing"),
            make_event("e1", make_delivery("d1", "a", 0)),
            make_event("e1", fingerprint="other"),
            make_event("e2"),
            make_event("e3", make_delivery("d3", "a", 0)),
        ],
        revision=1,
    )

    assert statuses == (ACCEPTED, QUARANTINED, DUPLICATE, CONFLICT, DUPLICATE, ACCEPTED)
    assert [event.id for event in await served.events()] == ["e3", "e2", "e1"]


async def test_a_quarantined_event_is_kept_with_its_problem_and_no_deliveries(served: Store) -> None:
    """Its identity obeys the same rule; its fan-out, if any was given, is not stored."""
    given = make_event("e1", make_delivery("d1", "a", 0), raw=b"not json \xff", problem="not JSON: line 1")

    assert await served.accept([given], revision=1) == (QUARANTINED,)
    assert await served.accept([given], revision=1) == (DUPLICATE,)
    stored = await served.event("e1")
    assert stored is not None
    assert (stored.status, stored.problem, stored.raw) == (QUARANTINED, "not JSON: line 1", b"not json \xff")
    assert stored.deliveries == 0
    assert await served.deliveries() == ()


@pytest.mark.parametrize("revision", [0, 2])
async def test_a_moved_revision_stores_nothing(served: Store, revision: int) -> None:
    """Whoever matched with another revision must match again."""
    with pytest.raises(RevisionMovedError) as caught:
        await served.accept([make_event("e1", make_delivery("d1", "a", 0))], revision=revision)

    assert caught.value.live_revision == 1
    assert await served.events() == ()


async def test_a_delivery_whose_id_exists_is_not_added_again(served: Store) -> None:
    """Neither to what is stored nor within one batch."""
    await add(served, "a", "d1")

    statuses = await served.accept(
        [
            make_event("e1", make_delivery("d1", "a", 0), make_delivery("d2", "a", 0), make_delivery("d2", "a", 0)),
            make_event("e2", make_delivery("d2", "a", 0, order_key="r"), make_delivery("d3", "a", 0, order_key="r")),
        ],
        revision=1,
    )

    assert statuses == (ACCEPTED, ACCEPTED)
    assert [delivery.id for delivery in await served.deliveries()] == ["d3", "d2", "d1"]


@pytest.mark.parametrize("id_", ["x" * 1000, "a\0b", "'; DROP TABLE events; --", "😀é\u202e", '"\\', "\ud800", ""])
async def test_any_id_is_told_from_any_other(served: Store, id_: str) -> None:
    """Ids come from outside and may hold anything."""
    assert await served.accept([make_event(id_), make_event(f"{id_}b")], revision=1) == (ACCEPTED, ACCEPTED)
    assert await served.accept([make_event(id_), make_event(f"{id_}b")], revision=1) == (DUPLICATE, DUPLICATE)

    assert await served.event(id_) is not None


async def test_text_that_utf8_cannot_carry_does_not_stop_an_intake(served: Store) -> None:
    """Lone surrogates in what is only shown are spelt out."""
    event = make_event("e1", event_type="\ud800", event_time="\udfff", source="\ud800", problem="bad: \ud800")

    await served.accept([event], revision=1)

    stored = await served.event("e1")
    assert stored is not None
    assert (stored.event_type, stored.event_time, stored.problem) == ("\\ud800", "\\udfff", "bad: \\ud800")


async def test_events_are_listed_newest_first_in_pages_by_status(served: Store) -> None:
    """Keyset pages: what arrives meanwhile moves no page."""
    await served.accept(
        [make_event(f"e{number}", problem="odd" if number % 2 else None) for number in range(7)], revision=1
    )

    first = await served.events(Page(limit=3))
    await served.accept([make_event("e7")], revision=1)
    second = await served.events(Page(limit=3, before=first[-1].id))

    assert [event.id for event in first + second] == ["e6", "e5", "e4", "e3", "e2", "e1"]
    quarantined = await served.events(Page(limit=2), status=QUARANTINED)
    assert [event.id for event in quarantined] == ["e5", "e3"]
    assert [event.id for event in await served.events(Page(2, "e3"), status=QUARANTINED)] == ["e1"]
    assert [event.id for event in await served.events(status=ACCEPTED)] == ["e7", "e6", "e4", "e2", "e0"]
    assert await served.events(status=DUPLICATE) == ()
    with pytest.raises(StoreError, match="no event to continue from: e99"):
        await served.events(Page(before="e99"))


async def test_deliveries_carry_the_revision_and_commit_of_the_match(served: Store) -> None:
    """Until there is an attempt."""
    await publish(served, make_live("d", "d"))
    await add(served, "a", "d1", at=7)

    (delivery,) = await served.deliveries(where=DeliveryFilter(event_id="event d1"))

    assert (delivery.state, delivery.revision, delivery.commit) == (State.PENDING, 2, "c0ffee")
    assert (delivery.accepted_at, delivery.next_attempt_at, delivery.attempts) == (7, 7, 0)


async def test_an_event_may_be_accepted_before_anything_was_applied(store: Store) -> None:
    """Revision 0: nothing matches, the fact is kept."""
    assert await store.accept([make_event("e1")], revision=0) == (ACCEPTED,)
    assert await store.accept([], revision=0) == ()


async def test_deliveries_of_a_webhook_without_a_lane_wait(served: Store) -> None:
    """Its configuration has not come yet."""
    await publish(served, make_live("d", "d"))

    await add(served, "d", "d1")

    assert await claim_ids(served, 10) == []
    assert await served.next_wake_at() is None
