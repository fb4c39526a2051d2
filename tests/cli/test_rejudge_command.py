"""`events replay` of accepted events: the webhooks whose `when` could not be told are asked again."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from served import Room, event, open_room, publish, raw, running, webhook

from reconciler.web.app import build_app

Run = Callable[..., Awaitable[subprocess.CompletedProcess[str]]]
WHEN = "data.custom_fields.environment == 'prod'"


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    """Two events of which neither `one` nor `two` could tell whether it wants them."""
    async with open_room(tmp_path, webhook("one", when=WHEN), webhook("two", when=WHEN)) as opened:
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
        return await asyncio.to_thread(reconciler, "events", "replay", *args, "--store", store, **kwargs)

    return call


async def mend(room: Room) -> None:
    """`one` wants every event now; `two` still cannot tell."""
    await publish(room.store, webhook("one", when="true"), webhook("two", when=WHEN))


async def test_a_mended_condition_brings_its_deliveries(run: Run, room: Room) -> None:
    """What can be told is told; what cannot stays, and is an exit 1."""
    await mend(room)

    done = await run("--match-errors", "--auto-approve", code=1)

    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["judged"] * 2
    assert all(line.endswith("  1 wanted, 1 cannot be told") for line in lines)
    assert "0 settled, 2 not" in done.stderr
    assert await room.store.match_error_counts() == {"two": 2}
    assert [delivery.webhook for delivery in await room.store.deliveries()] == ["one", "one"]


async def test_only_the_events_of_one_webhook_are_judged(run: Run, room: Room) -> None:
    """`--webhook`; nobody has any is said."""
    await publish(room.store, webhook("one", when="true"), webhook("two", when="false"))

    done = await run("--match-errors", "--webhook", "two", "--auto-approve", "--format", "json")
    none = await run("--match-errors", "--auto-approve")

    assert [item["match_errors"] for item in json.loads(done.stdout)] == [
        {"judged": 2, "wanted": 1, "unwanted": 1, "failed": 0, "deliveries": 1}
    ] * 2
    assert none.stderr == "no events have match errors\n"


async def test_one_event_is_judged_by_its_id(run: Run, room: Room) -> None:
    """And by its beginning; the other stays as it is. There is nothing to judge again afterwards."""
    await publish(room.store, webhook("one", when="true"), webhook("two", when="true"))
    newest = (await room.store.events())[0]

    done = await run(newest.id[:12])
    again = await run(newest.id, code=1)

    assert done.stdout.strip().endswith("2 wanted")
    assert sum((await room.store.match_error_counts()).values()) == 2
    assert "the event is accepted, not quarantined" in again.stderr


async def test_a_serving_daemon_wakes_for_what_was_judged(url: str, room: Room, reconciler: Any) -> None:
    """The deliveries are due at once."""
    await mend(room)
    before = room.wakes

    await asyncio.to_thread(reconciler, "events", "replay", "--match-errors", "--auto-approve", "--store", url, code=1)

    assert room.wakes > before


async def test_many_are_judged_after_a_typed_yes_only(run: Run, room: Room) -> None:
    """Without a terminal that is refused before anything is done."""
    await mend(room)

    done = await run("--match-errors", code=1)

    assert "terminal" in done.stderr
    assert await room.store.match_error_counts() == {"one": 2, "two": 2}


async def test_what_says_nothing_together_is_refused(reconciler: Any) -> None:
    """As usage."""
    for args in (("--match-errors", "--all"), ("--match-errors", "x"), ("--webhook", "a", "--all"), ()):
        reconciler("events", "replay", *args, code=64)
