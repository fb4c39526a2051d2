"""A plan that stands on an older revision, moved to the live one if nothing that it touches has moved since.

Called by `apply` for `--rebase-if-disjoint`. Pure. What the plan writes stays what was reviewed; what it says of the
store (how many are owned, what is cancelled) and the verdict of the guard are those of the live state.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from reconciler.errors import StalePlanError
from reconciler.models.revision import LiveState, LiveWebhook
from reconciler.models.webhook import NO_POLICY, WebhookName, WebhookUid
from reconciler.plan.change import Action, Change
from reconciler.plan.guard import guarded
from reconciler.plan.plan import Plan, cancelled

LISTED_MAX: Final = 10  # so many of what moved are named


def rebased(plan: Plan, live: LiveState, unfinished: Mapping[WebhookUid, int]) -> Plan:
    """The plan as if made from `live`. Raises StalePlanError naming what moved: a webhook that the plan changes, a name
    that it takes, or the owner's policy. The result may be refused, where the plan itself was not."""
    if plan.lineage != live.lineage:
        raise _stale(plan, live, "the plan was made for another store, or for none")
    by_uid = {item.uid: item for item in live.webhooks}
    moved = list(_moved(plan, live, by_uid))
    if moved:
        more = f" and {len(moved) - LISTED_MAX} more" if len(moved) > LISTED_MAX else ""
        raise _stale(plan, live, f"what the plan touches has moved on: {', '.join(moved[:LISTED_MAX])}{more}")
    changes = [_standing_on(change, by_uid, unfinished) for change in plan.changes]
    fresh = replace(
        plan,
        base_revision=live.revision,
        owned=live.count_owned(plan.owner),
        changes=tuple(change for change in changes if change is not None),
        refusals=(),
    )
    return guarded(fresh, plan.allowances)


def _moved(plan: Plan, live: LiveState, by_uid: Mapping[WebhookUid, LiveWebhook]) -> Iterator[str]:
    by_name = {item.webhook.name: item for item in live.webhooks}
    written = [change for change in plan.changes if change.action is not Action.NO_OP]
    leaving = {change.before.uid for change in written if change.before is not None}
    for change in written:
        if change.before is not None and not _is_same(change.before, by_uid.get(change.before.uid)):
            yield _fact(change.before.webhook.address, by_uid.get(change.before.uid))
        if change.after is not None and _is_taken(change.after.name, by_name, leaving):
            yield f"{change.address} (made by revision {by_name[change.after.name].revision})"
    if live.policies.get(plan.owner, NO_POLICY) != plan.policy_before:
        yield "the policy"


def _is_same(before: LiveWebhook, now: LiveWebhook | None) -> bool:
    if now is None or not now.is_intact:
        return False
    return (now.revision, now.digest, now.owner) == (before.revision, before.digest, before.owner)


def _is_taken(name: WebhookName, by_name: Mapping[WebhookName, LiveWebhook], leaving: set[WebhookUid]) -> bool:
    holder = by_name.get(name)
    return holder is not None and holder.uid not in leaving


def _fact(address: str, now: LiveWebhook | None) -> str:
    if now is None:
        return f"{address} (deleted)"
    return f"{address} ({f'changed by revision {now.revision}' if now.is_intact else 'edited in the database'})"


def _standing_on(
    change: Change, by_uid: Mapping[WebhookUid, LiveWebhook], unfinished: Mapping[WebhookUid, int]
) -> Change | None:
    """The change from what is live now; None for an unchanged webhook that is another one now."""
    if change.before is None:
        return change
    now = by_uid.get(change.before.uid)
    if now is None or not _is_same(change.before, now):
        return None
    if change.action is Action.NO_OP:
        return replace(change, before=now, after=now.webhook)
    ends = change.action is not Action.FORGET
    return replace(change, before=now, cancels=cancelled(now, change.after, unfinished) if ends else 0)


def _stale(plan: Plan, live: LiveState, fact: str) -> StalePlanError:
    return StalePlanError(
        f"{fact}; nothing was changed",
        base_revision=plan.base_revision,
        live_revision=live.revision,
        hint="plan again and review what it says now",
    )
