"""The audit log by every way to a store: each deed appends its entry, in its own transaction, and nothing else does."""

import asyncio
import hashlib
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_make import add, claim, dead, make_change_set, make_live, publish

from reconciler.errors import NotInStoreError
from reconciler.models.audit import AuditAction, AuditEntry, Deed, Warrant, genesis
from reconciler.models.delivery import Action, Intervention
from reconciler.models.flow import Pause
from reconciler.models.health import Health
from reconciler.models.revision import Hold
from reconciler.store import audit as auditing
from reconciler.store.audit import walked
from reconciler.store.base import Store
from reconciler.store.operate import Selection
from reconciler.store.sqlite.store import SqliteStore

BY = Warrant("ann@laptop", "release-bot", "because", at=1_700_000_000_123)


async def newest(store: Store) -> AuditEntry:
    (entry,) = await store.audit(limit=1)
    return entry


@pytest.fixture
def is_remote(way: str) -> bool:
    return way == "daemon"


async def test_an_apply_is_told_with_its_origin_and_what_it_wrote(store: Store, is_remote: bool) -> None:
    change_set = make_change_set(0, [make_live("uid-a", "a")], owner="team")

    await store.publish(change_set, warrant=BY)

    entry = await newest(store)
    assert (entry.number, entry.action, entry.subject) == (1, AuditAction.APPLY, "team")
    assert entry.principal == ("without a token" if is_remote else "ann@laptop")
    assert entry.behalf == ("ann" if is_remote else "release-bot")
    assert entry.details["revision"] == 1 and entry.details["plan_id"] == change_set.plan_id
    assert len(entry.details["written_sha256"]) == 64


async def test_a_rollback_and_its_hold_are_two_entries(store: Store) -> None:
    await publish(store, make_live("uid-a", "a"))
    back = replace(
        make_change_set(1, [make_live("uid-a", "a", title="old")], lineage=(await store.live_state()).lineage),
        restores=1,
        reason="it broke",
        hold=Hold("", 5, "ann", "it broke"),
    )

    await store.publish(back, warrant=BY)

    rollback, hold, apply = await store.audit()
    assert (apply.action, hold.action, rollback.action) == ("apply", "hold", "rollback")
    assert rollback.details["restores"] == 1
    assert rollback.reason in ("because", "it broke")


async def test_every_deed_of_an_operator_is_told(served: Store) -> None:
    await add(served, "a", "d1", at=10)
    await served.set_hold("team", Hold("team", 5, "ann", "wait"), warrant=BY)
    await served.set_hold("team", None, warrant=BY)
    await served.pause("a", Pause(7, "ann", "rebuild", None), warrant=BY)
    await served.resume("a", fresh_first=True, warrant=BY)
    await served.intervene(Selection(ids=("d1",)), Intervention("k1", Action.CANCEL, 9, "ann"), warrant=BY)
    await served.intervene(Selection(ids=("d1",)), Intervention("k2", Action.REPLAY, 9, "ann"), warrant=BY)

    entries = list(reversed(await served.audit()))

    assert [entry.action for entry in entries] == ["apply", "hold", "release", "pause", "resume", "cancel", "replay"]
    assert [entry.subject for entry in entries[1:]] == ["team", "team", "a", "a", "a", "a"]
    assert entries[3].details["why"] == "rebuild"
    assert entries[4].details["was"]["reason"] == "rebuild" and entries[4].details["fresh_first"] is True
    assert entries[5].details["key"] == "k1" and entries[5].details["done"] == 1
    assert not (await walked(served)).problems


async def test_a_compaction_is_told_with_its_number(served: Store) -> None:
    from store_make import make_delivery, make_event

    events = [make_event(f"e{n}", make_delivery(f"d{n}", "a", 10, order_key="r"), data_id="r") for n in range(3)]
    await served.accept(events, revision=1)

    await served.compact("a", warrant=BY)

    entry = await newest(served)
    assert (entry.action, entry.subject, entry.details) == ("compact", "a", {"cancelled": 2})


async def test_what_has_no_effect_is_not_told(served: Store) -> None:
    """A release without a hold, a cancel of what is not there, a compaction of nothing, an intake."""
    before = (await served.audit_head()).number
    await add(served, "b", "d1")
    await served.set_hold("nobody", None, warrant=BY)
    await served.compact("a", warrant=BY)
    await served.intervene(Selection(ids=("none",)), Intervention("k", Action.CANCEL, 9, "ann"), warrant=BY)
    with pytest.raises(NotInStoreError):
        await served.pause("nobody", Pause(7, "ann", "rebuild", None), warrant=BY)

    assert (await served.audit_head()).number == before


