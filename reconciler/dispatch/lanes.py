"""What the store is told of webhooks: which may be claimed from, how fast, how many at once, and why not.

Owned by the worker. Follows the live revision, the binding file and which webhooks are slow; the store is written only
when one of them has moved.
"""

import asyncio
import math
from collections.abc import Callable, Mapping
from typing import Final

from reconciler.dispatch.live import Live, Snapshot
from reconciler.dispatch.pace import UNLIMITED, Pace, paces_of
from reconciler.dispatch.patience import Patience
from reconciler.dispatch.ready import trouble_of, turns_at, why_held
from reconciler.egress.deliver import Deliverer
from reconciler.egress.secrets import SecretResolver
from reconciler.models.revision import LiveWebhook
from reconciler.models.webhook import Webhook, WebhookUid
from reconciler.observe.log import log
from reconciler.store.base import DeliveryStore, Lane

LIMITS_ROUNDS: Final = 4  # refreshes between two looks at which webhooks are slow: an incident must not write all day


class Lanes:
    """The lanes of the live, active webhooks. `limits` gives how many attempts a slow webhook may have in flight, `now`
    the time in milliseconds since the epoch."""

    def __init__(
        self,
        *,
        store: DeliveryStore,
        live: Live,
        resolver: SecretResolver,
        deliverer: Deliverer,
        limits: Callable[[], Mapping[WebhookUid, int]],
        now: Callable[[], int],
    ) -> None:
        self._store = store
        self._live = live
        self._resolver = resolver
        self._deliverer = deliverer
        self._slow_limits = limits
        self._now = now
        self._turns_at: int | None = None
        self._limits: dict[WebhookUid, int] = {}
        self._paces: dict[str, Pace] = {}
        self._open: frozenset[WebhookUid] = frozenset()
        self._waiting: frozenset[WebhookUid] = frozenset()
        self._configured_revision: int | None = None
        self._must_configure = False
        self._rounds = 0

    @property
    def able_webhooks(self) -> frozenset[WebhookUid]:
        """Webhooks that are claimed from, or will be before long without anybody's doing: neither inactive nor held for
        want of a secret or of a grant."""
        return self._open | self._waiting

    @property
    def has_waiting(self) -> bool:
        """Whether some are not claimed from now, but will be."""
        return bool(self._waiting)

    def pace(self, pace_key: str) -> Pace:
        """How fast it may be written to."""
        return self._paces.get(pace_key, UNLIMITED)

    def look_again(self) -> None:
        """A secret could not be read: the next refresh closes its lanes."""
        self._must_configure = True

    async def start(self) -> None:
        """Load the live revision and tell the store."""
        await self._live.refresh()
        await self._configure()

    async def refresh(self, patience: Patience) -> bool:
        """Follow what has changed; True if the store was told something."""
        await patience("refresh", self._live.refresh)
        self.take_bindings()
        self._rounds += 1
        is_moved = self._live.snapshot.revision != self._configured_revision  # perhaps by intake, which refreshes too
        is_slowed = self._rounds % LIMITS_ROUNDS == 0 and self._binding_limits() != self._limits
        is_turned = self._turns_at is not None and self._turns_at <= self._now()  # a signing key's window opens or ends
        if not (self._must_configure or is_moved or is_slowed or is_turned):
            return False
        self._must_configure = False
        await patience("configure", self._configure)
        return True

    def take_bindings(self) -> None:
        """A binding file, or a secret's file, that has changed opens and closes lanes at the next refresh."""
        if not self._resolver.changed():
            return
        problems = self._resolver.reload()
        for problem in problems:
            log("secrets.problem", severity=problem.severity, at=problem.where, path=problem.path, why=problem.message)
        log("secrets.kept" if any(problem.is_error for problem in problems) else "secrets.loaded")
        self._must_configure = True

    async def _configure(self) -> None:
        snapshot, limits, now = self._live.snapshot, self._binding_limits(), self._now()
        lanes, paces, waiting = await asyncio.to_thread(self._lanes_of, snapshot, limits, now)  # reads secrets' files
        self._limits, self._paces, self._waiting = limits, paces, waiting
        turns = (turns_at((live.webhook for live in snapshot.webhooks.values()), now=now), self._token_turns_at())
        self._turns_at = min((at for at in turns if at is not None), default=None)
        self._open = frozenset(lane.webhook_uid for lane in lanes if lane.is_open)
        await self._store.configure(snapshot.revision, lanes)
        if snapshot.revision != self._configured_revision:
            log("revision.live", revision=snapshot.revision, commit=snapshot.commit, webhooks=len(lanes))
        self._configured_revision = snapshot.revision

    def _token_turns_at(self) -> int | None:
        at = self._deliverer.tokens.next_turn()
        return None if at is None else math.ceil(at * 1000)

    def _lanes_of(
        self, snapshot: Snapshot, limits: Mapping[WebhookUid, int], now: int
    ) -> tuple[list[Lane], dict[str, Pace], frozenset[WebhookUid]]:
        """Also how fast each pace key is, and which webhooks wait. In a thread: what the loop reads is set there."""
        active = [live for live in snapshot.webhooks.values() if live.webhook.is_active]
        paces = paces_of(live.webhook for live in active)
        lanes, waiting = [], set()
        for live in active:
            note, is_waiting = self._held(live.webhook, now)
            lanes.append(self._lane(live, paces, limits, note))
            if is_waiting:
                waiting.add(live.uid)
        return lanes, paces, frozenset(waiting)

    def _held(self, webhook: Webhook, now: int) -> tuple[str | None, bool]:
        """Why the webhook is not claimed from, and whether it will be before long without anybody's doing."""
        note = why_held(webhook, self._resolver, self._deliverer, now=now)
        if note is not None:
            return note, False
        trouble = trouble_of(webhook, self._resolver, self._deliverer, now=now)
        return (None, False) if trouble is None else (trouble.detail, not trouble.is_lasting)

    @staticmethod
    def _lane(live: LiveWebhook, paces: Mapping[str, Pace], limits: Mapping[WebhookUid, int], note: str | None) -> Lane:
        webhook, pace_key = live.webhook, live.webhook.pace_key
        return Lane(
            webhook_uid=live.uid,
            pace_key=pace_key,
            per_second=paces[pace_key].per_second,
            burst=paces[pace_key].burst,
            max_concurrency=limits.get(live.uid, webhook.spec.max_concurrency),
            is_open=note is None,
            note=note,
        )

    def _binding_limits(self) -> dict[WebhookUid, int]:
        """Of the slow webhooks those that may have more in flight than is good for the others, and their limit."""
        webhooks = self._live.snapshot.webhooks
        return {
            uid: limit
            for uid, limit in self._slow_limits().items()
            if uid in webhooks and limit < webhooks[uid].webhook.spec.max_concurrency
        }
