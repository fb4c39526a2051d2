"""What both transports must do alike with what receivers do on the wire; where they differ is in docs/transport.md.

The rest of the suite is the tests of attempts and of kept connections beside this file, which run over both as well.
"""

import asyncio
from dataclasses import replace

import httpx
import pytest
from egress_receiver import HOST, OK, Conversation, Receiver, Send, request

from reconciler.egress.client import DeliveryClient
from reconciler.egress.deliver import Deliverer
from reconciler.egress.mask import Masker
from reconciler.egress.received import BODY_KEPT_MAX
from reconciler.egress.transport import make_transport
from reconciler.models.delivery import AttemptResult, Fault
from reconciler.settings import EgressSettings

URL = f"https://{HOST}/in"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def body_of(result: AttemptResult) -> str:
    """What the receiver answered."""
    assert result.response is not None
    return result.response.body


async def gone(receiver: Receiver) -> None:
    """Wait until no connection is left."""
    async with asyncio.timeout(5):
        while receiver.open_connections:
            receiver.closed.clear()
            await receiver.closed.wait()


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (CHUNKED + b"2\r\nok\r\n0\r\n\r\n", "ok"),
        (CHUNKED + b"1\r\no\r\n1;name=value\r\nk\r\n0\r\n\r\n", "ok"),
        (CHUNKED + b"2\r\nok\r\n0\r\nx-trailer: 1\r\n\r\n", "ok"),
        (CHUNKED + b"0\r\n\r\n", ""),
        (CHUNKED + b"2 \r\nok\r\n0\r\n\r\n", "ok"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "ok"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", ""),
        (b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok", "ok"),
        (b"HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\nok", "ok"),
        (b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok", "ok"),
        (b"HTTP/1.1 200 OK\r\ncontent-length:2\r\nx-empty:\r\nx-blank: \t \r\n\r\nok", "ok"),
        (b"HTTP/1.1 200 OK\r\nx-obs: caf\xe9\r\ncontent-length: 2\r\n\r\nok", "ok"),
        (b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\nok", "ok"),
    ],
)
async def test_an_answer_that_ends_by_itself_leaves_its_connection_for_the_next(
    receiver: Receiver, send: Send, answer: bytes, body: str
) -> None:
    """Each way in which HTTP/1.1 says where a body ends (RFC 9112, section 6)."""
    receiver.script = [answer]

    results = [await send(), await send()]

    assert [(result.fault, body_of(result)) for result in results] == [(None, body), (None, "ok")]
    assert receiver.connections == 1


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 200 OK\r\n\r\nhello", b"HTTP/1.0 200 OK\r\n\r\nhello", b"HTTP/1.1 200 OK\r\n\r\n"]
)
async def test_a_body_may_end_with_its_connection(receiver: Receiver, send: Send, answer: bytes) -> None:
    """RFC 9112, section 6.3, rule 8: an orderly close is the end."""

    async def answer_and_close(conversation: Conversation) -> None:
        await conversation.say(answer)
        conversation.writer.close()
        await conversation.until_closed()

    receiver.script = [answer_and_close]

    result = await send()

    assert (result.fault, body_of(result)) == (None, answer.partition(b"\r\n\r\n")[2].decode())


@pytest.mark.parametrize("head", [CHUNKED + b"2\r\nok\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok"])
async def test_an_orderly_close_inside_a_body_that_says_its_length_is_a_reset(
    receiver: Receiver, send: Send, head: bytes
) -> None:
    """Half a success is none: the receiver may have run it."""

    async def answer_and_close(conversation: Conversation) -> None:
        await conversation.say(head)
        conversation.writer.close()
        await conversation.until_closed()

    receiver.script = [answer_and_close]

    result = await send()

    assert (result.fault, result.status, result.wrote) == (Fault.RESET, 200, True)
    assert body_of(result) == "ok"


async def test_an_orderly_close_before_the_answer_is_a_reset(receiver: Receiver, send: Send) -> None:
    """A process manager that restarts the receiver."""

    async def close(conversation: Conversation) -> None:
        conversation.writer.close()
        await conversation.until_closed()

    receiver.script = [close]

    result = await send()

    assert (result.fault, result.wrote) == (Fault.RESET, True)


async def test_an_answer_in_single_bytes_is_one_answer(receiver: Receiver, send: Send) -> None:
    """TCP keeps no boundaries; the connection is kept as ever."""

    async def trickle(conversation: Conversation) -> None:
        answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Made\r\nX-A: b\r\ntransfer-encoding: chunked\r\n\r\n"
        for byte in answer + b"2\r\nok\r\n0\r\n\r\n":
            await conversation.say(bytes((byte,)))

    receiver.script = [trickle]

    result = await send()
    await send()

    assert (result.fault, result.status, body_of(result)) == (None, 201, "ok")
    assert result.response is not None
    assert (result.response.reason_phrase, result.response.headers[0]) == ("Made", ("X-A", "b"))
    assert receiver.connections == 1


async def test_a_head_that_drips_is_a_timeout(receiver: Receiver, send: Send) -> None:
    """A slow loris cannot hold an attempt longer than its deadline, however often it says a little."""

    async def drip(conversation: Conversation) -> None:
        await conversation.say(b"HTTP/1.1 200 OK\r\n")
        while not conversation.reader.at_eof():
            await conversation.say(b"x-a: b\r\n")
            await asyncio.sleep(0.02)

    receiver.script = [drip]

    result = await send(timeout_seconds=0.3)

    assert (result.fault, result.status, result.wrote) == (Fault.TIMEOUT, None, True)
    assert result.timings.first_byte_ms is not None
    await gone(receiver)


async def test_an_answer_that_comes_before_the_request_is_written_is_taken(
    receiver: Receiver, deliverer: Deliverer
) -> None:
    """The receiver refuses after the head and reads no further."""
    over = asyncio.Event()

    async def refuse(conversation: Conversation) -> None:
        await conversation.say(b"HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno")
        await over.wait()
        conversation.reset()

    receiver.script = [refuse]
    receiver.is_lazy = True
    large = request(URL, b"x" * 20_000_000)

    result = await deliverer.send(large, large, timeout_seconds=10)
    over.set()

    assert (result.fault, result.status, result.wrote) == (Fault.STATUS, 413, True)


async def test_a_large_request_arrives_whole(receiver: Receiver, deliverer: Deliverer) -> None:
    """Larger than any buffer on the way."""
    large = request(URL, bytes(range(256)) * 8000)

    result = await deliverer.send(large, large, timeout_seconds=10)

    assert result.fault is None
    assert receiver.requests[0].body == large.body


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_request_without_a_body_says_nothing_of_one(
    receiver: Receiver, deliverer: Deliverer, method: str
) -> None:
    """RFC 9110, section 8.6."""
    bare = request(URL)._replace(method=method, body=None)

    result = await deliverer.send(bare, bare, timeout_seconds=10)

    assert result.fault is None
    assert not {"content-length", "transfer-encoding"} & set(receiver.requests[0].headers)


async def test_an_empty_body_is_announced_as_empty(receiver: Receiver, deliverer: Deliverer) -> None:
    """A POST without a length would be waited for."""
    empty = request(URL)._replace(body=b"")

    result = await deliverer.send(empty, empty, timeout_seconds=10)

    assert result.fault is None
    assert receiver.requests[0].headers["content-length"] == "0"


@pytest.mark.parametrize(
    "rest", [b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n", b"\0"]
)
async def test_whatever_follows_an_answer_changes_nothing_of_it(receiver: Receiver, send: Send, rest: bytes) -> None:
    """Bytes nobody asked for cost the receiver its connection, and the delivery nothing."""
    receiver.script = [OK + rest]

    results = [await send(), await send()]

    assert [(result.fault, result.status, body_of(result)) for result in results] == [(None, 200, "ok")] * 2
    assert results[0].response is not None
    assert results[0].response.reason_phrase == "OK"
    assert receiver.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 099 Odd\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 20 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nxx",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx y: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
    ],
)
async def test_an_answer_that_could_be_read_in_two_ways_is_a_protocol_fault(
    receiver: Receiver, send: Send, answer: bytes
) -> None:
    """Nobody knows what such a receiver did; its connection is not used again."""
    receiver.script = [answer]

    result = await send()
    after = await send()

    assert (result.fault, result.status, result.wrote) == (Fault.PROTOCOL, None, True)
    assert (after.fault, receiver.connections) == (None, 2)


