"""Who may use a store's files: they are made for their owner only, and closed to everybody else by who serves them.

Events and responses stand in them in plain text, and who can write them decides what is sent. Called by the store.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import apsw

from reconciler.errors import StoreError
from reconciler.store.examine import LooseFile
from reconciler.store.sqlite.fault import store_error

SUFFIXES: Final = ("", "-wal", "-shm", ".lock")  # SQLite gives those that it makes later the mode of the first
OWNER_ONLY: Final = 0o600
NOT_OWNER: Final = 0o077
EVERYBODY: Final = 0o007
EVERYBODY_WRITES: Final = 0o002


def make_file(path: Path) -> None:
    """Make the file if it is missing, for its owner only whatever the umask is. Raises StoreError."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, OWNER_ONLY))
    except FileExistsError:  # of a link that leads nowhere SQLite says so
        return
    except OSError as exc:
        if not os.path.exists(path):  # noqa: PTH110  unlike Path.exists it never raises
            raise store_error(apsw.CantOpenError(str(exc)), path) from exc


def loose_files(path: Path) -> Iterator[LooseFile]:
    """Of the store's files, those that others than their owner may use. Who can merely read the lock can take it, and
    keep the daemon away."""
    for file, mode in _modes(path):
        if mode & NOT_OWNER:
            yield LooseFile(str(file), mode)


def open_folder(path: Path) -> LooseFile | None:
    """The store's folder, if everybody may replace what stands in it; where it is sticky they may not."""
    with contextlib.suppress(OSError):
        folder = path.resolve().parent
        mode = stat.S_IMODE(folder.stat().st_mode)
        if mode & EVERYBODY_WRITES and not mode & stat.S_ISVTX:
            return LooseFile(str(folder), mode)
    return None


def shut_files(path: Path) -> tuple[LooseFile, ...]:
    """Take the store's files away from everybody who is neither their owner nor of their group; returns those that had
    been open, with the mode they had. Raises StoreError where everybody can write and that cannot be ended.

    A file restored by `cp` is open to everybody who can reach its folder, and nobody meant it. OpenSSH would refuse it;
    here that would hold up deliveries for what can be mended at once. A group is somebody's choice, for a pipeline on
    the same machine, and stays, as PostgreSQL lets it; `doctor` names it. Nothing that works is taken away: without
    the right to write its -shm nobody can read a store that is served.
    """
    return tuple(LooseFile(str(file), mode) for file, mode in _modes(path) if mode & EVERYBODY and _shut(file, mode))


def _shut(file: Path, mode: int) -> bool:
    """Whether it could be done."""
    with contextlib.suppress(OSError):  # another user's file
        file.chmod(mode & ~EVERYBODY)
        return True
    if mode & EVERYBODY_WRITES:
        raise StoreError(
            f"everybody may write what the daemon serves: {file} (mode {mode:04o})",
            hint=f"as its owner: chmod 600 {file}",
        )
    return False


def _modes(path: Path) -> Iterator[tuple[Path, int]]:
    for suffix in SUFFIXES:
        file = Path(f"{path}{suffix}")
        with contextlib.suppress(OSError):
            yield file, stat.S_IMODE(file.stat().st_mode)
