"""Access tokens on their way: had once for many, renewed in time, asked for again after a 401, and never seen."""

import asyncio
import base64
from pathlib import Path
from urllib.parse import parse_qs

import orjson
import pytest
from oauth_room import (
    ALIAS,
    CLIENT,
    SECRET,
    TOKEN_URL,
    by_secret,
    clients,
    oauth2,
    oauth_room,
    private_pem,
    webhook,
)

from reconciler.errors import SecretError
from reconciler.models.delivery import AttemptResult, Fault
from reconciler.sandbox.flow import Flow
from reconciler.sandbox.script import Line
from reconciler.settings import TransportKind

TOKEN_PATH = "/oauth2/v1/token"


def line(**said: object) -> Line:
    """A line of the script for the token endpoint."""
    return Line.model_validate({"flow": TOKEN_PATH, **said})


def text_of(result: AttemptResult) -> str:
    """Everything that people are shown of an attempt."""
    return f"{result.to_json()!r} {result!r}"


async def test_a_flow_that_wants_a_token_is_sent_one(tmp_path: Path, transport: TransportKind) -> None:
    """The whole way over both transports: assertion, token, invocation; and nothing of them is shown."""
    async with oauth_room(tmp_path, transport=transport) as room:
        result = await room.send()

        assert (result.fault, result.status, room.invocations) == (None, 200, [200])
        (form,) = room.token_requests
        fields = {name: values[0] for name, values in parse_qs(form).items()}
        assert fields["grant_type"] == "client_credentials"
        assert fields["scope"] == "okta.workflows.invoke.manage"
        assert fields["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        (claims,) = room.sandbox.oauth.claims
        assert (claims["iss"], claims["sub"], claims["aud"]) == (CLIENT, CLIENT, TOKEN_URL)
        assert 0 < claims["exp"] - claims["iat"] <= 3600
        assert result.request is not None
        assert dict(result.request.headers)["authorization"] == "Bearer ***"
        (token,) = room.sandbox.oauth.issued
        assert token not in text_of(result)


@pytest.mark.parametrize("where", [None, "header", "body"])
async def test_a_client_secret_goes_into_the_header_or_the_body(tmp_path: Path, where: str | None) -> None:
    """RFC 6749, section 2.3.1: by the header unless the manifest says otherwise, both parts form-encoded."""
    auth = by_secret(client_id="with-secret", client_secret_in=where)
    async with oauth_room(tmp_path) as room:
        result = await room.send(webhook(auth={"oauth2": auth}))

        assert result.status == 200
        (sent,) = [item for item in room.sandbox.requests if item.path == TOKEN_PATH]
        assert ("authorization" in sent.headers) == (where != "body")
        assert ("client_secret" in sent.body) == (where == "body")
        assert SECRET not in sent.body


async def test_the_webhooks_of_one_client_share_one_token(tmp_path: Path) -> None:
    """However many wait for it at once; another scope, key or endpoint is another client."""
    async with oauth_room(tmp_path) as room:
        hooks = [webhook(f"a{index}") for index in range(40)]

        results = await asyncio.gather(*(room.send(hook) for hook in hooks))

        assert {result.status for result in results} == {200}
        assert len(room.token_requests) == 1

        await room.send(webhook(auth={"oauth2": oauth2(key_id="k2")}))
        assert len(room.token_requests) == 2


async def test_a_token_is_renewed_before_it_expires(tmp_path: Path) -> None:
    """By one request, and none before its time."""
    async with oauth_room(tmp_path) as room:
        await room.send()
        room.clock.at += 2800
        await room.send()
        assert len(room.token_requests) == 1

        room.clock.at += 200
        await asyncio.gather(*(room.send() for _ in range(10)))
        requests = await room.sandbox.wait_for_requests(2 + 12)

        assert len([item for item in requests if item.path == TOKEN_PATH]) == 2
        assert set(room.invocations) == {200}


async def test_nobody_waits_for_a_renewal(tmp_path: Path) -> None:
    """The endpoint never answers; the old token serves meanwhile."""
    async with oauth_room(tmp_path) as room:
        await room.send()
        room.sandbox.add_script(line(drop=True))
        room.clock.at += 3000

        results = await asyncio.gather(*(room.send() for _ in range(10)))

        assert {result.status for result in results} == {200}


async def test_an_endpoint_that_is_away_for_a_while_is_not_noticed(tmp_path: Path) -> None:
    """What fails is the renewal; the token that is left is good for some minutes."""
    async with oauth_room(tmp_path) as room:
        await room.send()
        room.sandbox.add_script(line(status=503, times=50))
        for seconds in (3000, 100, 100, 100):
            room.clock.at += seconds
            assert (await room.send()).status == 200

        room.clock.at += 400
        result = await room.send()

        assert result.fault is Fault.TOKEN
        assert "503" in result.detail


async def test_after_a_401_the_request_is_sent_once_more_with_a_new_token(tmp_path: Path) -> None:
    """The old one may have been revoked. One new token serves all who were refused the old one."""
    async with oauth_room(tmp_path) as room:
        await room.send()
        room.sandbox.oauth.revoke_all()

        results = await asyncio.gather(*(room.send() for _ in range(5)))

        assert {result.status for result in results} == {200}
        assert len(room.token_requests) == 2
        assert room.invocations.count(401) == 5
        assert all("new access token" in result.detail for result in results)


async def test_an_endpoint_may_give_the_same_token_again(tmp_path: Path) -> None:
    """Some do while it holds. Those who wait for it are served, though others refuse it at the same moment."""
    async with oauth_room(tmp_path) as room:
        body = {"token_type": "Bearer", "expires_in": 3600, "access_token": "the-same-token-each-time"}
        room.sandbox.add_script(line(status=200, body=body, times=200))

        results = await asyncio.gather(*(room.send() for _ in range(30)))

        assert {(result.fault, result.status) for result in results} == {(Fault.STATUS, 401)}
        assert room.invocations == [401] * 60


async def test_a_second_401_is_the_destinations(tmp_path: Path) -> None:
    """Once per attempt, and no more."""
    async with oauth_room(tmp_path) as room:
        room.sandbox.add_script(Line(status=401, times=10))

        result = await room.send()

        assert (result.fault, result.status) == (Fault.STATUS, 401)
        assert room.invocations == [401, 401]
        assert result.detail.endswith("also to a new access token")


async def test_a_429_keeps_everybody_waiting_as_long_as_it_says(tmp_path: Path) -> None:
    """Nobody asks again before; only one of those who wait has made an attempt."""
    async with oauth_room(tmp_path) as room:
        room.sandbox.add_script(line(status=429, headers={"retry-after": "40"}))

        results = await asyncio.gather(*(room.send() for _ in range(5)))
        later = await room.send()

        assert {result.fault for result in results} == {Fault.TOKEN}
        assert sum(result.is_attempt for result in results) == 1
        assert not later.is_attempt
        assert {result.retry_after_seconds for result in results} == {40.0}
        assert len(room.token_requests) == 1
        room.clock.at += 41
        assert (await room.send()).status == 200


async def test_while_the_endpoint_is_away_it_is_asked_less_and_less(tmp_path: Path) -> None:
    """5 s, 10 s, 20 s, up to five minutes."""
    async with oauth_room(tmp_path) as room:
        room.sandbox.add_script(line(close=True, times=20))
        waits = []
        for _ in range(8):
            result = await room.send()
            assert result.fault is Fault.TOKEN
            waits.append(result.retry_after_seconds)
            room.clock.at += (result.retry_after_seconds or 0) + 0.001

        assert waits == [5, 10, 20, 40, 80, 160, 300, 300]
        assert room.invocations == []


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512"])
async def test_what_an_endpoint_refuses_is_explained(tmp_path: Path, algorithm: str) -> None:
    """A wrong key: whatever the algorithm, the signature does not hold."""
    async with oauth_room(tmp_path) as room:
        room.secrets["okta_key"] = private_pem(which=1)

        result = await room.send(webhook(auth={"oauth2": oauth2(algorithm=algorithm)}))

        assert result.fault is Fault.TOKEN
        assert "signature is invalid. (wrong private key?)" in result.detail
        assert any("thumbprint" in check for check in result.checks)


async def test_dpop_says_what_to_untick(tmp_path: Path) -> None:
    """It is on for every new application at Okta."""
    async with oauth_room(tmp_path, oauth_clients=clients(tmp_path, needs_dpop=True)) as room:
        result = await room.send()

        assert "untick Require DPoP" in result.detail
        assert "untick `Require Demonstrating Proof of Possession (DPoP)" in result.checks[0]


async def test_a_key_that_cannot_sign_is_told_without_it(tmp_path: Path) -> None:
    """Before anything is sent: deliveries wait for the operator."""
    async with oauth_room(tmp_path) as room:
        room.secrets["okta_key"] = "-----BEGIN PUBLIC KEY-----\nAAAABBBBCCCC\n-----END PUBLIC KEY-----"

        with pytest.raises(SecretError) as caught:
            await room.send()

        assert "okta_key" in caught.value.message
        assert "AAAABBBB" not in f"{caught.value.message} {caught.value.hint}"
        assert room.sandbox.requests == []


async def test_a_user_name_of_no_use_is_told_beforehand(tmp_path: Path) -> None:
    """The lanes ask before anything is claimed: its deliveries wait and say why."""
    hook = webhook(auth={"basic": {"username": "${secret:user}", "password": "${secret:okta_key}"}})
    async with oauth_room(tmp_path) as room:
        with pytest.raises(SecretError, match="colon"):
            room.deliverer.credentials(hook, {"user": "ann:bob-carol", "okta_key": "12345678"})


async def test_a_basic_credential_is_masked_in_what_echoes_it(tmp_path: Path) -> None:
    """Its Base64 is no spelling of a secret alone."""
    hook = webhook(auth={"basic": {"username": "ann", "password": "${secret:client_secret}"}})
    credential = base64.b64encode(f"ann:{SECRET}".encode()).decode()
    async with oauth_room(tmp_path, flows=(Flow(ALIAS),)) as room:
        room.sandbox.add_script(Line(status=400, body={"you sent": f"Basic {credential}"}))

        result = await room.send(hook)

        assert result.status == 400
        assert credential not in text_of(result)


@pytest.mark.parametrize(
    "body",
    [
        *({"access_token": "a\r\nx-injected: 1"}, {"access_token": "naïve"}, {"access_token": ""}, {"access_token": 7}),
        *({"access_token": "a" * 20_000}, {}, [], "text", {"access_token": "abc", "token_type": "mac"}),
        {"access_token": "abcdefgh12345678", "token_type": "DPoP"},
    ],
)
async def test_no_answer_makes_a_header_that_it_should_not(tmp_path: Path, body: object) -> None:
    """What an endpoint says is not trusted: a token that no header can carry is none."""
    async with oauth_room(tmp_path) as room:
        room.sandbox.add_script(line(status=200, body=body))

        result = await room.send()

        assert result.fault is Fault.TOKEN
        assert room.invocations == []


async def test_an_answer_is_read_no_further_than_it_must_be(tmp_path: Path) -> None:
    """Two megabytes in place of a token; and what is said of them is short."""
    async with oauth_room(tmp_path) as room:
        room.sandbox.add_script(line(status=400, body={"error": "x" * 2_000_000}))

        result = await room.send()

        assert result.fault is Fault.TOKEN
        assert len(result.detail) < 400


async def test_what_an_endpoint_echoes_is_masked(tmp_path: Path) -> None:
    """The secret in any of its spellings, and the credential it stood in."""
    credential = base64.b64encode(f"with-secret:{SECRET}".encode()).decode()
    async with oauth_room(tmp_path) as room:
        room.deliverer.tokens._masker.add(SECRET)  # as the resolver does
        room.sandbox.add_script(line(status=400, body={"error": f"{SECRET} {credential}"}))

        result = await room.send(webhook(auth={"oauth2": by_secret(client_id="with-secret")}))

        assert result.fault is Fault.TOKEN
        assert SECRET not in text_of(result)
        assert credential not in text_of(result)


@pytest.mark.parametrize("length", [100, 130, 150, 220, 250])
async def test_what_an_endpoint_echoes_is_masked_before_it_is_cut(tmp_path: Path, length: int) -> None:
    """Wherever in a long description it stands."""
    async with oauth_room(tmp_path) as room:
        room.deliverer.tokens._masker.add(SECRET)
        room.sandbox.add_script(
            line(status=400, body={"error": "invalid_client", "error_description": f"{'x' * length}{SECRET}"})
        )

        result = await room.send(webhook(auth={"oauth2": by_secret(client_id="with-secret")}))

        assert result.fault is Fault.TOKEN
        assert SECRET[:8] not in text_of(result)


async def test_the_endpoints_host_is_judged_like_any_receiver(tmp_path: Path) -> None:
    """No address of it is dialled that webhooks must not reach."""

    async def inside(host: str, port: int) -> list[str]:
        return ["169.254.169.254"]

    async with oauth_room(tmp_path, is_reachable=False) as room:
        room.deliverer._client._transport._dialer._resolve = inside  # type: ignore[attr-defined]

        result = await room.send()

        assert result.fault is Fault.TOKEN
        assert "169.254.169.254" in result.detail


async def test_a_token_is_in_no_text_of_its_holder(tmp_path: Path) -> None:
    """Neither in a repr, should one ever be printed; nor does the answer's own echo of it reach people."""
    async with oauth_room(tmp_path) as room:
        room.sandbox.add_script(Line(status=200, body="echo"))
        await room.send()
        (token,) = room.sandbox.oauth.issued
        room.sandbox.add_script(Line(status=400, body={"you sent": token}))

        result = await room.send()

        assert token not in text_of(result)
        client = room.deliverer.credentials(webhook(), room.secrets).client
        assert client is not None
        assert token not in repr(await room.deliverer.tokens.token(client))
        assert private_pem() not in repr(client)
        assert token not in orjson.dumps(result.to_json()).decode()
