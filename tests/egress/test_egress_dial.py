"""From a name to a verified connection: which ones come about, and what is reported of those that do not."""

import asyncio
import datetime
import errno
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path

import pytest
import trustme
from egress_receiver import HOST, Conversation, Receiver, request, server_context

from reconciler.egress import dial
from reconciler.egress.deliver import Deliverer
from reconciler.egress.dial import make_context
from reconciler.egress.mask import Masker
from reconciler.egress.resolve import Resolve, SystemResolver
from reconciler.errors import ReconcilerError
from reconciler.models.delivery import AttemptResult, Fault
from reconciler.settings import ConnectTo, EgressSettings


async def try_once(
    settings: EgressSettings, *, resolve: Resolve | None = None, host: str = HOST, timeout_seconds: float = 10
) -> AttemptResult:
    """One POST with a deliverer of its own."""
    prepared = request(f"https://{host}/in")
    async with Deliverer(settings, masker=Masker(), resolve=resolve) as deliverer:
        return await deliverer.send(prepared, prepared, timeout_seconds=timeout_seconds)


def resolving_to(*addresses: str) -> Resolve:
    """A name server that gives these addresses for every name."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    return resolve


@pytest.mark.parametrize(
    "addresses",
    [
        ("127.0.0.1",),
        ("10.0.0.7",),
        ("169.254.169.254",),
        ("::1",),
        ("::ffff:127.0.0.1",),
        ("fe80::1%lo",),
        ("93.184.215.14", "127.0.0.1"),
        ("2606:4700::1111", "fd00:ec2::254"),
    ],
)
async def test_one_refused_address_refuses_the_name(addresses: tuple[str, ...]) -> None:
    """Otherwise a name with a good and a bad address would reach the bad one when the good one fails."""
    result = await try_once(EgressSettings(), resolve=resolving_to(*addresses))

    assert (result.fault, result.wrote, result.address) == (Fault.REFUSED_ADDRESS, False, None)
    assert result.detail.startswith(f"{HOST} resolves to {addresses[-1]}: ")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "0x7f.1", "[::1]", "localhost", "a.localhost.", "intranet"]
)
async def test_a_host_that_is_an_address_or_this_machine_is_never_resolved(host: str) -> None:
    """The transport judges the name by itself, whatever the manifest's check let through."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        raise AssertionError("resolved")

    result = await try_once(EgressSettings(), resolve=resolve, host=host)

    assert (result.fault, result.wrote) == (Fault.REFUSED_ADDRESS, False)


