"""Where the two transports differ, as docs/transport.md publishes it: each line of its table is one test here."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import respx
from egress_receiver import HOST, OK, Conversation, Receiver, Send, request

from reconciler.egress.client import DeliveryClient
from reconciler.egress.deliver import Deliverer
from reconciler.egress.mask import Masker
from reconciler.egress.transport import make_transport
from reconciler.models.delivery import Fault
from reconciler.settings import EgressSettings, TransportKind

PAGE = Path(__file__).parents[2] / "docs" / "transport.md"
URL = f"https://{HOST}/in"
FAST, HTTPX = TransportKind.FAST, TransportKind.HTTPX


def difference(name: str) -> None:
    """The page has a line that begins so."""
    assert f"\n| {name} |" in PAGE.read_text(), f"not in docs/transport.md: {name}"


async def test_the_connection_of_a_large_request(
    receiver: Receiver, deliverer: Deliverer, transport: TransportKind
) -> None:
    """Nobody can tell whether an answer to it came early, with the rest of the request still on its way."""
    difference("request of more than 64 KiB")
    large = request(URL, b"x" * 100_000)

    results = [await deliverer.send(large, large, timeout_seconds=10) for _ in range(2)]

    assert [result.fault for result in results] == [None, None]
    assert receiver.connections == (2 if transport is FAST else 1)


async def test_a_body_longer_than_is_kept(receiver: Receiver, send: Send, transport: TransportKind) -> None:
    """Ours reads a short rest away in the background and keeps the connection."""
    difference("response body of more than 16 KiB")
    ended = asyncio.Event()

    async def long_answer(conversation: Conversation) -> None:
        try:
            await conversation.say(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b"x" * 60_000)
            await conversation.say(b"x" * 40_000)
        finally:
            ended.set()

    receiver.script = [long_answer]

    result = await send()
    await asyncio.wait_for(ended.wait(), 5)
    async with asyncio.timeout(5):
        while (await send()).fault is None and transport is FAST and receiver.requests[-1].connection != 1:
            pass  # the rest of the first answer is still on its way

    assert result.response is not None
    assert result.response.truncated
    assert transport is FAST or receiver.connections == 2


async def test_a_rest_that_does_not_end(receiver: Receiver, send: Send, transport: TransportKind) -> None:
    """Nobody waits for it, and in a second its connection is closed."""
    difference("response body of more than 16 KiB")

    async def stall(conversation: Conversation) -> None:
        await conversation.say(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b"x" * 60_000)
        await conversation.until_closed()

    receiver.script = [stall]

    assert (await send()).fault is None
    async with asyncio.timeout(5):
        while receiver.open_connections:
            receiver.closed.clear()
            await receiver.closed.wait()


@pytest.mark.parametrize(
    ("name", "answer", "fast", "stock"),
    [
        (
            "`Content-Length` twice, with one value",
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok",
            Fault.PROTOCOL,
            None,
        ),
        (
            "`Content-Length` beside `Transfer-Encoding: chunked`",
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            Fault.PROTOCOL,
            None,
        ),
        (
            "`Transfer-Encoding: chunked` twice",
            b"HTTP/1.1 200 OK\r\n" + b"transfer-encoding: chunked\r\n" * 2 + b"\r\n2\r\nok\r\n0\r\n\r\n",
            None,
            Fault.PROTOCOL,
        ),
        (
            "header folded over two lines",
            b"HTTP/1.1 200 OK\r\nx-a: b\r\n c\r\ncontent-length: 2\r\n\r\nok",
            Fault.PROTOCOL,
            None,
        ),
        (
            "control character in a header",
            b"HTTP/1.1 200 OK\r\nx-a: b\x01c\r\ncontent-length: 2\r\n\r\nok",
            Fault.PROTOCOL,
            None,
        ),
        ("version such as `HTTP/1.2`", OK.replace(b"/1.1", b"/1.2"), Fault.PROTOCOL, None),
        ("empty line before the answer", b"\r\n" + OK, None, Fault.PROTOCOL),
    ],
)
async def test_what_the_parsers_take(
    receiver: Receiver,
    send: Send,
    transport: TransportKind,
    name: str,
    answer: bytes,
    fast: Fault | None,
    stock: Fault | None,
) -> None:
    """llhttp and h11 judge some answers differently that no receiver should give."""
    difference(name)
    receiver.script = [answer]

    result = await send()

    assert result.fault == (fast if transport is FAST else stock)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("empty line after the answer", OK + b"\r\n"),
        (
            "`HTTP/1.0` with `Connection: keep-alive`",
            OK.replace(b"1.1 200 OK", b"1.0 200 OK\r\nconnection: keep-alive"),
        ),
    ],
)
async def test_which_connections_are_kept(
    receiver: Receiver, send: Send, transport: TransportKind, name: str, answer: bytes
) -> None:
    """Both right; ours saves a handshake."""
    difference(name)
    receiver.script = [answer]

    results = [await send(), await send()]

    assert [result.fault for result in results] == [None, None]
    assert receiver.connections == (1 if transport is FAST else 2)


async def test_a_method_that_no_webhook_has(
    receiver: Receiver, settings: EgressSettings, transport: TransportKind
) -> None:
    """A HEAD's answer announces a body that does not come."""
    difference("`HEAD` and `CONNECT`")
    receiver.script = [b"HTTP/1.1 204 No Content\r\n\r\n"]

    async with DeliveryClient(make_transport(settings)) as client:
        if transport is FAST:
            with pytest.raises(httpx.LocalProtocolError, match="illegal method"):
                await client.head(URL)
        else:
            assert (await client.head(URL)).status_code == 204


