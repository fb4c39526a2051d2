"""HTTP/1.1 over connections kept alive per host *name*: an httpx transport that only `egress.deliver` uses.

A connection verified for one name is never used for another, even where both resolve to one address. Each host has its
own connections and there is no shared limit, so that a slow receiver costs only itself. It follows no redirect, reads
no environment, keeps no cookie and knows no proxy.
"""

import asyncio
import select
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, cast

import httpcore
import httpx

from reconciler.egress.dial import Dialer, Exchange, Stream

IDLE_SECONDS: Final = 30.0  # shorter than the 60 s after which common load balancers close
IDLE_MAX_PER_HOST: Final = 256  # as many as the worker has in flight: fewer, and each full round shakes hands anew
HTTPS_PORT: Final = 443

_HTTPX_OF: Final[tuple[tuple[type[Exception], type[httpx.TransportError]], ...]] = (
    (httpcore.ReadError, httpx.ReadError),
    (httpcore.WriteError, httpx.WriteError),
    (httpcore.RemoteProtocolError, httpx.RemoteProtocolError),
    (httpcore.LocalProtocolError, httpx.LocalProtocolError),
)

_Origin = tuple[str, int]


@dataclass(slots=True)
class _Link:
    """One connection to one name, and until when it may stay idle (the loop's clock)."""

    origin: _Origin
    stream: Stream
    connection: httpcore.AsyncHTTP11Connection
    idle_until: float = 0.0

    def is_dead(self, now: float) -> bool:
        """Whether an idle connection must not be used: too old, or the other side has closed it or has spoken out of
        turn, seen by the loop or still in the kernel."""
        return now >= self.idle_until or self.stream.is_ended() or _is_readable(self.stream)


