"""A real daemon held against its own description by schemathesis: what is described is taken, what is not is refused.

Each endpoint is asked some times with what its schema allows and with what it does not, the same requests in every run.
Where an endpoint stands on what schemas cannot say (an event's rules, a plan's base), only the answers are judged.
"""

import json
import os
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks
from workshop import Workshop

from reconciler.web.openapi.document import document

EXAMPLES = 8  # of each kind and endpoint
TOKEN = "contract-" + "0123456789abcdef" * 2
LINES = "application/x-ndjson"
WEBHOOK = """\
apiVersion: reconciler/v1
kind: Webhook
metadata: {{name: {name}}}
spec: {{url: "https://receiver.example.com/{name}", triggers: [{trigger}]}}
"""
ANSWERS = (
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.missing_required_header,
)
MORE_THAN_SCHEMAS_SAY = {  # of which the right answer to a request cannot be told from the description
    "POST /v1/events": "whatever is sent is taken, as quarantined where it is no event",
    "POST /v1/webhooks/{name}/pause": "the end of a pause is still to come",
    "POST /v1/webhooks/{name}/trigger": "an event has rules of its own, and a webhook wants the trigger Manual",
    "POST /v1/revisions": "a change set is made for one state, and each document is judged as a manifest is",
}


def as_lines() -> dict[str, Any]:
    """The description with bodies of lines told as arrays, which OpenAPI 3.1 has no word for."""
    told = deepcopy(document())
    head, upsert = ({"$ref": f"#/components/schemas/{name}"} for name in ("ChangeSetHead", "Upsert"))
    events = told["paths"]["/v1/events"]["post"]["requestBody"]["content"]
    revisions = told["paths"]["/v1/revisions"]["post"]["requestBody"]["content"]
    events[LINES] = {"schema": {"type": "array", "items": {"$ref": "#/components/schemas/AccessRequestEvent"}}}
    lines = {"type": "array", "prefixItems": [head], "items": {"anyOf": [upsert, {"type": "object"}]}, "minItems": 1}
    revisions[LINES] = {"schema": {**lines, "maxItems": 4}}
    return told


@schemathesis.serializer(LINES)
def _lines(ctx: Any, value: Any) -> bytes:
    items = value if isinstance(value, list) else [value]
    return value if isinstance(value, bytes) else "\n".join(json.dumps(item) for item in items).encode()


DESCRIPTION = schemathesis.openapi.from_dict(as_lines())
OPERATIONS = {operation.ok().label: operation.ok() for operation in DESCRIPTION.get_all_operations()}


@dataclass
class Daemon:
    """A daemon with tokens, and what it holds: names of webhooks, ids of events and deliveries."""

    url: str
    pid: int
    log: list[str]
    session: requests.Session
    known: dict[str, list[str]]

    def get(self, path: str) -> Any:
        found = self.session.get(f"{self.url}{path}", timeout=20)
        found.raise_for_status()
        return found.json()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """`reconciler run` with a webhook that wants created requests, a Manual one, events and deliveries. Its receiver
    refuses connections."""
    folder = tmp_path_factory.mktemp("contract")
    dropped = ("GITHUB_SHA", "CI_COMMIT_SHA", "GITHUB_ACTOR")
    kept = {key: value for key, value in os.environ.items() if key not in dropped and "RECONCILER" not in key}
    shop = Workshop(folder, {**kept, "PYTHONUNBUFFERED": "1", "HOME": os.fspath(folder)})
    shop.write("manifests/a.yaml", WEBHOOK.format(name="created", trigger="RequestCreated"))
    shop.write("manifests/b.yaml", WEBHOOK.format(name="manual", trigger="Manual"))
    roles = ["read", "apply", "operate", "ingest"]
    shop.write("tokens.yaml", json.dumps({"all": {"token": TOKEN, "roles": roles}})).chmod(0o600)
    shop.command("apply", "--auto-approve")
    nobody = "receiver.example.com:443:127.0.0.1:1"
    process = shop.start("run", "--listen", "127.0.0.1:0", "--tokens", "tokens.yaml", "--connect-to", nobody)
    try:
        url = process.url()
        with requests.Session() as session:
            session.trust_env = False
            session.headers["authorization"] = f"Bearer {TOKEN}"
            events = [{"event_type": "AccessRequestCreated", "data": {"id": f"r{number}"}} for number in range(5)]
            for body in (json.dumps(events).encode(), b"{no event"):
                assert session.post(f"{url}/v1/events", data=body, timeout=20).status_code == 202
            made = Daemon(url, process.pid, process.lines, session, {})
            ids = [item["id"] for kind in ("events", "deliveries") for item in made.get(f"/v1/{kind}")]
            made.known = {"name": ["created", "manual"], "id": ids, "number": ["1"]}
            yield made
    finally:
        process.kill()


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["right", "wrong"])
@pytest.mark.parametrize("label", sorted(OPERATIONS))
def test_an_endpoint_does_what_is_described(daemon: Daemon, label: str, mode: GenerationMode) -> None:
    """Whatever it is asked: no fault of ours, no answer that is not described; without a token, and for what is not
    described, a refusal."""
    judged = [*ANSWERS, checks.ignored_auth]
    if label not in MORE_THAN_SCHEMAS_SAY:
        judged += [checks.negative_data_rejection, checks.positive_data_acceptance]

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(case=cases(label, mode, daemon.known))
    def ask(case: schemathesis.Case) -> None:
        answer = case.call(base_url=daemon.url, session=daemon.session)
        case.validate_response(answer, checks=judged, headers=dict(daemon.session.headers))

    ask()


def cases(label: str, mode: GenerationMode, known: dict[str, list[str]]) -> st.SearchStrategy[schemathesis.Case]:
    """Requests for what is there, where the path names something, as well as for what is not."""
    operation = OPERATIONS[label]
    names = [parameter.name for parameter in operation.path_parameters]
    if not names:
        return operation.as_strategy(generation_mode=mode)
    there = [{names[0]: value} for value in known[names[0]]]
    return st.one_of(
        operation.as_strategy(generation_mode=mode),
        st.sampled_from(there).flatmap(lambda path: operation.as_strategy(generation_mode=mode, path_parameters=path)),
    )


def test_the_daemon_has_no_fault_and_holds_nothing(daemon: Daemon) -> None:
    """After all that: no bug in its log, no socket left open."""
    failed = [line for line in daemon.log if "web.failed" in line or "Traceback" in line]
    assert failed == []
    assert daemon.get("/v1/webhooks/created")["name"] == "created"
    sockets = [link for link in _descriptors(daemon.pid) if link.startswith("socket:")]
    assert len(sockets) < 20


def _descriptors(pid: int) -> Iterator[str]:
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            yield os.readlink(entry)
        except FileNotFoundError:
            continue
