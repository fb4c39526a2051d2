"""Intake and Identity (DESIGN.md, section 5): judged per item, named, matched, stored in one transaction."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from served import NOW, Room, event, open_room, publish, raw, webhook

from reconciler.dispatch.intake import Intake, IntakeAnswer, IntakeClosedError
from reconciler.dispatch.item import EVENT_MAX_BYTES, PayloadTooLargeError, parse_items
from reconciler.dispatch.judge import BadIdError, fan_out, judge_items
from reconciler.dispatch.live import Live
from reconciler.errors import StoreError
from reconciler.models.delivery import State, delivery_id
from reconciler.store.base import EventStatus, NewEvent, Page, RevisionMovedError

ACCEPTED, DUPLICATE, CONFLICT, QUARANTINED = "accepted", "duplicate", "conflict", "quarantined"


def statuses(answer: IntakeAnswer) -> list[str]:
    return [item.status.value for item in answer.items]


async def take(room: Room, body: Any, **given: Any) -> IntakeAnswer:
    return await room.intake.take(body if isinstance(body, bytes) else raw(body), source="test", **given)


async def test_an_accepted_event_is_stored_with_its_fan_out(room: Room) -> None:
    """Raw bytes, source, revision, and one due delivery for each webhook that wants it."""
    body = b'{"event_type": "AccessRequestCreated", "event_time": 1795424400.851898000, "data": {"id": "r"}}'

    answer = await take(room, body)

    stored = await room.store.event(answer.items[0].id)
    assert stored is not None
    assert (stored.raw, stored.source, stored.revision, stored.received_at) == (body, "test", 1, NOW)
    assert (stored.event_type, stored.data_id, stored.event_time) == (
        "AccessRequestCreated",
        "r",
        "1795424400.851898000",
    )
    (delivery,) = await room.store.deliveries()
    assert (delivery.webhook, delivery.state, delivery.next_attempt_at) == ("created", State.PENDING, NOW)
    assert delivery.id == delivery_id(stored.id, "created")
    assert room.wakes == 1


async def test_every_sample_event_is_accepted(room: Room, event_files: tuple[Path, ...]) -> None:
    """Quotes, controls, bidi text, lone surrogates in free text, long numbers, missing parts."""
    for file in event_files:
        answer = await take(room, file.read_bytes())

        assert statuses(answer) == [ACCEPTED], file.name


async def test_the_same_event_again_is_a_duplicate(room: Room) -> None:
    """By SHA-256 of what it says: spelling, key order and white space do not count, digits do."""
    first = await take(room, b'{"event_type":"A","data":{"id":"r","n":1.0}}')

    again = await take(room, b'{ "data": {"n": 1.0, "id": "\\u0072"}, "event_type": "A" }')
    other = await take(room, b'{"event_type":"A","data":{"id":"r","n":1.00}}')

    assert (statuses(again), again.items[0].id) == ([DUPLICATE], first.items[0].id)
    assert statuses(other) == [ACCEPTED]
    assert room.wakes == 2


async def test_duplicates_within_one_request_are_found(room: Room) -> None:
    """As if they had come one after the other."""
    answer = await take(room, [event(1), event(2), event(1)])

    assert statuses(answer) == [ACCEPTED, ACCEPTED, DUPLICATE]
    assert (answer.accepted, answer.duplicates, answer.conflicts, answer.quarantined) == (2, 1, 0, 0)


async def test_an_idempotency_key_names_a_single_event(room: Room) -> None:
    """Same key and body: duplicate; same key, other body: conflict, and nothing of it is stored."""
    first = await take(room, event(1), idempotency_key="key-1")
    again = await take(room, event(1), idempotency_key="key-1")
    other = await take(room, event(2), idempotency_key="key-1")

    assert (statuses(first), first.items[0].id) == ([ACCEPTED], "key-1")
    assert statuses(again) == [DUPLICATE]
    assert (statuses(other), other.is_lone_conflict) == ([CONFLICT], True)
    assert len(await room.store.events()) == 1


async def test_an_idempotency_key_does_not_name_several_events(room: Room) -> None:
    """Each has the digest of what it says."""
    answer = await take(room, [event(1), event(2)], idempotency_key="key-1")

    assert statuses(answer) == [ACCEPTED, ACCEPTED]
    assert all(item.id.startswith("evt_") for item in answer.items)


async def test_a_structured_cloudevent_is_known_by_its_id(room: Room) -> None:
    """Its id goes before a key; its data is the event when it says its type, and what surrounds it does not count."""
    envelope = {"specversion": "1.0", "id": "ce-1", "source": "/apono", "type": "x", "data": event(1)}

    first = await take(room, envelope, idempotency_key="key-1")
    again = await take(room, {**envelope, "time": "2026-11-24T00:00:00Z"})
    other = await take(room, {**envelope, "data": event(2)})

    assert (statuses(first), first.items[0].id) == ([ACCEPTED], "ce-1")
    assert (statuses(again), statuses(other)) == ([DUPLICATE], [CONFLICT])
    stored = await room.store.event("ce-1")
    assert stored is not None
    assert (stored.event_type, stored.data_id, stored.deliveries) == ("AccessRequestCreated", "request-1", 1)
    assert json.loads(stored.raw) == envelope


async def test_a_cloudevent_may_say_type_and_time_itself(room: Room) -> None:
    """Then its data is the event's data."""
    envelope = {
        "specversion": "1.0",
        "id": "ce-1",
        "type": "AccessRequestCreated",
        "time": "2026-11-24T00:00:00Z",
        "data": {"id": "r"},
    }

    await take(room, envelope)

    stored = await room.store.event("ce-1")
    assert stored is not None
    assert (stored.event_type, stored.event_time, stored.data_id) == (
        "AccessRequestCreated",
        "2026-11-24T00:00:00Z",
        "r",
    )


