"""What became of attempts, on its way to the store: in batches, in order, tried again while the store is away.

Owned by the worker, which puts results in and never waits for them to be written.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from reconciler.dispatch.patience import Patience
from reconciler.observe.log import log
from reconciler.store.base import DeliveryStore, Finished

BATCH_MAX: Final = 512  # finished attempts in one transaction
BATCH_CHARACTERS: Final = 2 * 1024 * 1024  # of requests and responses in one transaction, which keeps it under 100 ms
HELD_MAX: Final = 4 * BATCH_MAX  # results, and
HELD_MAX_CHARACTERS: Final = 4 * BATCH_CHARACTERS  # of them, above which a slow store is given nothing more to record


class Recorder:
    """A queue of finished attempts before the store. `on_recorded` is called when a write is under way, and after it.

    When under way: a claim that is asked for then follows it closely, and a store that groups what waits does both with
    one commit, the slots that end going to the deliveries that begin.
    """

    def __init__(self, store: DeliveryStore, patience: Patience, *, on_recorded: Callable[[], None]) -> None:
        self._store = store
        self._patience = patience
        self._on_recorded = on_recorded
        self._queue: asyncio.Queue[Finished] = asyncio.Queue()
        self._unrecorded: set[int] = set()
        self._characters = 0

    @property
    def is_full(self) -> bool:
        """Whether so much waits for the store that nothing more should be begun."""
        return len(self._unrecorded) >= HELD_MAX or self._characters >= HELD_MAX_CHARACTERS

    @property
    def is_idle(self) -> bool:
        """Whether everything finished is written."""
        return not self._unrecorded

    def holds(self, seq: int) -> bool:
        """Whether the result of this delivery's attempt is here and not written yet."""
        return seq in self._unrecorded

    def put(self, finished: Finished) -> None:
        """Take a result; it is written soon."""
        self._unrecorded.add(finished.seq)
        self._characters += _characters(finished)
        self._queue.put_nowait(finished)

    async def join(self) -> None:
        """Until everything is written."""
        await self._queue.join()

    async def run(self) -> None:
        """Write until cancelled. Raises StoreError when the store stays away."""
        while True:
            batch = [await self._queue.get()]
            characters = _characters(batch[0])
            while len(batch) < BATCH_MAX and characters < BATCH_CHARACTERS and not self._queue.empty():
                batch.append(self._queue.get_nowait())
                characters += _characters(batch[-1])
            writing = asyncio.create_task(self._write(batch))
            self._on_recorded()  # whoever it wakes comes next after the write
            await writing
            self._characters -= characters
            for finished in batch:
                self._unrecorded.discard(finished.seq)
                self._queue.task_done()
            self._on_recorded()

    async def _write(self, batch: list[Finished]) -> None:
        lost = await self._patience("finish", lambda: self._store.finish(batch))
        if lost:
            log("delivery.lease_lost", count=len(lost))


def _characters(finished: Finished) -> int:
    """About how much of invocation data there is to write."""
    parts = (finished.result.get("request"), finished.result.get("response"))
    return sum(len(part["body"]) for part in parts if part is not None)
