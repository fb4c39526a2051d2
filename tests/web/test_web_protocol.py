"""What a client holds of the daemon before, between and behind its requests is bounded; by raw sockets."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from served import Room, event, exchange, raw, running

from reconciler.web import protocol
from reconciler.web.app import build_app
from reconciler.web.express import FIELDS_MAX
from reconciler.web.protocol import HEAD_MAX

GET = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"


@pytest.fixture
async def url(room: Room) -> AsyncIterator[str]:
    async with running(build_app(store=room.store, live=room.live, intake=room.intake, status=dict)) as base:
        yield base


@dataclass
class Line:
    """One connection, by hand."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        with contextlib.suppress(OSError):
            await self.writer.drain()

    async def rest(self) -> bytes:
        """All that comes until the other side closes."""
        data = b""
        with contextlib.suppress(OSError):
            async with asyncio.timeout(10):
                while part := await self.reader.read(65536):
                    data += part
        return data


@contextlib.asynccontextmanager
async def line(url: str) -> AsyncIterator[Line]:
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Line(reader, writer)
    finally:
        writer.close()


async def test_who_says_nothing_is_let_go(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection alone is not worth a file; nothing is said to who said nothing."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.05)
    async with line(url) as client:
        assert await client.rest() == b""


@pytest.mark.parametrize("bytes_", [b"\r\n", b"\r\n\r\n\r\n"])
async def test_line_ends_are_no_request(url: str, monkeypatch: pytest.MonkeyPatch, bytes_: bytes) -> None:
    """They may stand before one (RFC 9112, section 2.2), and prolong nothing."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.1)
    async with line(url) as client:
        await client.say(bytes_)
        assert await client.rest() == b""


@pytest.mark.parametrize("before", [b"", GET])
async def test_a_head_that_trickles_is_408(url: str, monkeypatch: pytest.MonkeyPatch, before: bytes) -> None:
    """However often a byte comes; on a new connection and on one that was kept."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    async with line(url) as client:
        await client.say(before)
        if before:
            await client.reader.readuntil(b"}")
        trickle = asyncio.create_task(_trickle(client, b"GET / HTTP/1.1\r\nx: ", b"y"))
        answer = await client.rest()
        trickle.cancel()

    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"connection: close" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == 408


async def _trickle(client: Line, head: bytes, byte: bytes) -> None:
    await client.say(head)
    while True:
        await client.say(byte)
        await asyncio.sleep(0.01)  # the sender's pace, which is what is tested


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * (HEAD_MAX + 1) + b" HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nx: " + b"a" * HEAD_MAX + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: " + b"a" * 600_000,
        b"GET / HTTP/1.1\r\n" + b"a" * 600_000,
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * (FIELDS_MAX + 1) + b"\r\n",
    ],
)
async def test_a_head_that_is_too_long_is_431(url: str, head: bytes) -> None:
    """It would be kept in memory until its end."""
    async with line(url) as client:
        await client.say(head)
        answer = await client.rest()

    assert answer.startswith((b"HTTP/1.1 431 Request Header Fields Too Large\r\n", b"HTTP/1.1 400 Bad Request\r\n"))
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_a_long_body_is_no_long_head(url: str) -> None:
    """What is counted is the head alone, also of the next request on the connection."""
    body = raw(event(1, justification="a" * 200_000))
    post = b"POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    async with line(url) as client:
        await client.say(post + post + GET.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        answer = await client.rest()

    assert answer.count(b"HTTP/1.1 202 Accepted\r\n") == 2
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 1


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/3.7\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        b"GE\x00T / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef",
        b"POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
        b"POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        b"CONNECT inside.example:443 HTTP/1.1\r\nhost: inside.example:443\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_400_without_insides(url: str, room: Room, request_: bytes) -> None:
    """Problem details (RFC 9457), one answer, and nothing stored."""
    async with line(url) as client:
        await client.say(request_)
        answer = await client.rest()

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 421 "))
    assert b"content-type: application/problem+json" in head
    assert b"uvicorn" not in answer and b"httptools" not in answer and b"Traceback" not in answer
    assert json.loads(body)["status"] in (400, 421)
    assert await room.store.events() == ()


async def test_the_answer_before_what_is_no_http_still_comes(url: str) -> None:
    """And its place is not taken by the refusal of what came behind it."""
    body = raw(event(1))
    post = b"POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    async with line(url) as client:
        await client.say(post + b"nonsense\r\n\r\n")
        answer = await client.rest()

    assert answer.startswith(b"HTTP/1.1 202 Accepted\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_a_trailer_is_no_header(url: str, room: Room) -> None:
    """It comes when all is judged: an id in it names no event."""
    body = raw(event(1))
    request = (
        b"POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\ntrailer: idempotency-key\r\n\r\n"
        b"%x\r\n%s\r\n0\r\nidempotency-key: mine\r\n\r\n" % (len(body), body)
    )

    status, _, answer = await exchange(url, request)

    assert status == 202
    assert json.loads(answer)["events"][0]["id"] != "mine"


@pytest.mark.parametrize(
    "framing",
    [b"0\r\n" + b"x: y\r\n" * 10_000, b"0\r\nx: " + b"y" * 600_000, b"1;x=" + b"y" * 600_000, b"0" * 600_000],
)
async def test_endless_framing_ends(url: str, framing: bytes) -> None:
    """Trailers, a trailer, an extension of a chunk, its size: as much as a head, and no more."""
    start = b"POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n"
    async with line(url) as client:
        await client.say(start)
        await client.say(framing)
        answer = await client.rest()

    assert answer.startswith(b"HTTP/1.1 431 ")


async def test_the_rest_of_an_answered_request_is_not_waited_for(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that nobody wants, and that never ends, holds a connection for a while only."""
    monkeypatch.setattr(protocol, "REST_SECONDS", 0.1)
    async with line(url) as client:
        await client.say(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 1000000\r\n\r\n")
        trickle = asyncio.create_task(_trickle(client, b"", b"y"))
        answer = await client.rest()
        trickle.cancel()

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_an_answer_that_nobody_takes_is_given_up(room: Room, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its buffer does not move: the connection is cut."""
    monkeypatch.setattr(protocol, "ANSWER_SECONDS", 0.1)
    cut = asyncio.Event()
    monkeypatch.setattr(protocol, "log", lambda name, **facts: cut.set() if name == "web.stuck" else None)
    body = raw([event(number, justification="b" * 8000) for number in range(900)])
    post = b"POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    assert (await exchange(url, post))[0] == 202
    async with line(url) as client:
        for _ in range(200):
            client.writer.write(b"GET /v1/events?view=stored&limit=900 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        async with asyncio.timeout(20):
            await cut.wait()


async def test_there_are_only_so_many_connections(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deliveries need files too; one more is told so."""
    monkeypatch.setattr(protocol, "connections_max", lambda: 2)
    async with line(url) as first, line(url) as second:
        await first.say(GET)
        await second.say(GET)
        await first.reader.readuntil(b"}")
        await second.reader.readuntil(b"}")
        async with line(url) as third:
            assert (await third.rest()).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")

    async with asyncio.timeout(10):
        while (await exchange(url, GET))[0] != 200:
            pass  # until the closed ones are gone
