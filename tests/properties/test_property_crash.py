"""Property 3: an apply that dies at any moment leaves the old revision or the new one, and nothing locked."""

import asyncio
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from crash_vfs import Images, imaged
from property_process import Disk, Warm, documents, kill_when, warm
from property_set import ManifestSet, webhook
from property_store import BY, opened

from reconciler.apply import apply_plan, new_id
from reconciler.cli.main import run as run_command
from reconciler.dispatch.live import Live
from reconciler.plan.plan import make_plan

KILLS = 50
SEED = 20_260_131
OLD = ManifestSet("", tuple(webhook(f"hook-{n:03}", metadata={"title": "old"}) for n in range(150)), {})
NEW = ManifestSet(
    "",
    tuple(
        webhook(f"hook-{n:03}", metadata={"title": "new"}, body_template=f'{{"{n}": "{{{{data.id}}}}"}}')
        for n in range(600)
    ),
    {},
)
STATES = [(1, OLD.canonical), (2, NEW.canonical)]
APPLY = ("apply", "--plan", "plan.json")


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    """A store with the old webhooks, and the plan that brings the new ones, in a folder that is entered."""
    monkeypatch.chdir(tmp_path)
    OLD.write(tmp_path / "old")
    NEW.write(tmp_path / "new")
    assert run_command(["apply", "old", "--auto-approve"]) == 0
    assert run_command(["plan", "new", "--out", "plan.json", "--concise"]) == 0
    disk = Disk(tmp_path)
    disk.keep()
    return disk


@pytest.fixture
def commands(disk: Disk, command_env: dict[str, str]) -> Iterator[Warm]:
    """Commands in that folder."""
    with warm(disk.folder, command_env) as started:
        yield started


def undisturbed(disk: Disk, commands: Warm) -> tuple[float, int]:
    """How long an apply takes, in seconds, and how many bytes it writes before they are moved into the file."""
    began, most = time.monotonic(), 0
    (pid,) = commands.start(list(APPLY))

    def look() -> bool:
        nonlocal most
        most = max(most, disk.wal_bytes())
        return False

    kill_when(pid, look)
    assert commands.codes() == [0]
    seconds = time.monotonic() - began
    disk.restore()
    return seconds, most


def moments(disk: Disk, seconds: float, most: int) -> Iterator[Callable[[], bool]]:
    """When to kill: a third of them anywhere in an apply's life, the rest by what it has written and some ticks more,
    so that they fall into the writing however slow the machine is, and into the move into the file at its end."""
    rand = random.Random(SEED)
    for number in range(KILLS):
        if number % 3 == 0:
            until = time.monotonic() + seconds * (number + rand.random()) / KILLS
            yield lambda until=until: time.monotonic() >= until
        else:
            after, ticks = most * rand.random(), rand.randrange(30) if number % 3 == 2 else 0
            yield _written(disk, after, ticks)


def _written(disk: Disk, size: float, ticks: int) -> Callable[[], bool]:
    left = ticks

    def is_time() -> bool:
        nonlocal left
        left -= disk.wal_bytes() > size
        return left < 0

    return is_time


