"""The plan as JSON, with Terraform's keys, so that policies and jq snippets written for Terraform's plans work.

Called by the commands that print a plan and by `apply` for the history; its shape is `plan.document`. Holds no time
and no machine's name: the same plan gives the same bytes.
"""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, assert_never, overload

import orjson

from reconciler import VERSION
from reconciler.errors import Problem
from reconciler.models.delivery import iso_time
from reconciler.models.revision import LiveState, Revision
from reconciler.models.webhook import Webhook
from reconciler.plan.change import Action, Change, NewSecret, Suggestion
from reconciler.plan.document import (
    FORMAT_VERSION,
    ActionWord,
    ChangeBody,
    ChangedBy,
    ImpactDocument,
    ImpactExample,
    ImpactRendering,
    PlanDocument,
    PolicyChange,
    RenameSuggestion,
    ResourceChange,
    ResourceDrift,
    SecretBinding,
    Warned,
    WebhookImpacted,
)
from reconciler.plan.drift import Drift, Drifted
from reconciler.plan.plan import Plan
from reconciler.plan.redact import shown_document

if TYPE_CHECKING:
    from reconciler.plan.impact import Example, Impact, Rendering, WebhookImpact


def plan_json(plan: Plan) -> PlanDocument:
    """The document of `plan --format json`."""
    summary = plan.summary
    document: PlanDocument = {
        "format_version": FORMAT_VERSION,
        "reconciler_version": VERSION,
        "plan_digest": "",
        "lineage": plan.lineage,
        "base_revision": plan.base_revision,
        "manifest_digest": plan.manifest_digest,
        "owner": plan.owner,
        "applyable": plan.is_applyable,
        "errored": bool(plan.refusals),
        "secret_bindings": [_binding_json(item) for item in plan.new_secrets],
        "resource_changes": [change_json(change) for change in plan.changes],
        "policy_change": policy_json(plan),
        "resource_drift": [drifted_json(item) for item in plan.drift.webhooks] if plan.drift is not None else [],
        "rename_suggestions": [_suggestion_json(item) for item in plan.suggestions],
        "summary": {
            "add": summary.add,
            "change": summary.change,
            "destroy": summary.destroy,
            "rename": summary.rename,
            "adopt": summary.adopt,
            "forget": summary.forget,
        },
        "warnings": [_warning_json(warning) for warning in plan.warnings],
        "refusals": [
            {"code": refusal.code, "message": refusal.message, "hint": refusal.hint} for refusal in plan.refusals
        ],
    }
    if plan.restores is not None:
        document["restores"] = plan.restores
    document["plan_digest"] = _digest(document)
    if plan.impact is not None:  # after the digest: what is planned is the same whatever has happened lately
        document["impact"] = _impact_json(plan.impact)
    return document


def plan_digest(plan: Plan) -> str:
    """What tells whether two people look at the same plan, in whatever format: SHA-256, hex."""
    return plan_json(plan)["plan_digest"]


def _digest(document: PlanDocument) -> str:
    rest = {key: value for key, value in document.items() if key != "plan_digest"}
    return hashlib.sha256(orjson.dumps(rest, option=orjson.OPT_SORT_KEYS)).hexdigest()


def change_json(change: Change) -> ResourceChange:
    """One of `resource_changes`. As in Terraform's, `previous_address`, `action_reason` and `importing` are absent, not
    null: in Rego, null would count as present."""
    result: ResourceChange = {
        "address": change.address,
        "mode": "managed",
        "type": "webhook",
        "name": change.name,
        "change": _body_json(change),
        "cancels": change.cancels,
    }
    if change.previous_address is not None:
        result["previous_address"] = change.previous_address
    if change.action is Action.DELETE:
        result["action_reason"] = "delete_because_no_resource_config"  # Terraform's word, which policies look for
    return result


def drift_json(drift: Drift, live: LiveState) -> dict[str, Any]:
    """The document of `drift --format json`; `resource_drift` is that of a plan."""
    before, after = (policy.model_dump(mode="json") for policy in (drift.policy_before, drift.policy_after))
    return {
        "format_version": FORMAT_VERSION,
        "reconciler_version": VERSION,
        "lineage": live.lineage,
        "owner": drift.owner,
        "live_revision": drift.live_revision,
        "base_revision": drift.base_revision,
        "manifests_applied": drift.is_current,
        "drifted": bool(drift),
        "resource_drift": [drifted_json(item) for item in drift.webhooks],
        "policy_drift": {"before": before, "after": after} if drift.has_policy_drift else None,
    }


