"""The plan as JSON, with Terraform's keys, so that policies and jq snippets written for Terraform's plans work.

Called by the commands that print a plan and by `apply` for the history. Holds no time and no machine's name: the same
plan gives the same bytes.
"""

from typing import Any, Final, assert_never

import orjson

from reconciler import VERSION
from reconciler.errors import Problem
from reconciler.models.webhook import Webhook
from reconciler.plan.plan import Action, Change, Plan
from reconciler.plan.redact import shown_document

FORMAT_VERSION: Final = "1.0"  # a consumer ignores unknown keys; the first number moves when a known one changes


def plan_json(plan: Plan) -> dict[str, Any]:
    """The document of `plan --format json`."""
    summary = plan.summary
    return {
        "format_version": FORMAT_VERSION,
        "reconciler_version": VERSION,
        "lineage": plan.lineage,
        "base_revision": plan.base_revision,
        "manifest_digest": plan.manifest_digest,
        "owner": plan.owner,
        "applyable": plan.is_applyable,
        "secret_bindings": [
            {"secret": item.secret, "host": item.host, "webhooks": list(item.addresses)} for item in plan.new_secrets
        ],
        "resource_changes": [change_json(change) for change in plan.changes],
        "policy_change": policy_json(plan),
        "summary": {
            "add": summary.add,
            "change": summary.change,
            "destroy": summary.destroy,
            "rename": summary.rename,
        },
        "warnings": [_warning_json(warning) for warning in plan.warnings],
        "refusals": [
            {"code": refusal.code, "message": refusal.message, "hint": refusal.hint} for refusal in plan.refusals
        ],
    }


def change_json(change: Change) -> dict[str, Any]:
    """One of `resource_changes`. As in Terraform's, `previous_address` and `action_reason` are absent, not null: in
    Rego, null would count as present."""
    result: dict[str, Any] = {"address": change.address}
    if change.previous_address is not None:
        result["previous_address"] = change.previous_address
    result |= {"mode": "managed", "type": "webhook", "name": change.name}
    if change.action_reason is not None:
        result["action_reason"] = change.action_reason
    before = _document(change.before.webhook) if change.before is not None else None
    after = _document(change.after) if change.after is not None else None
    result["change"] = {"actions": [action_word(change)], "before": before, "after": after}
    result["cancels"] = change.cancels
    return result


def action_word(change: Change) -> str:
    """Terraform's word for an action; it has none for a rename, which `previous_address` tells."""
    match change.action:
        case Action.CREATE | Action.UPDATE | Action.DELETE | Action.NO_OP:
            return change.action.value
        case Action.RENAME:
            return "update" if change.is_edit else "no-op"
        case _ as never:
            assert_never(never)


def policy_json(plan: Plan) -> dict[str, Any] | None:
    """The change of the owner's policy; None where there is none. Not a resource, so not among `resource_changes`."""
    if not plan.has_policy_change:
        return None
    before, after = (policy.model_dump(mode="json") for policy in (plan.policy_before, plan.policy_after))
    return {"actions": ["update"], "before": before, "after": after}


def history_json(plan: Plan) -> tuple[dict[str, Any], ...]:
    """What a revision keeps of its plan: every change that changed something, the policy's last."""
    changes = [change_json(change) for change in plan.changes if change.action is not Action.NO_OP]
    policy = policy_json(plan)
    if policy is not None:
        changes.append({"address": "policy", "mode": "managed", "type": "policy", "name": plan.owner, "change": policy})
    return tuple(changes)


def _document(webhook: Webhook) -> dict[str, Any]:
    """By way of the canonical bytes: equal webhooks show equally, in whatever order their headers were written."""
    return shown_document(orjson.loads(webhook.canonical()))


def _warning_json(warning: Problem) -> dict[str, Any]:
    return {"code": warning.code, "message": warning.message, "path": warning.path, "hint": warning.hint}
