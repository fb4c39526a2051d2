"""Patience with a store that is away: its verbs are tried again, each failure logged, for a bounded time.

Used by the worker for everything that must not be lost because of a full disk or a busy file. What a restart cannot
mend either (`StoreLostError`) and a store that stays away are raised: the daemon then ends, loudly.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from reconciler.errors import StoreError, StoreLostError
from reconciler.observe.log import log

T = TypeVar("T")

PATIENCE_SECONDS: Final = 300.0  # long enough to free a full disk; then a supervisor must see that nothing works
FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 5.0


class Patience:
    """One worker's patience; `monotonic` gives seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._ends_at: float | None = None
        self._hurry = asyncio.Event()

    def hurry(self, *, seconds: float) -> None:
        """From now on wait at most so long in all, and look again at once: the daemon is draining."""
        self._ends_at = self._monotonic() + seconds
        self._hurry.set()

    async def __call__(self, what: str, verb: Callable[[], Awaitable[T]]) -> T:
        """What `verb` returns. Raises StoreLostError at once, StoreError when patience is at its end."""
        began_at: float | None = None
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                result = await verb()
            except StoreLostError:
                raise
            except StoreError as exc:
                began_at = self._monotonic() if began_at is None else began_at
                left = self._left(began_at)
                log("store.failed", verb=what, error=exc.message, gives_up_in_seconds=round(left, 1))
                if left <= 0:
                    raise
            else:
                if began_at is not None:
                    log("store.recovered", verb=what, after_seconds=round(self._monotonic() - began_at, 1))
                return result
            await self._pause(min(pause, left))
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _left(self, began_at: float) -> float:
        ends_at = began_at + PATIENCE_SECONDS
        if self._ends_at is not None:
            ends_at = min(ends_at, self._ends_at)
        return max(0.0, ends_at - self._monotonic())

    async def _pause(self, seconds: float) -> None:
        """Until the time is over; a hurry that comes meanwhile ends it."""
        if self._hurry.is_set():
            await asyncio.sleep(seconds)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