class DeliveryTransport(httpx.AsyncBaseTransport):
    """Sends over an idle connection of the host or a new one; the request's `exchange` extension sees what happens.

    `exchange.before_write` is awaited when the connection stands and nothing has been written. If the receiver closed
    an idle connection before we wrote, a new one is opened; once we wrote, nothing is repeated, since only the caller
    knows whether it may run twice (RFC 9110, section 9.2.2).
    """

    def __init__(self, dialer: Dialer, *, idle_seconds: float = IDLE_SECONDS) -> None:
        self._dialer = dialer
        self._idle_seconds = idle_seconds
        self._idle: dict[_Origin, list[_Link]] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The response with its body unread. Raises httpx.TransportError."""
        if request.url.scheme != "https":
            raise httpx.UnsupportedProtocol(f"not an https URL: {request.url.scheme or 'no scheme'}")
        port = HTTPS_PORT if request.url.port is None else request.url.port
        if not 0 < port < 65536:
            raise httpx.UnsupportedProtocol(f"not a port: {port}")
        exchange = request.extensions.get("exchange") or Exchange()
        origin = (request.url.raw_host.decode("ascii"), port)
        link = await self._ready(origin, exchange)
        try:
            with _as_httpx():
                response = await link.connection.handle_async_request(_core_request(request))
        except BaseException:
            link.stream.abort()
            raise
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_Body(self, link, cast(AsyncIterable[bytes], response.stream), response.headers),
            extensions={"reason_phrase": response.extensions["reason_phrase"]},
            request=request,
        )

    async def aclose(self) -> None:
        """Close what is idle; what is in flight closes when it ends."""
        self._is_closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for link in [link for links in self._idle.values() for link in links]:
            link.stream.abort()
        self._idle.clear()
        await asyncio.sleep(0)  # the loop closes the sockets in its next round

    async def _ready(self, origin: _Origin, exchange: Exchange) -> _Link:
        link = self._take(origin, exchange) or await self._open(origin, exchange)
        if exchange.before_write is None:
            return link
        try:
            await exchange.before_write()
        except BaseException:
            link.stream.abort()
            raise
        is_stale = _is_readable(link.stream) if exchange.is_reused else False
        if is_stale or link.stream.is_ended():
            link.stream.abort()
            link = await self._open(origin, exchange)
        return link

    def _take(self, origin: _Origin, exchange: Exchange) -> _Link | None:
        links = self._idle.get(origin, [])
        now = asyncio.get_running_loop().time()
        while links:
            link = links.pop()
            if link.is_dead(now):
                link.stream.abort()
                continue
            link.stream.serve(exchange)
            return link
        return None

    async def _open(self, origin: _Origin, exchange: Exchange) -> _Link:
        exchange.is_reused = False
        stream = await self._dialer.connect(*origin, exchange)
        core_origin = httpcore.Origin(b"https", origin[0].encode("ascii"), origin[1])
        return _Link(origin, stream, httpcore.AsyncHTTP11Connection(origin=core_origin, stream=stream))

    def release(self, link: _Link, headers: list[tuple[bytes, bytes]]) -> None:
        """Keep a connection whose exchange is over, if it is clean and may be kept."""
        seconds = _idle_seconds(headers, self._idle_seconds)
        is_clean = link.connection.is_idle() and not _has_leftover(link.connection) and not link.stream.is_ended()
        has_room = len(self._idle.get(link.origin, ())) < IDLE_MAX_PER_HOST
        if self._is_closed or not is_clean or seconds <= 0 or not has_room:
            link.stream.abort()
            return
        loop = asyncio.get_running_loop()
        link.idle_until = loop.time() + seconds
        self._idle.setdefault(link.origin, []).append(link)
        if self._sweeper is None:
            self._sweeper = loop.call_later(self._idle_seconds, self._sweep)

    def _sweep(self) -> None:
        """Close idle connections that are dead; come again while there are any left."""
        loop = asyncio.get_running_loop()
        for origin, links in list(self._idle.items()):
            alive: list[_Link] = []
            for link in links:
                if link.is_dead(loop.time()):
                    link.stream.abort()
                else:
                    alive.append(link)
            self._idle[origin] = alive
            if not alive:
                del self._idle[origin]
        self._sweeper = loop.call_later(self._idle_seconds, self._sweep) if self._idle else None


class _Body(httpx.AsyncByteStream):
    """A response's body as it arrives; closing it early closes the connection."""

    def __init__(
        self,
        transport: DeliveryTransport,
        link: _Link,
        stream: AsyncIterable[bytes],
        headers: list[tuple[bytes, bytes]],
    ) -> None:
        self._transport = transport
        self._link = link
        self._stream = stream
        self._headers = headers
        self._is_open = True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_httpx():
            async for part in self._stream:
                yield part

    async def aclose(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        await self._stream.aclose()  # type: ignore[attr-defined]  # httpcore's stream has it, its type does not say so
        self._transport.release(self._link, self._headers)


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
        raise next(ours for core, ours in _HTTPX_OF if isinstance(exc, core))(str(exc)) from exc


def _idle_seconds(headers: list[tuple[bytes, bytes]], longest: float) -> float:
    """How long an idle connection may be kept: a little less than the receiver's `Keep-Alive: timeout=N`, at most
    `longest`, since a receiver that closes while we write makes an unknown outcome."""
    for name, value in headers:
        if name.lower() == b"keep-alive":
            for part in value.lower().split(b","):
                key, _, number = part.strip().partition(b"=")
                if key == b"timeout" and number.isdigit():
                    return min(longest, float(number[:6]) - 1)
    return longest


def _is_readable(stream: Stream) -> bool:
    """Whether the kernel holds bytes or an end that the loop has not seen; on an idle connection neither is right."""
    sock = stream.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _has_leftover(connection: httpcore.AsyncHTTP11Connection) -> bool:
    """Whether the receiver sent more than its response (a 204 with a body): it would be read as the next response.

    httpcore does not show this; h11's public `trailing_data` does.
    """
    leftover: bytes = connection._h11_state.trailing_data[0]
    return bool(leftover)
