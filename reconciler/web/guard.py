"""What every request passes before it is looked at, and every answer carries: the daemon's shield against browsers.

Without tokens the daemon trusts who can reach loopback, and a browser can: by a name that someone rebinds to 127.0.0.1,
or by a form or script of another site. So a request must name us by a loopback name or by the address we listen on,
and nothing that changes anything is taken from a browser.
"""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reconciler.source.problem import problem_response

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})  # RFC 9110, section 9.2.1
SECURITY_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'self'; script-src 'none'; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Guard:
    """ASGI middleware: judge Host and Origin, add the security headers. `listen` is the daemon's base URL."""

    def __init__(self, app: ASGIApp, *, listen: str = "") -> None:
        self._app = app
        self._listen_host = urlsplit(listen).hostname or ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        headers = Headers(scope=scope)
        refusal = self._refusal(scope["method"], headers)
        app = self._app if refusal is None else problem_response(*refusal, headers={"connection": "close"})
        await app(scope, receive, send_guarded)

    def _refusal(self, method: str, headers: Headers) -> tuple[int, str] | None:
        """Status and reason where the request is refused."""
        if not self._is_our_name(headers.getlist("host")):
            return 421, "this daemon does not answer to the name in `Host`"
        if method not in SAFE_METHODS and ("origin" in headers or "sec-fetch-site" in headers):
            return 403, "nothing is changed at a browser's request"
        return None

    def _is_our_name(self, hosts: Sequence[str]) -> bool:
        """Whether the one Host names loopback or the address we listen on; the port may be that of a tunnel."""
        if len(hosts) != 1:
            return False
        try:
            parts = urlsplit(f"//{hosts[0]}")
            host = parts.hostname or ""
            is_plain = parts.netloc == hosts[0] and "@" not in hosts[0] and (parts.port or 1) > 0
        except ValueError:
            return False
        return is_plain and (host == "localhost" or _is_loopback(host) or host == self._listen_host != "")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
