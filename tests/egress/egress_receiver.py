"""A TLS server on loopback that answers from a script and remembers what it was sent."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import trustme

from reconciler.models.delivery import AttemptResult
from reconciler.request.render import Prepared
from reconciler.settings import ConnectTo, EgressSettings

HOST = "hooks.example.com"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

Send = Callable[..., Awaitable[AttemptResult]]
Answer = bytes | Callable[["Conversation"], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Received:
    """One request; `connection` counts from 1."""

    connection: int
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Conversation:
    """One connection, seen from the receiver."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()
        await asyncio.sleep(0)  # drain alone does not yield, and a flood would starve the loop

    def reset(self) -> None:
        self.writer.transport.abort()

    async def until_closed(self) -> None:
        """Wait until the other side has gone."""
        while await self.reader.read(65536):
            pass


@dataclass
class Receiver:
    """Answers each request with the next item of `script`, then with 200; bytes are sent as they are."""

    context: ssl.SSLContext | None
    script: list[Answer] = field(default_factory=list)
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    open_connections: int = 0
    port: int = 0
    is_lazy: bool = False  # answers before it has read the body
    server_names: list[str | None] = field(default_factory=list)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> Self:
        if self.context is not None:
            self.context.sni_callback = lambda _, name, __: self.server_names.append(name)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.context)
        self.port = self._server.sockets[0].getsockname()[1]
        self._writers: set[asyncio.StreamWriter] = set()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._server.close()
        await self._server.wait_closed()
        async with asyncio.timeout(5):
            while self.open_connections:
                self.closed.clear()
                await self.closed.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_connections += 1
        self._writers.add(writer)
        number = self.connections
        try:
            while True:
                self.requests.append(await _read_request(reader, number, is_lazy=self.is_lazy))
                answer = self.script.pop(0) if self.script else OK
                conversation = Conversation(reader, writer)
                if isinstance(answer, bytes):
                    await conversation.say(answer)
                else:
                    await answer(conversation)
        except (asyncio.IncompleteReadError, OSError, ssl.SSLError):
            pass
        finally:
            writer.transport.abort()
            self._writers.discard(writer)
            self.open_connections -= 1
            self.closed.set()

    def settings(self, ca_file: Path | None, *hosts: str) -> EgressSettings:
        """The operator's settings that lead these names here."""
        routes = tuple(ConnectTo(host, 443, "127.0.0.1", self.port) for host in hosts)
        return EgressSettings(ca_file=ca_file, connect_to=routes)


async def _read_request(reader: asyncio.StreamReader, connection: int, *, is_lazy: bool) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    request_line, *lines = head.rstrip("\r\n").split("\r\n")
    pairs = [line.split(": ", 1) for line in lines]
    headers = {name.lower(): value for name, value in pairs}
    body = b"" if is_lazy else await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(connection, request_line.split(" ")[1], headers, body)


def server_context(ca: trustme.CA, *names: str, **options: object) -> ssl.SSLContext:
    """A server's TLS context with a certificate for these names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*names, **options).configure_cert(context)  # type: ignore[arg-type]
    return context


def request(url: str, body: bytes = b'{"a": 1}', **headers: str) -> Prepared:
    """A POST as `request.render` prepares it."""
    fields = (
        ("content-type", "application/json"),
        *((name.replace("_", "-"), value) for name, value in headers.items()),
    )
    return Prepared("POST", url, fields, body)
