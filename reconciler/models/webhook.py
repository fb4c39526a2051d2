"""The declared resource: what a manifest says and what the store keeps, frozen, unchanged from the border inward.

Built by `manifest.load` from YAML and by the stores from their canonical document. The rules that need no more than
one document live here; those that need the event schema or the other documents live in `manifest.validate`.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, NewType, Self
from urllib.parse import urlsplit

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

WebhookName = NewType("WebhookName", str)
WebhookUid = NewType("WebhookUid", str)

API_VERSION: Final = "reconciler/v1"
OKTA_DOMAINS: Final = (".workflows.okta.com", ".workflows.oktapreview.com")
OKTA_PER_SECOND: Final = 9.0  # Okta closes with 429 at 10 invocations per second and flow
OKTA_TIMEOUT_SECONDS: Final = 65  # Okta closes the connection at 60 s; a little more lets its answer arrive
DEFAULT_TIMEOUT_SECONDS: Final = 15
SECRET_REFERENCE: Final = re.compile(r"\$\$\{|\$\{secret:([a-z][a-z0-9_]*)\}")  # `$${` is a literal `${`

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(s|m|h)")
_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}


def parse_duration(value: object) -> timedelta:
    """A number and s, m or h, as a timedelta. Raises ValueError for anything else."""
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be a number and s, m or h, like 30s")
    return timedelta(seconds=float(match[1]) * _UNIT_SECONDS[match[2]])


def format_duration(value: timedelta) -> str:
    """The shortest spelling that reads back the same: 5m, not 300s."""
    seconds = value.total_seconds()
    for unit in ("h", "m"):
        if seconds and seconds % _UNIT_SECONDS[unit] == 0:
            return f"{seconds / _UNIT_SECONDS[unit]:g}{unit}"
    return f"{seconds:g}s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    Field(json_schema_extra={"type": "string", "pattern": r"^\d+(\.\d+)?(s|m|h)$", "examples": ["30s", "5m", "96h"]}),
]


class Model(BaseModel):
    """What people write: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_enum_values=False)


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


class Ordering(StrEnum):
    """`request`: the events of one access request start in the order they were accepted."""

    REQUEST = "request"
    NONE = "none"


class Approval(StrEnum):
    """`automatic`: the event's approvals are empty or null."""

    MANUAL = "manual"
    AUTOMATIC = "automatic"


Globs = tuple[str, ...]


class IntegrationFilter(Model):
    """Each list holds if it has no positive glob or one matches, and no negative one (`!x`) matches."""

    id: Globs = ()
    name: Globs = ()
    type: Globs = ()


class Filters(Model):
    """ANDed across names; integration and resource lists must hold in the same access group."""

    integration: IntegrationFilter | None = None
    resource_type: Globs = ()
    resource: Globs = ()
    permission: Globs = ()
    requester: Globs = ()
    grantee: Globs = ()
    access_flow: Globs = ()
    access_bundle: Globs = ()
    approval: Approval | None = None
    custom_fields: dict[str, Globs] = Field(default_factory=dict)


class OAuth2(Model):
    """OAuth 2.0 client credentials (RFC 6749, section 4.4), by client secret or private_key_jwt (RFC 7523)."""

    token_url: str
    client_id: str
    scopes: tuple[str, ...] = ()
    client_secret: str | None = None
    private_key: str | None = None
    key_id: str | None = None
    algorithm: Literal["RS256", "RS384", "RS512", "ES256", "ES384", "ES512"] | None = None


class Bearer(Model):
    """`Authorization: Bearer` (RFC 6750)."""

    token: str


class Basic(Model):
    """HTTP basic authentication (RFC 7617)."""

    username: str
    password: str


class MutualTls(Model):
    """A client certificate, PEM."""

    certificate: str
    private_key: str


class Auth(Model):
    """Exactly one of these."""

    oauth2: OAuth2 | None = None
    bearer: Bearer | None = None
    basic: Basic | None = None
    mtls: MutualTls | None = None


class ResponseValidator(Model):
    """An answer counts as delivered only if the value at `json_path` is one of `expected_values`."""

    json_path: str
    expected_values: tuple[Any, ...]


