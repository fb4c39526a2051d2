-- What an apply is about to set: staged in small transactions, shown to the daemon, and read by the flip. An apply that
-- was killed leaves its rows; the next one deletes them.
CREATE TABLE proposals (
    id TEXT PRIMARY KEY,
    base_revision INTEGER NOT NULL,
    stage TEXT NOT NULL CHECK (stage IN ('staging', 'made', 'taken', 'done')),
    body TEXT NOT NULL,  -- JSON: the commit, the uids that are deleted and those that are released
    revision INTEGER     -- that it has become
) STRICT;

CREATE TABLE staged_webhooks (
    proposal_id TEXT NOT NULL,
    uid TEXT NOT NULL,
    name TEXT NOT NULL,
    owner TEXT NOT NULL,
    digest TEXT NOT NULL,
    is_protected INTEGER NOT NULL,
    document_id INTEGER NOT NULL REFERENCES documents (id),
    PRIMARY KEY (proposal_id, uid)
) STRICT, WITHOUT ROWID;
