"""What a plan must know, as rows: what is live, each webhook with its document, what is under way, and the history.

Used by `revision`, `proposal`, `publish`, `delivery` and the process that reads ahead of a command. Imports little.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import apsw
import orjson

from reconciler.errors import NotInStoreError
from reconciler.store.sqlite.connection import array, pack, row, rows, value

READ_ROWS: Final = 1000  # at once, as one JSON value: ten thousand would hold others up
READ_DOCUMENTS: Final = 200  # likewise; some 400 KB

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

REVISION_COLUMNS: Final = (
    "number, applied_at, applied_by, git_commit, owner, created, updated, renamed, deleted, manifest_digest, restores,"
    " reason, adopted, forgotten"
)
HISTORY: Final = f"""
SELECT {REVISION_COLUMNS} FROM revisions WHERE :before IS NULL OR number < :before ORDER BY number DESC LIMIT :limit
"""
HOLDS: Final = "SELECT owner, held_at, held_by, reason FROM holds ORDER BY owner"
UNFINISHED: Final = """
SELECT json_group_array(json_array(webhook_uid, pending - doomed + in_flight)) FROM lanes
WHERE pending - doomed + in_flight > 0
"""


class Header(NamedTuple):
    """A state but for its webhooks. `number` is its revision, `is_live` whether that is the newest; `policies` are
    (owner, JSON)."""

    lineage: str
    number: int
    is_live: bool
    commit: str | None
    policies: Sequence[tuple[str, str]]


def read_header(db: apsw.Connection, revision: int | None) -> Header:
    """Of what is live now, or at `revision`. Raises NotInStoreError for a revision that never was."""
    lineage, live = row(db, "SELECT lineage, live_revision FROM store") or ("", 0)
    number = live if revision is None else revision
    if not 0 <= number <= live:
        raise NotInStoreError(f"there is no revision {number}: the live one is {live}", hint="see `reconciler history`")
    commit = value(db, "SELECT git_commit FROM revisions WHERE number = :number", number=number)
    policies = [(str(owner), str(body)) for owner, body in rows(db, _POLICIES_AT, number=number)]
    return Header(lineage, number, number == live, commit, policies)


def read_webhooks(db: apsw.Connection, header: Header) -> Iterator[tuple[list[Any], bytes]]:
    """(uid, name, owner, digest, is_protected, revision) of each webhook of a state, with its document."""
    return with_documents(db, _LIVE if header.is_live else _LIVE_AT, number=header.number)


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
