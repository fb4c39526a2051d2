-- Webhooks that changed hands: taken over by a revision's owner, and released by him.

ALTER TABLE revisions ADD COLUMN adopted INTEGER NOT NULL DEFAULT 0 CHECK (adopted >= 0);
ALTER TABLE revisions ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0 CHECK (forgotten >= 0);
