"""A store as commands see it through a daemon and as its daemon sees it, in one. Imported by this folder's conftest."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any, cast

from served import running

from reconciler.client.connection import DaemonAddress
from reconciler.client.store import RemoteStore
from reconciler.dispatch.intake import Intake
from reconciler.dispatch.live import Live
from reconciler.store.base import CommandStore, Store
from reconciler.web.app import build_app

NOW = 1_700_000_000_000
COMMAND_VERBS = frozenset(name for name in dir(CommandStore) if not name.startswith("_"))


class Behind:
    """The verbs that commands use go over HTTP, the daemon's own to the store."""

    def __init__(self, local: Store, remote: RemoteStore) -> None:
        self._local = local
        self._remote = remote

    def __getattr__(self, name: str) -> Any:
        return getattr(self._remote if name in COMMAND_VERBS else self._local, name)


@contextlib.asynccontextmanager
async def behind_daemon(store: Store) -> AsyncIterator[Store]:
    """The store behind a real server with the daemon's application."""
    live = Live(store)
    intake = Intake(store, live, now=lambda: NOW, wake=lambda: None)
    app = build_app(store=store, live=live, intake=intake, status=dict, now=lambda: NOW)
    async with running(app) as url, RemoteStore(DaemonAddress(url)) as remote:
        yield cast(Store, Behind(store, remote))
