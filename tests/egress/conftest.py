"""A certificate authority, a receiver and the way to it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from egress_receiver import HOST, Receiver, Send, request, server_context

from reconciler.egress.deliver import Deliverer
from reconciler.egress.mask import Masker
from reconciler.models.delivery import AttemptResult
from reconciler.settings import EgressSettings, TransportKind


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    """The authority that the tests' receivers have their certificates from."""
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its certificate, as `--ca` takes it."""
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture
def masker() -> Masker:
    """Knows no secret yet."""
    return Masker()


@pytest.fixture(params=list(TransportKind))
def transport(request: pytest.FixtureRequest) -> TransportKind:
    """Each transport in turn: what asks for it, or for what is sent through it, holds for both."""
    return TransportKind(request.param)


@pytest.fixture
async def receiver(ca: trustme.CA) -> AsyncIterator[Receiver]:
    """Answers for hooks.example.com and other.example.com."""
    async with Receiver(server_context(ca, HOST, "other.example.com")) as receiver:
        yield receiver


@pytest.fixture
def settings(receiver: Receiver, ca_file: Path, transport: TransportKind) -> EgressSettings:
    """Lead to the receiver under its real names and one that its certificate does not hold for."""
    found = receiver.settings(ca_file, HOST, "other.example.com", "third.example.com")
    return replace(found, transport=transport)


@pytest.fixture
async def deliverer(settings: EgressSettings, masker: Masker) -> AsyncIterator[Deliverer]:
    """Reaches the receiver."""
    async with Deliverer(settings, masker=masker, now=lambda: 1_800_000_000.0) as deliverer:
        yield deliverer


@pytest.fixture
def send(deliverer: Deliverer) -> Send:
    """`await send()`: one POST to the receiver."""

    async def send(url: str = f"https://{HOST}/in", timeout_seconds: float = 10, **options: object) -> AttemptResult:
        prepared = request(url)
        return await deliverer.send(prepared, prepared, timeout_seconds=timeout_seconds, **options)  # type: ignore[arg-type]

    return send
