"""What the endpoints that change something ask of a request: its body, bounded in size and time, and who sends it."""

import asyncio
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from reconciler.models.audit import Warrant
from reconciler.source.body import Body
from reconciler.source.problem import problem_response
from reconciler.web.access import token_of

BODY_SECONDS: Final = 120.0  # for a body to arrive
CLOSE: Final = {"connection": "close"}
NO_TOKEN: Final = "without a token"  # the principal where a daemon has no tokens


async def content_of(body: Body, *, max_bytes: int, hint: str = "") -> bytes | Response:
    """A request's body, or the answer to one that is too large, too slow or never ends."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            content = await body.whole(max_bytes=max_bytes)
    except TimeoutError:
        return problem_response(408, f"the body did not arrive within {BODY_SECONDS:g} s", headers=CLOSE)
    except ClientDisconnect:
        return Response(status_code=400, headers=CLOSE)  # nobody is there to read it
    if content is None:
        await body.discard()
        return too_large(max_bytes, hint=hint)
    return content


def too_large(max_bytes: int, *, hint: str = "") -> Response:
    """The answer to a body beyond its limit."""
    fact = f"the body has more than {max_bytes} bytes"
    return problem_response(413, fact, hint=hint, headers=CLOSE, code="too_large")


def warrant_of(request: Request, *, at: int, behalf: str = "", reason: str = "") -> Warrant:
    """What the audit log says of who asks: the token's name, where the daemon has tokens; `behalf` is his own word."""
    return Warrant(token_name(request) or NO_TOKEN, behalf, reason, at)


def token_name(request: Request) -> str | None:
    """Whose token asks; None where the daemon has no tokens."""
    token = token_of(request)
    return None if token is None else token.name
