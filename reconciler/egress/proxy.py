"""A tunnel through the operator's HTTP proxy (CONNECT: RFC 9110, section 9.3.6). Called by `egress.dial`.

It runs before TLS on a connected socket, so both transports have it and the receiver's certificate is checked as ever.
Which address the receiver has is the proxy's to resolve and to judge.
"""

import asyncio
import re
import socket
from http import HTTPStatus
from typing import Final

from reconciler.request.authorize import basic
from reconciler.settings import Proxy

HEAD_MAX: Final = 16 * 1024  # bytes of the proxy's answer

_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})(?: |\r)")


class TunnelError(OSError):
    """The proxy answered, but with no tunnel."""

    def __init__(self, fact: str) -> None:
        super().__init__(fact)
        self.strerror = fact


async def open_tunnel(sock: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    """Return once what is written to the socket reaches `host`. Raises OSError."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, _request(proxy, host, port))
    head = bytearray()
    while b"\r\n\r\n" not in head:
        if len(head) > HEAD_MAX:
            raise TunnelError("its answer is too long")
        data = await loop.sock_recv(sock, 4096)
        if not data:
            raise TunnelError("it closed the connection")
        head += data
    _check(bytes(head))


def _request(proxy: Proxy, host: str, port: int) -> bytes:
    lines = [f"CONNECT {host}:{port} HTTP/1.1", f"Host: {host}:{port}"]
    if proxy.credentials is not None:
        lines.append(f"Proxy-Authorization: Basic {basic(*proxy.credentials)}")
    return "\r\n".join((*lines, "", "")).encode("ascii")


def _named(status: int) -> str:
    """A status with its own name, not the proxy's words: they may repeat what it was sent, credentials included."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _check(head: bytes) -> None:
    """Raise TunnelError for what is no 2xx, and for bytes behind it: TLS begins with ours."""
    status = _STATUS.match(head)
    if status is None:
        raise TunnelError("its answer is not HTTP/1.1")
    if status[1][:1] != b"2":
        raise TunnelError(f"it answered {_named(int(status[1]))}")
    if not head.endswith(b"\r\n\r\n") or head.count(b"\r\n\r\n") > 1:
        raise TunnelError("it speaks before the receiver was spoken to")
