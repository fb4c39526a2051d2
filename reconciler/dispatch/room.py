"""Whether there is room for more events, asked by intake before it takes any: a full backlog or disk turns them away.

A side task of the daemon looks at the store's load now and then; in between what was taken is counted on. What is
already stored goes on being delivered.
"""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Final

from reconciler.errors import ReconcilerError, StoreError
from reconciler.observe.log import log
from reconciler.store.retention import Load, RetentionStore

MAX_UNFINISHED: Final = 10_000_000  # some 20 GB of 1 KB events: the disk says no long before
MIN_FREE_BYTES: Final = 256 * 1024 * 1024  # what is taken needs room too: attempts, and the log before the store
MIN_FREE_SHARE: Final = 20  # but on a small disk no more than one part in so many
LOAD_SECONDS: Final = 0.5  # from one look at the store's load to the next
RETRY_SECONDS: Final = 10  # nothing that is full is empty sooner


class NoRoomError(ReconcilerError):
    """No event is taken for now, and nothing was stored; try again after `retry_seconds`."""

    retry_seconds: int = RETRY_SECONDS


@dataclass(frozen=True, slots=True)
class RoomLimits:
    """When no more is taken. `max_unfinished` deliveries pending or in flight, None: any number. `min_free_bytes` that
    the store's disk must have, None: MIN_FREE_BYTES, on a small disk less; 0: none."""

    max_unfinished: int | None = MAX_UNFINISHED
    min_free_bytes: int | None = None

    def full(self, load: Load) -> tuple[str, str] | None:
        """What is full, for senders, and the numbers, for the operator; None while there is room."""
        if self.max_unfinished is not None and load.unfinished >= self.max_unfinished:
            numbers = f"{load.unfinished} deliveries are unfinished, the limit is {self.max_unfinished}"
            return "too many deliveries are unfinished", numbers
        needed = self._needed_bytes(load)
        if load.free_bytes is not None and load.free_bytes < needed:
            numbers = f"the store's disk has {load.free_bytes} bytes free, {needed} are kept free"
            return "the store's disk is almost full", numbers
        return None

    def _needed_bytes(self, load: Load) -> int:
        if self.min_free_bytes is not None:
            return self.min_free_bytes
        return min(MIN_FREE_BYTES, (load.total_bytes or 0) // MIN_FREE_SHARE)


class Room:
    """The room that one daemon's intake has."""

    def __init__(self, limits: RoomLimits = RoomLimits()) -> None:
        self._limits = limits
        self._load = Load(0)
        self._added = 0  # deliveries, since the load was asked
        self._full = limits.full(self._load)
        self._was_full = False

    @property
    def why_full(self) -> str | None:
        """What is full, in words; None while there is room."""
        return None if self._full is None else self._full[0]

    async def watch(self, store: RetentionStore) -> None:
        """Look at the store's load again and again, until cancelled."""
        while True:
            await asyncio.sleep(LOAD_SECONDS)
            with contextlib.suppress(StoreError):  # whoever works with the store says so
                self.see(await store.load())

    def see(self, load: Load) -> None:
        """The store's load, just asked."""
        self._load = load
        self._added = 0
        self._full = full = self._limits.full(load)
        if full is not None and not self._was_full:
            log("intake.full", why=full[1], retry_after_seconds=RETRY_SECONDS)
        elif full is None and self._was_full:
            log("intake.open", unfinished=load.unfinished)
        self._was_full = full is not None

    def added(self, deliveries: int) -> None:
        """So many deliveries were taken since the load was asked."""
        self._added += deliveries
        unfinished, limit = self._load.unfinished + self._added, self._limits.max_unfinished
        if deliveries and limit is not None and unfinished >= limit:  # of the disk they say nothing
            self._full = self._limits.full(Load(unfinished, self._load.free_bytes, self._load.total_bytes))

    def check(self) -> None:
        """Raise NoRoomError where no more is taken."""
        if (why := self.why_full) is not None:
            raise NoRoomError(why, hint="try again later; what was taken before is being delivered")
