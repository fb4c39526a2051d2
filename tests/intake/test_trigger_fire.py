"""A Manual webhook fired: one event, one delivery, whatever the filters say; and what is refused."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from served import Room, event, open_room, publish, raw, webhook

from reconciler.dispatch.trigger import Fired, TriggerError, fire
from reconciler.errors import NotInStoreError
from reconciler.models.delivery import State
from reconciler.store.base import EventStatus

MANUAL = webhook("manual", triggers=["Manual"], filters={"integration": {"name": ["nothing-is-called-so"]}})


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(
        tmp_path, MANUAL, webhook("created"), webhook("off", triggers=["Manual"], status="inactive")
    ) as opened:
        yield opened


async def fired(room: Room, body: bytes, *, name: str = "manual", fallback_id: str = "trg_1") -> Fired:
    return await fire(room.store, room.live, name, body, fallback_id=fallback_id, now=lambda: room.now)


async def test_firing_stores_an_event_with_one_delivery(room: Room) -> None:
    """To that webhook alone, whatever others want such events, and its filters are not asked."""
    made = await fired(room, raw(event(1)))

    (delivery,) = await room.store.deliveries()
    stored = await room.store.event("trg_1")
    assert stored is not None
    assert (made.status, made.event_id, made.delivery_id) == (EventStatus.ACCEPTED, "trg_1", delivery.id)
    assert (delivery.webhook, delivery.state, delivery.next_attempt_at) == ("manual", State.PENDING, room.now)
    assert (stored.source, stored.event_type, stored.data_id) == ("trigger", "AccessRequestCreated", "request-1")


async def test_an_event_of_the_manual_kind_is_taken(room: Room) -> None:
    """Its data may hold anything."""
    made = await fired(room, b'{"event_type": "Manual", "data": {"id": 7, "why": ["x"]}}')

    assert made.status is EventStatus.ACCEPTED


async def test_each_firing_is_its_own_unless_an_id_is_given(room: Room) -> None:
    """By the event's envelope or by the caller."""
    envelope = raw({"specversion": "1.0", "id": "ce-1", "data": event(1)})

    made = [await fired(room, raw(event(1)), fallback_id=id_) for id_ in ("trg_1", "trg_2", "trg_2")]
    named = [await fired(room, envelope, fallback_id=id_) for id_ in ("trg_3", "trg_4")]

    assert [item.status for item in made] == [EventStatus.ACCEPTED, EventStatus.ACCEPTED, EventStatus.DUPLICATE]
    assert [(item.event_id, item.status.value) for item in named] == [("ce-1", "accepted"), ("ce-1", "duplicate")]
    assert made[1].delivery_id == made[2].delivery_id
    assert len(await room.store.deliveries()) == 3


async def test_a_manual_webhook_is_never_fired_by_an_event(room: Room) -> None:
    """Not even by one that says so."""
    await room.intake.take(b'{"event_type": "Manual", "data": {}}', source="apono")

    assert await room.store.deliveries() == ()


@pytest.mark.parametrize(
    ("name", "body", "fact"),
    [
        ("created", raw(event(1)), "has not the trigger Manual: created"),
        ("off", raw(event(1)), "the webhook is inactive: off"),
        ("manual", b"{broken", "this is no event: not JSON"),
        ("manual", b'{"data": {}}', "`event_type` is missing"),
        ("manual", b"", "this is no event: empty"),
        ("manual", raw(event(1, justification="x" * 300_000)), "the limit is"),
    ],
)
async def test_what_cannot_be_fired_is_refused_with_nothing_stored(
    room: Room, name: str, body: bytes, fact: str
) -> None:
    """With the way out."""
    with pytest.raises(TriggerError, match=fact):
        await fired(room, body, name=name)

    assert await room.store.events() == ()


async def test_an_unknown_webhook_is_refused(room: Room) -> None:
    """Nobody is called so now, though somebody was."""
    await publish(room.store, webhook("created"))

    with pytest.raises(NotInStoreError, match="no webhook of this name is live: manual"):
        await fired(room, raw(event(1)))


async def test_an_id_of_another_event_is_refused(room: Room) -> None:
    """It would be taken for a repeat of that one."""
    other = (await room.intake.take(raw(event(1)), source="apono")).items[0].id

    with pytest.raises(TriggerError, match="another event with this id is stored already"):
        await fired(room, raw(event(1)), fallback_id=other)
    with pytest.raises(TriggerError, match="another event with this id"):
        await fired(room, raw(event(2)), fallback_id=other)
    assert [item.webhook for item in await room.store.deliveries()] == ["created"]
