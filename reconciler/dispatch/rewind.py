"""The wall clock may be set back under a daemon, or between two: what it had put off must not wait for the old time.

Owned by the worker. A clock that jumps forward needs nothing: what is due sooner is found sooner.
"""

from collections.abc import Callable
from typing import Final

from reconciler.dispatch.patience import Patience
from reconciler.observe.log import log
from reconciler.store.clock import ClockStore

TOLERANCE_MS: Final = 1_000  # less is a time server's everyday nudge, and delays nothing by more
STEADY_SECONDS: Final = 0.1  # within which both clocks must be read


class Rewinder:
    """Compares the wall clock (`now`, ms) with one that nobody sets (`monotonic`, seconds)."""

    def __init__(self, store: ClockStore, *, now: Callable[[], int], monotonic: Callable[[], float]) -> None:
        self._store = store
        self._now = now
        self._monotonic = monotonic
        self._seen = self._read()

    async def start(self) -> None:
        """Take over a store that a daemon with a later clock has left."""
        self._seen = self._read()
        _tell(await self._store.rewind(now=self._now()))

    async def look(self, patience: Patience) -> bool:
        """Follow the clock if it was set back since the last look; True if it was."""
        (then, began), (now, uptime) = self._seen, self._read()
        self._seen = now, uptime
        behind = then + round((uptime - began) * 1000) - now
        if behind < TOLERANCE_MS:
            return False
        _tell(await patience("rewind", lambda: self._store.rewind(now=now, by_ms=behind)))
        return True

    def _read(self) -> tuple[int, float]:
        """Both clocks at one moment: a process that is stopped between the two would see a jump that never was."""
        while True:
            before, now = self._monotonic(), self._now()
            if self._monotonic() - before < STEADY_SECONDS:
                return now, before


def _tell(by_ms: int) -> None:
    if by_ms:
        log("clock.set_back", by_seconds=round(by_ms / 1000, 1))