class Retry(Model):
    """When a failed delivery is tried again; the last delay repeats up to `max_attempts`."""

    schedule: tuple[Duration, ...] = tuple(
        timedelta(seconds=seconds) for seconds in (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
    )
    jitter: float = 0.2
    max_attempts: int = 10
    give_up_after: Duration = timedelta(hours=96)
    retry_unknown: bool = True


class RateLimit(Model):
    """A token bucket: `per_second` tokens flow in, `burst` fit."""

    per_second: float
    burst: int = 1


class SigningKey(Model):
    """One key with the window in which it signs; windows may overlap."""

    key: str
    not_before: str | None = None
    not_after: str | None = None


class Signing(Model):
    """Standard Webhooks signatures."""

    keys: tuple[SigningKey, ...]


class Metadata(Model):
    """Who the webhook is."""

    name: WebhookName
    title: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    protect: bool | None = None
    renamed_from: WebhookName | None = None


class Spec(Model):
    """What the webhook does; every default is filled in, so that a plan compares what will really happen."""

    status: Status = Status.ACTIVE
    method: Method = Method.POST
    url: str
    headers: dict[str, str] = Field(default_factory=dict)
    triggers: tuple[Trigger, ...]
    filters: Filters = Filters()
    body_template: str | dict[str, Any] | None = None
    query: dict[str, str] = Field(default_factory=dict)
    content_type: str = "application/json"
    auth: Auth | None = None
    when: str | None = None
    timeout_in_sec: int = DEFAULT_TIMEOUT_SECONDS
    response_validators: tuple[ResponseValidator, ...] = ()
    retry: Retry = Retry()
    rate_limit: RateLimit | Literal["unlimited"] = "unlimited"
    max_concurrency: int = 16
    ordering: Ordering = Ordering.REQUEST
    max_hold: Duration = timedelta(hours=1)
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
        return {
            "timeout_in_sec": OKTA_TIMEOUT_SECONDS,
            "rate_limit": {"per_second": OKTA_PER_SECOND, "burst": 1},
            **dict(value.items()),
        }


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
        return f"{self.host}{urlsplit(self.spec.url).path or '/'}"

    def document(self) -> dict[str, Any]:
        """The webhook as the plain mapping that is stored, diffed and exported: every default in place, tuples as
        lists, durations spelt, enums as text; what is absent or empty, and `renamed_from` (an instruction to the plan,
        not a part of the state), left out."""
        raw = self.model_dump(mode="json", exclude_none=True, exclude={"metadata": {"renamed_from"}})
        spec = {key: item if key == "body_template" else _without_empty(item) for key, item in raw["spec"].items()}
        return {
            "apiVersion": API_VERSION,
            "kind": "Webhook",
            "metadata": _without_empty(raw["metadata"]),
            "spec": {key: item for key, item in spec.items() if item not in ({}, [])},
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
        pairs = {(name, self.host) for name in secret_names(_without_auth(self.spec))}
        if self.spec.auth is not None:
            token_host = host_of(self.spec.auth.oauth2.token_url) if self.spec.auth.oauth2 else self.host
            pairs |= {(name, token_host) for name in secret_names(self.spec.auth.model_dump(mode="json"))}
        return tuple(sorted(pairs))


def _without_auth(spec: Spec) -> dict[str, Any]:
    return spec.model_dump(mode="json", exclude={"auth"})


def _without_empty(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    pruned = {key: _without_empty(item) for key, item in value.items()}
    return {key: item for key, item in pruned.items() if item not in ({}, [])}


def canonical_document(document: Mapping[str, Any]) -> bytes:
    """Sorted, compact JSON; what stands under `spec.body_template` keeps its order. The order of lists is kept."""
    body = document.get("spec", {}).get("body_template")
    if not isinstance(body, Mapping):
        return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    spec = {**document["spec"], "body_template": orjson.Fragment(orjson.dumps(body))}
    return orjson.dumps({**document, "spec": spec}, option=orjson.OPT_SORT_KEYS)


def host_of(url: str) -> str:
    """The host of an absolute URL in lower case without a trailing dot; empty where there is none."""
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def is_okta_host(host: str) -> bool:
    """Whether Okta Workflows serves this host (production and preview)."""
    return host.endswith(OKTA_DOMAINS)


def secret_names(value: object) -> frozenset[str]:
    """The names of every `${secret:name}` in a string, or in the strings of a nested value."""
    return frozenset(_iter_secret_names(value))


def _iter_secret_names(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield from (match[1] for match in SECRET_REFERENCE.finditer(value) if match[1])
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _iter_secret_names(key)
            yield from _iter_secret_names(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _iter_secret_names(item)


def fill_secrets(text: str, values: Mapping[str, str]) -> str:
    """`text` with each `${secret:name}` replaced by its value and `$${` by `${`; values are never scanned again.

    Raises KeyError for a name without a value.
    """
    return SECRET_REFERENCE.sub(lambda match: values[match[1]] if match[1] else "${", text)


class Policy(Model):
    """Limits on plans; a plan is judged by the stricter of live and desired."""

    allowed_hosts: tuple[str, ...] | None = None
    required_labels: tuple[str, ...] = ()
    max_delete_percent: int | None = None


class ProjectSpec(Model):
    """What holds for every webhook of an owner."""

    owner: str = ""
    defaults: dict[str, Any] = Field(default_factory=dict)
    policy: Policy = Policy()
    partials: str | None = None


class Project(Model):
    """At most one in a set of manifests."""

    spec: ProjectSpec = ProjectSpec()
