"""Events that are signed instead of sent with a token: Standard Webhooks, as any of its libraries signs."""

import base64
import hashlib
import hmac
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served import Room, event, raw, running
from web_token import TOKENS

from reconciler.observe import log
from reconciler.request.sign import parse_signer
from reconciler.request.verify import fitting_key, parse_verifying_key
from reconciler.web.app import Security, build_app
from reconciler.web.token import Tokens

SECRET = bytes(range(32))
KEY = "whsec_" + base64.b64encode(SECRET).decode()
NEXT_SECRET = bytes(range(1, 33))
NEXT_KEY = "whsec_" + base64.b64encode(NEXT_SECRET).decode()
PAIR = parse_signer("whsk_" + base64.b64encode(bytes(32)).decode())
BODY = raw(event(1))


def sign(secret: bytes, body: bytes, *, webhook_id: str = "msg_1", at: int) -> str:
    """By the letter of the specification, with nothing of ours."""
    content = f"{webhook_id}.{at}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(secret, content, hashlib.sha256).digest()).decode()


@pytest.fixture
def tokens_file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens.yaml"
    entries = {
        "apono": {"signing_keys": [KEY, NEXT_KEY], "roles": ["ingest"]},
        "pair": {"signing_keys": [PAIR.public_text()], "roles": ["ingest"]},  # type: ignore[union-attr]
        "reader": {"token": TOKENS["reader"], "roles": ["read"]},
        "sender": {"token": TOKENS["apono"], "roles": ["ingest"]},
    }
    path.write_text(json.dumps(entries))
    path.chmod(0o600)
    return path


@pytest.fixture
async def client(room: Room, tokens_file: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = build_app(
        store=room.store,
        live=room.live,
        intake=room.intake,
        status=dict,
        now=lambda: room.now,
        security=Security(Tokens.load(tokens_file)),
    )
    async with running(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as opened:
        yield opened


def headers(room: Room, body: bytes = BODY, *, secret: bytes = SECRET, age: int = 0, **changed: str) -> dict[str, str]:
    at = room.now // 1000 - age
    said = {
        "webhook-id": "msg_1",
        "webhook-timestamp": f"{at}",
        "webhook-signature": sign(secret, body, at=at),
    }
    return said | {name.replace("_", "-"): value for name, value in changed.items()}


async def post(client: httpx.AsyncClient, said: dict[str, str], body: bytes = BODY) -> httpx.Response:
    return await client.post("/v1/events", content=body, headers=said)


@pytest.mark.parametrize("secret", [SECRET, NEXT_SECRET])
async def test_a_signed_event_is_taken(client: httpx.AsyncClient, room: Room, secret: bytes) -> None:
    """By either key while one replaces the other; the message's id is the event's."""
    response = await post(client, headers(room, secret=secret))

    assert (response.status_code, response.json()["accepted"]) == (202, 1)
    assert response.json()["events"][0]["id"] == "msg_1"


async def test_a_public_key_is_enough(client: httpx.AsyncClient, room: Room) -> None:
    """v1a: the daemon then holds nothing that could sign."""
    at = room.now // 1000
    signature = PAIR.sign(f"msg_1.{at}.".encode() + BODY)

    response = await post(client, headers(room, webhook_signature=signature))

    assert response.status_code == 202


async def test_one_fitting_signature_among_others_is_enough(client: httpx.AsyncClient, room: Room) -> None:
    """A sender that rotates its keys signs with both; schemes of other days are passed over."""
    good = headers(room)["webhook-signature"]

    response = await post(client, headers(room, webhook_signature=f"v1,AAAA v9,zz {good} nonsense"))

    assert response.status_code == 202


async def test_a_large_body_is_verified_too(client: httpx.AsyncClient, room: Room) -> None:
    """In a thread, and to its last byte."""
    body = raw([event(number, text="a" * 1000) for number in range(500)])

    assert (await post(client, headers(room, body), body)).json()["accepted"] == 500
    assert (await post(client, headers(room, body), body[:-1] + b" ]")).status_code == 401


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook_signature": "v1,AAAA"},
        {"webhook_signature": ""},
        {"webhook_signature": "v1," + "A" * 44},
        {"webhook_signature": " ".join(["v1,AAAA"] * 17)},
        {"webhook_id": "msg_2"},
        {"webhook_id": ""},
        {"webhook_id": "a" * 256},
        {"webhook_timestamp": "0"},
        {"webhook_timestamp": "now"},
        {"webhook_timestamp": "-1"},
        {"webhook_timestamp": "9" * 400},
    ],
)
async def test_what_does_not_fit_is_401_and_stores_nothing(
    client: httpx.AsyncClient, room: Room, changed: dict[str, str]
) -> None:
    """Problem details that say what is wanted, never how near it was."""
    response = await post(client, headers(room, **changed))

    assert (response.status_code, response.headers["content-type"]) == (401, "application/problem+json")
    assert response.json()["code"] == "signature"
    assert "www-authenticate" in response.headers
    assert await room.store.events() == ()


