"""Sessions of people who logged in to the page. Begun by `web.login`, asked for by `web.access` at each request.

Kept in memory, so they end with the daemon. A session is its token's: who takes the token from the tokens file, or
gives the entry another one, ends its sessions, and roles are those that the file gives now. Of a session's id only the
digest is kept. Seconds are those of a steady clock.
"""

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

from reconciler.web.token import Role, Token, Tokens

IDLE_SECONDS: Final = 30 * 60.0  # without a request of a person: whoever left is logged out
LIFE_SECONDS: Final = 12 * 3600.0  # a working day, however busy
PER_TOKEN_MAX: Final = 20  # the one that was used least recently ends for a new one
SESSIONS_MAX: Final = 1_000
ID_MAX_CHARACTERS: Final = 128  # of what a cookie may hold before it is hashed
SESSION_KEY: Final = "reconciler.session"  # in the ASGI scope


@dataclass(slots=True)
class Session:
    """One login: `token` is the entry that it was made with, as the file has it now; `form_token` stands in every form
    of its pages; `notice` is told on its next page, once."""

    token: Token
    form_token: str
    began_at: float
    used_at: float
    notice: str = ""

    @property
    def may_operate(self) -> bool:
        """Whether buttons that change something are shown."""
        return Role.OPERATE in self.token.roles

    def take_notice(self) -> str:
        """What is to be told, which is forgotten then."""
        told, self.notice = self.notice, ""
        return told


class Sessions:
    """All sessions of one daemon. `clock` gives seconds that only grow."""

    def __init__(self, tokens: Tokens, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._tokens = tokens
        self._clock = clock
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()  # by the digest of the id, used last at the end

    def begin(self, token: Token) -> str:
        """A new session; returns its id, which nobody can guess."""
        now = self._clock()
        self._forget(now, token)
        id_ = secrets.token_urlsafe(32)
        self._sessions[_digest(id_)] = Session(token, secrets.token_urlsafe(32), now, now)
        return id_

    def find(self, id_: str, *, is_use: bool = True) -> Session | None:
        """The session with this id, if it has not ended. A page that refreshes itself is no use of it."""
        if len(id_) > ID_MAX_CHARACTERS:
            return None
        key = _digest(id_)
        session = self._sessions.get(key)
        if session is None:
            return None
        now = self._clock()
        token = None if _is_over(session, now) else self._tokens.current(session.token)
        if token is None or Role.READ not in token.roles:
            del self._sessions[key]
            return None
        session.token = token
        if is_use:
            session.used_at = now
            self._sessions.move_to_end(key)
        return session

    def end(self, id_: str) -> None:
        """Forget a session."""
        self._sessions.pop(_digest(id_[:ID_MAX_CHARACTERS]), None)

    def __len__(self) -> int:
        return len(self._sessions)

    def _forget(self, now: float, token: Token) -> None:
        """Make room for one more session of a token."""
        for key in [key for key, session in self._sessions.items() if _is_over(session, now)]:
            del self._sessions[key]
        own = [key for key, session in self._sessions.items() if session.token.name == token.name]
        for key in own[: max(0, len(own) - PER_TOKEN_MAX + 1)]:
            del self._sessions[key]
        while len(self._sessions) >= SESSIONS_MAX:
            self._sessions.popitem(last=False)


def session_of(request: Request) -> Session | None:
    """The session that asks; None where it is a program, or the daemon has no tokens."""
    session: Session | None = request.scope.get(SESSION_KEY)
    return session


def cookie_name(request: Request) -> str:
    """The cookie of this daemon's sessions. Browsers keep cookies by host, not by port, so the port is in the name: two
    daemons on one host do not log each other's people out. `__Host-` is kept to TLS and to one host (RFC 6265bis,
    4.1.3.2)."""
    prefix = "__Host-" if request.url.scheme == "https" else ""
    port = request.headers.get("host", "").rpartition(":")[2]
    return f"{prefix}reconciler-{port}" if port.isascii() and port.isdigit() else f"{prefix}reconciler"


def _is_over(session: Session, now: float) -> bool:
    return now - session.used_at >= IDLE_SECONDS or now - session.began_at >= LIFE_SECONDS


def _digest(id_: str) -> bytes:
    return hashlib.sha256(id_.encode("utf-8", "surrogatepass")).digest()
