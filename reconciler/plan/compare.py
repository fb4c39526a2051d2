"""What became of each webhook from one stored state to another: by uid, so that renames are seen as such.

Called for drift, for `diff` and by a rollback's plan. Pure.
"""

from collections.abc import Iterable
from typing import Final

from reconciler.models.revision import NOBODY, LiveWebhook
from reconciler.models.webhook import WebhookUid
from reconciler.plan.change import Action, Change
from reconciler.plan.diff import ABSENT, FieldChange, field_changes

PROTECT_PATH: Final = ("metadata", "protect")


def changes_between(before: Iterable[LiveWebhook], after: Iterable[LiveWebhook]) -> tuple[Change, ...]:
    """Every webhook that differs, in what it says or in whose it is, sorted by `order_of`."""
    old = {item.uid: item for item in before}
    new = {item.uid: item for item in after}
    changes = [change for uid in old.keys() | new.keys() if (change := _change(old.get(uid), new.get(uid)))]
    return tuple(sorted(changes, key=order_of))


def order_of(change: Change) -> tuple[str, bool]:
    """What changes are sorted by: the address; a webhook that leaves a name comes before another that takes it."""
    return change.address, change.after is not None


def stored_changes(before: LiveWebhook, after: LiveWebhook) -> tuple[FieldChange, ...]:
    """Every attribute that differs, sorted by path. Protection counts as the store holds it, which may be more than
    the manifest says."""
    if _is_same(before, after):
        fields: tuple[FieldChange, ...] = ()
    else:
        fields = field_changes(before.webhook.document(), after.webhook.document())
    if before.is_protected == after.is_protected or any(field.path == PROTECT_PATH for field in fields):
        return fields
    held = FieldChange(PROTECT_PATH, before.is_protected or ABSENT, after.is_protected or ABSENT)
    return tuple(sorted((*fields, held), key=lambda field: field.path))


def planned_webhooks(changes: Iterable[Change], owner: str) -> tuple[LiveWebhook, ...]:
    """What the webhooks of a plan will be, as the store would hold them; one that is new has a uid of no store."""
    return tuple(
        LiveWebhook(
            uid=change.before.uid if change.before is not None else WebhookUid(f"new {change.name}"),
            owner=owner,
            webhook=change.after,
            digest=change.after.digest(),
            is_protected=change.is_protected_after,
            revision=0,
        )
        for change in changes
        if change.after is not None
    )


def _change(before: LiveWebhook | None, after: LiveWebhook | None) -> Change | None:
    # 1. it came; 2. it went; 3. it is whose it was, 4. or another's, 5. or nobody's
    if before is None or after is None:
        return _came_or_went(before, after)
    fields = stored_changes(before, after)
    is_renamed = before.webhook.name != after.webhook.name
    if after.owner == before.owner:
        if not fields:
            return None
        return Change(Action.RENAME if is_renamed else Action.UPDATE, before, after.webhook, fields)
    if after.owner == NOBODY and not fields:
        return Change(Action.FORGET, before, None)
    action = Action.RENAME if is_renamed else Action.UPDATE if fields else Action.ADOPT
    return Change(action, before, after.webhook, fields, adopted_by=after.owner)


def _came_or_went(before: LiveWebhook | None, after: LiveWebhook | None) -> Change | None:
    if after is not None:
        return Change(Action.CREATE, None, after.webhook)
    return Change(Action.DELETE, before, None) if before is not None else None


def _is_same(before: LiveWebhook, after: LiveWebhook) -> bool:
    if before.is_intact and after.is_intact and before.digest == after.digest:
        return True
    return before.webhook.canonical() == after.webhook.canonical()
