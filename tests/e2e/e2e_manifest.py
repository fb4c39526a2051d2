"""Manifests and events that the tests of this folder share."""

import json
from typing import Any

ALIAS = "0123456789abcdef0123456789abcdef"


def manifest(name: str = "flow", *, spec: str = "", alias: str = ALIAS) -> str:
    """A webhook for a sandbox flow that wants every event; `spec` is YAML lines to add."""
    return f"""\
apiVersion: reconciler/v1
kind: Webhook
metadata: {{name: {name}}}
spec:
  url: https://acme.workflows.okta.com/api/flo/{alias}/invoke
  triggers: [RequestCreated, RequestApproved, RequestRejected, RequestGranted, RequestExpired, RequestFailed]
{spec}"""


def event(number: int, *, request: str | None = None, why: str = "") -> bytes:
    """A small created request whose friendly id is AR-NUMBER."""
    data: dict[str, Any] = {"id": request or f"request-{number}", "friendly_id": f"AR-{number}", "justification": why}
    return json.dumps({"event_type": "AccessRequestCreated", "event_time": number, "data": data}).encode()


def events(start: int, count: int) -> bytes:
    """So many of them as one array."""
    return b"[" + b",".join(event(number) for number in range(start, start + count)) + b"]"


def friendly_ids(record: list[dict[str, Any]]) -> list[str]:
    """What the sandbox received, by friendly id, in order."""
    return [json.loads(entry["body"])["data"]["friendly_id"] for entry in record]
