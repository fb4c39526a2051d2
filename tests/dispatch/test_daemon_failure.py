"""A part of the daemon that fails ends the daemon: one clear error, after as much of a drain as there can be."""

import asyncio
import io

import pytest
from served import publish
from worker_room import WatchedStore, flow

from reconciler.daemon import Daemon, DaemonSettings
from reconciler.errors import ReconcilerError, StoreError
from reconciler.models.delivery import DeliveryId
from reconciler.models.event import EventId
from reconciler.models.webhook import WebhookUid
from reconciler.observe.log import configure, silence
from reconciler.sandbox.okta import OktaSandbox, SandboxSettings
from reconciler.sandbox.script import Line
from reconciler.settings import EgressSettings
from reconciler.store.base import NewDelivery, NewEvent


@pytest.fixture
def log_text():
    """What is logged."""
    stream = io.StringIO()
    configure("text", stream)
    yield stream.getvalue
    silence()


@pytest.fixture
async def store(tmp_path):
    path = tmp_path / "store.db"
    path.touch()
    async with WatchedStore(path) as opened:
        yield opened


def settings(egress: EgressSettings | None = None, *, events: str | None = None) -> DaemonSettings:
    return DaemonSettings("127.0.0.1", 0, egress or EgressSettings(), events)


async def started(daemon: Daemon) -> tuple[asyncio.Task[None], str]:
    """A daemon that is ready, and where."""
    ready = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(daemon.run(on_ready=ready.set_result))
    await asyncio.wait({running, ready}, timeout=10, return_when=asyncio.FIRST_COMPLETED)
    return running, await ready


async def test_a_bug_is_one_error_with_its_place(store, log_text):
    running, _ = await started(Daemon(settings(), store=store))

    store.broken["live_revision"] = TypeError("no\nnumber")  # type: ignore[assignment]  # a bug, not a StoreError

    with pytest.raises(ReconcilerError) as caught:
        await asyncio.wait_for(running, 10)
    assert caught.value.message.startswith("the daemon failed: TypeError: no\nnumber (at dispatch/")
    assert "bug" in caught.value.hint
    assert caught.value.exit_code == 1
    assert [line for line in log_text().splitlines() if "daemon.failed" in line]


@pytest.mark.parametrize("verb", ["claim", "finish", "next_wake_at", "live_revision"])
async def test_a_part_of_the_worker_that_dies_stops_the_daemon(store, tmp_path, verb):
    """Claims, records, and whoever follows the live revision: none of them may be missing while the rest goes on."""
    async with OktaSandbox(SandboxSettings(rate=None)) as sandbox:
        (tmp_path / "ca.pem").write_bytes(sandbox.ca_pem)
        await publish(store, flow("a"))
        egress = EgressSettings(ca_file=tmp_path / "ca.pem", connect_to=sandbox.connect_to)
        daemon = Daemon(settings(egress), store=store)
        running, _ = await started(daemon)

        store.broken[verb] = TypeError("a bug")  # type: ignore[assignment]  # no StoreError, for which it would wait
        await store.accept([waiting_event()], revision=1)

        with pytest.raises(ReconcilerError, match="the daemon failed: TypeError: a bug"):
            await asyncio.wait_for(running, 20)


async def test_a_store_that_is_away_at_the_start_is_told_as_it_is(store):
    store.broken["configure"] = StoreError("the disk is full, nothing was stored: store.db")

    with pytest.raises(StoreError, match="the disk is full"):
        await asyncio.wait_for(Daemon(settings(), store=store).run(on_ready=lambda url: None), 10)


async def test_events_that_cannot_be_read_drain_the_daemon_before_it_says_so(store, tmp_path):
    """A file that may be read by its mode and never is: this process's memory, which begins with nothing."""
    async with OktaSandbox(SandboxSettings(rate=None)) as sandbox:
        sandbox.add_script(Line(delay=0.2))
        (tmp_path / "ca.pem").write_bytes(sandbox.ca_pem)
        await publish(store, flow("a"))
        await store.accept([waiting_event()], revision=1)
        egress = EgressSettings(ca_file=tmp_path / "ca.pem", connect_to=sandbox.connect_to)
        running, _ = await started(Daemon(settings(egress, events="/proc/self/mem"), store=store))

        with pytest.raises(ReconcilerError, match="cannot read events: input/output error"):
            await asyncio.wait_for(running, 10)
    [delivery] = await store.deliveries()
    assert (delivery.state, delivery.attempts) in {("delivered", 1), ("pending", 0)}


async def test_a_wish_to_stop_before_it_is_ready_ends_it_in_order(store, log_text):
    daemon = Daemon(settings(), store=store)
    ready: list[str] = []
    daemon.stop()

    await asyncio.wait_for(daemon.run(on_ready=ready.append), 10)

    assert ready == []
    assert "daemon.stopped" in log_text()


def waiting_event() -> NewEvent:
    delivery = NewDelivery(DeliveryId("dlv_1"), WebhookUid("a"), None, 0, 0)
    return NewEvent(EventId("evt"), "AccessRequestCreated", None, None, "test", b"{}", "f", 0, None, (delivery,))
