"""The verbs of RevisionStore that read, on a connection: applied states and their history; and holds.

The one that applies is `publish`.
"""

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final

import apsw
import orjson
from pydantic import ValidationError

from reconciler.errors import NotInStoreError, StoreError
from reconciler.models.audit import UNKNOWN, AuditAction, Deed, Warrant
from reconciler.models.delivery import iso_time
from reconciler.models.revision import Hold, LiveState, LiveWebhook, Revision
from reconciler.models.unopened import Seal, Unopened
from reconciler.models.webhook import Policy, Webhook, WebhookName
from reconciler.store.base import Page
from reconciler.store.sqlite.audit import append
from reconciler.store.sqlite.connection import Row, array, pack, row, rows, run, value
from reconciler.store.sqlite.text import load, storable

READ_ROWS: Final = 1000  # at once, as one JSON value: ten thousand would hold others up
READ_DOCUMENTS: Final = 200  # likewise; some 400 KB
KEPT_DOCUMENTS: Final = 16_384  # a daemon loads all webhooks at each revision, and most are those it has
NUMBER_MAX_DIGITS: Final = 18  # within 64 bits

_KEPT: Final[dict[tuple[str, str], Webhook]] = {}  # by name and digest

_VERSIONS: Final = """
SELECT json_group_array(json_array(v.uid, v.name, v.owner, v.digest, v.is_protected, v.revision, v.document_id))
FROM ({live}) l JOIN webhook_versions v ON v.uid = l.uid AND v.revision = l.revision
"""
# As they are, one after the other: to escape them for JSON would take longer than all else. In the order in which they
# lie in the file: in that of the webhooks, ten thousand were read through the page cache three times as long.
_DOCUMENTS: Final = """
SELECT json_group_array(json_array(id, octet_length(body))), CAST(group_concat(body, '') AS BLOB)
FROM (SELECT id, body FROM documents WHERE id IN (SELECT value FROM json_each(:ids)) ORDER BY id)
"""
_LIVE: Final = _VERSIONS.format(
    live="SELECT uid, revision FROM live_webhooks WHERE uid > :after ORDER BY uid LIMIT :limit"
)
_LIVE_AT: Final = _VERSIONS.format(
    live="SELECT uid, max(revision) AS revision FROM webhook_versions WHERE uid > :after AND revision <= :number"
    " GROUP BY uid ORDER BY uid LIMIT :limit"
)
_POLICIES_AT: Final = """
SELECT p.owner, p.body FROM policies p
WHERE p.revision = (SELECT max(revision) FROM policies WHERE owner = p.owner AND revision <= :number) ORDER BY p.owner
"""
_CHANGES: Final = "SELECT json_group_array(body ORDER BY position) FROM changes WHERE plan_id = :plan_id"
REVISION_COLUMNS: Final = (
    "number, applied_at, applied_by, git_commit, owner, created, updated, renamed, deleted, manifest_digest, restores,"
    " reason, adopted, forgotten"
)
_HISTORY: Final = f"""
SELECT {REVISION_COLUMNS} FROM revisions WHERE :before IS NULL OR number < :before ORDER BY number DESC LIMIT :limit
"""


def live_revision(db: apsw.Connection) -> int:
    """The number of the live revision; 0 before the first apply."""
    return int(value(db, "SELECT live_revision FROM store"))


def live_state(db: apsw.Connection, revision: int | None) -> LiveState:
    """Every webhook live now, or at `revision`. Raises StoreError for a revision that never was."""
    lineage, live = row(db, "SELECT lineage, live_revision FROM store") or ("", 0)
    number = live if revision is None else revision
    if not 0 <= number <= live:
        raise NotInStoreError(f"there is no revision {number}: the live one is {live}", hint="see `reconciler history`")
    found = with_documents(db, _LIVE if number == live else _LIVE_AT, number=number)
    return LiveState(
        lineage=lineage,
        revision=number,
        commit=value(db, "SELECT git_commit FROM revisions WHERE number = :number", number=number),
        webhooks=tuple(sorted((live_webhook(*item) for item in found), key=lambda item: item.webhook.name)),
        policies={
            owner: Policy.model_validate(load(body), strict=False)
            for owner, body in rows(db, _POLICIES_AT, number=number)
        },
    )


def with_documents(db: apsw.Connection, sql: str, **bindings: Any) -> Iterator[tuple[list[Any], bytes]]:
    """What a statement finds after a uid, up to a limit (uid, …, id of the document), each with its document. What a
    revision deleted has none."""
    by_document: dict[int, list[list[Any]]] = {}
    after = ""
    while True:
        heads = array(db, sql, after=after, limit=READ_ROWS, **bindings)
        for *head, document in heads:
            if document is not None:
                by_document.setdefault(document, []).append(head)
        if len(heads) < READ_ROWS:
            break
        after = max(head[0] for head in heads)
    ids = sorted(by_document)
    for first in range(0, len(ids), READ_DOCUMENTS):
        for document, body in _documents(db, ids[first : first + READ_DOCUMENTS]):
            yield from ((head, body) for head in by_document[document])


def _documents(db: apsw.Connection, ids: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    packed, bodies = row(db, _DOCUMENTS, ids=pack(ids)) or ("[]", b"")
    start = 0
    for document, size in orjson.loads(packed):
        yield document, bodies[start : start + size]
        start += size


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
    webhook = _webhook(name, document, found) if found == digest else _edited(uid, document)
    return LiveWebhook(uid, owner, webhook, digest, bool(is_protected), revision, is_intact=found == digest)


def _edited(uid: str, document: bytes) -> Webhook:
    """The webhook of a document that somebody edited, which may have another name now."""
    try:
        return Webhook.from_document(document)
    except (ValidationError, ValueError, KeyError, TypeError) as exc:
        hint = "it was edited by hand; roll back to a revision before"
        raise StoreError(f"a stored webhook cannot be read: {uid}", hint=hint) from exc


def revisions(db: apsw.Connection, page: Page) -> tuple[Revision, ...]:
    """The history, newest first, without `changes`."""
    before = None
    if page.before is not None:
        if not (page.before.isascii() and page.before.isdigit() and len(page.before) <= NUMBER_MAX_DIGITS):
            raise NotInStoreError(f"not the number of a revision: {page.before}")
        before = int(page.before)
    return tuple(_revision(found) for found in rows(db, _HISTORY, before=before, limit=page.limit))


def revision(db: apsw.Connection, number: int) -> Revision | None:
    """One revision with its changes."""
    found = row(db, f"SELECT {REVISION_COLUMNS}, plan_id FROM revisions WHERE number = :number", number=number)
    if found is None:
        return None
    changes = array(db, _CHANGES, plan_id=found[-1])
    return _revision(found[:-1], tuple(load(body) for body in changes))


def _revision(found: Row, changes: tuple[dict[str, Any], ...] = ()) -> Revision:
    number, applied_at, applied_by, commit, owner, created, updated, renamed, deleted, *origin = found
    counts = (created, updated, renamed, deleted)
    return Revision(number, applied_at, applied_by, commit, owner, *counts, changes, *origin)


def holds(db: apsw.Connection) -> tuple[Hold, ...]:
    """The owners whose applies are refused, sorted by owner."""
    return tuple(Hold(*found) for found in rows(db, "SELECT owner, held_at, held_by, reason FROM holds ORDER BY owner"))


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
