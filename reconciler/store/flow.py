"""What an operator does to a webhook's whole flow of deliveries, and what holds it back, as every engine takes it.

Said by `cli` and by the daemon's API, carried out by the engines beside this file. A webhook is named by its live name;
what is kept follows its uid, through revisions and renames.
"""

from collections.abc import Mapping
from typing import Protocol

from reconciler.models.audit import UNKNOWN, Warrant
from reconciler.models.flow import Backlog, Flow, Halt, Pause
from reconciler.models.webhook import WebhookUid


class FlowStore(Protocol):
    """Pauses, breakers and backlogs. Verbs that take a name raise NotInStoreError where no live webhook has it."""

    async def halts(self) -> Mapping[WebhookUid, Halt]:
        """The webhooks that are paused or whose pace key's breaker is open. Cheap: polled every second. A pause whose
        time is over may still be told; `Halt.at` leaves it out."""
        ...

    async def flow(self, name: str) -> Flow:
        """A webhook's backlog, the rate it may flow at and what holds it back."""
        ...

    async def pause(self, name: str, pause: Pause, *, warrant: Warrant = UNKNOWN) -> None:
        """Claim nothing of the webhook from now on, whatever paused it before. What is in flight ends as it ends; what
        is pending stays, and its `give_up_at` stands still."""
        ...

    async def resume(self, name: str, *, fresh_first: bool = False, warrant: Warrant = UNKNOWN) -> Pause | None:
        """End the webhook's pause, if it has one, and return it; an open breaker of its pace key is probed at once.

        With `fresh_first` what is accepted from now on goes before what is pending now; within an access request
        acceptance order is kept all the same.
        """
        ...

    async def backlog(self, name: str) -> Backlog:
        """What `compact` would do."""
        ...

    async def compact(self, name: str, *, warrant: Warrant = UNKNOWN) -> int:
        """Cancel, as superseded, pending deliveries of the webhook for which a later one of the same access request is
        pending or in flight, by acceptance; returns how many. In small transactions: one that is cut short is done in
        part, and may be done again."""
        ...
