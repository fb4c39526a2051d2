"""The audit log as every engine keeps it: appended in the transaction of each deed, read from either end.

Whatever changes a store for a person (`publish`, `set_hold`, `pause`, `resume`, `compact`, `intervene`, and `accept`
and `settle` where they are told a deed) writes its entry itself. Nothing changes or deletes one, retention neither.
"""

from collections.abc import Iterable
from typing import Final, Protocol

from reconciler.models.audit import AuditEntry, AuditHead, AuditRow, Chain, Deed

WALK_ROWS: Final = 1_000  # read at once


class AuditLog(Protocol):
    """The entries, as people read and verify them."""

    async def audit(self, *, limit: int = 50, before: int | None = None) -> tuple[AuditEntry, ...]:
        """Entries, newest first, older than the number `before`."""
        ...

    async def audit_rows(self, *, after: int, limit: int) -> tuple[AuditRow, ...]:
        """Entries as they are kept, oldest first, behind the number `after`."""
        ...

    async def audit_head(self) -> AuditHead:
        """The end of the log."""
        ...

    async def record(self, deed: Deed) -> None:
        """Append the entry of a deed that changes nothing else in the store: a test that was sent."""
        ...


async def walked(store: AuditLog, *, start: int = 1, expected: Iterable[str] = ()) -> Chain:
    """The log verified from the entry `start` to its end; `expected` are digests of entries, noted elsewhere. What is
    appended meanwhile is verified too."""
    chain = Chain(lineage=(await store.audit_head()).lineage, start=start, expected=expected)
    before: AuditHead | None = None
    while True:
        rows = await store.audit_rows(after=chain.number, limit=WALK_ROWS)
        for row in rows:
            chain.add(row)
        head = await store.audit_head()
        # what was appended between the two is read next; what is missing is missing then too
        if head.number == chain.number or (not rows and head == before):
            break
        before = head
    chain.end(head)
    return chain
