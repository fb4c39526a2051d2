"""The law of requests: what arrives holds the request line and the headers that the author wrote and we add, nothing
else, whatever manifest, event, secret or earlier answer there was. Looked at as raw bytes, for both transports."""

import asyncio
import re
import ssl
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest
import trustme
from egress_receiver import HOST, server_context
from hypothesis import HealthCheck, event, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from reconciler import jsontext
from reconciler.egress.deliver import Deliverer
from reconciler.egress.mask import Masker
from reconciler.errors import ReconcilerError
from reconciler.models.delivery import AttemptResult, Fault, delivery_id
from reconciler.models.webhook import Webhook
from reconciler.request.render import Prepared, render_request
from reconciler.settings import ConnectTo, EgressSettings, TransportKind

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
OURS = {"host", "accept", "accept-encoding", "user-agent", "webhook-id"}
LINE = re.compile(rb"(POST|PUT|PATCH|GET|DELETE) (/[!-~]*) HTTP/1\.1")
FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ([!-~\x80-\xff](?:[ \t!-~\x80-\xff]*[!-~\x80-\xff])?)?")
SMUGGLED = (
    *("\r\nx-injected: 1", "\nx-injected: 1", "\rx-injected: 1", "\r\n\r\nGET /admin HTTP/1.1\r\nhost: x\r\n\r\n"),
    *("\x00", "\x0b", "\x7f", "\x85", "\u2028", "%0d%0aX: 1", "\u010d\u010a", "\ud83d", "\u560d\u560ax: 1", " ", "\t"),
    *("{{data.id}}", "${secret:s}", "#", "?", "&", "//evil.example", "\\", "'", '"'),
)


@dataclass
class Wire:
    """A TLS server that keeps each connection's bytes as they come and answers each request."""

    context: ssl.SSLContext
    answers: list[bytes] = field(default_factory=list)
    seen: list[bytearray] = field(default_factory=list)
    body_bytes: int = 0
    port: int = 0

    async def open(self) -> Self:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.context)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw = bytearray()
        self.seen.append(raw)
        start = 0
        try:
            while data := await reader.read(65536):
                raw += data
                end = raw.find(b"\r\n\r\n", start)
                if end >= 0 and len(raw) >= end + 4 + self.body_bytes:
                    start = len(raw)
                    writer.write(self.answers.pop(0) if self.answers else OK)
        except (OSError, ssl.SSLError):
            pass
        finally:
            writer.close()

    def take(self) -> list[bytes]:
        """All that arrived, by connection."""
        taken = [bytes(raw) for raw in self.seen if raw]
        self.seen.clear()
        return taken


async def nowhere(host: str, port: int) -> Sequence[str]:
    """A name server that knows no name: the one receiver is reached by the operator's target."""
    return ()


@dataclass
class World:
    """One loop with the server in it, so that many examples share it."""

    runner: asyncio.Runner
    wire: Wire
    settings: EgressSettings

    def exchange(self, prepared: Prepared, *, times: int = 1) -> tuple[list[AttemptResult], list[bytes]]:
        """What came of sending a request, and the bytes that arrived on each connection."""
        return self.runner.run(self._exchange(prepared, times))

    async def _exchange(self, prepared: Prepared, times: int) -> tuple[list[AttemptResult], list[bytes]]:
        self.wire.body_bytes = len(prepared.body or b"")
        self.wire.take()
        async with Deliverer(self.settings, masker=Masker(), resolve=nowhere) as sender:
            results = [await sender.send(prepared, prepared, timeout_seconds=10) for _ in range(times)]
        return results, self.wire.take()


@pytest.fixture(scope="module", params=list(TransportKind))
def world(request: pytest.FixtureRequest, ca: trustme.CA, ca_file: Path) -> Iterator[World]:
    with asyncio.Runner() as runner:
        wire = runner.run(Wire(server_context(ca, HOST)).open())
        settings = EgressSettings(
            ca_file=ca_file,
            connect_to=(ConnectTo(HOST, 443, "127.0.0.1", wire.port),),
            transport=TransportKind(request.param),
        )
        yield World(runner, wire, settings)
        wire.server.close()


hostile = st.one_of(
    st.text(max_size=30),
    st.builds(lambda *parts: "".join(parts), st.text(max_size=5), st.sampled_from(SMUGGLED), st.text(max_size=5)),
)
printable = st.text(st.sampled_from("aZ09 \t:;,=\"'%{}$\\\xe9\xff"), max_size=20)
names = st.one_of(
    st.sampled_from(("x-team", "X-A", "cookie", "Content-Length", "transfer-encoding", "host", "te", "webhook-id")),
    hostile,
)


