"""The declared resource: what a manifest says and what the store keeps, frozen, unchanged from the border inward.

Built by `manifest.validate` from YAML and by the stores from their canonical document. Shapes, ranges and the texts of
the JSON Schema live here; the rules on what a text may say live in `models.rule`, so that a stored webhook stays
readable when a rule becomes stricter. No I/O.
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Final, Literal, NewType, Self
from urllib.parse import urlsplit

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from reconciler.models.credential import Auth, Signing, Tls
from reconciler.models.field import Duration, Line, Many, Model, Named

WebhookName = NewType("WebhookName", str)
WebhookUid = NewType("WebhookUid", str)

API_VERSION: Final = "reconciler/v1"
OKTA_DOMAINS: Final = (".workflows.okta.com", ".workflows.oktapreview.com")
OKTA_PER_SECOND: Final = 9.0  # Okta closes with 429 at 10 invocations per second and flow
OKTA_TIMEOUT_SECONDS: Final = 65  # Okta closes the connection at 60 s; a little more lets its answer arrive
OKTA_DEFAULTS: Final[Mapping[str, Any]] = {
    "timeout_in_sec": OKTA_TIMEOUT_SECONDS,
    "rate_limit": {"per_second": OKTA_PER_SECOND, "burst": 1},
}
DEFAULT_TIMEOUT_SECONDS: Final = 15
DEFAULT_SCHEDULE: Final = tuple(
    timedelta(seconds=seconds) for seconds in (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
)
_PLAIN_HOST: Final = re.compile(r"https://([a-z0-9.-]+)(?=[/?#]|\Z)")
_PLAIN_PLACE: Final = re.compile(r"https://([a-z0-9.-]*[a-z0-9-]/[A-Za-z0-9/_.~-]*)")
SECRET_REFERENCE: Final = re.compile(r"\$\$\{|\$\{secret:([a-z][a-z0-9_]*)\}")  # `$${` is a literal `${`

Name = Named[WebhookName]
Globs = Many[Line]


class Status(StrEnum):
    """The green and the white dot of the vendor's table."""

    ACTIVE = "active"
    INACTIVE = "inactive"


class Method(StrEnum):
    """HTTP methods a webhook may use."""

    POST = "POST"
    PUT = "PUT"
    DELETE = "DELETE"
    PATCH = "PATCH"
    GET = "GET"

    @property
    def has_body(self) -> bool:
        """GET and DELETE are sent without one."""
        return self not in (Method.GET, Method.DELETE)


class Trigger(StrEnum):
    """Which kinds of event a webhook wants; event types `AccessRequest*` map onto them."""

    REQUEST_CREATED = "RequestCreated"
    REQUEST_APPROVED = "RequestApproved"
    REQUEST_REJECTED = "RequestRejected"
    REQUEST_GRANTED = "RequestGranted"
    REQUEST_EXPIRED = "RequestExpired"
    REQUEST_FAILED = "RequestFailed"
    MANUAL = "Manual"  # fired by `reconciler trigger`, never by an event
    # what the daemon itself has to tell
    WEBHOOK_FAILING = "ReconcilerWebhookFailing"
    WEBHOOK_PAUSED = "ReconcilerWebhookPaused"
    WEBHOOK_RECOVERED = "ReconcilerWebhookRecovered"
    DELIVERY_DEAD = "ReconcilerDeliveryDead"

    @property
    def is_operational(self) -> bool:
        """Whether the daemon tells it, of a webhook, rather than an access request."""
        return self.value.startswith("Reconciler")


class Ordering(StrEnum):
    """`request`: the events of one access request start in the order they were accepted."""

    REQUEST = "request"
    NONE = "none"


class Approval(StrEnum):
    """`automatic`: the event's approvals are empty or null."""

    MANUAL = "manual"
    AUTOMATIC = "automatic"


class IntegrationFilter(Model):
    """Each list holds if it has no positive glob or one matches, and no negative one (`!x`) matches."""

    id: Globs = Field((), description="Globs on the integration's id.")
    name: Globs = Field((), description='Globs on the integration\'s name, like ["*-prod"].')
    type: Globs = Field((), description="Globs on the integration's type, like [Postgresql].")


def _none_if_empty(value: IntegrationFilter | None) -> IntegrationFilter | None:
    return None if value == IntegrationFilter() else value


