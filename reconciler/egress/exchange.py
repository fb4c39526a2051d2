"""What one attempt meets on the wire: deadlines and hooks in, phases, marks and addresses out. Used by all of `egress`.

It travels in the request's `exchange` extension, and whatever the request passes through fills it in on the way.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.egress.identity import Identity


class Phase(StrEnum):
    """How far an exchange has come."""

    RESOLVE = "resolve"
    CONNECT = "connect"
    HANDSHAKE = "handshake"
    EXCHANGE = "exchange"


def _loop_clock() -> Callable[[], float]:
    return asyncio.get_running_loop().time


@dataclass(slots=True)
class Exchange:
    """One attempt's way over the wire; times are seconds of the loop's clock.

    Marks are milliseconds since `started_at`. The time spent in `before_write` is in none, and moves `ends_at`.
    """

    before_write: Callable[[], Awaitable[None]] | None = None
    identity: "Identity | None" = None  # by whose TLS the connection is made, where not by the operator's alone
    started_at: float = field(init=False)
    ends_at: float | None = None  # for all phases together
    connect_seconds: float | None = None  # for the way to a verified connection, beside the limits of `egress.dial`
    first_byte_seconds: float | None = None  # from the write to the first byte of the answer
    held_seconds: float = 0.0
    phase: Phase = Phase.RESOLVE
    is_late: bool = False  # `ends_at` has passed
    is_reused: bool = False
    wrote: bool = False
    was_closed: bool = False  # the receiver ended the connection
    address: str | None = None
    connect_to: str | None = None
    proxy: str | None = None
    tls: str | None = None
    resolved_ms: float | None = None
    connected_ms: float | None = None
    secured_ms: float | None = None
    first_byte_ms: float | None = None
    clock: Callable[[], float] = field(default_factory=_loop_clock, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.started_at = self.clock()

    def mark(self) -> float:
        """Milliseconds since the start."""
        return (self.clock() - self.started_at - self.held_seconds) * 1000

    def earliest_end(self, seconds: float | None) -> float | None:
        """The moment at which to give up what may take `seconds` from now."""
        if seconds is None:
            return self.ends_at
        until = self.clock() + seconds
        return until if self.ends_at is None else min(until, self.ends_at)

    async def hold(self) -> float:
        """Await `before_write` with the deadline and the marks standing still; how many seconds it took."""
        if self.before_write is None:
            return 0.0
        began_at = self.clock()
        try:
            await self.before_write()
        finally:
            held = self.clock() - began_at
            self.held_seconds += held
            if self.ends_at is not None:
                self.ends_at += held
        return held
