"""A store, read and checked by another process while the command that compares it is imported.

Begun by the commands that cost most, beside the reading of their manifests. Whoever begins it reads the store himself
where it does not come to its end, whatever the reason; what is wrong with a store is said then.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self

from reconciler.errors import ReconcilerError
from reconciler.fork import Part, map_tail, processors, write_tail
from reconciler.store.open import sqlite_path

if TYPE_CHECKING:
    from reconciler.models.revision import Hold, LiveState, Revision
    from reconciler.models.webhook import WebhookUid

HISTORY_ROWS: Final = 500  # the newest revisions


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A store at one moment: what is live, the unfinished deliveries of each webhook, the newest revisions without
    `changes`, newest first, whether these are all there are, and the holds."""

    state: LiveState
    unfinished: Mapping[WebhookUid, int]
    revisions: tuple[Revision, ...]
    is_whole: bool
    holds: tuple[Hold, ...]


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
            if processors() < 2 or not path.exists():
                return cls()
        except (ReconcilerError, OSError):  # said by whoever opens it
            return cls()
        return cls(Part.start(partial(_write, path)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.part is not None:
            self.part.end()

    def snapshot(self) -> Snapshot | None:
        """The store a moment ago; None where it is still to be read."""
        memory = self.part.result() if self.part is not None else None
        if memory is None:
            return None
        with memory:
            return _taken_over(memory)


def _taken_over(memory: BinaryIO) -> Snapshot:
    """What `_write` wrote."""
    import orjson

    from reconciler.models.revision import Hold
    from reconciler.store.sqlite.state import live_webhook_behind, revision_of, state_of

    documents, table = map_tail(memory)
    rows = orjson.loads(table)
    places = pairwise(accumulate(rows["sizes"], initial=0))
    webhooks = [
        live_webhook_behind(head, partial(_cut_out, documents, *place), found)
        for head, found, place in zip(rows["heads"], rows["digests"], places, strict=True)
    ]
    return Snapshot(
        state=state_of(webhooks, *rows["state"]),
        unfinished=dict(rows["unfinished"]),
        revisions=tuple(revision_of(row) for row in rows["revisions"]),
        is_whole=len(rows["revisions"]) < HISTORY_ROWS,
        holds=tuple(Hold(*row) for row in rows["holds"]),
    )


def _cut_out(documents: mmap.mmap, start: int, end: int) -> bytes:
    return documents[start:end]


def _write(path: Path, out: BinaryIO) -> None:
    """The documents, one after the other; then the rows."""
    import orjson

    from reconciler.store.sqlite import live, schema
    from reconciler.store.sqlite.connection import array, rows

    db = schema.open_newest(path)
    try:
        with db:  # one snapshot
            header = live.read_header(db, None)
            heads, digests, sizes = _write_documents(live.read_webhooks(db, header), out)
            found = {
                "state": (header.lineage, header.number, header.commit, header.policies),
                "heads": heads,
                "digests": digests,
                "sizes": sizes,
                "unfinished": array(db, live.UNFINISHED),
                "revisions": rows(db, live.HISTORY, before=None, limit=HISTORY_ROWS),
                "holds": rows(db, live.HOLDS),
            }
    finally:
        db.close()
    write_tail(out, orjson.dumps(found))


def _write_documents(
    webhooks: Iterable[tuple[Sequence[Any], bytes]], out: BinaryIO
) -> tuple[list[Sequence[Any]], list[str], list[int]]:
    """What stands before each document, and its digest and size."""
    heads: list[Sequence[Any]] = []
    digests: list[str] = []
    sizes: list[int] = []
    for head, document in webhooks:
        heads.append(head)
        digests.append(hashlib.sha256(document).hexdigest())
        sizes.append(len(document))
        out.write(document)
    return heads, digests, sizes
