"""What is about to be applied is ready before it is live: the same as if it had been loaded, and never another's."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from served import webhook

from reconciler.dispatch.live import Live, Snapshot
from reconciler.errors import StalePlanError
from reconciler.models.event import make_event
from reconciler.models.revision import ChangeSet, LiveState, LiveWebhook
from reconciler.models.webhook import WebhookUid
from reconciler.store.proposal import Stage
from reconciler.store.sqlite import proposal as proposals
from reconciler.store.sqlite import store as engine
from reconciler.store.sqlite.publish import Staging
from reconciler.store.sqlite.store import SqliteStore

NAMES = "abcdef"
EVENT = make_event({"event_type": "AccessRequestCreated", "event_time": 1, "data": {"id": "1"}}, b"")


class CountingStore(SqliteStore):
    """The real store; counts how often the whole state is loaded."""

    loads = 0

    async def live_state(self, number: int | None = None) -> LiveState:
        self.loads += 1
        return await super().live_state(number)


@pytest.fixture(autouse=True)
def _every_apply_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposals, "MANY", 0)


@contextlib.asynccontextmanager
async def serving(folder: Path, *, is_answering: bool = True) -> AsyncIterator[tuple[CountingStore, Live]]:
    """A store that is served, by a daemon that answers proposals or does not."""
    async with CountingStore(folder / "store.db") as store:
        store.take_daemon_lock()
        live = Live(store)

        async def answer() -> None:
            while True:
                await live.prepare()
                await asyncio.sleep(0.005)

        task = asyncio.create_task(answer()) if is_answering else None
        try:
            yield store, live
        finally:
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task


def held(name: str, uid: str | None = None, **spec: Any) -> LiveWebhook:
    made = webhook(name, **spec)
    return LiveWebhook(WebhookUid(uid or f"u-{name}"), "", made, made.digest(), False, 0)


def change(
    base: int,
    *upserts: LiveWebhook,
    lineage: str = "",
    plan_id: str = "",
    deletes: tuple[str, ...] = (),
    released: tuple[str, ...] = (),
) -> ChangeSet:
    return ChangeSet(
        lineage=lineage,
        base_revision=base,
        plan_id=plan_id or f"plan-{base}",
        applied_at=1,
        applied_by="ann",
        commit=f"c{base}",
        owner="",
        upserts=upserts,
        deletes=tuple(WebhookUid(uid) for uid in deletes),
        policy=None,
        created=len(upserts),
        updated=0,
        renamed=0,
        deleted=len(deletes),
        changes=(),
        released=tuple(WebhookUid(uid) for uid in released),
    )


def said(snapshot: Snapshot) -> tuple[object, ...]:
    """All that intake and the worker go by."""
    wanted = [(live.uid, verdict.state) for live, verdict in snapshot.judge(EVENT)]
    return snapshot.revision, snapshot.commit, dict(snapshot.webhooks), wanted


async def loaded(store: SqliteStore) -> Snapshot:
    fresh = Live(store)
    await fresh.refresh()
    return fresh.snapshot


async def test_a_revision_that_was_proposed_is_served_without_being_loaded(tmp_path: Path) -> None:
    async with serving(tmp_path) as (store, live):
        await store.publish(change(0, held("a"), held("b", status="inactive")))

        assert await live.refresh()

        assert store.loads == 0
        assert said(live.snapshot) == said(await loaded(store))
        assert [name for name, _ in said(live.snapshot)[3]] == ["u-a"]


async def test_nothing_is_served_before_it_is_live(tmp_path: Path) -> None:
    """The daemon is ready and the apply is killed: the revision is the old one, for the daemon too."""
    async with serving(tmp_path) as (store, live):
        staging = Staging.of(change(0, held("a")))
        await store._stage(staging)
        await store._propose(staging)
        assert await store._read(lambda db: proposals.stage_of(db, staging.id)) is Stage.DONE

        assert not await live.refresh()

        assert live.snapshot.webhooks == {}


async def test_what_was_prepared_for_a_plan_is_not_served_for_another(tmp_path: Path) -> None:
    """Two applies upon one revision, with one plan even: the daemon is ready for the one that loses."""
    async with serving(tmp_path) as (store, live):
        loser = Staging.of(change(0, held("a", uid="u-1"), plan_id="same"))
        await store._stage(loser)
        await store._propose(loser)
        winner = Staging.of(change(0, held("a", uid="u-2"), plan_id="same"))
        await store._stage(winner)
        await store._write(lambda db: engine.publish.flip(db, winner))

        with pytest.raises(StalePlanError):
            await store._write(lambda db: engine.publish.flip(db, loser))
        await live.refresh()

        assert list(live.snapshot.webhooks) == ["u-2"]
        assert said(live.snapshot) == said(await loaded(store))


async def test_a_daemon_that_does_not_answer_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "ANSWER_SECONDS", 0.05)
    async with serving(tmp_path, is_answering=False) as (store, live):
        async with asyncio.timeout(10):
            await store.publish(change(0, held("a")))

        await live.refresh()

        assert store.loads == 1
        assert list(live.snapshot.webhooks) == ["u-a"]


async def test_a_store_that_nobody_serves_is_applied_to_at_once(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "store.db") as store:
        assert (await store.publish(change(0, held("a")))).number == 1

        assert await store._read(lambda db: db.execute("SELECT stage FROM proposals").fetchall()) == [("staging",)]


async def test_what_killed_and_beaten_applies_have_staged_is_forgotten(tmp_path: Path) -> None:
    """The next apply after them leaves what says of which proposal it and the one before came, and no more."""
    async with SqliteStore(tmp_path / "store.db") as store:
        await store._stage(Staging.of(change(0, held("a"), plan_id="killed")))
        await store.publish(change(0, held("b")))
        lineage = (await store.live_state()).lineage
        with pytest.raises(StalePlanError):
            await store.publish(change(0, held("c"), lineage=lineage, plan_id="beaten"))

        await store.publish(change(1, held("d"), lineage=lineage))

        left = await store._read(lambda db: db.execute("SELECT revision FROM proposals ORDER BY 1").fetchall())
        staged = await store._read(lambda db: db.execute("SELECT uid FROM staged_webhooks").fetchall())
        assert (left, staged) == ([(1,), (2,)], [])
        assert {live.webhook.name for live in (await store.live_state()).webhooks} == {"b", "d"}


async def test_a_revision_that_comes_while_another_is_prepared_disturbs_neither(tmp_path: Path) -> None:
    """The loser releases what the winner deletes, and was taken before."""
    async with serving(tmp_path, is_answering=False) as (store, live):
        await store._stage(first := Staging.of(change(0, held("a"))))
        await store._write(lambda db: engine.publish.flip(db, first))
        await live.refresh()
        lineage = (await store.live_state()).lineage
        loser = Staging.of(change(1, lineage=lineage, released=("u-a",), plan_id="loser"))
        winner = Staging.of(change(1, held("b"), lineage=lineage, deletes=("u-a",), plan_id="winner"))
        await store._stage(loser)
        await store.answer(loser.id, Stage.MADE)
        await store._stage(winner)
        answer = store.answer

        async def beaten(proposal_id: str, stage: Stage) -> None:
            await answer(proposal_id, stage)
            if stage is Stage.TAKEN:
                await store._write(lambda db: engine.publish.flip(db, winner))
                await live.refresh()

        store.answer = beaten  # type: ignore[method-assign]

        assert await live.prepare()

        assert not await live.refresh()
        assert list(live.snapshot.webhooks) == ["u-b"]
        assert said(live.snapshot) == said(await loaded(store))


@st.composite
def applies(draw: st.DrawFn) -> list[dict[str, Any]]:
    """What some applies in a row write: webhooks of any name under any uid, so that there are renames and swaps."""
    steps = []
    for _ in range(draw(st.integers(1, 4))):
        uids = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=6))
        names = draw(st.permutations(NAMES))[: len(uids)]
        status = draw(st.lists(st.sampled_from(("active", "inactive")), min_size=len(uids), max_size=len(uids)))
        spared = [uid for uid in NAMES if uid not in uids]
        deletes = draw(st.lists(st.sampled_from(spared), unique=True)) if spared else []
        steps.append({"set": list(zip(uids, names, status, strict=True)), "deletes": deletes})
    return steps


@settings(max_examples=15)
@given(applies(), st.booleans())
def test_what_is_prepared_is_what_would_be_loaded(steps: list[dict[str, Any]], releases: bool) -> None:
    """After every apply, whatever it creates, changes, renames, deletes or releases."""

    async def check(folder: Path) -> None:
        async with serving(folder) as (store, live):
            for step in steps:
                state = await store.live_state()
                store.loads = 0
                await store.publish(_possible(step, state, releases))
                await live.refresh()
                assert store.loads == 0
                assert said(live.snapshot) == said(await loaded(store))

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(proposals, "MANY", 0)
        asyncio.run(check(Path(folder)))


def _possible(step: dict[str, Any], state: LiveState, releases: bool) -> ChangeSet:
    """The step upon this state: names of webhooks that stay as they are are taken."""
    live = {held.uid: held for held in state.webhooks}
    touched = {uid for uid, _, _ in step["set"]} | set(step["deletes"])
    taken = {held.webhook.name for uid, held in live.items() if uid not in touched}
    upserts = [held(name, uid=uid, status=status) for uid, name, status in step["set"] if name not in taken]
    stays = [uid for uid in live if uid not in touched]
    kept = {held.uid for held in upserts}
    released = tuple(stays[:1]) if releases else ()
    deletes = tuple(uid for uid in touched - kept if uid in live)
    lineage = state.lineage if state.revision else ""
    return change(state.revision, *upserts, lineage=lineage, deletes=deletes, released=released)
