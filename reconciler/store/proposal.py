"""What is about to be applied, shown to the daemon before it is live, so that the new revision costs nobody a wait.

An apply stages its rows, proposes, and flips when the daemon has built what it serves from; `dispatch.live` does that.
A proposal decides nothing: the flip compares and sets as ever, and a daemon that does not answer is not waited for
longer than a bounded time.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from reconciler.models.revision import LiveWebhook
from reconciler.models.webhook import WebhookUid


class Stage(StrEnum):
    """How far the daemon is with a proposal."""

    STAGING = "staging"
    MADE = "made"
    TAKEN = "taken"
    DONE = "done"  # it is ready for it, or never will be: the apply may go on


@dataclass(frozen=True, slots=True)
class Proposed:
    """That there is a proposal, and the revision upon which it will be applied."""

    id: str
    base_revision: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a change set will make of the webhooks of its base revision."""

    id: str
    base_revision: int
    commit: str | None
    upserts: tuple[LiveWebhook, ...] = field(repr=False)
    deletes: tuple[WebhookUid, ...] = field(repr=False)
    released: tuple[WebhookUid, ...] = field(repr=False)


class ProposalStore(Protocol):
    """The daemon's side of proposals."""

    async def proposed(self) -> Proposed | None:
        """A proposal upon the live revision that nobody has taken. Cheap: polled."""
        ...

    async def proposal(self, proposal_id: str) -> Proposal | None:
        """The whole of one; None if it has been applied or withdrawn."""
        ...

    async def answer(self, proposal_id: str, stage: Stage) -> None:
        """Tell the apply how far the daemon is."""
        ...

    async def proposal_of(self, revision: int) -> str | None:
        """The id of the proposal that has become the live revision; None for one that is not live any more."""
        ...
