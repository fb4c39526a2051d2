"""Requests that come together are stored together, and each gets the answer that it would have got alone."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from served import NOW, Room, open_room, publish, webhook

from reconciler.dispatch.gather import EVENTS_MAX, Gatherer
from reconciler.dispatch.intake import IntakeAnswer
from reconciler.dispatch.item import parse_items
from reconciler.dispatch.judge import fan_out, judge_items
from reconciler.errors import StoreError
from reconciler.store.base import EventStatus, NewEvent, Page, RevisionMovedError


class Counted:
    """The real store's `accept`, counted; refuses a write that holds the event `poison`."""

    def __init__(self, room: Room) -> None:
        self._store = room.store
        self.sizes: list[int] = []

    async def accept(self, events: Sequence[NewEvent], *, revision: int) -> tuple[EventStatus, ...]:
        self.sizes.append(len(events))
        if any(event.id == "poison" for event in events):
            raise StoreError("no room for this one")
        return await self._store.accept(events, revision=revision)


def rows(room: Room, name: str, *, text: str = "a") -> list[NewEvent]:
    """What intake makes of one event under this id."""
    payload = {"event_type": "AccessRequestCreated", "event_time": 1, "data": {"id": name, "justification": text}}
    judged = judge_items(parse_items(json.dumps(payload).encode()), source="test", now=NOW, given_id=name)
    return fan_out(judged, snapshot=room.live.snapshot, now=NOW)


async def outcomes(gatherer: Gatherer, room: Room, *requests: list[NewEvent]) -> list[Any]:
    """What becomes of requests that come at once: statuses, or what was raised."""
    revision = room.live.snapshot.revision
    waits = (gatherer.accept(request, revision=revision) for request in requests)
    return await asyncio.gather(*waits, return_exceptions=True)


async def test_a_crowd_is_written_in_few_transactions(room: Room) -> None:
    """What comes before the first write is under way shares it; every one is accepted, and stored once."""
    store = Counted(room)

    found = await outcomes(Gatherer(store), room, *(rows(room, f"e{index}") for index in range(100)))

    assert found == [(EventStatus.ACCEPTED,)] * 100
    assert sum(store.sizes) == 100 and len(store.sizes) <= 2
    assert len(await room.store.events(Page(1000))) == 100
    assert len(await room.store.deliveries(Page(1000))) == 100


async def test_no_transaction_is_larger_than_the_limit(room: Room) -> None:
    """So that none takes long; one request that is larger by itself is written by itself."""
    store = Counted(room)
    large = [row for index in range(EVENTS_MAX + 1) for row in rows(room, f"large{index}")]

    found = await outcomes(Gatherer(store), room, large, *(rows(room, f"e{index}") for index in range(EVENTS_MAX + 1)))

    assert found[0] == (EventStatus.ACCEPTED,) * (EVENTS_MAX + 1)
    assert store.sizes == [EVENTS_MAX + 1, EVENTS_MAX, 1]


async def test_earlier_requests_of_a_crowd_count_as_stored(room: Room) -> None:
    """The same event twice at once: accepted and duplicate; with another body: a conflict."""
    requests = [rows(room, "e"), rows(room, "e"), rows(room, "e", text="b")]

    found = await outcomes(Gatherer(room.store), room, *requests)

    assert found == [(EventStatus.ACCEPTED,), (EventStatus.DUPLICATE,), (EventStatus.CONFLICT,)]


async def test_what_cannot_be_stored_costs_no_other_its_answer(room: Room) -> None:
    """Say, for want of space."""
    one, poison, other = await outcomes(
        Gatherer(Counted(room)), room, rows(room, "one"), rows(room, "poison"), rows(room, "other")
    )

    assert one == other == (EventStatus.ACCEPTED,)
    assert isinstance(poison, StoreError)
    assert {event.id for event in await room.store.events()} == {"one", "other"}


async def test_a_crowd_matched_with_an_old_revision_is_told_so(room: Room) -> None:
    """Each matches its events anew; what was matched with the live one is stored meanwhile."""
    old = [room.live.snapshot.revision, rows(room, "old")]
    await publish(room.store, webhook("created", title="changed"))
    await room.live.refresh()
    gatherer = Gatherer(room.store)

    stale, fresh = await asyncio.gather(
        gatherer.accept(old[1], revision=old[0]),
        gatherer.accept(rows(room, "new"), revision=room.live.snapshot.revision),
        return_exceptions=True,
    )

    assert isinstance(stale, RevisionMovedError)
    assert fresh == (EventStatus.ACCEPTED,)


async def test_one_that_gives_up_takes_nothing_from_the_others(room: Room) -> None:
    """A sender that goes away: its event is stored all the same, as are those of the others."""
    gatherer, revision = Gatherer(room.store), room.live.snapshot.revision
    leaving = asyncio.create_task(gatherer.accept(rows(room, "leaving"), revision=revision))
    staying = asyncio.create_task(gatherer.accept(rows(room, "staying"), revision=revision))
    await asyncio.sleep(0)

    leaving.cancel()

    assert await staying == (EventStatus.ACCEPTED,)
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert {event.id for event in await room.store.events()} == {"leaving", "staying"}


