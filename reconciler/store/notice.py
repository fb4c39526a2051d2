"""What is still to be told of webhooks, as every engine keeps it: written with the fact, gone with its event.

The verbs that make the facts (`DeliveryStore.finish`, `FlowStore.pause`) write notices in their own transactions, by
the rules of `models.notice`; `dispatch.herald` makes events of them. So whoever is killed in between loses none and
tells none twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from reconciler.models.notice import Notice

if TYPE_CHECKING:
    from reconciler.store.base import NewEvent


@dataclass(frozen=True, slots=True)
class Told:
    """A notice, as it was read, and its event with its fan-out; None: nobody wants it."""

    notice: Notice
    event: "NewEvent | None"


class NoticeStore(Protocol):
    """Notices and what becomes of them."""

    async def notices(self, *, now: int, limit: int) -> tuple[Notice, ...]:
        """Those that are due, of each webhook in the order in which the facts happened."""
        ...

    async def announce(self, told: Sequence[Told], *, revision: int, now: int) -> int:
        """Store the events and forget their notices, in one transaction; returns how many events were stored.

        A notice to which a fact was added since it was read stays, with its event not stored: it is read again. Raises
        RevisionMovedError, with nothing written, if `revision` is not live.
        """
        ...
