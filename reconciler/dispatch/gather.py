"""Events of several requests into the store together: what comes until the store begins is one write.

Used by intake, for which it stands before the store. A request by itself is written at once; of a crowd each shares the
statements and the commit, and waits for at most one write before its own. What cannot be written together is written
apart, so that one request's fault costs no other its answer.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from reconciler.errors import StoreError, StoreLostError
from reconciler.observe.log import log, place_of
from reconciler.store.base import EventStatus, EventStore, NewEvent, RevisionMovedError

EVENTS_MAX: Final = 256  # written together, and
BYTES_MAX: Final = 1024 * 1024  # of them, which keeps a transaction well under 100 ms


Outcome = tuple[EventStatus, ...] | BaseException  # what `EventStore.accept` gives, or what it raises


class _Waiting(NamedTuple):
    rows: Sequence[NewEvent]
    revision: int  # with which they were matched
    size: int
    done: Callable[[Outcome], None]


class _Group:
    """Requests whose events are written together. It grows until the store comes to it: what the store holds is the
    list of rows itself, which is only ever appended to."""

    def __init__(self, first: _Waiting) -> None:
        self.revision = first.revision
        self.rows = list(first.rows)
        self.waiting = deque((first,))
        self._size = first.size

    def takes(self, waiting: _Waiting) -> bool:
        """Have this one written with the others, if it may be; those that may be were matched with the same revision,
        up to the limits."""
        number, size = len(self.rows) + len(waiting.rows), self._size + waiting.size
        if waiting.revision != self.revision or number > EVENTS_MAX or size > BYTES_MAX:
            return False
        self._size = size
        self.waiting.append(waiting)
        self.rows += waiting.rows
        return True


class Gatherer:
    """`EventStore.accept` for many callers at once."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._waiting: deque[_Waiting] = deque()
        self._group: _Group | None = None  # what the store was given, while it has not answered
        self._writer: asyncio.Task[None] | None = None

    async def accept(self, rows: Sequence[NewEvent], *, revision: int) -> tuple[EventStatus, ...]:
        """As the store's: one status an item, all durable. Raises RevisionMovedError and StoreError.

        A caller that is cancelled gives up the answer, not the work.
        """
        answer: asyncio.Future[tuple[EventStatus, ...]] = asyncio.get_running_loop().create_future()
        self.put(rows, revision=revision, done=partial(_settle, answer))
        return await answer

    def put(self, rows: Sequence[NewEvent], *, revision: int, done: Callable[[Outcome], None]) -> None:
        """`accept` without waiting: `done` is called once, with what `accept` would return or raise."""
        size = len(rows[0].raw) if len(rows) == 1 else sum([len(row.raw) for row in rows])
        waiting = _Waiting(rows, revision, size, done)
        if self._waiting or self._group is None or not self._group.takes(waiting):
            self._waiting.append(waiting)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write_all())

    async def _write_all(self) -> None:
        while self._waiting:
            group = self._next_group()
            try:
                await self._write(group)
            except BaseException as exc:
                while group.waiting:
                    _tell(group.waiting.popleft(), exc)
                if not isinstance(exc, Exception):
                    raise
            finally:
                self._waiting.extendleft(reversed(group.waiting))  # what came when the store had begun

    def _next_group(self) -> _Group:
        """The first that waits, and those behind it that may be written with it."""
        group = _Group(self._waiting.popleft())
        while self._waiting and group.takes(self._waiting[0]):
            self._waiting.popleft()
        return group

    async def _write(self, group: _Group) -> None:
        """Write what waits and tell each its outcome, taking it out of the group, in which is left what came too late;
        raises what is the outcome of those left."""
        try:
            statuses = await self._given(group)
        except (RevisionMovedError, StoreLostError):
            raise
        except StoreError:
            if len(group.waiting) == 1:
                raise
            while group.waiting:
                outcome = await self._written_apart(group.waiting[0])
                _tell(group.waiting.popleft(), outcome)
            return
        start = 0
        while group.waiting and (end := start + len(group.waiting[0].rows)) <= len(statuses):
            _tell(group.waiting.popleft(), statuses[start:end])
            start = end

    async def _given(self, group: _Group) -> tuple[EventStatus, ...]:
        """What the store answers to a group, which grows no more when it has."""
        self._group = group
        try:
            return await self._store.accept(group.rows, revision=group.revision)
        finally:
            self._group = None

    async def _written_apart(self, waiting: _Waiting) -> Outcome:
        try:
            return await self._store.accept(waiting.rows, revision=waiting.revision)
        except Exception as exc:
            return exc


def _tell(waiting: _Waiting, outcome: Outcome) -> None:
    try:
        waiting.done(outcome)
    except Exception as exc:  # a fault of ours, which must cost no other its answer
        log("intake.untold", error=f"{type(exc).__name__}: {exc}", where=place_of(exc))


def _settle(answer: "asyncio.Future[tuple[EventStatus, ...]]", outcome: Outcome) -> None:
    # Four cases: the caller was cancelled; statuses; an error; the writer was cancelled.
    if answer.done():
        return
    if isinstance(outcome, tuple):
        answer.set_result(outcome)
    elif isinstance(outcome, Exception):
        answer.set_exception(outcome)
    else:
        answer.cancel()
