"""The audit log as the daemon's API carries it, and back; see `store.wire`. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import Field

from reconciler.models.audit import AuditAction, AuditEntry, AuditHead, AuditRow, Deed, Warrant
from reconciler.models.field import Model
from reconciler.store.wire import Text, Whole, dumps, line

TEST_MAX_BYTES: Final = 16 * 1024

_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


class TestBody(Model):
    """A test event that a client has sent to a webhook, and what came of it."""

    __test__ = False  # no test case of pytest's

    webhook: Text
    successful: bool
    outcome: Text | None = None
    status: Annotated[int, Field(ge=100, le=999), Whole] | None = None
    delivery_id: Text = ""
    digest: Text = ""
    verifies: bool = False
    by: Text = ""
    reason: Text = ""

    @classmethod
    def of(cls, deed: Deed) -> bytes:
        """The body for a test."""
        said = {"by": line(deed.warrant.behalf), "reason": line(deed.warrant.reason)}
        return dumps({"webhook": line(deed.subject), **deed.details, **said})

    def deed(self, warrant: Warrant) -> Deed:
        """As the store takes it."""
        told = self.model_dump(exclude={"webhook", "by", "reason"})
        return Deed(AuditAction.TEST, self.webhook, told, warrant)


def audit_row_of(value: Mapping[str, Any]) -> AuditRow:
    """What `AuditRow.to_json` wrote."""
    return AuditRow(int(value["number"]), str(value["digest"]), str(value["body"]))


def audit_head_of(value: Mapping[str, Any]) -> AuditHead:
    """What `AuditHead.to_json` wrote."""
    return AuditHead(str(value["lineage"]), int(value["number"]), str(value["digest"]))


def audit_entry_of(value: Mapping[str, Any]) -> AuditEntry:
    """What `AuditEntry.to_json` wrote."""
    at = value["at"]
    return AuditEntry(
        number=value["number"],
        at=None if at is None else (datetime.fromisoformat(at.replace("Z", "+00:00")) - _EPOCH) // _MILLISECOND,
        principal=value["principal"],
        behalf=value["behalf"],
        action=value["action"],
        subject=value["subject"],
        reason=value["reason"],
        details=value["details"],
        previous=value["previous"],
        digest=value["digest"],
    )
