-- What holds deliveries back and lets them go: the breaker of a pace key, the pause of a webhook, which of its
-- deliveries go first, and which a revision has cancelled.

-- The breaker: closed while `opened_at` is NULL. While it is open, one delivery at a time may be claimed, the probe.
ALTER TABLE paces ADD COLUMN failures INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0);  -- in a row
ALTER TABLE paces ADD COLUMN opened_at INTEGER;
ALTER TABLE paces ADD COLUMN probe_at INTEGER;  -- when the next probe may be claimed
ALTER TABLE paces ADD COLUMN wait_ms INTEGER NOT NULL DEFAULT 0 CHECK (wait_ms >= 0);  -- for it, since the last one
ALTER TABLE paces ADD COLUMN probe_seq INTEGER;  -- the delivery that is the probe now under way

CREATE INDEX paces_opened ON paces (id) WHERE opened_at IS NOT NULL;

ALTER TABLE lanes ADD COLUMN faults INTEGER NOT NULL DEFAULT 0 CHECK (faults >= 0);  -- of the destination, in a row
ALTER TABLE lanes ADD COLUMN paused_at INTEGER;  -- NULL: not paused
ALTER TABLE lanes ADD COLUMN paused_by TEXT;
ALTER TABLE lanes ADD COLUMN pause_reason TEXT;
ALTER TABLE lanes ADD COLUMN paused_until INTEGER;

CREATE INDEX lanes_paused ON lanes (id) WHERE paused_at IS NOT NULL;
CREATE INDEX lanes_paused_until ON lanes (paused_until) WHERE paused_until IS NOT NULL;

-- Within a lane the lowest rank goes first. New deliveries get the lane's; it is lowered to let them pass a backlog.
ALTER TABLE deliveries ADD COLUMN rank INTEGER NOT NULL DEFAULT 0;
ALTER TABLE lanes ADD COLUMN rank INTEGER NOT NULL DEFAULT 0;
ALTER TABLE lanes ADD COLUMN ranks TEXT;  -- JSON: those that its deliveries may have, ascending; NULL: 0 alone

DROP INDEX deliveries_pending;
CREATE INDEX deliveries_pending ON deliveries (lane_id, is_head, rank, due_at, seq) WHERE state = 'pending';

-- A revision cancels what is pending by these: deliveries up to `cancel_through` are cancelled for whoever reads, none
-- of the lane is claimed, and the rows follow in small transactions. `doomed` counts those still to follow.
ALTER TABLE lanes ADD COLUMN cancel_reason TEXT;
ALTER TABLE lanes ADD COLUMN cancel_through INTEGER;
ALTER TABLE lanes ADD COLUMN doomed INTEGER NOT NULL DEFAULT 0 CHECK (doomed >= 0);

CREATE INDEX lanes_cancelling ON lanes (id) WHERE cancel_reason IS NOT NULL;

CREATE TRIGGER deliveries_doomed AFTER UPDATE OF state ON deliveries
WHEN (OLD.state = 'pending') <> (NEW.state = 'pending') BEGIN
    UPDATE lanes SET doomed = doomed + (NEW.state = 'pending') - (OLD.state = 'pending')
    WHERE id = NEW.lane_id AND NEW.seq <= cancel_through;
END;

CREATE TRIGGER deliveries_doomed_deleted AFTER DELETE ON deliveries WHEN OLD.state = 'pending' BEGIN
    UPDATE lanes SET doomed = doomed - 1 WHERE id = OLD.lane_id AND OLD.seq <= cancel_through;
END;
