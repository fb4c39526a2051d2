"""How a daemon on this machine is: one request to `/healthz` or `/readyz`, without a token. Called by `cli.health`.

For what watches over a container, every few seconds: with the standard library alone, since httpx takes longer to
import than the daemon to answer.
"""

import json
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from reconciler.client.connection import DaemonError

TIMEOUT_SECONDS: Final = 5.0
ANSWER_MAX_BYTES: Final = 64 * 1024
WILDCARDS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # a daemon that listens everywhere is on loopback too


@dataclass(frozen=True, slots=True)
class Served:
    """Where a daemon listens; with TLS the certificate that it serves, and a name of the certificate."""

    host: str
    port: int
    certificate: Path | None = None
    name: str = ""

    @property
    def address(self) -> str:
        """The host on this machine."""
        return WILDCARDS.get(self.host, self.host)

    @property
    def url(self) -> str:
        """The base URL on this machine."""
        scheme = "http" if self.certificate is None else "https"
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{scheme}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Health:
    """What a daemon answered; `facts` are those of the endpoint."""

    status: int
    facts: dict[str, Any]

    @property
    def is_well(self) -> bool:
        """Whether the daemon says so itself."""
        return self.status == 200


def ask(served: Served, path: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> Health:
    """The answer to `GET path`. Raises DaemonError where there is none, or not from this certificate's holder."""
    import http.client

    connection = http.client.HTTPConnection(served.address, served.port, timeout=timeout_seconds)
    try:
        connection.sock = _connect(served, timeout_seconds)
        connection.request("GET", path)
        answer = connection.getresponse()
        return Health(answer.status, _facts(answer.read(ANSWER_MAX_BYTES)))
    except ssl.SSLCertVerificationError as exc:
        hint = "is --tls-cert the daemon's? it takes a renewed one within seconds"
        reason = exc.verify_message.lower().rstrip(".")
        raise DaemonError(f"{served.url} serves another certificate, or one that is void: {reason}", hint=hint) from exc
    except ssl.SSLError as exc:
        raise DaemonError(f"no TLS is spoken at {served.url}", hint="is --tls-cert the daemon's?") from exc
    except TimeoutError as exc:
        raise DaemonError(f"the daemon at {served.url} did not answer in {timeout_seconds:g} s") from exc
    except (OSError, http.client.HTTPException) as exc:
        raise DaemonError(f"no daemon answers at {served.url}", hint="is --listen the daemon's?") from exc
    finally:
        connection.close()


def _connect(served: Served, timeout_seconds: float) -> socket.socket:
    plain = socket.create_connection((served.address, served.port), timeout=timeout_seconds)
    if served.certificate is None:
        return plain
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # trust this very certificate, whoever has issued it
        context.load_verify_locations(served.certificate)
        return context.wrap_socket(plain, server_hostname=served.name)
    except BaseException:
        plain.close()
        raise


def _facts(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