def test_property_03_kill_9_at_fifty_moments_leaves_the_old_revision_or_the_new_one(disk: Disk, commands: Warm) -> None:
    """Webhook for webhook; the file is sound, nobody is kept from writing, and the next apply ends the job or is told
    that it is done."""
    seconds, most = undisturbed(disk, commands)
    ends: list[tuple[int, bool]] = []

    for is_time in moments(disk, seconds, most):
        (pid,) = commands.start(list(APPLY))
        kill_when(pid, is_time)
        (code,) = commands.codes()
        had_begun = disk.wal_bytes() > 0

        disk.check_sound()
        state = documents(asyncio.run(disk.live()))
        assert state in STATES
        assert code in (0, -signal.SIGKILL)
        assert code != 0 or state == STATES[1]
        assert commands.run(*APPLY) == (0 if state == STATES[0] else 4)
        assert documents(asyncio.run(disk.live())) == STATES[1]
        ends.append((state[0], had_begun and code != 0))
        disk.restore()

    assert len(ends) == KILLS
    assert (1, True) in ends  # killed amid the writing, and all of it undone
    assert {revision for revision, _ in ends} == {1, 2}


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGHUP], ids=lambda by: by.name)
def test_property_03_no_signal_leaves_anything_locked(disk: Disk, commands: Warm, by: signal.Signals) -> None:
    """Before the writing, amid it and at its end: whoever comes next can write at once; an interruption is told as
    such, and what was interrupted after its end is not."""
    _, most = undisturbed(disk, commands)

    for part in (0, 0.3, 0.6, 0.95):
        (pid,) = commands.start(list(APPLY))
        kill_when(pid, _written(disk, most * part, 0), by=by)
        (code,) = commands.codes()

        disk.check_sound()
        state = documents(asyncio.run(disk.live()))
        assert state in STATES
        assert code in (0, 130 if by is signal.SIGINT else -by)
        assert code != 0 or state == STATES[1]
        assert commands.run(*APPLY) == (0 if state == STATES[0] else 4)
        disk.restore()


SMALL_BEFORE = ManifestSet("", tuple(webhook(f"hook-{n:02}") for n in range(6)), {})
SMALL = ManifestSet("", tuple(webhook(f"hook-{n:02}", timeout_in_sec=9) for n in range(12)), {})


async def apply_small(store: Path, declared: ManifestSet) -> None:
    """Plan and apply, unless there is nothing to do."""
    async with opened(store) as applying:
        plan = make_plan(declared.desired, await applying.live_state(), unfinished={})
        await apply_plan(applying, plan, plan_id=new_id(), by=BY)


async def test_property_03_death_at_any_write_leaves_the_old_revision_or_the_new_one(tmp_path: Path) -> None:
    """At every single write, sync, cut and deletion of an apply, from the first staged row to the move into the file,
    each write also half made. What was acknowledged is there; the next apply ends the job."""
    disk = Disk(tmp_path)
    await apply_small(disk.store, SMALL_BEFORE)
    (tmp_path / "images").mkdir()
    images = Images(disk.store, tmp_path / "images")

    with imaged(images):
        async with opened(disk.store) as store:
            plan = make_plan(SMALL.desired, await store.live_state(), unfinished={})
            await apply_plan(store, plan, plan_id="plan", by=BY)
            acknowledged = len(images.taken)

    found = []
    for image in map(Disk, images.taken):
        image.check_sound()
        state = documents(await image.live())
        assert state in [(1, SMALL_BEFORE.canonical), (2, SMALL.canonical)]
        await apply_small(image.store, SMALL)
        assert documents(await image.live()) == (2, SMALL.canonical)
        found.append(state[0])
    assert set(found) == {1, 2}
    assert set(found[acknowledged:]) == {2}
    assert found == sorted(found)  # what was committed once stays


async def test_property_03_the_dispatcher_serves_one_whole_generation(tmp_path: Path) -> None:
    """While revisions are applied one after the other, what is loaded is always one of them, whole."""
    generations = {
        number + 1: ManifestSet(
            "",
            tuple(webhook(f"hook-{n:03}", metadata={"title": f"{number + 1}"}) for n in range(150 + 10 * number)),
            {},
        )
        for number in range(8)
    }
    async with opened(tmp_path / "store.db") as applying, opened(tmp_path / "store.db") as serving:
        live = Live(serving)

        async def apply_all() -> None:
            for declared in generations.values():
                plan = make_plan(declared.desired, await applying.live_state(), unfinished={})
                await apply_plan(applying, plan, plan_id=new_id(), by=BY)

        seen = set()
        applies = asyncio.create_task(apply_all())
        while live.snapshot.revision < len(generations):
            await asyncio.wait_for(live.refresh(), 20)
            await asyncio.sleep(0)
            snapshot = live.snapshot
            seen.add(snapshot.revision)
            if snapshot.revision:
                found = {item.webhook.name: item.webhook.canonical() for item in snapshot.webhooks.values()}
                assert found == generations[snapshot.revision].canonical
            if applies.done():
                await applies
        await applies

    assert len(seen) > 1
