"""`--events FILE|-`: lines in batches through intake, nothing buffered without bound, stopped at any time."""

import asyncio
import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from served import NOW, Room, event, raw

from reconciler.dispatch.intake import Intake
from reconciler.dispatch.item import EVENT_MAX_BYTES
from reconciler.errors import ReconcilerError, StoreError
from reconciler.source import jsonl
from reconciler.source.base import Taken
from reconciler.source.jsonl import LineSplitter, read_events
from reconciler.store.base import EventStatus, NewEvent, Page


def lines(*events: Any) -> bytes:
    return b"".join(raw(item) + b"\n" for item in events)


async def test_a_file_is_brought_in_to_its_end(room: Room, tmp_path: Path) -> None:
    """Blank lines, CRLF, a byte-order mark and a last line without an end are no obstacle."""
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + raw(event(1)) + b"\r\n\n  \n" + raw(event(2)) + b"\n" + raw(event(3)))

    taken = await read_events(str(file), room.intake)

    assert (taken, taken.total) == (Taken(accepted=3), 3)
    assert {item.source for item in await room.store.events()} == {f"jsonl:{file}"}


async def test_a_bad_line_is_quarantined_alone(room: Room, tmp_path: Path) -> None:
    """The others are taken."""
    file = tmp_path / "events.jsonl"
    file.write_bytes(raw(event(1)) + b"\n{oops\n\xff\n" + raw(event(1)) + b"\n")

    taken = await read_events(str(file), room.intake)

    assert taken == Taken(accepted=1, quarantined=2, duplicates=1)


async def test_reading_the_same_file_again_stores_nothing_twice(room: Room, tmp_path: Path) -> None:
    """An event is known by what it says, wherever it stands."""
    file = tmp_path / "events.jsonl"
    file.write_bytes(lines(event(1), event(2)))
    await read_events(str(file), room.intake)
    file.write_bytes(lines(event(3), event(2), event(1)))

    taken = await read_events(str(file), room.intake)

    assert taken == Taken(accepted=1, duplicates=2)


async def test_a_long_file_comes_in_batches_in_order(room: Room, tmp_path: Path) -> None:
    """No transaction holds more than a batch."""
    file = tmp_path / "events.jsonl"
    file.write_bytes(lines(*(event(number) for number in range(1200))))
    watched = Watched(room)

    taken = await read_events(str(file), Intake(watched, room.live, now=lambda: NOW, wake=lambda: None))

    assert taken == Taken(accepted=1200)
    assert max(watched.calls) <= jsonl.BATCH_MAX_EVENTS
    stored = await room.store.events(Page(2000))
    assert [item.data_id for item in reversed(stored)] == [f"request-{number}" for number in range(1200)]


