"""Client certificates and authorities of a webhook's own, over both transports, against real TLS."""

import asyncio
import contextlib
import os
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from egress_receiver import HOST, Receiver, server_context
from oauth_room import private_pem

from reconciler.dispatch.retry import judge
from reconciler.egress.deliver import Deliverer
from reconciler.egress.identity import Identities
from reconciler.egress.mask import Masker
from reconciler.errors import SecretError
from reconciler.models.delivery import AttemptResult, Fault, Outcome
from reconciler.models.webhook import Webhook
from reconciler.request.render import render_request
from reconciler.settings import ConnectTo, EgressSettings, TransportKind

MTLS = {"mtls": {"certificate": "${secret:cert}", "private_key": "${secret:key}"}}
CA = {"ca": "${secret:authority}"}


def webhook(auth: object = None, tls: object = None) -> Webhook:
    """One for HOST."""
    spec = {"url": f"https://{HOST}/in", "triggers": ["RequestCreated"], "auth": auth, "tls": tls}
    return Webhook.model_validate({"metadata": {"name": "a"}, "spec": spec}, strict=False)


@pytest.fixture(scope="module")
def secrets(ca: trustme.CA) -> dict[str, str]:
    """A client certificate of the tests' authority with its key, and the authority."""
    issued = ca.issue_cert("client.example.com")
    return {
        "cert": "".join(part.bytes().decode() for part in issued.cert_chain_pems),
        "key": issued.private_key_pem.bytes().decode(),
        "authority": ca.cert_pem.bytes().decode(),
    }


class Refuser:
    """A receiver that ends the handshake as servers do: with an alert, and reading away what still comes."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.taken = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        sock, _ = self._listener.accept()
        sock.settimeout(5)
        with self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False) as connection:
            try:
                connection.do_handshake()
                self.taken += 1
            except ssl.SSLError:
                connection.shutdown(socket.SHUT_WR)
                with contextlib.suppress(OSError):
                    while connection.recv(65536):
                        pass

    def close(self) -> None:
        """Wait until it has served its one connection."""
        self._thread.join(10)
        self._listener.close()


def strict_context(ca: trustme.CA, version: ssl.TLSVersion) -> ssl.SSLContext:
    """One that wants a client certificate."""
    context = server_context(ca, HOST)
    context.minimum_version = context.maximum_version = version
    context.verify_mode = ssl.CERT_REQUIRED
    ca.configure_trust(context)
    return context


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(params=VERSIONS, ids=["TLS 1.2", "TLS 1.3"])
async def strict(request: pytest.FixtureRequest, ca: trustme.CA) -> AsyncIterator[Receiver]:
    """A receiver that wants a client certificate."""
    async with Receiver(strict_context(ca, request.param)) as receiver:
        yield receiver


async def send(deliverer: Deliverer, hook: Webhook, secrets: dict[str, str]) -> AttemptResult:
    """One event, as the worker sends it."""
    prepared = render_request(hook, {}, b"{}", secrets=secrets, delivery_id="dlv_1")
    credentials = deliverer.credentials(hook, secrets)
    return await deliverer.send(prepared, prepared, timeout_seconds=5, credentials=credentials)


async def test_a_receiver_that_wants_a_certificate_is_shown_it(
    strict: Receiver, ca_file: Path, secrets: dict[str, str], transport: TransportKind
) -> None:
    """And one connection serves the next request of the same webhook."""
    settings = replace(strict.settings(ca_file, HOST), transport=transport)
    async with Deliverer(settings, masker=Masker()) as deliverer:
        results = [await send(deliverer, webhook(MTLS), secrets) for _ in range(2)]

    assert [(result.fault, result.status) for result in results] == [(None, 200), (None, 200)]
    assert strict.connections == 1


@pytest.mark.parametrize("version", VERSIONS, ids=["TLS 1.2", "TLS 1.3"])
@pytest.mark.parametrize("shown", ["none", "foreign"])
async def test_where_a_certificate_is_refused_nothing_ran(
    ca: trustme.CA,
    ca_file: Path,
    secrets: dict[str, str],
    transport: TransportKind,
    version: ssl.TLSVersion,
    shown: str,
) -> None:
    """By TLS 1.3 the refusal comes after our request: it is a TLS fault all the same, and no unknown outcome."""
    issued = trustme.CA().issue_cert("client.example.com")
    foreign = {"cert": issued.cert_chain_pems[0].bytes().decode(), "key": issued.private_key_pem.bytes().decode()}
    refuser = Refuser(strict_context(ca, version))
    settings = EgressSettings(
        ca_file=ca_file, connect_to=(ConnectTo(HOST, 443, "127.0.0.1", refuser.port),), transport=transport
    )
    async with Deliverer(settings, masker=Masker()) as deliverer:
        hook = webhook() if shown == "none" else webhook(MTLS)
        result = await send(deliverer, hook, {**secrets, **foreign})
    refuser.close()

    assert result.fault is Fault.TLS
    assert judge(result).outcome is Outcome.RETRYABLE
    assert "client certificate" in result.detail or "handshake failure" in result.detail  # TLS 1.2 says no more
    assert refuser.taken == 0


async def test_a_connection_is_never_lent_to_another_identity(
    receiver: Receiver, ca_file: Path, secrets: dict[str, str], transport: TransportKind
) -> None:
    """A webhook without the certificate must not speak over a connection that was made with it."""
    settings = replace(receiver.settings(ca_file, HOST), transport=transport)
    async with Deliverer(settings, masker=Masker()) as deliverer:
        for hook in (webhook(MTLS), webhook(), webhook(MTLS), webhook(MTLS, CA), webhook()):
            assert (await send(deliverer, hook, secrets)).status == 200

    assert [request.connection for request in receiver.requests] == [1, 2, 1, 3, 2]


async def test_an_authority_of_its_own_stands_in_for_all_others(
    receiver: Receiver, ca_file: Path, secrets: dict[str, str], transport: TransportKind
) -> None:
    """It is enough without `--ca`; and with another one the operator's own does not count either."""
    bare = replace(receiver.settings(None, HOST), transport=transport)
    async with Deliverer(bare, masker=Masker()) as deliverer:
        assert (await send(deliverer, webhook(), secrets)).fault is Fault.TLS
        assert (await send(deliverer, webhook(tls=CA), secrets)).status == 200
    full = replace(receiver.settings(ca_file, HOST), transport=transport)
    other = trustme.CA().cert_pem.bytes().decode()
    async with Deliverer(full, masker=Masker()) as deliverer:
        assert (await send(deliverer, webhook(tls=CA), {**secrets, "authority": other})).fault is Fault.TLS