async def test_a_control_character_in_a_request(
    receiver: Receiver, deliverer: Deliverer, transport: TransportKind
) -> None:
    """RFC 9110, section 5.5: no field value holds one."""
    difference("control character in a request's header")
    prepared = request(URL, x_a="a\x01b")

    result = await deliverer.send(prepared, prepared, timeout_seconds=10)

    assert (result.fault, result.wrote) == ((Fault.RENDER, False) if transport is FAST else (None, True))


async def test_a_body_in_pieces(settings: EgressSettings, transport: TransportKind) -> None:
    """A delivery's body is known as a whole."""
    difference("request body from a generator")

    async def pieces() -> AsyncIterator[bytes]:
        yield b"a"

    async with DeliveryClient(make_transport(settings)) as client:
        if transport is FAST:
            with pytest.raises(httpx.LocalProtocolError, match="in pieces"):
                await client.post(URL, content=pieces())
        else:
            assert (await client.post(URL, content=pieces(), headers={"content-length": "1"})).status_code == 200


async def test_respx_stands_in_for_both(settings: EgressSettings, receiver: Receiver) -> None:
    """Its httpx mode replaces what is behind the client, whichever transport that is; so nothing is dialled."""
    prepared = request(URL)
    with respx.mock(using="httpx") as router:
        route = router.post(URL).respond(202, text="mocked")
        async with Deliverer(settings, masker=Masker()) as deliverer:
            result = await deliverer.send(prepared, prepared, timeout_seconds=5)

    assert (result.status, result.fault, result.wrote) == (202, None, False)
    assert route.calls.last.request.content == prepared.body
    assert receiver.connections == 0


async def test_the_client_says_what_it_leaves_out(settings: EgressSettings) -> None:
    """Authentication and redirects are not dropped in silence."""
    async with DeliveryClient(make_transport(settings)) as client:
        with pytest.raises(NotImplementedError):
            await client.post(URL, auth=("user", "password"))
        with pytest.raises(NotImplementedError):
            await client.post(URL, follow_redirects=True)


def test_the_page_tells_of_every_difference_that_is_tested_and_of_no_other() -> None:
    """So that the table cannot rot."""
    table = PAGE.read_text().partition("## Differences")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    tested = Path(__file__).read_text()

    assert len(rows) > 10
    for row in rows[1:]:
        assert row.split("|")[1].strip() in tested, row


def test_httpx_s_stack_is_not_even_imported_for_ours() -> None:
    """It takes memory and time to start."""
    code = (
        "import sys\n"
        "from reconciler.egress.transport import make_transport\n"
        "from reconciler.settings import EgressSettings\n"
        "make_transport(EgressSettings())\n"
        "print(sorted({'httpcore', 'h11', 'anyio'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
