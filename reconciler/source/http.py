"""`POST /v1/events`: a request's bytes to intake, intake's answer to the sender.

Mounted by `web.app`. Bounds what a sender can make us hold (bytes, requests, seconds); judges nothing that an event
says. A 202 means: stored, durable.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import unquote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from reconciler.dispatch.intake import Intake, IntakeAnswer
from reconciler.dispatch.item import REQUEST_MAX_BYTES
from reconciler.dispatch.judge import BadIdError, check_id
from reconciler.dispatch.room import NoRoomError
from reconciler.errors import ReconcilerError
from reconciler.observe.log import log
from reconciler.source.answer import (
    CLOSE,
    EVENTS_PATH,
    SOURCE,
    Content,
    busy,
    content_of,
    draining,
    encoded,
    full,
    refusal,
    taken,
    told,
    too_large,
    too_often,
    too_slow,
)
from reconciler.source.body import Body
from reconciler.source.problem import problem_response
from reconciler.source.rate import Rate

CLAIM_KEY: Final = "reconciler.claim"  # in the ASGI scope: a Claim that the body has to prove
SENDER_KEY: Final = "reconciler.sender"  # in the ASGI scope: who asks, where the daemon knows that


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What all senders together, and one sender, can make the daemon hold."""

    body_seconds: float = 30.0  # for one body to arrive
    waiting_max_requests: int = 256  # read, and waiting for the store
    waiting_max_bytes: int = 64 * 1024 * 1024  # of bodies being read or waiting
    per_second: float | None = None  # requests of one sender; None: as many as it likes


class Claim(Protocol):
    """Says that the request under this id is one that somebody signed, which shows when its body is there."""

    @property
    def id(self) -> str:
        """The same for every try of one message, and for no other."""

    async def check(self, body: bytes) -> Response | None:
        """None where it is true, else the answer."""


