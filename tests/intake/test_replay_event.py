"""Quarantined events judged again: as they were received, as they were mended, and what is never done twice."""

import json
from typing import Any

import pytest
from served import Room, event, raw

from reconciler.dispatch import item
from reconciler.dispatch.replay import Replayer, ReplayError
from reconciler.errors import NotInStoreError
from reconciler.models.delivery import State
from reconciler.store.base import DeliveryFilter, EventStatus


@pytest.fixture
def replayer(room: Room) -> Replayer:
    return Replayer(room.store, room.live, room.intake, now=lambda: room.now)


async def quarantine(room: Room, body: bytes = b'{"event_type": "AccessRequestCreated", "data": {"id": }}') -> str:
    answer = await room.intake.take(body, source="apono")
    assert answer.quarantined == 1
    return answer.items[0].id


async def test_a_mended_event_is_taken_with_its_deliveries_and_each_names_the_other(
    room: Room, replayer: Replayer
) -> None:
    """Under its own identity, received now, from the source that the quarantined one came from."""
    old = await quarantine(room)
    room.now += 60_000
    wakes = room.wakes

    replayed = await replayer.replay(old, raw(event(1)))

    (answer,) = replayed.answer.items
    new, was = await room.store.event(answer.id), await room.store.event(old)
    assert replayed.is_settled and answer.status is EventStatus.ACCEPTED
    assert new is not None and was is not None
    assert (new.status, new.mends, new.source, new.received_at) == (EventStatus.ACCEPTED, old, "apono", room.now)
    assert (was.status, was.mended_as, was.mends) == (EventStatus.MENDED, new.id, None)
    assert was.problem and was.raw.startswith(b"{")
    (delivery,) = await room.store.deliveries(where=DeliveryFilter(event_id=new.id))
    assert (delivery.webhook, delivery.state) == ("created", State.PENDING)
    assert room.wakes == wakes + 1


async def test_it_is_listed_as_mended_and_no_longer_as_quarantined(room: Room, replayer: Replayer) -> None:
    """What is left to mend is what the list shows."""
    old, other = await quarantine(room), await quarantine(room, b"{broken")
    await replayer.replay(old, raw(event(1)))

    quarantined = await room.store.events(status=EventStatus.QUARANTINED)
    mended = await room.store.events(status=EventStatus.MENDED)

    assert [found.id for found in quarantined] == [other]
    assert [found.id for found in mended] == [old]


async def test_what_is_still_no_event_stays_quarantined(room: Room, replayer: Replayer) -> None:
    """With the problem, and nothing is stored, neither of the bytes as they were nor of a bad mend."""
    old = await quarantine(room)

    same = await replayer.replay(old)
    worse = await replayer.replay(old, b"[1]")

    assert [answer.status for answer in (*same.answer.items, *worse.answer.items)] == [EventStatus.QUARANTINED] * 2
    assert "not JSON" in (same.answer.items[0].problem or "")
    assert "must be a JSON object" in (worse.answer.items[0].problem or "")
    assert not same.is_settled
    assert [found.status for found in await room.store.events()] == [EventStatus.QUARANTINED]


async def test_bytes_that_this_version_takes_need_no_mending(
    room: Room, replayer: Replayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an upgrade: the same bytes are judged by what is taken now."""
    with monkeypatch.context() as patch:
        patch.setattr("reconciler.dispatch.judge.judge_payload", _refuse)
        old = await quarantine(room, raw(event(1)))

    replayed = await replayer.replay(old)

    assert [answer.status for answer in replayed.answer.items] == [EventStatus.ACCEPTED]


def _refuse(payload: Any, **facts: Any) -> Any:
    from reconciler.models.event import EventProblem

    raise EventProblem("an older version knows no such event")


async def test_an_event_that_was_sent_again_meanwhile_is_a_duplicate(room: Room, replayer: Replayer) -> None:
    """It is mended by that one; nothing is delivered twice."""
    old = await quarantine(room)
    sent = (await room.intake.take(raw(event(1)), source="apono")).items[0].id

    replayed = await replayer.replay(old, raw(event(1)))

    was = await room.store.event(old)
    assert replayed.is_settled and [answer.status for answer in replayed.answer.items] == [EventStatus.DUPLICATE]
    assert was is not None and (was.status, was.mended_as) == (EventStatus.MENDED, sent)
    assert len(await room.store.deliveries()) == 1


async def test_a_conflict_mends_nothing(room: Room, replayer: Replayer) -> None:
    """The id that its envelope gives is another event's."""
    old = await quarantine(room)
    envelope = {"specversion": "1.0", "id": "ce-1"}
    await room.intake.take(raw({**envelope, "data": event(1)}), source="apono")

    replayed = await replayer.replay(old, raw({**envelope, "data": event(2)}))

    was = await room.store.event(old)
    assert not replayed.is_settled and replayed.answer.conflicts == 1
    assert was is not None and was.status is EventStatus.QUARANTINED


async def test_one_body_may_have_been_several_events(room: Room, replayer: Replayer) -> None:
    """All of them are taken, or none."""
    old = await quarantine(room, b'[{"event_type": "AccessRequestCreated"')

    bad = await replayer.replay(old, raw([event(1), {"no": "event"}]))
    good = await replayer.replay(old, raw([event(1), event(2)]))

    assert bad.answer.quarantined == 2 and len(await room.store.events(status=EventStatus.ACCEPTED)) == 2
    assert good.answer.accepted == 2
    was = await room.store.event(old)
    assert was is not None and was.mended_as == good.answer.items[0].id


async def test_what_cannot_be_replayed_is_refused(
    room: Room, replayer: Replayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mended before, accepted, unknown, without an event, too large: each with the fact."""
    old, other = await quarantine(room), await quarantine(room, b"{broken")
    new = (await replayer.replay(old, raw(event(1)))).answer.items[0].id

    with pytest.raises(ReplayError, match=f"mended before: {old}"):
        await replayer.replay(old, raw(event(2)))
    with pytest.raises(ReplayError, match="accepted, not quarantined"):
        await replayer.replay(new)
    with pytest.raises(NotInStoreError, match="no such event: nowhere"):
        await replayer.replay("nowhere")
    with pytest.raises(ReplayError, match="has no event"):
        await replayer.replay(other, b"[]")
    monkeypatch.setattr(item, "EVENT_MAX_BYTES", 10)
    with pytest.raises(ReplayError, match="the limit is 10"):
        await replayer.replay(other, raw(event(1)))


async def test_a_mended_event_keeps_the_digits_and_bytes_that_it_was_mended_with(
    room: Room, replayer: Replayer
) -> None:
    """What is stored is what was given, as at every intake."""
    old = await quarantine(room)
    body = b' {"event_type": "RequestCreated", "event_time": 1.50, "data": {"id": "r", "x": 1e400}} '

    replayed = await replayer.replay(old, body)

    new = await room.store.event(replayed.answer.items[0].id)
    assert new is not None and new.raw == body.strip()
    assert json.dumps(replayed.to_json())
