"""A real daemon under siege, by raw sockets: it answers or hangs up, takes all of a request or nothing, never grows.

What one request is answered is `test_intake_fuzz`'s to say, in the daemon's own process with short deadlines; here are
the deadlines as they are, memory and sockets of the process, and what the store holds afterwards.
"""

import contextlib
import json
import re
import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest
from web_daemon import TOKEN, Daemon, serving
from workshop import wait_until

from reconciler.web.protocol import HEAD_SECONDS

SLOW_HEADS, SLOW_BODIES = 100, 100
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
QUIET_SECONDS = 1.0  # a daemon that says nothing for so long waits for more
SMALL_BYTES = 512 * 1024  # more takes longer to be read
GROWTH_MAX_BYTES = 48 * 1024 * 1024  # what the allocator may keep of a request of 8 MiB, parsed
HEAD = b"POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer " + TOKEN.encode() + b"\r\n"


def event(name: str) -> bytes:
    return json.dumps({"event_type": "AccessRequestCreated", "data": {"id": name}}).encode()


def chunked(body: bytes, *, size: bytes | None = None, lines: bytes = b"", end: bytes = b"\r\n0\r\n\r\n") -> bytes:
    told = b"%x" % len(body) if size is None else size
    return HEAD + b"transfer-encoding: chunked\r\n" + lines + b"\r\n" + told + b"\r\n" + body + end


def sized(body: bytes, *lines: bytes, size: bytes | None = None) -> bytes:
    told = b"%d" % len(body) if size is None else size
    return HEAD + b"content-length: " + told + b"\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


