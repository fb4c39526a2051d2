"""The worker follows a clock that is set back under it, and one that is behind its store's when it starts."""

from worker_room import START, flow, open_worker, until

from reconciler.dispatch.patience import Patience
from reconciler.dispatch.rewind import Rewinder
from reconciler.sandbox.script import Line

HOUR_MS = 3_600_000


async def test_a_clock_set_back_holds_up_neither_what_waits_nor_what_is_new(tmp_path):
    """On a limited pace, with a retry pending: all of it goes on in seconds, not in an hour."""
    pace = {"rate_limit": {"per_second": 1, "burst": 1}, "retry": {"schedule": ["5s"], "jitter": 0}}
    async with open_worker(tmp_path, flow("a", **pace)) as room:
        room.sandbox.add_script(Line(status=500))
        await room.start()
        await room.take("r-1")
        await until(lambda: len(room.sandbox.requests) == 1, what="the failure")
        await room.settled()

        room.clock.at -= HOUR_MS
        room.turn(1)
        await room.take("r-2")
        await until(lambda: len(room.sandbox.requests) == 2, what="the new one")
        room.turn(5)
        await until(lambda: len(room.sandbox.requests) == 3, what="the retry")
        await room.settled()

        assert await room.states() == {"delivered": 2}


async def test_a_worker_whose_clock_is_behind_its_store_goes_on(tmp_path):
    """The one before it had a clock that was an hour ahead."""
    async with open_worker(tmp_path, flow("a", retry={"schedule": ["5s"], "jitter": 0})) as room:
        room.clock.at += HOUR_MS
        await room.take("r-1", "r-2")
        await room.worker.start()
        await room.store.claim(now=room.clock.at, lease_until=room.clock.at + 1, limit=1, revision=1, commit=None)
        room.clock.at = START

        await room.start()

        await until(lambda: len(room.sandbox.requests) == 1, what="what waited")
        assert await room.store.next_wake_at() == START + 5_000, "what was in flight is tried again by the new clock"


async def test_a_clock_that_is_nudged_or_jumps_forward_moves_nothing(tmp_path):
    async with open_worker(tmp_path, flow("a", retry={"schedule": ["60s"], "jitter": 0})) as room:
        room.sandbox.add_script(Line(status=500))
        await room.start()
        await room.take("r-1")
        await until(lambda: len(room.sandbox.requests) == 1, what="the failure")
        await room.settled()
        due_at = await room.store.next_wake_at()

        for jump in (-900, 20_000):
            room.clock.at += jump
            before = room.store.calls["live_revision"]
            room.worker.refresh_soon()
            await until(lambda before=before: room.store.calls["live_revision"] > before, what="a look at the clock")

        assert await room.store.next_wake_at() == due_at


async def test_a_process_stopped_while_it_looks_at_its_clocks_sees_no_jump():
    """SIGSTOP between the reading of one clock and of the other, at each of both places."""
    for stopped_at in (1, 2):
        clock, moved = StoppedClock(stopped_at), []
        rewinder = Rewinder(Moves(moved), now=clock.now, monotonic=clock.monotonic)

        for _ in range(3):
            clock.at += 500
            assert not await rewinder.look(Patience(clock.monotonic))

        assert clock.was_stopped and moved == []


class StoppedClock:
    """Both clocks of a process that is stopped for ten seconds in its first look, before the reading of that number."""

    def __init__(self, stopped_at: int) -> None:
        self.at = START
        self.was_stopped = False
        self._stopped_at = stopped_at + 3  # the first three readings are those of the start
        self._readings = 0

    def _read(self) -> None:
        self._readings += 1
        if self._readings == self._stopped_at + 1:
            self.was_stopped = True
            self.at += 10_000

    def now(self) -> int:
        self._read()
        return self.at

    def monotonic(self) -> float:
        self._read()
        return self.at / 1000


class Moves:
    """A store that only notes by how much it is to move."""

    def __init__(self, moved: list[int | None]) -> None:
        self._moved = moved

    async def rewind(self, *, now: int, by_ms: int | None = None) -> int:
        self._moved.append(by_ms)
        return by_ms or 0
