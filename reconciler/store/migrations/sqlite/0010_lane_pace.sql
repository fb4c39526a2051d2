-- The webhooks of a pace key: those that its breaker holds back are found without looking at all the others.

CREATE INDEX lanes_pace ON lanes (pace_id) WHERE pace_id IS NOT NULL;
