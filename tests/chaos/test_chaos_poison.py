"""Events made to break what reads them: each costs itself only, beside a load that does not notice."""

import json

import httpx
import pytest
from chaos_ledger import arrivals_of, check_arrivals, check_order, check_store

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

CREATED = b'{"event_type": "AccessRequestCreated", "data": %s}'
# What becomes of it is for intake and the renderer to say; that it is said, and to nobody else's cost, is tested.
POISON: dict[str, bytes] = {
    "nothing": b"",
    "not JSON": b"{]",
    "binary": bytes(range(256)) * 40,
    "a number": b"17",
    "deep": CREATED % (b"[" * 60_000 + b"]" * 60_000),
    "deep in data": CREATED % (b'{"id":' * 20_000 + b"1" + b"}" * 20_000),
    "deep in what nobody knows": CREATED % (b'{"id": "p-0", "x": ' + b"[" * 20_000 + b"]" * 20_000 + b"}"),
    "lone surrogate": CREATED % rb'{"id": "p-1", "friendly_id": "\ud800"}',
    "NUL": CREATED % rb'{"id": "p\u0000", "friendly_id": "a\u0000b"}',
    "huge number": CREATED % b'{"id": "p-2", "custom_fields": {"a": 1e999999}}',
    "many digits": CREATED % (b'{"id": "p-3", "custom_fields": {"a": 1' + b"0" * 100_000 + b"}}"),
    "same key": CREATED % b'{"id": "p-4"}, "data": {"id": 5}',
    "wrong types": CREATED % b'{"id": {"a": 1}, "access_groups": "none"}',
    "list for data": CREATED % b"[]",
    "CRLF": CREATED % rb'{"id": "p\r\nx-evil: 1", "friendly_id": "\r\n\r\n"}',
    "as large as may be": CREATED % (rb'{"id": "p-6", "justification": "' + rb"\"\\" * 60_000 + b'"}'),
    "too large": CREATED % (b'{"id": "' + b"x" * 300_000 + b'"}'),
    "template in it": CREATED % b'{"id": "p-8", "justification": "{{#each data}}{{{{"}',
    "unknown kind": b'{"event_type": "NobodyKnows", "data": {"id": "p-9"}}',
}
TEMPLATE = """\
apiVersion: reconciler/v1
kind: Webhook
metadata: {name: poisoned}
spec:
  url: https://acme.workflows.okta.com/api/flo/ffffffffffffffffffffffffffffffff/invoke
  triggers: [RequestCreated]
  rate_limit: unlimited
  retry: {schedule: [0.2s], max_attempts: 3}
  body_template: |
    {"data": {"friendly_id": "{{data.friendly_id}}", "id": "{{data.id}}"}, "why": "{{data.justification}}",
     "groups": [{{#each data.access_groups}}{"n": "{{integration.name}}"}{{#unless @last}},{{/unless}}{{/each}}],
     "at": {{event_time}}, "all": "{\\"event\\": {{data}}}"}
"""


@pytest.mark.parametrize("transport", ["fast", "httpx"])
def test_poison_costs_only_itself(chaos, eventually, transport):
    """Every poison, again and again, among good events: nothing good is lost or late, the daemon lives, all is told."""
    chaos.transport = transport
    chaos.prepare(script='{"every": 7, "status": 500}\n')
    chaos.workshop.write("manifests/poisoned.yaml", TEMPLATE)
    chaos.workshop.command("apply", "--auto-approve")
    daemon = chaos.start()
    told: dict[str, int] = {}

    with chaos.sender() as sender, httpx.Client(timeout=30, trust_env=False) as client:
        for round_ in range(3):
            for name, body in POISON.items():
                answer = client.post(
                    f"{chaos.url}/v1/events", content=body, headers={"idempotency-key": f"{name} {round_}"}
                )
                told[name] = answer.status_code
                assert answer.status_code < 500, (name, answer.text[:200])
                assert answer.headers["content-type"].startswith("application/")
    chaos.finish()

    assert told["too large"] == 413
    assert daemon.is_alive()
    assert not any("delivery.crashed" in line or "Traceback" in line for line in daemon.lines)
    tries = check_store(chaos.store, sender.acknowledged)
    arrivals = [arrival for arrival in arrivals_of(chaos.workshop.record()) if arrival.event.startswith("AR-")]
    loaded = [arrival for arrival in arrivals if arrival.webhook != "f" * 32]
    check_order(loaded)
    check_arrivals(arrivals, tries, sender.acknowledged.values())
    lines = chaos.workshop.json("deliveries", "list", "--state", "dead", "--limit", "1000")
    assert {line["reason"] for line in lines} <= {"render", "permanent"}
    assert all(json.loads(entry["body"], parse_int=str) for entry in chaos.workshop.record()), "a body is not JSON"
