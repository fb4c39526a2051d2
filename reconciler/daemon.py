"""The daemon: sources, dispatch and web over one store, in one event loop, until a signal or idleness ends it.

Only puts the pieces together and in order: lock, recover, listen, work, drain. Called by `reconciler run` and the demo.
"""

import asyncio
import contextlib
import resource
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import uvicorn

from reconciler.address import is_loopback
from reconciler.dispatch.clock import Clock
from reconciler.dispatch.doctor import Doctor, loose_keys
from reconciler.dispatch.herald import Herald
from reconciler.dispatch.intake import Intake
from reconciler.dispatch.live import Live
from reconciler.dispatch.retention import Pruner
from reconciler.dispatch.room import Room, RoomLimits
from reconciler.dispatch.worker import Worker, WorkerSettings
from reconciler.egress.deliver import Deliverer
from reconciler.egress.mask import Masker
from reconciler.egress.secrets import SecretResolver
from reconciler.errors import ReconcilerError
from reconciler.observe.log import log, place_of
from reconciler.settings import EgressSettings
from reconciler.source.http import HttpLimits
from reconciler.source.jsonl import check_readable, read_events
from reconciler.store.base import Store
from reconciler.timer_slack import set_timer_slack
from reconciler.web.app import Security, build_app
from reconciler.web.certificate import ServingTls
from reconciler.web.protocol import BoundedProtocol
from reconciler.web.token import Tokens

DRAIN_SECONDS: Final = 20.0
IDLE_CHECK_SECONDS: Final = 0.05
# A thread that wants the interpreter's lock asks for it after so long; by default 250 times that. The loop lets go of
# it in each TLS write for a moment that is too short for another thread to take it, and each time that thread begins
# to wait anew: with an interval longer than such a round the store's thread starves beside a busy loop.
SWITCH_SECONDS: Final = 2e-5
# The loop asks later: what others do with the lock is short, and soon over if they are not interrupted.
LOOP_SLACK_NS: Final = 300_000
KEEP_MS: Final = 30 * 86_400_000  # thirty days


@dataclass(frozen=True, slots=True)
class DaemonSettings:
    """What an operator decides about a daemon."""

    host: str
    port: int
    egress: EgressSettings
    events: str | None = None  # a JSONL file, or `-` for standard input
    exit_when_idle: bool = False
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    tokens_file: Path | None = None
    tls: tuple[Path, Path] | None = None  # certificate and private key, PEM
    keep_ms: int | None = KEEP_MS  # how long events and what became of them are kept; None: for ever
    room: RoomLimits = field(default_factory=RoomLimits)
    intake_rate: float | None = None  # requests a second of one sender; None: as many as it likes

    @property
    def key_files(self) -> tuple[Path, ...]:
        """The files that hold what opens the daemon's door."""
        tokens = () if self.tokens_file is None else (self.tokens_file,)
        return tokens if self.tls is None else (*tokens, self.tls[1])


