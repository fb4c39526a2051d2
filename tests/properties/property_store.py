"""A real SQLite store that plans are applied to, one step after the other; shared by the tests of this folder."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import apsw
from property_set import ManifestSet

from reconciler.apply import Provenance, apply_plan, new_id, read_live
from reconciler.models.delivery import DeliveryId
from reconciler.models.event import EventId
from reconciler.models.revision import LiveState, LiveWebhook, Revision
from reconciler.plan.change import Allowances
from reconciler.plan.guard import guarded
from reconciler.plan.plan import Plan, Scope, make_plan
from reconciler.store.base import NewDelivery, NewEvent, Store
from reconciler.store.open import open_store

T = TypeVar("T")
OWN = Scope()
BY = Provenance("ann", 1_700_000_000_000, None)


class StoreRoom:
    """The store, and a second connection that sees what really stands in the file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "store.db"
        self._runner = asyncio.Runner()
        self.store = opened(self.path)
        self.run(self.store.__aenter__())
        self._watch = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READONLY)
        self.events = 0

    def close(self) -> None:
        """Close both."""
        self._watch.close()
        self.run(self.store.__aexit__())
        self._runner.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """A verb of the store."""
        return self._runner.run(work)

    def live(self, revision: int | None = None) -> LiveState:
        """The live state, or that of a revision."""
        return self.run(self.store.live_state(revision))

    def plan(self, declared: ManifestSet, scope: Scope = OWN, *, allows: bool = True) -> Plan:
        """The plan, judged; `allows` lets every delete and an empty set pass."""
        live, unfinished = self.run(read_live(self.store))
        plan = make_plan(declared.desired, live, unfinished=unfinished, scope=scope)
        return guarded(plan, Allowances(deletes=plan.summary.destroy, empty=True) if allows else Allowances())

    def apply(self, plan: Plan, *, plan_id: str | None = None) -> Revision | None:
        """Apply it."""
        return self.run(apply_plan(self.store, plan, plan_id=plan_id or new_id(), by=BY))

    def accept(self, *uids: str) -> None:
        """An event with a pending delivery to each of these webhooks, named after its webhook's uid."""
        self.events += 1
        number = self.events
        deliveries = tuple(NewDelivery(DeliveryId(f"{uid}:{number}"), uid, None, 0, 0) for uid in uids)
        event = NewEvent(
            EventId(f"e{number}"), "AccessRequestCreated", None, None, "test", b"{}", "f", 0, deliveries=deliveries
        )
        self.run(self.store.accept([event], revision=self.live().revision))

    def commits(self) -> int:
        """Changes whenever anybody commits anything to the file (SQLite's `data_version`)."""
        return int(self._watch.execute("PRAGMA data_version").fetchone()[0])

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of every table."""
        tables = [name for (name,) in self._watch.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {name: sorted(self._watch.execute(f'SELECT * FROM "{name}"'), key=repr) for name in tables}

    def documents(self) -> dict[str, tuple[str, bytes, bool]]:
        """Of each live uid: owner, the document's bytes as they stand in the file, protection."""
        found = self._watch.execute(
            "SELECT v.uid, v.owner, CAST(d.body AS BLOB), v.is_protected FROM live_webhooks l"
            " JOIN webhook_versions v ON v.uid = l.uid AND v.revision = l.revision"
            " JOIN documents d ON d.id = v.document_id"
        )
        return {uid: (owner, body, bool(protected)) for uid, owner, body, protected in found}


def opened(path: Path) -> Store:
    """The store at the path, made if it is not there."""
    store = open_store(f"sqlite:///{path}", create=True)
    assert store is not None
    return store


@contextmanager
def store_room() -> Iterator[StoreRoom]:
    """A new store in a folder of its own."""
    with TemporaryDirectory() as folder:
        room = StoreRoom(Path(folder))
        try:
            yield room
        finally:
            room.close()


def owned(state: LiveState, owner: str) -> dict[str, bytes]:
    """An owner's canonical documents by name."""
    return {item.webhook.name: item.webhook.canonical() for item in state.webhooks if item.owner == owner}


def by_uid(state: LiveState) -> dict[str, LiveWebhook]:
    """The live webhooks by uid."""
    return {item.uid: item for item in state.webhooks}
