"""From an accepted event to finished deliveries."""
