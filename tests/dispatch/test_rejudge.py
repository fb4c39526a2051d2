"""Match errors judged again: each ends as a delivery, as none, or as an error anew, and none is lost on the way."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from served import Room, event, open_room, publish, raw, webhook

from reconciler.dispatch import rejudge as module
from reconciler.dispatch.rejudge import Rejudged, rejudge
from reconciler.models.audit import Deed
from reconciler.models.delivery import State
from reconciler.models.webhook import Webhook
from reconciler.store.base import RevisionMovedError
from reconciler.store.match_error import MatchErrorFilter

PROD = "data.custom_fields.environment == 'prod'"


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    """Two webhooks that cannot tell of requests without an environment, and one that has no condition."""
    async with open_room(tmp_path, *hooks()) as opened:
        yield opened


def hooks(**whens: str) -> tuple[Webhook, ...]:
    return (
        webhook("audit"),
        webhook("one", when=whens.get("one", PROD)),
        webhook("two", when=whens.get("two", PROD)),
    )


async def take(room: Room, number: int, **data: Any) -> None:
    answer = await room.intake.take(raw(event(number, **data)), source="test")
    assert answer.accepted == 1


async def again(room: Room, **where: Any) -> Rejudged:
    return await rejudge(room.store, room.live, now=lambda: room.now, where=MatchErrorFilter(**where))


async def deliveries(room: Room) -> list[tuple[str, str, str]]:
    found = await room.store.deliveries()
    return sorted((item.webhook or "", item.event_id[-4:], item.state.value) for item in found)


async def test_what_cannot_be_told_is_neither_wanted_nor_passed_over(room: Room) -> None:
    """The event is accepted; webhooks that can tell get theirs, the others a match error with the reason."""
    await take(room, 1)
    await take(room, 2, custom_fields={"environment": "prod"})
    await take(room, 3, custom_fields={"environment": "dev"})

    errors = await room.store.match_errors()

    assert [(error.webhook, error.error) for error in errors] == [
        ("one", "the event has no field `custom_fields`"),
        ("two", "the event has no field `custom_fields`"),
    ]
    assert sorted(item.webhook or "" for item in await room.store.deliveries()) == ["audit"] * 3 + ["one", "two"]


async def test_a_mended_condition_gives_the_events_that_failed_to_the_webhook(room: Room) -> None:
    """With the revision live now: one wants them, the other does not."""
    await take(room, 1)
    await take(room, 2)
    await publish(room.store, *hooks(one="!has(data.custom_fields)", two=f"has(data.custom_fields) && {PROD}"))

    done = await again(room)

    assert done == Rejudged(wanted=2, unwanted=2, failed=0, deliveries=2)
    assert done.total == 4
    assert await room.store.match_errors() == ()
    made = [item for item in await room.store.deliveries() if item.webhook == "one"]
    assert [item.state for item in made] == [State.PENDING] * 2
    assert {item.revision for item in made} == {2}


async def test_judging_twice_makes_nothing_twice(room: Room) -> None:
    """The second time there is nothing left to judge."""
    await take(room, 1)
    await publish(room.store, *hooks(one="true", two="true"))
    await again(room)
    before = await deliveries(room)

    done = await again(room)

    assert done == Rejudged()
    assert await deliveries(room) == before


async def test_what_fails_anew_stays_with_the_new_reason(room: Room) -> None:
    """And with the revision that it was judged with."""
    await take(room, 1)
    await publish(room.store, *hooks(one="1 / size(data.id) == 0 || 1 / 0 == 1", two="1 +"))

    done = await again(room)

    assert done.failed == 2 - done.wanted
    errors = await room.store.match_errors()
    assert [(error.error, error.revision) for error in errors if error.webhook == "two"] == [
        ("it does not compile: syntax error: mismatched input '<EOF>'", 2)
    ]


async def test_only_what_was_asked_for_is_judged(room: Room) -> None:
    """A webhook's, or an event's."""
    await take(room, 1)
    await take(room, 2)
    await publish(room.store, *hooks(one="true", two="true"))
    first = (await room.store.match_errors(limit=1))[0]

    assert await again(room, event_id=first.event_id, webhook="two") == Rejudged(wanted=1, deliveries=1)
    assert await again(room, webhook="one") == Rejudged(wanted=2, deliveries=2)
    assert [(error.webhook) for error in await room.store.match_errors()] == ["two"]


async def test_a_webhook_that_is_gone_or_inactive_wants_nothing(room: Room) -> None:
    """Its match errors end with it."""
    await take(room, 1)
    await publish(room.store, webhook("audit"), webhook("one", when=PROD, status="inactive"))

    done = await again(room)

    assert done == Rejudged(unwanted=2)
    assert await room.store.match_errors() == ()


async def test_many_are_judged_portion_by_portion(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each portion is a transaction; those that fail anew are not judged for ever."""
    monkeypatch.setattr(module, "PORTION", 3)
    for number in range(5):
        await take(room, number)
    await publish(room.store, *hooks(one="true"))
    seen: list[int] = []

    done = await rejudge(
        room.store, room.live, now=lambda: room.now, on_progress=lambda progress: seen.append(progress.total)
    )

    assert done == Rejudged(wanted=5, failed=5, deliveries=5)
    assert seen == [3, 6, 9, 10]
    assert len(await room.store.match_errors()) == 5


class MovingStore:
    """The store, whose live revision moves before the first settling."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._has_moved = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._room.store, name)

    async def settle(self, settled: Any, *, revision: int, now: int, deed: Deed | None = None) -> int:
        if not self._has_moved:
            self._has_moved = True
            await publish(self._room.store, *hooks(one="false", two="false"))
            raise RevisionMovedError(revision + 1)
        return await self._room.store.settle(settled, revision=revision, now=now, deed=deed)


async def test_a_revision_that_comes_in_between_is_judged_with(room: Room) -> None:
    """The verdict is that of the revision live when it is written."""
    await take(room, 1)
    await publish(room.store, *hooks(one="true", two="true"))

    done = await rejudge(MovingStore(room), room.live, now=lambda: room.now)  # type: ignore[arg-type]

    assert done == Rejudged(unwanted=2)


async def test_a_stored_condition_of_an_older_version_does_not_stop_intake(room: Room) -> None:
    """What does not compile is an error of its webhook alone."""
    await publish(room.store, webhook("audit"), webhook("old", when="data.id =~ 'x'"))
    await room.live.refresh()

    await take(room, 1)

    (error,) = await room.store.match_errors()
    assert error.webhook == "old"
    assert error.error.startswith("it does not compile: ")
    assert [item.webhook for item in await room.store.deliveries()] == ["audit"]


async def test_a_large_request_is_judged_alike(room: Room) -> None:
    """Beside the loop."""
    many = [event(number, justification="x" * 2000) for number in range(40)]

    answer = await room.intake.take(raw(many), source="test")

    assert answer.accepted == 40
    assert await room.store.match_error_counts() == {"one": 40, "two": 40}