async def test_cloudevents_in_a_batch_keep_their_ids(room: Room) -> None:
    """A conflict is one item's; the others are stored."""
    await take(room, {"specversion": "1.0", "id": "ce-2", "data": event(9)})
    batch = [{"specversion": "1.0", "id": f"ce-{number}", "data": event(number)} for number in (1, 2, 3)]

    answer = await take(room, batch)

    assert [(item.id, item.status.value) for item in answer.items] == [
        ("ce-1", ACCEPTED),
        ("ce-2", CONFLICT),
        ("ce-3", ACCEPTED),
    ]
    assert not answer.is_lone_conflict


async def test_a_binary_cloudevent_is_known_by_its_header(room: Room) -> None:
    """`ce-id` goes before `Idempotency-Key`."""
    answer = await take(room, event(1), ce_id="ce-1", idempotency_key="key-1")

    assert answer.items[0].id == "ce-1"


@pytest.mark.parametrize("bad_id", ["", "x" * 256, "a\nb", "a\u202eb", "a\x00", "\ud800"])
async def test_an_id_that_cannot_name_an_event(room: Room, bad_id: str) -> None:
    """Beside the event it is refused; inside, the item is quarantined."""
    with pytest.raises(BadIdError):
        await take(room, event(1), idempotency_key=bad_id)

    answer = await take(room, {"specversion": "1.0", "id": bad_id, "data": event(1)})

    assert statuses(answer) == [QUARANTINED]
    assert answer.items[0].id.startswith("qtn_")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            b'{"event_type": "RequestCreated", "data": {"justification": "say "hi""}}',
            "not JSON: expecting ',' delimiter",
        ),
        (b"\xff\xfe", "not UTF-8: byte 0xff at offset 0"),
        (b"", "empty: 0 bytes"),
        (b"3", "an event must be a JSON object: 3"),
        (b"{}", "`event_type` is missing"),
        (b'{"event_type": ""}', "`event_type` must not be empty"),
        (b'{"event_type": "RequestCreated", "data": {"access_groups": 3}}', "`data.access_groups` must be a list: 3"),
        (b'{"event_type": "\\ud800"}', "`event_type`"),
        (b'{"event_type": "RequestCreated", "event_time": "\\ud800"}', "`event_time` holds a lone surrogate"),
        (b'{"event_type": "RequestCreated", "data": {"id": "\\udfff"}}', "`data.id` holds a lone surrogate"),
        (b'{"specversion": "1.0", "id": 7, "data": {}}', "`id` of a CloudEvent must be a string: 7"),
    ],
)
async def test_what_is_no_event_is_quarantined_with_the_reason(room: Room, body: bytes, reason: str) -> None:
    """It is kept as received, listed, and has no deliveries."""
    answer = await take(room, body)

    assert statuses(answer) == [QUARANTINED]
    assert reason in (answer.items[0].problem or "")
    (stored,) = await room.store.events(status=EventStatus.QUARANTINED)
    assert (stored.raw, stored.problem, stored.deliveries) == (body, answer.items[0].problem, 0)
    assert room.wakes == 0


