"""A worker with everything real around it: SQLite file, TLS sandbox, deliverer, intake; only the clock is ours."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from served import publish

from reconciler.dispatch.clock import Clock
from reconciler.dispatch.intake import Intake
from reconciler.dispatch.live import Live
from reconciler.dispatch.worker import Worker, WorkerSettings
from reconciler.egress.deliver import Deliverer
from reconciler.egress.secrets import SecretResolver
from reconciler.errors import StoreError
from reconciler.models.delivery import Attempt, Delivery, DeliveryId
from reconciler.models.event import EventId
from reconciler.models.webhook import Webhook, WebhookUid
from reconciler.sandbox.okta import OktaSandbox, SandboxSettings
from reconciler.settings import EgressSettings
from reconciler.store.base import Claimed, DeliveryFilter, Page, Turned
from reconciler.store.sqlite.store import SqliteStore

START = 1_795_424_400_000  # ms
DEFAULTS = WorkerSettings()
HOST = "acme.workflows.okta.com"
ALL_TRIGGERS = [
    f"Request{kind}" for kind in ("Created", "Approved", "Rejected", "Granted", "Expired", "Failed")
]  # fmt: skip


class TurnedClock:
    """Stands still until it is turned. Chance is the middle, so that jitter adds nothing."""

    def __init__(self) -> None:
        self.at = START
        self.uptime = 0.0

    def now(self) -> int:
        return self.at

    def monotonic(self) -> float:
        return self.uptime

    def rand(self) -> float:
        return 0.5


class WatchedStore(SqliteStore):
    """The real store; counts calls, refuses those that a test names in `broken`, tells when something was claimed."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.calls: Counter[str] = Counter()
        self.broken: dict[str, StoreError] = {}
        self.on_claimed: Callable[[], object] = lambda: None
        self.claimed_with_a_finish = 0

    def _meet(self, verb: str) -> None:
        self.calls[verb] += 1
        if verb in self.broken:
            raise self.broken[verb]

    async def claim(self, **facts: Any) -> tuple[Claimed, ...]:
        self._meet("claim")
        claimed = await super().claim(**facts)
        if claimed:
            self.on_claimed()
        return claimed

    async def finish(self, finished: Any) -> tuple[int, ...]:
        self._meet("finish")
        return await super().finish(finished)

    async def turn(self, finished: Any, **facts: Any) -> Turned:
        for verb in ("turn", "finish", "claim"):
            self._meet(verb)
        turned = await super().turn(finished, **facts)
        if turned.claimed:
            self.claimed_with_a_finish += len(turned.claimed)
            self.on_claimed()
        return turned

    async def release(self, claimed: Any, *, due_at: int) -> None:
        self._meet("release")
        await super().release(claimed, due_at=due_at)

    async def next_wake_at(self) -> int | None:
        self._meet("next_wake_at")
        return await super().next_wake_at()

    async def configure(self, revision: int, lanes: Any) -> None:
        self._meet("configure")
        await super().configure(revision, lanes)

    async def live_revision(self) -> int:
        self._meet("live_revision")
        return await super().live_revision()


