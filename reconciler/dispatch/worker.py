"""The worker: claims due deliveries, sends them, records what became of them; run by the daemon.

Several deliveries are in flight at once, each a task of one TaskGroup, so that a bug stops the daemon loudly. The claim
has recorded the attempt as started, so that a kill at any moment leaves an attempt that closes as unknown. Decides
nothing itself: what is sent and written is `dispatch.attempt`, what a result means is `dispatch.retry`.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from reconciler.dispatch.attempt import Recipes, conclude, describe_fault
from reconciler.dispatch.crowd import Crowd
from reconciler.dispatch.halts import Halts
from reconciler.dispatch.lanes import Lanes
from reconciler.dispatch.live import Live, Snapshot
from reconciler.dispatch.pace import Gate
from reconciler.dispatch.patience import Patience
from reconciler.dispatch.ready import secrets_of
from reconciler.dispatch.record import Recorder
from reconciler.dispatch.rewind import Rewinder
from reconciler.egress.deliver import Credentials, Deliverer
from reconciler.egress.secrets import SecretResolver
from reconciler.errors import SecretError, StoreError, TemplateError
from reconciler.models.delivery import AttemptResult, Fault, State
from reconciler.models.webhook import Webhook, WebhookUid
from reconciler.observe.log import log, place_of
from reconciler.request.render import Prepared
from reconciler.store.base import Claimed, Finished, Store

CLAIM_BATCH: Final = 256
REFRESH_SECONDS: Final = 0.5  # how often the live revision and the binding file are looked at
PREPARE_SECONDS: Final = 0.1  # how often it is looked whether an apply waits for us
SWEEP_REST_SECONDS: Final = 1.0  # at most, between two steps of writing what a revision has cancelled
EXPIRE_SECONDS: Final = 10.0  # how often leases of vanished workers are looked for
SLEEP_MAX_SECONDS: Final = 10.0  # a clock that was set forward makes deliveries due sooner than reckoned
GIVE_BACK_MS: Final = 1_000  # a delivery that cannot be attempted now comes again after this; its lane is closed sooner
LAST_WRITES_SECONDS: Final = 5.0  # of a drain, for what has finished and is not recorded, where the store is away


@dataclass(frozen=True, slots=True)
class Clock:
    """Where the worker gets time and chance: `now` in ms since the epoch, `monotonic` in seconds, `rand` in [0, 1)."""

    now: Callable[[], int]
    monotonic: Callable[[], float]
    rand: Callable[[], float] = random.random


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
        self._deliverer = deliverer
        self._resolver = resolver
        self._clock = clock
        self._settings = settings
        self._patience = Patience(clock.monotonic)
        self._recorder = Recorder(store, self._patience, on_recorded=self.wake)
        self._crowd = Crowd(
            quick_max=settings.concurrency, total_max=settings.in_flight_max, bytes_max=settings.in_flight_bytes
        )
        self._gate = Gate()
        self._recipes = Recipes()
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
        self._moved = asyncio.Event()
        self._revised = asyncio.Event()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._unwritten: dict[int, Claimed] = {}
        self._given_back: list[Claimed] = []
        self._draining = False
        self._is_claiming = False
        self._claims = 0

    @property
    def in_flight(self) -> int:
        """How many deliveries this worker holds."""
        return len(self._tasks)

    @property
    def is_busy(self) -> bool:
        """Whether anything is being claimed, in flight or not yet recorded."""
        return bool(self._tasks) or self._is_claiming or not self._recorder.is_idle

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
            recorder = group.create_task(self._recorder.run())
            forever = (self._refresh_forever, self._prepare_forever, self._sweep_forever, self._expire_forever)
            keepers = [group.create_task(keep()) for keep in forever]
            try:
                await self._claim_forever(group)
            finally:
                for keeper in keepers:
                    keeper.cancel()
            while self._tasks:
                await asyncio.wait(list(self._tasks.values()))
            await self._give_back()
            await self._recorder.join()
            recorder.cancel()

    async def drain(self, *, timeout_seconds: float) -> None:
        """Stop claiming; give back what was not written, wait for the rest, close as unknown what takes too long."""
        self._draining = True
        self._patience.hurry(seconds=timeout_seconds + LAST_WRITES_SECONDS)
        self.wake()
        cancelled = [task for seq, task in self._tasks.items() if seq in self._unwritten]
        for task in cancelled:
            task.cancel()
        if cancelled:
            await asyncio.wait(cancelled)
        await self._give_back()
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=timeout_seconds)
        self.cut()

    def cut(self) -> None:
        """End at once what is in flight: as unknown what was written. Shortens a drain, and its wait for the store."""
        self._draining = True
        self._patience.hurry(seconds=LAST_WRITES_SECONDS)
        for task in list(self._tasks.values()):
            task.cancel()

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
        left = [item for item in expired if item.seq not in self._tasks and not self._recorder.holds(item.seq)]
        if left:
            log("delivery.lease_expired", count=len(left))
            detail = "the attempt's lease expired: its worker was killed or cut off"
            result = AttemptResult(fault=Fault.LEASE_EXPIRED, detail=detail, wrote=True)
            await self._store.finish([self._conclude(item, self._webhook_of(item), result) for item in left])
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

    # Claims

    def _limits(self) -> Mapping[WebhookUid, int]:
        return self._crowd.limits(now=self._clock.monotonic())

    async def _claim_forever(self, group: asyncio.TaskGroup) -> None:
        while not self._draining:
            self._wake.clear()
            free = self._crowd.free(now=self._clock.monotonic())
            free = 0 if self._recorder.is_full else free
            snapshot = self._live.snapshot
            claimed: Sequence[Claimed] = ()
            limit = min(free, CLAIM_BATCH)
            if limit > 0:
                self._is_claiming = True
                claimed = await self._patience("claim", partial(self._claim, limit, snapshot))
                self._begin(claimed, snapshot, group)
                self._is_claiming = False
            if len(claimed) < max(1, limit):  # there was no more
                await self._sleep(is_full=free == 0)

    async def _claim(self, limit: int, snapshot: Snapshot) -> Sequence[Claimed]:
        if self._draining:
            return ()
        now = self._clock.now()
        return await self._store.claim(
            now=now,
            lease_until=now + round(self._settings.lease_seconds * 1000),
            limit=limit,
            revision=snapshot.revision,
            commit=snapshot.commit,
        )

    def _begin(self, claimed: Sequence[Claimed], snapshot: Snapshot, group: asyncio.TaskGroup) -> None:
        if self._draining:
            self._given_back += claimed
            return
        self._claims += bool(claimed)
        now = self._clock.monotonic()
        for one in claimed:
            self._unwritten[one.seq] = one
            self._crowd.begin(one.seq, one.webhook_uid, size=len(one.raw), now=now)
            self._tasks[one.seq] = task = group.create_task(self._deliver(one, snapshot))
            task.add_done_callback(partial(self._ended, one))

    async def _sleep(self, *, is_full: bool) -> None:
        """Until something is due, there is room, or `wake` is called."""
        if is_full:
            timeout = self._crowd.frees_in(now=self._clock.monotonic())
        else:
            wake_at = await self._patience("next_wake_at", self._store.next_wake_at)
            timeout = None if wake_at is None else max(0.001, (wake_at - self._clock.now()) / 1000)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if timeout is None else min(timeout, SLEEP_MAX_SECONDS)):
                await self._wake.wait()

    # Attempts

    async def _deliver(self, claimed: Claimed, snapshot: Snapshot) -> None:
        try:
            await self._attempt(claimed, snapshot)
        except StoreError:
            raise
        except Exception as exc:  # a poison event must cost itself only, and must not come back for ever
            self._crashed(claimed, exc)

    def _ended(self, claimed: Claimed, task: asyncio.Task[None]) -> None:
        """The task is over, be it that it was cancelled before it began."""
        was_full = self._crowd.free(now=self._clock.monotonic()) == 0
        del self._tasks[claimed.seq]
        self._crowd.end(claimed.seq, now=self._clock.monotonic())
        is_unwritten = self._unwritten.pop(claimed.seq, None) is not None
        if task.cancelled() and self._draining:
            if is_unwritten:
                self._given_back.append(claimed)
            else:
                result = AttemptResult(fault=Fault.SHUTDOWN, detail="the daemon stopped during the attempt", wrote=True)
                self._recorder.put(self._conclude(claimed, self._webhook_of(claimed), result))
        if was_full:
            self.wake()

    async def _attempt(self, claimed: Claimed, snapshot: Snapshot) -> None:
        live = snapshot.webhooks.get(claimed.webhook_uid)
        if live is None:  # deleted between configure and claim: the store cancels what comes back
            await self._release([claimed], in_ms=GIVE_BACK_MS)
            return
        webhook = live.webhook
        try:
            now = self._clock.now()
            secrets = secrets_of(webhook, self._resolver, now=now)
            credentials = self._deliverer.credentials(webhook, secrets)
            prepared, shown = self._recipes.prepare(webhook, claimed, secrets, now=now)
        except SecretError as exc:
            await self._hold(claimed, webhook, exc.message)
            return
        except TemplateError as exc:
            result = AttemptResult(fault=Fault.RENDER, detail=describe_fault(exc))
        else:
            result = await self._send(claimed, webhook, prepared, shown, credentials)
        if not result.is_attempt:
            await self._hold(claimed, webhook, result.detail)
            return
        if result.fault is Fault.TOKEN:
            self._lanes.look_again()
        if result.status == 401:
            self._lanes.take_bindings()
        self._recorder.put(self._conclude(claimed, webhook, result))

    async def _hold(self, claimed: Claimed, webhook: Webhook, why: str) -> None:
        """Give back what cannot be sent now, as if it had not been claimed; its lane is closed soon."""
        log("delivery.held", delivery=claimed.delivery_id, webhook=webhook.name, why=why)
        self._lanes.look_again()
        await self._release([claimed], in_ms=GIVE_BACK_MS)

    async def _send(
        self, claimed: Claimed, webhook: Webhook, prepared: Prepared, shown: Prepared, credentials: Credentials
    ) -> AttemptResult:
        async def before_write() -> None:
            pace = self._lanes.pace(webhook)
            now = self._clock.monotonic()
            wait = self._gate.reserve(webhook.pace_key, per_second=pace.per_second, burst=pace.burst, now=now)
            if wait > 0:
                await asyncio.sleep(wait)
            self._unwritten.pop(claimed.seq, None)

        return await self._deliverer.send(
            prepared,
            shown,
            timeout_seconds=webhook.spec.timeout_in_sec,
            validators=webhook.spec.response_validators,
            credentials=credentials,
            before_write=before_write,
        )

    def _crashed(self, claimed: Claimed, exc: Exception) -> None:
        """A bug met this event: its attempt has failed, as unknown if the request may have been written."""
        error = f"internal error: {type(exc).__name__}"
        why = self._resolver.masker.mask(str(exc))
        log("delivery.crashed", delivery=claimed.delivery_id, error=error, why=why, where=place_of(exc))
        wrote = claimed.seq not in self._unwritten
        result = AttemptResult(fault=Fault.PROTOCOL, detail=error, wrote=wrote)
        self._recorder.put(self._conclude(claimed, self._webhook_of(claimed), result))

    def _webhook_of(self, claimed: Claimed) -> Webhook | None:
        live = self._live.snapshot.webhooks.get(claimed.webhook_uid)
        return None if live is None else live.webhook

    def _conclude(self, claimed: Claimed, webhook: Webhook | None, result: AttemptResult) -> Finished:
        return conclude(claimed, webhook, result, now=self._clock.now(), rand=self._clock.rand())

    async def _release(self, claimed: Sequence[Claimed], *, in_ms: int = 0) -> None:
        due_at = self._clock.now() + in_ms
        await self._patience("release", lambda: self._store.release(claimed, due_at=due_at))

    async def _give_back(self) -> None:
        """What the drain took away before anything was written."""
        given_back, self._given_back = self._given_back, []
        if given_back:
            await self._release(given_back)
