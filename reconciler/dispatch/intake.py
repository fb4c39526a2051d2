"""Events in: each item judged, named, matched with the live revision and stored with its fan-out in one transaction.

Called by the sources with bytes; knows no HTTP and no file. When `take` returns, what it says is durable; when it
raises, nothing was stored. DESIGN.md section 5, Intake and Identity.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, ParamSpec, TypeVar

from reconciler import jsontext
from reconciler.dispatch.gather import Gatherer
from reconciler.dispatch.item import Item, parse_items
from reconciler.dispatch.live import Live, Snapshot
from reconciler.dispatch.room import Room
from reconciler.errors import ReconcilerError, StoreError
from reconciler.jsontext import JsonValue
from reconciler.models.audit import Deed
from reconciler.models.delivery import delivery_id
from reconciler.models.event import (
    OPERATIONAL_TYPES,
    Event,
    EventId,
    EventProblem,
    is_cloudevent,
    judge_payload,
    make_event,
    payload_of,
)
from reconciler.models.revision import LiveWebhook
from reconciler.models.webhook import Ordering
from reconciler.observe.log import log
from reconciler.request.condition import MatchState
from reconciler.store.base import EventStatus, EventStore, NewDelivery, NewEvent, RevisionMovedError
from reconciler.store.match_error import NewMatchError

P = ParamSpec("P")
R = TypeVar("R")

ID_MAX_CHARACTERS: Final = 255
MATCH_TRIES: Final = 5  # a revision that moves more often than this while one request is matched is a fault
HEAVY_BYTES: Final = 1024 * 1024  # larger bodies are taken one at a time: parsed, 8 MiB can be some 200 MB of objects
_MILLISECOND: Final = timedelta(milliseconds=1)
THREAD_BYTES: Final = 32 * 1024  # larger bodies are judged in a thread, so that deliveries under way do not wait


class IntakeClosedError(ReconcilerError):
    """The daemon is draining: nothing more is taken."""


class BadIdError(ReconcilerError):
    """An event id given beside the event cannot be used."""


@dataclass(frozen=True, slots=True)
class ItemAnswer:
    """What became of one item. `problem` says why it is quarantined or conflicts."""

    id: str
    status: EventStatus
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class IntakeAnswer:
    """What became of one request, item by item in its order."""

    items: tuple[ItemAnswer, ...]

    def count(self, status: EventStatus) -> int:
        """How many items have this status."""
        return sum(item.status is status for item in self.items)

    @property
    def accepted(self) -> int:
        """How many are new."""
        return self.count(EventStatus.ACCEPTED)

    @property
    def duplicates(self) -> int:
        """How many were stored before with the same id and body."""
        return self.count(EventStatus.DUPLICATE)

    @property
    def conflicts(self) -> int:
        """How many have the id of a stored event and another body."""
        return self.count(EventStatus.CONFLICT)

    @property
    def quarantined(self) -> int:
        """How many were kept although they are no events."""
        return self.count(EventStatus.QUARANTINED)

    @property
    def is_lone_conflict(self) -> bool:
        """Whether the request was a single event and that conflicts."""
        return len(self.items) == 1 and self.conflicts == 1

    def counts(self) -> dict[str, int]:
        """The four counts, for the answer and for the log."""
        return {
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "conflicts": self.conflicts,
            "quarantined": self.quarantined,
        }

    def to_json(self) -> dict[str, Any]:
        """The body of the 202."""
        events = [{"id": item.id, "status": item.status.value, "problem": item.problem} for item in self.items]
        return {**self.counts(), "events": events}


@dataclass(frozen=True, slots=True)
class Judged:
    """An item after judgement: its row, without deliveries, and the event if it is one."""

    row: NewEvent
    event: Event | None


class Intake:
    """The one way in. `now` gives milliseconds since the epoch; `wake` tells the worker that something is due; `room`
    says whether more is taken."""

    def __init__(
        self,
        store: EventStore,
        live: Live,
        *,
        now: Callable[[], int],
        wake: Callable[[], None],
        room: Room | None = None,
    ) -> None:
        self._store = store
        self._gatherer = Gatherer(store)
        self._live = live
        self._now = now
        self._wake = wake
        self._room = room or Room()
        self._is_closed = False
        self._heavy = asyncio.Lock()

    @property
    def is_closed(self) -> bool:
        """Whether nothing more is taken."""
        return self._is_closed

    def check_room(self) -> None:
        """Raise NoRoomError where no more events of sources are taken; an operator's replay is taken all the same."""
        self._room.check()

    def wake(self) -> None:
        """Tell the worker that something is due which was not taken here."""
        self._wake()

    def close(self) -> None:
        """Take nothing more; what is being stored is still answered."""
        self._is_closed = True

    async def take(
        self,
        body: bytes,
        *,
        source: str,
        content_type: str | None = None,
        idempotency_key: str | None = None,
        ce_id: str | None = None,
    ) -> IntakeAnswer:
        """Store a request's events with their fan-out, in one transaction, all judged item by item.

        `ce_id` and `idempotency_key` name a single event and are passed over for several. Raises PayloadTooLargeError,
        BadIdError, NoRoomError, IntakeClosedError and StoreError, each with nothing stored.
        """
        self.check_room()
        given_id = check_id(ce_id if ce_id is not None else idempotency_key)
        async with self._heavy if len(body) > HEAVY_BYTES else contextlib.nullcontext():
            items = await _run(len(body) > THREAD_BYTES, parse_items, body, content_type=content_type)
            return await self.take_items(items, source=source, given_id=given_id)

    async def take_items(self, items: Sequence[Item], *, source: str, given_id: str | None = None) -> IntakeAnswer:
        """`take` for items that are parsed already."""
        if self._is_closed:
            raise IntakeClosedError("the daemon is draining")
        self.check_room()
        now = self._now()
        is_large = sum(len(item.raw) for item in items) > THREAD_BYTES
        only_id = given_id if len(items) == 1 else None
        judged = await _run(is_large, judge_items, items, source=source, now=now, given_id=only_id)
        return await self.take_judged(judged, now=now)

    async def take_judged(self, judged: Sequence[Judged], *, now: int, deed: Deed | None = None) -> IntakeAnswer:
        """`take` for items that are judged already; `deed`: what a person did with them. Raises IntakeClosedError and
        StoreError, with nothing stored."""
        if self._is_closed:
            raise IntakeClosedError("the daemon is draining")
        is_large = sum(len(item.row.raw) for item in judged) > THREAD_BYTES
        statuses = await self._store_matched(judged, now=now, is_large=is_large, deed=deed)
        answer = IntakeAnswer(tuple(_answer(item.row, status) for item, status in zip(judged, statuses, strict=True)))
        if answer.accepted:
            self._wake()
        return answer

    async def _store_matched(
        self, judged: Sequence[Judged], *, now: int, is_large: bool, deed: Deed | None
    ) -> tuple[EventStatus, ...]:
        """Match with the live revision and store; match again where a new revision came in between."""
        if not judged:
            return ()
        for _ in range(MATCH_TRIES):
            snapshot = self._live.snapshot
            rows = await _run(is_large, fan_out, judged, snapshot=snapshot, now=now)
            try:
                if deed is not None:  # an operator's, written with what is kept of it
                    statuses = await self._store.accept(rows, revision=snapshot.revision, deed=deed)
                else:
                    statuses = await self._gatherer.accept(rows, revision=snapshot.revision)
            except RevisionMovedError:
                await self._live.refresh()
            else:
                self._room.added(sum(len(row.deliveries) for row in rows))
                _log_match_errors(rows, statuses, snapshot)
                return statuses
        raise StoreError(f"the live revision moved {MATCH_TRIES} times while one request was being matched")


