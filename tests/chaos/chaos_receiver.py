"""A TLS receiver that does to a request what no server should; in a thread of its own, with a journal.

Each path has its fault for its first requests, then answers 200. It watches that no delivery is sent to it twice at the
same time.
"""

import asyncio
import contextlib
import json
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Self

import trustme
from chaos_ledger import Arrival

HOST = "receiver.example.com"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends RST
GIGABYTE = 1024**3

Fault = Callable[["Conversation"], Awaitable[None]]


@dataclass
class Conversation:
    """One request whose head has been read, and its connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    body_bytes: int
    body: bytes = b""
    is_ok: bool = False

    async def read_body(self) -> None:
        self.body = await self.reader.readexactly(self.body_bytes)

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.writer.transport.abort()

    async def until_closed(self) -> None:
        while await self.reader.read(65536):
            pass


async def resets_before(it: Conversation) -> None:
    it.reset()


async def resets_after(it: Conversation) -> None:
    await it.read_body()
    it.reset()


async def resets_amid_the_answer(it: Conversation) -> None:
    await it.read_body()
    await it.say(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
    it.reset()


async def half_closes(it: Conversation) -> None:
    """Its side of the TCP connection ends, without a TLS goodbye and without an answer; it goes on reading."""
    await it.read_body()
    sock = it.writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
    await it.until_closed()


async def trickles(it: Conversation) -> None:
    """A byte now and then, for ever."""
    await it.read_body()
    await it.say(b"HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\n")
    while True:
        await it.say(b"x")
        await asyncio.sleep(0.05)


async def trickles_its_head(it: Conversation) -> None:
    await it.read_body()
    await it.say(b"HTTP/1.1 200 OK\r\nx-long: ")
    while True:
        await it.say(b"x")
        await asyncio.sleep(0.05)


async def answers_early(it: Conversation) -> None:
    """An answer to the head, then a reset amid the body."""
    await it.say(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    it.reset()


async def answers_early_and_well(it: Conversation) -> None:
    """A 200 to the head; the body is read all the same."""
    await it.say(OK)
    it.is_ok = True
    await it.read_body()


async def sends_a_gigabyte(it: Conversation) -> None:
    await it.read_body()
    await it.say(b"HTTP/1.1 500 Oh\r\ncontent-length: %d\r\n\r\n" % GIGABYTE)
    block = b"x" * 65536
    for _ in range(GIGABYTE // len(block)):
        await it.say(block)
        await asyncio.sleep(0)


async def sends_endless_headers(it: Conversation) -> None:
    await it.read_body()
    await it.say(b"HTTP/1.1 200 OK\r\n")
    for number in range(1_000_000):
        await it.say(b"x-%d: %s\r\n" % (number, b"y" * 1000))
        await asyncio.sleep(0)


async def never_answers(it: Conversation) -> None:
    await it.read_body()
    await it.until_closed()


async def speaks_no_http(it: Conversation) -> None:
    await it.read_body()
    await it.say(b"\x00\xff SMTP 220 hello\r\n\r\n" * 100)


FAULTS: Mapping[str, Fault] = {
    fault.__name__.replace("_", "-"): fault
    for fault in (
        resets_before,
        resets_after,
        resets_amid_the_answer,
        half_closes,
        trickles,
        trickles_its_head,
        answers_early,
        answers_early_and_well,
        sends_a_gigabyte,
        sends_endless_headers,
        never_answers,
        speaks_no_http,
    )
}


@dataclass
class Receiver:
    """Answers `/FAULT` with that fault `times` times, then with 200, and any other path with 200 at once."""

    folder: Path
    times: int = 2
    arrivals: list[Arrival] = field(default_factory=list)
    overlapping: list[str] = field(default_factory=list)
    port: int = 0

    def __enter__(self) -> Self:
        self._ca = trustme.CA()
        self._ca.cert_pem.write_to_path(str(self.folder / "ca.pem"))
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.take_certificate()
        self._under_way: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        is_up = threading.Event()
        self._thread = threading.Thread(target=self._main, args=(is_up,), daemon=True)
        self._thread.start()
        assert is_up.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def take_certificate(self, *, not_after: datetime | None = None) -> None:
        """A new certificate for connections from now on."""
        self._ca.issue_cert(HOST, not_after=not_after).configure_cert(self._context)

    def egress(self, address: str = "127.0.0.1") -> list[str]:
        """The operator's options that lead HOST here."""
        return ["--ca", "ca.pem", "--connect-to", f"{HOST}:443:{address}:{self.port}"]

    def _main(self, is_up: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve_until_stopped(is_up))
        self._loop.close()

    async def _serve_until_stopped(self, is_up: threading.Event) -> None:
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._context)
        self.port = server.sockets[0].getsockname()[1]
        is_up.set()
        await self._stop.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while True:
                await self._serve(reader, writer)
        except (asyncio.IncompleteReadError, OSError, ssl.SSLError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request_line, *lines = head.rstrip("\r\n").split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        path, delivery = request_line.split(" ")[1], headers["webhook-id"]
        it = Conversation(reader, writer, int(headers["content-length"]))
        fault = FAULTS.get(path.removeprefix("/"))
        self._seen[path] += 1
        is_faulty = fault is not None and self._seen[path] <= self.times
        self._under_way[delivery] += 1
        if self._under_way[delivery] > 1:
            self.overlapping.append(delivery)
        try:
            if is_faulty:
                assert fault is not None
                await fault(it)
            else:
                await it.read_body()
                it.is_ok = True
                self._note(path, delivery, it)
                await it.say(OK)
        finally:
            if is_faulty:
                self._note(path, delivery, it)
            self._under_way[delivery] -= 1

    def _note(self, path: str, delivery: str, it: Conversation) -> None:
        event = json.loads(it.body)["data"]["friendly_id"] if it.body else ""
        self.arrivals.append(Arrival(path, delivery, event, it.is_ok))