def drifted_json(drifted: Drifted) -> ResourceDrift:
    """One of `resource_drift`: `before` is what was applied, `after` what is live, as in Terraform's."""
    change, by = drifted.change, drifted.revision
    result: ResourceDrift = {
        "address": change.address,
        "mode": "managed",
        "type": "webhook",
        "name": change.name,
        "change": _body_json(change),
        "cause": drifted.cause.value,
        "changed_by": None if by is None else _changed_by(by),
    }
    if change.previous_address is not None:
        result["previous_address"] = change.previous_address
    return result


def _changed_by(revision: Revision) -> ChangedBy:
    return {
        "revision": revision.number,
        "applied_at": iso_time(revision.applied_at) or "",
        "applied_by": revision.applied_by,
        "commit": revision.commit,
        "owner": revision.owner,
        "restores": revision.restores,
    }


def _body_json(change: Change) -> ChangeBody:
    before = _document(change.before.webhook) if change.before is not None else None
    after = before if change.action is Action.NO_OP else _document(change.after) if change.after is not None else None
    body: ChangeBody = {"actions": [action_word(change)], "before": before, "after": after}
    if change.before is not None and change.is_adopted:
        body["importing"] = {"id": change.before.uid, "owner": change.before.owner}
    return body


def action_word(change: Change) -> ActionWord:
    """Terraform's word for an action; it has none for a rename, which `previous_address` tells, and an adoption, which
    `importing` tells."""
    match change.action:
        case Action.CREATE:
            return "create"
        case Action.UPDATE:
            return "update"
        case Action.DELETE:
            return "delete"
        case Action.FORGET:
            return "forget"
        case Action.NO_OP | Action.ADOPT:
            return "no-op"
        case Action.RENAME:
            return "update" if change.is_edit else "no-op"
        case _ as never:
            assert_never(never)


def policy_json(plan: Plan) -> PolicyChange | None:
    """The change of the owner's policy; None where there is none. Not a resource, so not among `resource_changes`."""
    if not plan.has_policy_change:
        return None
    before, after = (policy.model_dump(mode="json") for policy in (plan.policy_before, plan.policy_after))
    return {"actions": ["update"], "before": before, "after": after}


def history_json(plan: Plan) -> Sequence[dict[str, Any]]:
    """What a revision keeps of its plan: every change that changed something, the policy's last."""
    return _History(plan)


class _History(Sequence[dict[str, Any]]):
    """Made one by one as they are asked for: those of ten thousand creations at once would take 50 MB."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._changes = [change for change in plan.changes if change.action is not Action.NO_OP]
        self._count = len(self._changes) + plan.has_policy_change

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | Sequence[dict[str, Any]]:
        places = range(self._count)[index]
        return self._item(places) if isinstance(places, int) else [self._item(place) for place in places]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def _item(self, place: int) -> dict[str, Any]:
        if place < len(self._changes):
            return dict(change_json(self._changes[place]))
        policy = policy_json(self._plan)
        return {"address": "policy", "mode": "managed", "type": "policy", "name": self._plan.owner, "change": policy}


def _document(webhook: Webhook) -> dict[str, Any]:
    """By way of the canonical bytes: equal webhooks show equally, in whatever order their headers were written."""
    return shown_document(orjson.loads(webhook.canonical()))


def _impact_json(impact: "Impact") -> ImpactDocument:
    return {
        "events": impact.events,
        "source": impact.source,
        "skipped": impact.skipped,
        "webhooks": [_impacted_json(item) for item in impact.webhooks],
    }


def _impacted_json(item: "WebhookImpact") -> WebhookImpacted:
    return {
        "address": item.address,
        "added": item.added,
        "lost": item.lost,
        "changed": item.changed,
        "changed_body": item.body,
        "changed_destination": item.destination,
        "unchanged": item.unchanged,
        "broken": item.broken,
        "match_errors": item.match_errors,
        "example": None if item.example is None else _example_json(item.example),
    }


def _example_json(example: "Example") -> ImpactExample:
    return {
        "kind": example.kind.value,
        "event_id": example.event_id,
        "event_type": example.event_type,
        "before": _rendering_json(example.before),
        "after": _rendering_json(example.after),
    }


def _rendering_json(rendering: "Rendering | None") -> ImpactRendering | None:
    if rendering is None:
        return None
    problem = rendering.problem or None
    return {"method": rendering.method, "url": rendering.url, "body": rendering.body, "problem": problem}


def _binding_json(item: NewSecret) -> SecretBinding:
    return {"secret": item.secret, "host": item.host, "webhooks": list(item.addresses)}


def _suggestion_json(item: Suggestion) -> RenameSuggestion:
    return {"previous_address": f"webhook.{item.old}", "address": f"webhook.{item.new}", "percent": item.percent}


def _warning_json(warning: Problem) -> Warned:
    return {"code": warning.code, "message": warning.message, "path": warning.path, "hint": warning.hint}
