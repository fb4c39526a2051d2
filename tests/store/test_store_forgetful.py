"""A store that forgets and one that does not, in step: what is claimed, in which order, and counted is the same."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from store_make import claim, dead, delivered, make_delivery, make_event, make_lane, make_live, publish, retried

from reconciler.store.base import Claimed, Store
from reconciler.store.open import open_store

STEPS = st.one_of(
    st.tuples(st.just("accept"), st.sampled_from("ab"), st.sampled_from(["R", "S", None])),
    st.tuples(st.just("claim"), st.integers(1, 4)),
    st.tuples(st.just("finish"), st.sampled_from(["delivered", "dead", "retried"])),
    st.tuples(st.just("prune"), st.integers(0, 20)),
)


@contextlib.asynccontextmanager
async def made(folder: str) -> AsyncIterator[Store]:
    store = open_store(f"sqlite:///{Path(folder) / 'store.db'}", create=True)
    assert store is not None
    async with store:
        await publish(store, make_live("a", "a"), make_live("b", "b"))
        await store.configure(1, [make_lane("a"), make_lane("b")])
        yield store


async def finish(store: Store, claims: list[Claimed], how: str, at: int) -> None:
    ends = {"delivered": delivered, "dead": dead}
    ended = [ends[how](one, at=at) if how in ends else retried(one, at + 1, at=at) for one in claims]
    await store.finish(ended)


async def in_step(steps: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        async with made(one) as forgetful, made(other) as faithful:
            held: dict[int, list[Claimed]] = {0: [], 1: []}
            for at, step in enumerate(steps):
                for number, store in enumerate((forgetful, faithful)):
                    match step:
                        case ("accept", uid, key):
                            new = make_delivery(f"d{at}", uid, at, order_key=key)
                            await store.accept([make_event(f"e{at}", new, at=at)], revision=1)
                        case ("claim", limit):
                            held[number] += await claim(store, at, limit=limit)
                        case ("finish", how):
                            await finish(store, held[number], how, at)
                            held[number] = []
                        case ("prune", age) if store is forgetful:
                            place: str | None = None
                            while (place := (await store.prune(before=at - age, at=place)).following) is not None:
                                pass
                ids = [[claimed.delivery_id for claimed in held[number]] for number in (0, 1)]
                assert ids[0] == ids[1]
            assert await forgetful.counts() == await faithful.counts()
            assert await forgetful.unfinished() == await faithful.unfinished()
            assert await forgetful.next_wake_at() == await faithful.next_wake_at()


@settings(max_examples=25)
@given(st.lists(STEPS, min_size=10, max_size=60))
def test_forgetting_changes_nothing_that_is_to_come(steps: list[Any]) -> None:
    asyncio.run(in_step(steps))
