"""The audit log as every engine keeps it: appended in the transaction of each deed, read from either end.

Whatever changes a store for a person (`publish`, `set_hold`, `pause`, `resume`, `compact`, `intervene`, and `accept`
and `settle` where they are told a deed) writes its entry itself. Nothing changes or deletes one, retention neither.
"""

from typing import Protocol

from reconciler.models.audit import AuditEntry, AuditHead, AuditRow, Deed


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
