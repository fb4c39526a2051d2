"""No webhook reaches what is inside, asserted where it counts: at the socket's connect, for both transports."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from egress_receiver import HOST, Receiver, request
from ssrf_sample import ADDRESSES, SPELLINGS

from reconciler.address import Range
from reconciler.egress.deliver import Deliverer
from reconciler.egress.mask import Masker
from reconciler.egress.resolve import Resolve
from reconciler.models.delivery import AttemptResult, Fault
from reconciler.models.url import check_url
from reconciler.settings import EgressSettings, TransportKind

PUBLIC = "93.184.215.14"


@dataclass
class Watch:
    """What the process connects to, sends to and looks up, told by CPython's audit events (PEP 578)."""

    is_on: bool = False
    connected: list[Any] = field(default_factory=list)
    looked_up: list[Any] = field(default_factory=list)

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.is_on:
            return
        if event in ("socket.connect", "socket.sendto"):
            self.connected.append(args[1])
        elif event == "socket.getaddrinfo":
            self.looked_up.append(args[0])


WATCH = Watch()


@pytest.fixture(scope="session", autouse=True)
def hook() -> None:
    """An audit hook is for the life of the process."""
    sys.addaudithook(WATCH)


@pytest.fixture
def watch() -> Iterator[Watch]:
    WATCH.connected.clear()
    WATCH.looked_up.clear()
    WATCH.is_on = True
    yield WATCH
    WATCH.is_on = False


@dataclass
class Names:
    """A name server that gives its answers in turn, the last one for ever."""

    answers: list[Sequence[str]]

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def deliverer(
    transport: TransportKind, resolve: Resolve, *, ca_file: Path | None = None, allowed: Sequence[Range] = ()
) -> Deliverer:
    settings = EgressSettings(transport=transport, ca_file=ca_file, allow_ranges=tuple(allowed))
    return Deliverer(settings, masker=Masker(), resolve=resolve)


async def post(sender: Deliverer, host: str = HOST) -> AttemptResult:
    prepared = request(f"https://{host}/in")
    return await sender.send(prepared, prepared, timeout_seconds=10)


def test_the_suite_is_large_enough() -> None:
    """At least 120 of them, none twice."""
    assert len(ADDRESSES) >= 120
    assert len(set(SPELLINGS)) == len(SPELLINGS) >= 50


def test_every_spelling_is_refused_before_a_plan_is_made() -> None:
    """What a manifest writes down as its host is judged by `validate` and `plan`, long before anything is sent."""
    passed = [item for item in SPELLINGS if not any(check_url(("spec", "url"), f"https://{item}/in"))]

    assert passed == []


async def test_no_address_inside_is_dialled_whatever_name_leads_there(transport: TransportKind, watch: Watch) -> None:
    """Every address of the suite, alone and behind a public one."""
    names = Names([()])
    passed: list[str] = []
    async with deliverer(transport, names) as sender:
        for address in ADDRESSES:
            for answer in ((address,), (PUBLIC, address), (address, PUBLIC)):
                names.answers = [answer]
                result = await post(sender)
                if (result.fault, result.wrote, result.address) != (Fault.REFUSED_ADDRESS, False, None):
                    passed.append(address)

    assert (passed, watch.connected) == ([], [])


