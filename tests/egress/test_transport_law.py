"""Laws of the fast transport against h11, an independent reading of HTTP/1.1, in memory and over TLS on loopback."""

import asyncio
import importlib.util
import itertools
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import h11
import httpx
import pytest
import trustme
from egress_receiver import HOST, request, server_context
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.egress.deliver import Deliverer
from reconciler.egress.http1 import (
    REMEMBERED_BYTES_MAX,
    REMEMBERED_MAX,
    ResponseReader,
    _remembered,
    request_bytes,
)
from reconciler.egress.mask import Masker
from reconciler.models.delivery import AttemptResult, Fault
from reconciler.settings import ConnectTo, EgressSettings

LOOPS = ("asyncio", "uvloop") if importlib.util.find_spec("uvloop") else ("asyncio",)  # uvloop is an optional extra

Framing = Literal["length", "chunked", "close"]

TOKENS = st.text("abcXYZ09-_!#.", min_size=1, max_size=12).map(lambda text: f"x-{text}")
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_categories=["Cc"]), max_size=30).map(
    lambda text: text.strip(" \t\xa0\x85").encode("latin-1")
)
HEADERS = st.lists(st.tuples(TOKENS.map(str.encode), VALUES), max_size=6)
CUTS = st.lists(st.integers(0, 400), max_size=8)
GARBAGE = st.one_of(st.just(b""), st.binary(min_size=1, max_size=20), st.just(b"HTTP/1.1 500 Forged\r\n\r\n"))


@dataclass(frozen=True)
class Answer:
    """A response, as an h11 server says it."""

    status: int
    reason: bytes
    headers: list[tuple[bytes, bytes]]
    parts: list[bytes]
    framing: Framing
    framing_at: int
    trailers: list[tuple[bytes, bytes]]
    informational: list[int]

    @property
    def body(self) -> bytes:
        """All of it."""
        return b"" if self.is_bare else b"".join(self.parts)

    @property
    def is_bare(self) -> bool:
        """Whether its status allows no body."""
        return self.status in (204, 304)

    @property
    def framing_header(self) -> tuple[bytes, bytes]:
        """The header that says where the body ends."""
        return {
            "length": (b"Content-Length", b"%d" % len(self.body)),
            "chunked": (b"Transfer-Encoding", b"chunked"),
            "close": (b"Connection", b"close"),
        }[self.framing]

    def to_bytes(self) -> bytes:
        """On the wire."""
        server = h11.Connection(h11.SERVER)
        version = b"1.0" if self.framing == "close" else b"1.1"  # else h11 would send chunks
        server.receive_data(b"POST / HTTP/%b\r\nhost: x\r\ncontent-length: 0\r\n\r\n" % version)
        while not isinstance(server.next_event(), h11.EndOfMessage):
            pass
        said = [server.send(h11.InformationalResponse(status_code=item, headers=[])) for item in self.informational]
        headers = [*self.headers, self.framing_header]
        head = server.send(h11.Response(status_code=self.status, reason=self.reason, headers=headers))
        said.append(self._shuffled(head or b""))
        if not self.is_bare:
            said += [server.send(h11.Data(data=part)) for part in self.parts]
        trailers = self.trailers if self.framing == "chunked" and not self.is_bare else []
        said.append(server.send(h11.EndOfMessage(headers=trailers)))
        return b"".join(item or b"" for item in said)

    def _shuffled(self, head: bytes) -> bytes:
        """With what h11 puts at the end anywhere among the others, whose order stays."""
        first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        ours = [line for line in lines if line.startswith(b"x-")]
        at = self.framing_at % (len(ours) + 1)
        ours[at:at] = [line for line in lines if not line.startswith(b"x-")]
        return b"\r\n".join((first, *ours)) + b"\r\n\r\n"


ANSWERS = st.builds(
    Answer,
    status=st.sampled_from([200, 201, 204, 299, 302, 304, 400, 429, 500, 599]),
    reason=st.text("OKnope ", max_size=8).map(lambda text: text.strip().encode()),
    headers=HEADERS,
    parts=st.lists(st.binary(min_size=1, max_size=60), max_size=5),
    framing=st.sampled_from(["length", "chunked", "close"]),
    framing_at=st.integers(0, 6),
    trailers=HEADERS,
    informational=st.lists(st.sampled_from([100, 102, 103, 199]), max_size=2),
)


