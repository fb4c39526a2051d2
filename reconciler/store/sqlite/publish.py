"""The verb of RevisionStore that applies, on a connection: stage, then compare and set.

Called by `store`. Bulky rows (documents, what is to be live, changes) are staged in small transactions; staged rows
that no revision names are invisible and harmless. The flip copies them within the file, so a serving daemon hardly
waits.
"""

import hashlib
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

import apsw
import orjson

from reconciler.errors import NotInStoreError, RefusedError, StalePlanError
from reconciler.models.audit import UNKNOWN, AuditAction, Deed, Warrant, canonical
from reconciler.models.delivery import Reason
from reconciler.models.revision import NOBODY, ChangeSet, LiveWebhook, Revision
from reconciler.models.webhook import WebhookUid
from reconciler.store.sqlite.audit import append
from reconciler.store.sqlite.connection import Row, pack, row, run, value
from reconciler.store.sqlite.flow import doom
from reconciler.store.sqlite.live import REVISION_COLUMNS
from reconciler.store.sqlite.revision import holds, set_hold
from reconciler.store.sqlite.text import dump, storable, storable_or_none

STAGE_ROWS: Final = 500  # about 1 MB, some 15 ms

_STALE: Final = """
base_revision < (SELECT live_revision FROM store) AND revision IS NOT (SELECT live_revision FROM store)
"""
_DELETED_VERSIONS: Final = """
INSERT INTO webhook_versions (uid, revision, name, owner, digest, is_protected, document_id)
SELECT v.uid, :number, v.name, v.owner, v.digest, 0, NULL
FROM live_webhooks l JOIN webhook_versions v ON v.uid = l.uid AND v.revision = l.revision
WHERE l.uid IN (SELECT value FROM json_each(:deletes))
"""
# In the order of the table that is written: ten thousand rows go in twice as fast.
_VERSIONS: Final = """
INSERT INTO webhook_versions (uid, revision, name, owner, digest, is_protected, document_id)
SELECT uid, :number, name, owner, digest, is_protected, document_id
FROM staged_webhooks WHERE proposal_id = :id ORDER BY uid
"""
_RENAMED: Final = """
DELETE FROM live_webhooks WHERE uid IN (
    SELECT l.uid FROM staged_webhooks s CROSS JOIN live_webhooks l ON l.uid = s.uid
    WHERE s.proposal_id = :id AND l.name <> s.name)
"""
_TWIN: Final = """
SELECT coalesce(
    (SELECT name FROM staged_webhooks WHERE proposal_id = :id GROUP BY name HAVING count(*) > 1 LIMIT 1),
    (SELECT s.name FROM staged_webhooks s CROSS JOIN live_webhooks l ON l.name = s.name
     WHERE s.proposal_id = :id AND l.uid <> s.uid LIMIT 1))
"""
_LIVE: Final = """
INSERT INTO live_webhooks (uid, name, revision)
SELECT uid, name, :number FROM staged_webhooks WHERE proposal_id = :id ORDER BY uid
ON CONFLICT (uid) DO UPDATE SET revision = excluded.revision
"""


@dataclass(frozen=True, slots=True)
class Staging:
    """A change set on its way in, with what can be told of it before the transaction that sets it."""

    id: str
    change_set: ChangeSet = field(repr=False)
    inactive: tuple[WebhookUid, ...]
    deed: Deed = field(repr=False)
    body: str = field(repr=False)

    @classmethod
    def of(cls, change_set: ChangeSet, warrant: Warrant = UNKNOWN) -> Self:
        """A staging of its own, also of a plan that another process stages at the same time."""
        said = {
            "commit": storable_or_none(change_set.commit),
            "deletes": list(change_set.deletes),
            "released": list(change_set.released),
        }
        return cls(
            id=uuid.uuid4().hex,
            change_set=change_set,
            inactive=tuple(live.uid for live in change_set.upserts if not live.webhook.is_active),
            deed=_deed_of(change_set, warrant),
            body=orjson.dumps(said).decode(),
        )


@dataclass(frozen=True, slots=True)
class Portion:
    """Some upserts: (SHA-256, canonical document) of each, and what else is to be staged, with that SHA-256."""

    documents: list[tuple[str, str]]
    heads: list[list[Any]]


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


def portions(upserts: Sequence[LiveWebhook]) -> Iterator[Portion]:
    """All upserts, for `stage`; at least one portion."""
    for start in range(0, max(1, len(upserts)), STAGE_ROWS):
        documents, heads = [], []
        for live in upserts[start : start + STAGE_ROWS]:
            body = live.webhook.canonical()
            sha256 = hashlib.sha256(body).hexdigest()
            documents.append((sha256, body.decode()))
            heads.append([live.uid, live.webhook.name, live.owner, live.digest, int(live.is_protected), sha256])
        yield Portion(documents, heads)


