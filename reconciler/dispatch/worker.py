"""The worker: claims due deliveries, sends them, records what became of them; run by the daemon.

Several deliveries are in flight at once, each a task of one TaskGroup, so that a bug stops the daemon loudly. The claim
has recorded the attempt as started, so that a kill at any moment leaves an attempt that closes as unknown. Decides
nothing itself: what to send is `request.render`, what a result means is `dispatch.retry`.
"""

import asyncio
import random
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from reconciler import jsontext
from reconciler.dispatch import retry
from reconciler.dispatch.live import Live, Snapshot
from reconciler.dispatch.pace import Gate
from reconciler.egress.deliver import Deliverer
from reconciler.egress.secrets import SecretResolver
from reconciler.errors import ReconcilerError, SecretError, TemplateError
from reconciler.models.delivery import AttemptResult, Fault, State
from reconciler.models.event import payload_of
from reconciler.models.revision import LiveWebhook
from reconciler.models.webhook import RateLimit, Webhook
from reconciler.observe.log import log
from reconciler.request.render import Prepared, blank_secrets, render_request
from reconciler.store.base import Claimed, Finished, Lane, Store

LEASE_SECONDS: Final = 150  # over the longest timeout (65 s), the connect phase and a pace wait together
REFRESH_SECONDS: Final = 0.5  # how often the live revision and the binding file are looked at
EXPIRE_SECONDS: Final = 10.0  # how often leases of vanished workers are looked for
CLAIM_BATCH: Final = 256
FINISH_BATCH: Final = 512
SECRET_RETRY_SECONDS: Final = 30.0  # a delivery whose secret vanished under way looks again after this


