"""The fast transport: asyncio protocols and httptools behind httpx's own seam, on judged and verified connections.

The default of `run`; `egress.stock` does the same with httpx's own stack. It follows no redirect, reads no environment,
keeps no cookie, decompresses nothing and knows no proxy.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import httpx

from reconciler.egress.dial import Dialer
from reconciler.egress.exchange import Exchange
from reconciler.egress.http1 import request_bytes
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
        origin = origin_of(request.url, exchange)
        data = request_bytes(request)
        connection = await self.pool.ready(origin, exchange)
        try:
            await connection.send(data, exchange)
        except BaseException:
            connection.abort()
            raise
        reader = connection.reader
        may_be_kept = len(data) <= KEPT_REQUEST_MAX
        stream: httpx.AsyncByteStream
        if reader.is_complete:
            stream = httpx.ByteStream(reader.take())
            self._release(origin, connection, may_be_kept)
        else:
            stream = _Body(self, connection, origin, may_be_kept)
        return httpx.Response(
            reader.status,
            headers=reader.headers,
            stream=stream,
            extensions={"http_version": b"HTTP/1.1", "reason_phrase": reader.reason_phrase},
            request=request,
        )

    async def aclose(self) -> None:
        """Close what is idle; what is in flight closes when it ends."""
        await self.pool.aclose()

    async def _open(self, origin: Origin, exchange: Exchange) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await self._dialer.connect(origin.host, origin.port, exchange, lambda: Connection(loop))
        connection.made_for(exchange)
        return connection

    def _release(self, origin: Origin, connection: Connection, may_be_kept: bool) -> None:
        """Give back a connection whose response is complete."""
        reader = connection.reader
        if may_be_kept and reader.may_be_kept and not reader.has_leftover:
            self.pool.release(origin, connection, reader.headers)
        else:
            connection.abort()


class _Body(httpx.AsyncByteStream):
    """A response's body as it arrives."""

    def __init__(self, transport: FastTransport, connection: Connection, origin: Origin, may_be_kept: bool) -> None:
        self._transport = transport
        self._connection = connection
        self._origin = origin
        self._may_be_kept = may_be_kept
        self._is_open = True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while part := await self._connection.more():
                yield part
        except asyncio.CancelledError:
            self._connection.abort()
            raise

    async def aclose(self) -> None:
        """Give the connection back; a rest that nobody read is read away in the background, within bounds."""
        if not self._is_open:
            return
        self._is_open = False
        if self._connection.reader.is_complete:
            self._release()
        elif self._may_be_kept:
            self._connection.drop_rest(self._release)
        else:
            self._connection.abort()

    def _release(self) -> None:
        self._transport._release(self._origin, self._connection, self._may_be_kept)
