"""A plan whose manifests and store are read by other processes ahead of it is the plan that reads them itself."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from apply_folder import Called, Folder, manifest

from reconciler.fork import Part
from reconciler.manifest import ahead as manifests_ahead
from reconciler.store import ahead as store_ahead

Call = Callable[..., Called]
Deed = Callable[[Folder, Call], object]


@contextmanager
def early() -> Iterator[list[object]]:
    """However few manifests there are, they and the store are read by other processes; which are noted."""
    begun: list[object] = []
    start = Part.start

    def noted(work: Callable[..., None]) -> Part:
        begun.append(work)
        return start(work)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifests_ahead, "FILES_MIN", 1)
        patch.setattr(manifests_ahead, "processors", lambda: 2)
        patch.setattr(store_ahead, "processors", lambda: 2)
        patch.setattr(Part, "start", noted)
        yield begun


def edit(folder: Folder, call: Call) -> None:
    folder.write(manifest("a", {"title": "edited"}), manifest("new"))


def roll_back(folder: Folder, call: Call) -> None:
    folder.declare("a")
    call("apply", "--auto-approve", "--allow-deletes", "1")
    folder.declare("a", "b")
    call("apply", "--auto-approve")
    call("rollback", "2", "--auto-approve", "--hold")


def let_another_apply(folder: Folder, call: Call) -> None:
    folder.write(manifest("a", {"title": "taken"}), project={"owner": "others"}, file="others.yaml")
    call("apply", "--auto-approve", "--adopt", "manifests/others.yaml")
    (folder.path / "manifests" / "others.yaml").unlink()


def edit_the_store(folder: Folder, call: Call) -> None:
    with sqlite3.connect(folder.path / "reconciler.db") as db:
        assert db.execute("UPDATE documents SET body = replace(body, '\"POST\"', '\"PUT\"')").rowcount > 1
    db.close()


def break_the_manifests(folder: Folder, call: Call) -> None:
    folder.write("a: [")


def break_the_store(folder: Folder, call: Call) -> None:
    (folder.path / "reconciler.db").write_text("no store")


def remove_the_store(folder: Folder, call: Call) -> None:
    (folder.path / "reconciler.db").unlink()


def leave(folder: Folder, call: Call) -> None:
    """Nothing happens."""


DEEDS = (leave, edit, roll_back, let_another_apply, edit_the_store, break_the_manifests, break_the_store)


@pytest.mark.parametrize("deed", [*DEEDS, remove_the_store])
@pytest.mark.parametrize("output_format", ["text", "json"])
def test_a_plan_is_the_same_however_early_it_is_begun(
    folder: Folder, call: Call, deed: Deed, output_format: str
) -> None:
    """After edits, rollbacks and holds, other owners' applies, and damage."""
    folder.declare("a", "b")
    call("apply", "--auto-approve")
    deed(folder, call)

    expected = call("plan", "--detailed-exitcode", "--format", output_format)
    with early() as begun:
        made = call("plan", "--detailed-exitcode", "--format", output_format)

    assert made == expected
    assert len(begun) == (1 if deed is remove_the_store else 2)


def test_drift_is_found_in_a_long_history(folder: Folder, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest revisions are read ahead; where they do not tell, the store is asked."""
    monkeypatch.setattr(store_ahead, "HISTORY_ROWS", 2)
    for title in ("one", "two", "three"):
        folder.write(manifest("a", {"title": title}), manifest("b"))
        call("apply", "--auto-approve")
    for title in ("one", "three", "four"):
        folder.write(manifest("a", {"title": title}), manifest("b"))

        expected = call("plan", "--format", "json")
        with early() as begun:
            made = call("plan", "--format", "json")

        assert made == expected
        assert len(begun) == 2


def test_an_apply_that_is_begun_early_publishes_once(folder: Folder, call: Call) -> None:
    folder.declare("a", "b")
    with early() as begun:
        first = call("apply", "--auto-approve")
        again = call("apply", "--auto-approve")

    assert (first.code, again.code, len(begun)) == (0, 0, 3)
    assert "2 added" in first.out
    assert "No changes" in again.out
    assert asyncio.run(folder.names()) == (1, ["a", "b"])
