"""How commands reach a store, theirs or one behind a daemon, and what an id on the command line stands for.

No other module of `cli` opens a store; reading commands never make one.
"""

import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from reconciler.errors import NotInStoreError, ReconcilerError
from reconciler.store.base import CommandStore

if TYPE_CHECKING:
    from reconciler.client.connection import DaemonAddress

CANDIDATES_MAX: Final = 3  # that a message about an ambiguous id names


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
    """The existing store at `url`. Raises NotInStoreError where there is none."""
    store = open_state(url, create=False)
    if store is None:
        raise NotInStoreError(
            f"there is no store: {url}", hint="`reconciler apply` makes it; `--store` or RECONCILER_STORE names another"
        )
    async with store:
        yield store


async def whole_delivery_id(store: CommandStore, text: str) -> str:
    """The delivery that `text` names: its id, or a beginning of it that no other has, as a terminal shows it.
    Raises ReconcilerError."""
    found = await store.delivery_ids(text, limit=CANDIDATES_MAX + 1)
    return _only(found, text, noun="delivery", plural="deliveries")


async def whole_event_id(store: CommandStore, text: str) -> str:
    """The event that `text` names, likewise. Raises ReconcilerError."""
    found = await store.event_ids(text, limit=CANDIDATES_MAX + 1)
    return _only(found, text, noun="event", plural="events")


def _only(found: Sequence[str], text: str, *, noun: str, plural: str) -> str:
    if text in found or len(found) == 1:
        return found[0]  # a whole id comes before those that it begins
    if not found:
        raise ReconcilerError(f"no such {noun}: {text}", hint=f"list them with `reconciler {plural} list`")
    more = ", …" if len(found) > CANDIDATES_MAX else ""
    raise ReconcilerError(
        f"several {plural} have ids that begin so: {text}",
        hint=f"write more of it: {', '.join(found[:CANDIDATES_MAX])}{more}",
    )
