"""What a sender of events is told, in words and as an HTTP answer.

Called by `source.http`; `web.protocol` takes from here what a 202 has for headers.
"""

import math
import time
from typing import Final

import orjson
from starlette.responses import Response

from reconciler.dispatch.intake import IntakeAnswer, IntakeClosedError, ItemAnswer
from reconciler.dispatch.item import REQUEST_MAX_BYTES, PayloadTooLargeError
from reconciler.dispatch.judge import BadIdError
from reconciler.dispatch.room import NoRoomError
from reconciler.errors import StoreError
from reconciler.models.event import EventId
from reconciler.observe.log import Pattern, log, place_of
from reconciler.source.problem import problem_response
from reconciler.store.base import EventStatus

SOURCE: Final = "http"
EVENTS_PATH: Final = "/v1/events"
TAKEN: Final = 202
BUSY_RETRY_SECONDS: Final = 1  # intake drains in milliseconds
AWAY_RETRY_SECONDS: Final = 5  # a store that failed, or a daemon that restarts
CLOSE: Final = {"connection": "close"}  # the rest of the body is not read, so the connection cannot be used again

Content = bytes | Response  # the body of a 202, or another answer

ANSWERED: Final = "intake.answered"
# A lone event that is new is nearly all there is to be told: its line, and its answer but for the id.
_ONE: Final = IntakeAnswer((ItemAnswer(EventId("1"), EventStatus.ACCEPTED),))
_ONE_LINE: Final = Pattern(ANSWERED, source=SOURCE, status=TAKEN, **_ONE.counts(), bytes=int, duration_ms=float)
_ONE_BEGIN, _, _ONE_END = orjson.dumps(_ONE.to_json()).partition(b'"1"')


def taken(content: bytes) -> Response:
    """The answer to a request whose events are stored."""
    return Response(content, TAKEN, media_type="application/json")


def content_of(answer: IntakeAnswer, *, size: int, began: float) -> Content:
    """What a request is told that was taken; `size` is that of its body, `began` when it came (seconds)."""
    if len(answer.items) == 1 and answer.items[0].status is EventStatus.ACCEPTED:
        _ONE_LINE.write(size, (time.monotonic() - began) * 1000)
        return b"%b%b%b" % (_ONE_BEGIN, orjson.dumps(answer.items[0].id), _ONE_END)
    counts, conflict = answer.counts(), None
    if counts["conflicts"] and answer.is_lone_conflict:
        fact, hint = answer.items[0].problem or "", "send another event under another id"
        conflict = problem_response(409, fact, hint=hint, **answer.to_json())
    log(
        ANSWERED,
        source=SOURCE,
        status=TAKEN if conflict is None else conflict.status_code,
        **counts,
        bytes=size,
        duration_ms=round((time.monotonic() - began) * 1000, 1),
    )
    return orjson.dumps({**counts, "events": answer.events()}) if conflict is None else conflict


def told(answer: IntakeAnswer | Exception, *, size: int, began: float) -> Content:
    """As `content_of`, also of what was not taken; a fault of ours in telling is told too."""
    try:
        if isinstance(answer, IntakeAnswer):
            return content_of(answer, size=size, began=began)
    except Exception as exc:
        answer = exc
    found = refusal(answer)
    log("intake.refused", source=SOURCE, status=found.status_code)
    return found


def refusal(exc: Exception) -> Response:
    """What a request is told of which nothing was stored."""
    match exc:
        case PayloadTooLargeError():
            return problem_response(413, exc.message, hint=exc.hint, index=exc.index)
        case BadIdError():
            return problem_response(400, exc.message, hint=exc.hint)
        case NoRoomError():  # there was room when it was asked for
            return full(exc)
        case IntakeClosedError():
            return draining()
        case StoreError():
            log("intake.failed", source=SOURCE, error=exc.message)
            return away()
        case _:
            log("web.failed", path=EVENTS_PATH, error=f"{type(exc).__name__}: {exc}", where=place_of(exc))
            return problem_response(500, "the daemon has a fault; its log says more")


def encoded(encoding: str) -> Response:
    """To a body that is compressed."""
    return problem_response(
        415,
        f"the body has a content-encoding: {encoding:.40}",
        hint="send it as it is",
        headers={**CLOSE, "accept-encoding": "identity"},
    )


def too_large() -> Response:
    """To a request over the limit; the rest of it is not read."""
    return problem_response(
        413, f"the request has more than {REQUEST_MAX_BYTES} bytes", hint="send fewer events at a time", headers=CLOSE
    )


def too_slow(seconds: float) -> Response:
    """To a body that did not come."""
    return problem_response(408, f"the body did not arrive within {seconds:g} s", headers=CLOSE)


def busy() -> Response:
    """While too many wait for the store."""
    return problem_response(
        429, "too many requests are waiting", headers={**CLOSE, "retry-after": f"{BUSY_RETRY_SECONDS}"}
    )


def too_often(per_second: float, wait: float) -> Response:
    """To a sender beyond its rate; `wait` is seconds until it may ask."""
    headers = {**CLOSE, "retry-after": f"{math.ceil(wait)}"}
    fact = f"more than {per_second:g} requests a second"
    return problem_response(429, fact, hint="send several events in one request", headers=headers, code="rate")


def full(exc: NoRoomError) -> Response:
    """While there is no room for more."""
    headers = {**CLOSE, "retry-after": f"{exc.retry_seconds}"}
    return problem_response(429, exc.message, hint=exc.hint, headers=headers, code="full")


def draining() -> Response:
    """Once the daemon takes nothing more."""
    return problem_response(503, "the daemon is draining", headers={**CLOSE, "retry-after": f"{AWAY_RETRY_SECONDS}"})


def away() -> Response:
    """While the store cannot be written to."""
    return problem_response(503, "the store does not answer", headers={"retry-after": f"{AWAY_RETRY_SECONDS}"})
