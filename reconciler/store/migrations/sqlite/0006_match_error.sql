-- Events of which it could not be told whether a webhook wants them, until they are judged again.

CREATE TABLE match_errors (
    id INTEGER PRIMARY KEY,
    event_seq INTEGER NOT NULL REFERENCES events (seq) ON DELETE CASCADE,
    webhook_uid TEXT NOT NULL,
    error TEXT NOT NULL,
    judged_at INTEGER NOT NULL,
    revision INTEGER NOT NULL,  -- live when it was judged last
    UNIQUE (event_seq, webhook_uid)
) STRICT;

CREATE INDEX match_errors_webhook ON match_errors (webhook_uid, id);
