"""One store for every conformance test, by each engine there is; what commands use of it also through a daemon."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from store_make import make_lane, make_live, publish
from store_remote import behind_daemon

from reconciler.store.base import Store
from reconciler.store.open import open_store


@pytest.fixture(params=["sqlite"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store may be made: nothing is there yet."""
    assert request.param == "sqlite"
    return f"sqlite:///{tmp_path / 'store.db'}"


THROUGH_DAEMON = (
    "test_store_audit",
    "test_store_event",
    "test_store_flow",
    "test_store_match_error",
    "test_store_listing",
    "test_store_operate",
    "test_store_revision",
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test of the verbs that commands use runs twice."""
    if "way" in metafunc.fixturenames and metafunc.module.__name__ in THROUGH_DAEMON:
        metafunc.parametrize("way", ["direct", "daemon"], indirect=True)


@pytest.fixture
def way(request: pytest.FixtureRequest) -> str:
    """How the store is reached."""
    return str(getattr(request, "param", "direct"))


@pytest.fixture
async def store(store_url: str, way: str) -> AsyncIterator[Store]:
    """A new store, never applied to."""
    opened = open_store(store_url, create=True)
    assert opened is not None
    async with opened:
        if way == "direct":
            yield opened
            return
        async with behind_daemon(opened) as remote:
            yield remote


@pytest.fixture
async def served(store: Store) -> Store:
    """A store at revision 1 with the webhooks a, b and c, each with an open, unlimited lane."""
    await publish(store, *(make_live(uid, uid) for uid in "abc"))
    await store.configure(1, [make_lane(uid) for uid in "abc"])
    return store
