"""A plan as the bytes of a file and back: everything needed to show it and to apply it, whatever the manifests became.

Called by `apply` (which reads and writes the file). Pure. The digest over the content tells a damaged or edited file;
it is no signature. Files of another format are refused, not guessed at.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import orjson
from pydantic import ValidationError

from reconciler.errors import Problem, ReconcilerError, Severity
from reconciler.models.revision import LiveWebhook, Revision
from reconciler.models.webhook import Policy, Webhook, WebhookUid
from reconciler.plan.change import Action, Allowances, Change, NewSecret, Refusal, Suggestion
from reconciler.plan.diff import ABSENT, FieldChange
from reconciler.plan.drift import Cause, Drift, Drifted
from reconciler.plan.plan import Plan
from reconciler.plan.redact import shown, shown_document

FORMAT: Final = "reconciler-plan"
FORMAT_VERSION: Final = 2
HINT: Final = "make it anew with `reconciler plan --out FILE`"


class PlanFileError(ReconcilerError):
    """The file is not a plan of ours, or no longer the one that was saved."""


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A plan with what makes it usable once and traceable. `created_at` in milliseconds since the epoch."""

    plan: Plan
    plan_id: str
    created_at: int
    tool_version: str
    commit: str | None


def dump_plan(saved: SavedPlan) -> bytes:
    """The file's content: one JSON document with the SHA-256 of its `content`."""
    content = {
        "plan_id": saved.plan_id,
        "created_at": saved.created_at,
        "tool_version": saved.tool_version,
        "commit": saved.commit,
        **_plan_content(saved.plan),
    }
    return orjson.dumps(
        {"format": FORMAT, "format_version": FORMAT_VERSION, "digest": _digest(content), "content": content}
    )


def load_plan(raw: bytes) -> SavedPlan:
    """The plan of a file. Raises PlanFileError."""
    try:
        value = orjson.loads(raw)
    except ValueError as exc:
        raise PlanFileError("the plan file is not JSON", hint=HINT) from exc
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise PlanFileError("the file is not a saved plan", hint=HINT)
    version, content = value.get("format_version"), value.get("content")
    if version != FORMAT_VERSION:
        raise PlanFileError(f"the plan file's format is {version!r:.20}, not {FORMAT_VERSION}", hint=HINT)
    if not isinstance(content, dict) or value.get("digest") != _digest(content):
        raise PlanFileError("the plan file was changed after it was saved: its digest does not match", hint=HINT)
    try:
        return _saved(content)
    except (KeyError, TypeError, ValueError, ValidationError) as exc:
        raise PlanFileError("the plan file cannot be read: its content is not a plan", hint=HINT) from exc


def _digest(content: object) -> str:
    return hashlib.sha256(orjson.dumps(content)).hexdigest()


def _plan_content(plan: Plan) -> dict[str, Any]:
    return {
        "lineage": plan.lineage,
        "base_revision": plan.base_revision,
        "owner": plan.owner,
        "manifest_digest": plan.manifest_digest,
        "declared": plan.declared,
        "owned": plan.owned,
        "policy_before": plan.policy_before.model_dump(mode="json"),
        "policy_after": plan.policy_after.model_dump(mode="json"),
        "writes_policy": plan.writes_policy,
        "new_secrets": [[item.secret, item.host, list(item.addresses)] for item in plan.new_secrets],
        "suggestions": [[item.old, item.new, item.percent] for item in plan.suggestions],
        "warnings": [[item.code, item.message, item.path, item.hint] for item in plan.warnings],
        "refusals": [[item.code, item.message, item.hint] for item in plan.refusals],
        "allowances": [plan.allowances.deletes, plan.allowances.empty],
        "changes": [_change_content(change) for change in plan.changes],
        "drift": _drift_content(plan.drift) if plan.drift is not None else None,
    }


def _drift_content(drift: Drift) -> dict[str, Any]:
    """All of it is kept to be shown, hence masked."""
    webhooks = [
        {
            **_change_content(item.change),
            "after": shown_document(item.change.after.document()) if item.change.after is not None else None,
            "cause": item.cause.value,
            "revision": asdict(replace(item.revision, changes=())) if item.revision is not None else None,
        }
        for item in drift.webhooks
    ]
    return {
        "owner": drift.owner,
        "live_revision": drift.live_revision,
        "base_revision": drift.base_revision,
        "is_current": drift.is_current,
        "webhooks": webhooks,
        "policy_before": drift.policy_before.model_dump(mode="json"),
        "policy_after": drift.policy_after.model_dump(mode="json"),
    }


