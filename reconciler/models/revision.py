"""One applied state of the store, and the webhooks live in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from reconciler.models.delivery import State, iso_time
from reconciler.models.flow import NO_HALT, Halt
from reconciler.models.webhook import Policy, Webhook, WebhookUid

NOBODY: Final = "nobody"  # the owner of released webhooks; no project may say it is this one


@dataclass(frozen=True, slots=True)
class LiveWebhook:
    """A webhook as the store holds it.

    `uid` outlives renames, so history and pending deliveries follow it. `is_protected` is held in the store and
    lifted only by an applied explicit `protect: false`. `revision` is the one that last changed it. `is_intact` is
    false where the stored document is not the one that `digest` was made of: somebody edited the database.
    """

    uid: WebhookUid
    owner: str
    webhook: Webhook
    digest: str
    is_protected: bool
    revision: int
    is_intact: bool = True

    def to_json(
        self, counts: Mapping[State, int], *, note: str | None = None, match_errors: int = 0, halt: Halt = NO_HALT
    ) -> dict[str, Any]:
        """The shape of `webhooks list|show --format json` and of the API; `note` says why nothing is sent,
        `match_errors` of how many events its `when` could not tell, `halt` what holds it back."""
        return {
            "name": self.webhook.name,
            "title": self.webhook.metadata.title,
            "status": self.webhook.spec.status.value,
            "method": self.webhook.spec.method.value,
            "url": self.webhook.spec.url,
            "triggers": [trigger.value for trigger in self.webhook.spec.triggers],
            "labels": self.webhook.metadata.labels,
            "owner": self.owner,
            "uid": self.uid,
            "protected": self.is_protected,
            "revision": self.revision,
            "note": note,
            **halt.to_json(),
            "deliveries": {state.value: counts.get(state, 0) for state in State},
            "match_errors": match_errors,
            "spec": self.webhook.document()["spec"],
        }


@dataclass(frozen=True, slots=True)
class LiveState:
    """Everything a plan compares with and the dispatcher matches by; revision 0 is a store never applied to."""

    lineage: str  # UUID made with the store; "" where no store exists
    revision: int
    commit: str | None
    webhooks: tuple[LiveWebhook, ...] = field(repr=False)  # sorted by name
    policies: dict[str, Policy] = field(default_factory=dict)  # by owner

    def count_owned(self, owner: str) -> int:
        """How many webhooks are this owner's."""
        return sum(item.owner == owner for item in self.webhooks)


@dataclass(frozen=True, slots=True)
class Hold:
    """Why an owner's applies are refused until somebody releases them. `held_at` in milliseconds since the epoch."""

    owner: str
    held_at: int
    held_by: str
    reason: str

    @property
    def fact(self) -> str:
        """What a refused apply says."""
        return f"applies of {self.whose} are on hold {self.origin}"

    @property
    def whose(self) -> str:
        """Whom it holds back."""
        return f"owner `{self.owner}`" if self.owner else "the default owner"

    @property
    def origin(self) -> str:
        """Since when, by whom and why."""
        why = f": {self.reason}" if self.reason else ""
        return f"since {iso_time(self.held_at)}, by {self.held_by}{why}"

    @property
    def way_out(self) -> str:
        """The hint beside it."""
        owner = f" --owner {self.owner}" if self.owner else ""
        return f"once the reason is gone: reconciler rollback --release{owner}"

    def to_json(self) -> dict[str, Any]:
        """The shape of a hold in every JSON document."""
        return {
            "owner": self.owner,
            "held_at": iso_time(self.held_at),
            "held_by": self.held_by,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Revision:
    """Who applied what, when and from which commit. `changes` are the plan's resource changes as JSON.

    `manifest_digest` tells which manifests it came from; None where it is a rollback, which `restores` an earlier
    revision, or older than this record. `reason` is what the person said, if anything.
    """

    number: int
    applied_at: int
    applied_by: str
    commit: str | None
    owner: str
    created: int
    updated: int
    renamed: int
    deleted: int
    changes: Sequence[dict[str, Any]] = ()
    manifest_digest: str | None = None
    restores: int | None = None
    reason: str = ""
    adopted: int = 0
    forgotten: int = 0

    def to_json(self) -> dict[str, Any]:
        """The shape of `history --format json`."""
        return {
            "revision": self.number,
            "applied_at": iso_time(self.applied_at),
            "applied_by": self.applied_by,
            "commit": self.commit,
            "owner": self.owner,
            "created": self.created,
            "updated": self.updated,
            "renamed": self.renamed,
            "deleted": self.deleted,
            "adopted": self.adopted,
            "forgotten": self.forgotten,
            "manifest_digest": self.manifest_digest,
            "restores": self.restores,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """What one apply writes, all or nothing, if the store still stands at `lineage` and `base_revision`.

    `upserts` hold created, updated and renamed webhooks with their uids (`LiveWebhook.revision` is ignored: the new
    one is written); names may move among them in any way, swaps included. `released` become NOBODY's and stay as they
    are else, byte for byte. `policy` None leaves the owner's policy as
    it is. `plan_id` is usable once. `lineage` "" applies only to a store that was never applied to. A change set that
    `restores` a revision is a rollback: it is taken in spite of a hold, and may set one (`hold`).
    """

    lineage: str
    base_revision: int
    plan_id: str
    applied_at: int
    applied_by: str
    commit: str | None
    owner: str
    upserts: tuple[LiveWebhook, ...]
    deletes: tuple[WebhookUid, ...]
    policy: Policy | None
    created: int
    updated: int
    renamed: int
    deleted: int
    changes: Sequence[dict[str, Any]]
    manifest_digest: str | None = None
    restores: int | None = None
    reason: str = ""
    hold: Hold | None = None
    released: tuple[WebhookUid, ...] = ()
    adopted: int = 0
    forgotten: int = 0
