"""The protocol on one connection: keep-alive, framing, faults; spoken byte by byte, over TLS."""

import asyncio
import ssl
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from reconciler.sandbox.okta import OktaSandbox, SandboxSettings
from reconciler.sandbox.script import Line

HOST = b"acme.workflows.okta.com"
PATH = b"/api/flo/0123456789abcdef0123456789abcdef/invoke"
GET = b"GET " + PATH + b" HTTP/1.1\r\nhost: " + HOST + b"\r\n\r\n"


def post(body: bytes, *headers: bytes) -> bytes:
    lines = [b"POST " + PATH + b" HTTP/1.1", b"host: " + HOST, b"content-length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@asynccontextmanager
async def dialled(sandbox):
    """One connection, its reads under a timeout."""
    context = ssl.create_default_context(cadata=sandbox.ca_pem.decode("ascii"))
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", sandbox.port, ssl=context, server_hostname=HOST.decode("ascii")
    )
    try:
        async with asyncio.timeout(10):
            yield reader, writer
    finally:
        writer.transport.abort()


async def answer_of(reader) -> tuple[int, bytes]:
    """Status and body of one answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
    return int(head.split()[1]), await reader.readexactly(length)


async def test_a_connection_is_kept_for_the_next_request(sandbox):
    async with dialled(sandbox) as (reader, writer):
        for _ in range(3):
            writer.write(post(b"{}"))
            assert (await answer_of(reader))[0] == 200


async def test_connection_close_is_obeyed(sandbox):
    async with dialled(sandbox) as (reader, writer):
        writer.write(post(b"{}", b"connection: close"))

        assert b"connection: close\r\n" in await reader.read()


async def test_http_1_0_is_answered_and_closed(sandbox):
    async with dialled(sandbox) as (reader, writer):
        writer.write(b"GET " + PATH + b" HTTP/1.0\r\nhost: " + HOST + b"\r\n\r\n")

        assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_request_may_come_in_pieces(sandbox):
    async with dialled(sandbox) as (reader, writer):
        for byte in post(b'{"a": 1}'):
            writer.write(bytes([byte]))
            await writer.drain()

        assert (await answer_of(reader))[0] == 200
        assert (await sandbox.next_request()).body == '{"a": 1}'


async def test_a_chunked_body_is_read(sandbox):
    async with dialled(sandbox) as (reader, writer):
        writer.write(b"POST " + PATH + b" HTTP/1.1\r\nhost: " + HOST + b"\r\ntransfer-encoding: chunked\r\n\r\n")
        writer.write(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")

        assert (await answer_of(reader))[0] == 200
        assert (await sandbox.next_request()).body == "abcde"


async def test_a_chunked_body_without_end_is_413(sandbox):
    async with dialled(sandbox) as (reader, writer):
        writer.write(b"POST " + PATH + b" HTTP/1.1\r\nhost: " + HOST + b"\r\ntransfer-encoding: chunked\r\n\r\n")
        answer = asyncio.create_task(answer_of(reader))
        while not answer.done():
            writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            await asyncio.wait({answer}, timeout=0.001)

        assert (await answer)[0] == 413


async def test_a_client_may_ask_before_it_sends_its_body(sandbox):
    """RFC 9110, section 10.1.1."""
    head, body = post(b"{}", b"expect: 100-continue").split(b"\r\n\r\n")
    async with dialled(sandbox) as (reader, writer):
        writer.write(head + b"\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)

        assert (await answer_of(reader))[0] == 200


async def test_an_offer_to_upgrade_is_declined(sandbox):
    async with dialled(sandbox) as (reader, writer):
        writer.write(post(b"", b"connection: upgrade", b"upgrade: h2c"))

        assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"POST " + PATH + b" HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
        (b"POST " + PATH + b" HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n", 400),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nhost: a\r\n" + b"a: b\r\n" * 40_000 + b"\r\n", 431),
    ],
)
async def test_what_is_not_http_is_refused_and_closed(sandbox, request_bytes, status):
    async with dialled(sandbox) as (reader, writer):
        writer.write(request_bytes)

        assert (await answer_of(reader))[0] == status
        assert await reader.read() == b""


async def test_a_request_without_host_is_400(sandbox):
    """RFC 9112, section 3.2."""
    async with dialled(sandbox) as (reader, writer):
        writer.write(b"GET " + PATH + b" HTTP/1.1\r\n\r\n")

        assert (await answer_of(reader))[0] == 400


async def test_two_requests_at_once_are_answered_in_order(sandbox):
    async with dialled(sandbox) as (reader, writer):
        writer.write(GET + post(b"{", b"content-type: application/json"))

        assert (await answer_of(reader))[0] == 200
        assert (await answer_of(reader))[0] == 400


async def test_a_second_request_before_a_due_answer_ends_the_connection():
    async with OktaSandbox(SandboxSettings(script=(Line(drop=True),))) as sandbox, dialled(sandbox) as (reader, writer):
        writer.write(GET)
        await sandbox.next_request()
        writer.write(GET)

        assert await reader.read() == b""
        assert len(sandbox.requests) == 1


@pytest.mark.parametrize("reset", [True, "after"])
async def test_a_reset_after_reading_is_seen_as_such(reset):
    """ECONNRESET, not a closed connection; the request was read whole."""
    async with OktaSandbox(SandboxSettings(script=(Line(reset=reset),))) as sandbox:
        async with dialled(sandbox) as (reader, writer):
            writer.write(post(b'{"a": 1}'))

            with pytest.raises(ConnectionResetError):
                await reader.read()

        (recorded,) = sandbox.requests
        assert (recorded.ending, recorded.status, recorded.body) == ("reset_after", None, '{"a": 1}')


async def test_a_reset_before_reading_comes_once_the_head_is_there():
    async with OktaSandbox(SandboxSettings(script=(Line(reset="before"),))) as sandbox:
        async with dialled(sandbox) as (reader, writer):
            writer.write(post(b'{"a": 1}').removesuffix(b'{"a": 1}'))

            with pytest.raises(ConnectionResetError):
                await reader.read()

        (recorded,) = sandbox.requests
        assert (recorded.ending, recorded.status, recorded.body) == ("reset_before", None, "")


async def test_leaving_closes_every_connection_at_once():
    """Idle ones, dropped ones and those whose answer is due."""
    lines = (Line(drop=True), Line(delay=60))
    async with AsyncExitStack() as clients:
        async with OktaSandbox(SandboxSettings(script=lines)) as sandbox:
            idle, dropped, late = [await clients.enter_async_context(dialled(sandbox)) for _ in range(3)]
            for _, writer in (dropped, late):
                writer.write(GET)
                await sandbox.next_request()

        assert [await reader.read() for reader, _ in (idle, dropped, late)] == [b"", b"", b""]
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", sandbox.port)
