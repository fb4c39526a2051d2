"""HTTP/1.1 as bytes: a request's head out, responses in. No I/O; called by `egress.wire` and `egress.fast`.

Responses are parsed by httptools (llhttp), which is strict where a wrong guess could turn one answer into two. Nothing
here decompresses. What it keeps of an answer is bounded by the caller, who takes the body away piece by piece; short
ones that came whole are remembered as they were parsed, up to REMEMBERED_MAX (`egress.received` remembers them masked).
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import httptools
import httpx

HEAD_MAX: Final = 100 * 1024  # bytes of a response before its body, informational ones included; the same for trailers

BEGINNING_MAX: Final = 16 * 1024  # bytes of what is no answer: masked by the caller, and only then cut for people

REMEMBERED_MAX: Final = 64  # responses; with a date in each, most are the same for a second
REMEMBERED_BYTES_MAX: Final = 1024  # of one of them

_STATUS_LINE: Final = re.compile(rb"\s*HTTP/\d\.\d \d{3}[ \r\n]")
_CONTROLS: Final = bytes((*range(32), 127))
_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, section 5.6.2
_VALUE: Final = re.compile(rb"(?:[!-~\x80-\xff](?:[ \t!-~\x80-\xff]*[!-~\x80-\xff])?)?")  # section 5.5
_TARGET: Final = re.compile(rb"[!-~]+")
_NOWHERE: Final = -1
_WRONG: Final = -2
_METHODS: Final = frozenset({"POST", "PUT", "DELETE", "PATCH", "GET", "OPTIONS"})  # whose answers are framed alike


class Answer(NamedTuple):
    """A response as the wire has it: its body as bytes where all of it came with the head, else to be read."""

    status: int
    reason_phrase: bytes
    headers: list[tuple[bytes, bytes]]  # not to be changed: exchanges share it
    body: bytes | httpx.AsyncByteStream
    raw: bytes | None = None  # all of it where it is remembered: the same bytes say the same


# Those that came lately in one piece. A parser that has read one to its end, and no more, is where it was before, so
# that one which is known need not be parsed
_remembered: Final[dict[bytes, Answer]] = {}


class ResponseReader:
    """Reads the responses of one connection, one exchange after another; the caller looks at it after each `feed`."""

    __slots__ = (
        "_has_length",
        "_parser",
        "_parts",
        "_room",
        "_unparsed",
        "answer",
        "buffered",
        "has_leftover",
        "headers",
        "is_complete",
        "is_head_complete",
        "may_be_kept",
        "reason_phrase",
        "status",
    )

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        # a line may end in LF alone (RFC 9112, section 2.2), as from old CGI scripts; old Java servers pad chunk sizes
        self._parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True)
        self.begin()

    def begin(self) -> None:
        """Expect a response; only after one that was complete, may be kept and had no leftover."""
        self.status = 0
        self.reason_phrase = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.answer: Answer | None = None  # all of it, where it came in one piece and may be remembered
        self.buffered = 0  # bytes of the body that are here
        self.is_head_complete = False
        self.is_complete = False
        self.may_be_kept = False  # by what the receiver says; known once complete
        self.has_leftover = False  # the receiver said more than its response
        self._has_length = False
        self._room = self._unparsed = HEAD_MAX

    def feed(self, data: bytes) -> None:
        """Bytes as they arrive. Raises httpx.RemoteProtocolError."""
        is_first = self._unparsed == HEAD_MAX and not self.is_head_complete
        if is_first and (known := _remembered.get(data)) is not None:
            self._know(known)
            return
        assert self._parser is not None
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            if self.is_complete:
                self.has_leftover = True
                return
            raise self._explained(exc, data) from None
        if not self.is_head_complete:
            self._unparsed -= len(data)
            if self._unparsed < 0:
                raise httpx.RemoteProtocolError("the head of the answer is too long")
        elif is_first and self.may_be_kept and not self.has_leftover and _may_be_remembered(data):
            self._remember(data)

    def _know(self, answer: Answer) -> None:
        """Be as after the bytes of this answer."""
        self.answer = answer
        self.status = answer.status
        self.reason_phrase = answer.reason_phrase
        self.headers = answer.headers
        if isinstance(answer.body, bytes) and answer.body:
            self._parts.append(answer.body)
            self.buffered = len(answer.body)
        self.is_head_complete = self.is_complete = self.may_be_kept = True

    def _remember(self, data: bytes) -> None:
        if len(_remembered) >= REMEMBERED_MAX:
            _remembered.clear()
        body = b"".join(self._parts)
        self.answer = _remembered[data] = Answer(self.status, self.reason_phrase, self.headers, body, data)

    def _explained(self, exc: Exception, data: bytes) -> httpx.RemoteProtocolError:
        """What is wrong: in our words, by what came instead of a status line, or in the parser's words."""
        if isinstance(exc.__context__, httpx.RemoteProtocolError):
            return exc.__context__
        is_first = self._unparsed == HEAD_MAX
        if is_first and not _STATUS_LINE.match(data):
            beginning = data[:BEGINNING_MAX].decode("utf-8", "replace").strip()
            return httpx.RemoteProtocolError(f"it begins with `{beginning}`")
        text = str(exc)
        return httpx.RemoteProtocolError(text[:1].lower() + text[1:] if text[1:2].islower() else text)

    def end(self) -> bool:
        """The receiver has closed the connection; whether that was the proper end of the response."""
        if self.is_head_complete and not self._has_length:
            self.is_complete = True
        return self.is_complete

    def take(self) -> bytes:
        """What has arrived of the body since the last time."""
        parts = self._parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self.buffered = 0
        return data

    def close(self) -> None:
        """No response follows: lets go of the parser, which holds this reader."""
        self._parser = None

    # What httptools calls

    def on_message_begin(self) -> None:
        self.has_leftover = self.is_complete

    def on_status(self, status: bytes) -> None:
        if not self.is_head_complete:
            self.reason_phrase += status  # in pieces where it came in pieces

    def on_header(self, name: bytes, value: bytes) -> None:
        self._room -= len(name) + len(value)
        if self._room < 0:
            raise httpx.RemoteProtocolError("the head of the answer is too long")
        if not self.is_head_complete:  # else it is a trailer, or belongs to what nobody asked for
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        if self.is_head_complete:
            return
        status = self._parser.get_status_code()
        # 1. a switch of protocols, which nobody asked for (RFC 9110, section 7.8)  2. another informational one, which
        # is passed over  3. the response
        if status == 101 or status < 100:
            raise httpx.RemoteProtocolError(f"unexpected status: {status}")
        if status < 200:
            self.headers.clear()
            self.reason_phrase = b""
            return
        self._has_length = _has_length(status, self.headers)
        self.status = status
        self.is_head_complete = True
        self._room = HEAD_MAX

    def on_body(self, data: bytes) -> None:
        if not self.is_complete:
            self._parts.append(data)
            self.buffered += len(data)

    def on_message_complete(self) -> None:
        assert self._parser is not None
        if self.is_head_complete and not self.is_complete:
            self.is_complete = True
            self.may_be_kept = self._parser.should_keep_alive()


