"""The worker: turn by turn it records what became of deliveries, claims what is due and sends it; run by the daemon.

Several deliveries are in flight at once, which `dispatch.flights` holds; a bug in any of them that cannot be recorded
stops the daemon loudly. The claim has recorded the attempt as started, so that a kill at any moment leaves an attempt
that closes as unknown. Decides nothing itself: what a result means is `dispatch.retry`.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from reconciler.dispatch.clock import Clock
from reconciler.dispatch.crowd import Crowd
from reconciler.dispatch.flights import Flights
from reconciler.dispatch.halts import Halts
from reconciler.dispatch.lanes import Lanes
from reconciler.dispatch.live import Live, Snapshot
from reconciler.dispatch.patience import Patience
from reconciler.dispatch.record import Recorder
from reconciler.dispatch.rewind import Rewinder
from reconciler.egress.deliver import Deliverer
from reconciler.egress.secrets import SecretResolver
from reconciler.models.delivery import AttemptResult, Fault, State
from reconciler.models.webhook import WebhookUid
from reconciler.observe.log import log
from reconciler.store.base import Claimed, Finished, Store, Turned

CLAIM_BATCH: Final = 256
BEGUN_AT_ONCE: Final = 32  # of what was claimed, some 3 ms of the loop; by 8 a time a delivery costs an eighth more
LOOK_SECONDS: Final = 0.005  # while attempts are under way, before the store is asked when something is due
REFRESH_SECONDS: Final = 0.5  # how often the live revision and the binding file are looked at
PREPARE_SECONDS: Final = 0.1  # how often it is looked whether an apply waits for us
SWEEP_REST_SECONDS: Final = 1.0  # at most, between two steps of writing what a revision has cancelled
EXPIRE_SECONDS: Final = 10.0  # how often leases of vanished workers are looked for
SLEEP_MAX_SECONDS: Final = 10.0  # a clock that was set forward makes deliveries due sooner than reckoned
LAST_WRITES_SECONDS: Final = 5.0  # of a drain, for what has finished and is not recorded, where the store is away


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How much a worker takes on.

    `concurrency` attempts may be in flight that are quick, `in_flight_max` with those that wait for a slow receiver;
    each holds a socket. Their events may have `in_flight_bytes` together: each is held several times over (event, body,
    what is shown, what is recorded). A lease outlasts any attempt: the longest timeout (65 s), a second connection and
    the pace.
    """

    concurrency: int = 256
    in_flight_max: int = 2048
    in_flight_bytes: int = 16 * 1024 * 1024
    lease_seconds: float = 150.0


