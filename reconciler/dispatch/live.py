"""The live revision as the dispatcher uses it: loaded whole, swapped whole, never half of one and half of another.

Used by intake (who wants this event?) and by the worker (what is sent now?).
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Self

from reconciler.models.event import Event
from reconciler.models.revision import LiveState, LiveWebhook
from reconciler.models.webhook import WebhookUid
from reconciler.request.condition import Verdict
from reconciler.request.fact import facts_of
from reconciler.request.index import Entry, MatchIndex
from reconciler.store.base import RevisionStore


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One revision's webhooks."""

    revision: int
    commit: str | None
    webhooks: Mapping[WebhookUid, LiveWebhook]
    entries: Mapping[str, Entry] = field(default_factory=dict, repr=False)  # by the digest of the webhook
    index: MatchIndex[LiveWebhook] = field(default_factory=lambda: MatchIndex(()), repr=False)  # of the active, by name

    @classmethod
    def of(cls, state: LiveState, *, previous: "Snapshot | None" = None) -> Self:
        """The snapshot of a live state; what the previous one compiled of webhooks that are the same is kept."""
        known = previous.entries if previous is not None else {}
        entries: dict[str, Entry] = {}
        items = []
        for live in state.webhooks:
            # a digest that somebody's edit of the database made untrue says nothing
            digest = live.digest if live.is_intact else f"{live.uid} {state.revision}"
            entry = known.get(digest) or entries.get(digest) or Entry.of(live.webhook)
            entries[digest] = entry
            if entry.matcher.triggers:
                items.append((entry, live))
        return cls(
            revision=state.revision,
            commit=state.commit,
            webhooks=MappingProxyType({live.uid: live for live in state.webhooks}),
            entries=MappingProxyType(entries),
            index=MatchIndex(items),
        )

    def judge(self, event: Event) -> tuple[tuple[LiveWebhook, Verdict], ...]:
        """The active webhooks that want the event, and those of which it cannot be told, by name."""
        return tuple(self.index.judge(facts_of(event)))


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
            # half a second for 10,000 webhooks that are all new
            snapshot = await asyncio.to_thread(Snapshot.of, state, previous=self.snapshot)
            if snapshot.revision > self.snapshot.revision:
                self.snapshot = snapshot
            return True
