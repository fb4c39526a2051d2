"""How a daemon is reached: its address, the token, TLS, and what its refusals mean. Used by this package only.

httpx is imported when a request is made, not before. A token goes into one header and nowhere else; an address never
holds one, so that it may be shown.
"""

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from reconciler import VERSION
from reconciler.address import is_loopback
from reconciler.errors import (
    NotInStoreError,
    ReconcilerError,
    RefusedError,
    StalePlanError,
    StoreError,
)

if TYPE_CHECKING:
    import httpx

TIMEOUT_SECONDS: Final = 60.0
TOKEN_HINT: Final = "set RECONCILER_TOKEN to a token of the daemon's tokens file"


PROXY_STATUSES: Final = frozenset((502, 503, 504))  # what a proxy says when nothing, or nothing in time, is behind it
BEHIND_PROXY: Final = "where a proxy is in front, the daemon behind it does not answer: is it running?"
NAME_DAEMON: Final = (
    "name the daemon's own address; a proxy in front must pass the header on, and a daemon from before the API must be "
    "upgraded"
)


class DaemonError(StoreError):
    """The daemon cannot be reached, or refuses; `status` is its HTTP status, if it answered."""

    def __init__(self, message: str, *, status: int | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


@dataclass(frozen=True, slots=True)
class DaemonAddress:
    """A daemon's base URL with what is needed to ask it. Raises DaemonError for what is no such URL, or would carry a
    token in the clear."""

    url: str
    token: str | None = field(default=None, repr=False)
    ca_file: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", _judge_url(self.url))
        if self.token is not None:
            object.__setattr__(self, "token", _judge_token(self.token))

    def http_options(self) -> dict[str, Any]:
        """What an httpx client is made with. Raises DaemonError for authorities that cannot be read."""
        headers = {"user-agent": f"reconciler/{VERSION}"}
        if self.token is not None:
            headers["authorization"] = f"Bearer {self.token}"
        is_plain = self.url.startswith("http://")  # the scheme is in lower case by now
        verify = False if is_plain else self._tls()
        return {"headers": headers, "timeout": TIMEOUT_SECONDS, "trust_env": False, "verify": verify}

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self.ca_file is not None:
            try:
                context.load_verify_locations(self.ca_file)
            except (OSError, ssl.SSLError) as exc:
                hint = "name a PEM file by `--ca` or RECONCILER_CA"
                raise DaemonError(f"the authorities cannot be read: {self.ca_file}", hint=hint) from exc
        return context

    def unreachable(self, exc: Exception) -> DaemonError:
        """What a transport's error means, by its type and those of its causes."""
        import httpx

        causes = tuple(_causes(exc))
        # Five: the certificate does not convince; no TLS is spoken; nobody listens; it takes too long, or breaks off
        for cause in causes:
            if isinstance(cause, ssl.SSLCertVerificationError):
                hint = "trust its authority with `--ca FILE` or RECONCILER_CA, or use a name that the certificate has"
                reason = cause.verify_message.lower().rstrip(".")
                return DaemonError(f"the certificate of {self.url} is not trusted: {reason}", hint=hint)
        if any(isinstance(cause, ssl.SSLError) for cause in causes):
            return DaemonError(f"no TLS is spoken at {self.url}", hint="is it http://? that is for loopback only")
        if isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout):
            hint = "is the daemon running? `reconciler run` starts one, and its ready line says where"
            return DaemonError(f"no daemon answers at {self.url}", hint=hint)
        if isinstance(exc, httpx.TimeoutException):
            return DaemonError(f"the daemon at {self.url} did not answer in time")
        return DaemonError(f"the daemon at {self.url} did not answer: the connection broke off")

    def stranger(self, status: int, unknown: str) -> DaemonError:
        """What it means that no daemon has answered, but something else did. `unknown` is what to say where a proxy
        may have passed on what was to be done."""
        from reconciler.store.wire import API_HEADER

        fact = f"no daemon of ours answers at {self.url}: HTTP {status} without `{API_HEADER}`"
        hint = (unknown or BEHIND_PROXY) if status in PROXY_STATUSES else NAME_DAEMON
        return DaemonError(fact, status=status, hint=hint)


def problem_of(response: "httpx.Response") -> dict[str, Any]:
    """A refusal's problem details; empty where the body is none (a proxy's page)."""
    try:
        value = response.json()
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def refusal(response: "httpx.Response") -> ReconcilerError:
    """What an answer that is no success means. Says nothing that the daemon did not, and no token."""
    problem = problem_of(response)
    status = response.status_code
    detail = _text(problem, "detail") or response.reason_phrase or "no reason given"
    hint = _text(problem, "hint")
    match problem.get("code"):
        case "stale":
            return _stale(problem, detail, hint)
        case "refused":
            return RefusedError(detail, hint=hint)
        case "not_in_store":
            return NotInStoreError(detail, hint=hint)
    if status == 401:
        return DaemonError(f"the daemon refuses: {detail} (HTTP 401)", status=status, hint=TOKEN_HINT)
    return DaemonError(f"the daemon refuses: {detail} (HTTP {status})", status=status, hint=hint)


def _stale(problem: Mapping[str, Any], detail: str, hint: str) -> StalePlanError:
    base, live = problem.get("base_revision"), problem.get("live_revision")
    return StalePlanError(
        detail,
        base_revision=base if isinstance(base, int) else 0,
        live_revision=live if isinstance(live, int) else 0,
        hint=hint,
        is_used=problem.get("used") is True,
    )


def _text(problem: Mapping[str, Any], key: str) -> str:
    value = problem.get(key)
    return value if isinstance(value, str) else ""


def _judge_url(url: str) -> str:
    """The base URL, its scheme in lower case, without a slash at its end. What may hold a secret is not quoted."""
    form = "write it like https://reconciler.example.com, or http://127.0.0.1:8420 on this machine"
    try:
        parts = urlsplit(url)
        host, is_plain = parts.hostname or "", parts.scheme == "http"
        is_odd = (parts.port or 1) < 1 or bool(parts.query or parts.fragment)
    except ValueError:
        raise DaemonError("this is no daemon's address", hint=form) from None
    if "@" in parts.netloc:
        raise DaemonError("a daemon's address holds no user and no token", hint=TOKEN_HINT)
    is_odd |= not url.isascii() or not url.isprintable() or " " in url
    if parts.scheme not in ("http", "https") or not host or is_odd:
        raise DaemonError(f"this is no daemon's address: {url}", hint=form)
    if is_plain and not is_loopback(host):
        hint = "use https://; plain http:// would show the token to everybody on the way"
        raise DaemonError(f"http:// is for loopback only: {host}", hint=hint)
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _judge_token(token: str) -> str:
    """The token without white space around it. What is wrong with it is said without it."""
    stripped = token.strip()
    if not stripped or not stripped.isascii() or not stripped.isprintable() or " " in stripped:
        raise DaemonError("RECONCILER_TOKEN holds no bearer token", hint="it is one word of printable ASCII")
    return stripped


def _causes(exc: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = exc
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__