async def test_a_pause_by_the_destinations_faults_is_told_as_our_own(served: Store) -> None:
    await add(served, "a", "d1", at=10)
    (claimed,) = await claim(served, 10)

    await served.finish([dead(claimed, health=Health.GONE, blame="HTTP 410")])

    entry = await newest(served)
    assert (entry.action, entry.principal, entry.subject) == ("pause", "reconciler", "a")
    assert "HTTP 410" in entry.reason


async def test_a_test_that_was_sent_is_told(served: Store) -> None:
    details = {"successful": True, "outcome": "delivered", "status": 200, "delivery_id": "dlv_1", "digest": "d"}

    await served.record(Deed(AuditAction.TEST, "a", {**details, "verifies": False}, BY))

    entry = await newest(served)
    assert (entry.action, entry.subject, entry.behalf, entry.reason) == ("test", "a", "release-bot", "because")
    assert entry.details == {**details, "verifies": False}


async def test_entries_are_listed_newest_first_page_by_page(served: Store) -> None:
    for number in range(5):
        await served.pause("a", Pause(7 + number, "ann", f"reason {number}"), warrant=BY)

    first = await served.audit(limit=4)
    rest = await served.audit(limit=4, before=first[-1].number)

    assert [entry.number for entry in (*first, *rest)] == [6, 5, 4, 3, 2, 1]


async def test_the_head_is_that_of_the_last_entry_and_of_an_empty_log_made_of_the_lineage(store: Store) -> None:
    lineage = (await store.live_state()).lineage
    assert (await store.audit_head()).digest == genesis(lineage)

    await publish(store, make_live("uid-a", "a"))

    (row,) = await store.audit_rows(after=0, limit=9)
    head = await store.audit_head()
    assert (head.number, head.digest) == (1, row.digest)
    assert row.digest == hashlib.sha256(row.body.encode()).hexdigest()


async def test_a_log_is_verified_portion_by_portion(served: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditing, "WALK_ROWS", 2)
    for number in range(6):
        await served.pause("a", Pause(7 + number, "ann", f"reason {number}"), warrant=BY)

    chain = await walked(served)

    assert (chain.problems, chain.checked, chain.digest) == ([], 7, (await served.audit_head()).digest)


async def test_a_log_that_grows_while_it_is_verified_is_whole(store: Store) -> None:
    await publish(store, make_live("uid-a", "a"))

    async def grow() -> None:
        for number in range(60):
            await store.pause("a", Pause(7 + number, "ann", "growing"), warrant=BY)

    growing = asyncio.create_task(grow())
    while not growing.done():
        assert (await walked(store)).problems == []
    await growing


async def test_a_failed_deed_leaves_no_entry(served: Store) -> None:
    stale = make_change_set(0, [make_live("uid-z", "z")])

    with pytest.raises(Exception, match="there was no store"):
        await served.publish(stale, warrant=BY)

    assert (await served.audit_head()).number == 1


# What somebody does to the file -------------------------------------------------------------------------------------


async def make_log(path: Path, entries: int = 4) -> None:
    async with SqliteStore(path) as store:
        await publish(store, make_live("uid-a", "a"))
        for number in range(entries - 1):
            await store.pause("a", Pause(7 + number, "ann", f"reason {number}"), warrant=BY)


async def problems(path: Path, *expected: str, start: int = 1) -> list[str]:
    async with SqliteStore(path) as store:
        return (await walked(store, start=start, expected=expected)).problems


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE audit_entries SET body = '{}' WHERE number = 2",
        "DELETE FROM audit_entries WHERE number = 2",
        "DELETE FROM audit_entries",
        "INSERT OR REPLACE INTO audit_entries (number, digest, body) VALUES (2, 'x', '{}')",
        "INSERT OR REPLACE INTO audit_entries SELECT 9, digest, body FROM audit_entries WHERE number = 2",
        "INSERT INTO audit_entries (number, digest, body) VALUES (9, 'x', '{}')",
        "UPDATE audit_head SET number = 1",
        "UPDATE audit_head SET digest = 'x'",
        "DELETE FROM audit_head",
    ],
)
async def test_the_table_takes_nothing_but_the_next_entry(tmp_path: Path, sql: str) -> None:
    """Whoever runs SQL by mistake is refused; who removes the triggers first is found out."""
    await make_log(tmp_path / "s.db")

    db = apsw.Connection(str(tmp_path / "s.db"))
    with pytest.raises(apsw.ConstraintError, match="append-only"):
        db.execute(sql)
    db.close()

    assert await problems(tmp_path / "s.db") == []


@pytest.fixture(scope="module")
def log_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A store's file with four entries and no triggers."""
    path = tmp_path_factory.mktemp("log") / "s.db"
    asyncio.run(make_log(path))
    db = sqlite3.connect(path, isolation_level=None)
    for (name,) in db.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name LIKE 'audit_%'"
    ).fetchall():
        db.execute(f"DROP TRIGGER {name}")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return path.read_bytes()


