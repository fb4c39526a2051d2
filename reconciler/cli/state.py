"""How commands reach a store, theirs or one behind a daemon, and what an id on the command line stands for.

No other module of `cli` opens a store; reading commands never make one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import click

from reconciler.errors import NotInStoreError, ReconcilerError

if TYPE_CHECKING:
    from reconciler.client.connection import DaemonAddress
    from reconciler.client.store import RemoteStore
    from reconciler.dispatch.replay import EventReplay
    from reconciler.models.audit import Warrant
    from reconciler.store.base import CommandStore, Store

ReplayEvent = Callable[[str, bytes | None], Awaitable["EventReplay"]]

CANDIDATES_MAX: Final = 3  # that a message about an ambiguous id names


def open_state(url: str, *, create: bool) -> CommandStore | None:
    """The store of a URL, to be entered with `async with`: a file, or what a daemon serves, which exists always. With
    `create` it is made if it is missing, else None. Raises ReconcilerError for a URL that names no store."""
    if is_daemon(url):
        from reconciler.client.store import RemoteStore

        return RemoteStore(daemon_address(url))
    from reconciler.store.open import open_store

    return open_store(url, create=create)


def is_daemon(url: str) -> bool:
    """Whether a store's URL names a daemon that serves one."""
    return url.partition("://")[0].lower() in ("http", "https")


def daemon_address(url: str) -> DaemonAddress:
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


@contextlib.asynccontextmanager
async def replaying(
    url: str, *, now: Callable[[], int], by: Warrant
) -> AsyncIterator[tuple[CommandStore, ReplayEvent]]:
    """The existing store at `url`, and what judges its events again: here, or in the daemon that serves it. `now` gives
    milliseconds since the epoch, `by` is for the audit log. Raises NotInStoreError where there is no store."""
    async with reading(url) as store:
        if is_daemon(url):
            yield store, partial(cast("RemoteStore", store).replay_event, warrant=by)
            return
        from reconciler.dispatch.intake import Intake
        from reconciler.dispatch.live import Live
        from reconciler.dispatch.replay import Replayer

        ours = cast("Store", store)
        live = Live(ours)
        replayer = Replayer(ours, live, Intake(ours, live, now=now, wake=lambda: None), now=now)
        yield store, partial(replayer.replay, warrant=by)


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
