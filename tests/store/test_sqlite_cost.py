"""What a verb costs follows what it does: the database's own counters, not the clock."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import apsw
import pytest
from store_make import FAR, claim, dead, delivered, make_delivery, make_event, make_lane, make_live, publish, retried

from reconciler.models.delivery import Action, Intervention, Reason, State
from reconciler.models.flow import Pause
from reconciler.models.health import BREAKER_FAILURES, FIRST_WAIT_MS, Health
from reconciler.models.webhook import WebhookUid
from reconciler.store.operate import Selection
from reconciler.store.sqlite.finish import FINISH
from reconciler.store.sqlite.flow import doom
from reconciler.store.sqlite.program import call_of
from reconciler.store.sqlite.store import SqliteStore


class Meter:
    """Counts the steps of SQLite's virtual machine, and the rows it walked without an index."""

    def __init__(self) -> None:
        self.steps = self.scanned = 0

    def __call__(self, told: dict[str, Any]) -> None:
        self.steps += told["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"]
        self.scanned += told["stmt_status"]["SQLITE_STMTSTATUS_FULLSCAN_STEP"]


async def cost_of(store: SqliteStore, verb: Callable[[], Awaitable[object]]) -> int:
    """Steps of one verb, in the writer and the reader."""
    meter = Meter()

    def watch(db: apsw.Connection) -> None:
        db.trace_v2(apsw.SQLITE_TRACE_PROFILE, meter)

    await store._write(watch)
    await store._read(watch)
    await verb()
    await store._write(lambda db: db.trace_v2(0))
    await store._read(lambda db: db.trace_v2(0))
    return meter.steps


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore(tmp_path / "store.db") as opened:
        await publish(opened, *(make_live(uid, uid) for uid in ("busy", "blocked", "shared")))
        yield opened


async def fill(store: SqliteStore, uid: str, count: int, **facts: Any) -> None:
    prefix = f"{uid}{len(await store.deliveries())}-{facts}"
    events = [
        make_event(f"{prefix}{number}", make_delivery(f"{prefix}{number}", uid, **facts)) for number in range(count)
    ]
    await store.accept(events, revision=1)


LANES = {
    "closed": make_lane("blocked", is_open=False),
    "not due": make_lane("blocked"),
    "out of tokens": make_lane("blocked", per_second=0.001),
    "at its concurrency": make_lane("blocked", max_concurrency=1),
    "held": make_lane("blocked", is_open=False),
}


@pytest.mark.parametrize("why", LANES)
async def test_waiting_rows_of_one_lane_cost_the_others_nothing(store: SqliteStore, why: str) -> None:
    """A cycle of accept, claim and finish takes the same steps beside 100 waiting rows and beside 5,000."""
    await store.configure(1, [make_lane("busy"), LANES[why]])
    facts = {
        "due_at": FAR if why == "not due" else 0,
        "order_key": "r" if why == "held" else None,
    }
    await fill(store, "blocked", 100, **facts)
    if why in ("out of tokens", "at its concurrency"):
        assert len(await claim(store, 10)) == 1

    async def cycle() -> None:
        event = make_event(f"e{next(numbers)}", make_delivery(f"d{next(numbers)}", "busy", 10))
        await store.accept([event], revision=1)
        claimed = await claim(store, 10)
        assert [item.webhook_uid for item in claimed] == ["busy"]
        await store.next_wake_at()
        await store.finish([delivered(item) for item in claimed])
        await store.counts()
        await store.unfinished()

    numbers = iter(range(100))
    await cycle()
    before = await cost_of(store, cycle)
    await fill(store, "blocked", 4_900, **facts)

    assert await cost_of(store, cycle) == pytest.approx(before, abs=20)


async def test_a_lane_that_shares_an_exhausted_pace_costs_one_step_not_one_per_lane(store: SqliteStore) -> None:
    """Many webhooks post to one host and path: a token taken touches the pace, not each of its lanes."""

    async def cost_with(lanes: int) -> int:
        uids = [f"s{number}" for number in range(lanes)]
        revision = await publish(store, *(make_live(uid, uid) for uid in uids))
        await store.configure(revision, [make_lane(uid, "shared", per_second=1.0) for uid in uids])
        await store.accept(
            [make_event(f"{revision}", *(make_delivery(f"{revision}-{uid}", uid, 0) for uid in uids))],
            revision=revision,
        )
        now = revision * 1_000_000

        async def one() -> None:
            assert len(await claim(store, now)) == 1
            assert await claim(store, now) == ()

        return await cost_of(store, one)

    few = await cost_with(10)
    assert await cost_with(400) < few + 100


async def test_a_claim_costs_by_what_it_gives(store: SqliteStore) -> None:
    """Twice as many deliveries, about twice the steps; the backlog behind them does not matter."""
    await store.configure(1, [make_lane("busy", max_concurrency=100_000)])
    await fill(store, "busy", 2_000, due_at=0)

    ten = await cost_of(store, lambda: claim(store, 10, limit=10))
    await fill(store, "busy", 2_000, due_at=1)

    assert await cost_of(store, lambda: claim(store, 10, limit=10)) == pytest.approx(ten, rel=0.02)
    assert await cost_of(store, lambda: claim(store, 10, limit=100)) < 10 * ten


