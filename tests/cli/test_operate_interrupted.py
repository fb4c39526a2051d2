"""Replays and cancels of thousands, interrupted at any moment: nothing is lost, nothing is done twice."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from served import NOW, open_room, webhook

from reconciler.models.delivery import AttemptResult, DeliveryId, Outcome, Reason, State
from reconciler.models.event import EventId
from reconciler.models.webhook import WebhookUid
from reconciler.store.base import Finished, Lane, NewDelivery, NewEvent, Page, Store
from reconciler.store.open import open_store

COUNT = 8_000


async def make_dead(store: Store) -> None:
    """So many dead deliveries of one webhook."""
    uid = WebhookUid("flow")
    await store.configure(1, [Lane(uid, "flow", per_second=None, burst=1, max_concurrency=COUNT)])
    for start in range(0, COUNT, 1_000):
        events = [
            NewEvent(
                id=EventId(f"e{number}"),
                event_type="AccessRequestCreated",
                data_id=None,
                event_time=None,
                source="test",
                raw=b"{}",
                fingerprint=f"{number}",
                received_at=NOW,
                deliveries=(NewDelivery(DeliveryId(f"d{number}"), uid, None, NOW, NOW),),
            )
            for number in range(start, start + 1_000)
        ]
        await store.accept(events, revision=1)
        claimed = await store.claim(now=NOW, lease_until=NOW + 9, limit=1_000, revision=1, commit=None)
        result = AttemptResult(Outcome.PERMANENT)
        ends = [
            Finished(item.seq, item.token, item.number, NOW, Outcome.PERMANENT, result, State.DEAD, Reason.PERMANENT)
            for item in claimed
        ]
        await store.finish(ends)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_room(tmp_path, webhook("flow")):
        pass
    opened = open_store(f"sqlite:///{tmp_path / 'store.db'}", create=False)
    assert opened is not None
    async with opened:
        await make_dead(opened)
        yield opened


@contextlib.contextmanager
def replaying(folder: Path, env: dict[str, str], *args: str) -> Iterator[subprocess.Popen[str]]:
    """The command as a process."""
    command = [sys.executable, "-m", "reconciler", "--store", f"sqlite:///{folder / 'store.db'}"]
    process = subprocess.Popen(
        [*command, "deliveries", "replay", "--webhook", "flow", "--auto-approve", *args],
        env={**env, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


async def some_are_replayed(store: Store) -> None:
    """Until the command is in the middle of it."""
    deadline = time.monotonic() + 60
    while not (await store.counts())[WebhookUid("flow")][State.PENDING]:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.002)


async def ledger(store: Store) -> Counter[tuple[State, int]]:
    """How many deliveries are in which state, replayed how often."""
    found = await store.deliveries(Page(100_000))
    return Counter((item.state, item.replays) for item in found)


async def test_kill_9_in_the_middle_leaves_whole_portions_and_the_rest_for_later(
    store: Store, tmp_path: Path, command_env: dict[str, str]
) -> None:
    """The same command again does what is left, and nothing twice."""
    with replaying(tmp_path, command_env) as process:
        await some_are_replayed(store)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    between = await ledger(store)
    with replaying(tmp_path, command_env) as process:
        out, err = await asyncio.to_thread(process.communicate)

    assert set(between) <= {(State.DEAD, 0), (State.PENDING, 1)} and between.total() == COUNT
    assert between[(State.PENDING, 1)] % 1_000 == 0
    assert process.returncode == 0, err
    assert await ledger(store) == {(State.PENDING, 1): COUNT}
    counts = (await store.counts())[WebhookUid("flow")]
    assert (counts[State.PENDING], counts[State.DEAD]) == (COUNT, 0)
    assert f"replayed {COUNT - between[(State.PENDING, 1)]:,} deliveries" in out


async def test_ctrl_c_says_how_to_go_on(store: Store, tmp_path: Path, command_env: dict[str, str]) -> None:
    """By the key: new deliveries are made of those only that have none yet."""
    with replaying(tmp_path, command_env, "--new-id") as process:
        await some_are_replayed(store)
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.to_thread(process.communicate)
    key = re.search(r"--resume ([0-9a-f]{32})", err)
    if key is None:  # it was quicker
        assert process.returncode == 0
        return

    with replaying(tmp_path, command_env, "--new-id", "--resume", key[1]) as resumed:
        await asyncio.to_thread(resumed.communicate)

    assert process.returncode == 130 and "replay stopped after" in err
    assert await ledger(store) == {(State.DEAD, 0): COUNT, (State.PENDING, 1): COUNT}
    origins = [item.replay_of for item in await store.deliveries(Page(100_000)) if item.replay_of]
    assert len(set(origins)) == COUNT
