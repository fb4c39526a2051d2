"""One daemon per file: an advisory lock beside it, which the kernel gives back however its holder ends."""

import fcntl
import os
import socket
import time
from pathlib import Path
from typing import Final

import orjson

from reconciler.errors import StoreBusyError, StoreError
from reconciler.models.delivery import iso_time
from reconciler.store.examine import Holder

ASKING_SECONDS: Final = 0.1  # to ask who holds a lock takes some microseconds


class DaemonLock:
    """Held from `take` to `drop`, or to the end of the process. The file stays: removing it would let two hold it."""

    def __init__(self, store: Path) -> None:
        self._path = store.with_name(f"{store.name}.lock")
        self._store = store
        self._file: int | None = None

    def take(self) -> None:
        """Take the lock and say in it who holds it. Raises StoreBusyError naming the holder."""
        if self._file is not None:
            return
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise StoreError(
                f"the daemon's lock cannot be made: {self._path}", hint="its folder must be writable"
            ) from exc
        try:
            _lock(file)
            self._sign(file)
        except OSError as exc:
            holder = _holder(file)
            os.close(file)
            if isinstance(exc, BlockingIOError):
                raise StoreBusyError(
                    f"another daemon serves the store: {holder}: {self._store}",
                    hint="one daemon serves one SQLite file; stop that one first",
                ) from None
            raise StoreError(f"the daemon's lock cannot be written: {self._path}") from exc
        self._file = file

    def drop(self) -> None:
        """Give the lock back."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _sign(self, file: int) -> None:
        os.ftruncate(file, 0)
        os.utime(file)
        started_at = os.fstat(file).st_mtime_ns // 1_000_000
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "started_at": iso_time(started_at)}
        os.pwrite(file, orjson.dumps(holder, option=orjson.OPT_APPEND_NEWLINE), 0)


def holder_of(store: Path) -> Holder | None:
    """Who serves the store now; None where nobody does. It takes the lock for a moment, together with whoever else
    asks, since what stands in the file outlives its writer."""
    try:
        file = os.open(store.with_name(f"{store.name}.lock"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        try:
            told = orjson.loads(os.pread(file, 4096, 0))
            return Holder(int(told["pid"]), str(told["host"]), str(told["started_at"]))
        except (OSError, ValueError, KeyError, TypeError):  # it is writing this very moment
            return Holder(0, "", "")
    finally:
        os.close(file)
    return None


def _lock(file: int) -> None:
    """Lock it, or raise BlockingIOError; once more after a moment, since somebody may just be asking who holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(ASKING_SECONDS)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(file: int) -> str:
    try:
        holder = orjson.loads(os.pread(file, 4096, 0))
        return f"process {holder['pid']} on {holder['host']} since {holder['started_at']}"
    except (OSError, ValueError, KeyError, TypeError):  # it is writing this very moment
        return "a process that has just started"
