"""The wall clock may be set back under a daemon, or between two: what it had put off must not wait for the old time.

Owned by the worker. A clock that jumps forward needs nothing: what is due sooner is found sooner.
"""

from collections.abc import Callable
from typing import Final

from reconciler.dispatch.patience import Patience
from reconciler.observe.log import log
from reconciler.store.clock import ClockStore

TOLERANCE_MS: Final = 1_000  # less is a time server's everyday nudge, and delays nothing by more


class Rewinder:
    """Compares the wall clock (`now`, ms) with one that nobody sets (`monotonic`, seconds)."""

    def __init__(self, store: ClockStore, *, now: Callable[[], int], monotonic: Callable[[], float]) -> None:
        self._store = store
        self._now = now
        self._monotonic = monotonic
        self._seen = now(), monotonic()

    async def start(self) -> None:
        """Take over a store that a daemon with a later clock has left."""
        self._seen = self._now(), self._monotonic()
        _tell(await self._store.rewind(now=self._now()))

    async def look(self, patience: Patience) -> bool:
        """Follow the clock if it was set back since the last look; True if it was."""
        (then, began), seen = self._seen, (self._now(), self._monotonic())
        self._seen = seen
        behind = then + round((seen[1] - began) * 1000) - seen[0]
        if behind < TOLERANCE_MS:
            return False
        _tell(await patience("rewind", lambda: self._store.rewind(now=seen[0], by_ms=behind)))
        return True


def _tell(by_ms: int) -> None:
    if by_ms:
        log("clock.set_back", by_seconds=round(by_ms / 1000, 1))
