"""What the tests of intake, sources and web share: a real store with webhooks in it, intake over it, a real server."""

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from described import described

from reconciler.dispatch.intake import Intake
from reconciler.dispatch.live import Live
from reconciler.models.revision import ChangeSet, LiveWebhook
from reconciler.models.webhook import Webhook, WebhookUid
from reconciler.store.base import Store
from reconciler.store.open import open_store
from reconciler.web.protocol import BoundedProtocol

NOW = 1_795_424_400_000  # ms


@dataclass
class Room:
    """A store and what stands around it. `now` may be moved; `wakes` counts calls of `wake`."""

    store: Store
    live: Live
    now: int = NOW
    wakes: int = 0
    intake: Intake = field(init=False)

    def __post_init__(self) -> None:
        self.intake = Intake(self.store, self.live, now=lambda: self.now, wake=self._wake)

    def _wake(self) -> None:
        self.wakes += 1


def webhook(name: str, *, title: str | None = None, labels: dict[str, str] | None = None, **spec: Any) -> Webhook:
    """A webhook that wants created requests, unless told otherwise."""
    metadata = {"name": name, "title": title, "labels": labels or {}}
    defaults = {"url": "https://receiver.example.com/hook", "triggers": ["RequestCreated"]}
    return Webhook.model_validate({"metadata": metadata, "spec": {**defaults, **spec}}, strict=False)


async def publish(store: Store, *webhooks: Webhook, commit: str | None = None) -> int:
    """Make these the live webhooks, each with its name as uid; returns the revision."""
    state = await store.live_state()
    names = {item.name for item in webhooks}
    upserts = tuple(LiveWebhook(WebhookUid(item.name), "", item, item.digest(), False, 0) for item in webhooks)
    change = ChangeSet(
        lineage=state.lineage,
        base_revision=state.revision,
        plan_id=f"plan-{state.revision}",
        applied_at=NOW,
        applied_by="dana@example.com",
        commit=commit,
        owner="",
        upserts=upserts,
        deletes=tuple(live.uid for live in state.webhooks if live.webhook.name not in names),
        policy=None,
        created=len(upserts),
        updated=0,
        renamed=0,
        deleted=0,
        changes=(),
    )
    return (await store.publish(change)).number


@contextlib.asynccontextmanager
async def open_room(folder: Path, *webhooks: Webhook) -> AsyncIterator[Room]:
    """A new store in the folder, with these webhooks live if there are any."""
    store = open_store(f"sqlite:///{folder / 'store.db'}", create=True)
    assert store is not None
    async with store:
        if webhooks:
            await publish(store, *webhooks)
        live = Live(store)
        await live.refresh()
        yield Room(store, live)


@contextlib.asynccontextmanager
async def running(app: Any, *, tls: ssl.SSLContext | None = None, keep_seconds: float = 5) -> AsyncIterator[str]:
    """The application served by uvicorn on a free loopback port; yields the base URL. Of a daemon's application each
    answer must be one that the API's description tells of."""
    listener = socket.create_server(("127.0.0.1", 0))
    watched = described(app)
    config = uvicorn.Config(
        watched,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        http=BoundedProtocol,
        ws="none",
        timeout_keep_alive=keep_seconds,  # type: ignore[arg-type]  # a timer takes parts of a second
        proxy_headers=False,  # else a layer stands around the application, and no short way is seen
    )
    config.load()
    config.ssl = tls
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await asyncio.wait_for(server.is_up.wait(), 10)
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        await serving
        listener.close()
    assert not watched.faults, "\n".join(watched.faults)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def exchange(url: str, request: bytes, *, keep_open: bool = False) -> tuple[int, dict[str, str], bytes]:
    """Bytes to a server as they are; status, headers and body of its answer. With `keep_open` no more bytes follow,
    but the connection stays open for them."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request)
        if not keep_open:
            await writer.drain()
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
        body = await asyncio.wait_for(reader.readexactly(int(headers.get("content-length", "0"))), 10)
        return int(first.split()[1]), headers, body
    finally:
        writer.close()


def event(number: int = 1, **data: Any) -> dict[str, Any]:
    """A small created request."""
    return {
        "event_type": "AccessRequestCreated",
        "event_time": 1795424400 + number,
        "data": {"id": f"request-{number}", **data},
    }


def raw(value: Any) -> bytes:
    """As JSON bytes."""
    return json.dumps(value).encode()