def own(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Those that frame nothing."""
    return [item for item in headers if item[0].startswith(b"x-")]


def split(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """The bytes cut at these places."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:stop] for start, stop in itertools.pairwise(places)]


@settings(max_examples=250)
@given(ANSWERS, CUTS)
def test_an_answer_is_read_as_it_was_said_however_it_is_cut(answer: Answer, cuts: list[int]) -> None:
    """Status, reason, headers in order and case, body; and complete when it is, not before."""
    reader = ResponseReader()
    for _ in range(2 if answer.framing != "close" else 1):  # the next one on the same connection is no different
        reader.begin()
        pieces = split(answer.to_bytes(), cuts)
        for piece in pieces:
            assert not reader.is_complete
            reader.feed(piece)
        is_open_ended = answer.framing == "close" and not answer.is_bare
        assert reader.is_complete is not is_open_ended
        assert reader.end()
        assert (reader.status, reader.reason_phrase, reader.take()) == (answer.status, answer.reason, answer.body)
        assert own(reader.headers) == answer.headers
        assert (reader.may_be_kept, reader.has_leftover) == (answer.framing != "close", False)


@given(
    st.lists(ANSWERS.filter(lambda answer: answer.framing != "close"), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 2), st.one_of(st.just([]), CUTS)), max_size=9),
)
def test_an_answer_that_came_before_is_read_as_if_it_had_not(
    answers: list[Answer], said: list[tuple[int, list[int]]]
) -> None:
    """Law: in any order on one connection, in one piece, which is remembered, or cut, which is not."""
    reader = ResponseReader()
    for index, cuts in said:
        answer = answers[index % len(answers)]
        reader.begin()
        for piece in split(answer.to_bytes(), cuts):
            reader.feed(piece)

        assert (reader.status, reader.reason_phrase, reader.take()) == (answer.status, answer.reason, answer.body)
        assert own(reader.headers) == answer.headers
        assert (reader.is_complete, reader.may_be_kept, reader.has_leftover) == (True, True, False)


def test_what_is_remembered_of_answers_is_bounded() -> None:
    """Each may have a number of its own; a long one is parsed each time."""
    reader = ResponseReader()
    for size in (*range(4), REMEMBERED_BYTES_MAX):
        for number in range(REMEMBERED_MAX):
            reader.begin()
            body = b"%0*d" % (size + 3, number)
            reader.feed(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
            assert reader.take() == body
            assert (reader.answer is not None) == (size < REMEMBERED_BYTES_MAX)

    assert len(_remembered) <= REMEMBERED_MAX


@settings(max_examples=250)
@given(ANSWERS, CUTS, st.integers(0, 10_000))
def test_an_answer_that_breaks_off_at_any_byte_is_not_complete(answer: Answer, cuts: list[int], at: int) -> None:
    """But for a body that ends with its connection, where no client can know."""
    said = answer.to_bytes()
    said = said[: at % len(said)]
    reader = ResponseReader()
    for piece in split(said, cuts):
        reader.feed(piece)

    is_open_ended = answer.framing == "close" and not answer.is_bare
    assert reader.end() is (is_open_ended and reader.is_head_complete)
    assert answer.body.startswith(reader.take())


@given(ANSWERS.filter(lambda answer: answer.framing != "close"), CUTS, st.binary(min_size=1, max_size=40))
def test_what_follows_an_answer_never_changes_it(answer: Answer, cuts: list[int], rest: bytes) -> None:
    """It is marked, so that the connection ends; empty lines alone are passed over."""
    reader = ResponseReader()
    for piece in split(answer.to_bytes() + rest, cuts):
        if reader.is_complete:  # a connection would have ended here
            break
        reader.feed(piece)
    else:
        assert reader.has_leftover or not rest.strip(b"\r\n")

    assert (reader.status, reader.reason_phrase, reader.take()) == (answer.status, answer.reason, answer.body)
    assert own(reader.headers) == answer.headers


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_garbage_is_refused_or_waited_for_and_nothing_else_happens(pieces: list[bytes]) -> None:
    """No exception but the one."""
    reader = ResponseReader()
    try:
        for piece in pieces:
            reader.feed(piece)
    except httpx.RemoteProtocolError as exc:
        assert str(exc)
    else:
        assert not reader.is_complete


@settings(max_examples=250)
@given(
    st.sampled_from(["POST", "PUT", "PATCH", "GET", "DELETE", "HEAD", "BAD METHOD"]),
    st.lists(st.tuples(st.one_of(TOKENS, st.text(max_size=4)), st.one_of(VALUES, st.binary(max_size=12))), max_size=5),
    st.text(max_size=20),
    st.binary(max_size=50),
)
def test_a_request_arrives_as_it_is_or_is_not_written(
    method: str, headers: list[tuple[str, bytes]], path: str, body: bytes
) -> None:
    """No value becomes a second header, no header a second request."""
    fields = [(b"host", b"x"), *((name.encode(), value) for name, value in headers)]
    fields.append((b"content-length", b"%d" % len(body)))
    try:
        url = httpx.URL(scheme="https", host=HOST, path=f"/{path}")
        written = request_bytes(httpx.Request(method, url, headers=fields, stream=httpx.ByteStream(body)))
    except (httpx.LocalProtocolError, httpx.InvalidURL):
        return

    server = h11.Connection(h11.SERVER)
    server.receive_data(written)
    head = server.next_event()
    assert isinstance(head, h11.Request)
    assert (head.method, head.target) == (method.encode(), url.raw_path)
    assert list(head.headers) == [(name.lower(), value) for name, value in fields]
    received = b""
    while isinstance(event := server.next_event(), h11.Data):
        received += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert received == body
    assert server.trailing_data == (b"", False)


@given(st.binary(max_size=20), st.integers(-1, 40), st.booleans())
def test_a_length_that_is_not_the_body_s_is_never_written(body: bytes, length: int, is_chunked: bool) -> None:
    """What follows would be read as another request, or waited for."""
    headers = [("host", HOST), ("content-length", str(length))]
    if is_chunked:
        headers.append(("transfer-encoding", "chunked"))
    bare = httpx.Request("POST", f"https://{HOST}/", headers=headers, stream=httpx.ByteStream(body))
    if length == len(body) and not is_chunked:
        assert request_bytes(bare).endswith(b"\r\n\r\n" + body)
    else:
        with pytest.raises(httpx.LocalProtocolError):
            request_bytes(bare)


@dataclass
class H11Server:
    """Answers over TLS with what it is given, piece by piece, and reads requests as h11 does."""

    context: ssl.SSLContext
    pieces: list[bytes] = field(default_factory=list)
    closes: bool = False
    requests: list[tuple[h11.Request, bytes]] = field(default_factory=list)
    port: int = 0

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.context)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._read(reader):
                for piece in self.pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                if self.closes:
                    break
        except (OSError, h11.RemoteProtocolError):
            pass
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> bool:
        connection = h11.Connection(h11.SERVER)
        body = b""
        head: h11.Request | None = None
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                data = await reader.read(65536)
                if not data:
                    return False
                connection.receive_data(data)
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                self.requests.append((head, body))
                return True
            else:
                return False


