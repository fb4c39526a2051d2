"""What a plan is made of: what happens to each webhook, and what a reviewer must know beside it. Pure values.

Made by `make_plan` and by whatever reads a saved plan; shown by the views and written by `apply`.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from reconciler.models.revision import NOBODY, LiveWebhook
from reconciler.models.webhook import Webhook, WebhookName
from reconciler.plan.diff import FieldChange

NAME_PATH: Final = ("metadata", "name")


class Action(StrEnum):
    """What happens to one webhook; which of `before` and `after` a change has follows from it."""

    CREATE = "create"  # after
    UPDATE = "update"  # before and after, the same name
    RENAME = "rename"  # before and after, another name; with or without an edit
    ADOPT = "adopt"  # before and after, equal but for the owner
    DELETE = "delete"  # before
    FORGET = "forget"  # before; stays live, owned by nobody
    NO_OP = "no-op"  # before and after, equal


@dataclass(frozen=True, slots=True)
class Change:
    """One webhook's way from live to desired.

    `fields` is sorted by path and empty unless both sides exist and differ. `cancels` counts the unfinished
    deliveries that a delete or an inactivation ends. `adopted_by` is the owner who takes the webhook over, whatever
    else happens to it; None where it stays whose it is. `revives`, in a rollback, is the webhook as it was: one that
    was deleted since returns under its uid, and protection that it had holds again.
    """

    action: Action
    before: LiveWebhook | None
    after: Webhook | None
    fields: tuple[FieldChange, ...] = ()
    cancels: int = 0
    adopted_by: str | None = None
    revives: LiveWebhook | None = None

    @property
    def name(self) -> WebhookName:
        """The webhook's name once applied; of a delete, the name it had."""
        if self.after is not None:
            return self.after.name
        assert self.before is not None
        return self.before.webhook.name

    @property
    def address(self) -> str:
        """`webhook.NAME`."""
        return f"webhook.{self.name}"

    @property
    def previous_address(self) -> str | None:
        """The address before a rename."""
        return self.before.webhook.address if self.before and self.action is Action.RENAME else None

    @property
    def is_adopted(self) -> bool:
        """Whether the webhook was another owner's, or nobody's, and becomes this one's."""
        return self.adopted_by is not None

    @property
    def is_released(self) -> bool:
        """Whether the webhook becomes nobody's, as it is or, between two states, with an edit or another name."""
        return self.action is Action.FORGET or self.adopted_by == NOBODY

    @property
    def is_edit(self) -> bool:
        """Whether a webhook that stays will be another one in more than its name and owner."""
        return any(field.path != NAME_PATH for field in self.fields)

    @property
    def was_protected(self) -> bool:
        """Protection as the store holds it until now."""
        return (self.before is not None and self.before.is_protected) or (
            self.revives is not None and self.revives.is_protected
        )

    @property
    def is_protected_after(self) -> bool:
        """Protection as the store will hold it: lifted only by an explicit `protect: false`."""
        said = self.after.protect if self.after is not None else None
        return self.was_protected if said is None else said


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A secret that a host has not been sent before, and the webhooks that will send it."""

    secret: str
    host: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A delete and a create that look like one webhook renamed: `percent` of what they say is the same."""

    old: WebhookName
    new: WebhookName
    percent: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a plan must not be applied: the number and the limit in `message`, the way out in `hint`."""

    code: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Allowances:
    """What the person or pipeline explicitly allows. `deletes` names the exact number."""

    deletes: int | None = None
    empty: bool = False


NO_ALLOWANCES: Final = Allowances()


@dataclass(frozen=True, slots=True)
class Summary:
    """How many of each. A rename or an adoption that edits as well counts as both."""

    add: int
    change: int
    destroy: int
    rename: int
    adopt: int
    forget: int