class Daemon:
    """One daemon over one open store. `run` returns when it has drained."""

    def __init__(self, settings: DaemonSettings, *, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._stop = asyncio.Event()
        self._failure: Exception | None = None
        self._worker: Worker | None = None
        self.stopped_by: signal.Signals | None = None

    def stop(self) -> None:
        """Begin the drain."""
        self._stop.set()

    async def run(self, *, on_ready: Callable[[str], None]) -> None:
        """Serve until stopped. `on_ready` is called with the base URL once events are taken.

        Raises StoreBusyError if another daemon serves the store, ReconcilerError if the address cannot be listened on,
        the events cannot be read, or a part of the daemon fails; then it has drained as far as the failure lets it.
        """
        if self._settings.events is not None:
            check_readable(self._settings.events)
        security, tls = self._security()
        for shut in self._store.take_daemon_lock():
            log("store.shut", file=shut.path, mode=f"{shut.mode:04o}", why="everybody could use it")
        raise_open_files()
        with _quick_handovers(), self._signals(), contextlib.closing(_listen(self._settings)) as listener:
            resolver = SecretResolver.load(self._settings.egress.secrets_file)
            for problem in resolver.warnings:
                log("secrets.problem", severity=problem.severity, at=problem.where, why=problem.message)
            for loose in loose_keys((*(self._settings.tls or ())[1:], *resolver.files)):
                log("key.loose", file=loose.path, mode=f"{loose.mode:04o}", why="others may read or change it")
            async with Deliverer(self._settings.egress, masker=resolver.masker) as deliverer:
                await self._serve(_Door(listener, security, tls), resolver, deliverer, on_ready)
        if self._failure is not None:
            raise _explained(self._failure, resolver.masker)
        log("daemon.stopped")

    def _security(self) -> tuple[Security, ServingTls | None]:
        """Who may ask, and the TLS they ask over. Raises ManifestError for a bad tokens file, ReconcilerError for a
        certificate that cannot be used."""
        tokens = Tokens.load(self._settings.tokens_file) if self._settings.tokens_file is not None else None
        for problem in tokens.warnings if tokens is not None else ():
            log("tokens.problem", severity=problem.severity, at=problem.where, why=problem.message)
        if self._settings.tls is None:
            return Security(tokens), None
        tls = ServingTls(*self._settings.tls)
        return Security(tokens, tls.names), tls

    async def _serve(
        self,
        door: "_Door",
        resolver: SecretResolver,
        deliverer: Deliverer,
        on_ready: Callable[[str], None],
    ) -> None:
        live = Live(self._store)
        self._worker = worker = Worker(
            store=self._store,
            live=live,
            deliverer=deliverer,
            resolver=resolver,
            clock=Clock(now=now_ms, monotonic=time.monotonic),
            settings=self._settings.worker,
        )
        room = Room(self._settings.room)
        intake = Intake(self._store, live, now=now_ms, wake=worker.wake, room=room)
        await worker.start()
        room.see(await self._store.load())
        url = door.url
        app = build_app(
            store=self._store,
            live=live,
            intake=intake,
            status=lambda: {"in_flight": worker.in_flight, "intake_full": room.why_full},
            limits=HttpLimits(per_second=self._settings.intake_rate),
            listen=url,
            security=door.security,
            doctor=Doctor(
                self._store,
                settings=self._settings.egress,
                resolver=resolver,
                deliverer=deliverer,
                room=self._settings.room,
                key_files=self._settings.key_files,
                now=now_ms,
            ),
            on_publish=worker.refresh_soon,
            on_operate=worker.wake,
        )
        server = _Server(app, door)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._part(worker.run))
            group.create_task(self._part(server.serve))
            await _first_of(server.ready, self._stop)
            if not self._stop.is_set():
                log("daemon.ready", url=url, revision=live.snapshot.revision)
                on_ready(url)
            herald = Herald(self._store, live, now=now_ms, wake=worker.wake)
            reading = partial(self._read_events, intake, worker, herald)
            source = group.create_task(self._part(reading, may_end=True))
            chores = [group.create_task(self._part(chore)) for chore in (herald.run, *self._chores(room, worker, door))]
            await self._stop.wait()
            for chore in chores:
                chore.cancel()
            log("daemon.draining", in_flight=worker.in_flight)
            intake.close()
            source.cancel()
            await self._part(partial(worker.drain, timeout_seconds=DRAIN_SECONDS), may_end=True)
            server.stop()

    def _chores(self, room: Room, worker: Worker, door: "_Door") -> tuple[Callable[[], Awaitable[None]], ...]:
        """What is done beside the work, until the drain."""
        pruner = Pruner(
            self._store,
            keep_ms=self._settings.keep_ms,
            now=now_ms,
            monotonic=time.monotonic,
            is_busy=lambda: worker.is_busy,
        )
        watches = (door.tls.watch,) if door.tls is not None else ()
        return (pruner.run, partial(room.watch, self._store), *watches)

    async def _part(self, part: Callable[[], Awaitable[None]], *, may_end: bool = False) -> None:
        """A part of the daemon. One that fails, or ends when it must not, ends the daemon, by way of the drain."""
        try:
            await part()
        except Exception as exc:
            self._fail(exc)
        else:
            if not may_end and not self._stop.is_set():
                self._fail(RuntimeError("a part of the daemon ended by itself"))

    def _fail(self, exc: Exception) -> None:
        if self._failure is None:
            self._failure = exc
        self.stop()

    async def _read_events(self, intake: Intake, worker: Worker, herald: Herald) -> None:
        if self._settings.events is not None:
            await read_events(self._settings.events, intake)
        if not self._settings.exit_when_idle:
            return
        # what was told while the worker was asked is work, and what it finished meanwhile is to be told
        while not (await herald.is_idle() and await worker.is_idle() and await herald.is_idle()):  # noqa: ASYNC110
            await asyncio.sleep(IDLE_CHECK_SECONDS)
        if held := sum((await self._store.unfinished()).values()):
            log("daemon.idle", held=held, why="their webhooks cannot be sent to; `deliveries list` shows the reason")
        self.stop()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        handled = (signal.SIGTERM, signal.SIGINT)
        for number in handled:
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            yield
        finally:
            for number in handled:
                loop.remove_signal_handler(number)

    def _on_signal(self, number: signal.Signals) -> None:
        """The first signal begins the drain, the next one cuts it short."""
        if self.stopped_by is not None and self._worker is not None:
            log("daemon.cut", in_flight=self._worker.in_flight)
            self._worker.cut()
        self.stopped_by = self.stopped_by or number
        self.stop()


