"""What the store's past says: whether the live revision came from the manifests' last apply, who holds it, since when.

Called by the command line and by whatever else plans. Reads by the store's verbs alone, so that it works through a
daemon too; judging is left to `plan`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from reconciler.models.revision import Hold, LiveState, Revision
from reconciler.plan.drift import Drift, LastApply, find_drift, last_apply
from reconciler.plan.plan import Desired

if TYPE_CHECKING:
    from reconciler.store.base import RevisionStore

PAGE_ROWS: Final = 500
READ_WHOLE_MAX: Final = 20  # revisions that are read whole to find which of them deleted a webhook


async def read_drift(store: RevisionStore, desired: Desired, live: LiveState) -> Drift:
    """The drift of the owner's webhooks; `live` is what the store has told."""
    owner, digest = desired.project.spec.owner, desired.digest
    revisions = [revision async for revision in all_revisions(store)]
    applied = last_apply(revisions, owner=owner, manifest_digest=digest)
    last = None
    if applied is not None:
        since = tuple(revision for revision in revisions if applied.number < revision.number <= live.revision)
        last = LastApply(applied, await store.live_state(applied.number) if since else None, since)
    drift = find_drift(desired.webhooks, live, last, owner=owner, manifest_digest=digest)
    if last is None or not any(item.change.after is None for item in drift.webhooks):
        return drift
    last = replace(last, since=await _with_changes(store, last.since))
    return find_drift(desired.webhooks, live, last, owner=owner, manifest_digest=digest)


def known_drift(desired: Desired, live: LiveState, revisions: Sequence[Revision], *, is_whole: bool) -> Drift | None:
    """The drift of the owner's webhooks if nobody applied after the manifests' last apply, as is nearly always so; else
    None, and the store must be asked. `revisions` are the newest; `is_whole` tells whether they are all."""
    owner, digest = desired.project.spec.owner, desired.digest
    applied = last_apply(revisions, owner=owner, manifest_digest=digest)
    if not is_whole and (applied is None or applied.manifest_digest != digest):
        return None
    if applied is not None and any(applied.number < revision.number <= live.revision for revision in revisions):
        return None
    last = LastApply(applied) if applied is not None else None
    return find_drift(desired.webhooks, live, last, owner=owner, manifest_digest=digest)


async def read_hold(store: RevisionStore, owner: str) -> Hold | None:
    """Why the owner's applies are refused, if they are."""
    return owners_hold(await store.holds(), owner)


def owners_hold(holds: Iterable[Hold], owner: str) -> Hold | None:
    """The owner's hold, if there is one."""
    return next((hold for hold in holds if hold.owner == owner), None)


async def commit_at(store: RevisionStore, number: int, owner: str) -> str | None:
    """The commit that the owner's webhooks came from at a revision, which may be another owner's."""
    async for revision in all_revisions(store):
        if revision.number <= number and revision.owner == owner:
            return revision.commit
    return None


async def all_revisions(store: RevisionStore) -> AsyncIterator[Revision]:
    """The whole history, newest first, without `changes`."""
    from reconciler.store.base import Page

    page = Page(PAGE_ROWS)
    while True:
        found = await store.revisions(page)
        for revision in found:
            yield revision
        if len(found) < PAGE_ROWS:
            return
        page = Page(PAGE_ROWS, str(found[-1].number))


async def _with_changes(store: RevisionStore, since: tuple[Revision, ...]) -> tuple[Revision, ...]:
    """The revisions, those with `changes` that may say who deleted a webhook and what it was called by then."""
    full = list(since)
    moving = [index for index, revision in enumerate(since) if revision.deleted or revision.renamed]
    for index in moving[:READ_WHOLE_MAX]:
        full[index] = await store.revision(since[index].number) or since[index]
    return tuple(full)