async def test_a_changed_body_fits_no_signature(client: httpx.AsyncClient, room: Room) -> None:
    """Not by one byte."""
    response = await post(client, headers(room), BODY + b"\n")

    assert response.status_code == 401
    assert await room.store.events() == ()


@pytest.mark.parametrize(("age", "status"), [(300, 202), (301, 401), (-300, 202), (-301, 401)])
async def test_a_signature_is_good_for_five_minutes(
    client: httpx.AsyncClient, room: Room, age: int, status: int
) -> None:
    """On either side of now: what was overheard yesterday opens nothing."""
    assert (await post(client, headers(room, age=age))).status_code == status


async def test_a_request_that_is_sent_again_is_a_duplicate(client: httpx.AsyncClient, room: Room) -> None:
    """Within the window too it changes nothing, one event or several."""
    several = raw([event(2), event(3)])

    answers = [(await post(client, headers(room, body), body)).json() for body in (BODY, BODY, several, several)]

    assert [(answer["accepted"], answer["duplicates"]) for answer in answers] == [(1, 0), (0, 1), (2, 0), (0, 2)]


@pytest.mark.parametrize("other", [{"idempotency-key": "another"}, {"ce-id": "another"}])
async def test_a_captured_request_is_new_under_no_other_name(
    client: httpx.AsyncClient, room: Room, other: dict[str, str]
) -> None:
    """Only `webhook-id` is signed: who sends the request again may write what he likes into the other headers."""
    await post(client, headers(room))

    again = (await post(client, {**headers(room), **other})).json()

    assert (again["accepted"], again["duplicates"]) == (0, 1)


async def test_another_event_under_the_same_id_is_a_conflict(client: httpx.AsyncClient, room: Room) -> None:
    """A message's id is that of one message."""
    await post(client, headers(room))

    assert (await post(client, headers(room, raw(event(9))), raw(event(9)))).status_code == 409


@pytest.mark.parametrize("path", ["/v1/events", "/v1/webhooks", "/"])
async def test_a_signature_reads_nothing(client: httpx.AsyncClient, room: Room, path: str) -> None:
    """It is good for sending events alone."""
    assert (await client.get(path, headers=headers(room, b""))).status_code == 401


async def test_a_signature_changes_nothing_else(client: httpx.AsyncClient, room: Room) -> None:
    """The other endpoints want a token."""
    for path in ("/v1/revisions", "/v1/webhooks/created/pause", "/v1/deliveries/replay", "/v1/events/"):
        assert (await client.post(path, content=BODY, headers=headers(room))).status_code in (401, 404)


async def test_a_token_is_judged_by_itself(client: httpx.AsyncClient, room: Room) -> None:
    """A good one needs no signature, a bad one is not mended by one."""
    good = {"authorization": f"Bearer {TOKENS['apono']}"}

    assert (await post(client, headers(room, webhook_signature="v1,AAAA") | good)).status_code == 202
    assert (await post(client, headers(room) | {"authorization": "Bearer no"})).status_code == 401


async def test_headers_that_stand_twice_are_refused(client: httpx.AsyncClient, room: Room) -> None:
    """Which of the two was signed is anybody's guess."""
    said = [*headers(room).items(), ("webhook-id", "msg_2")]

    assert (await client.post("/v1/events", content=BODY, headers=said)).status_code == 401


async def test_neither_key_nor_signature_is_logged(client: httpx.AsyncClient, room: Room) -> None:
    """A refusal is logged by its reason."""
    stream = io.StringIO()
    log.configure("json", stream)
    said = headers(room)

    await post(client, said)
    await post(client, said, b"{}")
    log.silence()

    assert "no signature fits" in stream.getvalue()
    for secret in (KEY, said["webhook-signature"], KEY.removeprefix("whsec_")):
        assert secret not in stream.getvalue()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=200), at=st.integers(0, 10**10), changed=st.integers(0, 10**6))
def test_a_signature_fits_what_was_signed_and_nothing_else(body: bytes, at: int, changed: int) -> None:
    """Whatever is changed of id, time or body."""
    keys = [parse_verifying_key("0", KEY), parse_verifying_key("1", NEXT_KEY)]
    signature = sign(SECRET, body, at=at)
    position = changed % (len(body) + 1)
    other = body[:position] + b"x" + body[position:]
    facts: list[Any] = [("msg_1", f"{at}", other), ("msg_2", f"{at}", body), ("msg_1", f"{at + 1}", body)]

    assert fitting_key("msg_1", f"{at}", signature, body, keys) is keys[0]
    assert all(fitting_key(*fact[:2], signature, fact[2], keys) is None for fact in facts)
