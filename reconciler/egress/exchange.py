"""What one attempt meets on the wire: deadlines and hooks in, phases, marks and addresses out. Used by all of `egress`.

It travels in the request's `exchange` extension, and whatever the request passes through fills it in on the way.
"""

import asyncio
from collections.abc import Awaitable, Callable
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


class Exchange:
    """One attempt's way over the wire; times are seconds of the loop's clock.

    Marks are milliseconds since `started_at`. The time spent in `before_write` is in none, and moves `ends_at`.
    """

    __slots__ = (
        "address",
        "before_write",
        "clock",
        "connect_seconds",
        "connect_to",
        "connected_ms",
        "ends_at",
        "first_byte_ms",
        "first_byte_seconds",
        "held_seconds",
        "identity",
        "is_late",
        "is_reused",
        "phase",
        "proxy",
        "resolved_ms",
        "secured_ms",
        "started_at",
        "tls",
        "was_closed",
        "wrote",
    )

    def __init__(
        self,
        before_write: Callable[[], Awaitable[None]] | None = None,
        identity: "Identity | None" = None,
        *,
        seconds: float | None = None,
        connect_seconds: float | None = None,
        first_byte_seconds: float | None = None,
    ) -> None:
        """It starts now, and has so many seconds for all phases together."""
        self.before_write = before_write
        self.identity = identity  # by whose TLS the connection is made, where not by the operator's alone
        self.connect_seconds = connect_seconds  # for the way to a verified one, beside the limits of `egress.dial`
        self.first_byte_seconds = first_byte_seconds  # from the write to the first byte of the answer
        self.held_seconds = 0.0
        self.phase = Phase.RESOLVE
        self.is_late = False  # `ends_at` has passed
        self.is_reused = False
        self.wrote = False
        self.was_closed = False  # the receiver ended the connection
        self.address: str | None = None
        self.connect_to: str | None = None
        self.proxy: str | None = None
        self.tls: str | None = None
        self.resolved_ms: float | None = None
        self.connected_ms: float | None = None
        self.secured_ms: float | None = None
        self.first_byte_ms: float | None = None
        self.clock = clock = asyncio.get_running_loop().time
        self.started_at = started_at = clock()
        self.ends_at = None if seconds is None else started_at + seconds

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
