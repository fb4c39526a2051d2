"""The daemon's HTTP face: intake, the API and the page people look at."""
