"""What is live, read and checked by another process while the command that compares it is imported.

Begun by the commands that cost most, beside the reading of their manifests. Whoever begins it reads the store himself
where it does not come to its end, whatever the reason; what is wrong with a store is said then.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Self

from reconciler.errors import ReconcilerError
from reconciler.fork import Part, processors
from reconciler.store.open import sqlite_path

if TYPE_CHECKING:
    from reconciler.models.revision import LiveState

WRITTEN_BYTES: Final = 256 * 1024  # handed over at once

_OFFSET_BYTES: Final = 8  # of where the rows begin
_WHOLE: Final = b"whole"  # stands at the end: a process may end well, and early


@dataclass(slots=True)
class LiveAhead:
    """Reading that has begun, or not. A context manager: it leaves no process behind."""

    part: Part | None = field(default=None, repr=False)

    @classmethod
    def begin(cls, url: str | None) -> Self:
        """Have the store of a URL, if there is one, read elsewhere, if it is a file and that is of use."""
        if url is None:
            return cls()
        try:
            path = sqlite_path(url)
        except ReconcilerError:  # said by whoever opens it
            return cls()
        if processors() < 2 or not path.exists():
            return cls()
        return cls(Part.start(partial(_write, path)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.part is not None:
            self.part.end()

    def state(self) -> LiveState | None:
        """What was live a moment ago; None where the store is still to be read."""
        memory = self.part.result() if self.part is not None else None
        if memory is None:
            return None
        with memory:
            return _taken_over(memory)


def _taken_over(memory: BinaryIO) -> LiveState | None:
    """What `_write` wrote; None where it did not come to an end."""
    import orjson

    from reconciler.store.sqlite.live import Header
    from reconciler.store.sqlite.revision import live_webhook_behind, state_of

    tail = _OFFSET_BYTES + len(_WHOLE)
    memory.seek(max(memory.seek(0, os.SEEK_END) - tail, 0))
    offset, mark = memory.read(_OFFSET_BYTES), memory.read()
    if mark != _WHOLE:
        return None
    documents = mmap.mmap(memory.fileno(), 0, prot=mmap.PROT_READ)
    start = int.from_bytes(offset, "little")
    header, heads, digests, sizes = orjson.loads(documents[start:-tail])
    places = pairwise(accumulate(sizes, initial=0))
    webhooks = [
        live_webhook_behind(head, partial(_cut_out, documents, *place), found)
        for head, found, place in zip(heads, digests, places, strict=True)
    ]
    return state_of(Header(*header), webhooks)


def _cut_out(documents: mmap.mmap, start: int, end: int) -> bytes:
    return documents[start:end]


def _write(path: Path, out: BinaryIO) -> None:
    """The documents, one after the other; then the rows; then where these begin."""
    import orjson

    from reconciler.store.sqlite import live, schema

    heads, digests, sizes, waiting = [], [], [], []
    held = total = 0
    db = schema.open_newest(path)
    try:
        with db:
            header = live.read_header(db, None)
            for head, document in live.read_webhooks(db, header):
                heads.append(head)
                digests.append(hashlib.sha256(document).hexdigest())
                sizes.append(len(document))
                waiting.append(document)
                total += len(document)
                if total - held >= WRITTEN_BYTES:
                    out.write(b"".join(waiting))
                    waiting.clear()
                    held = total
    finally:
        db.close()
    out.write(b"".join(waiting))
    out.write(orjson.dumps((tuple(header), heads, digests, sizes)))
    out.write(total.to_bytes(_OFFSET_BYTES, "little") + _WHOLE)
