"""What must not be applied, as values: mass deletion, an empty manifest set, protection, ownership and policy.

Called with a finished plan, which is shown all the same. Judges by the stricter of live and desired policy, so that
loosening one takes effect with the next plan. Pure.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from reconciler.models.revision import NOBODY
from reconciler.models.webhook import Policy, Webhook, host_of
from reconciler.plan.change import NO_ALLOWANCES, Action, Allowances, Change, Refusal
from reconciler.plan.plan import Plan

DEFAULT_MAX_DELETE_PERCENT: Final = 30  # octoDNS's number, unchanged over its ten years
DEFAULT_MIN_OWNED: Final = 10  # below this, a percentage says little


def guarded(plan: Plan, allow: Allowances = NO_ALLOWANCES) -> Plan:
    """The plan with what refuses it, and what was allowed."""
    return replace(plan, refusals=(*plan.refusals, *judge(plan, allow)), allowances=allow)


def judge(plan: Plan, allow: Allowances = NO_ALLOWANCES) -> tuple[Refusal, ...]:
    """Everything that refuses the plan, all of it at once."""
    return (
        *_empty(plan, allow),
        *_foreign(plan),
        *_protected(plan),
        *_deletes(plan, allow),
        *_hosts(plan),
        *_labels(plan),
    )


def host_allowed(host: str, allowed_hosts: tuple[str, ...] | None) -> bool:
    """Whether a policy's list allows a host: an exact name, or `*.example.com` for names under it; None allows all."""
    if allowed_hosts is None:
        return True
    patterns = [item.lower().rstrip(".") for item in allowed_hosts]
    return any(host.endswith(item[1:]) if item.startswith("*.") else host == item for item in patterns)


def owner_text(owner: str) -> str:
    """An owner in words: `owner `iam``, the default owner, or nobody."""
    if owner == NOBODY:
        return owner
    return f"owner `{owner}`" if owner else "the default owner"


def _empty(plan: Plan, allow: Allowances) -> Iterator[Refusal]:
    if plan.declared == 0 and not allow.empty:
        said = "the manifests declare" if plan.restores is None else f"revision {plan.restores} has"
        yield Refusal(
            "empty_manifests",
            f"{said} 0 webhooks, while {owner_text(plan.owner)} has {plan.owned} live",
            f"check the {_source(plan)}; to have no webhook at all, pass `--allow-empty`",
        )


def _source(plan: Plan) -> str:
    return "PATHs" if plan.restores is None else "revision"


def _foreign(plan: Plan) -> Iterator[Refusal]:
    for change in plan.changes:
        if change.before is not None and change.before.owner != plan.owner and not change.is_adopted:
            yield Refusal(
                "foreign_owner",
                f"{change.before.webhook.address} belongs to {owner_text(change.before.owner)}, "
                f"these manifests to {owner_text(plan.owner)}",
                "to take it over, pass `--adopt`; else choose another name, or say the same `owner` in `kind: Project`",
            )


def _protected(plan: Plan) -> Iterator[Refusal]:
    for change in plan.changes:
        if change.action is Action.DELETE and change.before is not None and change.before.is_protected:
            yield Refusal(
                "protected",
                f"{change.address} is protected and would be deleted",
                "put it back; to delete it, first apply `protect: false`, then remove it",
            )


def _deletes(plan: Plan, allow: Allowances) -> Iterator[Refusal]:
    deletes = plan.summary.destroy
    limits = [_delete_limit(policy, plan.owned) for policy in (plan.policy_before, plan.policy_after)]
    limit = min((item for item in limits if item is not None), default=None)
    if limit is None or deletes * 100 <= limit * plan.owned or allow.deletes == deletes:
        return
    said = f", not the {allow.deletes} that `--allow-deletes` names" if allow.deletes is not None else ""
    yield Refusal(
        "too_many_deletes",
        f"the plan deletes {deletes} of {plan.owned} webhooks ({deletes * 100 / plan.owned:.1f} %){said}; "
        f"the limit is {limit} %",
        f"check the {_source(plan)}; if all {deletes} shall go, pass `--allow-deletes {deletes}`",
    )


def _delete_limit(policy: Policy, owned: int) -> int | None:
    if policy.max_delete_percent is not None:
        return policy.max_delete_percent
    return DEFAULT_MAX_DELETE_PERCENT if owned >= DEFAULT_MIN_OWNED else None


def _hosts(plan: Plan) -> Iterator[Refusal]:
    if plan.policy_before.allowed_hosts is None and plan.policy_after.allowed_hosts is None:
        return
    found = [
        f"{change.address} ({host})"
        for change, webhook in _declared(plan)
        for host in _receivers(webhook)
        if not all(host_allowed(host, policy.allowed_hosts) for policy in (plan.policy_before, plan.policy_after))
    ]
    if found:
        yield Refusal(
            "host_not_allowed",
            f"{_webhooks(len(found))} outside the policy's `allowed_hosts` "
            f"({_both(plan.policy_before.allowed_hosts, plan.policy_after.allowed_hosts)}): {', '.join(found)}",
            "change the URL; to allow another host, apply the wider policy first, on its own",
        )


def _labels(plan: Plan) -> Iterator[Refusal]:
    required = sorted({*plan.policy_before.required_labels, *plan.policy_after.required_labels})
    found = [
        f"{change.address} ({', '.join(missing)})"
        for change, webhook in _declared(plan)
        if (missing := [label for label in required if not webhook.metadata.labels.get(label)])
    ]
    if found:
        yield Refusal(
            "label_missing",
            f"{_webhooks(len(found))} without labels that the policy requires "
            f"({', '.join(required)}): {', '.join(found)}",
            "add the labels; to require fewer, apply the policy first, on its own",
        )


def _declared(plan: Plan) -> Iterator[tuple[Change, Webhook]]:
    yield from ((change, change.after) for change in plan.changes if change.after is not None)


def _receivers(webhook: Webhook) -> tuple[str, ...]:
    """Every host that a webhook makes requests to."""
    auth = webhook.spec.auth
    token_host = host_of(auth.oauth2.token_url) if auth is not None and auth.oauth2 is not None else webhook.host
    return (webhook.host,) if token_host == webhook.host else (webhook.host, token_host)


def _both(live: tuple[str, ...] | None, desired: tuple[str, ...] | None) -> str:
    if live == desired or live is None or desired is None:
        return ", ".join((live if live is not None else desired) or ("none",))
    return f"live: {', '.join(live) or 'none'}; desired: {', '.join(desired) or 'none'}"


def _webhooks(count: int) -> str:
    return "1 webhook is" if count == 1 else f"{count} webhooks are"
