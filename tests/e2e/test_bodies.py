"""Every sample event reaches the receiver as JSON that says what the event said, string by string, digit by digit."""

import json
from collections.abc import Iterator
from typing import Any

from reconciler import jsontext

ALIASES = {"raw": "1" * 32, "mapping": "2" * 32, "text": "3" * 32, "nested": "4" * 32, "blocks": "5" * 32}
HEAD = """\
apiVersion: reconciler/v1
kind: Webhook
metadata: {{name: {name}}}
spec:
  url: https://acme.workflows.okta.com/api/flo/{alias}/invoke
  triggers: [RequestCreated, RequestApproved, RequestRejected, RequestGranted, RequestExpired, RequestFailed]
  rate_limit: unlimited
"""
BODIES = {
    "raw": "",
    "mapping": """\
  body_template:
    {id: "{{data.id}}", why: "{{data.justification}}", all: "{{data}}", at: "{{event_time}}"}
""",
    "text": """\
  body_template: |
    {"id": "{{data.id}}", "why": "{{data.justification}}", "all": {{data}}, "at": {{event_time}},
     "text": "{{event_time}}"}
""",
    "nested": """\
  body_template: |
    {"message": "{\\"id\\": \\"{{data.id}}\\", \\"why\\": \\"{{data.justification}}\\", \\"all\\": {{data}}}"}
""",
    "blocks": """\
  partials: {who: '{"name": {{name}}, "mail": "{{email}}"}'}
  body_template: |
    {"id": "{{data.id}}", "by": {{#with data.requester}}{{> who}}{{else}}null{{/with}}, "groups": [
      {{#each data.access_groups}}{"name": {{integration.name}}, "units": {{count access_units}}}{{#unless @last}},
      {{/unless}}{{/each}}]}
""",
}


def digits(value: Any) -> Any:
    """A value in which every number stands as its text, so that equality is equality of digits."""
    if isinstance(value, dict):
        return {key: digits(item) for key, item in value.items()}
    if isinstance(value, list):
        return [digits(item) for item in value]
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    return {"number": jsontext.number_text(value)}


def in_text(value: Any) -> str:
    """What a value is inside a JSON string: nothing for null, the digits of a number, a string as it is."""
    if value is None:
        return ""
    return value if isinstance(value, str) else jsontext.dumps(value)


def expectations(payload: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    data = payload["data"]
    why, at = in_text(data.get("justification")), payload.get("event_time")
    yield "raw", payload
    yield "mapping", {"id": data["id"], "why": data.get("justification"), "all": data, "at": at}
    yield "text", {"id": data["id"], "why": why, "all": data, "at": at, "text": in_text(at)}
    yield "nested", {"id": data["id"], "why": why, "all": data}
    yield "blocks", {"id": data["id"], "by": requester(data.get("requester")), "groups": groups(data)}


def requester(who: dict[str, Any] | None) -> dict[str, Any] | None:
    """What the partial makes of it."""
    return {"name": who.get("name"), "mail": in_text(who.get("email"))} if who else None


def groups(data: dict[str, Any]) -> list[dict[str, Any]]:
    """Every access group, not the first alone."""
    return [
        {"name": (group.get("integration") or {}).get("name"), "units": len(group.get("access_units") or [])}
        for group in data.get("access_groups") or []
    ]


def test_every_sample_event_arrives_with_its_strings_and_digits(workshop, event_files, post, eventually):
    for name, alias in ALIASES.items():
        workshop.write(f"manifests/{name}.yaml", HEAD.format(name=name, alias=alias) + BODIES[name])
    workshop.start_sandbox("--rate", "off")
    workshop.command("apply", "--auto-approve")
    _, url = workshop.start_daemon()

    for path in event_files:
        assert post(url, path.read_bytes()).json()["accepted"] == 1, path

    wanted = len(event_files) * len(ALIASES)
    eventually(lambda: len(workshop.record()) >= wanted, what="every delivery")
    received = {}
    for entry in workshop.record():
        assert entry["status"] == 200
        body = jsontext.loads(entry["body"])
        if "message" in body:
            body = jsontext.loads(body["message"])
        received[entry["flow"], body.get("id") or body["data"]["id"], entry["body"]] = body
    for path in event_files:
        payload = jsontext.loads(path.read_bytes())
        for name, expected in expectations(payload):
            found = [body for (flow, _, _), body in received.items() if flow == ALIASES[name]]
            assert digits(expected) in [digits(body) for body in found], (path.name, name)
    assert all(json.loads(entry["body"]) for entry in workshop.record())
