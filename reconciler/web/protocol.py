"""uvicorn's HTTP/1.1 with bounds on what a client may hold before, between and behind its requests.

Named by the daemon as the protocol of its server. A request's body is bounded where it is read (`source.http`,
`web.content`); here are the head, which no application sees in the making, the answer that nobody takes, and the number
of connections. What is wrong is told as problem details. A plain event is kept from the application until it is here to
its end, and offered to the short way (`web.express`) first; one that comes in one piece does without the parser.
"""

import asyncio
import re
import resource
from collections.abc import Iterable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from reconciler.observe.log import log
from reconciler.source.answer import TAKEN, Content, taken
from reconciler.source.problem import PROBLEM_TYPE, problem_response
from reconciler.web.express import FIELDS_MAX, METHOD, TARGET, Offer, is_plain, read_whole
from reconciler.web.guard import with_ours

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

HEAD_SECONDS: Final = 10.0  # for request line and headers, from their first byte; also from connect to the first byte
REST_SECONDS: Final = 10.0  # for what is left of a request that is answered already
WHOLE_SECONDS: Final = 0.25  # for the body of a plain event; one that takes longer is read by the application
ANSWER_SECONDS: Final = 60.0  # for a full buffer to move at all
HEAD_MAX: Final = 32 * 1024  # bytes of request line and headers, and of trailers
CONNECTIONS_MAX: Final = 4096
CONTINUE: Final = b"100-continue"
TOO_LONG: Final = f"the head of the request has more than {HEAD_MAX} bytes"


def connections_max() -> int:
    """How many connections at once: a quarter of the files this process may open, for deliveries need them too."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(CONNECTIONS_MAX, soft // 4) if soft > 0 else CONNECTIONS_MAX


def _lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join([b"%b: %b\r\n" % item for item in headers])


def _with_host_of(target: bytes, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers, with the host that a target in absolute form names in the place of what Host says: a server that is
    not asked for by it must not be led to think so (RFC 9112, section 3.2.2)."""
    scheme, separator, rest = target.partition(b"://")
    if not separator or not scheme.isalpha():
        return headers
    host = re.split(rb"[/?#]", rest, maxsplit=1)[0]
    return [(name, host if name == b"host" else value) for name, value in headers]


_TAKEN_LINES: Final = _lines(item for item in with_ours(taken(b"").raw_headers) if item[0] != b"content-length")
_TAKEN_ANSWER: Final = b"%%b%%bcontent-length: %%d\r\n%b%%b%%b" % _TAKEN_LINES.replace(b"%", b"%%")


