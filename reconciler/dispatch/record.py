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
        self._waiting: list[Finished] = []
        self._arrived = asyncio.Event()
        self._written = asyncio.Event()
        self._unrecorded: dict[int, int] = {}  # about how many characters there are to write, by `seq`
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
        self._unrecorded[finished.seq] = size = _characters(finished)
        self._characters += size
        self._waiting.append(finished)
        if len(self._waiting) == 1:
            self._arrived.set()

    async def join(self) -> None:
        """Until everything is written."""
        while self._unrecorded:
            self._written.clear()
            await self._written.wait()

    async def run(self) -> None:
        """Write until cancelled. Raises StoreError when the store stays away."""
        while True:
            await self._arrived.wait()
            batch = self._take()
            writing = asyncio.create_task(self._write(batch))
            self._on_recorded()  # whoever it wakes comes next after the write
            await writing
            for finished in batch:
                self._characters -= self._unrecorded.pop(finished.seq)
            self._written.set()
            self._on_recorded()

    def _take(self) -> list[Finished]:
        """As many of those that wait as may be written together."""
        waiting, count, characters = self._waiting, 0, 0
        for finished in waiting[:BATCH_MAX]:
            count += 1
            characters += self._unrecorded[finished.seq]
            if characters >= BATCH_CHARACTERS:
                break
        self._waiting = waiting[count:]
        if not self._waiting:
            self._arrived.clear()
        return waiting[:count]

    async def _write(self, batch: list[Finished]) -> None:
        lost = await self._patience("finish", lambda: self._store.finish(batch))
        if lost:
            log("delivery.lease_lost", count=len(lost))


def _characters(finished: Finished) -> int:
    """About how much of invocation data there is to write."""
    request, response = finished.result["request"], finished.result["response"]
    return (len(request["body"]) if request is not None else 0) + (len(response["body"]) if response is not None else 0)
