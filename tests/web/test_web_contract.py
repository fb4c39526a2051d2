"""A real daemon held against its own description by schemathesis: what is described is taken, what is not is refused.

Each endpoint is asked some times with what its schema allows and with what it does not, the same requests in every run.
Where an endpoint stands on what schemas cannot say (an event's rules, a plan's base), only the answers are judged.
"""

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks
from web_daemon import TOKEN, Daemon, serving

from reconciler.web.openapi.document import document

EXAMPLES = 6  # of each kind and endpoint
LINES = "application/x-ndjson"
ANSWERS = (
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.missing_required_header,
)
MORE_THAN_SCHEMAS_SAY = {  # of which the right answer to a request cannot be told from the description
    "POST /v1/events": "whatever is sent is taken, but an array under one `Idempotency-Key`, and what is too large",
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


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, command_env: dict[str, str]) -> Iterator[Daemon]:
    """One for all endpoints."""
    with serving(tmp_path_factory.mktemp("contract"), command_env) as made:
        yield made


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    """What schemathesis asks by."""
    with requests.Session() as made:
        made.trust_env = False
        made.headers["authorization"] = f"Bearer {TOKEN}"
        yield made


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["right", "wrong"])
@pytest.mark.parametrize("label", sorted(OPERATIONS))
def test_an_endpoint_does_what_is_described(
    daemon: Daemon, session: requests.Session, label: str, mode: GenerationMode
) -> None:
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
        answer = case.call(base_url=daemon.url, session=session)
        case.validate_response(answer, checks=judged, headers=dict(session.headers))

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
    """After all that: no bug in its log, no socket left open, and it answers."""
    assert daemon.faults == []
    assert daemon.sockets < 20
    assert daemon.get("/v1/webhooks/created")["name"] == "created"
