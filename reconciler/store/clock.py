"""What a store does when the clock that its times came from was set back; said by the worker, done by each engine."""

from typing import Protocol


class ClockStore(Protocol):
    """Times that lie ahead only because of the clock."""

    async def rewind(self, *, now: int, by_ms: int | None = None) -> int:
        """The clock was set back by `by_ms` and says `now` (ms): what waits for a time after that (deliveries and their
        holds, paces, breakers' probes, notices) waits so much less. None: by as much as the last claim is ahead of now.

        Returns by how many ms, 0 where nothing was moved. What is recorded keeps its times, and so does what an
        operator or a give-up names. In small transactions: one that is cut short is done in part.
        """
        ...
