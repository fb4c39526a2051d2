"""The page: what it shows, how harmless it is, whether everybody can use it."""

import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from served import NOW, Room, publish, raw, running, webhook
from web_page import Page

from reconciler.models.delivery import (
    AttemptResult,
    Fault,
    Outcome,
    Reason,
    ReceivedResponse,
    SentRequest,
    State,
    Timings,
)
from reconciler.store.base import Finished, Lane
from reconciler.web.app import build_app
from reconciler.web.present import ago, body, phases, url_parts, visible

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)> \u202egnp\x1b[2J\u2028\x00'
PATHS = ("/", "/deliveries", "/events", "/revisions", "/webhooks/hostile", "/missing")


@pytest.fixture
async def client(room: Room) -> AsyncIterator[httpx.AsyncClient]:
    app = build_app(store=room.store, live=room.live, intake=room.intake, status=dict, now=lambda: room.now)
    async with running(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as opened:
        yield opened


@pytest.fixture
async def hostile(room: Room) -> str:
    """Webhooks, events and attempts with hostile words wherever words from outside can stand; a delivery's id."""
    await publish(
        room.store,
        webhook("hostile", title=HOSTILE, labels={"k": HOSTILE}, url='https://e.example.com/${secret:tok}/"><script>x'),
        webhook("off", status="inactive"),
        commit=HOSTILE,
    )
    await room.store.configure(2, [Lane("hostile", "k", None, 1, 16, note=HOSTILE)])  # type: ignore[arg-type]
    good = {"event_type": "RequestCreated", "data": {"id": HOSTILE, "justification": HOSTILE}}
    await room.intake.take(raw(good), source=HOSTILE, idempotency_key='"><script>alert(3)</script>')
    await room.intake.take(raw({"event_type": HOSTILE}), source="test")
    await room.intake.take(HOSTILE.encode() + b"\xff", source="test")
    return await attempt(room)


async def attempt(room: Room, **changes: Any) -> str:
    """One recorded attempt, delivered unless told otherwise."""
    now = NOW + 1000
    (claimed,) = await room.store.claim(now=now, lease_until=now + 60_000, limit=1, revision=2, commit=HOSTILE)
    request = SentRequest("POST", f"https://e.example.com/{HOSTILE}", ((HOSTILE, HOSTILE),), HOSTILE)
    response = ReceivedResponse(200, HOSTILE, ((HOSTILE, HOSTILE),), f"{HOSTILE}\ud800", 100, True)
    result = AttemptResult(
        outcome=Outcome.DELIVERED,
        detail=HOSTILE,
        status=200,
        request=request,
        response=response,
        timings=Timings(3.2, 19.5, 61.0, 182.4, 184.0),
        address=HOSTILE,
        tls=HOSTILE,
        connect_to=HOSTILE,
    )
    facts = {"outcome": Outcome.DELIVERED, "state": State.DELIVERED, "result": result, **changes}
    await room.store.finish([Finished(claimed.seq, claimed.token, claimed.number, now, **facts)])
    return claimed.delivery_id


async def every_page(client: httpx.AsyncClient, delivery_id: str) -> dict[str, str]:
    events = (await client.get("/v1/events")).json()
    paths = [*PATHS, f"/deliveries/{delivery_id}", *(f"/events/{quote(item['id'])}" for item in events)]
    pages = {}
    for path in paths:
        response = await client.get(path)
        assert response.headers["content-type"] == "text/html; charset=utf-8", path
        assert response.status_code == (404 if path == "/missing" else 200), path
        pages[path] = response.text
    return pages


async def test_hostile_words_are_shown_harmlessly(client: httpx.AsyncClient, hostile: str) -> None:
    """No element, attribute or hidden character of a page comes from outside."""
    for path, text in (await every_page(client, hostile)).items():
        page = Page(text)

        assert page.errors == [], path
        assert page.all("script") == [], path
        assert {element.get("src") for element in page.all("img")} == {"/static/icon.svg"}, path
        assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on") or name == "style"]
        assert re.search("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2028\\ud800-\\udfff]", text) is None, path
        links = [attrs["href"] or "" for tag, attrs in page.elements if "href" in attrs]
        assert all(link.startswith(("/", "#")) and not link.startswith("//") for link in links), path

    assert "⟨U+202E⟩gnp⟨U+001B⟩[2J" in Page((await client.get(f"/deliveries/{hostile}")).text).text


async def test_pages_are_for_everybody(client: httpx.AsyncClient, hostile: str) -> None:
    """Language, title, one first heading, landmarks, table headers, labelled fields, a way past the navigation."""
    for path, text in (await every_page(client, hostile)).items():
        page = Page(text)

        assert page.all("html")[0]["lang"] == "en"
        assert len(page.all("h1")) == len(page.all("main")) == len(page.all("title")) == 1, path
        assert page.all("a")[0] == {"class": "skip", "href": "#main"}
        assert page.all("main")[0]["id"] == "main"
        assert all("scope" in cell for cell in page.all("th")), path
        assert len(page.all("caption")) == len(page.all("table")), path
        labelled = {label["for"] for label in page.all("label")}
        assert {field["id"] for field in page.all("input")} <= labelled, path
        assert all("alt" in image for image in page.all("img"))
        ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
        assert len(ids) == len(set(ids)), path
        scrolls = [attrs for _, attrs in page.elements if attrs.get("class") == "scroll"]
        assert all(attrs.get("tabindex") == "0" and attrs.get("aria-label") for attrs in scrolls), path


async def test_the_table_has_the_vendors_dots(client: httpx.AsyncClient, hostile: str) -> None:
    """Green is active, white is inactive, and both are said in words."""
    page = Page((await client.get("/")).text)

    dots = [attrs for tag, attrs in page.elements if tag == "span" and (attrs.get("class") or "").startswith("dot")]
    assert [(dot["class"], dot["title"]) for dot in dots] == [("dot active", "active"), ("dot inactive", "inactive")]
    css = (await client.get("/static/page.css")).text
    assert re.search(r"\.dot \{[^}]*background: #ffffff", css)
    assert re.search(r"\.dot\.active \{[^}]*background: var\(--dot\)", css)


async def test_secrets_stay_references(client: httpx.AsyncClient, hostile: str) -> None:
    """The URL is shown with `${secret:…}` where the value goes."""
    assert '<span class="secret">${secret:tok}</span>' in (await client.get("/")).text


async def test_a_delivery_shows_its_invocation_data(client: httpx.AsyncClient, room: Room) -> None:
    """Request, response, timings, address, TLS, each attempt, the last one open."""
    await room.store.configure(1, [Lane("created", "k", None, 1, 16)])  # type: ignore[arg-type]
    await room.intake.take(raw({"event_type": "RequestCreated", "data": {"id": "r"}}), source="test")
    request = SentRequest("POST", "https://receiver.example.com/hook", (("x-api-client-token", "***"),), '{"n":1.50}')
    failed = AttemptResult(
        outcome=Outcome.RETRYABLE, fault=Fault.DNS, detail="the name does not resolve", request=request
    )
    await attempt(room, outcome=Outcome.RETRYABLE, state=State.PENDING, result=failed, next_attempt_at=NOW + 1000)
    response = ReceivedResponse(503, "Service Unavailable", (("retry-after", "30"),), "busy", 4, False)
    answered = AttemptResult(
        outcome=Outcome.PERMANENT,
        fault=Fault.STATUS,
        status=503,
        request=request,
        response=response,
        timings=Timings(3.2, 19.5, 61.0, 182.4, 184.0),
        address="203.0.113.7:443",
        tls="TLSv1.3",
    )
    delivery_id = await attempt(
        room, outcome=Outcome.PERMANENT, state=State.DEAD, reason=Reason.PERMANENT, result=answered
    )

    text = (await client.get(f"/deliveries/{delivery_id}")).text

    words = " ".join(Page(text).text.split())
    assert "dead: permanent" in words
    assert words.index("Attempt 2") < words.index("Attempt 1")
    for fact in (
        "503 Service Unavailable",
        "203.0.113.7:443",
        "TLSv1.3",
        "TLS 41.5 ms",
        "total 184.0 ms",
        "retry-after",
        '"n": 1.50',
        "busy",
        "x-api-client-token***",
        "the name does not resolve",
        "no answer",
    ):
        assert fact in words, fact
    assert text.count("<details") == 2
    assert text.count('<details class="attempt" open>') == 1


async def test_an_empty_store_says_what_to_do(client: httpx.AsyncClient, room: Room) -> None:
    """The first page a newcomer sees."""
    await publish(room.store)

    text = (await client.get("/")).text

    assert "No webhook is live" in text
    assert "reconciler apply" in text


async def test_webhooks_are_found_and_paged(client: httpx.AsyncClient, room: Room) -> None:
    """By a part of name or title; a hundred a page."""
    await publish(room.store, *(webhook(f"hook-{number:03}", title=f"Title {number}") for number in range(120)))

    first = Page((await client.get("/")).text)
    more = next(link["href"] for link in first.all("a") if (link["href"] or "").startswith("/?after="))
    second = (await client.get(str(more))).text
    found = (await client.get("/?q=TITLE 77")).text

    assert (first.text.count("hook-"), second.count('href="/webhooks/hook-')) == (100, 20)
    assert found.count('href="/webhooks/hook-') == 1
    assert "No webhook has" in (await client.get("/?q=zzz")).text


async def test_lists_lead_to_older_rows(client: httpx.AsyncClient, room: Room) -> None:
    """With what narrows them."""
    for number in range(3):
        await room.intake.take(raw({"event_type": "RequestCreated", "n": number}), source="test")

    page = Page((await client.get("/events?limit=2&status=accepted")).text)
    older = next(str(link["href"]) for link in page.all("a") if "before=" in (link["href"] or ""))

    assert "status=accepted" in older
    rows = (await client.get(older)).text.count("<tr>")
    assert rows == 2  # the head and one event


async def test_refreshing_is_a_choice(client: httpx.AsyncClient) -> None:
    """Nothing moves under a reader who did not ask for it (WCAG 2.2.2)."""
    assert "http-equiv" not in (await client.get("/")).text

    text = (await client.get("/?refresh=on")).text

    assert '<meta http-equiv="refresh" content="5">' in text
    assert '<a href="/">stop</a>' in text


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
async def test_text_stands_out(client: httpx.AsyncClient, scheme: int) -> None:
    """WCAG AA: 4.5 to 1, in the light and in the dark."""
    css = (await client.get("/static/page.css")).text
    colours = dict(
        re.findall(
            r"--([a-z-]+): (#[0-9a-f]{6});", css.split("@media (prefers-color-scheme: dark)")[scheme].split("* {")[0]
        )
    )
    pairs = [(text, ground) for text in ("text", "muted", "accent") for ground in ("ground", "surface", "sunken")]
    pairs += [(tone, f"{tone}-ground") for tone in ("green", "red", "amber", "blue", "violet")]
    pairs += [(tone, "surface") for tone in ("green", "red", "amber", "blue", "violet")]
    pairs += [("muted", "grey-ground"), ("text", "grey-ground"), ("accent", "blue-ground")]
    for text, ground in pairs:
        high, low = sorted((luminance(colours[text]), luminance(colours[ground])), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, f"{text} on {ground}"
    assert 1.05 / (luminance(colours["primary"]) + 0.05) >= 4.5  # white on a button
    edge, ground = sorted((luminance(colours[name]) + 0.05 for name in ("edge", "ground")), reverse=True)
    assert edge / ground >= 3  # where a field ends (WCAG 1.4.11)


@given(st.text(alphabet=st.characters()))
def test_visible_text_can_be_sent_and_hides_nothing(text: str) -> None:
    """Law: what is shown is UTF-8 and holds no control or bidi character; harmless text stays as it is."""
    shown = visible(text)

    shown.encode("utf-8")
    assert not set(shown) & set("\x00\x1b\r\u202e\u2066\u2028\ufeff")
    if text.isprintable():
        assert shown == text


def test_a_body_is_indented_with_its_digits() -> None:
    """Unless it is no JSON; a very long one is cut and says so."""
    assert body('{"n":1.50,"big":123456789012345678901}') == '{\n  "n": 1.50,\n  "big": 123456789012345678901\n}'
    assert body("{oops") == "{oops"
    assert body("x" * 100_000).endswith("… 34464 more characters")


def test_a_url_is_host_path_and_secrets() -> None:
    """`$${` is no reference."""
    assert list(url_parts("https://h.example.com/a/${secret:t}?x=$${y}")) == [
        ("host", "h.example.com"),
        ("path", "/a/"),
        ("secret", "${secret:t}"),
        ("path", "?x=$${y}"),
    ]


def test_phases_fill_the_time() -> None:
    """Marks count from the start; a reused connection has fewer of them."""
    parts = phases({"dns_ms": None, "connect_ms": None, "tls_ms": None, "first_byte_ms": 30.0, "total_ms": 40.0})

    assert [(part.name, part.start, part.width, part.ms) for part in parts] == [
        ("first byte", 0.0, 75.0, 30.0),
        ("rest", 75.0, 25.0, 10.0),
    ]
    assert phases(None) == phases({"total_ms": 0.0}) == []


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (NOW, "0 s ago"),
        (NOW - 59_999, "59 s ago"),
        (NOW - 61_000, "1 min ago"),
        (NOW + 7_200_000, "in 2 h"),
        (NOW - 2 * 86_400_000, "2 d ago"),
        (None, ""),
    ],
)
def test_times_are_told_in_one_unit(at: int | None, text: str) -> None:
    """The exact time stands beside it."""
    assert ago(at, NOW) == text