@dataclass(frozen=True, slots=True)
class Clock:
    """Where the worker gets time and chance: `now` in ms since the epoch, `monotonic` in seconds, `rand` in [0, 1)."""

    now: Callable[[], int]
    monotonic: Callable[[], float]
    rand: Callable[[], float] = random.random


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
        concurrency: int = CLAIM_BATCH,
    ) -> None:
        self._store = store
        self._live = live
        self._deliverer = deliverer
        self._resolver = resolver
        self._clock = clock
        self._concurrency = concurrency
        self._gate = Gate()
        self._wake = asyncio.Event()
        self._finished: asyncio.Queue[Finished] = asyncio.Queue()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._unwritten: dict[int, Claimed] = {}
        self._draining = False
        self._configure_again = False
        self._recording = False

    @property
    def in_flight(self) -> int:
        """How many deliveries this worker holds."""
        return len(self._tasks)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in flight and everything finished is recorded."""
        return not self._tasks and self._finished.empty() and not self._recording

    def wake(self) -> None:
        """Something may be due: new events, or an operator's change."""
        self._wake.set()

    async def start(self) -> None:
        """Load the live revision and close what a vanished predecessor left in flight. Call once, before `run`."""
        await self._live.refresh()
        await self.configure()
        await self.close_expired(everything=True)

    async def run(self) -> None:
        """Work until `drain` is called. An unexpected error propagates: the daemon must stop."""
        async with asyncio.TaskGroup() as group:
            recorder = group.create_task(self._record_forever())
            refresher = group.create_task(self._refresh_forever())
            expirer = group.create_task(self._expire_forever())
            try:
                await self._claim_forever(group)
            finally:
                refresher.cancel()
                expirer.cancel()
            while self._tasks:
                await asyncio.wait(list(self._tasks.values()))
            await self._finished.join()
            recorder.cancel()

    async def drain(self, *, timeout_seconds: float) -> None:
        """Stop claiming; wait for what is in flight; give back what was not written, close the rest as unknown."""
        self._draining = True
        self.wake()
        for seq, task in list(self._tasks.items()):
            if seq in self._unwritten:
                task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=timeout_seconds)
        for task in list(self._tasks.values()):
            task.cancel()

    async def configure(self) -> None:
        """Tell the store which webhooks may be claimed from, and how fast."""
        snapshot = self._live.snapshot
        lanes = [self._lane(live) for live in snapshot.webhooks.values() if live.webhook.is_active]
        await self._store.configure(snapshot.revision, lanes)
        self.wake()

    def _lane(self, live: LiveWebhook) -> Lane:
        webhook = live.webhook
        note = _no_effect_note(webhook) or self._resolver.unresolved(webhook)
        per_second, burst = pace_of(webhook)
        return Lane(
            webhook_uid=live.uid,
            pace_key=webhook.pace_key,
            per_second=per_second,
            burst=burst,
            max_concurrency=webhook.spec.max_concurrency,
            is_open=note is None,
            note=note,
        )

    async def close_expired(self, *, everything: bool = False) -> None:
        """Close attempts whose lease ended as unknown; with `everything` those of every vanished holder."""
        expired = await self._store.expired(now=None if everything else self._clock.now())
        held = [claimed for claimed in expired if claimed.seq not in self._tasks]
        if held:
            detail = "the attempt's lease expired: its worker was killed or cut off"
            await self._store.finish([self._close(claimed, Fault.LEASE_EXPIRED, detail) for claimed in held])
            log("delivery.lease_expired", count=len(held))
            self.wake()

    async def _claim_forever(self, group: asyncio.TaskGroup) -> None:
        while not self._draining:
            self._wake.clear()
            free = self._concurrency - len(self._tasks)
            snapshot = self._live.snapshot
            claimed: tuple[Claimed, ...] = ()
            if free > 0:
                now = self._clock.now()
                claimed = await self._store.claim(
                    now=now,
                    lease_until=now + LEASE_SECONDS * 1000,
                    limit=min(free, CLAIM_BATCH),
                    revision=snapshot.revision,
                    commit=snapshot.commit,
                )
            if self._draining and claimed:
                await self._store.release(claimed, due_at=self._clock.now())
                return
            for one in claimed:
                self._unwritten[one.seq] = one
                self._tasks[one.seq] = group.create_task(self._deliver(one, snapshot))
            if not claimed:
                await self._sleep_until_due(is_full=free <= 0)

    async def _sleep_until_due(self, *, is_full: bool) -> None:
        """Until something is due, a delivery ends or `wake` is called."""
        timeout = None
        if not is_full:
            wake_at = await self._store.next_wake_at()
            timeout = None if wake_at is None else max(0.001, (wake_at - self._clock.now()) / 1000)
        try:
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _deliver(self, claimed: Claimed, snapshot: Snapshot) -> None:
        try:
            await self._attempt(claimed, snapshot)
        except asyncio.CancelledError:
            if not self._draining:
                raise
            await asyncio.shield(self._cut(claimed))
        except ReconcilerError:
            raise  # the store is away: this attempt closes when its lease expires
        except Exception as exc:  # a poison event must cost itself only, and must not come back for ever
            log(
                "delivery.crashed", delivery=claimed.delivery_id, error=type(exc).__name__, trace=traceback.format_exc()
            )
            self._finished.put_nowait(self._close(claimed, Fault.PROTOCOL, f"internal error: {type(exc).__name__}"))
        finally:
            self._unwritten.pop(claimed.seq, None)
            self._tasks.pop(claimed.seq, None)
            if len(self._tasks) < self._concurrency:
                self._wake.set()

    async def _cut(self, claimed: Claimed) -> None:
        """The drain ends this attempt: as if it had never been made while nothing was written, else unknown."""
        if claimed.seq in self._unwritten:
            await self._store.release([claimed], due_at=self._clock.now())
        else:
            self._finished.put_nowait(self._close(claimed, Fault.SHUTDOWN, "the daemon stopped during the attempt"))

    async def _attempt(self, claimed: Claimed, snapshot: Snapshot) -> None:
        live = snapshot.webhooks.get(claimed.webhook_uid)
        if live is None:  # deleted between configure and claim: the store cancels what comes back
            await self._store.release([claimed], due_at=self._clock.now())
            return
        webhook = live.webhook
        try:
            secrets = self._resolver.values(webhook)
        except SecretError as exc:
            log("delivery.held", delivery=claimed.delivery_id, webhook=webhook.name, why=exc.message)
            await self._store.release([claimed], due_at=self._clock.now() + round(SECRET_RETRY_SECONDS * 1000))
            self._configure_again = True
            return
        try:
            prepared, shown = prepare(webhook, claimed, secrets)
        except TemplateError as exc:
            result = AttemptResult(fault=Fault.RENDER, detail=exc.message)
        else:
            result = await self._send(claimed, webhook, prepared, shown)
        if result.status == 401:
            self._resolver.reload()
        self._finish(claimed, webhook, result)

    async def _send(self, claimed: Claimed, webhook: Webhook, prepared: Prepared, shown: Prepared) -> AttemptResult:
        per_second, burst = pace_of(webhook)

        async def before_write() -> None:
            wait = self._gate.reserve(webhook.pace_key, per_second=per_second, burst=burst, now=self._clock.monotonic())
            if wait > 0:
                await asyncio.sleep(wait)
            self._unwritten.pop(claimed.seq, None)

        return await self._deliverer.send(
            prepared, shown, timeout_seconds=webhook.spec.timeout_in_sec, before_write=before_write
        )

    def _finish(self, claimed: Claimed, webhook: Webhook, result: AttemptResult) -> None:
        judged = retry.judge(result)
        finished = self._finished_of(claimed, webhook, judged)
        log(
            "delivery.attempted",
            delivery=claimed.delivery_id,
            event_id=claimed.event_id,
            webhook=webhook.name,
            attempt=claimed.number,
            max_attempts=webhook.spec.retry.max_attempts,
            outcome=judged.outcome,
            status=judged.status,
            fault=judged.fault,
            detail=judged.detail,
            duration_ms=round(judged.timings.total_ms, 1),
            state=finished.state,
            next_attempt_at=finished.next_attempt_at,
        )
        self._finished.put_nowait(finished)

    def _finished_of(self, claimed: Claimed, webhook: Webhook, judged: AttemptResult) -> Finished:
        now = self._clock.now()
        decision = retry.decide(
            webhook.spec.retry,
            judged,
            counted=claimed.counted,
            started_at=claimed.started_at,
            give_up_at=claimed.give_up_at,
            now=now,
            rand=self._clock.rand(),
        )
        assert judged.outcome is not None
        return Finished(
            seq=claimed.seq,
            token=claimed.token,
            number=claimed.number,
            finished_at=now,
            outcome=judged.outcome,
            result=judged.to_json(),
            state=decision.state,
            reason=decision.reason,
            next_attempt_at=decision.next_attempt_at,
            is_counted=decision.is_counted,
            give_up_at=decision.give_up_at,
            blocked_until=decision.blocked_until,
        )

    def _close(self, claimed: Claimed, fault: Fault, detail: str) -> Finished:
        """An attempt that nobody finished: unknown, counted, tried again if the webhook's policy says so."""
        judged = retry.judge(AttemptResult(fault=fault, detail=detail, wrote=True))
        live = self._live.snapshot.webhooks.get(claimed.webhook_uid)
        if live is not None:
            return self._finished_of(claimed, live.webhook, judged)
        now = self._clock.now()  # its webhook is gone: the store cancels what comes back pending
        assert judged.outcome is not None
        return Finished(
            claimed.seq, claimed.token, claimed.number, now, judged.outcome, judged.to_json(), State.PENDING, None, now
        )

    async def _record_forever(self) -> None:
        while True:
            batch = [await self._finished.get()]
            while len(batch) < FINISH_BATCH and not self._finished.empty():
                batch.append(self._finished.get_nowait())
            self._recording = True
            lost = await asyncio.shield(self._store.finish(batch))
            self._recording = False
            for _ in batch:
                self._finished.task_done()
            if lost:
                log("delivery.lease_lost", count=len(lost))
            self.wake()

    async def _refresh_forever(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            has_new_secrets = self._resolver.changed()
            if has_new_secrets:
                self._resolver.reload()
            if await self._live.refresh():
                log("revision.live", revision=self._live.snapshot.revision, commit=self._live.snapshot.commit)
            elif not has_new_secrets and not self._configure_again:
                continue
            self._configure_again = False
            await self.configure()

    async def _expire_forever(self) -> None:
        while True:
            await asyncio.sleep(EXPIRE_SECONDS)
            await self.close_expired()


def prepare(webhook: Webhook, claimed: Claimed, secrets: dict[str, str]) -> tuple[Prepared, Prepared]:
    """The request with its secrets, and the same as people are shown it. Raises TemplateError."""
    payload: Any = payload_of(jsontext.loads(claimed.raw))
    prepared = render_request(webhook, payload, claimed.raw, secrets=secrets, delivery_id=claimed.delivery_id)
    blank = blank_secrets(webhook)
    if not blank:
        return prepared, prepared
    return prepared, render_request(webhook, payload, claimed.raw, secrets=blank, delivery_id=claimed.delivery_id)


def pace_of(webhook: Webhook) -> tuple[float | None, int]:
    """Writes per second (None: unlimited) and burst."""
    limit = webhook.spec.rate_limit
    return (limit.per_second, limit.burst) if isinstance(limit, RateLimit) else (None, 1)


def _no_effect_note(webhook: Webhook) -> str | None:
    if not webhook.ineffective:
        return None
    return f"nothing is sent: {', '.join(webhook.ineffective)} has no effect in this version yet"
