"""A store whose file is taken away under an open process: nothing is acknowledged into a file that nobody will find."""

from pathlib import Path

import pytest
from store_make import add, make_lane, make_live, publish

from reconciler.errors import StoreLostError
from reconciler.store.open import open_store


def file_of(store_url: str) -> Path:
    return Path(store_url.removeprefix("sqlite:///"))


async def test_a_deleted_file_takes_nothing_and_says_so(served, store_url):
    file_of(store_url).unlink()

    with pytest.raises(StoreLostError, match="deleted or replaced"):
        await add(served, "a", "one")
    with pytest.raises(StoreLostError, match="deleted or replaced"):
        await served.live_revision()


async def test_a_replaced_file_is_not_taken_for_the_old_one(served, store_url, tmp_path):
    """The new file is a store too, at the same revision: only its identity tells them apart."""
    other = open_store(f"sqlite:///{tmp_path / 'other.db'}", create=True)
    assert other is not None
    async with other:
        await publish(other, *(make_live(uid, uid) for uid in "abc"))
    (tmp_path / "other.db").rename(file_of(store_url))

    with pytest.raises(StoreLostError, match="deleted or replaced"):
        await served.configure(1, [make_lane("a")])
    with pytest.raises(StoreLostError, match="deleted or replaced"):
        await served.next_wake_at()


async def test_a_file_moved_away_and_back_is_the_same_store(served, store_url, tmp_path):
    path = file_of(store_url)
    path.rename(tmp_path / "away.db")
    with pytest.raises(StoreLostError):
        await served.live_revision()

    (tmp_path / "away.db").rename(path)

    assert await served.live_revision() == 1
