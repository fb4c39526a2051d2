"""The token endpoint: what it takes, what it refuses and how, and the flows that want its tokens."""

import base64
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from oauth_room import ALIAS, CLIENT, HOST, SECRET, TOKEN_URL, Clock, clients, private_pem, public_pem

from reconciler.errors import OptionError
from reconciler.sandbox.flow import Flow
from reconciler.sandbox.oauth import ASSERTION_TYPE, DEFAULT_ORG, DEFAULT_SCOPE, parse_client
from reconciler.sandbox.okta import OktaSandbox, SandboxSettings

PATH = "/oauth2/v1/token"


class Room:
    """A sandbox with its clock, and requests to it."""

    def __init__(self, sandbox: OktaSandbox, client: Any, clock: Clock) -> None:
        self.sandbox, self.client, self.clock = sandbox, client, clock

    def claims(self, **changed: Any) -> dict[str, Any]:
        """What a sound assertion claims; None takes a claim out."""
        now = int(self.clock())
        sound = {"iss": CLIENT, "sub": CLIENT, "aud": TOKEN_URL, "iat": now, "exp": now + 300, "jti": uuid.uuid4().hex}
        return {name: value for name, value in {**sound, **changed}.items() if value is not None}

    async def ask(self, assertion: str | None = None, **form: str) -> httpx.Response:
        """A request for a token."""
        fields = {"grant_type": "client_credentials", "scope": DEFAULT_SCOPE, **form}
        if assertion is not None:
            fields |= {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
        answer: httpx.Response = await self.client.send(path=PATH, host=DEFAULT_ORG, data=fields)
        return answer

    async def by_key(
        self, header: dict[str, Any] | None = None, pem: str | None = None, **claims: Any
    ) -> httpx.Response:
        """A request by an assertion that may be unsound."""
        head = {"alg": "RS256", "kid": "k1", **(header or {})}
        key = RSAKey.import_key(pem or private_pem())
        return await self.ask(jwt.encode(head, self.claims(**claims), key, algorithms=[head["alg"]]))

    async def invoke(self, token: str | None) -> httpx.Response:
        """A request for the flow."""
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        answer: httpx.Response = await self.client.send(host=HOST, headers=headers)
        return answer


@pytest.fixture
async def room(tmp_path: Path, connect: Any) -> AsyncIterator[Room]:
    """With a client by key and one by secret."""
    clock = Clock()
    settings = SandboxSettings(
        hosts=(HOST, DEFAULT_ORG), flows=(Flow(ALIAS, is_oauth=True),), oauth_clients=clients(tmp_path), rate=None
    )
    async with OktaSandbox(settings, epoch=clock) as sandbox, connect(sandbox) as client:
        yield Room(sandbox, client, clock)


async def test_a_token_of_a_sound_assertion_opens_the_flow(room: Room) -> None:
    answer = await room.by_key()

    token = answer.json()
    assert answer.status_code == 200
    assert (token["token_type"], token["expires_in"], token["scope"]) == ("Bearer", 3600, DEFAULT_SCOPE)
    assert (await room.invoke(token["access_token"])).status_code == 200
    room.clock.at += 3601
    assert (await room.invoke(token["access_token"])).status_code == 401


@pytest.mark.parametrize("token", [None, "made-up", "a b"])
async def test_a_flow_that_wants_a_token_says_so(room: Room, token: str | None) -> None:
    """RFC 6750, section 3."""
    answer = await room.invoke(token)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"aud": "https://acme.okta.com"}, "The audience claim for client_assertion must be the endpoint invoked"),
        ({"aud": None}, "The audience claim"),
        ({"exp": 1}, "is expired"),
        ({"exp": None}, "is expired"),
        ({"exp": 1_800_000_000 + 3600 + 120}, "too far into the future"),
        ({"iat": 1_800_000_000 + 600}, "issued in the future"),
        ({"iss": "someone"}, "invalid issuer or subject"),
        ({"sub": "someone"}, "invalid issuer or subject"),
        ({"sub": None, "iss": None}, "invalid issuer or subject"),
        ({"iss": "with-secret", "sub": "with-secret"}, "invalid issuer or subject"),
    ],
)
async def test_an_assertion_that_claims_wrong_is_refused(room: Room, claims: dict[str, Any], said: str) -> None:
    """In the words in which Okta refuses it."""
    answer = await room.by_key(**claims)

    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert said in answer.json()["error_description"]
    assert room.sandbox.oauth.issued == {}