class Watched:
    """A real event store that notes what it is asked, can be held, and can be away a few times."""

    def __init__(self, room: Room, *, failures: int = 0) -> None:
        self._store = room.store
        self.failures = failures
        self.calls: list[int] = []
        self.is_free = asyncio.Event()
        self.is_free.set()
        self.entered = asyncio.Event()

    async def accept(self, events: Sequence[NewEvent], *, revision: int, **facts: Any) -> tuple[EventStatus, ...]:
        self.calls.append(len(events))
        self.entered.set()
        await self.is_free.wait()
        if self.failures:
            self.failures -= 1
            raise StoreError("away")
        return await self._store.accept(events, revision=revision, **facts)

    async def events(self, *args: Any, **kwargs: Any) -> Any:
        return await self._store.events(*args, **kwargs)

    async def event(self, event_id: str) -> Any:
        return await self._store.event(event_id)


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """A named pipe: its path, and its writing end."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    keep = os.open(path, os.O_RDWR)  # so that opening the ends waits for nobody
    writer = os.open(path, os.O_WRONLY)
    os.close(keep)
    yield str(path), writer
    with contextlib.suppress(OSError):
        os.close(writer)


async def test_a_pipe_is_read_as_it_fills(room: Room, pipe: tuple[str, int]) -> None:
    """What has arrived is stored while the writer still holds the pipe open; its end ends the reading."""
    path, writer = pipe
    watched = Watched(room)
    reading = asyncio.create_task(read_events(path, Intake(watched, room.live, now=lambda: NOW, wake=lambda: None)))
    await asyncio.sleep(0)
    os.write(writer, lines(event(1)) + raw(event(2))[:10])
    await asyncio.wait_for(watched.entered.wait(), 5)
    assert watched.calls == [1]

    os.write(writer, raw(event(2))[10:])
    os.close(writer)

    assert await asyncio.wait_for(reading, 5) == Taken(accepted=2)


async def test_reading_waits_for_intake(room: Room, pipe: tuple[str, int]) -> None:
    """Back-pressure: while a batch is being stored, the pipe is not emptied."""
    path, writer = pipe
    os.set_blocking(writer, False)
    watched = Watched(room)
    watched.is_free.clear()
    reading = asyncio.create_task(read_events(path, Intake(watched, room.live, now=lambda: NOW, wake=lambda: None)))
    await asyncio.sleep(0)
    os.write(writer, lines(event(1)))
    await asyncio.wait_for(watched.entered.wait(), 5)

    with pytest.raises(BlockingIOError):
        for number in range(100_000):
            os.write(writer, lines(event(number, justification="x" * 4000)))

    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def test_reading_can_be_stopped_while_nothing_comes(room: Room, pipe: tuple[str, int]) -> None:
    """The daemon drains without waiting for the writer."""
    path, _ = pipe
    reading = asyncio.create_task(read_events(path, room.intake))
    await asyncio.sleep(0)

    reading.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(reading, 5)


async def test_a_store_that_is_away_is_waited_for(room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else will bring these events; after enough tries the daemon stops loudly."""
    monkeypatch.setattr(jsonl, "STORE_RETRY_SECONDS", 0)
    file = tmp_path / "events.jsonl"
    file.write_bytes(lines(event(1)))
    watched = Watched(room, failures=3)
    intake = Intake(watched, room.live, now=lambda: NOW, wake=lambda: None)

    assert await read_events(str(file), intake) == Taken(accepted=1)

    watched.failures = 1000
    with pytest.raises(StoreError):
        await read_events(str(file), intake)


@pytest.mark.parametrize("name", ["missing.jsonl", "."])
async def test_a_file_that_cannot_be_read_is_an_error(room: Room, tmp_path: Path, name: str) -> None:
    """With its name and the cause."""
    with pytest.raises(ReconcilerError, match="cannot read events"):
        await read_events(str(tmp_path / name), room.intake)


async def test_dev_null_is_empty(room: Room) -> None:
    """A device that is always readable ends at once."""
    assert await read_events(os.devnull, room.intake) == Taken()


def test_an_endless_line_is_not_held() -> None:
    """Its beginning is kept as a quarantined item that says how long it was."""
    splitter = LineSplitter()
    for _ in range(100):
        assert splitter.feed(b"x" * 65536) == []
    assert len(splitter._held) <= jsonl.HELD_MAX_BYTES

    (item, after) = splitter.feed(b"\n{}\n")

    assert (
        item.problem
        == f"the line has {100 * 65536} bytes, an event may have {EVENT_MAX_BYTES}; only its beginning is kept"
    )
    assert item.raw == b"x" * EVENT_MAX_BYTES
    assert (after.raw, after.problem) == (b"{}", None)


def test_the_longest_line_is_an_event() -> None:
    """256 KiB with its carriage return."""
    text = b'{"a":"' + b"x" * (EVENT_MAX_BYTES - 8) + b'"}'

    (item,) = LineSplitter().feed(text + b"\r\n")

    assert (item.raw, item.problem) == (text, None)


@given(st.lists(st.sampled_from([b"{}", b'{"a":1}', b"bad", b"", b" ", b"\xff"]), max_size=8), st.data())
def test_portions_do_not_matter(parts: list[bytes], data: st.DataObject) -> None:
    """Law: however the bytes are cut, the items are the same."""
    whole = b"\n".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    splitter = LineSplitter()

    items = []
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        items += splitter.feed(whole[start:end])
    items += splitter.end()

    assert [item.raw for item in items] == [part for part in parts if part.strip()]