def check_id(given_id: str | None) -> str | None:
    """An id given by a sender, if it can name an event. Raises BadIdError."""
    if given_id is None:
        return None
    if not 0 < len(given_id) <= ID_MAX_CHARACTERS:
        raise BadIdError(
            f"an event's id has 1 to {ID_MAX_CHARACTERS} characters, this one has {len(given_id)}",
            hint="send a short id, such as a UUID",
        )
    if not given_id.isprintable():
        raise BadIdError(f"an event's id holds only visible characters: {given_id!a:.80}")
    return given_id


def judge_items(
    items: Sequence[Item], *, source: str, now: int, given_id: str | None, is_outside: bool = True
) -> list[Judged]:
    """Every item as a row to store: an event under its identity, or quarantined with the reason; of `is_outside`
    sources no operational event is taken, since only the daemon can know. Pure."""
    return [_judge(item, source=source, now=now, given_id=given_id, is_outside=is_outside) for item in items]


def _judge(item: Item, *, source: str, now: int, given_id: str | None, is_outside: bool) -> Judged:
    if item.problem is not None:
        return Judged(_quarantined(item, item.problem, source=source, now=now), None)
    try:
        event = _event_of(item, given_id)
        if is_outside and event.event_type in OPERATIONAL_TYPES:
            raise EventProblem(f"`event_type` is one that only reconciler itself sends: {event.event_type}")
    except (EventProblem, BadIdError) as exc:
        return Judged(_quarantined(item, str(exc), source=source, now=now), None)
    return Judged(
        NewEvent(
            id=event.id,
            event_type=event.event_type,
            data_id=event.data_id,
            event_time=event.event_time,
            source=source,
            raw=item.raw,
            fingerprint=event.fingerprint,
            received_at=now,
        ),
        event,
    )