def _change_content(change: Change) -> dict[str, Any]:
    """`before` is kept to be shown, hence masked; `after` is what will be written, and `before` where nothing is."""
    return {
        "action": change.action.value,
        "before": _live_content(change.before) if change.before is not None else None,
        "after": change.after.document() if change.after is not None and change.action is not Action.NO_OP else None,
        "fields": [_field_content(field) for field in change.fields],
        "cancels": change.cancels,
        "adopted_by": change.adopted_by,
    }


def _live_content(live: LiveWebhook) -> dict[str, Any]:
    return {
        "uid": live.uid,
        "owner": live.owner,
        "digest": live.digest,
        "is_protected": live.is_protected,
        "revision": live.revision,
        "document": shown_document(live.webhook.document()),
    }


def _field_content(field: FieldChange) -> dict[str, Any]:
    sides = {"before": field.before, "after": field.after}
    return {
        "path": list(field.path),
        **{side: shown(field.path, value) for side, value in sides.items() if value is not ABSENT},
    }


def _saved(content: Mapping[str, Any]) -> SavedPlan:
    return SavedPlan(
        plan=_plan(content),
        plan_id=content["plan_id"],
        created_at=content["created_at"],
        tool_version=content["tool_version"],
        commit=content["commit"],
    )


def _plan(content: Mapping[str, Any]) -> Plan:
    return Plan(
        lineage=content["lineage"],
        base_revision=content["base_revision"],
        owner=content["owner"],
        manifest_digest=content["manifest_digest"],
        declared=content["declared"],
        owned=content["owned"],
        changes=tuple(_change(item) for item in content["changes"]),
        policy_before=Policy.model_validate(content["policy_before"], strict=False),
        policy_after=Policy.model_validate(content["policy_after"], strict=False),
        writes_policy=content["writes_policy"],
        new_secrets=tuple(NewSecret(name, host, tuple(used_by)) for name, host, used_by in content["new_secrets"]),
        suggestions=tuple(Suggestion(*item) for item in content["suggestions"]),
        warnings=tuple(
            Problem(Severity.WARNING, code, message, path=path, hint=hint)
            for code, message, path, hint in content["warnings"]
        ),
        refusals=tuple(Refusal(*item) for item in content["refusals"]),
        allowances=Allowances(*content["allowances"]),
        drift=_drift(content["drift"]) if content["drift"] is not None else None,
    )


def _drift(content: Mapping[str, Any]) -> Drift:
    return Drift(
        owner=content["owner"],
        live_revision=content["live_revision"],
        base_revision=content["base_revision"],
        is_current=content["is_current"],
        webhooks=tuple(_drifted(item) for item in content["webhooks"]),
        policy_before=Policy.model_validate(content["policy_before"], strict=False),
        policy_after=Policy.model_validate(content["policy_after"], strict=False),
    )


def _drifted(content: Mapping[str, Any]) -> Drifted:
    by = content["revision"]
    revision = Revision(**{**by, "changes": ()}) if by is not None else None
    change = _change(content)
    after = _webhook(content["after"]) if content["after"] is not None else None  # of one that only was edited, too
    return Drifted(replace(change, after=after), Cause(content["cause"]), revision)


def _change(content: Mapping[str, Any]) -> Change:
    action = Action(content["action"])
    before = _live(content["before"]) if content["before"] is not None else None
    after = _webhook(content["after"]) if content["after"] is not None else None
    if action is Action.NO_OP and before is not None:
        after = before.webhook
    fields = tuple(
        FieldChange(tuple(item["path"]), item.get("before", ABSENT), item.get("after", ABSENT))
        for item in content["fields"]
    )
    return Change(action, before, after, fields, content["cancels"], content["adopted_by"])


def _live(content: Mapping[str, Any]) -> LiveWebhook:
    return LiveWebhook(
        uid=WebhookUid(content["uid"]),
        owner=content["owner"],
        webhook=_webhook(content["document"]),
        digest=content["digest"],
        is_protected=content["is_protected"],
        revision=content["revision"],
    )


def _webhook(document: Mapping[str, Any]) -> Webhook:
    return Webhook.from_document(orjson.dumps(document))  # as it was, not canonical: the order of keys is kept
