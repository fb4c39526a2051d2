"""How often a wrong token may be tried at the login, from one address and from all. Called by `web.login`.

Right tokens cost nothing, and an address that has tried no wrong one for an hour is heard however many others do: so
nobody can lock an operator out from elsewhere, nor from the same address for longer than `ADDRESS_SECONDS` at a time.
"""

import ipaddress
from typing import Final

from reconciler.source.rate import Rate

ADDRESS_TRIES: Final = 10  # wrong ones at once: somebody who pastes the wrong thing a few times
ADDRESS_SECONDS: Final = 6.0  # for each further one
ALL_TRIES: Final = 100
ALL_SECONDS: Final = 1.0
CLEAN_SECONDS: Final = 3_600.0  # without a wrong one, and what others try does not matter
EVERYBODY: Final = ""
IPV6_NETWORK_BITS: Final = 64  # what one customer has of addresses (RFC 6177)


class Throttle:
    """The account of wrong tokens. `now` is seconds of a steady clock; what is remembered is bounded."""

    def __init__(self) -> None:
        self._address = Rate(1 / ADDRESS_SECONDS, burst=ADDRESS_TRIES)
        self._all = Rate(1 / ALL_SECONDS, burst=ALL_TRIES)
        self._clean = Rate(1 / CLEAN_SECONDS, burst=1)

    def wait_seconds(self, address: str, *, now: float) -> float:
        """0 where a try from this address is judged, else how long until one is."""
        key = _network(address)
        own = self._address.due_seconds(key, now=now)
        if own or not self._clean.due_seconds(key, now=now):
            return own
        return self._all.due_seconds(EVERYBODY, now=now)

    def count(self, address: str, *, now: float) -> None:
        """A wrong token was tried."""
        key = _network(address)
        for rate, sender in ((self._address, key), (self._clean, key), (self._all, EVERYBODY)):
            rate.wait_seconds(sender, now=now)


def _network(address: str) -> str:
    """What is counted as one address: of IPv6 its network."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found), IPV6_NETWORK_BITS), strict=False))
