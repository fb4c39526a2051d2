-- Times are milliseconds since the epoch, UTC; names ending in _us hold microseconds.

CREATE TABLE store (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    lineage TEXT NOT NULL,
    live_revision INTEGER NOT NULL DEFAULT 0 CHECK (live_revision >= 0),
    lanes_revision INTEGER NOT NULL DEFAULT 0,  -- of the last `configure`
    last_token INTEGER NOT NULL DEFAULT 0       -- fencing: one token a claim, never given twice
) STRICT;

-- A random UUID (RFC 9562, version 4): a plan made for another store is told by it.
INSERT INTO store (id, lineage)
SELECT 1, lower(substr(h, 1, 8) || '-' || substr(h, 9, 4) || '-4' || substr(h, 14, 3) || '-' ||
    substr('89ab', 1 + (random() & 3), 1) || substr(h, 18, 3) || '-' || substr(h, 21, 12))
FROM (SELECT hex(randomblob(16)) AS h);

-- Desired configuration -------------------------------------------------------------------------------------------

CREATE TABLE revisions (
    number INTEGER PRIMARY KEY CHECK (number >= 1),
    plan_id TEXT NOT NULL UNIQUE,  -- a plan is usable once
    applied_at INTEGER NOT NULL,
    applied_by TEXT NOT NULL,
    git_commit TEXT,
    owner TEXT NOT NULL,
    created INTEGER NOT NULL CHECK (created >= 0),
    updated INTEGER NOT NULL CHECK (updated >= 0),
    renamed INTEGER NOT NULL CHECK (renamed >= 0),
    deleted INTEGER NOT NULL CHECK (deleted >= 0)
) STRICT;

-- What an apply writes in bulk is staged here, in small transactions, before the revision that uses it exists.
CREATE TABLE documents (
    id INTEGER PRIMARY KEY,
    sha256 TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE changes (
    plan_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (plan_id, position)
) STRICT;

CREATE TABLE webhook_versions (
    uid TEXT NOT NULL,
    revision INTEGER NOT NULL REFERENCES revisions (number),
    name TEXT NOT NULL,
    owner TEXT NOT NULL,
    digest TEXT NOT NULL,
    is_protected INTEGER NOT NULL CHECK (is_protected IN (0, 1)),
    document_id INTEGER REFERENCES documents (id),  -- NULL: deleted by this revision
    PRIMARY KEY (uid, revision)
) STRICT, WITHOUT ROWID;

CREATE TABLE live_webhooks (
    uid TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    revision INTEGER NOT NULL,
    FOREIGN KEY (uid, revision) REFERENCES webhook_versions (uid, revision)
) STRICT, WITHOUT ROWID;

CREATE TABLE policies (
    owner TEXT NOT NULL,
    revision INTEGER NOT NULL REFERENCES revisions (number),
    body TEXT NOT NULL,
    PRIMARY KEY (owner, revision)
) STRICT, WITHOUT ROWID;

-- Facts received --------------------------------------------------------------------------------------------------

CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    event_type TEXT NOT NULL,
    data_id TEXT,
    event_time TEXT,
    source TEXT NOT NULL,
    raw BLOB NOT NULL,
    fingerprint TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    problem TEXT,  -- not NULL: quarantined
    revision INTEGER NOT NULL  -- live at intake: the match was made with it
) STRICT;

CREATE INDEX events_quarantined ON events (seq) WHERE problem IS NOT NULL;

-- The work --------------------------------------------------------------------------------------------------------

-- A token bucket kept as one time: at `full_at_us` it is full again, and each token taken adds `interval_us`. In
-- whole microseconds, so that "when is the next token" and "is there a token" can never disagree by a rounding.
CREATE TABLE paces (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    interval_us INTEGER CHECK (interval_us >= 1),  -- NULL: unlimited
    burst INTEGER NOT NULL DEFAULT 1 CHECK (burst >= 1),
    full_at_us INTEGER NOT NULL DEFAULT 0,
    taken_at INTEGER NOT NULL DEFAULT 0,
    blocked_until INTEGER NOT NULL DEFAULT 0,
    ready_at INTEGER NOT NULL GENERATED ALWAYS AS (
        CASE WHEN interval_us IS NULL THEN blocked_until
        ELSE max(blocked_until, (full_at_us - (burst - 1) * interval_us + 999) / 1000) END
    ) VIRTUAL,
    served_token INTEGER NOT NULL DEFAULT 0,  -- of the last claim that took from it: the longest unserved comes first
    wake_at INTEGER                           -- when a claim may find something; NULL: no lane has anything due, ever
) STRICT;

CREATE INDEX paces_wake ON paces (wake_at, served_token) WHERE wake_at IS NOT NULL;

-- One row a webhook that ever had a delivery or a configuration.
CREATE TABLE lanes (
    id INTEGER PRIMARY KEY,
    webhook_uid TEXT NOT NULL UNIQUE,
    pace_id INTEGER REFERENCES paces (id),  -- NULL: not configured, nothing is claimed
    max_concurrency INTEGER NOT NULL DEFAULT 1 CHECK (max_concurrency >= 1),
    is_open INTEGER NOT NULL DEFAULT 0 CHECK (is_open IN (0, 1)),
    note TEXT,
    served_at INTEGER NOT NULL DEFAULT 0,
    served_token INTEGER NOT NULL DEFAULT 0,
    wake_at INTEGER,  -- since when its first head has been waiting; NULL: closed, empty or at max_concurrency
    pending INTEGER NOT NULL DEFAULT 0 CHECK (pending >= 0),
    in_flight INTEGER NOT NULL DEFAULT 0 CHECK (in_flight >= 0),
    delivered INTEGER NOT NULL DEFAULT 0 CHECK (delivered >= 0),
    dead INTEGER NOT NULL DEFAULT 0 CHECK (dead >= 0),
    cancelled INTEGER NOT NULL DEFAULT 0 CHECK (cancelled >= 0)
) STRICT;

