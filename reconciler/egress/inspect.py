"""A look at a receiver's door: its name resolved and judged, a TLS handshake, its certificate; never a request.

For `dispatch.doctor`. It dials as deliveries do, so what is found here is what they meet.
"""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import httpx

from reconciler.egress.dial import Dialer, RefusedAddressError, ResolveError, TlsError
from reconciler.egress.exchange import Exchange
from reconciler.errors import ReconcilerError
from reconciler.models.delivery import Fault

PORT: Final = 443
AT_ONCE: Final = 16  # handshakes under way
HOST_SECONDS: Final = 10.0  # for one of them
ALL_SECONDS: Final = 60.0  # for all: who waits for a doctor is a person

_FAULTS: Final[tuple[tuple[type[Exception], Fault], ...]] = (
    (RefusedAddressError, Fault.REFUSED_ADDRESS),
    (ResolveError, Fault.DNS),
    (TlsError, Fault.TLS),
    (httpx.TimeoutException, Fault.CONNECT_TIMEOUT),
    (httpx.TransportError, Fault.CONNECT),
)


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was met at one host. `expires_at` is when its certificate ends, in milliseconds since the epoch; `fault` is
    None where the handshake went well, and so is `detail` empty."""

    host: str
    address: str | None = None
    tls: str | None = None
    expires_at: int | None = None
    fault: Fault | None = None
    detail: str = ""


async def inspect_hosts(dialer: Dialer, hosts: Sequence[str]) -> tuple[Inspection, ...]:
    """Each host once, several at a time; those for which there was no time are left out."""
    slots = asyncio.Semaphore(AT_ONCE)
    found: dict[str, Inspection] = {}

    async def look(host: str) -> None:
        async with slots:
            found[host] = await _inspect(dialer, host)

    tasks = [asyncio.create_task(look(host)) for host in dict.fromkeys(hosts)]
    try:
        if tasks:
            await asyncio.wait(tasks, timeout=ALL_SECONDS)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return tuple(found[host] for host in dict.fromkeys(hosts) if host in found)


async def _inspect(dialer: Dialer, host: str) -> Inspection:
    exchange = Exchange(connect_seconds=HOST_SECONDS)
    try:
        transport, _ = await dialer.connect(host, PORT, exchange, asyncio.Protocol)
    except (httpx.TransportError, ReconcilerError) as exc:
        fault = next((fault for kind, fault in _FAULTS if isinstance(exc, kind)), Fault.CONNECT)
        return Inspection(host, exchange.address, fault=fault, detail=f"{exc}")
    certificate = transport.get_extra_info("peercert") or {}
    transport.abort()
    ends = certificate.get("notAfter")
    expires_at = None if ends is None else int(ssl.cert_time_to_seconds(ends)) * 1000
    return Inspection(host, exchange.address, exchange.tls, expires_at)
