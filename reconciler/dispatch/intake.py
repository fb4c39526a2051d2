"""Events in: each item judged, named, matched with the live revision and stored with its fan-out in one transaction.

Called by the sources with bytes; knows no HTTP and no file. When `take` returns, what it says is durable; when it
raises, nothing was stored. DESIGN.md section 5, Intake and Identity.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple, ParamSpec, Protocol, TypeVar

from reconciler.dispatch.gather import Gatherer, Outcome
from reconciler.dispatch.item import Item
from reconciler.dispatch.judge import Judged, check_id, fan_out, judge_items, rows_of
from reconciler.dispatch.live import Live, Snapshot
from reconciler.dispatch.room import Room
from reconciler.errors import ReconcilerError, StoreError
from reconciler.models.audit import Deed
from reconciler.observe.log import log
from reconciler.store.base import EventStatus, EventStore, NewEvent, RevisionMovedError

P = ParamSpec("P")
R = TypeVar("R")

MATCH_TRIES: Final = 5  # a revision that moves more often than this while one request is matched is a fault
HEAVY_BYTES: Final = 1024 * 1024  # larger bodies are taken one at a time: parsed, 8 MiB can be some 200 MB of objects
THREAD_BYTES: Final = 32 * 1024  # larger bodies are judged in a thread, so that deliveries under way do not wait


class MakeRows(Protocol):
    """What makes rows of a request, by the webhooks of a snapshot."""

    def __call__(self, *, snapshot: Snapshot) -> list[NewEvent]: ...


class IntakeClosedError(ReconcilerError):
    """The daemon is draining: nothing more is taken."""


class ItemAnswer(NamedTuple):
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
        return [item.status for item in self.items].count(status)

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
        statuses = [item.status for item in self.items]
        return {
            "accepted": statuses.count(EventStatus.ACCEPTED),
            "duplicates": statuses.count(EventStatus.DUPLICATE),
            "conflicts": statuses.count(EventStatus.CONFLICT),
            "quarantined": statuses.count(EventStatus.QUARANTINED),
        }

    def events(self) -> list[dict[str, str | None]]:
        """The items as the answer lists them."""
        return [{"id": item.id, "status": item.status.value, "problem": item.problem} for item in self.items]

    def to_json(self) -> dict[str, Any]:
        """The body of the 202."""
        return {**self.counts(), "events": self.events()}


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
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_closed(self) -> bool:
        """Whether nothing more is taken."""
        return self._is_closed

    @property
    def is_full(self) -> bool:
        """Whether no more events of sources are taken for now."""
        return self._room.why_full is not None

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
        self._check_open()
        given_id = check_id(ce_id if ce_id is not None else idempotency_key)
        return await self._take(body, source, content_type, given_id)

    async def _take(self, body: bytes, source: str, content_type: str | None, given_id: str | None) -> IntakeAnswer:
        async with self._heavy if len(body) > HEAVY_BYTES else contextlib.nullcontext():
            rows = partial(rows_of, body, content_type=content_type, source=source, given_id=given_id, now=self._now())
            return await self._store_matched(rows, is_large=len(body) > THREAD_BYTES)

    def offer(
        self,
        body: bytes,
        *,
        source: str,
        content_type: str | None = None,
        given_id: str | None = None,
        done: Callable[[IntakeAnswer | Exception], None],
    ) -> None:
        """`take` without waiting, for a body of at most THREAD_BYTES: `done`, which must not raise, is called once,
        with the answer or with the StoreError. `given_id` has been checked.

        Raises PayloadTooLargeError, NoRoomError and IntakeClosedError, with nothing begun.
        """
        self._check_open()
        snapshot = self._live.snapshot
        rows = rows_of(
            body, content_type=content_type, source=source, given_id=given_id, snapshot=snapshot, now=self._now()
        )
        if not rows:
            done(IntakeAnswer(()))
            return

        def stored(outcome: Outcome) -> None:
            # Three cases: stored; matched with a revision that is no longer live; not stored.
            if isinstance(outcome, tuple):
                done(self._answered(rows, outcome, snapshot))
            elif isinstance(outcome, RevisionMovedError):
                self._begin(self._take_later(body, source, content_type, given_id, done))
            else:
                done(outcome if isinstance(outcome, Exception) else StoreError("the daemon is being stopped"))

        self._gatherer.put(rows, revision=snapshot.revision, done=stored)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _take_later(
        self,
        body: bytes,
        source: str,
        content_type: str | None,
        given_id: str | None,
        done: Callable[[IntakeAnswer | Exception], None],
    ) -> None:
        try:
            await self._live.refresh()
            answer = await self._take(body, source, content_type, given_id)
        except Exception as exc:
            done(exc)
        else:
            done(answer)

    def _check_open(self) -> None:
        if self._is_closed:
            raise IntakeClosedError("the daemon is draining")
        self._room.check()

    async def take_items(self, items: Sequence[Item], *, source: str) -> IntakeAnswer:
        """`take` for items that are parsed already."""
        self._check_open()
        now = self._now()
        is_large = sum([len(item.raw) for item in items]) > THREAD_BYTES
        judged = await _run(is_large, judge_items, items, source=source, now=now, given_id=None)
        return await self._store_matched(partial(fan_out, judged, now=now), is_large=is_large)

    async def take_judged(self, judged: Sequence[Judged], *, now: int, deed: Deed | None = None) -> IntakeAnswer:
        """`take` for items that are judged already; `deed`: what a person did with them. Raises IntakeClosedError and
        StoreError, with nothing stored."""
        is_large = sum([len(item.row.raw) for item in judged]) > THREAD_BYTES
        return await self._store_matched(partial(fan_out, judged, now=now), is_large=is_large, deed=deed)

    async def _store_matched(self, make_rows: MakeRows, *, is_large: bool, deed: Deed | None = None) -> IntakeAnswer:
        """Match with the live revision and store; match again where a new revision came in between."""
        for _ in range(MATCH_TRIES):
            if self._is_closed:
                raise IntakeClosedError("the daemon is draining")
            snapshot = self._live.snapshot
            rows = await _run(is_large, make_rows, snapshot=snapshot)
            if not rows:
                return IntakeAnswer(())
            try:
                if deed is not None:  # an operator's, written with what is kept of it
                    statuses = await self._store.accept(rows, revision=snapshot.revision, deed=deed)
                else:
                    statuses = await self._gatherer.accept(rows, revision=snapshot.revision)
            except RevisionMovedError:
                await self._live.refresh()
            else:
                return self._answered(rows, statuses, snapshot)
        raise StoreError(f"the live revision moved {MATCH_TRIES} times while one request was being matched")

    def _answered(self, rows: Sequence[NewEvent], statuses: Sequence[EventStatus], snapshot: Snapshot) -> IntakeAnswer:
        """The answer to rows that are stored, and what follows from them."""
        deliveries = errors = 0
        for row in rows:
            deliveries += len(row.deliveries)
            errors += len(row.match_errors)
        self._room.added(deliveries)
        answer = IntakeAnswer(tuple([_answer(row, status) for row, status in zip(rows, statuses, strict=True)]))
        if errors:
            _log_match_errors(rows, statuses, snapshot)
        if EventStatus.ACCEPTED in statuses:
            self._wake()
        return answer


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
