"""Forgetting in the background: all of what is old, in rests that yield to work; and a slow store, bounded."""

import asyncio
from pathlib import Path

from worker_room import WatchedStore, flow, open_worker, until

from reconciler.dispatch import record
from reconciler.dispatch.retention import Pruner
from reconciler.dispatch.worker import WorkerSettings
from reconciler.errors import StoreError
from reconciler.store.retention import Pruned

DAY_MS = 86_400_000


def pruner(store: WatchedStore, *, now: int, keep_ms: int | None = 30 * DAY_MS, is_busy: bool = False) -> Pruner:
    return Pruner(store, keep_ms=keep_ms, now=lambda: now, monotonic=lambda: 0.0, is_busy=lambda: is_busy)


async def test_what_was_delivered_a_month_ago_is_forgotten_with_its_attempts(tmp_path: Path) -> None:
    async with open_worker(tmp_path, flow("a"), flow("b")) as room:
        await room.start()
        await room.take(*(f"r-{number}" for number in range(300)))
        await room.settled()
        room.turn(29 * 86_400)
        await room.take("fresh")
        await room.settled()
        assert await pruner(room.store, now=room.clock.at).forget() == Pruned()

        room.turn(2 * 86_400)
        pruned = await pruner(room.store, now=room.clock.at).forget()

        assert pruned == Pruned(events=300, deliveries=600, attempts=600)
        assert await room.states() == {"delivered": 2}
        assert {sum(counts.values()) for counts in (await room.store.counts()).values()} == {301}


async def test_without_a_retention_nothing_is_forgotten(tmp_path: Path) -> None:
    async with open_worker(tmp_path, flow("a")) as room:
        await room.start()
        await room.take("r-1", "r-2")
        await room.settled()

        assert await pruner(room.store, now=room.clock.at + 10_000 * DAY_MS, keep_ms=None).forget() == Pruned()


async def test_steps_rest_longer_while_there_is_work(tmp_path: Path) -> None:
    """A fifth of the store's time at most, a twentieth under load, and always something."""
    rests: list[float] = []

    async def rest(seconds: float) -> None:
        rests.append(seconds)

    async with open_worker(tmp_path, flow("a")) as room:
        ticks = iter(range(100))
        for is_busy in (False, True):
            await Pruner(
                room.store,
                keep_ms=DAY_MS,
                now=lambda: room.clock.at,
                monotonic=lambda: next(ticks) * 0.01,
                is_busy=lambda is_busy=is_busy: is_busy,
                sleep=rest,
            ).forget()

    assert [round(seconds, 3) for seconds in rests] == [0.04, 0.19]


async def test_a_store_that_is_away_is_tried_again_later(tmp_path: Path) -> None:
    class Away(WatchedStore):
        async def prune(self, *, before: int, at: str | None = None) -> Pruned:
            self._meet("prune")
            return await super().prune(before=before, at=at)

    path = tmp_path / "store.db"
    path.touch()
    async with Away(path) as store:
        store.broken["prune"] = StoreError("the disk is full, nothing was stored: store.db")
        running = asyncio.create_task(pruner(store, now=0, keep_ms=40).run())
        await until(lambda: store.calls["prune"] >= 2, what="a second try")
        store.broken.clear()
        seen = store.calls["prune"]
        await until(lambda: store.calls["prune"] > seen, what="a third one")

        assert not running.done()
        running.cancel()


async def test_a_store_that_records_slowly_is_given_nothing_more_to_record(tmp_path: Path, monkeypatch) -> None:
    """What was sent and is not recorded yet stays within bounds; then the rest is sent."""
    monkeypatch.setattr(record, "HELD_MAX", 3)
    async with open_worker(tmp_path, flow("a"), settings=WorkerSettings(concurrency=2)) as room:
        room.store.broken["finish"] = StoreError("the disk is full, nothing was stored: store.db")
        await room.start()
        await room.take(*(f"r-{number}" for number in range(30)))
        await until(lambda: room.store.calls["finish"] >= 3, what="tries to record")
        assert len(room.sandbox.requests) <= 4

        room.store.broken.clear()
        await room.settled()

        assert await room.states() == {"delivered": 30}


async def test_under_lasting_load_a_pass_that_falls_behind_rests_less(tmp_path: Path) -> None:
    """A store that is never at rest must not grow for ever."""
    rests: list[float] = []

    async def rest(seconds: float) -> None:
        rests.append(seconds)

    class Large(WatchedStore):
        async def prune(self, *, before: int, at: str | None = None) -> Pruned:
            return Pruned(events=1, following="0-0" if len(rests) < 4 else None)

    path = tmp_path / "store.db"
    path.touch()
    async with Large(path) as store:
        ticks = iter(range(0, 100_000, 100))
        await Pruner(
            store,
            keep_ms=DAY_MS,
            now=lambda: 0,
            monotonic=lambda: float(next(ticks)),
            is_busy=lambda: True,
            sleep=rest,
        ).forget()

    assert rests == [1900.0, 1900.0, 400.0, 400.0, 400.0]
