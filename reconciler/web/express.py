"""The short way of an event: a small, plain request that is here to its end goes to intake without the application.

Made by `web.app`, asked by `web.protocol`, which answers. What may come in is judged by those that judge it on the long
way; what is refused, or not plain, goes the long way and is told there why. So nothing here has words of its own.
`read_whole` reads such a request without the parser of HTTP, where it comes in one piece.
"""

import re
from collections.abc import Callable
from typing import Final, Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from reconciler.source.answer import EVENTS_PATH, Content
from reconciler.source.http import HttpSource
from reconciler.web.access import bearer_of, role_for
from reconciler.web.guard import Guard
from reconciler.web.token import Tokens

METHOD: Final = b"POST"
TARGET: Final = EVENTS_PATH.encode("ascii")
# Of a body: a few events. In more the way is the least cost, and what is kept here, for a moment, no account knows.
WHOLE_MAX_BYTES: Final = 16 * 1024
# What says more about a request than who asks, about its body than its length and type, or anything of the connection.
UNPLAIN: Final = frozenset(
    {b"ce-id", b"content-encoding", b"expect", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)
WHOLE_HEAD_MAX_BYTES: Final = 4096  # of a head that is read here; a longer one is the parser's
FIELDS_MAX: Final = 100  # lines of a head beside the first, whoever reads it
_START: Final = b"%b %b HTTP/1.1\r\n" % (METHOD, TARGET)
# A line of a head that can be read in one way only; fewer names than RFC 9110 has, and no value of more than ASCII.
_LINE: Final = re.compile(rb"^([A-Za-z0-9-]+): ([!-~](?:[ -~]*[!-~])?)\r$", re.MULTILINE)

Address = tuple[str, int | None] | None


class Offer(Protocol):
    """The short way: see `Express.offer`."""

    def __call__(
        self,
        head: dict[bytes, bytes],
        body: bytes,
        *,
        server: Address,
        client: Address,
        reply: Callable[[Content], None],
    ) -> bool: ...


class Express:
    """ASGI application: the one given, with the short way beside it as `offer`, where `web.protocol` finds it."""

    def __init__(self, app: ASGIApp, *, guard: Guard, source: HttpSource, tokens: Tokens | None) -> None:
        self._app = app
        self._guard = guard
        self._source = source
        self._tokens = tokens
        self._role = role_for(METHOD.decode("ascii"), EVENTS_PATH)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    def offer(
        self,
        head: dict[bytes, bytes],
        body: bytes,
        *,
        server: Address,
        client: Address,
        reply: Callable[[Content], None],
    ) -> bool:
        """Take the events of a request whose headers, by name in lower case, say that it `is_plain`: `reply`, which
        must not raise, is called once, with the body of a 202 or with another answer. False: nothing has begun, the
        application is to answer."""
        sender = self._sender(head, server, client)
        if sender is None:
            return False
        content_type = head.get(b"content-type")
        return self._source.offer(
            body,
            key=head.get(b"idempotency-key"),
            content_type=None if content_type is None else content_type.decode("latin-1"),
            sender=sender,
            reply=reply,
        )

    def _sender(self, head: dict[bytes, bytes], server: Address, client: Address) -> str | None:
        """Who asks; None where the request must not come in, or that is not for here to tell."""
        if not self._guard.lets_in(head, server):
            return None
        if self._tokens is None:
            return client[0] if client else ""
        presented = bearer_of(head.get(b"authorization", b"").decode("latin-1"))
        token = None if presented is None else self._tokens.find(presented)
        return token.name if token is not None and self._role in token.roles else None


def read_whole(data: bytes) -> tuple[dict[bytes, bytes], bytes] | None:
    """The headers, by name in lower case, and the body of a plain request for intake that these bytes are, no more and
    no less; None for all else, which a parser of HTTP is to read."""
    start = len(_START)
    end = data.find(b"\r\n\r\n", start, WHOLE_HEAD_MAX_BYTES)
    if end < 0 or not data.startswith(_START):
        return None
    lines = data[start : end + 2]
    count = lines.count(b"\n")
    if count > FIELDS_MAX:
        return None
    head = {name.lower(): value for name, value in _LINE.findall(lines)}
    # each line is such a line, and none has the name of another
    if len(head) != count or not is_plain(head) or int(head[b"content-length"]) != len(data) - end - 4:
        return None
    return head, data[end + 4 :]


def is_plain(head: dict[bytes, bytes]) -> bool:
    """Whether a request's headers, by name in lower case and none of them twice, leave nothing to be judged that the
    short way does not."""
    if not UNPLAIN.isdisjoint(head) or head.get(b"connection", b"keep-alive").lower() != b"keep-alive":
        return False
    length = head.get(b"content-length", b"")
    return length.isdigit() and len(length) < 10 and 0 < int(length) <= WHOLE_MAX_BYTES
