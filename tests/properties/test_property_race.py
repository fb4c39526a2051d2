"""Property 4: applies at the same time are as if they had come one after the other; from one base exactly one wins."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from property_process import Disk, Warm, documents, warm
from property_set import ManifestSet, manifest_sets, webhook
from property_store import BY, StoreRoom, opened, store_room

from reconciler.apply import apply_plan, new_id, read_live
from reconciler.errors import StalePlanError
from reconciler.models.revision import LiveState, Revision
from reconciler.plan.change import Allowances
from reconciler.plan.guard import guarded
from reconciler.plan.plan import Plan, Scope, make_plan
from reconciler.store.base import Store

APPLIES = 5
ADOPTING = Scope(adopts=True)
RIVALS = st.lists(manifest_sets(), min_size=2, max_size=4)


async def planned(store: Store, declared: ManifestSet) -> Plan:
    """A plan that nothing but its own contradictions refuses."""
    live, unfinished = await read_live(store)
    plan = make_plan(declared.desired, live, unfinished=unfinished, scope=ADOPTING)
    return guarded(plan, Allowances(deletes=plan.summary.destroy, empty=True))


async def attempted(store: Store, plan: Plan, plan_id: str) -> Revision | StalePlanError | None:
    """What became of an apply."""
    try:
        return await apply_plan(store, plan, plan_id=plan_id, by=BY)
    except StalePlanError as exc:
        return exc


@settings(max_examples=30)
@given(manifest_sets(), RIVALS)
def test_property_04_of_applies_from_one_base_exactly_one_wins(base: ManifestSet, rivals: list[ManifestSet]) -> None:
    """Through connections of their own; what is live is what the winner alone would have made, the losers are told
    where the store stands and have written nothing that anybody sees."""
    with store_room() as room, store_room() as alone:
        plan = room.plan(base, ADOPTING)
        if not plan.refusals:
            room.apply(plan)
        plans = [plan for plan in (room.plan(rival, ADOPTING) for rival in rivals) if plan.is_applyable]
        revision = room.live().revision

        results = room.run(at_once(room.path, [(plan, f"plan-{number}") for number, plan in enumerate(plans)]))

        winners = [number for number, result in enumerate(results) if isinstance(result, Revision)]
        assert len(winners) == min(1, len(plans))
        for result in results:
            if isinstance(result, StalePlanError):
                assert (result.base_revision, result.live_revision, result.is_used) == (revision, revision + 1, False)
        if winners:
            if revision:
                alone.apply(alone.plan(base, ADOPTING))
            won = next(rival for rival in rivals if rival.desired.digest == plans[winners[0]].manifest_digest)
            alone.apply(alone.plan(won, ADOPTING))
            assert owned_by_all(room.live()) == owned_by_all(alone.live())
            assert room.live().revision == revision + 1


async def at_once(path: Path, plans: list[tuple[Plan, str]]) -> list[Revision | StalePlanError | None]:
    """Apply all of them at the same time, each by a store of its own."""
    stores = [opened(path) for _ in plans]
    for store in stores:
        await store.__aenter__()
    try:
        return await asyncio.gather(*(attempted(store, *plan) for store, plan in zip(stores, plans, strict=True)))
    finally:
        for store in stores:
            await store.__aexit__()


def owned_by_all(state: LiveState) -> dict[str, tuple[str, bytes, bool]]:
    """Owner, document and protection by name."""
    return {item.webhook.name: (item.owner, item.webhook.canonical(), item.is_protected) for item in state.webhooks}


@settings(max_examples=25)
@given(RIVALS)
def test_property_04_applies_that_plan_again_when_they_lose_come_out_as_in_one_order(
    rivals: list[ManifestSet],
) -> None:
    """Each until it has won: what is live is what the same sets make when applied in the order of their revisions."""

    async def until_won(path: Path, declared: ManifestSet) -> int | None:
        async with opened(path) as store:
            while True:
                plan = await planned(store, declared)
                if not plan.is_applyable:
                    return None
                made = await attempted(store, plan, new_id())
                if isinstance(made, Revision):
                    return made.number

    async def race(path: Path) -> list[int | None]:
        return await asyncio.wait_for(asyncio.gather(*(until_won(path, rival) for rival in rivals)), 30)

    with store_room() as room, store_room() as alone:
        numbers = room.run(race(room.path))

        order = sorted(number for number in numbers if number is not None)
        assert order == list(range(1, len(order) + 1))
        for number in order:
            alone.apply(alone.plan(rivals[numbers.index(number)], ADOPTING))
        assert owned_by_all(room.live()) == owned_by_all(alone.live())


@pytest.fixture
def commands(tmp_path: Path, command_env: dict[str, str]) -> Iterator[Warm]:
    """Commands in a folder with a store at revision 1."""
    room = StoreRoom(tmp_path)
    room.apply(room.plan(ManifestSet("", (webhook("base"),), {})))
    room.close()
    (tmp_path / "store.db").rename(tmp_path / "reconciler.db")
    with warm(tmp_path, command_env) as started:
        yield started


def many(owner: str, count: int = 40) -> ManifestSet:
    """A set that takes some time to write."""
    return ManifestSet(owner, tuple(webhook(f"{owner or 'base'}-{number}") for number in range(count)), {})


def test_property_04_of_many_processes_with_one_plan_exactly_one_consumes_it(tmp_path: Path, commands: Warm) -> None:
    """The others exit 4, whenever they come."""
    many("iam").write(tmp_path / "manifests")
    assert commands.run("plan", "--out", "plan.json") == 0

    commands.start(*[["apply", "--plan", "plan.json"]] * APPLIES)
    codes = commands.codes()

    assert sorted(codes) == [0, *[4] * (APPLIES - 1)]
    disk = Disk(tmp_path)
    disk.check_sound()
    state = documents(asyncio.run(disk.live()))
    assert (state[0], len(state[1])) == (2, 41)


def test_property_04_of_many_processes_with_plans_of_one_base_exactly_one_wins(tmp_path: Path, commands: Warm) -> None:
    """The store holds the winner's webhooks and nothing of the others'; base after base."""
    disk = Disk(tmp_path)
    for round_ in range(2):
        owners = [f"r{round_}o{number}" for number in range(APPLIES)]
        for owner in owners:
            many(owner).write(tmp_path / owner)
            assert commands.run("plan", owner, "--out", f"{owner}.json") == 0
        before = documents(asyncio.run(disk.live()))

        commands.start(*[["apply", "--plan", f"{owner}.json"] for owner in owners])
        codes = commands.codes()

        assert sorted(codes) == [0, *[4] * (APPLIES - 1)]
        disk.check_sound()
        winner = owners[codes.index(0)]
        after = documents(asyncio.run(disk.live()))
        assert after == (before[0] + 1, {**before[1], **many(winner).canonical})


def test_property_04_of_processes_that_plan_and_apply_at_once_each_wins_or_is_stale(
    tmp_path: Path, commands: Warm
) -> None:
    """Without saved plans: every one that exits 0 has made a revision of its own, every other has exited 4."""
    owners = [f"owner-{number}" for number in range(APPLIES)]
    for owner in owners:
        many(owner).write(tmp_path / owner)
    disk = Disk(tmp_path)
    before = documents(asyncio.run(disk.live()))

    commands.start(*[["apply", owner, "--auto-approve"] for owner in owners])
    codes = commands.codes()

    assert set(codes) <= {0, 4}
    winners = [owner for owner, code in zip(owners, codes, strict=True) if code == 0]
    assert winners
    expected = {name: raw for winner in winners for name, raw in many(winner).canonical.items()}
    assert documents(asyncio.run(disk.live())) == (1 + len(winners), {**before[1], **expected})
    disk.check_sound()
