"""Tests that were sent, told to the audit log of the store that the command names, where there is one.

Called by `test`, `auth test --send` and `apply --verify` once they know what came of it. A log that cannot be told is
said and fails nothing: the test has happened.
"""

from collections.abc import Iterable

from reconciler.cli import view
from reconciler.cli.state import open_state
from reconciler.dispatch.probe import ProbeReport
from reconciler.errors import ReconcilerError
from reconciler.models.audit import AuditAction, Deed, Warrant
from reconciler.models.webhook import Webhook


async def record_tests(
    url: str, tests: Iterable[tuple[Webhook, ProbeReport]], by: Warrant, *, verifies: bool = False
) -> None:
    """Append an entry for each test. Where there is no store yet there is no log either."""
    deeds = [_deed(webhook, report, by, verifies) for webhook, report in tests]
    try:
        store = open_state(url, create=False) if deeds else None
        if store is None:
            return
        async with store:
            for deed in deeds:
                await store.record(deed)
    except ReconcilerError as exc:
        view.say(f"warning: the audit log was not told of the test: {view.visible(exc.message)}")


def _deed(webhook: Webhook, report: ProbeReport, by: Warrant, verifies: bool) -> Deed:
    result = report.result
    details = {
        "successful": report.is_successful,
        "outcome": None if result.outcome is None else result.outcome.value,
        "status": result.status,
        "delivery_id": report.delivery_id,
        "digest": webhook.digest(),
        "verifies": verifies,
    }
    return Deed(AuditAction.TEST, webhook.name, details, by)