async def test_what_is_no_answer_is_quoted_and_masked(receiver: Receiver, send: Send, masker: Masker) -> None:
    """Whoever set the webhook up sees what answers there."""
    masker.add("s3cr3t-token")
    masker.add("long-one-" * 50)
    receiver.script = [b"220 s3cr3t-token ESMTP " + b"long-one-" * 50 + b"x" * 1000 + b"\r\n\r\n"]

    result = await send()

    assert result.fault is Fault.PROTOCOL
    assert "220 *** ESMTP ***x" in result.detail
    assert len(result.detail) <= 256


@pytest.mark.parametrize("body", [b"zz\r\n", b"2\r\noktoo much"])
async def test_a_refusal_whose_body_is_garbage_is_still_a_refusal(receiver: Receiver, send: Send, body: bytes) -> None:
    """Also where the garbage comes together with the head: the status and Retry-After have arrived."""
    receiver.script = [b"HTTP/1.1 503 Away\r\nretry-after: 7\r\ntransfer-encoding: chunked\r\n\r\n" + body]

    result = await send()
    await send()

    assert (result.fault, result.status, result.retry_after_seconds) == (Fault.STATUS, 503, 7)
    assert receiver.connections == 2


async def test_endless_trailers_are_cut_off(receiver: Receiver, send: Send) -> None:
    """They must not fill our memory either; the answer is not complete without their end."""

    async def flood(conversation: Conversation) -> None:
        await conversation.say(CHUNKED + b"2\r\nok\r\n0\r\n")
        while True:
            await conversation.say(b"x-filler: " + b"x" * 4096 + b"\r\n")

    receiver.script = [flood]

    result = await send()

    assert (result.fault, result.status, result.wrote) == (Fault.PROTOCOL, 200, True)