async def _first_of(*events: asyncio.Event) -> None:
    """Wait until one of the events is set."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


@contextlib.contextmanager
def _quick_handovers() -> Iterator[None]:
    """How the daemon's threads hand the interpreter's lock to each other; afterwards as it was before."""
    interval, slack = sys.getswitchinterval(), set_timer_slack(LOOP_SLACK_NS)
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        if slack is not None:
            set_timer_slack(slack)


def _explained(failure: BaseException, masker: Masker) -> ReconcilerError:
    """The one error behind a failure, in words: what we know as it is, a bug with its place."""
    while isinstance(failure, BaseExceptionGroup):
        known = [exc for exc in failure.exceptions if isinstance(exc, ReconcilerError | BaseExceptionGroup)]
        failure = (known or failure.exceptions)[0]
    if isinstance(failure, ReconcilerError):
        log("daemon.failed", error=failure.message)
        return failure
    what = masker.mask(f"{type(failure).__name__}: {failure}")
    log("daemon.failed", error=what, where=place_of(failure))
    explained = ReconcilerError(
        f"the daemon failed: {what} (at {place_of(failure) or 'an unknown place'})",
        hint="this is a bug: please report it; nothing that was acknowledged is lost",
    )
    explained.__cause__ = failure
    return explained


@dataclass(frozen=True, slots=True)
class _Door:
    """Where requests come in, who may come, and whether by TLS."""

    listener: socket.socket
    security: Security
    tls: ServingTls | None

    @property
    def url(self) -> str:
        """The base URL."""
        host, port = self.listener.getsockname()[:2]
        scheme = "http" if self.tls is None else "https"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


class _Server:
    """uvicorn in our loop, on our socket, without its signal handlers."""

    def __init__(self, app: object, door: _Door) -> None:
        config = uvicorn.Config(
            app,  # type: ignore[arg-type]  # a Starlette application is an ASGI application
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            http=BoundedProtocol,
            ws="none",
            timeout_keep_alive=30,
            timeout_graceful_shutdown=5,
            proxy_headers=False,
        )
        config.load()
        if door.tls is not None:
            config.ssl = door.tls.context  # of our making; uvicorn would read the files by rules of its own
        self._server = _QuietServer(config)
        self._listener = door.listener
        self.ready = self._server.ready

    async def serve(self) -> None:
        await self._server.serve(sockets=[self._listener])

    def stop(self) -> None:
        self._server.should_exit = True


class _QuietServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def raise_open_files() -> None:
    """Take as many open files as this process may: each attempt in flight and each idle connection holds one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _listen(settings: DaemonSettings) -> socket.socket:
    host, port = settings.host, settings.port
    if not is_loopback(host) and settings.tokens_file is None:
        raise ReconcilerError(
            f"without tokens the daemon listens only on loopback: {host}",
            hint="give it `--tokens FILE`, `--tls-cert` and `--tls-key`, or listen on 127.0.0.1",
        )
    if not is_loopback(host) and settings.tls is None:
        raise ReconcilerError(
            f"beyond loopback the daemon serves https:// only: {host}",
            hint="give it `--tls-cert` and `--tls-key`: plain http:// would show every token on the way",
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
        listener.setblocking(False)
    except OSError as exc:
        listener.close()
        raise ReconcilerError(
            f"cannot listen on {host}:{port}: {exc.strerror}", hint="choose another address with `--listen`"
        ) from exc
    return listener


@contextlib.asynccontextmanager
async def open_daemon_store(url: str) -> AsyncIterator[Store]:
    """The store, made if there is none: a daemon may be started before the first apply."""
    from reconciler.store.open import open_store

    store = open_store(url, create=True)
    assert store is not None
    async with store:
        yield store
