"""Results on their way to the store, and who is told of them."""

import asyncio

from reconciler.dispatch.record import BATCH_MAX, Recorder
from reconciler.models.delivery import AttemptResult, Outcome, State
from reconciler.store.base import Finished


def finished(seq: int) -> Finished:
    return Finished(
        seq=seq,
        token=1,
        number=1,
        finished_at=1,
        outcome=Outcome.DELIVERED,
        result=AttemptResult(outcome=Outcome.DELIVERED),
        state=State.DELIVERED,
        reason=None,
        next_attempt_at=None,
        is_counted=True,
        give_up_at=None,
        blocked_until=None,
    )


async def test_what_is_taken_is_held_until_it_is_recorded():
    """Its lease may end meanwhile: nobody else may close it as unknown."""
    recorder = Recorder(on_result=lambda: None)
    recorder.put(finished(1))
    recorder.put(finished(2))
    joined = asyncio.create_task(recorder.join())

    taken = recorder.take()
    recorder.put(finished(3))
    assert [item.seq for item in taken] == [1, 2]
    assert recorder.holds(1) and not recorder.is_idle

    recorder.recorded(taken, lost=0)
    assert not recorder.holds(1)
    assert recorder.holds(3)

    recorder.recorded(recorder.take(), lost=1)
    async with asyncio.timeout(10):
        await joined
    assert recorder.is_idle


async def test_somebody_is_told_while_there_is_something_to_take():
    told = []
    recorder = Recorder(on_result=lambda: told.append(True))
    for seq in range(BATCH_MAX + 1):
        recorder.put(finished(seq))
    assert len(told) == 1

    assert len(recorder.take()) == BATCH_MAX
    assert len(told) == 2

    assert len(recorder.take()) == 1
    assert len(told) == 2
    recorder.put(finished(0))
    assert len(told) == 3
