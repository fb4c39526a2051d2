"""The frozen judgement of hosts and addresses: what no webhook may reach.

Called by `models` and `manifest` for names as written, and by `egress.dial` for every address a name resolves
to. Pure: resolves nothing, and does not ask `ipaddress.is_global`, whose answer changes with the Python release.
The table follows IANA's special-purpose registries (RFC 6890; iana-ipv4-special-registry and
iana-ipv6-special-registry) and adds the clouds' metadata services.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Range = IPv4Network | IPv6Network

HOST_MAX: Final = 253  # RFC 1035, section 2.3.4: 255 octets on the wire
LABEL_MAX: Final = 63
SHOWN_MAX: Final = 100  # characters of a host in a reason

_METADATA: Final = {
    IPv4Address("169.254.169.254"): "AWS, Azure, Google Cloud and others",
    IPv4Address("169.254.170.2"): "AWS ECS",
    IPv4Address("169.254.170.23"): "AWS EKS",
    IPv4Address("168.63.129.16"): "Azure wire server",
    IPv4Address("100.100.100.200"): "Alibaba Cloud",
    IPv4Address("192.0.0.192"): "Oracle Cloud",
    IPv6Address("fd00:ec2::254"): "AWS",
    IPv6Address("fd00:ec2::23"): "AWS EKS",
    IPv6Address("fd00:c1::a9fe:a9fe"): "Oracle Cloud",
    IPv6Address("fd20:ce::254"): "Google Cloud",
}

_IPV4: Final = tuple(
    (IPv4Network(network), reason)
    for network, reason in (
        ("0.0.0.0/8", "address of this network (RFC 791)"),
        ("10.0.0.0/8", "private address (RFC 1918)"),
        ("100.64.0.0/10", "shared address of carrier-grade NAT (RFC 6598)"),
        ("127.0.0.0/8", "loopback address (RFC 1122)"),
        ("169.254.0.0/16", "link-local address (RFC 3927)"),
        ("172.16.0.0/12", "private address (RFC 1918)"),
        ("192.0.0.0/24", "address of IETF protocol assignments (RFC 6890)"),
        ("192.0.2.0/24", "documentation address (RFC 5737)"),
        ("192.31.196.0/24", "AS112 address (RFC 7535)"),
        ("192.52.193.0/24", "AMT relay address (RFC 7450)"),
        ("192.88.99.0/24", "6to4 relay address (RFC 7526)"),
        ("192.168.0.0/16", "private address (RFC 1918)"),
        ("192.175.48.0/24", "AS112 address (RFC 7534)"),
        ("198.18.0.0/15", "benchmarking address (RFC 2544)"),
        ("198.51.100.0/24", "documentation address (RFC 5737)"),
        ("203.0.113.0/24", "documentation address (RFC 5737)"),
        ("224.0.0.0/4", "multicast address (RFC 5771)"),
        ("255.255.255.255/32", "broadcast address (RFC 8190)"),
        ("240.0.0.0/4", "reserved address (RFC 1112)"),
    )
)

_IPV6: Final = tuple(
    (IPv6Network(network), reason)
    for network, reason in (
        ("::/128", "unspecified address (RFC 4291)"),
        ("::1/128", "loopback address (RFC 4291)"),
        ("100::/64", "discard address (RFC 6666)"),
        ("100:0:0:1::/64", "dummy address (RFC 9780)"),
        ("2001::/23", "address of IETF protocol assignments (RFC 2928)"),
        ("2001:db8::/32", "documentation address (RFC 3849)"),
        ("2620:4f:8000::/48", "AS112 address (RFC 7534)"),
        ("3ffe::/16", "address of the closed 6bone (RFC 3701)"),
        ("3fff::/20", "documentation address (RFC 9637)"),
        ("5f00::/16", "segment-routing address (RFC 9602)"),
        ("fc00::/7", "unique local address (RFC 4193)"),
        ("fe80::/10", "link-local address (RFC 4291)"),
        ("fec0::/10", "site-local address (RFC 3879)"),
        ("ff00::/8", "multicast address (RFC 4291)"),
    )
)
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")  # all that IANA has ever given out to be routed

# IPv6 networks whose addresses stand for an IPv4 address, with the bits to shift it down and whether it is inverted.
_EMBEDDED: Final = tuple(
    (IPv6Network(network), shifts, name)
    for network, shifts, name in (
        ("::ffff:0:0/96", ((0, False),), "IPv4-mapped"),  # RFC 4291, section 2.5.5.2
        ("::ffff:0:0:0/96", ((0, False),), "IPv4-translated"),  # RFC 7915
        ("::/96", ((0, False),), "IPv4-compatible"),  # RFC 4291, section 2.5.5.1
        ("64:ff9b::/96", ((0, False),), "NAT64"),  # RFC 6052
        ("64:ff9b:1::/96", ((0, False),), "local NAT64"),  # RFC 8215; other layouts of its /48 are refused below
        ("2002::/16", ((80, False),), "6to4"),  # RFC 3056
        ("2001::/32", ((64, False), (0, True)), "Teredo"),  # RFC 4380, section 4: server, then the inverted client
    )
)

# The interface identifier of an IPv6 address whose last 32 bits are the IPv4 end of a tunnel, under whatever prefix.
_ISATAP: Final = frozenset((0x00005EFE, 0x02005EFE))  # RFC 5214, section 6.1

_LOCAL_NAMES: Final = ("localhost", "localhost.localdomain")
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_WITH_PORT: Final = re.compile(r"[^:\[\]]+:[0-9]+")  # what a list of hosts may hold; an IPv6 address has more colons
_NUMBER: Final = re.compile(r"\d+|0x[0-9a-f]*")


def judge_host(host: str) -> str | None:
    """Why a host name, as written in a URL, is refused as "fact: value", or None where it may be resolved.

    Takes the name without port and user info; brackets, a zone and a trailing dot are understood. Names follow
    RFC 1123, section 2.1; whatever ends in a number is an IPv4 address in one of its spellings, as browsers and
    `inet_aton` read it (WHATWG URL, "ends in a number").
    """
    shown = _shown(host)
    if not host:
        return "the host is empty"
    if _WITH_PORT.fullmatch(host):
        return f"the host has a port: {shown}"
    if "[" in host or ":" in host:
        return f"the host is an IP address: {shown}"
    if "%" in host:
        return f"the host is percent-encoded: {shown}"
    if not host.isascii():
        return f"the host is not ASCII: {shown} ({_explain_unicode(host[:HOST_MAX])})"
    name = host.lower().removesuffix(".")
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        meant = _parse_ipv4(labels)
        return f"the host is an IP address: {shown}" + (f" ({meant})" if meant and str(meant) != host else "")
    return _judge_name(name, labels, shown)


def judge_address(ip: str, *, allowed: Sequence[Range] = ()) -> str | None:
    """What forbids an address that a name resolved to ("private address (RFC 1918)"), or None where it may be dialled.

    An IPv6 address that stands for an IPv4 address is judged by that one; a zone (`%eth0`) never passes. What lies in
    one of the operator's `allowed` ranges passes, a metadata service only where a range is that very address.
    """
    try:
        address: IPv4Address | IPv6Address = IPv6Address(ip) if ":" in ip else IPv4Address(ip)
    except AddressValueError:
        return "not an IP address"
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return "address with a zone"
    reason = _judge_ipv4(address) if isinstance(address, IPv4Address) else _judge_ipv6(address)
    return None if reason and _is_allowed(address, allowed) else reason


def read_range(text: str) -> Range:
    """An operator's range, `10.1.0.0/16` or one address. Raises ValueError with the fact where it is none, or is wider
    than what the table refuses: nothing else needs to be allowed, and a slip must not open everything."""
    try:
        found = ip_network(text)
    except ValueError:
        raise ValueError(f"not an address or a range like 10.1.0.0/16: {_shown(text)}") from None
    if not _is_special(found):
        raise ValueError(f"not inside one of the ranges that are refused: {found}")
    return found


def is_loopback(host: str) -> bool:
    """Whether only this machine is reached by `host`: 127.0.0.0/8, ::1 or the name localhost."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _shown(text: str) -> str:
    """Printable ASCII of bounded length, whatever the text."""
    return ascii(text[:SHOWN_MAX])[1:-1][:SHOWN_MAX]


