"""The verbs of RevisionStore on a connection: applied states, and the compare-and-set that adds one.

Bulky rows (documents, changes) are staged in small transactions before; staged rows that no revision names are
invisible and harmless. The flip writes small rows only, so a serving daemon hardly waits for it.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import apsw
import orjson
from pydantic import ValidationError

from reconciler.errors import NotInStoreError, RefusedError, StalePlanError, StoreError
from reconciler.models.audit import UNKNOWN, AuditAction, Deed, Warrant, canonical
from reconciler.models.delivery import Reason, iso_time
from reconciler.models.revision import NOBODY, ChangeSet, Hold, LiveState, LiveWebhook, Revision
from reconciler.models.unopened import Seal, Unopened
from reconciler.models.webhook import Policy, Webhook, WebhookName, WebhookUid
from reconciler.store.base import Page
from reconciler.store.sqlite.audit import append
from reconciler.store.sqlite.connection import Row, array, pack, row, rows, run, value
from reconciler.store.sqlite.flow import doom
from reconciler.store.sqlite.text import dump, load, storable, storable_or_none

STAGE_ROWS: Final = 500  # about 1 MB, some 10 ms
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
_REVISION: Final = (
    "number, applied_at, applied_by, git_commit, owner, created, updated, renamed, deleted, manifest_digest, restores,"
    " reason, adopted, forgotten"
)


def live_revision(db: apsw.Connection) -> int:
    """The number of the live revision; 0 before the first apply."""
    return int(value(db, "SELECT live_revision FROM store"))


def live_state(db: apsw.Connection, revision: int | None) -> LiveState:
    """Every webhook live now, or at `revision`. Raises StoreError for a revision that never was."""
    lineage, live = row(db, "SELECT lineage, live_revision FROM store") or ("", 0)
    number = live if revision is None else revision
    if not 0 <= number <= live:
        raise NotInStoreError(f"there is no revision {number}: the live one is {live}", hint="see `reconciler history`")
    found = _versions(db, _LIVE if number == live else _LIVE_AT, number)
    return LiveState(
        lineage=lineage,
        revision=number,
        commit=value(db, "SELECT git_commit FROM revisions WHERE number = :number", number=number),
        webhooks=tuple(sorted((_live_webhook(*item) for item in found), key=lambda item: item.webhook.name)),
        policies={
            owner: Policy.model_validate(load(body), strict=False)
            for owner, body in rows(db, _POLICIES_AT, number=number)
        },
    )


def _versions(db: apsw.Connection, sql: str, number: int) -> Iterator[tuple[list[Any], bytes]]:
    """What is live, each with its document. What a revision deleted has none."""
    by_document: dict[int, list[list[Any]]] = {}
    after = ""
    while True:
        heads = array(db, sql, number=number, after=after, limit=READ_ROWS)
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


def _live_webhook(head: Sequence[Any], document: bytes) -> LiveWebhook:
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
    sql = (
        f"SELECT {_REVISION} FROM revisions WHERE :before IS NULL OR number < :before ORDER BY number DESC LIMIT :limit"
    )
    return tuple(_revision(found) for found in rows(db, sql, before=before, limit=page.limit))


def revision(db: apsw.Connection, number: int) -> Revision | None:
    """One revision with its changes."""
    found = row(db, f"SELECT {_REVISION}, plan_id FROM revisions WHERE number = :number", number=number)
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


# Publishing ---------------------------------------------------------------------------------------------------------


def check_base(db: apsw.Connection, change_set: ChangeSet) -> int:
    """The live revision if the change set may be applied to it. Raises StalePlanError, and RefusedError for one that
    comes while its owner's applies are on hold."""
    lineage, live = row(db, "SELECT lineage, live_revision FROM store") or ("", 0)
    used_by = value(db, "SELECT number FROM revisions WHERE plan_id = :plan_id", plan_id=change_set.plan_id)
    base = change_set.base_revision
    if used_by is not None:
        fact = f"the plan has been applied already: revision {used_by}"
    elif change_set.lineage == "" and live > 0:
        fact = f"the plan was made when there was no store, and this one is at revision {live}"
    elif change_set.lineage not in ("", lineage):
        fact = f"the plan was made for another store: lineage {change_set.lineage}"
    elif base != live:
        fact = f"the store has moved on since the plan was made: from revision {base} to {live}"
    else:
        _check_hold(db, change_set)
        return int(live)
    raise StalePlanError(
        fact,
        base_revision=base,
        live_revision=live,
        hint="plan again; nothing was changed",
        is_used=used_by is not None,
    )