def stage(db: apsw.Connection, staging: Staging, portion: Portion) -> None:
    """Write documents, each once whatever names it, one that was edited by hand being set right; and what of them is to
    be live."""
    _begin(db, staging)
    run(
        db,
        "INSERT INTO documents (sha256, body) SELECT value ->> 0, value ->> 1 FROM jsonb_each(:portion) WHERE true"
        " ON CONFLICT (sha256) DO UPDATE SET body = excluded.body WHERE body <> excluded.body",
        portion=pack(portion.documents),
    )
    run(
        db,
        "INSERT INTO staged_webhooks (proposal_id, uid, name, owner, digest, is_protected, document_id)"
        " SELECT :id, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4,"
        " (SELECT id FROM documents WHERE sha256 = value ->> 5) FROM jsonb_each(:heads)",
        id=staging.id,
        heads=pack(portion.heads),
    )


def _begin(db: apsw.Connection, staging: Staging) -> None:
    """Once for each staging; forget those of applies that were killed or have lost."""
    if value(db, "SELECT 1 FROM proposals WHERE id = :id", id=staging.id) is not None:
        return
    run(db, f"DELETE FROM staged_webhooks WHERE proposal_id IN (SELECT id FROM proposals WHERE {_STALE})")
    run(db, f"DELETE FROM proposals WHERE {_STALE}")
    run(
        db,
        "INSERT INTO proposals (id, base_revision, stage, body) VALUES (:id, :base, 'staging', :body)",
        id=staging.id,
        base=staging.change_set.base_revision,
        body=staging.body,
    )


def withdraw(db: apsw.Connection, staging: Staging) -> None:
    """It will never be applied."""
    run(db, "DELETE FROM staged_webhooks WHERE proposal_id = :id", id=staging.id)
    run(db, "DELETE FROM proposals WHERE id = :id", id=staging.id)


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


def flip(db: apsw.Connection, staging: Staging) -> Revision:
    """Compare the base and set the new revision; everything has been staged. Raises StalePlanError, and NotInStoreError
    for two webhooks of one name."""
    change_set = staging.change_set
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
        f"INSERT INTO revisions ({REVISION_COLUMNS}, plan_id) VALUES ({', '.join('?' * 15)})",
        (*columns, *counts, *origin, change_set.plan_id),
    )
    if change_set.hold is not None:
        set_hold(db, change_set.owner, change_set.hold, staging.deed.warrant)
    _write_versions(db, staging, made.number)
    _write_released(db, change_set.released, made.number)
    if change_set.policy is not None:
        body = dump(change_set.policy.model_dump(mode="json"))
        db.execute("INSERT INTO policies (owner, revision, body) VALUES (?, ?, ?)", (made.owner, made.number, body))
    run(db, "UPDATE store SET live_revision = :number", number=made.number)
    doom(db, change_set.deletes, Reason.WEBHOOK_DELETED)
    doom(db, staging.inactive, Reason.WEBHOOK_INACTIVE)
    facts = {key: value for key, value in made.to_json().items() if key not in ("applied_at", "reason", "owner")}
    append(db, replace(staging.deed, details={**facts, **staging.deed.details}), at=made.applied_at)
    run(db, "DELETE FROM staged_webhooks WHERE proposal_id = :id", id=staging.id)
    run(db, "UPDATE proposals SET revision = :number, body = '{}' WHERE id = :id", number=made.number, id=staging.id)
    return made


def _deed_of(change_set: ChangeSet, warrant: Warrant) -> Deed:
    """What the audit log tells of a revision, beside its numbers: its plan and the SHA-256 of what it writes. Made
    before the transaction: of ten thousand webhooks it takes a while."""
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


def _write_versions(db: apsw.Connection, staging: Staging, number: int) -> None:
    deletes = pack(list(staging.change_set.deletes))
    run(db, _DELETED_VERSIONS, number=number, deletes=deletes)
    run(db, _VERSIONS, number=number, id=staging.id)
    run(db, "DELETE FROM live_webhooks WHERE uid IN (SELECT value FROM json_each(:deletes))", deletes=deletes)
    run(db, _RENAMED, id=staging.id)
    twin = value(db, _TWIN, id=staging.id)
    if twin is not None:
        raise NotInStoreError(f"two live webhooks would have one name: {twin}", hint="names are unique in a store")
    run(db, _LIVE, number=number, id=staging.id)


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
