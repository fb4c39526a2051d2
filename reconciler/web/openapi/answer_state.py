"""What the API answers about webhooks, revisions, audit and the daemon itself; see `web.openapi.answer`."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from reconciler.errors import Severity
from reconciler.models.webhook import Method, Policy, Status
from reconciler.store.wire import Document
from reconciler.web.openapi.answer import Count, IntakeAnswer, Time

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Pause(TypedDict):
    """An operator's hold on a webhook, or one by the destination's own faults."""

    paused_at: Time
    paused_by: str
    reason: str
    until: Time | None


class Breaker(TypedDict):
    """Failures in a row have opened it."""

    failures: Count
    opened_at: Time | None
    probe_at: Annotated[Time | None, Field(description="When one delivery is let through.")]
    wait_ms: Count


class Halt(TypedDict):
    """What holds a webhook back: each null where it does not hold."""

    paused: Pause | None
    breaker: Breaker | None


class Flow(TypedDict):
    """A webhook's backlog and what it may flow at."""

    pending: Count
    per_second: Annotated[float | None, Field(description="Null: unlimited.")]
    sharing: Annotated[Count, Field(description="What is pending for other webhooks at the same rate.")]
    seconds: Annotated[float | None, Field(description="How long the backlog takes; null where no rate is set.")]
    blocked_until: Annotated[Time | None, Field(description="A Retry-After.")]


class HeldFlow(Flow, Halt):
    """A flow with what holds it back."""


class Backlog(TypedDict):
    """What a compaction would cancel."""

    pending: Count
    superseded: Count


class Webhook(Halt):
    """A live webhook with its deliveries counted."""

    name: str
    title: str | None
    status: Status
    method: Method
    url: str
    triggers: list[str]
    labels: dict[str, str]
    owner: str
    uid: str
    protected: bool
    revision: Annotated[Count, Field(description="The revision that changed it last.")]
    note: Annotated[str | None, Field(description="Why it is sent nothing, in words.")]
    deliveries: Annotated[dict[str, Count], Field(description="How many, by state.")]
    match_errors: Count
    spec: Annotated[dict[str, Any], Field(description="As in a manifest, defaults put in; secrets are names only.")]


class DetailedWebhook(Webhook):
    """A live webhook with its backlog."""

    backlog: Flow


class Resumed(TypedDict):
    """The pause that was ended."""

    paused: Pause | None


class Compacted(TypedDict):
    """How many deliveries were cancelled."""

    cancelled: Count


class LiveWebhook(TypedDict):
    """A webhook as the store holds it."""

    uid: str
    owner: str
    digest: Annotated[str, Field(description="The SHA-256 of the document in canonical JSON, as it was stored.")]
    protected: bool
    revision: Count
    intact: Annotated[bool, Field(description="Whether the document still has its digest.")]
    document: Document


class StoreState(TypedDict):
    """What a plan compares with."""

    lineage: Annotated[str, Field(description="A UUID that was made with the store.")]
    revision: Annotated[Count, Field(description="0: never applied to.")]
    commit: str | None
    policies: Annotated[dict[str, Policy], Field(description="By owner.")]
    webhooks: list[LiveWebhook]


class Revision(TypedDict):
    """One applied state of the store."""

    revision: Annotated[int, Field(ge=1)]
    applied_at: Time
    applied_by: str
    commit: str | None
    owner: str
    created: Count
    updated: Count
    renamed: Count
    deleted: Count
    adopted: Count
    forgotten: Count
    manifest_digest: str | None
    restores: Annotated[int | None, Field(description="The revision that a rollback has restored.")]
    reason: str


class DetailedRevision(Revision):
    """A revision with its changes."""

    changes: Annotated[list[dict[str, Any]], Field(description="`resource_changes` of the plan's JSON.")]


class Hold(TypedDict):
    """Why an owner's applies are refused."""

    owner: str
    held_at: Time
    held_by: str
    reason: str


class Finding(TypedDict):
    """Something that is wrong."""

    severity: Severity
    code: str
    subject: str
    fact: str
    mend: Annotated[str, Field(description="What to do.")]


class Check(TypedDict):
    """One thing that was looked at."""

    name: str
    fact: str
    findings: list[Finding]


class Diagnosis(TypedDict):
    """What is wrong, and how to mend it."""

    format_version: int
    well: Annotated[bool, Field(description="Whether nothing is an error.")]
    error_count: Count
    warning_count: Count
    checks: list[Check]


class AuditEntry(TypedDict):
    """Who did what, with what, when and why."""

    number: Annotated[int, Field(ge=1)]
    at: Time | None
    principal: Annotated[str, Field(description="The token's name, or `without a token`.")]
    behalf: Annotated[str, Field(description="What the client says of itself.")]
    action: str
    subject: str
    reason: str
    details: dict[str, Any]
    previous: Annotated[str, Field(description="The digest of the entry before.")]
    digest: str


class AuditRow(TypedDict):
    """An entry as it is kept."""

    number: Annotated[int, Field(ge=1)]
    digest: Annotated[str, Field(description="The SHA-256 of `body`.")]
    body: Annotated[str, Field(description="The entry's exact text.")]


class AuditHead(TypedDict):
    """The end of the audit log."""

    lineage: str
    number: Annotated[Count, Field(description="How many entries there are.")]
    digest: Digest


class Alive(TypedDict):
    """The daemon lives."""

    status: Literal["alive"]


class Ready(TypedDict):
    """The daemon takes events and delivers."""

    status: Literal["ready"]
    revision: Count
    matched_revision: Annotated[Count, Field(description="The revision that events are matched with.")]
    lag_seconds: Annotated[float, Field(ge=0, description="How long the most overdue delivery has been waiting.")]
    in_flight: NotRequired[Count]
    intake_full: NotRequired[Annotated[str | None, Field(description="Why no events are taken; null: they are.")]]


class Problem(TypedDict):
    """Problem details (RFC 9457)."""

    type: Annotated[str, Field(description="`about:blank`: the status says what kind it is.")]
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: Annotated[str, Field(description="The fact, in words.")]
    hint: NotRequired[Annotated[str, Field(description="What to do.")]]
    code: NotRequired[
        Literal[
            "api_version",
            "full",
            "invalid",
            "missing",
            "not_in_store",
            "rate",
            "refused",
            "signature",
            "stale",
            "too_large",
        ]
    ]
    role: NotRequired[Annotated[str, Field(description="With 403: the role that is wanted.")]]
    index: NotRequired[Annotated[Count, Field(description="With 413: the event that is too large, from 0.")]]


class StaleProblem(Problem):
    """The plan is stale (`stale`), or applies are on hold (`refused`)."""

    base_revision: NotRequired[Annotated[int, Field(description="The revision that the plan was made from.")]]
    live_revision: NotRequired[int]
    used: NotRequired[Annotated[bool, Field(description="Whether it is stale because it was applied before.")]]


class LineProblem(TypedDict):
    """What is wrong with one line of a change set."""

    line: Annotated[int, Field(ge=1)]
    path: Annotated[str, Field(description="Dotted, inside the line.")]
    code: str
    message: str
    hint: str


class ChangeSetProblem(Problem):
    """The change set is not valid."""

    problems: NotRequired[list[LineProblem]]


class ConflictProblem(Problem, IntakeAnswer):
    """A single event has the id of a stored one and another body."""
