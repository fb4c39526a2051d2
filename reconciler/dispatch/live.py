"""The live revision as the dispatcher uses it: loaded whole, swapped whole, never half of one and half of another.

Used by intake (who wants this event?) and by the worker (what is sent now?).
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Final, Protocol, Self

from reconciler.dispatch.garbage import set_apart
from reconciler.models.event import Event
from reconciler.models.revision import NOBODY, LiveState, LiveWebhook
from reconciler.models.webhook import WebhookUid
from reconciler.request.condition import Verdict
from reconciler.request.fact import facts_of
from reconciler.request.index import Entry, MatchIndex
from reconciler.store.base import RevisionStore
from reconciler.store.proposal import Proposal, ProposalStore, Stage

MANY: Final = 500  # webhooks, of which a snapshot is made of more objects than should be looked at again and again


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

    def judge(self, event: Event) -> Sequence[tuple[LiveWebhook, Verdict]]:
        """The active webhooks that want the event, and those of which it cannot be told, by name."""
        return self.index.judge(facts_of(event))


class LiveStore(RevisionStore, ProposalStore, Protocol):
    """What the live revision is read from."""


class Live:
    """The current snapshot; `refresh` replaces it when the store has moved on, `prepare` makes ready for that."""

    def __init__(self, store: LiveStore) -> None:
        self._store = store
        self.snapshot = Snapshot(0, None, MappingProxyType({}))
        self._loading = asyncio.Lock()
        self._prepared: tuple[str, Snapshot] | None = None  # by the id of the proposal

    async def refresh(self) -> bool:
        """Load the live revision if it is another one; True if this call did. Several may call it at once: one loads,
        the others wait for it. What has been prepared need not be loaded."""
        async with self._loading:
            number = await self._store.live_revision()
            if number == self.snapshot.revision:
                return False
            snapshot = await self._as_prepared(number) or await self._load()
            if snapshot.revision > self.snapshot.revision:
                self.snapshot = snapshot
            self._prepared = None
            return True

    async def prepare(self) -> bool:
        """Build the snapshot of what is about to be applied, if anything is; True if there was something.

        The apply waits meanwhile, and nobody else does. Who has not seen the proposal's base yet leaves it for later.
        """
        proposed, base = await self._store.proposed(), self.snapshot
        if proposed is None or proposed.base_revision != base.revision:
            return False
        await self._store.answer(proposed.id, Stage.TAKEN)
        try:
            proposal = await self._store.proposal(proposed.id)
            if proposal is not None:
                # a second or two for 10,000 webhooks that are all new
                snapshot = await asyncio.to_thread(_built, partial(successor, base, proposal), MANY)
                self._prepared = proposed.id, snapshot
        finally:
            await self._store.answer(proposed.id, Stage.DONE)
        return True

    async def _as_prepared(self, number: int) -> Snapshot | None:
        """The prepared snapshot, if it is that of the revision."""
        if self._prepared is None or self._prepared[1].revision != number:
            return None
        proposal_id, snapshot = self._prepared
        return snapshot if await self._store.proposal_of(number) == proposal_id else None

    async def _load(self) -> Snapshot:
        state = await self._store.live_state()
        # half a second for 10,000 webhooks that are all known
        build = partial(Snapshot.of, state, previous=self.snapshot)
        return await asyncio.to_thread(_built, build, len(state.webhooks))


def _built(build: Callable[[], Snapshot], webhooks: int) -> Snapshot:
    """A snapshot, with what it is made of set apart where that is much."""
    with set_apart() if webhooks >= MANY else contextlib.nullcontext():
        return build()


def successor(base: Snapshot, proposal: Proposal) -> Snapshot:
    """The snapshot of the revision that a proposal upon this one will be. Pure."""
    revision = proposal.base_revision + 1
    webhooks = dict(base.webhooks)
    for uid in proposal.deletes:
        webhooks.pop(uid, None)
    for uid in proposal.released:
        webhooks[uid] = replace(webhooks[uid], owner=NOBODY, revision=revision)
    webhooks.update((live.uid, live) for live in proposal.upserts)
    state = LiveState(
        lineage="",
        revision=revision,
        commit=proposal.commit,
        webhooks=tuple(sorted(webhooks.values(), key=lambda live: live.webhook.name)),
    )
    return Snapshot.of(state, previous=base)
