"""Programs: several statements that are one to whoever runs them."""

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from reconciler.store.sqlite.connection import connect, run
from reconciler.store.sqlite.program import Program, call_of

MOVE = Program(
    "move",
    (
        "UPDATE amounts SET amount = amount - :much WHERE name = :source",
        "INSERT INTO amounts (name, amount) SELECT value, :much FROM json_each(:targets) WHERE true"
        " ON CONFLICT (name) DO UPDATE SET amount = amount + excluded.amount",
    ),
)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[apsw.Connection]:
    path = tmp_path / "amounts.db"
    path.touch()
    connection = connect(path)
    run(connection, "CREATE TABLE amounts (name TEXT PRIMARY KEY, amount INTEGER CHECK (amount >= 0))")
    run(connection, "INSERT INTO amounts VALUES ('a', 5), ('b', 1)")
    MOVE.install(connection)
    yield connection
    connection.close()


def amounts(db: apsw.Connection) -> list[tuple[object, ...]]:
    return db.execute("SELECT name, amount FROM amounts ORDER BY name").fetchall()


def test_its_statements_run_in_order_with_the_parameters_of_the_call(db: apsw.Connection) -> None:
    run(db, call_of(MOVE), much=2, source="a", targets='["b","c"]')

    assert amounts(db) == [("a", 3), ("b", 3), ("c", 2)]


def test_a_statement_that_fails_undoes_those_before_it(db: apsw.Connection) -> None:
    """Whole or not at all, as one statement is."""
    with pytest.raises(apsw.ConstraintError):
        run(db, call_of(MOVE), much=-9, source="a", targets='["c"]')

    assert amounts(db) == [("a", 5), ("b", 1)]


def test_nothing_of_it_stands_in_the_file(db: apsw.Connection, tmp_path: Path) -> None:
    """A program of another version may write the same file at the same time."""
    other = connect(tmp_path / "amounts.db")

    assert other.execute("SELECT name FROM sqlite_schema WHERE type IN ('view', 'trigger')").fetchall() == []
    with pytest.raises(apsw.SQLError):
        run(other, call_of(MOVE), much=1, source="a", targets="[]")
    other.close()
