"""`run --events FILE|-`: events from a file or standard input, one a line, through intake in batches.

Started by the daemon. The file is read once, to its end, and not followed as it grows; standard input is read until it
is closed. Reading stops while intake is busy or has no room for more, so that nothing is dropped. Reading the same file
again, after a crash for instance, stores nothing twice: an event is known by what it says.
"""

import asyncio
import contextlib
import errno
import os
import stat
from collections.abc import AsyncGenerator, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Final

from reconciler.dispatch.intake import Intake, IntakeAnswer
from reconciler.dispatch.item import EVENT_MAX_BYTES, Item, parse_item
from reconciler.dispatch.room import NoRoomError
from reconciler.errors import ReconcilerError, StoreError
from reconciler.observe.log import log
from reconciler.source.base import Taken

BATCH_MAX_EVENTS: Final = 250  # small enough that a batch is one short transaction
CHUNK_BYTES: Final = 256 * 1024
HELD_MAX_BYTES: Final = EVENT_MAX_BYTES + 2  # of an unfinished line: one event, its carriage return, one too many
STORE_TRIES: Final = 30
STORE_RETRY_SECONDS: Final = 1.0
ROOM_RETRY_SECONDS: Final = 0.5  # asking costs nothing: it is the daemon's own
STDIN: Final = "-"

_BLANK: Final = b" \t\r\n"


def check_readable(path: str) -> None:
    """Raise ReconcilerError for what `read_events` could not read. Opens nothing: a named pipe's writer would be told
    that its reader has come, and gone."""
    if path == STDIN:
        return
    try:
        is_folder = stat.S_ISDIR(Path(path).stat().st_mode)
    except OSError as exc:
        raise _unreadable(path, exc.errno or errno.EIO) from exc
    if is_folder or not os.access(path, os.R_OK):
        raise _unreadable(path, errno.EISDIR if is_folder else errno.EACCES)


async def read_events(path: str, intake: Intake) -> Taken:
    """Bring every line of a file, or of standard input for `-`, to intake; returns what became of them.

    Blank lines are passed over. A line that is no event is quarantined alone; of one longer than an event may be, the
    beginning is. Raises ReconcilerError for a file that cannot be read, StoreError if the store stays away.
    """
    source = "stdin" if path == STDIN else f"jsonl:{path}"
    taken = Taken()
    with _opened(path) as fd:
        async with contextlib.aclosing(_batches(fd)) as batches:
            async for batch in batches:
                taken = taken.plus(await _take(intake, batch, source=source))
    log("source.finished", source=source, **asdict(taken))
    return taken


async def _take(intake: Intake, batch: list[Item], *, source: str) -> IntakeAnswer:
    """One batch in; a store that is away is waited for, since nobody else will bring these events."""
    for tries_left in range(STORE_TRIES - 1, 0, -1):
        try:
            return await _take_with_room(intake, batch, source=source)
        except StoreError as exc:
            log("intake.failed", source=source, error=exc.message, tries_left=tries_left)
            await asyncio.sleep(STORE_RETRY_SECONDS)
    return await _take_with_room(intake, batch, source=source)


async def _take_with_room(intake: Intake, batch: list[Item], *, source: str) -> IntakeAnswer:
    """One batch in, once there is room, however long that takes."""
    while True:
        try:
            return await intake.take_items(batch, source=source)
        except NoRoomError:
            await asyncio.sleep(ROOM_RETRY_SECONDS)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    if path == STDIN:
        yield 0  # not ours to close
        return
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a named pipe must not wait here for its writer
    except OSError as exc:
        raise _unreadable(path, exc.errno or errno.EIO) from exc
    try:
        yield fd
    finally:
        os.close(fd)


def _unreadable(path: str, code: int) -> ReconcilerError:
    return ReconcilerError(f"cannot read events: {path}: {os.strerror(code).lower()}")


async def _batches(fd: int) -> AsyncGenerator[list[Item], None]:
    """The items as they arrive: what one read completes is not held back for the next."""
    splitter = LineSplitter()
    async with contextlib.aclosing(_chunks(fd)) as chunks:
        async for chunk in chunks:
            items = splitter.feed(chunk)
            for start in range(0, len(items), BATCH_MAX_EVENTS):
                yield items[start : start + BATCH_MAX_EVENTS]
    if rest := splitter.end():
        yield rest


async def _chunks(fd: int) -> AsyncGenerator[bytes, None]:
    try:
        read = _read_file if _is_file(fd) else _read_stream
        while chunk := await read(fd):
            yield chunk
    except OSError as exc:
        raise ReconcilerError(f"cannot read events: {(exc.strerror or '').lower()}") from exc


def _is_file(fd: int) -> bool:
    """Whether the descriptor is always readable, so that it cannot be waited for: a file, or `/dev/null`."""
    mode = os.fstat(fd).st_mode
    return stat.S_ISREG(mode) or (stat.S_ISCHR(mode) and not os.isatty(fd))


async def _read_file(fd: int) -> bytes:
    """In a thread, since a disk may be slow; never left reading from a descriptor that is closed under it."""
    reading = asyncio.ensure_future(asyncio.to_thread(os.read, fd, CHUNK_BYTES))
    try:
        return await asyncio.shield(reading)
    except asyncio.CancelledError:
        await asyncio.wait((reading,))
        raise


async def _read_stream(fd: int) -> bytes:
    """A pipe, socket or terminal, read when it is readable: a blocked thread could not be cancelled."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(fd, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(fd)
    try:
        return os.read(fd, CHUNK_BYTES)
    except BlockingIOError:
        return await _read_stream(fd)


class LineSplitter:
    """Bytes in any portions to items, one a line, holding at most one event's worth of an unfinished line. Pure."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._line_bytes = 0
        self._is_first = True

    def feed(self, chunk: bytes) -> list[Item]:
        """The items of the lines that this portion completes."""
        *complete, rest = chunk.split(b"\n")
        items = []
        for part in complete:
            self._hold(part)
            items.extend(self._finish())
        self._hold(rest)
        return items

    def end(self) -> list[Item]:
        """The item of a last line without a line end."""
        return self._finish()

    def _hold(self, part: bytes) -> None:
        self._line_bytes += len(part)
        self._held += part[: HELD_MAX_BYTES - len(self._held)]

    def _finish(self) -> list[Item]:
        raw, line_bytes = bytes(self._held), self._line_bytes
        self._held.clear()
        self._line_bytes = 0
        if self._is_first:
            self._is_first = False
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        raw = raw.strip(_BLANK)
        if len(raw) > EVENT_MAX_BYTES or (raw and line_bytes > HELD_MAX_BYTES):
            problem = (
                f"the line has {line_bytes} bytes, an event may have {EVENT_MAX_BYTES}; only its beginning is kept"
            )
            return [Item(raw[:EVENT_MAX_BYTES], None, problem)]
        return [parse_item(raw)] if raw else []
