"""A local server that behaves like Okta Workflows, for tests, demos and benchmarks.

Run by the `sandbox` and `demo` commands and inside tests. It speaks TLS under names of its own certificate authority,
so that production's very URL reaches it by `--connect-to` and `--ca`. `flow` knows Okta's rules, `script` the faults on
demand, `wire` the protocol, `record` the evidence; this module holds them together.
"""

import asyncio
import os
import socket
import ssl
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import trustme

from reconciler.errors import ReconcilerError
from reconciler.sandbox import flow, oauth
from reconciler.sandbox.exchange import TOKEN_PATH, Answer, Ending, Invocation, Request
from reconciler.sandbox.record import RecordedRequest, RecordFile
from reconciler.sandbox.script import Line, Script
from reconciler.sandbox.wire import Connection
from reconciler.settings import ConnectTo

HANDSHAKE_SECONDS: Final = 10.0
NOTHING: Final = Answer(None)
SHUTDOWN_SECONDS: Final = 1.0  # how long a closed connection waits for the client's TLS goodbye


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    """How a sandbox is set up. Port 0 lets the system choose; `rate` None is no limit; `keep_requests` holds the
    recorded requests in memory for `OktaSandbox.requests`. Tokens are given out under every name that is served."""

    address: str = "127.0.0.1"
    port: int = 0
    hosts: tuple[str, ...] = (flow.DEFAULT_HOST,)
    flows: tuple[flow.Flow, ...] = ()
    rate: int | None = flow.RATE_PER_SECOND
    script: tuple[Line, ...] = ()
    record: Path | None = None
    ca_out: Path | None = None
    keep_requests: bool = True
    oauth_clients: tuple[oauth.OAuthClient, ...] = ()
    oauth_life_seconds: float = oauth.LIFE_SECONDS


