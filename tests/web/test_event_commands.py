"""`send` and `events list|show` as people run them."""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from served import Room, event, raw, running
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from reconciler import jsontext
from reconciler.client.connection import DaemonAddress, DaemonError
from reconciler.client.send import DaemonClient, batches, retry_after_seconds
from reconciler.dispatch.item import REQUEST_MAX_EVENTS
from reconciler.web.app import build_app

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
async def url(room: Room) -> AsyncIterator[str]:
    app = build_app(store=room.store, live=room.live, intake=room.intake, status=dict)
    async with running(app) as base:
        yield base


@pytest.fixture
def run(reconciler: Run) -> Callable[..., Awaitable[subprocess.CompletedProcess[str]]]:
    """The command in a thread, while the server runs in this loop."""

    async def call(*args: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(reconciler, *args, **kwargs)

    return call


async def test_files_are_sent_and_each_event_is_answered(url: str, run: Any, tmp_path: Path, room: Room) -> None:
    """JSON and JSONL; the counts on stderr, the events on stdout."""
    (tmp_path / "one.json").write_bytes(raw(event(1)))
    (tmp_path / "many.jsonl").write_bytes(b"\n".join(raw(event(number)) for number in (1, 2, 3)))

    done = await run("send", "one.json", "many.jsonl", "--to", url)

    assert [line.split()[0] for line in done.stdout.splitlines()] == ["accepted", "duplicate", "accepted", "accepted"]
    assert done.stderr.strip() == "3 accepted, 1 duplicates, 0 conflicts, 0 quarantined"
    assert len(await room.store.events()) == 3


async def test_events_come_from_standard_input(url: str, run: Any) -> None:
    """`-`; the daemon's address may stand in the environment."""
    done = await run("send", "-", "--format", "json", stdin=json.dumps(event(1)), env={"RECONCILER_DAEMON": url})

    report = json.loads(done.stdout)
    assert (report["accepted"], report["events"][0]["file"], report["events"][0]["status"]) == (1, "-", "accepted")


async def test_a_quarantined_event_is_exit_1(url: str, run: Any) -> None:
    """With the reason, each time it is sent."""
    for status in ("quarantined", "duplicate"):
        done = await run("send", "-", "--to", url, stdin="{broken", code=1)

        assert done.stdout.split()[0] == status
        assert "not JSON" in done.stdout


async def test_a_conflict_is_exit_1(url: str, run: Any) -> None:
    """409 is an answer."""
    for number, code in ((1, 0), (2, 1)):
        cloud_event = {"specversion": "1.0", "id": "ce-1", "data": event(number)}
        done = await run("send", "-", "--to", url, stdin=json.dumps(cloud_event), code=code)

    assert done.stdout.split()[:2] == ["conflict", "ce-1"]


async def test_a_refusal_is_exit_1_with_the_reason(url: str, run: Any) -> None:
    """What the daemon says goes to the person."""
    done = await run("send", "-", "--to", url, stdin=json.dumps([event(1, justification="x" * 300_000)]), code=1)

    assert "the daemon refuses: event 0 has" in done.stderr
    assert "(HTTP 413)" in done.stderr


async def test_no_daemon_is_exit_1_with_a_hint(run: Any) -> None:
    """Nothing listens there."""
    done = await run("send", "-", "--to", "http://127.0.0.1:1", stdin="{}", code=1)

    assert "no daemon answers at http://127.0.0.1:1" in done.stderr
    assert "reconciler run" in done.stderr


async def test_many_lines_go_in_several_requests(url: str, run: Any, tmp_path: Path, room: Room) -> None:
    """A file may hold more events than a request."""
    (tmp_path / "many.jsonl").write_bytes(b"\n".join(raw(event(number)) for number in range(2500)))

    done = await run("send", "many.jsonl", "--to", url)

    assert done.stderr.startswith("2500 accepted")


async def test_events_are_listed_and_shown(room: Room, run: Any, tmp_path: Path) -> None:
    """From the store, without a daemon."""
    good = b'{"event_type": "RequestCreated", "n": 1.50, "data": {"id": "r\\u202e", "x": "\xe2\x80\xae\\ud800"}}'
    event_id = (await room.intake.take(good, source="test")).items[0].id
    await room.intake.take(b"{broken", source="test")
    store = f"sqlite:///{tmp_path / 'store.db'}"

    listed = json.loads((await run("events", "list", "--store", store, "--format", "json")).stdout)
    bad = json.loads(
        (await run("events", "list", "--store", store, "--format", "json", "--status", "quarantined")).stdout
    )
    table = (await run("events", "list", "--store", store, "--limit", "1")).stdout
    shown = (await run("events", "show", event_id, "--store", store, "--format", "json")).stdout
    text = (await run("events", "show", event_id, "--store", store)).stdout

    assert [item["status"] for item in listed] == ["quarantined", "accepted"]
    assert [item["problem"][:8] for item in bad] == ["not JSON"]
    assert len(table.splitlines()) == 2 and "quarantined" in table
    assert jsontext.loads(shown)["raw"] == good.decode()
    assert '"n": 1.50' in shown and shown.isascii()
    assert [item["webhook"] for item in jsontext.loads(shown)["delivery_log"]] == ["created"]
    assert '"n": 1.50' in text and "created" in text
    assert "\u202e" not in text and "\\u202e" in text


async def test_an_unknown_event_is_exit_1(room: Room, run: Any, tmp_path: Path) -> None:
    """With the way to the known ones."""
    done = await run("events", "show", "nope", "--store", f"sqlite:///{tmp_path / 'store.db'}", code=1)

    assert "no such event: nope" in done.stderr


@contextlib.asynccontextmanager
async def answering(*answers: Response) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that gives these answers in turn, and what it was sent."""
    bodies: list[bytes] = []
    waiting = list(answers)

    async def post(request: Request) -> Response:
        bodies.append(await request.body())
        return waiting.pop(0)

    async with running(Starlette(routes=[Route("/v1/events", post, methods=["POST"])])) as base:
        yield base, bodies


async def send(url: str, sleeps: list[float]) -> dict[str, Any]:
    def call() -> dict[str, Any]:
        now = datetime(2026, 11, 24, tzinfo=UTC)
        with DaemonClient(DaemonAddress(url), sleep=sleeps.append, now=lambda: now) as client:
            return client.send(b"{}")

    return await asyncio.to_thread(call)


async def test_a_busy_daemon_is_asked_again_when_it_says() -> None:
    """429 and 503, by Retry-After in seconds and as a date, bounded."""
    answers = (
        JSONResponse({}, 429, {"retry-after": "2"}),
        JSONResponse({}, 503, {"retry-after": "Tue, 24 Nov 2026 00:00:09 GMT"}),
        JSONResponse({}, 503, {"retry-after": "86400"}),
        JSONResponse({}, 503),
        JSONResponse({"accepted": 1, "events": []}, 202),
    )
    sleeps: list[float] = []
    async with answering(*answers) as (url, bodies):
        assert await send(url, sleeps) == {"accepted": 1, "events": []}

    assert sleeps == [2.0, 9.0, 30.0, 1.0]
    assert bodies == [b"{}"] * 5


async def test_a_daemon_that_stays_away_is_given_up() -> None:
    """A bounded number of times."""
    sleeps: list[float] = []
    async with answering(*(JSONResponse({"detail": "draining"}, 503) for _ in range(20))) as (url, bodies):
        with pytest.raises(DaemonError, match="the daemon refuses: draining") as caught:
            await send(url, sleeps)

    assert (caught.value.status, len(bodies), len(sleeps)) == (503, 8, 7)


async def test_an_answer_that_is_no_json_is_still_a_refusal() -> None:
    """A proxy's page, for instance."""
    async with answering(Response("<html>", 502)) as (url, _):
        with pytest.raises(DaemonError, match=r"Bad Gateway \(HTTP 502\)"):
            await send(url, [])


def test_an_address_needs_its_scheme() -> None:
    """The hint shows how to write it."""
    with pytest.raises(DaemonError, match="no daemon's address"):
        DaemonAddress("127.0.0.1:8420")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("", 1.0), ("soon", 1.0), ("-5", 1.0), ("0", 0.0), ("Tue, 24 Nov 2020 00:00:00 GMT", 0.0), ("9" * 400, 30.0)],
)
def test_retry_after_is_read_and_bounded(header: str, seconds: float) -> None:
    """RFC 9110, section 10.2.3."""
    assert retry_after_seconds({"retry-after": header}, now=datetime(2026, 11, 24, tzinfo=UTC)) == seconds


def test_lines_are_batched_and_documents_go_whole() -> None:
    """Blank lines are dropped; a JSON document keeps its bytes."""
    many = b"\n".join([b"{}", b""] * (REQUEST_MAX_EVENTS + 1))

    assert [body.count(b"{}") for body, _ in batches(many)] == [REQUEST_MAX_EVENTS, 1]
    assert list(batches(b'{\n"a": 1}\n')) == [(b'{\n"a": 1}\n', "application/json")]
    assert list(batches(b"{}\n", name="x.jsonl")) == [(b"{}", "application/x-ndjson")]


def test_the_command_line_reaches_a_daemon_without_loading_httpx_before() -> None:
    """The client is imported by commands that may never send."""
    code = "import sys, reconciler.client.send, reconciler.client.store; sys.exit('httpx' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
