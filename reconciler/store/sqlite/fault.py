"""SQLite's errors as ours, by type, at one place: called where a connection is opened and by its thread."""

from pathlib import Path
from typing import Final

import apsw

from reconciler.errors import StoreBusyError, StoreError, StoreLostError

_FACTS: Final[tuple[tuple[type[apsw.Error], str, str], ...]] = (
    (apsw.FullError, "the disk is full, nothing was stored", "free space and try again"),
    (apsw.ReadOnlyError, "the store cannot be written", "the file and its folder must be writable"),
    (apsw.NotADBError, "not a SQLite database", "name another file by --store, or move this one away"),
    (apsw.CorruptError, "the store is damaged", "restore it from a backup; `sqlite3 FILE .recover` may save rows"),
    (apsw.PermissionsError, "no permission to use the store", "run as the user who owns the file"),
    (apsw.IOError, "the store cannot be read or written", "check the disk; a network folder cannot hold a store"),
    (apsw.NoMemError, "not enough memory to use the store", "free memory and try again"),
    (apsw.ConstraintError, "the store refuses a row that breaks its rules", "this is a bug: please report it"),
)


def store_error(exc: apsw.Error, path: Path) -> StoreError:
    """The StoreError that tells people what happened to which file, and what to do."""
    if isinstance(exc, apsw.BusyError | apsw.LockedError):
        return StoreBusyError(
            f"another process is writing to the store: {path}", hint="try again when it is done; nothing was changed"
        )
    if isinstance(exc, apsw.CantOpenError):
        return _cannot_open(path)
    for kind, fact, hint in _FACTS:
        if isinstance(exc, kind):
            lost = isinstance(exc, apsw.NotADBError | apsw.CorruptError)
            return (StoreLostError if lost else StoreError)(f"{fact}: {path}{_detail(exc)}", hint=hint)
    return StoreError(f"the store failed: {path}{_detail(exc)}")


def _detail(exc: apsw.Error) -> str:
    """What SQLite adds, where the type alone does not say it."""
    return f" ({exc})" if isinstance(exc, apsw.ConstraintError | apsw.IOError | apsw.SQLError) else ""


def _cannot_open(path: Path) -> StoreError:
    if path.is_dir():
        return StoreError(
            f"the store is a folder: {path}", hint="name a file in it, like sqlite:///FOLDER/reconciler.db"
        )
    if not path.parent.is_dir():
        return StoreError(f"the folder of the store does not exist: {path.parent}", hint="create it, or name another")
    return StoreError(f"the store cannot be opened: {path}", hint="the file and its folder must be writable")
