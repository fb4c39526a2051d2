"""From a name to a verified connection: resolve, judge every address, dial only a judged one, check the certificate.

Called by both transports for each new connection, so that a name that changes its address is judged again.
Nothing here can turn verification off; only the operator exempts what he names from judgement: a `--connect-to`, an
`--allow-range`, a `--proxy`, which resolves names in our place.
"""

import asyncio
import itertools
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final, TypeVar

import httpx

from reconciler.address import judge_address, judge_host
from reconciler.egress.exchange import Exchange, Phase
from reconciler.egress.proxy import open_tunnel
from reconciler.egress.resolve import Resolve, SystemResolver
from reconciler.errors import ReconcilerError
from reconciler.settings import EgressSettings, Proxy

RESOLVE_TIMEOUT_SECONDS: Final = 5.0  # one try of the usual resolver; its own default is two or more
CONNECT_TIMEOUT_SECONDS: Final = 5.0  # TCP over all addresses of a name; the handshake has the same again
ADDRESSES_MAX: Final = 8  # dialled per connection; every address is judged
CERTIFICATE_ALERTS: Final = frozenset(  # OpenSSL's names of the alerts of RFC 8446, section 6.2, that tell of ours
    (
        *("TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_BAD_CERTIFICATE", "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE"),
        *("SSLV3_ALERT_CERTIFICATE_REVOKED", "SSLV3_ALERT_CERTIFICATE_EXPIRED", "SSLV3_ALERT_CERTIFICATE_UNKNOWN"),
        *("TLSV1_ALERT_UNKNOWN_CA", "TLSV1_ALERT_ACCESS_DENIED", "SSLV3_ALERT_NO_CERTIFICATE"),
    )
)
REFUSAL: Final = "the receiver refuses our client certificate, or wants one: {fact}"


P = TypeVar("P", bound=asyncio.Protocol)


class ResolveError(httpx.ConnectError):
    """The name has no address, or the name server does not answer."""


class RefusedAddressError(httpx.ConnectError):
    """The host as written, or one of its addresses, must not be reached."""


class TlsError(httpx.ConnectError):
    """The handshake failed or the certificate does not hold for the name."""


class RefusedCertificateError(TlsError):
    """The receiver wants another client certificate than ours, or any; by TLS 1.3 it says so after our request."""


class Dialer:
    """Opens connections to names. `resolve` replaces the system's resolver; what it answers is judged all the same."""

    def __init__(self, settings: EgressSettings, *, resolve: Resolve | None = None) -> None:
        self._settings = settings
        self._context = make_context(settings.ca_file)
        self._targets = {(item.host, item.port): item for item in settings.connect_to}
        self._resolve = resolve or SystemResolver()

    async def connect(
        self, host: str, port: int, exchange: Exchange, make: Callable[[], P]
    ) -> tuple[asyncio.Transport, P]:
        """A connection whose certificate holds for `host` (lower case, no trailing dot), with the protocol of `make`.

        Raises RefusedAddressError, ResolveError, httpx.ConnectError, httpx.ConnectTimeout (also past the exchange's own
        deadlines) or TlsError.
        """
        ends_at = exchange.earliest_end(exchange.connect_seconds)
        try:
            async with asyncio.timeout_at(ends_at):
                return await self._connect(host, port, exchange, make)
        except TimeoutError:
            exchange.is_late = ends_at == exchange.ends_at
            raise httpx.ConnectTimeout(f"no connection to {host} in time") from None

    async def _connect(
        self, host: str, port: int, exchange: Exchange, make: Callable[[], P]
    ) -> tuple[asyncio.Transport, P]:
        target = self._targets.get((host, port))
        proxy = None if target else self._settings.proxy
        exchange.phase = Phase.RESOLVE
        self._judge_name(host, is_judged=target is None)
        exchange.connect_to = str(target) if target else None
        exchange.proxy = str(proxy) if proxy else None
        # Three cases: the operator's target, his proxy, or the name's own judged addresses.
        if target:
            addresses, dialled_port = await self._addresses_of(target.address, target.target_port), target.target_port
        elif proxy:
            addresses, dialled_port = await self._addresses_of(proxy.host, proxy.port), proxy.port
        else:
            addresses, dialled_port = await self._judged_addresses(host, port), port
        exchange.resolved_ms = exchange.mark()
        exchange.phase = Phase.CONNECT
        sock = await _connect_any(addresses, dialled_port, exchange)
        if proxy:
            await _tunnel(sock, proxy, host, port)
        exchange.connected_ms = exchange.mark()
        exchange.phase = Phase.HANDSHAKE
        return await self._secure(sock, host, exchange, make)

    def _judge_name(self, host: str, *, is_judged: bool) -> None:
        """Raise RefusedAddressError for a name that nobody is to reach, or that the operator does not let us reach."""
        if is_judged and (reason := judge_host(host)):
            raise RefusedAddressError(reason)
        if not self._settings.may_reach(host):
            raise RefusedAddressError(f"the operator's --only-host does not name the host: {host[:100]}")

    async def _judged_addresses(self, host: str, port: int) -> Sequence[str]:
        addresses = await self._look_up(host, port)
        for address in addresses:
            if reason := judge_address(address, allowed=self._settings.allow_ranges):
                raise RefusedAddressError(f"{host} resolves to {address[:100]}: {reason}")
        return addresses

    async def _addresses_of(self, host: str, port: int) -> Sequence[str]:
        """Those of what the operator named, a name or an address; not judged."""
        try:
            return [str(ip_address(host))]
        except ValueError:
            return await self._look_up(host, port)

    async def _look_up(self, host: str, port: int) -> Sequence[str]:
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_SECONDS):
                addresses = await self._resolve(host, port)
        except TimeoutError:
            raise ResolveError(f"the name server does not answer for {host}") from None
        except (OSError, UnicodeError) as exc:
            raise ResolveError(f"{host} cannot be resolved: {describe_os_error(exc)}") from exc
        if not addresses:
            raise ResolveError(f"{host} has no address")
        return addresses

    async def _secure(
        self, sock: socket.socket, host: str, exchange: Exchange, make: Callable[[], P]
    ) -> tuple[asyncio.Transport, P]:
        loop = asyncio.get_running_loop()
        context = self._context if exchange.identity is None else exchange.identity.context
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                transport, protocol = await loop.create_connection(make, sock=sock, ssl=context, server_hostname=host)
        except TimeoutError:
            raise httpx.ConnectTimeout(f"no TLS handshake with {exchange.address} in time") from None
        except ssl.SSLCertVerificationError as exc:
            raise TlsError(f"certificate verify failed: {_lower_first(exc.verify_message)}") from exc
        except (OSError, ssl.SSLError) as exc:
            if is_refusal_of_certificate(exc):
                raise RefusedCertificateError(REFUSAL.format(fact=describe_os_error(exc))) from exc
            raise TlsError(f"TLS handshake failed: {describe_os_error(exc)}") from exc
        exchange.secured_ms = exchange.mark()
        exchange.phase = Phase.EXCHANGE
        ssl_object = transport.get_extra_info("ssl_object")
        exchange.tls = f"{ssl_object.version()} {ssl_object.cipher()[0]}"
        return transport, protocol


