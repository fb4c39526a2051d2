"""What Okta's endpoints say to right and wrong requests, over TLS."""

import asyncio
import ssl

import pytest

from reconciler.errors import ReconcilerError
from reconciler.sandbox.flow import BODY_MAX_BYTES, EXECUTION_HEADER, Flow, parse_flow
from reconciler.sandbox.okta import OktaSandbox, SandboxSettings

ALIAS = "0123456789abcdef0123456789abcdef"
PUBLIC = "fedcba9876543210fedcba9876543210"
TOKEN = "5ec7e7" * 10 + "abcd"
SECURED = SandboxSettings(flows=(Flow(ALIAS, TOKEN), Flow(PUBLIC)), rate=None)
BY_HEADER = {"x-api-client-token": TOKEN}


@pytest.mark.parametrize("path", [f"/api/flo/{ALIAS}/invoke", f"/api/flo/{ALIAS}"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_flow_is_invoked_by_get_and_post_with_and_without_invoke(client, method, path):
    """Apono's page leaves `/invoke` out."""
    answer = await client.send(method, path)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["execution_id"] == answer.headers[EXECUTION_HEADER]


async def test_executions_have_ids_of_their_own(client):
    first, second = await client.send(), await client.send()

    assert first.headers[EXECUTION_HEADER] != second.headers[EXECUTION_HEADER]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
async def test_other_methods_are_405_with_allow(client, method):
    answer = await client.send(method)

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, POST"


@pytest.mark.parametrize(
    "path",
    ["/", "/api/flo", "/api/flo/", f"/api/flo/{ALIAS}/", f"/api/flo/{ALIAS}/resume/1", f"/x/api/flo/{ALIAS}/invoke"],
)
async def test_other_paths_are_404(client, path):
    assert (await client.send("POST", path)).status_code == 404


@pytest.mark.parametrize("alias", ["x", "0" * 31, "0" * 33, "g" * 32, TOKEN])
async def test_without_flows_given_only_aliases_of_32_hex_digits_are_flows(client, alias):
    assert (await client.send("POST", f"/api/flo/{alias}/invoke")).status_code == 404


async def test_with_flows_given_only_these_are_flows(connect):
    async with OktaSandbox(SECURED) as sandbox, connect(sandbox) as client:
        public = await client.send("POST", f"/api/flo/{PUBLIC}/invoke")
        unknown = await client.send("POST", f"/api/flo/{'0' * 32}/invoke")

    assert public.status_code == 200
    assert unknown.status_code == 404


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (f"/api/flo/{ALIAS}/invoke", BY_HEADER, 200),
        (f"/api/flo/{ALIAS}/invoke?clientToken={TOKEN}", {}, 200),
        (f"/api/flo/{ALIAS}/invoke?a=b&clientToken={TOKEN}", {}, 200),
        (f"/api/flo/{TOKEN}/invoke", {}, 200),
        (f"/api/flo/{TOKEN}", {}, 200),
        (f"/api/flo/{TOKEN}", {"x-api-client-token": "wrong"}, 401),
        (f"/api/flo/{ALIAS}/invoke", {}, 401),
        (f"/api/flo/{ALIAS}/invoke", {"x-api-client-token": "wrong"}, 401),
        (f"/api/flo/{ALIAS}/invoke", {"x-api-client-token": ""}, 401),
        (f"/api/flo/{ALIAS}/invoke", {"x-api-client-token": "ü".encode("latin-1")}, 401),
        (f"/api/flo/{ALIAS}/invoke", {"authorization": f"Bearer {TOKEN}"}, 401),
        (f"/api/flo/{ALIAS}/invoke?clientToken=wrong", {}, 401),
        (f"/api/flo/{ALIAS}/invoke?clientToken=", {}, 401),
        (f"/api/flo/{ALIAS}/invoke?clienttoken={TOKEN}", {}, 401),
        (f"/api/flo/{ALIAS}/invoke?clientToken={TOKEN}", BY_HEADER, 400),
        (f"/api/flo/{ALIAS}/invoke?clientToken={TOKEN}&clientToken={TOKEN}", {}, 400),
    ],
)
async def test_a_secured_flow_takes_its_token_in_one_place(connect, path, headers, status):
    """By header, by query (never both), or where the alias goes."""
    async with OktaSandbox(SECURED) as sandbox, connect(sandbox) as client:
        answer = await client.send("POST", path, headers=headers)

    assert answer.status_code == status


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b'{"a": 1}', 200),
        ("application/json; charset=utf-8", b"[]", 200),
        ("application/json", rb'"\ud800"', 200),
        ("application/json", b"1" * 60, 200),
        ("application/json", b"", 200),
        ("application/json", b'{"a": 1', 400),
        ("application/json", b"{'a': 1}", 400),
        ("application/json", b"NaN", 400),
        ("application/json", b'"\xff"', 400),
        ("application/json", b"[" * 100_000, 400),
        ("application/cloudevents+json", b"{", 400),
        ("text/plain", b"{", 200),
        ("application/jsonish", b"{", 200),
    ],
)
async def test_a_body_must_be_the_json_that_its_type_says(client, content_type, body, status):
    """RFC 8259 decides, lone surrogates and long numbers included; other types are the flow's business."""
    answer = await client.send(content=body, headers={"content-type": content_type})

    assert answer.status_code == status


