"""The operator's settings as values: read by `cli` only, passed inward as arguments."""

from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from reconciler.errors import OptionError

DEFAULT_STORE: Final = "sqlite:///reconciler.db"
DEFAULT_LISTEN: Final = "127.0.0.1:8420"


@dataclass(frozen=True, slots=True)
class ConnectTo:
    """Dial `address:target_port` where `host:port` is wanted, as curl's --connect-to does.

    The operator's target is exempt from the judgement of addresses and recorded with every attempt; TLS still checks
    `host`.
    """

    host: str
    port: int
    address: str
    target_port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}:{self.address}:{self.target_port}"


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy of the operator's, which is asked for tunnels by CONNECT. `credentials` are never shown."""

    host: str
    port: int
    credentials: tuple[str, str] | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"


class TransportKind(StrEnum):
    """What sends requests: `docs/transport.md` tells where the two differ."""

    FAST = "fast"  # ours
    HTTPX = "httpx"  # httpx's own stack


@dataclass(frozen=True, slots=True)
class EgressSettings:
    """How the one door out is set up."""

    secrets_file: Path | None = None
    ca_file: Path | None = None
    connect_to: tuple[ConnectTo, ...] = ()
    transport: TransportKind = TransportKind.FAST
    allow_ranges: tuple[IPv4Network | IPv6Network, ...] = ()  # of refused addresses, those that may be dialled
    only_hosts: tuple[str, ...] = ()  # exact names or `*.example.com`; empty: every host
    proxy: Proxy | None = None

    def may_reach(self, host: str) -> bool:
        """Whether the operator lets a host (lower case, no trailing dot) be reached at all."""
        if not self.only_hosts:
            return True
        return any(host.endswith(item[1:]) if item.startswith("*.") else host == item for item in self.only_hosts)


def parse_connect_to(text: str) -> ConnectTo:
    """`HOST:PORT:ADDRESS:PORT`; an IPv6 ADDRESS stands in brackets. Raises OptionError."""
    hint = "write HOST:PORT:ADDRESS:PORT, like acme.workflows.okta.com:443:127.0.0.1:9443"
    try:
        head, target_port = text.rsplit(":", 1)
        host, port, address = head.split(":", 2)
        parsed = ConnectTo(
            host.lower().rstrip("."), int(port), address.removeprefix("[").removesuffix("]"), int(target_port)
        )
    except ValueError:
        raise OptionError(f"`--connect-to` cannot be read: {text}", hint=hint) from None
    if not parsed.host or not parsed.address or not (0 < parsed.port < 65536 and 0 < parsed.target_port < 65536):
        raise OptionError(f"`--connect-to` cannot be read: {text}", hint=hint)
    return parsed


def parse_proxy(text: str) -> Proxy:
    """`http://[USER:PASSWORD@]HOST:PORT`. Raises OptionError, whose text never holds the password."""
    hint = "write http://HOST:PORT; credentials belong into RECONCILER_PROXY, as http://USER:PASSWORD@HOST:PORT"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise OptionError("`--proxy` cannot be read", hint=hint) from None
    is_bare = parts.path in ("", "/") and not parts.query and not parts.fragment
    if parts.scheme != "http" or not parts.hostname or not port or not is_bare or not text.isprintable():
        raise OptionError("`--proxy` cannot be read", hint=hint)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if parts.username is not None and (":" in user or not f"{user}{password}".isprintable()):
        raise OptionError("`--proxy` cannot be read: a user name with a colon, or control characters", hint=hint)
    return Proxy(parts.hostname, port, (user, password) if parts.username is not None else None)


def parse_only_host(text: str) -> str:
    """A host name or `*.example.com`, in lower case without a trailing dot. Raises OptionError."""
    item = text.lower().removesuffix(".")
    name = item.removeprefix("*.")
    labels = name.split(".")
    if not name.isascii() or len(labels) < 2 or not all(label.replace("-", "a").isalnum() for label in labels):
        hint = "write a host name like hooks.example.com, or *.example.com for the names under a domain"
        raise OptionError(f"`--only-host` cannot be read: {text[:100]}", hint=hint)
    return item


def parse_listen(text: str) -> tuple[str, int]:
    """`ADDRESS:PORT`, an IPv6 ADDRESS in brackets; port 0 lets the system choose. Raises OptionError."""
    address, _, port = text.rpartition(":")
    is_bracketed = address[:1] == "[" and address[-1:] == "]" and ":" in address
    host = address[1:-1] if is_bracketed else address
    is_host = is_bracketed or not set(host) & set("[]:")
    is_port = port.isascii() and port.isdigit() and int(port[:6]) < 65536
    if not host or not is_host or not is_port:
        hint = "write ADDRESS:PORT, like 127.0.0.1:8420 or [::1]:8420"
        raise OptionError(f"`--listen` cannot be read: {text}", hint=hint)
    return host, int(port)