def make_context(ca_file: Path | None, *, only: str | None = None) -> ssl.SSLContext:
    """TLS 1.2 or later, the system's roots and the operator's, certificate and name checked; with `only`, PEM, its
    authorities in place of all others. Raises ReconcilerError (`ca_file`), ssl.SSLError and ValueError (`only`)."""
    context = ssl.create_default_context(cadata=only)  # which loads the system's only where it is given none
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except OSError as exc:  # ssl.SSLError is one
            raise ReconcilerError(
                f"`--ca` cannot be used: {ca_file}: {describe_os_error(exc)}", hint="give a file of certificates in PEM"
            ) from exc
    return context


def is_refusal_of_certificate(exc: BaseException | None) -> bool:
    """Whether the other side has ended TLS because of our client certificate, or for want of one."""
    return isinstance(exc, ssl.SSLError) and exc.reason in CERTIFICATE_ALERTS


def describe_os_error(exc: BaseException) -> str:
    """What the system says, in lower case and without numbers."""
    if isinstance(exc, ssl.SSLError) and exc.reason:
        return exc.reason.lower().replace("_", " ")
    if isinstance(exc, OSError) and exc.errno and not isinstance(exc, socket.gaierror):
        return _lower_first(os.strerror(exc.errno))  # the exception's own text repeats the address
    fallback = "the connection was closed" if isinstance(exc, ConnectionError) else type(exc).__name__
    return _lower_first(getattr(exc, "strerror", None) or str(exc) or fallback)


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:].rstrip(".") if text[1:2].islower() else text.rstrip(".")


async def _connect_any(addresses: Sequence[str], port: int, exchange: Exchange) -> socket.socket:
    """A socket connected to the first address that answers; the time is shared between those that are left."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + CONNECT_TIMEOUT_SECONDS
    candidates = _alternate(addresses)[:ADDRESSES_MAX]
    failure: httpx.TransportError = httpx.ConnectError("no address to dial")
    for index, address in enumerate(candidates):
        exchange.address = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        share = (ends_at - loop.time()) / (len(candidates) - index)
        try:
            async with asyncio.timeout(share):
                return await _connect(address, port)
        except TimeoutError:
            failure = httpx.ConnectTimeout(f"no answer from {exchange.address}")
        except OSError as exc:
            failure = httpx.ConnectError(f"no connection to {exchange.address}: {describe_os_error(exc)}")
    raise failure


async def _tunnel(sock: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    """Have the proxy connect the socket to the receiver. Raises httpx.ConnectError and httpx.ConnectTimeout, with the
    socket closed."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
            await open_tunnel(sock, proxy, host, port)
    except TimeoutError:
        sock.close()
        raise httpx.ConnectTimeout(f"no answer from the proxy {proxy}") from None
    except OSError as exc:
        sock.close()
        raise httpx.ConnectError(f"no tunnel through the proxy {proxy}: {describe_os_error(exc)}") from exc
    except BaseException:
        sock.close()
        raise


async def _connect(address: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, (address, port))
    except BaseException:
        sock.close()
        raise
    return sock


def _alternate(addresses: Sequence[str]) -> list[str]:
    """The addresses with families taking turns (RFC 8305, section 4), so that a dead family costs one share."""
    first = [item for item in addresses if (":" in item) == (":" in addresses[0])]
    second = [item for item in addresses if item not in first]
    pairs = itertools.zip_longest(first, second)
    return [item for pair in pairs for item in pair if item is not None]
