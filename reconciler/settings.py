"""The operator's settings as values: read by `cli` only, passed inward as arguments."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

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
