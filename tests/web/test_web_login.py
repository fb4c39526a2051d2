"""The way in and out: who gets a session, what the browser is given, what stays out of URLs and logs."""

import io
import json
import ssl
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from pathlib import Path

import httpx
import pytest
import trustme
from served import Room, event, raw, running
from web_page import Page
from web_token import ROLES, TOKENS, Clock, as_browser, bearer, form_token, guarded_app, log_in

from reconciler.web.app import build_app
from reconciler.web.session import IDLE_SECONDS
from reconciler.web.throttle import ADDRESS_SECONDS, ADDRESS_TRIES

HTML = {"accept": "text/html"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens.yaml"


@pytest.fixture
async def client(room: Room, file: Path, clock: Clock) -> AsyncIterator[httpx.AsyncClient]:
    app = guarded_app(room, file, clock=clock)
    async with running(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as opened:
        yield opened


def cookie_of(response: httpx.Response) -> tuple[str, dict[str, str]]:
    """The one cookie that an answer sets: its name and its attributes."""
    (line,) = response.headers.get_list("set-cookie")
    ((name, morsel),) = SimpleCookie(line).items()
    return name, {key: f"{value}" for key, value in morsel.items() if value}


@pytest.mark.parametrize("path", ["/", "/deliveries?state=dead", "/events/a%3Fb%20c", "/nowhere", "/webhooks/x/pause"])
async def test_a_person_is_asked_to_log_in_where_he_wanted_to_go(client: httpx.AsyncClient, path: str) -> None:
    """401 with the form, which leads back, and nothing of what the daemon knows."""
    response = await client.get(path, headers=HTML)

    page = Page(response.text)
    fields = {field["name"]: field.get("value") for field in page.all("input")}
    assert (response.status_code, response.headers["www-authenticate"]) == (401, 'Bearer realm="reconciler"')
    assert fields == {"next": path, "token": None}
    assert "revision" not in page.text and "Deliveries" not in page.text
    assert page.missing() == []


async def test_a_token_opens_the_page_that_was_asked_for(client: httpx.AsyncClient) -> None:
    """By a cookie that no script reads and no other site's request carries."""
    response = await log_in(client, "reader", "/deliveries?state=dead")

    name, cookie = cookie_of(response)
    assert (response.status_code, response.headers["location"]) == (303, "/deliveries?state=dead")
    assert name == f"reconciler-{client.base_url.port}"
    assert cookie == {"path": "/", "samesite": "strict", "httponly": "True"}
    page = await client.get("/")
    assert page.status_code == 200 and "reader" in page.text
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "same-origin"


async def test_over_tls_the_cookie_is_kept_to_tls_and_to_this_host(room: Room, file: Path) -> None:
    """`__Host-` and Secure."""
    authority = trustme.CA()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    async with (
        running(guarded_app(room, file), tls=server) as url,
        httpx.AsyncClient(base_url=url, trust_env=False, verify=context) as client,
    ):
        name, cookie = cookie_of(await log_in(client, "reader"))

        assert name == f"__Host-reconciler-{client.base_url.port}"
        assert cookie == {"path": "/", "samesite": "strict", "httponly": "True", "secure": "True"}
        assert (await client.get("/")).status_code == 200


@pytest.mark.parametrize("name", ROLES)
async def test_who_may_read_may_log_in(client: httpx.AsyncClient, name: str) -> None:
    """A sender of events may not; it is told why, and gets no session."""
    response = await log_in(client, name)

    may_read = bool({"read", "apply", "operate"} & set(ROLES[name]))
    assert response.status_code == (303 if may_read else 403)
    assert ("set-cookie" in response.headers) is may_read
    assert may_read or "may not read" in response.text


@pytest.mark.parametrize("token", ["", "  ", "wrong", "x" * 5_000, "é\u202e", f"{TOKENS['all']}x"])
async def test_a_wrong_token_opens_nothing(client: httpx.AsyncClient, token: str) -> None:
    """The form again, with what is wrong, and never the token."""
    response = await log_in(client, token)

    page = Page(response.text)
    assert response.status_code == (401 if token.strip() else 422)
    assert "set-cookie" not in response.headers
    assert [attrs for _, attrs in page.elements if attrs.get("role") == "alert"]
    assert page.missing() == [] and not (token.strip() and token in response.text)


async def test_a_token_in_the_query_logs_nobody_in(client: httpx.AsyncClient) -> None:
    """URLs end up in logs and histories; the form is sent in a body."""
    response = await client.post(f"/login?token={TOKENS['all']}", data={"next": "/"}, headers=as_browser(client))

    assert response.status_code == 422 and TOKENS["all"] not in response.text
    assert Page((await client.get("/login")).text).all("form")[0] == {"action": "/login", "method": "post"}


@pytest.mark.parametrize("following", ["//evil.example.com", "https://evil.example.com", "/\\evil.example.com", "x"])
async def test_a_login_leads_to_no_other_place(client: httpx.AsyncClient, following: str) -> None:
    """Neither from the query of the form's page nor from the form."""
    page = Page((await client.get("/login", params={"next": following})).text)

    assert [field["value"] for field in page.all("input") if field["name"] == "next"] == ["/"]
    assert (await log_in(client, "reader", following)).headers["location"] == "/"


async def test_who_is_logged_in_goes_on_from_the_login(client: httpx.AsyncClient) -> None:
    """A second tab need not log in again."""
    await log_in(client, "reader")

    response = await client.get("/login?next=/events")

    assert (response.status_code, response.headers["location"]) == (303, "/events")


async def test_a_login_makes_a_new_session_and_ends_the_old(client: httpx.AsyncClient) -> None:
    """Nobody plants a session that he knows (fixation), and nobody leaves one behind."""
    name = f"reconciler-{client.base_url.port}"
    client.cookies.set(name, "planted-by-somebody", domain="127.0.0.1")
    first = SimpleCookie((await log_in(client, "reader")).headers["set-cookie"])[name].value
    client.cookies.clear()
    client.cookies.set(name, first, domain="127.0.0.1")
    second = SimpleCookie((await log_in(client, "operator")).headers["set-cookie"])[name].value

    client.cookies.clear()
    statuses = [
        (await client.get("/", headers={"cookie": f"{name}={id_}"})).status_code
        for id_ in ("planted-by-somebody", first, second)
    ]
    assert statuses == [401, 401, 200]


async def test_logging_out_ends_the_session_and_takes_the_cookie(client: httpx.AsyncClient) -> None:
    """What somebody copied opens nothing afterwards."""
    await log_in(client, "reader")
    cookie = client.cookies[f"reconciler-{client.base_url.port}"]
    token = await form_token(client)

    response = await client.post("/logout", data={"form_token": token}, headers=as_browser(client))

    assert (response.status_code, response.headers["location"]) == (303, "/login")
    assert "max-age=0" in response.headers["set-cookie"].lower()
    copied = {"cookie": f"reconciler-{client.base_url.port}={cookie}"}
    assert (await client.get("/", headers=copied)).status_code == 401


async def test_logging_out_needs_the_pages_proof(client: httpx.AsyncClient) -> None:
    """Otherwise other sites could end sessions."""
    await log_in(client, "reader")

    response = await client.post("/logout", data={"form_token": "x"}, headers=as_browser(client))

    assert response.status_code == 403
    assert (await client.get("/")).status_code == 200


async def test_who_has_no_session_is_logged_out_already(client: httpx.AsyncClient) -> None:
    """A button of an old tab leads to the login."""
    response = await client.post("/logout", data={}, headers=as_browser(client))

    assert (response.status_code, response.headers["location"]) == (303, "/login")


async def test_a_session_ends_while_a_page_only_refreshes_itself(client: httpx.AsyncClient, clock: Clock) -> None:
    """An empty chair is not a person."""
    await log_in(client, "reader")
    clock.now += IDLE_SECONDS - 1
    assert (await client.get("/?refresh=on", headers=HTML)).status_code == 200

    clock.now += 2

    assert (await client.get("/?refresh=on", headers=HTML)).status_code == 401


async def test_a_session_ends_with_its_token(client: httpx.AsyncClient, file: Path) -> None:
    """Whoever takes the token from the file logs its people out."""
    await log_in(client, "operator")
    assert (await client.get("/")).status_code == 200
    document = json.loads(file.read_text())
    del document["operator"]
    file.write_text(json.dumps(document, indent=1))

    assert (await client.get("/")).status_code == 401


async def test_a_bearer_token_goes_before_a_session(client: httpx.AsyncClient) -> None:
    """Who presents one is judged by it; what a proxy adds of another scheme is passed over."""
    await log_in(client, "operator")

    as_reader = await client.get("/webhooks/created", headers=bearer("reader"))
    as_nobody = await client.get("/webhooks/created", headers={"authorization": "Bearer wrong"})
    as_operator = await client.get("/webhooks/created", headers={"authorization": "Basic eDp5"})

    assert (as_reader.status_code, Page(as_reader.text).all("form")) == (200, [])
    assert as_nobody.status_code == 401
    assert "logged in as operator" in Page(as_operator.text).text


async def test_a_session_opens_pages_only(client: httpx.AsyncClient, room: Room) -> None:
    """A cookie is nothing to the API, reading or changing, whatever says that it comes from our page."""
    await log_in(client, "all")

    assert (await client.get("/v1/webhooks")).status_code == 401
    assert (await client.post("/v1/events", content=raw(event(1)))).status_code == 401
    for headers in (as_browser(client), {**as_browser(client), **bearer("all")}):
        assert (await client.post("/v1/events", content=raw(event(1)), headers=headers)).status_code == 403
    assert await room.store.events() == ()


async def test_wrong_tokens_are_slowed_and_right_ones_elsewhere_are_not(
    client: httpx.AsyncClient, clock: Clock
) -> None:
    """429 with when to try again; a right token is not judged meanwhile, and then it is."""
    answers = [(await log_in(client, f"wrong-{number}")).status_code for number in range(ADDRESS_TRIES)]
    refused = await log_in(client, "reader")
    clock.now += ADDRESS_SECONDS
    accepted = await log_in(client, "reader")

    assert answers == [401] * ADDRESS_TRIES
    assert (refused.status_code, refused.headers["retry-after"]) == (429, f"{ADDRESS_SECONDS:.0f}")
    assert Page(refused.text).missing() == []
    assert accepted.status_code == 303
    assert (await client.get("/v1/webhooks", headers=bearer("reader"))).status_code == 200


async def test_right_tokens_are_never_slowed(client: httpx.AsyncClient) -> None:
    """However often a person logs in."""
    answers = [(await log_in(client, "reader")).status_code for _ in range(3 * ADDRESS_TRIES)]

    assert set(answers) == {303}


@pytest.mark.parametrize(
    "changes",
    [
        {"origin": "https://evil.example.com"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "http://localhost.evil.example.com"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
    ],
)
async def test_nobody_is_logged_in_from_elsewhere(client: httpx.AsyncClient, changes: dict[str, str]) -> None:
    """Into a session of somebody else's, to see what he does there (login CSRF)."""
    fields = {"token": TOKENS["reader"]}

    response = await client.post("/login", data=fields, headers=as_browser(client, **changes))

    assert response.status_code == 403 and "set-cookie" not in response.headers


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("text/plain", b"token=x", 415),
        ("application/json", b'{"token": "x"}', 415),
        ("multipart/form-data; boundary=x", b"--x--", 415),
        ("application/x-www-form-urlencoded", b"token=x&token=y", 400),
        ("application/x-www-form-urlencoded", b"token=%ff", 400),
        ("application/x-www-form-urlencoded", b"token=\xff", 400),
        ("application/x-www-form-urlencoded", b"a=b&" * 40, 400),
        ("application/x-www-form-urlencoded", b"token=" + b"x" * 20_000, 413),
    ],
)
async def test_what_is_no_form_is_refused(client: httpx.AsyncClient, kind: str, body: bytes, status: int) -> None:
    """Bounded, read in one way only."""
    headers = {**as_browser(client), "content-type": kind}

    assert (await client.post("/login", content=body, headers=headers)).status_code == status


async def test_who_came_by_a_link_from_elsewhere_goes_on(client: httpx.AsyncClient) -> None:
    """Browsers keep the cookie back on the way from another site; a click on our own page brings it along."""
    from_afar = await client.get("/events?status=quarantined", headers={**HTML, "sec-fetch-site": "cross-site"})
    typed = await client.get("/events", headers={**HTML, "sec-fetch-site": "none"})

    assert '<a href="/events?status=quarantined">' in from_afar.text
    assert "Go on" not in typed.text


async def test_no_token_is_logged_and_who_logged_in_is(client: httpx.AsyncClient, logged: io.StringIO) -> None:
    """Names, addresses; neither tokens nor what browsers keep."""
    await log_in(client, "wrong-token-" + "0123456789abcdef" * 2)
    await log_in(client, "apono")
    await log_in(client, "reader")
    cookie, token = client.cookies[f"reconciler-{client.base_url.port}"], await form_token(client)
    await client.post("/logout", data={"form_token": token}, headers=as_browser(client))

    text = logged.getvalue()
    assert "web.login_refused address=127.0.0.1" in text and "token=apono" in text
    assert "web.logged_in token=reader address=127.0.0.1" in text and "web.logged_out token=reader" in text
    secrets = (*TOKENS.values(), "wrong-token-", cookie, token)
    assert not [secret for secret in secrets if secret in text]


async def test_a_fault_before_the_login_tells_nothing(client: httpx.AsyncClient) -> None:
    """The error page of who has no session has no revision on it."""
    response = await client.put("/login", headers=HTML)

    assert response.status_code == 401 and "revision" not in response.text


async def test_without_tokens_there_is_no_login(room: Room) -> None:
    """Nobody is known there, so the page stays for reading, without buttons and without forms that change anything."""
    app = build_app(store=room.store, live=room.live, intake=room.intake, status=dict, now=lambda: room.now)
    async with running(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
        assert (await client.get("/login")).status_code == 404
        assert (await client.get("/webhooks/created/pause")).status_code == 404
        assert (await client.post("/webhooks/created/pause", data={"reason": "x"})).status_code in (404, 405)
        refused = await client.post("/webhooks/created/pause", data={"reason": "x"}, headers=as_browser(client))
        page = Page((await client.get("/webhooks/created")).text)

    assert refused.status_code == 403
    assert page.all("form") == [] and "Pause" not in page.text
    assert await room.store.halts() == {}


async def test_each_page_of_a_session_has_the_way_out(client: httpx.AsyncClient) -> None:
    """By a form of its own, proved as all others."""
    await log_in(client, "reader")

    for path in ("/", "/webhooks/created", "/deliveries", "/events", "/revisions", "/nowhere"):
        page = Page((await client.get(path)).text)
        assert {"class": "visitor", "action": "/logout", "method": "post"} in page.all("form"), path
        assert page.missing() == [], path
