"""The intake under fire, by raw sockets: no 5xx, nothing half stored, nothing that stays behind."""

import asyncio
import contextlib
import gc
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from described import Described, described
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served import Room, event, open_room, raw, running, webhook

from reconciler.source.http import HttpLimits
from reconciler.store.base import Page
from reconciler.web import protocol
from reconciler.web.app import build_app
from reconciler.web.protocol import BoundedProtocol

STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
DEEP = 100_000
BOMBS = (
    b"[" * DEEP,
    b"[" * DEEP + b"]" * DEEP,
    b'{"a":' * 40_000 + b"1" + b"}" * 40_000,
    b"[" + b"[" * DEEP + b"]" * DEEP + b"]",
    b"1e" + b"9" * 100_000,
    b"9" * 200_000,
    b"-" + b"9" * 5_000,
    b'{"event_type": "AccessRequestCreated", "event_time": 1e999999, "data": {"id": 1e-999999}}',
    b'{"event_type": "AccessRequestCreated", "event_time": ' + b"7" * 100_000 + b', "data": {"id": "1"}}',
    rb'{"event_type": "AccessRequestCreated", "data": {"id": "\ud800"}}',
    rb'{"event_type": "AccessRequestCreated", "data": {"id": "\u0000"}}',
    b'{"event_type": "AccessRequestCreated", "data": {"id": "\xff\xfe"}}',
    b"\xef\xbb\xbf{}",
    b"\xff\xfe{\x00}\x00",
    b"NaN",
    b"[Infinity, -Infinity, NaN]",
    b'{"a": 1, "a": 2}',
    b'{"a":' + b'{"b":1,' * 5_000 + b'"c":1' + b"}" * 5_001,
    b"\x00" * 1000,
    b"",
    b"   ",
    b"[]",
    b"[,]",
    b"[{},]",
    b"{}{}",
    b"[" + b"{}," * 1_000 + b"{}]",
    b"[" + b'"",' * 999 + b'""]',
    b"\n".join([b"{}"] * 1_001),
    b'{"event_type": "' + b"x" * 200_000 + b'", "data": {}}',
    b'{"specversion": "1.0", "id": ' + b"[" * 300 + b"]" * 300 + b', "type": "x", "source": "y", "data": {}}',
)


class Target:
    """A daemon's application in a loop of its own, which many examples share."""

    def __init__(self, runner: asyncio.Runner, app: Described, room: Room) -> None:
        self.runner = runner
        self.room = room
        self._app = app

    def at(self, url: str) -> None:
        self.host, port = url.removeprefix("http://").split(":")
        self.port = int(port)

    def fire(self, *parts: bytes) -> bytes:
        """What comes back when these bytes were sent, piece by piece, and nothing more."""
        return self.runner.run(self._fire(parts))

    async def _fire(self, parts: tuple[bytes, ...]) -> bytes:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        answer = b""
        with contextlib.suppress(OSError):
            for part in parts:
                writer.write(part)
                await writer.drain()
            async with asyncio.timeout(20):
                while data := await reader.read(65536):
                    answer += data
                    if not answer.startswith(b"HTTP/1.1 100 "):
                        writer.write_eof()  # one answer is enough
        writer.close()
        async with asyncio.timeout(20):  # what began before the connection was closed is still being stored
            await asyncio.sleep(0)
            await self._app.settled()
        return answer

    def stored(self) -> int:
        return len(self.runner.run(self.room.store.events(Page(1_000_000))))


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with asyncio.Runner() as runner, pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocol, "HEAD_SECONDS", 0.1)
        stack = contextlib.AsyncExitStack()
        folder: Path = tmp_path_factory.mktemp("fuzz")
        room = runner.run(stack.enter_async_context(open_room(folder, webhook("created"))))
        limits = HttpLimits(body_seconds=0.1, waiting_max_bytes=9 * 1024 * 1024, waiting_max_requests=4)
        app = described(build_app(store=room.store, live=room.live, intake=room.intake, status=dict, limits=limits))
        target = Target(runner, app, room)
        target.at(runner.run(stack.enter_async_context(running(app))))
        yield target
        runner.run(stack.aclose())


def post(body: bytes, *lines: bytes, is_last: bool = True) -> bytes:
    """A request; one that is not the last of its connection is plain enough for the short way."""
    head = [b"POST /v1/events HTTP/1.1", b"host: 127.0.0.1", b"content-length: %d" % len(body), *lines]
    return b"\r\n".join((*head, *([b"connection: close"] if is_last else []), b"", b"")) + body


def statuses(answer: bytes) -> list[int]:
    return [int(found) for found in STATUS.findall(answer)]


