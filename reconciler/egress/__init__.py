"""The one door out to receivers."""
