"""A turn does what `finish` and then `claim` do, in fewer statements where nothing unusual happens."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_make import (
    COMMIT,
    FAR,
    dead,
    delivered,
    make_delivery,
    make_event,
    make_lane,
    make_live,
    publish,
    retried,
    traced,
)

from reconciler.models.flow import Pause
from reconciler.models.health import Health
from reconciler.store.base import Claimed, Finished, Lane, Turned
from reconciler.store.sqlite import claim, finish, turn
from reconciler.store.sqlite.store import SqliteStore

NOW = 10_000
TERMS: dict[str, Any] = {"now": NOW, "lease_until": FAR, "revision": 1, "commit": COMMIT}
UIDS = [f"w{number}" for number in range(6)]

LANE = st.fixed_dictionaries(
    {
        "pace_key": st.sampled_from(["one", "two", "three"]),
        "per_second": st.sampled_from([None, None, 1.0, 50.0]),
        "burst": st.sampled_from([1, 3, 20]),
        "max_concurrency": st.sampled_from([1, 2, 16]),
        "is_open": st.sampled_from([True, True, True, False]),
    }
)
DELIVERY = st.tuples(
    st.sampled_from(UIDS),
    st.sampled_from([None, None, "r", "s"]),  # order key
    st.sampled_from([0, 0, 5, NOW, NOW + 1]),  # due
    st.sampled_from([NOW - 1, FAR, FAR, FAR, FAR, FAR]),  # hold until
)
HOW: dict[str, Callable[[Claimed], Finished]] = {
    "delivered": lambda one: delivered(one, health=Health.WORKS),
    "retried": lambda one: retried(one, NOW + 700, give_up_at=FAR),
    "at once": lambda one: retried(one, NOW, give_up_at=FAR, is_counted=False),
    "dead": dead,
    "failed": lambda one: retried(one, NOW + 9, health=Health.FAILED, blame="the receiver answered 500"),
    "blocked": lambda one: retried(one, NOW, blocked_until=NOW + 900),
    "lost": lambda one: delivered(one)._replace(token=one.token + 99),
}
USUAL = st.sampled_from(["delivered", "delivered", "delivered", "retried", "at once"])


async def fill(path: Path, lanes: list[Lane], deliveries: list[Any], paused: list[int | None]) -> tuple[Claimed, ...]:
    """A store with some of its deliveries in flight."""
    async with SqliteStore(path) as store:
        await publish(store, *(make_live(uid, uid) for uid in UIDS))
        await store.configure(1, lanes)
        events = [
            make_event(
                f"e{place}", make_delivery(f"d{place}", uid, due, order_key=key, hold_until=hold), raw=b"%d" % place
            )
            for place, (uid, key, due, hold) in enumerate(deliveries)
        ]
        await store.accept(events, revision=1)
        for uid, until in zip(UIDS, paused, strict=False):
            await store.pause(uid, Pause(1, "ann", "a reason", until))
        return await store.claim(now=6, lease_until=FAR, limit=9, revision=1, commit=COMMIT)


def contents(db: apsw.Connection) -> dict[str, list[Any]]:
    """Everything that the file holds."""
    tables = db.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table' AND sql NOT NULL").fetchall()
    return {name: db.execute(f"SELECT * FROM main.{name}").fetchall() for (name,) in tables}


def done(path: Path, verb: Callable[[apsw.Connection], Turned]) -> tuple[Turned, dict[str, list[Any]]]:
    """What a verb returns and leaves behind in a copy of a store."""
    copy = path.with_suffix(".copy")
    shutil.copy(path, copy)
    db = SqliteStore(copy)._open_writer()
    try:
        with db:
            turned = verb(db)
        return turned, contents(db)
    finally:
        db.close()


def by_webhook(claimed: tuple[Claimed, ...]) -> dict[str, list[Claimed]]:
    return {uid: [one for one in claimed if one.webhook_uid == uid] for uid in UIDS}


def one_after_the_other(db: apsw.Connection, finished: list[Finished], limit: int) -> Turned:
    return Turned(finish.finish(db, finished), claim.claim(db, limit=limit, **TERMS))


@settings(max_examples=40, deadline=None)
@given(
    lanes=st.lists(LANE, min_size=len(UIDS), max_size=len(UIDS)),
    deliveries=st.lists(DELIVERY, min_size=1, max_size=30),
    paused=st.lists(st.sampled_from([None, 5, FAR]), max_size=1),
    hows=st.lists(USUAL, min_size=9, max_size=9) | st.lists(st.sampled_from(sorted(HOW)), min_size=9, max_size=9),
    limit=st.sampled_from([1, 2, 3, 7, 64]),
)
def test_a_turn_is_a_finish_and_a_claim(
    tmp_path_factory: pytest.TempPathFactory,
    lanes: list[dict[str, Any]],
    deliveries: list[Any],
    paused: list[int | None],
    hows: list[str],
    limit: int,
) -> None:
    """Law: both give the same deliveries, of each webhook in the same order, and leave the same rows behind."""
    path = tmp_path_factory.mktemp("turn") / "store.db"
    path.touch()
    made = [make_lane(uid, **facts) for uid, facts in zip(UIDS, lanes, strict=True)]
    claimed = asyncio.run(fill(path, made, deliveries, paused))
    finished = [HOW[how](one) for how, one in zip(hows, claimed, strict=False)]

    at_once, left = done(path, lambda db: turn.turn(db, finished, limit=limit, **TERMS))
    in_two, rows = done(path, lambda db: one_after_the_other(db, finished, limit))

    assert at_once.lost == in_two.lost
    assert by_webhook(at_once.claimed) == by_webhook(in_two.claimed)
    assert left == rows


@pytest.mark.parametrize("number", [1, 3, 6])
def test_where_nothing_unusual_happens_it_takes_one_statement(tmp_path: Path, number: int) -> None:
    """Whatever the number of lanes: after each statement the thread queues for the interpreter's lock."""
    path = tmp_path / "store.db"
    path.touch()
    deliveries = [(UIDS[place % number], None, 0, FAR) for place in range(60)]
    claimed = asyncio.run(fill(path, [make_lane(uid, max_concurrency=64) for uid in UIDS], deliveries, []))
    statements: list[str] = []

    def turned(db: apsw.Connection) -> Turned:
        with traced(db) as seen:
            found = turn.turn(db, [delivered(one, health=Health.WORKS) for one in claimed], limit=9, **TERMS)
        statements.extend(seen)
        return found

    found, _ = done(path, turned)

    assert len(found.claimed) == 9
    assert len(statements) == 1


