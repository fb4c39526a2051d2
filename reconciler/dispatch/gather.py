"""Events of several requests into the store together: what comes while a write is under way is written by the next one.

Used by intake, for which it stands before the store. A request by itself is written at once; of a crowd each shares the
statements and the commit, and waits for at most one write before its own. What cannot be written together is written
apart, so that one request's fault costs no other its answer.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from reconciler.errors import StoreError, StoreLostError
from reconciler.store.base import EventStatus, EventStore, NewEvent, RevisionMovedError

EVENTS_MAX: Final = 256  # written together, and
BYTES_MAX: Final = 1024 * 1024  # of them, which keeps a transaction well under 100 ms


@dataclass(frozen=True, slots=True)
class _Waiting:
    rows: Sequence[NewEvent]
    revision: int  # with which they were matched
    size: int
    answer: "asyncio.Future[tuple[EventStatus, ...]]"


class Gatherer:
    """`EventStore.accept` for many callers at once."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._waiting: list[_Waiting] = []
        self._writer: asyncio.Task[None] | None = None

    async def accept(self, rows: Sequence[NewEvent], *, revision: int) -> tuple[EventStatus, ...]:
        """As the store's: one status an item, all durable. Raises RevisionMovedError and StoreError.

        A caller that is cancelled gives up the answer, not the work.
        """
        answer: asyncio.Future[tuple[EventStatus, ...]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(rows, revision, sum([len(row.raw) for row in rows]), answer))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all())
        return await answer

    async def _write_all(self) -> None:
        while self._waiting:
            group = self._next_group()
            try:
                await self._write(group)
            except BaseException as exc:
                for waiting in group:
                    if not waiting.answer.done():
                        waiting.answer.set_exception(exc) if isinstance(exc, Exception) else waiting.answer.cancel()
                if not isinstance(exc, Exception):
                    raise

    def _next_group(self) -> list[_Waiting]:
        """The first that waits, and those behind it that were matched with the same revision, up to the limits."""
        first = self._waiting[0]
        number, size, end = 0, 0, 0
        for waiting in self._waiting:
            number, size = number + len(waiting.rows), size + waiting.size
            if end and (waiting.revision != first.revision or number > EVENTS_MAX or size > BYTES_MAX):
                break
            end += 1
        group, self._waiting = self._waiting[:end], self._waiting[end:]
        return group

    async def _write(self, group: list[_Waiting]) -> None:
        rows = [row for waiting in group for row in waiting.rows]
        try:
            statuses = await self._store.accept(rows, revision=group[0].revision)
        except (RevisionMovedError, StoreLostError):
            raise
        except StoreError:
            if len(group) == 1:
                raise
            for waiting in group:
                await self._write_apart(waiting)
            return
        start = 0
        for waiting in group:
            end = start + len(waiting.rows)
            _answer(waiting, statuses[start:end])
            start = end

    async def _write_apart(self, waiting: _Waiting) -> None:
        try:
            _answer(waiting, await self._store.accept(waiting.rows, revision=waiting.revision))
        except Exception as exc:
            if not waiting.answer.done():
                waiting.answer.set_exception(exc)


def _answer(waiting: _Waiting, statuses: tuple[EventStatus, ...]) -> None:
    if not waiting.answer.done():  # else its caller was cancelled
        waiting.answer.set_result(statuses)
