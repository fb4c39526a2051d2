"""The verbs of ProposalStore on a connection: what an apply has staged, as the daemon sees it before it is live."""

from typing import Final

import apsw
import orjson

from reconciler.models.revision import ChangeSet
from reconciler.store.proposal import Proposal, Proposed, Stage
from reconciler.store.sqlite.connection import row, run, value
from reconciler.store.sqlite.live import with_documents
from reconciler.store.sqlite.revision import live_webhook
from reconciler.store.sqlite.text import storable

MANY: Final = 500  # webhooks, before or after; fewer are loaded in less time than a daemon is asked

_PROPOSED: Final = """
SELECT id, base_revision FROM proposals
WHERE stage = 'made' AND base_revision = (SELECT live_revision FROM store) LIMIT 1
"""
_STAGED: Final = """
SELECT json_group_array(json_array(uid, name, owner, digest, is_protected, :revision, document_id)) FROM (
    SELECT * FROM staged_webhooks WHERE proposal_id = :id AND uid > :after ORDER BY uid LIMIT :limit)
"""


def is_large(db: apsw.Connection, change_set: ChangeSet) -> bool:
    """Whether a daemon should be ready before it is live."""
    return len(change_set.upserts) >= MANY or value(db, "SELECT count(*) FROM live_webhooks") >= MANY


def stage_of(db: apsw.Connection, proposal_id: str) -> Stage | None:
    """How far the daemon is; None once it is withdrawn."""
    found = value(db, "SELECT stage FROM proposals WHERE id = :id", id=proposal_id)
    return None if found is None else Stage(found)


def set_stage(db: apsw.Connection, proposal_id: str, stage: Stage) -> None:
    """Tell the other side how far one is."""
    run(db, "UPDATE proposals SET stage = :stage WHERE id = :id", stage=stage.value, id=proposal_id)


def proposed(db: apsw.Connection) -> Proposed | None:
    """One to be taken."""
    found = row(db, _PROPOSED)
    return None if found is None else Proposed(str(found[0]), int(found[1]))


def proposal(db: apsw.Connection, proposal_id: str) -> Proposal | None:
    """The whole of one that is not live yet."""
    found = row(
        db, "SELECT base_revision, body FROM proposals WHERE id = :id AND revision IS NULL", id=storable(proposal_id)
    )
    if found is None:
        return None
    base, said = int(found[0]), orjson.loads(found[1])
    staged = with_documents(db, _STAGED, id=proposal_id, revision=base + 1)
    return Proposal(
        id=proposal_id,
        base_revision=base,
        commit=said["commit"],
        upserts=tuple(live_webhook(head, document) for head, document in staged),
        deletes=tuple(said["deletes"]),
        released=tuple(said["released"]),
    )


def proposal_of(db: apsw.Connection, revision: int) -> str | None:
    """The proposal that has become this revision, as long as no later one has come."""
    found = value(db, "SELECT id FROM proposals WHERE revision = :number", number=revision)
    return None if found is None else str(found)
