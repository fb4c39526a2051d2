"""HTTP/1.1 on one connection: bytes to requests, answers to bytes, and the faults that a proper server cannot commit.

Made by `okta` for every connection. It knows nothing of flows: a Responder decides. Keep-alive and chunked bodies are
supported, pipelining is not (a second request before the answer to the first ends the connection).
"""

import asyncio
import socket
import struct
import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final, Protocol, cast

import httptools

from reconciler.sandbox.exchange import Answer, Ending, Request

LINGER_SECONDS: Final = 0.5  # closing on bytes still to come would be a TCP reset, which can overtake the answer
HEAD_MAX_BYTES: Final = 64 * 1024  # request line and headers; beyond it 431

_LINGER_RESET: Final = struct.pack("ii", 1, 0)  # close() then sends RST instead of FIN (socket(7), SO_LINGER)
_NO_BODY_STATUSES: Final = frozenset({204, 304})


class Responder(Protocol):
    """Who decides what a request gets."""

    def on_head(self, request: Request) -> Answer | None:
        """Called when the head is read: an answer that makes the body unwanted, or None to read on."""

    def on_too_large(self, request: Request) -> Answer:
        """Called in place of `on_request` when the body passes `body_max_bytes`."""

    def on_request(self, request: Request) -> Answer:
        """Called when the whole request is read."""


class Connection(asyncio.Protocol):
    """One client. `connections` is the server's set of those that are open."""

    def __init__(self, responder: Responder, *, body_max_bytes: int, connections: set["Connection"]) -> None:
        self._responder = responder
        self._body_max_bytes = body_max_bytes
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._request = Request()
        self._head_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._is_waiting = False  # an answer is due and not sent
        self._is_complete = False  # the request is read whole
        self._is_over = False  # what still comes in is thrown away
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport
        self.closed = asyncio.get_running_loop().create_future()

    def abort(self) -> None:
        """Close the connection at once, whatever is in flight."""
        self._is_over = True
        self._transport.abort()

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by its methods only
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_over = True
        self._connections.discard(self)
        self.closed.set_result(None)
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self._is_over:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # the offer is declined: answered as usual, then closed (RFC 9110, section 7.8)
        except httptools.HttpParserCallbackError as exc:
            self.abort()
            raise exc.__context__ or exc from None
        except httptools.HttpParserError:
            if not self._is_over:
                self._send(Answer(400, {"content-type": "text/plain"}, b"not HTTP/1.1"), keep_alive=False)

    # --- httptools

    def on_message_begin(self) -> None:
        if self._is_waiting:
            self.abort()
        self._request = Request()
        self._head_bytes = self._body_bytes = 0
        self._body = []
        self._is_complete = False

    def on_url(self, url: bytes) -> None:
        self._grow_head(len(url))
        self._request.target += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._grow_head(len(name) + len(value))
        headers, key, text = self._request.headers, name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text

    def on_headers_complete(self) -> None:
        if self._is_over:
            return
        self._request.method = self._parser.get_method().decode("ascii")
        answer = self._responder.on_head(self._request)
        if answer is None and int(self._request.headers.get("content-length", "0")) > self._body_max_bytes:
            answer = self._responder.on_too_large(self._request)
        if answer is not None:
            self._give(answer, keep_alive=False)
        elif self._request.headers.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        if self._is_over:
            return
        self._body_bytes += len(body)
        if self._body_bytes > self._body_max_bytes:
            self._give(self._responder.on_too_large(self._request), keep_alive=False)
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if self._is_over:
            return
        self._is_complete = True
        self._request.body = b"".join(self._body)
        keep_alive = self._parser.should_keep_alive() and not self._parser.should_upgrade()
        self._give(self._responder.on_request(self._request), keep_alive=keep_alive)

    # --- answering

    def _grow_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_MAX_BYTES and not self._is_over:
            self._send(Answer(431, {"content-type": "text/plain"}, b"too many headers"), keep_alive=False)

    def _give(self, answer: Answer, *, keep_alive: bool) -> None:
        self._is_waiting = True
        self._is_over = not keep_alive
        if answer.delay_seconds:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(answer.delay_seconds, lambda: self._end(answer, keep_alive=keep_alive))
        else:
            self._end(answer, keep_alive=keep_alive)

    def _end(self, answer: Answer, *, keep_alive: bool) -> None:
        if answer.ending is Ending.ANSWER:
            self._send(answer, keep_alive=keep_alive)
        elif answer.ending in (Ending.RESET_BEFORE, Ending.RESET_AFTER):
            self._reset()
        elif answer.ending is not Ending.DROP:
            self._is_over = True
            self._transport.write(answer.body)
            self._transport.close()

    def _reset(self) -> None:
        sock: socket.socket = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
        self.abort()

    def _send(self, answer: Answer, *, keep_alive: bool) -> None:
        self._is_waiting = False
        self._transport.write(encode(answer, keep_alive=keep_alive, has_body=self._request.method != "HEAD"))
        if keep_alive:
            return
        self._is_over = True
        if self._is_complete:
            self._transport.close()
        else:
            self._timer = asyncio.get_running_loop().call_later(LINGER_SECONDS, self._transport.close)


def encode(answer: Answer, *, keep_alive: bool, has_body: bool) -> bytes:
    """The bytes of an answer, framed by content-length (RFC 9112)."""
    assert answer.status is not None
    lines = [f"HTTP/1.1 {answer.status} {_phrase(answer.status)}", f"date: {_date(int(time.time()))}"]
    lines.extend(f"{name}: {value}" for name, value in answer.headers.items())
    if answer.status not in _NO_BODY_STATUSES:
        lines.append(f"content-length: {len(answer.body)}")
    if not keep_alive:
        lines.append("connection: close")
    head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
    return head + answer.body if has_body and answer.status not in _NO_BODY_STATUSES else head


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
