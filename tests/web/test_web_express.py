"""A plain event takes the short way, and is answered as it would be on the long one."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from served import Room, event, exchange, open_room, publish, raw, running, webhook
from starlette.types import ASGIApp, Receive, Scope, Send

from reconciler.errors import StoreError
from reconciler.source.http import HttpLimits
from reconciler.store.base import EventStatus, NewEvent
from reconciler.web import protocol
from reconciler.web.app import Security, build_app
from reconciler.web.express import WHOLE_MAX_BYTES
from reconciler.web.token import Tokens

TOKEN, READER = "a" * 64, "b" * 64
BY_TOKEN = b"authorization: Bearer " + TOKEN.encode()
LARGE = event(9, justification="x" * WHOLE_MAX_BYTES)


class Ways:
    """An application, and how many requests came to it by which way."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.short = 0
        self.long = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.long += 1
        await self._app(scope, receive, send)

    def offer(self, *args: Any, **facts: Any) -> bool:
        is_taken: bool = self._app.offer(*args, **facts)
        self.short += is_taken
        return is_taken


class LongWay:
    """An application without its short way."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def app_of(room: Room, *, tokens: Tokens | None = None, **limits: Any) -> ASGIApp:
    return build_app(
        store=room.store,
        live=room.live,
        intake=room.intake,
        status=dict,
        limits=HttpLimits(**limits),
        security=Security(tokens),
    )


@contextlib.asynccontextmanager
async def ways(room: Room, *, has_short: bool = True, **facts: Any) -> AsyncIterator[tuple[Ways, str]]:
    """The daemon's application over a room, and its URL."""
    found = Ways(app_of(room, **facts))
    async with running(found if has_short else LongWay(found)) as url:
        yield found, url


def post(body: bytes, *lines: bytes, target: bytes = b"/v1/events", host: bytes = b"127.0.0.1") -> bytes:
    head = (b"POST %b HTTP/1.1" % target, b"Host: %b" % host, b"Content-Length: %d" % len(body), *lines, b"", b"")
    return b"\r\n".join(head) + body


def tokens_in(folder: Path) -> Tokens:
    path = folder / "tokens.yaml"
    path.write_text(f"in: {{token: {TOKEN}, roles: [ingest]}}\nout: {{token: {READER}, roles: [read]}}\n")
    path.chmod(0o600)
    return Tokens.load(path)


PLAIN = {
    "an event": post(raw(event(1))),
    "with its type": post(raw(event(1)), b"Content-Type: application/json; charset=utf-8"),
    "kept alive": post(raw(event(1)), b"Connection: keep-alive", b"Accept: */*", b"User-Agent: a"),
    "with a key": post(raw(event(1)), b'Idempotency-Key: "abc"'),
    "no JSON": post(b"{"),
    "no event": post(b'{"data": 1}'),
    "white space": post(b" \r\n "),
    "several": post(raw([event(1), {}, event(1)])),
    "none": post(b"[]"),
    "lines": post(raw(event(1)) + b"\n" + raw(event(2)), b"Content-Type: application/x-ndjson"),
    "too many": post(b"[" + b"1," * 1000 + b"1]"),
    "another API's number": post(raw(event(1)), b"Reconciler-API: 1"),
    "a CloudEvent": post(raw({"specversion": "1.0", "id": "c1", "type": "x", "source": "y", "data": event(1)})),
    "deep": post(b"[" * 8000),
    "a long number": post(b'{"event_type": "x", "event_time": ' + b"9" * 5000 + b"}"),
    "a lone surrogate": post(rb'{"event_type": "AccessRequestCreated", "data": {"id": "\ud800", "x": "\udfff"}}'),
    "no UTF-8": post(b'{"event_type": "\xff"}'),
    "a key twice": post(b'{"event_type": "x", "event_type": "x"}'),
    "a line end of JavaScript's": post('{"event_type": "AccessRequestCreated", "data": {"a": "\u2028"}}'.encode()),
    "a bad envelope": post(raw({"specversion": "1.0", "id": 1, "type": "x", "source": "y", "data": event(1)})),
}
OTHERS = {
    "nothing": post(b""),
    "large": post(raw(LARGE)),
    "a bad key": post(raw(event(1)), b"Idempotency-Key: " + b"k" * 300),
    "an empty key": post(raw(event(1)), b"Idempotency-Key:"),
    "a key beyond ASCII": post(raw(event(1)), b"Idempotency-Key: \xe9"),
    "two keys": post(raw(event(1)), b"Idempotency-Key: a", b"Idempotency-Key: b"),
    "an id of CloudEvents": post(raw(event(1)), b"ce-id: a%20b"),
    "another host": post(raw(event(1)), host=b"evil.example"),
    "two hosts": post(raw(event(1)), b"Host: 127.0.0.1"),
    "a browser": post(raw(event(1)), b"Origin: http://127.0.0.1"),
    "a browser's fetch": post(raw(event(1)), b"Sec-Fetch-Site: same-origin"),
    "another API": post(raw(event(1)), b"Reconciler-API: 2"),
    "encoded": post(raw(event(1)), b"Content-Encoding: gzip"),
    "the last": post(raw(event(1)), b"Connection: close"),
    "another path": post(raw(event(1)), target=b"/v1/event"),
    "a query": post(raw(event(1)), target=b"/v1/events?a=b"),
    "HTTP/1.0": post(raw(event(1))).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "chunks": b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n",
}


