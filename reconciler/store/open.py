"""From `--store` to an engine; called by `cli` and `daemon`, which know no engine by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.errors import ReconcilerError

if TYPE_CHECKING:
    from reconciler.store.base import Store

_FORMS: Final = (
    "write sqlite:///reconciler.db for a file in this folder, sqlite:////var/lib/reconciler.db for any other"
)


def open_store(url: str, *, create: bool) -> Store | None:
    """The store of a URL, to be entered with `async with`; with `create` it is made if it is missing, else None.

    Without `create` no file is made. Raises ReconcilerError for a URL that names no store, StoreError for a file that
    is none.
    """
    path = sqlite_path(url)
    from reconciler.store.sqlite import schema  # imported here, so that `--help` loads no engine
    from reconciler.store.sqlite.store import SqliteStore

    if not create and not (path.exists() and schema.is_store(path)):
        return None
    return SqliteStore(path)


def sqlite_path(url: str) -> Path:
    """The file of a `sqlite:///` URL, taken literally but for a leading `~`. Raises ReconcilerError."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in ("sqlite", "postgresql", "postgres", "http", "https"):
        raise ReconcilerError(f"`--store` is not a store's URL: {url}", hint=_FORMS)
    if scheme in ("http", "https"):
        hint = f"{_FORMS}; commands reach a daemon's store by its address, the daemon itself opens one"
        raise ReconcilerError(f"`--store` names a daemon, not a store to open: {url}", hint=hint)
    if scheme != "sqlite":
        raise ReconcilerError(f"{scheme}:// stores are not available in this version", hint=_FORMS)
    if not rest.startswith("/") or rest in ("/", "/:memory:") or rest.endswith("/") or "\0" in rest:
        raise ReconcilerError(f"`--store` names no file: {url}", hint=_FORMS)
    return Path(rest[1:]).expanduser()