class _RefusedError(Exception):
    """The request gets this answer instead of being taken."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


class HttpSource:
    """The endpoint, with the account of what is waiting."""

    def __init__(self, intake: Intake, *, limits: HttpLimits = HttpLimits()) -> None:
        self._intake = intake
        self._limits = limits
        self._rate = None if limits.per_second is None else Rate(limits.per_second)
        self._requests = 0
        self._bytes = 0

    def routes(self) -> list[Route]:
        """What to mount."""
        return [Route(EVENTS_PATH, self.post, methods=["POST"], name="intake")]

    async def post(self, request: Request) -> Response:
        """Take the events of one request: 202 once they are stored, 409 for a single one that conflicts."""
        began = time.monotonic()
        body = Body(request)
        try:
            answer, size = await self._take(request, body)
        except _RefusedError as exc:
            log("intake.refused", source=SOURCE, status=exc.response.status_code)
            await body.discard()
            return exc.response
        except ClientDisconnect:
            log("intake.refused", source=SOURCE, status="disconnected")
            return Response(status_code=400, headers=CLOSE)  # nobody is there to read it
        content = content_of(answer, size=size, began=began)
        return content if isinstance(content, Response) else taken(content)

    def offer(
        self, body: bytes, *, key: bytes | None, content_type: str | None, sender: str, reply: Callable[[Content], None]
    ) -> bool:
        """`post` without waiting, for a small request that is here to its end: `reply`, which must not raise, is called
        once. `key` is what `Idempotency-Key` says, `sender` who asks. False: nothing has begun, `post` is to answer."""
        began, size = time.monotonic(), len(body)
        if self._intake.is_closed or self._intake.is_full or not self._has_room(size):
            return False
        try:
            given_id = None if key is None else check_id(_bare(key.decode("ascii")))
        except (BadIdError, UnicodeDecodeError):
            return False
        if self._wait(sender):
            return False

        def done(answer: IntakeAnswer | Exception) -> None:
            self._requests -= 1
            self._bytes -= size
            reply(told(answer, size=size, began=began))

        self._requests += 1
        self._bytes += size
        try:
            self._intake.offer(body, source=SOURCE, content_type=content_type, given_id=given_id, done=done)
        except Exception as exc:
            done(exc)
        return True

    async def _take(self, request: Request, body: Body) -> tuple[IntakeAnswer, int]:
        if self._intake.is_closed:
            raise _RefusedError(draining())
        self._check_rate(request)
        try:
            self._intake.check_room()  # before a byte of the body is read
        except NoRoomError as exc:
            raise _RefusedError(full(exc)) from exc
        head = _head_of(request)
        with self._account() as hold:
            content = await self._read(body, hold)
            if head.claim is not None and (unproved := await head.claim.check(content)):
                raise _RefusedError(unproved)
            return await self._store(content, head), len(content)

    @contextlib.contextmanager
    def _account(self) -> Iterator[Callable[[int], None]]:
        """Counts the bytes of one request among all that are held, until it is answered."""
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            held += size
            self._bytes += size
            self._check_room()

        try:
            yield hold
        finally:
            self._bytes -= held

    def _check_rate(self, request: Request) -> None:
        address = request.client.host if request.client else ""
        if wait := self._wait(request.scope.get(SENDER_KEY) or address):
            raise _RefusedError(too_often(self._limits.per_second or 0, wait))

    def _wait(self, sender: str) -> float:
        """How many seconds until the sender may ask; 0 is taken for asked."""
        return 0.0 if self._rate is None else self._rate.wait_seconds(sender, now=time.monotonic())

    def _check_room(self) -> None:
        if not self._has_room(0):
            raise _RefusedError(busy())

    def _has_room(self, size: int) -> bool:
        is_held = self._bytes + size <= self._limits.waiting_max_bytes
        return is_held and self._requests < self._limits.waiting_max_requests

    async def _read(self, body: Body, hold: Callable[[int], None]) -> bytes:
        content = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while not body.is_over:
                    chunk = await body.chunk()
                    hold(len(chunk))
                    content += chunk
                    if len(content) > REQUEST_MAX_BYTES:
                        raise _RefusedError(too_large())
        except TimeoutError:
            body.is_over = True  # nobody waits for more of it
            raise _RefusedError(too_slow(self._limits.body_seconds)) from None
        return bytes(content)

    async def _store(self, body: bytes, head: "_Head") -> IntakeAnswer:
        self._check_room()
        self._requests += 1
        try:
            return await self._intake.take(
                body,
                source=SOURCE,
                content_type=head.content_type,
                idempotency_key=head.idempotency_key,
                ce_id=head.ce_id,
            )
        except ReconcilerError as exc:
            raise _RefusedError(refusal(exc)) from exc
        finally:
            self._requests -= 1


@dataclass(frozen=True, slots=True)
class _Head:
    """What the headers say of the body."""

    content_type: str | None
    idempotency_key: str | None
    ce_id: str | None
    claim: Claim | None


def _head_of(request: Request) -> _Head:
    """The headers, or a refusal before a byte of the body is read."""
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        raise _RefusedError(encoded(encoding))
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length[:20]) > REQUEST_MAX_BYTES:
        raise _RefusedError(too_large())
    claim: Claim | None = request.scope.get(CLAIM_KEY)
    key, ce_id = _idempotency_key(request), _ce_id(request)
    if claim is not None:
        key, ce_id = claim.id, None  # the one name that is signed: with another, a captured request would be new
    return _Head(request.headers.get("content-type"), key, ce_id, claim)


def _idempotency_key(request: Request) -> str | None:
    key = _single(request, "idempotency-key")
    if key is not None and not key.isascii():
        raise _RefusedError(problem_response(400, "`Idempotency-Key` must be ASCII", headers=CLOSE))
    return key


def _ce_id(request: Request) -> str | None:
    """`ce-id`: CloudEvents HTTP binding, section 3.1.3: percent-encoded UTF-8."""
    ce_id = _single(request, "ce-id")
    try:
        return None if ce_id is None else unquote(ce_id, errors="strict")
    except UnicodeDecodeError:
        raise _RefusedError(problem_response(400, "`ce-id` is not percent-encoded UTF-8", headers=CLOSE)) from None


def _single(request: Request, name: str) -> str | None:
    """The value of a header that may stand once, without the quotes of a structured field (RFC 9651)."""
    values = request.headers.getlist(name)
    if len(values) > 1:
        raise _RefusedError(problem_response(400, f"`{name}` stands {len(values)} times", headers=CLOSE))
    return _bare(values[0]) if values else None


def _bare(value: str) -> str:
    value = value.strip()
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