@lru_cache(maxsize=4)  # they hold the time of day, to the second
def _server_lines(headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    return _lines(headers)


def _end_of_head(is_last: bool) -> bytes:
    """As uvicorn writes it."""
    return b"connection: close\r\n\r\n" if is_last else b"\r\n"


class _Offered:
    """A request on the short way, as uvicorn sees a request that is being answered."""

    __slots__ = ("disconnected", "keep_alive", "message_event", "response_complete", "response_started")

    def __init__(self) -> None:
        self.message_event = _NOBODY_WAITS
        self.disconnected = self.response_started = self.response_complete = False
        self.keep_alive = True


_NOBODY_WAITS: Final = asyncio.Event()


class BoundedProtocol(HttpToolsProtocol):
    """One connection of a client."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: asyncio.TimerHandle | None = None
        self._stuck: asyncio.TimerHandle | None = None
        self._is_in_head = True  # the next bytes belong to a head
        self._is_in_message = False  # a request has begun and not ended
        self._unparsed = HEAD_MAX  # bytes of a head that the parser may hold back
        self._room = HEAD_MAX
        self._fields = FIELDS_MAX
        self._has_begun = False  # a head, with the bytes that are being read
        self._has_body = False  # the bytes that are being read hold some of a body
        self._framing = 0  # bytes since there was any of the body
        self._is_refused = False
        self._active: RequestResponseCycle | _Offered | None = None  # the request that is being answered, or was last
        self._offer: Offer | None = getattr(self.app, "offer", None)
        self._kept: list[bytes] | None = None  # the body, as far as it is here, of what may go the short way
        self._is_declined = False  # by the short way: what the parser reads now is for the application to judge
        self._idle_since = 0.0  # by the loop's clock: the last answer on the short way

    # What the transport calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        if len(self.connections) > connections_max():
            self._refuse(503, "too many connections")
            return
        self._wait(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        self._unset_keepalive_if_required()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused or self.transport.is_closing():
            return
        self._is_declined = False
        if not self._is_in_message and self._take_whole(data):
            return
        self._has_begun = self._has_body = False
        super().data_received(data)
        if self._is_refused:
            return
        if self._kept is not None and self._timer is None:
            self._wait(WHOLE_SECONDS)
        if not self._is_in_head:
            self._count_framing(data)
            return
        if self._timer is None and (self._is_in_message or self._is_answered()):
            self._wait(HEAD_SECONDS)
        if self._is_in_message and not self._has_begun:  # else most of it may be the end of another request
            self._unparsed -= len(data)
            if self._unparsed < 0:
                self._refuse(431, TOO_LONG)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stuck is None:
            self._stuck = self.loop.call_later(ANSWER_SECONDS, self._give_up)

    def resume_writing(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None
        super().resume_writing()

    # What the parser calls

    def on_message_begin(self) -> None:
        self._is_in_message = self._is_in_head = self._has_begun = True
        self._unparsed = HEAD_MAX
        self._room, self._fields = HEAD_MAX, FIELDS_MAX
        self.url, self.headers, self.expect_100_continue = b"", [], False  # the rest of it, where it goes the long way

    def on_url(self, url: bytes) -> None:
        self._room -= len(url)
        if self._room < 0:
            self._refuse(431, TOO_LONG)
        if not self._is_refused:
            self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._room -= len(name) + len(value) + 4
        self._fields -= 1
        # Four cases: too long; too many; a trailer, which says nothing that was not said before the body; a header.
        if self._room < 0:
            self._refuse(431, TOO_LONG)
        elif self._fields < 0:
            self._refuse(431, f"the request has more than {FIELDS_MAX} headers")
        elif self._is_in_head and not self._is_refused:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._framing = 0
        self._room, self._fields = HEAD_MAX, FIELDS_MAX  # for the trailers
        self._stop()
        if self._is_refused:
            return
        if self._may_be_short():
            self._kept = []
        else:
            self._go_long()

    def on_body(self, body: bytes) -> None:
        self._has_body = True
        if self._kept is not None:
            self._kept.append(body)
        elif not self._is_refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_in_message, self._is_in_head = False, True
        self._stop()
        if self._is_refused:
            return
        if (parts := self._kept) is not None:
            if self._go_short(dict(self.headers), parts[0] if len(parts) == 1 else b"".join(parts)):
                self._kept = None
                return
            self._go_long()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._is_in_message:
            self._wait(REST_SECONDS)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: "ASGI3Application") -> None:
        self._active = cycle
        super()._start_asgi_task(cycle, app)

    def shutdown(self) -> None:
        if self._kept is not None:
            self._go_long()
        super().shutdown()

    # The short way

    def _take_whole(self, data: bytes) -> bool:
        """Offer a request that these bytes are, no more and no less; False where it is for the parser, whose calls
        would be a third of what a plain event costs here."""
        if self._offer is None or not self._is_free():
            return False
        whole = read_whole(data)
        if whole is None:
            return False
        self._stop()
        is_taken = self._go_short(*whole)
        self._is_declined = not is_taken
        return is_taken

    def _is_answered(self) -> bool:
        """Whether nothing is being answered."""
        return self._active is None or self._active.response_complete

    def _is_free(self) -> bool:
        """Whether an answer can be written at once."""
        return self._is_answered() and not self.flow.write_paused

    def _may_be_short(self) -> bool:
        """Whether what has this head is to be offered to the short way once it is here."""
        if self._offer is None or self._is_declined or self.url != TARGET or self.parser.get_method() != METHOD:
            return False
        if not self._is_free() or self.parser.get_http_version() != "1.1":
            return False
        head = dict(self.headers)
        return len(head) == len(self.headers) and is_plain(head)

    def _go_short(self, head: dict[bytes, bytes], body: bytes) -> bool:
        """Offer a request that is here to its end."""
        assert self._offer is not None
        active = _Offered()
        is_taken = self._offer(head, body, server=self.server, client=self.client, reply=partial(self._reply, active))
        if is_taken:
            self._active = active
            self.cycle = active  # type: ignore[assignment]  # it has what uvicorn asks of one
        return is_taken

    def _go_long(self) -> None:
        """Begin what was kept from the application, with as much of its body as is here."""
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url = url
        self.headers += headers if url.startswith(b"/") else _with_host_of(url, headers)
        self.expect_100_continue = any(name == b"expect" and value.lower() == CONTINUE for name, value in headers)
        parts, self._kept = self._kept or (), None
        super().on_headers_complete()
        for part in parts:
            super().on_body(part)

    def _reply(self, active: _Offered, content: Content) -> None:
        """Answer a request on the short way."""
        if active.disconnected or self.transport.is_closing():
            return
        is_last = not active.keep_alive
        lines = _server_lines(tuple(self.server_state.default_headers))
        if isinstance(content, Response):
            head, body = with_ours(content.raw_headers), bytes(content.body)
            is_told = (b"connection", b"close") in head
            is_last = is_last or is_told
            end = _end_of_head(is_last and not is_told)
            data = b"%b%b%b%b%b" % (STATUS_LINE[content.status_code], lines, _lines(head), end, body)
        else:
            data = _TAKEN_ANSWER % (STATUS_LINE[TAKEN], lines, len(content), _end_of_head(is_last), content)
        active.response_started = active.response_complete = True
        self.transport.write(data)
        if is_last:
            self.transport.close()
        if self._is_in_message or self.pipeline or self.flow.read_paused:
            self.on_response_complete()
        else:
            self._be_idle()

    def _be_idle(self) -> None:
        """As uvicorn does when nothing else waits to be answered, but that the timer which runs is left running: it was
        stopped and started for each request."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():  # that was the last, or nobody is there any more
            return
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._close_if_idle_in(self.timeout_keep_alive)

    def _close_if_idle_in(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Close, unless something came since the timer was started."""
        self.timeout_keep_alive_task = None
        rest = self._idle_since + self.timeout_keep_alive - self.loop.time()
        # Three cases: what is being answered starts it again; something was answered meanwhile; nothing was.
        if not self._is_answered():
            return
        if rest > 0:
            self._close_if_idle_in(rest)
        else:
            super().timeout_keep_alive_handler()

    # Refusals

    def send_400_response(self, msg: str) -> None:
        """What uvicorn calls for what is not HTTP; its words are the parser's and not for strangers."""
        self._refuse(400, "this is not HTTP/1.1 as it is written down in RFC 9112")

    def _count_framing(self, data: bytes) -> None:
        """Chunk extensions and trailers without end, which the parser would keep or pass over for ever."""
        self._framing = 0 if self._has_body else self._framing + len(data)
        if self._framing > HEAD_MAX:
            self._refuse(431, f"the body is framed by more than {HEAD_MAX} bytes")

    def _refuse(self, status: int, detail: str) -> None:
        """Answer and close, once. An answer under way to the request before this one goes out first; where it is the
        answer to this one, nothing can be said any more."""
        if self._is_refused:
            return
        self._is_refused = True
        self._stop()
        log("web.refused", status=status, why=detail)
        active = None if self._is_answered() else self._active
        is_its_own = active is self.cycle and self._is_in_message and not self._is_in_head
        # 1. the request before is being answered  2. this one is being answered  3. nothing is
        if active is not None and not is_its_own:
            active.keep_alive = False
            self.pipeline.clear()
            self.flow.pause_reading()
        elif active is not None and active.response_started:
            self.transport.abort()
        else:
            self._answer(status, detail)

    def _answer(self, status: int, detail: str) -> None:
        body = problem_response(status, detail).body
        head = STATUS_LINE[status] + (
            f"content-type: {PROBLEM_TYPE}\r\ncontent-length: {len(body)}\r\n"
            "connection: close\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\n\r\n"
        ).encode("ascii")
        self.transport.write(head + bytes(body))
        self.transport.close()

    # Deadlines

    def _wait(self, seconds: float) -> None:
        self._stop()
        self._timer = self.loop.call_later(seconds, self._on_timer)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self._kept is not None:
            self._go_long()
        elif self._is_in_message and self._is_in_head:
            self._refuse(408, f"the head of the request did not arrive within {HEAD_SECONDS:g} s")
        elif self._is_answered():
            self.transport.close()  # nothing was asked, or the rest of what was answered never comes

    def _give_up(self) -> None:
        self._stuck = None
        log("web.stuck", seconds=ANSWER_SECONDS)
        self.transport.abort()