def _event_of(item: Item, given_id: str | None) -> Event:
    """The event under the id of its envelope, else the given one, else the digest of what it says."""
    if is_cloudevent(item.value):
        envelope_id = item.value["id"]
        if not isinstance(envelope_id, str):
            raise EventProblem(f"`id` of a CloudEvent must be a string: {envelope_id!r:.60}")
        given_id = check_id(envelope_id)
    payload = payload_of(item.value)
    canonical = item.canonical if payload is item.value else jsontext.canonical(payload)
    judged = judge_payload(payload, is_utf8=canonical is not None)
    return make_event(judged, item.raw, given_id=given_id, canonical=canonical)


def _quarantined(item: Item, problem: str, *, source: str, now: int) -> NewEvent:
    """The row of what is no event. Its id is never the sender's, so that the mended event is free to use that."""
    digest = hashlib.sha256(item.raw).hexdigest()
    return NewEvent(
        id=EventId(f"qtn_{digest[:32]}"),
        event_type=_claimed_type(item.value),
        data_id=None,
        event_time=None,
        source=source,
        raw=item.raw,
        fingerprint=digest,
        received_at=now,
        problem=problem.encode("utf-8", "backslashreplace").decode("utf-8"),
    )


def _claimed_type(value: JsonValue) -> str:
    """What a quarantined item says it is, for listings; empty where it says nothing that can be shown."""
    payload = payload_of(value)
    claimed = payload.get("event_type") if isinstance(payload, dict) else None
    return claimed[:ID_MAX_CHARACTERS] if isinstance(claimed, str) and claimed.isprintable() else ""


def fan_out(judged: Sequence[Judged], *, snapshot: Snapshot, now: int) -> list[NewEvent]:
    """The rows with one delivery for each webhook of the snapshot that wants the event, and one match error for each of
    which that cannot be told. Pure."""
    return [item.row if item.event is None else matched(item.row, item.event, snapshot, now) for item in judged]


def matched(row: NewEvent, event: Event, snapshot: Snapshot, now: int) -> NewEvent:
    """An event's row with its fan-out. Pure."""
    deliveries: list[NewDelivery] = []
    errors: list[NewMatchError] = []
    for live, verdict in snapshot.judge(event):
        if verdict.state is MatchState.ERROR:
            errors.append(NewMatchError(live.uid, verdict.error))
        else:
            deliveries.append(new_delivery(event, live, now=now))
    return NewEvent(
        row.id,
        row.event_type,
        row.data_id,
        row.event_time,
        row.source,
        row.raw,
        row.fingerprint,
        row.received_at,
        row.problem,
        tuple(deliveries),
        tuple(errors),
        row.mends,
    )


def new_delivery(event: Event, live: LiveWebhook, *, now: int, is_ordered: bool = True) -> NewDelivery:
    """The delivery of an event to a webhook that wants it."""
    is_in_order = is_ordered and live.webhook.spec.ordering is Ordering.REQUEST
    return NewDelivery(
        id=delivery_id(event.id, live.uid),
        webhook_uid=live.uid,
        order_key=event.data_id or None if is_in_order else None,
        due_at=now,
        hold_until=now + live.webhook.spec.max_hold // _MILLISECOND,
    )


def _log_match_errors(rows: Sequence[NewEvent], statuses: Sequence[EventStatus], snapshot: Snapshot) -> None:
    for row, status in zip(rows, statuses, strict=True):
        if status is EventStatus.ACCEPTED:
            for error in row.match_errors:
                name = snapshot.webhooks[error.webhook_uid].webhook.name
                log("match.failed", event_id=row.id, webhook=name, error=error.error, revision=snapshot.revision)


def _answer(row: NewEvent, status: EventStatus) -> ItemAnswer:
    problem = row.problem
    if status is EventStatus.CONFLICT:
        problem = "an event with this id and another body is stored already"
    return ItemAnswer(row.id, status, problem)


async def _run(is_large: bool, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a pure function here, or in a thread when it has much to chew."""
    return await asyncio.to_thread(function, *args, **kwargs) if is_large else function(*args, **kwargs)