def _check_hold(db: apsw.Connection, change_set: ChangeSet) -> None:
    if change_set.restores is not None:
        return
    held = next((hold for hold in holds(db) if hold.owner == storable(change_set.owner)), None)
    if held is not None:
        raise RefusedError(held.fact, hint=held.way_out)


def document_portions(upserts: Sequence[LiveWebhook]) -> Iterator[list[tuple[str, str]]]:
    """(SHA-256, canonical document) of each webhook in order, in portions for `stage_documents`."""
    for start in range(0, len(upserts), STAGE_ROWS):
        bodies = [live.webhook.canonical() for live in upserts[start : start + STAGE_ROWS]]
        yield [(hashlib.sha256(body).hexdigest(), body.decode()) for body in bodies]


def stage_documents(db: apsw.Connection, portion: list[tuple[str, str]]) -> None:
    """Write documents, each once whatever names it; one that was edited by hand is set right."""
    run(
        db,
        "INSERT INTO documents (sha256, body) SELECT value ->> 0, value ->> 1 FROM jsonb_each(:portion) WHERE true"
        " ON CONFLICT (sha256) DO UPDATE SET body = excluded.body WHERE body <> excluded.body",
        portion=pack(portion),
    )


def change_portions(changes: Sequence[dict[str, Any]]) -> Iterator[list[tuple[int, str]]]:
    """(position, JSON) of each change, in portions for `stage_changes`."""
    for start in range(0, len(changes), STAGE_ROWS):
        yield [(start + offset, dump(change)) for offset, change in enumerate(changes[start : start + STAGE_ROWS])]


def stage_changes(db: apsw.Connection, plan_id: str, portion: list[tuple[int, str]]) -> None:
    """Write the changes of a plan; a plan's second apply stages the same ones."""
    run(
        db,
        "INSERT INTO changes (plan_id, position, body) SELECT :plan_id, value ->> 0, value ->> 1"
        " FROM jsonb_each(:portion) WHERE true ON CONFLICT (plan_id, position) DO NOTHING",
        plan_id=plan_id,
        portion=pack(portion),
    )


def flip(db: apsw.Connection, change_set: ChangeSet, documents: Sequence[str], deed: Deed | None = None) -> Revision:
    """Compare the base and set the new revision. `documents` are the SHA-256 of the upserts' documents, which have
    been staged, as the changes have; `deed` is that of `deed_of`, made before. Raises StalePlanError, and StoreError
    for two webhooks of one name."""
    told = deed or deed_of(change_set, UNKNOWN)
    made = Revision(
        number=check_base(db, change_set) + 1,
        applied_at=change_set.applied_at,
        applied_by=storable(change_set.applied_by),
        commit=storable_or_none(change_set.commit),
        owner=change_set.owner,
        created=change_set.created,
        updated=change_set.updated,
        renamed=change_set.renamed,
        deleted=change_set.deleted,
        changes=change_set.changes,
        manifest_digest=change_set.manifest_digest,
        restores=change_set.restores,
        reason=storable(change_set.reason),
        adopted=change_set.adopted,
        forgotten=change_set.forgotten,
    )
    columns: Row = (made.number, made.applied_at, made.applied_by, made.commit, made.owner)
    counts: Row = (made.created, made.updated, made.renamed, made.deleted)
    origin: Row = (made.manifest_digest, made.restores, made.reason, made.adopted, made.forgotten)
    db.execute(
        f"INSERT INTO revisions ({_REVISION}, plan_id) VALUES ({', '.join('?' * 15)})",
        (*columns, *counts, *origin, change_set.plan_id),
    )
    if change_set.hold is not None:
        set_hold(db, change_set.owner, change_set.hold, told.warrant)
    _write_versions(db, change_set, made.number, documents)
    _write_released(db, change_set.released, made.number)
    if change_set.policy is not None:
        body = dump(change_set.policy.model_dump(mode="json"))
        db.execute("INSERT INTO policies (owner, revision, body) VALUES (?, ?, ?)", (made.owner, made.number, body))
    run(db, "UPDATE store SET live_revision = :number", number=made.number)
    doom(db, change_set.deletes, Reason.WEBHOOK_DELETED)
    inactive = [live.uid for live in change_set.upserts if not live.webhook.is_active]
    doom(db, inactive, Reason.WEBHOOK_INACTIVE)
    facts = {key: value for key, value in made.to_json().items() if key not in ("applied_at", "reason", "owner")}
    append(db, replace(told, details={**facts, **told.details}), at=made.applied_at)
    return made


