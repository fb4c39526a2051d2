"""A folder of the user's for what may be lost at any time: each entry for this user only, whole or not at all.

Used by `manifest.memory`, made by the command line. What cannot be read, was not written by this user, or is not whole
counts as not there; what cannot be written is no error.
"""

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ENTRY_MAX_BYTES: Final = 32 * 1024 * 1024  # one set's verdicts; some 100,000 webhooks
FOLDER_MAX_BYTES: Final = 64 * 1024 * 1024
FOLDER_MAX_ENTRIES: Final = 32
PREFIX: Final = "manifests-"

_HEAD_MAX_BYTES: Final = 256
_OPEN_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class Cache:
    """One folder with an entry for each key: 64 hexadecimal digits."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, key: str) -> bytes | None:
        """What was written under the key; None where nothing was, or anything is wrong with it."""
        path = self._path(key)
        head, _, body = _read(path).partition(b"\n")
        if head != _head(key, body):
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # what is used last is kept longest
        return body

    def write(self, key: str, body: bytes) -> None:
        """Keep it under the key, in place of what was there; nothing where it is too large or cannot be written."""
        if len(body) > ENTRY_MAX_BYTES:
            return
        with contextlib.suppress(OSError):
            self._write(self._path(key), _head(key, body) + b"\n" + body)
            self._prune()

    def _path(self, key: str) -> Path:
        return self._folder / f"{PREFIX}{key[:32]}"

    def _write(self, path: Path, raw: bytes) -> None:
        """Never waits for the disk: what a crash leaves half-written fails its head."""
        import tempfile

        for folder in (*reversed(self._folder.parents), self._folder):  # `parents=True` would leave these to the umask
            if not folder.exists():
                folder.mkdir(mode=0o700, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._folder, prefix=f".{PREFIX}")  # mode 0600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(raw)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _prune(self) -> None:
        """Delete what was used longest ago, down to the bounds; also what a killed process left of its writing."""
        size = 0
        for number, (_, length, path) in enumerate(sorted(_entries(self._folder), reverse=True), start=1):
            size += length
            if number > FOLDER_MAX_ENTRIES or size > FOLDER_MAX_BYTES:
                Path(path).unlink(missing_ok=True)


def _head(key: str, body: bytes) -> bytes:
    """The first line of an entry: what it is, and that it is whole."""
    return f"reconciler {key} {hashlib.sha256(body).hexdigest()}".encode()


def _read(path: Path) -> bytes:
    """A file that this user, and nobody else, may have written; else nothing."""
    try:
        with os.fdopen(os.open(path, _OPEN_FLAGS), "rb") as file:
            status = os.fstat(file.fileno())
            is_ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022
            return file.read(ENTRY_MAX_BYTES + _HEAD_MAX_BYTES) if is_ours else b""
    except OSError:
        return b""


def _entries(folder: Path) -> Iterator[tuple[float, int, str]]:
    """When each entry of the folder was last used, its size and its path."""
    with os.scandir(folder) as found:
        for entry in found:
            if entry.name.startswith((PREFIX, f".{PREFIX}")):
                with contextlib.suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    yield status.st_mtime, status.st_size, entry.path
