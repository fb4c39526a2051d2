"""State: revisions, events, deliveries."""