CREATE INDEX lanes_wake ON lanes (pace_id, wake_at, served_token) WHERE wake_at IS NOT NULL;

CREATE TABLE deliveries (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    event_seq INTEGER NOT NULL REFERENCES events (seq),
    lane_id INTEGER NOT NULL REFERENCES lanes (id),
    order_key TEXT,  -- NULL: unordered
    state TEXT NOT NULL CHECK (state IN ('pending', 'in_flight', 'delivered', 'dead', 'cancelled')),
    reason TEXT,
    -- Its turn within its order key has come: its predecessor ended, or its hold did. Only heads are claimed; one that
    -- has ended stays a head, so that the next to be accepted sees that the way is free.
    is_head INTEGER NOT NULL CHECK (is_head IN (0, 1)),
    due_at INTEGER NOT NULL,
    hold_until INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),  -- started
    counted INTEGER NOT NULL DEFAULT 0 CHECK (counted >= 0),    -- finished, and counting toward max_attempts
    give_up_at INTEGER,
    outcome TEXT CHECK (outcome IN ('delivered', 'retryable', 'permanent', 'unknown')),
    revision INTEGER NOT NULL,
    git_commit TEXT,
    accepted_at INTEGER NOT NULL,
    cancel_reason TEXT,  -- set while in flight: cancelled with it unless it comes back final
    -- The lease; these are set while the delivery is in flight and only then. The attempt under way is recorded here.
    token INTEGER,
    lease_until INTEGER,
    started_at INTEGER,
    pace_id INTEGER REFERENCES paces (id),
    claim_revision INTEGER,
    claim_commit TEXT,
    CHECK ((state IN ('dead', 'cancelled')) = (reason IS NOT NULL)),
    CHECK ((state = 'in_flight') = (token IS NOT NULL)),
    CHECK ((token IS NULL) = (lease_until IS NULL)),
    CHECK ((token IS NULL) = (started_at IS NULL)),
    CHECK ((token IS NULL) = (pace_id IS NULL)),
    CHECK ((token IS NULL) = (claim_revision IS NULL)),
    CHECK (token IS NOT NULL OR (claim_commit IS NULL AND cancel_reason IS NULL))
) STRICT;

CREATE INDEX deliveries_pending ON deliveries (lane_id, is_head, due_at, seq) WHERE state = 'pending';
CREATE INDEX deliveries_order ON deliveries (lane_id, order_key, seq) WHERE order_key IS NOT NULL;
CREATE INDEX deliveries_held ON deliveries (hold_until) WHERE state = 'pending' AND is_head = 0;
CREATE INDEX deliveries_leased ON deliveries (lease_until) WHERE state = 'in_flight';
CREATE INDEX deliveries_event ON deliveries (event_seq);
CREATE INDEX deliveries_lane ON deliveries (lane_id, seq);
CREATE INDEX deliveries_dead ON deliveries (seq) WHERE state = 'dead';
CREATE INDEX deliveries_cancelled ON deliveries (seq) WHERE state = 'cancelled';

-- Finished attempts; the one under way stands in its delivery's lease.
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY,
    delivery_seq INTEGER NOT NULL REFERENCES deliveries (seq),
    number INTEGER NOT NULL CHECK (number >= 1),
    started_at INTEGER NOT NULL,
    finished_at INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    git_commit TEXT,
    result TEXT NOT NULL,  -- JSON: the invocation data
    UNIQUE (delivery_seq, number)
) STRICT;

-- The counters of a lane cannot drift from its rows: whatever writes deliveries, these keep them.
CREATE TRIGGER deliveries_inserted AFTER INSERT ON deliveries BEGIN
    UPDATE lanes SET pending = pending + (NEW.state = 'pending'), in_flight = in_flight + (NEW.state = 'in_flight'),
        delivered = delivered + (NEW.state = 'delivered'), dead = dead + (NEW.state = 'dead'),
        cancelled = cancelled + (NEW.state = 'cancelled')
    WHERE id = NEW.lane_id;
END;

CREATE TRIGGER deliveries_updated AFTER UPDATE OF state ON deliveries WHEN OLD.state <> NEW.state BEGIN
    UPDATE lanes SET pending = pending + (NEW.state = 'pending') - (OLD.state = 'pending'),
        in_flight = in_flight + (NEW.state = 'in_flight') - (OLD.state = 'in_flight'),
        delivered = delivered + (NEW.state = 'delivered') - (OLD.state = 'delivered'),
        dead = dead + (NEW.state = 'dead') - (OLD.state = 'dead'),
        cancelled = cancelled + (NEW.state = 'cancelled') - (OLD.state = 'cancelled')
    WHERE id = NEW.lane_id;
END;

CREATE TRIGGER deliveries_deleted AFTER DELETE ON deliveries BEGIN
    UPDATE lanes SET pending = pending - (OLD.state = 'pending'), in_flight = in_flight - (OLD.state = 'in_flight'),
        delivered = delivered - (OLD.state = 'delivered'), dead = dead - (OLD.state = 'dead'),
        cancelled = cancelled - (OLD.state = 'cancelled')
    WHERE id = OLD.lane_id;
END;
