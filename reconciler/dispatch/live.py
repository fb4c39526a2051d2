"""The live revision as the dispatcher uses it: loaded whole, swapped whole, never half of one and half of another.

Used by intake (who wants this event?) and by the worker (what is sent now?).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

from reconciler.models.event import Event
from reconciler.models.revision import LiveState, LiveWebhook
from reconciler.models.webhook import WebhookUid
from reconciler.request.match import matches
from reconciler.store.base import RevisionStore


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One revision's webhooks."""

    revision: int
    commit: str | None
    webhooks: Mapping[WebhookUid, LiveWebhook]

    @classmethod
    def of(cls, state: LiveState) -> Self:
        """The snapshot of a live state."""
        return cls(state.revision, state.commit, MappingProxyType({live.uid: live for live in state.webhooks}))

    def wanting(self, event: Event) -> tuple[LiveWebhook, ...]:
        """The active webhooks whose triggers and filters want the event, by name."""
        return tuple(live for live in self.webhooks.values() if matches(live.webhook, event))


class Live:
    """The current snapshot; `refresh` replaces it when the store has moved on."""

    def __init__(self, store: RevisionStore) -> None:
        self._store = store
        self.snapshot = Snapshot(0, None, MappingProxyType({}))

    async def refresh(self) -> bool:
        """Load the live revision if it is another one; True if it was."""
        if await self._store.live_revision() == self.snapshot.revision:
            return False
        self.snapshot = Snapshot.of(await self._store.live_state())
        return True
