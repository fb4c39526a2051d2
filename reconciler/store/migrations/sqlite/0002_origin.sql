-- Where a revision came from, so that drift can be told, and the owners whose applies wait.

ALTER TABLE revisions ADD COLUMN manifest_digest TEXT;  -- NULL: a rollback, or older than this column
ALTER TABLE revisions ADD COLUMN restores INTEGER;      -- the revision that a rollback went back to
ALTER TABLE revisions ADD COLUMN reason TEXT NOT NULL DEFAULT '';

CREATE TABLE holds (
    owner TEXT PRIMARY KEY,
    held_at INTEGER NOT NULL,
    held_by TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT, WITHOUT ROWID;
