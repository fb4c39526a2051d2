"""Run as a process of its own by the tests that kill it: says each step on stdout, obeys a line on stdin."""

import asyncio
import sys

from store_make import make_change_set, make_delivery, make_event, make_live

from reconciler.errors import StalePlanError
from reconciler.store.base import Store
from reconciler.store.open import open_store


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def accept(store: Store, name: str) -> None:
    """Accept events from eight tasks for ever; each id is said once the store has acknowledged it."""

    async def one(task: int) -> None:
        for number in range(1_000_000):
            id_ = f"{name}-{task}-{number}"
            await store.accept([make_event(id_, make_delivery(f"d {id_}", "a", 0), raw=b"x" * 3_000)], revision=1)
            say(id_)

    async with asyncio.TaskGroup() as group:
        for task in range(8):
            group.create_task(one(task))


async def publish(store: Store, name: str) -> None:
    """Publish 600 webhooks again and again, each revision with a title of its own."""
    for _ in range(1_000_000):
        live = await store.live_state()
        number = live.revision + 1
        webhooks = [make_live(f"u{index}", f"w{index}", title=f"{number}") for index in range(600)]
        await store.publish(make_change_set(live.revision, webhooks, lineage=live.lineage if live.revision else ""))
        say(str(number))


async def race(store: Store, name: str) -> None:
    """At each line on stdin, publish from the revision in it; say who won."""
    lineage = (await store.live_state()).lineage
    say("ready")
    for line in iter(sys.stdin.readline, ""):
        base = int(line)
        try:
            await store.publish(make_change_set(base, [make_live(name, name, title=f"{base}")], lineage=lineage))
            say("won")
        except StalePlanError as exc:
            say(f"stale {exc.live_revision}")


async def lock(store: Store, name: str) -> None:
    """Hold the daemon's lock until told to go."""
    store.take_daemon_lock()
    say("held")
    sys.stdin.readline()


async def main(url: str, what: str, name: str) -> None:
    store = open_store(url, create=True)
    assert store is not None
    async with store:
        await {"accept": accept, "publish": publish, "race": race, "lock": lock}[what](store, name)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
