"""The stock transport: httpx's own HTTP/1.1 (httpcore over h11) on connections that `egress.dial` judged and verified.

Chosen by `--transport httpx`, for comparison and as a way out; `egress.fast` does the same many times quicker. It
follows no redirect, reads no environment, keeps no cookie and knows no proxy.
"""

import asyncio
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, cast

import httpcore
import httpx

from reconciler.egress.dial import (
    REFUSAL,
    Dialer,
    RefusedCertificateError,
    describe_os_error,
    is_refusal_of_certificate,
)
from reconciler.egress.exchange import Exchange, Phase
from reconciler.egress.kernel import is_readable
from reconciler.egress.pool import IDLE_SECONDS, LIFE_SECONDS, Origin, Pool, exchange_of, origin_of

_HTTPX_OF: Final[tuple[tuple[type[Exception], type[httpx.TransportError]], ...]] = (
    (httpcore.ReadError, httpx.ReadError),
    (httpcore.WriteError, httpx.WriteError),
    (httpcore.RemoteProtocolError, httpx.RemoteProtocolError),
    (httpcore.LocalProtocolError, httpx.LocalProtocolError),
)


class Stream(httpcore.AsyncNetworkStream):
    """One verified TLS connection; notes in the exchange it serves when the first byte goes out and comes in.

    Closing never waits for the other side. Deadlines are the caller's: the timeouts of httpcore's interface are unused.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, exchange: Exchange) -> None:
        self._reader = reader
        self._writer = writer
        self.exchange = exchange

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            data = await self._reader.read(max_bytes)
        except (OSError, ssl.SSLError) as exc:
            self.exchange.was_closed = True
            raise httpcore.ReadError(describe_os_error(exc)) from exc
        if not data:
            self.exchange.was_closed = True
        elif self.exchange.first_byte_ms is None:
            self.exchange.first_byte_ms = self.exchange.mark()
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.exchange.wrote = True
        try:
            self._writer.write(buffer)
            await self._writer.drain()
        except (OSError, ssl.SSLError) as exc:
            raise httpcore.WriteError(describe_os_error(exc)) from exc

    async def aclose(self) -> None:
        self.abort()

    def abort(self) -> None:
        """Close at once."""
        self._writer.transport.abort()

    def is_ended(self) -> bool:
        """Whether the other side has closed, as far as the loop has seen."""
        return self._reader.at_eof() or self._reader.exception() is not None or self._writer.transport.is_closing()

    def get_extra_info(self, info: str) -> Any:
        return self._writer.get_extra_info(info)


class _Link:
    """One connection to one (name, address), and httpcore's state of HTTP on it."""

    def __init__(self, origin: Origin, stream: Stream) -> None:
        core_origin = httpcore.Origin(b"https", origin.host.encode("ascii"), origin.port)
        self.connection = httpcore.AsyncHTTP11Connection(origin=core_origin, stream=stream)
        self.born_at = asyncio.get_running_loop().time()
        self._stream = stream
        made_for = stream.exchange
        self._seen = (made_for.address, made_for.connect_to, made_for.proxy, made_for.tls)

    @property
    def exchange(self) -> Exchange:
        """The exchange it serves."""
        return self._stream.exchange

    def serve(self, exchange: Exchange) -> None:
        """Go over to another exchange, which reuses this connection."""
        self._stream.exchange = exchange
        exchange.is_reused = True
        exchange.phase = Phase.EXCHANGE
        exchange.address, exchange.connect_to, exchange.proxy, exchange.tls = self._seen

    def is_ended(self) -> bool:
        """Whether the other side has closed, as far as the loop has seen."""
        return self._stream.is_ended()

    def is_readable(self) -> bool:
        """Whether the kernel holds what the loop has not seen."""
        return is_readable(self._stream.get_extra_info("socket"))

    def is_clean(self) -> bool:
        """Whether the exchange is over and nothing of it is left to read."""
        return self.connection.is_idle() and not _has_leftover(self.connection)

    def abort(self) -> None:
        """Close at once."""
        self._stream.abort()