@st.composite
def mutations(draw: st.DrawFn) -> tuple[str, list[Any]]:
    """SQL that changes, removes, moves or cuts off entries."""
    number, other = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    at, letter = draw(st.integers(1, 200)), draw(st.sampled_from('0aZ"{}é '))
    hexdigit = draw(st.sampled_from("0123456789abcdef"))
    edited = "UPDATE audit_entries SET {c} = substr({c}, 1, ? - 1) || ? || substr({c}, ? + 1) WHERE number = ?"
    return draw(
        st.sampled_from(
            [
                (edited.format(c="body"), [at, letter, at, number]),
                (edited.format(c="digest"), [1 + at % 64, hexdigit, 1 + at % 64, number]),
                ("UPDATE audit_entries SET body = body || ?1 WHERE number = ?2", [letter, number]),
                ("DELETE FROM audit_entries WHERE number = ?", [number]),
                ("DELETE FROM audit_entries WHERE number > ?", [number - 1]),
                ("UPDATE audit_entries SET number = number + 10 WHERE number = ?", [number]),
                (
                    "UPDATE audit_entries SET body = (SELECT body FROM audit_entries WHERE number = ?)"
                    " WHERE number = ?",
                    [other, number],
                ),
                ("UPDATE audit_head SET number = number - 1 WHERE ? > 0", [number]),
            ]
        )
    )


@settings(max_examples=60, deadline=None)
@given(mutations())
def test_whatever_is_done_to_an_entry_is_found(
    tmp_path_factory: pytest.TempPathFactory, log_bytes: bytes, mutation: tuple[str, list[Any]]
) -> None:
    path = tmp_path_factory.mktemp("mutated") / "s.db"
    path.write_bytes(log_bytes)
    db = sqlite3.connect(path, isolation_level=None)
    select = "SELECT number, digest, body FROM audit_entries UNION ALL SELECT number, digest, '' FROM audit_head"
    before = db.execute(select).fetchall()
    db.execute(*mutation)
    is_changed = db.execute(select).fetchall() != before
    db.close()

    assert bool(asyncio.run(problems(path))) == is_changed


async def test_a_log_cut_off_together_with_its_head_is_found_by_a_digest_that_was_noted(
    tmp_path: Path, log_bytes: bytes
) -> None:
    path = tmp_path / "s.db"
    path.write_bytes(log_bytes)
    async with SqliteStore(path) as store:
        noted = (await store.audit_head()).digest
        earlier = (await store.audit_rows(after=1, limit=1))[0].digest
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("DELETE FROM audit_entries WHERE number > 2")
    db.execute("UPDATE audit_head SET (number, digest) = (SELECT number, digest FROM audit_entries WHERE number = 2)")
    db.close()

    assert await problems(path) == []
    assert await problems(path, earlier) == []
    assert await problems(path, noted) == [f"no entry has the digest that was noted: {noted}"]


async def test_from_a_later_entry_the_one_before_may_be_expected(tmp_path: Path) -> None:
    await make_log(tmp_path / "s.db")
    async with SqliteStore(tmp_path / "s.db") as store:
        rows = await store.audit_rows(after=0, limit=9)

        chain = await walked(store, start=3, expected=[rows[1].digest, rows[3].digest])

    assert (chain.problems, chain.checked, chain.anchors) == ([], 2, {rows[1].digest: 2, rows[3].digest: 4})


async def test_a_log_of_another_store_is_found(tmp_path: Path, log_bytes: bytes) -> None:
    path = tmp_path / "s.db"
    path.write_bytes(log_bytes)
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("UPDATE store SET lineage = 'another'")
    db.close()

    assert "entry 1 does not follow" in (await problems(path))[0]


async def test_an_entry_that_cannot_be_read_hides_no_other(tmp_path: Path, log_bytes: bytes) -> None:
    path = tmp_path / "s.db"
    path.write_bytes(log_bytes)
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("UPDATE audit_entries SET body = '[1]' WHERE number = 2")
    db.execute("""UPDATE audit_entries SET body = json_set(body, '$.at', 99999999999999999) WHERE number = 3""")
    db.close()

    async with SqliteStore(path) as store:
        entries = await store.audit()

    assert [entry.action for entry in entries] == ["pause", "pause", "unreadable", "apply"]
    assert [entry.to_json()["at"] is None for entry in entries] == [False, True, True, False]


async def test_retention_leaves_the_log_alone(served: Store) -> None:
    await add(served, "a", "d1", at=10)
    await served.intervene(Selection(ids=("d1",)), Intervention("k1", Action.CANCEL, 9, "ann"), warrant=BY)
    await add(served, "b", "d2", at=10)  # the newest event stays whatever its age
    before = await served.audit_head()

    assert (await served.prune(before=10**15)).events == 1

    assert await served.audit_head() == before
    assert not (await walked(served)).problems
