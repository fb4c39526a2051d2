"""What became of attempts, until the worker's turn writes it: in batches, in order.

Owned by the worker, whose flights put results in and never wait for them to be written.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from reconciler.observe.log import log
from reconciler.store.base import Finished

BATCH_MAX: Final = 512  # finished attempts in one transaction
BATCH_CHARACTERS: Final = 2 * 1024 * 1024  # of requests and responses in one transaction, which keeps it under 100 ms
HELD_MAX: Final = 4 * BATCH_MAX  # results, and
HELD_MAX_CHARACTERS: Final = 4 * BATCH_CHARACTERS  # of them, above which a slow store is given nothing more to record


class Recorder:
    """Finished attempts before the store. `on_result` is called when there is something to take: when the first one
    comes, and when `take` has left some."""

    def __init__(self, *, on_result: Callable[[], None]) -> None:
        self._on_result = on_result
        self._waiting: list[Finished] = []
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
            self._on_result()

    async def join(self) -> None:
        """Until everything is written."""
        while self._unrecorded:
            self._written.clear()
            await self._written.wait()

    def take(self) -> Sequence[Finished]:
        """As many of those that wait as may be written together; to be told of by `recorded`."""
        waiting, count, characters = self._waiting, 0, 0
        for finished in waiting[:BATCH_MAX]:
            count += 1
            characters += self._unrecorded[finished.seq]
            if characters >= BATCH_CHARACTERS:
                break
        self._waiting = waiting[count:]
        if self._waiting:
            self._on_result()
        return waiting[:count]

    def recorded(self, batch: Sequence[Finished], *, lost: int) -> None:
        """What was taken is written, but for those whose lease was lost."""
        if lost:
            log("delivery.lease_lost", count=lost)
        for finished in batch:
            self._characters -= self._unrecorded.pop(finished.seq)
        self._written.set()


def _characters(finished: Finished) -> int:
    """About how much of invocation data there is to write."""
    request, response = finished.result.request, finished.result.response
    return (len(request.body) if request is not None else 0) + (len(response.body) if response is not None else 0)