@pytest.mark.parametrize("loop", LOOPS)
def test_over_tls_an_attempt_tells_what_h11_said(ca: trustme.CA, tmp_path: Path, loop: str) -> None:
    """Random answers, cuts, garbage behind them and closes at any byte; connections are shared between examples.

    The daemon runs on uvloop where it is installed, whose TLS is another one than asyncio's.
    """
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with asyncio.Runner(loop_factory=importlib.import_module(loop).new_event_loop) as runner:
        server = H11Server(server_context(ca, HOST))
        listening = runner.run(server.start())
        route = ConnectTo(HOST, 443, "127.0.0.1", server.port)
        deliverer = Deliverer(EgressSettings(ca_file=tmp_path / "ca.pem", connect_to=(route,)), masker=Masker())

        @settings(max_examples=150)
        @given(ANSWERS, CUTS, GARBAGE, st.one_of(st.none(), st.integers(0, 10_000)), st.binary(max_size=100))
        def law(answer: Answer, cuts: list[int], garbage: bytes, at: int | None, body: bytes) -> None:
            said = answer.to_bytes()
            is_cut = at is not None
            whole = said if at is None else said[: at % len(said)]
            server.closes = is_cut or answer.framing == "close"
            server.pieces = split(whole + (b"" if server.closes else garbage), cuts)
            server.requests.clear()
            prepared = request(f"https://{HOST}/in", body)

            result = runner.run(deliverer.send(prepared, prepared, timeout_seconds=10))

            assert [item[1] for item in server.requests] == [body]
            _check(result, answer, whole, is_cut=is_cut)

        law()
        runner.run(deliverer.__aexit__())
        listening.close()


def _check(result: AttemptResult, answer: Answer, said: bytes, *, is_cut: bool) -> None:
    assert result.wrote
    if is_cut and _ending(answer, said) != "whole":
        assert result.fault is (Fault.RESET if result.status is None or 200 <= result.status < 300 else Fault.STATUS)
        return
    assert (result.status, result.response is not None) == (answer.status, True)
    assert result.fault is (None if 200 <= answer.status < 300 else Fault.STATUS)
    if not is_cut:
        assert result.response is not None
        assert result.response.body == answer.body.decode("utf-8", "replace")
        shown = [(name.decode(), value.decode("utf-8", "replace")) for name, value in answer.headers]
        assert [item for item in result.response.headers if item[0].startswith("x-")] == shown


def _ending(answer: Answer, said: bytes) -> str:
    """Whether what was said before the close is a whole answer, by h11's client."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="POST", target="/", headers=[("host", "x"), ("content-length", "0")]))
    client.send(h11.EndOfMessage())
    client.receive_data(said)
    client.receive_data(b"")
    try:
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
                return "half"
    except h11.RemoteProtocolError:
        return "half"
    return "whole"


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 300_000])
def test_a_body_of_any_size_is_read_in_bounded_pieces(size: int) -> None:
    """What is taken is forgotten."""
    reader = ResponseReader()
    reader.feed(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
    read = 0
    for piece in split(b"x" * size, range(0, size, 4096)):
        reader.feed(piece)
        assert reader.buffered <= 4096
        read += len(reader.take())

    assert (read, reader.is_complete, reader.buffered) == (size, True, 0)
