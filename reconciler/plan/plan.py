"""What apply would do: desired webhooks and a live state in, an ordered plan out.

Called by the command line and by whatever else plans (the daemon's API). Pure: no store, no clock, no file; the same
inputs give the same plan whatever order the manifests came in. What must not be applied is said by `plan.guard`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from reconciler.errors import Problem
from reconciler.models.revision import LiveState, LiveWebhook
from reconciler.models.webhook import NO_POLICY, Policy, Project, Webhook, WebhookUid
from reconciler.plan.change import NO_ALLOWANCES, Action, Allowances, Change, NewSecret, Refusal, Suggestion, Summary
from reconciler.plan.diff import field_changes
from reconciler.plan.drift import Drift
from reconciler.plan.identity import match_identities
from reconciler.plan.likeness import suggest_renames

if TYPE_CHECKING:
    from reconciler.plan.impact import Impact  # with all that renders; most plans have none


@dataclass(frozen=True, slots=True)
class Desired:
    """What one owner's manifests say, all of them together."""

    webhooks: tuple[Webhook, ...]
    project: Project
    digest: str


@dataclass(frozen=True, slots=True)
class Scope:
    """What a plan may touch beside the owner's own webhooks, and what of those.

    With `targets`, globs over names, nothing else is touched: neither another webhook nor the policy, except a webhook
    that must leave a name which a targeted one takes. `adopts` takes over webhooks of other owners (or of nobody) that
    the manifests declare. `keeps` releases what is no longer declared instead of deleting it.
    """

    targets: tuple[str, ...] = ()
    adopts: bool = False
    keeps: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Changes sorted by address, the unchanged among them, and the state they were computed from.

    `lineage` "" means that no store existed. `declared` and `owned` count the owner's webhooks in the manifests and in
    the store. `policy_before` is the live policy, `policy_after` the desired one, which `writes_policy` has applied.
    `restores` is the revision that a rollback goes back to. `drift` and `impact` are told beside the changes and
    change nothing.
    """

    lineage: str
    base_revision: int
    owner: str
    manifest_digest: str
    declared: int
    owned: int
    changes: tuple[Change, ...] = field(repr=False)  # asyncio.run writes down what it returns, and throws it away
    policy_before: Policy
    policy_after: Policy
    writes_policy: bool = True
    new_secrets: tuple[NewSecret, ...] = ()
    suggestions: tuple[Suggestion, ...] = ()
    warnings: tuple[Problem, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    allowances: Allowances = NO_ALLOWANCES
    restores: int | None = None
    drift: Drift | None = None
    impact: "Impact | None" = None

    @property
    def has_policy_change(self) -> bool:
        """Whether applying replaces the owner's policy."""
        return self.writes_policy and self.policy_before != self.policy_after

    @property
    def has_changes(self) -> bool:
        """Whether applying would make a revision."""
        return self.has_policy_change or any(change.action is not Action.NO_OP for change in self.changes)

    @property
    def is_applyable(self) -> bool:
        """Whether there is something to apply and nothing forbids it."""
        return self.has_changes and not self.refusals

    @property
    def summary(self) -> Summary:
        """The numbers of the last line."""
        actions = [change.action for change in self.changes]
        return Summary(
            add=actions.count(Action.CREATE),
            change=sum(change.is_edit for change in self.changes),
            destroy=actions.count(Action.DELETE),
            rename=actions.count(Action.RENAME),
            adopt=sum(change.is_adopted for change in self.changes),
            forget=actions.count(Action.FORGET),
        )


def make_plan(
    desired: Desired, live: LiveState, *, unfinished: Mapping[WebhookUid, int], scope: Scope = Scope()
) -> Plan:
    """The plan that brings the owner's live webhooks to the desired ones.

    `unfinished` counts pending and in-flight deliveries. Raises ValueError for two desired webhooks of one name, which
    the manifests' own check has reported.
    """
    wanted = {webhook.name: webhook for webhook in desired.webhooks}
    if len(wanted) != len(desired.webhooks):
        raise ValueError("two desired webhooks have the same name")
    owner = desired.project.spec.owner
    identities = match_identities(wanted, live.webhooks)
    planner = _Planner(owner, unfinished, scope)
    changes = [planner.declared(webhook, identities.before.get(name)) for name, webhook in wanted.items()]
    changes += [planner.undeclared(item) for item in identities.left if item.owner == owner]
    if scope.targets:
        changes = _targeted(changes, scope.targets)
    changes.sort(key=lambda change: change.address)
    return Plan(
        lineage=live.lineage,
        base_revision=live.revision,
        owner=owner,
        manifest_digest=desired.digest,
        declared=len(wanted),
        owned=live.count_owned(owner),
        changes=tuple(changes),
        policy_before=live.policies.get(owner, NO_POLICY),
        policy_after=desired.project.spec.policy,
        writes_policy=not scope.targets,
        new_secrets=new_secrets(changes, live.webhooks),
        suggestions=suggest_renames(changes),
        warnings=identities.warnings,
        refusals=tuple(
            Refusal("rename_conflict", message, "say `renamed_from` in one of them") for message in identities.conflicts
        ),
    )


