"""The store as three protocols, each of about a dozen verbs, the same contract for every engine.

Implemented beside this file, one module an engine; judged by one conformance suite (`tests/store/`). Times are
integer milliseconds since the epoch, given by the caller. Every verb is one transaction, durable when it returns.
Read verbs never wait for writers. What people read of events and deliveries stands in a protocol of its own, since a
store behind a daemon has those verbs too.
"""

import base64
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, Self

from reconciler import jsontext
from reconciler.models.audit import UNKNOWN, Deed, Warrant
from reconciler.models.delivery import Attempt, AttemptResult, Delivery, DeliveryId, Outcome, Reason, State, iso_time
from reconciler.models.event import EventId
from reconciler.models.health import Health
from reconciler.models.revision import ChangeSet, Hold, LiveState, Revision
from reconciler.models.webhook import WebhookUid
from reconciler.store.audit import AuditLog
from reconciler.store.clock import ClockStore
from reconciler.store.examine import ExamineStore, LooseFile
from reconciler.store.flow import FlowStore
from reconciler.store.match_error import MatchError, MatchErrorLog, MatchErrorStore, NewMatchError
from reconciler.store.notice import NoticeStore
from reconciler.store.operate import OperatorStore
from reconciler.store.proposal import ProposalStore
from reconciler.store.retention import RetentionStore


class EventStatus(StrEnum):
    """What intake made of one item."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    QUARANTINED = "quarantined"
    MENDED = "mended"  # was quarantined, and has become an event since


class NewDelivery(NamedTuple):
    """One row of an event's fan-out. `order_key` None: unordered. A delivery that waits for its predecessor is
    released at `hold_until`."""

    id: DeliveryId
    webhook_uid: WebhookUid
    order_key: str | None
    due_at: int
    hold_until: int


class NewEvent(NamedTuple):
    """One item of an intake. With `problem` set it is quarantined and has no deliveries. `mends` is the quarantined
    event that it was judged from."""

    id: EventId
    event_type: str
    data_id: str | None
    event_time: str | None
    source: str
    raw: bytes
    fingerprint: str
    received_at: int
    problem: str | None = None
    deliveries: tuple[NewDelivery, ...] = ()
    match_errors: tuple[NewMatchError, ...] = ()
    mends: EventId | None = None


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as people see it. `mends` is the quarantined event that it was judged from, `mended_as` the event that a
    quarantined one has become."""

    id: EventId
    event_type: str
    data_id: str | None
    event_time: str | None
    source: str
    received_at: int
    status: EventStatus  # accepted, quarantined or mended
    problem: str | None
    revision: int
    deliveries: int
    raw: bytes
    match_errors: int = 0  # webhooks of which it could not be told whether they want it
    mends: EventId | None = None
    mended_as: EventId | None = None

    def to_json(self) -> dict[str, Any]:
        """The shape of `events list --format json` and of the API."""
        return {
            "id": self.id,
            "event_type": self.event_type,
            "data_id": self.data_id,
            "event_time": self.event_time,
            "source": self.source,
            "received_at": iso_time(self.received_at),
            "status": self.status.value,
            "problem": self.problem,
            "revision": self.revision,
            "deliveries": self.deliveries,
            "match_errors": self.match_errors,
            "mends": self.mends,
            "mended_as": self.mended_as,
        }

    def in_full(self, deliveries: Sequence[Delivery], match_errors: Sequence[MatchError] = ()) -> dict[str, Any]:
        """The shape of `events show --format json`: `raw` is the text as received, `raw_base64` its bytes where they
        are not UTF-8, `parsed` the JSON value with the digits of its numbers (write it with `jsontext.dumps`)."""
        text, parsed = self.text, None
        with contextlib.suppress(ValueError):
            parsed = jsontext.loads(self.raw)
        return {
            **self.to_json(),
            "raw": text,
            "raw_base64": base64.b64encode(self.raw).decode("ascii") if text is None else None,
            "parsed": parsed,
            "delivery_log": [delivery.to_json() for delivery in deliveries],
            "match_error_log": [error.to_json() for error in match_errors],
        }

    @property
    def text(self) -> str | None:
        """What was received as text; None where it is not UTF-8."""
        try:
            return self.raw.decode("utf-8")
        except UnicodeDecodeError:
            return None


@dataclass(frozen=True, slots=True)
class Lane:
    """What the store must know of a live, active webhook to claim its deliveries.

    `pace_key` shares its tokens and its blocking among all webhooks that have it. `per_second` None: unlimited. A
    lane that is not open is not claimed from, and `note` says why, in words for people.
    """

    webhook_uid: WebhookUid
    pace_key: str
    per_second: float | None
    burst: int
    max_concurrency: int
    is_open: bool = True
    note: str | None = None


