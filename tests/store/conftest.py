"""One store for every conformance test, by each engine there is."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from store_make import make_lane, make_live, publish

from reconciler.store.base import Store
from reconciler.store.open import open_store


@pytest.fixture(params=["sqlite"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store may be made: nothing is there yet."""
    assert request.param == "sqlite"
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    """A new store, never applied to."""
    opened = open_store(store_url, create=True)
    assert opened is not None
    async with opened:
        yield opened


@pytest.fixture
async def served(store: Store) -> Store:
    """A store at revision 1 with the webhooks a, b and c, each with an open, unlimited lane."""
    await publish(store, *(make_live(uid, uid) for uid in "abc"))
    await store.configure(1, [make_lane(uid) for uid in "abc"])
    return store
