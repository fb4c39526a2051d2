"""The guard: whose name, from where, with which headers."""

from collections.abc import AsyncIterator

import pytest
from served import Room, event, exchange, raw, running
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from reconciler.web.app import Security, build_app
from reconciler.web.guard import Guard


@pytest.fixture
async def url(room: Room) -> AsyncIterator[str]:
    app = build_app(store=room.store, live=room.live, intake=room.intake, status=dict, listen="http://10.1.2.3:8420")
    async with running(app) as base:
        yield base


async def ask(
    url: str, *lines: str, method: str = "GET", path: str = "/healthz", body: bytes = b""
) -> tuple[int, dict[str, str]]:
    head = [f"{method} {path} HTTP/1.1", *lines, f"content-length: {len(body)}", "", ""]
    status, headers, _ = await exchange(url, "\r\n".join(head).encode() + body)
    return status, headers


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8420", "localhost:1", "LOCALHOST", "127.9.9.9", "[::1]", "[::1]:8420", "10.1.2.3:8420"],
)
async def test_our_own_names_are_answered(url: str, host: str) -> None:
    """Loopback in any spelling of the standard, and the address we listen on; the port may be that of a tunnel."""
    assert (await ask(url, f"host: {host}"))[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example.com",
        "localhost.evil.example.com",
        "127.0.0.1.evil.example.com",
        "10.1.2.4",
        "192.168.0.1:8420",
        "user@127.0.0.1",
        "127.0.0.1/x",
        "127.0.0.1:http",
        "[::1",
        "",
        "127.1",
        "0.0.0.0",
    ],
)
async def test_other_names_are_misdirected(url: str, host: str) -> None:
    """A name that someone rebinds to loopback reads nothing here."""
    status, headers = await ask(url, f"host: {host}")

    assert (status, headers["content-type"]) == (421, "application/problem+json")


@pytest.mark.parametrize("lines", [[], ["host: 127.0.0.1", "host: evil.example.com"]])
async def test_one_host_is_named(url: str, lines: list[str]) -> None:
    """Not none and not two."""
    assert (await ask(url, *lines))[0] in (400, 421)


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://127.0.0.1/healthz", 200),
        ("HTTP://LOCALHOST:8420/healthz", 200),
        ("http://evil.example.com/healthz", 421),
        ("http://evil.example.com:80/healthz?x=127.0.0.1", 421),
        ("http://127.0.0.1@evil.example.com/healthz", 421),
    ],
)
async def test_a_target_in_absolute_form_says_who_is_meant(url: str, target: str, status: int) -> None:
    """Whatever Host says beside it."""
    assert (await ask(url, "host: 127.0.0.1", path=target))[0] == status


@pytest.mark.parametrize(
    "line",
    [
        "origin: https://evil.example.com",
        "origin: null",
        "origin: http://127.0.0.1:8420",
        "sec-fetch-site: cross-site",
        "sec-fetch-site: same-origin",
    ],
)
async def test_nothing_is_changed_by_a_browser(url: str, room: Room, line: str) -> None:
    """Without tokens, not even from our own page."""
    host = "host: 127.0.0.1"
    status, _ = await ask(url, host, line, method="POST", path="/v1/events", body=raw(event(1)))

    assert status == 403
    assert await room.store.events() == ()
    assert (await ask(url, host, line))[0] == 200


async def test_programs_are_not_browsers(url: str) -> None:
    """curl and `send` say no origin."""
    status, _ = await ask(url, "host: 127.0.0.1", method="POST", path="/v1/events", body=raw(event(1)))

    assert status == 202


@pytest.mark.parametrize("path", ["/", "/v1/events", "/healthz", "/missing", "/static/page.css", "/deliveries?limit=x"])
async def test_every_answer_carries_the_security_headers(url: str, path: str) -> None:
    """Pages, API, errors and files alike."""
    _, headers = await ask(url, "host: 127.0.0.1", path=path)

    assert headers["content-security-policy"].startswith("default-src 'self'; script-src 'none';")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
    assert "access-control-allow-origin" not in headers
    assert headers["cache-control"] == "no-store"


async def test_a_refusal_carries_them_too(url: str) -> None:
    """A browser may show it."""
    _, headers = await ask(url, "host: evil.example.com")

    assert "content-security-policy" in headers


NAMES = ("daemon.example.com", "*.apps.example.com", "10.9.8.7")


@pytest.fixture
async def named(room: Room) -> AsyncIterator[str]:
    """A daemon with a certificate for these names, listening everywhere."""
    app = build_app(
        store=room.store,
        live=room.live,
        intake=room.intake,
        status=dict,
        listen="https://0.0.0.0:8420",
        security=Security(names=NAMES),
    )
    async with running(app) as base:
        yield base


@pytest.mark.parametrize(
    "host", ["daemon.example.com", "DAEMON.example.com:8420", "a.apps.example.com", "10.9.8.7:8420", "127.0.0.1"]
)
async def test_the_names_of_the_certificate_are_ours(named: str, host: str) -> None:
    """A wildcard stands for one label."""
    assert (await ask(named, f"host: {host}"))[0] == 200


@pytest.mark.parametrize(
    "host",
    ["apps.example.com", "a.b.apps.example.com", "example.com", "*.apps.example.com", "evil.example.com", "10.9.8.6"],
)
async def test_no_other_name_is_ours_under_a_certificate(named: str, host: str) -> None:
    """421 is for a name that this server has no certificate for (RFC 9110, section 15.5.20)."""
    assert (await ask(named, f"host: {host}"))[0] == 421


@pytest.mark.parametrize(("server", "status"), [("10.3.2.1", 200), ("::ffff:10.3.2.1", 200), ("10.3.2.2", 421)])
async def test_the_address_that_a_connection_came_in_on_is_ours(server: str, status: int) -> None:
    """What probes a daemon that listens everywhere names it by the address it has there."""
    answers: list[int] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("")(scope, receive, send)

    async def send(message: Message) -> None:
        answers.append(message.get("status", 0))

    async def receive() -> Message:
        return {"type": "http.request"}

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"10.3.2.1:8420")]}
    await Guard(inner)({**scope, "server": (server, 8420)}, receive, send)

    assert answers[0] == status
