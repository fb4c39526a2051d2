"""What a revision keeps of its plan, read back as changes that can be shown like those of a plan.

Called by `show REVISION`. Pure. The documents are as the history keeps them: secrets masked.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
from pydantic import ValidationError

from reconciler.errors import ReconcilerError
from reconciler.models.revision import LiveWebhook, Revision
from reconciler.models.webhook import Policy, Webhook, WebhookUid
from reconciler.plan.change import Action, Change
from reconciler.plan.diff import field_changes


def recorded_changes(revision: Revision) -> tuple[tuple[Change, ...], tuple[Policy, Policy] | None]:
    """The changes of webhooks, in the plan's order, and the owner's policy before and after where it changed.

    Raises ReconcilerError for a record of another version that cannot be read.
    """
    try:
        changes = tuple(_change(item, revision.owner) for item in _of_type("webhook", revision.changes))
        policies = [item["change"] for item in _of_type("policy", revision.changes)]
        policy = [(_policy(item["before"]), _policy(item["after"])) for item in policies]
    except (KeyError, TypeError, ValueError, ValidationError) as exc:
        raise ReconcilerError(
            f"the changes of revision {revision.number} cannot be read",
            hint="another version of reconciler wrote them; `--format json` shows them as they are",
        ) from exc
    return changes, policy[0] if policy else None


def _of_type(kind: str, items: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    return (item for item in items if item["type"] == kind)


def _change(item: Mapping[str, Any], owner: str) -> Change:
    body = item["change"]
    importing = body.get("importing")
    before = _live(body["before"], importing["owner"] if importing else owner)
    after = _webhook(body["after"])
    return Change(
        action=_action(item, before, after),
        before=before,
        after=after,
        fields=field_changes(before.webhook.document(), after.document()) if before and after else (),
        cancels=item.get("cancels", 0),
        adopted_by=owner if importing else None,
    )


def _action(item: Mapping[str, Any], before: LiveWebhook | None, after: Webhook | None) -> Action:
    word = item["change"]["actions"][0]
    # 1. one side only; 2. another name; 3. an edit; 4. nothing but the owner
    if before is None or after is None:
        return Action(word)
    if "previous_address" in item:
        return Action.RENAME
    return Action.UPDATE if word == Action.UPDATE.value else Action.ADOPT


def _live(document: Mapping[str, Any] | None, owner: str) -> LiveWebhook | None:
    """The history keeps no uid, and of protection what the manifest said."""
    webhook = _webhook(document)
    if webhook is None:
        return None
    return LiveWebhook(WebhookUid(""), owner, webhook, "", webhook.metadata.protect is True, 0)


def _webhook(document: Mapping[str, Any] | None) -> Webhook | None:
    return Webhook.from_document(orjson.dumps(document)) if document is not None else None


def _policy(value: Mapping[str, Any]) -> Policy:
    return Policy.model_validate(value, strict=False)
