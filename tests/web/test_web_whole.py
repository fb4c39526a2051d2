"""A plain event in one piece is read without the parser of HTTP: as that would read it, or not at all."""

import asyncio
import json
import time
from dataclasses import dataclass, field

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st
from served import Room, event, raw, running

from reconciler.web.app import build_app
from reconciler.web.express import FIELDS_MAX, WHOLE_HEAD_MAX_BYTES, WHOLE_MAX_BYTES, read_whole

BODY = raw(event(1))
LINES = [
    b"Host: 127.0.0.1:8000",
    b"host:127.0.0.1",
    b"Content-Type: application/json; charset=utf-8",
    b'Idempotency-Key: "a b"',
    b"idempotency-key: twice",
    b"Authorization: Bearer abc.def",
    b"Connection: keep-alive",
    b"Connection: close",
    b"Proxy-Connection: close",
    b"Transfer-Encoding: chunked",
    b"Expect: 100-continue",
    b"Upgrade: h2c",
    b"X-Under_score: 1",
    b"X-Empty:",
    b"X-Space : 1",
    b"X-Spaces:  two",
    b"X-Trailing: a ",
    b"X-Tab: a\tb",
    b" folded",
    b"X-Latin: \xe9",
    b"X-Colons: a: b: c",
    b"no colon",
]


def request(body: bytes = BODY, *lines: bytes, start: bytes = b"POST /v1/events HTTP/1.1", length: int = 0) -> bytes:
    head = [start, b"Host: 127.0.0.1", b"Content-Length: %d" % (len(body) + length), *lines]
    return b"\r\n".join([*head, b"", b""]) + body


@dataclass
class Parsed:
    """What the parser says of bytes."""

    url: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    messages: int = 0
    begun: int = 0

    @classmethod
    def of(cls, data: bytes) -> "tuple[Parsed, httptools.HttpRequestParser]":
        found = cls()
        parser = httptools.HttpRequestParser(found)
        parser.feed_data(data)
        return found, parser

    def on_message_begin(self) -> None:
        self.begun += 1

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.messages += 1


@st.composite
def almost_plain(draw: st.DrawFn) -> bytes:
    """A request for intake with lines of all sorts, in which some bytes may have been changed."""
    lines = draw(st.lists(st.sampled_from(LINES), max_size=6))
    start = draw(st.sampled_from([b"POST /v1/events HTTP/1.1"] * 6 + [b"POST /v1/events HTTP/1.0", b"PUT /v1/events"]))
    body = draw(st.sampled_from([BODY, b"{}", b"\r\n\r\n", b""]))
    data = request(body, *lines, start=start, length=draw(st.sampled_from([0, 0, 0, 1, -1])))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(data)))
        data = (
            data[:at] + draw(st.sampled_from([b"", b"\r", b"\n", b":", b" ", b"\x00", b"\xff", b"0"])) + data[at + 1 :]
        )
    return data


@given(data=almost_plain())
def test_what_is_read_without_the_parser_is_what_the_parser_reads(data: bytes) -> None:
    """One request to its end and no byte more, the same headers and the same body: so nobody can say one thing to us
    and another to a proxy before us."""
    whole = read_whole(data)

    if whole is not None:
        found, parser = Parsed.of(data)
        assert (found.begun, found.messages, found.url) == (1, 1, b"/v1/events")
        assert (parser.get_method(), parser.get_http_version(), parser.should_upgrade()) == (b"POST", "1.1", False)
        assert (dict(found.headers), found.body) == whole
        assert len(found.headers) == len(whole[0])


@pytest.mark.parametrize("lines", [[], LINES[2:4], [LINES[5], LINES[6]], [LINES[-2]]])
def test_a_plain_event_in_one_piece_is_read(lines: list[bytes]) -> None:
    """Else nothing would be gained."""
    whole = read_whole(request(BODY, *lines))

    assert whole is not None
    assert (len(whole[0]), whole[1]) == (2 + len(lines), BODY)


@pytest.mark.parametrize(
    "data",
    [
        *(request(BODY, line) for line in (LINES[1], *LINES[7:-2], LINES[-1])),
        request(BODY, LINES[3], LINES[4]),
        request(BODY, b"X-Long: " + b"x" * WHOLE_HEAD_MAX_BYTES),
        request(BODY, *(b"A%d: x" % number for number in range(FIELDS_MAX + 1))),
        request(b"x" * (WHOLE_MAX_BYTES + 1)),
        request()[:-1],
        request() + b"\r\n",
        request() + request(),
        b"\r\n" + request(),
        request(start=b"POST /v1/events?a HTTP/1.1"),
        request(start=b"POST /v1/events HTTP/1.0"),
        request(b""),
    ],
)
def test_all_else_is_for_the_parser(data: bytes) -> None:
    """What could be read in two ways, is no plain event, or not here to its end."""
    assert read_whole(data) is None


async def test_an_idle_connection_is_closed_in_time(room: Room) -> None:
    """Counted from the last answer, however many there were before: the timer runs on from one to the next."""
    app = build_app(store=room.store, live=room.live, intake=room.intake, status=dict)
    async with running(app, keep_seconds=0.3) as url:
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        for number in range(5):
            writer.write(request(raw(event(number))))
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            answered_at = time.monotonic()
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            assert json.loads(await reader.readexactly(length))["accepted"] == 1
            await asyncio.sleep(0.1)  # the sender's pace, which is what is tested
        rest = await asyncio.wait_for(reader.read(), 10)
        idle_seconds = time.monotonic() - answered_at
        writer.close()

    assert rest == b""
    assert idle_seconds >= 0.29
