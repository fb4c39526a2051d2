"""Several processes on one store, and processes that are killed: what was acknowledged is there."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from store_make import claim, make_lane, make_live, publish, retried

from reconciler.errors import StoreBusyError
from reconciler.store.base import Page, Store
from reconciler.store.open import open_store

SCRIPT = Path(__file__).with_name("store_process.py")


@asynccontextmanager
async def process(url: str, what: str, name: str = "x") -> AsyncIterator[asyncio.subprocess.Process]:
    """One of `store_process.py`, killed at the end."""
    started = await asyncio.create_subprocess_exec(
        sys.executable, str(SCRIPT), url, what, name, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


async def read_line(started: asyncio.subprocess.Process) -> str:
    assert started.stdout is not None
    line = await asyncio.wait_for(started.stdout.readline(), timeout=30)
    assert line, "the process has ended"
    return line.decode().strip()


async def tell(started: asyncio.subprocess.Process, line: str) -> None:
    assert started.stdin is not None
    started.stdin.write(f"{line}\n".encode())
    await started.stdin.drain()


async def kill(started: asyncio.subprocess.Process) -> list[str]:
    """kill -9; returns the lines it had still said."""
    started.send_signal(signal.SIGKILL)
    rest, _ = await started.communicate()
    return [line for line in rest.decode().split("\n")[:-1] if line]


def again(url: str) -> Store:
    store = open_store(url, create=False)
    assert store is not None
    return store


async def test_what_was_acknowledged_before_a_kill_is_there(store: Store, store_url: str) -> None:
    """At least once begins here: kill -9 amid eight intakes, three times, and no acknowledged event is missing."""
    await publish(store, make_live("a", "a"))
    await store.configure(1, [make_lane("a", max_concurrency=100_000)])

    acknowledged: set[str] = set()
    for round_ in range(3):
        async with process(store_url, "accept", f"r{round_}") as started:
            for _ in range(40 + 37 * round_):
                acknowledged.add(await read_line(started))
            acknowledged.update(await kill(started))

    claimed = await claim(store, 0, limit=100_000)
    stored = {item.event_id for item in claimed}
    assert acknowledged <= stored
    assert {item.delivery_id for item in claimed} == {f"d {id_}" for id_ in stored}
    assert all(item.raw == b"x" * 3_000 for item in claimed)


async def test_a_kill_amid_a_publish_leaves_one_revision_whole(store: Store, store_url: str) -> None:
    """Staged rows without a flip are nothing; the next publish goes on."""
    for kills in range(3):
        async with process(store_url, "publish") as started:
            said = [await read_line(started)]
            await asyncio.wait([asyncio.create_task(started.wait())], timeout=0.02 * kills)
            said += await kill(started)

        live = await store.live_state()
        assert live.revision >= int(said[-1])
        assert {held.webhook.metadata.title for held in live.webhooks} == {str(live.revision)}
        assert len(live.webhooks) == 600
        assert len(await store.revisions(Page(limit=1_000))) == live.revision


async def test_of_two_applies_from_one_base_exactly_one_wins(store: Store, store_url: str) -> None:
    """The loser changes nothing and is told where the store stands."""
    async with process(store_url, "race", "ann") as ann, process(store_url, "race", "bob") as bob:
        assert [await read_line(ann), await read_line(bob)] == ["ready", "ready"]
        for base in range(20):
            await asyncio.gather(tell(ann, str(base)), tell(bob, str(base)))
            answers = await asyncio.gather(read_line(ann), read_line(bob))

            assert sorted(answers) == [f"stale {base + 1}", "won"]
            winner = "ann" if answers[0] == "won" else "bob"
            titles = {held.uid: held.webhook.metadata.title for held in (await store.live_state()).webhooks}
            assert titles[winner] == str(base)
            assert list(titles.values()).count(str(base)) == 1


async def test_one_daemon_holds_the_lock_until_it_is_gone(store: Store, store_url: str) -> None:
    """The refusal names the holder; the kernel frees the lock on kill -9, and closing frees it too."""
    async with process(store_url, "lock") as started:
        assert await read_line(started) == "held"

        with pytest.raises(StoreBusyError, match=f"process {started.pid} on ") as caught:
            store.take_daemon_lock()
        assert re.search(r"since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", caught.value.message)
        await kill(started)

    store.take_daemon_lock()
    store.take_daemon_lock()
    other = again(store_url)
    async with other:
        with pytest.raises(StoreBusyError, match=f"process {os.getpid()} on "):
            other.take_daemon_lock()
    await store.__aexit__()
    async with again(store_url) as third:
        third.take_daemon_lock()


async def test_leases_of_a_killed_daemon_are_closed_by_the_next(store: Store, store_url: str) -> None:
    """Whoever takes the lock finds what was in flight, with the attempt that had started."""
    await publish(store, make_live("a", "a"))
    async with process(store_url, "accept") as started:
        for _ in range(9):
            await read_line(started)
        await kill(started)
    await store.configure(1, [make_lane("a", max_concurrency=5)])
    claimed = await claim(store, 0)

    async with again(store_url) as successor:
        left = await successor.expired(now=None)
        assert left == claimed
        assert await successor.finish([retried(item, -1) for item in left]) == ()
        assert [item.number for item in await claim(successor, 1)] == [2] * 5
    assert await store.finish([retried(item, 1) for item in claimed]) == tuple(item.seq for item in claimed)
