"""The fast transport: asyncio protocols and httptools behind httpx's own seam, on judged and verified connections.

The default of `run`; `egress.stock` does the same with httpx's own stack. It follows no redirect, reads no environment,
keeps no cookie, decompresses nothing and knows no proxy. `begin` is its short way: bytes over an idle connection.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

import httpx

from reconciler.egress.dial import Dialer
from reconciler.egress.exchange import Exchange
from reconciler.egress.http1 import Answer, request_bytes
from reconciler.egress.pool import IDLE_SECONDS, LIFE_SECONDS, Origin, Pool, exchange_of, origin_of
from reconciler.egress.wire import Connection

KEPT_REQUEST_MAX: Final = (
    64 * 1024
)  # bytes; an answer to more may come early, with the rest still in buffers that no transport shows


class FastTransport(httpx.AsyncBaseTransport):
    """Sends over an idle connection of the name or a new one; the request's `exchange` extension sees what happens."""

    def __init__(
        self, dialer: Dialer, *, idle_seconds: float = IDLE_SECONDS, life_seconds: float = LIFE_SECONDS
    ) -> None:
        self._dialer = dialer
        self.pool: Pool[Connection] = Pool(self._open, idle_seconds=idle_seconds, life_seconds=life_seconds)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The response: whole where it arrived at once, else with its body unread. Raises httpx.TransportError."""
        exchange = exchange_of(request)
        origin = origin_of(request.url, exchange.identity)
        data = request_bytes(request)
        connection = await self.pool.ready(origin, exchange)
        sending = _Sending(self.pool, connection, origin, len(data))
        try:
            await connection.send(data, exchange)
        except BaseException:
            connection.abort()
            raise
        answer = sending.answer()
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=httpx.ByteStream(answer.body) if isinstance(answer.body, bytes) else answer.body,
            extensions={"http_version": b"HTTP/1.1", "reason_phrase": answer.reason_phrase},
            request=request,
        )

    def begin(
        self,
        origin: Origin,
        data: bytes,
        exchange: Exchange,
        on_answer: Callable[[Answer | httpx.TransportError], None],
    ) -> Callable[[], None] | None:
        """Write a request's bytes at once over an idle connection; None, nothing being written, where there is none.

        `on_answer` is called after this has returned, with the answer or why none comes, unless the function that is
        returned is called before: it closes the connection.
        """
        connection = self.pool.take(origin, exchange)
        if connection is None:
            return None
        sending = _Sending(self.pool, connection, origin, len(data), on_answer)
        connection.start(data, exchange, sending.on_head)
        return connection.abort

    async def aclose(self) -> None:
        """Close what is idle; what is in flight closes when it ends."""
        await self.pool.aclose()

    async def _open(self, origin: Origin, exchange: Exchange) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await self._dialer.connect(origin.host, origin.port, exchange, lambda: Connection(loop))
        connection.made_for(exchange)
        return connection


class _Sending:
    """A request on its way over a connection, and what is done with the connection when it is answered."""

    __slots__ = ("_may_be_kept", "_on_answer", "_origin", "_pool", "connection")

    def __init__(
        self,
        pool: Pool[Connection],
        connection: Connection,
        origin: Origin,
        sent_bytes: int,
        on_answer: Callable[[Answer | httpx.TransportError], None] | None = None,
    ) -> None:
        self._pool = pool
        self.connection = connection
        self._origin = origin
        self._may_be_kept = sent_bytes <= KEPT_REQUEST_MAX
        self._on_answer = on_answer

    def on_head(self) -> None:
        """The head has arrived, or none comes: tell who began it."""
        assert self._on_answer is not None
        failure = self.connection.failure
        self._on_answer(self.answer() if failure is None else failure)

    def answer(self) -> Answer:
        """What has arrived, of which the head is complete."""
        reader = self.connection.reader
        if not reader.is_complete:
            return Answer(reader.status, reader.reason_phrase, reader.headers, _Body(self))
        body = reader.take()
        self.release()
        return reader.answer or Answer(reader.status, reader.reason_phrase, reader.headers, body)

    def release(self) -> None:
        """Give back the connection, whose response is complete."""
        reader = self.connection.reader
        if self._may_be_kept and reader.may_be_kept and not reader.has_leftover:
            self._pool.release(self._origin, self.connection, reader.headers)
        else:
            self.connection.abort()

    def drop_rest(self) -> None:
        """Give back the connection as soon as a rest that nobody wants is read away, within bounds."""
        if self._may_be_kept:
            self.connection.drop_rest(self.release)
        else:
            self.connection.abort()


class _Body(httpx.AsyncByteStream):
    """A response's body as it arrives."""

    def __init__(self, sending: _Sending) -> None:
        self._sending = sending
        self._is_open = True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        connection = self._sending.connection
        try:
            while part := await connection.more():
                yield part
        except asyncio.CancelledError:
            connection.abort()
            raise

    async def aclose(self) -> None:
        """Give the connection back."""
        if not self._is_open:
            return
        self._is_open = False
        if self._sending.connection.reader.is_complete:
            self._sending.release()
        else:
            self._sending.drop_rest()
