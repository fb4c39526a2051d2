"""Events that are signed instead of sent with a token: Standard Webhooks 1.0.0, "Verifying webhook authenticity".

Called by `web.access` for a request without a token; the head is judged at once, the body by `source.http` when it is
read. Nothing here keeps what was seen: a request that is sent again within the window has the identity of the first
one, and so is a duplicate.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from reconciler.observe.log import log
from reconciler.request.draft import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER
from reconciler.request.verify import TOLERANCE_SECONDS, fitting_key
from reconciler.source.http import SENDER_KEY
from reconciler.source.problem import problem_response
from reconciler.web.token import Token

HEADERS: Final = (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER)
ID_MAX: Final = 255
SIGNATURES_MAX: Final = 16  # each is compared with each key
THREAD_BYTES: Final = 64 * 1024  # larger bodies are hashed in a thread
CHALLENGE: Final = 'Bearer realm="reconciler"'


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request says of its signature, until its body is there. `on_proof` is told whose it is."""

    id: str
    timestamp: str
    signature: str
    signers: Sequence[Token]
    on_proof: Callable[[Token], None]

    async def check(self, body: bytes) -> Response | None:
        """None where a key of one signer fits the body, else the refusal."""
        is_large = len(body) > THREAD_BYTES
        token = await asyncio.to_thread(self._signer, body) if is_large else self._signer(body)
        if token is None:
            return refusal("no signature fits", "is it the key in the tokens file, and the body as it was signed?")
        self.on_proof(token)
        return None

    def _signer(self, body: bytes) -> Token | None:
        found = [
            token
            for token in self.signers
            if fitting_key(self.id, self.timestamp, self.signature, body, token.keys) is not None
        ]
        return found[0] if found else None


def is_signed(headers: Headers) -> bool:
    """Whether a request means to be known by its signature: it has one, and no token."""
    return SIGNATURE_HEADER in headers and "authorization" not in headers


def claim_of(request: Request, signers: Sequence[Token], *, token_key: str, now: int) -> Claim | Response:
    """What the head says, or the refusal where it cannot be right; `now` is seconds since the epoch."""
    values = [request.headers.getlist(name) for name in HEADERS]
    if any(len(found) != 1 for found in values):
        return refusal(f"{', '.join(HEADERS)} must stand once each", "sign as Standard Webhooks says")
    webhook_id, timestamp, signature = (found[0].strip() for found in values)
    if not 0 < len(webhook_id) <= ID_MAX or not webhook_id.isascii() or not webhook_id.isprintable():
        return refusal(f"webhook-id must be 1 to {ID_MAX} visible characters", "")
    if len(signature.split()) > SIGNATURES_MAX:
        return refusal(f"webhook-signature has more than {SIGNATURES_MAX} signatures", "")
    is_number = timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12
    if not is_number or abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        fact = f"webhook-timestamp must be within {TOLERANCE_SECONDS} s of now, in seconds since 1970"
        return refusal(fact, "compare the clocks of both sides; sign anew for each try")

    def on_proof(token: Token) -> None:
        request.scope[token_key] = token
        request.scope[SENDER_KEY] = token.name

    return Claim(webhook_id, timestamp, signature, signers, on_proof)


def refusal(fact: str, hint: str) -> Response:
    """401, without a word on how near it was."""
    log("web.denied", status=401, why=fact)
    headers = {"www-authenticate": CHALLENGE, "connection": "close"}
    return problem_response(401, fact, hint=hint, headers=headers, code="signature")