async def test_one_whose_answer_cannot_be_told_takes_nothing_from_the_others(room: Room) -> None:
    """A fault of ours in telling one does not make the others believe that they are not stored."""
    gatherer, revision = Gatherer(room.store), room.live.snapshot.revision

    def fail(outcome: Any) -> None:
        raise RuntimeError("a bug")

    gatherer.put(rows(room, "untold"), revision=revision, done=fail)
    told = await asyncio.gather(*(gatherer.accept(rows(room, name), revision=revision) for name in ("a", "b")))

    assert told == [(EventStatus.ACCEPTED,)] * 2
    assert {event.id for event in await room.store.events()} == {"untold", "a", "b"}


async def test_events_taken_at_once_while_revisions_move_are_all_stored(tmp_path: Path) -> None:
    """The whole way through intake: nothing lost, nothing twice, whatever comes in between."""
    async with open_room(tmp_path, webhook("created")) as room:

        async def take(index: int) -> IntakeAnswer:
            body = {"event_type": "AccessRequestCreated", "event_time": 1, "data": {"id": f"r{index}"}}
            return await room.intake.take(json.dumps(body).encode(), source="test", idempotency_key=f"k{index}")

        first = asyncio.gather(*(take(index) for index in range(50)))
        await publish(room.store, webhook("created", title="changed"))
        answers = [*await first, *await asyncio.gather(*(take(index) for index in range(40, 90)))]

        assert sum(answer.accepted for answer in answers) == 90
        assert sum(answer.duplicates for answer in answers) == 10
        assert len(await room.store.deliveries(Page(1000))) == 90


class Busy(Counted):
    """A store that comes to what it is given when it is told to."""

    def __init__(self, room: Room) -> None:
        super().__init__(room)
        self.is_asked, self.may_begin, self.has_begun = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.may_end = asyncio.Event()

    async def asked(self, gatherer: Gatherer, request: list[NewEvent], *, revision: int) -> asyncio.Task[Any]:
        """Send a first request, and wait until it was asked to write that."""
        sent = asyncio.create_task(gatherer.accept(request, revision=revision))
        await self.is_asked.wait()
        return sent

    async def accept(self, events: Sequence[NewEvent], *, revision: int) -> tuple[EventStatus, ...]:
        self.is_asked.set()
        await self.may_begin.wait()
        statuses = await super().accept(events, revision=revision)
        self.has_begun.set()
        await self.may_end.wait()
        return statuses


async def test_what_comes_before_a_busy_store_has_begun_is_written_with_the_first(room: Room) -> None:
    """And what comes after that by the next write: each gets its answer, and no other's."""
    store = Busy(room)
    gatherer = Gatherer(store)
    revision = room.live.snapshot.revision
    async with asyncio.timeout(10):
        sent = [await store.asked(gatherer, rows(room, "first"), revision=revision)]
        for request in (
            [],
            rows(room, "second"),
            rows(room, "first", text="another"),
            [*rows(room, "a"), *rows(room, "b")],
        ):
            sent.append(asyncio.create_task(gatherer.accept(request, revision=revision)))
        await asyncio.sleep(0)
        store.may_begin.set()
        await store.has_begun.wait()
        sent.append(asyncio.create_task(gatherer.accept(rows(room, "second"), revision=revision)))
        await asyncio.sleep(0)
        store.may_end.set()
        found = await asyncio.gather(*sent)

    new = (EventStatus.ACCEPTED,)
    assert found == [new, (), new, (EventStatus.CONFLICT,), new * 2, (EventStatus.DUPLICATE,)]
    assert store.sizes == [5, 1]


async def test_what_comes_to_a_write_that_fails_gets_an_outcome_of_its_own(room: Room) -> None:
    store = Busy(room)
    gatherer = Gatherer(store)
    revision = room.live.snapshot.revision
    async with asyncio.timeout(10):
        sent = [await store.asked(gatherer, rows(room, "poison"), revision=revision)]
        sent.append(asyncio.create_task(gatherer.accept(rows(room, "good"), revision=revision)))
        await asyncio.sleep(0)
        store.may_begin.set()
        store.may_end.set()
        poisoned, good = await asyncio.gather(*sent, return_exceptions=True)

    assert isinstance(poisoned, StoreError)
    assert good == (EventStatus.ACCEPTED,)


async def test_what_comes_while_a_failed_write_is_written_apart_shares_the_next(room: Room) -> None:
    """It was in no write that failed."""
    store = Counted(room)
    gatherer = Gatherer(store)
    revision = room.live.snapshot.revision
    late: list[asyncio.Task[Any]] = []
    has_come = asyncio.Event()

    def come(_: object) -> None:
        for index in range(5):
            wait = gatherer.accept(rows(room, f"late{index}"), revision=revision)
            late.append(asyncio.get_running_loop().create_task(wait))
        has_come.set()

    gatherer.put(rows(room, "good"), revision=revision, done=come)
    gatherer.put(rows(room, "poison"), revision=revision, done=lambda _: None)
    async with asyncio.timeout(10):
        await has_come.wait()
        assert await asyncio.gather(*late) == [(EventStatus.ACCEPTED,)] * 5

    assert store.sizes == [2, 1, 1, 5]