async def test_no_spelling_of_an_address_is_resolved_or_dialled(transport: TransportKind, watch: Watch) -> None:
    """A URL that some parser reads as this machine leads nowhere: not even a name server is asked."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        watch.looked_up.append(host)
        return ("127.0.0.1",)

    wrote: list[str] = []
    async with deliverer(transport, resolve) as sender:
        for spelling in SPELLINGS:
            result = await post(sender, spelling)
            if result.fault not in (Fault.REFUSED_ADDRESS, Fault.RENDER) or result.wrote:
                wrote.append(spelling)

    assert (wrote, watch.connected, watch.looked_up) == ([], [], [])


async def test_a_name_that_is_rebound_is_refused_at_its_next_connection(
    receiver: Receiver, ca_file: Path, transport: TransportKind, watch: Watch
) -> None:
    """First answer good, second bad: each new connection is judged by itself."""
    receiver.script = [b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"]
    names = Names([("127.0.0.1",), ("127.0.0.2",)])
    async with deliverer(transport, names, ca_file=ca_file, allowed=[ip_network("127.0.0.1/32")]) as sender:
        first = await post(sender, f"{HOST}:{receiver.port}")
        second = await post(sender, f"{HOST}:{receiver.port}")

    assert (first.fault, second.fault) == (None, Fault.REFUSED_ADDRESS)
    assert watch.connected == [("127.0.0.1", receiver.port)]


async def test_what_was_judged_is_dialled_and_the_name_not_asked_again(
    receiver: Receiver, ca_file: Path, transport: TransportKind, watch: Watch
) -> None:
    """Between the judgement and the connect there is no second look-up that could say something else."""
    names = Names([("127.0.0.1",), ("10.0.0.1",)])
    async with deliverer(transport, names, ca_file=ca_file, allowed=[ip_network("127.0.0.0/8")]) as sender:
        result = await post(sender, f"{HOST}:{receiver.port}")

    assert (result.fault, result.address) == (None, f"127.0.0.1:{receiver.port}")
    assert (watch.connected, watch.looked_up) == ([("127.0.0.1", receiver.port)], [])
    assert names.answers == [("10.0.0.1",)]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_inside_is_not_followed(
    receiver: Receiver, ca_file: Path, transport: TransportKind, watch: Watch, status: int
) -> None:
    """A 3xx is an answer, nothing more; neither `Location` nor `Refresh` nor `Link` is looked at."""
    places = ("http://169.254.169.254/latest/meta-data/", "https://127.0.0.1/", "//[::1]/", f"https://{HOST}/other")
    receiver.script = [
        f"HTTP/1.1 {status} Moved\r\nlocation: {place}\r\nrefresh: 0; url={place}\r\ncontent-length: 0\r\n\r\n".encode()
        for place in places
    ]
    names = Names([("127.0.0.1",)])
    async with deliverer(transport, names, ca_file=ca_file, allowed=[ip_network("127.0.0.1/32")]) as sender:
        results = [await post(sender, f"{HOST}:{receiver.port}") for _ in places]

    assert [(result.fault, result.status) for result in results] == [(Fault.STATUS, status)] * len(places)
    assert len(receiver.requests) == len(places)
    assert set(watch.connected) == {("127.0.0.1", receiver.port)}


async def test_an_allowed_range_opens_nothing_but_itself(transport: TransportKind, watch: Watch) -> None:
    """A metadata service in the range stays closed, as do its other spellings and the ranges beside it."""
    names = Names([()])
    passed: list[str] = []
    allowed = [ip_network(item) for item in ("169.254.0.0/16", "fd00::/8", "64:ff9b::/96", "100.64.0.0/10")]
    refused = ("169.254.169.254", "fd00:ec2::254", "64:ff9b::a9fe:a9fe", "100.100.100.200", "10.0.0.1", "::1")
    async with deliverer(transport, names, allowed=allowed) as sender:
        for address in (*refused, "::ffff:169.254.0.1"):
            names.answers = [(address,)]
            if (await post(sender)).fault is not Fault.REFUSED_ADDRESS:
                passed.append(address)

    assert (passed, watch.connected) == ([], [])


@pytest.mark.parametrize("only", [("other.example.com",), ("*.hooks.example.com",), ("*.test.example",)])
async def test_a_host_that_the_operator_does_not_name_is_not_even_looked_up(
    transport: TransportKind, watch: Watch, only: tuple[str, ...]
) -> None:
    """`--only-host` stands above every manifest."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        raise AssertionError("resolved")

    settings = EgressSettings(transport=transport, only_hosts=only)
    async with Deliverer(settings, masker=Masker(), resolve=resolve) as sender:
        result = await post(sender)

    assert (result.fault, result.detail) == (
        Fault.REFUSED_ADDRESS,
        f"the operator's --only-host does not name the host: {HOST}",
    )
    assert watch.connected == []


@pytest.mark.parametrize("only", [(HOST,), ("*.example.com",)])
async def test_a_host_that_the_operator_names_is_reached(
    receiver: Receiver, ca_file: Path, transport: TransportKind, only: tuple[str, ...]
) -> None:
    """By its name or by the domain above it; its addresses are judged all the same."""
    settings = EgressSettings(transport=transport, ca_file=ca_file, only_hosts=only)
    async with Deliverer(settings, masker=Masker(), resolve=Names([("127.0.0.1",)])) as sender:
        judged = await post(sender)
    settings = EgressSettings(
        transport=transport, ca_file=ca_file, only_hosts=only, allow_ranges=(ip_network("127.0.0.1"),)
    )
    async with Deliverer(settings, masker=Masker(), resolve=Names([("127.0.0.1",)])) as sender:
        allowed = await post(sender, f"{HOST}:{receiver.port}")

    assert (judged.fault, allowed.fault) == (Fault.REFUSED_ADDRESS, None)
