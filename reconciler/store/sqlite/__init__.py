"""The embedded engine: SQLite by apsw, one file, one writer thread, reads beside it. Opened by `store.open`."""