async def test_a_head_among_many_of_its_key_is_found_at_once(store: SqliteStore) -> None:
    """The next of a long queue of one access request comes by index."""
    await store.configure(1, [make_lane("busy")])

    async def step() -> None:
        (head,) = await claim(store, 10)
        await store.finish([delivered(head)])

    await fill(store, "busy", 100, due_at=0, order_key="r")
    await step()
    few = await cost_of(store, step)
    await fill(store, "busy", 4_000, due_at=0, order_key="r")

    assert await cost_of(store, step) == pytest.approx(few, abs=20)


async def test_no_statement_of_the_daemon_walks_a_table(store: SqliteStore) -> None:
    """Every plan of accept, claim, finish, release, extend and the wake time uses an index on each table."""
    plans: dict[str, list[str]] = {}

    def explain(db: apsw.Connection) -> None:
        seen: list[str] = []
        db.trace_v2(apsw.SQLITE_TRACE_STMT, lambda told: seen.append(told["sql"]))
        statements.append((db, seen))

    statements: list[tuple[apsw.Connection, list[str]]] = []
    await store.configure(1, [make_lane("busy", per_second=9.0, burst=99)])
    await store._write(explain)
    await fill(store, "busy", 9, due_at=0, order_key="r", hold_until=0)
    claimed = await claim(store, 10)
    await store.extend(claimed, lease_until=99)
    await store.finish([retried(item, 20, blocked_until=30, health=Health.FAULT) for item in claimed[:4]])
    await store.release(claimed[4:], due_at=10)
    await store.pause("busy", Pause(10, "ann", "a reason"))
    await store.resume("busy", fresh_first=True)
    await store._write(lambda db: doom(db, [WebhookUid("busy")], Reason.WEBHOOK_DELETED))
    await store.sweep()

    def plan(db: apsw.Connection) -> None:
        db.trace_v2(0)
        db.config(apsw.SQLITE_DBCONFIG_TRIGGER_EQP, 1)  # the statements of programs too
        for sql in dict.fromkeys(statements[0][1]):
            if sql.lstrip().upper().startswith(("SELECT", "UPDATE", "INSERT", "WITH")) and "NEW." not in sql:
                plans[sql] = [
                    row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", None if ":" not in sql else AnyBindings())
                ]

    await store._write(plan)

    tables = ("events", "deliveries", "lanes", "paces", "attempts", "d", "e", "l", "p", "o", "n")
    walked = [
        (line, sql)
        for sql, lines in plans.items()
        for line in lines
        if line.split()[:1] == ["SCAN"] and line.split()[1] in tables and "INDEX" not in line
    ]
    assert sum(len(lines) for lines in plans.values()) > 100
    assert any("deliveries_order" in line for line in plans[call_of(FINISH)])
    assert walked == []


async def test_a_verb_that_runs_for_each_delivery_is_few_statements(store: SqliteStore) -> None:
    """After each the writer queues for the interpreter's lock beside the event loop, which costs more than most
    statements do: so they are counted, whatever each of them does."""
    await store.configure(1, [make_lane("busy", max_concurrency=5), make_lane("shared", per_second=9.0, burst=3)])
    await fill(store, "busy", 9, due_at=0, order_key="r", hold_until=0)
    await fill(store, "shared", 9, due_at=0)
    counted: list[str] = []

    def count(told: dict[str, Any]) -> None:
        if not told["trigger"]:
            counted.append(told["sql"])

    async def statements(verb: Awaitable[Any]) -> tuple[int, Any]:
        counted.clear()
        answer = await verb
        return len(counted) - len(["BEGIN", "COMMIT"]), answer

    await claim(store, 5, limit=1)  # releases what was held
    await store._write(lambda db: db.trace_v2(apsw.SQLITE_TRACE_STMT, count))

    claiming, claimed = await statements(claim(store, 10))
    assert (claiming, len(claimed)) == (1, 7), "all that both lanes may give"
    assert await statements(claim(store, 10)) == (1, ())
    assert (await statements(store.finish([delivered(item) for item in claimed])))[0] == 2
    assert (await statements(fill(store, "busy", 9, due_at=0)))[0] == 1


async def test_no_statement_is_parsed_twice(store: SqliteStore) -> None:
    """Whatever it is called with: a claim has half a hundred lines of SQL, which take longer to parse than to run."""
    await store.configure(1, [make_lane("busy")])
    await fill(store, "busy", 30, due_at=0)
    parsed: list[str] = []

    def authorize(*told: Any) -> int:
        parsed.append(" ".join(str(part) for part in told if part))
        return apsw.SQLITE_OK

    def watch(db: apsw.Connection) -> None:
        db.authorizer = authorize

    await store._write(watch)  # it is asked whenever a statement is parsed
    for limit in (3, 4, 5, 6):
        await store.finish([delivered(item) for item in await claim(store, 10, limit=limit)])
        await fill(store, "busy", limit, due_at=limit)
        if limit == 3:
            assert len(parsed) > 100
            parsed.clear()

    assert parsed == []