@st.composite
def webhooks(draw: st.DrawFn) -> Webhook:
    """A webhook as no check has seen it: only its shape is right."""
    spec: dict[str, Any] = {
        "url": draw(st.sampled_from((f"https://{HOST}/in", f"https://{HOST}", f"https://{HOST}/a?b=c")))
        + draw(st.one_of(st.just(""), hostile)),
        "triggers": ["RequestCreated"],
        "method": draw(st.sampled_from(("POST", "PUT", "GET"))),
        "headers": draw(st.dictionaries(names, st.one_of(printable, hostile), max_size=3)),
        "query": draw(st.dictionaries(hostile, hostile, max_size=2)),
    }
    if draw(st.booleans()):
        spec["content_type"] = draw(hostile)
    if draw(st.booleans()):
        spec["body_template"] = '{"a": "{{data.id}}", "b": {{data.extra}}}'
    return Webhook.model_validate({"metadata": {"name": "w"}, "spec": spec}, strict=False)


@st.composite
def requests(draw: st.DrawFn) -> tuple[Prepared, set[str]] | None:
    """A rendered request with the header names that may arrive; None where rendering refused, as it may."""
    try:
        webhook = draw(webhooks())
    except ValidationError:
        return None
    payload = {"event_type": "AccessRequestCreated", "data": {"id": draw(hostile), "extra": draw(hostile)}}
    raw = jsontext.dumps(payload).encode("utf-8")
    secrets = {"s": draw(hostile)}
    try:
        prepared = render_request(
            webhook, payload, raw, secrets=secrets, delivery_id=delivery_id(draw(hostile), "uid"), is_test=False
        )
    except ReconcilerError:
        return None
    written = {name.lower() for name in webhook.spec.headers} | OURS
    if prepared.body is not None:
        written |= {"content-type", "content-length"}
    return prepared, written


@hypothesis_settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn=requests())
def test_nothing_arrives_but_what_was_written(world: World, drawn: tuple[Prepared, set[str]] | None) -> None:
    """One request line, each header once with its prepared value, the body to the byte, and not a byte behind."""
    if drawn is None:
        event("refused")
        return
    prepared, written = drawn

    results, connections = world.exchange(prepared)

    if results[0].fault is not None:
        assert (results[0].fault in (Fault.RENDER, Fault.REFUSED_ADDRESS, Fault.DNS), results[0].wrote) == (True, False)
        assert connections == []
        return
    event("sent")
    (raw,) = connections
    head, _, body = raw.partition(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    assert b"\r" not in line + b"".join(fields) and b"\n" not in line + b"".join(fields)
    assert LINE.fullmatch(line)
    assert line.split(b" ")[0] == prepared.method.encode()
    found = [FIELD.fullmatch(item) for item in fields]
    assert all(found)
    arrived = [item[1].decode().lower() for item in found if item]
    assert max(Counter(arrived).values()) == 1
    assert set(arrived) <= written
    values = {value.encode("latin-1") for _, value in prepared.headers}
    added = {"host", "content-length", "accept", "accept-encoding", "user-agent"}
    assert all(item[1].decode().lower() in added or (item[2] or b"") in values for item in found if item)
    assert body == (prepared.body or b"")
    if prepared.body is not None:
        assert f"content-length: {len(body)}".encode() in [item.lower() for item in fields]


def plain() -> Prepared:
    return Prepared(
        "POST", f"https://{HOST}/in", (("content-type", "application/json"), ("webhook-id", "dlv_1")), b"{}"
    )


header_text = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
answer_headers = st.lists(
    st.tuples(
        st.sampled_from(
            (
                *("set-cookie", "location", "www-authenticate", "proxy-authenticate", "alt-svc", "link", "refresh"),
                *("webhook-delivery", "retry-after", "x-a", "upgrade", "strict-transport-security", "connection"),
            )
        ),
        header_text,
    ),
    max_size=6,
)


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    status=st.sampled_from((200, 201, 302, 307, 401, 407, 421, 429, 500)),
    headers=answer_headers,
    body=st.binary(max_size=60),
)
def test_an_answer_changes_nothing_of_the_next_request(
    world: World, status: int, headers: list[tuple[str, str]], body: bytes
) -> None:
    """No cookie, challenge, redirect or upgrade: the second request is the first, byte for byte, and the last."""
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers)]
    world.wire.answers = ["\r\n".join((*lines, f"content-length: {len(body)}", "", "")).encode() + body]

    _, connections = world.exchange(plain(), times=2)

    raw = b"".join(connections)
    half = len(raw) // 2
    assert raw[:half] == raw[half:]
    assert raw.count(b"POST /in HTTP/1.1\r\n") == 2
    world.wire.answers = []


@pytest.mark.parametrize(
    "behind",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"\r\n\r\nHTTP/1.1 401 No\r\nwww-authenticate: Basic\r\ncontent-length: 0\r\n\r\n",
        b"POST /in HTTP/1.1\r\n\r\n",
    ],
)
def test_what_comes_behind_an_answer_is_no_answer_to_the_next_request(world: World, behind: bytes) -> None:
    """A receiver that answers ahead of time does not get to answer for later deliveries: the connection is given up."""
    world.wire.answers = [b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n" + behind]

    results, connections = world.exchange(plain(), times=2)

    assert [result.status for result in results] == [500, 200]
    assert len(connections) == 2
