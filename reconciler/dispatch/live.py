"""The live revision as the dispatcher uses it: loaded whole, swapped whole, never half of one and half of another.

Used by intake (who wants this event?) and by the worker (what is sent now?).
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

from reconciler.models.event import Event
from reconciler.models.revision import LiveState, LiveWebhook
from reconciler.models.webhook import WebhookUid
from reconciler.request.fact import facts_of
from reconciler.request.match import Matcher, compile_match
from reconciler.store.base import RevisionStore


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One revision's webhooks."""

    revision: int
    commit: str | None
    webhooks: Mapping[WebhookUid, LiveWebhook]
    matchers: tuple[tuple[Matcher, LiveWebhook], ...] = ()  # of the active webhooks, by name

    @classmethod
    def of(cls, state: LiveState) -> Self:
        """The snapshot of a live state."""
        return cls(
            revision=state.revision,
            commit=state.commit,
            webhooks=MappingProxyType({live.uid: live for live in state.webhooks}),
            matchers=tuple((compile_match(live.webhook), live) for live in state.webhooks if live.webhook.is_active),
        )

    def wanting(self, event: Event) -> tuple[LiveWebhook, ...]:
        """The active webhooks whose triggers and filters want the event, by name."""
        facts = facts_of(event)
        return tuple(live for matcher, live in self.matchers if matcher.wants(facts))


class Live:
    """The current snapshot; `refresh` replaces it when the store has moved on."""

    def __init__(self, store: RevisionStore) -> None:
        self._store = store
        self.snapshot = Snapshot(0, None, MappingProxyType({}))
        self._loading = asyncio.Lock()

    async def refresh(self) -> bool:
        """Load the live revision if it is another one; True if this call did. Several may call it at once: one loads,
        the others wait for it."""
        async with self._loading:
            if await self._store.live_revision() == self.snapshot.revision:
                return False
            state = await self._store.live_state()
            snapshot = await asyncio.to_thread(Snapshot.of, state)  # half a second for 10,000 webhooks
            if snapshot.revision > self.snapshot.revision:
                self.snapshot = snapshot
            return True
