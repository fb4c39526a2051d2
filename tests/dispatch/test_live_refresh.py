"""How a new revision is loaded."""

import asyncio
from pathlib import Path

from served import publish, webhook

from reconciler.dispatch.live import Live
from reconciler.models.revision import LiveState
from reconciler.store.sqlite.store import SqliteStore


class CountingStore(SqliteStore):
    """The real store; counts how often the whole state is loaded."""

    loads = 0

    async def live_state(self, number: int | None = None) -> LiveState:
        self.loads += 1
        return await super().live_state(number)


async def test_a_revision_is_loaded_once_however_many_want_it(tmp_path: Path) -> None:
    """The worker, intake and the page ask at the same moment; with many webhooks each load takes a second."""
    async with CountingStore(tmp_path / "store.db") as store:
        live = Live(store)
        await publish(store, webhook("a"))
        store.loads = 0

        refreshed = await asyncio.gather(*(live.refresh() for _ in range(8)))

        assert (live.snapshot.revision, store.loads) == (1, 1)
        assert sorted(refreshed) == [False] * 7 + [True]
        assert await live.refresh() is False
