"""The verbs of RevisionStore that read, on a connection: applied states and their history; and holds.

The one that applies is `publish`.
"""

import hashlib
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import apsw

from reconciler.errors import NotInStoreError
from reconciler.models.audit import UNKNOWN, AuditAction, Deed, Warrant
from reconciler.models.delivery import iso_time
from reconciler.models.revision import Hold, LiveState, LiveWebhook, Revision
from reconciler.models.unopened import Seal, Unopened
from reconciler.models.webhook import Webhook, WebhookName
from reconciler.store.base import Page
from reconciler.store.sqlite import live
from reconciler.store.sqlite.audit import append
from reconciler.store.sqlite.connection import array, row, rows, run, value
from reconciler.store.sqlite.live import HISTORY, HOLDS, REVISION_COLUMNS
from reconciler.store.sqlite.state import edited, revision_of, state_of
from reconciler.store.sqlite.text import load, storable

KEPT_DOCUMENTS: Final = 16_384  # a daemon loads all webhooks at each revision, and most are those it has
NUMBER_MAX_DIGITS: Final = 18  # within 64 bits

_KEPT: Final[dict[tuple[str, str], Webhook]] = {}  # by name and digest

_CHANGES: Final = "SELECT json_group_array(body ORDER BY position) FROM changes WHERE plan_id = :plan_id"


def live_revision(db: apsw.Connection) -> int:
    """The number of the live revision; 0 before the first apply."""
    return int(value(db, "SELECT live_revision FROM store"))


def live_state(db: apsw.Connection, revision: int | None) -> LiveState:
    """Every webhook live now, or at `revision`. Raises StoreError for a revision that never was."""
    found = live.read_header(db, revision)
    webhooks = [live_webhook(*item) for item in live.read_webhooks(db, found)]
    return state_of(webhooks, found.lineage, found.number, found.commit, found.policies)


def _webhook(name: str, document: bytes, digest: str) -> Webhook:
    """The webhook of a stored document with this digest, which is read when somebody looks into it; the same for the
    same document, as long as there is room."""
    key = (name, digest)
    webhook = _KEPT.get(key)
    if webhook is None:
        if len(_KEPT) >= KEPT_DOCUMENTS:
            _KEPT.clear()
        webhook = _KEPT[key] = Unopened.of(Seal(WebhookName(name), partial(bytes, document)))
    return webhook


def live_webhook(head: Sequence[Any], document: bytes) -> LiveWebhook:
    """The webhook of (uid, name, owner, digest, is_protected, revision) and its document."""
    uid, name, owner, digest, is_protected, revision = head
    found = hashlib.sha256(document).hexdigest()
    webhook = _webhook(name, document, found) if found == digest else edited(name, document)
    return LiveWebhook(uid, owner, webhook, digest, bool(is_protected), revision, is_intact=found == digest)


def revisions(db: apsw.Connection, page: Page) -> tuple[Revision, ...]:
    """The history, newest first, without `changes`."""
    before = None
    if page.before is not None:
        if not (page.before.isascii() and page.before.isdigit() and len(page.before) <= NUMBER_MAX_DIGITS):
            raise NotInStoreError(f"not the number of a revision: {page.before}")
        before = int(page.before)
    return tuple(revision_of(found) for found in rows(db, HISTORY, before=before, limit=page.limit))


def revision(db: apsw.Connection, number: int) -> Revision | None:
    """One revision with its changes."""
    found = row(db, f"SELECT {REVISION_COLUMNS}, plan_id FROM revisions WHERE number = :number", number=number)
    if found is None:
        return None
    changes = array(db, _CHANGES, plan_id=found[-1])
    return revision_of(found[:-1], tuple(load(body) for body in changes))


def holds(db: apsw.Connection) -> tuple[Hold, ...]:
    """The owners whose applies are refused, sorted by owner."""
    return tuple(Hold(*found) for found in rows(db, HOLDS))


def set_hold(db: apsw.Connection, owner: str, hold: Hold | None, warrant: Warrant = UNKNOWN) -> None:
    """Refuse the owner's applies, or release them."""
    if hold is None:
        released = value(db, "DELETE FROM holds WHERE owner = :owner RETURNING held_at", owner=storable(owner))
        if released is not None:
            append(db, Deed(AuditAction.RELEASE, owner, {"held_at": iso_time(released)}, warrant))
        return
    append(db, Deed(AuditAction.HOLD, owner, {"held_by": hold.held_by, "why": hold.reason}, warrant), at=hold.held_at)
    run(
        db,
        "INSERT OR REPLACE INTO holds (owner, held_at, held_by, reason) VALUES (:owner, :held_at, :held_by, :reason)",
        owner=storable(owner),
        held_at=hold.held_at,
        held_by=storable(hold.held_by),
        reason=storable(hold.reason),
    )