@pytest.fixture
async def dialled(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What is dialled, in order; public IPv4 addresses lead to the receiver, IPv6 is unreachable."""
    addresses: list[tuple[str, int]] = []
    loop = asyncio.get_running_loop()
    connect = loop.sock_connect

    async def redirect(sock: socket.socket, address: tuple[str, int]) -> None:
        addresses.append(address)
        if sock.family is socket.AF_INET6:
            raise OSError(errno.ENETUNREACH, "Network is unreachable")
        await connect(sock, ("127.0.0.1", receiver.port))

    monkeypatch.setattr(loop, "sock_connect", redirect)
    return addresses


async def test_a_name_that_moves_is_judged_again_for_each_connection(
    receiver: Receiver, ca_file: Path, dialled: list[tuple[str, int]]
) -> None:
    """DNS rebinding: what was public once may be the loopback a moment later; one look-up serves judgement and dial."""
    answers = [["93.184.215.14"], ["127.0.0.1"], ["93.184.215.14"]]

    async def resolve(host: str, port: int) -> Sequence[str]:
        return answers.pop(0)

    receiver.script = [b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"]
    prepared = request(f"https://{HOST}/in")
    async with Deliverer(EgressSettings(ca_file=ca_file), masker=Masker(), resolve=resolve) as deliverer:
        first = await deliverer.send(prepared, prepared, timeout_seconds=10)
        second = await deliverer.send(prepared, prepared, timeout_seconds=10)

    assert (first.fault, first.address, first.connect_to) == (None, "93.184.215.14:443", None)
    assert second.fault is Fault.REFUSED_ADDRESS
    assert dialled == [("93.184.215.14", 443)]
    assert len(answers) == 1


async def test_the_next_address_is_dialled_when_one_fails_and_families_take_turns(
    receiver: Receiver, ca_file: Path, dialled: list[tuple[str, int]]
) -> None:
    """RFC 8305, section 4: a network without IPv6 costs one try, not one per address."""
    resolve = resolving_to("2606:4700::1", "2606:4700::2", "93.184.215.14")

    result = await try_once(EgressSettings(ca_file=ca_file), resolve=resolve)

    assert (result.fault, result.address) == (None, "93.184.215.14:443")
    assert dialled == [("2606:4700::1", 443), ("93.184.215.14", 443)]


async def test_a_name_none_of_whose_addresses_answers_is_a_connect_fault(
    ca_file: Path, dialled: list[tuple[str, int]]
) -> None:
    """The last address tried is the one shown."""
    result = await try_once(EgressSettings(), resolve=resolving_to("2606:4700::1", "2606:4700::2"))

    assert (result.fault, result.address) == (Fault.CONNECT, "[2606:4700::2]:443")
    assert result.detail == "no connection to [2606:4700::2]:443: network is unreachable"


@pytest.mark.parametrize(
    "error", [socket.gaierror(-2, "Name or service not known"), OSError("broken"), UnicodeError("long")]
)
async def test_a_name_that_does_not_resolve_is_a_dns_fault(error: Exception) -> None:
    """Whatever the resolver raises."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        raise error

    result = await try_once(EgressSettings(), resolve=resolve)

    assert (result.fault, result.wrote) == (Fault.DNS, False)
    assert HOST in result.detail


async def test_a_name_without_addresses_is_a_dns_fault() -> None:
    """An empty answer is no answer."""
    result = await try_once(EgressSettings(), resolve=resolving_to())

    assert result.fault is Fault.DNS


async def test_a_name_server_that_hangs_is_a_dns_fault_within_the_timeout() -> None:
    """The phase in which the time ran out decides the class."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        raise AssertionError

    result = await try_once(EgressSettings(), resolve=resolve, timeout_seconds=0.1)

    assert (result.fault, result.wrote) == (Fault.DNS, False)


@pytest.mark.parametrize(
    ("limit", "fault"),
    [("RESOLVE_TIMEOUT_SECONDS", Fault.DNS), ("CONNECT_TIMEOUT_SECONDS", Fault.CONNECT_TIMEOUT)],
)
async def test_each_phase_has_a_limit_of_its_own(monkeypatch: pytest.MonkeyPatch, limit: str, fault: Fault) -> None:
    """A receiver that gives a flow 65 seconds is not given 65 seconds to pick up the phone."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(dial, limit, 0.05)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        target = ConnectTo(HOST, 443, "127.0.0.1", sock.getsockname()[1])
        settings = EgressSettings(connect_to=(target,) if fault is Fault.CONNECT_TIMEOUT else ())

        result = await try_once(settings, resolve=resolve, timeout_seconds=60)

    assert (result.fault, result.wrote) == (fault, False)


async def test_the_system_resolver_gives_the_addresses_of_a_name() -> None:
    """By getaddrinfo, without duplicates."""
    addresses = await SystemResolver()("localhost", 443)

    assert set(addresses) <= {"127.0.0.1", "::1"}
    assert len(addresses) == len(set(addresses)) > 0


async def test_the_system_resolver_passes_the_systems_error_on_to_all_who_wait() -> None:
    """Look-ups of one name are joined."""
    resolver = SystemResolver()

    results = await asyncio.gather(*(resolver("a" * 64 + ".invalid", 443) for _ in range(3)), return_exceptions=True)

    assert all(isinstance(result, OSError | UnicodeError) for result in results)


async def test_a_refused_port_is_a_connect_fault_with_its_address(ca_file: Path) -> None:
    """Nothing listens there."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    settings = EgressSettings(ca_file=ca_file, connect_to=(ConnectTo(HOST, 443, "127.0.0.1", port),))

    result = await try_once(settings)

    assert (result.fault, result.wrote, result.address) == (Fault.CONNECT, False, f"127.0.0.1:{port}")
    assert result.detail == f"no connection to 127.0.0.1:{port}: connection refused"


async def test_a_receiver_that_never_shakes_hands_is_a_connect_timeout(ca_file: Path) -> None:
    """TCP stands, TLS does not, and nothing was written."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        settings = EgressSettings(connect_to=(ConnectTo(HOST, 443, "127.0.0.1", sock.getsockname()[1]),))

        result = await try_once(settings, timeout_seconds=0.2)

    assert (result.fault, result.wrote) == (Fault.CONNECT_TIMEOUT, False)
    assert result.timings.connect_ms is not None
    assert result.timings.tls_ms is None


async def test_a_target_may_be_a_name(receiver: Receiver, ca_file: Path) -> None:
    """curl's form allows it; the operator's target is not judged."""
    settings = EgressSettings(ca_file=ca_file, connect_to=(ConnectTo(HOST, 443, "localhost", receiver.port),))

    result = await try_once(settings)

    assert result.fault is None
    assert result.address == f"127.0.0.1:{receiver.port}"


async def test_a_target_is_for_its_host_and_port_only(receiver: Receiver, ca_file: Path) -> None:
    """Every other name is judged as ever."""
    settings = receiver.settings(ca_file, HOST)

    result = await try_once(settings, resolve=resolving_to("127.0.0.1"), host="other.example.com")

    assert result.fault is Fault.REFUSED_ADDRESS
    assert result.connect_to is None


async def test_the_receiver_is_asked_for_the_name_in_the_url(receiver: Receiver, ca_file: Path) -> None:
    """SNI and Host carry the name, in lower case and without a trailing dot."""
    settings = receiver.settings(ca_file, HOST)

    result = await try_once(settings, host="Hooks.Example.COM.")

    assert result.fault is None
    assert receiver.server_names == [HOST]
    assert receiver.requests[0].headers["host"] == HOST


@pytest.mark.parametrize("host", ["xn--bcher-kva.example.com", "BÜCHER.example.com"])
async def test_an_international_name_is_dialled_and_verified_in_punycode(
    ca: trustme.CA, ca_file: Path, host: str
) -> None:
    """RFC 5890: on the wire there is only the ASCII form."""
    name = "xn--bcher-kva.example.com"
    async with Receiver(server_context(ca, name)) as receiver:
        result = await try_once(receiver.settings(ca_file, name), host=host)

        assert result.fault is None
        assert receiver.server_names == [name]
        assert receiver.requests[0].headers["host"] == name


async def test_an_authority_nobody_named_is_a_tls_fault(receiver: Receiver) -> None:
    """Without `--ca` only the system's roots count."""
    result = await try_once(receiver.settings(None, HOST))

    assert (result.fault, result.wrote) == (Fault.TLS, False)
    assert result.detail.startswith("certificate verify failed: ")
    assert receiver.requests == []


async def test_a_certificate_for_another_name_is_a_tls_fault(receiver: Receiver, ca_file: Path) -> None:
    """`--connect-to` changes where we dial, never whom we expect."""
    result = await try_once(receiver.settings(ca_file, "third.example.com"), host="third.example.com")

    assert (result.fault, result.wrote) == (Fault.TLS, False)
    assert "hostname mismatch" in result.detail
    assert "third.example.com" in result.detail
    assert receiver.requests == []


async def test_an_expired_certificate_is_a_tls_fault(ca: trustme.CA, ca_file: Path) -> None:
    """Yesterday's certificate proves nothing."""
    yesterday = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    context = server_context(ca, HOST, not_before=yesterday, not_after=yesterday + datetime.timedelta(days=1))
    async with Receiver(context) as receiver:
        result = await try_once(receiver.settings(ca_file, HOST))

    assert result.fault is Fault.TLS
    assert result.detail == "certificate verify failed: certificate has expired"


async def test_a_server_without_tls_is_a_tls_fault(ca_file: Path) -> None:
    """Plain HTTP on the TLS port."""

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        result = await try_once(EgressSettings(connect_to=(ConnectTo(HOST, 443, "127.0.0.1", port),)))

    assert (result.fault, result.wrote) == (Fault.TLS, False)
    assert result.detail.startswith("TLS handshake failed: ")


async def test_a_reset_during_the_handshake_is_a_tls_fault(ca_file: Path) -> None:
    """By its phase, whatever the system calls it."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.transport.abort()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        result = await try_once(EgressSettings(connect_to=(ConnectTo(HOST, 443, "127.0.0.1", port),)))

    assert (result.fault, result.wrote) == (Fault.TLS, False)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
async def test_tls_before_1_2_is_a_tls_fault(ca: trustme.CA, ca_file: Path) -> None:
    """RFC 8996 forbids TLS 1.0 and 1.1."""
    context = server_context(ca, HOST)
    context.minimum_version = ssl.TLSVersion.TLSv1_1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with Receiver(context) as receiver:
        result = await try_once(receiver.settings(ca_file, HOST))

    assert (result.fault, result.wrote) == (Fault.TLS, False)


async def test_tls_1_2_is_enough(ca: trustme.CA, ca_file: Path) -> None:
    """And the result names it."""
    context = server_context(ca, HOST)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with Receiver(context) as receiver:
        result = await try_once(receiver.settings(ca_file, HOST))

    assert result.fault is None
    assert result.tls is not None
    assert result.tls.startswith("TLSv1.2 ")


async def test_a_receiver_that_wants_a_client_certificate_refuses_us(ca: trustme.CA, ca_file: Path) -> None:
    """In TLS 1.3 its alert arrives after our handshake is done, in place of an answer."""
    context = server_context(ca, HOST)
    context.verify_mode = ssl.CERT_REQUIRED
    ca.configure_trust(context)
    async with Receiver(context) as receiver:
        result = await try_once(receiver.settings(ca_file, HOST))

    assert result.fault in (Fault.RESET, Fault.TLS)
    assert receiver.requests == []


async def test_proxies_of_the_environment_are_not_used(
    receiver: Receiver, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would resolve and dial for us, past every judgement."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    result = await try_once(receiver.settings(ca_file, HOST))

    assert result.fault is None


@pytest.mark.parametrize("content", [None, "not a certificate", ""])
def test_a_ca_file_that_cannot_be_used_is_said_at_once(tmp_path: Path, content: str | None) -> None:
    """Before anything is sent, with the file's name."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)

    with pytest.raises(ReconcilerError, match="`--ca` cannot be used"):
        make_context(path)


def test_verification_is_on() -> None:
    """There is no setting to turn it off."""
    context = make_context(None)

    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname is True
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


async def test_cancelling_a_handshake_closes_the_socket(ca_file: Path) -> None:
    """Nothing of a cancelled attempt stays open."""
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await Conversation(reader, writer).until_closed()
        gone.set()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        settings = EgressSettings(connect_to=(ConnectTo(HOST, 443, "127.0.0.1", port),))
        task = asyncio.create_task(try_once(settings))
        await asyncio.wait_for(arrived.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(gone.wait(), 5)
