-- What is kept for a while: events and what became of them, found by their age; and how many deliveries there have been.

CREATE INDEX events_received ON events (received_at);

ALTER TABLE lanes ADD COLUMN pruned_delivered INTEGER NOT NULL DEFAULT 0 CHECK (pruned_delivered >= 0);
ALTER TABLE lanes ADD COLUMN pruned_dead INTEGER NOT NULL DEFAULT 0 CHECK (pruned_dead >= 0);
ALTER TABLE lanes ADD COLUMN pruned_cancelled INTEGER NOT NULL DEFAULT 0 CHECK (pruned_cancelled >= 0);

-- `delivered` and its like count the rows there are; together with these they count all there ever were.
CREATE TRIGGER deliveries_pruned AFTER DELETE ON deliveries BEGIN
    UPDATE lanes SET pruned_delivered = pruned_delivered + (OLD.state = 'delivered'),
        pruned_dead = pruned_dead + (OLD.state = 'dead'),
        pruned_cancelled = pruned_cancelled + (OLD.state = 'cancelled')
    WHERE id = OLD.lane_id;
END;
