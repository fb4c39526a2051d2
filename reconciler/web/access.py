"""Who may ask for what, where the daemon has tokens: one role for every request, judged before the application sees it.

Stands between `web.guard` and the application. Programs send a bearer token; people have a session of the page, which
opens pages only, never `/v1/`. What is not spelt out here wants the role that is hardest to get.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from reconciler.observe.log import log
from reconciler.source.body import Body
from reconciler.source.http import CLAIM_KEY, SENDER_KEY
from reconciler.source.problem import problem_response
from reconciler.web.guard import LOGIN_PATH, LOGOUT_PATH, SAFE_METHODS
from reconciler.web.session import SESSION_KEY, Sessions, cookie_name, session_of
from reconciler.web.signature import claim_of, is_signed
from reconciler.web.token import Role, Token, Tokens

API_PATH: Final = "/v1/"
OPEN_PATHS: Final = frozenset(
    {
        *("/healthz", "/readyz"),  # what watches over the daemon has no token
        *(LOGIN_PATH, "/static/page.css", "/static/icon.svg"),  # nor has who is about to log in
    }
)
ROLES: Final[dict[tuple[str, str], Role | None]] = {
    ("POST", LOGIN_PATH): None,
    ("POST", LOGOUT_PATH): None,
    ("POST", "/v1/events"): Role.INGEST,
    ("POST", "/v1/revisions"): Role.APPLY,
    ("POST", "/v1/holds"): Role.APPLY,
    ("DELETE", "/v1/holds"): Role.APPLY,
    ("POST", "/v1/deliveries/survey"): Role.READ,  # it changes nothing
    ("POST", "/v1/deliveries/replay"): Role.OPERATE,
    ("POST", "/v1/deliveries/cancel"): Role.OPERATE,
    ("POST", "/v1/webhooks/{name}/pause"): Role.OPERATE,
    ("POST", "/v1/webhooks/{name}/resume"): Role.OPERATE,
    ("POST", "/v1/webhooks/{name}/compact"): Role.OPERATE,
    ("POST", "/v1/events/replay"): Role.OPERATE,
    ("POST", "/v1/audit/tests"): Role.OPERATE,
    ("POST", "/v1/audit/verifications"): Role.APPLY,
    ("POST", "/v1/webhooks/{name}/trigger"): Role.OPERATE,
    ("POST", "/webhooks/{name}/pause"): Role.OPERATE,
    ("POST", "/webhooks/{name}/resume"): Role.OPERATE,
    ("POST", "/deliveries/{id:path}/replay"): Role.OPERATE,
    ("POST", "/deliveries/{id:path}/cancel"): Role.OPERATE,
}
TOKEN_KEY: Final = "reconciler.token"  # in the ASGI scope: the token that asks
CHALLENGE: Final = 'Bearer realm="reconciler"'  # RFC 6750, section 3


class Doorway(Protocol):
    """What a person sees who is not let through."""

    def entrance(self, request: Request) -> Response:
        """The way to a session."""

    def forbidden(self, request: Request, detail: str) -> Response:
        """That the session is not enough."""


class Access:
    """ASGI middleware: 401 without a known token, 403 without the role. Events may be signed instead; `now` gives
    milliseconds since the epoch."""

    def __init__(
        self, app: ASGIApp, *, tokens: Tokens, sessions: Sessions, doorway: Doorway, now: Callable[[], int]
    ) -> None:
        self._app = app
        self._tokens = tokens
        self._sessions = sessions
        self._doorway = doorway
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        wanted = role_for(scope["method"], scope["path"])
        request = Request(scope, receive)
        self._resume_session(request)
        if wanted is None:
            await self._app(scope, receive, send)
            return
        signers = self._tokens.signers() if wanted is Role.INGEST and is_signed(request.headers) else ()
        refusal = self._claim(request, signers) if signers else self._refusal(request, wanted)
        if refusal is None:
            await self._app(scope, receive, send)
            return
        await Body(request).discard()
        await refusal(scope, receive, send)

    def _resume_session(self, request: Request) -> None:
        """Adds the session that a person's browser names. A request with a token of its own has none."""
        id_ = None if request.scope["path"].startswith(API_PATH) else request.cookies.get(cookie_name(request))
        if not id_ or _presented(request.headers) is not None:
            return
        session = self._sessions.find(id_, is_use="refresh" not in request.query_params)
        if session is not None:
            request.scope[SESSION_KEY] = session

    def _claim(self, request: Request, signers: Sequence[Token]) -> Response | None:
        """The answer to a request whose signature cannot be right; else what it claims is added, to be proved."""
        claim = claim_of(request, signers, token_key=TOKEN_KEY, now=self._now() // 1000)
        if isinstance(claim, Response):
            return claim
        request.scope[CLAIM_KEY] = claim
        return None

    def _refusal(self, request: Request, wanted: Role) -> Response | None:
        """The answer to a request that is refused; to one that is not, its token is added."""
        presented = _presented(request.headers)
        session = session_of(request)
        found = None if presented is None else self._tokens.find(presented)
        token = found if session is None else session.token
        if token is not None and wanted in token.roles:
            request.scope[TOKEN_KEY] = token
            request.scope[SENDER_KEY] = token.name
            return None
        status = 401 if token is None else 403
        log(
            "web.denied",
            status=status,
            method=request.method,
            path=request.url.path,
            role=wanted,
            token=None if token is None else token.name,
        )
        if token is not None and session is not None:
            return self._doorway.forbidden(request, f"the token `{token.name}` has not the role `{wanted.value}`")
        if token is not None:
            return _forbidden(token, wanted)
        if presented is None and _is_person(request):
            return self._doorway.entrance(request)
        return _unauthorized(request, is_unknown=presented is not None)


def role_for(method: str, path: str) -> Role | None:
    """The role that a request wants; None: everybody may."""
    if method in SAFE_METHODS:
        return None if path in OPEN_PATHS else Role.READ
    return ROLES.get((method, path), Role.OPERATE)


def token_of(request: Request) -> Token | None:
    """The token that asks; None where the daemon has no tokens."""
    token: Token | None = request.scope.get(TOKEN_KEY)
    return token


def _is_person(request: Request) -> bool:
    """Whether a browser asks for a page, or sends a form of one."""
    is_page = not request.scope["path"].startswith(API_PATH) and request.method in ("GET", "HEAD", "POST")
    return is_page and "text/html" in request.headers.get("accept", "")


def _presented(headers: Headers) -> str | None:
    """The one bearer token of a request (RFC 6750, section 2.1); never taken from a query or a form."""
    values = headers.getlist("authorization")
    return bearer_of(values[0]) if len(values) == 1 else None


def bearer_of(authorization: str) -> str | None:
    """The bearer token that an Authorization header holds."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def _unauthorized(request: Request, *, is_unknown: bool) -> Response:
    headers = {"www-authenticate": CHALLENGE + (', error="invalid_token"' if is_unknown else ""), "connection": "close"}
    detail = "the daemon does not know this token" if is_unknown else "the daemon wants a bearer token"
    hint = "send `Authorization: Bearer TOKEN`; the command line takes the token from RECONCILER_TOKEN"
    if request.url.path.startswith(API_PATH):
        return problem_response(401, detail, hint=hint, headers=headers)
    return PlainTextResponse(f"401 Unauthorized: {detail}\n\nhint: {hint}\n", 401, headers=headers)


def _forbidden(token: Token, wanted: Role) -> Response:
    scope = f'{CHALLENGE}, error="insufficient_scope", scope="{wanted.value}"'
    return problem_response(
        403,
        f"the token `{token.name}` has not the role `{wanted.value}`",
        hint=f"it has {', '.join(sorted(token.roles))}; the operator gives roles in the tokens file",
        headers={"www-authenticate": scope, "connection": "close"},
        role=wanted.value,
    )