class AnyBindings(dict[str, Any]):
    """Bindings of whatever name, all null: a plan does not depend on them."""

    def __missing__(self, key: str) -> None:
        return None


async def pause_it(store: SqliteStore) -> None:
    await store.pause("blocked", Pause(10, "ann", "a reason"))


async def open_its_breaker(store: SqliteStore) -> None:
    claimed = await claim(store, 10, limit=BREAKER_FAILURES)
    await store.finish([retried(item, 10, health=Health.FAILED) for item in claimed])


async def probe_it(store: SqliteStore) -> None:
    await open_its_breaker(store)
    assert [item.is_probe for item in await claim(store, 10 + FIRST_WAIT_MS)] == [True]


async def cancel_it(store: SqliteStore) -> None:
    await store._write(lambda db: doom(db, [WebhookUid("blocked")], Reason.WEBHOOK_DELETED))


@pytest.mark.parametrize("hold_back", [pause_it, open_its_breaker, probe_it, cancel_it])
async def test_what_is_held_back_costs_the_others_nothing(
    store: SqliteStore, hold_back: Callable[[SqliteStore], Awaitable[None]]
) -> None:
    """Behind a pause, a breaker, its probe or a revision, 5,000 waiting rows cost a cycle as much as 100."""
    await store.configure(1, [make_lane("busy"), make_lane("blocked")])
    await fill(store, "blocked", 100, due_at=0)
    await hold_back(store)
    numbers = iter(range(1_000_000))

    async def cycle() -> None:
        number = next(numbers)
        event = make_event(f"cycle{number}", make_delivery(f"cycle{number}", "busy", 10))
        await store.accept([event], revision=1)
        (item,) = await claim(store, 10)
        await store.finish([delivered(item, health=Health.WORKS)])
        await store.next_wake_at()
        await store.halts()

    await cycle()
    few = await cost_of(store, cycle)
    await fill(store, "blocked", 4_900, due_at=0)

    assert await cost_of(store, cycle) == pytest.approx(few, rel=0.02, abs=20)


async def test_a_backlog_behind_what_is_fresh_costs_a_claim_nothing(store: SqliteStore) -> None:
    """Passing the backlog, and a cycle of fresh deliveries before it, cost the same whatever its length."""

    async def costs(count: int) -> tuple[int, int]:
        await fill(store, "busy", count, due_at=0)
        resume = await cost_of(store, lambda: store.resume("busy", fresh_first=True))

        async def cycle() -> None:
            name = f"fresh{count}{len(seen)}"
            seen.append(name)
            await store.accept([make_event(name, make_delivery(name, "busy", 10))], revision=1)
            (item,) = await claim(store, 10, limit=1)
            assert item.delivery_id == name
            await store.finish([delivered(item, health=Health.WORKS)])

        await cycle()
        return resume, await cost_of(store, cycle)

    seen: list[str] = []
    await store.configure(1, [make_lane("busy")])
    few_resume, few = await costs(100)
    many_resume, many = await costs(5_000)

    assert many_resume <= few_resume + 50
    assert many <= few + 200, "one rank more, not 5,000 rows more"


async def test_replaying_the_dead_costs_what_is_replayed(store: SqliteStore) -> None:
    """Whatever else there is: ten dead ones beside 100 pending rows, and beside 5,000."""
    await store.configure(1, [make_lane("busy"), make_lane("blocked", is_open=False)])
    numbers = iter(range(100))

    async def die() -> None:
        await fill(store, "busy", 10, due_at=0, hold_until=next(numbers))  # by which their ids are told apart
        await store.finish([dead(item) for item in await claim(store, 10)])

    async def replay_and_cancel() -> None:
        for action, state in ((Action.REPLAY, State.DEAD), (Action.CANCEL, State.PENDING)):
            how = Intervention(f"k{next(numbers)}", action, 10, "ann")
            portion = await store.intervene(Selection(states=(state,), webhooks=("busy",)), how)
            assert portion.done == 10

    await fill(store, "blocked", 100, due_at=0)
    await die()
    await replay_and_cancel()
    await die()
    before = await cost_of(store, replay_and_cancel)
    await fill(store, "blocked", 4_900, due_at=0)
    await die()

    after = await cost_of(store, replay_and_cancel)

    assert after < before * 1.25


async def test_looking_at_what_is_held_back_costs_hardly_anything(store: SqliteStore) -> None:
    """The look that a daemon takes twice a second walks no lanes while no breaker is open, and each once while all
    are."""

    async def cost_with(count: int) -> int:
        await store.configure(1, [make_lane("busy"), *(make_lane(f"w{number}") for number in range(count))])
        assert "busy" in await store.halts()
        return await cost_of(store, store.halts)

    await store.configure(1, [make_lane("busy")])
    await store.pause("busy", Pause(10, "ann", "a reason"))

    few = await cost_with(10)
    assert await cost_with(1_000) == few
    await store._write(lambda db: db.execute("UPDATE paces SET opened_at = 10, probe_at = 20, failures = 10"))
    assert await cost_with(1_000) < 1_000 * 100
