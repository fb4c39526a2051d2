"""Numbered migrations: each once, in one transaction, and all steps together equal the fresh schema."""

from pathlib import Path

import apsw
import pytest

from reconciler.errors import StoreError
from reconciler.store.sqlite.connection import connect
from reconciler.store.sqlite.schema import Migration, migrations, prepare


def schema_of(db: apsw.Connection) -> list[tuple[object, ...]]:
    return db.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name").fetchall()


def new_file(path: Path) -> Path:
    path.touch()
    return path


def test_versions_count_from_one_without_gaps() -> None:
    """A file's number is its version."""
    assert [step.version for step in migrations()] == list(range(1, len(migrations()) + 1))
    assert all(step.name and step.sql for step in migrations())


def test_all_steps_equal_the_fresh_schema(tmp_path: Path) -> None:
    """A store that came through every version is like one made today."""
    extra = (
        Migration(len(migrations()) + 1, "add", "CREATE TABLE extra (id INTEGER PRIMARY KEY) STRICT;"),
        Migration(
            len(migrations()) + 2, "widen", "ALTER TABLE extra ADD COLUMN name TEXT; CREATE INDEX n ON extra (name)"
        ),
    )
    known = migrations() + extra
    fresh = prepare(new_file(tmp_path / "fresh.db"), known)
    path = new_file(tmp_path / "old.db")

    for count in range(1, len(known) + 1):
        prepare(path, known[:count]).close()
    stepped = prepare(path, known)

    assert schema_of(stepped) == schema_of(fresh)
    assert stepped.execute("SELECT version, name FROM migrations ORDER BY version").fetchall() == [
        (step.version, step.name) for step in known
    ]
    fresh.close()
    stepped.close()


def test_a_step_that_fails_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    """One transaction a step; what came before it stays."""
    path = new_file(tmp_path / "store.db")
    prepare(path).close()
    bad = Migration(
        len(migrations()) + 1, "bad", "CREATE TABLE half (id) STRICT; CREATE TABLE half (id INTEGER) STRICT"
    )
    before = connect(path)
    schema = schema_of(before)

    with pytest.raises(StoreError):
        prepare(path, (*migrations(), bad))

    assert schema_of(before) == schema
    before.close()
    prepare(path).close()


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """An older program must not write what it does not know."""
    path = new_file(tmp_path / "store.db")
    newer = Migration(len(migrations()) + 1, "newer", "CREATE TABLE newer (id INTEGER PRIMARY KEY) STRICT")
    prepare(path, (*migrations(), newer)).close()

    with pytest.raises(
        StoreError, match=f"schema version {newer.version}, this program knows {len(migrations())}"
    ) as caught:
        prepare(path)

    assert str(path) in caught.value.message
    assert "newer version" in caught.value.hint


def test_a_store_has_one_lineage_for_life(tmp_path: Path) -> None:
    """Made with the store, as a random UUID."""
    path = new_file(tmp_path / "store.db")
    lineages = set()
    for _ in range(2):
        db = prepare(path)
        lineages.add(db.execute("SELECT lineage FROM store").get)
        db.close()
    (lineage,) = lineages
    other = prepare(new_file(tmp_path / "other.db"))

    assert other.execute("SELECT lineage FROM store").get != lineage
    assert [len(part) for part in lineage.split("-")] == [8, 4, 4, 4, 12]
    assert lineage[14] == "4"
    assert lineage[19] in "89ab"
    other.close()
