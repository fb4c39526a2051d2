"""The daemon: sources, dispatch and web over one store, in one event loop, until a signal or idleness ends it.

Only puts the pieces together and in order: lock, recover, listen, work, drain. Called by `reconciler run` and the demo.
"""

import asyncio
import contextlib
import ipaddress
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Final

import uvicorn

from reconciler.dispatch.intake import Intake
from reconciler.dispatch.live import Live
from reconciler.dispatch.worker import Clock, Worker
from reconciler.egress.deliver import Deliverer
from reconciler.egress.secrets import SecretResolver
from reconciler.errors import ReconcilerError
from reconciler.observe.log import log
from reconciler.settings import EgressSettings
from reconciler.source.jsonl import read_events
from reconciler.store.base import Store
from reconciler.web.app import build_app

DRAIN_SECONDS: Final = 20.0
IDLE_CHECK_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class DaemonSettings:
    """What an operator decides about a daemon."""

    host: str
    port: int
    egress: EgressSettings
    events: str | None = None  # a JSONL file, or `-` for standard input
    exit_when_idle: bool = False


class Daemon:
    """One daemon over one open store. `run` returns when it has drained."""

    def __init__(self, settings: DaemonSettings, *, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._stop = asyncio.Event()
        self.stopped_by: signal.Signals | None = None

    def stop(self) -> None:
        """Begin the drain."""
        self._stop.set()

    async def run(self, *, on_ready: Callable[[str], None]) -> None:
        """Serve until stopped. `on_ready` is called with the base URL once events are taken.

        Raises StoreBusyError if another daemon serves the store, ReconcilerError if the address cannot be listened on.
        """
        self._store.take_daemon_lock()
        listener = _listen(self._settings.host, self._settings.port)
        with contextlib.closing(listener):
            resolver = SecretResolver.load(self._settings.egress.secrets_file)
            async with Deliverer(self._settings.egress, masker=resolver.masker) as deliverer:
                await self._serve(listener, resolver, deliverer, on_ready)

    async def _serve(
        self,
        listener: socket.socket,
        resolver: SecretResolver,
        deliverer: Deliverer,
        on_ready: Callable[[str], None],
    ) -> None:
        live = Live(self._store)
        clock = Clock(now=now_ms, monotonic=time.monotonic)
        worker = Worker(store=self._store, live=live, deliverer=deliverer, resolver=resolver, clock=clock)
        intake = Intake(self._store, live, now=now_ms, wake=worker.wake)
        await worker.start()
        url = _base_url(listener)
        app = build_app(
            store=self._store, live=live, intake=intake, status=lambda: {"in_flight": worker.in_flight}, listen=url
        )
        server = _Server(app, listener)
        with self._signals():
            async with asyncio.TaskGroup() as group:
                working = group.create_task(worker.run())
                serving = group.create_task(server.serve())
                await server.wait_until_started()
                log("daemon.ready", url=url, revision=live.snapshot.revision)
                on_ready(url)
                source = group.create_task(self._read_events(intake, worker))
                watch = group.create_task(self._stop.wait())
                await asyncio.wait({watch, working, serving}, return_when=asyncio.FIRST_COMPLETED)
                log("daemon.draining", in_flight=worker.in_flight)
                intake.close()
                source.cancel()
                watch.cancel()
                await worker.drain(timeout_seconds=DRAIN_SECONDS)
                server.stop()
        log("daemon.stopped")

    async def _read_events(self, intake: Intake, worker: Worker) -> None:
        if self._settings.events is not None:
            await read_events(self._settings.events, intake)
        if not self._settings.exit_when_idle:
            return
        while not worker.is_idle or await self._store.next_wake_at() is not None:  # noqa: ASYNC110 - a store's state
            await asyncio.sleep(IDLE_CHECK_SECONDS)
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
        self.stopped_by = number
        self.stop()


class _Server:
    """uvicorn in our loop, on our socket, without its signal handlers."""

    def __init__(self, app: object, listener: socket.socket) -> None:
        config = uvicorn.Config(
            app,  # type: ignore[arg-type]  # a Starlette application is an ASGI application
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            http="httptools",
            ws="none",
            timeout_keep_alive=30,
            timeout_graceful_shutdown=5,
            proxy_headers=False,
        )
        self._server = _QuietServer(config)
        self._listener = listener

    async def serve(self) -> None:
        await self._server.serve(sockets=[self._listener])

    async def wait_until_started(self) -> None:
        await self._server.ready.wait()

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


def _listen(host: str, port: int) -> socket.socket:
    if not is_loopback(host):
        raise ReconcilerError(
            f"without tokens the daemon listens only on loopback: {host}",
            hint="listen on 127.0.0.1 and let a proxy that authenticates stand in front",
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


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`: 127.0.0.0/8, ::1 or the name localhost."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _base_url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.asynccontextmanager
async def open_daemon_store(url: str) -> AsyncIterator[Store]:
    """The store, made if there is none: a daemon may be started before the first apply."""
    from reconciler.store.open import open_store

    store = open_store(url, create=True)
    assert store is not None
    async with store:
        yield store