class Claimed(NamedTuple):
    """A delivery under lease, its attempt `number` already recorded as started. A tuple, as `Finished` is: a daemon
    makes thousands a second, and a frozen dataclass of so many fields takes four times as long to make.

    `counted` attempts before this one count toward max_attempts. `give_up_at` is None before the first attempt; the
    claim has moved it by the time the delivery stood due without being claimed (pacing, blocking, pause). `is_probe`:
    the breaker of its pace key is open, and this one attempt tells whether it closes. `revision` and `commit` are those
    that the attempt is made with.
    """

    delivery_id: DeliveryId
    seq: int
    token: int
    number: int
    counted: int
    webhook_uid: WebhookUid
    pace_key: str
    event_id: EventId
    raw: bytes
    accepted_at: int
    started_at: int
    give_up_at: int | None
    revision: int
    commit: str | None
    is_probe: bool = False


class Finished(NamedTuple):
    """A finished attempt with what follows from it.

    `result` has been judged. `state` is delivered, dead, cancelled or pending; pending has `next_attempt_at`. From
    there to `blocked_until` the fields are those of `dispatch.retry.Decision`: `is_counted` tells whether the attempt
    counts toward max_attempts, `blocked_until` holds back the whole pace key. `health` is what the attempt tells of its
    receiver, `blame` says it in words: the store counts failures in a row by it, opens and closes the pace key's
    breaker, and pauses the webhook (`models.health`).
    """

    seq: int
    token: int
    number: int
    finished_at: int
    outcome: Outcome
    result: AttemptResult
    state: State
    reason: Reason | None = None
    next_attempt_at: int | None = None
    is_counted: bool = True
    give_up_at: int | None = None
    blocked_until: int | None = None
    health: Health = Health.UNTOLD
    blame: str = ""


