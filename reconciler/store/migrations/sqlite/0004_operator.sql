-- What operators do to deliveries (one intervention, many deliveries), and quarantined events that were mended.

CREATE TABLE interventions (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,  -- given by who intervenes: however often it is carried out, a delivery is touched once
    action TEXT NOT NULL CHECK (action IN ('replay', 'cancel')),
    given_at INTEGER NOT NULL,
    given_by TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT;

CREATE TABLE delivery_interventions (
    delivery_seq INTEGER NOT NULL REFERENCES deliveries (seq) ON DELETE CASCADE,
    intervention_id INTEGER NOT NULL REFERENCES interventions (id),
    attempts INTEGER NOT NULL CHECK (attempts >= 0),  -- started before it
    PRIMARY KEY (delivery_seq, intervention_id)
) STRICT, WITHOUT ROWID;

ALTER TABLE deliveries ADD COLUMN replays INTEGER NOT NULL DEFAULT 0 CHECK (replays >= 0);
ALTER TABLE deliveries ADD COLUMN replay_of INTEGER REFERENCES deliveries (seq) ON DELETE SET NULL;  -- under a new id

CREATE INDEX deliveries_replay_of ON deliveries (replay_of) WHERE replay_of IS NOT NULL;

ALTER TABLE events ADD COLUMN mends TEXT;      -- the id of the quarantined event that this one was judged from
ALTER TABLE events ADD COLUMN mended_as TEXT;  -- of a quarantined event: the id of the event that it became

DROP INDEX events_quarantined;
CREATE INDEX events_quarantined ON events (seq) WHERE problem IS NOT NULL AND mended_as IS NULL;
CREATE INDEX events_mended ON events (seq) WHERE problem IS NOT NULL AND mended_as IS NOT NULL;
