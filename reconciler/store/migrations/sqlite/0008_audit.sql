-- Who did what to the store: append-only, each entry naming the digest of the one before (`models.audit`).

CREATE TABLE audit_entries (
    number INTEGER PRIMARY KEY CHECK (number >= 1),
    digest TEXT NOT NULL UNIQUE,  -- SHA-256 of the body
    body TEXT NOT NULL            -- canonical JSON
) STRICT;

-- Where the log ends, so that entries which are gone from its end are missed.
CREATE TABLE audit_head (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    number INTEGER NOT NULL CHECK (number >= 0),
    digest TEXT NOT NULL  -- '' before the first entry
) STRICT;

INSERT INTO audit_head (id, number, digest) VALUES (1, 0, '');

CREATE TRIGGER audit_entries_updated BEFORE UPDATE ON audit_entries BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

CREATE TRIGGER audit_entries_deleted BEFORE DELETE ON audit_entries BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

-- Also `INSERT OR REPLACE` would put one entry in the place of another.
CREATE TRIGGER audit_entries_inserted BEFORE INSERT ON audit_entries
WHEN NEW.number <> (SELECT number + 1 FROM audit_head) OR EXISTS (SELECT 1 FROM audit_entries WHERE digest = NEW.digest)
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

CREATE TRIGGER audit_entries_appended AFTER INSERT ON audit_entries BEGIN
    UPDATE audit_head SET number = NEW.number, digest = NEW.digest;
END;

CREATE TRIGGER audit_head_deleted BEFORE DELETE ON audit_head BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

CREATE TRIGGER audit_head_updated BEFORE UPDATE ON audit_head
WHEN NEW.number <> OLD.number + 1 OR NOT EXISTS
    (SELECT 1 FROM audit_entries WHERE number = NEW.number AND digest = NEW.digest)
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
