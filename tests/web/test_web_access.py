"""Who may ask for what, where the daemon has tokens."""

import io
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from served import Room, event, raw, running
from starlette.routing import Mount, Route
from web_token import ROLES, TOKENS, bearer, guarded_app

from reconciler.web.access import ROLES as ROLE_OF
from reconciler.web.access import role_for
from reconciler.web.token import Role

READING = (
    "/v1/webhooks",
    "/v1/events",
    "/v1/deliveries",
    "/v1/revisions",
    "/v1/state",
    "/v1/counts",
    "/v1/match-errors",
    "/v1/match-error-counts",
    "/v1/unfinished",
    "/v1/holds",
    "/v1/event-ids",
    "/v1/delivery-ids",
    "/",
    "/deliveries",
    "/static/missing.css",
    "/nowhere",
)
NDJSON = {"content-type": "application/x-ndjson"}


@pytest.fixture
async def client(room: Room, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = guarded_app(room, tmp_path / "tokens.yaml")
    async with running(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as opened:
        yield opened


@pytest.mark.parametrize("path", READING)
async def test_nothing_is_read_without_a_token(client: httpx.AsyncClient, path: str) -> None:
    """Pages, API, files and what is not there alike: 401 with how to ask."""
    response = await client.get(path)

    assert (response.status_code, response.headers["www-authenticate"]) == (401, 'Bearer realm="reconciler"')
    assert "content-security-policy" in response.headers and response.headers["reconciler-api"] == "1"
    kind = "application/problem+json" if path.startswith("/v1/") else "text/plain"
    assert response.headers["content-type"].startswith(kind)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Basic {token}",
        "{token}",
        "Bearer {token}x",
        "Bearer  {token} y",
        "Bearer {token}\tz",
        "bearer",
    ],
)
async def test_an_unknown_token_opens_nothing(client: httpx.AsyncClient, value: str) -> None:
    """Nor a known one that is not presented as one (RFC 6750, section 2.1)."""
    headers = {"authorization": value.replace("{token}", TOKENS["all"])}

    assert (await client.get("/v1/events", headers=headers)).status_code == 401


@pytest.mark.parametrize("query", ["access_token={token}", "token={token}"])
async def test_a_token_in_a_query_is_none(client: httpx.AsyncClient, query: str) -> None:
    """Queries end up in logs and histories."""
    assert (await client.get("/v1/events?" + query.replace("{token}", TOKENS["all"]))).status_code == 401


async def test_two_tokens_are_none(client: httpx.AsyncClient) -> None:
    """Which of them asks would be anybody's guess."""
    headers = [("authorization", f"Bearer {TOKENS['all']}"), ("authorization", f"Bearer {TOKENS['reader']}")]

    assert (await client.get("/v1/events", headers=headers)).status_code == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_is_read_in_any_case(client: httpx.AsyncClient, scheme: str) -> None:
    """RFC 9110, section 11.1."""
    headers = {"authorization": f"{scheme} {TOKENS['reader']}"}

    assert (await client.get("/v1/events", headers=headers)).status_code == 200


@pytest.mark.parametrize("name", ROLES)
async def test_each_role_may_do_what_it_says_and_no_more(client: httpx.AsyncClient, room: Room, name: str) -> None:
    """read: listings; apply: revisions and holds; ingest: events; who changes something may read, who sends may not."""
    headers, roles = bearer(name), ROLES[name]

    read = await client.get("/v1/revisions", headers=headers)
    page = await client.get("/", headers=headers)
    sent = await client.post("/v1/events", content=raw(event(7)), headers=headers)
    applied = await client.post("/v1/revisions", content=b"{}", headers={**headers, **NDJSON})
    held = await client.post("/v1/holds", json={"owner": "", "held_by": "x", "reason": ""}, headers=headers)
    unknown = await client.post("/v1/events/x/replay", headers=headers)

    may_read = bool({"read", "apply", "operate"} & set(roles))
    may_apply = "apply" in roles
    assert (read.status_code, page.status_code) == ((200, 200) if may_read else (403, 403))
    assert sent.status_code == (202 if "ingest" in roles else 403)
    assert applied.status_code == (422 if may_apply else 403)  # it may, but this is no change set
    assert held.status_code == (201 if may_apply else 403)
    assert unknown.status_code == (405 if "operate" in roles else 403)
    assert len(await room.store.events()) == ("ingest" in roles)
    assert len(await room.store.holds()) == may_apply


async def test_a_missing_role_is_said_with_the_way_to_it(client: httpx.AsyncClient) -> None:
    """403 (RFC 6750, section 3.1)."""
    response = await client.post("/v1/revisions", content=b"{}", headers={**bearer("reader"), **NDJSON})

    problem = response.json()
    assert (problem["detail"], problem["role"]) == ("the token `reader` has not the role `apply`", "apply")
    assert 'error="insufficient_scope", scope="apply"' in response.headers["www-authenticate"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/login", "/static/page.css", "/static/icon.svg"])
async def test_what_watches_and_who_is_about_to_log_in_need_no_token(client: httpx.AsyncClient, path: str) -> None:
    """It lives, it is ready; the way in and how it looks. Nothing of what the daemon knows."""
    assert (await client.get(path)).status_code == 200


async def test_a_browser_changes_nothing_even_with_a_token(client: httpx.AsyncClient) -> None:
    """The page's own forms have a session; nothing of another origin may ask."""
    headers = {**bearer("all"), "origin": "https://evil.example.com"}

    assert (await client.post("/v1/events", content=raw(event(1)), headers=headers)).status_code == 403


async def test_a_refused_body_is_read_on_so_that_its_sender_sees_why(client: httpx.AsyncClient) -> None:
    """A close while somebody sends would be a reset, and the answer lost."""
    response = await client.post("/v1/revisions", content=b"x" * 20_000_000, headers={**bearer("reader"), **NDJSON})

    assert response.status_code == 403


async def test_no_token_is_logged(client: httpx.AsyncClient, logged: io.StringIO) -> None:
    """Whose token it was, where it is known; of an unknown one nothing."""
    await client.post("/v1/revisions", content=b"{}", headers=bearer("reader"))
    await client.get("/v1/state", headers={"authorization": f"Bearer {TOKENS['all']}x"})
    await client.post("/v1/events", content=raw(event(1)), headers=bearer("apono"))

    text = logged.getvalue()
    assert "web.denied status=403 method=POST path=/v1/revisions role=apply token=reader" in text
    assert "web.denied status=401 method=GET path=/v1/state role=read" in text
    assert not any(token in text for token in TOKENS.values())


def _routes(app: object) -> Iterator[Route | Mount]:
    inner = app
    while not hasattr(inner, "routes"):
        inner = inner._app  # type: ignore[attr-defined]  # the layers of middleware
    yield from inner.routes


async def test_every_endpoint_that_changes_something_has_its_role_spelt_out(room: Room, tmp_path: Path) -> None:
    """What is forgotten here wants `operate`: closed, until somebody opens it."""
    changing = {
        (method, route.path)
        for route in _routes(guarded_app(room, tmp_path / "tokens.yaml"))
        if isinstance(route, Route)
        for method in (route.methods or ())
        if method not in ("GET", "HEAD")
    }

    assert changing == set(ROLE_OF)
    assert role_for("POST", "/v1/anything") is Role.OPERATE
