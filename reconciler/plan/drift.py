"""Drift: what is live otherwise than the manifests' last apply left it, webhook by webhook.

Called by `drift` and `plan`, with what they have read of the store. Pure. A manifest that was edited since is no drift
but a change to be planned: what is live is compared with what was applied, not with what shall be.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from fnmatch import fnmatchcase

from reconciler.models.revision import LiveState, LiveWebhook, Revision
from reconciler.models.webhook import NO_POLICY, Policy, Webhook, WebhookName
from reconciler.plan.change import Action, Change
from reconciler.plan.compare import changes_between, order_of
from reconciler.plan.diff import FieldChange, field_changes


class Cause(StrEnum):
    """How a webhook came to drift."""

    REVISION = "revision"  # a later one: a rollback, other manifests of this owner, or another owner's apply
    EDITED = "edited"  # somebody edited the database: the stored document fails its digest


@dataclass(frozen=True, slots=True)
class Drifted:
    """One webhook: `change` leads from what the manifests' last apply left to what is live. Of one that was edited,
    from what the manifests say. `revision` is the one that did it, where that is known."""

    change: Change
    cause: Cause
    revision: Revision | None = None


@dataclass(frozen=True, slots=True)
class Drift:
    """What drifted of an owner's, sorted by address. `base_revision` is the manifests' last apply, None where there
    was none; `is_current` tells whether these very manifests were applied then."""

    owner: str
    live_revision: int
    base_revision: int | None
    is_current: bool
    webhooks: tuple[Drifted, ...]
    policy_before: Policy
    policy_after: Policy

    @property
    def has_policy_drift(self) -> bool:
        """Whether the owner's policy is not the one that was applied."""
        return self.policy_before != self.policy_after

    def __bool__(self) -> bool:
        """Whether anything drifted."""
        return bool(self.webhooks) or self.has_policy_drift


@dataclass(frozen=True, slots=True)
class LastApply:
    """The manifests' last apply, the state that it left and the revisions after it, newest first, with `changes` where
    they deleted or renamed something. `state` None: it is what is live."""

    revision: Revision
    state: LiveState | None = None
    since: tuple[Revision, ...] = ()


def last_apply(revisions: Iterable[Revision], *, owner: str, manifest_digest: str) -> Revision | None:
    """The newest revision that came from these very manifests; where they were edited since, the owner's newest apply,
    which was no rollback. None where there was none. `revisions` are newest first."""
    newest = None
    for revision in revisions:
        if revision.owner != owner or revision.restores is not None:
            continue
        if revision.manifest_digest == manifest_digest:
            return revision
        newest = newest or revision
    return newest


def find_drift(
    webhooks: Iterable[Webhook], live: LiveState, applied: LastApply | None, *, owner: str, manifest_digest: str
) -> Drift:
    """The drift of one owner's webhooks; `webhooks` are what the manifests say."""
    base = applied.state if applied is not None else None
    edited = {item.change.name: item for item in _edited(webhooks, live, owner, base)}
    moved = [
        item
        for item in _by_revision(live, owner, applied)
        if item.change.after is None or item.change.name not in edited
    ]
    policy = live.policies.get(owner, NO_POLICY)
    return Drift(
        owner=owner,
        live_revision=live.revision,
        base_revision=applied.revision.number if applied is not None else None,
        is_current=applied is not None and applied.revision.manifest_digest == manifest_digest,
        webhooks=tuple(sorted((*moved, *edited.values()), key=lambda item: order_of(item.change))),
        policy_before=policy if base is None else base.policies.get(owner, NO_POLICY),
        policy_after=policy,
    )


def of_targets(drift: Drift, targets: Sequence[str]) -> Drift:
    """The drift of webhooks whose name, now or before, one of these globs matches; all of it without globs. Targets
    leave the policy alone."""
    if not targets:
        return drift
    kept = tuple(item for item in drift.webhooks if any(_is_target(item.change, glob) for glob in targets))
    return replace(drift, webhooks=kept, policy_before=drift.policy_after)


def without_ignored(drift: Drift, patterns: Sequence[str]) -> Drift:
    """The drift without the fields that a pattern names: a path, the path of a mapping above it, or a glob; also with
    the webhook's address before it (`webhook.NAME.spec.headers`). A bare address ignores the webhook, `policy` the
    policy."""
    if not patterns:
        return drift
    kept = tuple(item for drifted in drift.webhooks if (item := _without_ignored(drifted, patterns)) is not None)
    ignores_policy = any(_matches(pattern, "policy") for pattern in patterns)
    return replace(drift, webhooks=kept, policy_before=drift.policy_after if ignores_policy else drift.policy_before)


def _by_revision(live: LiveState, owner: str, last: LastApply | None) -> Iterator[Drifted]:
    if last is None or last.state is None:
        return
    applied = [item for item in last.state.webhooks if item.owner == owner]
    uids = {item.uid for item in applied}
    now = [item for item in live.webhooks if item.owner == owner or item.uid in uids]
    last_changed = {item.webhook.name: item.revision for item in now}
    by_number = {revision.number: revision for revision in last.since}
    for change in changes_between(applied, now):
        if change.action is Action.DELETE:
            revision = _deleting(change.address, last.since)
        else:
            revision = by_number.get(last_changed.get(change.name, 0))
        yield Drifted(change, Cause.REVISION, revision)


def _deleting(address: str, since: Sequence[Revision]) -> Revision | None:
    """The revision that deleted a webhook, which may have been renamed before."""
    for revision in reversed(since):
        for item in revision.changes:
            if item.get("previous_address") == address:
                address = item["address"]
                break
            if item["address"] == address and item["change"]["actions"] == [Action.DELETE.value]:
                return revision
    return None


def _edited(webhooks: Iterable[Webhook], live: LiveState, owner: str, base: LiveState | None) -> Iterator[Drifted]:
    edited = [item for item in live.webhooks if item.owner == owner and not item.is_intact]
    if not edited:
        return
    said: dict[WebhookName, Webhook] = {webhook.name: webhook for webhook in webhooks}
    was = {item.uid: item for item in base.webhooks if item.is_intact} if base is not None else {}
    for item in edited:
        told = said.get(item.webhook.name)
        before = was.get(item.uid, item) if told is None else replace(item, webhook=told)
        yield Drifted(_edit(before, item), Cause.EDITED)


def _edit(before: LiveWebhook, after: LiveWebhook) -> Change:
    fields = field_changes(before.webhook.document(), after.webhook.document())
    return Change(Action.UPDATE if fields else Action.NO_OP, before, after.webhook, fields)


def _without_ignored(drifted: Drifted, patterns: Sequence[str]) -> Drifted | None:
    change = drifted.change
    if any(_matches(pattern, change.address) for pattern in patterns):
        return None
    fields = tuple(field for field in change.fields if not _is_ignored(field, change.address, patterns))
    if fields == change.fields:
        return drifted
    if not fields and not change.is_adopted:
        return None
    return replace(drifted, change=replace(change, fields=fields))


def _is_ignored(field: FieldChange, address: str, patterns: Sequence[str]) -> bool:
    paths = [".".join(field.path[:size]) for size in range(1, len(field.path) + 1)]
    return any(
        _matches(pattern, name) for pattern in patterns for path in paths for name in (path, f"{address}.{path}")
    )


def _is_target(change: Change, glob: str) -> bool:
    return any(
        side is not None and fnmatchcase(side.name, glob)
        for side in (change.before.webhook if change.before else None, change.after)
    )


def _matches(pattern: str, name: str) -> bool:
    return pattern == name or fnmatchcase(name, pattern)
