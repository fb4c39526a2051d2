"""How commands reach a store: theirs, or one behind a daemon. No other module of `cli` opens one; reading commands never
make one.
"""

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.errors import StoreError
from reconciler.store.base import CommandStore

if TYPE_CHECKING:
    from reconciler.client.connection import DaemonAddress


def open_state(url: str, *, create: bool) -> CommandStore | None:
    """The store of a URL, to be entered with `async with`: a file, or what a daemon serves, which exists always. With
    `create` it is made if it is missing, else None. Raises ReconcilerError for a URL that names no store."""
    if url.partition("://")[0].lower() in ("http", "https"):
        from reconciler.client.store import RemoteStore

        return RemoteStore(daemon_address(url))
    from reconciler.store.open import open_store

    return open_store(url, create=create)


def daemon_address(url: str) -> "DaemonAddress":
    """A daemon with the token of RECONCILER_TOKEN and the authorities of `--ca`, or RECONCILER_CA where a command has
    no such option. Raises ReconcilerError for what is no daemon's address."""
    from reconciler.client.connection import DaemonAddress

    context = click.get_current_context(silent=True)
    option = context.params.get("ca_file") if context is not None else None
    ca_file = option or os.environ.get("RECONCILER_CA")
    return DaemonAddress(url, os.environ.get("RECONCILER_TOKEN") or None, Path(ca_file) if ca_file else None)


@contextlib.asynccontextmanager
async def reading(url: str) -> AsyncIterator[CommandStore]:
    """The existing store at `url`. Raises StoreError where there is none."""
    store = open_state(url, create=False)
    if store is None:
        raise StoreError(
            f"there is no store: {url}", hint="`reconciler apply` makes it; `--store` or RECONCILER_STORE names another"
        )
    async with store:
        yield store