@pytest.mark.parametrize(("requests", "is_plain"), [(PLAIN, True), (OTHERS, False)], ids=["plain", "others"])
async def test_the_answer_does_not_tell_the_way(requests: dict[str, bytes], is_plain: bool, tmp_path: Path) -> None:
    """Headers and body, of what is new and of what was sent before."""
    answers = []
    for has_short in (True, False):
        folder = tmp_path / f"{has_short}"
        folder.mkdir()
        async with open_room(folder, webhook("created")) as room, ways(room, has_short=has_short) as (found, url):
            told = {name: _timeless(await exchange(url, request)) for name, request in requests.items()}
            answers.append((told, len(await room.store.events())))
            assert found.short == (len(requests) if has_short and is_plain else 0)

    assert answers[0] == answers[1]


def _timeless(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, list[tuple[str, str]], bytes]:
    status, headers, body = answer
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT", headers["date"])
    return status, [(name, value) for name, value in headers.items() if name != "date"], body


BEARERS: dict[tuple[bytes, ...], int] = {
    (BY_TOKEN,): 202,
    (b"Authorization: bearer  " + TOKEN.encode(),): 202,
    (): 401,
    (b"Authorization: Bearer " + READER.encode(),): 403,
    (b"Authorization: Bearer " + b"c" * 64,): 401,
    (BY_TOKEN, BY_TOKEN): 401,
    (b"Authorization: Basic " + TOKEN.encode(),): 401,
}


async def test_a_token_decides_alike_on_both_ways(room: Room, tmp_path: Path) -> None:
    """Who has none, a wrong one or not the role is told so by the application."""
    answers = []
    for has_short in (True, False):
        async with ways(room, has_short=has_short, tokens=tokens_in(tmp_path)) as (found, url):
            requests = [post(raw(event(number)), *lines) for number, lines in enumerate(BEARERS)]
            answers.append([_timeless(await exchange(url, request)) for request in requests])
            assert found.short == (2 if has_short else 0)

    assert [status for status, _, _ in answers[0]] == list(BEARERS.values())
    refusals = [[answer for answer in found if answer[0] != 202] for found in answers]
    assert refusals[0] == refusals[1]


async def test_a_token_that_is_taken_away_is_refused_at_once(room: Room, tmp_path: Path) -> None:
    """On a connection that is open, too."""
    tokens = tokens_in(tmp_path)
    async with ways(room, tokens=tokens) as (found, url):
        reader, writer = await _connect(url)
        writer.write(post(raw(event(1)), BY_TOKEN))
        first = await _answer(reader)
        (tmp_path / "tokens.yaml").write_text(f"other: {{token: {'d' * 64}, roles: [ingest]}}\n")
        writer.write(post(raw(event(2)), BY_TOKEN))
        second = await _answer(reader)
        writer.close()

    assert (first[0], second[0], found.short) == (202, 401, 1)