async def test_bad_items_cost_the_good_ones_nothing(room: Room) -> None:
    """Valid items are stored, the others quarantined, in one request."""
    body = b"\n".join((raw(event(1)), b"{broken", raw({"event_type": 3}), raw(event(2))))

    answer = await take(room, body)

    assert statuses(answer) == [ACCEPTED, QUARANTINED, QUARANTINED, ACCEPTED]
    assert len(await room.store.deliveries()) == 2


async def test_a_bad_event_does_not_take_the_id_of_the_mended_one(room: Room) -> None:
    """The sender mends it and sends it again under the same id."""
    bad = await take(room, {"event_type": 3}, idempotency_key="key-1")
    mended = await take(room, event(1), idempotency_key="key-1")

    assert (statuses(bad), statuses(mended)) == ([QUARANTINED], [ACCEPTED])
    assert bad.items[0].id != mended.items[0].id == "key-1"


async def test_the_same_bad_bytes_again_are_a_duplicate_with_its_problem(room: Room) -> None:
    """A sender that repeats itself fills nothing, and still learns what is wrong."""
    first = await take(room, b"{broken")
    again = await take(room, b"{broken")

    assert statuses(again) == [DUPLICATE]
    assert again.items == tuple(type(item)(item.id, EventStatus.DUPLICATE, item.problem) for item in first.items)


async def test_an_unknown_event_type_is_accepted(room: Room) -> None:
    """No webhook wants it."""
    answer = await take(room, {"event_type": "SomethingNew", "data": {"anything": [1]}})

    assert statuses(answer) == [ACCEPTED]
    assert await room.store.deliveries() == ()


async def test_a_request_over_a_limit_stores_nothing(room: Room) -> None:
    """Not even the events before the one that is too large."""
    large = event(2, justification="x" * EVENT_MAX_BYTES)

    with pytest.raises(PayloadTooLargeError, match="event 1 has"):
        await take(room, [event(1), large])

    assert await room.store.events() == ()


async def test_large_requests_are_taken_in_order(room: Room) -> None:
    """What is judged in a thread is answered item by item as well."""
    events = [event(number, justification="x" * 1000) for number in range(500)]

    answer = await take(room, events)

    assert statuses(answer) == [ACCEPTED] * 500
    stored = await room.store.events(Page(500))
    assert [item.data_id for item in reversed(stored)] == [f"request-{number}" for number in range(500)]


async def test_heavy_requests_at_once_are_all_taken(room: Room) -> None:
    """One after the other."""
    bodies = [
        raw([event(100 * part + number, justification="x" * 20_000) for number in range(60)]) for part in range(4)
    ]

    answers = await asyncio.gather(*(take(room, body) for body in bodies))

    assert [answer.accepted for answer in answers] == [60] * 4


async def test_events_are_matched_with_the_revision_live_at_intake(room: Room) -> None:
    """A revision applied since the last look is the one that counts."""
    await publish(room.store, webhook("newer"), webhook("newest"))

    answer = await take(room, event(1))

    stored = await room.store.event(answer.items[0].id)
    assert stored is not None and stored.revision == 2
    assert {item.webhook for item in await room.store.deliveries()} == {"newer", "newest"}


class Watched:
    """A real event store that counts what is stored, and may say that the revision moved."""

    def __init__(self, room: Room, *, moves: int = 0) -> None:
        self._store = room.store
        self.moves = moves
        self.calls: list[int] = []

    async def accept(self, events: Sequence[NewEvent], *, revision: int) -> tuple[EventStatus, ...]:
        self.calls.append(len(events))
        if self.moves:
            self.moves -= 1
            raise RevisionMovedError(revision + 1)
        return await self._store.accept(events, revision=revision)

    async def events(self, *args: Any, **kwargs: Any) -> Any:
        return await self._store.events(*args, **kwargs)

    async def event(self, event_id: str) -> Any:
        return await self._store.event(event_id)


async def test_a_request_is_one_transaction(room: Room) -> None:
    """However many items it has."""
    watched = Watched(room)
    intake = Intake(watched, room.live, now=lambda: NOW, wake=lambda: None)

    await intake.take(raw([event(number) for number in range(300)]), source="test")

    assert watched.calls == [300]


