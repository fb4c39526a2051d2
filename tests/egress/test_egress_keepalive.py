"""Connections kept alive: reused for their name, never for another, and never when it could repeat a request."""

import asyncio

import pytest
from egress_receiver import HOST, OK, Conversation, Receiver, Send, request

from reconciler.egress.deliver import Deliverer
from reconciler.egress.dial import Dialer
from reconciler.egress.fast import FastTransport
from reconciler.egress.mask import Masker
from reconciler.egress.stock import StockTransport
from reconciler.models.delivery import Fault
from reconciler.settings import EgressSettings, TransportKind


async def test_many_sends_share_one_connection(receiver: Receiver, send: Send) -> None:
    """A handshake costs more than a delivery; the reused connection is shown with its address and TLS."""
    results = [await send() for _ in range(20)]

    assert receiver.connections == 1
    assert len(receiver.requests) == 20
    assert all(result.fault is None for result in results)
    last = results[-1]
    assert (last.address, last.tls) == (results[0].address, results[0].tls)
    assert (last.timings.dns_ms, last.timings.connect_ms, last.timings.tls_ms) == (None, None, None)


async def test_a_connection_of_one_name_never_serves_another(receiver: Receiver, send: Send) -> None:
    """Both names lead to one address, and the certificate holds for both: still each has its own connection."""
    await send(f"https://{HOST}/in")
    await send("https://other.example.com/in")
    await send(f"https://{HOST}/in")

    assert receiver.connections == 2
    assert [item.connection for item in receiver.requests] == [1, 2, 1]
    assert receiver.server_names == [HOST, "other.example.com"]


async def test_a_connection_verified_for_one_name_does_not_help_a_name_that_fails(
    receiver: Receiver, settings: EgressSettings
) -> None:
    """The address is the same, the certificate does not hold for the second name."""
    good, bad = request(f"https://{HOST}/in"), request("https://third.example.com/in")
    async with Deliverer(settings, masker=Masker()) as deliverer:
        first = await deliverer.send(good, good, timeout_seconds=10)
        second = await deliverer.send(bad, bad, timeout_seconds=10)

    assert (first.fault, second.fault) == (None, Fault.TLS)
    assert len(receiver.requests) == 1


async def test_concurrent_sends_have_connections_of_their_own(receiver: Receiver, send: Send) -> None:
    """HTTP/1.1 answers one request at a time; afterwards all connections are reused."""
    everyone_is_here = asyncio.Event()

    async def together(conversation: Conversation) -> None:
        if len(receiver.requests) == 5:
            everyone_is_here.set()
        await everyone_is_here.wait()
        await conversation.say(OK)

    receiver.script = [together] * 5

    await asyncio.gather(*(send() for _ in range(5)))
    await asyncio.gather(*(send() for _ in range(5)))

    assert receiver.connections == 5


async def test_a_connection_that_the_receiver_closed_while_idle_is_replaced(receiver: Receiver, send: Send) -> None:
    """Before anything is written there is nothing to repeat: the person sees one attempt that worked."""
    ended = asyncio.Event()

    async def answer_and_close(conversation: Conversation) -> None:
        await conversation.say(OK)
        conversation.writer.close()
        ended.set()
        await conversation.until_closed()

    receiver.script = [answer_and_close]
    await send()
    await asyncio.wait_for(ended.wait(), 5)

    result = await send()

    assert result.fault is None
    assert [item.connection for item in receiver.requests] == [1, 2]


async def test_a_connection_that_ends_during_the_wait_before_the_write_is_replaced(
    receiver: Receiver, send: Send
) -> None:
    """The wait for a pace token may be longer than the receiver's patience; the token is not taken twice."""
    held: list[Conversation] = []

    async def answer_and_stay(conversation: Conversation) -> None:
        await conversation.say(OK)
        held.append(conversation)
        await conversation.until_closed()

    receiver.script = [answer_and_stay]
    await send()
    waits = 0

    async def before_write() -> None:
        nonlocal waits
        waits += 1
        held[0].reset()
        while receiver.open_connections:
            receiver.closed.clear()
            await receiver.closed.wait()

    result = await send(before_write=before_write)

    assert (result.fault, waits) == (None, 1)
    assert [item.connection for item in receiver.requests] == [1, 2]


