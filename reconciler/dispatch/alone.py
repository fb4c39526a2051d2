"""One delivery sent where no daemon serves the store: by the daemon's own worker, which sees nothing else of it.

Called by `trigger`, which holds the daemon's lock meanwhile. One attempt is made and recorded; what is to be tried
again waits for a daemon.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, cast

from reconciler.dispatch.clock import Clock
from reconciler.dispatch.live import Live
from reconciler.dispatch.worker import Worker
from reconciler.egress.deliver import Deliverer
from reconciler.egress.secrets import SecretResolver
from reconciler.models.delivery import DeliveryId
from reconciler.models.webhook import WebhookUid
from reconciler.store.base import Claimed, Finished, Lane, Store, Turned


class Alone:
    """A worker for one delivery of one webhook. `start`, then `send`."""

    def __init__(
        self,
        *,
        store: Store,
        live: Live,
        webhook_uid: WebhookUid,
        deliverer: Deliverer,
        resolver: SecretResolver,
        clock: Clock,
    ) -> None:
        self._one = _OneDelivery(store, webhook_uid)
        self._worker = Worker(
            store=cast(Store, self._one), live=live, deliverer=deliverer, resolver=resolver, clock=clock
        )

    async def start(self) -> Lane | None:
        """The webhook's lane, open if it can be sent to; None where it is not live and active."""
        await self._worker.start()
        return self._one.lane

    async def send(self, delivery_id: DeliveryId) -> None:
        """Make the delivery's next attempt and record it. Where it is not pending any more, nothing is done."""
        self._one.wanted = delivery_id
        working = asyncio.create_task(self._worker.run())
        over = asyncio.create_task(self._one.is_over.wait())
        try:
            await asyncio.wait({working, over}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await over
            await self._worker.drain(timeout_seconds=0)
            await working


class _OneDelivery:
    """A store of which a worker is given one delivery, once; what it does to that goes to the store."""

    def __init__(self, store: Store, webhook_uid: WebhookUid) -> None:
        self._store = store
        self._webhook_uid = webhook_uid
        self.lane: Lane | None = None
        self.wanted: DeliveryId | None = None
        self.is_over = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def configure(self, revision: int, lanes: Sequence[Lane]) -> None:
        self.lane = next((lane for lane in lanes if lane.webhook_uid == self._webhook_uid), None)

    async def claim(
        self, *, now: int, lease_until: int, limit: int, revision: int, commit: str | None
    ) -> tuple[Claimed, ...]:
        if self.wanted is None or self.lane is None:
            return ()
        claimed = await self._store.claim_one(
            self.wanted, self.lane, now=now, lease_until=lease_until, revision=revision, commit=commit
        )
        self.wanted = None  # once: a claim that fails is asked again
        if claimed is None:
            self.is_over.set()
            return ()
        return (claimed,)

    async def finish(self, finished: Sequence[Finished]) -> tuple[int, ...]:
        lost = await self._store.finish(finished)
        self.is_over.set()
        return lost

    async def turn(
        self, finished: Sequence[Finished], *, now: int, lease_until: int, limit: int, revision: int, commit: str | None
    ) -> Turned:
        lost = await self.finish(finished)
        claimed = await self.claim(now=now, lease_until=lease_until, limit=limit, revision=revision, commit=commit)
        return Turned(lost, claimed)

    async def release(self, claimed: Sequence[Claimed], *, due_at: int) -> None:
        await self._store.release(claimed, due_at=due_at)
        self.is_over.set()

    async def expired(self, *, now: int | None) -> tuple[Claimed, ...]:
        return ()

    async def next_wake_at(self) -> int | None:
        return None

    async def sweep(self) -> bool:
        return False