def deed_of(change_set: ChangeSet, warrant: Warrant) -> Deed:
    """What the audit log tells of a revision, beside its numbers: its plan and the SHA-256 of what it writes. Made
    before the transaction, for of ten thousand webhooks it takes a while."""
    written = written_sha256(
        ([live.uid, live.webhook.name, live.digest] for live in change_set.upserts),
        deletes=change_set.deletes,
        released=change_set.released,
        policy=None if change_set.policy is None else change_set.policy.model_dump(mode="json"),
    )
    return Deed(
        AuditAction.APPLY if change_set.restores is None else AuditAction.ROLLBACK,
        change_set.owner,
        {"plan_id": change_set.plan_id, "written_sha256": written},
        replace(warrant, reason=warrant.reason or change_set.reason),
    )


def written_sha256(
    upserts: Iterable[list[str]], *, deletes: Iterable[str], released: Iterable[str], policy: Any
) -> str:
    """The digest of what a revision writes, `upserts` as [uid, name, digest]; the order is of no matter."""
    written = {
        "upserts": sorted(upserts),
        "deletes": sorted(deletes),
        "released": sorted(released),
        "policy": policy,
    }
    return hashlib.sha256(canonical(written).encode()).hexdigest()


def _write_versions(db: apsw.Connection, change_set: ChangeSet, number: int, documents: Sequence[str]) -> None:
    upserts = pack(
        [
            [live.uid, live.webhook.name, live.owner, live.digest, int(live.is_protected), document]
            for live, document in zip(change_set.upserts, documents, strict=True)
        ]
    )
    deletes = pack(list(change_set.deletes))
    touched = pack([*change_set.deletes, *(live.uid for live in change_set.upserts)])
    run(
        db,
        "INSERT INTO webhook_versions (uid, revision, name, owner, digest, is_protected, document_id)"
        " SELECT v.uid, :number, v.name, v.owner, v.digest, 0, NULL"
        " FROM live_webhooks l JOIN webhook_versions v ON v.uid = l.uid AND v.revision = l.revision"
        " WHERE l.uid IN (SELECT value FROM json_each(:deletes))",
        number=number,
        deletes=deletes,
    )
    run(
        db,
        "INSERT INTO webhook_versions (uid, revision, name, owner, digest, is_protected, document_id)"
        " SELECT u.value ->> 0, :number, u.value ->> 1, u.value ->> 2, u.value ->> 3, u.value ->> 4,"
        " (SELECT id FROM documents WHERE sha256 = u.value ->> 5) FROM jsonb_each(:upserts) u",
        number=number,
        upserts=upserts,
    )
    run(db, "DELETE FROM live_webhooks WHERE uid IN (SELECT value FROM json_each(:touched))", touched=touched)
    _refuse_twins(db, upserts)
    run(
        db,
        "INSERT INTO live_webhooks (uid, name, revision)"
        " SELECT value ->> 0, value ->> 1, :number FROM jsonb_each(:upserts)",
        number=number,
        upserts=upserts,
    )


def _write_released(db: apsw.Connection, released: Sequence[WebhookUid], number: int) -> None:
    """Give webhooks to nobody; what is stored of them stays, also where it is not what a document would be made of."""
    uids = pack(list(released))
    run(
        db,
        "INSERT INTO webhook_versions (uid, revision, name, owner, digest, is_protected, document_id)"
        " SELECT v.uid, :number, v.name, :nobody, v.digest, v.is_protected, v.document_id"
        " FROM live_webhooks l JOIN webhook_versions v ON v.uid = l.uid AND v.revision = l.revision"
        " WHERE l.uid IN (SELECT value FROM json_each(:released))",
        number=number,
        nobody=NOBODY,
        released=uids,
    )
    run(
        db,
        "UPDATE live_webhooks SET revision = :number WHERE uid IN (SELECT value FROM json_each(:released))",
        number=number,
        released=uids,
    )


def _refuse_twins(db: apsw.Connection, upserts: str) -> None:
    twin = value(
        db,
        "SELECT name FROM (SELECT value ->> 1 AS name FROM jsonb_each(:upserts)) GROUP BY name"
        " HAVING count(*) > 1 OR name IN (SELECT name FROM live_webhooks) LIMIT 1",
        upserts=upserts,
    )
    if twin is not None:
        raise NotInStoreError(f"two live webhooks would have one name: {twin}", hint="names are unique in a store")