@pytest.mark.parametrize("how", ["dead", "failed", "blocked", "lost"])
def test_what_is_unusual_is_done_by_the_verbs_themselves(tmp_path: Path, how: str) -> None:
    path = tmp_path / "store.db"
    path.touch()
    deliveries = [(UIDS[0], None, 0, FAR)] * 20
    claimed = asyncio.run(fill(path, [make_lane(uid) for uid in UIDS], deliveries, []))
    finished = [HOW[how](claimed[0]), *(delivered(one, health=Health.WORKS) for one in claimed[1:])]

    found = done(path, lambda db: turn.turn(db, finished, limit=9, **TERMS))

    assert found == done(path, lambda db: one_after_the_other(db, finished, 9))
    assert found[0].lost == ((claimed[0].seq,) if how == "lost" else ())


def test_what_a_turn_claims_in_two_goes_is_one_lease(tmp_path: Path) -> None:
    """Of three lanes on two pace keys a limit of three has the turn look twice."""
    path = tmp_path / "store.db"
    path.touch()
    lanes = [make_lane(uid, key, max_concurrency=1) for uid, key in zip(UIDS, ("one", "one", "two"), strict=False)]
    claimed = asyncio.run(fill(path, lanes, [(uid, None, 0, FAR) for uid in UIDS[:3]], []))
    finished = [HOW["at once"](one) for one in claimed]

    found, _ = done(path, lambda db: turn.turn(db, finished, limit=3, **TERMS))

    assert len(found.claimed) == 3
    assert len({one.token for one in found.claimed}) == 1