async def test_the_first_byte_has_a_deadline_of_its_own(receiver: Receiver, settings: EgressSettings) -> None:
    """httpx's `read` and `connect` timeouts hold on the seam too."""
    receiver.script = [Conversation.until_closed]
    async with DeliveryClient(make_transport(settings)) as client:
        timeout = {"connect": 5.0, "read": 0.1, "write": 5.0, "pool": 5.0}
        with pytest.raises(httpx.ReadTimeout):
            await client.send(httpx.Request("POST", URL, content=b"{}", extensions={"timeout": timeout}))


async def test_the_way_to_a_connection_has_a_deadline_of_its_own(settings: EgressSettings) -> None:
    """A name server that hangs, and a client that waits for 0.1 s."""

    async def hang(host: str, port: int) -> list[str]:
        return await asyncio.Future()

    async with DeliveryClient(make_transport(replace(settings, connect_to=()), resolve=hang)) as client:
        timeout = {"connect": 0.1, "read": 5.0, "write": 5.0, "pool": 5.0}
        with pytest.raises(httpx.ConnectTimeout):
            await client.send(httpx.Request("POST", URL, content=b"{}", extensions={"timeout": timeout}))


async def test_the_wait_before_the_write_may_outlast_an_idle_connection_twice(receiver: Receiver, send: Send) -> None:
    """What is written, is written on a connection that stands; the deadline begins anew only by what was waited."""
    await send()
    waits = 0

    async def before_write() -> None:
        nonlocal waits
        waits += 1
        await asyncio.sleep(0.05)

    result = await send(before_write=before_write, timeout_seconds=5)

    assert (result.fault, waits, receiver.connections) == (None, 1, 1)