def _judge_name(name: str, labels: list[str], shown: str) -> str | None:
    if name in _LOCAL_NAMES or labels[-1] == "localhost":
        return f"the host is this machine: {shown}"
    if len(name) > HOST_MAX:
        return f"the host is longer than {HOST_MAX} characters: {len(name)}"
    for label in labels:
        if not label:
            return f"the host has an empty label: {shown}"
        if len(label) > LABEL_MAX:
            return f"the host has a label longer than {LABEL_MAX} characters: {len(label)}"
        if not _LABEL.fullmatch(label):
            return f"the host has a label that is not letters, digits and inner hyphens: {_shown(label)}"
    if len(labels) == 1:
        return f"the host has no dot, so that search domains would decide what it is: {shown}"
    return None


def _parse_ipv4(labels: list[str]) -> IPv4Address | None:
    """The address of `127.0.0.1`, `127.1`, `2130706433`, `0x7f.1` or `0177.0.0.1`, or None where it is none."""
    try:
        numbers = [_parse_number(label) for label in labels]
    except ValueError:
        return None
    *head, last = numbers
    if len(numbers) > 4 or any(number > 255 for number in head) or last >= 256 ** (4 - len(head)):
        return None
    return IPv4Address(sum(number << (24 - 8 * index) for index, number in enumerate(head)) + last)


