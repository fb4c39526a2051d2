"""The API's description: it is OpenAPI, tells of every endpoint, and is what is published and served."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from described import closed
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from served import Room, running
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from web_token import bearer, guarded_app

from reconciler.web.access import role_for
from reconciler.web.app import build_app
from reconciler.web.openapi.document import OPERATIONS, document, openapi_text
from reconciler.web.token import Role

PUBLISHED = Path(__file__).parents[2] / "schemas" / "openapi.json"
DOCUMENT = document()
ENDPOINTS = [(method, path) for path, item in DOCUMENT["paths"].items() for method in item]


def operation(method: str, path: str) -> dict[str, Any]:
    return DOCUMENT["paths"][path][method]


def test_it_is_openapi_3_1() -> None:
    """By the schema of OpenAPI, with every reference leading somewhere."""
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_what_is_published_is_what_the_code_says() -> None:
    """`reconciler schema` writes it."""
    assert PUBLISHED.read_text("utf-8") == openapi_text()


async def test_every_endpoint_is_described_and_no_other(room: Room) -> None:
    """A route that nobody has described cannot be told of at all; HEAD goes with GET."""
    app = build_app(store=room.store, live=room.live, intake=room.intake, status=dict)
    while not hasattr(app, "routes"):
        app = app._app  # type: ignore[attr-defined]  # the layers of middleware
    served = {
        (method, re.sub(r":\w+", "", route.path))
        for route in app.routes
        if isinstance(route, Route) and route.path.startswith(("/v1/", "/healthz", "/readyz"))
        for method in route.methods or ()
        if method != "HEAD"
    }

    assert document(served) == DOCUMENT
    with pytest.raises(KeyError):
        document([*served, ("PUT", "/v1/events")])


async def test_it_is_served_to_who_may_read(room: Room, tmp_path: Path) -> None:
    """The published bytes; to nobody else, since nobody needs it without a token."""
    app = guarded_app(room, tmp_path / "tokens.yaml")
    async with running(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
        found = await client.get("/v1/openapi.json", headers=bearer("reader"))
        strangers = await client.get("/v1/openapi.json")
        sender = await client.get("/v1/openapi.json", headers=bearer("apono"))

    assert found.content == PUBLISHED.read_bytes()
    assert found.headers["content-type"] == "application/json"
    assert (strangers.status_code, sender.status_code) == (401, 403)


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_an_endpoint_tells_its_role_and_what_is_refused(method: str, path: str) -> None:
    """As the daemon gives the role; those without a token refuse nobody for one."""
    said = operation(method, path)
    role = role_for(method.upper(), path)
    signed = [{"webhookId": [], "webhookTimestamp": [], "webhookSignature": []}] if role is Role.INGEST else []

    assert said["security"] == ([] if role is None else [{"token": [role.value]}, *signed])
    assert ({"401", "403"} <= set(said["responses"])) is (role is not None)
    assert {"400", "408", "421", "431", "503"} <= set(said["responses"])
    assert ("requestBody" in said) is ("413" in said["responses"])
    for status, answer in said["responses"].items():
        content = answer.get("content", {})
        assert status < "400" or "$ref" in answer or set(content) == {"application/problem+json"}


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_an_example_is_what_is_taken(method: str, path: str) -> None:
    """By the schema that stands beside it."""
    for content in operation(method, path).get("requestBody", {}).get("content", {}).values():
        if "example" in content:
            schema = {**content["schema"], "components": DOCUMENT["components"]}
            Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(
                content["example"]
            )


def test_names_are_for_people_and_stand_once() -> None:
    """No module of ours in the name of a type, no two endpoints of one name."""
    ids = [said.id for said in OPERATIONS.values()]

    assert [name for name in DOCUMENT["components"]["schemas"] if not re.fullmatch("[A-Z][A-Za-z]+", name)] == []
    assert len(set(ids)) == len(ids)
    assert [id_ for id_ in ids if not re.fullmatch("[a-z][A-Za-z]+", id_)] == []


def test_nothing_is_defined_for_nobody() -> None:
    """Each shared schema, answer and header is named by somebody; the lines of a change set by its description."""
    text = json.dumps(DOCUMENT)
    spare = {
        f"{kind}/{name}"
        for kind in ("schemas", "responses", "headers", "parameters")
        for name in DOCUMENT["components"][kind]
        if f'"#/components/{kind}/{name}"' not in text
    }

    assert spare == {"schemas/ChangeSetHead", "schemas/Upsert"}


async def test_an_answer_that_is_not_described_fails_the_test_that_got_it(room: Room) -> None:
    """Through whatever layers stand around the application."""

    class Layer:
        def __init__(self, app: ASGIApp) -> None:
            self._app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await JSONResponse({"status": "alive", "mood": "good"})(scope, receive, send)

    app = Layer(build_app(store=room.store, live=room.live, intake=room.intake, status=dict))
    with pytest.raises(AssertionError, match="'mood' was unexpected"):
        async with running(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
            await client.get("/healthz")


def test_the_tests_hold_answers_against_closed_objects() -> None:
    """So that a member that nobody has described is found; what is published stays open to newer daemons."""
    delivery = {**DOCUMENT["components"]["schemas"]["Delivery"]}

    assert "additionalProperties" not in delivery
    assert closed()["components"]["schemas"]["Delivery"]["additionalProperties"] is False