@dataclass(frozen=True, slots=True)
class _Planner:
    """The changes of one owner's plan, one webhook at a time."""

    owner: str
    unfinished: Mapping[WebhookUid, int]
    scope: Scope

    def declared(self, webhook: Webhook, before: LiveWebhook | None) -> Change:
        """What happens to a webhook of the manifests, which continues `before` if that is there."""
        after = _without_instruction(webhook)
        if before is None:
            return Change(Action.CREATE, None, after)
        adopted_by = self.owner if self.scope.adopts and before.owner != self.owner else None
        if _is_equal(before, after):
            return Change(Action.NO_OP if adopted_by is None else Action.ADOPT, before, after, adopted_by=adopted_by)
        return Change(
            action=Action.UPDATE if before.webhook.name == after.name else Action.RENAME,
            before=before,
            after=after,
            fields=field_changes(before.webhook.document(), after.document()),
            cancels=cancelled(before, after, self.unfinished),
            adopted_by=adopted_by,
        )

    def undeclared(self, before: LiveWebhook) -> Change:
        """What happens to a webhook of this owner's that the manifests do not declare."""
        if self.scope.keeps:
            return Change(Action.FORGET, before, None)
        return Change(Action.DELETE, before, None, cancels=cancelled(before, None, self.unfinished))


def cancelled(before: LiveWebhook, after: Webhook | None, unfinished: Mapping[WebhookUid, int]) -> int:
    """How many unfinished deliveries end when `before` becomes `after`, or is deleted."""
    ends = after is None or (before.webhook.is_active and not after.is_active)
    return unfinished.get(before.uid, 0) if ends else 0


def _without_instruction(webhook: Webhook) -> Webhook:
    """`renamed_from` tells the plan what to do and is no part of the state."""
    if webhook.renamed_from is None:
        return webhook
    return webhook.model_copy(update={"metadata": webhook.metadata.model_copy(update={"renamed_from": None})})


def _is_equal(before: LiveWebhook, after: Webhook) -> bool:
    """By canonical digest: Python says that True == 1 == 1.0. A stored digest may stem from a version that knew fewer
    defaults, so a difference is looked at once more with today's."""
    is_said = before.is_intact and before.digest == after.digest()
    return is_said or before.webhook.canonical() == after.canonical()


def _targeted(changes: Iterable[Change], targets: tuple[str, ...]) -> list[Change]:
    by_old_name = {change.before.webhook.name: change for change in changes if change.before is not None}
    kept: dict[str, Change] = {}
    for change in changes:
        names = {change.name, change.before.webhook.name if change.before else change.name}
        following: Change | None = None
        if any(fnmatchcase(name, glob) for name in names for glob in targets):
            following = change
        while following is not None and following.address not in kept:
            kept[following.address] = following
            following = by_old_name.get(following.name)  # whoever has the name now must leave it
    return list(kept.values())


def new_secrets(changes: Iterable[Change], live: Iterable[LiveWebhook]) -> tuple[NewSecret, ...]:
    """Every secret that a host would be sent for the first time, sorted."""
    senders: dict[tuple[str, str], set[str]] = {}
    for change in changes:
        if change.after is None or change.action is Action.NO_OP:
            continue
        known = set(change.before.webhook.secret_hosts()) if change.before else set()
        for pair in change.after.secret_hosts():
            if pair not in known:
                senders.setdefault(pair, set()).add(change.address)
    if senders:  # only then is it worth looking at every live webhook
        for item in live:
            for pair in item.webhook.secret_hosts():
                senders.pop(pair, None)
    return tuple(NewSecret(*pair, tuple(sorted(senders[pair]))) for pair in sorted(senders))
