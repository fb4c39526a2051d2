"""The mock event of `reconciler test`: a request that no real one can be mistaken for. Pure.

Test events carry the header `x-reconciler-test: 1` and a request id that begins with `test-`.
"""

from typing import Any, Final

from reconciler.jsontext import JsonValue, Number
from reconciler.models.corpus import complete_event
from reconciler.models.webhook import Trigger

TEST_ID_PREFIX: Final = "test-"


def sample_event(trigger: Trigger, *, now_seconds: float) -> dict[str, JsonValue]:
    """A complete event of the current payload revision, as `trigger` would send it."""
    if trigger.is_operational:
        return as_test_event({**complete_event(trigger), "event_time": _time(now_seconds)})
    person = {"id": "test-user", "name": "Test Requester", "email": "test.requester@example.com"}
    approver = {"id": "test-approver", "name": "Test Approver", "email": "test.approver@example.com"}
    kind = {"id": "postgresql-database", "name": "Database", "display_path": "Postgresql/Database"}
    resource = {"id": "test-resource", "name": "orders", "path": "orders-prod/orders", "type": kind}
    is_decided = trigger not in (Trigger.REQUEST_CREATED, Trigger.MANUAL)
    status = "Rejected" if trigger is Trigger.REQUEST_REJECTED else "Approved"
    data: dict[str, Any] = {
        "id": f"{TEST_ID_PREFIX}{round(now_seconds * 1000)}",
        "friendly_id": "AR-TEST",
        "requester": person,
        "grantee": {"id": person["id"], "source_id": person["email"], "name": person["name"], "type": "user"},
        "justification": 'Test event of reconciler: "quotes", a \\backslash and\na second line',
        "creation_date": _time(now_seconds),
        "revocation_date": _time(now_seconds + 3600),
        "access_flow": {"id": "test-flow", "name": "Test access flow"},
        "access_bundle": {"id": "test-bundle", "name": "Test bundle"},
        "access_duration_in_seconds": 3600,
        "access_groups": [
            {
                "integration": {"id": "test-integration", "type": "Postgresql", "name": "orders-prod"},
                "resource_types": [kind],
                "access_units": [{"resource": resource, "permission": {"id": "test-ro", "name": "READ_ONLY"}}],
            }
        ],
        "approvals_logical_relation": "AnyOf",
        "approvals": [
            {
                "name": "Test Approver",
                "type": "user",
                "status": status if is_decided else "Pending",
                "approver": approver,
            }
        ],
        "custom_fields": {"ticket": "TEST-1"},
    }
    event_type = "Manual" if trigger is Trigger.MANUAL else f"Access{trigger.value}"
    return {"event_type": event_type, "event_time": _time(now_seconds), "data": data}


def as_test_event(payload: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """A copy of an event whose request id begins with `test-`."""
    data = payload.get("data")
    if not isinstance(data, dict):
        return {**payload, "data": {"id": f"{TEST_ID_PREFIX}event"}} if data is None else payload
    request_id = str(data.get("id") or "event")
    if request_id.startswith(TEST_ID_PREFIX):
        return payload
    return {**payload, "data": {**data, "id": f"{TEST_ID_PREFIX}{request_id}"}}


def _time(seconds: float) -> Number:
    """Epoch seconds with nine decimals, as Apono writes them."""
    return Number(f"{seconds:.6f}000")