async def test_a_huge_body_is_413_and_ends_the_connection(client):
    answer = await client.send(content=b"x" * (BODY_MAX_BYTES + 1))

    assert answer.status_code == 413
    assert answer.headers["connection"] == "close"


async def test_a_body_of_the_greatest_size_is_taken(client):
    assert (await client.send(content=b"x" * BODY_MAX_BYTES)).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("acme.workflows.okta.com", 200),
        ("ACME.Workflows.okta.com.", 200),
        ("acme.workflows.okta.com:443", 200),
        ("beta.workflows.oktapreview.com", 200),
        ("other.workflows.okta.com", 421),
        ("127.0.0.1", 421),
        ("[::1]:443", 421),
    ],
)
async def test_only_its_hosts_are_served(connect, host, status):
    hosts = ("acme.workflows.okta.com", "beta.workflows.oktapreview.com")
    async with OktaSandbox(SandboxSettings(hosts=hosts)) as sandbox, connect(sandbox) as client:
        answer = await client.send(host=host)

    assert answer.status_code == status


@pytest.mark.parametrize("host", ["acme.workflows.okta.com", "beta.workflows.oktapreview.com"])
async def test_the_certificate_is_for_every_host(host):
    settings = SandboxSettings(hosts=("acme.workflows.okta.com", "beta.workflows.oktapreview.com"))
    async with OktaSandbox(settings) as sandbox:
        context = ssl.create_default_context(cadata=sandbox.ca_pem.decode("ascii"))
        _, writer = await asyncio.open_connection("127.0.0.1", sandbox.port, ssl=context, server_hostname=host)
        writer.transport.abort()


async def test_the_certificate_is_for_no_other_name(sandbox):
    context = ssl.create_default_context(cadata=sandbox.ca_pem.decode("ascii"))
    for name in ("other.workflows.okta.com", "127.0.0.1"):
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("127.0.0.1", sandbox.port, ssl=context, server_hostname=name)


async def test_it_is_trusted_by_its_own_authority_only(sandbox):
    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncio.open_connection("127.0.0.1", sandbox.port, ssl=ssl.create_default_context())


async def test_it_is_reached_by_connect_to(sandbox):
    """What an operator gives as `--connect-to`."""
    assert [str(item) for item in sandbox.connect_to] == [f"acme.workflows.okta.com:443:127.0.0.1:{sandbox.port}"]


def test_a_flow_is_written_with_or_without_token():
    assert parse_flow("a") == Flow("a")
    assert parse_flow("a=b") == Flow("a", "b")


@pytest.mark.parametrize("text", ["", "=secret", "a=", "a b", "a=secret secret", "a/b=secret", "a=b=secret"])
def test_a_flow_that_cannot_be_read_is_refused_without_showing_the_token(text):
    with pytest.raises(ReconcilerError) as refused:
        parse_flow(text)

    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("flows", [(Flow("a"), Flow("a", "t")), (Flow("a", "b"), Flow("b"))])
def test_flows_that_could_be_mistaken_for_each_other_are_refused(flows):
    with pytest.raises(ReconcilerError, match="--flow"):
        OktaSandbox(SandboxSettings(flows=flows))


async def test_flows_may_share_a_client_token(connect):
    """An operator who tests several webhooks with one secret gives every flow the same token."""
    flows = tuple(Flow(alias * 32, "t" * 64) for alias in "ab")
    async with OktaSandbox(SandboxSettings(flows=flows)) as sandbox, connect(sandbox) as client:
        answers = [
            await client.send(path=f"/api/flo/{flow.alias}/invoke", headers={"x-api-client-token": "t" * 64}, json={})
            for flow in flows
        ]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert [request.flow for request in sandbox.requests] == [flow.alias for flow in flows]