async def test_a_reused_connection_that_ends_after_the_write_is_not_repeated(receiver: Receiver, send: Send) -> None:
    """The receiver has read the request: sending it again could run it twice (RFC 9110, section 9.2.2)."""

    async def reset(conversation: Conversation) -> None:
        conversation.reset()

    receiver.script = [OK, reset]
    await send()

    result = await send()

    assert (result.fault, result.wrote) == (Fault.RESET, True)
    assert [item.connection for item in receiver.requests] == [1, 1]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nkeep-alive: timeout=1, max=9\r\ncontent-length: 2\r\n\r\nok",
    ],
)
async def test_a_connection_that_must_not_be_kept_is_not(receiver: Receiver, send: Send, answer: bytes) -> None:
    """The receiver says so, or will close it too soon."""
    receiver.script = [answer]

    await send()
    await send()

    assert receiver.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\nhello",
        OK + b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged",
    ],
)
async def test_what_a_receiver_says_out_of_turn_is_never_the_next_answer(
    receiver: Receiver, send: Send, answer: bytes
) -> None:
    """A 204 with a body, or a second response nobody asked for."""
    receiver.script = [answer]

    first = await send()
    second = await send()

    assert (first.fault, second.fault) == (None, None)
    assert second.response is not None
    assert second.response.body == "ok"


async def test_a_slow_host_takes_no_connection_from_another(receiver: Receiver, send: Send) -> None:
    """There is no shared limit that a hundred hanging requests could fill."""
    arrived = asyncio.Event()

    async def hang(conversation: Conversation) -> None:
        if len(receiver.requests) == 100:
            arrived.set()
        await conversation.until_closed()

    receiver.script = [hang] * 100
    slow = [asyncio.create_task(send(f"https://{HOST}/slow", 60)) for _ in range(100)]
    await asyncio.wait_for(arrived.wait(), 20)

    result = await send("https://other.example.com/fast")

    assert result.fault is None
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)


async def test_closing_the_deliverer_closes_idle_connections(receiver: Receiver, settings: EgressSettings) -> None:
    """A stopped daemon leaves nothing open."""
    prepared = request(f"https://{HOST}/in")
    async with Deliverer(settings, masker=Masker()) as deliverer:
        await deliverer.send(prepared, prepared, timeout_seconds=10)
        assert receiver.open_connections == 1

    async with asyncio.timeout(5):
        while receiver.open_connections:
            receiver.closed.clear()
            await receiver.closed.wait()


async def test_an_idle_connection_is_closed_after_its_time(receiver: Receiver, settings: EgressSettings) -> None:
    """Nobody needs to send for that."""
    make = FastTransport if settings.transport is TransportKind.FAST else StockTransport
    async with Deliverer(settings, masker=Masker(), transport=make(Dialer(settings), idle_seconds=0.05)) as deliverer:
        for host in (HOST, "other.example.com"):
            prepared = request(f"https://{host}/in")
            assert (await deliverer.send(prepared, prepared, timeout_seconds=10)).fault is None

        async with asyncio.timeout(5):
            while receiver.open_connections:
                receiver.closed.clear()
                await receiver.closed.wait()


async def test_a_connection_is_not_used_beyond_its_life(receiver: Receiver, settings: EgressSettings) -> None:
    """However busy: else a name that moved would never be looked up and judged again."""
    make = FastTransport if settings.transport is TransportKind.FAST else StockTransport
    prepared = request(f"https://{HOST}/in")
    async with Deliverer(settings, masker=Masker(), transport=make(Dialer(settings), life_seconds=0.0)) as deliverer:
        results = [await deliverer.send(prepared, prepared, timeout_seconds=10) for _ in range(3)]

    assert [result.fault for result in results] == [None] * 3
    assert receiver.connections == 3


async def test_a_request_in_flight_outlives_the_closing_and_leaves_nothing_open(
    receiver: Receiver, settings: EgressSettings
) -> None:
    """A drain waits for what is in flight; its connection is not kept."""
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def wait(conversation: Conversation) -> None:
        arrived.set()
        await go_on.wait()
        await conversation.say(OK)

    receiver.script = [wait]
    prepared = request(f"https://{HOST}/in")
    async with Deliverer(settings, masker=Masker()) as deliverer:
        task = asyncio.create_task(deliverer.send(prepared, prepared, timeout_seconds=10))
        await asyncio.wait_for(arrived.wait(), 5)
    go_on.set()

    assert (await task).fault is None
    async with asyncio.timeout(5):
        while receiver.open_connections:
            receiver.closed.clear()
            await receiver.closed.wait()
