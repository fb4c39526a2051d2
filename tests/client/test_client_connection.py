"""How a daemon is reached, and what people are told when it is not."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from client_served import answering, open_room, serving_tls
from served import Room, running
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from reconciler.client.connection import DaemonAddress, DaemonError
from reconciler.client.store import RemoteStore
from reconciler.errors import NotInStoreError, ReconcilerError, RefusedError, StalePlanError
from reconciler.store.base import Page
from reconciler.web.app import build_app

TOKEN = "0123456789abcdef" * 2
OURS = {"reconciler-api": "1"}


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize(
    ("url", "fact"),
    [
        ("daemon.example.com", "this is no daemon's address: daemon.example.com"),
        ("sqlite:///x.db", "this is no daemon's address"),
        ("https://", "this is no daemon's address"),
        ("https://daemon.example.com/?x=1", "this is no daemon's address"),
        ("https://daemon.example.com/#x", "this is no daemon's address"),
        ("https://daemon.example.com:99999", "this is no daemon's address"),
        ("https://daemon.example.com/\r\nx", "this is no daemon's address"),
        ("https://dämon.example.com", "this is no daemon's address"),
        (" https://daemon.example.com", "this is no daemon's address"),
        ("https://daemon .example.com", "this is no daemon's address"),
        ("HTTP://daemon.example.com", "http:// is for loopback only: daemon.example.com"),
        ("http://daemon.example.com", "http:// is for loopback only: daemon.example.com"),
        ("http://10.1.2.3:8420", "http:// is for loopback only: 10.1.2.3"),
        ("http://127.0.0.1.example.com", "http:// is for loopback only"),
        ("http://localhost.example.com", "http:// is for loopback only"),
        (f"https://{TOKEN}@daemon.example.com", "a daemon's address holds no user and no token"),
        (f"https://user:{TOKEN}@127.0.0.1", "a daemon's address holds no user and no token"),
    ],
)
def test_what_is_no_address_of_a_daemon_is_refused(url: str, fact: str) -> None:
    """Before anything is sent; what may be a secret is not said again."""
    with pytest.raises(DaemonError) as caught:
        DaemonAddress(url)

    assert fact in caught.value.message and caught.value.hint
    assert TOKEN not in f"{caught.value.message}{caught.value.hint}"


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8420", "http://localhost", "http://[::1]:1", "https://10.1.2.3", "https://d.example.com/base/"],
)
def test_plain_http_is_for_this_machine(url: str) -> None:
    """https:// goes anywhere, under a path too."""
    assert DaemonAddress(url).url == url.rstrip("/")


@pytest.mark.parametrize("token", ["", " ", "two words", f"{TOKEN}\r\nx: y", "tökén", f"{TOKEN}\0"])
def test_what_is_no_token_is_refused_without_being_said(token: str) -> None:
    """It would be said by the HTTP library, in an error that shows the header."""
    with pytest.raises(DaemonError) as caught:
        DaemonAddress("https://d.example.com", token)

    assert "RECONCILER_TOKEN" in caught.value.message
    assert TOKEN not in f"{caught.value.message}{caught.value.hint}"


def test_a_token_is_shown_by_nothing() -> None:
    """An address may be logged; white space around a token comes from files."""
    daemon = DaemonAddress("https://d.example.com", f" {TOKEN}\n")

    assert TOKEN not in repr(daemon)
    assert daemon.http_options()["headers"]["authorization"] == f"Bearer {TOKEN}"


Ask = Callable[..., Awaitable[ReconcilerError]]


@pytest.fixture
def refusal() -> Ask:
    """What asking a daemon for its state comes to."""

    async def ask(url: str, **facts: Any) -> ReconcilerError:
        with pytest.raises(ReconcilerError) as caught:
            async with RemoteStore(DaemonAddress(url, TOKEN, **facts)) as store:
                await store.live_state()
        assert TOKEN not in f"{caught.value.message}{caught.value.hint}"
        return caught.value

    return ask


async def test_a_daemon_that_is_down_is_said_so(refusal: Ask) -> None:
    """With what to look at."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    error = await refusal(f"http://127.0.0.1:{port}")

    assert error.message == f"no daemon answers at http://127.0.0.1:{port}"
    assert "is the daemon running?" in error.hint


async def test_a_certificate_of_a_stranger_is_not_trusted(refusal: Ask, room: Room, tmp_path: Path) -> None:
    """Only that of an authority which the operator names."""
    authority, stranger = trustme.CA(), trustme.CA()
    for name, ca in (("ca", authority), ("stranger", stranger)):
        ca.cert_pem.write_to_path(tmp_path / f"{name}.pem")
    async with serving_tls(room, authority.issue_cert("127.0.0.1")) as url:
        async with RemoteStore(DaemonAddress(url, None, tmp_path / "ca.pem")) as store:
            assert (await store.live_state()).revision == 1

        for ca_file in (None, tmp_path / "stranger.pem"):
            error = await refusal(url, ca_file=ca_file)
            assert f"the certificate of {url} is not trusted" in error.message
            assert "--ca FILE" in error.hint


async def test_a_certificate_for_another_name_is_not_trusted(refusal: Ask, room: Room, tmp_path: Path) -> None:
    """Who has a certificate is not who has this name."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")

    async with serving_tls(room, authority.issue_cert("another.example.com")) as url:
        error = await refusal(url, ca_file=tmp_path / "ca.pem")

    assert "ip address mismatch" in error.message