class StockTransport(httpx.AsyncBaseTransport):
    """Sends over an idle connection of the name or a new one; the request's `exchange` extension sees what happens."""

    def __init__(
        self, dialer: Dialer, *, idle_seconds: float = IDLE_SECONDS, life_seconds: float = LIFE_SECONDS
    ) -> None:
        self._dialer = dialer
        self.pool: Pool[_Link] = Pool(self._open, idle_seconds=idle_seconds, life_seconds=life_seconds)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The response with its body unread. Raises httpx.TransportError."""
        exchange = exchange_of(request)
        origin = origin_of(request.url, exchange.identity)
        link = await self.pool.ready(origin, exchange)
        try:
            with _as_httpx():
                async with _in_time(exchange, exchange.first_byte_seconds):
                    response = await link.connection.handle_async_request(_core_request(request))
        except BaseException:
            link.abort()
            raise
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_Body(self.pool, link, origin, response),
            extensions={"http_version": b"HTTP/1.1", "reason_phrase": response.extensions["reason_phrase"]},
            request=request,
        )

    async def aclose(self) -> None:
        """Close what is idle; what is in flight closes when it ends."""
        await self.pool.aclose()

    async def _open(self, origin: Origin, exchange: Exchange) -> _Link:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        transport, protocol = await self._dialer.connect(
            origin.host, origin.port, exchange, lambda: asyncio.StreamReaderProtocol(reader, loop=loop)
        )
        return _Link(origin, Stream(reader, asyncio.StreamWriter(transport, protocol, reader, loop), exchange))


class _Body(httpx.AsyncByteStream):
    """A response's body as it arrives; closing it early closes the connection."""

    def __init__(self, pool: Pool[_Link], link: _Link, origin: Origin, response: httpcore.Response) -> None:
        self._pool = pool
        self._link = link
        self._origin = origin
        self._stream = cast(AsyncIterable[bytes], response.stream)
        self._headers = response.headers
        self._is_open = True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        exchange = self._link.exchange
        parts = aiter(self._stream)
        while True:
            with _as_httpx():
                async with _in_time(exchange):
                    part = await anext(parts, None)
            if part is None:
                return
            yield part

    async def aclose(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        await self._stream.aclose()  # type: ignore[attr-defined]  # httpcore's stream has it, its type does not say so
        if self._link.is_clean():
            self._pool.release(self._origin, self._link, self._headers)
        else:
            self._link.abort()


@asynccontextmanager
async def _in_time(exchange: Exchange, seconds: float | None = None) -> AsyncIterator[None]:
    """Raises httpx.ReadTimeout past the exchange's end, or past `seconds` from now."""
    ends_at = exchange.earliest_end(seconds)
    deadline = asyncio.timeout_at(ends_at)
    try:
        async with deadline:
            yield
    except TimeoutError:
        if not deadline.expired():
            raise
        exchange.is_late = ends_at == exchange.ends_at
        raise httpx.ReadTimeout("no complete answer in time") from None


def _core_request(request: httpx.Request) -> httpcore.Request:
    return httpcore.Request(
        method=request.method,
        url=httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        ),
        headers=request.headers.raw,
        content=request.stream,
    )


@contextmanager
def _as_httpx() -> Iterator[None]:
    """httpcore's exceptions as httpx's of the same name."""
    try:
        yield
    except tuple(core for core, _ in _HTTPX_OF) as exc:
        if is_refusal_of_certificate(exc.__cause__):
            raise RefusedCertificateError(REFUSAL.format(fact=str(exc))) from exc
        raise next(ours for core, ours in _HTTPX_OF if isinstance(exc, core))(str(exc)) from exc


def _has_leftover(connection: httpcore.AsyncHTTP11Connection) -> bool:
    """Whether the receiver sent more than its response (a 204 with a body): it would be read as the next response.

    httpcore does not show this; h11's public `trailing_data` does.
    """
    leftover: bytes = connection._h11_state.trailing_data[0]
    return bool(leftover)
