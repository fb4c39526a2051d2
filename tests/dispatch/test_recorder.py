"""Results on their way to the store, and whom they wake."""

import asyncio

from reconciler.dispatch.patience import Patience
from reconciler.dispatch.record import Recorder
from reconciler.models.delivery import AttemptResult, Outcome, State
from reconciler.store.base import Finished


class Waiting:
    """A store that writes when it is told to; notes what it was asked to do."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[str] = asyncio.Queue()
        self.may_write = asyncio.Event()

    async def finish(self, finished: list[Finished]) -> tuple[int, ...]:
        self.asked.put_nowait(f"finish {len(finished)}")
        await self.may_write.wait()
        return ()


def finished(seq: int) -> Finished:
    return Finished(
        seq=seq,
        token=1,
        number=1,
        finished_at=1,
        outcome=Outcome.DELIVERED,
        result=AttemptResult(outcome=Outcome.DELIVERED).to_json(),
        state=State.DELIVERED,
        reason=None,
        next_attempt_at=None,
        is_counted=True,
        give_up_at=None,
        blocked_until=None,
    )


async def test_who_claims_is_woken_behind_the_write_and_after_it() -> None:
    """Behind it, so that a store which groups what waits gives the slots that end away with the same commit."""
    store = Waiting()
    woken = asyncio.Event()
    recorder = Recorder(store, Patience(asyncio.get_running_loop().time), on_recorded=woken.set)

    async def claim() -> None:
        while True:
            await woken.wait()
            woken.clear()
            store.asked.put_nowait("claim")

    tasks = [asyncio.create_task(recorder.run()), asyncio.create_task(claim())]
    await asyncio.sleep(0)
    recorder.put(finished(1))
    recorder.put(finished(2))
    async with asyncio.timeout(10):
        assert [await store.asked.get(), await store.asked.get()] == ["finish 2", "claim"]
        assert not recorder.is_idle

        store.may_write.set()
        await recorder.join()

        assert await store.asked.get() == "claim"
        assert recorder.is_idle
    for task in tasks:
        task.cancel()
