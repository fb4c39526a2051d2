"""When a worker takes a new revision."""

from pathlib import Path

import pytest
from worker_room import flow, open_worker, until

from reconciler.dispatch import worker


async def test_a_revision_is_taken_at_once_where_its_coming_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is published through the daemon does not wait until the worker looks by itself, which here is never."""
    monkeypatch.setattr(worker, "REFRESH_SECONDS", 3600.0)
    async with open_worker(tmp_path, flow("a")) as room:
        await room.start()
        before = room.store.calls["configure"]

        for number, name in ((2, "b"), (3, "c")):
            assert await room.publish(flow(name)) == number
            room.worker.refresh_soon()
            await until(lambda number=number: room.live.snapshot.revision == number)
            await until(lambda number=number: room.store.calls["configure"] >= before + number - 1)

        await room.take("r-1")
        await until(lambda: room.received_ids() == ["AR-1"])
        assert (await room.only()).revision == 3