async def _connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bytes]:
    """Status, head and body of the next answer."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    length = re.search(rb"content-length: (\d+)", head)
    assert length is not None
    return int(head.split()[1]), head, await asyncio.wait_for(reader.readexactly(int(length[1])), 10)


async def test_a_conflict_is_told_on_both_ways(tmp_path: Path) -> None:
    """The same key with another body."""
    answers = []
    for has_short in (True, False):
        folder = tmp_path / f"{has_short}"
        folder.mkdir()
        async with open_room(folder) as room, ways(room, has_short=has_short) as (_, url):
            await exchange(url, post(raw(event(1)), b"Idempotency-Key: k"))
            answers.append(_timeless(await exchange(url, post(raw(event(2)), b"Idempotency-Key: k"))))

    assert answers[0] == answers[1] and answers[0][0] == 409


@pytest.mark.parametrize("size", [1, 7, 60, 100])
async def test_pieces_take_the_short_way_too(room: Room, size: int) -> None:
    """A client that writes head and body apart is nothing special."""
    request = post(raw(event(1)), b"Idempotency-Key: abc")
    async with ways(room) as (found, url):
        reader, writer = await _connect(url)
        for start in range(0, len(request), size):
            writer.write(request[start : start + size])
            await asyncio.sleep(0)
        status, _, body = await _answer(reader)
        writer.close()

    assert (status, json.loads(body)["events"][0]["id"], found.short, found.long) == (202, "abc", 1, 0)


async def test_a_body_that_takes_its_time_is_read_by_the_application(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which has the deadline and the account of bodies; what has come of it is not lost."""
    monkeypatch.setattr(protocol, "WHOLE_SECONDS", 0.05)
    body = raw(event(1))
    request = post(body)
    async with ways(room, body_seconds=10) as (found, url):
        reader, writer = await _connect(url)
        writer.write(request[:-20])
        await _until(lambda: found.long == 1)
        writer.write(request[-20:])
        status, _, _ = await _answer(reader)
        writer.write(request)
        again = await _answer(reader)
        writer.close()

    assert (status, found.short, json.loads(again[2])["duplicates"]) == (202, 1, 1)
    assert [stored.raw for stored in await room.store.events()] == [body]


