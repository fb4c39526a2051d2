"""In a real browser: what a page of somebody else's can do to a daemon (nothing), and a person on ours (his work).

Each attack is shown to have reached the daemon, which refused it by itself.
"""

import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from chromium import EVIL, Witness, open_browser, stranger
from playwright.async_api import Browser, Error, Page
from served import Room, event, running
from web_token import TOKENS, guarded_app

from reconciler.models.flow import Pause
from reconciler.web.app import build_app

EVENT = json.dumps(event(66))
REASON = json.dumps({"reason": "evil"})
CREATED = "/webhooks/created"
PAUSE = f"{CREATED}/pause"
EVENTS, API_PAUSE = "/v1/events", f"/v1{PAUSE}"


def form(path: str, kind: str, fields: dict[str, str]) -> str:
    """A page that sends a form as soon as it is looked at."""
    inputs = "".join(f"<input name='{name}' value='{value}'>" for name, value in fields.items())
    return f"<form id=f method=post enctype='{kind}' action='DAEMON{path}'>{inputs}</form><script>f.submit()</script>"


def text_form(path: str, document: str) -> str:
    """JSON through a form: the `=` that text/plain puts between name and value ends up inside a string."""
    name = document[:-1] + ', "pad": "'
    return form(path, "text/plain", {name.replace("'", "&#39;"): '"}'})


def fetched(path: str, options: str) -> str:
    """A page whose script sends a request."""
    return f"<script>fetch('DAEMON{path}', {{{options}}}).catch(() => 0).then(() => document.title = 'done')</script>"


URLENCODED, MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"
NO_CORS = f"method: 'POST', mode: 'no-cors', credentials: 'include', body: '{EVENT}'"
CORS = f"method: 'POST', credentials: 'include', headers: {{'content-type': 'application/json'}}, body: '{EVENT}'"
ATTACKS = {  # the page, and the request that must be seen to fail at the daemon
    "form-event-text": (text_form(EVENTS, EVENT), ("POST", EVENTS)),
    "form-event-urlencoded": (form(EVENTS, URLENCODED, {"event_type": "AccessRequestCreated"}), ("POST", EVENTS)),
    "form-event-multipart": (form(EVENTS, MULTIPART, {"event_type": "AccessRequestCreated"}), ("POST", EVENTS)),
    "form-pause-text": (text_form(API_PAUSE, REASON), ("POST", API_PAUSE)),
    "form-pause-page": (form(PAUSE, URLENCODED, {"reason": "evil", "form_token": "x"}), ("POST", PAUSE)),
    "form-pause-page-multipart": (form(PAUSE, MULTIPART, {"reason": "evil"}), ("POST", PAUSE)),
    "fetch-event-no-cors": (fetched(EVENTS, NO_CORS), ("POST", EVENTS)),
    "fetch-event-cors": (fetched(EVENTS, CORS), ("OPTIONS", EVENTS)),
    "fetch-pause-no-cors": (
        fetched(API_PAUSE, f"method: 'POST', mode: 'no-cors', credentials: 'include', body: '{REASON}'"),
        ("POST", API_PAUSE),
    ),
    "fetch-pause-page": (
        fetched(PAUSE, "method: 'POST', mode: 'no-cors', credentials: 'include', body: 'reason=evil'"),
        ("POST", PAUSE),
    ),
    "beacon-event": (f"<script>navigator.sendBeacon('DAEMON{EVENTS}', '{EVENT}')</script>", ("POST", EVENTS)),
    "image-pause": (f"<img src='DAEMON{API_PAUSE}?reason=evil'>", ("GET", API_PAUSE)),
    "image-pause-page": (f"<img src='DAEMON{PAUSE}?reason=evil'>", ("GET", PAUSE)),
    "form-login": (form("/login", URLENCODED, {"token": TOKENS["all"]}), ("POST", "/login")),
    "form-logout": (form("/logout", URLENCODED, {"form_token": "x"}), ("POST", "/logout")),
}


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with open_browser() as opened:
        yield opened


def app_of(room: Room, folder: Path, *, has_tokens: bool) -> Witness:
    """A daemon's application that tells what reached it."""
    if has_tokens:
        return Witness(guarded_app(room, folder / "tokens.yaml"))
    return Witness(build_app(store=room.store, live=room.live, intake=room.intake, status=dict, now=lambda: room.now))