@pytest.mark.parametrize(
    ("changed", "name", "fact"),
    [
        ({"key": "not a key at all"}, "key", "no line that begins with -----BEGIN"),
        ({"cert": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"}, "cert", "it holds PUBLIC KEY"),
        ({"cert": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"}, "key", "cannot be read"),
        ({"key": private_pem()}, "key", "does not belong to the certificate"),
        ({"authority": "none of PEM"}, "authority", "cannot be read"),
        ({"key": "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----"}, "key", "phrase"),
    ],
)
def test_what_is_no_certificate_or_key_is_explained_and_not_quoted(
    secrets: dict[str, str], changed: dict[str, str], name: str, fact: str
) -> None:
    """Before anything is dialled, by the secret's name."""
    with pytest.raises(SecretError) as caught:
        Identities(None).of(webhook(MTLS, CA), {**secrets, **changed})

    assert caught.value.name == name
    assert fact in caught.value.message
    assert "AAAA" not in f"{caught.value.message} {caught.value.hint}"


def test_line_ends_of_variables_are_tolerated(secrets: dict[str, str]) -> None:
    """As backslash and n, which is what `.env` files make of them."""
    escaped = {name: value.replace("\n", "\\n") for name, value in secrets.items()}

    assert Identities(None).of(webhook(MTLS, CA), escaped) is not None


def test_a_key_reaches_openssl_by_no_file_that_others_can_read(
    secrets: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is memory for it, no file is made; where there is none, it is our own and gone at once."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert Identities(None).of(webhook(MTLS), secrets) is not None
    assert list(tmp_path.iterdir()) == []

    monkeypatch.delattr(os, "memfd_create")
    modes: list[tuple[int, int]] = []
    load = ssl.SSLContext.load_cert_chain

    def watched(context: ssl.SSLContext, path: str, *args: object, **more: object) -> None:
        modes.append((Path(path).stat().st_mode & 0o777, Path(path).parent.stat().st_mode & 0o777))
        load(context, path, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", watched)
    assert Identities(None).of(webhook(MTLS), secrets) is not None
    assert modes == [(0o600, 0o700)]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("auth", "tls"), [(MTLS, None), (None, CA), (MTLS, CA)])
def test_no_identity_turns_verification_off(secrets: dict[str, str], auth: object, tls: object) -> None:
    """Certificate and name are checked, and nothing below TLS 1.2 is spoken, whatever a manifest says."""
    identity = Identities(None).of(webhook(auth, tls), secrets)

    assert identity is not None
    assert identity.context.verify_mode is ssl.CERT_REQUIRED
    assert identity.context.check_hostname
    assert identity.context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_no_line_of_the_code_that_sends_can_turn_verification_off() -> None:
    """There is no switch: not in the manifest, not in the settings, not in the code."""
    rooms = Path(Identities.__module__.replace(".", "/")).parent
    root = Path(__file__).parents[2]
    files = [
        *(root / rooms).glob("*.py"),
        *(root / "reconciler" / "client").glob("*.py"),
        root / "reconciler/settings.py",
    ]
    told = {path.name: path.read_text() for path in files}

    for word in ("CERT_NONE", "CERT_OPTIONAL", "verify=False", "check_hostname = False", "_create_unverified_context"):
        assert [name for name, text in told.items() if word in text] == []
    assert {"verify", "insecure"} & set(EgressSettings.__slots__) == set()


async def test_a_hundred_sends_at_once_share_what_they_may(
    receiver: Receiver, ca_file: Path, secrets: dict[str, str]
) -> None:
    """The context is made once; connections are as many as are needed."""
    async with Deliverer(receiver.settings(ca_file, HOST), masker=Masker()) as deliverer:
        results = await asyncio.gather(*(send(deliverer, webhook(MTLS), secrets) for _ in range(50)))
        made = {id(deliverer.credentials(webhook(MTLS), secrets).identity) for _ in range(5)}

    assert {result.status for result in results} == {200}
    assert len(made) == 1