def _may_be_remembered(data: bytes) -> bool:
    """Whether it is short, and not to be stored: an access token is not (RFC 6749, section 5.1)."""
    return len(data) <= REMEMBERED_BYTES_MAX and b"no-store" not in data.lower() and b"access_token" not in data


def _has_length(status: int, headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether the body's end shows by itself; else it ends with the connection (RFC 9112, section 6.3)."""
    has_length = status in (204, 304)
    for name, value in headers:
        size = len(name)
        if size == 14 and name.lower() == b"content-length":
            has_length = True
        elif size == 17 and name.lower() == b"transfer-encoding":
            if value.strip().lower() != b"chunked":
                raise httpx.RemoteProtocolError("unknown transfer-encoding")
            has_length = True
    return has_length


def request_bytes(request: httpx.Request) -> bytes:
    """The request as it goes over the wire, head and body.

    Raises httpx.LocalProtocolError for what HTTP/1.1 cannot carry, or what would be read as something else.
    """
    body = _body(request)
    head, is_plain = head_bytes(request.method, request.url.raw_path, request.headers.raw, len(body))
    if not is_plain:
        _check(request, body)
    return head + body


def head_bytes(
    method: str, target: bytes, headers: Sequence[tuple[bytes, bytes]], body_size: int
) -> tuple[bytes, bool]:
    """What goes over the wire before a body of so many bytes, and whether it is plainly right: if not, `request_bytes`
    is to look at each part."""
    lines = [method.encode("latin-1", "replace") + b" " + target + b" HTTP/1.1"]
    lines += [name + b": " + value for name, value in headers]
    head = b"\r\n".join(lines)
    length_at = _length_index(tuple([name for name, _ in headers]))
    # no control character but our line ends, no blank where a value begins or ends
    is_plain = (
        method in _METHODS
        and length_at != _WRONG
        and (headers[length_at][1] == b"%d" % body_size if length_at >= 0 else not body_size)
        and len(head.translate(None, _CONTROLS)) == len(head) - 2 * (len(lines) - 1)
        and b" \r" not in head
        and b":  " not in head
        and head[-1] != 0x20
        and b" " not in target
    )
    return head + b"\r\n\r\n", is_plain


@lru_cache(maxsize=1024)
def _length_index(names: tuple[bytes, ...]) -> int:
    """Where among these headers the body's length stands: _NOWHERE, or _WRONG if one is no header's name or is there
    to frame the body in another way, or if they do not name one host."""
    if not all(_TOKEN.fullmatch(name) for name in names):
        return _WRONG
    lower = [name.lower() for name in names]
    if b"transfer-encoding" in lower or lower.count(b"content-length") > 1 or lower.count(b"host") != 1:
        return _WRONG
    return lower.index(b"content-length") if b"content-length" in lower else _NOWHERE


def _check(request: httpx.Request, body: bytes) -> None:
    """Raises httpx.LocalProtocolError, naming the first thing that is wrong."""
    if request.method not in _METHODS:
        raise httpx.LocalProtocolError(f"illegal method: {request.method}")
    if not _TARGET.fullmatch(request.url.raw_path):
        raise httpx.LocalProtocolError(f"illegal target: {request.url.raw_path!r}")
    for name, value in request.headers.raw:
        if not _TOKEN.fullmatch(name):
            raise httpx.LocalProtocolError(f"illegal header name: {name!r}")
        if not _VALUE.fullmatch(value):
            raise httpx.LocalProtocolError(f"illegal header value: {value!r}")
    lengths = request.headers.get_list("content-length")
    if "transfer-encoding" in request.headers or lengths != ([str(len(body))] if body or lengths else []):
        raise httpx.LocalProtocolError("the headers frame the body wrongly")
    if len(request.headers.get_list("host")) != 1:
        raise httpx.LocalProtocolError("the headers must name one host")


def _body(request: httpx.Request) -> bytes:
    if not isinstance(request.stream, httpx.ByteStream):
        raise httpx.LocalProtocolError("a body that comes in pieces")
    return b"".join(request.stream)
