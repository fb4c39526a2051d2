"""The operator's proxy: a tunnel for both transports, in which the receiver is verified as ever."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import pytest
from egress_receiver import HOST, Receiver, request

from reconciler.egress import dial
from reconciler.egress.deliver import Deliverer
from reconciler.egress.mask import Masker
from reconciler.models.delivery import AttemptResult, Fault
from reconciler.settings import EgressSettings, Proxy, TransportKind, parse_proxy

MADE = b"HTTP/1.1 200 Connection established\r\n\r\n"


@dataclass
class TunnelMaker:
    """An HTTP proxy that knows one receiver; says `answer` and, if that is a 2xx, carries bytes both ways."""

    receiver_port: int
    answer: bytes = MADE
    heads: list[str] = field(default_factory=list)
    port: int = 0

    async def __aenter__(self) -> Self:
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode("ascii"))
            for byte in self.answer[:-1]:  # in pieces, as networks do
                writer.write(bytes([byte]))
            writer.write(self.answer[-1:])
            await writer.drain()
            if self.answer == MADE:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.receiver_port)
                await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
            elif not self.answer:
                await reader.read()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.fixture
async def proxy(receiver: Receiver) -> AsyncIterator[TunnelMaker]:
    async with TunnelMaker(receiver.port) as opened:
        yield opened


@pytest.fixture
def settings(proxy: TunnelMaker, ca_file: Path, transport: TransportKind) -> EgressSettings:
    return EgressSettings(ca_file=ca_file, transport=transport, proxy=Proxy("127.0.0.1", proxy.port))


async def post(settings: EgressSettings, host: str = HOST, *, times: int = 1) -> AttemptResult:
    async def resolve(host: str, port: int) -> list[str]:
        raise AssertionError(f"resolved: {host}")

    prepared = request(f"https://{host}/in")
    async with Deliverer(settings, masker=Masker(), resolve=resolve) as sender:
        for _ in range(times):
            result = await sender.send(prepared, prepared, timeout_seconds=10)
    return result


async def test_a_receiver_is_reached_through_the_proxy_by_its_name(
    proxy: TunnelMaker, receiver: Receiver, settings: EgressSettings
) -> None:
    """The proxy resolves; the certificate is checked for the name in the URL, and the record tells of the proxy."""
    result = await post(settings)

    assert (result.fault, result.status) == (None, 200)
    assert result.proxy == result.to_json()["proxy"] == f"http://127.0.0.1:{proxy.port}"
    assert result.address == f"127.0.0.1:{proxy.port}"
    assert receiver.server_names == [HOST]
    assert proxy.heads == [f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n"]


async def test_a_connection_that_is_kept_still_tells_of_its_proxy(proxy: TunnelMaker, settings: EgressSettings) -> None:
    """The second request goes through the tunnel of the first."""
    result = await post(settings, times=2)

    assert len(proxy.heads) == 1
    assert result.proxy == f"http://127.0.0.1:{proxy.port}"


async def test_credentials_go_to_the_proxy_alone(
    proxy: TunnelMaker, receiver: Receiver, settings: EgressSettings
) -> None:
    """Basic, as UTF-8 (RFC 7617); neither the record nor the receiver sees them."""
    known = parse_proxy(f"http://us%C3%A9r:p%40ss%3Aword@127.0.0.1:{proxy.port}")

    result = await post(replace(settings, proxy=known))

    encoded = base64.b64encode("usér:p@ss:word".encode()).decode()
    assert f"Proxy-Authorization: Basic {encoded}\r\n" in proxy.heads[0]
    assert "p@ss" not in f"{result!r}{known!r}{known}"
    assert not any("proxy" in name for name in receiver.requests[0].headers)


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "it answered 407 Proxy Authentication Required"),
        (b"HTTP/1.0 403 Forbidden\r\nx: y\r\n\r\nno", "it answered 403 Forbidden"),
        # its own words could repeat the credentials that it was sent
        (b"HTTP/1.1 407 Basic dXNlcjpwYXNzd29yZA== is wrong\r\n\r\n", "it answered 407 Proxy Authentication Required"),
        (b"HTTP/1.1 499\r\n\r\n", "it answered 499"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "its answer is not HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "it speaks before the receiver was spoken to"),
        (b"HTTP/1.1 200 OK\r\n", "it closed the connection"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 20_000, "its answer is too long"),
    ],
)
async def test_a_proxy_that_makes_no_tunnel_is_a_connect_fault(
    proxy: TunnelMaker, receiver: Receiver, settings: EgressSettings, answer: bytes, detail: str
) -> None:
    """Nothing was written to the receiver, so it can be tried again."""
    proxy.answer = answer

    result = await post(settings)

    assert (result.fault, result.wrote) == (Fault.CONNECT, False)
    assert result.detail == f"no tunnel through the proxy http://127.0.0.1:{proxy.port}: {detail}"
    assert receiver.connections == 0


async def test_a_proxy_that_never_answers_is_a_connect_timeout(
    proxy: TunnelMaker, settings: EgressSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the time of a connect, not of the whole attempt."""
    proxy.answer = b""
    monkeypatch.setattr(dial, "CONNECT_TIMEOUT_SECONDS", 0.1)

    result = await post(settings)

    assert (result.fault, result.wrote) == (Fault.CONNECT_TIMEOUT, False)


async def test_a_proxy_that_is_not_there_is_a_connect_fault(settings: EgressSettings, free_port: int) -> None:
    """The address in the record is the proxy's."""
    result = await post(replace(settings, proxy=Proxy("127.0.0.1", free_port)))

    assert (result.fault, result.address) == (Fault.CONNECT, f"127.0.0.1:{free_port}")


@pytest.mark.parametrize("host", ["127.0.0.1", "0x7f.1", "[::1]", "localhost", "metadata", "a.example\x7f.com"])
async def test_a_proxy_is_not_asked_for_what_no_webhook_may_reach(
    proxy: TunnelMaker, settings: EgressSettings, host: str
) -> None:
    """The name is judged as ever, and so nothing can end the CONNECT line early."""
    result = await post(settings, host)

    assert result.fault in (Fault.REFUSED_ADDRESS, Fault.RENDER)
    assert result.proxy is None
    assert proxy.heads == []


async def test_a_certificate_for_another_name_is_refused_behind_a_proxy_too(
    settings: EgressSettings, proxy: TunnelMaker
) -> None:
    """A proxy that leads elsewhere is found out."""
    result = await post(settings, "third.example.com")

    assert (result.fault, result.wrote) == (Fault.TLS, False)
    assert len(proxy.heads) == 1


async def test_a_target_of_the_operators_is_dialled_without_the_proxy(
    proxy: TunnelMaker, receiver: Receiver, settings: EgressSettings, ca_file: Path
) -> None:
    """`--connect-to` says exactly where."""
    direct = replace(settings, connect_to=receiver.settings(ca_file, HOST).connect_to)

    result = await post(direct)

    assert (result.fault, result.proxy, proxy.heads) == (None, None, [])
    assert result.connect_to is not None


@pytest.fixture
def free_port() -> int:
    """A port on which nothing listens."""
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port