@dataclass
class WorkerRoom:
    """One worker at work."""

    folder: Path
    store: WatchedStore
    sandbox: OktaSandbox
    clock: TurnedClock
    live: Live = field(init=False)
    intake: Intake = field(init=False)
    worker: Worker = field(init=False)
    resolver: SecretResolver = field(init=False)
    deliverer: Deliverer = field(init=False)
    running: asyncio.Task[None] | None = None
    _number: int = 0

    async def publish(self, *webhooks: Webhook, commit: str | None = None) -> int:
        """Apply, as another process would."""
        return await publish(self.store, *webhooks, commit=commit)

    async def take(self, *data_ids: str | None, kind: str = "Created", **data: Any) -> None:
        """One event for each of these request ids, in order."""
        events = []
        for data_id in data_ids:
            self._number += 1
            facts = {"friendly_id": f"AR-{self._number}", **data}
            if data_id is not None:
                facts["id"] = data_id
            events.append({"event_type": f"AccessRequest{kind}", "event_time": self._number, "data": facts})
        answer = await self.intake.take(json.dumps(events).encode(), source="test")
        assert answer.accepted == len(events)

    def turn(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.at += round(seconds * 1000)
        self.clock.uptime += seconds
        self.worker.wake()

    async def deliveries(self, webhook: str | None = None) -> list[Delivery]:
        """Every delivery, oldest first."""
        return list(reversed(await self.store.deliveries(Page(10_000), where=DeliveryFilter(webhook))))

    async def only(self) -> Delivery:
        """The one delivery there is."""
        [delivery] = await self.deliveries()
        return delivery

    async def attempts(self) -> tuple[Attempt, ...]:
        """The attempts of the one delivery there is."""
        found = await self.store.delivery((await self.only()).id)
        assert found is not None
        return found[1]

    async def states(self, webhook: str | None = None) -> Counter[str]:
        """How many deliveries are in each state."""
        return Counter(delivery.state.value for delivery in await self.deliveries(webhook))

    async def settled(self) -> None:
        """Until nothing is in flight, nothing is unrecorded and nothing is due."""

        async def is_settled() -> bool:
            before = self.store.calls["claim"]
            is_busy = self.worker.is_busy
            wake_at = await self.store.next_wake_at()
            is_busy |= self.worker.is_busy or self.store.calls["claim"] != before
            return not is_busy and (wake_at is None or wake_at > self.clock.at)

        await until(is_settled, what="nothing left to do")

    async def start(self) -> None:
        """Let the worker work."""
        await self.worker.start()
        self.running = asyncio.create_task(self.worker.run())

    async def drain(self, seconds: float = 0.0) -> None:
        """End the worker."""
        if self.running is not None:
            await self.worker.drain(timeout_seconds=seconds)
            await asyncio.wait_for(self.running, 10)
            self.running = None

    def received(self) -> list[dict[str, Any]]:
        """The bodies that came in, in order."""
        return [json.loads(request.body) for request in self.sandbox.requests]

    def received_ids(self) -> list[str]:
        """The friendly ids that came in, in order."""
        return [body["data"]["friendly_id"] for body in self.received()]


def claimed_of(event: dict[str, Any], **facts: Any) -> Claimed:
    """The first attempt of an event's delivery, as a claim gives it."""
    given: dict[str, Any] = {
        "delivery_id": DeliveryId("dlv_1"),
        "seq": 1,
        "token": 1,
        "number": 1,
        "counted": 0,
        "webhook_uid": WebhookUid("u1"),
        "pace_key": "",
        "event_id": EventId("evt_1"),
        "raw": json.dumps(event).encode(),
        "accepted_at": START,
        "started_at": START,
        "give_up_at": None,
        "revision": 1,
        "commit": None,
    }
    return Claimed(**{**given, **facts})


def alias(name: str) -> str:
    """The alias of a flow, from a short name."""
    return name.encode().hex().rjust(32, "0")


def flow(name: str, **spec: Any) -> Webhook:
    """An unlimited webhook for a sandbox flow of its own."""
    url = f"https://{HOST}/api/flo/{alias(name)}/invoke"
    given = {"url": url, "triggers": ALL_TRIGGERS, "rate_limit": "unlimited", "timeout_in_sec": 15, **spec}
    return Webhook.model_validate({"metadata": {"name": name}, "spec": given}, strict=False)


@contextlib.asynccontextmanager
async def open_worker(
    folder: Path,
    *webhooks: Webhook,
    rate: int | None = None,
    secrets: Path | None = None,
    settings: WorkerSettings = DEFAULTS,
    clock: Clock | None = None,
) -> AsyncIterator[WorkerRoom]:
    """A worker over a new store in the folder with these webhooks live, not started. Drained and closed on exit."""
    turned = TurnedClock()
    path = folder / "store.db"
    path.touch()
    async with WatchedStore(path) as store, OktaSandbox(SandboxSettings(rate=rate)) as sandbox:
        ca_file = folder / "ca.pem"
        ca_file.write_bytes(sandbox.ca_pem)
        room = WorkerRoom(folder, store, sandbox, turned)
        if webhooks:
            await room.publish(*webhooks, commit="c0ffee")
        room.live = Live(store)
        room.resolver = SecretResolver.load(secrets)
        egress = EgressSettings(secrets_file=secrets, ca_file=ca_file, connect_to=sandbox.connect_to)
        async with Deliverer(egress, masker=room.resolver.masker, now=lambda: turned.at / 1000) as deliverer:
            room.deliverer = deliverer
            chosen = clock or Clock(now=turned.now, monotonic=turned.monotonic, rand=turned.rand)
            room.worker = Worker(
                store=store,
                live=room.live,
                deliverer=deliverer,
                resolver=room.resolver,
                clock=chosen,
                settings=settings,
            )
            room.intake = Intake(store, room.live, now=chosen.now, wake=room.worker.wake)
            await room.live.refresh()
            try:
                yield room
            finally:
                await room.drain()


async def until(fact: Callable[[], Awaitable[Any] | Any], *, timeout: float = 10.0, what: str = "the fact") -> Any:
    """Wait for a fact; the deadline is the test's failure."""
    deadline = asyncio.get_running_loop().time() + timeout
    while True:
        value = fact()
        if isinstance(value, Awaitable):
            value = await value
        if value:
            return value
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout} s")
        await asyncio.sleep(0.005)
