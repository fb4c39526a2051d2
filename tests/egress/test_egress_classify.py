"""Classification and advice with the client alone, its network replaced by respx."""

import httpx
import pytest
import respx
from egress_receiver import request

from reconciler.egress.advice import what_to_check
from reconciler.egress.deliver import Deliverer
from reconciler.egress.dial import RefusedAddressError, ResolveError, TlsError
from reconciler.egress.mask import Masker
from reconciler.models.delivery import AttemptResult, Fault
from reconciler.settings import EgressSettings

OKTA = "https://acme.workflows.okta.com/api/flo/0123456789abcdef0123456789abcdef/invoke"
OTHER = "https://hooks.example.com/in"
NOW = 1_800_000_000.0


async def send(router: respx.Router, url: str = OTHER, masker: Masker | None = None) -> AttemptResult:
    """One POST whose answer the router gives."""
    transport = httpx.MockTransport(router.async_handler)
    prepared = request(url)
    async with Deliverer(
        EgressSettings(), masker=masker or Masker(), transport=transport, now=lambda: NOW
    ) as deliverer:
        return await deliverer.send(prepared, prepared, timeout_seconds=5)


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (RefusedAddressError("x"), Fault.REFUSED_ADDRESS),
        (ResolveError("x"), Fault.DNS),
        (TlsError("x"), Fault.TLS),
        (httpx.ConnectTimeout("x"), Fault.CONNECT_TIMEOUT),
        (httpx.ConnectError("x"), Fault.CONNECT),
        (httpx.ReadTimeout("x"), Fault.TIMEOUT),
        (httpx.WriteTimeout("x"), Fault.TIMEOUT),
        (httpx.PoolTimeout("x"), Fault.TIMEOUT),
        (httpx.ReadError("x"), Fault.RESET),
        (httpx.WriteError("x"), Fault.RESET),
        (httpx.RemoteProtocolError("x"), Fault.PROTOCOL),
        (httpx.ProxyError("x"), Fault.PROTOCOL),
        (httpx.LocalProtocolError("x"), Fault.RENDER),
        (httpx.UnsupportedProtocol("x"), Fault.RENDER),
    ],
)
async def test_every_exception_type_has_its_fault(error: httpx.TransportError, fault: Fault) -> None:
    """By type, never by text."""
    with respx.mock(assert_all_called=True) as router:
        router.post(OTHER).mock(side_effect=error)

        result = await send(router)

    assert (result.fault, result.status, result.response, result.wrote) == (fault, None, None, False)
    assert result.detail
    assert what_to_check(result)


async def test_a_rate_limited_answer_says_how_long(respx_mock: respx.MockRouter) -> None:
    """Okta's header, read by the injected clock."""
    respx_mock.post(OKTA).respond(429, headers={"x-rate-limit-reset": str(int(NOW) + 4)})

    result = await send(respx_mock, OKTA)

    assert (result.fault, result.status, result.retry_after_seconds) == (Fault.STATUS, 429, 4)


async def test_a_secret_in_an_error_is_masked(respx_mock: respx.MockRouter) -> None:
    """Also where a library put it there."""
    masker = Masker()
    masker.add("s3cr3t-token")
    respx_mock.post(OTHER).mock(side_effect=httpx.ConnectError("no route\nto s3cr3t-token " + "x" * 1000))

    result = await send(respx_mock, masker=masker)

    assert result.detail.startswith("no route to *** x")
    assert len(result.detail) == 256


@pytest.mark.parametrize(
    ("status", "body", "url", "word"),
    [
        (400, "", OTHER, "content-type"),
        (400, '{"error": "invalid JSON"}', OTHER, "could not read the JSON"),
        (422, "Unexpected token in JSON", OTHER, "could not read the JSON"),
        (401, "", OTHER, "token"),
        (401, "", OKTA, "`x-api-client-token` or query `clientToken`, not both"),
        (403, "", OTHER, "permissions"),
        (403, "", OKTA, "security level"),
        (404, "", OTHER, "path"),
        (404, "", OKTA, "saved and turned On"),
        (404, "", OKTA, "alias"),
        (405, "", OKTA, "GET and POST only"),
        (410, "", OTHER, "gone for good"),
        (429, "", OTHER, "rate_limit"),
        (429, "", OKTA, "10 invocations per second"),
        (302, "", OTHER, "never followed"),
        (500, "", OTHER, "the receiver failed"),
        (418, "", OTHER, "what the receiver means"),
    ],
)
async def test_a_refusal_comes_with_what_to_check(
    respx_mock: respx.MockRouter, status: int, body: str, url: str, word: str
) -> None:
    """Per class, with Okta's own traps for Okta hosts."""
    respx_mock.post(url).respond(status, text=body)

    result = await send(respx_mock, url)

    assert any(word in line for line in what_to_check(result))


async def test_okta_advice_is_for_okta_hosts_only(respx_mock: respx.MockRouter) -> None:
    """Nobody else knows what a flow is."""
    respx_mock.post(OTHER).respond(404)

    assert not any("flow" in line for line in what_to_check(await send(respx_mock)))


async def test_success_needs_no_advice(respx_mock: respx.MockRouter) -> None:
    """Nothing to check."""
    respx_mock.post(OTHER).respond(200)

    assert what_to_check(await send(respx_mock)) == ()


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.STATUS])
def test_every_fault_has_advice(fault: Fault) -> None:
    """A new class of fault must not leave people alone."""
    assert what_to_check(AttemptResult(fault=fault))


async def test_a_slow_okta_flow_is_told_to_answer_early(respx_mock: respx.MockRouter) -> None:
    """Okta closes the connection after 60 s while the flow runs on."""
    respx_mock.post(OKTA).mock(side_effect=httpx.ReadTimeout("slow"))

    assert "Close or Return card" in what_to_check(await send(respx_mock, OKTA))[0]
