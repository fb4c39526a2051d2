"""One verified connection as an asyncio protocol: a request's bytes out, its response in, deadlines kept.

Made by `egress.fast` through `egress.dial`, handed around by `egress.pool`. It serves one exchange at a time; bytes
that arrive while it serves none end it. It repeats nothing and knows nothing of webhooks.
"""

import asyncio
import select
from collections.abc import Callable
from functools import partial
from typing import Final, cast

import httpx

from reconciler.egress.dial import REFUSAL, RefusedCertificateError, describe_os_error, is_refusal_of_certificate
from reconciler.egress.exchange import Exchange, Phase
from reconciler.egress.http1 import ResponseReader

BUFFER_MAX: Final = 64 * 1024  # of a body that nobody takes; then the receiver waits
REST_MAX: Final = 256 * 1024  # of a body that nobody wants, read away to keep its connection
REST_SECONDS: Final = 1.0

_NEVER: Final = float("inf")


class Connection(asyncio.Protocol):
    """`start` or `send`, then `more` until it gives nothing, then `reader` tells whether it may serve again."""

    __slots__ = (
        "_due_at",
        "_exchange",
        "_loop",
        "_on_rest",
        "_poll",
        "_rest",
        "_seen",
        "_timer",
        "_timer_at",
        "_transport",
        "_waiter",
        "born_at",
        "error",
        "reader",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._poll = select.poll()
        self._exchange: Exchange | None = None
        self._waiter: Callable[[], None] | None = None
        self.error: httpx.TransportError | None = None  # why no answer comes, or not all of it
        self._due_at = _NEVER
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = _NEVER
        self._rest = 0
        self._on_rest: Callable[[], None] | None = None
        self._seen: tuple[str | None, str | None, str | None, str | None] = (None, None, None, None)
        self.born_at = loop.time()
        self.reader = ResponseReader()

    def made_for(self, exchange: Exchange) -> None:
        """Remember address, target, proxy and TLS of the exchange for which the connection was made."""
        self._seen = (exchange.address, exchange.connect_to, exchange.proxy, exchange.tls)

    # What the pool asks

    def serve(self, exchange: Exchange) -> None:
        """Go over to another exchange, which reuses this connection."""
        exchange.is_reused = True
        exchange.phase = Phase.EXCHANGE
        exchange.address, exchange.connect_to, exchange.proxy, exchange.tls = self._seen

    def is_ended(self) -> bool:
        """Whether the other side has closed, as far as the loop has seen."""
        return self._transport is None or self._transport.is_closing()

    def is_readable(self) -> bool:
        """Whether the kernel holds what the loop has not seen."""
        return bool(self._poll.poll(0))

    def abort(self) -> None:
        """Close at once; nobody is told."""
        self._exchange = self._on_rest = None
        self._stop_timer()
        if self._transport is not None:
            self._transport.abort()

    # What the transport calls

    def start(self, data: bytes, exchange: Exchange, on_head: Callable[[], None]) -> None:
        """Write the request. `on_head` is called, after this has returned, when the head has arrived, and with it what
        came along of the body, or when `error` tells why none comes.

        Raises httpx.WriteError, nothing being written, on an ended connection.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise httpx.WriteError("the connection was closed")
        self._exchange = exchange
        self._waiter = on_head
        self.reader.begin()
        self._wait_until(exchange.earliest_end(exchange.first_byte_seconds))
        exchange.wrote = True
        transport.write(data)

    async def send(self, data: bytes, exchange: Exchange) -> None:
        """`start`, and wait for the head. Raises httpx.TransportError where none comes."""
        head = self._loop.create_future()
        self.start(data, exchange, partial(_settle, head))
        await head
        if (failure := self.failure) is not None:
            raise failure

    @property
    def failure(self) -> httpx.TransportError | None:
        """Why no answer comes. What is wrong with its body does not take back the head: `more` raises it in its
        turn."""
        return None if self.reader.is_head_complete else self.error

    async def more(self) -> bytes:
        """The next piece of the body; empty at its end. Raises httpx.TransportError."""
        reader = self.reader
        while not reader.buffered:
            if self.error is not None:
                raise self.error
            if reader.is_complete:
                return b""
            part = self._loop.create_future()
            self._waiter = partial(_settle, part)
            await part
        if self._transport is not None:
            self._transport.resume_reading()
        return reader.take()

    def drop_rest(self, on_rest: Callable[[], None]) -> None:
        """Read away what is left of a body nobody wants; `on_rest` is called if that ends soon, else it closes."""
        self.reader.take()
        if self._transport is None or self._transport.is_closing():
            self.abort()
            return
        self._rest = REST_MAX
        self._on_rest = on_rest
        self._wait_until(min(self._due_at, self._loop.time() + REST_SECONDS))
        self._transport.resume_reading()

    # What the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        exchange, reader = self._exchange, self.reader
        if exchange is None:
            self.abort()
            return
        if exchange.first_byte_ms is None:
            exchange.first_byte_ms = exchange.mark()
            self._due_at = _NEVER if exchange.ends_at is None else exchange.ends_at
        try:
            reader.feed(data)
        except httpx.RemoteProtocolError as exc:
            self._fail(exc)
            return
        if reader.is_complete:
            self._finish()
        elif reader.is_head_complete:
            self._wake()
            if self._on_rest is not None:
                self._drop()
            elif reader.buffered > BUFFER_MAX and self._transport is not None:
                self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._stop_timer()
        if self._exchange is not None:
            self._exchange.was_closed = True
            if exc is None and self.reader.end():
                self._finish()
            elif exc is None:
                self._fail(httpx.RemoteProtocolError("the connection was closed before the answer was complete"))
            elif is_refusal_of_certificate(exc):
                self._fail(RefusedCertificateError(REFUSAL.format(fact=describe_os_error(exc))))
            else:
                self._fail(httpx.ReadError(describe_os_error(exc)))
        self.reader.close()

    def _finish(self) -> None:
        self._exchange = None
        on_rest, self._on_rest = self._on_rest, None
        self._wake()
        if on_rest is not None:
            self.reader.take()
            on_rest()

    def _drop(self) -> None:
        self._rest -= self.reader.buffered
        self.reader.take()
        if self._rest < 0:
            self.abort()

    def _fail(self, error: httpx.TransportError) -> None:
        self.error = error
        self.abort()
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter()

    # Deadlines: one timer a connection, set anew only when it fires or is too late; most exchanges end long before

    def _wait_until(self, due_at: float | None) -> None:
        self._due_at = _NEVER if due_at is None else due_at
        if self._due_at < self._timer_at:
            self._stop_timer()
            self._timer_at = self._due_at
            self._timer = self._loop.call_at(self._due_at, self._on_timer)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._timer_at = _NEVER

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_at = _NEVER
        exchange = self._exchange
        if exchange is None:
            return
        if self._loop.time() < self._due_at:
            self._wait_until(self._due_at)
            return
        exchange.is_late = self._due_at == exchange.ends_at
        self._fail(httpx.ReadTimeout("no complete answer in time"))


def _settle(future: "asyncio.Future[None]") -> None:
    """Let go on who waits for it still."""
    if not future.done():
        future.set_result(None)