def _parse_number(label: str) -> int:
    if not label or len(label) > 20:
        raise ValueError(label)
    if label.startswith("0x"):
        return int(label[2:] or "0", 16)
    return int(label, 8) if label.startswith("0") else int(label)


def _explain_unicode(host: str) -> str:
    """How to write the host; full-width digits and ideographic full stops are what some parsers read as ASCII."""
    plain = unicodedata.normalize("NFKC", host).replace("\u3002", ".").lower()
    if plain.isascii():
        return f"it reads as {_shown(plain)}"
    labels = (  # RFC 3492
        label if label.isascii() else "xn--" + label.encode("punycode", "replace").decode("ascii")
        for label in plain.split(".")
    )
    return f"write it as {_shown('.'.join(labels))}"


def _judge_ipv4(address: IPv4Address) -> str | None:
    if address in _METADATA:
        return f"metadata service ({_METADATA[address]})"
    return next((reason for network, reason in _IPV4 if address in network), None)


def _judge_ipv6(address: IPv6Address) -> str | None:
    if address in _METADATA:
        return f"metadata service ({_METADATA[address]})"
    for name, embedded in _embedded_in(address):
        if reason := _judge_ipv4(embedded):
            return f"{name} {reason}"
    if any(address in network for network, *_ in _EMBEDDED) and int(address) > 1:
        return None
    for network, reason in _IPV6:
        if address in network:
            return reason
    return None if address in _GLOBAL_UNICAST else "address outside global unicast (RFC 4291)"


def _embedded_in(address: IPv6Address) -> Iterator[tuple[str, IPv4Address]]:
    """The IPv4 addresses that an IPv6 address stands for, with how; :: and ::1 stand for themselves."""
    number = int(address)
    if number <= 1:
        return
    for network, shifts, name in _EMBEDDED:
        if address in network:
            for shift, is_inverted in shifts:
                bits = (number >> shift) & 0xFFFFFFFF
                yield name, IPv4Address(bits ^ 0xFFFFFFFF if is_inverted else bits)
            return
    if (number >> 32) & 0xFFFFFFFF in _ISATAP:
        yield "ISATAP", IPv4Address(number & 0xFFFFFFFF)


def _is_allowed(address: IPv4Address | IPv6Address, allowed: Sequence[Range]) -> bool:
    stands_for = {address, *(item for _, item in _embedded_in(address))} if address.version == 6 else {address}
    is_metadata = not stands_for.isdisjoint(_METADATA)
    return any(address in item and (item.num_addresses == 1 or not is_metadata) for item in allowed)


def _is_special(found: Range) -> bool:
    """Whether a range lies wholly inside what the table refuses."""
    if found.num_addresses == 1:
        return judge_address(str(found.network_address)) is not None
    if isinstance(found, IPv4Network):
        return any(found.subnet_of(network) for network, _ in _IPV4)
    networks = [network for network, _ in _IPV6] + [network for network, *_ in _EMBEDDED]
    return any(found.subnet_of(network) for network in networks) or not found.overlaps(_GLOBAL_UNICAST)
