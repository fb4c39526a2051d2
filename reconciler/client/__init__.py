"""The command line's way to a running daemon: `store` for `https://` stores, `send` for events."""