def _without_empty_lists(value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {key: globs for key, globs in value.items() if globs}


class Filters(Model):
    """Which of the triggered events are wanted. All filters must hold; those on integration and resource in the same
    access group, those on resource and permission in the same access unit. A list of globs holds if it has no positive
    glob or one matches, and no negative one ("!x", quoted) matches. Globs are case-sensitive and match the whole text;
    `*` crosses `/`. Default: every event, since the triggers choose already."""

    integration: Annotated[IntegrationFilter | None, AfterValidator(_none_if_empty)] = Field(
        None, description="Globs on the integrated system; id, name and type must hold in the same access group."
    )
    resource_type: Globs = Field((), description="Globs on a resource type's id or name, like [postgresql-*].")
    resource: Globs = Field((), description="Globs on a resource's id, name or path.")
    permission: Globs = Field((), description="Globs on a permission's id or name.")
    requester: Globs = Field((), description="Globs on the requester's id, name or e-mail address.")
    grantee: Globs = Field((), description="Globs on the grantee's id or name.")
    access_flow: Globs = Field((), description="Globs on the access flow's id or name.")
    access_bundle: Globs = Field((), description="Globs on the access bundle's id or name.")
    approval: Annotated[Approval, Field(strict=False)] | None = Field(
        None, description="`automatic`: the event's approvals are empty or null; `manual`: they are not."
    )
    custom_fields: Annotated[dict[str, Globs], AfterValidator(_without_empty_lists)] = Field(
        default_factory=dict, description="Globs on request fields that the administrator defined, by their key."
    )


class ResponseValidator(Model):
    """An answer counts as delivered only if something stands at `json_path` and is one of `expected_values`; where the
    path leads to several values, all of them. An answer that is not JSON, or longer than 64 KiB, never does."""

    json_path: Line = Field(description="Where to look in the JSON answer: a JSONPath (RFC 9535), like $.data.status.")
    expected_values: Many[str | int | Annotated[float, Field(allow_inf_nan=False)] | bool | None] = Field(
        min_length=1,
        description="One of these must stand there. A text also stands for the number, true, false or null that it "
        'spells: "200" is expected by 200, while 200 is not by "200".',
    )


def _none_if_false(value: bool | None) -> bool | None:
    return value or None  # so that webhooks stored before there was the field are the same as those that say `false`


class Retry(Model):
    """When a failed delivery is tried again."""

    schedule: Many[Duration] = Field(
        default_factory=lambda: DEFAULT_SCHEDULE,  # shared: pydantic copies what stands as a default
        min_length=1,
        max_length=1000,
        description="Delays between attempts; the last repeats up to max_attempts. Default: "
        "5s, 5m, 30m, 2h, 5h, 10h, 14h, 20h, 24h, which bridges a long weekend of the receiver's.",
    )
    jitter: float = Field(
        0.2,
        ge=0,
        le=1,
        description="The share of each delay that is random, 0 to 1, so that failed deliveries do not come back "
        "together. Default: 0.2.",
    )
    max_attempts: int = Field(
        10, ge=1, le=1000, description="Attempts in all, the first included. Default: 10, the schedule's nine delays."
    )
    give_up_after: Duration = Field(
        timedelta(hours=96),
        description="How long after its first attempt a delivery is given up. Default: 96h, the schedule's length.",
    )
    retry_unknown: bool = Field(
        True,
        description="Whether to try again when the receiver may have run the request (timeout or reset after "
        "sending). Default: true, since an event lost is worse than one that comes twice with the same webhook-id.",
    )
    honour_webhook_delivery: Annotated[bool | None, AfterValidator(_none_if_false)] = Field(
        None,
        description="Whether the receiver may stop us by the response header `webhook-delivery`: `abort-message` ends "
        "a delivery that failed, `disable` pauses the webhook. Default: false, so that no receiver can stop deliveries "
        "by accident.",
    )


class RateLimit(Model):
    """A token bucket: `per_second` tokens flow in, `burst` fit."""

    per_second: float = Field(gt=0, le=100_000, description="Requests per second on average.")
    burst: int = Field(1, ge=1, le=100_000, description="Requests that may go at once. Default: 1, evenly spaced.")


class Metadata(Model):
    """Who the webhook is."""

    name: Name = Field(description="The identity: unique in a store; 1 to 63 of a-z, 0-9 and inner hyphens.")
    title: str | None = Field(None, description="Free text for people.")
    labels: dict[str, str] = Field(default_factory=dict, description="Free texts to select and to require by policy.")
    protect: bool | None = Field(
        None,
        description="`true` refuses deletion. Held in the store: lifted only by an applied explicit `false`, so that "
        "deleting the line does not lift it.",
    )
    renamed_from: Name | None = Field(
        None, description="The webhook's former name: it keeps its uid, history and pending deliveries."
    )


def _shape(value: object) -> str:
    """Which member of a union of text and mapping a value belongs to."""
    return "mapping" if isinstance(value, Mapping | BaseModel) else "text"


class Spec(Model):
    """What the webhook does; every default is filled in, so that a plan compares what will really happen."""

    status: Annotated[Status, Field(strict=False)] = Field(
        Status.ACTIVE, description="`inactive` keeps the webhook without sending. Default: active."
    )
    method: Annotated[Method, Field(strict=False)] = Field(
        Method.POST, description="HTTP method; Okta Workflows takes GET and POST only. Default: POST."
    )
    url: Line = Field(
        description="Where to send: HTTPS, no port, no user info, no fragment, no IP address. ${secret:NAME} may stand "
        "in path and query.",
        json_schema_extra={"pattern": "^[hH][tT][tT][pP][sS]://[^/?#@:]+([/?][^#]*)?$"},
    )
    headers: dict[str, str] = Field(
        default_factory=dict, description="Request headers; tokens as ${secret:NAME}. Default: none of your own."
    )
    triggers: Many[Annotated[Trigger, Field(strict=False)]] = Field(
        min_length=1,
        description="Which kinds of event the webhook wants, at least one. `Reconciler*` events tell of other webhooks "
        "and stand alone.",
    )
    filters: Filters = Field(default_factory=Filters)
    body_template: (
        Annotated[
            Annotated[str, Tag("text")] | Annotated[dict[str, Any], Tag("mapping")],
            Discriminator(_shape),
        ]
        | None
    ) = Field(
        None,
        description="Handlebars, as text or as a mapping whose leaves are templates; JSON-safe where content_type is "
        "JSON. Default: the event itself is the body. Not with GET and DELETE, which have none.",
    )
    partials: dict[str, str] = Field(
        default_factory=dict,
        description="Templates that the body may include by `{{> name}}`, by name. Those of the Project's folder of "
        "partials that the body includes are added, so that what is stored and shown is whole. Default: none.",
    )
    query: dict[str, str] = Field(
        default_factory=dict, description="Query parameters, added to those of the url. Default: none."
    )
    content_type: Line = Field(
        "application/json",
        description="Media type of the body; decides how templates escape. Default: application/json.",
    )
    auth: Auth | None = None
    tls: Tls | None = None
    when: Line | None = Field(
        None,
        description="A condition in CEL on `event_type`, `event_time` and `data`, asked once the filters hold. "
        "has(x.y) is true if the field is there and not null; reading a missing field is an error, which is shown and "
        "can be replayed. Default: every event that matches.",
    )
    timeout_in_sec: int = Field(
        DEFAULT_TIMEOUT_SECONDS,
        ge=1,
        le=65,
        description="Seconds until a request without an answer counts as unknown, 1 to 65. Default: 15; 65 on Okta "
        "hosts, which close at 60 s, so that their answer still arrives.",
    )
    response_validators: Many[ResponseValidator] = Field(
        (), description="What a 2xx answer must say to count as delivered; a failed one is retried. Default: nothing."
    )
    retry: Retry = Field(default_factory=Retry)
    rate_limit: Annotated[
        Annotated[RateLimit, Tag("mapping")] | Annotated[Literal["unlimited"], Tag("text")], Discriminator(_shape)
    ] = Field(
        "unlimited",
        description="Requests per second to this host and path, over all daemons; or unlimited. Default: unlimited; "
        "9 per second on Okta hosts, which answer 429 from 10.",
    )
    max_concurrency: int = Field(
        16, ge=1, le=10_000, description="Requests in flight at once. Default: 16, enough for a slow receiver."
    )
    ordering: Annotated[Ordering, Field(strict=False)] = Field(
        Ordering.REQUEST,
        description="`request`: the events of one access request start in the order they were accepted, each after its "
        "predecessor is finished; `none`: as they come. Default: request, so that a grant never overtakes its request.",
    )
    max_hold: Duration = Field(
        timedelta(hours=1),
        description="How long an event waits for its predecessor under `ordering: request`. Default: 1h.",
    )
    signing: Signing | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_host_defaults(cls, value: Any) -> Any:
        if (
            not isinstance(value, Mapping)
            or not isinstance(value.get("url"), str)
            or not is_okta_host(host_of(value["url"]))
        ):
            return value
        return {**OKTA_DEFAULTS, **dict(value.items())}


class Webhook(Model):
    """One declared webhook."""

    metadata: Metadata
    spec: Spec

    @property
    def name(self) -> WebhookName:
        """The identity within a store."""
        return self.metadata.name

    @property
    def address(self) -> str:
        """`webhook.NAME`, as plans and policies name it."""
        return f"webhook.{self.metadata.name}"

    @property
    def renamed_from(self) -> WebhookName | None:
        """The former name that its manifest says."""
        return self.metadata.renamed_from

    @property
    def protect(self) -> bool | None:
        """What its manifest says of protection; None where it says nothing."""
        return self.metadata.protect

    @property
    def is_active(self) -> bool:
        """Whether events are matched against it."""
        return self.spec.status is Status.ACTIVE

    @property
    def host(self) -> str:
        """The receiver's host in lower case, without a trailing dot."""
        return host_of(self.spec.url)

    @property
    def pace_key(self) -> str:
        """Host and unresolved URL path: what a rate limit, a breaker and a Retry-After belong to."""
        plain = _PLAIN_PLACE.fullmatch(self.spec.url)
        return plain[1] if plain is not None else f"{self.host}{urlsplit(self.spec.url).path or '/'}"

    def document(self) -> dict[str, Any]:
        """The webhook as the plain mapping that is stored, diffed and exported: every default in place, tuples as
        lists, durations spelt, enums as text; what is absent or empty, and `renamed_from` (an instruction to the plan,
        not a part of the state), left out."""
        raw = self.model_dump(mode="json", exclude_none=True, exclude={"metadata": {"renamed_from"}})
        return {
            "apiVersion": API_VERSION,
            "kind": "Webhook",
            "metadata": _without_empty(raw["metadata"]),
            "spec": _without_empty(raw["spec"], kept="body_template"),
        }

    def canonical(self) -> bytes:
        """`document()` as bytes that are equal if and only if the webhooks are: keys sorted, but a mapping body in its
        author's order, since that order is sent."""
        return canonical_document(self.document())

    def digest(self) -> str:
        """SHA-256 of `canonical()` in hex."""
        return hashlib.sha256(self.canonical()).hexdigest()

    @classmethod
    def from_document(cls, raw: bytes) -> Self:
        """The webhook of a stored canonical document. Raises pydantic.ValidationError."""
        value = orjson.loads(raw)
        return cls.model_validate({"metadata": value["metadata"], "spec": value["spec"]}, strict=False)

    def secret_hosts(self) -> tuple[tuple[str, str], ...]:
        """Every (secret name, host it is sent to), sorted."""
        return self._secret_hosts

    def token_route(self) -> tuple[frozenset[str], str, str] | None:
        """Where access tokens go: the secrets that open them, the token endpoint's URL and the host that is sent them;
        None where there are none."""
        return self._token_route

    def idle_secrets(self, now: int) -> frozenset[str]:
        """The secrets that only signing keys refer to whose windows are closed at `now`, in milliseconds since the
        epoch: no request needs them."""
        signing = self.spec.signing
        if signing is None or not signing.has_windows:
            return frozenset()
        keys = signing.keys
        closed = [key.key for key in keys if not key.is_open(now)]
        if not closed:
            return frozenset()
        return secret_names(closed) - secret_names([key.key for key in keys if key.is_open(now)]) - self._other_secrets

    @cached_property
    def _other_secrets(self) -> frozenset[str]:
        return secret_names(self.spec.model_dump(mode="json", exclude={"signing"}))

    @cached_property
    def _token_route(self) -> tuple[frozenset[str], str, str] | None:
        oauth2 = self.spec.auth.oauth2 if self.spec.auth is not None else None
        if oauth2 is None:
            return None
        return secret_names([oauth2.client_secret, oauth2.private_key]), oauth2.token_url, host_of(self.spec.url)

    @cached_property
    def _secret_hosts(self) -> tuple[tuple[str, str], ...]:  # the worker asks for each attempt
        return secret_hosts_of(self.spec.model_dump(mode="json"))


def _without_empty(value: dict[str, Any], *, kept: str | None = None) -> dict[str, Any]:
    """A mapping without what is empty in it, at any depth; what stands under `kept` is left as it is."""
    pruned: dict[str, Any] = {}
    for key, item in value.items():
        if key != kept:
            kind = item.__class__  # plain ones, of a dump; asked of every value that a set of manifests has
            if kind is dict:
                item = _without_empty(item)
            if not item and (kind is dict or kind is list):
                continue
        pruned[key] = item
    return pruned


def canonical_document(document: Mapping[str, Any]) -> bytes:
    """Sorted, compact JSON; what stands under `spec.body_template` keeps its order. The order of lists is kept."""
    body = document.get("spec", {}).get("body_template")
    if isinstance(body, Mapping):
        spec = {**document["spec"], "body_template": orjson.Fragment(orjson.dumps(body))}
        document = {**document, "spec": spec}
    written = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    return memoryview(written).tobytes()  # orjson's own keep the room that it wrote in: 8 KB for a document of 2


def host_of(url: str) -> str:
    """The host of an absolute URL in lower case without a trailing dot; empty where there is none."""
    plain = _PLAIN_HOST.match(url)
    if plain is not None:  # as nearly everybody writes it
        return plain[1].rstrip(".")
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def is_okta_host(host: str) -> bool:
    """Whether Okta Workflows serves this host (production and preview)."""
    return host.endswith(OKTA_DOMAINS)


def secret_names(value: object) -> frozenset[str]:
    """The names of every `${secret:name}` in a string, or in the strings of a nested value."""
    found: set[str] = set()
    _gather_secret_names(value, found)
    return frozenset(found)


def _gather_secret_names(value: object, found: set[str]) -> None:
    # 1. a text, 2. a mapping, 3. a list, 4. neither; a plan looks into every text that it adds, so a dict, which nearly
    # every mapping is, is told without asking the abstract class
    if isinstance(value, str):
        if "${" in value:
            found.update(match[1] for match in SECRET_REFERENCE.finditer(value) if match[1])
    elif isinstance(value, dict) or (not isinstance(value, list | tuple) and isinstance(value, Mapping)):
        for key, item in value.items():
            if isinstance(key, str) and "${" in key:
                _gather_secret_names(key, found)
            if not isinstance(item, str) or "${" in item:
                _gather_secret_names(item, found)
    elif isinstance(value, list | tuple):
        for item in value:
            _gather_secret_names(item, found)


def secret_hosts_of(spec: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Every (secret name, host it is sent to) of a document's spec, sorted: credentials go to OAuth's token host."""
    host, auth = host_of(spec["url"]), spec.get("auth") or {}
    token_host = host_of(auth["oauth2"]["token_url"]) if auth.get("oauth2") else host
    pairs = {(name, host) for name in secret_names({key: item for key, item in spec.items() if key != "auth"})}
    return tuple(sorted(pairs | {(name, token_host) for name in secret_names(auth)}))


def fill_secrets(text: str, values: Mapping[str, str]) -> str:
    """`text` with each `${secret:name}` replaced by its value and `$${` by `${`; values are never scanned again.

    Raises KeyError for a name without a value.
    """
    if "${" not in text:
        return text
    return SECRET_REFERENCE.sub(lambda match: values[match[1]] if match[1] else "${", text)


class Policy(Model):
    """Limits on plans; a plan is judged by the stricter of live and desired."""

    allowed_hosts: Many[Line] | None = Field(
        None,
        description="Hosts a webhook may send to, exact or like `*.example.com`. Default: any that may be reached.",
    )
    required_labels: Many[Line] = Field((), description="Labels that every webhook must carry. Default: none.")
    max_delete_percent: int | None = Field(
        None,
        ge=0,
        le=100,
        description="The share of owned webhooks that one apply may delete. Default: 30 once ten are owned.",
    )


NO_POLICY: Final = Policy.model_construct()  # equal to `Policy()`, which would build its validator at import


class ProjectSpec(Model):
    """What holds for every webhook of an owner."""

    owner: str = Field("", description="Whose these webhooks are: deletion touches only what this owner applied.")
    defaults: dict[str, Any] = Field(
        default_factory=dict,
        description="Merged under the spec of every webhook: mappings merged, lists replaced; `null` in a webhook "
        "lifts a default.",
    )
    policy: Policy = NO_POLICY
    partials: Line | None = Field(
        None,
        description="A folder of Handlebars partials, relative to this file: `who.hbs` is included by `{{> who}}`. "
        "Default: none.",
    )


class ProjectMetadata(Model):
    """Who the project is; for people only."""

    name: Name | None = Field(None, description="The project's name.")
    title: str | None = Field(None, description="Free text for people.")


class Project(Model):
    """At most one in a set of manifests."""

    metadata: ProjectMetadata = ProjectMetadata.model_construct()
    spec: ProjectSpec = ProjectSpec.model_construct()
