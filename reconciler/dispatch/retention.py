"""What is old is forgotten, in the background: a side task of the daemon, after which nothing waits for long.

Decides when; what may go is the store's to say. Small steps with rests between them, longer ones while there is work,
so that deliveries and intake keep the store to themselves, and never none at all, so that a busy store does not grow
for ever.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from reconciler.errors import StoreError, StoreLostError
from reconciler.observe.log import log
from reconciler.store.retention import Pruned, RetentionStore

PASS_SECONDS: Final = 60.0  # from one look for what is old to the next
REST_IDLE: Final = 4.0  # times as long as a step took: a fifth of the store's time
REST_BUSY: Final = 19.0  # while there is work: a twentieth,
BEHIND_SECONDS: Final = 600.0  # unless so much is old that a pass takes longer than this
REST_MIN_SECONDS: Final = 0.005


class Pruner:
    """One daemon's forgetting. `keep_ms`: how long events are kept, None: for ever. `now` gives milliseconds since the
    epoch, `monotonic` seconds, `is_busy` whether there is work."""

    def __init__(
        self,
        store: RetentionStore,
        *,
        keep_ms: int | None,
        now: Callable[[], int],
        monotonic: Callable[[], float],
        is_busy: Callable[[], bool],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._keep_ms = keep_ms
        self._now = now
        self._monotonic = monotonic
        self._is_busy = is_busy
        self._sleep = sleep

    async def run(self) -> None:
        """Look again and again until cancelled. A store that is away is left alone until the next time; one that is
        lost is raised."""
        pass_seconds = PASS_SECONDS if self._keep_ms is None else min(PASS_SECONDS, self._keep_ms / 4000)
        while True:
            try:
                await self.forget()
            except StoreLostError:
                raise
            except StoreError as exc:
                log("retention.failed", error=exc.message)
            await self._sleep(max(pass_seconds, REST_MIN_SECONDS))

    async def forget(self) -> Pruned:
        """Prune everything that is old by now and give back what is not needed; returns what was pruned."""
        total, began = Pruned(), self._monotonic()
        if self._keep_ms is not None:
            before = self._now() - self._keep_ms
            while True:
                step_began = self._monotonic()
                step = await self._store.prune(before=before, at=total.following)
                total = total.plus(step)
                await self._rest(step_began, began)
                if step.following is None:
                    break
        step_began = self._monotonic()
        while await self._store.shrink():
            await self._rest(step_began, began)
            step_began = self._monotonic()
        if total.rows:
            seconds = round(self._monotonic() - began, 1)
            facts = {"events": total.events, "deliveries": total.deliveries, "attempts": total.attempts}
            log("retention.pruned", **facts, seconds=seconds)
        return total

    async def _rest(self, step_began: float, pass_began: float) -> None:
        now = self._monotonic()
        is_patient = self._is_busy() and now - pass_began < BEHIND_SECONDS
        factor = REST_BUSY if is_patient else REST_IDLE
        await self._sleep(max(REST_MIN_SECONDS, factor * (now - step_began)))
