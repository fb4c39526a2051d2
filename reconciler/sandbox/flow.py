"""What Okta Workflows says to a request for an API endpoint, before any script has its say.

Called by `okta` once a request's head is read; pure but for what it counts. Sources: Okta's help on API endpoints and
system limits (methods, client token by header or query and never both, ten invocations per second and flow), Apono's
page (the client token where the alias goes, no `/invoke`). Okta documents no table of error codes for invocations; the
codes here are what HTTP says (RFC 9110), the 429 has the body and headers of Okta's export cards.
"""

import hmac
import json
import math
import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NoReturn
from urllib.parse import unquote, unquote_plus

import orjson

from reconciler.errors import OptionError
from reconciler.sandbox.exchange import TOKEN_PATH, Answer, Invocation, Request

DEFAULT_HOST: Final = "acme.workflows.okta.com"
RATE_PER_SECOND: Final = 10  # Okta's system limit on invocations of one flow
WINDOW_SECONDS: Final = 1.0
BODY_MAX_BYTES: Final = 4 * 1024 * 1024  # Okta documents none; far above any rendered event
TOKEN_HEADER: Final = "x-api-client-token"
TOKEN_QUERY: Final = "clientToken"
EXECUTION_HEADER: Final = "x-okta-workflows-execution-id"  # Okta returns the id in a header it does not name
MASK: Final = "***"

_PATH: Final = re.compile(r"/api/flo/([^/]+)(?:/invoke)?")
_ALIAS: Final = re.compile(r"[0-9a-f]{32}", re.IGNORECASE)  # what Okta gives out
_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")  # what --flow takes for an alias or a token
_HOST: Final = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_TOKEN_LIKE: Final = re.compile(r"[0-9a-f]{64}", re.IGNORECASE)
_JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Flow:
    """One API endpoint; without a token it is public."""

    alias: str
    token: str | None = None
    is_oauth: bool = False  # secured with OAuth 2.0


def parse_flow(text: str) -> Flow:
    """`ALIAS` or `ALIAS=TOKEN`. Raises OptionError, which never shows a token."""
    alias, equals, token = text.partition("=")
    if not _NAME.fullmatch(alias) or (equals and not _NAME.fullmatch(token)):
        raise OptionError(
            f"`--flow` cannot be read: {alias}{'=***' if equals else ''}",
            hint="write ALIAS or ALIAS=TOKEN, both of letters, digits, - and _",
        )
    return Flow(alias, token if equals else None)


def parse_host(text: str) -> str:
    """A host name in lower case, without a trailing dot. Raises OptionError."""
    host = text.lower().removesuffix(".")
    if not _HOST.fullmatch(host):
        raise OptionError(f"`--host` is not a host name: {text}", hint=f"write a name, like {DEFAULT_HOST}")
    return host


