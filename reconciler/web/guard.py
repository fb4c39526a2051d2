"""What every request passes before it is looked at, and every answer carries: the daemon's shield against browsers.

Without tokens the daemon trusts who can reach loopback, and a browser can: by a name that someone rebinds to 127.0.0.1,
or by a form or script of another site. So a request must name us by a loopback name, by an address of ours or by a name
of our certificate, and nothing that changes anything is taken from a browser, but the forms of our own pages where the
daemon has tokens. A client of another API is told so.
"""

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reconciler.address import is_loopback
from reconciler.source.problem import problem_response
from reconciler.store.wire import API_HEADER, API_NUMBER

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})  # RFC 9110, section 9.2.1
LOGIN_PATH: Final = "/login"
LOGOUT_PATH: Final = "/logout"
FORM_PATHS: Final = (LOGIN_PATH, LOGOUT_PATH, "/webhooks/", "/deliveries/")  # where forms of the page lead, or begin
MAPPED: Final = "::ffff:"  # an IPv4 address on a socket that takes both kinds (RFC 4291, section 2.5.5.2)
CLOSE: Final = {"connection": "close"}
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
API_HEADER_BYTES: Final = API_HEADER.lower().encode("latin-1")
_API_NUMBER: Final = API_NUMBER.encode("latin-1")
ADDED: Final = tuple(
    (name.encode("latin-1"), value.encode("latin-1"))
    for name, value in {**SECURITY_HEADERS, "cache-control": "no-store"}.items()
)
HOST_MAX: Final = 512  # characters: a name has 253 at most (RFC 1035, section 3.1), and a port


class Guard:
    """ASGI middleware: judge Host, Origin and the API's number, add the security headers. `listen` is the daemon's base
    URL, `names` are those of its certificate, `*.` standing for one label; `has_forms`: its pages have forms that
    change something."""

    def __init__(self, app: ASGIApp, *, listen: str = "", names: Collection[str] = (), has_forms: bool = False) -> None:
        self._app = app
        self._has_forms = has_forms
        self._names = frozenset({urlsplit(listen).hostname or "", *names}) - {""}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = with_ours(message.get("headers", ()))
            await send(message)

        await (self._refusal(scope) or self._app)(scope, receive, send_guarded)

    def lets_in(self, head: Mapping[bytes, bytes], server: tuple[str, int | None] | None) -> bool:
        """Whether a changing request with these headers, by name in lower case and none of them twice, is no browser's
        and would not be refused."""
        if b"origin" in head or b"sec-fetch-site" in head or head.get(API_HEADER_BYTES, _API_NUMBER) != _API_NUMBER:
            return False
        host = head.get(b"host")
        return host is not None and self._is_ours([host.decode("latin-1")], server)

    def _refusal(self, scope: Scope) -> Response | None:
        """The answer where the request is refused."""
        headers = Headers(scope=scope)
        if not self._is_ours(headers.getlist("host"), scope.get("server")):
            fact = "this daemon does not answer to the name in `Host`"
            hint = "ask by loopback, by the address it listens on, or by a name of its certificate"
            return problem_response(421, fact, hint=hint, headers=CLOSE)
        is_browser = "origin" in headers or "sec-fetch-site" in headers
        if scope["method"] not in SAFE_METHODS and is_browser and not self._is_own_form(scope, headers):
            return problem_response(403, "nothing is changed at a browser's request", headers=CLOSE)
        number = headers.get(API_HEADER, API_NUMBER)
        if number != API_NUMBER:
            fact = f"the client speaks version {number:.20} of the API, the daemon version {API_NUMBER}"
            hint = "use the reconciler that the daemon runs, or upgrade the daemon"
            return problem_response(400, fact, hint=hint, headers=CLOSE, code="api_version")
        return None

    def _is_own_form(self, scope: Scope, headers: Headers) -> bool:
        """Whether a browser says that a page of this very origin sends a form; another port is another origin."""
        if not self._has_forms or not scope["path"].startswith(FORM_PATHS):
            return False
        own = f"{scope.get('scheme', 'http')}://{headers['host']}".lower()
        sites = headers.getlist("sec-fetch-site")
        return headers.getlist("origin") == [own] and sites in ([], ["same-origin"])

    def _is_ours(self, hosts: list[str], server: tuple[str, int | None] | None) -> bool:
        """Whether the one Host names loopback, the address that the connection came in on, or one of our names; the
        port may be that of a tunnel."""
        if len(hosts) != 1 or len(hosts[0]) > HOST_MAX:
            return False
        host, is_ours = _judged_host(hosts[0])
        if not host or "*" in host:
            return False
        if is_ours or host in self._names or (server is not None and host == server[0].removeprefix(MAPPED)):
            return True
        _, _, domain = host.partition(".")
        return f"*.{domain}" in self._names


def with_ours(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers of an answer, those that it lacks added; the API's number is ours alone."""
    kept = [(name.lower(), value) for name, value in headers]
    names = {name for name, _ in kept}
    if API_HEADER_BYTES in names:
        kept = [item for item in kept if item[0] != API_HEADER_BYTES]
    return [*kept, (API_HEADER_BYTES, _API_NUMBER), *[item for item in ADDED if item[0] not in names]]


@lru_cache(maxsize=256)  # asked for each request, nearly always with the same
def _judged_host(text: str) -> tuple[str, bool]:
    """The host of a Host header, and whether it is loopback."""
    host = _host_of(text)
    return host, is_loopback(host)


def _host_of(text: str) -> str:
    """The host of a Host header in lower case; empty where the header is not just host and port."""
    try:
        parts = urlsplit(f"//{text}")
        is_plain = parts.netloc == text and "@" not in text and (parts.port or 1) > 0
        return (parts.hostname or "") if is_plain else ""
    except ValueError:
        return ""