class Turned(NamedTuple):
    """What a turn of the worker came to: the `seq` of those whose lease was lost, and what was claimed."""

    lost: tuple[int, ...]
    claimed: tuple[Claimed, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a listing, newest first: at most `limit` rows, older than the row with id `before`."""

    limit: int = 50
    before: str | None = None


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries; None means any. `webhook` is a live webhook's name."""

    webhook: str | None = None
    state: State | None = None
    event_id: str | None = None


class RevisionMovedError(Exception):
    """The live revision is not the one that the caller matched with; match again and retry."""

    def __init__(self, live_revision: int) -> None:
        super().__init__(f"the live revision is {live_revision}")
        self.live_revision = live_revision


class RevisionStore(Protocol):
    """Desired configuration: applied states, numbered from 1."""

    async def live_revision(self) -> int:
        """The number of the live revision; 0 before the first apply. Cheap: polled every second."""
        ...

    async def live_state(self, revision: int | None = None) -> LiveState:
        """Every webhook live now, or at `revision`. Raises NotInStoreError for a revision that never was."""
        ...

    async def publish(self, change_set: ChangeSet, *, warrant: Warrant = UNKNOWN) -> Revision:
        """Compare the base revision and set the new one; the audit log tells it, and a hold that it sets.

        Raises RefusedError while the owner's applies are on hold, unless the change set restores a revision.
        Raises StalePlanError, with nothing changed, if the lineage or revision moved or the plan was used, and
        NotInStoreError if two webhooks would have one name. Pending deliveries of webhooks deleted or made inactive
        are cancelled by it: from then on they read so and none is claimed, while the store writes them one by one
        (`DeliveryStore.sweep`), or leaves that to the daemon if there is one; those in flight are cancelled when they
        come back undelivered. Of many webhooks, the daemon is shown first what will be live (`ProposalStore`).
        """
        ...

    async def revisions(self, page: Page = Page()) -> tuple[Revision, ...]:
        """The history, newest first, without `changes`. Raises NotInStoreError for a `before` that is no number."""
        ...

    async def revision(self, number: int) -> Revision | None:
        """One revision with its `changes`."""
        ...

    async def unfinished(self) -> Mapping[WebhookUid, int]:
        """How many deliveries of each webhook are pending or in flight."""
        ...

    async def holds(self) -> tuple[Hold, ...]:
        """The owners whose applies are refused, sorted by owner."""
        ...

    async def set_hold(self, owner: str, hold: Hold | None, *, warrant: Warrant = UNKNOWN) -> None:
        """Refuse the owner's applies from now on, whatever held them before; None releases them."""
        ...


class EventLog(Protocol):
    """Facts received, as people read them. A `before` that names no event raises NotInStoreError."""

    async def events(self, page: Page = Page(), *, status: EventStatus | None = None) -> tuple[StoredEvent, ...]:
        """Stored events, newest first."""
        ...

    async def event(self, event_id: str) -> StoredEvent | None:
        """One stored event."""
        ...

    async def event_ids(self, prefix: str, *, limit: int) -> tuple[EventId, ...]:
        """The first `limit` ids that begin with `prefix`, in order: what people may write for a whole id."""
        ...


class DeliveryLog(Protocol):
    """Deliveries, as people read them. A `before` that names no delivery raises NotInStoreError."""

    async def deliveries(
        self, page: Page = Page(), *, where: DeliveryFilter = DeliveryFilter()
    ) -> tuple[Delivery, ...]:
        """Deliveries, newest first."""
        ...

    async def delivery(self, delivery_id: str) -> tuple[Delivery, tuple[Attempt, ...]] | None:
        """One delivery with its attempts in order."""
        ...

    async def delivery_ids(self, prefix: str, *, limit: int) -> tuple[DeliveryId, ...]:
        """The first `limit` ids that begin with `prefix`, in order: what people may write for a whole id."""
        ...

    async def counts(self) -> Mapping[WebhookUid, Mapping[State, int]]:
        """How many deliveries each webhook has in each state; the finished ones that were pruned are counted on."""
        ...


class EventStore(EventLog, Protocol):
    """Facts received."""

    async def accept(
        self, events: Sequence[NewEvent], *, revision: int, deed: Deed | None = None
    ) -> tuple[EventStatus, ...]:
        """Store events with their fan-out; one status an item, in order. A list of them may be appended to until it
        comes to them: the statuses tell how many it has taken. `deed`: what a person did, if one did; it is told in the
        audit log where it has an effect.

        Same id and fingerprint as a stored event (or an earlier item): duplicate; same id, other fingerprint:
        conflict; neither stores anything. A delivery whose id exists is not added again. What an accepted item or a
        duplicate `mends` is mended by it, if it is quarantined still. Raises RevisionMovedError, with nothing stored,
        if `revision` is not live.
        """
        ...


class DeliveryStore(DeliveryLog, Protocol):
    """The work: what is due, what is leased, what became of it."""

    async def configure(self, revision: int, lanes: Sequence[Lane]) -> None:
        """Set the lanes of all live, active webhooks. A revision older than the last one set is ignored; the same one
        may be set again (a secret was bound). Webhooks without a lane are not claimed from. Many lanes are set in
        several transactions, those that are gone being closed by the first."""
        ...

    async def claim(
        self, *, now: int, lease_until: int, limit: int, revision: int, commit: str | None
    ) -> tuple[Claimed, ...]:
        """Lease due deliveries, at most `limit`, recording attempt N of each as started.

        Lanes are served by how long they have been waiting; each gives at most what its free concurrency and its
        pace key's tokens allow, and no lane starves another. Within a lane: by due time, then acceptance order; of
        one order key only the head. Deliveries held past `hold_until` become heads.
        """
        ...

    async def claim_one(
        self, delivery_id: DeliveryId, lane: Lane, *, now: int, lease_until: int, revision: int, commit: str | None
    ) -> Claimed | None:
        """Lease this delivery, whatever waits before it, setting its webhook's lane; None if it is not pending. It
        takes a token of its pace key, but waits for none. For who holds the daemon's lock."""
        ...

    async def finish(self, finished: Sequence[Finished]) -> tuple[int, ...]:
        """Record finished attempts; returns the `seq` of those whose lease was lost (nothing is written for them).
        What becomes final releases the next delivery of its order key."""
        ...

    async def turn(
        self, finished: Sequence[Finished], *, now: int, lease_until: int, limit: int, revision: int, commit: str | None
    ) -> Turned:
        """`finish`, then `claim`, in one transaction: what ends gives its place to what is next."""
        ...

    async def release(self, claimed: Sequence[Claimed], *, due_at: int) -> None:
        """Give claims back as if they had never been made: the started attempts vanish. For what was never written."""
        ...

    async def extend(self, claimed: Sequence[Claimed], *, lease_until: int) -> None:
        """Renew leases that are still held."""
        ...

    async def expired(self, *, now: int | None) -> tuple[Claimed, ...]:
        """Deliveries in flight whose lease ended before `now`, to be closed by `finish`; None: every one in flight
        (the caller has just taken the daemon's lock, so their holder is gone)."""
        ...

    async def sweep(self) -> bool:
        """Write some of the deliveries that a revision has cancelled, in one small transaction; True if there are more.
        A daemon does it beside all else; where there is none, `publish` does it to the end."""
        ...

    async def next_wake_at(self) -> int | None:
        """When `claim` may next have something to give; None: only after new events, results or configuration."""
        ...


class CommandStore(RevisionStore, EventLog, MatchErrorLog, DeliveryLog, OperatorStore, FlowStore, AuditLog, Protocol):
    """What commands use of a store, which they open themselves or reach through its daemon. An async context
    manager."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc_info: object) -> None: ...


class Store(
    RevisionStore,
    EventStore,
    MatchErrorStore,
    DeliveryStore,
    OperatorStore,
    FlowStore,
    ClockStore,
    AuditLog,
    ExamineStore,
    NoticeStore,
    RetentionStore,
    ProposalStore,
    Protocol,
):
    """One engine. An async context manager; `daemon_lock` is held by at most one daemon where the engine serves one."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc_info: object) -> None: ...

    def take_daemon_lock(self) -> tuple[LooseFile, ...]:
        """Become the store's daemon until closed or killed, and close its files to everybody else; returns those that
        had been open. Raises StoreBusyError naming the holder."""
        ...