OTHER = sized(event("smuggled"))
TRICKS: dict[str, tuple[Callable[[bytes], bytes], int]] = {  # and how many times the event may be taken
    "chunked as it should be": (lambda sent: chunked(sent), 1),
    "chunk extension": (lambda sent: chunked(sent, size=b"%x;a=b" % len(sent)), 1),
    "trailer": (lambda sent: chunked(sent, end=b"\r\n0\r\nx: y\r\n\r\n"), 1),
    "trailer that frames": (lambda sent: chunked(sent, end=b"\r\n0\r\ntransfer-encoding: gzip\r\n\r\n"), 0),
    "length and chunks": (lambda sent: chunked(sent, lines=b"content-length: 4\r\n") + OTHER, 0),
    "two lengths": (lambda sent: sized(sent, b"content-length: 2") + OTHER, 0),
    "a list of lengths": (lambda sent: sized(sent, size=b"%d, %d" % (len(sent), len(sent))), 0),
    "a length with a sign": (lambda sent: sized(sent, size=b"+%d" % len(sent)), 0),
    "a negative length": (lambda sent: sized(sent, size=b"-1"), 0),
    "a length in hex": (lambda sent: sized(sent, size=b"0x10"), 0),
    "a length beyond 64 bits": (lambda sent: sized(sent, size=b"9" * 40), 0),
    "chunks twice": (lambda sent: chunked(sent, lines=b"transfer-encoding: chunked\r\n"), 0),
    "chunks behind gzip": (lambda sent: sized(sent, b"transfer-encoding: gzip, chunked"), 0),
    "chunks before identity": (lambda sent: sized(sent, b"transfer-encoding: chunked, identity"), 0),
    "chunks with a tab": (lambda sent: chunked(sent).replace(b"encoding: c", b"encoding:\tc"), 1),
    "chunked, misspelt": (lambda sent: HEAD + b"transfer-encoding: xchunked\r\n\r\n" + b"0\r\n\r\n", 0),
    "a chunk size with a sign": (lambda sent: chunked(sent, size=b"+%x" % len(sent)), 0),
    "a chunk size in 0x": (lambda sent: chunked(sent, size=b"0x%x" % len(sent)), 0),
    "a chunk size of letters": (lambda sent: chunked(sent, size=b"zz"), 0),
    "a chunk size beyond 64 bits": (lambda sent: chunked(sent, size=b"f" * 17), 0),
    "a chunk size with zeros": (lambda sent: chunked(sent, size=b"0" * 1_000 + b"%x" % len(sent)), 1),
    "a chunk that is longer": (lambda sent: chunked(sent + b"tail", size=b"%x" % len(sent)), 0),
    "a chunk without its end": (lambda sent: chunked(sent, end=b""), 0),
    "chunks without the last": (lambda sent: chunked(sent, end=b"\r\n"), 0),
    "chunk lines by LF": (lambda sent: chunked(sent, end=b"\n0\n\n"), 0),
    "a length that never comes": (lambda sent: sized(sent, size=b"%d" % (len(sent) + 1)), 0),
    "a space before the colon": (lambda sent: HEAD + b"content-length : %d\r\n\r\n" % len(sent) + sent, 0),
    "a folded header": (
        lambda sent: HEAD + b"x: a\r\n content-length: 3\r\ncontent-length: %d\r\n\r\n" % len(sent) + sent,
        0,
    ),
    "a NUL in a header": (lambda sent: sized(sent, b"x: a\x00b"), 0),
    "a bare CR in a header": (lambda sent: sized(sent, b"x: a\rcontent-length: 2"), 0),
    "a header without a name": (lambda sent: sized(sent, b": x"), 0),
    "another protocol": (lambda sent: sized(sent).replace(b"HTTP/1.1", b"HTTP/9.9"), 0),
    "HTTP/0.9": (lambda sent: b"POST /v1/events\r\n\r\n" + sent, 0),
    "a preface of HTTP/2": (lambda sent: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00" * 64, 0),
    "TLS": (lambda sent: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500, 0),
    "nothing but line ends": (lambda sent: b"\r\n" * 20_000, 0),
    "a target without an end": (lambda sent: b"POST /" + b"a" * 100_000, 0),
    "headers without an end": (lambda sent: HEAD + b"x: y\r\n" * 5_000, 0),
    "a header without an end": (lambda sent: HEAD + b"x: " + b"y" * 100_000, 0),
}
BOMBS: dict[str, Callable[[], bytes]] = {
    "a deep array": lambda: b"[" * 8_000_000,
    "a deep object": lambda: b'{"a":' * 1_600_000,
    "a number without end": lambda: b"9" * 8_000_000,
    "numbers beyond every range": lambda: b"[" + b"1e999999," * 880_000 + b"1]",
    "a thousand events of nothing": lambda: b"[" + b",".join([b"{}"] * 1_000) + b"]",
    "a million empty arrays": lambda: b"[" + b"[]," * 2_000_000 + b"[]]",
    "an object of a million keys": lambda: b"{" + b",".join(b'"%d":0' % number for number in range(700_000)) + b"}",
    "one key a million times": lambda: b"{" + b'"a":0,' * 1_300_000 + b'"a":0}',
    "no UTF-8": lambda: b'{"event_type": "' + b"\xff\xfe\xc0\x80" * 60_000 + b'"}',
    "lone surrogates": lambda: b'{"event_type": "' + rb"\ud800" * 40_000 + b'"}',
    "lines without end": lambda: b"{}\n" * 2_600_000,
    "nothing": lambda: b" " * 8_000_000,
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, command_env: dict[str, str]) -> Iterator[Daemon]:
    """One for the whole siege."""
    with serving(tmp_path_factory.mktemp("siege"), command_env) as made:
        yield made


@pytest.fixture(scope="module")
def slow(daemon: Daemon) -> Iterator[tuple[list[socket.socket], list[socket.socket], float]]:
    """Clients that have begun a head, or a body, and say no more; open for as long as the other tests take."""
    with contextlib.ExitStack() as stack:

        def begun(part: bytes) -> socket.socket:
            made = stack.enter_context(socket.create_connection(daemon.address, timeout=20))
            made.sendall(part)
            return made

        began = time.monotonic()
        heads = [begun(HEAD[: 20 + number % 60]) for number in range(SLOW_HEADS)]
        bodies = [begun(sized(event(f"slow-{number}"))[:-5]) for number in range(SLOW_BODIES)]
        yield heads, bodies, began


def fire(daemon: Daemon, request: bytes) -> bytes:
    """What comes back until the daemon hangs up; where it waits for more, it gets no more."""
    answer = bytearray()
    with socket.create_connection(daemon.address, timeout=20) as connection, contextlib.suppress(OSError):
        connection.sendall(request)
        connection.settimeout(QUIET_SECONDS if len(request) < SMALL_BYTES else 20)
        while data := connection.recv(65536):
            answer += data
            connection.shutdown(socket.SHUT_WR)  # one answer is enough
    return bytes(answer)


def taken(daemon: Daemon, name: str) -> int:
    """How many events of this access request are stored, each whole: with its bytes and its delivery."""
    found = [item for item in daemon.get("/v1/events", limit=1000, view="stored") if item["data_id"] == name]
    for item in found:
        assert (item["status"], item["deliveries"], item["raw"]) == ("accepted", 1, event(name).decode())
        assert len(daemon.get("/v1/deliveries", event=item["id"])) == 1
    return len(found)


@pytest.mark.parametrize("trick", TRICKS)
def test_a_trick_with_framing_is_one_request_or_none(daemon: Daemon, slow: object, trick: str) -> None:
    """A request that another server could read otherwise is refused, and nothing behind it is read."""
    request, most = TRICKS[trick]

    answer = fire(daemon, request(event(trick)))

    found = statuses(answer)
    assert found.count(202) == taken(daemon, trick) == most, answer[:500]
    assert all(status in (202, 400, 404, 408, 413, 421, 431) for status in found), answer[:500]
    assert taken(daemon, "smuggled") == 0


def test_what_is_cut_off_anywhere_is_taken_as_a_whole_or_not(daemon: Daemon, slow: object) -> None:
    """Of an array of events all or none, whatever byte was the last, also where nobody waits for the answer."""
    names = [f"cut-{number}" for number in range(40)]
    requests = [sized(b"[" + event(f"{name}-a") + b"," + event(f"{name}-b") + b"]") for name in names]

    for number, request in enumerate(requests):
        with socket.create_connection(daemon.address, timeout=20) as connection:
            connection.sendall(request[: len(request) * (number + 1) // len(requests)])
            if number % 2 == 0:  # a reset instead of an end
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    assert daemon.post(event("after the cuts")).status_code == 202
    wait_until(lambda: taken(daemon, f"{names[-1]}-a") == 1, timeout=20, what="the whole one")
    for name in names[:-1]:
        assert taken(daemon, f"{name}-a") == taken(daemon, f"{name}-b") == 0


def test_bombs_leave_no_memory_taken(daemon: Daemon, slow: object) -> None:
    """The second round takes no more than the first has left: what grew was the allocator's, and is used again."""

    def round_of_bombs() -> int:
        for name, bomb in BOMBS.items():
            answer = fire(daemon, sized(bomb()))
            assert statuses(answer) in ([202], [400], [413]), (name, answer[:300])
        return daemon.resident_bytes

    first, second = round_of_bombs(), round_of_bombs()

    assert second - first < GROWTH_MAX_BYTES, (first, second)
    assert daemon.post(event("after the bombs")).status_code == 202


def test_who_is_slow_holds_up_nobody_and_is_hung_up_on(
    daemon: Daemon, slow: tuple[list[socket.socket], list[socket.socket], float]
) -> None:
    """While they are there an event is taken at once; a head has its deadline, and then the daemon forgets them all."""
    heads, bodies, began = slow

    assert daemon.post(event("among the slow")).elapsed.total_seconds() < 5
    for connection in heads:
        connection.settimeout(max(0.1, began + HEAD_SECONDS + 20 - time.monotonic()))
        with contextlib.suppress(ConnectionResetError):
            assert statuses(connection.recv(65536)) in ([], [408])
    for connection in bodies:
        connection.close()

    wait_until(lambda: daemon.sockets < 20, timeout=20, what="the end of all connections")
    assert not any(taken(daemon, f"slow-{number}") for number in (0, SLOW_BODIES - 1))
    assert daemon.faults == []


def statuses(answer: bytes) -> list[int]:
    return [int(found) for found in STATUS.findall(answer)]