async def test_a_revision_that_moves_is_matched_again_but_not_for_ever(room: Room) -> None:
    """A few times; then the store counts as away, with nothing stored."""
    watched = Watched(room, moves=3)
    intake = Intake(watched, room.live, now=lambda: NOW, wake=lambda: None)
    assert (await intake.take(raw(event(1)), source="test")).accepted == 1

    watched.moves = 1000
    with pytest.raises(StoreError, match="moved"):
        await intake.take(raw(event(2)), source="test")
    assert len(await room.store.events()) == 1


async def test_inactive_webhooks_get_nothing(tmp_path: Path) -> None:
    async with open_room(tmp_path, webhook("plain"), webhook("off", status="inactive")) as room:
        await take(room, event(1))

        assert [item.webhook for item in await room.store.deliveries()] == ["plain"]


async def test_order_keys_follow_the_access_request(tmp_path: Path) -> None:
    """data.id where the webhook orders by request and there is one; held at most max_hold."""
    ordered, free = webhook("ordered", max_hold="2m"), webhook("free", ordering="none")
    async with open_room(tmp_path, ordered, free) as room:
        items = parse_items(
            raw([event(1), {"event_type": "RequestCreated", "data": {"id": ""}}, {"event_type": "RequestCreated"}])
        )
        judged = judge_items(items, source="test", now=NOW, given_id=None)

        rows = fan_out(judged, snapshot=room.live.snapshot, now=NOW)

    keys = [{new.webhook_uid: new.order_key for new in row.deliveries} for row in rows]
    assert keys == [
        {"ordered": "request-1", "free": None},
        {"ordered": None, "free": None},
        {"ordered": None, "free": None},
    ]
    assert {new.hold_until for row in rows for new in row.deliveries if new.webhook_uid == "ordered"} == {NOW + 120_000}


async def test_a_closed_intake_takes_nothing(room: Room) -> None:
    """The daemon drains."""
    room.intake.close()

    with pytest.raises(IntakeClosedError):
        await take(room, event(1))
    assert await room.store.events() == ()


async def test_the_answer_names_every_item(room: Room) -> None:
    """The body of the 202."""
    answer = await take(room, [event(1), {"event_type": 3}])

    document = answer.to_json()
    assert {key: document[key] for key in ("accepted", "duplicates", "conflicts", "quarantined")} == {
        "accepted": 1,
        "duplicates": 0,
        "conflicts": 0,
        "quarantined": 1,
    }
    assert [sorted(item) for item in document["events"]] == [["id", "problem", "status"]] * 2
    assert document["events"][1]["problem"] == "`event_type` must be a string: 3"


fragment = st.sampled_from(
    [
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\n",
        b" ",
        b'"event_type"',
        b'"RequestCreated"',
        b'"data"',
        b'"id"',
        b"1e999",
        b'"specversion"',
        b'"1.0"',
        b"null",
        b"-0",
        b'"\\ud800"',
        b"\xff",
        b"\x00",
        b'{"event_type":"A"}',
        b'"event_time"',
    ]
)


@given(bodies=st.lists(st.lists(fragment, max_size=14).map(b"".join) | st.binary(max_size=80), min_size=1, max_size=20))
@settings(max_examples=40, deadline=None)
def test_any_body_ends_in_a_status(bodies: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Law: no body raises; every item is accepted, duplicate, conflict or quarantined, and what is kept is readable."""

    async def run() -> None:
        async with open_room(tmp_path_factory.mktemp("room"), webhook("created")) as room:
            for body in bodies:
                answer = await take(room, body)
                assert set(statuses(answer)) <= {ACCEPTED, DUPLICATE, CONFLICT, QUARANTINED}
                for item in answer.items:
                    assert item.status is EventStatus.CONFLICT or await room.store.event(item.id) is not None

    asyncio.run(run())


async def test_a_live_view_is_not_needed_before_the_first_event(tmp_path: Path) -> None:
    """Intake finds out by itself that the store has moved on since the snapshot was taken."""
    async with open_room(tmp_path, webhook("created")) as room:
        intake = Intake(room.store, Live(room.store), now=lambda: NOW, wake=lambda: None)

        await intake.take(raw(event(1)), source="test")

        assert len(await room.store.deliveries()) == 1