class OktaSandbox:
    """The server, as an async context manager: on entry it listens, on exit every connection is closed at once.

    `requests` holds what came in, in order. Whoever runs one for long awaits `stopped`: it ends with `stop()`, or with
    the error that keeps the sandbox from recording. The clocks are arguments so that tests can turn them.
    """

    def __init__(
        self,
        settings: SandboxSettings | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        epoch: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings or SandboxSettings()
        self.requests: list[RecordedRequest] = []
        self.port = self.settings.port
        self.stopped: asyncio.Future[None]
        self._ca = trustme.CA(organization_name="reconciler sandbox")
        settings = self.settings
        self.oauth = oauth.AuthorizationServer(
            settings.oauth_clients, hosts=settings.hosts, life_seconds=settings.oauth_life_seconds
        )
        self._flows = flow.Flows(
            settings.flows,
            hosts=settings.hosts,
            rate=settings.rate,
            refuse_bearer=lambda request, epoch: self.oauth.refuse_invocation(request, epoch=epoch),
        )
        self._script = Script(self.settings.script)
        self._monotonic, self._epoch = monotonic, epoch
        self._connections: set[Connection] = set()
        self._count = 0
        self._seen = 0  # how many of `requests` next_request has handed out
        self._arrival: asyncio.Event
        self._file: RecordFile | None = None
        self._server: asyncio.Server

    @property
    def ca_pem(self) -> bytes:
        """The certificate of the sandbox's authority."""
        return self._ca.cert_pem.bytes()

    @property
    def connect_to(self) -> tuple[ConnectTo, ...]:
        """What an operator gives as `--connect-to`, to reach the sandbox under the names it serves."""
        settings = self.settings
        return tuple(ConnectTo(host, 443, settings.address, self.port) for host in settings.hosts)

    @property
    def url(self) -> str:
        """Where it listens; the certificate is for the hosts, not for this address."""
        address = self.settings.address
        return f"https://{f'[{address}]' if ':' in address else address}:{self.port}"

    async def __aenter__(self) -> Self:
        """Write the authority's certificate and listen. Raises ReconcilerError, OSError."""
        loop = asyncio.get_running_loop()
        self._arrival, self.stopped = asyncio.Event(), loop.create_future()
        if self.settings.ca_out is not None:
            write_public(self.settings.ca_out, self.ca_pem)
        if self.settings.record is not None:
            self._file = RecordFile(self.settings.record)
        try:
            self._server = await loop.create_server(
                self._connection,
                self.settings.address,
                self.settings.port,
                ssl=self._tls(),
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS,
            )
        except OSError as exc:
            self._close_file()
            raise ReconcilerError(f"cannot listen: {self.url}: {_cause(exc)}") from exc
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        while self._connections:
            connection = next(iter(self._connections))
            connection.abort()
            await connection.closed
        await self._server.wait_closed()
        self._close_file()
        self.stopped.cancel()

    def stop(self) -> None:
        """End `stopped`."""
        if not self.stopped.done():
            self.stopped.set_result(None)

    def add_script(self, *lines: Line) -> None:
        """Add lines behind those of the settings."""
        self._script.extend(lines)

    async def next_request(self, timeout: float = 5.0) -> RecordedRequest:
        """The first request that this method has not returned yet. Raises TimeoutError."""
        await self.wait_for_requests(self._seen + 1, timeout)
        self._seen += 1
        return self.requests[self._seen - 1]

    async def wait_for_requests(self, count: int, timeout: float = 5.0) -> list[RecordedRequest]:
        """Everything that came in, once it is at least `count` requests. Raises TimeoutError."""
        async with asyncio.timeout(timeout):
            while len(self.requests) < count:
                self._arrival.clear()
                await self._arrival.wait()
        return list(self.requests)

    def admit(self, request: Request) -> Invocation | Answer:
        """What Okta's rules say to the head of a request."""
        return self._flows.admit(request, now=self._monotonic(), epoch=self._epoch())

    def run(self, invocation: Invocation, request: Request, execution_id: str) -> Answer:
        """What the flow, or the authorization server, answers by itself."""
        if invocation.flow == TOKEN_PATH:
            return self.oauth.answer(request, epoch=self._epoch())
        return flow.run(request, execution_id)

    def take(self, invocation: Invocation, request: Request) -> Line | None:
        """The line of the script for this invocation."""
        return self._script.take(invocation, request)

    def record(self, request: Request, decide: Callable[[str], Answer], invocation: Invocation | None) -> Answer:
        """Decide under the next execution id and record it, before anything is sent; returns the answer."""
        self._count += 1
        answer = decide(str(uuid.UUID(int=self._count)))
        named = invocation.flow if invocation is not None and invocation.flow == TOKEN_PATH else None
        found = None if named else self._flows.find(request)
        path, headers = self._flows.mask(request)
        recorded = RecordedRequest(
            n=self._count,
            time=int(self._epoch() * 1000),
            flow=named or (found.alias if found else None),
            invocation=invocation.number if invocation else None,
            method=request.method,
            path=path,
            headers=headers,
            content=oauth.masked_form(request.body) if named else request.body,
            status=answer.status,
            ending=answer.ending,
        )
        self._keep(recorded)
        return answer

    def _keep(self, recorded: RecordedRequest) -> None:
        try:
            if self._file is not None:
                self._file.append(recorded)
        except OSError as exc:
            if not self.stopped.done():
                self.stopped.set_exception(ReconcilerError(f"cannot record: {self.settings.record}: {_cause(exc)}"))
            raise
        if self.settings.keep_requests:
            self.requests.append(recorded)
            self._arrival.set()

    def _connection(self) -> Connection:
        return Connection(_Responder(self), body_max_bytes=flow.BODY_MAX_BYTES, connections=self._connections)

    def _tls(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        self._ca.issue_cert(*self.settings.hosts).configure_cert(context)
        return context

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class _Responder:
    """What one connection's requests get: the rules at the head, the script's line and the flow itself at the end."""

    def __init__(self, sandbox: OktaSandbox) -> None:
        self._sandbox = sandbox
        self._verdict: Invocation | Answer
        self._line: Line | None = None

    def on_head(self, request: Request) -> Answer | None:
        self._verdict = self._sandbox.admit(request)
        self._line = None
        if isinstance(self._verdict, Invocation):
            self._line = self._sandbox.take(self._verdict, request)
        if self._line is not None and self._line.ending is Ending.RESET_BEFORE:
            return self._decide(request, self._line.apply(NOTHING))
        return None

    def on_too_large(self, request: Request) -> Answer:
        return self._decide(request, flow.refuse_size())

    def on_request(self, request: Request) -> Answer:
        return self._decide(request, None)

    def _decide(self, request: Request, settled: Answer | None) -> Answer:
        sandbox, verdict, line = self._sandbox, self._verdict, self._line
        if isinstance(verdict, Answer):
            return self._sandbox.record(request, lambda _: verdict, None)

        def decide(execution_id: str) -> Answer:
            usual = settled or sandbox.run(verdict, request, execution_id)
            return line.apply(usual) if line is not None and settled is None else usual

        return self._sandbox.record(request, decide, verdict)


def _cause(exc: OSError) -> str:
    """The system's word; asyncio puts the address before it, which is said already."""
    if exc.errno is None or isinstance(exc, socket.gaierror):  # a resolver's numbers are not errno's
        return (exc.strerror or str(exc)).lower()
    return os.strerror(exc.errno).lower()


def write_public(path: Path, content: bytes) -> None:
    """Put a file that anyone may read in place, whole or not at all; a pipe or device is written to. Raises OSError."""
    if path.exists() and not path.is_file():
        path.write_bytes(content)  # a file in its place would be everybody's /dev/null
        return
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(descriptor, 0o644)  # whatever the umask is; nobody else's to write at any moment
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