async def test_authorities_that_cannot_be_read_are_said(refusal: Ask, tmp_path: Path) -> None:
    """A missing file is not an empty one."""
    error = await refusal("https://127.0.0.1:1", ca_file=tmp_path / "none.pem")

    assert f"the authorities cannot be read: {tmp_path / 'none.pem'}" in error.message


async def test_plain_http_behind_an_https_address_is_said(refusal: Ask, room: Room) -> None:
    """The daemon was started without a certificate."""
    app = build_app(store=room.store, live=room.live, intake=room.intake, status=dict)
    async with running(app) as url:
        error = await refusal(url.replace("http://", "https://"))

    assert "no TLS is spoken" in error.message


@pytest.mark.parametrize(
    ("spoken", "hint"), [("2", "upgrade this reconciler"), ("0", "upgrade the daemon"), ("x", "upgrade the daemon")]
)
async def test_another_version_of_the_api_is_said_with_both(refusal: Ask, spoken: str, hint: str) -> None:
    """Whatever else the answer says: it may mean something else there."""
    async with answering(JSONResponse({"revision": 1}, headers={"reconciler-api": spoken})) as url:
        error = await refusal(url)

    assert f"the daemon speaks version {spoken} of the API" in error.message and "version 1" in error.message
    assert hint in error.hint


@pytest.mark.parametrize(
    "response",
    [
        JSONResponse({"revision": 1}),
        PlainTextResponse("hello"),
        Response("<html>", 502),
        RedirectResponse("https://login.example.com/"),
    ],
)
async def test_what_is_no_daemon_is_not_believed(refusal: Ask, response: Response) -> None:
    """A portal, a proxy, another service: no redirect is followed, since a token would go along."""
    async with answering(response) as url:
        error = await refusal(url)

    assert f"no daemon of ours answers at {url}: HTTP {response.status_code}" in error.message


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_behind_a_proxy_that_gave_up_something_may_have_been_done(refusal: Ask, status: int) -> None:
    """What was only asked may be asked again; of what was to be done, the person must look."""
    async with answering(Response("<html>", status)) as url:
        read = await refusal(url)
        async with RemoteStore(DaemonAddress(url)) as store:
            with pytest.raises(DaemonError) as held:
                await store.set_hold("", None)

    assert "is it running?" in read.hint and "unknown" not in read.hint
    assert held.value.hint == "whether it was done is unknown"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"lineage": 1}', b"null"])
async def test_an_answer_that_cannot_be_read_is_said(refusal: Ask, body: bytes) -> None:
    """Never a traceback, never an empty state."""
    async with answering(Response(body, headers=OURS)) as url:
        error = await refusal(url)

    assert error.message == f"the answer of {url} cannot be read"


@pytest.mark.parametrize(
    ("status", "problem", "kind", "fact"),
    [
        (401, {"detail": "unknown"}, DaemonError, "the daemon refuses: unknown (HTTP 401)"),
        (403, {"detail": "no role", "hint": "ask"}, DaemonError, "the daemon refuses: no role (HTTP 403)"),
        (503, {"detail": "the store does not answer"}, DaemonError, "the store does not answer (HTTP 503)"),
        (404, {"detail": "gone", "code": "not_in_store"}, NotInStoreError, "gone"),
        (409, {"detail": "on hold", "code": "refused"}, RefusedError, "on hold"),
        (409, {"detail": "old", "code": "stale", "base_revision": 1, "live_revision": 2}, StalePlanError, "old"),
        (409, {"detail": "old", "code": "stale", "base_revision": None}, StalePlanError, "old"),
        (500, {"detail": ["x"], "code": 7}, DaemonError, "Internal Server Error (HTTP 500)"),
        (500, [], DaemonError, "Internal Server Error (HTTP 500)"),
    ],
)
async def test_a_refusal_is_told_by_its_code(
    refusal: Ask, status: int, problem: Any, kind: type[ReconcilerError], fact: str
) -> None:
    """Not by its words; what has no code says its status."""
    async with answering(JSONResponse(problem, status, headers=OURS)) as url:
        error = await refusal(url)

    assert type(error) is kind
    assert fact in error.message
    if status == 401:
        assert "RECONCILER_TOKEN" in error.hint


async def test_an_apply_without_an_answer_may_have_been_made(room: Room) -> None:
    """The connection broke after it was sent: the person must look, and may safely apply again."""

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(cut, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    from served import publish, webhook

    async with server, RemoteStore(DaemonAddress(url)) as store:
        with pytest.raises(DaemonError) as read:
            await store.revisions(Page(1))
        with pytest.raises(DaemonError) as applied:
            await store.set_hold("", None)

    assert read.value.message.endswith("did not answer: the connection broke off") and "unknown" not in read.value.hint
    assert "whether it was done is unknown" in applied.value.hint
    assert await publish(room.store, webhook("x")) == 2


@pytest.mark.parametrize("url", ["https://d.example.com", "HTTPS://d.example.com", "hTTps://127.0.0.1/"])
def test_a_certificate_is_verified_however_the_address_is_written(url: str) -> None:
    """Against the system's authorities; `--ca` adds, and replaces nothing."""
    daemon = DaemonAddress(url, TOKEN)
    context = daemon.http_options()["verify"]

    assert daemon.url.startswith("https://")
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