class Flows:
    """The endpoints and how often each was invoked. Without any flow given, every alias of 32 hex digits is public."""

    def __init__(
        self,
        flows: Iterable[Flow],
        *,
        hosts: Iterable[str],
        rate: int | None,
        refuse_bearer: Callable[[Request, float], Answer | None] | None = None,
    ) -> None:
        """`refuse_bearer` judges the access token of a request for a flow that is secured with OAuth 2.0."""
        self._flows = tuple(flows)
        self._judge_bearer = refuse_bearer
        self._by_alias = {flow.alias: flow for flow in self._flows}
        # of flows that share a token, the first is what the token names where an alias goes
        self._by_token = {flow.token: flow for flow in reversed(self._flows) if flow.token}
        self._hosts = frozenset(parse_host(host) for host in hosts)
        self._rate = rate
        self._recent: dict[str, deque[float]] = {}
        self._counts: dict[str, int] = {}
        if len(self._by_alias) < len(self._flows):
            raise OptionError("`--flow` names an alias twice", hint="give every flow an alias of its own")
        if self._by_token.keys() & self._by_alias.keys():
            raise OptionError("`--flow` has a token that is also an alias", hint="which flow it opens is unclear")

    def admit(self, request: Request, *, now: float, epoch: float) -> Invocation | Answer:
        """The invocation that a request's head amounts to, or the refusal; `now` is monotonic, both are seconds.

        In order: host 400, 421; a request for an access token, which `oauth` judges; path 404; method 405; alias 404;
        client token 400, 401; access token 401, 403; rate 429. Only what is let through counts against the rate.
        """
        refusal = self._refuse_host(request)
        if refusal is None and request.path == TOKEN_PATH:
            return self._invocation(TOKEN_PATH)
        refusal = refusal or self._refuse_method(request)
        if refusal is not None:
            return refusal
        flow = self.find(request)
        if flow is None:
            return _refuse(404, "no flow with this alias, or it is not turned on")
        if flow.token is not None and (refusal := self._refuse_token(request, flow.token)) is not None:
            return refusal
        if flow.is_oauth and (refusal := self._refuse_bearer(request, epoch)) is not None:
            return refusal
        if (wait := self._wait_seconds(flow.alias, now)) > 0:
            return self._too_many(wait, epoch)
        return self._invocation(flow.alias)

    def _invocation(self, alias: str) -> Invocation:
        self._counts[alias] = number = self._counts.get(alias, 0) + 1
        return Invocation(alias, number)

    def find(self, request: Request) -> Flow | None:
        """The flow that the path names, by alias or by client token."""
        match = _PATH.fullmatch(request.path)
        if match is None:
            return None
        named = match[1]
        if not self._flows:
            return Flow(named) if _ALIAS.fullmatch(named) else None
        return self._by_alias.get(named) or self._by_token.get(named)

    def mask(self, request: Request) -> tuple[str, dict[str, str]]:
        """The target and the headers of a request without client tokens or credentials."""
        path, mark, query = request.target.partition("?")
        masked = "/".join(MASK if self._is_token(unquote(segment)) else segment for segment in path.split("/"))
        if mark:
            masked += mark + "&".join(_mask_pair(pair) for pair in query.split("&"))
        headers = {
            name: MASK if name in (TOKEN_HEADER, "authorization") else value for name, value in request.headers.items()
        }
        return masked, headers

    def _is_token(self, segment: str) -> bool:
        return segment in self._by_token or _TOKEN_LIKE.fullmatch(segment) is not None

    def _refuse_host(self, request: Request) -> Answer | None:
        if "host" not in request.headers:
            return _refuse(400, "no Host header")  # RFC 9112, section 3.2
        host = request.headers["host"].rpartition("]")[2].partition(":")[0].lower().rstrip(".")
        return None if host in self._hosts else _refuse(421, "no such host here")

    def _refuse_method(self, request: Request) -> Answer | None:
        if not _PATH.fullmatch(request.path):
            return _refuse(404, "not an API endpoint")
        if request.method not in ("GET", "POST"):
            return _refuse(405, "only GET and POST", allow="GET, POST")
        return None

    def _refuse_token(self, request: Request, token: str) -> Answer | None:
        header = request.headers.get(TOKEN_HEADER)
        query = [value for name, value in request.query if name == TOKEN_QUERY]
        in_path = (match := _PATH.fullmatch(request.path)) is not None and match[1] == token
        if len(query) + (header is not None) > 1:
            return _refuse(400, "a client token by header and by query: send one")
        given = [*query, *([header] if header is not None else []), *([token] if in_path else [])]
        if not given:
            return _refuse(401, "no client token")
        if not all(hmac.compare_digest(item.encode(), token.encode()) for item in given):
            return _refuse(401, "not the client token of this flow")
        return None

    def _refuse_bearer(self, request: Request, epoch: float) -> Answer | None:
        return None if self._judge_bearer is None else self._judge_bearer(request, epoch)

    def _wait_seconds(self, alias: str, now: float) -> float:
        """How long until the flow may be invoked again; 0 takes the place."""
        if self._rate is None:
            return 0.0
        recent = self._recent.setdefault(alias, deque())
        while recent and recent[0] <= now - WINDOW_SECONDS:
            recent.popleft()
        if len(recent) >= self._rate:
            return recent[0] + WINDOW_SECONDS - now
        recent.append(now)
        return 0.0

    def _too_many(self, wait: float, epoch: float) -> Answer:
        headers = {
            "content-type": "text/plain; charset=utf-8",
            "retry-after": str(math.ceil(wait)),
            "x-rate-limit-limit": str(self._rate),
            "x-rate-limit-remaining": "0",
            "x-rate-limit-reset": str(math.ceil(epoch + wait)),
        }
        return Answer(429, headers, b"Too many requests.")


def run(request: Request, execution_id: str) -> Answer:
    """What the flow itself answers: 200, or 400 if the body is not the JSON that its content type promises."""
    if request.body and request.has_json_type and not _is_json(request.body):
        return _refuse(400, "the body is not JSON")
    body = orjson.dumps({"status": "ok", "execution_id": execution_id})
    return Answer(200, {"content-type": _JSON, EXECUTION_HEADER: execution_id}, body)


def refuse_size() -> Answer:
    """413, for a body over BODY_MAX_BYTES."""
    return _refuse(413, f"the body is over {BODY_MAX_BYTES} bytes")


def _refuse(status: int, message: str, **headers: str) -> Answer:
    return Answer(status, {"content-type": _JSON, **headers}, orjson.dumps({"error": message}))


def _mask_pair(pair: str) -> str:
    name = pair.partition("=")[0]
    return f"{name}={MASK}" if unquote_plus(name).lower() == TOKEN_QUERY.lower() else pair


def _is_json(body: bytes) -> bool:
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return _is_unusual_json(body)
    return True


def _is_unusual_json(body: bytes) -> bool:
    """orjson refuses escaped lone surrogates, which RFC 8259 allows."""
    try:
        json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(text)