async def test_a_signature_of_another_key_is_refused(room: Room) -> None:
    answer = await room.by_key(pem=private_pem(which=1))

    assert answer.json()["error_description"] == "The client_assertion signature is invalid."


async def test_an_assertion_serves_once(room: Room) -> None:
    """A replayed jti; without one there is nothing to know it by, as at Okta."""
    assert (await room.by_key(jti="once")).status_code == 200
    assert "already been used" in (await room.by_key(jti="once")).json()["error_description"]
    assert (await room.by_key(jti=None)).status_code == 200
    assert (await room.by_key(jti=None)).status_code == 200


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
async def test_an_assertion_signs_with_a_private_key_or_not_at_all(room: Room, algorithm: str) -> None:
    """Neither unsigned nor with the public key as a shared secret."""
    good = jwt.encode({"alg": "RS256", "kid": "k1"}, room.claims(), RSAKey.import_key(private_pem()))
    head = json.dumps({"alg": algorithm, "kid": "k1"})
    forged = base64.urlsafe_b64encode(head.encode()).decode().rstrip("=") + "." + good.split(".")[1] + "."

    answer = await room.ask(forged)

    assert answer.status_code == 401
    assert room.sandbox.oauth.issued == {}


@pytest.mark.parametrize("assertion", ["", "a.b", "a.b.c", "..", "e30.e30.", "{}"])
async def test_what_is_no_assertion_is_refused(room: Room, assertion: str) -> None:
    assert (await room.ask(assertion)).status_code == 401


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"scope": "okta.users.manage"}, "invalid_scope"),
        ({"scope": ""}, "invalid_scope"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"client_secret": "wrong"}, "invalid_client"),
        ({"client_id": CLIENT}, "invalid_client"),
        ({"client_id": "nobody"}, "invalid_client"),
    ],
)
async def test_requests_by_secret_are_judged_too(room: Room, form: dict[str, str], error: str) -> None:
    """Scope, grant, secret; a client with a key cannot use one."""
    answer = await room.ask(**{"client_id": "with-secret", "client_secret": SECRET, **form})

    assert answer.json()["error"] == error


async def test_a_client_that_requires_dpop_is_told_so(tmp_path: Path, connect: Any) -> None:
    clock = Clock()
    settings = SandboxSettings(hosts=(HOST, DEFAULT_ORG), oauth_clients=clients(tmp_path, needs_dpop=True))
    async with OktaSandbox(settings, epoch=clock) as sandbox, connect(sandbox) as client:
        answer = await Room(sandbox, client, clock).by_key()

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_dpop_proof")


async def test_the_record_shows_the_assertion_without_its_signature(room: Room) -> None:
    """And no secret: the file may lie about for long."""
    await room.by_key()
    await room.ask(client_id="with-secret", client_secret=SECRET)

    first, second = room.sandbox.requests
    assert parse_qs(first.body)["client_assertion"][0].endswith(".***")
    assert SECRET not in second.body
    assert (first.flow, first.status) == (PATH, 200)


@pytest.mark.parametrize("kind", ["pem", "private pem", "jwk", "jwks", "ec"])
def test_a_clients_key_is_read_however_it_is_kept(tmp_path: Path, kind: str) -> None:
    pem = private_pem("P-256") if kind == "ec" else private_pem()
    key = (ECKey if kind == "ec" else RSAKey).import_key(pem)
    jwk = {**key.as_dict(private=False), "kid": "k1"}
    text = {
        "pem": public_pem(pem),
        "ec": public_pem(pem),
        "private pem": pem,
        "jwk": json.dumps(jwk),
        "jwks": json.dumps({"keys": [jwk, {**jwk, "kid": "k2"}]}),
    }[kind]
    file = tmp_path / "key"
    file.write_text(text)

    client = parse_client(f"id={file}", needs_dpop=[], scopes=())

    assert len(client.keys) == (2 if kind == "jwks" else 1)


@pytest.mark.parametrize("text", ["id", "=file", "id=", "id=/no/such/file", "id={file}"])
def test_a_client_that_cannot_be_read_is_an_option_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "key"
    file.write_text("no key")

    with pytest.raises(OptionError):
        parse_client(text.format(file=file), needs_dpop=[], scopes=())