class Worker:
    """Delivers what the store says is due, until `drain`."""

    def __init__(
        self,
        *,
        store: Store,
        live: Live,
        deliverer: Deliverer,
        resolver: SecretResolver,
        clock: Clock,
        settings: WorkerSettings = WorkerSettings(),
    ) -> None:
        self._store = store
        self._live = live
        self._clock = clock
        self._lease_ms = round(settings.lease_seconds * 1000)
        self._patience = Patience(clock.monotonic)
        self._recorder = Recorder(on_result=self.wake)
        self._crowd = Crowd(
            quick_max=settings.concurrency, total_max=settings.in_flight_max, bytes_max=settings.in_flight_bytes
        )
        self._lanes = Lanes(
            store=store,
            live=live,
            resolver=resolver,
            deliverer=deliverer,
            limits=self._limits,
            now=clock.now,
        )
        self._halts = Halts(store=store, live=live, now=clock.now)
        self._rewinder = Rewinder(store, now=clock.now, monotonic=clock.monotonic)
        self._wake = asyncio.Event()
        self._wake.set()  # something may be due from the start
        self._moved = asyncio.Event()
        self._revised = asyncio.Event()
        self._flights = Flights(
            live=live,
            lanes=self._lanes,
            deliverer=deliverer,
            resolver=resolver,
            recorder=self._recorder,
            crowd=self._crowd,
            clock=clock,
            release=self._release,
            on_room=self.wake,
        )
        self._stopping = asyncio.Event()
        self._turned = asyncio.Event()
        self._turned.set()
        self._claims = 0

    @property
    def in_flight(self) -> int:
        """How many deliveries this worker holds."""
        return len(self._flights)

    @property
    def is_busy(self) -> bool:
        """Whether anything is being claimed, in flight or not yet recorded."""
        return bool(self._flights) or not self._turned.is_set() or not self._recorder.is_idle

    def wake(self) -> None:
        """Something may be due: new events, or an operator's change."""
        self._wake.set()

    def refresh_soon(self) -> None:
        """A revision was set: look for it now, not when its time comes."""
        self._moved.set()

    async def is_idle(self) -> bool:
        """Whether nothing is under way and no delivery that can be claimed is left."""
        before = self._claims
        if self.is_busy:
            return False
        if self._lanes.has_waiting or await self._store.next_wake_at() is not None:
            counts = await self._store.counts()
            able = self._lanes.able_webhooks - await self._halts.paused()
            if any(counts[uid].get(State.PENDING) for uid in able if uid in counts):
                return False
        return not self.is_busy and self._claims == before

    async def start(self) -> None:
        """Load the live revision and close what a vanished predecessor left in flight. Call once, before `run`."""
        await self._rewinder.start()
        await self._lanes.start()
        await self.close_expired(everything=True)

    async def run(self) -> None:
        """Work until `drain` is called. An unexpected error propagates, and so does a store that stays away."""
        async with asyncio.TaskGroup() as group:
            turns = group.create_task(self._turn_forever(group))
            forever = (self._refresh_forever, self._prepare_forever, self._sweep_forever, self._expire_forever)
            keepers = [group.create_task(keep()) for keep in forever]
            await self._stopping.wait()
            for keeper in keepers:
                keeper.cancel()
            await self._turned.wait()
            await self._flights.landed()
            await self._give_back()
            await self._recorder.join()
            turns.cancel()

    async def drain(self, *, timeout_seconds: float) -> None:
        """Stop claiming; give back what was not written, wait for the rest, close as unknown what takes too long."""
        self._stopping.set()
        self._patience.hurry(seconds=timeout_seconds + LAST_WRITES_SECONDS)
        await self._flights.drain()
        await self._give_back()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._flights.landed()
        self.cut()

    def cut(self) -> None:
        """End at once what is in flight: as unknown what was written. Shortens a drain, and its wait for the store."""
        self._stopping.set()
        self._patience.hurry(seconds=LAST_WRITES_SECONDS)
        self._flights.cut()

    async def _refresh_forever(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_SECONDS):
                    await self._moved.wait()
            self._moved.clear()
            is_set_back = await self._rewinder.look(self._patience)
            is_due = await self._is_due()  # asked first: a replay after an apply is sent as applied
            is_moved = await self._lanes.refresh(self._patience)
            if await self._halts.refresh(self._patience) or is_moved or is_due or is_set_back:
                self.wake()
            if is_moved:
                self._revised.set()

    async def _prepare_forever(self) -> None:
        """Make ready for what applies propose, which wait for it."""
        while True:
            await self._patience("prepare", self._live.prepare)
            await asyncio.sleep(PREPARE_SECONDS)

    async def _is_due(self) -> bool:
        """Whether something waits to be claimed: another process may have made it due on our file."""
        wake_at = await self._patience("next_wake_at", self._store.next_wake_at)
        return wake_at is not None and wake_at <= self._clock.now()

    # Leases

    async def close_expired(self, *, everything: bool = False) -> None:
        """Close attempts whose lease ended as unknown; with `everything` those of every vanished holder."""
        now = self._clock.now()
        expired = await self._store.expired(now=None if everything else now)
        left = [item for item in expired if item.seq not in self._flights and not self._recorder.holds(item.seq)]
        if left:
            log("delivery.lease_expired", count=len(left))
            detail = "the attempt's lease expired: its worker was killed or cut off"
            result = AttemptResult(fault=Fault.LEASE_EXPIRED, detail=detail, wrote=True)
            await self._store.finish([self._flights.closed(item, result) for item in left])
            self.wake()

    async def _expire_forever(self) -> None:
        while True:
            await asyncio.sleep(EXPIRE_SECONDS)
            await self._patience("expired", self.close_expired)

    async def _sweep_forever(self) -> None:
        """Write what revisions have cancelled, resting for as long as each step took: all others write too."""
        while True:
            self._revised.clear()
            began = self._clock.monotonic()
            while await self._patience("sweep", self._store.sweep):
                await asyncio.sleep(min(self._clock.monotonic() - began, SWEEP_REST_SECONDS))
                began = self._clock.monotonic()
            await self._revised.wait()

    # Turns

    def _limits(self) -> Mapping[WebhookUid, int]:
        return self._crowd.limits(now=self._clock.monotonic())

    async def _turn_forever(self, group: asyncio.TaskGroup) -> None:
        """Turn after turn: the store writes what has ended and claims what takes its place, while the loop begins what
        the turn before has claimed, and takes answers. Neither waits for the other as long as there is work."""
        claimed: Sequence[Claimed] = ()
        snapshot = self._live.snapshot
        while True:
            turn = self._next_turn(group, unbegun=len(claimed))
            if claimed:
                await asyncio.sleep(0)  # the turn is on its way to the store
                await self._begin(claimed, snapshot, group)
            if turn is not None:
                claimed, snapshot = await turn
            else:
                claimed = ()
                self._turned.set()
                await self._sleep()

    def _next_turn(
        self, group: asyncio.TaskGroup, *, unbegun: int
    ) -> "asyncio.Task[tuple[Sequence[Claimed], Snapshot]] | None":
        """The next turn, under way; None where there is nothing to write, and nothing may be claimed."""
        if not self._wake.is_set():
            return None
        self._wake.clear()  # before it is looked what there is: what comes later sets it again
        batch, limit = self._recorder.take(), self._room(unbegun)
        if not batch and limit == 0:
            return None
        self._turned.clear()
        return group.create_task(self._turn(batch, limit))

    def _room(self, unbegun: int = 0) -> int:
        """How many may be claimed, beside those that were and are not begun yet."""
        if self._stopping.is_set() or self._recorder.is_full:
            return 0
        free = self._crowd.free(now=self._clock.monotonic()) - unbegun
        return max(0, min(free, CLAIM_BATCH))

    async def _turn(self, batch: Sequence[Finished], limit: int) -> tuple[Sequence[Claimed], Snapshot]:
        """Write these and claim up to so many; what was claimed, and for which revision."""
        snapshot = self._live.snapshot
        is_again = False

        async def ask() -> Turned:
            nonlocal batch, is_again
            batch = batch or self._recorder.take()  # what has ended while a claim could not be written
            is_alone, is_again = is_again and bool(batch), True  # what no claim can be written beside is written alone
            return await self._ask(batch, 0 if is_alone else limit, snapshot)

        turned = await self._patience("finish" if batch else "claim", ask)
        self._recorder.recorded(batch, lost=len(turned.lost))
        self._claims += bool(turned.claimed)
        if limit == len(turned.claimed):  # there may be more; or there was no room, and now there is
            self.wake()
        return turned.claimed, snapshot

    async def _ask(self, batch: Sequence[Finished], limit: int, snapshot: Snapshot) -> Turned:
        if limit == 0 or self._stopping.is_set():
            return Turned(await self._store.finish(batch) if batch else (), ())
        now = self._clock.now()
        until, revision, commit = now + self._lease_ms, snapshot.revision, snapshot.commit
        if not batch:
            claim = self._store.claim
            return Turned((), await claim(now=now, lease_until=until, limit=limit, revision=revision, commit=commit))
        turn = self._store.turn
        return await turn(batch, now=now, lease_until=until, limit=limit, revision=revision, commit=commit)

    async def _begin(self, claimed: Sequence[Claimed], snapshot: Snapshot, group: asyncio.TaskGroup) -> None:
        """A few at a time: between them answers are taken."""
        for start in range(0, len(claimed), BEGUN_AT_ONCE):
            if start:
                await asyncio.sleep(0)
            self._flights.begin(claimed[start : start + BEGUN_AT_ONCE], snapshot, group)

    async def _sleep(self) -> None:
        """Until there is something to write, something is due, there is room, or `wake` is called."""
        is_full = self._room() == 0
        if is_full:
            timeout = self._crowd.frees_in(now=self._clock.monotonic())
        elif self._flights and await self._is_woken(LOOK_SECONDS):  # most of the time by what was under way
            return
        else:
            wake_at = await self._next_wake_at()
            timeout = None if wake_at is None else max(0.001, (wake_at - self._clock.now()) / 1000)
        self._flights.is_room_wanted = is_full
        await self._is_woken(SLEEP_MAX_SECONDS if timeout is None else min(timeout, SLEEP_MAX_SECONDS))
        self._flights.is_room_wanted = False
        self.wake()

    async def _next_wake_at(self) -> int | None:
        """When something is due; at once, where `wake` is called first: a store that is slow to read may be written."""
        asking = asyncio.create_task(self._patience("next_wake_at", self._store.next_wake_at))
        waking = asyncio.create_task(self._wake.wait())
        try:
            await asyncio.wait((asking, waking), return_when=asyncio.FIRST_COMPLETED)
            return asking.result() if asking.done() else self._clock.now()
        finally:
            asking.cancel()
            waking.cancel()

    async def _is_woken(self, seconds: float) -> bool:
        """Whether `wake` was called within so many seconds."""
        if self._wake.is_set():
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        return self._wake.is_set()

    # What comes back

    async def _release(self, claimed: Sequence[Claimed], in_ms: int = 0) -> None:
        due_at = self._clock.now() + in_ms
        await self._patience("release", lambda: self._store.release(claimed, due_at=due_at))

    async def _give_back(self) -> None:
        """What the drain took away before anything was written."""
        given_back = self._flights.take_given_back()
        if given_back:
            await self._release(given_back)
