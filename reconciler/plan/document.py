"""The shape of a plan's JSON as types, and the JSON Schema that is generated from them.

`plan.schema` fills it; `reconciler schema` publishes it. Terraform's keys keep Terraform's meaning. A reader ignores
keys that it does not know.
"""

from typing import Annotated, Any, Final, Literal, NotRequired

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

FORMAT_VERSION: Final = "1.0"  # a reader ignores unknown keys; the first number moves when a known one changes
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

Address = Annotated[str, Field(description="`webhook.NAME`.", pattern="^webhook\\.")]
Count = Annotated[int, Field(ge=0)]
ActionWord = Literal["no-op", "create", "update", "delete", "forget"]
Document = dict[str, Any]


class Importing(TypedDict):
    """The webhook was not this owner's until now."""

    id: Annotated[str, Field(description="The webhook's uid, which it keeps.")]
    owner: Annotated[str, Field(description="Whose it was; `nobody` where it had been released.")]


class ChangeBody(TypedDict):
    """What happens to one webhook."""

    actions: Annotated[
        list[ActionWord],
        Field(min_length=1, max_length=1, description="A rename or an adoption without an edit is `no-op`."),
    ]
    before: Annotated[Document | None, Field(description="The live webhook, secrets masked; null for a create.")]
    after: Annotated[Document | None, Field(description="The desired webhook; null for a delete and a forget.")]
    importing: NotRequired[Importing]


class ResourceChange(TypedDict):
    """One webhook of the plan, also an unchanged one."""

    address: Address
    previous_address: NotRequired[Annotated[str, Field(description="The address before a rename; else absent.")]]
    mode: Literal["managed"]
    type: Literal["webhook"]
    name: str
    action_reason: NotRequired[
        Annotated[Literal["delete_because_no_resource_config"], Field(description="Why it is deleted; else absent.")]
    ]
    change: ChangeBody
    cancels: Annotated[Count, Field(description="How many unfinished deliveries the change ends.")]


class ChangedBy(TypedDict):
    """The revision that did it."""

    revision: Annotated[int, Field(ge=1)]
    applied_at: str
    applied_by: str
    commit: str | None
    owner: str
    restores: Annotated[int | None, Field(description="Of a rollback: the revision that it went back to.")]


class ResourceDrift(TypedDict):
    """One webhook that is live otherwise than the manifests' last apply left it (`change.before`)."""

    address: Address
    previous_address: NotRequired[str]
    mode: Literal["managed"]
    type: Literal["webhook"]
    name: str
    change: ChangeBody
    cause: Annotated[
        Literal["revision", "edited"],
        Field(description="`edited`: its stored document fails its digest; else a later revision did it."),
    ]
    changed_by: ChangedBy | None


class PolicyChange(TypedDict):
    """The owner's policy before and after."""

    actions: list[Literal["update"]]
    before: Document
    after: Document


class SecretBinding(TypedDict):
    """A secret that a host has not been sent before."""

    secret: str
    host: str
    webhooks: list[Address]


class RenameSuggestion(TypedDict):
    """A delete and a create that look like one webhook renamed."""

    previous_address: Address
    address: Address
    percent: Annotated[int, Field(ge=0, le=100, description="How much of what they say is the same.")]


class SummaryCounts(TypedDict):
    """The numbers of the last line; a rename or an adoption that edits as well counts as both."""

    add: Count
    change: Count
    destroy: Count
    rename: Count
    adopt: Count
    forget: Count


class Warned(TypedDict):
    """A warning that does not stop the plan."""

    code: str
    message: str
    path: str
    hint: str


class Refused(TypedDict):
    """Why the plan must not be applied, and the way out."""

    code: str
    message: str
    hint: str


class ImpactRendering(TypedDict):
    """What would be sent, secrets masked."""

    method: str
    url: str
    body: Annotated[str | None, Field(description="Null where the method has none or nothing could be rendered.")]
    problem: Annotated[str | None, Field(description="Why nothing could be rendered; else null.")]


class ImpactExample(TypedDict):
    """One delivery before and after the plan."""

    kind: Literal["broken", "changed", "added", "lost"]
    event_id: str
    event_type: str
    before: Annotated[ImpactRendering | None, Field(description="By the live webhook; null where it sends nothing.")]
    after: Annotated[ImpactRendering | None, Field(description="By the desired one; null where it sends nothing.")]


class WebhookImpacted(TypedDict):
    """What the plan does to one webhook's deliveries of the replayed events."""

    address: Address
    added: Count
    lost: Count
    changed: Annotated[Count, Field(description="Sent before and after, with another body or to another destination.")]
    changed_body: Count
    changed_destination: Annotated[Count, Field(description="With another method or URL.")]
    unchanged: Count
    broken: Annotated[Count, Field(description="Of the added and changed: those that cannot be rendered any more.")]
    match_errors: Annotated[Count, Field(description="Events of which the desired `when` cannot tell.")]
    example: ImpactExample | None


class ImpactDocument(TypedDict):
    """Recorded events replayed through the live and the desired webhooks; printed with `--impact` only."""

    events: Annotated[Count, Field(description="How many events were replayed.")]
    source: Annotated[str, Field(description="Which these are, in words.")]
    skipped: Annotated[Count, Field(description="How many more were recorded and are no events.")]
    webhooks: Annotated[list[WebhookImpacted], Field(description="Those that the plan changes, sorted by address.")]


class PlanDocument(TypedDict):
    """What `reconciler plan --format json` prints: the same bytes for the same manifests and live state."""

    format_version: Annotated[str, Field(pattern=r"^1\.", description="The first number moves when a reader breaks.")]
    reconciler_version: str
    plan_digest: Annotated[
        str,
        Field(
            pattern="^[0-9a-f]{64}$",
            description="SHA-256 of the rest of this document without `impact`, as in every format.",
        ),
    ]
    lineage: Annotated[str, Field(description="The store's identity; empty where there was no store.")]
    base_revision: Annotated[Count, Field(description="The live revision that the plan was made from.")]
    manifest_digest: str
    owner: str
    applyable: Annotated[bool, Field(description="Whether there is something to apply and nothing forbids it.")]
    errored: Annotated[bool, Field(description="Whether the plan is refused.")]
    secret_bindings: list[SecretBinding]
    resource_changes: Annotated[list[ResourceChange], Field(description="Sorted by address.")]
    policy_change: PolicyChange | None
    resource_drift: Annotated[
        list[ResourceDrift], Field(description="What was changed outside of these manifests since their last apply.")
    ]
    rename_suggestions: list[RenameSuggestion]
    summary: SummaryCounts
    warnings: list[Warned]
    refusals: list[Refused]
    restores: NotRequired[Annotated[int, Field(description="Of a rollback: the revision that it goes back to.")]]
    impact: NotRequired[ImpactDocument]
    revision: NotRequired[
        Annotated[int | None, Field(description="Printed by apply only: the revision it made, or null.")]
    ]


def plan_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a plan."""
    generated = TypeAdapter(PlanDocument).json_schema()
    for definition in (generated, *generated["$defs"].values()):
        _tidy(definition)
    head = {"$schema": DIALECT, "$id": "plan.schema.json", "title": "reconciler plan"}
    return {**head, **generated}


def _tidy(definition: dict[str, Any]) -> None:
    """Drop the titles that pydantic derives from names and keys."""
    definition.pop("title", None)
    for field in definition.get("properties", {}).values():
        field.pop("title", None)