async def log_in(page: Page, url: str, name: str, path: str = "/") -> None:
    """As a person does."""
    await page.goto(url + path)
    await page.get_by_label("Token").fill(TOKENS[name])
    await page.get_by_role("button", name="Log in").click()
    await page.get_by_role("button", name="Log out").wait_for()


@pytest.mark.parametrize("has_tokens", [True, False], ids=["logged-in", "without-tokens"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", EVIL])
async def test_no_page_of_another_origin_changes_anything(
    browser: Browser, room: Room, tmp_path: Path, host: str, has_tokens: bool
) -> None:
    """Another port of the same address (whose requests carry the cookie), another name of it, another site: no event
    is stored, nothing is paused, the victim is still who he was."""
    witness = app_of(room, tmp_path, has_tokens=has_tokens)
    attacks = {name: attack for name, attack in ATTACKS.items() if has_tokens or "log" not in name}
    missed: list[str] = []
    async with (
        running(witness) as url,
        stranger(lambda path: attacks[path][0].replace("DAEMON", url) if path in attacks else "") as port,
    ):
        victim = await browser.new_context()
        page = await victim.new_page()
        if has_tokens:
            await log_in(page, url, "operator")
        for name, (_, what) in attacks.items():
            witness.seen.clear()
            tab = await victim.new_page()
            with contextlib.suppress(Error):  # the page that sends a form is left while it loads
                await tab.goto(f"http://{host}:{port}/{name}", wait_until="commit")
            answers = await witness.answers(*what)
            await tab.close()
            # a GET may be answered, since it changes nothing; everything else must be refused
            if not answers or (what[0] != "GET" and not all(status in (401, 403, 405) for status in answers)):
                missed.append(f"{name}: {what} {answers}")
        await page.goto(url)
        assert await page.get_by_text("logged in as operator").count() == has_tokens

    assert missed == []
    assert await room.store.events() == ()
    assert await room.store.halts() == {}


@pytest.mark.parametrize("has_tokens", [True, False], ids=["with-tokens", "without-tokens"])
async def test_a_rebound_name_reads_and_changes_nothing(
    browser: Browser, room: Room, tmp_path: Path, has_tokens: bool
) -> None:
    """A page under a name that leads to the daemon now: to the browser all of it is one origin."""
    witness = app_of(room, tmp_path, has_tokens=has_tokens)
    async with running(witness) as url:
        rebound = url.replace("127.0.0.1", EVIL)
        page = await browser.new_page()
        await page.route(f"{rebound}/before", lambda route: route.fulfill(body="<p>hello", content_type="text/html"))
        await page.goto(f"{rebound}/before")
        ask = """async ([path, body]) => {
            const answer = await fetch(path, body === null ? {} : {method: 'POST', body, credentials: 'include'})
            return [answer.status, await answer.text()]
        }"""
        answers: dict[str, Any] = {}
        for path in ("/", "/v1/webhooks", CREATED, "/login"):
            answers[f"GET {path}"] = await page.evaluate(ask, [path, None])
        posts = {EVENTS: EVENT, API_PAUSE: REASON, PAUSE: "reason=evil", "/login": f"token={TOKENS['all']}"}
        for path, body in posts.items():
            answers[f"POST {path}"] = await page.evaluate(ask, [path, body])
        assert await page.context.cookies() == []

    assert {status for status, _ in answers.values()} == {421}
    assert not [text for _, text in answers.values() if "created" in text]
    asked = {(method, path) for method, path, _ in witness.seen}  # a browser asks again after a 421
    assert len(asked) == len(answers) and {status for _, _, status in witness.seen} == {421}
    assert await room.store.events() == () and await room.store.halts() == {}


async def test_the_page_is_not_shown_in_a_frame(browser: Browser, room: Room, tmp_path: Path) -> None:
    """Nobody clicks on it while he thinks that he clicks on something else."""
    witness = app_of(room, tmp_path, has_tokens=True)
    async with (
        running(witness) as url,
        stranger(lambda path: f"<iframe src='{url}{PAUSE}' style='opacity:0.1'></iframe>") as port,
    ):
        page = await (await browser.new_context()).new_page()
        await log_in(page, url, "operator")
        await page.goto(f"http://127.0.0.1:{port}/")
        assert await witness.answers("GET", PAUSE) == [200]  # with the cookie: it is the same site
        (frame,) = page.frames[1:]
        await frame.wait_for_url("chrome-error://chromewebdata/")

        assert await frame.get_by_role("button", name="Pause").count() == 0


async def test_a_person_pauses_and_resumes_by_keyboard_alone(browser: Browser, room: Room, tmp_path: Path) -> None:
    """Logs in, finds the button, says why, sees it, takes it back, logs out; without a script, without a mouse."""
    async with running(app_of(room, tmp_path, has_tokens=True)) as url:
        context = await browser.new_context(java_script_enabled=False)
        page = await context.new_page()
        faults: list[str] = []
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        keys = page.keyboard

        async def reach(role: Any, name: str) -> None:
            """Tab until that has the focus."""
            wanted = page.get_by_role(role, name=name, exact=True)
            await wanted.wait_for()
            for _ in range(60):
                await keys.press("Tab")
                if await wanted.evaluate("node => node === document.activeElement"):
                    return
            raise AssertionError(f"no key leads to {role} {name}")

        await page.goto(url + CREATED)
        await page.get_by_label("Token").wait_for()
        await keys.type(TOKENS["operator"])  # the field has the focus
        await keys.press("Enter")
        await reach("link", "Pause…")
        await keys.press("Enter")
        await reach("textbox", "Reason")
        await keys.type("the flow is being rebuilt")
        await reach("combobox", "Ends")
        await keys.press("ArrowDown")
        await reach("button", "Pause")
        await keys.press("Enter")
        assert await page.get_by_role("status").inner_text() == "Paused created."
        paused = (await room.store.halts())["created"].pause
        await reach("link", "Resume…")
        await keys.press("Enter")
        await reach("checkbox", "What is fresh goes first")
        await keys.press("Space")
        await reach("button", "Resume")
        await keys.press("Enter")
        assert await page.get_by_role("status").inner_text() == "Resumed created."
        await reach("button", "Log out")
        await keys.press("Enter")
        await page.get_by_label("Token").wait_for()
        assert await context.cookies() == []
        await page.go_back()
        await page.get_by_label("Token").wait_for()  # nothing of what he saw was kept

    assert paused == Pause(room.now, "operator", "the flow is being rebuilt", room.now + 1_800_000)
    assert await room.store.halts() == {}
    assert [fault for fault in faults if "Content Security Policy" in fault or "Refused" in fault] == []


async def test_over_tls_the_session_is_kept_to_this_host(browser: Browser, room: Room, tmp_path: Path) -> None:
    """The browser takes the `__Host-` cookie, sends it back, and shows it to no script."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    async with running(app_of(room, tmp_path, has_tokens=True), tls=context) as url:
        page = await browser.new_page(ignore_https_errors=True)
        await log_in(page, url, "operator", CREATED)
        (cookie,) = await page.context.cookies()

        assert cookie["name"] == f"__Host-reconciler-{url.rpartition(':')[2]}"
        assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Strict")
        assert cookie["expires"] == -1 and TOKENS["operator"] not in cookie["value"]
        await page.get_by_role("link", name="Pause…").click()
        await page.get_by_label("Reason").fill("over TLS")
        await page.get_by_role("button", name="Pause").click()
        await page.get_by_role("status").wait_for()

    assert "created" in await room.store.halts()


async def test_a_link_from_elsewhere_leads_in_by_one_click(browser: Browser, room: Room, tmp_path: Path) -> None:
    """The browser keeps the cookie back on the way from another site; our page's own link brings it."""
    async with (
        running(app_of(room, tmp_path, has_tokens=True)) as url,
        stranger(lambda path: f"<a href='{url}{CREATED}'>look</a>") as port,
    ):
        page = await browser.new_page()
        await log_in(page, url, "reader")
        await page.goto(f"http://{EVIL}:{port}/")
        await page.get_by_role("link", name="look").click()
        await page.get_by_role("link", name="Go on to the page").click()

        await page.get_by_role("heading", name="created").wait_for()
        assert await page.get_by_role("link", name="Pause…").count() == 0  # a reader's page has no buttons
