"""What one attempt reports, provoked by a real receiver over TLS."""

import asyncio

import pytest
from egress_receiver import HOST, OK, Conversation, Receiver, Send, request

from reconciler.egress.deliver import Deliverer
from reconciler.egress.mask import Masker
from reconciler.egress.received import BODY_KEPT_MAX
from reconciler.models.delivery import Fault


def answer(status: str, *headers: str, body: str = "") -> bytes:
    """A whole response."""
    lines = (f"HTTP/1.1 {status}", *headers, f"content-length: {len(body)}", "", body)
    return "\r\n".join(lines).encode()


async def test_a_2xx_is_no_fault_and_shows_all_that_happened(receiver: Receiver, send: Send) -> None:
    """Invocation data: request, response, timings in order, address, TLS and the operator's target."""
    receiver.script = [answer("200 OK", "x-id: 7", body='{"status": "ok"}')]

    result = await send()

    assert (result.fault, result.status, result.wrote, result.outcome) == (None, 200, True, None)
    assert result.response is not None
    assert result.response.body == '{"status": "ok"}'
    assert ("x-id", "7") in result.response.headers
    assert (result.response.body_bytes, result.response.truncated) == (16, False)
    assert result.address == f"127.0.0.1:{receiver.port}"
    assert result.connect_to == f"{HOST}:443:127.0.0.1:{receiver.port}"
    assert result.tls is not None
    assert result.tls.startswith("TLSv1.")
    timings = result.timings
    marks = [timings.dns_ms, timings.connect_ms, timings.tls_ms, timings.first_byte_ms, timings.total_ms]
    assert all(mark is not None for mark in marks)
    assert marks == sorted(mark for mark in marks if mark is not None)


async def test_the_receiver_sees_the_request_as_prepared(receiver: Receiver, deliverer: Deliverer) -> None:
    """Method, target and body as they are; the shown request differs from it only where secrets stand."""
    prepared = request(f"https://{HOST}/flo/in%20voke?clientToken=abc", b'{"t": "abc"}', x_token="abc", x_name="Zoë")
    shown = request(f"https://{HOST}/flo/in%20voke?clientToken=***", b'{"t": "***"}', x_token="***", x_name="Zoë")

    result = await deliverer.send(prepared, shown, timeout_seconds=10)

    received = receiver.requests[0]
    assert received.target == "/flo/in%20voke?clientToken=abc"
    assert received.body == b'{"t": "abc"}'
    assert received.headers["x-token"] == "abc"
    assert received.headers["x-name"] == "Zoë"
    assert received.headers["host"] == HOST
    assert received.headers["accept-encoding"] == "identity"
    assert "cookie" not in received.headers
    assert result.request is not None
    assert "abc" not in str(result.request)
    assert dict(result.request.headers)["user-agent"].startswith("reconciler/")


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 403, 404, 410, 429, 500, 503, 599])
async def test_an_answer_that_is_not_2xx_is_a_status_fault(receiver: Receiver, send: Send, status: int) -> None:
    """The status says what it means; a redirect is an answer like any other and is not followed."""
    receiver.script = [answer(f"{status} Nope", "location: https://other.example.com/")]

    result = await send()

    assert (result.fault, result.status, result.wrote) == (Fault.STATUS, status, True)
    assert result.detail == f"the receiver answered {status} Nope"
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("status", ["204 No Content", "201 Created", "299 Odd"])
async def test_every_2xx_is_no_fault(receiver: Receiver, send: Send, status: str) -> None:
    """Also without a body."""
    receiver.script = [f"HTTP/1.1 {status}\r\n\r\n".encode()] if status.startswith("204") else [answer(status)]

    result = await send()

    assert result.fault is None


async def test_a_304_has_no_body_and_is_a_status_fault(receiver: Receiver, send: Send) -> None:
    """RFC 9110, section 15.4.5: its content-length does not announce a body."""
    receiver.script = [b"HTTP/1.1 304 Not Modified\r\ncontent-length: 10\r\n\r\n"]

    result = await send()

    assert (result.fault, result.status) == (Fault.STATUS, 304)


async def test_informational_answers_are_passed_over(receiver: Receiver, send: Send) -> None:
    """RFC 9110, section 15.2: any number of 1xx may come before the answer."""
    receiver.script = [b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + OK]

    result = await send()

    assert (result.fault, result.status) == (None, 200)


