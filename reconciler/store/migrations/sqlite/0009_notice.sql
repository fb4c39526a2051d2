-- What the daemon has to tell of its webhooks: kept with the fact that it tells of until its event is stored.

CREATE TABLE notices (
    id INTEGER PRIMARY KEY,
    lane_id INTEGER NOT NULL REFERENCES lanes (id),
    trigger TEXT NOT NULL,
    number INTEGER NOT NULL DEFAULT 0 CHECK (number >= 0),  -- facts since the last event; 0: nothing to tell
    since INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    body TEXT NOT NULL,  -- JSON: what is told of them
    due_at INTEGER,      -- when it is told
    told_at INTEGER,     -- when it was told last
    UNIQUE (lane_id, trigger),
    CHECK ((number = 0) = (due_at IS NULL))
) STRICT;

CREATE INDEX notices_due ON notices (due_at) WHERE due_at IS NOT NULL;

ALTER TABLE lanes ADD COLUMN failures INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0);  -- in a row
ALTER TABLE lanes ADD COLUMN failing_since INTEGER;  -- when the first of them ended
ALTER TABLE lanes ADD COLUMN troubled_at INTEGER;    -- since when it counts as failing or paused; NULL: it works
