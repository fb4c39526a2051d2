"""What apply would do: desired webhooks and a live state in, an ordered plan out.

Called by the command line and by whatever else plans (the daemon's API). Pure: no store, no clock, no file; the same
inputs give the same plan whatever order the manifests came in. What must not be applied is said by `plan.guard`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

from reconciler.errors import Problem
from reconciler.models.revision import LiveState, LiveWebhook
from reconciler.models.webhook import Policy, Project, Webhook, WebhookName, WebhookUid
from reconciler.plan.diff import FieldChange, field_changes
from reconciler.plan.identity import match_identities

NAME_PATH: Final = ("metadata", "name")
DELETE_REASON: Final = "delete_because_no_resource_config"  # Terraform's word, which policies in the wild look for


class Action(StrEnum):
    """What happens to one webhook; which of `before` and `after` a change has follows from it."""

    CREATE = "create"  # after
    UPDATE = "update"  # before and after, the same name
    RENAME = "rename"  # before and after, another name; with or without an edit
    DELETE = "delete"  # before
    NO_OP = "no-op"  # before and after, equal


@dataclass(frozen=True, slots=True)
class Change:
    """One webhook's way from live to desired.

    `fields` is sorted by path and empty unless both sides exist and differ. `cancels` counts the unfinished
    deliveries that a delete or an inactivation ends.
    """

    action: Action
    before: LiveWebhook | None
    after: Webhook | None
    fields: tuple[FieldChange, ...] = ()
    cancels: int = 0

    @property
    def name(self) -> WebhookName:
        """The webhook's name once applied; of a delete, the name it had."""
        if self.after is not None:
            return self.after.name
        assert self.before is not None
        return self.before.webhook.name

    @property
    def address(self) -> str:
        """`webhook.NAME`."""
        return f"webhook.{self.name}"

    @property
    def previous_address(self) -> str | None:
        """The address before a rename."""
        return self.before.webhook.address if self.before and self.action is Action.RENAME else None

    @property
    def action_reason(self) -> str | None:
        """Why, in Terraform's words; None where the manifests say it themselves."""
        return DELETE_REASON if self.action is Action.DELETE else None

    @property
    def is_edit(self) -> bool:
        """Whether a webhook that stays will be another one in more than its name."""
        return any(field.path != NAME_PATH for field in self.fields)

    @property
    def is_protected_after(self) -> bool:
        """Protection as the store will hold it: lifted only by an explicit `protect: false`."""
        held = self.before is not None and self.before.is_protected
        said = self.after.metadata.protect if self.after is not None else None
        return held if said is None else said


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A secret that a host has not been sent before, and the webhooks that will send it."""

    secret: str
    host: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a plan must not be applied: the number and the limit in `message`, the way out in `hint`."""

    code: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Summary:
    """How many of each. A rename that edits as well counts as both."""

    add: int
    change: int
    destroy: int
    rename: int


@dataclass(frozen=True, slots=True)
class Desired:
    """What one owner's manifests say, all of them together."""

    webhooks: tuple[Webhook, ...]
    project: Project
    digest: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Changes sorted by address, the unchanged among them, and the state they were computed from.

    `lineage` "" means that no store existed. `declared` and `owned` count the owner's webhooks in the manifests and in
    the store. `policy_before` is the live policy, `policy_after` the desired one.
    """

    lineage: str
    base_revision: int
    owner: str
    manifest_digest: str
    declared: int
    owned: int
    changes: tuple[Change, ...]
    policy_before: Policy
    policy_after: Policy
    new_secrets: tuple[NewSecret, ...] = ()
    warnings: tuple[Problem, ...] = ()
    refusals: tuple[Refusal, ...] = ()

    @property
    def has_policy_change(self) -> bool:
        """Whether applying replaces the owner's policy."""
        return self.policy_before != self.policy_after

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
        )


def make_plan(
    desired: Desired, live: LiveState, *, unfinished: Mapping[WebhookUid, int], targets: tuple[str, ...] = ()
) -> Plan:
    """The plan that brings the owner's live webhooks to the desired ones.

    `unfinished` counts pending and in-flight deliveries. With `targets`, globs over names, nothing else is touched:
    neither another webhook nor the policy, except a webhook that must leave a name which a targeted one takes.
    Raises ValueError for two desired webhooks of one name, which the manifests' own check has reported.
    """
    wanted = {webhook.name: webhook for webhook in desired.webhooks}
    if len(wanted) != len(desired.webhooks):
        raise ValueError("two desired webhooks have the same name")
    owner = desired.project.spec.owner
    policy = live.policies.get(owner, Policy())
    identities = match_identities(wanted, live.webhooks)
    changes = [_kept(wanted[name], identities.before.get(name), unfinished) for name in wanted]
    changes += [_deleted(item, unfinished) for item in identities.left if item.owner == owner]
    if targets:
        changes = _targeted(changes, targets)
    changes.sort(key=lambda change: change.address)
    return Plan(
        lineage=live.lineage,
        base_revision=live.revision,
        owner=owner,
        manifest_digest=desired.digest,
        declared=len(wanted),
        owned=sum(item.owner == owner for item in live.webhooks),
        changes=tuple(changes),
        policy_before=policy,
        policy_after=policy if targets else desired.project.spec.policy,
        new_secrets=_new_secrets(changes, live.webhooks),
        warnings=identities.warnings,
        refusals=tuple(
            Refusal("rename_conflict", message, "say `renamed_from` in one of them") for message in identities.conflicts
        ),
    )


def _kept(webhook: Webhook, before: LiveWebhook | None, unfinished: Mapping[WebhookUid, int]) -> Change:
    after = _without_instruction(webhook)
    if before is None:
        return Change(Action.CREATE, None, after)
    if _is_equal(before, after):
        return Change(Action.NO_OP, before, after)
    return Change(
        action=Action.UPDATE if before.webhook.name == after.name else Action.RENAME,
        before=before,
        after=after,
        fields=field_changes(before.webhook.document(), after.document()),
        cancels=unfinished.get(before.uid, 0) if before.webhook.is_active and not after.is_active else 0,
    )


def _deleted(before: LiveWebhook, unfinished: Mapping[WebhookUid, int]) -> Change:
    return Change(Action.DELETE, before, None, cancels=unfinished.get(before.uid, 0))


def _without_instruction(webhook: Webhook) -> Webhook:
    """`renamed_from` tells the plan what to do and is no part of the state."""
    if webhook.metadata.renamed_from is None:
        return webhook
    return webhook.model_copy(update={"metadata": webhook.metadata.model_copy(update={"renamed_from": None})})


def _is_equal(before: LiveWebhook, after: Webhook) -> bool:
    """By canonical digest: Python says that True == 1 == 1.0. A stored digest may stem from a version that knew fewer
    defaults, so a difference is looked at once more with today's."""
    return before.digest == after.digest() or before.webhook.canonical() == after.canonical()


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


def _new_secrets(changes: Iterable[Change], live: Iterable[LiveWebhook]) -> tuple[NewSecret, ...]:
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
