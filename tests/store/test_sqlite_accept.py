"""Events that are all new are stored by one statement, as those are of which some are known."""

from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_make import COMMIT, FAR, make_delivery, make_event, make_lane, make_live, publish, traced

from reconciler.store.base import EventStatus, NewEvent, RevisionMovedError
from reconciler.store.sqlite import event
from reconciler.store.sqlite.store import SqliteStore

UIDS = ["a", "b", "c"]
DELIVERIES = st.lists(
    st.tuples(st.sampled_from(UIDS), st.sampled_from([None, "r", "s"]), st.sampled_from([0, 5])),
    max_size=3,
    unique_by=lambda item: item[0],
)


def make(place: int, wanted: list[tuple[str, str | None, int]], problem: str | None) -> NewEvent:
    deliveries = [make_delivery(f"d{place}-{uid}", uid, due, order_key=key) for uid, key, due in wanted]
    return make_event(f"e{place}", *([] if problem else deliveries), at=place, raw=b"%d" % place, problem=problem)


def contents(db: apsw.Connection) -> dict[str, list[Any]]:
    tables = ("events", "deliveries", "lanes", "paces", "store")
    return {name: db.execute(f"SELECT * FROM main.{name} ORDER BY 1").fetchall() for name in tables}


async def open_writer(path: Path) -> apsw.Connection:
    path.touch()
    async with SqliteStore(path) as store:
        await publish(store, *(make_live(uid, uid) for uid in UIDS))
        await store.configure(1, [make_lane(uid) for uid in UIDS[:2]])
    return SqliteStore(path)._open_writer()


@settings(max_examples=25, deadline=None)
@given(wanted=st.lists(st.tuples(DELIVERIES, st.sampled_from([None, None, "no JSON"])), min_size=1, max_size=6))
async def test_new_events_are_stored_alike_with_known_ones_beside_them_or_without(
    tmp_path_factory: pytest.TempPathFactory, wanted: list[tuple[list[tuple[str, str | None, int]], str | None]]
) -> None:
    """Law: in both are the same rows, and the answers are the same."""
    new = [make(place, *facts) for place, facts in enumerate(wanted)]
    known = make_event("known", make_delivery("d-known", "a", FAR, order_key="r"), raw=b"known")
    found = []
    for beside in ([], [known]):
        db = await open_writer(tmp_path_factory.mktemp("accept") / "store.db")
        with db:
            assert event.accept(db, [known], 1) == (EventStatus.ACCEPTED,)
            statuses = event.accept(db, [*new, *beside], 1)
        lineage = "SELECT seq, id, git_commit FROM deliveries WHERE git_commit IS NOT NULL"
        assert {commit for _, _, commit in db.execute(lineage)} == {COMMIT}
        found.append((statuses[: len(new)], {**contents(db), "store": []}))
        db.close()

    assert found[0] == found[1]


async def test_the_usual_case_is_one_statement_and_a_moved_revision_is_told(tmp_path: Path) -> None:
    db = await open_writer(tmp_path / "store.db")
    with traced(db) as statements, db:
        event.accept(db, [make(1, [("a", "r", 0)], None), make(2, [("a", "r", 0), ("c", None, 0)], None)], 1)
    assert len(statements) == 1

    with pytest.raises(RevisionMovedError):
        event.accept(db, [make(3, [("a", None, 0)], None)], 7)
    assert db.execute("SELECT count(*) FROM events").get == 2
    db.close()


async def test_order_keys_that_are_stored_alike_have_one_head(tmp_path: Path) -> None:
    r"""A lone surrogate is stored as it is spelt, `\\ud800`, which another event may say in full."""
    db = await open_writer(tmp_path / "store.db")
    with db:
        event.accept(db, [make(1, [("a", "\ud800", 0)], None), make(2, [("a", "\\ud800", 0)], None)], 1)

    assert db.execute("SELECT order_key, is_head FROM deliveries ORDER BY seq").fetchall() == [
        ("\\ud800", 1),
        ("\\ud800", 0),
    ]
    db.close()