async def test_a_body_that_never_comes_is_408(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the deadline that every body has."""
    monkeypatch.setattr(protocol, "WHOLE_SECONDS", 0.05)
    async with ways(room, body_seconds=0.05) as (_, url):
        status, _, _ = await exchange(url, post(raw(event(1)))[:-1], keep_open=True)

    assert status == 408


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_who_hangs_up_in_the_middle_stores_nothing(room: Room) -> None:
    """And costs the next one nothing."""
    async with ways(room) as (_, url):
        _, writer = await _connect(url)
        writer.write(post(raw(event(1)))[:-1])
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        status, _, _ = await exchange(url, post(raw(event(2))))

    assert (status, len(await room.store.events())) == (202, 1)


async def test_requests_behind_one_that_is_being_answered_wait_for_it(room: Room) -> None:
    """Pipelined: each is answered, in order, whichever way it takes."""
    requests = [
        post(raw(event(1)), b"Idempotency-Key: a"),
        post(raw(event(2)), b"Idempotency-Key: b"),
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        post(raw(event(3)), b"Idempotency-Key: c"),
    ]
    async with ways(room) as (found, url):
        reader, writer = await _connect(url)
        writer.write(b"".join(requests))
        answers = [await _answer(reader) for _ in requests]
        writer.write(requests[0])
        last = await _answer(reader)
        writer.close()

    bodies = [json.loads(body) for _, _, body in (*answers, last)]
    ids = [body["events"][0]["id"] if "events" in body else body["status"] for body in bodies]
    assert ids == ["a", "b", "alive", "c", "a"]
    assert found.short >= 2


class Slow:
    """A real event store that waits until it is let go, or fails."""

    def __init__(self, room: Room) -> None:
        self._store = room.store
        self.go = asyncio.Event()
        self.waiting = 0
        self.failure: Exception | None = None

    async def accept(self, events: list[NewEvent], *, revision: int) -> tuple[EventStatus, ...]:
        self.waiting += len(events)
        await self.go.wait()
        if self.failure is not None:
            raise self.failure
        return await self._store.accept(events, revision=revision)


@pytest.fixture
def slow(room: Room) -> Slow:
    """The room's intake stores through it."""
    found = Slow(room)
    room.intake._gatherer._store = found  # type: ignore[assignment]  # the one verb that intake uses
    return found


async def test_what_is_not_here_to_its_end_behind_it_does_not_disturb_an_answer(room: Room, slow: Slow) -> None:
    """The first is answered although what follows is no HTTP, and then the connection ends."""
    async with ways(room) as (_, url):
        reader, writer = await _connect(url)
        writer.write(post(raw(event(1))) + b"\x00\x01 nonsense\r\n\r\n")
        await _until(lambda: slow.waiting == 1)
        slow.go.set()
        status, head, _ = await _answer(reader)
        rest = await asyncio.wait_for(reader.read(), 10)
        writer.close()

    assert (status, rest) == (202, b"") and b"connection: close" in head


async def test_who_waits_too_long_for_the_store_counts_among_those_that_wait(room: Room, slow: Slow) -> None:
    """As on the long way: one more than the limit is told to come again, and there is room afterwards."""
    async with ways(room, waiting_max_requests=2) as (_, url):
        waiting = [asyncio.create_task(exchange(url, post(raw(event(number))))) for number in (1, 2)]
        await _until(lambda: slow.waiting >= 1 and _source_of(room) == 2)
        refused, headers, _ = await exchange(url, post(raw(event(3))))
        slow.go.set()
        answered = [(await task)[0] for task in waiting]
        later, _, _ = await exchange(url, post(raw(event(3))))

    assert (refused, headers["retry-after"], answered, later) == (429, "1", [202, 202], 202)


def _source_of(room: Room) -> int:
    """How many requests wait for the store."""
    gatherer = room.intake._gatherer
    store = gatherer._store
    assert isinstance(store, Slow)
    return len(gatherer._waiting) + store.waiting


@pytest.mark.parametrize(("failure", "status"), [(StoreError("disk full at /secret"), 503), (KeyError("a bug"), 500)])
async def test_what_could_not_be_stored_is_told_without_insides(
    room: Room, slow: Slow, failure: Exception, status: int
) -> None:
    """Nothing was acknowledged; the next one is taken as ever."""
    slow.failure = failure
    slow.go.set()
    async with ways(room) as (found, url):
        answer = await exchange(url, post(raw(event(1))))
        slow.failure = None
        later, _, _ = await exchange(url, post(raw(event(1))))

    assert (answer[0], later, found.short) == (status, 202, 2)
    assert b"secret" not in answer[2] and b"bug" not in answer[2]


async def test_an_event_is_matched_with_the_revision_that_is_live(room: Room) -> None:
    """Although the daemon has not seen yet that it moved."""
    await publish(room.store, webhook("created"), webhook("second"))
    async with ways(room) as (found, url):
        status, _, _ = await exchange(url, post(raw(event(1))))

    assert (status, found.short) == (202, 1)
    assert {delivery.webhook_uid for delivery in await room.store.deliveries()} == {"created", "second"}


async def test_a_daemon_that_drains_takes_nothing_the_short_way(room: Room) -> None:
    """503, by the application."""
    room.intake.close()
    async with ways(room) as (found, url):
        status, headers, _ = await exchange(url, post(raw(event(1))))

    assert (status, headers["connection"], found.short) == (503, "close", 0)


async def test_a_server_that_stops_answers_what_it_has_taken(room: Room, slow: Slow) -> None:
    """And says that the connection ends."""
    async with ways(room) as (_, url):
        reader, writer = await _connect(url)
        writer.write(post(raw(event(1))))
        await _until(lambda: slow.waiting == 1)
        for connection in _connections():
            connection.shutdown()
        slow.go.set()
        status, head, _ = await _answer(reader)
        rest = await asyncio.wait_for(reader.read(), 10)
        writer.close()

    assert (status, rest) == (202, b"") and b"connection: close" in head


def _connections() -> list[protocol.BoundedProtocol]:
    import gc

    return [item for item in gc.get_objects() if isinstance(item, protocol.BoundedProtocol) and item.connections]


async def test_the_rate_of_a_sender_is_that_of_both_ways(room: Room) -> None:
    """Two a second, and two more at once: what a sender asks for is counted once."""
    async with ways(room, per_second=2) as (_, url):
        statuses = [(await exchange(url, post(raw(event(number)))))[0] for number in range(8)]

    assert statuses[:4] == [202] * 4 and 429 in statuses[4:]
