"""What a store forgets and how full it is, as every engine tells it: events whose time is over, and room for more.

Called by the daemon: `dispatch.retention` prunes, `dispatch.room` looks at the load. Times are milliseconds since the
epoch.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Pruned:
    """What one small transaction has deleted, and where the next one goes on; `following` None: nothing older is left.

    An event counts once its last row is gone.
    """

    events: int = 0
    deliveries: int = 0
    attempts: int = 0
    following: str | None = None

    @property
    def rows(self) -> int:
        """How many rows were deleted."""
        return self.events + self.deliveries + self.attempts

    def plus(self, other: "Pruned") -> "Pruned":
        """Both together, going on where the other one ended."""
        return Pruned(
            self.events + other.events,
            self.deliveries + other.deliveries,
            self.attempts + other.attempts,
            other.following,
        )


@dataclass(frozen=True, slots=True)
class Load:
    """How much a store holds that is still to be done, and how much more fits; None where the engine cannot tell."""

    unfinished: int
    free_bytes: int | None = None
    total_bytes: int | None = None


class RetentionStore(Protocol):
    """Forgetting, and room."""

    async def prune(self, *, before: int, at: str | None = None) -> Pruned:
        """Delete some of the events received before `before`, the oldest first, with their deliveries, attempts and
        match errors, in one small transaction; `at` is the `following` of the one before.

        An event stays while one of its deliveries is pending or in flight, or an attempt for it has ended since
        `before`. Revisions and what they need are never deleted. Webhooks' counts (`counts`) keep what is deleted. An
        event that is gone is new again when it comes once more.
        """
        ...

    async def shrink(self) -> bool:
        """Give back some of the space that nothing uses, in one small step; True if there is more to give."""
        ...

    async def load(self) -> Load:
        """Cheap: asked every second."""
        ...
