"""Which webhooks are paused and which breakers are open, followed for the log and for whoever waits on them.

Owned by the worker. The store alone decides what is claimed; a pause set by another process holds at once without this,
but its end, and a breaker's that somebody has probed, must wake a worker that sleeps.
"""

from collections.abc import Callable, Mapping

from reconciler.dispatch.live import Live
from reconciler.dispatch.patience import Patience
from reconciler.models.delivery import iso_time
from reconciler.models.flow import NO_HALT, Halt, Pause
from reconciler.models.health import CLOSED, Breaker
from reconciler.models.webhook import WebhookUid
from reconciler.observe.log import log
from reconciler.store.flow import FlowStore


class Halts:
    """What holds webhooks back, as last seen. `now` gives milliseconds since the epoch."""

    def __init__(self, *, store: FlowStore, live: Live, now: Callable[[], int]) -> None:
        self._store = store
        self._live = live
        self._now = now
        self._seen: Mapping[WebhookUid, Halt] = {}

    async def refresh(self, patience: Patience) -> bool:
        """Look, and log what has changed; True if something did."""
        found = await patience("halts", self._store.halts)
        now = self._now()
        seen = {uid: halt.at(now) for uid, halt in found.items()}
        seen = {uid: halt for uid, halt in seen.items() if halt != NO_HALT}
        if seen == self._seen:
            return False
        before, self._seen = self._seen, seen
        for uid in sorted({*before, *seen}):
            self._log_pause(uid, before.get(uid, NO_HALT).pause, seen.get(uid, NO_HALT).pause)
        self._log_breakers(self._breakers(before), self._breakers(seen))
        return True

    async def paused(self) -> frozenset[WebhookUid]:
        """The webhooks that are paused now."""
        now = self._now()
        return frozenset(uid for uid, halt in (await self._store.halts()).items() if halt.at(now).pause is not None)

    def _log_pause(self, uid: WebhookUid, before: Pause | None, after: Pause | None) -> None:
        live = self._live.snapshot.webhooks.get(uid)
        name = live.webhook.name if live is not None else uid
        if before == after:
            return
        if after is None:
            log("webhook.resumed", webhook=name)
        else:
            until = iso_time(after.until)
            log("webhook.paused", webhook=name, by=after.paused_by, reason=after.reason, until=until)

    def _breakers(self, halts: Mapping[WebhookUid, Halt]) -> dict[str, Breaker]:
        """The open breakers by pace key, which several webhooks may share."""
        webhooks = self._live.snapshot.webhooks
        return {
            webhooks[uid].webhook.pace_key: halt.breaker
            for uid, halt in halts.items()
            if halt.breaker.is_open and uid in webhooks
        }

    def _log_breakers(self, before: Mapping[str, Breaker], after: Mapping[str, Breaker]) -> None:
        for key in sorted({*before, *after}):
            then, now = before.get(key, CLOSED), after.get(key, CLOSED)
            if now == then:
                continue
            if not now.is_open:
                log("breaker.closed", pace_key=key)
            else:
                event = "breaker.opened" if not then.is_open else "breaker.probed"
                log(event, pace_key=key, failures=now.failures, next_probe_at=iso_time(now.probe_at))