async def test_a_switch_of_protocols_is_a_protocol_fault(receiver: Receiver, send: Send) -> None:
    """Nobody asked for another protocol (RFC 9110, section 7.8); the connection is not used again."""
    receiver.script = [b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nxxxx"]

    result = await send()
    await send()

    assert (result.fault, result.status) == (Fault.PROTOCOL, None)
    assert receiver.connections == 2


async def test_a_slow_answer_is_a_timeout_that_may_have_run(receiver: Receiver, send: Send) -> None:
    """The deadline covers the whole attempt; after the write nobody knows whether the receiver ran it."""
    receiver.script = [Conversation.until_closed]

    result = await send(timeout_seconds=0.3)

    assert (result.fault, result.status, result.wrote) == (Fault.TIMEOUT, None, True)
    assert result.detail == "no complete answer within 0.3 s"
    assert result.timings.first_byte_ms is None


async def test_a_body_that_drips_is_a_timeout_with_what_came(receiver: Receiver, send: Send) -> None:
    """Bytes now and then do not extend the deadline."""

    async def drip(conversation: Conversation) -> None:
        await conversation.say(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
        await conversation.until_closed()

    receiver.script = [drip]

    result = await send(timeout_seconds=0.3)

    assert (result.fault, result.status) == (Fault.TIMEOUT, 200)
    assert result.response is not None
    assert (result.response.body, result.response.truncated) == ("half", True)


async def test_a_reset_before_the_answer_is_a_reset_that_may_have_run(receiver: Receiver, send: Send) -> None:
    """The receiver read the request and then dropped the connection."""

    async def reset(conversation: Conversation) -> None:
        conversation.reset()

    receiver.script = [reset]

    result = await send()

    assert (result.fault, result.status, result.wrote) == (Fault.RESET, None, True)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf", b"HTTP/1.1 200 OK\r\nx-half: "]
)
async def test_a_reset_inside_the_answer_is_a_reset(receiver: Receiver, send: Send, head: bytes) -> None:
    """Half an answer is none, in its head or in its body."""

    async def half(conversation: Conversation) -> None:
        await conversation.say(head)
        conversation.reset()

    receiver.script = [half]

    result = await send()

    assert (result.fault, result.wrote) == (Fault.RESET, True)


async def test_a_refusal_that_breaks_off_is_still_a_refusal(receiver: Receiver, send: Send) -> None:
    """Its status has arrived, and no rest of its body would change it."""

    async def half(conversation: Conversation) -> None:
        await conversation.say(b"HTTP/1.1 503 Away\r\nretry-after: 7\r\ncontent-length: 100\r\n\r\nhalf")
        conversation.reset()

    receiver.script = [half]

    result = await send()

    assert (result.fault, result.status, result.retry_after_seconds) == (Fault.STATUS, 503, 7)


@pytest.mark.parametrize(
    "garbage",
    [
        b"HELLO\r\n\r\n",
        b"\x00\x01\x02\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_garbage_is_a_protocol_fault_that_may_have_run(receiver: Receiver, send: Send, garbage: bytes) -> None:
    """Something that is not HTTP/1.1 answered."""
    receiver.script = [garbage]

    result = await send()

    assert (result.fault, result.wrote) == (Fault.PROTOCOL, True)


async def test_huge_headers_are_a_protocol_fault(receiver: Receiver, send: Send) -> None:
    """A head without an end must not fill our memory."""

    async def flood(conversation: Conversation) -> None:
        await conversation.say(b"HTTP/1.1 200 OK\r\n")
        while True:
            await conversation.say(b"x-filler: " + b"x" * 4096 + b"\r\n")

    receiver.script = [flood]

    result = await send()

    assert (result.fault, result.wrote) == (Fault.PROTOCOL, True)


async def test_many_headers_are_kept_within_bounds(receiver: Receiver, send: Send) -> None:
    """What is stored of an answer is bounded, whatever the receiver sends."""
    receiver.script = [answer("200 OK", *(f"x-{number}: {'x' * 1000}" for number in range(40)))]

    result = await send()

    assert result.response is not None
    assert 10 < len(result.response.headers) < 20


async def test_an_endless_body_is_cut_and_its_connection_closed(receiver: Receiver, send: Send) -> None:
    """16 KiB are kept; the rest is not waited for."""
    ended = asyncio.Event()

    async def flood(conversation: Conversation) -> None:
        try:
            await conversation.say(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                await conversation.say(b"x" * 65536)
        finally:
            ended.set()

    receiver.script = [flood]

    result = await send()

    assert result.fault is None
    assert result.response is not None
    assert (result.response.body, result.response.truncated) == ("x" * BODY_KEPT_MAX, True)
    await asyncio.wait_for(ended.wait(), 5)


async def test_a_body_of_the_limit_is_whole_and_one_byte_more_is_cut(receiver: Receiver, send: Send) -> None:
    """The edge of the limit."""
    receiver.script = [answer("200 OK", body="x" * size) for size in (BODY_KEPT_MAX, BODY_KEPT_MAX + 1)]

    whole, cut = [(await send()).response for _ in range(2)]

    assert whole is not None
    assert (len(whole.body), whole.truncated) == (BODY_KEPT_MAX, False)
    assert cut is not None
    assert (len(cut.body), cut.truncated) == (BODY_KEPT_MAX, True)


async def test_a_compressed_body_is_neither_unpacked_nor_shown(receiver: Receiver, send: Send) -> None:
    """Unpacking could blow up, and a secret in packed bytes could not be masked."""
    receiver.script = [b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x8b\x08\x00"]

    result = await send()

    assert result.response is not None
    assert result.response.body == "(4 bytes, content-encoding gzip, not shown)"


async def test_a_secret_that_comes_back_is_masked_before_the_cut(
    receiver: Receiver, send: Send, masker: Masker
) -> None:
    """In the body also where the cut would leave half of it, in headers and in the reason phrase."""
    secret = "s3cr3t-token-value"
    masker.add(secret)
    body = "x" * (BODY_KEPT_MAX - 5) + secret + "y" * 20
    receiver.script = [answer(f"400 {secret}", f"x-echo: {secret}", body=body)]

    result = await send()

    assert result.response is not None
    assert result.response.body == "x" * (BODY_KEPT_MAX - 5) + "***"
    assert "s3cr3" not in str(result)
    assert result.detail == "the receiver answered 400 ***"


async def test_bytes_that_are_not_utf8_are_replaced(receiver: Receiver, send: Send) -> None:
    """A body is shown as text, whatever it is."""
    receiver.script = [b"HTTP/1.1 200 O\xffK\r\ncontent-length: 3\r\n\r\na\xffb"]

    result = await send()

    assert result.response is not None
    assert result.response.body == "a\ufffdb"


async def test_cookies_are_never_sent_back(receiver: Receiver, send: Send) -> None:
    """Attempts know nothing of each other."""
    receiver.script = [answer("200 OK", "set-cookie: session=1; path=/")]

    await send()
    await send()

    assert "cookie" not in receiver.requests[1].headers


@pytest.mark.parametrize(
    "headers", [{"x_a": "a\nb"}, {"x_a": "a\r\nx-b: c"}, {"x_a": "\ud800"}, {"x_a": "\u20ac"}, {"x a": "b"}]
)
async def test_a_header_that_http_cannot_carry_is_never_written(
    receiver: Receiver, deliverer: Deliverer, headers: dict[str, str]
) -> None:
    """A value from an event must not end its header and begin another."""
    prepared = request(f"https://{HOST}/in", **headers)

    result = await deliverer.send(prepared, prepared, timeout_seconds=10)

    assert (result.fault, result.wrote) == (Fault.RENDER, False)
    assert receiver.requests == []
    str(result).encode("utf-8")


async def test_a_secret_in_a_header_that_is_refused_is_masked(deliverer: Deliverer, masker: Masker) -> None:
    """Libraries quote what they refuse, in their own spelling."""
    secret = "s3cr\\t'tök\"en"
    masker.add(secret)
    prepared = request(f"https://{HOST}/in", x_a=f"{secret}\n")

    result = await deliverer.send(prepared, request(f"https://{HOST}/in"), timeout_seconds=10)

    assert result.fault is Fault.RENDER
    assert "***" in result.detail
    assert "s3cr" not in result.detail


@pytest.mark.parametrize(
    "url",
    [
        "https://",
        "http://hooks.example.com/",
        "https://hooks.example.com:x/",
        "https://hooks.example.com:0/",
        "https://hooks.example.com:99999/",
        "/in",
        "https://a\x00b/",
    ],
)
async def test_a_url_that_cannot_be_used_is_never_dialled(deliverer: Deliverer, url: str) -> None:
    """https and a host, or nothing: TLS cannot be turned off."""
    result = await deliverer.send(request(url), request(f"https://{HOST}/in"), timeout_seconds=10)

    assert result.fault in (Fault.RENDER, Fault.REFUSED_ADDRESS)
    assert (result.wrote, result.address) == (False, None)


async def test_the_wait_before_the_write_counts_neither_as_timeout_nor_as_time(receiver: Receiver, send: Send) -> None:
    """Local pacing is not the receiver's fault; the connection stands meanwhile and nothing is written."""
    seen: list[int] = []

    async def before_write() -> None:
        seen.append(len(receiver.requests))
        await asyncio.sleep(0.7)  # longer than the timeout: the thing under test

    result = await send(timeout_seconds=0.6, before_write=before_write)

    assert result.fault is None
    assert seen == [0]
    assert result.timings.total_ms < 600


async def test_what_before_write_raises_passes_through(receiver: Receiver, send: Send) -> None:
    """It is our failure, not the receiver's; nothing is written and the connection is closed."""

    async def before_write() -> None:
        raise TimeoutError("the store is slow")

    with pytest.raises(TimeoutError, match="the store is slow"):
        await send(before_write=before_write)

    assert receiver.requests == []


async def test_cancelling_an_attempt_closes_its_connection(receiver: Receiver, send: Send) -> None:
    """A drained daemon leaves no request behind that still runs."""
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def hang(conversation: Conversation) -> None:
        arrived.set()
        try:
            await conversation.until_closed()
        finally:
            gone.set()

    receiver.script = [hang]
    task = asyncio.create_task(send())
    await asyncio.wait_for(arrived.wait(), 5)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(gone.wait(), 5)
