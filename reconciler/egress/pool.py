"""Idle connections, kept per host *name*, port and identity; both transports take theirs from one of their own.

A connection verified for one name is never used for another, even where both resolve to one address, nor one made with
a client certificate for a webhook without it. Each name has its own connections and there is no shared limit, so that a
slow receiver costs only itself. Nothing is sent here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, Protocol, TypeVar

import httpx

from reconciler.egress.exchange import Exchange

if TYPE_CHECKING:
    from reconciler.egress.identity import Identity

IDLE_SECONDS: Final = 30.0  # shorter than the 60 s after which common load balancers close
IDLE_MAX_PER_NAME: Final = 256  # as many as the worker has in flight: fewer, and each full round shakes hands anew
LIFE_SECONDS: Final = 300.0  # so that a busy name that moved is looked up and judged again
LONG_HOLD_SECONDS: Final = 0.001  # a receiver may close meanwhile
HTTPS_PORT: Final = 443


class Origin(NamedTuple):
    """What connections are kept apart by: a name, a port, and the digest of the identity that they were made with."""

    host: str
    port: int
    identity: str = ""


class Pooled(Protocol):
    """One connection to one (name, address)."""

    @property
    def born_at(self) -> float:
        """When it was made, by the loop's clock."""

    def serve(self, exchange: Exchange) -> None:
        """Go over to another exchange, which reuses this connection."""

    def is_ended(self) -> bool:
        """Whether the other side has closed, as far as the loop has seen."""

    def is_readable(self) -> bool:
        """Whether the kernel holds bytes or an end that the loop has not seen: neither is right on an idle one."""

    def abort(self) -> None:
        """Close at once."""


P = TypeVar("P", bound=Pooled)


class Pool(Generic[P]):
    """Hands out the connection that was used last, else a new one from `open_`."""

    def __init__(
        self,
        open_: Callable[[Origin, Exchange], Awaitable[P]],
        *,
        idle_seconds: float = IDLE_SECONDS,
        life_seconds: float = LIFE_SECONDS,
    ) -> None:
        self._open = open_
        self._idle_seconds = idle_seconds
        self._life_seconds = life_seconds
        self._idle: dict[Origin, list[tuple[P, float]]] = {}  # with until when it may be used again
        self._sweeper: asyncio.TimerHandle | None = None
        self._is_closed = False

    def take(self, origin: Origin, exchange: Exchange) -> P | None:
        """The idle connection that was used last, over which the exchange may write at once; None where there is
        none."""
        links = self._idle.get(origin)
        if not links:
            return None
        now = exchange.clock()
        while links:
            link, until = links.pop()
            if _is_dead(link, until, now):
                link.abort()
                continue
            link.serve(exchange)
            return link
        return None

    async def ready(self, origin: Origin, exchange: Exchange) -> P:
        """A connection over which the exchange may write at once, its `before_write` awaited.

        If the receiver closed an idle connection before we wrote, a new one is opened; once we wrote, nothing is
        repeated, since only the caller knows whether it may run twice (RFC 9110, section 9.2.2).
        """
        link = self.take(origin, exchange) or await self._open(origin, exchange)
        if exchange.before_write is None:
            return link
        try:
            held = await exchange.hold()
        except BaseException:
            link.abort()
            raise
        if link.is_ended() or (exchange.is_reused and held > LONG_HOLD_SECONDS and link.is_readable()):
            link.abort()
            exchange.is_reused = False
            link = await self._open(origin, exchange)
        return link

    def release(self, origin: Origin, link: P, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Keep a clean connection whose exchange is over, if it may be kept; `headers` are those of the answer."""
        seconds = _idle_seconds(headers, self._idle_seconds)
        links = self._idle.get(origin)
        has_room = links is None or len(links) < IDLE_MAX_PER_NAME
        if self._is_closed or seconds <= 0 or not has_room or link.is_ended():
            link.abort()
            return
        loop = asyncio.get_running_loop()
        idle = (link, min(loop.time() + seconds, link.born_at + self._life_seconds))
        if links is None:
            self._idle[origin] = [idle]
        else:
            links.append(idle)
        if self._sweeper is None:
            self._sweeper = loop.call_later(self._idle_seconds, self._sweep)

    async def aclose(self) -> None:
        """Close what is idle; what is in flight closes when it ends."""
        self._is_closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for links in self._idle.values():
            for link, _ in links:
                link.abort()
        self._idle.clear()
        await asyncio.sleep(0)  # the loop closes the sockets in its next round

    def _sweep(self) -> None:
        """Close idle connections that are dead; come again while there are any left."""
        loop = asyncio.get_running_loop()
        for origin, links in list(self._idle.items()):
            alive: list[tuple[P, float]] = []
            for link, until in links:
                if _is_dead(link, until, loop.time()):
                    link.abort()
                else:
                    alive.append((link, until))
            self._idle[origin] = alive
            if not alive:
                del self._idle[origin]
        self._sweeper = loop.call_later(self._idle_seconds, self._sweep) if self._idle else None


def origin_of(url: httpx.URL, identity: "Identity | None") -> Origin:
    """The name (ASCII, lower case), the port and the identity. Raises httpx.UnsupportedProtocol for what is not
    https."""
    if url.scheme != "https":
        raise httpx.UnsupportedProtocol(f"not an https URL: {url.scheme or 'no scheme'}")
    port = HTTPS_PORT if url.port is None else url.port
    if not 0 < port < 65536:
        raise httpx.UnsupportedProtocol(f"not a port: {port}")
    return Origin(url.raw_host.decode("ascii"), port, "" if identity is None else identity.digest)


def exchange_of(request: httpx.Request) -> Exchange:
    """The request's exchange; for a request that httpx made without one, a new one with httpx's own timeouts."""
    exchange = request.extensions.get("exchange")
    if isinstance(exchange, Exchange):
        return exchange
    timeout = request.extensions.get("timeout") or {}
    return Exchange(connect_seconds=timeout.get("connect"), first_byte_seconds=timeout.get("read"))


def _is_dead(link: Pooled, until: float, now: float) -> bool:
    """Whether an idle connection must not be used: too old, closed by the other side, or spoken to out of turn."""
    return now >= until or link.is_ended() or link.is_readable()


def _idle_seconds(headers: Iterable[tuple[bytes, bytes]], longest: float) -> float:
    """How long an idle connection may be kept: a little less than the receiver's `Keep-Alive: timeout=N`, at most
    `longest`, since a receiver that closes while we write makes an unknown outcome."""
    for name, value in headers:
        if len(name) == 10 and name.lower() == b"keep-alive":
            for part in value.lower().split(b","):
                key, _, number = part.strip().partition(b"=")
                if key == b"timeout" and number.isdigit():
                    return min(longest, float(number[:6]) - 1)
    return longest
