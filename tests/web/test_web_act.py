"""The page's buttons: who sees them, what they do, whose name is kept, and what no form of another page can do."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from served import NOW, Room, event, publish, raw, running, webhook
from web_page import Page
from web_token import as_browser, bearer, form_token, guarded_app, log_in, send_form

from reconciler.models.delivery import State
from reconciler.models.flow import Pause
from reconciler.store.base import Lane

PAUSE = "/webhooks/created/pause"
RESUME = "/webhooks/created/resume"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens.yaml"


@pytest.fixture
def calls() -> list[str]:
    """What the daemon is told of by the page."""
    return []


@pytest.fixture
async def client(room: Room, file: Path, calls: list[str]) -> AsyncIterator[httpx.AsyncClient]:
    """An operator's browser."""
    app = guarded_app(room, file, on_operate=lambda: calls.append("operate"))
    async with running(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as opened:
        await log_in(opened, "operator")
        yield opened


@pytest.fixture
async def delivery(room: Room) -> str:
    """A delivery that is pending."""
    await room.store.configure(1, [Lane("created", "k", None, 1, 16)])  # type: ignore[arg-type]
    await room.intake.take(raw(event(1)), source="test")
    (found,) = await room.store.deliveries()
    return found.id


async def state_of(room: Room, delivery_id: str) -> State:
    found = await room.store.delivery(delivery_id)
    assert found is not None
    return found[0].state


async def audited(client: httpx.AsyncClient) -> list[tuple[str, ...]]:
    """The audit log: who did what to what, and why."""
    entries = (await client.get("/v1/audit", headers=bearer("reader"))).json()
    keys = ("principal", "action", "subject", "reason")
    return [tuple(item[key] for key in keys) for item in entries if item["action"] != "apply"]


def notice(page: Page) -> bool:
    """Whether a page tells what was done."""
    return any(attrs.get("role") == "status" for _, attrs in page.elements)


async def test_a_webhook_is_paused_and_resumed(client: httpx.AsyncClient, room: Room, calls: list[str]) -> None:
    """By the same verbs as a command's, in the name of the token; told once."""
    paused = await send_form(client, PAUSE, reason="  the flow is being   rebuilt ", seconds="3600")
    halts = await room.store.halts()
    page = Page((await client.get("/webhooks/created")).text)
    again = Page((await client.get("/webhooks/created")).text)
    resumed = await send_form(client, RESUME, reason="it is back", fresh_first="yes")

    assert (paused.status_code, paused.headers["location"]) == (303, "/webhooks/created")
    assert halts["created"].pause == Pause(room.now, "operator", "the flow is being rebuilt", room.now + 3_600_000)
    assert "Paused created." in page.text and "by operator: the flow is being rebuilt" in page.text
    assert notice(page) and not notice(again)
    assert (resumed.status_code, await room.store.halts()) == (303, {})
    assert await audited(client) == [
        ("operator", "resume", "created", "it is back"),
        ("operator", "pause", "created", "the flow is being rebuilt"),
    ]
    assert calls == ["operate", "operate"]


async def test_a_pause_says_first_what_it_holds(client: httpx.AsyncClient, delivery: str) -> None:
    """Counted; nothing is done by looking."""
    page = Page((await client.get(PAUSE)).text)

    words = " ".join(page.text.split())
    assert "pending, would wait1" in words and "in flight, end as they end0" in words
    assert page.missing() == []
    assert "Paused" not in words


@pytest.mark.parametrize("reason", ["", "   ", "\t\n"])
async def test_a_pause_without_a_reason_is_asked_again(client: httpx.AsyncClient, room: Room, reason: str) -> None:
    """With what was chosen kept, and the field named that is wrong."""
    response = await send_form(client, PAUSE, reason=reason, seconds="14400")

    page = Page(response.text)
    (field,) = [field for field in page.all("input") if field.get("id") == "reason"]
    assert response.status_code == 422
    assert field["aria-invalid"] == "true" and page.missing() == []
    assert [option["value"] for option in page.all("option") if "selected" in option] == ["14400"]
    assert await room.store.halts() == {}


async def test_a_length_that_is_not_offered_holds_until_resumed(client: httpx.AsyncClient, room: Room) -> None:
    """Nobody can pause for less than he would see."""
    await send_form(client, PAUSE, reason="x", seconds="1")

    pause = (await room.store.halts())["created"].pause
    assert pause is not None and pause.until is None


async def test_a_reason_is_one_line_of_what_can_be_seen(client: httpx.AsyncClient, room: Room) -> None:
    """As the API takes it; a long one is cut."""
    await send_form(client, PAUSE, reason='"><script>\x00\u202e' + "x" * 2000)

    pause = (await room.store.halts())["created"].pause
    page = Page((await client.get("/webhooks/created")).text)
    assert pause is not None and len(pause.reason) == 1024 and pause.reason.startswith('"><script>??x')
    assert page.missing() == []


async def test_a_second_pause_says_which_one_it_replaces(client: httpx.AsyncClient) -> None:
    """And a webhook that nothing holds says so before it is resumed."""
    assert "Nothing holds it back now." in (await client.get(RESUME)).text
    assert (await send_form(client, RESUME)).status_code == 303
    assert "created was not paused." in (await client.get("/webhooks/created")).text
    await send_form(client, PAUSE, reason="first")

    assert "by operator: first" in (await client.get(PAUSE)).text


async def test_a_delivery_is_cancelled_and_replayed(client: httpx.AsyncClient, room: Room, delivery: str) -> None:
    """Each behind a page that says what it does; the reason stands on the delivery."""
    asked = Page((await client.get(f"/deliveries/{delivery}/cancel")).text)
    cancelled = await send_form(client, f"/deliveries/{delivery}/cancel", reason="a duplicate")
    assert await state_of(room, delivery) is State.CANCELLED
    shown = Page((await client.get(f"/deliveries/{delivery}")).text)
    replayed = await send_form(client, f"/deliveries/{delivery}/replay", reason="it was none")

    assert asked.missing() == [] and "One delivery is cancelled." in asked.text
    assert (cancelled.status_code, cancelled.headers["location"]) == (303, f"/deliveries/{delivery}")
    assert notice(shown) and "a duplicate" in shown.text
    assert [link for link in shown.all("a") if link["href"] == f"/deliveries/{delivery}/replay"]
    assert replayed.status_code == 303 and await state_of(room, delivery) is State.PENDING
    assert await audited(client) == [
        ("operator", "replay", "created", "it was none"),
        ("operator", "cancel", "created", "a duplicate"),
    ]


async def test_a_replay_under_a_new_id_leads_to_the_new_delivery(
    client: httpx.AsyncClient, room: Room, delivery: str
) -> None:
    """For a receiver that would call it a repeat."""
    await send_form(client, f"/deliveries/{delivery}/cancel")
    response = await send_form(client, f"/deliveries/{delivery}/replay", key="k1", new_id="yes")

    made = await room.store.delivery(response.headers["location"].removeprefix("/deliveries/"))
    assert made is not None and made[0].replay_of == delivery
    assert (await client.get(response.headers["location"])).status_code == 200


async def test_a_form_that_is_sent_twice_does_its_work_once(
    client: httpx.AsyncClient, room: Room, delivery: str
) -> None:
    """It was shown with a key; the second time is passed over and said."""
    await send_form(client, f"/deliveries/{delivery}/cancel")
    path = f"/deliveries/{delivery}/replay"
    page = Page((await client.get(path)).text)
    fields = {str(field["name"]): str(field.get("value") or "") for field in page.all("input")}
    fields["new_id"] = "yes"
    first = await client.post(path, data=fields, headers=as_browser(client))
    second = await client.post(path, data=fields, headers=as_browser(client))

    assert (first.status_code, second.status_code) == (303, 303)
    assert "Nothing was done: it was done before." in (await client.get(f"/deliveries/{delivery}")).text
    assert len(await room.store.deliveries()) == 2


async def test_what_cannot_be_done_is_said_without_a_button(
    client: httpx.AsyncClient, room: Room, delivery: str
) -> None:
    """A replay of what is pending, and of what no webhook would be sent; a cancel of what is over."""
    replay, cancel = f"/deliveries/{delivery}/replay", f"/deliveries/{delivery}/cancel"
    pending = Page((await client.get(replay)).text)
    await send_form(client, cancel)
    over = Page((await client.get(cancel)).text)
    await publish(room.store, webhook("approved"))
    deleted = Page((await client.get(replay)).text)

    for page, why in ((pending, "it is pending already"), (over, "it is finished already"), (deleted, "is deleted")):
        assert f"Nothing would be done: {why}" in page.text or why in page.text
        assert [form["action"] for form in page.all("form")] == ["/logout"], why


async def test_a_delivery_in_flight_is_cancelled_when_it_comes_back(
    client: httpx.AsyncClient, room: Room, delivery: str
) -> None:
    """That is said before and after."""
    await room.store.claim(now=NOW, lease_until=NOW + 60_000, limit=1, revision=1, commit=None)
    path = f"/deliveries/{delivery}/cancel"

    assert "when it comes back undelivered" in (await client.get(path)).text
    await send_form(client, path)
    assert "when it comes back undelivered" in (await client.get(f"/deliveries/{delivery}")).text


@pytest.mark.parametrize("name", ["reader", "pipeline"])
async def test_buttons_are_for_operators(client: httpx.AsyncClient, room: Room, delivery: str, name: str) -> None:
    """Others see none, are told so, and change nothing by sending a form."""
    await log_in(client, name)
    paths = (PAUSE, RESUME, f"/deliveries/{delivery}/replay", f"/deliveries/{delivery}/cancel")
    for path in ("/webhooks/created", f"/deliveries/{delivery}", *paths):
        page = Page((await client.get(path)).text)
        assert [form["action"] for form in page.all("form")] == ["/logout"], path
        assert not [link for link in page.all("a") if link.get("class") == "button"], path
    token = await form_token(client)

    for path in paths:
        response = await client.post(path, data={"form_token": token, "reason": "x"}, headers=as_browser(client))
        assert response.status_code == 403 and "has not the role" in response.text
        assert Page(response.text).missing() == []
    assert await room.store.halts() == {} and await state_of(room, delivery) is State.PENDING


async def test_a_form_without_its_sessions_proof_changes_nothing(client: httpx.AsyncClient, room: Room) -> None:
    """None, a wrong one, that of another session; a cookie alone is not enough."""
    own = await form_token(client)
    await log_in(client, "all")
    for token in ("", "x", own, own + "x", "é"):
        fields = {"form_token": token, "reason": "x"}
        assert (await client.post(PAUSE, data=fields, headers=as_browser(client))).status_code == 403
    assert (await client.post(PAUSE, data={"reason": "x"}, headers=as_browser(client))).status_code == 403

    assert await room.store.halts() == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"origin": "https://evil.example.com"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "https://{own}"},
        {"origin": "http://{own}."},
        {"origin": "http://localhost:{port}"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
    ],
)
async def test_a_form_from_elsewhere_changes_nothing(
    client: httpx.AsyncClient, room: Room, changes: dict[str, str]
) -> None:
    """Even with the cookie and the right proof: another port, scheme or name is another origin."""
    fields = {"form_token": await form_token(client), "reason": "x"}
    own, port = client.base_url.netloc.decode(), f"{client.base_url.port}"
    said = {key: value.replace("{own}", own).replace("{port}", port) for key, value in changes.items()}

    response = await client.post(PAUSE, data=fields, headers=as_browser(client, **said))

    assert response.status_code == 403
    assert await room.store.halts() == {}


