"""The page's way in and out: a form that takes a token, the session's cookie, a button that ends it.

Mounted by `web.app` where the daemon has tokens; `web.access` shows the form to whoever has no session. A token is in
no URL, cookie or log: it is judged once, and what the browser keeps is the session's id.
"""

import time
from collections.abc import Callable
from math import ceil
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from reconciler.observe.log import log
from reconciler.web.access import CHALLENGE
from reconciler.web.form import fields_of, form_of
from reconciler.web.guard import LOGIN_PATH, LOGOUT_PATH
from reconciler.web.pages import Pages
from reconciler.web.session import Sessions, cookie_name, session_of
from reconciler.web.throttle import Throttle
from reconciler.web.token import TOKEN_MAX_CHARACTERS, Role, Token, Tokens

NEXT_MAX_CHARACTERS: Final = 2_048
UNKNOWN: Final = "The daemon does not know this token."
MISSING: Final = "Paste a token first."


class Login:
    """The endpoints, and the form that others show. `clock` gives seconds that only grow."""

    def __init__(
        self, *, tokens: Tokens, sessions: Sessions, pages: Pages, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tokens = tokens
        self._sessions = sessions
        self._pages = pages
        self._clock = clock
        self._throttle = Throttle()

    def routes(self) -> list[Route]:
        """What to mount."""
        return [
            Route(LOGIN_PATH, self.show, methods=["GET"]),
            Route(LOGIN_PATH, self.log_in, methods=["POST"]),
            Route(LOGOUT_PATH, self.log_out, methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        """The form; on to the page for who is logged in already."""
        following = own_path(request.query_params.get("next", ""))
        if session_of(request) is not None:
            return RedirectResponse(following, 303)
        return self.form(request, following=following)

    def entrance(self, request: Request) -> Response:
        """401 with the form, in the place of a page that wants a session; it leads back there."""
        path, query = (request.scope[key].decode("latin-1") for key in ("raw_path", "query_string"))
        asked = f"{path}?{query}" if query and request.method != "POST" else path
        return self.form(request, 401, following=own_path(asked))

    def forbidden(self, request: Request, detail: str) -> Response:
        """The page for a session that may not do this."""
        return self._pages.error(request, 403, detail)

    def form(self, request: Request, status: int = 200, *, following: str, error: str = "", wait: int = 0) -> Response:
        """The form, with what was wrong; `wait` is how many seconds no try is judged."""
        headers = {"retry-after": f"{wait}"} if wait else {}
        if status == 401:
            headers["www-authenticate"] = CHALLENGE  # RFC 9110, section 15.5.2
        is_from_afar = request.headers.get("sec-fetch-site") == "cross-site"
        return self._pages.render(
            request, "login.html", status, headers, following=following, error=error, is_from_afar=is_from_afar
        )

    async def log_in(self, request: Request) -> Response:
        """Judge a token, begin a session, lead on; a session that the browser had ends."""
        fields = await fields_of(request)
        if isinstance(fields, Response):
            return fields
        following, presented = own_path(fields.get("next", "")), fields.get("token", "").strip()
        address, now = request.client.host if request.client else "", self._clock()
        wait = ceil(self._throttle.wait_seconds(address, now=now))
        if wait:
            error = f"Too many wrong tokens were tried. Try again in {wait} s."
            return self.form(request, 429, following=following, error=error, wait=wait)
        if not presented:
            return self.form(request, 422, following=following, error=MISSING)
        token = self._tokens.find(presented) if len(presented) <= TOKEN_MAX_CHARACTERS else None
        if token is None:
            self._throttle.count(address, now=now)
            log("web.login_refused", address=address, token=None)
            return self.form(request, 401, following=following, error=UNKNOWN)
        if Role.READ not in token.roles:
            log("web.login_refused", address=address, token=token.name)
            error = f"The token {token.name} may not read, so it cannot see the page."
            return self.form(request, 403, following=following, error=error)
        return self._begin(request, token, following, address)

    def _begin(self, request: Request, token: Token, following: str, address: str) -> Response:
        name = cookie_name(request)
        self._sessions.end(request.cookies.get(name, ""))
        response = RedirectResponse(following, 303)
        response.set_cookie(
            name, self._sessions.begin(token), path="/", httponly=True, samesite="strict", secure=_is_secure(request)
        )
        log("web.logged_in", token=token.name, address=address)
        return response

    async def log_out(self, request: Request) -> Response:
        """End the session."""
        form = await form_of(request)
        if isinstance(form, Response):
            return form if session_of(request) is not None else RedirectResponse(LOGIN_PATH, 303)
        name = cookie_name(request)
        self._sessions.end(request.cookies.get(name, ""))
        response = RedirectResponse(LOGIN_PATH, 303)
        response.delete_cookie(name, path="/", httponly=True, samesite="strict", secure=_is_secure(request))
        log("web.logged_out", token=form.session.token.name)
        return response


def own_path(text: str) -> str:
    """A page of ours to go on to: `text` where it is the path of one, else the first page. Never a way elsewhere."""
    is_path = text.startswith("/") and not text.startswith("//") and len(text) <= NEXT_MAX_CHARACTERS
    # browsers read a backslash as a slash, and pass over tabs and line ends (WHATWG URL, section 4.4)
    if not is_path or "\\" in text or not text.isprintable():
        return "/"
    try:
        parts = urlsplit(text)
    except ValueError:
        return "/"
    is_page = not parts.path.startswith(("/v1/", "/static/", LOGIN_PATH, LOGOUT_PATH))
    return text if is_page and not parts.scheme and not parts.netloc else "/"


def _is_secure(request: Request) -> bool:
    return request.url.scheme == "https"