async def test_cancelling_inside_a_body_closes_the_connection(receiver: Receiver, settings: EgressSettings) -> None:
    """A drained daemon leaves nothing behind that still runs."""

    async def half(conversation: Conversation) -> None:
        await conversation.say(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
        await conversation.until_closed()

    receiver.script = [half]
    arrived = asyncio.Event()
    async with DeliveryClient(make_transport(settings)) as client:
        response = await client.send(httpx.Request("POST", URL, content=b"{}"), stream=True)

        async def read() -> None:
            try:
                async for part in response.aiter_raw():
                    assert part == b"half"
                    arrived.set()
            finally:
                await response.aclose()

        task = asyncio.create_task(read())
        await asyncio.wait_for(arrived.wait(), 5)
        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task
        await gone(receiver)


async def test_many_at_once_get_each_its_own_answer(receiver: Receiver, deliverer: Deliverer) -> None:
    """No answer goes to another request, while connections are made, kept, taken and broken."""

    async def echo(conversation: Conversation) -> None:
        target = receiver.requests[-1].target.encode()
        number = int(target[2:])
        await asyncio.sleep(0)
        if number % 7 == 0:
            conversation.reset()
            return
        ending = b"connection: close\r\n" if number % 5 == 0 else b""
        await conversation.say(b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n%b" % (ending, len(target), target))

    receiver.script = [echo] * 200
    prepared = [request(f"https://{HOST}/n{number}") for number in range(200)]
    results = await asyncio.gather(*(deliverer.send(item, item, timeout_seconds=20) for item in prepared))

    for number, result in enumerate(results):
        if number % 7 == 0:
            assert (result.fault, result.wrote) == (Fault.RESET, True)
        else:
            assert (result.fault, body_of(result)) == (None, f"/n{number}")
    assert len(receiver.requests) == 200


async def test_the_seam_is_httpx_s_own(receiver: Receiver, settings: EgressSettings) -> None:
    """`post`, `build_request`, streaming and `Response` work as with any transport."""
    receiver.script = [OK, CHUNKED + b"20000\r\n" + b"x" * 0x20000 + b"\r\n0\r\n\r\n"]
    async with DeliveryClient(make_transport(settings)) as client:
        first = await client.post(URL, json={"a": 1})
        async with client.stream("POST", URL, content=b"x") as second:
            size = sum([len(part) async for part in second.aiter_bytes()])

    assert (first.status_code, first.reason_phrase, first.text, first.http_version) == (200, "OK", "ok", "HTTP/1.1")
    assert first.request.url == URL
    assert size == 0x20000


async def test_plain_httpx_takes_the_transport_too(receiver: Receiver, settings: EgressSettings) -> None:
    """It is an `httpx.AsyncBaseTransport` like any other; redirects are its caller's then."""
    receiver.script = [b"HTTP/1.1 302 Found\r\nlocation: https://other.example.com/\r\ncontent-length: 0\r\n\r\n"]
    async with httpx.AsyncClient(transport=make_transport(settings)) as client:
        response = await client.put(URL, content=b"x")

    assert response.status_code == 302


async def test_a_body_beyond_what_is_kept_is_cut_at_the_same_place(receiver: Receiver, send: Send) -> None:
    """In one piece, in chunks and until the end of the connection."""
    size = BODY_KEPT_MAX + 50_000

    async def until_the_end(conversation: Conversation) -> None:
        await conversation.say(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * size)
        conversation.writer.close()
        await conversation.until_closed()

    receiver.script = [
        b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size,
        CHUNKED + b"%x\r\n" % size + b"x" * size + b"\r\n0\r\n\r\n",
        until_the_end,
    ]

    for result in [await send() for _ in range(3)]:
        assert (result.fault, body_of(result)) == (None, "x" * BODY_KEPT_MAX)
        assert result.response is not None
        assert result.response.truncated


async def test_closing_twice_is_no_error(settings: EgressSettings, receiver: Receiver) -> None:
    """And nothing stays open."""
    deliverer = Deliverer(settings, masker=Masker())
    async with deliverer:
        await deliverer.send(request(URL), request(URL), timeout_seconds=10)
    await deliverer.__aexit__()
    await gone(receiver)


@pytest.mark.parametrize(
    "headers",
    [
        [("content-length", "2")],
        [("host", HOST), ("host", "other.example.com"), ("content-length", "2")],
        [("host", HOST), ("content-length", "2"), ("content-length", "3")],
        [("host", HOST), ("x-a", "b\r\ncontent-length: 0"), ("content-length", "2")],
    ],
)
async def test_headers_that_would_let_one_request_pass_for_another_are_not_sent(
    receiver: Receiver, settings: EgressSettings, headers: list[tuple[str, str]]
) -> None:
    """No host or two, two lengths, a line end in a value (RFC 9112, sections 3.2 and 6.3)."""
    bare = httpx.Request("POST", URL, headers=headers, stream=httpx.ByteStream(b"{}"))
    async with DeliveryClient(make_transport(settings)) as client:
        with pytest.raises(httpx.LocalProtocolError):
            await client.send(bare)

    assert [item.body for item in receiver.requests] == []