async def test_two_origins_are_none(client: httpx.AsyncClient, room: Room) -> None:
    """Which of them it is would be anybody's guess."""
    fields = {"form_token": await form_token(client), "reason": "x"}
    headers = [*as_browser(client).items(), ("origin", "https://evil.example.com")]

    assert (await client.post(PAUSE, data=fields, headers=headers)).status_code == 403
    assert await room.store.halts() == {}


async def test_a_program_sends_no_forms(room: Room, file: Path) -> None:
    """A bearer token works on the API, which does the same; with one, no session is asked for."""
    async with (
        running(guarded_app(room, file)) as url,
        httpx.AsyncClient(base_url=url, trust_env=False, headers=bearer("operator")) as client,
    ):
        page = Page((await client.get("/webhooks/created")).text)
        refused = await client.post(PAUSE, data={"reason": "x"})
        taken = await client.post("/v1/webhooks/created/pause", json={"reason": "x"})

    assert page.all("form") == []
    assert (refused.status_code, taken.status_code) == (400, 200)
    assert "/v1/" in refused.json()["hint"]


async def test_what_is_not_there_is_not_found(client: httpx.AsyncClient) -> None:
    """A page says so, to a form too."""
    token = await form_token(client)
    for path in ("/webhooks/nobody/pause", "/webhooks/nobody/resume", "/deliveries/dlv_x/replay"):
        asked = await client.get(path)
        fields = {"form_token": token, "reason": "x"}
        sent = await client.post(path, data=fields, headers=as_browser(client))
        assert (asked.status_code, sent.status_code) == (404, 404), path
        assert sent.headers["content-type"].startswith("text/html"), path
        assert Page(sent.text).missing() == []


async def test_an_old_form_is_answered_with_the_login(client: httpx.AsyncClient, file: Path, room: Room) -> None:
    """When the session has ended meanwhile: the way back leads to the question, and nothing was done."""
    token = await form_token(client)
    document = json.loads(file.read_text())
    document["operator"]["token"] = "another-token-" + "0123456789abcdef" * 2
    file.write_text(json.dumps(document, indent=1))

    response = await client.post(PAUSE, data={"form_token": token, "reason": "x"}, headers=as_browser(client))

    fields = {field["name"]: field.get("value") for field in Page(response.text).all("input")}
    assert (response.status_code, fields["next"]) == (401, PAUSE)
    assert await room.store.halts() == {}
