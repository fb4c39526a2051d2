"""Rows to values: states, their webhooks, revisions. Imports no engine, since rows may come from another process.

Called by `revision` and by what reads ahead of a command.
"""

from collections.abc import Callable, Sequence
from typing import Any

from pydantic import ValidationError

from reconciler.errors import StoreError
from reconciler.models.revision import LiveState, LiveWebhook, Revision
from reconciler.models.unopened import Seal, Unopened
from reconciler.models.webhook import Policy, Webhook
from reconciler.store.sqlite.text import load


def state_of(
    webhooks: Sequence[LiveWebhook],
    lineage: str,
    number: int,
    commit: str | None,
    policies: Sequence[tuple[str, str]],
) -> LiveState:
    """The state at a revision; `policies` are (owner, JSON)."""
    return LiveState(
        lineage=lineage,
        revision=number,
        commit=commit,
        webhooks=tuple(sorted(webhooks, key=lambda item: item.webhook.name)),
        policies={owner: Policy.model_validate(load(body), strict=False) for owner, body in policies},
    )


def live_webhook_behind(head: Sequence[Any], read: Callable[[], bytes], found: str) -> LiveWebhook:
    """The webhook of (uid, name, owner, digest, is_protected, revision), its document being read when somebody looks
    into it; `found` is the document's digest."""
    uid, name, owner, digest, is_protected, revision = head
    webhook = Unopened.of(Seal(name, read)) if found == digest else edited(name, read())
    return LiveWebhook(uid, owner, webhook, digest, bool(is_protected), revision, found == digest)


def edited(name: str, document: bytes) -> Webhook:
    """The webhook of a document that somebody edited; it was applied by this name and may have another now."""
    try:
        return Webhook.from_document(document)
    except (ValidationError, ValueError, KeyError, TypeError) as exc:
        hint = "somebody edited its document in the database, to something that is no webhook: restore a backup"
        raise StoreError(f"a stored webhook cannot be read: {name}", hint=hint) from exc


def revision_of(found: Sequence[Any], changes: tuple[dict[str, Any], ...] = ()) -> Revision:
    """The revision of REVISION_COLUMNS."""
    number, applied_at, applied_by, commit, owner, created, updated, renamed, deleted, *origin = found
    counts = (created, updated, renamed, deleted)
    return Revision(number, applied_at, applied_by, commit, owner, *counts, changes, *origin)
