"""A plan to get back: what must change for an owner's live webhooks to be those of an earlier revision.

Called by `rollback`, which has it judged, shown and applied like any other plan. Pure. Webhooks are matched by uid, so
that renames go back as renames, and one that was deleted since returns with its uid, its history and its protection.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from reconciler.models.revision import NOBODY, LiveState, LiveWebhook
from reconciler.models.webhook import NO_POLICY, WebhookUid
from reconciler.plan.change import Action, Change, Refusal
from reconciler.plan.compare import order_of, stored_changes
from reconciler.plan.guard import owner_text
from reconciler.plan.plan import Plan, cancelled, new_secrets


def make_rollback(target: LiveState, live: LiveState, *, owner: str, unfinished: Mapping[WebhookUid, int]) -> Plan:
    """The plan that brings the owner's live webhooks and policy to those of `target`, an earlier state of the same
    store. `unfinished` counts pending and in-flight deliveries.

    What other owners have is left alone; what they took over since, or whose name they took, refuses the plan, and so
    does a document that somebody edited in the database: a rollback must not make it look applied.
    """
    wanted = [item for item in target.webhooks if item.owner == owner]
    held = {item.uid: item for item in live.webhooks}
    uids = {item.uid for item in wanted}
    refusals = tuple(_refusals(wanted, live.webhooks, owner))
    changes = [
        _back(item, held.get(item.uid), unfinished)
        for item in wanted
        if item.uid not in held or held[item.uid].owner in (owner, NOBODY)
    ]
    changes += [
        Change(Action.DELETE, item, None, cancels=cancelled(item, None, unfinished))
        for item in live.webhooks
        if item.owner == owner and item.uid not in uids
    ]
    return Plan(
        lineage=live.lineage,
        base_revision=live.revision,
        owner=owner,
        manifest_digest="",
        declared=len(wanted),
        owned=live.count_owned(owner),
        changes=tuple(sorted(changes, key=order_of)),
        policy_before=live.policies.get(owner, NO_POLICY),
        policy_after=target.policies.get(owner, NO_POLICY),
        new_secrets=new_secrets(changes, live.webhooks),
        refusals=refusals,
        restores=target.revision,
    )


def _back(then: LiveWebhook, now: LiveWebhook | None, unfinished: Mapping[WebhookUid, int]) -> Change:
    if now is None:
        return Change(Action.CREATE, None, then.webhook, revives=then)
    change = Change(Action.NO_OP, now, then.webhook, revives=then)
    fields = stored_changes(now, replace(then, is_protected=change.is_protected_after))
    adopted_by = then.owner if now.owner != then.owner else None
    # 1. another name; 2. another content; 3. nothing but the owner; 4. nothing
    if now.webhook.name != then.webhook.name:
        action = Action.RENAME
    elif fields:
        action = Action.UPDATE
    else:
        action = Action.NO_OP if adopted_by is None else Action.ADOPT
    cancels = cancelled(now, then.webhook, unfinished)
    return replace(change, action=action, fields=fields, cancels=cancels, adopted_by=adopted_by)


def _refusals(wanted: Iterable[LiveWebhook], live: Iterable[LiveWebhook], owner: str) -> Iterator[Refusal]:
    foreign = [item for item in live if item.owner not in (owner, NOBODY)]
    by_uid = {item.uid: item for item in foreign}
    by_name = {item.webhook.name: item for item in live if item.owner != owner}
    for then in wanted:
        if not then.is_intact:
            fact = f"the stored document of {then.webhook.address} was edited: it fails its digest"
            yield Refusal("edited", fact, "apply the manifests of that revision instead: that sets the document right")
        taken = by_uid.get(then.uid)
        if taken is not None:
            fact = f"{then.webhook.address} belongs to {owner_text(taken.owner)} now, as {taken.webhook.address}"
            yield Refusal("foreign_owner", fact, "let that owner release it first: apply its manifests with `--keep`")
            continue
        namesake = by_name.get(then.webhook.name)
        if namesake is not None and namesake.uid != then.uid:
            fact = f"the name of {then.webhook.address} was taken by another webhook of {owner_text(namesake.owner)}"
            yield Refusal("name_taken", fact, "let it be renamed first, with `renamed_from` in its manifest")