@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: f"{bomb[:20]!r}-{len(bomb)}")
@pytest.mark.parametrize("kind", [b"application/json", b"application/x-ndjson", b"application/cloudevents+json"])
def test_a_bomb_is_answered_and_harms_nobody(target: Target, bomb: bytes, kind: bytes) -> None:
    """Taken, quarantined or refused; the next event is taken as ever."""
    answer = target.fire(post(bomb, b"content-type: " + kind, is_last=kind != b"application/json"))

    (status,) = statuses(answer)
    assert status in (202, 400, 413), answer[:500]
    assert b"Traceback" not in answer
    good = target.fire(post(raw(event(1))))
    assert statuses(good) == [202]


REQUESTS = (
    post(raw(event(2))),
    post(raw(event(6)), is_last=False),
    post(raw([event(7), event(8)]), b"idempotency-key: d", is_last=False),
    post(raw([event(3), event(4)]), b"content-type: application/json"),
    post(raw(event(5)), b"idempotency-key: abc", b"expect: 100-continue"),
    b"POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n"
    b"2\r\n[]\r\n0\r\ntrailer: x\r\n\r\n",
    b"GET /v1/events?limit=5 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
    b"POST http://127.0.0.1/v1/events HTTP/1.0\r\nhost: 127.0.0.1\r\ncontent-length: 2\r\n\r\n{}",
)
TOKENS = (
    *(b"\r\n", b"\n", b"\r", b"\x00", b"\xff", b" ", b"\t", b":", b",", b"\r\n\r\n", b"chunked", b"HTTP/1.1", b"%00"),
    *(
        b"content-length: 1\r\n",
        b"transfer-encoding: chunked\r\n",
        b"transfer-encoding: gzip, chunked\r\n",
        b"ffffffff",
    ),
    *(b"content-length: 99999999999999999999\r\n", b"host: evil.example\r\n", b"0\r\n\r\n", b"upgrade: h2c\r\n", b"-1"),
    *(
        b"ce-id: %ff\r\n",
        b"idempotency-key: \xc3\r\n",
        b"content-encoding: gzip\r\n",
        b"?limit=%ff&before=\x01",
        b"../",
    ),
)


@st.composite
def broken(draw: st.DrawFn) -> tuple[tuple[bytes, ...], bool]:
    """A request with a few edits, perhaps another one behind it, in pieces; whether it is alone."""
    data = bytearray(draw(st.sampled_from(REQUESTS)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 3)):
            case 0:
                data[at:at] = draw(st.sampled_from(TOKENS))
            case 1:
                del data[at : at + draw(st.integers(1, 40))]
            case 2:
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case _:
                data[at:at] = data[max(0, at - draw(st.integers(1, 60))) : at]
    is_alone = data.count(b"/v1/events") <= 1
    if draw(st.booleans()):
        data += draw(st.sampled_from(REQUESTS))
        is_alone = False
    cut = draw(st.integers(0, len(data)))
    return ((bytes(data[:cut]), bytes(data[cut:])) if draw(st.booleans()) else (bytes(data),)), is_alone


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(sent=broken())
def test_broken_http_is_refused_and_stores_all_or_nothing(target: Target, sent: tuple[tuple[bytes, ...], bool]) -> None:
    """What is stored is what a 202 said, since whoever gets none sends again; no fault of ours shows."""
    parts, is_alone = sent
    before = target.stored()

    answer = target.fire(*parts)

    assert all(status < 500 for status in statuses(answer)), answer[:500]
    assert b"Traceback" not in answer
    said = sum(json.loads(found)["accepted"] + json.loads(found)["quarantined"] for found in _acknowledged(answer))
    if is_alone:  # with one behind it, an answer may be one that we did not wait for
        assert target.stored() - before == said


def _acknowledged(answer: bytes) -> list[bytes]:
    """The bodies of the 202s."""
    found = []
    for part in re.split(rb"(?=HTTP/1\.1 \d{3} )", answer):
        head, _, body = part.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if head.startswith(b"HTTP/1.1 202") and length:
            found.append(body[: int(length[1])])
    return found


def test_nothing_stays_behind(target: Target) -> None:
    """No connection, no request, no byte of the account: what was held is given back, whatever became of it."""

    async def settled() -> int:
        async with asyncio.timeout(20):
            while left := sum(isinstance(item, BoundedProtocol) for item in gc.get_objects()):
                gc.collect()
                await asyncio.sleep(0.01)  # until the loop has closed what is closing
        return left

    for _ in range(20):
        target.fire(post(b"[" * 8_000_000)[:1_000_000])

    assert target.runner.run(settled()) == 0
    assert statuses(target.fire(post(b" " * 8_000_000 + raw(event(9))))) == [202]
