"""When intake turns events away: a full backlog, a disk almost full; and how it is told."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from served import event, open_room, raw, webhook

from reconciler.dispatch.intake import Intake
from reconciler.dispatch.room import NoRoomError, Room, RoomLimits
from reconciler.observe.log import configure, silence
from reconciler.store.retention import Load

MIB = 1024 * 1024


@pytest.fixture
def log_lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What is logged."""
    stream = io.StringIO()
    configure("json", stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    silence()


def is_full(limits: RoomLimits, load: Load) -> bool:
    return limits.full(load) is not None


def test_a_backlog_is_full_at_its_limit() -> None:
    limits = RoomLimits(max_unfinished=100)

    assert not is_full(limits, Load(99))
    assert is_full(limits, Load(100))
    assert not is_full(RoomLimits(max_unfinished=None), Load(10**12))


def test_a_disk_keeps_room_for_what_is_taken_already() -> None:
    limits = RoomLimits(min_free_bytes=500 * MIB)

    assert is_full(limits, Load(0, 499 * MIB, 10_000 * MIB))
    assert not is_full(limits, Load(0, 500 * MIB, 10_000 * MIB))
    assert not is_full(limits, Load(0)), "an engine elsewhere cannot tell"
    assert not is_full(RoomLimits(min_free_bytes=0), Load(0, 0, 10_000 * MIB))


def test_by_default_a_small_disk_keeps_a_twentieth() -> None:
    assert is_full(RoomLimits(), Load(0, 255 * MIB, 100_000 * MIB))
    assert not is_full(RoomLimits(), Load(0, 2 * MIB, 40 * MIB))
    assert is_full(RoomLimits(), Load(0, 1 * MIB, 40 * MIB))


def test_what_is_taken_counts_before_the_store_is_asked_again() -> None:
    room = Room(RoomLimits(max_unfinished=10))
    room.see(Load(4))

    room.added(5)
    room.check()
    room.added(1)

    with pytest.raises(NoRoomError, match="too many deliveries are unfinished"):
        room.check()


def test_the_log_says_once_that_it_is_full_and_once_that_it_is_over(log_lines) -> None:
    """With the numbers, which senders are not told."""
    room = Room(RoomLimits(max_unfinished=10))
    for unfinished in (1, 10, 12, 9, 8):
        room.see(Load(unfinished))

    assert [line["event"] for line in log_lines()] == ["intake.full", "intake.open"]
    assert log_lines()[0]["why"] == "10 deliveries are unfinished, the limit is 10"


async def test_intake_stores_nothing_while_it_is_full_and_goes_on_afterwards(tmp_path: Path) -> None:
    """The limit is met to the event, not only when somebody looks."""
    async with open_room(tmp_path, webhook("a")) as opened:
        room = Room(RoomLimits(max_unfinished=2))
        intake = Intake(opened.store, opened.live, now=lambda: 0, wake=lambda: None, room=room)
        for number in (1, 2):
            await intake.take(raw(event(number)), source="test")

        with pytest.raises(NoRoomError):
            await intake.take(raw(event(3)), source="test")
        assert len(await opened.store.events()) == 2

        room.see(Load(1))
        assert (await intake.take(raw(event(3)), source="test")).accepted == 1
