"""Match errors where people and programs look: the commands, the page, the API, the log."""

import asyncio
import io
import json
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from served import Room, event, open_room, raw, running, webhook

from reconciler.observe.log import configure, silence
from reconciler.web.app import build_app

Run = Callable[..., Awaitable[subprocess.CompletedProcess[str]]]
WHEN = "data.custom_fields.environment == 'prod'"
ERROR = "the event has no field `custom_fields`"
HOSTILE = "</code><script>alert(1)</script>"


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    """Two events of which the webhook `prod` cannot tell whether it wants them; `audit` has them."""
    async with open_room(tmp_path, webhook("audit"), webhook("prod", when=WHEN)) as opened:
        for number in (1, 2):
            await opened.intake.take(raw(event(number)), source="test")
        yield opened


@pytest.fixture
async def url(room: Room) -> AsyncIterator[str]:
    app = build_app(store=room.store, live=room.live, intake=room.intake, status=dict)
    async with running(app) as base:
        yield base


@pytest.fixture(params=["store", "daemon"])
def run(request: pytest.FixtureRequest, reconciler: Any, room: Room, url: str, tmp_path: Path) -> Run:
    """The command on the store's file, and through its daemon."""
    store = url if request.param == "daemon" else f"sqlite:///{tmp_path / 'store.db'}"

    async def call(*args: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(reconciler, *args, "--store", store, **kwargs)

    return call


async def test_events_are_listed_with_what_could_not_be_told(run: Run) -> None:
    """In the table beside the problems of quarantined events, counted in JSON."""
    text = (await run("events", "list")).stdout
    listed = json.loads((await run("events", "list", "--format", "json")).stdout)

    assert text.count("`when` of 1 webhook could not be told") == 2
    assert [(item["status"], item["deliveries"], item["match_errors"]) for item in listed] == [("accepted", 1, 1)] * 2


async def test_an_event_shows_its_match_errors(run: Run, room: Room) -> None:
    """Which webhook, why, and with which revision."""
    stored = (await room.store.events())[0]

    text = (await run("events", "show", stored.id)).stdout
    shown = json.loads((await run("events", "show", stored.id, "--format", "json")).stdout)

    assert ERROR in text
    (error,) = shown["match_error_log"]
    assert (error["webhook"], error["error"], error["revision"]) == ("prod", ERROR, 1)
    assert shown["match_errors"] == 1


async def test_match_errors_are_listed_by_webhook(run: Run) -> None:
    """Oldest first, since so they are judged again."""
    lines = (await run("events", "list", "--match-errors", "--webhook", "prod")).stdout.splitlines()
    listed = json.loads((await run("events", "list", "--match-errors", "--format", "json")).stdout)

    assert lines[0].split() == ["EVENT", "TYPE", "WEBHOOK", "REVISION", "JUDGED", "ERROR"]
    assert [line.split()[2] for line in lines[1:]] == ["prod", "prod"]
    assert [item["id"] for item in listed] == ["1", "2"]
    none = await run("events", "list", "--match-errors", "--webhook", "audit")
    assert (none.stdout, none.stderr) == ("", "no match errors\n")


async def test_more_match_errors_than_the_limit_are_said_to_be_there(run: Run) -> None:
    """On stderr."""
    done = await run("events", "list", "--match-errors", "--limit", "1")

    assert len(done.stdout.splitlines()) == 2
    assert "there may be more match errors than 1: --limit" in done.stderr


async def test_options_that_say_nothing_together_are_refused(reconciler: Any) -> None:
    """As usage."""
    for args in (("--match-errors", "--status", "accepted"), ("--webhook", "prod")):
        assert "--match-errors" in reconciler("events", "list", *args, code=64).stderr


async def test_a_webhook_says_how_often_it_could_not_tell(run: Run) -> None:
    """In the list, in its own view and in JSON."""
    note = "its `when` could not be told for 2 events"

    listed = json.loads((await run("webhooks", "list", "--format", "json")).stdout)
    shown = json.loads((await run("webhooks", "show", "prod", "--format", "json")).stdout)

    assert {item["name"]: item["match_errors"] for item in listed} == {"audit": 0, "prod": 2}
    assert shown["match_errors"] == 2
    assert note in shown["note"]
    assert note in (await run("webhooks", "list")).stdout
    assert note in (await run("webhooks", "show", "prod")).stdout


async def test_the_page_shows_them(url: str, room: Room) -> None:
    """With the event, among the events, and as the webhook's note."""
    stored = (await room.store.events())[0]
    async with httpx.AsyncClient(base_url=url) as client:
        pages = [(await client.get(path)).text for path in (f"/events/{stored.id}", "/events", "/webhooks/prod", "/")]

    assert "the event has no field" in pages[0]
    assert "of 1 webhook could not be told" in pages[1]
    assert all("could not be told for 2 events" in page for page in pages[2:])


async def test_an_error_that_quotes_markup_is_harmless_on_the_page(url: str, room: Room) -> None:
    """A condition may ask for a field of any name."""
    from served import publish

    await publish(room.store, webhook("hostile", when=f"data.custom_fields['{HOSTILE}'] == 1"))
    await room.live.refresh()
    await room.intake.take(raw(event(3, custom_fields={})), source="test")
    stored = (await room.store.events())[0]

    async with httpx.AsyncClient(base_url=url) as client:
        page = (await client.get(f"/events/{stored.id}")).text

    assert "&lt;script&gt;" in page
    assert "<script>" not in page


async def test_the_api_lists_and_counts_them(url: str, room: Room) -> None:
    """Behind the last one seen; a bad place is refused."""
    async with httpx.AsyncClient(base_url=url) as client:
        first = (await client.get("/v1/match-errors?limit=1")).json()
        rest = (await client.get(f"/v1/match-errors?after={first[0]['id']}")).json()
        counts = (await client.get("/v1/match-error-counts")).json()
        refused = await client.get("/v1/match-errors?after=x")

    assert [len(first), len(rest)] == [1, 1]
    assert counts == {"prod": 2}
    assert refused.status_code in (400, 404)


async def test_each_is_a_line_of_the_log(room: Room) -> None:
    """With the event, the webhook and the reason; duplicates say nothing again."""
    lines = io.StringIO()
    configure("json", lines)
    try:
        for _ in range(2):
            await room.intake.take(raw(event(3)), source="test")
    finally:
        silence()

    (line,) = [json.loads(text) for text in lines.getvalue().splitlines() if "match.failed" in text]
    assert (line["webhook"], line["error"], line["revision"]) == ("prod", ERROR, 1)
    assert line["event_id"] == (await room.store.events())[0].id
